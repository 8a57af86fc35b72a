//! Fetching the files of a model from the Hugging Face hub: only when somebody asks for it, and only what this program
//! knows by its sha256.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use rustls::crypto::aws_lc_rs;
use sha2::{Digest, Sha256};
use synapsenet_index::HubFile;
use tokio::sync::watch;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::ModelsError;

/// How long a server may take to be found and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How many seconds nothing may come before a connection is given up.
pub(super) const MAX_STALLED_SECONDS: u64 = 60;
/// Bytes read at once.
const STEP: usize = 256 << 10;
/// A file whose length is not known is given up after so many bytes.
const MAX_UNKNOWN_BYTES: u64 = 2 << 30;

/// How far fetching has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FetchProgress {
    /// The file that is being fetched.
    pub file: String,
    /// Its bytes that are here.
    pub fetched: u64,
    /// How many it has; 0 when that is not known.
    pub total: u64,
}

/// The server that models are fetched from.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    /// Scheme and host.
    pub url: String,
    /// How long nothing may come before the connection is given up.
    pub stall_timeout: Duration,
}

impl Hub {
    /// The hub at this address, scheme and host.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), stall_timeout: Duration::from_secs(MAX_STALLED_SECONDS) }
    }

    /// Fetches a file to the path `to`, where a part of it may be already, and holds it against its sha256.
    ///
    /// # Errors
    /// [`ModelsError::Failed`] when it cannot be fetched: what came so far stays. [`ModelsError::Unusable`] when it is
    /// another file than is known: nothing stays. [`ModelsError::GivenUp`] when nobody listens to `progress` any more.
    pub fn fetch(
        &self,
        file: &HubFile,
        to: &Path,
        progress: &watch::Sender<FetchProgress>,
    ) -> Result<(), ModelsError> {
        let written = |error: io::Error| {
            ModelsError::Failed(anyhow::Error::new(error).context(format!("cannot write {}", to.display())))
        };
        let mut hasher = Sha256::new();
        let mut fetched = read_part(to, &mut hasher).map_err(written)?;
        let mut told = FetchProgress { file: file.name.clone(), fetched, total: file.bytes.unwrap_or(0) };
        if file.bytes.is_none_or(|bytes| fetched < bytes) {
            let response = self.request(file, fetched)?;
            let length = response.body().content_length();
            if response.status() == StatusCode::PARTIAL_CONTENT {
                let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
                let is_asked = range.is_some_and(|range| range.starts_with(&format!("bytes {fetched}-")));
                if !is_asked {
                    return Err(broken(file, anyhow!("the server gives another part than was asked for")));
                }
            } else {
                // The server begins from the start; what it gives must be as long as the file, or nothing is overwritten.
                if let (Some(bytes), Some(length)) = (file.bytes, length)
                    && bytes != length
                {
                    return Err(broken(file, anyhow!("the server gives {length} bytes instead of {bytes}")));
                }
                (fetched, hasher) = (0, Sha256::new());
            }
            let mut options = OpenOptions::new();
            options.create(true);
            if fetched > 0 {
                options.append(true)
            } else {
                options.write(true).truncate(true)
            };
            let mut out = options.open(to).map_err(written)?;
            told.total = file.bytes.or(length.map(|length| length + fetched)).unwrap_or(0);
            let limit = file.bytes.unwrap_or(MAX_UNKNOWN_BYTES);
            let mut body = response.into_body().into_reader();
            let mut buffer = vec![0; STEP];
            loop {
                told.fetched = fetched;
                if progress.send(told.clone()).is_err() {
                    return Err(ModelsError::GivenUp);
                }
                let count = match body.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) => return Err(broken(file, error.into())),
                };
                fetched += count as u64;
                if fetched > limit {
                    let _ = fs::remove_file(to);
                    return Err(wrong(file, &format!("it is longer than {limit} bytes")));
                }
                out.write_all(&buffer[..count]).map_err(written)?;
                hasher.update(&buffer[..count]);
            }
            out.sync_all().map_err(written)?;
        }
        if file.bytes.is_some_and(|bytes| fetched < bytes) {
            return Err(broken(file, anyhow!("the server ended after {fetched} bytes")));
        }
        let hash = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if hash != file.sha256 {
            let _ = fs::remove_file(to);
            return Err(wrong(file, &format!("its sha256 is {hash} and not {}", file.sha256)));
        }
        told.fetched = fetched;
        // Whoever listens may have gone; the file is here.
        let _ = progress.send(told);
        Ok(())
    }

    /// Asks for a file from here on.
    fn request(&self, file: &HubFile, from: u64) -> Result<Response<Body>, ModelsError> {
        let url = format!("{}/{}", self.url.trim_end_matches('/'), file.path);
        let mut request = self.agent().get(&url);
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::StatusCode(code) => {
                broken(file, anyhow!("{url} answers {code}; is the hub behind a login or a proxy?"))
            }
            error => broken(file, anyhow::Error::new(error).context(format!("{url} is not reached"))),
        })
    }

    fn agent(&self) -> Agent {
        // The same cryptography as everywhere else in this program: rustls wants to be told which, when there are two.
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::WebPki)
            .build();
        Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(self.stall_timeout))
            .user_agent(concat!("synapsenet/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }
}

/// Hashes what is at a path already; gives its length.
fn read_part(path: &Path, hasher: &mut Sha256) -> io::Result<u64> {
    match File::open(path) {
        Ok(mut file) => {
            let mut buffer = vec![0; STEP];
            let mut length = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(length),
                    count => {
                        hasher.update(&buffer[..count]);
                        length += count as u64;
                    }
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn broken(file: &HubFile, error: anyhow::Error) -> ModelsError {
    let doing = format!("{} was not fetched; the same command goes on where it broke off", file.name);
    ModelsError::Failed(error.context(doing))
}

fn wrong(file: &HubFile, why: &str) -> ModelsError {
    ModelsError::Unusable(format!(
        "{} from the hub is not the file that this program knows: {why}",
        file.name
    ))
}
