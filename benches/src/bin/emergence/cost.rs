//! What scores cost a node that adds texts: CPU time of the process from the first text to the last score.

use anyhow::ensure;
use synapsenet_benches::member::Member;
use synapsenet_benches::{quantile, texts_in};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::bulk_put_request::Item;

use super::Arguments;

/// The aim: percent of the time of adding.
const AIM: f64 = 5.0;

/// Adds texts to fresh nodes with scores and without, one after the other. False when scores cost more than the aim.
pub(super) async fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let texts = texts_in(&arguments.texts)?;
    ensure!(texts.len() >= arguments.added, "the file has {} texts", texts.len());
    let step = texts.len() / arguments.added;
    let texts: Vec<String> = texts.into_iter().step_by(step.max(1)).take(arguments.added).collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    println!("| round | CPU s with scores | without | more % |\n|---|---|---|---|");
    for round in 0..arguments.rounds {
        // The first of a pair finds other pages in memory than the second.
        let first = round % 2 == 0;
        let one = add(&texts, first, arguments.threads).await?;
        let other = add(&texts, !first, arguments.threads).await?;
        let (scored, plain) = if first { (one, other) } else { (other, one) };
        println!("| {} | {scored:.2} | {plain:.2} | {:.1} |", round + 1, 100.0 * (scored / plain - 1.0));
        with.push(scored);
        without.push(plain);
    }
    let more = 100.0 * (quantile(&mut with, 0.5) / quantile(&mut without, 0.5) - 1.0);
    println!("\nscores take {more:.1} % of adding {} texts (medians)\n", texts.len());
    Ok(more < AIM)
}

/// CPU seconds of adding these to a fresh node.
async fn add(texts: &[String], enabled: bool, threads: usize) -> anyhow::Result<f64> {
    let member = Member::start_with(&[], threads, |config| {
        config.network.enabled = false;
        config.emergence.enabled = enabled;
    })
    .await?;
    // The model is loaded, and has read something.
    let item = |text: String| Item::Draft(rpc::Draft { text, ..Default::default() });
    member.share_all(vec![item("Before the clock starts.".to_owned())]).await?;
    member.wait_indexed(|_| ()).await?;
    let before = cpu_seconds();
    member.share_all(texts.iter().cloned().map(item).collect()).await?;
    member.wait_indexed(|_| ()).await?;
    if enabled {
        member.wait_scored(texts.len() as u64).await?;
    }
    let spent = cpu_seconds() - before;
    member.stop().await?;
    Ok(spent)
}

/// User and system time of this process so far (proc(5), fields 14 and 15 of stat, in ticks of 1/100 s).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
