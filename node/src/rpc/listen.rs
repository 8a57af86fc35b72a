//! Where the API listens: always on a unix socket in the data folder, and on TCP for those who hold a token.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::io::Errno;
use synapsenet_proto::rpc::HEALTH_OF_WRITES;
use synapsenet_proto::rpc::access_service_server::AccessServiceServer;
use synapsenet_proto::rpc::mesh_service_server::MeshServiceServer;
use synapsenet_proto::rpc::model_service_server::ModelServiceServer;
use synapsenet_proto::rpc::node_service_server::NodeServiceServer;
use synapsenet_proto::rpc::source_service_server::SourceServiceServer;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use super::authority::AnyAuthority;
use super::entrance::Entrance;
use super::guard::{Guarded, Neighbour, Open, Way};
use super::tls::Tls;
use crate::calls::Calls;
use crate::calls::grains::MAX_DOCUMENT_BYTES;
use crate::config::ApiConfig;
use crate::connections::{Guest, Seated, Seats, seats_for};
use crate::data_folder::SOCKET;
use crate::metrics::Door;
use crate::rpc::Api;
use crate::wire::{Wire, wire};

/// The largest request, also when it is decompressed: a document and what is said about it.
const MAX_REQUEST_BYTES: usize = MAX_DOCUMENT_BYTES + (64 << 10);
/// Streams that one connection may have open.
const MAX_STREAMS: u32 = 256;
/// Bytes that a client may send on a stream, and on all streams of a connection, before the node has read them.
///
/// h2 ends a connection with ENHANCE_YOUR_CALM ("too_many_data_frames") when small frames that nobody has read yet cost
/// more than half the window of the connection, each the 256 bytes that it takes in memory less the bytes in it. A client of
/// BulkPut sends short texts faster than a disk takes them, one a frame: the window of its stream, full of the smallest
/// messages (five bytes), costs 50 times its size, and the connection has room for twenty such streams. A connection holds at most
/// that half, 64 MiB, besides the windows of its streams.
const STREAM_WINDOW: u32 = (64 << 10) - 1;
const CONNECTION_WINDOW: u32 = 128 << 20;
/// The part of the descriptors that each of the two listeners may take for its connections: with the metrics page a little
/// more than half, and peers and files have the rest.
const SEATS_SHARE: u64 = 4;
/// Silence after which a TCP client is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long open calls may go on when the node stops.
const MAX_GOODBYE: Duration = Duration::from_secs(5);
/// And the name under which it tells whether the node is ready, as the protocol has it.
const ALL: &str = "";
/// How often it is looked whether the node is ready: as soon as those who ask again and again would hear of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bound listeners of the API.
pub(crate) struct RpcServer {
    socket: UnixListener,
    socket_path: PathBuf,
    tcp: Option<Tcp>,
}

struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl RpcServer {
    /// Binds the socket and, when one is configured, the TCP address; port 0 takes a free one.
    ///
    /// The caller holds the store of `data_dir`, so a socket file found here was left by a process that is gone.
    ///
    /// # Errors
    /// When something cannot be bound or read; the message says what to do.
    pub async fn bind(data_dir: &Path, config: &ApiConfig) -> anyhow::Result<Self> {
        let socket_path = data_dir.join(SOCKET);
        let shown = socket_path.display().to_string();
        match std::fs::remove_file(&socket_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove the old socket {shown}"));
            }
            _ => {}
        }
        let socket = UnixListener::bind(&socket_path).map_err(|error| {
            let why = no_socket(&socket_path, &error);
            anyhow::Error::new(error).context(format!("cannot listen on {shown}: {why}"))
        })?;
        std::fs::set_permissions(&socket_path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot make {shown} private"))?;
        let tcp = if config.listen.is_empty() { None } else { Some(Tcp::bind(data_dir, config).await?) };
        Ok(Self { socket, socket_path, tcp })
    }

    /// The addresses as clients write them.
    pub fn addresses(&self) -> Vec<String> {
        let mut addresses = vec![format!("unix:{}", self.socket_path.display())];
        if let Some(tcp) = &self.tcp {
            let scheme = if tcp.tls.is_some() { "https" } else { "http" };
            addresses.push(format!("{scheme}://{}", tcp.address));
        }
        addresses
    }

    /// SHA-256 of the certificate that is shown over TCP, in hexadecimal digits; empty without TLS.
    pub fn fingerprint(&self) -> &str {
        let tls = self.tcp.as_ref().and_then(|tcp| tcp.tls.as_ref());
        tls.map(|tls| tls.fingerprint.as_str()).unwrap_or_default()
    }

    /// Serves until `stop`, then lets open calls end.
    ///
    /// # Errors
    /// When a listener breaks.
    pub async fn run(self, api: Api, stop: CancellationToken) -> anyhow::Result<()> {
        let (reporter, health) = unready().await;
        let telling = tell_health(reporter, api.calls().clone());
        let doors = api.calls().metrics().doors.clone();
        let calls = api.calls().clone();
        let for_socket = Entrance::new(routes(api.clone(), &Way::Socket, health.clone())?, &calls);
        let socket = async {
            let stopped = stop.clone().cancelled_owned();
            let incoming = seats(doors.of("socket")).fill(self.socket).map(|stream| stream.map(neighbour));
            Ok(builder().serve_with_incoming_shutdown(for_socket, incoming, stopped).await?)
        };
        let tcp = async {
            let Some(tcp) = self.tcp else { return Ok(()) };
            let mut builder = builder();
            if let Some(tls) = tcp.tls {
                builder =
                    builder.tls_config(tls.config).context("the TLS certificate or key cannot be used")?;
            }
            let way = Way::Tcp(api.calls().keys().clone());
            let services = Entrance::new(routes(api, &way, health)?, &calls);
            let seats = seats(doors.of("tcp"));
            let stopped = stop.clone().cancelled_owned();
            Ok(builder.serve_with_incoming_shutdown(services, seats.fill(tcp.listener), stopped).await?)
        };
        let serving = async { tokio::try_join!(socket, tcp).map(|_| ()) };
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(MAX_GOODBYE).await;
        };
        let result = tokio::select! {
            result = serving => result,
            () = telling => Ok(()),
            () = overdue => {
                tracing::info!("some calls were still open after the time for goodbye");
                Ok(())
            }
        };
        // A socket that cannot be removed is removed at the next start.
        let _ = std::fs::remove_file(&self.socket_path);
        result
    }
}

/// Why a socket cannot be made, and the way out.
fn no_socket(path: &Path, error: &io::Error) -> String {
    match (Errno::from_io_error(error), error.kind()) {
        (_, ErrorKind::InvalidInput) | (Some(Errno::NAMETOOLONG), _) => {
            let bytes = path.as_os_str().len();
            format!("a socket's path has at most 107 bytes, and this one has {bytes}; name a shorter --data-dir")
        }
        (Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS), _) => {
            "the file system there holds no sockets (FAT and exFAT are of this kind); name a --data-dir on another".into()
        }
        (_, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            "this user may not write there; start the node as the owner of the folder, or name another --data-dir".into()
        }
        _ => "name another --data-dir".into(),
    }
}

impl Tcp {
    async fn bind(data_dir: &Path, config: &ApiConfig) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(&config.listen).await.with_context(|| {
            let listen = &config.listen;
            format!(
                "cannot listen on {listen} for the API: choose another with --api-listen, or \"\" for none"
            )
        })?;
        let address = listener.local_addr().context("a bound socket has an address")?;
        let tls = Tls::of(data_dir, config, address.ip())?;
        Ok(Self { listener, address, tls })
    }
}

/// A way to the services for those who came in by another door of this process, and have a token of their own.
///
/// # Errors
/// When the schema in the program is broken.
pub(crate) fn within(calls: &Calls) -> anyhow::Result<Wire> {
    let (_, health) = tonic_health::server::health_reporter();
    let services = routes(Api::new(calls.clone()), &Way::Tcp(calls.keys().clone()), health)?;
    Ok(wire(Entrance::new(services, calls)))
}

fn seats(door: Door) -> Seats {
    Seats::new(seats_for(SEATS_SHARE), door)
}

/// Somebody on this machine.
fn neighbour(stream: Seated<UnixStream>) -> AnyAuthority<Seated<UnixStream>, Neighbour> {
    // Who has gone again has no user any more.
    let uid = stream.stream().peer_cred().ok().map(|user| user.uid());
    let guest = stream.guest();
    AnyAuthority::new(stream, Neighbour { guest, uid })
}

