//! From addresses to encrypted, multiplexed, counted connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, TryFutureExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OptionalTransport, Transport as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, dns, noise, quic, relay, tcp, yamux};

use crate::meter::{Count, Meter, Metered};
use crate::{Config, NetError};

/// The longest that encryption and multiplexing may take to be agreed on. A peer that is slower gives nothing.
const MAX_UPGRADE: Duration = Duration::from_secs(15);
/// Substreams of one connection.
const MAX_STREAMS: usize = 256;

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
pub(crate) fn build(config: &Config, key: &Keypair, meter: &Arc<Meter>) -> Result<Parts, NetError> {
    let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
    let secure = || noise::Config::new(key).map_err(|error| setup(&error));
    let mut streams = yamux::Config::default();
    streams.set_max_num_streams(MAX_STREAMS);

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
        .multiplex(streams.clone())
        .timeout(MAX_UPGRADE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = if is_private {
        OptionalTransport::none()
    } else {
        OptionalTransport::some(quic::tokio::Transport::new(quic::Config::new(key)))
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
        .multiplex(streams)
        .timeout(MAX_UPGRADE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    // Dns comes around those that dial names, and inside of what counts.
    let direct = quic.or_transport(tcp).map(|either, _| either.into_inner());
    let named = dns::tokio::Transport::system(direct).map_err(|error| setup(&error))?;
    let all = relayed.or_transport(named).map(|either, _| either.into_inner());

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
