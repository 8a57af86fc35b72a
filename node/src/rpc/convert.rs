//! Between the messages of the API and the values of the node.

use std::ops::Range;
use std::time::Duration;

use synapsenet_proto::{Draft, Grain, GrainId, Kind, SpaceId, Topic, Vector, rpc};
use synapsenet_storage::{AuthorRule, BadPosition, Position, Record};

use crate::calls::authors::{AuthorReport, Whose};
use crate::calls::backup::Piece;
use crate::calls::error::{invalid, invalid_in};
use crate::calls::facets::{Facet, Facets};
use crate::calls::grains::{Added, By, Document, Emergence, Format, Linked, Nothing, Omission, Stored};
use crate::calls::many::Tally;
use crate::calls::models::Presence;
use crate::calls::report::{MeshReport, ModelReport, Report, Warning};
use crate::calls::search::{Found, Hit, Mode, Origin, Outcome, PeerOutcome, Search, Sought};
use crate::calls::update::Updated;
use crate::calls::verify::Verified;
use crate::calls::waiting::Wait;
use crate::calls::{Call, CallError, SourceChange, SyncProgress, SyncState};
use crate::filter;

/// A stored grain as a client sees it.
pub(super) fn grain_message(call: &Call, record: &Record, with_signed: bool) -> rpc::Grain {
    rpc::Grain {
        whose: whose_message(call.whose(&record.grain.author())).into(),
        shared: record.shared,
        searchable: record.searchable,
        pinned: record.pinned,
        signed: if with_signed { record.grain.as_bytes().to_vec() } else { Vec::new() },
        file_uri: call.file_of(&record.grain, record.moved_to.as_deref()).unwrap_or_default(),
        ..plain_message(&record.grain)
    }
}

/// A grain as a client sees it, without what only a store knows of it.
pub(super) fn plain_message(grain: &Grain) -> rpc::Grain {
    let body = grain.body();
    let draft = &body.draft;
    let link = |link: &synapsenet_proto::Link| rpc::Link {
        target: link.target.as_bytes().to_vec(),
        relation: link.relation.clone(),
    };
    rpc::Grain {
        id: grain.id().to_string(),
        kind: kind_message(body.kind).into(),
        author: body.author.to_string(),
        created_ms: body.created_ms,
        topic: draft.topic.to_string(),
        text: draft.text.clone(),
        title: draft.title.clone(),
        tags: draft.tags.clone(),
        lang: draft.lang.clone(),
        mime: draft.mime.clone(),
        source: draft
            .source
            .as_ref()
            .map(|source| rpc::Source { uri: source.uri.clone(), ordinal: source.ordinal }),
        links: draft.links.iter().map(link).collect(),
        metadata: draft.metadata.clone(),
        ..Default::default()
    }
}

/// How far a withdrawal of many notes is.
pub(super) fn retract_matching_message(call: &Call, tally: Tally) -> rpc::RetractMatchingResponse {
    rpc::RetractMatchingResponse {
        meant: tally.meant,
        retracted: tally.done,
        not_own: tally.not_own,
        refused: tally.refused,
        first: tally.first.iter().map(|record| grain_message(call, record, false)).collect(),
        refusal: tally.refusal,
        finished: tally.is_finished,
    }
}

/// How far the sharing of many notes is.
pub(super) fn share_matching_message(call: &Call, tally: Tally) -> rpc::ShareMatchingResponse {
    rpc::ShareMatchingResponse {
        meant: tally.meant,
        shared: tally.done,
        already: tally.already,
        not_own: tally.not_own,
        refused: tally.refused,
        first: tally.first.iter().map(|record| grain_message(call, record, false)).collect(),
        refusal: tally.refusal,
        finished: tally.is_finished,
    }
}

pub(super) fn whose_message(whose: Whose) -> rpc::Whose {
    match whose {
        Whose::Own => rpc::Whose::Own,
        Whose::Followed => rpc::Whose::Followed,
        Whose::Stranger => rpc::Whose::Stranger,
    }
}

