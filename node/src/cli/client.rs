//! The way to a node: its address, its token, one connection.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use synapsenet_proto::rpc::access_service_client::AccessServiceClient;
use synapsenet_proto::rpc::mesh_service_client::MeshServiceClient;
use synapsenet_proto::rpc::model_service_client::ModelServiceClient;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::rpc::source_service_client::SourceServiceClient;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_health::pb::health_client;

use super::certificate::{Fingerprint, Named, Pinned};
use super::failure::{Failure, io_error};
use crate::data_folder::TOKEN;
use crate::wire::{Wire, wire};

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node may take to answer a call with one answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a silent connection is asked for a sign of life: calls that take long have no other limit.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The largest answer: a page of 1000 grains, each 16 KiB of text and 32 KiB signed, with room for the rest.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// A token is 64 digits and a line break; a larger file is something else.
const MAX_TOKEN_BYTES: u64 = 4096;

/// A connection to a node.
pub(crate) type Client = NodeServiceClient<InterceptedService<Channel, Token>>;
/// A connection to the mesh side of a node.
pub(crate) type MeshClient = MeshServiceClient<InterceptedService<Channel, Token>>;
/// A connection to the folders that a node remembers.
pub(crate) type SourceClient = SourceServiceClient<InterceptedService<Channel, Token>>;
/// A connection to what tells how a node is.
pub(crate) type HealthClient = health_client::HealthClient<InterceptedService<Channel, Token>>;
/// A connection to the models of a node.
pub(crate) type ModelClient = ModelServiceClient<InterceptedService<Channel, Token>>;

/// A connection to the tokens of a node.
pub(crate) type AccessClient = AccessServiceClient<InterceptedService<Channel, Token>>;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP without TLS.
    Http(Uri),
    /// TCP with TLS.
    Https(Uri),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is how other gRPC programs write an absolute path.
            let path = if path.starts_with("///") { &path[2..] } else { path };
            return if path.is_empty() {
                Err("no path after unix:".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let form = "must be unix:PATH, http://HOST:PORT or https://HOST:PORT";
        let uri: Uri = text.parse().map_err(|_| form.to_owned())?;
        if uri.port_u16().is_none() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(form.into());
        }
        match uri.scheme_str() {
            Some("http") => Ok(Self::Http(uri)),
            Some("https") => Ok(Self::Https(uri)),
            _ => Err(form.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(uri) | Self::Https(uri) => f.write_str(uri.to_string().trim_end_matches('/')),
        }
    }
}

/// Which node is meant and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: Address,
    /// The address was given; otherwise it is that of the data folder.
    pub(crate) explicit: bool,
    /// The file with its token, for TCP.
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of the certificate, or of who signed it, for https.
    pub(crate) ca_file: Option<PathBuf>,
    /// SHA-256 of the one certificate that is trusted, for https.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Its data folder, if it is on this machine.
    pub(crate) data_dir: PathBuf,
    /// The option that names its data folder, with a space before it; empty when it is the default one.
    pub(crate) option: String,
}

impl Target {
    /// A command for this node as a shell takes it, for hints.
    pub(crate) fn command(&self, command: &str) -> String {
        format!("synapsenet {command}{}", self.option)
    }
}

/// Puts the token into every call.
#[derive(Clone)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A call with one answer, which must come within [`ANSWER_TIMEOUT`].
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIMEOUT);
    request
}

/// Connects to the node that is meant.
///
/// # Errors
/// Exit code 3 when nobody answers there, 2 when the address cannot be used as it is.
pub(crate) async fn connect(target: &Target) -> Result<Client, Failure> {
    let (channel, token) = reach(target).await?;
    let client = NodeServiceClient::with_interceptor(channel, token);
    Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// As [`connect`], to the mesh side.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_mesh(target: &Target) -> Result<MeshClient, Failure> {
    let (channel, token) = reach(target).await?;
    let client = MeshServiceClient::with_interceptor(channel, token);
    Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// As [`connect`], to the models.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_models(target: &Target) -> Result<ModelClient, Failure> {
    let (channel, token) = reach(target).await?;
    let client = ModelServiceClient::with_interceptor(channel, token);
    Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// As [`connect`], to the folders that are remembered.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_sources(target: &Target) -> Result<SourceClient, Failure> {
    let (channel, token) = reach(target).await?;
    let client = SourceServiceClient::with_interceptor(channel, token);
    Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// As [`connect`], to what tells how the node is.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_health(target: &Target) -> Result<HealthClient, Failure> {
    let (channel, token) = reach(target).await?;
    Ok(health_client::HealthClient::with_interceptor(channel, token))
}

