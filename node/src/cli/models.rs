//! `models`: which embedding models there are, and which of them is used.

pub(super) mod bench;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;
use tonic::Request;

use super::client::{ModelClient, call, connect_models};
use super::confirm::Consent;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{FAINT, Output, Unit, plural, printable, table};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: Option<ModelsCommand>,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// List every model that is here, and those that can be fetched
    List,
    /// Show all that is known of a model
    Show {
        /// Its name [default: the one in use]
        name: Option<String>,
    },
    /// Use another model from now on; grains are embedded anew in the background, unless it is another variant of the same space
    Use {
        /// Its name, or that of a space: then the variant of it that suits the processor
        name: String,
    },
    /// Measure which variant of the built-in space computes fastest on this machine; needs no node
    Bench {
        /// For about how long
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
    /// Add the model in a folder with model.toml, its ONNX graph and tokenizer.json
    Add {
        /// The folder, on the node's machine
        dir: PathBuf,
    },
    /// Fetch a known model from the Hugging Face hub, and add it
    Fetch {
        /// Its name [default: tells which there are]
        name: Option<String>,
    },
    /// Remove a model that was added, with its vectors
    Remove {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Drop the vectors of a model that is not in use; the model stays
    Drop {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Digits of a space's id that a list shows: they only have to tell a few models apart.
const SPACE_DIGITS: usize = 8;

impl ModelsArgs {
    /// Whether the command runs a model in this process.
    pub(super) fn runs_a_model(&self) -> bool {
        matches!(self.command, Some(ModelsCommand::Bench { .. }))
    }
}

/// A model, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelRecord<'a> {
    /// Unique: the name of the space and the variant.
    name: &'a str,
    /// The published name, which all variants have.
    space: &'a str,
    variant: &'a str,
    /// `float32` or `int8`.
    arithmetic: &'static str,
    /// What it promises of its vectors to those of the published weights.
    least_cosine: f64,
    /// 64 hexadecimal digits: only vectors of one space are compared.
    space_id: &'a str,
    dimension: u32,
    max_tokens: u32,
    /// `mean` or `cls`.
    pooling: &'static str,
    /// What it puts before questions.
    question_prefix: &'a str,
    /// What it puts before documents.
    document_prefix: &'a str,
    /// SPDX expression.
    license: &'a str,
    /// `installed`, `loading`, `loaded`, `fetchable` or `broken`.
    state: &'static str,
    /// `in use`, `former` or `none`.
    role: &'static str,
    in_use: bool,
    built_in: bool,
    /// Stored vectors of it.
    vectors: u64,
    /// What it runs on; null when it is not loaded.
    provider: Option<&'a str>,
    /// What its weights take in memory.
    memory_bytes: u64,
    /// What is to be fetched of it.
    fetch_bytes: u64,
    /// Why it is broken.
    reason: Option<&'a str>,
}

impl<'a> ModelRecord<'a> {
    fn new(model: &'a rpc::Model) -> Self {
        let given = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        Self {
            name: &model.name,
            space: &model.space,
            variant: &model.variant,
            arithmetic: arithmetic_word(model.arithmetic()),
            least_cosine: (model.least_cosine * 1e6).round() / 1e6,
            space_id: &model.space_id,
            dimension: model.dimension,
            max_tokens: model.max_tokens,
            pooling: pooling_word(model.pooling()),
            question_prefix: &model.question_prefix,
            document_prefix: &model.document_prefix,
            license: &model.license,
            state: state_word(model.state()),
            role: role_word(model.role()),
            in_use: model.role() == rpc::ModelRole::InUse,
            built_in: model.built_in,
            vectors: model.vectors,
            provider: given(&model.provider),
            memory_bytes: model.memory_bytes,
            fetch_bytes: model.fetch_bytes,
            reason: given(&model.reason),
        }
    }
}

/// What was done with a model, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DoneRecord<'a> {
    /// `used`, `added`, `removed` or `dropped`.
    event: &'static str,
    /// Of the model.
    name: &'a str,
    /// Whether another was in use before.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    /// Vectors that went.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_vectors: Option<u64>,
    /// The space of its vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    space_id: Option<&'a str>,
}

/// How far fetching has come, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FetchRecord<'a> {
    /// `fetching`.
    event: &'static str,
    /// Which is fetched.
    file: &'a str,
    /// That are here.
    fetched_bytes: u64,
    /// That there are; 0 when that is not known.
    total_bytes: u64,
}

