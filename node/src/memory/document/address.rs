//! What of the address behind a link is told? All of one that leads out; of one that leads to a neighbour, its name; nothing where it
//! is what the link shows already.

use percent_encoding::percent_decode_str;

/// Endings of notes, which are no part of their names.
const ENDINGS: [&str; 5] = [".md", ".markdown", ".html", ".htm", ".txt"];
/// The longest address that is told: what is longer carries data and leads to no place that a person could name.
const MAX_ADDRESS_BYTES: usize = 2048;

/// What is told of an address whose link shows `shown`; `is_wiki` for the name of a note, as in `[[name|shown]]`.
pub(super) fn address(address: &str, shown: &str, is_wiki: bool) -> Option<String> {
    let address = address.trim();
    if address.is_empty() || address.starts_with('#') {
        return None;
    }
    let told = match scheme(address) {
        Some(scheme)
            if ["javascript", "data", "vbscript", "about", "blob"]
                .iter()
                .any(|no| scheme.eq_ignore_ascii_case(no)) =>
        {
            return None;
        }
        Some(_) => address[..address.floor_char_boundary(MAX_ADDRESS_BYTES)].to_owned(),
        None if address.starts_with("//") => {
            address[..address.floor_char_boundary(MAX_ADDRESS_BYTES)].to_owned()
        }
        None => name_of(address, is_wiki),
    };
    let is_shown = same(&told, shown) || same(address, shown);
    (!told.is_empty() && !is_shown).then_some(told)
}

/// The scheme of an absolute address. One letter would be the drive of a path.
pub(super) fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some(scheme)
}

/// The name of a neighbour: the last part of its path, without the ending of a note.
fn name_of(address: &str, is_wiki: bool) -> String {
    if is_wiki {
        return address.to_owned();
    }
    let (path, anchor) = address.split_once('#').unwrap_or((address, ""));
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending)).map_or(0, |ending| ending.len());
    let name = &name[..name.len() - ending];
    let name = if name.chars().all(|c| c == '.') { "" } else { name };
    // The place in another note says something, one in this note nothing that its headings do not.
    match anchor.is_empty() || name.is_empty() {
        true => name.to_owned(),
        false => format!("{name}#{}", percent_decode_str(anchor).decode_utf8_lossy()),
    }
}

/// Whether a person reads the same: the scheme and the slash at the end aside.
fn same(told: &str, shown: &str) -> bool {
    let bare = |text: &str| {
        let text = text.trim().to_lowercase();
        let starts = ["https://", "http://", "mailto:", "tel:", "www."];
        let bare = starts.iter().fold(text.as_str(), |text, start| text.strip_prefix(start).unwrap_or(text));
        bare.trim_end_matches('/').to_owned()
    };
    bare(told) == bare(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(link: &str, shown: &str) -> Option<String> {
        address(link, shown, false)
    }

    #[test]
    fn an_address_is_told_where_it_says_more_than_the_link() {
        let manual = "https://docs.example.org/hp/manual-7.pdf";
        assert_eq!(told(manual, "Manual").as_deref(), Some(manual));
        for (link, shown) in [
            (manual, manual),
            ("https://example.org/", "example.org"),
            ("http://www.example.org", "www.example.org"),
            ("mailto:me@example.org", "me@example.org"),
            ("#steps", "see below"),
            ("", "x"),
            ("javascript:void(0)", "menu"),
            ("Water%20filter.md", "water filter"),
            ("../", "up"),
        ] {
            assert_eq!(told(link, shown), None, "{link} {shown}");
        }
        assert_eq!(told("../notes/Water%20filter.md", "this").as_deref(), Some("Water filter"));
        assert_eq!(told("pump.md#inlet", "this").as_deref(), Some("pump#inlet"));
        assert_eq!(told("img/photo.jpg", "the pump").as_deref(), Some("photo.jpg"));
        assert_eq!(told("tel:+4912", "call").as_deref(), Some("tel:+4912"));
        assert_eq!(address("Heating/Flue", "flue", true).as_deref(), Some("Heating/Flue"));
        assert_eq!(address("Flue", "flue", true), None);
    }
}
