//! Which language a short text is in, by the small words that every sentence of a language has.

/// How many small words of a language a text must have to be held to be in it: one alone may be a name ...
const MIN_FOUND: usize = 2;
/// ... unless it has so many letters, and there is none of another language.
const MIN_LETTERS_ALONE: usize = 5;

/// Small words by BCP 47 tags. Those that English texts have, too, are left out of the others.
const SMALL_WORDS: [(&str, &[&str]); 10] = [
    (
        "en",
        &[
            "the", "of", "and", "is", "are", "was", "were", "to", "in", "that", "it", "for", "with", "this",
            "from", "by", "be", "has", "have", "not", "do", "does", "how", "what", "where", "when", "who",
            "which", "why", "my", "your", "his", "her", "their", "our", "can", "will", "would", "should",
            "at", "on", "an", "a", "i", "comment",
        ],
    ),
    (
        "de",
        &[
            "der", "das", "und", "ist", "nicht", "ich", "ein", "eine", "einen", "dem", "den", "des", "zu",
            "mit", "sich", "auf", "für", "im", "von", "wie", "wo", "wann", "wer", "warum", "wird", "sind",
            "oder", "auch", "bei", "nach", "aus", "darf", "kann", "hat", "haben", "über", "zum", "zur",
            "mein", "meine", "welche",
        ],
    ),
    (
        "fr",
        &[
            "le", "les", "des", "une", "est", "et", "du", "dans", "pour", "que", "qui", "sur", "avec", "pas",
            "sont", "où", "quand", "comment", "quel", "quelle", "mon", "je", "il", "elle", "nous", "vous",
            "ce", "cette", "aux", "au", "ne", "pourquoi",
        ],
    ),
    (
        "es",
        &[
            "el", "los", "las", "una", "es", "y", "del", "que", "por", "para", "con", "dónde", "cuándo",
            "cómo", "qué", "está", "son", "se", "al", "lo", "su", "mi", "cuál", "donde", "como", "cuando",
        ],
    ),
    (
        "it",
        &[
            "il", "gli", "della", "che", "è", "di", "per", "dove", "quando", "come", "sono", "nel", "alla",
            "dei", "delle", "con", "perché", "cosa", "una", "un", "si", "mia", "mio",
        ],
    ),
    (
        "nl",
        &[
            "het", "een", "van", "en", "niet", "zijn", "voor", "met", "waar", "wanneer", "hoe", "wat", "wie",
            "ik", "op", "dat", "deze", "bij", "naar", "wordt", "mijn", "waarom", "aan",
        ],
    ),
    (
        "pt",
        &[
            "o", "os", "uma", "é", "e", "do", "da", "dos", "das", "que", "não", "para", "com", "onde",
            "quando", "como", "está", "são", "em", "na", "meu", "minha", "porque", "qual",
        ],
    ),
    (
        "sv",
        &[
            "och", "att", "det", "som", "är", "inte", "på", "för", "med", "jag", "var", "när", "hur", "vad",
            "ett", "till", "av", "den", "mitt", "vem",
        ],
    ),
    (
        "pl",
        &[
            "nie", "się", "jest", "na", "że", "jak", "gdzie", "kiedy", "kto", "dla", "z", "w", "co", "czy",
            "są", "przez", "moje", "mój", "dlaczego",
        ],
    ),
    (
        "tr",
        &[
            "ve", "bir", "bu", "için", "ne", "nerede", "nasıl", "mı", "mi", "değil", "ile", "var", "kim",
            "neden",
        ],
    ),
];

/// The language of a text, as a BCP 47 tag, where its small words tell: of the languages of Europe that many write in. None for
/// all others, and for texts of a few names.
#[must_use]
pub fn guess_language(text: &str) -> Option<&'static str> {
    /// A beginning tells as much as all of it.
    const MAX_WORDS: usize = 200;
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).take(MAX_WORDS);
    let words: Vec<&str> = words.collect();
    let found = |small: &[&str]| words.iter().filter(|word| small.contains(word)).count();
    let counts = SMALL_WORDS.map(|(tag, small)| (tag, found(small)));
    let (tag, most) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
    let others = counts.iter().filter(|(other, count)| *other != tag && *count == most).count();
    let is_alone = || {
        let small = words.iter().filter(|word| SMALL_WORDS.iter().any(|(_, small)| small.contains(word)));
        small.clone().count() == 1 && small.clone().all(|word| word.chars().count() >= MIN_LETTERS_ALONE)
    };
    (others == 0 && (most >= MIN_FOUND || most == 1 && is_alone())).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_of_a_sentence_is_known_by_its_small_words() {
        for (text, tag) in [
            ("Where is the shut-off for gas?", Some("en")),
            ("Wie entlüfte ich die Heizung?", Some("de")),
            ("Wann darf die Hecke geschnitten werden?", Some("de")),
            ("Où est la clé de la cave, et qui l'a prise ?", Some("fr")),
            ("¿Dónde está la llave del gas?", Some("es")),
            ("Dove sono le chiavi della cantina?", Some("it")),
            ("Waar is het gas, en wie heeft de sleutel?", Some("nl")),
            ("Onde está a chave do gás?", Some("pt")),
            ("Var är nyckeln till källaren?", Some("sv")),
            ("Gdzie jest klucz do piwnicy?", Some("pl")),
            ("Router startet nicht", Some("de")),
            ("pourquoi", Some("fr")),
            ("mein Router", None),
            ("come home", None),
            ("comment field", None),
            ("SN-4471-B", None),
            ("radiator bleeding", None),
            ("", None),
            ("หนังสือเดินทางหมดอายุเมื่อไร", None),
        ] {
            assert_eq!(guess_language(text), tag, "{text}");
        }
    }
}