pub(super) fn state_word(state: rpc::ModelState) -> &'static str {
    match state {
        rpc::ModelState::Unspecified => "unknown",
        rpc::ModelState::Installed => "installed",
        rpc::ModelState::Loading => "loading",
        rpc::ModelState::Loaded => "loaded",
        rpc::ModelState::Fetchable => "fetchable",
        rpc::ModelState::Broken => "broken",
    }
}

fn pooling_word(pooling: rpc::Pooling) -> &'static str {
    match pooling {
        rpc::Pooling::Unspecified => "unknown",
        rpc::Pooling::Mean => "mean",
        rpc::Pooling::Cls => "cls",
    }
}

fn arithmetic_word(arithmetic: rpc::Arithmetic) -> &'static str {
    match arithmetic {
        rpc::Arithmetic::Unspecified => "unknown",
        rpc::Arithmetic::Float32 => "float32",
        rpc::Arithmetic::Int8 => "int8",
    }
}

fn role_word(role: rpc::ModelRole) -> &'static str {
    match role {
        rpc::ModelRole::Unspecified => "unknown",
        rpc::ModelRole::None => "none",
        rpc::ModelRole::InUse => "in use",
        rpc::ModelRole::Former => "former",
    }
}

/// Runs `models`.
pub(crate) async fn run(args: ModelsArgs, context: &mut Context) -> Result<Exit, Failure> {
    let command = args.command.unwrap_or(ModelsCommand::List);
    if let ModelsCommand::Bench { seconds } = command {
        return bench::bench(seconds, context);
    }
    let again = "its vectors have to be computed again";
    let consent = match &command {
        ModelsCommand::Remove { yes, .. } => Consent::of(*yes, "removing a model", again)?,
        ModelsCommand::Drop { yes, .. } => Consent::of(*yes, "dropping vectors", again)?,
        _ => Consent::Given,
    };
    let mut client = connect_models(&context.target).await?;
    let out = &mut context.out;
    match command {
        ModelsCommand::List | ModelsCommand::Fetch { name: None } => list(&mut client, out).await,
        ModelsCommand::Bench { .. } => Ok(Exit::Done),
        ModelsCommand::Show { name } => show(&mut client, name, out).await,
        ModelsCommand::Use { name } => use_model(&mut client, name, out).await,
        ModelsCommand::Add { dir } => add(&mut client, dir, out).await,
        ModelsCommand::Fetch { name: Some(name) } => fetch(&mut client, name, out).await,
        ModelsCommand::Remove { name, .. } => {
            consent.confirm(&[], &format!("Remove the model {name} and all vectors of it?"))?;
            let request = Request::new(rpc::RemoveModelRequest { name: name.clone() });
            let dropped = client.remove_model(request).await?.into_inner().dropped_vectors;
            done("removed", &name, dropped, out)
        }
        ModelsCommand::Drop { name, .. } => {
            consent.confirm(&[], &format!("Drop all vectors of the model {name}?"))?;
            let request = Request::new(rpc::DropVectorsRequest { name: name.clone() });
            let dropped = client.drop_vectors(request).await?.into_inner().dropped_vectors;
            done("dropped", &name, dropped, out)
        }
    }
}

