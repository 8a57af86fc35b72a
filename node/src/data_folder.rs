//! What lies in a node's data folder: every name in it stands here, and the one way in which its small files are written.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The database with every grain.
pub(crate) const DATABASE: &str = "grains.redb";
/// The saved indexes, which can be made again.
pub(crate) const INDEX: &str = "index";
/// The models that were added, and the name of the one in use.
pub(crate) const MODELS: &str = "models";
/// The secret behind the author key.
pub(crate) const IDENTITY: &str = "identity.seed";
/// What lets a client in over TCP.
pub(crate) const TOKEN: &str = "api.token";
/// The hashes of the tokens with names, and what these may.
pub(crate) const TOKENS: &str = "tokens.json";
/// The certificate that the node made for its API, and its key, in PEM.
pub(crate) const API_CERTIFICATE: &str = "api.cert.pem";
pub(crate) const API_KEY: &str = "api.key.pem";
/// Who changed what over the API, and the file of it before that one.
pub(crate) const AUDIT: &str = "audit.log";
pub(crate) const AUDIT_BEFORE: &str = "audit.log.1";
/// The unix socket on which clients on this machine come in.
pub const SOCKET: &str = "api.sock";
/// Addresses of peers, bans, topics.
pub(crate) const MESH: &str = "mesh.json";
/// The folders of the files that were added: one a line, to show them by their paths.
pub(crate) const FOLDERS: &str = "folders";
/// The folders that are remembered and kept up to date.
pub(crate) const SOURCES: &str = "sources.json";
/// What a node writes that was started for an agent.
pub(crate) const NODE_LOG: &str = "node.log";
/// The configuration.
pub(crate) const CONFIG: &str = "config.toml";

/// Makes a folder, and those that it lies in, for its owner alone.
///
/// # Errors
/// What the system says.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that only its owner can read (mode 0600), whole or not at all, in the place of one of the same name. It
/// is on disk when this returns.
///
/// # Errors
/// What the system says; then the one that was there is there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist(path)?;
    sync_folder_of(path)
}

/// As [`write`], but never in the place of another.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or what the system says.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist_noclobber(path)?;
    sync_folder_of(path)
}

/// Whether the file system of a folder keeps who may read a file. On FAT and exFAT every file has the mode that was chosen
/// when they were mounted.
///
/// # Errors
/// What the system says.
pub(crate) fn keeps_modes(dir: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    // It is made with mode 0600.
    let file = tempfile::NamedTempFile::new_in(dir)?;
    Ok(file.as_file().metadata()?.permissions().mode() & 0o077 == 0)
}

/// Makes the names in the folder of `path` durable.
///
/// # Errors
/// What the system says.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn temporary(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    // It is made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a folder is the data folder of a node, this one's or another's, or a copy of one: by what lies in it.
pub(crate) fn is_data_folder(dir: &Path) -> bool {
    [DATABASE, IDENTITY, TOKEN].iter().any(|name| dir.join(name).exists())
}

/// Whether a path is a data folder, or a part of one.
pub(crate) fn is_part_of_one(path: &Path) -> bool {
    let names = [
        DATABASE,
        INDEX,
        MODELS,
        IDENTITY,
        TOKEN,
        TOKENS,
        API_CERTIFICATE,
        API_KEY,
        AUDIT,
        AUDIT_BEFORE,
        SOCKET,
        MESH,
        FOLDERS,
        SOURCES,
        NODE_LOG,
        CONFIG,
    ];
    let is_named_so = path.file_name().is_some_and(|name| names.iter().any(|known| name == *known));
    is_data_folder(path) || (is_named_so && path.parent().is_some_and(is_data_folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_for_its_owner_alone_and_only_replaced_where_that_is_meant() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_new(&path, b"one").unwrap();
        assert_eq!(write_new(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write(&path, b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_data_folder_is_known_by_what_lies_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("node");
        std::fs::create_dir_all(node.join(INDEX)).unwrap();
        std::fs::write(node.join("a.md"), "a note beside it").unwrap();
        assert!(!is_data_folder(&node) && !is_part_of_one(&node.join(INDEX)));
        for name in [DATABASE, IDENTITY, TOKEN] {
            std::fs::write(node.join(name), "").unwrap();
            assert!(
                is_part_of_one(&node)
                    && is_part_of_one(&node.join(name))
                    && is_part_of_one(&node.join(INDEX))
            );
            assert!(!is_part_of_one(&node.join("a.md")) && !is_part_of_one(dir.path()));
            std::fs::remove_file(node.join(name)).unwrap();
        }
    }
}
