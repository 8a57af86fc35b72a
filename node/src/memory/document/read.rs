//! A document as sections of plain text: Markdown without its marks, HTML as the Markdown that says the same.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use synapsenet_index::Section;

use super::html::{self, HtmlError};

/// How a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Paragraphs separated by blank lines.
    Plain,
    /// CommonMark with tables.
    Markdown,
    /// Read as the Markdown that says the same.
    Html,
}

/// Reads a document into sections, each the text beneath one heading.
///
/// # Errors
/// [`HtmlError`].
pub(super) fn read(text: &str, format: Format) -> Result<Vec<Section>, HtmlError> {
    Ok(match format {
        Format::Plain => vec![Section { headings: Vec::new(), text: text.to_owned() }],
        Format::Markdown => read_markdown(text),
        Format::Html => read_markdown(&html::to_markdown(text)?),
    })
}

/// Gathers the text of Markdown without its marks.
#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    /// Open headings, with their levels.
    headings: Vec<(u8, String)>,
    text: String,
    in_heading: bool,
    in_metadata: bool,
}

fn read_markdown(markdown: &str) -> Vec<Section> {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader::default();
    for event in Parser::new_ext(markdown, options) {
        reader.take(event);
    }
    reader.end_section();
    reader.sections
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.end_section();
                let level = level as u8;
                self.headings.retain(|(open, _)| *open < level);
                self.headings.push((level, String::new()));
                self.in_heading = true;
            }
            Event::End(TagEnd::Heading(_)) => self.in_heading = false,
            Event::Start(Tag::MetadataBlock(_)) => self.in_metadata = true,
            Event::End(TagEnd::MetadataBlock(_)) => self.in_metadata = false,
            Event::Text(text) | Event::Code(text) => self.push(&text),
            Event::SoftBreak => self.push(" "),
            Event::HardBreak => self.push("\n"),
            Event::Start(Tag::Item) => self.push("- "),
            Event::End(TagEnd::Item | TagEnd::TableRow | TagEnd::TableHead) => self.end_line(),
            Event::End(TagEnd::TableCell) => self.push(" | "),
            Event::End(
                TagEnd::Paragraph
                | TagEnd::CodeBlock
                | TagEnd::List(_)
                | TagEnd::BlockQuote(_)
                | TagEnd::Table
                | TagEnd::HtmlBlock,
            ) => self.end_paragraph(),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        match self.headings.last_mut() {
            _ if self.in_metadata => {}
            Some((_, heading)) if self.in_heading => heading.push_str(text),
            _ => self.text.push_str(text),
        }
    }

    fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn end_paragraph(&mut self) {
        self.end_line();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn end_section(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.trim().is_empty() {
            let headings = self.headings.iter().map(|(_, heading)| heading.trim().to_owned());
            self.sections.push(Section { headings: headings.collect(), text });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, format: Format) -> Vec<(String, String)> {
        let shown = |section: &Section| (section.headings.join(" > "), section.text.trim().to_owned());
        read(text, format).unwrap().iter().map(shown).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(heading, text)| (heading.to_string(), text.to_string())).collect()
    }

    #[test]
    fn markdown_is_read_by_its_headings_without_its_marks() {
        let markdown = "---\nkey: value\n---\nBefore.\n\n# House\n\nA *fine* `house`.\n\n## Roof\n- tiles\n- gutter\n\n\
                        ## Cellar\n\nDry\nand cool.\n\n# Garden\n| a | b |\n|---|---|\n| 1 | 2 |\n";
        let expected = [
            ("", "Before."),
            ("House", "A fine house."),
            ("House > Roof", "- tiles\n- gutter"),
            ("House > Cellar", "Dry and cool."),
            ("Garden", "a | b | \n1 | 2 |"),
        ];
        assert_eq!(shown(markdown, Format::Markdown), pairs(&expected));
    }

    #[test]
    fn html_is_read_without_scripts_and_menus() {
        let html = "<html><head><title>T</title><style>p{}</style></head><body><nav>menu</nav><h1>House</h1>\
                    <script>alert(1)</script><p>A <b>fine</b> house &amp; garden.</p><h2>Roof</h2><ul><li>tiles</li></ul>";
        let expected = [("House", "A fine house & garden."), ("House > Roof", "- tiles")];
        assert_eq!(shown(html, Format::Html), pairs(&expected));
    }

    #[test]
    fn plain_text_is_one_section() {
        assert_eq!(shown("# no heading\n\ntext", Format::Plain), pairs(&[("", "# no heading\n\ntext")]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_in_any_format(text in "(\\PC|[#<>|`*\n-]){0,400}") {
            for format in [Format::Plain, Format::Markdown, Format::Html] {
                prop_assert!(read(&text, format).unwrap().iter().all(|section| section.headings.len() <= 6));
            }
        }
    }
}
