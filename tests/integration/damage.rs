//! What if the disk, the index, the model or the library is not as it should be?

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use synapsenet_proto::rpc;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::harness::{
    Client, TestNode, config, folder, noise, note, program, ran, synapsenet, wait_for, within,
};
use super::metrics::{get, scrape};

/// The name under which health tells whether something can be changed.
const WRITES: &str = "synapsenet.v1.writes";

const QUESTION: &str = "when does the train leave";

/// A stopped node's folder with some notes that were all searchable, and their ids.
async fn stopped_node(dir: &Path) -> Vec<String> {
    let node = TestNode::on(dir, config()).await;
    let mut ids = vec![node.put("The express to the coast departs at 8:15 from platform 4.").await];
    for n in 0..9 {
        ids.push(node.put(format!("Entry {n} of the garden diary: nothing grew.")).await);
    }
    node.wait_indexed().await;
    node.stop().await;
    ids
}

/// Asserts that a node starts on the folder, that everything is found, and that nothing is wrong with it.
async fn assert_whole(dir: &Path, ids: &[String]) {
    let node = TestNode::on(dir, config()).await;
    node.wait_indexed().await;
    let status = node.status().await;
    assert_eq!((status.grains, status.searchable, status.pending), (ids.len() as u64, ids.len() as u64, 0));
    let found = node.search_in(QUESTION, 100, rpc::Filter::default()).await;
    assert_eq!(found.ids()[0], ids[0]);
    assert_eq!(found.hits.len(), ids.len());
    node.verify_sound().await;
    node.stop().await;
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Something that happens to the bytes of a file.
type Damage = fn(&mut Vec<u8>);

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_made_again_from_the_store() {
    let dir = folder();
    let ids = stopped_node(dir.path()).await;
    // One folder for each model, one for the words, and one for the scores.
    let indexes = <[PathBuf; 3]>::try_from(files(&dir.path().join("index"))).unwrap();
    for index in indexes {
        damage_and_compare(dir.path(), &ids, &index).await;
    }
}

async fn damage_and_compare(dir: &Path, ids: &[String], index: &Path) {
    let count = files(index).len();
    assert!(count > 0);
    let damages: [(&str, Damage); 5] = [
        ("one byte in the middle", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
        }),
        ("the first byte", |bytes| bytes[0] ^= 0x55),
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("empty", Vec::clear),
        ("something else", |bytes| *bytes = b"something else ".repeat(100)),
    ];
    for place in 0..count {
        for (damage, apply) in damages {
            // The stop before has saved the index anew, so each damage meets a sound one.
            let file = &files(index)[place];
            println!("{damage}: {}", file.display());
            let mut bytes = std::fs::read(file).unwrap();
            apply(&mut bytes);
            std::fs::write(file, bytes).unwrap();
            assert_whole(dir, ids).await;
            assert_eq!(files(index).len(), count, "nothing is left over");
        }
        std::fs::remove_file(&files(index)[place]).unwrap();
        assert_whole(dir, ids).await;
    }
    std::fs::remove_dir_all(index).unwrap();
    assert_whole(dir, ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_saved_index_of_another_store_is_not_believed() {
    /// More than a search looks at before it compares exactly.
    const PAGES: u32 = 200;
    let animals = ["otter", "heron", "badger", "lynx", "newt", "stork", "hare", "carp", "moth", "wasp"];
    let stopped = async |dir: &Path, shift: u32| {
        let node = TestNode::on(dir, config()).await;
        // The same animals in another order: as many grains, as many changes, and wrong neighbours.
        let item = |n: u32| {
            let animal = animals[(n / 20 + shift) as usize % animals.len()];
            let draft = note(format!("Sighting {n}: one more {animal} was seen."));
            rpc::BulkPutRequest {
                item: Some(rpc::bulk_put_request::Item::Draft(draft)),
                share: false,
                ..Default::default()
            }
        };
        node.bulk_put((0..PAGES).map(item).collect()).await;
        node.wait_indexed().await;
        node.stop().await;
    };
    let (dir, other) = (folder(), folder());
    stopped(dir.path(), 0).await;
    stopped(other.path(), 5).await;
    let (mine, theirs) = (dir.path().join("index"), other.path().join("index"));
    std::fs::remove_dir_all(&mine).unwrap();
    std::fs::rename(&theirs, &mine).unwrap();
    let node = TestNode::on(dir.path(), config()).await;
    for animal in animals {
        let found = node.search_in(&format!("a {animal}"), 10, rpc::Filter::default()).await;
        let right = found.texts().iter().filter(|text| text.contains(animal)).count();
        assert_eq!(right, 10, "{animal}: {:?}", found.texts());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_onnx_runtime_a_node_says_where_to_get_it() {
    let dir = folder();
    let environment = [("SYNAPSENET_AI__ONNXRUNTIME", "/nonexistent/libonnxruntime.so")];
    let ran = ran(program(dir.path(), &environment), &RUN, "").await.ended_with(1);
    ran.assert_told("/nonexistent/libonnxruntime.so", "");
    assert!(ran.err.contains("deploy/provision") && ran.err.contains("ORT_DYLIB_PATH"), "{}", ran.err);
    assert_eq!(ran.out, "", "it never was ready");
}

/// Runs a node on its socket alone.
const RUN: [&str; 5] = ["run", "--api-listen", "", "--metrics-listen", ""];

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_is_no_onnx_runtime_stops_the_node_with_a_hint() {
    let dir = folder();
    // One that is on every Linux machine: this process has it loaded.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libm =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libm.so"));
    let text = dir.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    for library in [libm.expect("the C library is loaded"), text.to_str().unwrap()] {
        let data = dir.path().join("data");
        let environment = [("SYNAPSENET_AI__ONNXRUNTIME", library)];
        let ran = ran(program(&data, &environment), &RUN, "").await.ended_with(1);
        let name = Path::new(library).file_stem().unwrap().to_str().unwrap();
        ran.assert_told(name.split('.').next().unwrap(), "");
        assert!(ran.err.contains("deploy/provision"), "{}", ran.err);
    }
}

/// A copy of the built-in model's folder.
fn model_copy(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../index/models/all-MiniLM-L6-v2");
    std::fs::create_dir_all(to).unwrap();
    for file in ["model.toml", "model.onnx", "tokenizer.json", "reference.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    edit_description(to, "variant = \"w8\"", "variant = \"copy\"");
}

/// The name of that copy.
const COPY: &str = "all-MiniLM-L6-v2-copy";

fn edit_description(model: &Path, from: &str, to: &str) {
    let path = model.join("model.toml");
    let description = std::fs::read_to_string(&path).unwrap();
    assert!(description.contains(from));
    std::fs::write(path, description.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_files_differ_from_its_description_is_refused() {
    let dir = folder();
    let data = dir.path().join("data");
    let ids = stopped_node(&data).await;
    let model = data.join("models").join(COPY);
    model_copy(&model);
    let mut other = config();
    other.ai.model = COPY.into();

    // As it is, it is the built-in one: nothing is embedded again.
    let node = TestNode::on(&data, other.clone()).await;
    assert_eq!(node.status().await.searchable, ids.len() as u64);
    assert_eq!(node.search(QUESTION).await.ids()[0], ids[0]);
    node.stop().await;

    for name in ["model.onnx", "tokenizer.json"] {
        let file = model.join(name);
        let sound = std::fs::read(&file).unwrap();
        let mut bytes = sound.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let error = TestNode::try_on(&data, other.clone()).await.err().expect("it is refused");
        let error = format!("{error:#}");
        assert!(error.contains(name) && error.contains("sha256"), "{error}");
        std::fs::remove_file(&file).unwrap();
        let error = TestNode::try_on(&data, other.clone()).await.err().expect("it is refused");
        assert!(format!("{error:#}").contains(name), "{error:#}");
        std::fs::write(&file, sound).unwrap();
    }
    other.ai.model = "nobody".into();
    let error = TestNode::try_on(&data, other).await.err().expect("it is refused");
    assert!(format!("{error:#}").contains(COPY), "it says which there are: {error:#}");
    assert_whole(&data, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_reads_everything_again_and_the_first_one_is_not_mixed_in() {
    let dir = folder();
    let data = dir.path().join("data");
    let ids = stopped_node(&data).await;
    let model = data.join("models").join(COPY);
    model_copy(&model);
    edit_description(&model, "question_prefix = \"\"", "question_prefix = \"question: \"");
    let mut other = config();
    other.ai.model = COPY.into();

    let node = TestNode::on(&data, config()).await;
    let first = node.status().await.model.unwrap().space_id;
    let node = node.restart_with(other).await;
    node.wait_indexed().await;
    let status = node.status().await;
    assert_ne!(status.model.unwrap().space_id, first, "another prefix makes other vectors");
    assert_eq!((status.searchable, status.pending), (ids.len() as u64, 0));
    assert_eq!(node.search(QUESTION).await.ids()[0], ids[0]);
    node.verify_sound().await;
    node.stop().await;
    assert_whole(&data, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_none_is_refused_and_left_as_it_is() {
    let dir = folder();
    let database = dir.path().join("grains.redb");
    let text = "These are my tax returns. ".repeat(1000);
    std::fs::write(&database, &text).unwrap();
    let ran = synapsenet(dir.path(), &RUN).await.ended_with(1);
    ran.assert_told("grains.redb", "");
    assert_eq!(std::fs::read_to_string(&database).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_does_not_exist_is_refused_with_its_place() {
    let dir = folder();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[storage]\nhnsw_mm = 16\n").unwrap();
    let refused = synapsenet(dir.path(), &RUN).await.ended_with(2);
    refused.assert_told("storage.hnsw_mm", "config show");
    assert!(refused.err.contains("config.toml"), "{}", refused.err);
    std::fs::write(&file, "").unwrap();
    for (name, value, word) in [
        ("SYNAPSENET_STORAGE__HNSW", "1", "SYNAPSENET_STORAGE__HNSW sets nothing"),
        ("SYNAPSENET_STORAGE__HNSW_M", "many", "whole number"),
        ("SYNAPSENET_STORAGE__HNSW_M", "1", "from 2 to 128"),
        ("SYNAPSENET_AI__PROVIDER", "abacus", "ai.provider"),
        ("SYNAPSENET_LOG__LEVEL", "info=loud", "log.level"),
    ] {
        let refused = ran(program(dir.path(), &[(name, value)]), &RUN, "").await.ended_with(2);
        refused.assert_told(word, "");
    }
    assert!(!dir.path().join("grains.redb").exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_refused_with_its_name() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("data");
    let refused = synapsenet(&inside, &RUN).await.ended_with(1);
    refused.assert_told(&inside.display().to_string(), "");
    assert!(refused.err.contains("--data-dir"), "{}", refused.err);

    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("probe"), "").is_ok() {
        println!("skipped in part: this user may write everywhere");
        return;
    }
    let refused = synapsenet(&locked, &RUN).await.ended_with(1);
    refused.assert_told(&locked.display().to_string(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_disk_changed_is_found_by_verify_and_the_others_stay() {
    let dir = folder();
    let ids = stopped_node(dir.path()).await;
    let database = dir.path().join("grains.redb");
    let before = std::fs::read(&database).unwrap();
    let node = TestNode::on(dir.path(), config()).await;
    let id = node.put(noise(0, 6000)).await;
    node.wait_indexed().await;
    node.stop().await;
    // The longest stretch that is new and looks like noise is where the long text lies, compressed.
    const WINDOW: usize = 256;
    let mut bytes = std::fs::read(&database).unwrap();
    let is_noise = |at: usize| {
        let window = &bytes[at..at + WINDOW];
        let distinct: std::collections::BTreeSet<u8> = window.iter().copied().collect();
        distinct.len() > 100 && before.get(at..at + WINDOW) != Some(window)
    };
    let (mut start, mut longest) = (0, 0..0);
    for at in (0..bytes.len() - WINDOW).step_by(WINDOW) {
        if !is_noise(at) {
            start = at + WINDOW;
        } else if at + WINDOW - start > longest.len() {
            longest = start..at + WINDOW;
        }
    }
    assert!(longest.len() > 4000, "{longest:?}");
    let middle = longest.start + longest.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&database, bytes).unwrap();

    let node = TestNode::on(dir.path(), config()).await;
    let report = node.verify().await;
    assert!(report.problems[0].contains("not readable"), "{:?}", report.problems);
    let ran = synapsenet(dir.path(), &["verify"]).await.ended_with(1);
    assert!(ran.out.contains(&report.problems[0]) && ran.err.contains("export"), "{ran:?}");
    if let Ok(given) = node.try_get(&id).await {
        panic!("grain {} with changed words was given out for {id}", given.grain.unwrap().id);
    }
    for id in &ids {
        node.get(id).await;
    }
    let found = node.search_in(QUESTION, 3, rpc::Filter::default()).await;
    assert_eq!(found.ids()[0], ids[0]);
}

/// A small file system, gone with this value.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// None when this user may not mount; where everything is to be tested, that is a failure.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let options = format!("size={size},mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "synapsenet-test"]).arg(at).output();
        let is_mounted = mounted.as_ref().is_ok_and(|output| output.status.success());
        let may_skip = std::env::var_os("SKIP_NO_TEST").is_none();
        assert!(is_mounted || may_skip, "no small file system: {mounted:?}");
        if !is_mounted {
            println!("skipped: mounting a small file system takes root");
        }
        is_mounted.then(|| Self { at: at.to_owned() })
    }

    /// Makes a file that takes all the room that there is.
    fn fill(&self) -> PathBuf {
        let filler = self.at.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&[1; 1024]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because after a failed test a node may still have files open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
    }
}

/// What health says of a name.
async fn health(client: &Client, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(client.channel.clone()).check(request).await.unwrap();
    answer.into_inner().status()
}

/// Puts noise until it is refused; gives what was acknowledged.
async fn put_until_full(node: &Client) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..4000 {
        match node.try_put(note(noise(number, 6000))).await {
            Ok(put) => acknowledged.push((number, put.id)),
            Err(refusal) => {
                assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal:?}");
                assert!(refusal.message().contains("the disk is full"), "{refusal:?}");
                return acknowledged;
            }
        }
    }
    panic!("a disk of some MiB is full at last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_a_full_disk_is_read_only_says_so_and_takes_up_again_by_itself() {
    let dir = folder();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), "16m") else { return };
    let node = TestNode::on(&disk.at.join("data"), config()).await;
    let key = node.put("The spare key hangs behind the clock in the hall.").await;
    node.wait_indexed().await;
    assert_eq!(health(&node, WRITES).await, ServingStatus::Serving);
    assert_eq!(node.status().await.read_only_reason, "");

    let filler = disk.fill();
    let acknowledged = put_until_full(&node).await;
    assert_acknowledged(&node, &acknowledged).await;
    assert_eq!(node.search("where is the key").await.ids()[0], key);
    let reason = node.status().await.read_only_reason;
    assert!(reason.contains("the disk is full") && reason.contains("make room"), "{reason}");
    assert_eq!(health(&node, WRITES).await, ServingStatus::NotServing);
    assert_eq!(health(&node, "").await, ServingStatus::Serving);
    let address = node.node.metrics_address().unwrap();
    let page = get(address, "/readyz").await;
    assert!(
        page.head.starts_with("http/1.1 200") && page.body.contains("nothing can be changed"),
        "{}",
        page.body
    );
    let page = scrape(address).await;
    assert_eq!((page.value("syn_read_only"), page.value("syn_ready")), (1.0, 1.0));
    assert!(
        page.value("syn_disk_free_bytes") < 1e6 && page.value("syn_disk_size_bytes") == f64::from(16 << 20)
    );
    // However small it is.
    Client::assert_refused(node.try_put(note("x")).await, Code::ResourceExhausted, "the disk is full");
    Client::assert_refused(node.try_retract(&key).await, Code::ResourceExhausted, "the disk is full");
    let ran = synapsenet(node.dir(), &["status"]).await.ended_with(0);
    assert!(ran.out.contains("read-only") && ran.out.contains("the disk is full"), "{}", ran.out);

    std::fs::remove_file(filler).unwrap();
    wait_for("the node to take up again", async || node.status().await.read_only_reason.is_empty()).await;
    wait_for("health", async || health(&node, WRITES).await == ServingStatus::Serving).await;
    let new = node.put("There is room for the piano again.").await;
    // What waited for its vector while the disk was full gets it now.
    node.wait_indexed().await;
    assert_acknowledged(&node, &acknowledged).await;
    assert_eq!(node.search("a musical instrument").await.ids()[0], new);
    node.verify_sound().await;
    let node = node.restart().await;
    assert_acknowledged(&node, &acknowledged).await;
    let status = node.status().await;
    assert_eq!((status.searchable, status.pending), (status.grains, 0));
    node.verify_sound().await;
    node.stop().await;
}

/// Otherwise it would fill the disk, and find out when the node can write nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_there_is_no_room_for_is_not_begun() {
    let dir = folder();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), "48m") else { return };
    let node = TestNode::on(&disk.at.join("data"), config()).await;
    node.put("The spare key hangs behind the clock in the hall.").await;
    node.wait_indexed().await;
    let mut pieces = node.rpc.clone().backup(rpc::BackupRequest::default()).await.unwrap().into_inner();
    let refused = within("an answer", pieces.message()).await;
    Client::assert_refused(refused, Code::ResourceExhausted, "on the disk of the data folder");
    let file = dir.path().join("node.backup");
    let told =
        synapsenet(node.dir(), &["backup", file.to_str().unwrap(), "--without-identity"]).await.ended_with(4);
    told.assert_told("there are", "");
    assert!(!file.exists(), "nothing is left of it");
    node.put("It goes on.").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_a_full_disk_stops_in_order_and_loses_nothing() {
    let dir = folder();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), "16m") else { return };
    let data = disk.at.join("data");
    let node = TestNode::on(&data, config()).await;
    let key = node.put("The spare key hangs behind the clock in the hall.").await;
    node.wait_indexed().await;
    let filler = disk.fill();
    let acknowledged = put_until_full(&node).await;
    // There is no room for the index; that only makes the next start slower.
    node.stop().await;
    std::fs::remove_file(filler).unwrap();
    let node = TestNode::on(&data, config()).await;
    node.wait_indexed().await;
    assert_acknowledged(&node, &acknowledged).await;
    assert_eq!(node.search("where is the key").await.ids()[0], key);
    node.verify_sound().await;
    node.stop().await;
}

async fn assert_acknowledged(client: &Client, acknowledged: &[(u64, String)]) {
    for (number, id) in acknowledged {
        assert_eq!(client.get(id).await.text, noise(*number, 6000));
    }
}
