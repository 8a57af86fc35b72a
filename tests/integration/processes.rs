//! Real processes start, stop and die without losing anything.

use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use synapsenet_proto::rpc;
use tokio::net::UnixDatagram;
use tokio::sync::Semaphore;
use tonic::Code;

use super::harness::{Client, Random, TestNode, TestProcess, config, folder, note, synapsenet, within};

const SAVED: &str = "the index is saved";
const REBUILT: &str = "the index was rebuilt";

/// What a node has acknowledged, by whoever wrote to it.
#[derive(Clone)]
struct Acknowledged {
    kept: Arc<Mutex<Vec<String>>>,
    withdrawn: Arc<Mutex<Vec<String>>>,
    /// One permit for each acknowledgement, to wait for a number of them.
    count: Arc<Semaphore>,
}

impl Acknowledged {
    fn nothing() -> Self {
        let (kept, withdrawn) = Default::default();
        Self { kept, withdrawn, count: Arc::new(Semaphore::new(0)) }
    }

    fn keep(&self, id: String) {
        self.kept.lock().unwrap().push(id);
        self.count.add_permits(1);
    }

    /// Puts, and withdraws every fifth, until the node is gone.
    async fn write(self, client: Client, name: String) {
        for n in 0.. {
            let Ok(put) = client.try_put(note(format!("{name} says {n}."))).await else { return };
            if n % 5 == 4 {
                // While it is being withdrawn it may be there or not.
                if client.try_retract(&put.id).await.is_err() {
                    return;
                }
                self.withdrawn.lock().unwrap().push(put.id);
                self.count.add_permits(1);
            } else {
                self.keep(put.id);
            }
        }
    }

    /// Puts over one stream, many at the same time, until the node is gone.
    async fn write_bulk(self, client: Client, name: String) {
        let item = move |n: u32| rpc::BulkPutRequest {
            item: Some(rpc::bulk_put_request::Item::Draft(note(format!("{name} says {n}.")))),
            share: false,
            ..Default::default()
        };
        // Without an end: the node goes first.
        let items = tokio_stream::iter((0..).map(item));
        let Ok(results) = client.rpc.clone().bulk_put(items).await else { return };
        let mut results = results.into_inner();
        while let Ok(Some(result)) = results.message().await {
            assert_eq!(result.outcome(), rpc::PutOutcome::Added, "{}", result.reason);
            self.keep(result.id);
        }
    }

