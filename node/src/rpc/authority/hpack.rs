//! As much of HPACK (RFC 7541) as it takes to find the authority in a block of headers.

use std::sync::LazyLock;

use tonic::codegen::http::uri::Authority;

/// The pseudo-header, and its place in the table that everybody has (RFC 7541, appendix A).
const NAME: &[u8] = b":authority";
const PLACE: usize = 1;
/// The longest code of appendix B, in bits.
const MAX_CODE: usize = 30;
/// The symbol that ends a text, which none may contain.
const END: u16 = 256;
/// The length of the code of each byte, in bits (appendix B). Of equal length, the code of the smaller byte is the smaller:
/// the lengths say all.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The block with an `x` for each byte of an authority that is none; nothing when its authority is one, or not found.
///
/// Both sides keep a table of what was sent before, and both must drop the same entries from it: so the text stays as long
/// as it was.
pub(super) fn with_authority(block: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor { block, at: 0 };
    while let Some(&first) = block.get(cursor.at) {
        // The kinds of entries, by their first bits (section 6): indexed, two literals, a new size of the table.
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let place = cursor.integer(bits)?;
        if matches!(bits, 5 | 7) {
            continue;
        }
        let is_authority = if place == 0 { cursor.text()? == NAME } else { place == PLACE };
        let begin = cursor.at;
        let text = cursor.text()?;
        if is_authority {
            // In the room of an empty one there is no place for another.
            let is_wrong = !text.is_empty() && Authority::try_from(text.as_slice()).is_err();
            return is_wrong.then(|| replaced(block, begin..cursor.at, text.len()));
        }
    }
    None
}

/// The block with as many `x` in the place of the text that lies there.
fn replaced(block: &[u8], place: std::ops::Range<usize>, length: usize) -> Vec<u8> {
    const PLAIN: usize = 0x7f;
    let mut new = block[..place.start].to_vec();
    // An integer with a prefix of 7 bits (section 5.1); the eighth says that the text is not Huffman-coded.
    new.push(length.min(PLAIN) as u8);
    if let Some(mut rest) = length.checked_sub(PLAIN) {
        while rest >= 0x80 {
            new.push((rest % 0x80) as u8 | 0x80);
            rest /= 0x80;
        }
        new.push(rest as u8);
    }
    new.resize(new.len() + length, b'x');
    new.extend_from_slice(&block[place.end..]);
    new
}

struct Cursor<'a> {
    block: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// An integer whose prefix has this many bits (section 5.1). No block is as large as four bytes after it can say.
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let full = (1 << bits) - 1;
        let mut value = usize::from(self.byte()?) & full;
        if value < full {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.byte()?);
            value += (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A text (section 5.2), decoded.
    fn text(&mut self) -> Option<Vec<u8>> {
        let is_coded = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let end = self.at.checked_add(length)?;
        let bytes = self.block.get(self.at..end)?;
        self.at = end;
        if is_coded { decoded(bytes) } else { Some(bytes.to_vec()) }
    }
}

/// The codes of one length: the smallest, and the symbols of this and the next ones.
#[derive(Default)]
struct Codes {
    first: u32,
    symbols: Vec<u16>,
}

static CODES: LazyLock<[Codes; MAX_CODE + 1]> = LazyLock::new(|| {
    let mut codes: [Codes; MAX_CODE + 1] = std::array::from_fn(|_| Codes::default());
    for (symbol, &length) in LENGTHS.iter().enumerate() {
        codes[usize::from(length)].symbols.push(symbol as u16);
    }
    codes[MAX_CODE].symbols.push(END);
    let mut next = 0;
    for of_length in &mut codes {
        next *= 2;
        of_length.first = next;
        next += of_length.symbols.len() as u32;
    }
    codes
});

/// A Huffman-coded text (section 5.2); nothing when it is none.
fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut code, mut length) = (Vec::new(), 0u32, 0);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        let of_length = CODES.get(length)?;
        let symbol = code.checked_sub(of_length.first).and_then(|at| of_length.symbols.get(at as usize));
        if let Some(&symbol) = symbol {
            text.push(u8::try_from(symbol).ok()?);
            (code, length) = (0, 0);
        }
    }
    // What is left of the last byte are ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.replace(' ', "").as_bytes()).unwrap()
    }

    #[test]
    fn the_examples_of_the_standard_are_decoded() {
        // RFC 7541, C.4 and C.6.
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            assert_eq!(decoded(&hex(coded)).unwrap(), text.as_bytes(), "{text}");
        }
        assert_eq!(decoded(&hex("00")), None, "the rest of a byte is not ones");
        assert_eq!(decoded(&hex("ffffffff")), None, "the end is no part of a text");
    }

    #[test]
    fn a_path_in_the_place_of_a_host_is_replaced_and_a_host_is_left() {
        // POST, http, then the authority: in the table, by its name, kept or not, coded or not.
        let path = [&hex("0b"), b"/run/a.sock".as_slice()].concat();
        let coded = hex("88 62cb6a606ba0e4eb");
        let name = [&hex("0a"), NAME].concat();
        let wanted = [&hex("0b"), [b'x'; 11].as_slice()].concat();
        for entry in ["41", "01", "11"] {
            for value in [&path, &coded] {
                let block = [&hex("8386"), &hex(entry), value, &hex("84")].map(Vec::as_slice).concat();
                let new = [&hex("8386"), &hex(entry), &wanted, &hex("84")].map(Vec::as_slice).concat();
                assert_eq!(with_authority(&block), Some(new), "{entry}");
            }
        }
        for entry in ["40", "00", "10"] {
            let block = [&hex("3fe11f 83"), &hex(entry), &name, &path].map(Vec::as_slice).concat();
            let new = [&hex("3fe11f 83"), &hex(entry), &name, &wanted].map(Vec::as_slice).concat();
            assert_eq!(with_authority(&block), Some(new), "{entry}");
        }
        // RFC 7541, C.4.1: its authority is a host; and the second request on a connection, which only points at the first.
        assert_eq!(with_authority(&hex("828684 418c f1e3c2e5f23a6ba0ab90f4ff")), None);
        assert_eq!(with_authority(&hex("828684be")), None);
        // An empty one, plain and coded: nothing that is as long is a host.
        assert_eq!(with_authority(&hex("4100")), None);
        assert_eq!(with_authority(&hex("4180")), None);
    }

    #[test]
    fn a_long_path_keeps_its_length() {
        let path = vec![b'%'; 321];
        let block = [&hex("41 7f c201"), path.as_slice()].concat();
        let new = with_authority(&block).unwrap();
        assert_eq!(new, [&hex("41 7f c201"), vec![b'x'; 321].as_slice()].concat());
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_read_without_harm(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(new) = with_authority(&block) {
                prop_assert_eq!(with_authority(&new), None, "it is mended once");
            }
        }
    }
}
