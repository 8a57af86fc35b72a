use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use sha2::{Digest, Sha256};
use synapsenet_index::{HubFile, Purpose};

use super::*;
use crate::testing::{models_options, tiny_model};

struct Folder {
    dir: tempfile::TempDir,
    metrics: Metrics,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), metrics: Metrics::default() }
    }

    fn models(&self) -> PathBuf {
        self.dir.path().join("models")
    }

    fn start(&self) -> Options {
        models_options(&self.models(), self.metrics.clone())
    }

    /// A tiny model in a folder that the node does not know.
    fn tiny(&self, name: &str) -> PathBuf {
        tiny_model(&self.dir.path().join("elsewhere"), name, "sines.onnx")
    }
}

/// With the variant that is meant where only a space is named.
fn meaning(variant: &str, mut start: Options) -> Options {
    start.computing.variant = Variant::from_config(variant);
    start
}

/// The weights of a tiny model: sixteen frequencies in f32 and one axis in 64 bits.
const TINY_BYTES: u64 = 16 * 4 + 8;

fn loaded(models: &Models) -> Vec<(String, u64)> {
    let installed = models.all().into_iter().filter_map(|installed| installed.model.ok());
    installed
        .filter_map(|model| match models.presence(&model) {
            Presence::Loaded { bytes, .. } => Some((model.full_name(), bytes)),
            Presence::Absent | Presence::Loading => None,
        })
        .collect()
}

#[tokio::test]
async fn a_model_is_loaded_when_it_is_used_first() {
    let folder = Folder::new();
    let models = Models::open(folder.start()).unwrap();
    let model = models.add(&folder.tiny("first")).await.unwrap();
    models.pool.stop();
    let models = Models::open(folder.start()).unwrap();
    assert_eq!(models.presence(&model), Presence::Absent);
    assert_eq!(folder.metrics.models_loaded.get(), 0);
    let vector = models.question(&model, "What is that?").await.unwrap();
    assert_eq!((vector.model(), vector.values().len()), (model.id(), 16));
    let provider = Provider::Cpu;
    assert_eq!(models.presence(&model), Presence::Loaded { provider, bytes: TINY_BYTES });
    assert_eq!(folder.metrics.models_loaded.get(), 1);
    models.pool.stop();
    assert_eq!(folder.metrics.models_loaded.get(), 0);
    assert!(matches!(models.question(&model, "Anyone?").await, Err(EmbedError::Stopped)));
}

#[tokio::test]
async fn five_models_in_turn_keep_within_the_budget_and_the_one_in_use_stays() {
    let folder = Folder::new();
    let models = Models::open(Options { budget_bytes: 2 * TINY_BYTES + 7, ..folder.start() }).unwrap();
    let mut all = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        all.push(models.add(&folder.tiny(name)).await.unwrap());
    }
    models.set_in_use(all[0].id());
    for turn in 0..3 {
        for model in &all {
            let vector = models.question(model, "Whose turn is it?").await.unwrap();
            assert_eq!(vector.model(), model.id());
            let loaded = loaded(&models);
            assert!(loaded.iter().map(|(_, bytes)| bytes).sum::<u64>() <= models.pool.start().budget_bytes);
            assert_eq!(folder.metrics.models_loaded.get(), loaded.len() as i64);
            assert!(loaded.iter().any(|(name, _)| *name == model.full_name()));
            let in_use = loaded.iter().any(|(name, _)| *name == all[0].full_name());
            assert!(in_use || turn == 0, "the model in use was unloaded for {}", model.full_name());
        }
    }
    models.pool.stop();
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_refused_with_both_numbers() {
    let folder = Folder::new();
    let models = Models::open(Options { budget_bytes: TINY_BYTES - 1, ..folder.start() }).unwrap();
    let error = models.add(&folder.tiny("fat")).await.unwrap_err().to_string();
    assert!(error.contains("ai.memory_budget") && error.contains("MiB"), "{error}");
    assert!(!folder.models().join("fat-tiny").exists());
    models.pool.stop();
}

