//! Swarms on loopback, as real as they get without a store.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use synapsenet_proto::{Announcement, Draft, Grain, Identity, Topic, rpc};
use tokio::sync::mpsc;

use crate::dial::Saved;
use crate::{AskError, Config, DialError, Event, Metrics, Net, Offence, Request, Response};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(240);

struct Node {
    net: Net,
    events: mpsc::Receiver<Event>,
    identity: Identity,
}

impl Node {
    async fn start(seed: u8, config: Config) -> Self {
        Self::start_saved(seed, config, Saved::default()).await
    }

    async fn start_saved(seed: u8, config: Config, saved: Saved) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let (net, events, _) = Net::start(config, &identity, saved, Metrics::default()).await.unwrap();
        Self { net, events, identity }
    }

    fn address(&self) -> Multiaddr {
        self.net.listening()[0].clone().with_p2p(self.net.peer()).unwrap()
    }

    async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the swarm runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    fn grain(&self, text: &str) -> Announcement {
        let now = super::now_ms();
        let draft = Draft { text: text.into(), ..Draft::default() };
        Announcement { grain: Grain::seal(draft, &self.identity, now).unwrap(), claim: None }
    }
}

fn config() -> Config {
    Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..Config::default() }
}

#[tokio::test]
async fn a_node_listens_on_ipv4_and_ipv6_of_one_port_as_far_as_the_machine_has_them() {
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let listen = ["/ip4/0.0.0.0/tcp/", "/ip6/::/tcp/"];
    let listen = listen.iter().map(|start| format!("{start}{port}").parse().unwrap()).collect();
    let node = Node::start(7, Config { listen, listen_where_possible: true, ..Config::default() }).await;
    let listens_on = |family: &str| {
        let listening = node.net.listening().iter().map(ToString::to_string);
        listening
            .filter(|address| address.starts_with(family) && address.ends_with(&port.to_string()))
            .count()
            > 0
    };
    assert!(listens_on("/ip4/"), "{:?}", node.net.listening());
    let has_ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    assert_eq!(listens_on("/ip6/"), has_ipv6, "{:?}", node.net.listening());
}

