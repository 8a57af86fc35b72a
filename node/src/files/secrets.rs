//! Files that are keys and not notes: they are read only where somebody insists.

use std::path::Path;

use crate::data_folder::is_part_of_one;

/// Names of files that hold a secret, whatever they say.
const NAMES: [&str; 20] = [
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "identity.seed",
    "api.token",
    "token",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".htpasswd",
    ".vault-token",
    "credentials",
    "master.key",
    ".env",
];
/// Endings of such names.
const ENDINGS: [&str; 10] = ["key", "token", "seed", "p12", "pfx", "jks", "keystore", "kdbx", "ppk", "env"];
/// Endings that make what would be a secret an example of one.
const EXAMPLES: [&str; 5] = ["example", "sample", "template", "dist", "pub"];
/// What a line begins with in private keys of PEM, OpenSSH, PGP, age and PuTTY, in WireGuard's configuration and in
/// minisign's secret keys.
const MARKS: [&str; 4] = [
    "AGE-SECRET-KEY-1",
    "PuTTY-User-Key-File-",
    "untrusted comment: minisign encrypted secret key",
    "untrusted comment: signify secret key",
];

/// Why a file or folder is not read unless somebody insists; none when it may be.
pub(crate) fn reason_by_path(path: &Path) -> Option<&'static str> {
    if is_part_of_one(path) {
        return Some("it belongs to a node's data folder");
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    if EXAMPLES.contains(&ending) {
        return None;
    }
    let is_environment = name.starts_with(".env.");
    let is_one = NAMES.contains(&name.as_str()) || ENDINGS.contains(&ending) || is_environment;
    is_one.then_some("it is a key or a token by its name")
}

/// As [`reason_by_path`], by what the file says.
pub(crate) fn reason_by_text(text: &str) -> Option<&'static str> {
    let is_mark = |line: &str| {
        let is_pem = || line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY");
        let is_wireguard = || {
            let value = line.strip_prefix("PrivateKey").and_then(|rest| rest.trim_start().strip_prefix('='));
            value.is_some_and(|value| !value.trim().is_empty())
        };
        MARKS.iter().any(|mark| line.starts_with(mark)) || is_pem() || is_wireguard()
    };
    text.lines().any(|line| is_mark(line.trim_start())).then_some("it holds a private key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_known_by_their_names() {
        for name in [
            "id_rsa",
            "ID_ED25519",
            ".env",
            ".env.local",
            "prod.env",
            "server.key",
            "api.token",
            "x.seed",
            "a.kdbx",
        ] {
            assert!(reason_by_path(&Path::new("/home/me").join(name)).is_some(), "{name}");
        }
        for name in [
            "id_rsa.pub",
            ".env.example",
            "key.md",
            "tokens.txt",
            "environment",
            "a.md",
            "Makefile",
            "notes",
            "guide.asc",
            "cert.pem",
        ] {
            assert_eq!(reason_by_path(&Path::new("/home/me").join(name)), None, "{name}");
        }
    }

    #[test]
    fn keys_are_known_by_what_stands_in_them() {
        for text in [
            "-----BEGIN PRIVATE KEY-----\nMIIE\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n",
            "Bag Attributes\n    friendlyName: x\n  -----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "# created: 2026\n# public key: age1x\nAGE-SECRET-KEY-1QQ\n",
            "PuTTY-User-Key-File-3: ssh-ed25519",
            "[Interface]\nPrivateKey=yAnz=\n",
            "[Interface]\nPrivateKey = yAnz=\n",
        ] {
            assert!(reason_by_text(text).is_some(), "{text}");
        }
        for text in ["-----BEGIN CERTIFICATE-----", "the PRIVATE KEY is in the safe", "use `age-keygen`"] {
            assert_eq!(reason_by_text(text), None, "{text}");
        }
    }
}
