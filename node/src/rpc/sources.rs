//! The part of the door about folders that are remembered.

use std::path::Path;

use synapsenet_proto::rpc;
use synapsenet_proto::rpc::source_service_server::SourceService;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response};

use super::status::status_of;
use super::{Api, PROGRESS_QUEUE, Reply, ReplyStream};
use crate::calls::CallError;
use crate::calls::error::invalid;
use crate::calls::sources::{How, Progress, Report, Rhythm, Source, Standing, Terms, elapsed_us};

#[tonic::async_trait]
impl SourceService for Api {
    async fn add_source(&self, request: Request<rpc::AddSourceRequest>) -> Reply<rpc::AddSourceResponse> {
        let call = self.begin(&request)?;
        let source = read_source(request.into_inner().source.unwrap_or_default()).map_err(status_of)?;
        let (source, before) = call.add_source(source).await.map_err(status_of)?;
        let before = before.as_ref().map(source_message);
        Ok(Response::new(rpc::AddSourceResponse { source: Some(source_message(&source)), before }))
    }

    async fn list_sources(
        &self,
        request: Request<rpc::ListSourcesRequest>,
    ) -> Reply<rpc::ListSourcesResponse> {
        let call = self.begin(&request)?;
        let covering = request.into_inner().covering;
        let covering = Some(Path::new(&covering)).filter(|path| !path.as_os_str().is_empty());
        let sources = call.sources(covering).iter().map(state_message).collect();
        Ok(Response::new(rpc::ListSourcesResponse { sources }))
    }

    type SyncSourceStream = ReplyStream<rpc::SyncSourceResponse>;

    async fn sync_source(&self, request: Request<rpc::SyncSourceRequest>) -> Reply<Self::SyncSourceStream> {
        use rpc::sync_source_response::Item;
        let call = self.begin(&request)?;
        let rpc::SyncSourceRequest { folder, dry_run, withdraw } = request.into_inner();
        check_folder(&folder).map_err(status_of)?;
        let (told, mut progress) = watch::channel(Progress::default());
        let (sender, messages) = mpsc::channel(PROGRESS_QUEUE);
        let message = |item| rpc::SyncSourceResponse { item: Some(item) };
        tokio::spawn(async move {
            // It goes on when nobody listens any more: half a look is worth less than a whole one.
            let looking = call.sync_source(Path::new(&folder), How { dry_run, withdraw }, told);
            tokio::pin!(looking);
            let last = loop {
                tokio::select! {
                    looked = &mut looking => break looked,
                    Ok(()) = progress.changed() => {
                        let now = progress_message(*progress.borrow_and_update());
                        // A slow client misses some progress.
                        let _ = sender.try_send(Ok(message(Item::Progress(now))));
                    }
                }
            };
            let last = last.map(|report| message(Item::Report(report_message(&report)))).map_err(status_of);
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn pause_source(
        &self,
        request: Request<rpc::PauseSourceRequest>,
    ) -> Reply<rpc::PauseSourceResponse> {
        let call = self.begin(&request)?;
        let rpc::PauseSourceRequest { folder, paused } = request.into_inner();
        check_folder(&folder).map_err(status_of)?;
        call.pause_source(folder.into(), paused).await.map_err(status_of)?;
        Ok(Response::new(rpc::PauseSourceResponse {}))
    }

    async fn remove_source(
        &self,
        request: Request<rpc::RemoveSourceRequest>,
    ) -> Reply<rpc::RemoveSourceResponse> {
        let call = self.begin(&request)?;
        let rpc::RemoveSourceRequest { folder, retract } = request.into_inner();
        check_folder(&folder).map_err(status_of)?;
        let retracted = call.remove_source(Path::new(&folder), retract).await.map_err(status_of)?;
        Ok(Response::new(rpc::RemoveSourceResponse { retracted }))
    }
}

fn check_folder(folder: &str) -> Result<(), CallError> {
    if folder.is_empty() { Err(invalid("no folder is named")) } else { Ok(()) }
}

fn read_source(source: rpc::RememberedSource) -> Result<Source, CallError> {
    check_folder(&source.folder)?;
    let rhythm = match rpc::SourceRhythm::try_from(source.rhythm) {
        Ok(rpc::SourceRhythm::Unspecified | rpc::SourceRhythm::Manual) => Rhythm::Manual,
        Ok(rpc::SourceRhythm::Every) => Rhythm::Every(source.every_seconds),
        Ok(rpc::SourceRhythm::Watch) => Rhythm::Watch,
        Err(_) => return Err(invalid("there is no such rhythm: say manual, every or watch")),
    };
    let topic =
        if source.topic.is_empty() { synapsenet_proto::DEFAULT_TOPIC.to_owned() } else { source.topic };
    Ok(Source {
        folder: source.folder.into(),
        terms: Terms {
            topic,
            tags: source.tags,
            lang: source.lang,
            share: source.share,
            encoding: source.encoding,
            no_ignore: source.no_ignore,
            include_secrets: source.include_secrets,
            exclude: source.exclude,
        },
        rhythm,
        is_paused: source.paused,
    })
}

fn source_message(source: &Source) -> rpc::RememberedSource {
    let (rhythm, every_seconds) = match source.rhythm {
        Rhythm::Manual => (rpc::SourceRhythm::Manual, 0),
        Rhythm::Every(seconds) => (rpc::SourceRhythm::Every, seconds),
        Rhythm::Watch => (rpc::SourceRhythm::Watch, 0),
    };
    let terms = &source.terms;
    rpc::RememberedSource {
        folder: source.folder.display().to_string(),
        topic: terms.topic.clone(),
        tags: terms.tags.clone(),
        lang: terms.lang.clone(),
        share: terms.share,
        encoding: terms.encoding.clone(),
        no_ignore: terms.no_ignore,
        include_secrets: terms.include_secrets,
        exclude: terms.exclude.clone(),
        rhythm: rhythm.into(),
        every_seconds,
        paused: source.is_paused,
    }
}

fn state_message(standing: &Standing) -> rpc::SourceState {
    rpc::SourceState {
        source: Some(source_message(&standing.source)),
        last: standing.last.as_ref().map(report_message),
        looked_ms: standing.looked_ms.unwrap_or(0),
        running: standing.running.map(progress_message),
        not_watched: standing.not_watched.clone().unwrap_or_default(),
    }
}

fn progress_message(progress: Progress) -> rpc::SourceProgress {
    rpc::SourceProgress { done: progress.done, total: progress.total }
}

fn report_message(report: &Report) -> rpc::SourceReport {
    let named =
        |(name, reason): &(String, String)| rpc::RefusedFile { name: name.clone(), reason: reason.clone() };
    rpc::SourceReport {
        files: report.files,
        unchanged: report.unchanged,
        added: report.added,
        edited: report.edited,
        moved: report.moved,
        withdrawn: report.withdrawn,
        missing: report.missing,
        skipped: report.skipped,
        refused: report.refused,
        refused_files: report.named.iter().map(named).collect(),
        left_out: report.left_out.clone(),
        grains_added: report.grains_added,
        grains_retracted: report.grains_retracted,
        problem: report.problem.clone().unwrap_or_default(),
        elapsed_us: elapsed_us(report.elapsed),
    }
}
