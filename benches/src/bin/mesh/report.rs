//! The figures as they are shown: tables, or a line of JSON each; and beside them what they were to be.

use serde_json::{Value, json};

use crate::newcomer::Arrival;
use crate::spread::Spread;
use crate::traffic::Idle;

/// Nodes of the mesh that the aims are about.
const AIMED_NODES: usize = 50;
/// Milliseconds from publishing to finding elsewhere, for 99 of 100.
const MAX_P99_MS: f64 = 1000.0;
/// Bytes a second of an idle node, both directions together.
const MAX_IDLE_BYTES: f64 = 2048.0;
/// Seconds that silence must be watched to judge it: Kademlia's refresh comes once in that time.
const MIN_IDLE_SECONDS: f64 = 300.0;
/// Grains with claims that a newcomer takes in a second.
const MIN_GRAINS_PER_SECOND: f64 = 5000.0;

/// Prints what was measured.
pub struct Report {
    json: bool,
    silence: Vec<String>,
    /// Whether the heads of the tables of spreading and of arrivals are printed.
    has_heads: [bool; 2],
    aims: Vec<String>,
}

impl Report {
    /// Prints nothing yet.
    pub fn new(json: bool) -> Self {
        Self { json, silence: Vec::new(), has_heads: [false; 2], aims: Vec::new() }
    }

    /// What silence costs. The table comes at the end.
    pub fn idle(&mut self, nodes: usize, peers: f64, idle: &Idle) {
        let Idle { seconds, sent, received, by_protocol, cpu_percent, memory_bytes } = idle;
        let protocols: serde_json::Map<String, Value> =
            by_protocol.iter().map(|(name, bytes)| (name.clone(), json!(bytes))).collect();
        self.line(&json!({
            "part": "idle", "nodes": nodes, "peers": peers, "seconds": seconds, "sent_bytes_per_second": sent,
            "received_bytes_per_second": received, "received_by_protocol": protocols,
            "cpu_percent": cpu_percent, "memory_bytes": memory_bytes,
        }));
        let protocols: Vec<String> =
            by_protocol.iter().map(|(name, bytes)| format!("{name} {bytes:.0}")).collect();
        let protocols = protocols.join(", ");
        self.silence.push(format!(
            "| {nodes} | {peers:.1} | {seconds:.0} | {sent:.0} | {received:.0} | {protocols} | {cpu_percent:.2} | {:.0} |",
            memory_bytes / 1e6
        ));
        if nodes == AIMED_NODES && *seconds >= MIN_IDLE_SECONDS {
            let sum = sent + received;
            self.aim("bytes a second of an idle node, both ways", sum, MAX_IDLE_BYTES, sum < MAX_IDLE_BYTES);
        }
    }

    /// How fast grains spread.
    pub fn spread(&mut self, nodes: usize, authors: &str, spread: &Spread) {
        let Spread { p50_ms, p99_ms, max_ms, found, missed, announcement_bytes, copies, by_gossip, by_sync } =
            spread;
        self.line(&json!({
            "part": "spread", "nodes": nodes, "authors": authors, "p50_ms": p50_ms, "p99_ms": p99_ms,
            "max_ms": max_ms, "found": found, "missed": missed, "announcement_bytes": announcement_bytes, "copies_at_most": copies,
            "by_gossip": by_gossip, "by_sync": by_sync,
        }));
        self.head(
            0,
            "| nodes | authors | found elsewhere after p50 ms | p99 ms | max ms | found | missed | announcement bytes | copies a delivery, at most | by gossip | by sync |",
        );
        self.row(format!(
            "| {nodes} | {authors} | {p50_ms:.0} | {p99_ms:.0} | {max_ms:.0} | {found} | {missed} | {announcement_bytes:.0} | {copies:.1} | {by_gossip} | {by_sync} |"
        ));
        if nodes == AIMED_NODES {
            let is_reached = *p99_ms < MAX_P99_MS && *missed == 0;
            self.aim(&format!("p99 ms, {authors} authors"), *p99_ms, MAX_P99_MS, is_reached);
        }
    }