/// As [`connect`], to the tokens.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_access(target: &Target) -> Result<AccessClient, Failure> {
    let (channel, token) = reach(target).await?;
    Ok(AccessServiceClient::with_interceptor(channel, token))
}

/// As [`connect`], to all services, whoever the client of them is.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_wire(target: &Target) -> Result<Wire, Failure> {
    let (channel, token) = reach(target).await?;
    Ok(wire(InterceptedService::new(channel, token)))
}

async fn reach(target: &Target) -> Result<(Channel, Token), Failure> {
    let (channel, token) = match &target.address {
        Address::Unix(path) => (connect_unix(path, target).await?, None),
        Address::Http(_) if target.fingerprint.is_some() => {
            return Err(Failure::usage(
                format!("a fingerprint is given, and {} shows no certificate", target.address),
                "use https://, or leave --api-fingerprint (SYNAPSENET_API_FINGERPRINT) out",
            ));
        }
        Address::Http(uri) => {
            let token = read_token(target)?;
            if token.is_some() && !is_loopback(uri) {
                return Err(Failure::usage(
                    format!("{} would carry the token across the network for all to read", target.address),
                    "use https://, or a tunnel that ends on this machine",
                ));
            }
            (connect_tcp(endpoint(uri.clone()), target).await?, token)
        }
        Address::Https(uri) => {
            let endpoint = with_tls(endpoint(uri.clone()), target)?;
            (connect_tcp(endpoint, target).await?, read_token(target)?)
        }
    };
    Ok((channel, Token(token)))
}

/// Whether a node accepts connections on the unix socket `path`.
pub(crate) async fn is_answering(path: &Path) -> bool {
    matches!(tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await, Ok(Ok(_)))
}

fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .user_agent(concat!("synapsenet-cli/", env!("CARGO_PKG_VERSION")))
        .expect("the name and version are printable ASCII")
}

async fn connect_unix(path: &Path, target: &Target) -> Result<Channel, Failure> {
    let path = path.to_owned();
    // HTTP/2 wants a host; a socket has none.
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = endpoint(Uri::from_static("http://localhost"));
    finish(endpoint.connect_with_connector(connector), target).await
}

async fn connect_tcp(endpoint: Endpoint, target: &Target) -> Result<Channel, Failure> {
    finish(endpoint.connect(), target).await
}

async fn finish(
    connecting: impl Future<Output = Result<Channel, tonic::transport::Error>>,
    target: &Target,
) -> Result<Channel, Failure> {
    let address = &target.address;
    let check = if target.explicit { "check --api, or " } else { "" };
    let start = format!("{check}start a node: {}", target.command("run"));
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(channel)) => Ok(channel),
        Err(_) => Err(Failure::unreachable(format!("{address} does not answer within 5 s"), start)),
        Ok(Err(error)) => Err(explain(&error, target, start)),
    }
}

/// Why there is no connection. The error of the operating system says it; the layers above it do not.
fn explain(error: &(dyn std::error::Error + 'static), target: &Target, start: String) -> Failure {
    use std::io::ErrorKind;
    let address = &target.address;
    let root = std::iter::successors(Some(error), |error| (*error).source()).last().map(ToString::to_string);
    let root = root.unwrap_or_default();
    match io_error(error).map(std::io::Error::kind) {
        Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Failure::unreachable(format!("no node answers at {address}"), start)
        }
        Some(ErrorKind::PermissionDenied) => Failure::unreachable(
            format!("not allowed to use {address}"),
            "the socket belongs to the user who runs the node: become that user, join the group that it is open to (the Debian package: usermod -aG \
             synapsenet NAME, then log in anew), or use TCP with a token",
        ),
        Some(ErrorKind::InvalidInput) => Failure::usage(
            format!("{address} cannot be used: {root}"),
            "a unix socket's path has at most 107 bytes: choose a shorter --data-dir",
        ),
        _ if matches!(target.address, Address::Https(_)) => Failure::unreachable(
            format!("no secure connection to {address}: {root}"),
            "check host and port, and that --api-fingerprint is what `synapsenet id` shows there, or --api-ca names the \
             certificate of this node or of who signed it",
        ),
        _ => Failure::unreachable(format!("no connection to {address}: {root}"), start),
    }
}

