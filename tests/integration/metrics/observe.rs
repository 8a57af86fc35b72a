//! What is written for those who watch over nodes is about what a node really tells: the table of metrics, the alert rules, the
//! dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Page, ask};
use crate::integration::harness::{TestNode, mesh_config, wait_for};

/// What Prometheus adds to each series.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];
/// The series that Prometheus makes of a scrape.
const UP: &str = "up";

/// A file of `deploy/observe`.
fn observe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/observe").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(observe(name)).unwrap()
}

/// A family of metrics, as the page tells of it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The page of a node of a mesh, in the older format, on which each family has a series.
async fn page() -> Page {
    let node = TestNode::fresh_with(mesh_config(&[])).await;
    node.status().await;
    let address = node.node.metrics_address().unwrap();
    let page = async || ask(address, "/metrics", &address.to_string(), "text/plain").await;
    wait_for("the topics", async || page().await.sum("syn_sync_age_seconds{", "commons") >= 0.0).await;
    page().await
}

/// The families of a page by their names.
fn families(page: &Page) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut name = String::new();
    for line in page.body.lines() {
        if let Some((of, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            name = of.to_owned();
            families.entry(name.clone()).or_default().help = help.to_owned();
        } else if let Some((of, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            assert_eq!(of, name, "the help stands before the type");
            families.get_mut(of).unwrap().kind = kind.to_owned();
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let family = families.get_mut(&name).unwrap();
            family.labels.extend(selectors(line).remove(0).labels.into_iter().filter(|label| label != "le"));
        }
    }
    families
}

/// The labels of each name that a query can ask for.
fn series(page: &Page) -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::from([(UP.to_owned(), BTreeSet::new())]);
    for (name, family) in families(page) {
        if family.kind == "histogram" {
            let mut with_bound = family.labels.clone();
            with_bound.insert("le".to_owned());
            series.insert(format!("{name}_bucket"), with_bound);
            series.insert(format!("{name}_sum"), family.labels.clone());
            series.insert(format!("{name}_count"), family.labels);
        } else {
            series.insert(name, family.labels);
        }
    }
    series
}

/// A part of a query that asks for series: their name, and the labels that they are chosen by. One without a name stands for labels
/// alone, by which is grouped or joined.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    name: Option<String>,
    labels: Vec<String>,
}

/// Reads what a query of PromQL asks for. It knows as much of the language as the files here use.
fn selectors(query: &str) -> Vec<Selector> {
    const WORDS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "inf"];
    const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (mut found, mut rest) = (Vec::new(), query);
    let names_in = |list: &str| -> Vec<String> {
        let mut unquoted = String::new();
        // What labels are compared with may have any characters.
        list.split('"').step_by(2).for_each(|part| unquoted.push_str(part));
        let names = unquoted
            .split(',')
            .map(|part| part.trim().trim_end_matches(['=', '!', '~', '$']).trim().to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| is_part(c) || c == '.');
        } else if first == '"' {
            rest = rest[1..].split_once('"').expect("a string ends").1;
        } else if first == '[' {
            rest = rest.split_once(']').expect("a range ends").1;
        } else if !is_part(first) {
            rest = &rest[first.len_utf8()..];
        } else {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            let next = after.trim_start();
            if BEFORE_LABELS.contains(&word) {
                let (list, after) = next[1..].split_once(')').expect("a list of labels ends");
                found.push(Selector { name: None, labels: names_in(list) });
                rest = after;
            } else if let Some(inside) = next.strip_prefix('{') {
                let (list, after) = until_brace(inside);
                found.push(Selector { name: Some(word.to_owned()), labels: names_in(list) });
                rest = after;
            } else if !next.starts_with('(')
                && !["by ", "without "].iter().any(|word| next.starts_with(word))
                && !WORDS.contains(&word)
            {
                found.push(Selector { name: Some(word.to_owned()), labels: Vec::new() });
            }
        }
    }
    found
}

/// What stands before the first closing brace that is in no string, and what behind it.
fn until_brace(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    let end = text.find(|c| {
        is_quoted ^= c == '"';
        c == '}' && !is_quoted
    });
    let end = end.expect("a selector ends");
    (&text[..end], &text[end + 1..])
}

