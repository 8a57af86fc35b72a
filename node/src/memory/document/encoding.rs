//! Which text do these bytes stand for? That of the encoding which is named, or else what they say themselves: by a mark at their
//! beginning, by being UTF-8, or in the head of a page. Nothing is guessed.

use encoding_rs::Encoding;

/// How far into a page its encoding is looked for, as browsers do.
const HEAD_BYTES: usize = 1024;

/// Why bytes are no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodingError {
    /// They have zeros, which no text has.
    #[error("it is no text")]
    NotText,
    /// They are not UTF-8 and do not say what they are.
    #[error("it is not UTF-8: name its encoding, as with --encoding windows-1252")]
    Unknown,
    /// There is no such encoding.
    #[error(
        "there is no encoding {0:?}: give a label such as utf-8, windows-1252, iso-8859-15, utf-16le, shift_jis or gb18030"
    )]
    NoSuchLabel(String),
    /// The text is not in the encoding that was named.
    #[error("it is not in the encoding {0}: name another, as with --encoding windows-1252")]
    Wrong(&'static str),
}

/// The text of a document, whose encoding is named by a label of the Encoding Standard of the WHATWG or, where that is empty, found out.
/// A mark at the beginning is no part of the text.
///
/// # Errors
/// [`EncodingError`].
pub(crate) fn decode(bytes: &[u8], label: &str, is_html: bool) -> Result<String, EncodingError> {
    if !label.is_empty() {
        let encoding = Encoding::for_label(label.trim().as_bytes())
            .ok_or_else(|| EncodingError::NoSuchLabel(label.chars().take(40).collect()))?;
        return decode_as(bytes, encoding).ok_or(EncodingError::Wrong(encoding.name()));
    }
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return decode_as(bytes, encoding).ok_or(EncodingError::Wrong(encoding.name()));
    }
    let named = if is_html { named_in_head(bytes) } else { None };
    let utf8 = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    match (utf8, named) {
        // What is valid UTF-8 is nothing else, unless all of it is ASCII, which other encodings code their letters in.
        (Some(text), Some(encoding)) if text.is_ascii() && !encoding.is_ascii_compatible() => {
            Ok(decode_as(bytes, encoding).unwrap_or_else(|| text.to_owned()))
        }
        (Some(text), _) => Ok(text.to_owned()),
        (None, _) if bytes.contains(&0) => Err(EncodingError::NotText),
        (None, Some(encoding)) => decode_as(bytes, encoding).ok_or(EncodingError::Wrong(encoding.name())),
        (None, None) => Err(EncodingError::Unknown),
    }
}

/// Whether there is such an encoding.
pub(crate) fn is_label(label: &str) -> bool {
    Encoding::for_label(label.trim().as_bytes()).is_some()
}

fn decode_as(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    let (text, _, is_broken) = encoding.decode(bytes);
    (!is_broken && !text.contains('\0')).then(|| text.into_owned())
}

/// The encoding that a page names in its head, or in the declaration before it.
fn named_in_head(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let after =
        ["charset=", "encoding="].iter().find_map(|name| head.split_once(name).map(|(_, after)| after))?;
    let label = after.trim_start_matches(['"', '\'', ' ']);
    let label = &label
        [..label.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c)).unwrap_or(label.len())];
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utf16(text: &str, is_little: bool) -> Vec<u8> {
        let unit = |unit: u16| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect()
    }

    #[test]
    fn a_text_is_read_by_its_mark_its_head_or_its_label() {
        let latin1 = b"Der Schl\xfcssel".as_slice();
        assert_eq!(decode("\u{feff}Grün".as_bytes(), "", false).unwrap(), "Grün");
        assert_eq!(decode(&utf16("Grün", true), "", false).unwrap(), "Grün");
        assert_eq!(decode(&utf16("Grün", false), "", false).unwrap(), "Grün");
        assert_eq!(decode(latin1, "windows-1252", false).unwrap(), "Der Schlüssel");
        assert_eq!(decode(latin1, " Latin1 ", false).unwrap(), "Der Schlüssel");
        let page = [b"<html><head><meta charset=\"iso-8859-1\"></head>".as_slice(), latin1].concat();
        assert!(decode(&page, "", true).unwrap().ends_with("Der Schlüssel"));
        let page = b"<meta http-equiv=content-type content='text/html; charset=iso-2022-jp'>\x1b$B4A\x1b(B";
        assert!(decode(page, "", true).unwrap().ends_with('漢'));
        let wrong = "<meta charset=windows-1252>Grün";
        assert_eq!(decode(wrong.as_bytes(), "", true).unwrap(), wrong, "UTF-8 is seen");
    }

    #[test]
    fn what_is_not_known_says_what_to_do() {
        assert_eq!(decode(b"\x89PNG\0\0", "", false), Err(EncodingError::NotText));
        assert_eq!(decode(b"caf\xe9", "", false), Err(EncodingError::Unknown));
        assert!(EncodingError::Unknown.to_string().contains("--encoding windows-1252"));
        assert!(matches!(decode(b"x", "klingon", false), Err(EncodingError::NoSuchLabel(_))));
        assert_eq!(decode(b"caf\xe9", "utf-8", false), Err(EncodingError::Wrong("UTF-8")));
    }

    proptest! {
        #[test]
        fn what_was_written_in_utf_16_or_utf_8_is_read(text in "[^\\x00\u{feff}]{0,50}") {
            prop_assert_eq!(&decode(&utf16(&text, true), "", false).unwrap(), &text);
            prop_assert_eq!(&decode(text.as_bytes(), "", false).unwrap(), &text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_html: bool) {
            if let Ok(text) = decode(&bytes, "", is_html) {
                prop_assert!(!text.contains('\0'));
            }
        }
    }
}