async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        while !condition().await {
            interval.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

async fn pair() -> (Node, Node) {
    let (one, two) = (Node::start(1, config()).await, Node::start(2, config()).await);
    for node in [&one, &two] {
        node.net.subscribe(Topic::default()).await.unwrap();
    }
    assert_eq!(two.net.dial(one.address()).await.unwrap(), one.net.peer());
    (one, two)
}

#[tokio::test]
async fn a_grain_that_is_announced_arrives() {
    let (mut one, mut two) = pair().await;
    one.event("a peer of the topic", |event| matches!(event, Event::Shares { .. }).then_some(())).await;
    two.event("a peer of the topic", |event| matches!(event, Event::Shares { .. }).then_some(())).await;
    let sent = one.grain("the router is at 10.0.0.1");
    assert!(one.net.publish(sent.clone()).await.unwrap());
    let (from, got) = two
        .event("the grain", |event| match event {
            Event::Announced { from, announcement } => Some((from, announcement)),
            _ => None,
        })
        .await;
    assert_eq!((from, *got), (one.net.peer(), sent));
    let peers = two.net.peers().await.unwrap();
    let traffic = two.net.status().await.unwrap().traffic[0];
    assert!(traffic.received > 100, "gossip is counted as such: {traffic:?}");
    assert!(peers[0].traffic.received >= traffic.received);
}

#[tokio::test]
async fn a_question_is_answered_or_fails_with_a_reason() {
    let (mut one, two) = pair().await;
    let question = rpc::FetchRequest { ids: vec![7; 32], space_id: vec![] };
    let asked = two.net.ask(one.net.peer(), Request::Fetch(question.clone()), PATIENCE);
    let answering = async {
        let (request, reply) = one
            .event("a question", |event| match event {
                Event::Asked { request, reply, .. } => Some((request, reply)),
                _ => None,
            })
            .await;
        assert_eq!(*request, Request::Fetch(question.clone()));
        reply.send(Response::Fetch(rpc::FetchResponse { grains: vec![], refused: "no".into() }));
    };
    let (answer, ()) = tokio::join!(asked, answering);
    assert_eq!(answer, Ok(Response::Fetch(rpc::FetchResponse { grains: vec![], refused: "no".into() })));

    let stranger = two.net.ask(PeerId::random(), Request::Fetch(question.clone()), PATIENCE).await;
    assert_eq!(stranger, Err(AskError::NotConnected));
    let unanswered = two.net.ask(one.net.peer(), Request::Fetch(question), PATIENCE);
    let dropping = one.event("a question", |event| matches!(event, Event::Asked { .. }).then_some(()));
    assert!(tokio::join!(unanswered, dropping).0.is_err());
}

#[tokio::test]
async fn a_peer_that_is_banned_goes_and_does_not_come_back() {
    let (mut one, two) = pair().await;
    for _ in 0..5 {
        one.net.report(two.net.peer(), Offence::Forged).await;
    }
    one.event("a ban", |event| matches!(event, Event::Banned { .. }).then_some(())).await;
    wait_for("the peer to go", async || one.net.peers().await.unwrap().is_empty()).await;
    let error = one.net.dial(two.address()).await.unwrap_err();
    assert!(matches!(error, DialError::Forbidden(peer) if peer == two.net.peer()), "{error}");
    let saved = one.net.saved().await.unwrap();
    assert_eq!(saved.bans.len(), 1);

    let again = Node::start_saved(3, config(), saved).await;
    assert_eq!(again.net.bans().await.unwrap()[0].peer, two.net.peer().to_string());
    assert!(one.net.unban(two.net.peer()).await.unwrap());
    one.net.dial(two.address()).await.unwrap();
}

#[tokio::test]
async fn a_lost_link_comes_back_by_itself() {
    let (one, two) = pair().await;
    let saved = two.net.saved().await.unwrap();
    assert_eq!(saved.peers[0].peer, one.net.peer().to_string());
    drop(two);
    wait_for("the peer to go", async || one.net.peers().await.unwrap().is_empty()).await;
    let two = Node::start_saved(2, config(), saved).await;
    wait_for("the peer to come back", async || one.net.peers().await.unwrap().len() == 1).await;
    drop(two);
}

#[tokio::test]
async fn private_meshes_do_not_meet() {
    let with_key = |key| Config { pre_shared_key: Some([key; 32]), ..config() };
    let one = Node::start(1, with_key(1)).await;
    let (same, other) = (Node::start(2, with_key(1)).await, Node::start(3, with_key(2)).await);
    same.net.dial(one.address()).await.unwrap();
    assert!(matches!(other.net.dial(one.address()).await, Err(DialError::Failed(_))));
    let open = Node::start(4, config()).await;
    assert!(open.net.dial(one.address()).await.is_err());
}

#[tokio::test]
async fn quic_is_spoken_too() {
    let quic = Config { listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()], ..Config::default() };
    let (one, two) = (Node::start(1, quic.clone()).await, Node::start(2, quic).await);
    two.net.dial(one.address()).await.unwrap();
    assert_eq!(two.net.peers().await.unwrap()[0].transport, crate::Transport::Quic);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let one = Node::start(1, config()).await;
    let taken = Config { listen: one.net.listening().to_vec(), ..Config::default() };
    let identity = Identity::from_seed(&[2; 32]);
    let error = Net::start(taken, &identity, Saved::default(), Metrics::default()).await.unwrap_err();
    assert!(error.to_string().contains(&one.net.listening()[0].to_string()), "{error}");
}

/// A full node never has more peers than seats; whoever finds none there finds others through it.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_that_dial_eight_seats_find_each_other() {
    let hub = Node::start(0, Config { max_peers: 8, ..config() }).await;
    let mut others = Vec::new();
    for seed in 1..=30 {
        others.push(Node::start(seed, Config { bootstrap: vec![hub.address()], ..config() }).await);
    }
    let mut most = 0;
    wait_for("everybody to have peers besides the hub", async || {
        most = most.max(hub.net.peers().await.unwrap().len());
        for other in &others {
            let peers = other.net.peers().await.unwrap();
            if peers.iter().all(|peer| peer.peer == hub.net.peer()) {
                return false;
            }
        }
        true
    })
    .await;
    assert!((6..=8).contains(&most), "{most} peers at once");
    assert!(hub.net.peers().await.unwrap().len() <= 8);
}

/// Sockets that connect to a node from an address and say nothing.
async fn silent(node: &Node, from: &str, count: usize) -> Vec<tokio::net::TcpStream> {
    let address = node.net.listening()[0].to_string();
    let port = address.rsplit('/').next().unwrap();
    let to: std::net::SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        sockets.push(socket.connect(to).await.unwrap());
    }
    sockets
}

/// An address from which everything goes on to a node, which sees it come from `from`.
async fn forwarder(node: &Node, from: &'static str) -> Multiaddr {
    let to = node.net.listening()[0].to_string();
    let to: std::net::SocketAddr = format!("127.0.0.1:{}", to.rsplit('/').next().unwrap()).parse().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut one, _)) = listener.accept().await {
            tokio::spawn(async move {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
                let mut other = socket.connect(to).await.unwrap();
                // Either end may break off.
                let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
            });
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", node.net.peer()).parse().unwrap()
}

