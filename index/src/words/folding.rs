//! Text as it is compared: compatibility forms, lower case, without accents and without what nobody sees.
//!
//! Each character of the result, a glyph, knows where in the text it came from, so that words can be marked there. The
//! text is read in clusters, a character with what combines with it, since no normal form looks further than that.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The most code points of a cluster that are read. The Unicode Consortium's stream-safe text has at most 30 marks on
/// a character (UAX 15); whatever has more is no language.
const MAX_CLUSTER_CHARS: usize = 32;

/// What a glyph is to the cutting of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A letter, a digit, a mark on one, or `_`.
    Word,
    /// A character of a script that puts no space between words.
    Gram,
    /// A sign that may stand within a name, a number or an address: `.`, `-`, `/`.
    Joint,
    /// White space.
    Space,
    /// Everything else: quotes, brackets, dashes, emoji.
    Break,
}

/// A folded character.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glyph {
    pub(crate) ch: char,
    /// What follows it where an umlaut is written out: the `e` of `ue` for `ü`.
    pub(crate) extra: Option<char>,
    pub(crate) class: Class,
    start: u32,
    end: u32,
}

impl Glyph {
    /// The bytes of the text that it stands for.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether it is a digit or another numeral.
    pub(crate) fn is_numeric(&self) -> bool {
        if self.ch.is_ascii() { self.ch.is_ascii_digit() } else { self.ch.is_numeric() }
    }
}

/// Folds texts, with the memory of the last one.
#[derive(Debug, Default)]
pub(crate) struct Folding {
    glyphs: Vec<Glyph>,
    /// The cluster that is being read.
    cluster: Vec<(char, Option<char>)>,
}

impl Folding {
    /// The glyphs of a text. What stands beyond 4 GiB is not read.
    pub(crate) fn fold(&mut self, text: &str) -> &[Glyph] {
        self.glyphs.clear();
        let text = &text[..text.floor_char_boundary(u32::MAX as usize)];
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let first = bytes[at];
            if first.is_ascii() && bytes.get(at + 1).is_none_or(u8::is_ascii) {
                self.push(first.to_ascii_lowercase() as char, None, at, at + 1);
                at += 1;
            } else {
                at = self.fold_cluster(text, at);
            }
        }
        &self.glyphs
    }

    fn push(&mut self, ch: char, extra: Option<char>, start: usize, end: usize) {
        self.glyphs.push(Glyph { ch, extra, class: class(ch), start: start as u32, end: end as u32 });
    }

    /// Folds the cluster that begins at `start` and says where it ends.
    fn fold_cluster(&mut self, text: &str, start: usize) -> usize {
        let rest = &text[start..];
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { return text.len() };
        let mut end = start + first.len_utf8();
        let mut read = end;
        let mut count = 1;
        for next in chars.take_while(|&next| extends(next)) {
            end += next.len_utf8();
            count += 1;
            if count <= MAX_CLUSTER_CHARS {
                read = end;
            }
        }
        if count == 1 && is_settled(first) {
            self.push(first, None, start, end);
            return end;
        }
        let mut composes = false;
        self.cluster.clear();
        for ch in text[start..read].chars().filter(|&ch| !is_ignorable(ch) && !is_trade_mark(ch)).nfkd() {
            for lower in ch.to_lowercase() {
                composes |= fold_char(lower, &mut self.cluster);
            }
        }
        let cluster = std::mem::take(&mut self.cluster);
        if composes {
            for ch in cluster.iter().map(|(ch, _)| *ch).nfc() {
                self.push(ch, None, start, end);
            }
        } else {
            for &(ch, extra) in &cluster {
                self.push(ch, extra, start, end);
            }
        }
        self.cluster = cluster;
        end
    }
}

