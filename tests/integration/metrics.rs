//! Each metric is recorded where it happens, and the page is one that Prometheus reads. `moves` has nodes do things and looks at the
//! figures of them, `observe` holds what is written about the metrics, alerts and dashboard against what a node tells.

mod moves;
mod observe;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use synapsenet_proto::rpc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::harness::{TestNode, config, note, wait_for, within};

/// What a GET answered.
pub(crate) struct Page {
    /// Its status line and headers.
    pub head: String,
    pub body: String,
    /// The values by name and labels.
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// The value of a sample that must be there.
    #[track_caller]
    pub fn value(&self, name: &str) -> f64 {
        *self.samples.get(name).unwrap_or_else(|| panic!("{name} is missing from:\n{}", self.body))
    }
}

impl Page {
    /// The sum of the samples whose name begins so and whose labels have this.
    pub fn sum(&self, begin: &str, label: &str) -> f64 {
        let samples = self.samples.iter().filter(|(name, _)| name.starts_with(begin) && name.contains(label));
        samples.map(|(_, value)| value).sum()
    }
}

/// What Prometheus says that it reads.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";

/// Reads a page of the metrics server.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Page {
    ask(address, path, &address.to_string(), ACCEPT).await
}

/// Reads a page under the name of a host.
async fn get_as(address: SocketAddr, path: &str, host: &str) -> Page {
    ask(address, path, host, ACCEPT).await
}

/// Reads a page under the name of a host, in one of the formats that are accepted.
async fn ask(address: SocketAddr, path: &str, host: &str, accept: &str) -> Page {
    let answer = within("a page", async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let is_metrics = body.contains("# TYPE ");
    let lines = body.lines().filter(|line| !line.starts_with('#') && is_metrics);
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line} has no number")))
    });
    Page { head: head.to_lowercase(), body: body.to_owned(), samples: samples.collect() }
}

/// Reads the metrics of a node.
pub(crate) async fn scrape(address: SocketAddr) -> Page {
    let page = get(address, "/metrics").await;
    assert!(page.head.starts_with("http/1.1 200"), "{}", page.head);
    page
}

const HISTOGRAMS: [&str; 5] = ["embedding", "query", "batch", "poe_calculation", "commit"];

