//! How a file is named in what is signed, so that its name tells nobody where it lies.
//!
//! A grain that was taken from a file names it as its source, signed, and a private grain may be shared later. So an absolute
//! path never gets into a draft: each folder of it is replaced by a short hash of the path up to there, keyed by a secret of
//! this node, and only the name of the file itself stays.
//!
//! ```text
//! file:///home/you/notes/garden/roses.md   ->   file:q5zv3w7a/7mbnkd2x/c4e6o2pq/i7x2vwne/roses.md
//! ```
//!
//! That needs no table: the same file has the same name whichever folder it was added with, today and after a move to another
//! store with the same identity, so that an edited document finds its chunks; two folders of one name differ; and the beginning of
//! a path becomes the beginning of a name, so that a folder is still asked for by its path. What others can see is which
//! grains of an author are from one folder, and how deep it lies. The secret keeps them from trying paths.
//!
//! To show its owner where a file lies, a node remembers the folders that it was given, in a file of its own. Losing it costs
//! that alone.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use data_encoding::BASE32_NOPAD;
use synapsenet_proto::{AuthorId, Grain, Identity};

use crate::composed::composed;
use crate::data_folder::FOLDERS;

/// The use of the seed from which the secret is derived.
const CONTEXT: &str = "synapsenet v1 names of folders";
/// Bytes of a folder's hash, eight characters: of a million folders, chance gives two in one folder the same name once in two.
const TAG_BYTES: usize = 5;
/// The longest path that is looked at, as a URI: the longest that Linux takes, each byte encoded as three.
const MAX_PATH_BYTES: usize = 3 * 4096;
/// The longest path that is shown: a page of 1,000 grains, with 3 MiB of these and 256 bytes more of each, stays below 4 MiB.
const MAX_SHOWN_BYTES: usize = 640;
/// Folders that are remembered, some 100 bytes each; files of more are shown by their names alone.
const MAX_FOLDERS: usize = 65_536;
/// The most that their paths take, in bytes.
const MAX_FOLDERS_BYTES: usize = 16 << 20;

/// Names files, and knows where those lie that it named.
pub(crate) struct Places {
    key: [u8; 32],
    author: AuthorId,
    file: PathBuf,
    /// The signed name of a folder -> its path, percent-encoded as it came, with a slash at its end.
    folders: Mutex<Folders>,
}

/// Folders that are remembered.
#[derive(Default)]
struct Folders {
    by_name: HashMap<String, String>,
    /// How long their paths are together.
    bytes: usize,
}

impl Folders {
    /// Takes one in that there is room for. Answers whether it is new.
    fn remember(&mut self, name: String, path: &str) -> bool {
        let is_new = self.by_name.len() < MAX_FOLDERS
            && self.bytes + path.len() <= MAX_FOLDERS_BYTES
            && !self.by_name.contains_key(&name);
        if is_new {
            self.bytes += path.len();
            self.by_name.insert(name, path.to_owned());
        }
        is_new
    }
}

