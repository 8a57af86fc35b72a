//! A peer that keeps to no rule: a raw swarm that says whatever bytes it is given, on every protocol of the mesh.
//!
//! The bench `hostile` includes this file, too, so it knows nothing of the tests beside it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, identity, noise, tcp, yamux};
use synapsenet_proto::Identity;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer answers of the victim are not read.
const MAX_READ: u64 = 4 << 20;
/// How long the attacker goes on with what it began.
const LASTING: Duration = Duration::from_secs(600);
/// Attacks that may wait to be made.
const COMMANDS: usize = 64;
/// How long a victim may take to let the attacker in, and the swarm to take a command: a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// Connects to the victims and takes part in the default topic, as an honest node would. One victim has to let it in.
    pub async fn connect(victims: &[String], identity: Identity, answers: Answers) -> anyhow::Result<Self> {
        let key = identity::Keypair::ed25519_from_bytes(*identity.seed())?;
        let peer = key.public().to_peer_id();
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| Ok(behaviour(key)?))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(LASTING))
            .build();
        let commons = IdentTopic::new(synapsenet_proto::DEFAULT_TOPIC);
        swarm.behaviour_mut().gossip.subscribe(&commons)?;
        for victim in victims {
            swarm.dial(victim.parse::<Multiaddr>()?)?;
        }
        let subscribed = async {
            loop {
                if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed {
                    ..
                })) = swarm.select_next_some().await
                {
                    break;
                }
            }
        };
        timeout(PATIENCE, subscribed).await.context("no victim told the attacker its topics")?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        tokio::spawn(run(swarm, receiver, answers));
        Ok(Self { peer, identity, commands })
    }

    /// Publishes bytes on a topic. Answers whether anybody is left to hear it.
    pub async fn publish(&self, topic: &str, data: Vec<u8>) -> bool {
        self.send(Command::Publish { topic: topic.to_owned(), data }).await
    }

    /// Subscribes to a topic. Answers as [`Attacker::publish`].
    pub async fn subscribe(&self, topic: String) -> bool {
        self.send(Command::Subscribe { topic }).await
    }

    /// Asks every victim something, or begins to. Answers as [`Attacker::publish`].
    pub async fn ask(&self, line: Line, bytes: Bytes) -> bool {
        self.send(Command::Ask { line, bytes }).await
    }

    async fn send(&self, command: Command) -> bool {
        // The swarm of an attacker that every victim cut off has ended.
        matches!(timeout(PATIENCE, self.commands.send(command)).await, Ok(Ok(())))
    }
}

fn behaviour(key: &identity::Keypair) -> anyhow::Result<Behaviour> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| blake3::hash(&message.data).as_bytes().to_vec().into())
        .max_transmit_size(1 << 20)
        .flood_publish(true)
        .build()?;
    let questions = |name| {
        request_response::Behaviour::with_codec(
            Raw,
            [(StreamProtocol::new(name), ProtocolSupport::Full)],
            request_response::Config::default()
                .with_max_concurrent_streams(10_000)
                .with_request_timeout(LASTING),
        )
    };
    let gossip =
        gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(io::Error::other)?;
    Ok(Behaviour {
        identify: identify::Behaviour::new(identify::Config::new("/synapsenet/1".into(), key.public())),
        gossip,
        sync: questions("/synapsenet/sync/1"),
        fetch: questions("/synapsenet/fetch/1"),
        search: questions("/synapsenet/search/2"),
    })
}

async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::Receiver<Command>, answers: Answers) {
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return };
                let victims: Vec<PeerId> = swarm.connected_peers().copied().collect();
                let behaviour = swarm.behaviour_mut();
                match command {
                    // The victim may have hung up, and its queue may be full: the attack goes on.
                    Command::Publish { topic, data } => drop(behaviour.gossip.publish(IdentTopic::new(topic), data)),
                    Command::Subscribe { topic } => drop(behaviour.gossip.subscribe(&IdentTopic::new(topic))),
                    Command::Ask { line, bytes } => for victim in &victims {
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
                SwarmEvent::ConnectionClosed { .. } if swarm.connected_peers().next().is_none() => return,
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