/// What is wrong with a query: a name or a label that no node tells. `shown` are labels that the answer must have.
fn faults(query: &str, shown: &[String], series: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let (mut faults, mut there) = (Vec::new(), BTreeSet::from(["le".to_owned()]));
    there.extend(OF_PROMETHEUS.map(str::to_owned));
    let selectors = selectors(query);
    for Selector { name, labels } in &selectors {
        let Some(name) = name else { continue };
        let Some(has) = series.get(name) else {
            faults.push(format!("{name} in {query}"));
            continue;
        };
        there.extend(has.iter().cloned());
        let is_known = |label: &&String| has.contains(*label) || OF_PROMETHEUS.contains(&label.as_str());
        faults.extend(
            labels
                .iter()
                .filter(|label| !is_known(label))
                .map(|label| format!("{label} of {name} in {query}")),
        );
    }
    if selectors.iter().all(|selector| selector.name.is_none()) {
        faults.push(format!("nothing is asked for in {query}"));
    }
    let grouped =
        selectors.iter().filter(|selector| selector.name.is_none()).flat_map(|selector| &selector.labels);
    faults.extend(
        grouped
            .chain(shown)
            .filter(|label| !there.contains(*label))
            .map(|label| format!("{label} in {query}")),
    );
    faults
}

/// The words in double braces that follow `before`.
fn placeholders(text: &str, before: &str) -> Vec<String> {
    let parts = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    let words = parts.flat_map(|(inside, _)| inside.split_whitespace());
    words.filter_map(|word| word.strip_prefix(before)).map(str::to_owned).collect()
}

