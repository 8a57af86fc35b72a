//! What every command works with: which node is meant, which configuration, and where results go.

use std::path::{Path, PathBuf};

use super::certificate::Fingerprint;
use super::client::{Address, Target};
use super::failure::Failure;
use super::output::Output;
use crate::config::default_data_dir;
use crate::data_folder::SOCKET;

/// Options that every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Folder of the node: its grains, key, token and socket [default: the XDG data folder]
    #[arg(long, global = true, value_name = "DIR", env = "SYNAPSENET_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Configuration file [default: config.toml in the data folder]
    #[arg(long, global = true, value_name = "FILE", env = "SYNAPSENET_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where the node listens: unix:PATH, http://HOST:PORT or https://HOST:PORT [default: the data folder's socket]
    #[arg(long, global = true, value_name = "ADDRESS", env = "SYNAPSENET_API", hide_env_values = true)]
    pub api: Option<Address>,
    /// File with the node's token, for TCP [default: api.token in the data folder]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SYNAPSENET_API_TOKEN_FILE",
        hide_env_values = true
    )]
    pub api_token_file: Option<PathBuf>,
    /// Certificate of the node, or of who signed it, in PEM; for https
    #[arg(long, global = true, value_name = "FILE", env = "SYNAPSENET_API_CA", hide_env_values = true)]
    pub api_ca: Option<PathBuf>,
    /// SHA-256 of the node's certificate, which `id` shows there: no other is trusted; for https
    #[arg(
        long,
        global = true,
        value_name = "HEX",
        env = "SYNAPSENET_API_FINGERPRINT",
        hide_env_values = true,
        conflicts_with = "api_ca"
    )]
    pub api_fingerprint: Option<Fingerprint>,
    /// Write one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Write results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What every command works with.
pub(crate) struct Context {
    /// The node that is meant.
    pub target: Target,
    /// The configuration file that was named.
    pub config: Option<PathBuf>,
    /// Where results go.
    pub out: Output,
}

impl Context {
    /// What follows from the options.
    ///
    /// # Errors
    /// Exit code 2 when no data folder is known or the one that was named cannot be used.
    pub fn new(global: Global) -> Result<Self, Failure> {
        let default = default_data_dir();
        let named = global.data_dir.is_some();
        let data_dir = match global.data_dir {
            Some(dir) => std::path::absolute(&dir).map_err(|error| {
                Failure::usage(format!("--data-dir {}: {error}", dir.display()), "name a folder")
            })?,
            None => default?,
        };
        let option = if named { format!(" --data-dir {}", quoted(&data_dir)) } else { String::new() };
        let explicit = global.api.is_some();
        let address = global.api.unwrap_or_else(|| Address::Unix(data_dir.join(SOCKET)));
        let (token_file, ca_file) = (global.api_token_file, global.api_ca);
        let fingerprint = global.api_fingerprint;
        let target = Target { address, explicit, token_file, ca_file, fingerprint, data_dir, option };
        Ok(Self { target, config: global.config, out: Output::new(global.json, global.quiet) })
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        global: Global,
    }

    #[test]
    fn a_hint_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
        let global = Options::try_parse_from(["synapsenet", "--data-dir", "/tmp/x"]).unwrap().global;
        let target = Context::new(global).unwrap().target;
        assert_eq!(target.command("run"), "synapsenet run --data-dir /tmp/x");
        assert_eq!(target.address.to_string(), "unix:/tmp/x/api.sock");
    }
}