impl Places {
    /// Reads which folders are known in `data_dir`.
    pub fn open(data_dir: &Path, identity: &Identity) -> Self {
        let key = blake3::derive_key(CONTEXT, identity.seed().as_slice());
        let file = data_dir.join(FOLDERS);
        let places = Self { key, author: identity.author(), file, folders: Mutex::default() };
        match std::fs::read(&places.file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let folders = text.lines().filter(|line| line.starts_with('/') && line.ends_with('/'));
                for path in folders {
                    let name = places.name(path);
                    places.known().remember(name, path);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, file = %places.file.display(), "files are shown by their names alone");
            }
        }
        places
    }

    /// The name under which a source is signed: that of a file without its path, any other as it is. Of the beginning of a
    /// path, the beginning of the name; it may end in the middle of a file's name, but not of a folder's.
    pub fn signed(&self, uri: &str) -> String {
        path_in(uri).map_or_else(|| composed(uri.to_owned()), |path| self.name(&path))
    }

    /// As [`Places::signed`], of the beginning of a path that may be a folder without the slash at its end: one that is gone, or
    /// is not written as it is on the disk.
    pub fn signed_beginning(&self, uri: &str) -> String {
        let folder =
            path_in(uri).filter(|path| !path.ends_with('/')).map(|path| self.name(&format!("{path}/")));
        let is_known = |folder: &String| self.known().by_name.keys().any(|known| known.starts_with(folder));
        folder.filter(is_known).unwrap_or_else(|| self.signed(uri))
    }

    /// As [`Places::signed`], and remembers the folder.
    pub fn sign(&self, uri: &str) -> String {
        let Some(path) = path_in(uri) else { return composed(uri.to_owned()) };
        let name = self.name(&path);
        let folder = &path[..=path.rfind('/').unwrap_or(0)];
        let signed = self.name(folder);
        let mut known = self.known();
        if !folder.contains('\n')
            && known.remember(signed, folder)
            && let Err(error) = self.append(folder)
        {
            tracing::warn!(%error, file = %self.file.display(), "the folder of a file is not remembered");
        }
        name
    }

    /// Where the file lies that a grain of this node's author was taken from, as a URI; none when that is not known.
    /// `moved_to` is its source where that is another by now than the grain says.
    pub fn file_of(&self, grain: &Grain, moved_to: Option<&str>) -> Option<String> {
        let source = grain.body().draft.source.as_ref().filter(|_| grain.author() == self.author)?;
        self.path_of(moved_to.unwrap_or(&source.uri)).filter(|uri| uri.len() <= MAX_SHOWN_BYTES)
    }

    /// The file that has this name among what this node signed, as a URI; none when its folder is not known.
    pub fn path_of(&self, signed: &str) -> Option<String> {
        let named = signed.strip_prefix("file:")?;
        let (folder, name) = named.split_at(named.rfind('/').map_or(0, |slash| slash + 1));
        let path = self.known().by_name.get(&format!("file:{folder}")).cloned()?;
        Some(format!("file://{path}{name}"))
    }

    /// Whether a grain of this node's author tells a path: one that was sealed elsewhere may.
    pub fn tells_path(&self, grain: &Grain) -> bool {
        let source = grain.body().draft.source.as_ref();
        grain.author() == self.author && source.is_some_and(|source| path_in(&source.uri).is_some())
    }

    /// The name of a path, the same in whichever form its accents are written.
    fn name(&self, path: &str) -> String {
        let path = composed(path.to_owned());
        let mut name = "file:".to_owned();
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let mut rest = path.as_str();
        while let Some((folder, after)) = rest.split_once('/') {
            // Slashes that follow each other are one.
            if !folder.is_empty() {
                hasher.update(folder.as_bytes()).update(b"/");
                let tag = BASE32_NOPAD.encode(&hasher.finalize().as_bytes()[..TAG_BYTES]);
                name.extend([&tag.to_ascii_lowercase(), "/"]);
            }
            rest = after;
        }
        name.push_str(rest);
        name
    }

    fn append(&self, folder: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.file)?;
        file.write_all(format!("{folder}\n").as_bytes())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The absolute path that a source names, with the host before it if it is on another; none for any other source.
