//! A peer that keeps to no rule: a raw swarm that says whatever bytes it is given, on every protocol of the mesh.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, identity, noise, tcp, yamux};
use synapsenet_proto::Identity;
use tokio::sync::mpsc;

use super::super::harness::within;

/// Longer answers of the victim are not read.
const MAX_READ: u64 = 4 << 20;
/// How long the attacker waits for the victim, and goes on with what it began.
const PATIENCE: Duration = Duration::from_secs(600);
/// Attacks that may wait to be made.
const COMMANDS: usize = 64;

/// The protocols on which nodes ask each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Sync,
    Fetch,
    Search,
}

/// What is written where a question or an answer belongs.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    /// These, then the end.
    Whole(Vec<u8>),
    /// These, one after the other with a [`DRIP`] between.
    Dripping(Vec<u8>),
    /// One, and then nothing, for ever.
    Stalled,
}

/// The pause between two bytes that drip: so long that a short grain takes almost as long as an answer may.
const DRIP: Duration = Duration::from_millis(80);

impl Bytes {
    async fn write<T: AsyncWrite + Unpin + Send>(self, io: &mut T) -> io::Result<()> {
        match self {
            Self::Whole(bytes) => io.write_all(&bytes).await?,
            Self::Dripping(bytes) => {
                let mut drip = tokio::time::interval(DRIP);
                for byte in bytes {
                    drip.tick().await;
                    io.write_all(&[byte]).await?;
                    io.flush().await?;
                }
            }
            Self::Stalled => {
                io.write_all(&[7]).await?;
                io.flush().await?;
                std::future::pending::<()>().await;
            }
        }
        io.close().await
    }
}

/// Answers of the attacker to the victim's questions, by the question's bytes; none drops the question.
pub(super) type Answers = Arc<dyn Fn(Line, &[u8]) -> Option<Bytes> + Send + Sync>;

#[derive(Clone, Default)]
struct Raw;

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        io.take(MAX_READ).read_to_end(&mut bytes).await?;
        Ok(Bytes::Whole(bytes))
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        io.take(MAX_READ).read_to_end(&mut bytes).await?;
        Ok(Bytes::Whole(bytes))
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Bytes,
    ) -> io::Result<()> {
        bytes.write(io).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Bytes,
    ) -> io::Result<()> {
        bytes.write(io).await
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    gossip: gossipsub::Behaviour,
    sync: request_response::Behaviour<Raw>,
    fetch: request_response::Behaviour<Raw>,
    search: request_response::Behaviour<Raw>,
}

enum Command {
    Publish { topic: String, data: Vec<u8> },
    Subscribe { topic: String },
    Ask { line: Line, bytes: Bytes },
}

/// The handle to the attacking swarm. It ends when this is dropped.
pub(super) struct Attacker {
    /// Who the victim sees.
    pub peer: PeerId,
    /// What the attacker signs with. Its peer id is of the same key, which no honest node's is.
    pub identity: Identity,
    commands: mpsc::Sender<Command>,
}

impl Attacker {
    /// Connects to the victim and takes part in the default topic, as an honest node would.
    pub async fn connect(victim: &str, seed: u8, answers: Answers) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let key = identity::Keypair::ed25519_from_bytes(*identity.seed()).unwrap();
        let peer = key.public().to_peer_id();
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(behaviour)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
            .build();
        let commons = IdentTopic::new(synapsenet_proto::DEFAULT_TOPIC);
        swarm.behaviour_mut().gossip.subscribe(&commons).unwrap();
        let address: Multiaddr = victim.parse().unwrap();
        swarm.dial(address).unwrap();
        within("the attacker's subscription to be known", async {
            loop {
                if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed {
                    ..
                })) = swarm.select_next_some().await
                {
                    break;
                }
            }
        })
        .await;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        tokio::spawn(run(swarm, receiver, answers));
        Self { peer, identity, commands }
    }

    /// Publishes bytes on a topic.
    pub async fn publish(&self, topic: &str, data: Vec<u8>) {
        self.send(Command::Publish { topic: topic.to_owned(), data }).await;
    }

    /// Subscribes to a topic.
    pub async fn subscribe(&self, topic: String) {
        self.send(Command::Subscribe { topic }).await;
    }

    /// Asks something, or begins to.
    pub async fn ask(&self, line: Line, bytes: Bytes) {
        self.send(Command::Ask { line, bytes }).await;
    }

    async fn send(&self, command: Command) {
        // An attacker that was cut off says no more.
        let _ = within("the attacker to take its command", self.commands.send(command)).await;
    }
}

fn behaviour(key: &identity::Keypair) -> Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| blake3::hash(&message.data).as_bytes().to_vec().into())
        .max_transmit_size(1 << 20)
        .flood_publish(true)
        .build()
        .unwrap();
    let questions = |name| {
        request_response::Behaviour::with_codec(
            Raw,
            [(StreamProtocol::new(name), ProtocolSupport::Full)],
            request_response::Config::default()
                .with_max_concurrent_streams(10_000)
                .with_request_timeout(PATIENCE),
        )
    };
    Behaviour {
        identify: identify::Behaviour::new(identify::Config::new("/synapsenet/1".into(), key.public())),
        gossip: gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap(),
        sync: questions("/synapsenet/sync/1"),
        fetch: questions("/synapsenet/fetch/1"),
        search: questions("/synapsenet/search/2"),
    }
}

async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::Receiver<Command>, answers: Answers) {
    let mut victims: HashMap<PeerId, ()> = swarm.connected_peers().map(|peer| (*peer, ())).collect();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return };
                let behaviour = swarm.behaviour_mut();
                match command {
                    // The victim may have hung up, and its queue may be full: the attack goes on.
                    Command::Publish { topic, data } => drop(behaviour.gossip.publish(IdentTopic::new(topic), data)),
                    Command::Subscribe { topic } => drop(behaviour.gossip.subscribe(&IdentTopic::new(topic))),
                    Command::Ask { line, bytes } => for victim in victims.keys() {
                        let questions = match line {
                            Line::Sync => &mut behaviour.sync,
                            Line::Fetch => &mut behaviour.fetch,
                            Line::Search => &mut behaviour.search,
                        };
                        questions.send_request(victim, bytes.clone());
                    }
                }
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => drop(victims.remove(&peer_id)),
                SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => {
                    answer(&mut swarm.behaviour_mut().sync, event, Line::Sync, &answers);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Fetch(event)) => {
                    answer(&mut swarm.behaviour_mut().fetch, event, Line::Fetch, &answers);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Search(event)) => {
                    answer(&mut swarm.behaviour_mut().search, event, Line::Search, &answers);
                }
                _ => {}
            }
        }
    }
}

fn answer(
    questions: &mut request_response::Behaviour<Raw>,
    event: request_response::Event<Bytes, Bytes>,
    line: Line,
    answers: &Answers,
) {
    if let request_response::Event::Message {
        message: request_response::Message::Request { request: Bytes::Whole(bytes), channel, .. },
        ..
    } = event
        && let Some(bytes) = answers(line, &bytes)
    {
        // The victim may have hung up.
        drop(questions.send_response(channel, bytes));
    }
}
