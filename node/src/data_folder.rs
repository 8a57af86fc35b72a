//! What lies in a node's data folder: every name in it stands here.

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
/// Where clients on this machine come in.
pub(crate) const SOCKET: &str = "api.sock";
/// Addresses of peers, bans, topics.
pub(crate) const MESH: &str = "mesh.json";
/// The configuration.
pub(crate) const CONFIG: &str = "config.toml";

/// Whether a folder is the data folder of a node, this one's or another's, or a copy of one: by what lies in it.
pub(crate) fn is_data_folder(dir: &Path) -> bool {
    [DATABASE, IDENTITY, TOKEN].iter().any(|name| dir.join(name).exists())
}

/// Whether a path is a data folder, or a part of one.
pub(crate) fn is_part_of_one(path: &Path) -> bool {
    let names = [DATABASE, INDEX, MODELS, IDENTITY, TOKEN, SOCKET, MESH, CONFIG];
    let is_named_so = path.file_name().is_some_and(|name| names.iter().any(|known| name == *known));
    is_data_folder(path) || (is_named_so && path.parent().is_some_and(is_data_folder))
}

#[cfg(test)]
mod tests {
    use super::*;

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
