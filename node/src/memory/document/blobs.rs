//! Which stretches of a text are data and no words? What is coded in base64, as pictures and keys are in mails and notes: it says nothing
//! to a person, and hundreds of grains of it would bury what does.

use std::borrow::Cow;

use super::left_out::LeftOut;

/// The shortest run without white space that is taken for data: no word has so many letters, and no address so few other signs.
const MIN_RUN: usize = 200;
/// The shortest line of data that is broken into lines, as in mails (76) and in PEM (64).
const MIN_LINE: usize = 60;
/// So many of these lines follow each other at least.
const MIN_LINES: usize = 4;

/// The text without data, which is named.
pub(super) fn without_blobs<'a>(text: &'a str, left_out: &mut LeftOut) -> Cow<'a, str> {
    let mut kept = String::new();
    let mut done = 0;
    let mut bytes = 0;
    let mut leave = |range: std::ops::Range<usize>| {
        kept.push_str(&text[done..range.start]);
        bytes += range.len();
        done = range.end;
    };
    let mut block = Block::default();
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        let start = place + (line.len() - line.trim_start().len());
        place += line.len();
        if bare.len() >= MIN_LINE && bare.bytes().all(is_base64) {
            block.take(start, bare);
            block.is_sure |= bare.len() >= MIN_RUN && is_mixed(bare);
            continue;
        }
        // The last line of a block is a short one.
        if block.is_blob()
            && !bare.is_empty()
            && bare.len() < MIN_LINE
            && bare.bytes().all(is_base64)
            && is_end(bare)
        {
            block.take(start, bare);
            leave(std::mem::take(&mut block).range);
            continue;
        }
        let ended = std::mem::take(&mut block);
        if ended.is_blob() {
            leave(ended.range);
        }
        for run in runs(line) {
            leave(place - line.len() + run.start..place - line.len() + run.end);
        }
    }
    if block.is_blob() {
        leave(block.range);
    }
    if bytes == 0 {
        return Cow::Borrowed(text);
    }
    left_out.add(format!("{bytes} bytes of base64"), "data, not text");
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

/// Lines of data that follow each other.
#[derive(Default)]
struct Block {
    range: std::ops::Range<usize>,
    lines: usize,
    /// Capitals, small letters, digits, and signs that words are joined by.
    counts: [usize; 4],
    /// One line of it alone is data.
    is_sure: bool,
}

impl Block {
    fn take(&mut self, start: usize, line: &str) {
        if self.lines == 0 {
            self.range.start = start;
        }
        self.range.end = start + line.len();
        self.lines += 1;
        for (sum, count) in self.counts.iter_mut().zip(counts(line)) {
            *sum += count;
        }
    }

    fn is_blob(&self) -> bool {
        let is_long = self.lines >= MIN_LINES && are_mixed(self.counts, self.counts.iter().sum());
        self.is_sure || is_long
    }
}

/// The runs of data in a line.
fn runs(line: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for (place, byte) in line.bytes().chain([b' ']).enumerate() {
        match (start, is_base64(byte)) {
            (None, true) => start = Some(place),
            (Some(begun), false) => {
                if place - begun >= MIN_RUN && is_mixed(&line[begun..place]) {
                    found.push(begun..place);
                }
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn is_mixed(run: &str) -> bool {
    are_mixed(counts(run), run.len())
}

/// Whether there are all kinds of letters, and no more joints than chance gives: a path or a word of one kind is no data.
fn are_mixed([upper, lower, digits, joints]: [usize; 4], length: usize) -> bool {
    let few = length / 32;
    upper > few && lower > few && digits > few && joints <= length / 8
}

fn counts(run: &str) -> [usize; 4] {
    let count = |is: fn(&u8) -> bool| run.as_bytes().iter().filter(|b| is(b)).count();
    [
        count(u8::is_ascii_uppercase),
        count(u8::is_ascii_lowercase),
        count(u8::is_ascii_digit),
        count(|b| matches!(b, b'/' | b'-' | b'_')),
    ]
}

/// Whether a short line ends a block: a word would not have such signs.
fn is_end(line: &str) -> bool {
    let [upper, _, digits, _] = counts(line);
    line.ends_with('=') || (upper > 0 && digits > 0)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(length: usize) -> String {
        const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            SIGNS[(state >> 16) as usize % SIGNS.len()] as char
        };
        (0..length).map(|_| next()).collect()
    }

    fn kept(text: &str) -> (String, usize) {
        let mut left_out = LeftOut::default();
        let kept = without_blobs(text, &mut left_out).into_owned();
        (kept, left_out.into_list().len())
    }

    #[test]
    fn data_goes_and_is_named() {
        let run = blob(400);
        assert_eq!(kept(&format!("Before {run} after.")), ("Before  after.".into(), 1));
        assert_eq!(
            kept(&format!("![x](data:image/png;base64,{run})")),
            ("![x](data:image/png;base64,)".into(), 1)
        );
        let lines: Vec<String> = (0..20).map(|n| blob(76 + n)[n..].to_owned()).collect();
        let text = format!("Before.\n{}\nAb12=\nAfter.", lines.join("\n"));
        assert_eq!(kept(&text), ("Before.\n\nAfter.".into(), 1));
        assert_eq!(kept(&run), (String::new(), 1));
    }

    #[test]
    fn words_stay() {
        for text in [
            "Plain text.\nTwo lines.".to_owned(),
            "x".repeat(5000),
            "ACGT".repeat(500),
            "/a/Path2/of/Many/parts".repeat(40),
            format!("key {} end", blob(120)),
            format!("{}\n{}\nword", blob(64), blob(64)),
            "=".repeat(300),
            ["-"; 400].concat(),
            "0123456789abcdef".repeat(40),
        ] {
            assert_eq!(kept(&text), (text.clone(), 0));
        }
    }
}
