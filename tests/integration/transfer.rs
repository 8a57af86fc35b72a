//! Export and import: every grain out, and in again with the same id.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use synapsenet_proto::{Draft, Grain, Identity, rpc};

use super::harness::{TestNode, config, folder, now_ms, program, ran, synapsenet};

/// A node with notes of its own and of others, some shared, some withdrawn, some from a document.
async fn library() -> TestNode {
    let node = TestNode::fresh().await;
    for n in 0..8 {
        let id = node
            .put(format!("Note number {n}, with a \"quote\", a\ttab and a line\nbreak, ünïcödé 🔥."))
            .await;
        if n % 4 == 0 {
            node.try_retract(&id).await.unwrap();
        }
    }
    let stranger = Identity::from_seed(&[4; 32]);
    let draft = Draft { text: "A stranger said this.".into(), ..Draft::default() };
    let foreign = Grain::seal(draft, &stranger, now_ms()).unwrap();
    let item = Some(rpc::bulk_put_request::Item::Grain(foreign.as_bytes().to_vec()));
    node.bulk_put(vec![rpc::BulkPutRequest { item, share: true, ..Default::default() }]).await;
    let document = rpc::AddDocumentRequest {
        uri: "file:///a.md".into(),
        format: rpc::DocumentFormat::Markdown.into(),
        content: "# One\n\nFirst.\n\n# Two\n\nSecond.".into(),
        tags: vec!["doc".into()],
        ..Default::default()
    };
    node.try_add_document(document).await.unwrap();
    node.wait_indexed().await;
    node
}

/// All that is to survive the way: everything but what is of one node only.
async fn contents(node: &TestNode) -> Vec<rpc::Grain> {
    let request = rpc::ListRequest { with_retractions: true, with_signed: true, ..Default::default() };
    let mut grains = node.list_pages(request).await.concat();
    for grain in &mut grains {
        grain.searchable = false;
        grain.file_uri.clear();
        // What is one node's own is another's stranger.
        grain.set_whose(rpc::Whose::Unspecified);
    }
    grains.sort_by(|a, b| a.id.cmp(&b.id));
    grains
}

async fn export(dir: &Path, file: &Path) -> Vec<Value> {
    let ran = synapsenet(dir, &["export", "--json", file.to_str().unwrap()]).await.ended_with(0);
    let lines: Vec<Value> = std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(ran.record()["exported"], lines.len());
    lines
}

