//! ODT (ISO/IEC 26300): paragraphs and headings with their levels.

use super::docx::title;
use super::html::Page;
use super::packed::Archive;
use super::packed_xml::{Node, attribute, walk};
use super::read::{Clock, ReadError};

/// What is there and not shown: text that was deleted, and how things look.
const NOT_SHOWN: [&str; 3] = ["tracked-changes", "automatic-styles", "font-face-decls"];
/// Spaces that stand in one mark.
const MAX_SPACES: usize = 64;

/// Reads an open document.
///
/// # Errors
/// [`ReadError`].
pub(super) fn read_odt(archive: &mut Archive<'_>, page: &mut Page, clock: &Clock) -> Result<(), ReadError> {
    let text = archive.xml("content.xml")?.ok_or(ReadError::Broken("it is no document of this kind"))?;
    page.title = title(archive.xml("meta.xml")?.as_deref().unwrap_or_default(), clock)?;
    let writer = &mut page.writer;
    let (mut depth, mut not_shown, mut links) = (0_usize, 0_usize, 0_usize);
    walk(&text, clock, |node| {
        match node {
            Node::Start(name, _) if NOT_SHOWN.contains(&name) => not_shown += 1,
            Node::End(name) if NOT_SHOWN.contains(&name) => not_shown = not_shown.saturating_sub(1),
            _ if not_shown > 0 => {}
            Node::Start("h", start) => {
                let level = attribute(start, "outline-level").and_then(|level| level.parse().ok());
                writer.start_heading(level.unwrap_or(1_u8).clamp(1, 6));
                depth += 1;
            }
            Node::End("h") => {
                writer.end_heading();
                depth = depth.saturating_sub(1);
            }
            Node::Start("p", _) => {
                writer.end_paragraph();
                depth += 1;
            }
            Node::End("p") => {
                writer.end_paragraph();
                depth = depth.saturating_sub(1);
            }
            // A description of a picture stands in none.
            Node::Start("title" | "desc", _) => {
                writer.end_line();
                depth += 1;
            }
            Node::End("title" | "desc") => {
                writer.end_line();
                depth = depth.saturating_sub(1);
            }
            Node::Text(text) if depth > 0 => writer.flow(text),
            Node::Start("s", start) => {
                let spaces = attribute(start, "c").and_then(|count| count.parse().ok()).unwrap_or(1_usize);
                writer.push(&" ".repeat(spaces.min(MAX_SPACES)));
            }
            Node::Start("tab", _) => writer.space(),
            Node::Start("line-break", _) => writer.break_line(),
            Node::Start("a", start) => {
                writer.start_link(&attribute(start, "href").unwrap_or_default(), "", false);
                links += 1;
            }
            Node::End("a") if links > 0 => {
                writer.end_link();
                links -= 1;
            }
            Node::Start("list", _) => writer.start_list(None),
            Node::End("list") => writer.end_list(),
            Node::Start("list-item", _) => writer.start_item(None),
            Node::End("list-item") => writer.end_item(),
            Node::Start("table", _) => writer.start_table(),
            Node::End("table") => writer.end_table(),
            Node::Start("table-header-rows", _) => writer.set_header(true),
            Node::End("table-header-rows") => writer.set_header(false),
            Node::Start("table-row", _) => writer.start_row(),
            Node::End("table-row") => writer.end_row(),
            Node::Start("table-cell", _) => writer.start_cell(false),
            _ => {}
        }
        Ok(())
    })
}