/// An author as a client sees it.
pub(super) fn author_message(report: &AuthorReport) -> rpc::Author {
    let rule = match report.rule {
        None => rpc::AuthorRule::Unspecified,
        Some(AuthorRule::Followed) => rpc::AuthorRule::Followed,
        Some(AuthorRule::Blocked) => rpc::AuthorRule::Blocked,
    };
    rpc::Author {
        author: report.author.to_string(),
        grains: report.grains,
        rule: rule.into(),
        whose: whose_message(report.whose).into(),
        claims_agreed: report.standing.agreed,
        claims_distrusted: report.standing.distrusted,
    }
}

/// What a client thinks of an author.
pub(super) fn read_rule(rule: rpc::AuthorRule) -> Option<AuthorRule> {
    match rule {
        rpc::AuthorRule::Unspecified => None,
        rpc::AuthorRule::Followed => Some(AuthorRule::Followed),
        rpc::AuthorRule::Blocked => Some(AuthorRule::Blocked),
    }
}

pub(super) fn kind_message(kind: Kind) -> rpc::GrainKind {
    match kind {
        Kind::Note => rpc::GrainKind::Note,
        Kind::Retraction => rpc::GrainKind::Retraction,
    }
}

pub(super) fn read_draft(draft: Option<rpc::Draft>) -> Result<Draft, CallError> {
    let draft = draft.ok_or_else(|| invalid("the request has no draft: give at least its text"))?;
    Ok(Draft::try_from(draft)?)
}

/// How a document is to be read; none where its name is to say it.
pub(super) fn read_format(format: i32) -> Result<Option<Format>, CallError> {
    match rpc::DocumentFormat::try_from(format) {
        Ok(rpc::DocumentFormat::Plain) => Ok(Some(Format::Plain)),
        Ok(rpc::DocumentFormat::Markdown) => Ok(Some(Format::Markdown)),
        Ok(rpc::DocumentFormat::Html) => Ok(Some(Format::Html)),
        Ok(rpc::DocumentFormat::Mail) => Ok(Some(Format::Mail)),
        Ok(rpc::DocumentFormat::Mailbox) => Ok(Some(Format::Mailbox)),
        Ok(rpc::DocumentFormat::Notebook) => Ok(Some(Format::Notebook)),
        Ok(rpc::DocumentFormat::Docx) => Ok(Some(Format::Docx)),
        Ok(rpc::DocumentFormat::Odt) => Ok(Some(Format::Odt)),
        Ok(rpc::DocumentFormat::Epub) => Ok(Some(Format::Epub)),
        Ok(rpc::DocumentFormat::Pdf) => Ok(Some(Format::Pdf)),
        Ok(rpc::DocumentFormat::Unspecified) => Ok(None),
        Err(_) => Err(invalid(format!("there is no format {format}: leave it out, and the name says it"))),
    }
}

/// What of a document is in no chunk.
pub(super) fn omission_message(Omission { what, reason }: Omission) -> rpc::Omission {
    rpc::Omission { what, reason: reason.to_owned() }
}

/// Reads the place where the page before ended; empty for the first page.
pub(super) fn read_page_token(token: &str) -> Result<Option<Position>, CallError> {
    let read = |token: &str| token.parse().map_err(|error: BadPosition| invalid(error.to_string()));
    (!token.is_empty()).then_some(token).map(read).transpose()
}

/// By what is to be counted.
///
/// # Errors
/// When there is no such thing.
pub(super) fn read_facet(facet: i32) -> Result<Facet, CallError> {
    match rpc::Facet::try_from(facet) {
        Ok(rpc::Facet::Topic) => Ok(Facet::Topic),
        Ok(rpc::Facet::Tag) => Ok(Facet::Tag),
        Ok(rpc::Facet::Author) => Ok(Facet::Author),
        Ok(rpc::Facet::Lang) => Ok(Facet::Lang),
        Ok(rpc::Facet::Unspecified) | Err(_) => {
            Err(invalid_in("facets", format!("there is no facet {facet}: say topic, tag, author or lang")))
        }
    }
}

/// How many grains there are, in all and by each facet.
pub(super) fn count_message(grains: u64, facets: Facets) -> rpc::CountResponse {
    let message = |facet| match facet {
        Facet::Topic => rpc::Facet::Topic,
        Facet::Tag => rpc::Facet::Tag,
        Facet::Author => rpc::Facet::Author,
        Facet::Lang => rpc::Facet::Lang,
    };
    let value = |(value, grains)| rpc::ValueCount { value, grains };
    let counts = facets.counts.into_iter().map(|count| rpc::FacetCount {
        facet: message(count.facet).into(),
        values: count.values.into_iter().map(value).collect(),
        others: count.others,
        distinct: count.distinct,
    });
    rpc::CountResponse { grains, facets: counts.collect(), partial: facets.is_partial }
}