/// In a container of 140 MB a node died without a word while its model was loaded.
#[tokio::test]
async fn a_model_for_which_there_is_not_enough_memory_is_refused_before_it_is_loaded() {
    let folder = Folder::new();
    let models = Models::open(Options { memory_limit: Some(1 << 20), ..folder.start() }).unwrap();
    let error = models.add(&folder.tiny("fat")).await.unwrap_err().to_string();
    assert!(error.contains("memory limit is 1 MiB") && error.contains("smaller model"), "{error}");
    models.pool.stop();
    let models = Models::open(Options { memory_limit: Some(64 << 30), ..folder.start() }).unwrap();
    models.add(&folder.tiny("thin")).await.unwrap();
    models.pool.stop();
}

#[tokio::test]
async fn a_model_that_cannot_be_used_is_refused_with_the_reason_and_leaves_nothing() {
    let folder = Folder::new();
    let models = Models::open(folder.start()).unwrap();
    let edit = |dir: &Path, from: &str, to: &str| {
        let description = fs::read_to_string(dir.join("model.toml")).unwrap();
        assert!(description.contains(from));
        fs::write(dir.join("model.toml"), description.replace(from, to)).unwrap();
    };
    let cut = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    type Breaks<'a> = &'a dyn Fn(&Path);
    let unreadable = |dir: &Path| {
        let hash = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        let tokenizer = dir.join("tokenizer.json");
        edit(dir, &hash(&fs::read(&tokenizer).unwrap()), &hash(b"{}"));
        fs::write(tokenizer, "{}").unwrap();
    };
    let broken: [(&str, Breaks<'_>, &str); 7] = [
        ("wide", &|dir| edit(dir, "dimension = 16", "dimension = 17"), "shape"),
        ("cut", &|dir| cut(dir.join("model.onnx")), "sha256"),
        ("other", &|dir| fs::write(dir.join("tokenizer.json"), "{}").unwrap(), "sha256"),
        ("odd", &unreadable, "must be a tokenizer.json"),
        ("bare", &|dir| fs::remove_file(dir.join("tokenizer.json")).unwrap(), "tokenizer.json"),
        ("wrong", &|dir| edit(dir, "variant", "flavour"), "flavour"),
        ("loose", &|dir| edit(dir, "name = \"loose\"", "name = \"../loose\""), "letters"),
    ];
    for (name, breaks, word) in broken {
        let dir = folder.tiny(name);
        breaks(&dir);
        let error = models.add(&dir).await.unwrap_err().to_string();
        assert!(error.contains(word), "{name}: {error}");
    }
    let nan = tiny_model(folder.dir.path(), "nan", "nan.onnx");
    let error = models.add(&nan).await.unwrap_err().to_string();
    assert!(error.contains("finite"), "{error}");
    let left: Vec<_> = fs::read_dir(folder.models()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    // The models that were there go on.
    let sound = models.add(&folder.tiny("sound")).await.unwrap();
    assert!(models.question(&sound, "And now?").await.is_ok());
    let again = models.add(&folder.tiny("sound")).await.unwrap_err().to_string();
    assert!(again.contains("here already"), "{again}");
    models.pool.stop();
}

#[tokio::test]
async fn what_was_added_is_there_after_a_restart_and_what_was_removed_is_not() {
    let folder = Folder::new();
    let models = Models::open(folder.start()).unwrap();
    let (kept, gone) =
        (models.add(&folder.tiny("kept")).await.unwrap(), models.add(&folder.tiny("gone")).await.unwrap());
    models.choose(&kept.full_name()).await.unwrap();
    models.remove(models.find_added("GONE-tiny").unwrap()).await.unwrap();
    assert_eq!(models.presence(&gone), Presence::Absent);
    let error = models.find_added("all-MiniLM-L6-v2-w8").err().unwrap().to_string();
    assert!(error.contains("part of the program"), "{error}");
    models.pool.stop();

    // What a crash left is passed over, and what somebody broke is listed with the reason.
    let (rest, begun, own) = (".partial-x", ".partial-bge-small-en-v1.5-fp32", ".put-aside");
    fs::create_dir(folder.models().join(own)).unwrap();
    fs::create_dir(folder.models().join(rest)).unwrap();
    fs::create_dir(folder.models().join(begun)).unwrap();
    fs::create_dir(folder.models().join("empty")).unwrap();
    let models = Models::open(folder.start()).unwrap();
    assert_eq!(models.chosen().unwrap().as_deref(), Some("kept-tiny"));
    assert_eq!(models.find("kept-tiny").unwrap().id(), kept.id());
    assert!(matches!(models.find("gone-tiny"), Err(ModelsError::NotFound(_))));
    let error = models.find("empty").unwrap_err().to_string();
    assert!(error.contains("model.toml"), "{error}");
    models.remove(models.find_added("empty").unwrap()).await.unwrap();
    assert!(!folder.models().join("empty").exists(), "what is broken can be removed");
    assert!(models.find_added("bge-small-en-v1.5-fp32").is_err(), "what is not here cannot");
    assert!(models.all().iter().all(|installed| !installed.name.starts_with('.')));
    assert!(!folder.models().join(rest).exists(), "what nobody goes on with is swept");
    assert!(folder.models().join(begun).exists(), "what was fetched of a known model stays");
    assert!(folder.models().join(own).exists(), "what is not ours stays");
}

#[tokio::test]
async fn another_variant_of_a_space_takes_over_while_questions_are_asked() {
    let folder = Folder::new();
    let start = || meaning("W8", folder.start());
    let models = Models::open(start()).unwrap();
    let [w8, row8] = ["all-MiniLM-L6-v2-w8", "all-MiniLM-L6-v2-row8"].map(|name| models.find(name).unwrap());
    assert_eq!(
        models.find("ALL-minilm-l6-v2").unwrap().variant(),
        "w8",
        "the space means what is configured"
    );
    assert_eq!(models.with_id(row8.id()).unwrap().variant(), "w8");
    models.set_variant(&w8);
    let question = "Where is the bread?";
    let before = models.question(&w8, question).await.unwrap();
    assert_eq!((loaded(&models).len(), loaded(&models)[0].0.as_str()), (1, "all-MiniLM-L6-v2-w8"));
    let asking = tokio::spawn({
        let (models, w8) = (models.clone(), w8.clone());
        async move {
            for n in 0..40 {
                models.question(&w8, &format!("Where is jar {n}?")).await.unwrap();
            }
        }
    });
    models.change_variant(&row8).await.unwrap();
    asking.await.unwrap();
    assert_eq!(
        loaded(&models).into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["all-MiniLM-L6-v2-row8"]
    );
    assert_eq!(folder.metrics.models_loaded.get(), 1);
    // Whoever names the space by its first variant is answered by the second, in the same space.
    let after = models.question(&w8, question).await.unwrap();
    assert!(after != before && after.cosine(&before).unwrap() > 0.99);
    // Computed otherwise, it is loaded anew, and again in the same space; what cannot be had leaves all as it is.
    assert!(!models.change_variant(&row8).await.unwrap(), "it is loaded as it should be");
    let before = models.pool.computing();
    let mut twice = before.clone();
    twice.compute.threads = 2;
    twice.sessions = 2;
    models.set_computing(twice);
    assert!(models.change_variant(&row8).await.unwrap());
    assert_eq!(models.lanes(&row8).await.unwrap(), 2);
    assert!(models.question(&w8, question).await.unwrap().cosine(&after).unwrap() > 0.999_99);
    let mut on_a_card = before.clone();
    on_a_card.compute.provider = Provider::Cuda;
    models.set_computing(on_a_card);
    let error = models.change_variant(&w8).await.unwrap_err().to_string();
    assert!(error.contains("deploy/provision --cuda"), "{error}");
    models.set_computing(before);
    assert_eq!(loaded(&models).len(), 1);
    assert_eq!(models.lanes(&row8).await.unwrap(), 2, "it goes on as it was loaded");
    models.pool.stop();
    assert!(matches!(models.change_variant(&w8).await, Err(EmbedError::Stopped)));
    let named = meaning("fp8", folder.start());
    let error = Models::open(named).unwrap().find("all-MiniLM-L6-v2").unwrap_err().to_string();
    assert!(error.contains("\"fp8\"") && error.contains("w8, row8"), "{error}");
}

#[tokio::test]
async fn what_is_asked_again_costs_no_run_unless_it_is_switched_off() {
    let folder = Folder::new();
    for (cache_entries, hits) in [(2, 1), (0, 0)] {
        let metrics = Metrics::default();
        let start = Options { cache_entries, metrics: metrics.clone(), ..folder.start() };
        let models = Models::open(start).unwrap();
        let model = match models.find("cached-tiny") {
            Ok(model) => model,
            Err(_) => models.add(&folder.tiny("cached")).await.unwrap(),
        };
        let first = models.question(&model, "How many?").await.unwrap();
        assert_eq!(models.question(&model, "How many?").await.unwrap(), first);
        // More than are kept push the first one out.
        for other in ["one", "two"] {
            models.question(&model, other).await.unwrap();
        }
        assert_eq!(models.question(&model, "How many?").await.unwrap(), first);
        assert_eq!(lookups(&metrics, "question", "hit"), hits);
        let expected = if cache_entries == 0 { 0 } else { 4 };
        assert_eq!(lookups(&metrics, "question", "miss"), expected);
        let text = models.tokenizer(&model).await.unwrap().tokenize("a text", Purpose::Document);
        let twice = models.documents(&model, &[text.clone(), text.clone()]).await.unwrap();
        assert_eq!(twice[0], twice[1]);
        assert_eq!(models.documents(&model, &[text]).await.unwrap()[0], twice[0]);
        assert_eq!(lookups(&metrics, "document", "hit"), hits);
        models.pool.stop();
    }
}

fn lookups(metrics: &Metrics, kind: &'static str, outcome: &'static str) -> u64 {
    metrics.cache.get_or_create(&crate::metrics::CacheLabels { kind, outcome }).get()
}

#[tokio::test]
async fn loading_one_model_does_not_hold_up_another() {
    let folder = Folder::new();
    let models = Models::open(folder.start()).unwrap();
    let quick = models.add(&folder.tiny("quick")).await.unwrap();
    // Whoever loads waits for this lock, as for a slow disk.
    let slow = models.add(&folder.tiny("slow")).await.unwrap();
    models.pool.unload(&slow);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let (holds, held) = std::sync::mpsc::sync_channel(0);
    let holding = std::thread::spawn({
        let models = models.clone();
        move || {
            let _held = models.pool.hold_up();
            holds.send(()).unwrap();
            // Ends when the test lets go.
            let _ = released.recv();
        }
    });
    held.recv().unwrap();
    let waiting = tokio::spawn({
        let (models, slow) = (models.clone(), slow.clone());
        async move { models.question(&slow, "Are you there?").await.map(drop) }
    });
    while models.presence(&slow) != Presence::Loading {
        tokio::task::yield_now().await;
    }
    models.question(&quick, "And you?").await.unwrap();
    assert_eq!(models.presence(&slow), Presence::Loading);
    drop(release);
    holding.join().unwrap();
    waiting.await.unwrap().unwrap();
    models.pool.stop();
}

/// A server that gives a file, or the rest that is asked for if it `gives_parts`; one answer for each of these numbers, which
/// breaks off after so many bytes. Gives the requests that it got.
fn serve(
    content: Vec<u8>,
    gives_parts: bool,
    answers: Vec<usize>,
) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for most in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let range = request.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next());
            let from: usize = range.filter(|_| gives_parts).map_or(0, |from| from.parse().unwrap());
            let (status, body) = (if from > 0 { "206 Partial Content" } else { "200 OK" }, &content[from..]);
            let (length, last) = (body.len(), content.len() - 1);
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-range: bytes {from}-{last}/{}\r\n\
                 connection: close\r\n\r\n",
                content.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            // The client may have heard enough.
            let _ = stream.write_all(&body[..most.min(length)]);
            requests.push(request);
        }
        requests
    });
    (url, serving)
}

