//! A pattern of names that are left out, as people type it.

use std::path::Path;
use std::str::FromStr;

use ignore::overrides::{Override, OverrideBuilder};

/// The longest pattern: more than any name has bytes.
const MAX_GLOB_BYTES: usize = 1024;
/// Patterns that hold together: each is tried on each name.
const MAX_GLOBS: usize = 256;

/// Names that are left out, such as `*.log`. It can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(String);

/// Why a text is no pattern, and how one looks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; good ones are '*.log', 'drafts/' (folders of that name) and 'old/**/*.md' (from the folder on)"
)]
pub(crate) struct BadGlob(String);

impl Glob {
    /// The pattern as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = BadGlob;

    fn from_str(text: &str) -> Result<Self, BadGlob> {
        if text.trim().is_empty() {
            return Err(BadGlob("a glob is not empty".into()));
        }
        if text.len() > MAX_GLOB_BYTES {
            return Err(BadGlob(format!("a glob has at most {MAX_GLOB_BYTES} bytes")));
        }
        if text.starts_with('!') {
            return Err(BadGlob("a glob says what is left out and needs no ! for that".into()));
        }
        let glob = Self(text.to_owned());
        overrides(Path::new("/"), std::slice::from_ref(&glob)).map(|_| glob).map_err(BadGlob)
    }
}

/// What leaves these names out below `folder`.
///
/// # Errors
/// Why they cannot hold together.
pub(super) fn overrides(folder: &Path, globs: &[Glob]) -> Result<Override, String> {
    if globs.len() > MAX_GLOBS {
        return Err(format!("{} globs are given; at most {MAX_GLOBS} are allowed", globs.len()));
    }
    let mut builder = OverrideBuilder::new(folder);
    for Glob(glob) in globs {
        // What this crate overrides with is what is taken; an exclamation mark turns that round.
        builder.add(&format!("!{glob}")).map_err(|error| plain(&error))?;
    }
    builder.build().map_err(|error| plain(&error))
}

/// What is wrong with a pattern, without the exclamation mark that nobody typed.
fn plain(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => format!("it is no glob: {err}"),
        ignore::Error::WithPath { err, .. }
        | ignore::Error::WithDepth { err, .. }
        | ignore::Error::WithLineNumber { err, .. } => plain(err),
        other => format!("it is no glob: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bad_glob_is_told_with_a_good_one() {
        for (bad, word) in [
            ("", "not empty"),
            (" ", "not empty"),
            ("[a", "no glob"),
            ("{a,b", "no glob"),
            ("!*.log", "needs no !"),
            (&"x".repeat(1025), "1024 bytes"),
        ] {
            let told = bad.parse::<Glob>().unwrap_err().to_string();
            assert!(told.contains(word) && told.contains("'*.log'"), "{bad:?}: {told}");
            assert!(bad.starts_with('!') || !told.contains("'!"), "{told}");
        }
        let many = vec!["*.log".parse::<Glob>().unwrap(); MAX_GLOBS + 1];
        assert!(overrides(Path::new("/"), &many).unwrap_err().contains("at most 256"));
    }

    #[test]
    fn a_glob_leaves_out_what_it_names_and_nothing_else() {
        let globs =
            ["*.log", "drafts/", "old/**/*.md", "#x", "with space.txt"].map(|glob| glob.parse().unwrap());
        let overrides = overrides(Path::new("/f"), &globs).unwrap();
        let is_out = |path: &str, is_folder| overrides.matched(path, is_folder).is_ignore();
        for (path, is_folder) in [
            ("/f/a.log", false),
            ("/f/b/a.log", false),
            ("/f/b/drafts", true),
            ("/f/old/b/a.md", false),
            ("/f/#x", false),
            ("/f/with space.txt", false),
        ] {
            assert!(is_out(path, is_folder), "{path}");
        }
        for (path, is_folder) in
            [("/f/a.md", false), ("/f/drafts", false), ("/f/b", true), ("/f/b/old/a.md", false)]
        {
            assert!(!is_out(path, is_folder), "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_glob_or_refused(text in "\\PC{0,40}") {
            if let Ok(glob) = text.parse::<Glob>() {
                prop_assert!(overrides(Path::new("/f"), &[glob]).is_ok());
            }
        }
    }
}