async fn list(client: &mut ModelClient, out: &mut Output) -> Result<Exit, Failure> {
    let models = client.list_models(call(rpc::ListModelsRequest {})).await?.into_inner().models;
    if out.is_json() {
        models.iter().try_for_each(|model| out.record(&ModelRecord::new(model)))?;
        return Ok(Exit::Done);
    }
    let rows = models.iter().map(|model| {
        let of = |value: u32| if value == 0 { "-".to_owned() } else { value.to_string() };
        [
            printable(&model.name).into_owned(),
            printable(model.space_id.get(..SPACE_DIGITS).unwrap_or("-")).into_owned(),
            describe_state(model),
            of(model.dimension),
            of(model.max_tokens),
            HumanCount(model.vectors).to_string(),
            printable(&model.license).into_owned(),
        ]
    });
    table(["MODEL", "SPACE", "STATE", "DIMENSIONS", "TOKENS", "VECTORS", "LICENCE"], rows.collect(), out)?;
    for model in models.iter().filter(|model| !model.reason.is_empty()) {
        out.note(format_args!("{}: {}", printable(&model.name), printable(&model.reason)))?;
    }
    Ok(Exit::Done)
}

fn describe_state(model: &rpc::Model) -> String {
    let state = match (model.state(), model.provider.as_str()) {
        (rpc::ModelState::Loaded, provider) => format!("loaded on {provider}"),
        (rpc::ModelState::Fetchable, _) if model.fetch_bytes > 0 => {
            format!("fetchable, {}", HumanBytes(model.fetch_bytes))
        }
        (state, _) => state_word(state).to_owned(),
    };
    match model.role() {
        rpc::ModelRole::InUse | rpc::ModelRole::Former => format!("{}, {state}", role_word(model.role())),
        rpc::ModelRole::None | rpc::ModelRole::Unspecified => state,
    }
}

async fn show(client: &mut ModelClient, name: Option<String>, out: &mut Output) -> Result<Exit, Failure> {
    let model = match name {
        Some(name) => {
            let response = client.get_model(call(rpc::GetModelRequest { name })).await?;
            response.into_inner().model.unwrap_or_default()
        }
        None => {
            let models = client.list_models(call(rpc::ListModelsRequest {})).await?.into_inner().models;
            let in_use = models.into_iter().find(|model| model.role() == rpc::ModelRole::InUse);
            in_use.unwrap_or_default()
        }
    };
    if out.is_json() {
        out.record(&ModelRecord::new(&model))?;
        return Ok(Exit::Done);
    }
    let mut field =
        |name: &str, value: &str| out.line(format_args!("{FAINT}{name:10}{FAINT:#} {}", printable(value)));
    field("model", &model.name)?;
    field("space", &format!("{} {}", model.space, model.space_id))?;
    field("state", &describe_state(&model))?;
    if !model.reason.is_empty() {
        return field("reason", &model.reason).map(|()| Exit::Done);
    }
    field("vectors", &HumanCount(model.vectors).to_string())?;
    let (dimension, tokens) = (model.dimension, model.max_tokens);
    field(
        "reads",
        &format!(
            "{tokens} tokens at once, {dimension} dimensions, pooling {}",
            pooling_word(model.pooling())
        ),
    )?;
    let promise = match model.least_cosine {
        cosine if cosine < 1.0 => format!(", cosine to the published weights at least {cosine:.3}"),
        _ => String::new(),
    };
    field("computes", &format!("in {}{promise}", arithmetic_word(model.arithmetic())))?;
    let quoted = |prefix: &str| if prefix.is_empty() { "none".to_owned() } else { format!("{prefix:?}") };
    field(
        "prefixes",
        &format!(
            "{} before questions, {} before documents",
            quoted(&model.question_prefix),
            quoted(&model.document_prefix)
        ),
    )?;
    if model.memory_bytes > 0 {
        field("memory", &format!("{} of weights", HumanBytes(model.memory_bytes)))?;
    }
    field("licence", &model.license)?;
    field("from", if model.built_in { "this program" } else { "the node's folder of models" })?;
    Ok(Exit::Done)
}

