//! Backups: a node that runs goes into one file, and comes out of it as it was.

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_storage::{Store, StoreOptions};
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use super::harness::{Client, TestNode, config, folder, ran, synapsenet, wait_for, within};

/// A node that knows, has withdrawn and remembers something.
async fn owner() -> TestNode {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    let node = TestNode::fresh_with(config).await;
    for n in 0..40 {
        let id = node.put(format!("Valve {n} of the house is behind panel {n}.")).await;
        if n % 8 == 0 {
            node.try_retract(&id).await.unwrap();
        }
    }
    node.share("The spare key is at Maria's.").await;
    let notes = node.dir().parent().unwrap().join("notes");
    std::fs::create_dir(&notes).unwrap();
    std::fs::write(notes.join("boiler.md"), "# Boiler\n\nIt needs 1.5 bar.\n").unwrap();
    synapsenet(node.dir(), &["sources", "add", "--manual", notes.to_str().unwrap()]).await.ended_with(0);
    synapsenet(node.dir(), &["sources", "sync"]).await.ended_with(0);
    node.wait_indexed().await;
    node
}

/// What a store holds that no node has open.
#[derive(Debug, PartialEq)]
struct Stored {
    /// Each grain, newest first.
    records: Vec<Vec<u8>>,
    /// Each vector, by its slot.
    vectors: Vec<(u64, Vec<u8>)>,
}

