//! How are lines read that are in another encoding than UTF-8? Piece by piece, as UTF-8, in memory that does not depend on their number.

use std::io::{self, Cursor, ErrorKind, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// Bytes that are decoded at a time.
const STEP_BYTES: usize = 16 << 10;

/// An input as UTF-8. `label` names its encoding; where that is empty, only UTF-16 with its mark is decoded, and everything else
/// comes as it is.
///
/// # Errors
/// When the input cannot be read, or no encoding has the label.
pub(crate) fn decoded(mut input: Box<dyn Read + Send>, label: &str) -> io::Result<Box<dyn Read + Send>> {
    let mut beginning = Vec::new();
    Read::by_ref(&mut input).take(2).read_to_end(&mut beginning)?;
    let encoding = match label {
        "" => Encoding::for_bom(&beginning).map(|(encoding, _)| encoding),
        label => {
            let unknown = || io::Error::new(ErrorKind::InvalidInput, format!("there is no encoding {label}"));
            Some(Encoding::for_label(label.as_bytes()).ok_or_else(unknown)?)
        }
    };
    let input = Cursor::new(beginning).chain(input);
    Ok(match encoding {
        Some(encoding) => {
            let decoder = encoding.new_decoder();
            Box::new(Decoded {
                input,
                decoder,
                raw: Vec::new(),
                ready: Vec::new(),
                place: 0,
                is_at_end: false,
            })
        }
        None => Box::new(input),
    })
}

struct Decoded<R> {
    input: R,
    decoder: Decoder,
    /// Bytes that are not decoded yet.
    raw: Vec<u8>,
    /// UTF-8 that was not handed out yet, from `place` on.
    ready: Vec<u8>,
    place: usize,
    is_at_end: bool,
}

impl<R: Read> Decoded<R> {
    /// Decodes the next piece.
    fn decode(&mut self) -> io::Result<()> {
        let before = self.raw.len();
        Read::by_ref(&mut self.input).take(STEP_BYTES as u64).read_to_end(&mut self.raw)?;
        self.is_at_end = self.raw.len() == before;
        // A byte becomes three at most, and what is kept back some more.
        self.ready.resize(3 * self.raw.len() + 16, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.raw, &mut self.ready, self.is_at_end);
        if matches!(result, DecoderResult::Malformed(..)) {
            let name = self.decoder.encoding().name();
            return Err(io::Error::new(ErrorKind::InvalidData, format!("it is not in the encoding {name}")));
        }
        self.raw.drain(..read);
        self.ready.truncate(written);
        self.place = 0;
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.place == self.ready.len() {
            if self.is_at_end {
                return Ok(0);
            }
            self.decode()?;
        }
        let length = buffer.len().min(self.ready.len() - self.place);
        buffer[..length].copy_from_slice(&self.ready[self.place..self.place + length]);
        self.place += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>, label: &str) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decoded(Box::new(Cursor::new(bytes)), label)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn lines_in_any_encoding_come_as_utf_8() {
        let text = "Grün\nfünf漢\n".repeat(20_000);
        let utf16: Vec<u8> =
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        assert_eq!(read(utf16, "").unwrap(), text.as_bytes());
        assert_eq!(read(text.clone().into_bytes(), "").unwrap(), text.as_bytes());
        assert_eq!(read(text.clone().into_bytes(), "utf-8").unwrap(), text.as_bytes());
        assert_eq!(read(b"caf\xe9\n".to_vec(), "windows-1252").unwrap(), "café\n".as_bytes());
        assert_eq!(
            read(b"caf\xe9\n".to_vec(), "").unwrap(),
            b"caf\xe9\n",
            "each line says what is wrong with it"
        );
        assert_eq!(read(Vec::new(), "utf-16le").unwrap(), b"");
        assert!(read(b"caf\xe9\n".to_vec(), "utf-8").is_err());
        assert!(read(Vec::new(), "klingon").is_err());
    }
}
