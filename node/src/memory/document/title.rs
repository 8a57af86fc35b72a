//! What is the title of a chunk? That of its document and the headings above it, each once.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use synapsenet_proto::MAX_TITLE_BYTES;

/// Between the parts of a title.
const SEPARATOR: &str = " > ";

/// The title of what stands below these headings: the document's, then the headings.
pub(super) fn title(document: &str, headings: &[Arc<str>]) -> String {
    let whole = whole(document, headings);
    whole[..whole.floor_char_boundary(MAX_TITLE_BYTES)].trim_end().to_owned()
}

/// Whether a title says all that it is made of.
pub(super) fn fits(document: &str, headings: &[Arc<str>]) -> bool {
    whole(document, headings).len() <= MAX_TITLE_BYTES
}

fn whole(document: &str, headings: &[Arc<str>]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in std::iter::once(document).chain(headings.iter().map(AsRef::as_ref)) {
        let part: String = part.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let part = part.trim();
        let is_said = |said: &String| said.to_lowercase() == part.to_lowercase();
        // A page's title often is its first heading and the name of the site.
        let is_in_first = parts.len() == 1 && !document.is_empty() && has_words(&parts[0], part);
        if !part.is_empty() && !parts.iter().any(is_said) && !is_in_first {
            parts.push(part.to_owned());
        }
    }
    parts.join(SEPARATOR)
}

/// Whether a text begins with these words.
fn has_words(text: &str, words: &str) -> bool {
    let after = text.get(words.len()..).filter(|_| text.is_char_boundary(words.len()));
    let begins = text.get(..words.len()).is_some_and(|begin| begin.to_lowercase() == words.to_lowercase());
    begins && after.is_some_and(|after| after.trim_start().starts_with(['-', '–', '—', '|', '·', '»', ':']))
}

/// How a document is called that a URI or a path names: the last part of it, decoded. Empty where it names no file.
pub(crate) fn file_name(uri: &str) -> String {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
    let path = match scheme {
        // A page is asked for with words behind its path; a file may have any sign in its name.
        "http" | "https" => {
            let path = rest.trim_start_matches("//").split(['?', '#']).next().unwrap_or_default();
            path.split_once('/').map_or("", |(_, path)| path)
        }
        "file" => rest,
        _ if rest.contains('/') || scheme.is_empty() => uri,
        _ => return String::new(),
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    percent_decode_str(name).decode_utf8_lossy().into_owned()
}

/// A file's name as a title: without its ending.
pub(super) fn of_file(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= 10 && !ending.contains(' ') => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &str, headings: &[&str]) -> String {
        let headings: Vec<Arc<str>> = headings.iter().map(|&heading| heading.into()).collect();
        title(document, &headings)
    }

    #[test]
    fn a_title_is_that_of_the_document_and_its_headings_each_once() {
        assert_eq!(of("house", &[]), "house");
        assert_eq!(of("", &["House", "Roof"]), "House > Roof");
        assert_eq!(of("The house", &["the house", "Roof"]), "The house > Roof");
        assert_eq!(of("Cooling – My site", &["Cooling", "Fans"]), "Cooling – My site > Fans");
        assert_eq!(of("Water filter", &["Water"]), "Water filter > Water");
        assert_eq!(of("a", &["b\nc"]), "a > b c");
        assert!(of(&"ä".repeat(300), &["x"]).len() <= MAX_TITLE_BYTES);
    }

    #[test]
    fn a_file_is_called_by_its_name_without_the_ending() {
        for (uri, name, title) in [
            ("file:///notes/Kneipp%20cure.md", "Kneipp cure.md", "Kneipp cure"),
            ("/notes/2025-03.md", "2025-03.md", "2025-03"),
            ("file:a/b.tar.gz", "b.tar.gz", "b.tar"),
            ("https://example.org/a/page.html?x=1/2#top", "page.html", "page"),
            ("https://example.org", "", ""),
            ("stdin:0123456789abcdef", "", ""),
            ("urn:isbn:123", "", ""),
            ("notes.md", "notes.md", "notes"),
            ("/notes/Mr. Smith", "Mr. Smith", "Mr. Smith"),
            ("/notes/.profile", ".profile", ".profile"),
        ] {
            let found = file_name(uri);
            assert_eq!((found.as_str(), of_file(&found)), (name, title), "{uri}");
        }
    }
}
