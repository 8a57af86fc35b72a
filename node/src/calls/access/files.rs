//! The two files of tokens in the data folder, and where secrets come from.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use data_encoding::HEXLOWER;

use super::Key;
use super::keys::{MAX_RETIRED, MAX_TOKENS};
use crate::data_folder::{self, TOKENS};

/// What a secret begins with, so that those who look for secrets in texts find it.
pub(super) const PREFIX: &str = "syn_";

/// The tokens that are kept in `data_dir`.
///
/// # Errors
/// When the file is there and cannot be read or understood.
pub(super) fn read(data_dir: &Path) -> anyhow::Result<Vec<Key>> {
    let path = data_dir.join(TOKENS);
    let shown = path.display();
    let keys: Vec<Key> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| {
            format!("{shown} cannot be understood: mend it, or remove it and make the tokens anew")
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    ensure!(keys.len() <= MAX_TOKENS + MAX_RETIRED, "{shown} names more tokens than there may be");
    Ok(keys)
}

/// Keeps these tokens, and no others.
///
/// # Errors
/// What the system says; then those before are kept.
pub(super) fn write(data_dir: &Path, keys: &[Key]) -> anyhow::Result<()> {
    let path = data_dir.join(TOKENS);
    let write = || -> std::io::Result<()> { data_folder::write(&path, &serde_json::to_vec_pretty(keys)?) };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A new secret.
///
/// # Errors
/// When the system has no random bytes.
pub(super) fn secret() -> anyhow::Result<String> {
    Ok(format!("{PREFIX}{}", random_digits()?))
}

fn random_digits() -> anyhow::Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).context("the system gave no random bytes for a new token")?;
    Ok(HEXLOWER.encode(&bytes))
}

/// The token in the file at `path`, which is made when it is not there: 64 hexadecimal digits, readable by its owner only.
///
/// # Errors
/// When it can be read by others, is damaged, or cannot be read or written.
pub(super) fn load_or_create(path: &Path) -> anyhow::Result<String> {
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
            let token = random_digits()?;
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
    fn a_token_is_made_once_and_refused_when_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(crate::data_folder::TOKEN);
        let token = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), token);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_create(&path).unwrap_err().to_string().contains("delete it"));
    }

    #[test]
    fn a_file_that_names_what_no_token_is_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "{}",
            "[{\"name\":\"a\"}]",
            "[{\"name\":\"a\",\"hash\":\"00\",\"scope\":\"owner\",\"created_ms\":1}]",
        ] {
            std::fs::write(dir.path().join(TOKENS), text).unwrap();
            assert!(read(dir.path()).unwrap_err().to_string().contains("mend it"), "{text}");
        }
    }
}
