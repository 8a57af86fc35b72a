//! `models bench`: which variant of a space computes fastest on this machine. It talks to no node.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::context::Context;
use super::super::failure::{Exit, Failure};
use super::super::output::{Output, Unit, table};
use crate::calls::trial::{Trial, Trials, measure};
use crate::config::Settings;

/// What was measured of a variant, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct TrialRecord<'a> {
    name: &'a str,
    space: &'a str,
    variant: &'a str,
    /// To load it.
    load_ms: f64,
    /// To read a question.
    question_ms: f64,
    /// That it reads.
    notes_a_second: f64,
    /// To the published weights.
    least_cosine: f32,
    /// Whether it is the one that `ai.variant = "auto"` takes here.
    auto: bool,
    /// Of all.
    fastest: bool,
}

/// Runs `models bench` for about so many seconds.
pub(super) fn bench(seconds: u64, context: &mut Context) -> Result<Exit, Failure> {
    let data_dir = &context.target.data_dir;
    let settings = Settings::load(context.config.as_deref(), data_dir, Vec::new())?;
    let bar = context.out.bar("computing", seconds * 1000, Unit::Count);
    let measured = measure(&settings.config, data_dir, Duration::from_secs(seconds), |so_far| {
        bar.set_position((so_far.as_millis() as u64).min(seconds * 1000));
    });
    bar.finish_and_clear();
    let unusable =
        |error| Failure::usage(format!("{error:#}"), "`synapsenet config show` lists the settings");
    show(&measured.map_err(unusable)?, &mut context.out)
}

fn show(Trials { trials, auto }: &Trials, out: &mut Output) -> Result<Exit, Failure> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let fastest = trials.iter().max_by(|a, b| a.notes_a_second.total_cmp(&b.notes_a_second));
    let Some(fastest) = fastest.map(|trial| trial.model.full_name()) else { return Ok(Exit::Done) };
    let (is_auto, is_fastest) = (
        |trial: &Trial| trial.model.full_name() == *auto,
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
    out.note(format_args!("{fastest} is the fastest here; ai.variant = \"auto\" takes {auto}"))?;
    Ok(Exit::Done)
}
