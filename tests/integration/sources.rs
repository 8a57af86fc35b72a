//! A folder that is remembered: what the node knows of it is what its files say.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use synapsenet_proto::rpc;
use tonic::Code;

use super::harness::{Client, Ran, TestNode, synapsenet, wait_for, within};

async fn on(node: &TestNode, arguments: &[&str]) -> Ran {
    synapsenet(node.dir(), arguments).await
}

/// A folder of three notes.
fn vault(dir: &Path) -> PathBuf {
    let folder = dir.canonicalize().unwrap().join("vault");
    fs::create_dir_all(folder.join("house")).unwrap();
    fs::write(folder.join("house/boiler.md"), "# Boiler\n\nIt wants 1.5 bar.\n").unwrap();
    fs::write(folder.join("vet.md"), "# Vet\n\nThe cat goes there on Monday.\n").unwrap();
    fs::write(folder.join("hose.md"), "# Hose\n\nIt is drained in November.\n").unwrap();
    folder
}

/// What is listed, by the fields that are asked for.
async fn listed(node: &TestNode, arguments: &[&str]) -> Vec<Value> {
    let all = [&["list", "--all", "--json"], arguments].concat();
    on(node, &all).await.ended_with(0).records()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_folder_is_followed_through_edits_moves_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = vault(dir.path());
    let path = folder.to_str().unwrap();
    let node = TestNode::fresh().await;
    let add = ["sources", "add", path, "--topic", "notes", "--tag", "vault", "--manual", "--json"];
    let added = on(&node, &add).await.ended_with(0).records();
    assert_eq!((&added[0]["folder"], &added[0]["rhythm"]), (&json!(path), &json!("manual")));
    assert_eq!((&added[1]["added"], &added[1]["grains_added"]), (&json!(3), &json!(3)));
    let of = |grains: &[Value], title: &str| {
        grains.iter().find(|grain| grain["title"] == title).map(|grain| grain["id"].clone())
    };
    let before = listed(&node, &["--topic", "notes", "--tag", "vault"]).await;
    assert_eq!(before.len(), 3);

    // Moved with its folder, edited, gone.
    fs::rename(folder.join("house"), folder.join("home")).unwrap();
    fs::rename(folder.join("home/boiler.md"), folder.join("home/heating.md")).unwrap();
    fs::write(folder.join("vet.md"), "# Vet\n\nThe cat goes there on Tuesday.\n").unwrap();
    fs::remove_file(folder.join("hose.md")).unwrap();
    let dry = on(&node, &["sources", "sync", path, "--dry-run", "--json"]).await.ended_with(0).record();
    assert_eq!(
        [&dry["moved"], &dry["edited"], &dry["withdrawn"], &dry["unchanged"]],
        [&json!(1), &json!(1), &json!(1), &json!(0)]
    );
    let sync = on(&node, &["sources", "sync", path, "--json"]).await.ended_with(0).record();
    assert_eq!([&sync["moved"], &sync["edited"], &sync["missing"]], [&json!(1), &json!(1), &json!(1)]);
    let sync = on(&node, &["sources", "sync", path, "--withdraw", "--json"]).await.ended_with(0).record();
    assert_eq!((&sync["withdrawn"], &sync["unchanged"]), (&json!(1), &json!(2)));
    let after = listed(&node, &["--topic", "notes"]).await;
    assert_eq!(after.len(), 2);
    let boiler = of(&after, "Boiler").unwrap();
    assert_eq!(of(&before, "Boiler"), Some(boiler.clone()), "what was moved is what it was");
    assert_eq!(node.status().await.retractions, 2);

    // It is found where it lies now, and by its new name; and the whole of it is withdrawn there.
    let heating = format!("{path}/home/heating.md");
    assert_eq!(listed(&node, &["--source", &heating]).await[0]["id"], boiler);
    assert!(listed(&node, &["--source", &format!("{path}/house")]).await.is_empty());
    let got = on(&node, &["get", boiler.as_str().unwrap(), "--json"]).await.ended_with(0).record();
    assert_eq!(got["file"], json!(format!("file://{heating}")));
    let found = on(&node, &["search", "--mode", "words", "--json", "heating"]).await.ended_with(0).records();
    assert_eq!(found[0]["id"], boiler);
    assert!(on(&node, &["search", "--mode", "words", "hose"]).await.ended_with(0).out.is_empty());

    let node = node.restart().await;
    let found = on(&node, &["search", "--mode", "words", "--json", "heating"]).await.ended_with(0).records();
    assert_eq!(found[0]["id"], boiler);
    let sync = on(&node, &["sources", "sync", "--json"]).await.ended_with(0).record();
    assert_eq!((&sync["unchanged"], &sync["added"]), (&json!(2), &json!(0)));
    on(&node, &["verify"]).await.ended_with(0);

    // As if its disk were gone.
    fs::rename(&folder, folder.with_file_name("elsewhere")).unwrap();
    let gone = on(&node, &["sources", "sync", path, "--withdraw", "--json"]).await;
    assert_eq!(gone.code, 1);
    assert!(gone.record()["problem"].as_str().unwrap().contains("is not there"));
    let status = on(&node, &["status", "--json"]).await.ended_with(0).record();
    assert_eq!((&status["sources"], &status["paused_sources"]), (&json!(1), &json!(0)));
    assert!(status["source_problems"][0].as_str().unwrap().contains("is not there"), "{status}");
    assert_eq!(listed(&node, &["--topic", "notes"]).await.len(), 2);
    fs::rename(folder.with_file_name("elsewhere"), &folder).unwrap();
    let removed = on(&node, &["sources", "remove", path, "--retract", "--yes", "--json"]).await;
    assert_eq!(removed.ended_with(0).record(), json!({ "folder": path, "retracted": 2 }));
    assert!(listed(&node, &["--topic", "notes"]).await.is_empty());
    assert!(on(&node, &["sources", "--json"]).await.ended_with(0).records().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_followed_by_itself_until_it_is_paused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = vault(dir.path());
    let path = folder.to_str().unwrap();
    let node = TestNode::fresh().await;
    on(&node, &["sources", "add", path]).await.ended_with(0);
    let texts = async || {
        let grains = listed(&node, &[]).await;
        grains.iter().map(|grain| grain["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    fs::write(folder.join("new.md"), "The spare key hangs behind the meter.").unwrap();
    wait_for("a new file to be known", async || texts().await.iter().any(|text| text.contains("spare key")))
        .await;
    fs::write(folder.join("vet.md"), "# Vet\n\nThe cat goes there on Friday.\n").unwrap();
    wait_for("an edit to be known", async || {
        let texts = texts().await;
        texts.iter().any(|text| text.contains("Friday")) && !texts.iter().any(|text| text.contains("Monday"))
    })
    .await;
    on(&node, &["sources", "pause", path]).await.ended_with(0);
    let state = on(&node, &["sources", "--json"]).await.ended_with(0).record();
    assert_eq!((&state["paused"], &state["rhythm"]), (&json!(true), &json!("watch")));
    assert!(on(&node, &["sources", "sync"]).await.ended_with(0).err.contains("no folder"));
    on(&node, &["sources", "resume", path]).await.ended_with(0);
    fs::remove_file(folder.join("hose.md")).unwrap();
    wait_for("a file to be missed", async || {
        let state = on(&node, &["sources", "--json"]).await.ended_with(0).record();
        state["last"]["missing"] == 1
    })
    .await;
    assert!(texts().await.iter().any(|text| text.contains("November")), "not withdrawn so soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file_is_followed_by_itself_and_what_changed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().canonicalize().unwrap().join("archive.mbox");
    let mail =
        |day: &str| format!("From a@example.org Thu Jan  2 10:00:00 2025\nSubject: Vet\n\nOn {day}.\n\n");
    fs::write(&file, mail("Monday")).unwrap();
    let path = file.to_str().unwrap();
    let node = TestNode::fresh().await;
    let mut events = node.rpc.clone().watch(rpc::WatchRequest::default()).await.unwrap().into_inner();
    let mut next_change = async || loop {
        let event = within("something to happen", events.message()).await.unwrap().unwrap().event;
        if let Some(rpc::watch_response::Event::SourceChanged(change)) = event {
            break change;
        }
    };
    let added = on(&node, &["sources", "add", path, "--json"]).await.ended_with(0).records();
    // The node itself may have looked at it before.
    assert_eq!((&added[0]["folder"], &added[1]["files"]), (&json!(path), &json!(1)));
    let change = next_change().await;
    assert_eq!((change.folder.as_str(), change.added, change.grains_added), (path, 1, 1));
    // Saved as many programs do: another file in its place.
    let beside = file.with_extension("new");
    fs::write(&beside, mail("Monday") + &mail("Friday")).unwrap();
    fs::rename(&beside, &file).unwrap();
    let change = next_change().await;
    assert_eq!((change.added, change.edited, change.grains_added), (0, 1, 1));
    let texts = listed(&node, &["--source", path]).await;
    assert_eq!(texts.len(), 2);
    fs::remove_file(&file).unwrap();
    let gone = on(&node, &["sources", "sync", path, "--withdraw"]).await;
    assert!(gone.code == 1 && gone.err.contains("is not there"), "{}", gone.err);
    assert_eq!(listed(&node, &["--source", path]).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_that_lead_to_each_other_say_so_also_after_a_move() {
    let dir = tempfile::tempdir().unwrap();
    let folder = vault(dir.path());
    fs::write(
        folder.join("index.md"),
        "# Index\n\n## Warm\n\nSee [[boiler|the heating]] first.\n\n## Animals\n\nThe [vet](vet.md#Costs) knows, [[nobody]] else.\n",
    )
    .unwrap();
    fs::write(
        folder.join("vet.md"),
        "# Vet\n\nThe cat goes there on Monday.\n\n## Costs\n\nForty a visit.\n",
    )
    .unwrap();
    let path = folder.to_str().unwrap();
    let node = TestNode::fresh().await;
    on(&node, &["sources", "add", path, "--manual"]).await.ended_with(0);
    let id = async |title: &str| {
        let all = listed(&node, &[]).await;
        let grain = all.iter().find(|grain| grain["title"] == title);
        grain.unwrap_or_else(|| panic!("no {title}: {all:?}"))["id"].as_str().unwrap().to_owned()
    };
    let links = async |title: &str| {
        let got = on(&node, &["get", &id(title).await, "--json"]).await.ended_with(0).record();
        let titles = |field: &str| {
            let notes = got[field].as_array().unwrap();
            notes.iter().map(|note| note["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        (titles("links_to"), titles("linked_from"))
    };
    let of = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>();
    assert_eq!(links("Index > Warm").await, (of(&["Boiler"]), vec![]));
    assert_eq!(links("Index > Animals").await, (of(&["Vet > Costs"]), vec![]));
    assert_eq!(links("Boiler").await, (vec![], of(&["Index > Warm"])));
    assert_eq!(links("Vet").await, (vec![], of(&["Index > Animals"])));
    let shown = on(&node, &["get", &id("Boiler").await]).await.ended_with(0).out;
    assert!(shown.contains("linked by  Index > Warm ("), "{shown}");

    fs::rename(folder.join("house/boiler.md"), folder.join("boiler.md")).unwrap();
    fs::create_dir(folder.join("maps")).unwrap();
    fs::rename(folder.join("index.md"), folder.join("maps/index.md")).unwrap();
    on(&node, &["sources", "sync", path]).await.ended_with(0);
    assert_eq!(links("Index > Warm").await, (of(&["Boiler"]), vec![]));
    assert_eq!(links("Boiler").await, (vec![], of(&["Index > Warm"])));
    // What leads nowhere any more is not told.
    fs::remove_file(folder.join("boiler.md")).unwrap();
    on(&node, &["sources", "sync", path, "--withdraw"]).await.ended_with(0);
    assert_eq!(links("Index > Warm").await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_added_again_goes_by_what_was_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let folder = vault(dir.path());
    let path = folder.to_str().unwrap();
    let node = TestNode::fresh().await;
    on(&node, &["add", path, "--topic", "notes", "--tag", "vault"]).await.ended_with(0);
    let again = on(&node, &["add", path, "--json"]).await.ended_with(0).records();
    let summary = again.last().unwrap();
    assert_eq!(
        [&summary["added"], &summary["unchanged"], &summary["retracted"]],
        [&json!(0), &json!(3), &json!(0)]
    );
    let one =
        on(&node, &["add", folder.join("vet.md").to_str().unwrap(), "--json"]).await.ended_with(0).records();
    assert_eq!(one.last().unwrap()["unchanged"], json!(1));
    let other = on(&node, &["add", path, "--topic", "house"]).await.ended_with(0);
    assert!(other.err.contains("another topic before"), "{}", other.err);
    assert_eq!(listed(&node, &["--topic", "house", "--tag", "vault"]).await.len(), 3);
    assert!(listed(&node, &["--topic", "notes"]).await.is_empty());
    // It is remembered so from now on, and by a folder that the node keeps it is not turned back.
    on(&node, &["add", path]).await.ended_with(0);
    assert_eq!(listed(&node, &["--topic", "house"]).await.len(), 3);
    on(&node, &["sources", "add", path, "--topic", "house", "--tag", "vault"]).await.ended_with(0);
    let refused = on(&node, &["add", path, "--topic", "notes"]).await;
    assert!(refused.code == 2 && refused.err.contains("sources add"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_remembered_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let folder = vault(dir.path());
    let node = TestNode::fresh().await;
    let client = rpc::source_service_client::SourceServiceClient::new(node.channel.clone());
    let source = |folder: &Path| rpc::RememberedSource {
        folder: folder.to_str().unwrap().to_owned(),
        ..rpc::RememberedSource::default()
    };
    let add = |source: rpc::RememberedSource| {
        let mut client = client.clone();
        async move { client.add_source(rpc::AddSourceRequest { source: Some(source) }).await.map(drop) }
    };
    add(source(&folder)).await.unwrap();
    let whole = source(&folder);
    for (source, word) in [
        (source(Path::new("notes")), "absolute"),
        (source(&folder.join("gone")), "cannot look into"),
        (source(&folder.join("vet.md")), "lies in"),
        (source(Path::new("/dev/null")), "neither a folder nor a file"),
        (source(&folder.join("house")), "lies in"),
        (source(folder.parent().unwrap()), "remove that first"),
        (source(node.dir()), "data folder"),
        (rpc::RememberedSource { topic: "Bad!".into(), ..whole.clone() }, "topic"),
        (rpc::RememberedSource { tags: vec!["a\nb".into()], ..whole.clone() }, "tag"),
        (rpc::RememberedSource { exclude: vec!["[a".into()], ..whole.clone() }, "good ones"),
        (rpc::RememberedSource { exclude: vec!["x".into(); 257], ..whole.clone() }, "at most 256"),
        (rpc::RememberedSource { rhythm: 2, every_seconds: 9, ..whole.clone() }, "10 to 31536000"),
        (rpc::RememberedSource { rhythm: 77, ..whole }, "rhythm"),
    ] {
        Client::assert_refused(add(source).await, Code::InvalidArgument, word);
    }
    let request = rpc::PauseSourceRequest { folder: "/no/such".into(), paused: true };
    Client::assert_refused(client.clone().pause_source(request).await, Code::NotFound, "not remembered");
}