/// What became of a grain that was handed in.
pub(super) fn outcome_message(stored: Stored) -> rpc::PutOutcome {
    if stored.is_new { rpc::PutOutcome::Added } else { rpc::PutOutcome::Duplicate }
}

/// What became of one item of a bulk stream, and whether search finds it by its meaning.
pub(super) fn bulk_response(ordinal: u64, result: Result<(Stored, bool), CallError>) -> rpc::BulkPutResponse {
    let (outcome, id, searchable, reason) = match result {
        Ok((stored, searchable)) => {
            (outcome_message(stored), stored.id.to_string(), searchable, String::new())
        }
        Err(error) => (rpc::PutOutcome::Refused, String::new(), false, error.to_string()),
    };
    rpc::BulkPutResponse { ordinal, outcome: outcome.into(), id, reason, searchable }
}

/// What a call that stores is to wait for.
///
/// # Errors
/// When there is no such thing, or it is too long.
pub(super) fn read_wait(wait: i32, wait_ms: u32) -> Result<Wait, CallError> {
    match rpc::Wait::try_from(wait) {
        Ok(rpc::Wait::Unspecified | rpc::Wait::Words) => Ok(Wait::Words),
        Ok(rpc::Wait::Searchable) => Wait::searchable(wait_ms),
        Err(_) => Err(invalid(format!("there is no wait {wait}: say words or searchable"))),
    }
}