fn hub_file(content: &[u8]) -> HubFile {
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(content));
    HubFile {
        path: "who/what/resolve/1/f".into(),
        name: "f".into(),
        sha256,
        bytes: Some(content.len() as u64),
    }
}

#[test]
fn a_fetch_that_broke_off_goes_on_where_it_was_and_the_whole_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("f");
    // More than an HTTP client may want to read of an answer by itself.
    const LENGTH: u32 = 30_000_000;
    let content: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
    let (url, serving) = serve(content.clone(), true, vec![300_000, usize::MAX]);
    let hub = Hub::new(&url);
    let (told, progress) = watch::channel(FetchProgress::default());
    let file = hub_file(&content);
    let error = hub.fetch(&file, &to, &told).unwrap_err().to_string();
    assert!(error.contains("goes on where it broke off"), "{error}");
    assert_eq!(fs::metadata(&to).unwrap().len(), 300_000);
    hub.fetch(&file, &to, &told).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content);
    assert_eq!(progress.borrow().fetched, u64::from(LENGTH));
    assert_eq!(progress.borrow().total, u64::from(LENGTH));
    let requests = serving.join().unwrap();
    assert!(requests[0].starts_with("GET /who/what/resolve/1/f HTTP/1.1"), "{}", requests[0]);
    assert!(requests[1].contains("range: bytes=300000-"), "{}", requests[1]);
    // What is whole is not asked for again; the server has ended.
    hub.fetch(&file, &to, &told).unwrap();
}

