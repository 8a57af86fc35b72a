//! How is a document read? As its name says, unless whoever adds it says it.

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Paragraphs separated by blank lines.
    Plain,
    /// CommonMark with what notes are written in besides.
    Markdown,
    /// A page.
    Html,
}

impl Format {
    /// The format of a file of this name. What has no ending that is known is plain text.
    pub fn of_name(name: &str) -> Self {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending.to_ascii_lowercase().as_str() {
            "md" | "markdown" | "mdown" | "mkd" | "mdx" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            _ => Self::Plain,
        }
    }

    /// The media type that its grains bear; empty for plain text.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
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
            ("a.txt", Format::Plain),
            ("README", Format::Plain),
            ("md", Format::Plain),
        ] {
            assert_eq!(Format::of_name(name), format, "{name}");
        }
    }
}