fn path_in(uri: &str) -> Option<String> {
    if uri.len() > MAX_PATH_BYTES {
        return None;
    }
    if uri.starts_with('/') {
        return Some(uri.to_owned());
    }
    let rest = uri.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("file:")).map(|_| &uri[5..])?;
    let Some(after) = rest.strip_prefix("//") else {
        return rest.starts_with('/').then(|| rest.to_owned());
    };
    // A host without a path tells of itself.
    let (host, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    match host {
        "" | "localhost" => Some(path.to_owned()),
        host => Some(format!("/{host}{}", if path.is_empty() { "/" } else { path })),
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_proto::{Draft, Source, Topic};

    use super::*;

    const ROSES: &str = "file:///home/anna/notes/garden/roses.md";

    fn places(seed: u8) -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::open(dir.path(), &Identity::from_seed(&[seed; 32]));
        (dir, places)
    }

    fn grain(seed: u8, uri: String) -> Grain {
        let source = Some(Source { uri, ordinal: 0 });
        let draft = Draft { topic: Topic::default(), text: "x".into(), source, ..Draft::default() };
        Grain::seal(draft, &Identity::from_seed(&[seed; 32]), 1).unwrap()
    }

    #[test]
    fn the_name_of_a_file_tells_no_folder() {
        let (_dir, places) = places(1);
        let name = places.sign(ROSES);
        assert!(name.starts_with("file:") && name.ends_with("/roses.md"), "{name}");
        for folder in ["home", "anna", "notes", "garden"] {
            assert!(!name.contains(folder), "{name}");
        }
        for same in ["/home/anna/notes/garden/roses.md", "FILE:/home/anna/notes/garden/roses.md"] {
            assert_eq!(places.signed(same), name);
        }
        assert_eq!(places.signed("file://localhost/home//anna/notes/garden/roses.md"), name);
        assert!(!places.signed("file://nas.example/anna/a.md").contains("nas"));
        assert!(!places.signed("file://nas.example").contains("nas"));
        for other in ["https://example.org/a", "stdin:0123", "file:notes/a.md", &name] {
            assert_eq!(places.sign(other), other);
        }
    }

    #[test]
    fn a_path_has_one_name_in_whichever_form_its_accents_are_and_is_shown_as_it_is() {
        let (_dir, places) = places(1);
        let apart = "file:///home/anna/Ku\u{308}che/note.md";
        let name = places.sign(apart);
        assert_eq!(places.signed("/home/anna/Küche/note.md"), name);
        assert!(name.starts_with(&places.signed("/home/anna/Küche/")));
        assert_eq!(places.file_of(&grain(1, name), None).as_deref(), Some(apart));
        for folder in ["/home/anna/Küche", "/home/anna", "file:///home/anna/Ku\u{308}che/"] {
            assert!(places.signed(apart).starts_with(&places.signed_beginning(folder)), "{folder}");
        }
        assert_eq!(places.signed_beginning("/home/anna/Küche/no"), places.signed("/home/anna/Küche/no"));
        assert_eq!(places.sign("https://example.org/Ku\u{308}che"), "https://example.org/Küche");
    }

    #[test]
    fn a_path_cannot_be_guessed_without_the_secret_of_the_node() {
        let ((_a, one), (_b, two)) = (places(1), places(2));
        assert_ne!(one.signed(ROSES), two.signed(ROSES));
        let (_c, again) = places(1);
        assert_eq!(one.signed(ROSES), again.signed(ROSES), "a restored node finds what it named");
    }

    #[test]
    fn the_beginning_of_a_path_is_the_beginning_of_a_name() {
        let (_dir, places) = places(1);
        let name = places.signed(ROSES);
        for beginning in
            ["/", "file:///home/", "file:///home/anna/notes/", "file:///home/anna/notes/garden/ro"]
        {
            assert!(name.starts_with(&places.signed(beginning)), "{beginning}");
        }
        for other in ["file:///home/berta/", "file:///home/anna/notes/gardens/", "file:///anna/notes/garden/"]
        {
            assert!(!name.starts_with(&places.signed(other)), "{other}");
        }
        // Two folders of one name are two.
        let [one, two] = ["/a/notes/x.md", "/b/notes/x.md"].map(|path| places.signed(path));
        assert_ne!(one, two);
    }

    #[test]
    fn the_owner_alone_is_shown_where_a_file_lies() {
        let (dir, places) = places(1);
        let (name, top) = (places.sign(ROSES), places.sign("/top:of.md"));
        assert_eq!(places.file_of(&grain(1, name.clone()), None).as_deref(), Some(ROSES));
        assert_eq!(places.file_of(&grain(1, top), None).as_deref(), Some("file:///top:of.md"));
        assert_eq!(places.file_of(&grain(2, name.clone()), None), None, "somebody else took the name over");
        assert_eq!(places.file_of(&grain(1, "https://example.org/a".into()), None), None);
        // Also after a start, and each folder once.
        places.sign("file:///home/anna/notes/garden/tulips.md");
        let places = Places::open(dir.path(), &Identity::from_seed(&[1; 32]));
        assert_eq!(places.file_of(&grain(1, name), None).as_deref(), Some(ROSES));
        let lines = std::fs::read_to_string(dir.path().join(FOLDERS)).unwrap();
        assert_eq!(lines, "/home/anna/notes/garden/\n/\n");
    }

    #[test]
    fn folders_are_remembered_as_long_as_there_is_room_for_their_paths() {
        let mut folders = Folders::default();
        let long = "x".repeat(MAX_FOLDERS_BYTES / 4);
        for n in 0..4 {
            assert!(folders.remember(format!("name {n}"), &long), "{n}");
        }
        assert!(!folders.remember("name 4".into(), "/a/") && !folders.remember("name 0".into(), ""));
        assert_eq!(folders.by_name.len(), 4);
    }

    #[test]
    fn a_grain_that_tells_a_path_is_known() {
        let (_dir, places) = places(1);
        assert!(places.tells_path(&grain(1, ROSES.into())));
        assert!(
            !places.tells_path(&grain(1, places.sign(ROSES))) && !places.tells_path(&grain(2, ROSES.into()))
        );
    }
}
