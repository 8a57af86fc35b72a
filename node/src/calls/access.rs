//! Who may call. Whoever can open the unix socket may do everything; whoever holds the token of the data folder may do so from
//! elsewhere, and there have nothing read from the files of this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use data_encoding::HEXLOWER;

use crate::calls::CallError;
use crate::data_folder::{self, TOKEN};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Everything.
    Full,
    /// Everything that concerns grains, models and peers; not to have the node read folders of its machine.
    Remote,
}

/// The token that lets a client in where anybody can knock. Its hash is kept: comparing hashes takes the same time
/// wherever they differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token(blake3::Hash);

impl Token {
    /// Reads the token in `data_dir`, made at the first start: 64 hexadecimal digits, readable by its owner only.
    ///
    /// # Errors
    /// When the file can be read by others, is damaged, or cannot be read or written.
    pub fn load_or_create(data_dir: &Path) -> anyhow::Result<Self> {
        load_or_create(&data_dir.join(TOKEN)).map(|token| Self(blake3::hash(token.as_bytes())))
    }

    /// What somebody may do who sends this `authorization`. The scheme's name is read in any case (RFC 9110, 11.1).
    ///
    /// # Errors
    /// [`CallError::NoToken`].
    pub fn check(&self, authorization: Option<&str>) -> Result<Right, CallError> {
        let given = authorization.and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("bearer")
                    && blake3::hash(token.trim().as_bytes()) == self.0 =>
            {
                Ok(Right::Remote)
            }
            _ => Err(CallError::NoToken),
        }
    }
}

fn load_or_create(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(token) => {
            let mode = std::fs::metadata(path)?.permissions().mode();
            if mode & 0o077 != 0 {
                bail!(
                    "the token {shown} can be read by others: delete it to have a new one made at the next start"
                );
            }
            let token = token.trim().to_owned();
            if token.len() < 32 {
                bail!("the token {shown} is damaged: delete it to have a new one made at the next start");
            }
            Ok(token)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0u8; 32];
            getrandom::fill(&mut bytes).context("the system gave no random bytes for a new token")?;
            let token = HEXLOWER.encode(&bytes);
            data_folder::write_new(path, token.as_bytes())
                .with_context(|| format!("cannot write the token {shown}"))?;
            Ok(token)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the token {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Token(blake3::hash(b"secret"));
        for right in ["Bearer secret", "bearer secret", "BEARER  secret"] {
            assert!(token.check(Some(right)).is_ok(), "{right:?}");
        }
        for wrong in
            [None, Some("secret"), Some("Bearer "), Some("Bearer secret2"), Some("Basic secret"), Some("")]
        {
            assert!(matches!(token.check(wrong), Err(CallError::NoToken)), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_is_made_once_and_refused_when_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN);
        let token = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), token);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_create(&path).unwrap_err().to_string().contains("delete it"));
    }
}
