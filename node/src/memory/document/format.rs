//! How is a document read? As its name says, unless whoever adds it says it.

use super::read::{MAX_DOCUMENT_BYTES, MAX_RAW_BYTES};

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Paragraphs separated by blank lines.
    Plain,
    /// CommonMark with what notes are written in besides.
    Markdown,
    /// A page.
    Html,
    /// One mail (RFC 5322).
    Mail,
    /// Many mails (RFC 4155).
    Mailbox,
    /// A notebook of Jupyter.
    Notebook,
    /// What Word and many others write.
    Docx,
    /// What LibreOffice writes.
    Odt,
    /// A book.
    Epub,
    /// Pages as they are printed.
    Pdf,
}

impl Format {
    /// The format of a file of this name. What has no ending that is known is plain text.
    pub fn of_name(name: &str) -> Self {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending.to_ascii_lowercase().as_str() {
            "md" | "markdown" | "mdown" | "mkd" | "mdx" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "eml" => Self::Mail,
            "mbox" => Self::Mailbox,
            "ipynb" => Self::Notebook,
            "docx" => Self::Docx,
            "odt" => Self::Odt,
            "epub" => Self::Epub,
            "pdf" => Self::Pdf,
            _ => Self::Plain,
        }
    }

    /// Whether a file of this name is a text or something else that is read here.
    pub fn is_named(name: &str) -> bool {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_text =
            ["txt", "text", "log", "csv", "tsv", "org", "rst", "ics", "vcf", "json", "yaml", "toml"]
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known));
        is_text || Self::of_name(name) != Self::Plain
    }

    /// Whether all of it is one text in one encoding.
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Mail | Self::Mailbox) && !self.is_binary()
    }

    /// Whether its bytes are no text: an archive of its parts, or pages. Most of them may be pictures.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Docx | Self::Odt | Self::Epub | Self::Pdf)
    }

    /// The bytes that a document of this kind may have.
    pub fn max_bytes(self) -> usize {
        if self.is_text() { MAX_DOCUMENT_BYTES } else { MAX_RAW_BYTES }
    }

    /// Whether another program may have to read it, or what is attached to it.
    pub fn may_need_program(self) -> bool {
        matches!(self, Self::Pdf | Self::Mail | Self::Mailbox)
    }

    /// The media type that its grains bear; empty for plain text.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Mail => "message/rfc822",
            Self::Mailbox => "application/mbox",
            Self::Notebook => "application/x-ipynb+json",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Odt => "application/vnd.oasis.opendocument.text",
            Self::Epub => "application/epub+zip",
            Self::Pdf => "application/pdf",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_says_how_it_is_read() {
        for (name, format) in [
            ("a.md", Format::Markdown),
            ("A.MARKDOWN", Format::Markdown),
            ("a.htm", Format::Html),
            ("a.eml", Format::Mail),
            ("Inbox.mbox", Format::Mailbox),
            ("a.ipynb", Format::Notebook),
            ("a.docx", Format::Docx),
            ("a.ODT", Format::Odt),
            ("a.epub", Format::Epub),
            ("Manual.PDF", Format::Pdf),
            ("a.txt", Format::Plain),
            ("README", Format::Plain),
            ("md", Format::Plain),
        ] {
            assert_eq!(Format::of_name(name), format, "{name}");
        }
        assert_eq!(Format::of_name("a.md").max_bytes(), MAX_DOCUMENT_BYTES);
        assert_eq!(Format::of_name("a.mbox").max_bytes(), MAX_RAW_BYTES);
        assert!(Format::is_named("a.CSV") && Format::is_named("a.md") && !Format::is_named("a.png"));
    }
}
