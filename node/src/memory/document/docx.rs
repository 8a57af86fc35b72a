//! DOCX (ISO/IEC 29500): paragraphs with the names of their styles.

use std::collections::HashMap;

use super::html::Page;
use super::packed::Archive;
use super::packed_xml::{Node, attribute, walk};
use super::read::{Clock, ReadError};

/// Where the text is, and what stands below it.
const TEXT: &str = "word/document.xml";
const BELOW: [&str; 2] = ["word/footnotes.xml", "word/endnotes.xml"];

/// Reads a document of Word.
///
/// # Errors
/// [`ReadError`].
pub(super) fn read_docx(archive: &mut Archive<'_>, page: &mut Page, clock: &Clock) -> Result<(), ReadError> {
    let text = archive.xml(TEXT)?.ok_or(ReadError::Broken("it is no document of this kind"))?;
    let levels = levels(archive.xml("word/styles.xml")?.as_deref().unwrap_or_default(), clock)?;
    let targets =
        targets(archive.xml("word/_rels/document.xml.rels")?.as_deref().unwrap_or_default(), clock)?;
    page.title = title(archive.xml("docProps/core.xml")?.as_deref().unwrap_or_default(), clock)?;
    read_part(&text, page, (&levels, &targets), clock)?;
    for name in BELOW {
        if let Some(text) = archive.xml(name)? {
            read_part(&text, page, (&levels, &targets), clock)?;
        }
    }
    Ok(())
}

/// The level of each style that is one of headings. The names of these are English whatever language the program speaks.
fn levels(styles: &str, clock: &Clock) -> Result<HashMap<String, u8>, ReadError> {
    let (mut levels, mut style) = (HashMap::new(), None);
    walk(styles, clock, |node| {
        match node {
            Node::Start("style", start) => style = attribute(start, "styleId"),
            Node::Start("name", start) => {
                let name = attribute(start, "val").unwrap_or_default().to_lowercase();
                let level = match name.strip_prefix("heading ") {
                    Some(level) => level.parse().ok(),
                    None => (name == "title").then_some(1),
                };
                if let (Some(style), Some(level)) = (style.clone(), level) {
                    levels.insert(style, level);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(levels)
}

/// Where the links of a document lead, by their ids.
fn targets(relations: &str, clock: &Clock) -> Result<HashMap<String, String>, ReadError> {
    let mut targets = HashMap::new();
    walk(relations, clock, |node| {
        if let Node::Start("Relationship", start) = node
            && attribute(start, "TargetMode").is_some_and(|mode| mode == "External")
            && let (Some(id), Some(target)) = (attribute(start, "Id"), attribute(start, "Target"))
        {
            targets.insert(id, target);
        }
        Ok(())
    })?;
    Ok(targets)
}

/// The title among the properties of a document.
pub(super) fn title(properties: &str, clock: &Clock) -> Result<String, ReadError> {
    let (mut title, mut is_in) = (String::new(), false);
    walk(properties, clock, |node| {
        match node {
            Node::Start("title", _) => is_in = title.is_empty(),
            Node::End("title") => is_in = false,
            Node::Text(text) if is_in => title.push_str(text),
            _ => {}
        }
        Ok(())
    })?;
    Ok(title)
}

fn read_part(
    text: &str,
    page: &mut Page,
    (levels, targets): (&HashMap<String, u8>, &HashMap<String, String>),
    clock: &Clock,
) -> Result<(), ReadError> {
    let writer = &mut page.writer;
    // A drawing stands twice where an older program could not show it; its text is taken once.
    let (mut is_in_text, mut links, mut fallbacks, mut rows) = (false, 0_usize, 0_usize, Vec::new());
    walk(text, clock, |node| {
        match node {
            Node::Start("Fallback", _) => fallbacks += 1,
            Node::End("Fallback") => fallbacks = fallbacks.saturating_sub(1),
            _ if fallbacks > 0 => {}
            Node::Start("p", _) => writer.end_line(),
            Node::Start("pStyle", start) => {
                let style = attribute(start, "val").unwrap_or_default();
                if let Some(level) = levels.get(&style).filter(|_| rows.is_empty()) {
                    writer.start_heading((*level).clamp(1, 6));
                }
            }
            Node::Start("numPr", _) => writer.start_marked_line("- "),
            Node::End("p") => {
                writer.end_heading();
                writer.end_paragraph();
            }
            Node::Start("t", _) => is_in_text = true,
            Node::End("t") => is_in_text = false,
            Node::Text(text) if is_in_text => writer.push(text),
            Node::Start("tab" | "ptab", _) => writer.space(),
            Node::Start("noBreakHyphen", _) => writer.push("-"),
            Node::Start("br" | "cr", _) => writer.break_line(),
            Node::Start("hyperlink", start) => {
                let address = attribute(start, "id").and_then(|id| targets.get(&id));
                writer.start_link(address.map_or("", String::as_str), "", false);
                links += 1;
            }
            Node::End("hyperlink") if links > 0 => {
                writer.end_link();
                links -= 1;
            }
            Node::Start("docPr", start) => {
                writer.start_link("", &attribute(start, "descr").unwrap_or_default(), false);
                writer.end_picture();
            }
            Node::Start("tbl", _) => {
                writer.start_table();
                writer.set_header(true);
                rows.push(0_usize);
            }
            Node::End("tbl") => {
                writer.end_table();
                rows.pop();
            }
            Node::Start("tr", _) => writer.start_row(),
            // The first row names the columns.
            Node::End("tr") => {
                writer.end_row();
                writer.set_header(false);
            }
            Node::Start("tc", _) => writer.start_cell(false),
            _ => {}
        }
        Ok(())
    })
}
