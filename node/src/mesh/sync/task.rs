//! The task that owns the schedule: starts what is due, and passes on what came of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use synapsenet_net::{Net, PeerId, Request};
use synapsenet_proto::{Topic, rpc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Command;
use super::board::{Board, Teller};
use super::pace::{Pace, UnderWay};
use super::pull::{Lacks, Next, Pull, Pulled};
use super::refused::RefusedIds;
use super::schedule::{Pair, Schedule};
use super::source::{Ask, Source};
use crate::memory::Memory;
use crate::memory::events::Events;
use crate::memory::events::{SyncProgress, SyncState};
use crate::memory::ingest::Ingest;
use crate::tasks::joined;

/// How long an answer is waited for: as long as the swarm gives the largest one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a peer may take to hear that there is news.
const NEWS_PATIENCE: Duration = Duration::from_secs(10);
/// Peers told of news at once. Each tells so many others, so a thousand nodes know after a few steps.
const MAX_TOLD: usize = 8;
/// News under way. What does not fit is left to the timers of those peers.
const MAX_NEWS: usize = 64;
/// Callers that may wait for [`super::Sync::now`].
const MAX_WAITING: usize = 64;
/// Peers and topics of which it is kept what was told last. When there are more, all is told once more.
const MAX_REMEMBERED: usize = 4096;
/// The longest sleep: nothing is due.
const LONG: Duration = Duration::from_secs(3600);

/// One that runs.
struct Running {
    since: Instant,
    cancel: CancellationToken,
}

/// Somebody who waits for some synchronisations that begin after this.
struct Waiting {
    since: Instant,
    left: HashSet<Pair>,
    done: Vec<SyncProgress>,
    reply: oneshot::Sender<Vec<SyncProgress>>,
}

/// What the task works with.
pub(super) struct Parts {
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub net: Net,
    pub topics: watch::Receiver<BTreeSet<Topic>>,
    pub events: Events,
    pub stop: CancellationToken,
    pub board: Board,
}

pub(super) struct Task {
    parts: Parts,
    schedule: Schedule,
    refused: Arc<RefusedIds>,
    under_way: Arc<UnderWay>,
    running: HashMap<Pair, Running>,
    pulls: JoinSet<Pulled>,
    news: JoinSet<()>,
    /// What each peer was told last that it lacks: it is told once, because it may not want it.
    told: HashMap<Pair, Lacks>,
    waiting: Vec<Waiting>,
    /// Whether the log says that this node takes no more grains.
    is_full: bool,
}

impl Task {
    pub fn new(parts: Parts, interval: Duration) -> Self {
        Self {
            parts,
            schedule: Schedule::new(interval),
            refused: Arc::default(),
            under_way: Arc::default(),
            running: HashMap::new(),
            pulls: JoinSet::new(),
            news: JoinSet::new(),
            told: HashMap::new(),
            waiting: Vec::new(),
            is_full: false,
        }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let stop = self.parts.stop.clone();
        self.on_topics();
        loop {
            self.start_pulls();
            let now = Instant::now();
            let wake = self.schedule.wake_at().unwrap_or(now + LONG);
            tokio::select! {
                Some(command) = commands.recv() => self.on_command(command).await,
                Some(pulled) = self.pulls.join_next() => self.on_pulled(pulled).await,
                Some(told) = self.news.join_next() => joined(told).unwrap_or_default(),
                Ok(()) = self.parts.topics.changed() => self.on_topics(),
                () = tokio::time::sleep_until(wake.into()) => self.on_timers().await,
                () = stop.cancelled() => break,
            }
        }
        // What came is stored; the rest is found missing again after the next start.
        self.pulls.shutdown().await;
        self.news.shutdown().await;
    }

    fn on_topics(&mut self) {
        let topics = self.parts.topics.borrow_and_update().clone();
        self.schedule.set_topics(&topics, Instant::now(), random);
        self.parts.board.retain(&topics);
        self.told.retain(|(topic, _), _| topics.contains(topic));
        for ((topic, _), running) in &self.running {
            if !topics.contains(topic) {
                running.cancel.cancel();
            }
        }
        for waiting in &mut self.waiting {
            let since = waiting.since;
            let is_coming =
                |pair: &Pair| self.running.get(pair).is_some_and(|running| running.since >= since);
            waiting.left.retain(|pair| topics.contains(&pair.0) || is_coming(pair));
        }
        self.answer_waiting();
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Want(pair) => {
                self.schedule.want(pair);
            }
            Command::Now { topic, reply } => {
                let topics = self.parts.topics.borrow().clone();
                let mut left = HashSet::new();
                for topic in
                    topics.into_iter().filter(|known| topic.as_ref().is_none_or(|topic| topic == known))
                {
                    for peer in self.peers_of(&topic).await {
                        let pair = (topic.clone(), peer);
                        self.schedule.wake(&pair, Instant::now());
                        if self.schedule.want(pair.clone()) {
                            left.insert(pair);
                        }
                    }
                }
                self.waiting.retain(|waiting| !waiting.reply.is_closed());
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.push(Waiting { since: Instant::now(), left, done: Vec::new(), reply });
                }
                self.answer_waiting();
            }
        }
    }

    async fn on_timers(&mut self) {
        for topic in self.schedule.take_timers(Instant::now(), random) {
            let peers = self.peers_of(&topic).await;
            if let Some(&peer) = pick(&peers) {
                self.schedule.want((topic, peer));
            }
        }
    }

    fn start_pulls(&mut self) {
        while let Some((topic, peer)) = self.schedule.start(Instant::now()) {
            let cancel = self.parts.stop.child_token();
            let running = Running { since: Instant::now(), cancel: cancel.clone() };
            self.running.insert((topic.clone(), peer), running);
            let net = self.parts.net.clone();
            let ask: Ask = Arc::new(move |request| {
                let net = net.clone();
                async move { net.ask(peer, request, PATIENCE).await }.boxed()
            });
            let source = Source {
                memory: self.parts.memory.clone(),
                ingest: self.parts.ingest.clone(),
                refused: self.refused.clone(),
                under_way: self.under_way.clone(),
                pace: Pace::default(),
                ask,
                topic,
                peer,
                round_trips: Default::default(),
                comparison_bytes: Default::default(),
                fetches: Default::default(),
                bytes_sent: Default::default(),
                bytes_received: Default::default(),
            };
            let pull = Pull::new(source, Teller::new(self.parts.board.clone(), self.parts.events.clone()));
            self.pulls.spawn(async move { pull.run(&cancel).await });
        }
    }

    async fn on_pulled(&mut self, pulled: Result<Pulled, JoinError>) {
        // Only this task cancels one, when it ends.
        let Some(pulled) = joined(pulled) else { return };
        let Pulled { progress, added, offence, lacks, next } = pulled;
        let pair = (progress.topic.clone(), progress.peer);
        let now = Instant::now();
        self.schedule.ended(pair.clone(), now, next == Next::AfterRest);
        if next == Next::GoesOn {
            self.schedule.want(pair.clone());
        }
        let since = self.running.remove(&pair).map_or(now, |running| running.since);
        self.parts.memory.metrics.synced(progress.outcome(), progress.fetched);
        self.log(&progress, added);
        if let Some(offence) = offence {
            self.parts.net.report(progress.peer, offence).await;
        }
        if added > 0 {
            self.parts.net.praise(progress.peer, usize::try_from(added).unwrap_or(usize::MAX)).await;
            self.tell_others(&pair).await;
        }
        // What it lacks is told once: it may not want it, and two that refuse each other's would never rest.
        if !lacks.is_nothing() && self.told.get(&pair) != Some(&lacks) {
            if self.told.len() >= MAX_REMEMBERED {
                self.told.clear();
            }
            self.told.insert(pair.clone(), lacks);
            self.tell_news(pair.1, &pair.0);
        }
        for waiting in &mut self.waiting {
            if waiting.since <= since && waiting.left.remove(&pair) {
                waiting.done.push(progress.clone());
            }
        }
        self.answer_waiting();
    }

    fn log(&mut self, progress: &SyncProgress, added: u64) {
        let SyncProgress { topic, peer, .. } = progress;
        if let SyncState::Failed(reason) = &progress.state {
            tracing::debug!(%topic, %peer, reason, "a synchronisation failed");
        }
        if added > 0 {
            let with_claim = progress.with_claim;
            tracing::info!(%topic, %peer, grains = added, with_claim, "grains came from a peer");
        }
        if progress.quota_reached && !self.is_full {
            tracing::warn!(
                "this node takes no more grains from peers: raise storage.quota_bytes or storage.hnsw_max_elements, or make room on its disk"
            );
        }
        if progress.quota_reached {
            self.is_full = true;
        } else if added > 0 {
            self.is_full = false;
        }
    }

    /// Tells some other peers of the topic, taken at random, that there is something new here.
    async fn tell_others(&mut self, (topic, source): &Pair) {
        let mut peers = self.peers_of(topic).await;
        peers.retain(|peer| peer != source);
        for _ in 0..MAX_TOLD.min(peers.len()) {
            let chosen = peers.swap_remove(below(peers.len()));
            self.tell_news(chosen, topic);
        }
    }

    fn tell_news(&mut self, peer: PeerId, topic: &Topic) {
        if self.news.len() >= MAX_NEWS {
            return;
        }
        let (net, news) = (self.parts.net.clone(), rpc::News { topic: topic.to_string() });
        self.news.spawn(async move {
            let item = Some(rpc::sync_request::Item::News(news));
            // Its timer makes up for what it does not hear.
            let _ = net.ask(peer, Request::Sync(rpc::SyncRequest { item }), NEWS_PATIENCE).await;
        });
    }

    async fn peers_of(&self, topic: &Topic) -> Vec<PeerId> {
        // A swarm that has ended has no peers.
        self.parts.net.peers_of(topic.clone()).await.unwrap_or_default()
    }

    /// Answers those whose synchronisations are all done.
    fn answer_waiting(&mut self) {
        for waiting in self.waiting.extract_if(.., |waiting| waiting.left.is_empty()) {
            // Who asked may have gone.
            let _ = waiting.reply.send(waiting.done);
        }
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("a system that started this node has random bytes");
    u64::from_le_bytes(bytes)
}

/// A random number below `count`, which is not 0.
fn below(count: usize) -> usize {
    (random() % count as u64) as usize
}

fn pick<T>(among: &[T]) -> Option<&T> {
    if among.is_empty() { None } else { among.get(below(among.len())) }
}
