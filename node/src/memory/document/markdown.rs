//! How is Markdown read? As CommonMark with the extensions that notes are written in; what looks like a mark and is none stays text.

use std::collections::HashSet;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

use super::elements::{closed_elements, escape_words};
use super::html::Page;
use super::read::{Clock, ReadError};

/// Tables, `~~struck~~`, `- [x] tasks`, `[^footnotes]`, `$formulas$`, definition lists and `[[names|of notes]]`. Not those that take marks
/// from a text without giving anything to it, as alerts and attributes of headings do.
const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_MATH)
    .union(Options::ENABLE_DEFINITION_LIST)
    .union(Options::ENABLE_WIKILINKS);
/// Events between two looks at the clock.
const STEP_EVENTS: usize = 4096;

/// Reads Markdown into a page, which may hold something already.
///
/// # Errors
/// [`ReadError::TooSlow`].
pub(super) fn read_markdown(markdown: &str, page: &mut Page, clock: &Clock) -> Result<(), ReadError> {
    let mut reader = Reader { page, closed: closed_elements(markdown), html: String::new(), clock };
    for (count, event) in Parser::new_ext(markdown, OPTIONS).enumerate() {
        if count % STEP_EVENTS == 0 {
            clock.check()?;
        }
        reader.take(event)?;
    }
    reader.page.end_fragment();
    Ok(())
}

/// Takes the events of a document.
struct Reader<'a> {
    page: &'a mut Page,
    /// The elements that are ended somewhere in it.
    closed: HashSet<String>,
    /// The block of HTML that is being gathered.
    html: String,
    clock: &'a Clock,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), ReadError> {
        let writer = &mut self.page.writer;
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(TagEnd::HtmlBlock) => {
                let html = std::mem::take(&mut self.html);
                self.page.read(&escape_words(&html, &self.closed), self.clock)?;
                self.page.end_fragment();
            }
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) => writer.push(&text),
            // The marks stay: what was meant for a price is no formula.
            Event::InlineMath(text) => writer.push(&format!("${text}$")),
            Event::DisplayMath(text) => writer.push(&format!("$${text}$$")),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(html) => {
                self.page.read(&escape_words(&html, &self.closed), self.clock)?;
                self.page.end_fragment();
            }
            Event::FootnoteReference(name) => writer.push(&format!("[^{name}]")),
            Event::SoftBreak => writer.space(),
            Event::HardBreak => writer.break_line(),
            Event::TaskListMarker(is_done) => writer.push(if is_done { "[x] " } else { "[ ] " }),
            Event::Rule => writer.end_paragraph(),
        }
        Ok(())
    }

    fn start(&mut self, tag: Tag<'_>) {
        let writer = &mut self.page.writer;
        match tag {
            Tag::Heading { level, .. } => writer.start_heading(level as u8),
            Tag::CodeBlock(_) => writer.start_kept_lines(),
            Tag::List(first) => writer.start_list(first),
            Tag::Item => writer.start_item(None),
            Tag::DefinitionListDefinition => writer.start_marked_line(": "),
            Tag::FootnoteDefinition(name) => {
                writer.end_paragraph();
                writer.start_marked_line(&format!("[^{name}]: "));
            }
            Tag::Table(_) => writer.start_table(),
            Tag::TableHead => {
                writer.set_header(true);
                writer.start_row();
            }
            Tag::TableRow => writer.start_row(),
            Tag::TableCell => writer.start_cell(false),
            Tag::Link { link_type, dest_url, title, .. } | Tag::Image { link_type, dest_url, title, .. } => {
                writer.start_link(&dest_url, &title, matches!(link_type, LinkType::WikiLink { .. }));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        let writer = &mut self.page.writer;
        match tag {
            TagEnd::Heading(_) => writer.end_heading(),
            TagEnd::CodeBlock => writer.end_kept_lines(),
            TagEnd::List(_) => writer.end_list(),
            TagEnd::Item => writer.end_item(),
            TagEnd::TableHead => {
                writer.end_row();
                writer.set_header(false);
            }
            TagEnd::TableRow => writer.end_row(),
            TagEnd::Table => writer.end_table(),
            TagEnd::DefinitionListTitle => writer.end_line(),
            TagEnd::Link => writer.end_link(),
            TagEnd::Image => writer.end_picture(),
            TagEnd::Paragraph
            | TagEnd::BlockQuote(_)
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList => writer.end_paragraph(),
            _ => {}
        }
    }
}
