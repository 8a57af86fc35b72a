//! The task with real swarms on loopback. The timer is so slow that it never helps.

use std::collections::BTreeSet;
use std::time::Duration;

use synapsenet_net::{Config, Event, Metrics, Multiaddr, Net, Request, Response};
use synapsenet_proto::{Grain, Topic, rpc};
use synapsenet_storage::Change;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Sync;
use crate::memory::events::SyncState;
use crate::mesh::serve::Serve;
use crate::testing::{Fixture, author, note};

const NEVER: Duration = Duration::from_secs(36_000);
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(240);

struct Node {
    node: Fixture,
    net: Net,
    sync: Sync,
    topics: watch::Sender<BTreeSet<Topic>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    async fn start(number: u8) -> Self {
        let node = Fixture::new();
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let config = Config { listen, ..Config::default() };
        let (net, mut events, _) =
            Net::start(config, &author(number), Default::default(), Metrics::default()).await.unwrap();
        net.subscribe(Topic::default()).await.unwrap();
        let (topics, watched) = watch::channel(BTreeSet::from([Topic::default()]));
        let (memory, stop) = (node.memory.clone(), CancellationToken::new());
        let (sync, task) = Sync::start(
            memory.clone(),
            node.ingest.clone(),
            net.clone(),
            watched.clone(),
            node.events.clone(),
            stop.clone(),
            NEVER,
        );
        let (serve, to_sync) = (Serve::new(memory, watched), sync.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Shares { peer, topic } => to_sync.shares(peer, topic),
                    Event::Asked { peer, request, reply } => {
                        if let Request::Sync(rpc::SyncRequest {
                            item: Some(rpc::sync_request::Item::News(news)),
                        }) = &*request
                        {
                            to_sync.news(peer, Topic::new(news.topic.as_str()).unwrap());
                            reply.send(Response::Sync(rpc::SyncResponse::default()));
                        } else {
                            let serve = serve.clone();
                            tokio::spawn(async move { reply.send(serve.answer(peer, *request).await) });
                        }
                    }
                    _ => {}
                }
            }
        });
        Self { node, net, sync, topics, stop, task: tokio::spawn(task) }
    }

    /// Stores shared grains without announcing them.
    fn fill(&self, grains: &[Grain]) {
        let put = |grain: &Grain| {
            let grain = grain.clone();
            Change::Put {
                grain,
                shared: true,
                received_ms: 1,
                claim: None,
                origin: synapsenet_storage::Origin::Known,
                lane: 9,
            }
        };
        self.node.memory.store.write(grains.iter().map(put).collect()).unwrap();
    }

    fn count(&self) -> usize {
        self.node.view().shared_items(&Topic::default(), 0, None).unwrap().len()
    }

    async fn dial(&self, other: &Self) {
        let address: Multiaddr = other.net.listening()[0].clone();
        self.net.dial(address.with_p2p(other.net.peer()).unwrap()).await.unwrap();
    }

    async fn meet(&self, count: usize) {
        wait_for("peers of the topic", async || {
            self.net.peers_of(Topic::default()).await.unwrap().len() == count
        })
        .await;
    }
}

async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        while !condition().await {
            interval.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

fn grains(number: u8, count: usize) -> Vec<Grain> {
    (0..count).map(|n| note(&author(number), &format!("grain {n} of {number}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_meet_end_with_the_same_grains() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.fill(&grains(1, 30));
    two.fill(&grains(2, 700));
    one.dial(&two).await;
    wait_for("all grains on both", async || one.count() == 730 && two.count() == 730).await;
    wait_for("the end to be written down", async || {
        let progress = one.sync.progress();
        progress.len() == 1 && progress[0].state == SyncState::Done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_fetched_spreads_to_the_others_without_a_timer() {
    let (one, two, three) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    two.dial(&one).await;
    two.dial(&three).await;
    two.meet(2).await;
    one.fill(&grains(1, 5));
    let done = two.sync.now(None).await;
    assert_eq!(done.len(), 2, "{done:?}");
    assert!(done.iter().all(|progress| progress.state == SyncState::Done), "{done:?}");
    assert_eq!(two.count(), 5);
    wait_for("the grains on the third", async || three.count() == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lacks_something_is_told() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.dial(&two).await;
    one.meet(1).await;
    two.meet(1).await;
    one.fill(&grains(1, 5));
    // The first asks, learns that the other lacks something, and tells it.
    let done = one.sync.now(Some(Topic::default())).await;
    assert_eq!(done.len(), 1, "{done:?}");
    wait_for("the grains on the other", async || two.count() == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_topic_that_was_left_or_has_no_peers() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    assert!(one.sync.now(None).await.is_empty());
    one.dial(&two).await;
    one.meet(1).await;
    assert!(one.sync.now(Some(Topic::new("other").unwrap())).await.is_empty());
    one.topics.send_replace(BTreeSet::new());
    assert!(one.sync.now(None).await.is_empty());
    one.stop.cancel();
    one.task.await.unwrap();
    assert!(one.sync.now(None).await.is_empty(), "a task that has ended leaves nobody waiting");
}
