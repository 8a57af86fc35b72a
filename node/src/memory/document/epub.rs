//! EPUB (ISO/IEC 23736): pages of HTML, in the order in which they are read.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::html::{Page, read_html};
use super::packed::Archive;
use super::packed_xml::{Node, attribute, walk};
use super::read::{Clock, ReadError};
use crate::composed::composed;

/// Pages of a book.
const MAX_PAGES: usize = 4096;

/// Reads a book.
///
/// # Errors
/// [`ReadError`].
pub(super) fn read_epub(archive: &mut Archive<'_>, page: &mut Page, clock: &Clock) -> Result<(), ReadError> {
    let container = archive.xml("META-INF/container.xml")?.ok_or(ReadError::Broken("it is no book"))?;
    let mut root = String::new();
    walk(&container, clock, |node| {
        if let Node::Start("rootfile", start) = node
            && root.is_empty()
        {
            root = attribute(start, "full-path").unwrap_or_default();
        }
        Ok(())
    })?;
    let package = archive.xml(&root)?.ok_or(ReadError::Broken("it is no book"))?;
    let (mut items, mut spine, mut title, mut is_in_title) =
        (HashMap::new(), Vec::new(), String::new(), false);
    walk(&package, clock, |node| {
        match node {
            Node::Start("item", start) => {
                if let (Some(id), Some(href)) = (attribute(start, "id"), attribute(start, "href")) {
                    items.insert(id, href);
                }
            }
            Node::Start("itemref", start) => spine.extend(attribute(start, "idref")),
            Node::Start("title", _) => is_in_title = title.is_empty(),
            Node::End("title") => is_in_title = false,
            Node::Text(text) if is_in_title => title.push_str(text),
            _ => {}
        }
        Ok(())
    })?;
    let folder = root.rfind('/').map_or("", |slash| &root[..=slash]);
    for id in spine.iter().take(MAX_PAGES) {
        let Some(href) = items.get(id) else { continue };
        let name = percent_decode_str(href).decode_utf8_lossy();
        match archive.part(&inside(folder, &name))? {
            Some(bytes) => {
                let html = super::encoding::decode(&bytes, "", true)?;
                read_html(&composed(html), page, clock)?;
                page.writer.end_paragraph();
            }
            None => page.writer.left_out.add(name.as_ref(), "a page of the book that is not in it"),
        }
    }
    if spine.len() > MAX_PAGES {
        page.writer.left_out.add("the end of the book", "a book has at most 4,096 pages");
    }
    page.title = title;
    Ok(())
}

/// A name beside another one, without its steps up.
fn inside(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