#[tokio::test(flavor = "multi_thread")]
async fn each_metric_counts_what_it_names() {
    let node = TestNode::fresh().await;
    let address = node.node.metrics_address().unwrap();
    let page = scrape(address).await;
    for name in ["syn_grains_total", "syn_batch_total", "syn_queries_total", "syn_calls_refused_total"] {
        assert_eq!(page.value(name), 0.0, "{name}");
    }
    for name in HISTOGRAMS {
        assert_eq!(page.value(&format!("syn_{name}_seconds_count")), 0.0, "{name}");
    }
    wait_for("the model", async || scrape(address).await.value("syn_models_loaded") == 1.0).await;

    let ids =
        [node.put("The first one.").await, node.put("The second one.").await, node.put("The third.").await];
    node.try_put(note("The third.")).await.unwrap();
    node.wait_indexed().await;
    node.search("numbers").await;
    node.search("more numbers").await;
    for id in &ids {
        node.emergence_of(id).await;
    }
    for _ in 0..2 {
        node.try_put(note("")).await.unwrap_err();
    }
    node.try_put(rpc::Draft { topic: "Bad!".into(), ..note("x") }).await.unwrap_err();

    let page = scrape(address).await;
    assert_eq!(page.value("syn_grains_total"), 3.0, "a duplicate is no grain that came in");
    assert_eq!(page.value("syn_queries_total"), 2.0);
    assert_eq!(page.value("syn_query_seconds_count"), 2.0);
    assert_eq!(page.value("syn_poe_calculation_seconds_count"), 3.0);
    let batches = page.value("syn_batch_total");
    assert!((1.0..=3.0).contains(&batches), "{batches}");
    assert_eq!(page.value("syn_batch_seconds_count"), batches);
    // Two questions, and a run of the model for each batch at least.
    let runs = page.value("syn_embedding_seconds_count");
    assert!((2.0 + batches..=5.0).contains(&runs), "{runs} runs for {batches} batches");
    // Three puts, a duplicate, the vectors of each batch.
    assert!(page.value("syn_commit_seconds_count") >= 4.0);
    assert_eq!(page.value("syn_refusals_total{reason=\"empty_text\"}"), 2.0);
    assert_eq!(page.value("syn_refusals_total{reason=\"bad_topic\"}"), 1.0);
    assert_eq!(page.value("syn_pending_grains"), 0.0);
    assert_eq!(page.value("syn_searchable_grains"), 3.0);
    assert_eq!(page.value("syn_models_loaded"), 1.0);

    // A question that was asked before costs no run of the model, a text that was read before neither.
    node.search("numbers").await;
    node.put_draft(rpc::Draft { topic: "other".into(), ..note("The third.") }).await;
    node.wait_indexed().await;
    let page_before = page;
    let page = scrape(address).await;
    for (kind, hits, misses) in [("question", 1.0, 2.0), ("document", 1.0, 3.0)] {
        let label = |outcome| format!("syn_embedding_cache_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}");
        assert_eq!((page.value(&label("hit")), page.value(&label("miss"))), (hits, misses), "{kind}");
    }
    let runs = "syn_embedding_seconds_count";
    assert_eq!(page.value(runs), page_before.value(runs));
    assert_eq!((page.value("syn_anew_grains"), page.value("syn_embedded_anew_total")), (0.0, 0.0));

    // The times are of what was timed: a search takes longer than its question's run of the model.
    for name in HISTOGRAMS {
        let sum = page.value(&format!("syn_{name}_seconds_sum"));
        assert!(sum > 0.0, "{name} took {sum} s");
    }
    let (query, embedding) = (page.value("syn_query_seconds_sum"), page.value("syn_embedding_seconds_sum"));
    assert!(query > 0.0 && embedding < query + page.value("syn_batch_seconds_sum"));

    // The gauges say what the system says.
    let resident = resident_bytes();
    let memory = page.value("syn_memory_usage_bytes");
    assert!(memory > resident / 2.0 && memory < resident * 2.0, "{memory} against {resident}");
    let database = std::fs::metadata(node.dir().join("grains.redb")).unwrap().len();
    assert_eq!(page.value("syn_storage_size_bytes"), database as f64);
    let status = node.status().await;
    assert_eq!(status.storage_bytes, database);
    assert_eq!(status.metrics_address, address.to_string());
}

