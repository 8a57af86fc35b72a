//! How is a text with accents written? Letter and accent as one character where Unicode has one (NFC), so that what was typed on
//! one system equals what was typed on another.

use synapsenet_proto::Draft;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::is_nfc_quick;

/// The text in its composed form (Unicode Standard Annex 15, NFC).
pub(crate) fn composed(text: String) -> String {
    match is_nfc_quick(text.chars()) {
        unicode_normalization::IsNormalized::Yes => text,
        _ => text.nfc().collect(),
    }
}

/// A draft whose text, title and tags are in the composed form. Its source is composed where it gets its name.
pub(crate) fn composed_draft(draft: Draft) -> Draft {
    Draft {
        text: composed(draft.text),
        title: composed(draft.title),
        tags: draft.tags.into_iter().map(composed).collect(),
        ..draft
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letter_and_accent_become_one_character_and_nothing_else_changes() {
        assert_eq!(composed("Ku\u{308}che".into()), "Küche");
        for text in ["", "Küche", "plain", "ﬁ ① 漢字", "한글"] {
            assert_eq!(composed(text.into()), text);
        }
        let draft = Draft {
            text: "Tu\u{308}r".into(),
            title: "Tu\u{308}r".into(),
            tags: vec!["Tu\u{308}r".into()],
            ..Draft::default()
        };
        let draft = composed_draft(draft);
        assert_eq!(
            (draft.text.as_str(), draft.title.as_str(), draft.tags),
            ("Tür", "Tür", vec!["Tür".into()])
        );
    }
}
