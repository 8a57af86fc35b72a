//! Which other notes does a document lead to? What its links name, by a path from where it lies or, as in `[[name]]`, by name alone.
//! Whether there are such notes is not known here.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::address::scheme;
use crate::composed::composed;

/// Links that are kept of one document.
const MAX_NEIGHBOURS: usize = 256;
/// The longest name, place and text of one.
const MAX_PART_BYTES: usize = 512;

/// A link to another note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Neighbour {
    /// The name of the note, or a path to it, as it was meant.
    pub to: String,
    /// The heading in it that is meant; empty for all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// What the link shows, which tells where in the document it stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shown: String,
}

/// The links of a document.
#[derive(Debug, Default)]
pub(super) struct Neighbours(Vec<Neighbour>);

impl Neighbours {
    /// Keeps a link, if it leads to a neighbour. `is_wiki` for `[[name]]`, which is no address.
    pub fn add(&mut self, address: &str, shown: &str, is_wiki: bool) {
        let address = address.trim();
        let is_elsewhere = address.starts_with("//") || (!is_wiki && scheme(address).is_some());
        if is_elsewhere || self.0.len() >= MAX_NEIGHBOURS {
            return;
        }
        let (path, at) = address.split_once('#').unwrap_or((address, ""));
        let [to, at] = match is_wiki {
            true => [path.to_owned(), at.to_owned()],
            false => {
                let path = path.split('?').next().unwrap_or_default();
                [path, at].map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            }
        };
        let neighbour =
            Neighbour { to: composed(to.trim().to_owned()), at: composed(at), shown: shown.to_owned() };
        let parts = [&neighbour.to, &neighbour.at, &neighbour.shown];
        let fits = parts.iter().all(|part| part.len() <= MAX_PART_BYTES);
        if fits && !neighbour.to.is_empty() && !self.0.contains(&neighbour) {
            self.0.push(neighbour);
        }
    }

    /// All of them.
    pub fn into_list(self) -> Vec<Neighbour> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_neighbour_is_kept_and_one_that_leads_out_is_not() {
        let mut neighbours = Neighbours::default();
        for address in
            ["https://example.org/a.md", "mailto:me@example.org", "//example.org/a", "#below", "", "?q"]
        {
            neighbours.add(address, "x", false);
        }
        neighbours.add("../Water%20filter.md?raw#In%20use", "this", false);
        neighbours.add("Q: why?#Because", "why", true);
        neighbours.add("Ku\u{308}che", "Küche", true);
        neighbours.add("Ku\u{308}che", "Küche", true);
        neighbours.add(&"x".repeat(MAX_PART_BYTES + 1), "too long", true);
        let link =
            |to: &str, at: &str, shown: &str| Neighbour { to: to.into(), at: at.into(), shown: shown.into() };
        let expected = [
            link("../Water filter.md", "In use", "this"),
            link("Q: why?", "Because", "why"),
            link("Küche", "", "Küche"),
        ];
        assert_eq!(neighbours.into_list(), expected);
    }

    #[test]
    fn of_very_many_links_some_are_kept() {
        let mut neighbours = Neighbours::default();
        (0..10_000).for_each(|n| neighbours.add(&format!("{n}.md"), "x", false));
        assert_eq!(neighbours.into_list().len(), MAX_NEIGHBOURS);
    }
}