/// What became of a note that was to be updated.
pub(super) fn updated_message(updated: Updated) -> rpc::UpdateResponse {
    rpc::UpdateResponse {
        id: updated.stored.id.to_string(),
        outcome: outcome_message(updated.stored).into(),
        shared: updated.stored.shared,
        searchable: updated.is_searchable,
        retraction: updated.retraction.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// A note at the other end of a link.
pub(super) fn linked_message(call: &Call, linked: &Linked) -> rpc::LinkedNote {
    let Linked { record, shown } = linked;
    rpc::LinkedNote {
        id: record.grain.id().to_string(),
        title: record.grain.body().draft.title.clone(),
        file_uri: call.file_of(&record.grain, record.moved_to.as_deref()).unwrap_or_default(),
        shown: shown.clone(),
    }
}

/// A document that is to be added.
///
/// # Errors
/// When what is said of it breaks a rule.
pub(super) fn read_document(request: rpc::AddDocumentRequest) -> Result<Document, CallError> {
    let rpc::AddDocumentRequest { uri, format, content, title, topic, tags, lang, share, encoding, metadata } =
        request;
    let format = read_format(format)?;
    let draft = read_draft(Some(rpc::Draft { topic, title, tags, lang, metadata, ..rpc::Draft::default() }))?;
    Ok(Document { draft, content, uri, format, encoding, share, by: By::Owner, held: Vec::new() })
}

/// What adding a document did.
pub(super) fn added_message(added: Added) -> rpc::AddDocumentResponse {
    rpc::AddDocumentResponse {
        ids: added.ids.iter().map(GrainId::to_string).collect(),
        added: added.added,
        unchanged: added.unchanged,
        retracted: added.retracted,
        empty: added.ids.is_empty(),
        left_out: added.left_out.into_iter().map(omission_message).collect(),
    }
}

pub(super) fn source_changed_message(change: SourceChange) -> rpc::SourceChanged {
    let SourceChange { folder, added, edited, moved, withdrawn, grains_added, grains_retracted } = change;
    let folder = folder.display().to_string();
    rpc::SourceChanged { folder, added, edited, moved, withdrawn, grains_added, grains_retracted }
}

/// A synchronisation as a client sees it.
pub(super) fn sync_message(progress: &SyncProgress) -> rpc::SyncProgress {
    let (state, reason) = match &progress.state {
        _ if progress.quota_reached => (rpc::SyncState::Quota, ""),
        SyncState::Running => (rpc::SyncState::Running, ""),
        SyncState::Done => (rpc::SyncState::Done, ""),
        SyncState::Failed(reason) => (rpc::SyncState::Failed, reason.as_str()),
    };
    rpc::SyncProgress {
        topic: progress.topic.to_string(),
        peer_id: progress.peer.to_string(),
        state: state.into(),
        reason: reason.to_owned(),
        missing: progress.missing,
        fetched: progress.fetched,
        refused: progress.refused,
        with_claim: progress.with_claim,
        round_trips: progress.round_trips,
        traffic: Some(rpc::Traffic { sent: progress.bytes_sent, received: progress.bytes_received }),
        elapsed_ms: progress.elapsed.as_millis() as u64,
        comparison_bytes: progress.comparison_bytes,
        fetches: progress.fetches,
    }
}

/// Bytes that went both ways, as a client sees them.
pub(super) fn traffic_message(traffic: &synapsenet_net::Traffic) -> rpc::Traffic {
    rpc::Traffic { sent: traffic.sent, received: traffic.received }
}

pub(super) fn read_search(request: rpc::SearchRequest) -> Result<Search, CallError> {
    let mode = match rpc::SearchMode::try_from(request.mode) {
        Ok(rpc::SearchMode::Unspecified | rpc::SearchMode::Hybrid) => Mode::Hybrid,
        Ok(rpc::SearchMode::Meaning) => Mode::Meaning,
        Ok(rpc::SearchMode::Words) => Mode::Words,
        Err(_) => return Err(invalid("there is no such mode: say hybrid, meaning or words")),
    };
    let min_score = request.min_score.map(|score| score as f32);
    let rpc::SearchRequest { text, k, filter, mesh, mesh_wait_ms, offset, all_copies, with_vectors, .. } =
        request;
    let rpc::SearchRequest { like, vector, space_id, .. } = request;
    let wait = Duration::from_millis(mesh_wait_ms.into());
    if !space_id.is_empty() && vector.is_empty() {
        return Err(invalid_in("space_id", "space_id is given, and no vector that it would be of"));
    }
    let asked = match (text.is_empty(), like.is_empty(), vector.is_empty()) {
        (_, true, true) => Sought::Text(text),
        (true, false, true) => Sought::Like(like),
        (true, true, false) => {
            let space = (!space_id.is_empty()).then(|| space_id.parse::<SpaceId>()).transpose();
            let space = space.map_err(|error| invalid_in("space_id", error.to_string()))?;
            Sought::Vector { components: vector, space }
        }
        _ => {
            let reason = "give a question, a grain whose like is looked for, or a vector: one of these";
            return Err(invalid_in("text", reason));
        }
    };
    Ok(Search {
        asked,
        mode,
        k: k as usize,
        offset: offset as usize,
        min_score,
        all_copies,
        with_vectors,
        filter: filter::read_client(filter)?,
        mesh: mesh.then_some(wait),
    })
}

fn mode_message(mode: Mode) -> rpc::SearchMode {
    match mode {
        Mode::Hybrid => rpc::SearchMode::Hybrid,
        Mode::Meaning => rpc::SearchMode::Meaning,
        Mode::Words => rpc::SearchMode::Words,
    }
}

/// An answer as it goes over the wire: the hits, best first, then the summary.
pub(super) fn search_messages(call: &Call, found: Found) -> Vec<rpc::SearchResponse> {
    use rpc::search_response::Item;
    let message = |item| rpc::SearchResponse { item: Some(item) };
    let mut messages: Vec<_> =
        found.hits.iter().map(|hit| message(Item::Hit(hit_message(call, hit)))).collect();
    messages.push(message(Item::Summary(summary_message(found))));
    if call.topics_of_caller().is_limited() {
        // Who the peers of the node are is told to those who may ask for all that it does.
        for message in &mut messages {
            match &mut message.item {
                Some(Item::Hit(hit)) => hit.peer_id.clear(),
                Some(Item::Summary(summary)) => summary.peers.clear(),
                None => {}
            }
        }
    }
    messages
}

/// A message of one search among those of several.
pub(super) fn one_of_many(search: u32, message: rpc::SearchResponse) -> rpc::SearchManyResponse {
    use rpc::{search_many_response as many, search_response as one};
    let item = message.item.map(|item| match item {
        one::Item::Hit(hit) => many::Item::Hit(hit),
        one::Item::Summary(summary) => many::Item::Summary(summary),
    });
    rpc::SearchManyResponse { search, item }
}

fn hit_message(call: &Call, hit: &Hit) -> rpc::Hit {
    let (shared, peer_id) = match hit.origin {
        Origin::Here { shared } => (shared, String::new()),
        Origin::Peer(peer) => (true, peer.to_string()),
    };
    // What was found here is searchable here.
    let file_uri = call.file_of(&hit.grain, hit.moved_to.as_deref()).unwrap_or_default();
    let whose = whose_message(hit.whose).into();
    let searchable = peer_id.is_empty();
    let grain = rpc::Grain { shared, searchable, file_uri, whose, ..plain_message(&hit.grain) };
    let mark = |mark: &Range<usize>| rpc::TextRange { start: mark.start as u32, end: mark.end as u32 };
    rpc::Hit {
        grain: Some(grain),
        score: f64::from(hit.score),
        peer_id,
        space_id: hit.model.map(|model| model.to_string()).unwrap_or_default(),
        cosine: hit.cosine.map(f64::from),
        words: f64::from(hit.words),
        copies: hit.copies as u32,
        marks: hit.marks.iter().map(mark).collect(),
        vector: hit.vector.as_ref().map(vector_message),
    }
}

/// Where a grain lies, as a client sees it.
pub(super) fn vector_message(vector: &Vector) -> rpc::GrainVector {
    rpc::GrainVector { space_id: vector.model().to_string(), components: vector.values().to_vec() }
}

fn summary_message(found: Found) -> rpc::SearchSummary {
    let model = |(id, name): (SpaceId, String)| rpc::SearchedModel { name, space_id: id.to_string() };
    rpc::SearchSummary {
        hits: found.hits.len() as u32,
        searched: found.searched,
        pending: found.pending,
        unchecked: found.unchecked,
        elapsed_us: micros(found.elapsed),
        embed_us: micros(found.embed),
        peers: found.peers.into_iter().map(outcome_of_peer).collect(),
        models: found.models.into_iter().map(model).collect(),
        mode: mode_message(found.mode).into(),
        unreadable: found.is_unreadable,
        foreign_language: found.foreign.unwrap_or_default().to_owned(),
        best_left_out: found.best_left_out.map(f64::from),
    }
}

fn outcome_of_peer(outcome: PeerOutcome) -> rpc::PeerAnswer {
    let PeerOutcome { peer, outcome, elapsed } = outcome;
    let mut answer = rpc::PeerAnswer {
        peer_id: peer.to_string(),
        outcome: match &outcome {
            Outcome::Answered { .. } => rpc::PeerOutcome::Answered,
            Outcome::Late => rpc::PeerOutcome::Late,
            Outcome::Refused(_) => rpc::PeerOutcome::Refused,
            Outcome::Failed(_) => rpc::PeerOutcome::Failed,
        }
        .into(),
        elapsed_us: micros(elapsed),
        ..Default::default()
    };
    match outcome {
        Outcome::Answered { hits, left_out } => {
            (answer.hits, answer.left_out) = (hits as u32, left_out as u32);
        }
        Outcome::Failed(reason) | Outcome::Refused(reason) => answer.reason = reason,
        Outcome::Late => {}
    }
    answer
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a grain adds, as a client sees it.
pub(super) fn emergence_message(emergence: Emergence) -> rpc::Emergence {
    let Emergence { score, backing, novelty, coherence, reuse, occasions, nothing } = emergence;
    let nothing = match nothing {
        None => rpc::EmergenceNothing::Unspecified,
        Some(Nothing::SaidBefore) => rpc::EmergenceNothing::SaidBefore,
        Some(Nothing::Boilerplate) => rpc::EmergenceNothing::Boilerplate,
        Some(Nothing::TooLittle) => rpc::EmergenceNothing::TooLittle,
        Some(Nothing::Unbacked) => rpc::EmergenceNothing::Unbacked,
    };
    rpc::Emergence {
        score: score.as_f64(),
        backing: backing.as_f64(),
        novelty: novelty.as_f64(),
        coherence: coherence.as_f64(),
        reuse: reuse.as_f64(),
        occasions,
        nothing: nothing.into(),
    }
}

/// How far a check is, as a client sees it.
pub(super) fn verified_message(verified: Verified) -> rpc::VerifyResponse {
    let Verified { checked, total, problems, is_finished } = verified;
    rpc::VerifyResponse { checked, total, problems, finished: is_finished }
}

/// A piece of a backup.
pub(super) fn backup_message(piece: Piece) -> rpc::BackupResponse {
    use rpc::backup_response::Item;
    let item = match piece {
        Piece::Copied { copied, total } => Item::Progress(rpc::BackupProgress { copied, total }),
        Piece::Plan(plan) => Item::Plan(rpc::BackupPlan {
            version: plan.version,
            author: plan.author,
            created_ms: plan.created_ms,
            grains: plan.grains,
            retractions: plan.retractions,
            files: plan
                .files
                .into_iter()
                .map(|file| rpc::BackupFile { name: file.name, size_bytes: file.size_bytes })
                .collect(),
        }),
        Piece::Content { file, bytes } => Item::Data(rpc::BackupData { file, content: bytes }),
    };
    rpc::BackupResponse { item: Some(item) }
}

/// What the node holds and does, as a client sees it.
pub(super) fn report_message(report: Report) -> rpc::StatusResponse {
    let topic = |(topic, grains): (Topic, u64)| rpc::TopicStatus { topic: topic.to_string(), grains };
    rpc::StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        author: report.author.to_string(),
        data_dir: report.data_dir,
        uptime_ms: report.uptime.as_millis() as u64,
        grains: report.counts.notes,
        retractions: report.counts.retractions,
        pending: report.counts.pending,
        searchable: report.searchable,
        unreadable: report.unreadable,
        sources: report.sources.remembered as u32,
        paused_sources: report.sources.paused as u32,
        source_problems: report.sources.problems,
        storage_bytes: report.storage_bytes,
        index_bytes: report.index_bytes,
        memory_bytes: report.memory_bytes,
        model: Some(model_status(report.model)),
        api_addresses: report.api_addresses,
        api_fingerprint: report.api_fingerprint,
        metrics_address: report.metrics_address,
        topics: report.topics.into_iter().map(topic).collect(),
        max_grains: report.limits.max_notes,
        strangers: report.counts.strangers,
        max_strangers: report.limits.max_strangers,
        stranger_bytes: report.counts.stranger_bytes,
        quota_bytes: report.limits.quota_bytes,
        read_only_reason: report.read_only_reason.unwrap_or_default().to_owned(),
        mesh: report.mesh.map(mesh_status),
        log_level: report.log_level,
    }
}

fn model_status(report: ModelReport) -> rpc::ModelStatus {
    let ModelReport { model, presence, to_embed_anew, former } = report;
    let (state, provider) = match presence {
        Presence::Absent => (rpc::ModelState::Installed, String::new()),
        Presence::Loading => (rpc::ModelState::Loading, String::new()),
        Presence::Loaded { provider, .. } => (rpc::ModelState::Loaded, provider.to_string()),
    };
    rpc::ModelStatus {
        name: model.full_name(),
        space_id: model.id().to_string(),
        dimension: model.dimension() as u32,
        max_tokens: model.max_tokens() as u32,
        state: state.into(),
        provider,
        to_embed_anew,
        former_models: former,
    }
}

fn mesh_status(report: MeshReport) -> rpc::MeshStatus {
    rpc::MeshStatus {
        peer_id: report.peer.to_string(),
        addresses: report.addresses.iter().map(ToString::to_string).collect(),
        peers: report.peers as u32,
        max_peers: report.max_peers as u32,
        topics: report.topics.iter().map(ToString::to_string).collect(),
        syncs: report.syncs.iter().map(sync_message).collect(),
        warnings: report.warnings.into_iter().map(warning).collect(),
    }
}

fn warning(warning: Warning) -> rpc::MeshWarning {
    let reason = match warning {
        Warning::Clock { .. } => rpc::MeshWarningReason::Clock,
        Warning::Twin => rpc::MeshWarningReason::Twin,
    };
    rpc::MeshWarning { reason: reason.into(), text: warning.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_as_a_page_token_is_refused_or_read_whole(token in "\\PC{1,40}") {
            if let Ok(position) = read_page_token(&token) {
                prop_assert_eq!(position.map(|position| position.to_string()), Some(token.to_lowercase()));
            }
        }
    }
}