/// A node that is told where it has nothing to seek knocked there all the same.
#[tokio::test]
async fn a_peer_that_names_other_networks_is_not_believed() {
    let node = Node::start(1, config()).await;
    let bait = ["/ip4/192.168.77.1/tcp/22", "/ip4/10.77.0.1/tcp/80", "/ip4/203.0.113.7/tcp/1"];
    let external = bait.iter().map(|address| address.parse().unwrap()).collect();
    let peer = Node::start(2, Config { external, ..config() }).await;
    peer.net.dial(node.address()).await.unwrap();
    let known = async || {
        let saved = node.net.saved().await.unwrap();
        saved.peers.into_iter().flat_map(|known| known.addresses).collect::<Vec<_>>()
    };
    wait_for("what it said to be known", async || known().await.iter().any(|known| known == bait[2])).await;
    assert!(!known().await.iter().any(|known| bait[..2].contains(&known.as_str())), "{:?}", known().await);
    // Whoever asks for such an address by hand is believed.
    let error = node.net.dial("/ip4/127.0.7.7/tcp/9".parse().unwrap()).await.unwrap_err();
    assert!(!error.to_string().contains("private network"), "{error}");
}

/// Sixty-four sockets that said nothing used to be all that a node talked to.
#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_do_not_shut_the_door() {
    use tokio::io::AsyncReadExt;
    let hub = Node::start(1, config()).await;
    let _others = silent(&hub, "127.0.1.1", 100).await;
    let mut silent = silent(&hub, "127.0.2.1", 100).await;
    // The first ones have given way to the later ones, so the node has seen these.
    let gone = async { while !matches!(silent[50].read(&mut [0; 64]).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    let honest = Node::start(2, config()).await;
    assert_eq!(honest.net.dial(hub.address()).await.unwrap(), hub.net.peer());
}

/// A crowd from one network used to have all seats for as long as it liked.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_one_network_does_not_keep_an_honest_newcomer_out() {
    let hub = Node::start(0, Config { max_peers: 16, ..config() }).await;
    let crowded = forwarder(&hub, "127.0.1.1").await;
    let mut crowd = Vec::new();
    for seed in 1..=20 {
        crowd.push(Node::start(seed, Config { bootstrap: vec![crowded.clone()], ..Config::default() }).await);
    }
    wait_for("the crowd to have what it gets", async || {
        hub.net.peers().await.unwrap().iter().filter(|peer| !peer.visiting).count() >= 9
    })
    .await;
    let bootstrap = vec![forwarder(&hub, "127.0.2.1").await];
    let honest = Node::start(99, Config { bootstrap, ..Config::default() }).await;
    wait_for("the honest peer to have a seat", async || {
        let peers = hub.net.peers().await.unwrap();
        assert!(peers.len() <= 16);
        peers.iter().any(|peer| peer.peer == honest.net.peer() && !peer.visiting)
    })
    .await;
}

