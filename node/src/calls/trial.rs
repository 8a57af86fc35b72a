//! How fast the variants of the built-in space compute on this machine: the one call that needs no running node.

use std::path::Path;
use std::time::Duration;

use prometheus_client::registry::Registry;
use synapsenet_index::Model;

use crate::config::Config;
use crate::memory::opening::models_options;
use crate::metrics::Metrics;
use crate::models::Models;
pub(crate) use crate::models::trial::Trial;
use crate::models::trial::compare;
use crate::tasks::Alarm;

/// The variants that were measured.
pub(crate) struct Trials {
    /// One for each variant.
    pub trials: Vec<Trial>,
    /// The full name of the one that is taken when the space alone is named, and `ai.variant` says "auto".
    pub auto: String,
}

/// Measures the built-in variants, and those of their space that were added to the data folder, for about so long. Calls
/// `went_on` with the time since it began.
///
/// # Errors
/// When the ONNX Runtime or a model cannot be used.
pub(crate) fn measure(
    config: &Config,
    data_dir: &Path,
    time: Duration,
    went_on: impl FnMut(Duration),
) -> anyhow::Result<Trials> {
    let metrics = Metrics::register(&mut Registry::default());
    let models = Models::open(models_options(config, data_dir, &metrics, &Alarm::new().0)?)?;
    let built_in = Model::built_in()?;
    let options = models.options();
    let variants = models.variants_of(built_in.id());
    let trials = compare(&variants, &options.library, &options.computing.compute, time, went_on)?;
    Ok(Trials { trials, auto: built_in.full_name() })
}
