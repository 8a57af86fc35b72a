use super::*;
use crate::words::stems::{is_question_word, is_stop_word};

/// The tokens of a text: words as they are, what stays verbatim in `[]`, characters in `<>`, and umlauts written out
/// after `|`.
fn tokens(text: &str) -> String {
    let mut tokens = Vec::new();
    Tokens::default().cut(text, |token| {
        assert!(text.is_char_boundary(token.range.start) && text.is_char_boundary(token.range.end));
        let spelt = token.spelt.as_ref().map(|spelt| format!("|{spelt}")).unwrap_or_default();
        tokens.push(match token.kind {
            Kind::Word => format!("{}{spelt}", token.form),
            Kind::Verbatim => format!("[{}{spelt}]", token.form),
            Kind::Gram => format!("<{}>", token.form),
        });
    });
    tokens.join(" ")
}

#[test]
fn words_of_ten_scripts_are_cut_and_folded() {
    for (text, expected) in [
        ("Crème brûlée, naïve Façade", "creme brulee naive facade"),
        ("Çığ İstanbul", "cig istanbul"),
        ("Łódź Đorđe smørrebrød", "lodz dorde smorrebrod|smoerrebroed"),
        ("Größe Übermut", "grosse|groesse ubermut|uebermut"),
        ("Ångström Ærø œuvre þorn", "angstrom|aangstroem aero|aeroe oeuvre thorn"),
        ("STRASSE straße STRAẞE", "strasse strasse strasse"),
        ("Ёлка и йод, ЇЖАК", "елка и йод їжак"),
        ("Ὀδυσσεύς Ἀθῆναι ΑΘΉΝΑΙ", "οδυσσευσ αθηναι αθηναι"),
        ("كِتَابٌ أحمد مـــدرسة", "كتاب احمد مدرسة"),
        ("שָׁלוֹם עולם", "שלום עולם"),
        ("हिन्दी की किताबें", "हिन्दी की किताबें"),
        ("中华人民", "<中华> <华人> <人民>"),
        ("東京タワーへ", "<東京> <京タ> <タワ> <ワー> <ーへ>"),
        ("ｶﾞｲﾄﾞ がイ", "<ガイ> <イド> <がイ>"),
        ("한국어 말", "<한국> <국어> <말>"),
        ("ไทย", "<ไท> <ทย>"),
        ("ພາສາ", "<ພາ> <າສ> <ສາ>"),
        ("தமிழ் মা ಕನ್ನಡ", "தமிழ் মা ಕನ್ನಡ"),
    ] {
        assert_eq!(tokens(text), expected, "{text}");
    }
}

#[test]
fn compatibility_forms_and_decomposed_letters_are_the_letters() {
    assert_eq!(tokens("ﬁle Ｗｉｄｅ ① Acme™ ½"), "file wide [1] acme [1] [2]");
    assert_eq!(tokens("u\u{308}ber e\u{301}"), "uber|ueber e");
    // Korean as file systems of Apple spell it.
    assert_eq!(tokens("\u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}"), "<한국>");
    assert_eq!(tokens("\u{438}\u{306}од"), "йод");
}

#[test]
fn what_nobody_sees_does_not_part_words() {
    assert_eq!(
        tokens("soft\u{AD}hyphen zero\u{200B}width \u{202E}bidi\u{202C} می\u{200C}خواهم"),
        "softhyphen zerowidth bidi میخواهم"
    );
}

#[test]
fn emoji_are_no_words() {
    assert_eq!(tokens("so 😀👍🏽 ❤️ 👨‍👩‍👧 nice 🇩🇪"), "so nice");
}

#[test]
fn apostrophes_leave_no_single_letters() {
    assert_eq!(
        tokens("the cat's don't l’homme d'accord rock 'n' roll 'a'"),
        "the cat don homme accord rock n roll a"
    );
}

#[test]
fn names_numbers_and_addresses_are_whole_and_in_parts() {
    for (text, expected) in [
        ("192.168.1.44", "[192.168.1.44] [192] [168] [1] [44]"),
        ("(SN-4471-B).", "[sn-4471-b] sn [4471] b"),
        ("error[E0382]:", "error [e0382]"),
        ("<a@b.c>,", "[a@b.c] a b c"),
        ("https://x/y?z=1!", "[https://x/y?z=1] https x y z [1]"),
        ("foo::bar()", "[foo::bar] foo bar"),
        ("am 14.03.2026.", "am [14.03.2026] [14] [03] [2026]"),
        ("C++, C#; F#?", "[c++] c [c#] c [f#] f"),
        (".env ../up $HOME ~/.ssh", "[.env] env [/up] up [$home] home [~/.ssh] ssh"),
        ("#tag @name 50% 1,000", "[#tag] tag [@name] name [50%] [50] [1,000] [1] [000]"),
        ("well-known a,b e.g.", "well known a b [e.g] e g"),
        ("read_file __init__ _ ___", "[read_file] read file [__init__] init"),
        ("self.read_file(camelCase)", "[self.read_file] self [read_file] read file camelcase"),
        ("C:\\temp\\a.txt", "[c:\\temp\\a.txt] c temp a txt"),
        ("2024年3月", "[2024] <年> [3] <月>"),
        ("Größe_1", "[grosse_1|groesse_1] grosse|groesse [1]"),
        ("wait... what?! -- (so)", "wait what so"),
        ("1:2=3&4", "[1:2=3&4] [1] [2] [3] [4]"),
    ] {
        assert_eq!(tokens(text), expected, "{text}");
    }
}

#[test]
fn a_long_token_keeps_its_beginning_and_differs_from_others() {
    let long = "ü".repeat(100);
    let other = format!("{}x", "ü".repeat(99));
    let of = |text: &str| {
        let mut forms = Vec::new();
        Tokens::default()
            .cut(text, |token| forms.push((token.form.into_owned(), token.spelt.map(Cow::into_owned))));
        forms
    };
    let [(form, Some(spelt))] = &of(&long)[..] else { panic!("it is one word") };
    assert!(form.starts_with("uuuu") && spelt.starts_with("ueue"));
    assert!(form.len() <= MAX_TOKEN_BYTES && spelt.len() <= MAX_TOKEN_BYTES);
    assert_eq!(of(&long), of(&long));
    assert_ne!(of(&long), of(&other));
    assert_eq!(of(&"a".repeat(64))[0].0, "a".repeat(64));
}

#[test]
fn the_lists_of_words_can_be_searched() {
    for word in ["a", "with", "there", "into"] {
        assert!(is_stop_word(word), "{word}");
    }
    for word in ["am", "how", "why", "you", "does", "which"] {
        assert!(is_question_word(word), "{word}");
    }
    assert!(!is_stop_word("cat") && !is_question_word("cat") && !is_stop_word("how"));
}
