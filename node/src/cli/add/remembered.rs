//! What was said when a folder was added first holds when it is added again: forgetting a topic would move all of it.

use std::path::{Path, PathBuf};

use synapsenet_proto::{Topic, rpc};

use super::AddArgs;
use crate::cli::client::{Address, Target, call, connect_sources};
use crate::cli::failure::Failure;
use crate::cli::inputs::Input;
use crate::cli::output::{Output, printable};

/// What the node remembers of the files and folders that are added.
pub(super) struct Remembered {
    /// The folder that is remembered, and how.
    known: Option<rpc::RememberedSource>,
    /// The one folder that is added, to be remembered.
    folder: Option<String>,
}

impl Remembered {
    /// Asks the node, if it is on this machine: elsewhere, the same path is another folder.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn ask(target: &Target, inputs: &[Input]) -> Result<Self, Failure> {
        let paths: Vec<&PathBuf> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::File(path) | Input::Folder(path) => Some(path),
                Input::Text(_) | Input::Stdin | Input::Pipe(_) => None,
            })
            .collect();
        let nothing = Self { known: None, folder: None };
        let is_here = matches!(target.address, Address::Unix(_));
        if paths.is_empty() || paths.len() < inputs.len() || !is_here {
            return Ok(nothing);
        }
        let mut client = connect_sources(target).await?;
        let request = rpc::ListSourcesRequest { covering: String::new() };
        let all = client.list_sources(call(request)).await?.into_inner().sources;
        let mut sources = all.into_iter().filter_map(|state| state.source);
        let covers = |source: &rpc::RememberedSource| {
            paths.iter().all(|path| path.starts_with(Path::new(&source.folder)))
        };
        let known = sources.find(covers);
        let folder = match inputs {
            [Input::Folder(folder)] => folder.to_str().map(str::to_owned),
            _ => None,
        };
        Ok(Self { known, folder })
    }

    /// Fills in what is not said on the command line, and tells it.
    ///
    /// # Errors
    /// When something else is said of a folder that the node keeps by itself: it would turn it back.
    pub fn fill_in(&self, args: &mut AddArgs, out: &mut Output) -> Result<(), Failure> {
        let Some(source) = &self.known else { return Ok(()) };
        let said = said_otherwise(args, source);
        if !said.is_empty() {
            let (folder, said) = (printable(&source.folder), said.join(" and "));
            if source.rhythm() != rpc::SourceRhythm::Manual {
                return Err(Failure::usage(
                    format!("the node keeps {folder} with another {said}, and would turn it back"),
                    "`synapsenet sources add` with all its options changes how a folder is kept",
                ));
            }
            out.note(format_args!(
                "{folder} was added with another {said} before: what is there is withdrawn and added anew"
            ))?;
        }
        args.topic = args.topic.take().or_else(|| Topic::new(source.topic.as_str()).ok());
        if args.tag.is_empty() {
            args.tag.clone_from(&source.tags);
        }
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        args.lang = args.lang.take().or_else(|| some(&source.lang));
        args.encoding = args.encoding.take().or_else(|| some(&source.encoding));
        if args.exclude.is_empty() {
            args.exclude = source.exclude.iter().filter_map(|glob| glob.parse().ok()).collect();
        }
        args.share |= source.share;
        args.no_ignore |= source.no_ignore;
        args.include_secrets |= source.include_secrets;
        Ok(())
    }

    /// Has the node remember what was said of a folder. It is a convenience: where that cannot be done, nothing is lost.
    pub async fn keep(self, target: &Target, args: &AddArgs) {
        let is_kept = self.known.as_ref().is_some_and(|source| {
            source.rhythm() != rpc::SourceRhythm::Manual || self.folder.as_ref() != Some(&source.folder)
        });
        let Some(folder) = self.folder.filter(|_| !is_kept && args.title.is_none() && args.meta.is_empty())
        else {
            return;
        };
        let source = rpc::RememberedSource {
            folder,
            topic: args.topic.as_ref().map(ToString::to_string).unwrap_or_default(),
            tags: args.tag.clone(),
            lang: args.lang.clone().unwrap_or_default(),
            share: args.share,
            encoding: args.encoding.clone().unwrap_or_default(),
            no_ignore: args.no_ignore,
            include_secrets: args.include_secrets,
            exclude: args.exclude.iter().map(|glob| glob.as_str().to_owned()).collect(),
            rhythm: rpc::SourceRhythm::Manual.into(),
            every_seconds: 0,
            paused: false,
        };
        if let Ok(mut client) = connect_sources(target).await {
            let _ = client.add_source(call(rpc::AddSourceRequest { source: Some(source) })).await;
        }
    }
}

/// What is said on the command line and otherwise than it is remembered.
fn said_otherwise(args: &AddArgs, source: &rpc::RememberedSource) -> Vec<&'static str> {
    let mut said = Vec::new();
    if args.topic.as_ref().is_some_and(|topic| topic.as_str() != source.topic) {
        said.push("topic");
    }
    if !args.tag.is_empty() && args.tag != source.tags {
        said.push("tags");
    }
    if args.lang.as_ref().is_some_and(|lang| *lang != source.lang) {
        said.push("language");
    }
    said
}