fn stored(dir: &Path) -> Stored {
    let store = Store::open(&dir.join("grains.redb"), &StoreOptions::default()).unwrap();
    let view = store.view().unwrap();
    let query = synapsenet_storage::ListQuery {
        limit: usize::MAX,
        with_retractions: true,
        ..synapsenet_storage::ListQuery::default()
    };
    let page = view.list(&query).unwrap();
    let records = page.records.iter().map(|record| record.grain.as_bytes().to_vec()).collect();
    let mut vectors = Vec::new();
    for (space, _) in view.models().unwrap() {
        view.for_each_vector(space, &mut |slot, vector| {
            vectors.push((slot, vector.as_bytes().to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    Stored { records, vectors }
}

async fn back_up(dir: &Path, file: &Path, more: &[&str]) -> Value {
    let arguments = [&["backup", "--json", file.to_str().unwrap()], more].concat();
    synapsenet(dir, &arguments).await.ended_with(0).record()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_node_becomes_the_same_node() {
    let node = owner().await;
    let dir = folder();
    let file = dir.path().join("node.backup");
    let made = back_up(node.dir(), &file, &["--with-identity", "--no-passphrase"]).await;
    assert_eq!((made["grains"].as_u64(), made["retractions"].as_u64()), (Some(37), Some(5)));
    assert_eq!(made["with_identity"], true);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let sound = synapsenet(dir.path(), &["backup", "verify", "--json", file.to_str().unwrap()]).await;
    assert_eq!(sound.ended_with(0).record()["ok"], true);

    let restored = dir.path().join("restored");
    let came =
        synapsenet(&restored, &["restore", "--json", file.to_str().unwrap()]).await.ended_with(0).record();
    assert_eq!(came["author"], node.node.author());
    let author = node.node.author().to_owned();
    let found = node.search("where is the key").await;
    let old_dir = node.dir().to_owned();
    let kept = node.stop().await;
    assert_eq!(stored(&restored), stored(&old_dir), "each grain and each vector, slot by slot");
    for name in ["identity.seed", "folders", "api.token"] {
        let (new, old) = (std::fs::read(restored.join(name)), std::fs::read(old_dir.join(name)));
        assert_eq!(new.unwrap(), old.unwrap(), "{name}");
    }
    assert!(!restored.join("index").exists(), "it can be made again");

    let again = TestNode::on(&restored, config()).await;
    let status = again.status().await;
    assert_eq!((status.pending, status.grains, status.retractions), (0, 37, 5), "nothing is embedded anew");
    assert_eq!(again.node.author(), author);
    assert_eq!(again.search("where is the key").await.texts(), found.texts());
    let sources = synapsenet(&restored, &["sources", "list", "--json"]).await.ended_with(0).records();
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0]["paused"], true, "nothing begins by itself: {sources:?}");
    again.verify_sound().await;
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_is_in_it_whatever_is_written_meanwhile() {
    let node = TestNode::fresh().await;
    let dir = folder();
    let file = dir.path().join("node.backup");
    let mut before = Vec::new();
    for n in 0..200 {
        before.push(node.put(format!("before {n}")).await);
    }
    let writing = async {
        let mut n = 0;
        loop {
            node.put(format!("meanwhile {n}")).await;
            n += 1;
        }
    };
    let made = tokio::select! {
        made = back_up(node.dir(), &file, &["--without-identity"]) => made,
        () = writing => unreachable!(),
    };
    let restored = dir.path().join("restored");
    synapsenet(&restored, &["restore", file.to_str().unwrap()]).await.ended_with(0);
    let again = TestNode::on(&restored, config()).await;
    for id in &before {
        assert_eq!(&again.get(id).await.id, id);
    }
    assert_eq!(again.status().await.grains, made["grains"].as_u64().unwrap());
    again.wait_indexed().await;
    again.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_identity_it_becomes_another_node_that_follows_the_author() {
    let node = owner().await;
    let dir = folder();
    let file = dir.path().join("node.backup");
    let made = back_up(node.dir(), &file, &["--without-identity"]).await;
    let names: Vec<&str> =
        made["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(!names.contains(&"identity.seed") && !names.contains(&"api.token"), "{names:?}");
    let restored = dir.path().join("restored");
    synapsenet(&restored, &["restore", file.to_str().unwrap()]).await.ended_with(0);
    let again = TestNode::on(&restored, config()).await;
    assert_ne!(again.node.author(), node.node.author());
    let hit = again.search("where is the key").await;
    assert_eq!(hit.best().whose(), rpc::Whose::Followed, "as good as its own");
    let refused = again.try_retract(hit.ids()[0]).await;
    Client::assert_refused(refused, Code::PermissionDenied, "author");
    again.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_one_opens_with_its_passphrase_and_a_damaged_one_leaves_nothing() {
    let node = owner().await;
    let dir = folder();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("right"), "correct horse\n").unwrap();
    std::fs::write(path("wrong"), "battery\n").unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    let file = path("sealed");
    let arguments = ["backup", &file, "--with-identity", "--passphrase-file", &path("right")];
    // The node need not run.
    let data = node.dir().to_owned();
    let _kept = node.stop().await;
    synapsenet(&data, &arguments).await.ended_with(0);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"), "the format of age");

    let target = dir.path().join("restored");
    let restore = async |file: &str, passphrase: Option<String>| {
        let mut arguments = vec!["restore".to_owned(), file.to_owned()];
        arguments.extend(passphrase.into_iter().flat_map(|path| ["--passphrase-file".to_owned(), path]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        synapsenet(&target, &arguments).await
    };
    restore(&file, None).await.ended_with(1).assert_told("sealed", "--passphrase-file");
    restore(&file, Some(path("wrong"))).await.ended_with(1).assert_told("wrong", "again");
    restore(&file, Some(path("empty"))).await.ended_with(1);
    std::fs::write(path("cut"), &bytes[..bytes.len() * 2 / 3]).unwrap();
    restore(&path("cut"), Some(path("right"))).await.ended_with(1).assert_told("cut off", "backup");
    restore(&path("right"), None).await.ended_with(1).assert_told("backup", "synapsenet backup");
    restore(&path("missing"), None).await.ended_with(1);
    assert_eq!(std::fs::read_dir(&target).map_or(0, Iterator::count), 0, "nothing is left of what failed");

    restore(&file, Some(path("right"))).await.ended_with(0);
    restore(&file, Some(path("right"))).await.ended_with(1).assert_told("not empty", "--data-dir");
    assert_eq!(stored(&target), stored(&data));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_says_what_it_means_and_gets_a_pipe() {
    let node = owner().await;
    let unsaid = synapsenet(node.dir(), &["backup", "/tmp/never"]).await.ended_with(2);
    unsaid.assert_told("no terminal", "--without-identity");
    let unsealed = synapsenet(node.dir(), &["backup", "/tmp/never", "--with-identity"]).await.ended_with(2);
    unsealed.assert_told("sealed", "--no-passphrase");
    let missing =
        synapsenet(node.dir(), &["backup", "/no/folder/x", "--without-identity"]).await.ended_with(1);
    missing.assert_told("no folder", "check the folder");

    let dir = folder();
    let restored = dir.path().join("restored");
    let piped = format!(
        "{} --data-dir {} backup - --without-identity --quiet | {} --data-dir {} restore - --json",
        env!("CARGO_BIN_EXE_synapsenet-under-test"),
        node.dir().display(),
        env!("CARGO_BIN_EXE_synapsenet-under-test"),
        restored.display(),
    );
    let mut shell = tokio::process::Command::new("bash");
    shell.arg("-c").arg(piped).env("HOME", dir.path());
    let came = ran(shell, &[], "").await.ended_with(0).record();
    assert_eq!(came["grains"].as_u64(), Some(37));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_on_the_machine_gets_one_and_one_at_a_time() {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    let node = TestNode::fresh_with(config).await;
    node.put("a private note").await;
    let address = node.node.api_addresses()[1].clone();
    let channel = within("a connection", Endpoint::from_shared(address).unwrap().connect()).await.unwrap();
    let token = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    let mut request = Request::new(rpc::BackupRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let refused = within("the answer", NodeServiceClient::new(channel).backup(request)).await;
    Client::assert_refused(refused.map(drop), Code::PermissionDenied, "unix socket");

    // More than what waits for a slow client.
    let big = node.dir().join("models/big");
    std::fs::create_dir_all(&big).unwrap();
    std::fs::write(big.join("model.onnx"), vec![7; 32 << 20]).unwrap();
    let socket = Client::unix(&node.dir().join("api.sock")).await;
    let begin = || async { socket.rpc.clone().backup(rpc::BackupRequest::default()).await };
    let mut first = within("a backup", begin()).await.unwrap().into_inner();
    within("its first piece", first.next()).await.unwrap().unwrap();
    let second = within("the answer", begin()).await;
    Client::assert_refused(second.map(drop), Code::ResourceExhausted, "another backup");
    // Who hangs up makes room for the next.
    drop(first);
    wait_for("the end of the one that nobody takes", async || begin().await.is_ok()).await;
}
