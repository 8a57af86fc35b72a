//! `models bench`: which variant of a space computes fastest on this machine. It talks to no node.

use std::time::Duration;

use prometheus_client::registry::Registry;
use serde::Serialize;
use synapsenet_index::Model;

use super::super::context::Context;
use super::super::failure::{Exit, Failure};
use super::super::output::{Output, Unit, table};
use crate::config::Settings;
use crate::memory::opening::models_options;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::models::trial::{Trial, compare};
use crate::tasks::Alarm;

/// What was measured of a variant, for scripts.
#[derive(Debug, Serialize)]
struct TrialRecord<'a> {
    name: &'a str,
    space: &'a str,
    variant: &'a str,
    load_ms: f64,
    question_ms: f64,
    notes_a_second: f64,
    least_cosine: f32,
    /// Whether it is the one that `ai.variant = "auto"` takes here.
    auto: bool,
    fastest: bool,
}

/// Runs `models bench` for about so many seconds.
pub(super) fn bench(seconds: u64, context: &mut Context) -> Result<Exit, Failure> {
    let settings = Settings::load(context.config.as_deref(), &context.target.data_dir, Vec::new())?;
    let unusable = |error: String| Failure::usage(error, "`synapsenet config show` lists the settings");
    let metrics = Metrics::register(&mut Registry::default());
    let options = models_options(&settings.config, &context.target.data_dir, &metrics, &Alarm::new().0)
        .map_err(|error| unusable(format!("{error:#}")))?;
    let models = Models::open(options).map_err(|error| unusable(format!("{error:#}")))?;
    let built_in = Model::built_in().map_err(|error| unusable(error.to_string()))?;
    let variants = models.variants_of(built_in.id());
    let bar = context.out.bar("computing", seconds * 1000, Unit::Count);
    let options = models.options();
    let time = Duration::from_secs(seconds);
    let trials = compare(&variants, &options.library, &options.compute, time, |so_far| {
        bar.set_position((so_far.as_millis() as u64).min(seconds * 1000));
    });
    bar.finish_and_clear();
    show(&trials.map_err(|error| unusable(error.to_string()))?, &built_in, &mut context.out)
}

fn show(trials: &[Trial], auto: &Model, out: &mut Output) -> Result<Exit, Failure> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let fastest = trials.iter().max_by(|a, b| a.notes_a_second.total_cmp(&b.notes_a_second));
    let Some(fastest) = fastest.map(|trial| trial.model.full_name()) else { return Ok(Exit::Done) };
    let (is_auto, is_fastest) = (
        |trial: &Trial| trial.model.full_name() == auto.full_name(),
        |trial: &Trial| trial.model.full_name() == fastest,
    );
    if out.is_json() {
        for trial in trials {
            out.record(&TrialRecord {
                name: &trial.model.full_name(),
                space: trial.model.name(),
                variant: trial.model.variant(),
                load_ms: ms(trial.load),
                question_ms: ms(trial.question),
                notes_a_second: trial.notes_a_second,
                least_cosine: trial.least_cosine,
                auto: is_auto(trial),
                fastest: is_fastest(trial),
            })?;
        }
        return Ok(Exit::Done);
    }
    let rows = trials.iter().map(|trial| {
        [
            trial.model.full_name(),
            trial.model.arithmetic().to_string(),
            format!("{:.0} ms", ms(trial.load)),
            format!("{:.2} ms", ms(trial.question)),
            format!("{:.0}", trial.notes_a_second),
            format!("{:.4}", trial.least_cosine),
        ]
    });
    table(
        ["MODEL", "COMPUTES IN", "LOADS IN", "QUESTION", "NOTES A SECOND", "LEAST COSINE"],
        rows.collect(),
        out,
    )?;
    out.note(format_args!(
        "{fastest} is the fastest here; ai.variant = \"auto\" takes {}",
        auto.full_name()
    ))?;
    Ok(Exit::Done)
}