#[test]
fn a_server_that_gives_no_parts_gives_all_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("f");
    let content: Vec<u8> = (0..10_000_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(&to, &content[..1000]).unwrap();
    let (url, serving) = serve(content.clone(), false, vec![usize::MAX]);
    let (told, _progress) = watch::channel(FetchProgress::default());
    Hub::new(&url).fetch(&hub_file(&content), &to, &told).unwrap();
    assert!(fs::read(&to).unwrap() == content);
    serving.join().unwrap();

    // A page of some gateway, though, overwrites nothing.
    fs::write(&to, &content[..1000]).unwrap();
    let (url, serving) = serve(b"Please log in.".to_vec(), false, vec![usize::MAX]);
    let error = Hub::new(&url).fetch(&hub_file(&content), &to, &told).unwrap_err();
    let ModelsError::Failed(error) = error else { panic!("{error}") };
    assert!(format!("{error:#}").contains("14 bytes instead of 10000000"), "{error:#}");
    assert_eq!(fs::metadata(&to).unwrap().len(), 1000);
    serving.join().unwrap();
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_what_came_stays() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("f");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, _progress) = watch::channel(FetchProgress::default());
    let hub = Hub { stall_timeout: Duration::from_millis(200), ..Hub::new(&url) };
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe beginning").unwrap();
        // Until the client goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = hub.fetch(&hub_file(&[7; 1000]), &to, &told).unwrap_err();
    let ModelsError::Failed(error) = error else { panic!("{error}") };
    assert!(format!("{error:#}").contains("timeout"), "{error:#}");
    assert_eq!(fs::read(&to).unwrap(), b"the beginning");
    serving.join().unwrap();
}