/// A number that is the same for two texts of the same words in the same order, whatever their case, accents, white space and
/// punctuation are. 64 bits: no defence against texts that are made to collide. A text without any word is told by its bytes.
#[must_use]
pub fn folded_digest(text: &str) -> u64 {
    let mut folding = Folding::default();
    let mut folded = String::with_capacity(text.len());
    for glyph in folding.fold(text) {
        match glyph.class {
            Class::Word | Class::Gram => folded.push(glyph.ch),
            _ if folded.ends_with(' ') || folded.is_empty() => {}
            _ => folded.push(' '),
        }
    }
    let words = folded.trim_end();
    let hash = blake3::hash(if words.is_empty() { text.as_bytes() } else { words.as_bytes() });
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Appends a decomposed character in lower case to its cluster; says whether it may compose with the one before.
fn fold_char(ch: char, cluster: &mut Vec<(char, Option<char>)>) -> bool {
    if is_accent(ch) {
        if let Some((base, extra)) = cluster.last_mut() {
            match (*base, ch) {
                // Letters of their own, which their languages' stemmers tell apart.
                ('и', '\u{306}') => *base = 'й',
                ('у', '\u{306}') => *base = 'ў',
                ('і', '\u{308}') => *base = 'ї',
                ('a' | 'o' | 'u', '\u{308}') => *extra = Some('e'),
                ('a', '\u{30A}') => *extra = Some('a'),
                _ => {}
            }
        }
        return false;
    }
    let (folded, extra) = match ch {
        'ß' => return pair(cluster, 's', 's'),
        'æ' => return pair(cluster, 'a', 'e'),
        'œ' => return pair(cluster, 'o', 'e'),
        'þ' => return pair(cluster, 't', 'h'),
        'ø' => ('o', Some('e')),
        'ł' => ('l', None),
        'đ' | 'ð' => ('d', None),
        'ħ' => ('h', None),
        'ŧ' => ('t', None),
        'ı' => ('i', None),
        'ς' => ('σ', None),
        '\u{2018}' | '\u{2019}' | '\u{2BC}' => ('\'', None),
        '\u{201C}' | '\u{201D}' | '\u{201E}' => ('"', None),
        '\u{2010}' | '\u{2011}' | '\u{2212}' => ('-', None),
        // The Arabic stroke that widens a word.
        '\u{640}' => return false,
        _ => (ch, None),
    };
    cluster.push((folded, extra));
    is_combining_mark(ch) || matches!(ch, '\u{1161}'..='\u{11FF}')
}

fn pair(cluster: &mut Vec<(char, Option<char>)>, first: char, second: char) -> bool {
    cluster.extend([(first, None), (second, None)]);
    false
}

/// Whether a character belongs to the one before it: marks, vowels and finals of Korean syllables that are spelt out,
/// the voicing marks of narrow katakana, and what nobody sees.
fn extends(ch: char) -> bool {
    !ch.is_ascii()
        && (is_combining_mark(ch)
            || is_ignorable(ch)
            || matches!(ch, '\u{1161}'..='\u{11FF}' | '\u{FF9E}' | '\u{FF9F}'))
}

/// Whether a character is its own folded form, for the scripts in which most texts of such characters are written.
fn is_settled(ch: char) -> bool {
    matches!(ch, 'a'..='z' | '0'..='9' | 'а'..='и' | 'к'..='я' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}')
}

/// The marks that are accents, points or harakat, without which a word is the same word. Signs of the Indic scripts are
/// vowels, and those of kana make other syllables.
fn is_accent(ch: char) -> bool {
    matches!(ch,
        '\u{300}'..='\u{36F}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5BD}'
        | '\u{5BF}'
        | '\u{5C1}'
        | '\u{5C2}'
        | '\u{5C4}'
        | '\u{5C5}'
        | '\u{5C7}'
        | '\u{610}'..='\u{61A}'
        | '\u{64B}'..='\u{65F}'
        | '\u{670}'
        | '\u{6D6}'..='\u{6DC}'
        | '\u{6DF}'..='\u{6E4}'
        | '\u{6E7}'
        | '\u{6E8}'
        | '\u{6EA}'..='\u{6ED}'
        | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}')
}

/// Characters that show nothing (`Default_Ignorable_Code_Point` of Unicode): joiners, marks of direction, variation
/// selectors, soft hyphens.
pub(crate) fn is_ignorable(ch: char) -> bool {
    matches!(ch,
        '\u{AD}'
        | '\u{34F}'
        | '\u{61C}'
        | '\u{115F}'
        | '\u{1160}'
        | '\u{17B4}'
        | '\u{17B5}'
        | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}'
        | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFF8}'
        | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// The signs that NFKD would make letters of the name before them.
fn is_trade_mark(ch: char) -> bool {
    matches!(ch, '\u{2120}' | '\u{2122}')
}

fn class(ch: char) -> Class {
    match ch {
        'a'..='z' | '0'..='9' | '_' | 'A'..='Z' => Class::Word,
        '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ';' | '|' => Class::Break,
        '!'..='~' => Class::Joint,
        '\0'..='\x7F' => Class::Space,
        _ if ch.is_whitespace() || ch.is_control() => Class::Space,
        _ if !ch.is_alphanumeric() && !is_combining_mark(ch) => Class::Break,
        _ if is_unspaced(ch) => Class::Gram,
        _ => Class::Word,
    }
}

/// Scripts that put no space between words, and Korean, whose words take their particles without one.
fn is_unspaced(ch: char) -> bool {
    matches!(ch,
        // Thai and Lao, Myanmar, Khmer.
        '\u{E00}'..='\u{EFF}'
        | '\u{1000}'..='\u{109F}'
        | '\u{A9E0}'..='\u{A9FF}'
        | '\u{AA60}'..='\u{AA7F}'
        | '\u{1780}'..='\u{17FF}'
        // Hangul.
        | '\u{1100}'..='\u{11FF}'
        | '\u{3130}'..='\u{318F}'
        | '\u{A960}'..='\u{A97F}'
        | '\u{AC00}'..='\u{D7FF}'
        // Kana and bopomofo, Han.
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{312F}'
        | '\u{31A0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{1B000}'..='\u{1B16F}'
        | '\u{20000}'..='\u{3FFFF}')
}