    /// Asserts that the node knows all of it.
    async fn assert_kept(&self, client: &Client) {
        let (kept, withdrawn) = (self.kept.lock().unwrap().clone(), self.withdrawn.lock().unwrap().clone());
        for id in &kept {
            assert!(client.try_get(id).await.is_ok(), "{id} was acknowledged and is lost");
        }
        for id in &withdrawn {
            Client::assert_refused(client.try_get(id).await, Code::NotFound, "no grain");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_at_any_moment_loses_no_acknowledged_grain() {
    /// How often the process is killed.
    const ROUNDS: u64 = 4;
    let mut random = Random::from_environment();
    let dir = folder();
    let acknowledged = Acknowledged::nothing();
    for round in 0..ROUNDS {
        let process = TestProcess::start(dir.path()).await;
        acknowledged.assert_kept(&process).await;
        process.verify_sound().await;
        acknowledged.count.forget_permits(usize::MAX);
        let mut writers = Vec::new();
        for writer in 0..3 {
            let client = Client::unix(&dir.path().join("api.sock")).await;
            let name = format!("Writer {writer} of round {round}");
            writers.push(tokio::spawn(acknowledged.clone().write(client, name)));
        }
        let client = Client::unix(&dir.path().join("api.sock")).await;
        writers
            .push(tokio::spawn(acknowledged.clone().write_bulk(client, format!("Stream of round {round}"))));
        let answers = random.below(300) as u32 + 1;
        let enough = acknowledged.count.acquire_many(answers);
        within("acknowledgements", enough).await.unwrap().forget();
        process.kill().await;
        for writer in writers {
            within("the end of a writer", writer).await.unwrap();
        }
    }
    let process = TestProcess::start(dir.path()).await;
    acknowledged.assert_kept(&process).await;
    process.wait_indexed().await;
    process.verify_sound().await;
    let status = process.status().await;
    assert_eq!((status.pending, status.searchable), (0, status.grains));
    assert!(status.grains >= acknowledged.kept.lock().unwrap().len() as u64);
    assert!(!process.search("who said something").await.hits.is_empty());
    let (status, _) = process.stop().await;
    assert_eq!(status.code(), Some(0));
}

/// A process with some notes that can all be found.
async fn process_with_notes(dir: &std::path::Path) -> TestProcess {
    let process = TestProcess::start(dir).await;
    for n in 0..10 {
        process.put(format!("Chapter {n} of the manual.")).await;
    }
    process.wait_indexed().await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_a_node_in_order_and_the_next_start_rebuilds_nothing() {
    let dir = folder();
    process_with_notes(dir.path()).await.kill().await;
    for signal in [Signal::TERM, Signal::INT] {
        let process = TestProcess::start(dir.path()).await;
        let id = process.put(format!("Before {signal:?}.")).await;
        process.wait_indexed().await;
        process.signal(signal);
        let (status, log) = process.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(SAVED), "{log}");
        let saved = std::fs::read_dir(dir.path().join("index")).unwrap().count();
        assert!(saved > 0, "the index is on disk");
        assert!(!dir.path().join("api.sock").exists(), "the socket is gone");

        let process = TestProcess::start(dir.path()).await;
        assert_eq!(process.status().await.searchable, process.status().await.grains);
        assert_eq!(process.search(&format!("Before {signal:?}.")).await.ids()[0], id);
        let (status, log) = process.stop().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains(REBUILT), "{log}");
    }
    // Without the saved index it is rebuilt, and told.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let process = TestProcess::start(dir.path()).await;
    assert_eq!(process.search("manual").await.hits.len(), 10);
    let (_, log) = process.stop().await;
    assert!(log.contains(REBUILT), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_the_calls_that_are_open_or_says_so() {
    let dir = folder();
    let process = TestProcess::start(dir.path()).await;
    let acknowledged = Acknowledged::nothing();
    let mut writers = Vec::new();
    for writer in 0..3 {
        let client = Client::unix(&dir.path().join("api.sock")).await;
        writers.push(tokio::spawn(acknowledged.clone().write(client, format!("Writer {writer}"))));
    }
    within("acknowledgements", acknowledged.count.acquire_many(30)).await.unwrap().forget();
    let (status, log) = process.stop().await;
    assert_eq!(status.code(), Some(0), "{log}");
    for writer in writers {
        within("the end of a writer", writer).await.unwrap();
    }
    let process = TestProcess::start(dir.path()).await;
    acknowledged.assert_kept(&process).await;
    process.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_when_the_node_is_ready_and_when_it_stops() {
    let dir = folder();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let message = async |what: &str| {
        let mut buffer = [0; 256];
        let length = within(what, socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let data = dir.path().join("data");
    let process = TestProcess::start_with(&data, &[], &environment).await;
    let ready = message("READY").await;
    assert!(ready.lines().any(|line| line == "READY=1"), "{ready:?}");
    process.status().await;
    process.signal(Signal::TERM);
    let stopping = message("STOPPING").await;
    assert!(stopping.lines().any(|line| line == "STOPPING=1"), "{stopping:?}");
    assert_eq!(process.ended().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_do_not_share_a_folder() {
    let dir = folder();
    let first = TestProcess::start(dir.path()).await;
    let id = first.put("I was here first.").await;
    let arguments = ["run", "--api-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let ran = synapsenet(dir.path(), &arguments).await.ended_with(1);
    ran.assert_told("a node runs on", "--data-dir");
    // The first one goes on, and its socket is still its own.
    let client = Client::unix(&dir.path().join("api.sock")).await;
    assert_eq!(client.get(&id).await.text, "I was here first.");
    let error = TestNode::try_on(dir.path(), config()).await.err().expect("it is refused");
    assert!(format!("{error:#}").contains("already"), "{error:#}");
    assert_eq!(first.get(&id).await.text, "I was here first.");
    first.stop().await;
    assert_eq!(TestNode::on(dir.path(), config()).await.get(&id).await.text, "I was here first.");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_is_never_run_by_a_library_that_may_send_something() {
    let dir = folder();
    // ONNX Runtime reads this while it is loaded; whatever the user's environment says, the node's says no.
    let node = TestProcess::start_with(dir.path(), &[], &[("ORT_DISABLE_TELEMETRY", "0")]).await;
    let environment = std::fs::read(format!("/proc/{}/environ", node.id())).unwrap();
    let told =
        environment.split(|byte| *byte == 0).find(|variable| variable.starts_with(b"ORT_DISABLE_TELEMETRY="));
    assert_eq!(told, Some(&b"ORT_DISABLE_TELEMETRY=1"[..]));
    assert!(node.stop().await.0.success());
}
