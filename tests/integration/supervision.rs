//! Does a part that fails stop the node, and say what it was?

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId};
use synapsenet_net::Layer;
use tokio::net::TcpStream;

use super::harness::{TestNode, folder, mesh_config, within};

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Connections in which the swarm panics once they are broken.
struct Breaking {
    inner: Connections,
    is_broken: Arc<AtomicBool>,
}

impl Transport for Breaking {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Connections as Transport>::ListenerUpgrade;
    type Dial = <Connections as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        assert!(!self.is_broken.load(Ordering::Relaxed), "the network card is on fire");
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_panics_stops_the_node_with_its_words() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let layer: Layer = {
        let is_broken = is_broken.clone();
        Arc::new(move |inner| Breaking { inner, is_broken: is_broken.clone() }.boxed())
    };
    let node = TestNode::layered(folder(), mesh_config(&[]), layer).await;
    let address = node.node.mesh_addresses().remove(0);
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    is_broken.store(true, Ordering::Relaxed);
    // Somebody knocks, so that the swarm looks. Nobody may be there any more by the time that it is heard.
    let _knocking = TcpStream::connect(("127.0.0.1", port)).await;
    let TestNode { mut node, .. } = node;
    let failure = format!("{:#}", within("the failure", node.failed()).await);
    assert_eq!(failure, "the mesh panicked: the network card is on fire");
    within("the end of the node", node.stop()).await.unwrap();
}