fn with_tls(endpoint: Endpoint, target: &Target) -> Result<Endpoint, Failure> {
    if let Some(fingerprint) = target.fingerprint {
        let pinned = Arc::new(Pinned::new(fingerprint));
        return endpoint.tls_config_with_verifier(ClientTlsConfig::new(), pinned).map_err(|error| {
            Failure::usage(format!("cannot use TLS: {error}"), "check the address that --api names")
        });
    }
    let Some(path) = &target.ca_file else {
        return Err(Failure::usage(
            format!("{} needs a certificate to check the node against", target.address),
            "give --api-fingerprint HEX, which `synapsenet id` shows there, or --api-ca FILE: the node's certificate \
             (api.tls_cert) or that of who signed it, in PEM",
        ));
    };
    let unusable = |error: &dyn fmt::Display| {
        Failure::usage(
            format!("cannot use the certificate {}: {error}", path.display()),
            "--api-ca takes a PEM file that this user can read",
        )
    };
    let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
    let named = Named::read(&pem).map_err(|error| unusable(&error))?;
    let tls = endpoint.tls_config_with_verifier(ClientTlsConfig::new(), Arc::new(named));
    tls.map_err(|error| unusable(&error))
}

/// The token for TCP. Without a file at the default place none is sent, and the node says that it wants one.
fn read_token(target: &Target) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    let path = target.token_file.clone().unwrap_or_else(|| target.data_dir.join(TOKEN));
    let unusable = |reason: &str| {
        Failure::usage(
            format!("cannot use the token file {}: {reason}", path.display()),
            "--api-token-file takes what `synapsenet token create` printed there, or a copy of api.token in the data folder",
        )
    };
    if target.token_file.is_none() && !path.exists() {
        return Ok(None);
    }
    let size = std::fs::metadata(&path).map_err(|error| unusable(&error.to_string()))?.len();
    if size > MAX_TOKEN_BYTES {
        return Err(unusable("it is too large for a token"));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| unusable(&error.to_string()))?;
    if text.trim().is_empty() {
        return Err(unusable("it is empty"));
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", text.trim())
        .parse()
        .map_err(|_| unusable("it holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str, token_file: Option<PathBuf>, data_dir: &Path) -> Target {
        Target {
            address: address.parse().unwrap(),
            explicit: true,
            token_file,
            ca_file: None,
            fingerprint: None,
            data_dir: data_dir.to_owned(),
            option: String::new(),
        }
    }

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in ["unix:/run/a.sock", "unix:a.sock", "http://127.0.0.1:7717", "https://[::1]:7717"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/a".parse::<Address>().unwrap(), Address::Unix("/run/a".into()));
        assert_eq!("http://localhost:1/".parse::<Address>().unwrap().to_string(), "http://localhost:1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let bad =
            ["", "unix:", "127.0.0.1:7717", "http://localhost", "ftp://h:1", "http://h:1/x", "http://h:1/?x"];
        for text in bad {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| is_loopback(&text.parse().unwrap());
        assert!(
            loopback("http://127.0.0.1:1") && loopback("http://[::1]:1") && loopback("http://localhost:1")
        );
        assert!(!loopback("http://10.0.0.1:1") && !loopback("http://localhost.example:1"));
    }

    #[test]
    fn a_token_is_read_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let read = |file: Option<PathBuf>| read_token(&target("http://localhost:1", file, dir.path()));
        assert!(read(None).unwrap().is_none(), "no file at the default place is no error");
        assert!(read(Some(dir.path().join("missing"))).is_err());
        std::fs::write(dir.path().join("api.token"), "secret\n").unwrap();
        assert_eq!(read(None).unwrap().unwrap(), "Bearer secret");
        std::fs::write(dir.path().join("api.token"), "\n").unwrap();
        assert!(read(None).is_err());
    }

    #[tokio::test]
    async fn a_token_does_not_cross_the_network_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("api.token"), "secret").unwrap();
        let failure = connect(&target("http://192.0.2.1:7717", None, dir.path())).await.unwrap_err();
        assert_eq!(failure.exit(), super::super::failure::Exit::Usage);
    }

    #[tokio::test]
    async fn a_missing_node_is_told_with_the_command_that_starts_it() {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("unix:{}", dir.path().join(crate::data_folder::SOCKET).display());
        let failure = connect(&target(&address, None, dir.path())).await.unwrap_err();
        let Failure::Told { exit, message, hint } = failure else { panic!("it must be told") };
        assert_eq!(exit, super::super::failure::Exit::Unreachable);
        assert!(message.starts_with("no node answers at unix:"), "{message}");
        assert_eq!(hint, "check --api, or start a node: synapsenet run");
    }
}
