//! The certificate that the API shows over TCP: one that is named, or one that the node makes for itself and clients know by its
//! fingerprint.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tonic::transport::{Identity, ServerTlsConfig};

use super::listen::builder;
use crate::config::ApiConfig;
use crate::data_folder::{self, API_CERTIFICATE, API_KEY};

/// What an address shows.
#[derive(Debug)]
pub(super) struct Tls {
    pub config: ServerTlsConfig,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

impl Tls {
    /// What is shown at this address; none where tokens may travel in the clear, as nobody else is on the line.
    ///
    /// # Errors
    /// When a certificate or key cannot be read, made or used.
    pub fn of(data_dir: &Path, config: &ApiConfig, address: IpAddr) -> anyhow::Result<Option<Self>> {
        let is_wanted = !config.tls_cert.is_empty() || config.tls == "always" || !address.is_loopback();
        if !is_wanted {
            return Ok(None);
        }
        let (certificate, key, names) = match config.tls_cert.as_str() {
            "" => {
                let (certificate, key) = own(data_dir)?;
                (certificate, key, (API_CERTIFICATE.to_owned(), API_KEY.to_owned()))
            }
            _ => {
                let read = |key: &str, path: &str| {
                    std::fs::read(path).with_context(|| format!("cannot read {path}, named by {key}"))
                };
                let certificate = read("api.tls_cert", &config.tls_cert)?;
                let key = read("api.tls_key", &config.tls_key)?;
                (certificate, key, (config.tls_cert.clone(), config.tls_key.clone()))
            }
        };
        let unusable = || format!("cannot use {} with {} for TLS", names.0, names.1);
        let fingerprint = fingerprint(&certificate).with_context(unusable)?;
        let config = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        // Tried now, so that a key that does not fit ends the start, and not a node that said it was ready.
        builder().tls_config(config.clone()).with_context(unusable)?;
        Ok(Some(Self { config, fingerprint }))
    }
}

/// SHA-256 of the first certificate, which is the one that stands for the node.
fn fingerprint(pem: &[u8]) -> anyhow::Result<String> {
    let certificate = CertificateDer::from_pem_slice(pem).context("there is no certificate in PEM")?;
    Ok(HEXLOWER.encode(&Sha256::digest(&certificate)))
}

/// The certificate that this node made for itself, and its key. It is made once: clients know it by its fingerprint, and whoever wants
/// another deletes both files.
fn own(data_dir: &Path) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let (certificate_path, key_path) = (data_dir.join(API_CERTIFICATE), data_dir.join(API_KEY));
    let (certificate, key) = (read(&certificate_path)?, read(&key_path)?);
    if let (Some(certificate), Some(key)) = (certificate, key) {
        let mode = std::fs::metadata(&key_path)?.permissions().mode();
        let shown = key_path.display();
        ensure!(mode & 0o077 == 0, "the key {shown} can be read by others: delete it to have a new one made");
        return Ok((certificate, key));
    }
    // No host is named: a client knows the certificate itself. It lasts as long as anybody counts.
    let made = rcgen::generate_simple_self_signed(["synapsenet".to_owned()])
        .context("cannot make a certificate for the API")?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    // The key first: a start that is cut off here makes both anew.
    for (path, text) in [(&key_path, &key), (&certificate_path, &certificate)] {
        data_folder::write(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((certificate.into_bytes(), key.into_bytes()))
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dir: &Path, tls: &str, address: &str) -> anyhow::Result<Option<Tls>> {
        let config = ApiConfig { tls: tls.into(), ..ApiConfig::default() };
        Tls::of(dir, &config, address.parse().unwrap())
    }

    #[test]
    fn beyond_loopback_there_is_always_tls() {
        let dir = tempfile::tempdir().unwrap();
        for address in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert!(of(dir.path(), "auto", address).unwrap().is_none(), "{address}");
        }
        assert!(!dir.path().join(API_KEY).exists(), "nothing is made in vain");
        for address in ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(of(dir.path(), "auto", address).unwrap().is_some(), "{address}");
        }
        assert!(of(dir.path(), "always", "127.0.0.1").unwrap().is_some());
    }

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = of(dir.path(), "always", "127.0.0.1").unwrap().unwrap().fingerprint;
        assert_eq!(of(dir.path(), "always", "127.0.0.1").unwrap().unwrap().fingerprint, made);
        let key = dir.path().join(API_KEY);
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        // Half of it is nothing: another one is made.
        std::fs::remove_file(&key).unwrap();
        assert_ne!(of(dir.path(), "always", "127.0.0.1").unwrap().unwrap().fingerprint, made);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(of(dir.path(), "always", "127.0.0.1").unwrap_err().to_string().contains("delete it"));
    }
}