/// Resident memory of this process, as the kernel tells people.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_well_formed_openmetrics() {
    let node = TestNode::fresh().await;
    node.put("Something to measure.").await;
    node.wait_indexed().await;
    node.search("measure").await;
    // A reason that was never given has no sample.
    node.try_put(note("")).await.unwrap_err();
    let page = scrape(node.node.metrics_address().unwrap()).await;
    assert!(page.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(page.body.ends_with("# EOF\n"), "the page is whole");
    assert_eq!(page.body.matches("# EOF").count(), 1);
    for (name, kind) in [
        ("syn_embedding_seconds", "histogram"),
        ("syn_query_seconds", "histogram"),
        ("syn_batch_seconds", "histogram"),
        ("syn_poe_calculation_seconds", "histogram"),
        ("syn_commit_seconds", "histogram"),
        ("syn_grains", "counter"),
        ("syn_batch", "counter"),
        ("syn_queries", "counter"),
        ("syn_refusals", "counter"),
        ("syn_calls_refused", "counter"),
        ("syn_memory_usage_bytes", "gauge"),
        ("syn_storage_size_bytes", "gauge"),
        ("syn_models_loaded", "gauge"),
        ("syn_pending_grains", "gauge"),
        ("syn_searchable_grains", "gauge"),
    ] {
        assert_eq!(page.body.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}");
        assert!(page.body.contains(&format!("# HELP {name} ")), "{name}");
    }
    for name in HISTOGRAMS {
        let prefix = format!("syn_{name}_seconds_bucket{{le=\"");
        let buckets = page.body.lines().filter_map(|line| line.strip_prefix(&prefix));
        let buckets: Vec<(&str, f64)> = buckets
            .map(|bucket| bucket.split_once("\"} ").unwrap())
            .map(|(bound, count)| (bound, count.parse().unwrap()))
            .collect();
        assert!(buckets.len() > 5 && buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}: {buckets:?}");
        let count = page.value(&format!("syn_{name}_seconds_count"));
        assert_eq!(buckets.last(), Some(&("+Inf", count)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_in_the_older_format_for_whoever_does_not_ask_for_open_metrics() {
    let node = TestNode::fresh().await;
    node.put("Something to measure.").await;
    let address = node.node.metrics_address().unwrap();
    for accept in ["*/*", "text/plain", "text/html,*/*;q=0.8"] {
        let page = ask(address, "/metrics", &address.to_string(), accept).await;
        assert!(
            page.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{}",
            page.head
        );
        for absent in ["# EOF", "# UNIT", "# TYPE syn_grains counter", "info\n"] {
            assert!(!page.body.contains(absent), "{absent} is in:\n{}", page.body);
        }
        for line in [
            "# HELP syn_grains_total Grains that came in.\n# TYPE syn_grains_total counter\nsyn_grains_total 1\n",
            "# TYPE syn_build_info gauge\nsyn_build_info{version=\"",
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ",
            "# TYPE syn_query_seconds histogram\nsyn_query_seconds_sum ",
        ] {
            assert!(page.body.contains(line), "{line} is missing from:\n{}", page.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_health_say_whether_the_node_answers_and_can_be_used() {
    let node = TestNode::fresh().await;
    let address = node.node.metrics_address().unwrap();
    let health = async || {
        let mut client = HealthClient::new(node.channel.clone());
        client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
    };
    let page = get(address, "/healthz").await;
    assert!(page.head.starts_with("http/1.1 200") && page.body == "ok\n", "{}", page.body);
    assert!(page.head.contains("content-type: text/plain; charset=utf-8"), "{}", page.head);
    wait_for("the model", async || {
        let page = get(address, "/readyz").await;
        let is_ready = page.head.starts_with("http/1.1 200");
        // Until then it says what is missing.
        assert!(
            is_ready || page.head.starts_with("http/1.1 503") && page.body.contains("the model"),
            "{}",
            page.body
        );
        is_ready
    })
    .await;
    assert_eq!(get(address, "/readyz").await.body, "ready\n");
    wait_for("health to say the same", async || health().await == ServingStatus::Serving).await;
    assert_eq!(scrape(address).await.value("syn_ready"), 1.0);
    for path in ["/healthz", "/readyz"] {
        let page = get_as(address, path, "evil.example").await;
        assert!(page.head.starts_with("http/1.1 421"), "{}", page.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_metrics_is_served_there() {
    let node = TestNode::fresh().await;
    let address = node.node.metrics_address().unwrap();
    for path in ["/", "/metrics/", "/metricsx", "/../api.token"] {
        assert!(get(address, path).await.head.starts_with("http/1.1 404"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_can_be_run_without_the_page() {
    let mut config = config();
    config.metrics.listen = String::new();
    let node = TestNode::fresh_with(config).await;
    assert_eq!(node.node.metrics_address(), None);
    assert_eq!(node.status().await.metrics_address, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_that_gives_this_machine_its_own_name_reads_no_metrics() {
    let mut config = config();
    config.metrics.hosts = vec!["node.example".into()];
    let node = TestNode::fresh_with(config).await;
    let address = node.node.metrics_address().unwrap();
    for host in ["evil.example", "127.0.0.1.evil.example:80"] {
        let page = get_as(address, "/metrics", host).await;
        assert!(page.head.starts_with("http/1.1 421"), "{}", page.head);
        assert!(page.body.contains("metrics.hosts") && !page.body.contains("syn_"), "{}", page.body);
    }
    for host in ["localhost", "node.example:7718"] {
        assert!(get_as(address, "/metrics", host).await.head.starts_with("http/1.1 200"), "{host}");
    }
}
