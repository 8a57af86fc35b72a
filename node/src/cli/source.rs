//! How a file is named to the node: an absolute `file:` URI, and back to a path for people.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use synapsenet_proto::rpc;

use super::output::{Output, hyperlink, one_line};
use crate::files::file_uri;

/// A source for people: the path of a file, its name alone where the path is not told, any other URI as it is.
pub(crate) fn display(uri: &str) -> Cow<'_, str> {
    let path = match (uri.strip_prefix("file://"), uri.strip_prefix("file:")) {
        (Some(path), _) => path,
        (None, Some(named)) => named.rsplit('/').next().unwrap_or(named),
        (None, None) => return Cow::Borrowed(uri),
    };
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The path that a file: URI with a whole path names; none for any other.
pub(crate) fn path_of(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://").filter(|path| path.starts_with('/'))?;
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    Some(OsStr::from_bytes(&bytes).into())
}

/// What is shown of where a grain was taken from, which a terminal opens by a click on it where it can and the file is known.
pub(crate) fn linked(shown: &str, grain: &rpc::Grain, out: &Output) -> String {
    match path_of(&grain.file_uri) {
        Some(_) if out.has_links() => hyperlink(shown, &grain.file_uri),
        _ => shown.to_owned(),
    }
}

/// What a grain was taken from, for people, if it was taken from anywhere: where the file lies, when the node knows it.
pub(crate) fn origin(grain: &rpc::Grain) -> Option<Cow<'_, str>> {
    let source = grain.source.as_ref()?;
    Some(display(if grain.file_uri.is_empty() { &source.uri } else { &grain.file_uri }))
}

/// Where a grain was taken from, for people; empty when it was not taken from anywhere.
pub(crate) fn place(grain: &rpc::Grain) -> String {
    let (Some(source), Some(place)) = (&grain.source, origin(grain)) else { return String::new() };
    // Parts are counted from 1 for people.
    one_line(&format!("{place} #{}", u64::from(source.ordinal) + 1), usize::MAX / 8)
}

/// What `--source` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The beginning of URIs.
    pub(crate) prefix: String,
    /// Whether that is all of a URI: one file is meant.
    pub(crate) is_whole: bool,
}

/// Reads `--source`: a URI's beginning as it is; the path of a file as its URI; the path of a folder as the beginning of all that
/// is below it. What they name may be gone, as their grains are still there: then a folder has a slash at its end.
pub(crate) fn place_of(text: &str) -> Place {
    let of_file = |path: &Path| Place { prefix: file_uri(path), is_whole: true };
    let of_folder = |path: &Path| {
        let uri = file_uri(path);
        Place { prefix: if uri.ends_with('/') { uri } else { uri + "/" }, is_whole: false }
    };
    let is_folder = text.ends_with('/');
    match Path::new(text).canonicalize() {
        Ok(path) if path.is_dir() => of_folder(&path),
        Ok(path) => of_file(&path),
        Err(_) => match gone(text) {
            Some(path) if is_folder => of_folder(&path),
            Some(path) => of_file(&path),
            None => Place { prefix: text.to_owned(), is_whole: false },
        },
    }
}

/// The absolute path that is meant by a text that names nothing on this machine any more; none when it is hardly a path. A name that
/// is not absolute is a path when it begins with a dot and a slash, or lies in a folder that is there.
fn gone(text: &str) -> Option<PathBuf> {
    let named = Path::new(text);
    let is_uri = text.split('/').next().is_some_and(|first| first.contains(':'));
    let lies_in = named.parent().filter(|folder| !folder.as_os_str().is_empty());
    let is_path = named.is_absolute()
        || text.starts_with("./")
        || text.starts_with("../")
        || !is_uri && lies_in.is_some_and(Path::is_dir)
        || !is_uri && lies_in.is_none() && named.extension().is_some();
    let absolute = std::path::absolute(named).ok().filter(|_| is_path)?;
    // As it was when it was there: links on the way to it were followed.
    let real = absolute.ancestors().find_map(|there| {
        let real = there.canonicalize().ok()?;
        Some(real.join(absolute.strip_prefix(there).ok()?))
    });
    Some(real.unwrap_or(absolute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri_and_a_path_again() {
        for (path, uri) in [
            ("/a/b.md", "file:///a/b.md"),
            ("/my notes/50%#?.txt", "file:///my%20notes/50%25%23%3F.txt"),
            ("/дом/日本.md", "file:///дом/日本.md"),
            ("/line\nbreak", "file:///line%0Abreak"),
        ] {
            assert_eq!(file_uri(Path::new(path)), uri);
            assert_eq!(display(uri), path);
            assert_eq!(path_of(uri).unwrap(), Path::new(path));
        }
        assert_eq!(path_of("file:///a%FFb").unwrap().as_os_str(), OsStr::from_bytes(b"/a\xffb"));
        for other in ["", "file:a/b.md", "https://example.org/", "file://host/a.md", "file://"] {
            assert_eq!(path_of(other), None, "{other}");
        }
        assert_eq!(file_uri(Path::new(OsStr::from_bytes(b"/a\xffb"))), "file:///a%FFb");
    }

    #[test]
    fn other_uris_are_shown_as_they_are() {
        for uri in ["https://example.org/a%20b", "stdin:1234", "%", "file"] {
            assert_eq!(display(uri), uri);
        }
        assert_eq!(display("file:///odd%zz%"), "/odd%zz%");
        // What others shared: the folders are not told.
        assert_eq!(display("file:q5zv3w7a/7mbnkd2x/my%20roses.md"), "my roses.md");
    }

    #[test]
    fn a_folder_means_all_that_is_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("a.md"), "x").unwrap();
        std::os::unix::fs::symlink(&root, root.join("link")).unwrap();
        let place = |text: &str| {
            let Place { prefix, is_whole } = place_of(text);
            (prefix, is_whole)
        };
        let below = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let uri = |name: &str| format!("file://{}/{name}", root.display());
        assert_eq!(place(&below("")), (uri(""), false));
        assert_eq!(place(&below("a.md")), (uri("a.md"), true));
        // What is gone was named as it lay.
        assert_eq!(place(&below("link/gone.md")), (uri("gone.md"), true));
        assert_eq!(place(&below("gone/")), (uri("gone/"), false));
        assert_eq!(place("/gone/away.md"), ("file:///gone/away.md".into(), true));
        assert_eq!(place("/"), ("file:///".into(), false));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        for named in ["gone.md", "./gone", "src/gone"] {
            let path = here.join(named.trim_start_matches("./"));
            assert_eq!(place(named), (file_uri(&path), true), "{named}");
        }
        for other in ["https://example.org/", "file:q5zv3w7a/", "stdin:1234", "meeting", "gone/away.md"] {
            assert_eq!(place(other), (other.to_owned(), false), "{other}");
        }
    }
}
