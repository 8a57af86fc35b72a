//! What decides about models from outside: the commands, the configuration, and where models are fetched from.

use rustix::process::Signal;
use serde_json::{Value, json};
use synapsenet::Config;
use synapsenet_proto::rpc;
use tonic::Code;

use super::harness::{
    BUILT_IN, Client, SINES, TestNode, TestProcess, VARIANTS, config, folder, private_folder, synapsenet,
    tiny_model, wait_for, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_ends_the_node_unless_the_processor_may_do_it() {
    let dir = folder();
    let cuda = |fallback| Config {
        ai: synapsenet::config::AiConfig { provider: "cuda".into(), fallback, ..config().ai },
        ..config()
    };
    let mut node = TestNode::on(&dir.path().join("data"), cuda(false)).await;
    let error = within("the failure of the node", node.node.failed()).await;
    let error = format!("{error:#}");
    assert!(error.contains("cuda") && error.contains("deploy/provision --cuda"), "{error}");
    let failed = node.node.stop().await;
    assert!(failed.is_ok(), "{failed:?}");

    let node = TestNode::on(&dir.path().join("other"), cuda(true)).await;
    node.put("The processor does it.").await;
    node.wait_indexed().await;
    assert_eq!(node.status().await.model.unwrap().provider, "cpu", "what really computes is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_read_anew_changes_the_model() {
    let dir = folder();
    let data = dir.path().join("data");
    private_folder(&data);
    let file = data.join("config.toml");
    let [w8, row8] = VARIANTS;
    std::fs::write(&file, format!("[ai]\nmodel = \"{w8}\"\n")).unwrap();
    let node = TestProcess::start(&data).await;
    let outside = folder();
    node.try_add_model(&tiny_model(outside.path(), "sines", "sines.onnx")).await.unwrap();
    node.put("The ladder stands in the shed.").await;
    node.wait_indexed().await;
    // What the configuration says is not overruled in passing, not even by another variant.
    for other in [SINES, row8] {
        Client::assert_refused(node.try_use(other).await, Code::FailedPrecondition, "ai.model");
    }

    std::fs::write(&file, format!("[ai]\nmodel = \"{SINES}\"\ncache_entries = 7\n")).unwrap();
    node.signal(Signal::HUP);
    wait_for("the other model", async || node.status().await.model.unwrap().name == SINES).await;
    node.wait_embedded_anew().await;
    assert_eq!(node.search("Where is the ladder?").await.best().text, "The ladder stands in the shed.");

    // What cannot be used changes nothing.
    for (wrong, said) in [
        ("[ai]\nmodel = \"nobody\"\n", "the model is left as it was"),
        ("[ai]\nmodle = 1\n", "the configuration is left as it was"),
    ] {
        std::fs::write(&file, wrong).unwrap();
        node.signal(Signal::HUP);
        node.logged(said).await;
    }
    assert_eq!(node.status().await.model.unwrap().name, SINES);
    let (status, log) = node.stop().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("ai.cache_entries") && log.contains("need a restart"), "{log}");
    std::fs::write(&file, "").unwrap();
    // The choice outlives the configuration that made it.
    let node = TestProcess::start(&data).await;
    assert_eq!(node.status().await.model.unwrap().name, SINES);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_read_anew_changes_what_computes_the_model() {
    let dir = folder();
    let data = dir.path().join("data");
    private_folder(&data);
    let file = data.join("config.toml");
    let node = TestProcess::start(&data).await;
    node.put("The ladder stands in the shed.").await;
    node.wait_indexed().await;
    let (other, variant) = match BUILT_IN.as_str() {
        name if name == VARIANTS[0] => (VARIANTS[1], "row8"),
        _ => (VARIANTS[0], "w8"),
    };
    let named = async |name: &str| node.status().await.model.unwrap().name == name;

    std::fs::write(&file, format!("[ai]\nvariant = \"{variant}\"\nthreads = 1\n")).unwrap();
    node.signal(Signal::HUP);
    node.logged("ai.variant").await;
    assert!(named(other).await);
    assert_eq!(node.to_embed_anew().await, 0);
    assert_eq!(node.search("Where is the ladder?").await.best().text, "The ladder stands in the shed.");

    // A card that is not there leaves all as it is; with the processor for it, that is what goes on.
    std::fs::write(&file, format!("[ai]\nvariant = \"{variant}\"\nprovider = \"cuda\"\n")).unwrap();
    node.signal(Signal::HUP);
    node.logged("deploy/provision --cuda").await;
    assert!(named(other).await);
    node.put("The rake is in the cellar.").await;
    node.wait_indexed().await;
    std::fs::write(&file, "[ai]\nprovider = \"cuda\"\nfallback = true\n").unwrap();
    node.signal(Signal::HUP);
    node.logged("ai.fallback").await;
    assert_eq!(node.status().await.model.unwrap().provider, "cpu", "what really computes is shown");
    assert_eq!(node.search("Where is the rake?").await.best().text, "The rake is in the cellar.");
    let (status, log) = node.stop().await;
    assert!(status.success(), "{log}");
    assert!(!log.contains("need a restart"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_list_use_add_and_remove_models() {
    let outside = folder();
    let node = TestNode::fresh().await;
    node.put("Salt is in the upper cupboard.").await;
    node.wait_indexed().await;
    let run = async |arguments: &[&str]| synapsenet(node.dir(), arguments).await;
    let listed = run(&["models", "list", "--json"]).await.ended_with(0).records();
    let of = |name: &str| -> Value {
        listed
            .iter()
            .find(|model| model["name"] == name)
            .unwrap_or_else(|| panic!("{name} is not listed"))
            .clone()
    };
    let built_in = of(&BUILT_IN);
    assert_eq!(
        (&built_in["state"], &built_in["role"], &built_in["dimension"]),
        (&json!("loaded"), &json!("in use"), &json!(384))
    );
    assert_eq!(built_in["space_id"].as_str().unwrap().len(), 64);
    let other = VARIANTS.into_iter().find(|name| *name != *BUILT_IN).unwrap();
    assert_eq!((&of(other)["state"], &of(other)["space_id"]), (&json!("installed"), &built_in["space_id"]));
    assert_eq!(of("bge-small-en-v1.5-fp32")["state"], "fetchable");

    // Another variant has the same vectors.
    let used = run(&["models", "use", other, "--json"]).await.ended_with(0).records();
    assert_eq!((&used[0]["event"], &used[0]["changed"]), (&json!("used"), &json!(true)));
    assert_eq!(node.to_embed_anew().await, 0);
    let shown = run(&["models", "show", "--json"]).await.ended_with(0).records();
    assert_eq!((&shown[0]["name"], &shown[0]["vectors"]), (&json!(other), &json!(1)));
    let again = run(&["models", "use", other]).await.ended_with(0);
    assert!(again.out.contains("already"), "{}", again.out);
    // The space alone means the variant that suits the machine.
    let space = run(&["models", "use", "all-minilm-l6-v2"]).await.ended_with(0);
    assert!(space.out.contains(BUILT_IN.as_str()) && !space.out.contains("anew"), "{}", space.out);

    let tiny = tiny_model(outside.path(), "sines", "sines.onnx");
    let added = run(&["models", "add", tiny.to_str().unwrap()]).await.ended_with(0);
    assert!(added.out.contains(SINES), "{}", added.out);
    let used = run(&["models", "use", SINES]).await.ended_with(0);
    assert!(used.out.contains("embedded anew"), "{}", used.out);
    node.wait_embedded_anew().await;
    // A script that does not say that it is sure is refused, as it is for `retract` and `share`.
    run(&["models", "remove", SINES]).await.ended_with(2).assert_told("no terminal", "--yes");
    run(&["models", "drop", SINES]).await.ended_with(2).assert_told("no terminal", "--yes");
    run(&["models", "remove", SINES, "--yes"])
        .await
        .ended_with(4)
        .assert_told("in use", "synapsenet models`");
    run(&["models", "use", &BUILT_IN]).await.ended_with(0);
    node.wait_embedded_anew().await;
    let removed = run(&["models", "remove", SINES, "--yes", "--json"]).await.ended_with(0).records();
    assert_eq!(removed[0]["dropped_vectors"], 1);
    run(&["models", "show", SINES]).await.ended_with(1).assert_told("no model", "synapsenet models`");
    for name in VARIANTS {
        run(&["models", "remove", name, "--yes"])
            .await
            .ended_with(4)
            .assert_told("part of the program", "synapsenet models`");
    }
    let table = run(&["models"]).await.ended_with(0).out;
    assert!(table.contains("in use, loaded on cpu") && table.contains("fetchable, "), "{table}");
    assert_eq!(node.search("Where is the salt?").await.best().text, "Salt is in the upper cupboard.");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variants_are_measured_without_a_node() {
    let dir = folder();
    let run = async |arguments: &[&str]| synapsenet(dir.path(), arguments).await;
    let trials = run(&["models", "bench", "--seconds", "1", "--json"]).await.ended_with(0).records();
    let names: Vec<&str> = trials.iter().map(|trial| trial["name"].as_str().unwrap()).collect();
    assert_eq!(names, VARIANTS);
    for trial in &trials {
        assert_eq!(trial["auto"], trial["name"] == BUILT_IN.as_str(), "{trial}");
        assert!(
            trial["notes_a_second"].as_f64().unwrap() > 0.0 && trial["question_ms"].as_f64().unwrap() > 0.0
        );
        assert!(trial["least_cosine"].as_f64().unwrap() >= 0.995, "{trial}");
    }
    assert_eq!(trials.iter().filter(|trial| trial["fastest"] == true).count(), 1);
    let shown = run(&["models", "bench", "--seconds", "1"]).await.ended_with(0);
    assert!(shown.out.contains("NOTES A SECOND") && shown.out.contains(VARIANTS[1]), "{}", shown.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_fetching_a_model_says_what_to_do() {
    let mut alone = config();
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    alone.ai.hub = format!("http://127.0.0.1:{port}");
    let node = TestNode::fresh_with(alone).await;
    let run = async |arguments: &[&str]| synapsenet(node.dir(), arguments).await;
    let failed = run(&["models", "fetch", "snowflake-arctic-embed-xs"]).await.ended_with(1);
    failed.assert_told("not fetched", "models add DIR");
    let unknown = run(&["models", "fetch", "nobody"]).await.ended_with(1);
    unknown.assert_told("bge-small-en-v1.5-fp32", "synapsenet models`");
    run(&["models", "fetch", &BUILT_IN]).await.ended_with(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_does_not_wait_for_a_fetch() {
    let hub = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    config.ai.hub = format!("http://{}", hub.local_addr().unwrap());
    let node = TestNode::fresh_with(config).await;
    let mut models = node.models.clone();
    let fetching = tokio::spawn(async move {
        let request = rpc::FetchModelRequest { name: "bge-small-en-v1.5-fp32".into() };
        let mut messages = models.fetch_model(request).await?.into_inner();
        loop {
            if messages.message().await?.is_none() {
                return Ok(());
            }
        }
    });
    // The hub takes the call, and says nothing.
    let (_silent, _) = within("the fetch", hub.accept()).await.unwrap();
    node.stop().await;
    let told: Result<(), tonic::Status> = within("the end of the fetch", fetching).await.unwrap();
    Client::assert_refused(told, Code::Unavailable, "stopping");
}