fn counts(record: &Value) -> [u64; 3] {
    ["added", "duplicate", "invalid"].map(|field| record[field].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exported_is_imported_with_the_same_ids() {
    let node = library().await;
    let before = contents(&node).await;
    let dir = folder();
    let file = dir.path().join("grains.jsonl");
    let lines = export(node.dir(), &file).await;
    assert_eq!(lines.len(), before.len());
    for grain in &before {
        let line = lines.iter().find(|line| line["id"] == grain.id.as_str()).expect("each grain has a line");
        assert_eq!(
            (line["text"].as_str(), line["shared"].as_bool()),
            (Some(grain.text.as_str()), Some(grain.shared))
        );
    }

    let fresh = TestNode::fresh().await;
    let import = async |dir: &Path| synapsenet(dir, &["import", "--json", file.to_str().unwrap()]).await;
    let total = lines.len() as u64;
    assert_eq!(counts(&import(fresh.dir()).await.ended_with(0).record()), [total, 0, 0]);
    assert_eq!(contents(&fresh).await, before);
    fresh.wait_indexed().await;
    let (old, new) = (node.status().await, fresh.status().await);
    assert_eq!((new.grains, new.retractions, new.searchable), (old.grains, old.retractions, old.searchable));
    assert_eq!(fresh.search("a stranger").await.texts()[0], "A stranger said this.");
    fresh.verify_sound().await;

    // Again adds nothing, there and here.
    assert_eq!(counts(&import(fresh.dir()).await.ended_with(0).record()), [0, total, 0]);
    assert_eq!(counts(&import(node.dir()).await.ended_with(0).record()), [0, total, 0]);
    assert_eq!(contents(&fresh).await, before);

    // And out again it is the same, line by line.
    let mut again = export(fresh.dir(), &dir.path().join("again.jsonl")).await;
    let mut lines = lines;
    let id = |line: &Value| line["id"].as_str().unwrap().to_owned();
    again.sort_by_key(id);
    lines.sort_by_key(id);
    assert_eq!(again, lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_through_pipes_and_without_running_nodes_is_the_same() {
    let node = library().await;
    let before = contents(&node).await;
    let dir = node.dir().to_owned();
    let _owned = node.stop().await;
    let exported = synapsenet(&dir, &["export"]).await.ended_with(0);
    assert_eq!(exported.out.lines().count(), before.len());
    let other = folder();
    let fresh = other.path().join("data");
    let imported = ran(program(&fresh, &[]), &["import", "--json", "-"], &exported.out).await.ended_with(0);
    assert_eq!(counts(&imported.record()), [before.len() as u64, 0, 0]);
    let node = TestNode::on(&fresh, config()).await;
    assert_eq!(contents(&node).await, before);
    node.wait_indexed().await;
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_lines_are_counted_with_their_numbers_and_the_others_go_in() {
    let node = library().await;
    let dir = folder();
    let file = dir.path().join("grains.jsonl");
    let lines: Vec<String> = export(node.dir(), &file).await.iter().map(Value::to_string).collect();
    let mut forged: Value = serde_json::from_str(&lines[0]).unwrap();
    let grain = forged["grain"].as_str().unwrap().to_owned();
    // A letter in the middle of the body: the signature no longer fits.
    let middle = grain.len() / 2;
    let other = if &grain[middle..=middle] == "A" { "B" } else { "A" };
    forged["grain"] = json!(format!("{}{other}{}", &grain[..middle], &grain[middle + 1..]));
    let damaged = [
        lines[0].as_str(),
        "",
        "not json",
        &lines[1],
        &lines[1][..lines[1].len() / 2],
        &forged.to_string(),
        "{\"grain\": \"?\"}",
        "{\"grain\": \"\"}",
        "{\"text\": \"unsigned words\"}",
        &lines[2],
        &"x".repeat(3 << 20),
        &lines[3],
    ]
    .join("\n");
    std::fs::write(&file, damaged).unwrap();
    let fresh = TestNode::fresh().await;
    let imported = synapsenet(fresh.dir(), &["import", "--json", file.to_str().unwrap()]).await.ended_with(1);
    let records = imported.records();
    let numbers: Vec<_> = records
        .iter()
        .filter(|record| record["event"] == "invalid")
        .map(|r| r["line"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [3, 5, 6, 7, 8, 9, 11]);
    assert!(
        records.iter().filter(|r| r["event"] == "invalid").all(|r| !r["reason"].as_str().unwrap().is_empty())
    );
    assert_eq!(counts(records.last().unwrap()), [4, 0, 7]);
    let people = synapsenet(fresh.dir(), &["import", file.to_str().unwrap()]).await.ended_with(1);
    assert!(people.out.contains("added 0, duplicate 4, invalid 7"), "{}", people.out);
    assert!(people.err.contains("line 3") && people.err.contains("line 11"), "{}", people.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_private_and_appears_when_it_is_complete() {
    let node = library().await;
    let dir = folder();
    let file = dir.path().join("grains.jsonl");
    // It takes the place of an older one, whoever could read that.
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    export(node.dir(), &file).await;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");

    let nowhere = dir.path().join("missing/grains.jsonl");
    let refused = synapsenet(node.dir(), &["export", nowhere.to_str().unwrap()]).await.ended_with(1);
    refused.assert_told("missing/grains.jsonl", "folder");
    let refused = synapsenet(node.dir(), &["import", nowhere.to_str().unwrap()]).await.ended_with(1);
    refused.assert_told("missing/grains.jsonl", "export");
    synapsenet(node.dir(), &["import", dir.path().to_str().unwrap()])
        .await
        .ended_with(1)
        .assert_told("directory", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_broken_off_goes_on_where_it_was() {
    let node = library().await;
    let dir = folder();
    let file = dir.path().join("grains.jsonl");
    let lines = export(node.dir(), &file).await;
    let half: Vec<String> = lines[..lines.len() / 2].iter().map(Value::to_string).collect();
    let fresh = TestNode::fresh().await;
    let first = ran(program(fresh.dir(), &[]), &["import", "--json"], &half.join("\n")).await.ended_with(0);
    assert_eq!(counts(&first.record()), [half.len() as u64, 0, 0]);
    let rest = synapsenet(fresh.dir(), &["import", "--json", file.to_str().unwrap()]).await.ended_with(0);
    assert_eq!(counts(&rest.record()), [(lines.len() - half.len()) as u64, half.len() as u64, 0]);
    assert_eq!(contents(&fresh).await, contents(&node).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_exported_stays_its_own_unless_it_is_signed_anew() {
    let node = library().await;
    let dir = folder();
    let file = dir.path().join("export.jsonl");
    let lines = export(node.dir(), &file).await;
    let withdrawn = lines.iter().filter(|line| line["kind"] == "retraction").count() as u64;
    let notes = lines.len() as u64 - withdrawn;

    let other = TestNode::fresh().await;
    let import = ["import", "--json", file.to_str().unwrap()];
    let theirs = synapsenet(other.dir(), &import).await.ended_with(0).record();
    assert_eq!((&theirs["added"], &theirs["others"]), (&json!(lines.len()), &json!(lines.len())));
    let told = synapsenet(other.dir(), &["import", file.to_str().unwrap()]).await.ended_with(0);
    assert!(told.err.contains("stay theirs") && told.err.contains("--as-mine"), "{}", told.err);

    let third = TestNode::fresh().await;
    let anew = [&import[..], &["--as-mine"]].concat();
    let mine = synapsenet(third.dir(), &anew).await.ended_with(0).record();
    assert_eq!((&mine["added"], &mine["passed_over"]), (&json!(notes), &json!(withdrawn)));
    let grains = third.list(rpc::Filter::default()).await;
    assert_eq!(grains.len() as u64, notes);
    assert!(grains.iter().all(|grain| grain.author == third.node.author()));
    let text = |grain: &rpc::Grain| (grain.text.clone(), grain.title.clone(), grain.tags.clone());
    let mut texts: Vec<_> = grains.iter().map(text).collect();
    let mut before: Vec<_> = node.list(rpc::Filter::default()).await.iter().map(text).collect();
    texts.sort();
    before.sort();
    assert_eq!(texts, before);
    // Once more adds nothing; nor does it where they are the node's own anyway.
    assert_eq!(synapsenet(third.dir(), &anew).await.ended_with(0).record()["added"], json!(0));
    let own = synapsenet(node.dir(), &anew).await.ended_with(0).record();
    assert_eq!(
        (&own["added"], &own["others"]),
        (&json!(1), &json!(0)),
        "the stranger's alone is signed anew"
    );
}
