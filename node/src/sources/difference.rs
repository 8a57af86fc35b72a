//! What changed in a folder: what was known of its files, beside what a walk found.
//!
//! Size and time of change tell which files must be read; their content tells what happened to them. A file that is new and
//! says what one that is gone said is that one, moved or renamed.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::memory::document::Neighbour;

/// What a file is called here: its `file:` URI.
pub(super) type Uri = String;

/// How a file looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970-01-01 UTC; 0 where the file system does not tell.
    pub modified_ns: u64,
}

/// What was known of a file when it was read last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// How it looked.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The hash of what it said; see [`hash`].
    pub hash: String,
    /// Whether it gave grains. One that did not is known so that it is not read again.
    pub is_added: bool,
    /// Why it did not, where it should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Since when it is missing, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since_ms: Option<u64>,
    /// The notes that its links lead to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Neighbour>,
}

/// All that is known of a folder's files.
pub(super) type Known = BTreeMap<Uri, Seen>;

/// The hash of a file's bytes: half a BLAKE3 in hexadecimal digits, so that no two files of a folder have one by chance.
pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

/// As [`hash`], of what is read.
///
/// # Errors
/// What the system says.
pub(super) fn hash_all(read: impl std::io::Read) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(read)?;
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

/// What a walk tells before any file is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// Files that look as they did.
    pub unchanged: Vec<Uri>,
    /// Files that must be read, in the order of the walk.
    pub to_read: Vec<Uri>,
    /// Files that are known and were not found.
    pub missing: Vec<Uri>,
}

/// Holds what a walk found against what is known. With `read_all`, every file is read: the settings changed.
pub(super) fn look(known: &Known, found: &BTreeMap<Uri, Stamp>, read_all: bool) -> Outside {
    let mut outside = Outside::default();
    for (uri, stamp) in found {
        let is_known = known.get(uri).is_some_and(|seen| seen.stamp == *stamp && stamp.modified_ns > 0);
        if is_known && !read_all {
            outside.unchanged.push(uri.clone());
        } else {
            outside.to_read.push(uri.clone());
        }
    }
    outside.missing = known.keys().filter(|uri| !found.contains_key(*uri)).cloned().collect();
    outside
}

/// Finds files that were moved: of `read`, those that are new and say what one of `missing` said. Answers where each came from,
/// and takes these off the missing ones. Of several that say the same, one of the same name goes first.
pub(super) fn find_moved(
    known: &Known,
    read: &BTreeMap<Uri, String>,
    missing: &mut Vec<Uri>,
) -> BTreeMap<Uri, Uri> {
    let mut lost: HashMap<&str, Vec<Uri>> = HashMap::new();
    for uri in missing.iter() {
        if let Some(seen) = known.get(uri).filter(|seen| seen.is_added) {
            lost.entry(&seen.hash).or_default().push(uri.clone());
        }
    }
    let is_new = |uri: &Uri| known.get(uri).is_none_or(|seen| !seen.is_added);
    let mut moved = BTreeMap::new();
    // Those that kept their names first: what is left may have got others.
    for by_name in [true, false] {
        for (uri, hash) in read.iter().filter(|(uri, _)| is_new(uri)) {
            if moved.contains_key(uri) {
                continue;
            }
            let Some(from) = lost.get_mut(hash.as_str()) else { continue };
            let place = from.iter().position(|from| !by_name || name(from) == name(uri));
            if let Some(place) = place {
                moved.insert(uri.clone(), from.remove(place));
            }
        }
    }
    let taken: std::collections::HashSet<&Uri> = moved.values().collect();
    missing.retain(|uri| !taken.contains(uri));
    moved
}

