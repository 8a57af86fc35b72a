//! How is a backup kept from others? By a passphrase, in the format of `age`; or not at all.

use std::io::{self, BufRead, Read, Write};

use age::secrecy::SecretString;
use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor, scrypt};

use super::BackupError;

/// The first byte of a sealed file; one that is only packed begins with another.
const BEGINNING: u8 = b'a';
/// The work that trying a passphrase takes, as a power of two: 256 MiB of memory, and about a second.
const WORK: u8 = 18;
/// The most that a file may ask for: whoever made one up must not take more than a GiB of memory with it.
const MAX_WORK: u8 = 20;

/// What is written through it is sealed, if there is a passphrase.
pub(super) enum Sealing<W: Write> {
    Open(W),
    Sealed(StreamWriter<W>),
}

impl<W: Write> Sealing<W> {
    /// Begins with what tells how it is sealed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(to: W, passphrase: Option<SecretString>) -> io::Result<Self> {
        Ok(match passphrase {
            None => Self::Open(to),
            Some(passphrase) => {
                let mut recipient = scrypt::Recipient::new(passphrase);
                recipient.set_work_factor(WORK);
                let sealing = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
                    .map_err(io::Error::other)?;
                Self::Sealed(sealing.wrap_output(to)?)
            }
        })
    }

    /// What it is written to, where nothing is sealed.
    #[cfg(test)]
    pub fn inner(&self) -> &W {
        match self {
            Self::Open(to) => to,
            Self::Sealed(_) => panic!("it is sealed"),
        }
    }

    /// Ends it, and gives back what it was written to.
    ///
    /// # Errors
    /// When the end cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Open(to) => Ok(to),
            Self::Sealed(sealed) => sealed.finish(),
        }
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(to) => to.write(bytes),
            Self::Sealed(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(to) => to.flush(),
            Self::Sealed(to) => to.flush(),
        }
    }
}

/// Reads what may be sealed; `ask` is asked for the passphrase if it is.
///
/// # Errors
/// [`BackupError::WrongPassphrase`], what `ask` answers, and when it cannot be read.
pub(super) fn unseal<'a, R: BufRead + 'a>(
    mut from: R,
    ask: &mut dyn FnMut() -> Result<SecretString, BackupError>,
) -> Result<Box<dyn Read + 'a>, BackupError> {
    // A pipe may give less at first, but never nothing before its end.
    if from.fill_buf()?.first() != Some(&BEGINNING) {
        return Ok(Box::new(from));
    }
    let decryptor = Decryptor::new_buffered(from).map_err(of_age)?;
    let mut identity = scrypt::Identity::new(ask()?);
    identity.set_max_work_factor(MAX_WORK);
    let plain = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(of_age)?;
    Ok(Box::new(plain))
}

fn of_age(error: DecryptError) -> BackupError {
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::InvalidMac => {
            BackupError::WrongPassphrase
        }
        DecryptError::NoMatchingKeys => {
            BackupError::NoBackup("it is sealed with a key, and not with a passphrase")
        }
        DecryptError::ExcessiveWork { .. } => {
            BackupError::NoBackup("to try a passphrase takes more work than it should")
        }
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => BackupError::CutOff,
        DecryptError::Io(error) => BackupError::Io(error),
        _ => BackupError::NoBackup("how it is sealed is damaged, or not known here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(bytes: &[u8], passphrase: Option<&str>) -> Vec<u8> {
        let mut to =
            Sealing::begin(Vec::new(), passphrase.map(|word| SecretString::from(word.to_owned()))).unwrap();
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    }

    fn opened(sealed: &[u8], passphrase: &str) -> Result<Vec<u8>, BackupError> {
        let mut plain = Vec::new();
        unseal(sealed, &mut || Ok(SecretString::from(passphrase.to_owned())))?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_alone() {
        let text = b"the spare key is at Maria's".repeat(9000);
        let closed = sealed(&text, Some("correct horse"));
        assert!(!closed.windows(9).any(|part| part == b"spare key"));
        assert_eq!(opened(&closed, "correct horse").unwrap(), text);
        assert!(matches!(opened(&closed, "battery"), Err(BackupError::WrongPassphrase)));
        for cut in [10, 150, closed.len() - 1] {
            assert!(opened(&closed[..cut], "correct horse").is_err(), "cut at {cut}");
        }
        let mut changed = closed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(opened(&changed, "correct horse").is_err());
    }

    #[test]
    fn what_is_not_sealed_asks_for_nothing() {
        let mut asked = || -> Result<SecretString, BackupError> { panic!("nobody is to be asked") };
        let mut plain = Vec::new();
        unseal(&sealed(b"open", None)[..], &mut asked).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b"open");
        assert_eq!(unseal(&b""[..], &mut asked).unwrap().read_to_end(&mut plain).unwrap(), 0);
    }
}
