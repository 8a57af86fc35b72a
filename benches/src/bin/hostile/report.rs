//! The figures as a table: what was measured, what was to hold, and whether it does.

use std::sync::atomic::Ordering::Relaxed;

use synapsenet_benches::quantile;

use crate::front::Front;
use crate::honest::Heard;
use crate::watch::Seen;
use crate::{Arguments, QUOTA_BYTES};

/// Milliseconds until a grain is found elsewhere, for 99 of 100.
const MAX_FOUND_MS: f64 = 2000.0;
/// Milliseconds for which an owner waits for a put and a search together, for 99 of 100 of each.
const MAX_OWNER_MS: f64 = 1000.0;
/// How much memory the attack may take for each honest node, as in the tests of one victim: what queues of bounded length hold,
/// and what allocators keep of it.
const MAX_GROWTH_BYTES: u64 = 128 << 20;
/// A database file may be so many times as long as the quota of what is counted in it: pages that are not full, vectors,
/// the indexes beside the grains, and pages that wait to be used again.
const MAX_FILE_QUOTAS: u64 = 4;

struct Table {
    holds: bool,
}

impl Table {
    fn row(&mut self, what: &str, measured: String, to_hold: &str, holds: Option<bool>) {
        self.holds &= holds.unwrap_or(true);
        let verdict = holds.map_or("", |holds| if holds { "yes" } else { "NO" });
        println!("| {what} | {measured} | {to_hold} | {verdict} |");
    }
}

/// Prints all, and answers whether all holds.
pub fn print(arguments: &Arguments, mut heard: Heard, seen: &Seen, front: &Front) -> bool {
    let Arguments { honest, hostile, seconds, reach, slower, .. } = arguments;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!(
        "\n{honest} honest nodes, {hostile} hostile peers at {reach} of them each, pauses times {slower}, {seconds} s, {cores} cores, {profile} profile\n"
    );
    println!("| what | measured | to hold | holds |\n|---|---|---|---|");
    let mut table = Table { holds: true };
    for (what, times) in [
        ("honest grain searchable at every other node: p50, p99, max ms", &mut heard.searchable_ms),
        ("honest grain found by a search at another node: p50, p99, max ms", &mut heard.found_ms),
    ] {
        let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
        let most = times.last().copied().unwrap_or(f64::NAN);
        let aim = format!("p99 < {MAX_FOUND_MS:.0}");
        table.row(what, format!("{p50:.0}, {p99:.0}, {most:.0}"), &aim, Some(p99 < MAX_FOUND_MS));
    }
    let found = heard.searchable_ms.len() + heard.found_ms.len();
    let all = found + heard.missed;
    table.row(
        "honest grains shared; of all looks for one, those that found it",
        format!("{}; {found} of {all}", heard.shared),
        "all",
        Some(heard.missed == 0 && found > 0),
    );
    table.row("honest nodes banned", seen.honest_banned.to_string(), "0", Some(seen.honest_banned == 0));
    table.row("lies shown among hits", heard.lies.to_string(), "0", Some(heard.lies == 0));
    let answered = format!("{} of {}", heard.questions - heard.unanswered, heard.questions);
    table.row("questions whose first hit was the answer", answered, "all", Some(heard.unanswered == 0));
    let put = (quantile(&mut heard.put_ms, 0.5), quantile(&mut heard.put_ms, 0.99));
    let search = (quantile(&mut heard.search_ms, 0.5), quantile(&mut heard.search_ms, 0.99));
    table.row(
        "owner's put p50, p99 ms; search p50, p99 ms",
        format!("{:.1}, {:.1}; {:.1}, {:.1}", put.0, put.1, search.0, search.1),
        &format!("sum of p99 < {MAX_OWNER_MS:.0}"),
        Some(put.1 + search.1 < MAX_OWNER_MS),
    );
    table.row("owner's calls that failed", heard.failed.to_string(), "0", Some(heard.failed == 0));
    let nodes = u64::from(*honest);
    let growth = seen.memory_most.saturating_sub(seen.memory_before) / nodes;
    table.row(
        "resident MB an honest node, hostile peers included: before, most, growth",
        format!("{}, {}, {}", mb(seen.memory_before / nodes), mb(seen.memory_most / nodes), mb(growth)),
        &format!("growth < {}", mb(MAX_GROWTH_BYTES)),
        Some(growth < MAX_GROWTH_BYTES),
    );
    table.row(
        "strangers' grains in a node",
        seen.strangers.to_string(),
        &format!("<= {}", seen.max_strangers),
        Some(seen.strangers <= seen.max_strangers),
    );
    table.row(
        "strangers' MB in a node, as counted",
        mb(seen.stranger_bytes),
        &format!("<= {}", mb(QUOTA_BYTES)),
        Some(seen.stranger_bytes <= QUOTA_BYTES),
    );
    table.row(
        "largest database file, MB",
        mb(seen.file_bytes),
        &format!("<= {}", mb(MAX_FILE_QUOTAS * QUOTA_BYTES)),
        Some(seen.file_bytes <= MAX_FILE_QUOTAS * QUOTA_BYTES),
    );
    let offences: Vec<_> = seen.offences.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    table.row("offences counted", offences.join(", "), "", None);
    let banned = format!("{} in {} bans, of {}", seen.hostile_banned, seen.bans, front.hostile());
    table.row("hostile peers banned", banned, "", None);
    let (cut_off, not_let_in) = (front.cut_off.load(Relaxed), front.not_let_in.load(Relaxed));
    table.row("hostile peers cut off by all, let in by none", format!("{cut_off}, {not_let_in}"), "", None);
    table.row("attacks made", front.attacks.load(Relaxed).to_string(), "", None);
    table.holds
}

fn mb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