    /// How fast a newcomer got everything.
    pub fn arrival(&mut self, arrival: &Arrival) {
        let Arrival { grains, with_claims, source_seconds, held_seconds, searchable_seconds, .. } = arrival;
        let rate = |seconds: f64| *grains as f64 / seconds;
        let (held_rate, searchable_rate) = (rate(*held_seconds), rate(*searchable_seconds));
        let sync = &arrival.sync;
        let sync_seconds = sync.elapsed_ms as f64 / 1e3;
        let traffic = sync.traffic.unwrap_or_default();
        let megabytes = (traffic.sent + traffic.received) as f64 / 1e6;
        self.line(&json!({
            "part": "newcomer", "grains": grains, "with_claims": with_claims, "source_seconds": source_seconds,
            "held_seconds": held_seconds, "held_per_second": held_rate, "searchable_seconds": searchable_seconds,
            "searchable_per_second": searchable_rate, "sync_seconds": sync_seconds, "sync_fetched": sync.fetched,
            "sync_with_claim": sync.with_claim, "round_trips": sync.round_trips, "fetches": sync.fetches,
            "sync_bytes": traffic.sent + traffic.received, "comparison_bytes": sync.comparison_bytes,
            "believed": arrival.believed, "compared": arrival.compared,
            "unchecked_p99_ms": arrival.unchecked_p99_ms, "checked_p99_ms": arrival.checked_p99_ms,
            "left_out": arrival.left_out,
        }));
        self.head(
            1,
            "| grains | claims | indexed at the source in s | newcomer holds all after s | grains/s | finds all after s | grains/s | MB | of it comparison | comparison round trips | fetches | claims believed, compared | search p99 in ms while unchecked | at the source | left out a search |",
        );
        self.row(format!(
            "| {grains} | {} | {source_seconds:.1} | {held_seconds:.2} | {held_rate:.0} | {searchable_seconds:.2} | {searchable_rate:.0} | {megabytes:.1} | {:.2} | {} | {} | {}, {} | {:.1} | {:.1} | {:.1} |",
            if *with_claims { "yes" } else { "no" },
            sync.comparison_bytes as f64 / 1e6,
            sync.round_trips,
            sync.fetches,
            arrival.believed,
            arrival.compared,
            arrival.unchecked_p99_ms,
            arrival.checked_p99_ms,
            arrival.left_out,
        ));
        if *with_claims {
            let what = format!("grains a second that a newcomer takes of {grains} with claims");
            self.aim(&what, held_rate, MIN_GRAINS_PER_SECOND, held_rate >= MIN_GRAINS_PER_SECOND);
        }
    }

    /// Prints what comes at the end.
    pub fn finish(&self) {
        if self.json {
            return;
        }
        if !self.silence.is_empty() {
            print_head(
                "| nodes | peers a node | idle s | bytes/s sent a node | received | of it | CPU % of a core | memory MB a node |",
            );
            self.silence.iter().for_each(|row| println!("{row}"));
        }
        if !self.aims.is_empty() {
            println!("\n{}", self.aims.join("\n"));
        }
    }

    fn aim(&mut self, what: &str, measured: f64, aim: f64, is_reached: bool) {
        let verdict = if is_reached { "reached" } else { "missed" };
        self.aims.push(format!("{what}: {measured:.0}, aim {aim:.0}: {verdict}"));
    }

    fn line(&self, object: &Value) {
        if self.json {
            println!("{object}");
        }
    }

    fn head(&mut self, table: usize, head: &str) {
        if !self.json && !std::mem::replace(&mut self.has_heads[table], true) {
            print_head(head);
        }
    }

    fn row(&self, row: String) {
        if !self.json {
            println!("{row}");
        }
    }
}

/// The head of a table, as Markdown has it.
fn print_head(head: &str) {
    let columns = head.matches('|').count() - 1;
    println!("\n{head}\n|{}", "---|".repeat(columns));
}