impl<S> Connected for Seated<S> {
    type ConnectInfo = Guest;

    fn connect_info(&self) -> Guest {
        self.guest()
    }
}

pub(super) fn builder() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

/// A service that reads compressed requests and, where the entrance lets it, writes compressed answers.
macro_rules! served {
    ($service:expr) => {
        $service
            .accept_compressed(Gzip)
            .accept_compressed(Zstd)
            .send_compressed(Gzip)
            .send_compressed(Zstd)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
    };
}

/// Health that says of the node as a whole that it is not ready, until somebody has looked; tonic's own beginning is that it is.
async fn unready() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(ALL, ServingStatus::NotServing).await;
    (reporter, health)
}

/// The services, and reflection, for those whom the guard lets in; health for everybody.
fn routes(api: Api, way: &Way, health: HealthServer<impl Health>) -> anyhow::Result<Routes> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(synapsenet_proto::rpc::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = "the schema compiled into the program is whole";
    let (v1, v1alpha) =
        (reflection().build_v1().context(broken)?, reflection().build_v1alpha().context(broken)?);
    let audit = api.calls().audit().cloned();
    /// A service behind the guard.
    macro_rules! guarded {
        ($service:expr) => {
            Guarded::new(served!($service), way.clone(), audit.clone())
        };
    }
    Ok(Routes::new(guarded!(NodeServiceServer::new(api.clone())))
        .add_service(guarded!(MeshServiceServer::new(api.clone())))
        .add_service(guarded!(ModelServiceServer::new(api.clone())))
        .add_service(guarded!(SourceServiceServer::new(api.clone())))
        .add_service(guarded!(AccessServiceServer::new(api)))
        .add_service(guarded!(v1))
        // What older clients know, and Python's and grpcurl's of today: they do not ask for the other.
        .add_service(guarded!(v1alpha))
        .add_service(Open::new(served!(health))))
}

/// Tells that the services are there, and as it changes, whether the node is ready and whether something can be changed. Never ends.
async fn tell_health(health: HealthReporter, calls: Calls) {
    health.set_serving::<NodeServiceServer<Api>>().await;
    health.set_serving::<MeshServiceServer<Api>>().await;
    health.set_serving::<ModelServiceServer<Api>>().await;
    health.set_serving::<SourceServiceServer<Api>>().await;
    health.set_serving::<AccessServiceServer<Api>>().await;
    let serving = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    let mut is_disk_full = calls.watch_disk();
    loop {
        let is_full = *is_disk_full.borrow_and_update();
        health.set_service_status(HEALTH_OF_WRITES, serving(!is_full)).await;
        health.set_service_status(ALL, serving(calls.readiness().await.is_ready)).await;
        if let Ok(Err(_)) = timeout(LOOK_EVERY, is_disk_full.changed()).await {
            // Nobody writes any more: the node is stopping.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;

    #[tokio::test]
    async fn a_node_is_not_ready_before_somebody_has_looked() {
        let (_reporter, health) = unready().await;
        let answer = HealthClient::new(health).check(HealthCheckRequest { service: ALL.into() }).await;
        assert_eq!(answer.unwrap().into_inner().status, tonic_health::ServingStatus::NotServing as i32);
    }

    #[test]
    fn a_socket_that_cannot_be_made_is_told_with_its_reason() {
        let why = |errno: Errno| no_socket(Path::new("/usb/api.sock"), &errno.into());
        // What FAT and exFAT answer: the length of the path has nothing to do with it.
        assert!(
            why(Errno::PERM).contains("FAT") && !why(Errno::PERM).contains("107"),
            "{}",
            why(Errno::PERM)
        );
        assert!(why(Errno::OPNOTSUPP).contains("FAT"));
        assert!(why(Errno::ACCESS).contains("this user may not write"), "{}", why(Errno::ACCESS));
        assert!(why(Errno::ROFS).contains("this user may not write"));
        let long = format!("/{}", "x".repeat(200));
        let error = std::os::unix::net::UnixListener::bind(&long).unwrap_err();
        assert!(no_socket(Path::new(&long), &error).contains("at most 107 bytes, and this one has 201"));
    }
}