/// Half a second at 40,000 bytes a second, and what a cap lets through at once.
#[tokio::test]
async fn a_cap_on_uploads_holds() {
    let (mut one, two) = (
        Node::start(1, Config { max_upload: Some(40_000), ..config() }).await,
        Node::start(2, config()).await,
    );
    two.net.dial(one.address()).await.unwrap();
    let start = std::time::Instant::now();
    let asked = two.net.ask(one.net.peer(), Request::Fetch(rpc::FetchRequest::default()), PATIENCE);
    let answering = async {
        let reply = one
            .event("a question", |event| match event {
                Event::Asked { reply, .. } => Some(reply),
                _ => None,
            })
            .await;
        let grains = vec![rpc::Announcement { grain: vec![0; 80_000], claim: None }];
        reply.send(Response::Fetch(rpc::FetchResponse { grains, refused: String::new() }));
    };
    tokio::join!(asked, answering).0.unwrap();
    let (sent, time) = (two.net.peers().await.unwrap()[0].traffic.received, start.elapsed());
    assert!(sent >= 80_000);
    let allowed = 40_000.0 * time.as_secs_f64() + 16_384.0 + 1024.0;
    assert!(sent as f64 <= allowed, "{sent} bytes in {time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_listens_nowhere_is_reached_through_a_relay() {
    let relay = Node::start(1, Config { relay_server: true, ..config() }).await;
    let hidden = Config { listen: vec![], relay_client: true, ..Config::default() };
    let hidden = Node::start(2, hidden).await;
    // A relay tells its address to those who ask for a place, so it has to know one.
    let other = Node::start(4, config()).await;
    other.net.dial(relay.address()).await.unwrap();
    hidden.net.dial(relay.address()).await.unwrap();
    wait_for("a place at the relay", async || !hidden.net.status().await.unwrap().relays.is_empty()).await;
    let status = hidden.net.status().await.unwrap();
    assert_eq!(status.reachable, Some(false), "{}", status.reachability);
    let circuit = status.relays[0].clone();
    let coming = Node::start(3, Config { relay_client: true, ..config() }).await;
    let circuit = circuit.with_p2p(hidden.net.peer()).unwrap_or_else(|address| address);
    assert_eq!(coming.net.dial(circuit).await.unwrap(), hidden.net.peer());
    let peers = coming.net.peers().await.unwrap();
    let through = peers.iter().find(|peer| peer.peer == hidden.net.peer()).unwrap();
    assert_eq!(through.transport, crate::Transport::Relayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_over_its_memory_limit_lets_nobody_in() {
    let full = Node::start(1, Config { max_memory: Some(1), ..config() }).await;
    let other = Node::start(2, config()).await;
    let refused = other.net.dial(full.address()).await.unwrap_err();
    assert!(matches!(refused, DialError::Failed(_)), "{refused}");
    assert!(full.net.peers().await.unwrap().is_empty());
    let roomy = Node::start(3, Config { max_memory: Some(64 << 30), ..config() }).await;
    other.net.dial(roomy.address()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_to_somebody_who_says_nothing_ends() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port());
    let node = Node::start(1, config()).await;
    let refused = node.net.dial(address.parse().unwrap()).await.unwrap_err();
    assert!(matches!(refused, DialError::Failed(_)), "{refused}");
}

/// Somebody copied a data folder to another machine, and one of the two is told where the other is.
#[tokio::test(flavor = "multi_thread")]
async fn two_machines_with_one_identity_are_noticed_on_both_and_one_that_dials_itself_is_none() {
    let (one, copy) = (Node::start(1, config()).await, Node::start(1, config()).await);
    // libp2p knows the addresses that it listens on; this is another of the same machine.
    let listen = vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()];
    let alone = Node::start(2, Config { listen, ..Config::default() }).await;
    let port = alone.net.listening()[0].to_string().rsplit('/').next().unwrap().to_owned();
    let itself = format!("/ip4/127.0.0.2/tcp/{port}").parse().unwrap();
    let refused = alone.net.dial(itself).await.unwrap_err();
    assert!(matches!(refused, DialError::Myself), "{refused}");
    let dialled = tokio::time::Instant::now();
    let refused = copy.net.dial(one.net.listening()[0].clone()).await.unwrap_err();
    assert!(matches!(refused, DialError::Myself), "{refused}");
    for node in [&one, &copy] {
        wait_for("the owner to be told", async || {
            node.net.status().await.unwrap().warnings == [crate::Warning::Twin]
        })
        .await;
    }
    wait_for("the time in which the other end would come", async || {
        dialled.elapsed() > 2 * crate::twin::SAME_CONNECTION
    })
    .await;
    assert_eq!(alone.net.status().await.unwrap().warnings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn most_peers_clocks_against_ones_own_are_told_until_they_agree() {
    let here = Node::start(1, config()).await;
    let mut others = Vec::new();
    for seed in 2..5 {
        let other = Node::start(seed, config()).await;
        here.net.dial(other.address()).await.unwrap();
        others.push(other);
    }
    for (ahead_ms, is_told) in [(12 * 60_000, true), (0, false), (-12 * 60_000, true)] {
        for other in &mut others {
            let question = Request::Sync(rpc::SyncRequest::default());
            let asked = here.net.ask(other.net.peer(), question, PATIENCE);
            let answering = async {
                let asked = |event| match event {
                    Event::Asked { reply, .. } => Some(reply),
                    _ => None,
                };
                let reply = other.event("a question", asked).await;
                // 0: the swarm says what time it is.
                let clock_ms =
                    if ahead_ms == 0 { 0 } else { super::now_ms().saturating_add_signed(ahead_ms) };
                reply.send(Response::Sync(rpc::SyncResponse { clock_ms, ..Default::default() }));
            };
            let (answer, ()) = tokio::join!(asked, answering);
            let Ok(Response::Sync(answer)) = answer else { panic!("{answer:?}") };
            assert_ne!(answer.clock_ms, 0);
        }
        let warnings = here.net.status().await.unwrap().warnings;
        match warnings.as_slice() {
            [crate::Warning::Clock { ahead_ms: told }] => {
                assert!(is_told && told.abs_diff(ahead_ms) < 60_000, "{told} for {ahead_ms}");
            }
            none => assert!(none.is_empty() && !is_told, "{none:?}"),
        }
    }
    assert!(here.net.bans().await.unwrap().is_empty());
}