#[tokio::test]
async fn a_model_that_will_not_fit_is_not_fetched_and_none_twice_at_once() {
    let folder = Folder::new();
    let models = Models::open(Options { budget_bytes: 100 << 20, ..folder.start() }).unwrap();
    // Nobody is asked: there is no server.
    let hub = || Hub::new("http://127.0.0.1:1");
    let (told, _progress) = watch::channel(FetchProgress::default());
    let error = models.fetch("bge-small-en-v1.5-fp32", hub(), told.clone()).await.unwrap_err();
    assert!(error.to_string().contains("ai.memory_budget"), "{error}");
    let known = models.registry.fetchable("snowflake-arctic-embed-xs").unwrap();
    let inside = models.registry.fetch_in(&known, |_, _| {
        let again = models.registry.fetch_in(&known, |_, _| Ok(()));
        Err(again.expect_err("it is being fetched"))
    });
    let error = inside.expect_err("nothing was fetched").to_string();
    assert!(error.contains("being fetched already"), "{error}");
    // Whoever gave up does not stand in the way.
    let error = models.fetch("snowflake-arctic-embed-xs", hub(), told).await.unwrap_err().to_string();
    assert!(error.contains("not fetched"), "{error}");
    models.pool.stop();
}

#[test]
fn another_file_than_is_known_is_refused_and_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("f");
    let (told, _progress) = watch::channel(FetchProgress::default());
    let file = hub_file(b"what it should be");
    for (content, word) in [(b"what it should BE".to_vec(), "sha256"), (vec![b'x'; 100], "instead of 17")] {
        let (url, serving) = serve(content, false, vec![usize::MAX]);
        let error = Hub::new(&url).fetch(&file, &to, &told).unwrap_err();
        let text = match &error {
            ModelsError::Failed(error) => format!("{error:#}"),
            error => error.to_string(),
        };
        assert!(text.contains(word), "{text}");
        assert!(!to.exists());
        serving.join().unwrap();
    }
}

