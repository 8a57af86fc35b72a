//! What is written of a link and of a picture? What it shows, and behind it where it leads, unless that says nothing more.

use super::address::address;
use super::writer::Writer;

/// Links in each other; what is deeper loses its address, not its text.
const MAX_LINKS: usize = 16;

/// A link, or a picture, whose text is being written.
#[derive(Debug)]
pub(super) struct Link {
    address: String,
    title: String,
    /// Where what it shows begins, in the heading or the text.
    start: usize,
    /// The mark that comes before it on its line, if nothing else does.
    marker: Option<String>,
    is_wiki: bool,
}

impl Writer {
    /// Begins a link. What it shows follows.
    pub fn start_link(&mut self, address: &str, title: &str, is_wiki: bool) {
        if self.links.len() < MAX_LINKS {
            let start = self.place();
            let (address, title) = (address.to_owned(), title.trim().to_owned());
            let marker = self.marker.clone();
            self.links.push(Link { address, title, start, marker, is_wiki });
        }
    }

    /// Ends the innermost link and tells its address, unless that is what was shown.
    pub fn end_link(&mut self) {
        let Some(link) = self.links.pop() else { return };
        let shown = self.shown_by(&link);
        self.neighbours.add(&link.address, &shown, link.is_wiki);
        let address = address(&link.address, &shown, link.is_wiki);
        self.tell_behind(address, &link.title, shown.is_empty());
    }

    /// Whether a link is open.
    pub fn is_in_link(&self) -> bool {
        !self.links.is_empty()
    }

    /// A picture, whose description was pushed since [`Writer::start_link`]; or how it is called, where there is none.
    pub fn end_picture(&mut self) {
        let Some(link) = self.links.pop() else { return };
        let shown = self.shown_by(&link);
        // `![[note]]` shows a note.
        self.neighbours.add(&link.address, &shown, link.is_wiki);
        if shown.is_empty() && link.title.is_empty() {
            self.left_out.add_picture(&link.address);
            return;
        }
        let address = match link.address.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
            true => None,
            false => address(&link.address, &shown, link.is_wiki),
        };
        self.tell_behind(address, &link.title, shown.is_empty());
    }

    /// Writes what stands behind what is shown.
    fn tell_behind(&mut self, address: Option<String>, title: &str, is_nothing_shown: bool) {
        let title = Some(title.to_owned()).filter(|title| !title.is_empty());
        let parts: Vec<String> = title.into_iter().chain(address).collect();
        if parts.is_empty() {
            return;
        }
        let told = parts.join(", ");
        match &self.heading {
            Some(_) => self.beside_heading.push(told),
            None if is_nothing_shown => self.push(&told),
            None => {
                let told = format!("({told})");
                self.is_space_due = true;
                self.push(&told);
            }
        }
    }

    /// Where the next text comes, in the heading or in the section.
    fn place(&self) -> usize {
        self.heading.as_ref().map_or(self.text.len(), |(_, heading)| heading.len())
    }

    /// What was written since a link began; nothing where it is not known any more.
    fn shown_by(&self, link: &Link) -> String {
        let written = self.heading.as_ref().map_or(self.text.as_str(), |(_, heading)| heading);
        let shown = written.get(link.start..).unwrap_or_default().trim();
        let marker = link.marker.as_deref().unwrap_or_default().trim();
        shown.strip_prefix(marker).unwrap_or(shown).trim().to_owned()
    }
}
