//! Which notes of a folder lead to each other? What their links name, looked for among the files that are known now: so that a note
//! may be moved or renamed, and whatever comes later is found.
//!
//! A link names a file by a path from the note or from the folder, or by its name alone, wherever it lies; the ending of a note may
//! be left out.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::difference::{Known, Uri};
use crate::memory::document::Neighbour;

/// Endings of notes, which links leave out.
const ENDINGS: [&str; 4] = [".md", ".markdown", ".html", ".htm"];
/// Links of one note that are answered, each way.
const MAX_LINKS: usize = 64;

/// A link between two files that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteLink {
    /// The file at the other end.
    pub uri: Uri,
    /// What the link says.
    pub link: Neighbour,
}

/// The links of a note.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// To others, in the order of the note.
    pub to: Vec<NoteLink>,
    /// From others, by where these lie.
    pub from: Vec<NoteLink>,
}

/// The files of a folder, to be found by what links call them.
struct Names<'a> {
    /// By their whole paths.
    paths: HashMap<String, &'a Uri>,
    /// By their names in small letters, without the ending of a note.
    names: HashMap<String, Vec<(String, &'a Uri)>>,
    /// The path of the folder.
    root: String,
}

/// The links of the file `uri` among the files of the folder `root`, also a URI.
pub(super) fn links_of(known: &Known, root: &str, uri: &str) -> Links {
    let names = Names::new(known, root);
    let mut links = Links::default();
    for link in known.get(uri).iter().flat_map(|seen| &seen.links) {
        let found = names.find(uri, &link.to).filter(|found| *found != uri);
        links.to.extend(found.map(|found| NoteLink { uri: found.clone(), link: link.clone() }));
    }
    links.to.truncate(MAX_LINKS);
    for (from, seen) in known.iter().filter(|(from, seen)| seen.is_added && *from != uri) {
        let mut here =
            seen.links.iter().filter(|link| names.find(from, &link.to).is_some_and(|found| found == uri));
        links.from.extend(here.next().map(|link| NoteLink { uri: from.clone(), link: link.clone() }));
        if links.from.len() == MAX_LINKS {
            break;
        }
    }
    links
}

impl<'a> Names<'a> {
    fn new(known: &'a Known, root: &str) -> Self {
        let (mut paths, mut names) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for uri in known.iter().filter(|(_, seen)| seen.is_added).map(|(uri, _)| uri) {
            let path = path_of(uri);
            names.entry(name_of(&path)).or_default().push((path.to_lowercase(), uri));
            paths.insert(path, uri);
        }
        Self { paths, names, root: path_of(root) }
    }

    /// The file that a link in the file `from` names.
    fn find(&self, from: &str, to: &str) -> Option<&'a Uri> {
        let from = path_of(from);
        let folder = from.rfind('/').map_or("", |slash| &from[..slash]);
        let beside = (!to.starts_with('/')).then_some(folder);
        for start in beside.into_iter().chain([self.root.as_str()]) {
            let path = joined(start, to);
            let with_ending = ENDINGS.iter().map(|ending| format!("{path}{ending}"));
            let found =
                std::iter::once(path.clone()).chain(with_ending).find_map(|path| self.paths.get(&path));
            if let Some(found) = found {
                return Some(found);
            }
        }
        // By its name, below such folders if some are named; of several, the one that lies least deep.
        let wanted = joined("", to).to_lowercase();
        let ends_so = |path: &str| {
            let bare = ENDINGS.iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path);
            path.ends_with(&wanted) || bare.ends_with(&wanted)
        };
        let candidates = self.names.get(&name_of(to))?.iter().filter(|(path, _)| ends_so(path));
        candidates.min_by_key(|(path, uri)| (path.matches('/').count(), *uri)).map(|(_, uri)| *uri)
    }
}

/// The path that a URI of a file names, decoded.
fn path_of(uri: &str) -> String {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// The name at the end of a path, in small letters and without the ending of a note.
fn name_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let bare = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned);
    bare.unwrap_or(name)
}

/// A path from a folder, without its steps up.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::difference::{Seen, Stamp};
    use super::*;

    fn vault(files: &[(&str, &[&str])]) -> Known {
        let seen = |links: &[&str]| Seen {
            stamp: Stamp { bytes: 1, modified_ns: 1 },
            hash: "h".into(),
            is_added: true,
            refused: None,
            missing_since_ms: None,
            links: links.iter().map(|to| Neighbour { to: (*to).into(), ..Neighbour::default() }).collect(),
        };
        files.iter().map(|(path, links)| (format!("file:///v/{path}"), seen(links))).collect()
    }

    fn to(known: &Known, path: &str) -> Vec<String> {
        let links = links_of(known, "file:///v", &format!("file:///v/{path}"));
        links.to.into_iter().map(|link| link.uri.replace("file:///v/", "")).collect()
    }

    #[test]
    fn a_link_names_a_file_by_its_path_or_by_its_name() {
        let known = vault(&[
            (
                "index.md",
                &["Pump", "garden/Roses", "garden/roses.md", "nothing", "index", "./house/../pump.pdf"],
            ),
            ("house/Pump.md", &["../index.md", "/garden/roses", "Water filter", "garden/roses.md"]),
            ("garden/roses.md", &["roses"]),
            ("house/deep/Water%20filter.md", &[]),
            ("attic/pump.md", &["Pump"]),
            ("pump.pdf", &[]),
        ]);
        assert_eq!(
            to(&known, "index.md"),
            ["attic/pump.md", "garden/roses.md", "garden/roses.md", "pump.pdf"]
        );
        let from_house = ["index.md", "garden/roses.md", "house/deep/Water%20filter.md", "garden/roses.md"];
        assert_eq!(to(&known, "house/Pump.md"), from_house);
        assert!(to(&known, "garden/roses.md").is_empty(), "a note that names itself leads nowhere");
        assert!(to(&known, "gone.md").is_empty());
        let from = links_of(&known, "file:///v", "file:///v/garden/roses.md").from;
        let from: Vec<_> = from.iter().map(|link| link.uri.as_str()).collect();
        assert_eq!(from, ["file:///v/house/Pump.md", "file:///v/index.md"], "each once");
    }

    #[test]
    fn what_lies_in_the_same_folder_goes_first() {
        let known = vault(&[("a/index.md", &["note"]), ("a/note.md", &[]), ("note.md", &[])]);
        assert_eq!(to(&known, "a/index.md"), ["a/note.md"]);
    }

    #[test]
    fn a_note_that_everything_leads_to_has_links_in_bounds() {
        let names: Vec<String> = (0..1000).map(|n| format!("{n}.md")).collect();
        let mut files: Vec<(&str, &[&str])> =
            names.iter().map(|name| (name.as_str(), ["hub"].as_slice())).collect();
        files.push(("hub.md", &[]));
        let links = links_of(&vault(&files), "file:///v", "file:///v/hub.md");
        assert_eq!(links.from.len(), MAX_LINKS);
    }
}