#[test]
fn without_a_network_a_fetch_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (told, _progress) = watch::channel(FetchProgress::default());
    // Nobody listens on a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hub = Hub::new(&format!("http://127.0.0.1:{port}"));
    let error = hub.fetch(&hub_file(b"x"), &dir.path().join("f"), &told).unwrap_err();
    let ModelsError::Failed(error) = error else { panic!("{error}") };
    assert!(format!("{error:#}").contains("not reached"), "{error:#}");
}

#[test]
fn a_fetch_that_nobody_waits_for_ends() {
    let dir = tempfile::tempdir().unwrap();
    let content = vec![7; 5_000_000];
    let (url, serving) = serve(content.clone(), true, vec![usize::MAX]);
    let (told, progress) = watch::channel(FetchProgress::default());
    drop(progress);
    let fetched = Hub::new(&url).fetch(&hub_file(&content), &dir.path().join("f"), &told);
    assert!(matches!(fetched, Err(ModelsError::GivenUp)));
    serving.join().unwrap();
}

/// Two variants of a space, the first of which gives other vectors than it promises: as an ONNX Runtime would that computes its
/// arithmetic wrongly on this processor.
fn broken_and_sound(folder: &Folder) {
    fs::create_dir_all(folder.models()).unwrap();
    let hash = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
    for (variant, sign) in [("broken", -1.0), ("sound", 1.0)] {
        let made = tiny_model(&folder.dir.path().join(variant), "two", "sines.onnx");
        let (models, model) = (Models::open(folder.start()).unwrap(), Model::from_dir(&made).unwrap());
        let runtime = synapsenet_index::Runtime::load(&models.options().library).unwrap();
        let (tokenizer, text) = (Tokenizer::new(&model).unwrap(), "What is promised?");
        let compute = models.options().computing.compute;
        let mut embedder =
            synapsenet_index::Embedder::new(&runtime, &model.graph().unwrap(), &compute).unwrap();
        let vector = embedder.embed(&[tokenizer.tokenize(text, Purpose::Document)]).unwrap().remove(0);
        let vector: Vec<f32> = vector.values().iter().map(|value| sign * value).collect();
        let reference = serde_json::json!({ "texts": [{ "text": text, "vector": vector }] }).to_string();
        fs::write(made.join("reference.json"), &reference).unwrap();
        let description = fs::read_to_string(made.join("model.toml")).unwrap();
        let promise = format!("weights = \"{}\"\nleast_cosine = 0.9\ndimension", "ab".repeat(32));
        let description = description
            .replacen("variant = \"tiny\"", &format!("variant = \"{variant}\""), 1)
            .replacen("dimension", &promise, 1);
        let file = format!(
            "\n[files.reference]\npath = \"reference.json\"\nsha256 = \"{}\"\n",
            hash(reference.as_bytes())
        );
        fs::write(made.join("model.toml"), description + &file).unwrap();
        fs::rename(made, folder.models().join(format!("two-{variant}"))).unwrap();
    }
}

#[tokio::test]
async fn a_sound_variant_stands_in_for_one_that_breaks_its_promise_unless_that_was_named() {
    let folder = Folder::new();
    broken_and_sound(&folder);
    let models = Models::open(folder.start()).unwrap();
    let meant = models.find("two").unwrap();
    assert_eq!(meant.variant(), "broken");
    assert_eq!(models.question(&meant, "What is promised?").await.unwrap().model(), meant.id());
    assert_eq!(loaded(&models).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["two-sound"]);
    models.pool.stop();

    let models = Models::open(meaning("broken", folder.start())).unwrap();
    let error = models.warm(&meant).await.unwrap_err().to_string();
    assert!(error.contains("two-broken") && error.contains("wrong vectors"), "{error}");
    assert_eq!(loaded(&models), []);
    models.pool.stop();
}