fn name(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(n: u64) -> Stamp {
        Stamp { bytes: n, modified_ns: n + 1 }
    }

    fn seen(n: u64, hash: &str) -> Seen {
        Seen {
            stamp: stamp(n),
            hash: hash.to_owned(),
            is_added: true,
            refused: None,
            missing_since_ms: None,
            links: Vec::new(),
        }
    }

    fn known(files: &[(&str, u64, &str)]) -> Known {
        files.iter().map(|(uri, n, hash)| ((*uri).to_owned(), seen(*n, hash))).collect()
    }

    fn texts<T: AsRef<str>>(items: &[T]) -> Vec<&str> {
        items.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn what_looks_as_it_did_is_not_read() {
        let known = known(&[("a", 1, "h1"), ("b", 2, "h2"), ("gone", 3, "h3")]);
        let found = [("a", 1), ("b", 9), ("new", 1)].map(|(uri, n)| (uri.to_owned(), stamp(n))).into();
        let outside = look(&known, &found, false);
        assert_eq!(texts(&outside.unchanged), ["a"]);
        assert_eq!(texts(&outside.to_read), ["b", "new"]);
        assert_eq!(texts(&outside.missing), ["gone"]);
        let all = look(&known, &found, true);
        assert_eq!((all.unchanged.len(), texts(&all.to_read)), (0, vec!["a", "b", "new"]));
    }

    #[test]
    fn a_file_whose_time_of_change_nobody_tells_is_read() {
        let mut known = known(&[("a", 1, "h")]);
        let timeless = Stamp { bytes: 1, modified_ns: 0 };
        known.get_mut("a").unwrap().stamp = timeless;
        let outside = look(&known, &[("a".to_owned(), timeless)].into(), false);
        assert_eq!(texts(&outside.to_read), ["a"]);
    }

    #[test]
    fn a_file_that_says_what_a_missing_one_said_was_moved_and_each_is_taken_once() {
        let known = known(&[("old/a.md", 1, "h1"), ("old/b.md", 2, "h1"), ("c.md", 3, "h3")]);
        let mut missing = ["old/a.md", "old/b.md", "c.md"].map(str::to_owned).to_vec();
        let read = [("new/b.md", "h1"), ("new/x.md", "h1"), ("new/y.md", "h1"), ("d.md", "h4")];
        let read = read.map(|(uri, hash)| (uri.to_owned(), hash.to_owned())).into();
        let moved = find_moved(&known, &read, &mut missing);
        let expected = [("new/b.md", "old/b.md"), ("new/x.md", "old/a.md")];
        assert_eq!(moved, expected.map(|(to, from)| (to.to_owned(), from.to_owned())).into());
        assert_eq!(texts(&missing), ["c.md"]);
    }

    #[test]
    fn a_file_that_is_known_is_edited_and_not_moved() {
        let known = known(&[("a.md", 1, "h1"), ("b.md", 2, "h2")]);
        let mut missing = vec!["a.md".to_owned()];
        let read = [("b.md".to_owned(), "h1".to_owned())].into();
        assert!(find_moved(&known, &read, &mut missing).is_empty());
        assert_eq!(texts(&missing), ["a.md"]);
    }

    proptest! {
        #[test]
        fn each_file_is_accounted_for_once(
            before in prop::collection::btree_map("[a-e]/[a-c]", (0u64..3, "[xyz]"), 0..8),
            after in prop::collection::btree_map("[a-e]/[a-c]", (0u64..3, "[xyz]"), 0..8),
        ) {
            let known: Known = before.iter().map(|(uri, (n, hash))| (uri.clone(), seen(*n, hash))).collect();
            let found = after.iter().map(|(uri, (n, _))| (uri.clone(), stamp(*n))).collect();
            let outside = look(&known, &found, false);
            prop_assert_eq!(outside.unchanged.len() + outside.to_read.len(), after.len());
            let read = outside.to_read.iter().map(|uri| (uri.clone(), after[uri].1.clone())).collect();
            let mut missing = outside.missing.clone();
            let moved = find_moved(&known, &read, &mut missing);
            prop_assert_eq!(moved.len() + missing.len(), outside.missing.len());
            for (to, from) in &moved {
                prop_assert_eq!(&after[to].1, &before[from].1);
                prop_assert!(!before.contains_key(to) && !after.contains_key(from));
            }
            let from: std::collections::BTreeSet<_> = moved.values().collect();
            prop_assert_eq!(from.len(), moved.len());
        }
    }
}