async fn use_model(client: &mut ModelClient, name: String, out: &mut Output) -> Result<Exit, Failure> {
    let spinner = out.spinner("loading the model");
    let response = client.use_model(Request::new(rpc::UseModelRequest { name })).await;
    spinner.finish_and_clear();
    let rpc::UseModelResponse { model, changed, to_embed_anew } = response?.into_inner();
    let model = model.unwrap_or_default();
    if out.is_json() {
        out.record(&DoneRecord {
            event: "used",
            name: &model.name,
            changed: Some(changed),
            dropped_vectors: None,
            space_id: Some(&model.space_id),
        })?;
    } else if changed {
        let anew = match to_embed_anew {
            0 => String::new(),
            _ => {
                "; what it has no vectors of is embedded anew (`synapsenet status` shows how far)".to_owned()
            }
        };
        out.summary(format_args!("{} is in use{anew}", model.name))?;
    } else {
        out.summary(format_args!("{} is in use already", model.name))?;
    }
    Ok(Exit::Done)
}

async fn add(client: &mut ModelClient, dir: PathBuf, out: &mut Output) -> Result<Exit, Failure> {
    let path = std::path::absolute(&dir).map_err(|error| {
        Failure::usage(format!("{}: {error}", dir.display()), "name the folder of a model")
    })?;
    let Some(path) = path.to_str().map(str::to_owned) else {
        return Err(Failure::usage("the path is not UTF-8", "move the folder to such a path"));
    };
    let spinner = out.spinner("copying and trying the model");
    let response = client.add_model(Request::new(rpc::AddModelRequest { path })).await;
    spinner.finish_and_clear();
    added(&response?.into_inner().model.unwrap_or_default(), out)
}

fn added(model: &rpc::Model, out: &mut Output) -> Result<Exit, Failure> {
    if out.is_json() {
        let (name, space_id) = (model.name.as_str(), Some(model.space_id.as_str()));
        out.record(&DoneRecord { event: "added", name, changed: None, dropped_vectors: None, space_id })?;
    } else {
        out.summary(format_args!("added {0}; `synapsenet models use {0}` uses it", model.name))?;
    }
    Ok(Exit::Done)
}

async fn fetch(client: &mut ModelClient, name: String, out: &mut Output) -> Result<Exit, Failure> {
    let response = client.fetch_model(Request::new(rpc::FetchModelRequest { name })).await;
    let mut messages = response?.into_inner();
    let mut bar = out.bar("", 0, Unit::Bytes);
    let mut file = String::new();
    let mut fetched = None;
    while let Some(message) = messages.message().await? {
        if message.model.is_some() {
            fetched = message.model;
            continue;
        }
        if message.file != file {
            bar.finish();
            bar = out.bar("fetching", message.total_bytes, Unit::Bytes);
            file.clone_from(&message.file);
            out.note(format_args!("{FAINT}{}{FAINT:#}", printable(&file)))?;
        }
        bar.set_length(message.total_bytes);
        bar.set_position(message.fetched_bytes);
        if out.is_json() {
            let (event, file) = ("fetching", message.file.as_str());
            let (fetched_bytes, total_bytes) = (message.fetched_bytes, message.total_bytes);
            out.aside(&FetchRecord { event, file, fetched_bytes, total_bytes })?;
        }
    }
    bar.finish_and_clear();
    match fetched {
        Some(model) => added(&model, out),
        None => Err(Failure::refused("the node stopped before all was fetched", "start it and try again")),
    }
}

fn done(event: &'static str, name: &str, dropped: u64, out: &mut Output) -> Result<Exit, Failure> {
    if out.is_json() {
        let dropped_vectors = Some(dropped);
        out.record(&DoneRecord { event, name, changed: None, dropped_vectors, space_id: None })?;
    } else {
        let vectors = plural(dropped, "vector");
        match event {
            "removed" => out.summary(format_args!("removed {name} and {vectors}"))?,
            _ => out.summary(format_args!("dropped {vectors} of {name}"))?,
        }
    }
    Ok(Exit::Done)
}
