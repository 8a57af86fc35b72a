//! The node's identity on disk: made at the first start, readable by its owner only, never overwritten.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use synapsenet_proto::Identity;
use zeroize::Zeroizing;

use crate::data_folder::{self, IDENTITY};

/// Reads the identity in `data_dir` (64 hexadecimal digits, the ed25519 seed), or makes one when there is none.
///
/// # Errors
/// When the file can be read by others, is damaged, or cannot be read or written.
pub(crate) fn load_or_create(data_dir: &Path) -> anyhow::Result<Identity> {
    let path = data_dir.join(IDENTITY);
    match std::fs::read(&path) {
        Ok(text) => load(&path, &Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
        Err(error) => Err(error).with_context(|| format!("cannot read the identity {}", path.display())),
    }
}

fn load(path: &Path, text: &[u8]) -> anyhow::Result<Identity> {
    refuse_open(path, data_folder::keeps_modes)?;
    let seed = HEXLOWER_PERMISSIVE.decode(text.trim_ascii()).ok().map(Zeroizing::new);
    match seed.as_ref().and_then(|seed| seed.as_slice().try_into().ok()) {
        Some(seed) => Ok(Identity::from_seed(seed)),
        None => bail!(
            "the identity {} is damaged: it must be 64 hexadecimal digits; restore it from a backup",
            path.display()
        ),
    }
}

/// Refuses an identity that others can read, and says what can be done about it where it lies.
fn refuse_open(path: &Path, keeps_modes: impl Fn(&Path) -> io::Result<bool>) -> anyhow::Result<()> {
    let shown = path.display();
    let looking = || format!("cannot look at {shown}");
    let mode = std::fs::metadata(path).with_context(looking)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if keeps_modes(path.parent().unwrap_or(Path::new("."))).with_context(looking)? {
        bail!(
            "the identity {shown} can be read by others (mode {:03o}): whoever read it can sign in this node's name; \
             if nobody did, run `chmod 600 {shown}`",
            mode & 0o777
        );
    }
    bail!(
        "the identity {shown} can be read by others, because its file system keeps no permissions (FAT and exFAT are of this kind): \
         name a --data-dir on another, or mount this one for you alone (uid= and umask=077)"
    )
}

fn create(path: &Path) -> anyhow::Result<Identity> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut_slice()).context("the system gave no random bytes for a new identity")?;
    data_folder::write_new(path, HEXLOWER.encode(seed.as_slice()).as_bytes())
        .with_context(|| format!("cannot write the identity {}", path.display()))?;
    if let Err(refusal) = refuse_open(path, data_folder::keeps_modes) {
        // Nobody has used it. The next start makes another, and says the same.
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        return Err(refusal);
    }
    let identity = Identity::from_seed(&seed);
    tracing::info!(author = %identity.author(), path = %path.display(), "made a new identity");
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path()).unwrap().author();
        assert_eq!(load_or_create(dir.path()).unwrap().author(), first);
        let mode = std::fs::metadata(dir.path().join(IDENTITY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_identity_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        load_or_create(dir.path()).unwrap();
        let path = dir.path().join(IDENTITY);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let message = load_or_create(dir.path()).unwrap_err().to_string();
        assert!(message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn a_damaged_identity_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(IDENTITY);
        data_folder::write_new(&path, b"not hex").unwrap();
        assert!(load_or_create(dir.path()).unwrap_err().to_string().contains("restore it"));
        assert_eq!(std::fs::read(&path).unwrap(), b"not hex");
    }

    #[test]
    fn where_the_file_system_keeps_no_modes_nobody_is_told_to_change_one() {
        let dir = tempfile::tempdir().unwrap();
        load_or_create(dir.path()).unwrap();
        let path = dir.path().join(IDENTITY);
        // As it looks on FAT and exFAT, whatever it was made with.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let message = refuse_open(&path, |_| Ok(false)).unwrap_err().to_string();
        assert!(message.contains("FAT") && !message.contains("chmod"), "{message}");
        assert!(data_folder::keeps_modes(dir.path()).unwrap());
    }
}
