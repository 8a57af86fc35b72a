//! Which nodes a certificate stands for, when the user named it (`--api-ca`) or its fingerprint (`--api-fingerprint`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

/// Trusts a node that shows one of the named certificates itself, or one that they vouch for.
///
/// `openssl req -x509` makes certificates that may sign others, often without the name of a host. Such a one vouches for
/// nobody by the rules of the web, not even for itself ("CaUsedAsEndEntity"); but a user who names the very certificate of a
/// node has said who the node is. So it is compared byte by byte, and neither its name nor its dates say more; that the node has
/// its key, the handshake proves as ever. For every other certificate the rules hold: signed by a named one, for this host, in
/// its time.
#[derive(Debug)]
pub(super) struct Named {
    certificates: Vec<CertificateDer<'static>>,
    rules: Arc<WebPkiServerVerifier>,
}

impl Named {
    /// Reads the certificates in a PEM file.
    ///
    /// # Errors
    /// When there are none, or one that cannot be read; the text says so.
    pub(super) fn read(pem: &[u8]) -> Result<Self, String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM".into());
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let rules = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { certificates, rules: rules.map_err(|error| error.to_string())? })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.contains(shown) {
            return Ok(ServerCertVerified::assertion());
        }
        self.rules.verify_server_cert(shown, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.supported_verify_schemes()
    }
}

/// SHA-256 of a certificate, as programs show it: 64 hexadecimal digits, with or without colons in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().replace(':', "").to_ascii_lowercase();
        let bytes = HEXLOWER.decode(digits.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "a fingerprint is 64 hexadecimal digits (SHA-256)".to_owned())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Trusts a node that shows the very certificate with a fingerprint, and no other. Neither its name nor its dates say more; that the
/// node has its key, the handshake proves as ever.
#[derive(Debug)]
pub(super) struct Pinned {
    fingerprint: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    /// This one.
    pub(super) fn new(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Fingerprint(Sha256::digest(shown).into()) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_programs_show_it() {
        let digits = "0123456789abcdef".repeat(4);
        let upper = digits.to_uppercase();
        let pairs: Vec<&str> = (0..32).map(|at| &upper[2 * at..2 * at + 2]).collect();
        for text in [digits.clone(), upper.clone(), pairs.join(":"), format!(" {digits}\n")] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), digits);
        }
        for wrong in ["", &digits[1..], &format!("{digits}00"), &digits.replace('f', "g")] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_certificate_with_the_fingerprint_is_trusted() {
        let (this, other) = (CertificateDer::from(vec![1, 2, 3]), CertificateDer::from(vec![1, 2, 4]));
        let pinned = Pinned::new(Fingerprint(Sha256::digest(&this).into()));
        let verify = |shown: &CertificateDer<'_>, others: &[CertificateDer<'_>]| {
            let name = ServerName::try_from("anything.example").unwrap();
            pinned.verify_server_cert(shown, others, &name, &[], UnixTime::now())
        };
        assert!(verify(&this, &[]).is_ok());
        assert!(verify(&other, &[]).is_err() && verify(&other, std::slice::from_ref(&this)).is_err());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        assert!(Named::read(b"").unwrap_err().contains("no certificate"));
        assert!(Named::read(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