#[test]
fn a_query_is_read_as_it_is_meant() {
    let named = |name: &str, labels: &[&str]| Selector {
        name: Some(name.to_owned()),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    assert_eq!(
        selectors(
            "sum by (job, instance) (rate(a_total{code=~\"x|y{,}\",m!=\"z\"}[5m])) > 1e9 and b or 0.5 * c{} > 5m"
        ),
        [
            Selector { name: None, labels: vec!["job".into(), "instance".into()] },
            named("a_total", &["code", "m"]),
            named("b", &[]),
            named("c", &[]),
        ]
    );
    let series = BTreeMap::from([
        ("a".to_owned(), BTreeSet::from(["x".to_owned()])),
        (UP.to_owned(), BTreeSet::new()),
    ]);
    for sound in ["a{x=\"1\",job=\"j\"} > 0", "sum by (x) (a)", "up == 0"] {
        assert_eq!(faults(sound, &[], &series), Vec::<String>::new());
    }
    for (wrong, fault) in
        [("a{y=\"1\"}", "y of a"), ("sum by (y) (a)", "y in"), ("rate(b[5m])", "b in"), ("1 + 1", "nothing")]
    {
        assert!(faults(wrong, &[], &series)[0].starts_with(fault), "{wrong}");
    }
    assert_eq!(faults("a", &["y".to_owned()], &series).len(), 1);
    assert_eq!(placeholders("{{ $labels.topic }} took {{ $value | humanize }}", "$labels."), ["topic"]);
}

/// The table between these lines of METRICS.md is made here.
const BEGIN: &str = "<!-- The table that follows is made by a test: REWRITE=1 cargo test --test integration_tests metrics::observe -->\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_metrics_has_what_a_node_tells() {
    let mut table = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, Family { kind, help, labels }) in families(&page().await) {
        let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        let meaning = help.trim_end_matches('.').replace('|', "\\|");
        table.push_str(&format!("| `{name}` | {kind} | {} | {meaning} |\n", labels.join(", ")));
    }
    let written = read("METRICS.md");
    let (head, stands) = written.split_once(BEGIN).expect("METRICS.md has a place for the table");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(observe("METRICS.md"), format!("{head}{BEGIN}{table}")).unwrap();
        return;
    }
    let differs: Vec<&str> =
        table.lines().filter(|line| !stands.lines().any(|other| other == *line)).collect();
    assert!(
        stands == table,
        "deploy/observe/METRICS.md does not have what a node tells. To rewrite its table:\n\
         REWRITE=1 cargo test --test integration_tests metrics::observe\nIt lacks: {differs:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_helps_keep_to_the_rules_of_prometheus() {
    let page = page().await;
    for (name, Family { kind, help, labels }) in families(&page) {
        assert!(help.len() > 3 && help.ends_with('.'), "{name} says nothing of itself: {help:?}");
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name} is a {kind}");
        assert!(name.starts_with("syn_") || name.starts_with("process_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for end in ["_count", "_sum", "_bucket", "_gauge", "_counter", "_histogram"] {
            assert!(!name.ends_with(end), "{name}");
        }
        for part in name.split('_') {
            assert!(
                !["ms", "milliseconds", "minutes", "hours", "kb", "kilobytes", "mib", "percent"]
                    .contains(&part),
                "{name}"
            );
        }
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name} has no unit");
        assert!(
            labels.iter().all(|label| !["le", "job", "instance", "quantile"].contains(&label.as_str())),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_asks_for_what_a_node_tells() {
    let series = series(&page().await);
    let rules = read("alerts.yml");
    let mut count = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let query =
            rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).expect("a rule has a query");
        assert_eq!(faults(query, &placeholders(rule, "$labels."), &series), Vec::<String>::new());
        for part in ["severity: ", "summary: ", "action: "] {
            assert!(rule.contains(part), "{part} is missing from {rule}");
        }
        count += 1;
    }
    assert!(count >= 9, "{count} rules");
    // Each rule is heard in a test at least once.
    let tests = read("alerts.test.yml");
    for name in rules.split("- alert: ").skip(1).map(|rule| rule.lines().next().unwrap().trim()) {
        assert!(tests.contains(&format!("alertname: {name}\n        exp_alerts:")), "{name} is not tried");
    }
    for line in tests.lines().filter_map(|line| line.split_once("series: '")) {
        let query = line.1.split('\'').next().unwrap();
        assert!(query.contains("job=\"other\"") || faults(query, &[], &series).is_empty(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_panel_of_the_dashboard_asks_for_what_a_node_tells() {
    let series = series(&page().await);
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut asked, mut rows) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
        if panel["type"] == "row" {
            rows.push(panel["title"].as_str().unwrap());
            continue;
        }
        assert!(
            panel["description"].as_str().is_some_and(|text| text.len() > 10),
            "{} says nothing of itself",
            panel["title"]
        );
        assert_eq!(panel["datasource"]["uid"], "synapsenet-prometheus");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let shown = placeholders(target["legendFormat"].as_str().unwrap(), "");
            assert_eq!(faults(query, &shown, &series), Vec::<String>::new());
            asked.extend(selectors(query).into_iter().filter_map(|selector| selector.name));
        }
    }
    assert_eq!(rows, ["Health", "Memory and searches", "Ingest and index", "Mesh", "Abuse"]);
    assert!(asked.len() > 50, "it shows {} of {} names", asked.len(), series.len());
    let variable = &dashboard["templating"]["list"][0];
    let query = variable["query"]
        .as_str()
        .unwrap()
        .trim_start_matches("label_values(")
        .trim_end_matches(", instance)");
    assert_eq!(faults(query, &[], &series), Vec::<String>::new());
    assert!(read("grafana/provisioning/datasources/prometheus.yml").contains("uid: synapsenet-prometheus"));
}

/// Runs promtool, if it is there: with these arguments, and this for its input.
fn promtool(arguments: &[&str], input: &str) {
    let spawned = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        let may_skip = std::env::var_os("SKIP_NO_TEST").is_none();
        assert!(may_skip, "promtool is missing: as root on Debian, deploy/tools puts it in place");
        println!("skipped: promtool is missing");
        return;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    // What it only advises is told with the exit code 3, on some versions with 0.
    assert!(
        output.status.success() && (arguments[0] != "check" || arguments[1] != "metrics" || told.is_empty()),
        "{arguments:?}: {told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say_against_the_page_and_the_rules() {
    promtool(&["check", "metrics"], &page().await.body);
    promtool(&["check", "rules", observe("alerts.yml").to_str().unwrap()], "");
    promtool(&["check", "config", observe("prometheus.yml").to_str().unwrap()], "");
    promtool(&["test", "rules", observe("alerts.test.yml").to_str().unwrap()], "");
}
