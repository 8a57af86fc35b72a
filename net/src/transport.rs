//! From addresses to encrypted, multiplexed, counted connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, TryFutureExt};
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OptionalTransport, Transport as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, dns, noise, quic, relay, tcp};

use crate::entrance::Entrance;
use crate::meter::{Count, Meter, Metered};
use crate::near::Near;
use crate::twin::SharedEnds;
use crate::window::{MAX_UNREAD, Yamux};
use crate::{Config, NetError};

/// The longest that encryption and multiplexing may take to be agreed on. A peer that is slower gives nothing.
pub(crate) const MAX_UPGRADE: Duration = Duration::from_secs(10);
/// Substreams of one connection.
pub(crate) const MAX_STREAMS: usize = 256;

/// Where the bytes of each connected peer are counted. Kept only while somebody else holds the count.
pub(crate) type PeerCounts = Arc<Mutex<std::collections::HashMap<PeerId, std::sync::Weak<Count>>>>;

/// The count of a peer's bytes, new when there is none.
pub(crate) fn count_of(counts: &PeerCounts, peer: PeerId) -> Arc<Count> {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts.retain(|_, count| count.strong_count() > 0);
    if let Some(count) = counts.get(&peer).and_then(std::sync::Weak::upgrade) {
        return count;
    }
    let count = Arc::new(Count::default());
    counts.insert(peer, Arc::downgrade(&count));
    count
}

/// Everything that connections are made with.
pub(crate) struct Parts {
    pub(crate) transport: Boxed<(PeerId, StreamMuxerBox)>,
    pub(crate) relay: Option<relay::client::Behaviour>,
    pub(crate) counts: PeerCounts,
}

/// TCP (with noise and yamux, inside a private mesh with its key first), QUIC (outside a private mesh), relays, names.
pub(crate) fn build(
    config: &Config,
    key: &Keypair,
    meter: &Arc<Meter>,
    near: &Near,
    ends: &SharedEnds,
) -> Result<Parts, NetError> {
    let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
    let secure = || noise::Config::new(key).map_err(|error| setup(&error));
    let (me, ends) = (key.public().to_peer_id(), ends.clone());
    let streams = move |peer: &PeerId, endpoint: &ConnectedPoint| {
        if *peer == me {
            ends.met(endpoint);
        }
        Yamux { max_streams: MAX_STREAMS }
    };

    let pre_shared = config.pre_shared_key.map(|key| PnetConfig::new(PreSharedKey::new(key)));
    let is_private = pre_shared.is_some();
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .and_then(move |socket, _| match pre_shared {
            Some(config) => {
                Either::Left(config.handshake(socket).map_ok(Either::Left).map_err(std::io::Error::other))
            }
            None => Either::Right(std::future::ready(Ok(Either::Right(socket)))),
        })
        .upgrade(Version::V1Lazy)
        .authenticate(secure()?)
        .multiplex_ext(streams.clone())
        .timeout(MAX_UPGRADE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = if is_private {
        OptionalTransport::none()
    } else {
        OptionalTransport::some(quic::tokio::Transport::new(bounded_quic(key)))
    };
    let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let (relay_transport, relay) = if config.relay_client {
        let (transport, behaviour) = relay::client::new(key.public().to_peer_id());
        (OptionalTransport::some(transport), Some(behaviour))
    } else {
        (OptionalTransport::none(), None)
    };
    let relayed = relay_transport
        .upgrade(Version::V1Lazy)
        .authenticate(secure()?)
        .multiplex_ext(streams)
        .timeout(MAX_UPGRADE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    // Dns comes around those that dial names, and inside of what counts.
    let direct = quic.or_transport(tcp).map(|either, _| either.into_inner());
    let named = with_names(direct, dns::tokio::Transport::system(()).map(drop))?;
    let all = relayed.or_transport(named).map(|either, _| either.into_inner());
    let all = Entrance::new(all.boxed(), near.clone());

    let layered = match &config.layer {
        Some(layer) => layer(all.boxed()),
        None => all.boxed(),
    };
    let counts: PeerCounts = Arc::default();
    let (meter, known) = (meter.clone(), counts.clone());
    let metered = layered.map(move |(peer, muxer), _| {
        let count = count_of(&known, peer);
        (peer, StreamMuxerBox::new(Metered::new(muxer, meter.clone(), count)))
    });
    Ok(Parts { transport: metered.boxed(), relay, counts })
}

/// QUIC that holds as much unread as a connection of TCP may.
fn bounded_quic(key: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(key);
    config.max_concurrent_stream_limit = MAX_STREAMS as u32;
    config.max_connection_data = MAX_UNREAD as u32;
    // So that one stream that is not read does not stop the others.
    config.max_stream_data = MAX_UNREAD as u32 / 2;
    config
}

/// Looks up the names in addresses that `direct` is to dial. `system` is whether the system says whom to ask for them
/// (/etc/resolv.conf): where it does not, a mesh has use for addresses that are numbers all the same.
fn with_names<T>(direct: T, system: std::io::Result<()>) -> Result<dns::tokio::Transport<T>, NetError> {
    let Err(error) = system else {
        return dns::tokio::Transport::system(direct).map_err(|error| NetError::Setup(error.to_string()));
    };
    tracing::warn!(%error, "no name server is known: names in addresses of peers are not looked up before the next start");
    let nobody = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
    Ok(dns::tokio::Transport::custom(direct, nobody, dns::ResolverOpts::default()))
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::StreamExt;
    use libp2p::core::transport::{DialOpts, ListenerId, TransportEvent};
    use libp2p::core::{Endpoint, transport::PortUse};
    use libp2p::{Multiaddr, Transport as _};

    use super::*;

    /// Far longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(120);

    async fn dial(
        transport: &mut dns::tokio::Transport<tcp::tokio::Transport>,
        address: Multiaddr,
    ) -> io::Result<()> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialling = transport.dial(address, options).map_err(io::Error::other)?;
        tokio::time::timeout(PATIENCE, dialling).await?.map(drop).map_err(io::Error::other)
    }

    #[tokio::test]
    async fn without_a_name_server_addresses_that_are_numbers_are_dialled() {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default());
        // What the library answers on a machine whose /etc/resolv.conf is missing or empty.
        let unreadable = Err(io::Error::other("no nameservers found in config"));
        let mut transport = with_names(tcp, unreadable).unwrap();

        let mut listener = tcp::tokio::Transport::new(tcp::Config::default());
        listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let mut listener = listener.boxed();
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = listener.next().await else {
            panic!("it listens")
        };
        dial(&mut transport, listen_addr).await.unwrap();
        assert!(dial(&mut transport, "/dns4/peer.example/tcp/1".parse().unwrap()).await.is_err());
    }
}
