//! Between the messages of the API and the values of the node.

use std::time::Duration;

use synapsenet_proto::{AuthorId, Draft, Grain, GrainId, Kind, MAX_SOURCE_URI_BYTES, MAX_TAGS, Topic, rpc};
use synapsenet_storage::{BadPosition, Filter, Position, Record};
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::mesh::sync_message;
use super::status::{CallError, invalid};
use crate::memory::document::Format;
use crate::memory::events::Happening;
use crate::memory::ingest::{Put, now_ms};
use crate::memory::query::{Answer, Asked, Hit};

/// A stored grain as a client sees it.
pub(super) fn grain_message(record: &Record, with_signed: bool) -> rpc::Grain {
    rpc::Grain {
        shared: record.shared,
        searchable: record.searchable,
        signed: if with_signed { record.grain.as_bytes().to_vec() } else { Vec::new() },
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
        ..Default::default()
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

pub(super) fn read_format(format: rpc::DocumentFormat) -> Result<Format, CallError> {
    match format {
        rpc::DocumentFormat::Plain => Ok(Format::Plain),
        rpc::DocumentFormat::Markdown => Ok(Format::Markdown),
        rpc::DocumentFormat::Html => Ok(Format::Html),
        rpc::DocumentFormat::Unspecified => {
            Err(invalid("the document's format is not given: say plain, Markdown or HTML"))
        }
    }
}

/// Reads a filter; what is empty is no condition.
pub(crate) fn read_filter(filter: Option<rpc::Filter>) -> Result<Filter, CallError> {
    let filter = filter.unwrap_or_default();
    if filter.tags.len() > MAX_TAGS {
        return Err(invalid(format!(
            "the filter has {} tags; no grain has more than {MAX_TAGS}",
            filter.tags.len()
        )));
    }
    if filter.source_prefix.len() > MAX_SOURCE_URI_BYTES {
        return Err(invalid(format!(
            "source_prefix is longer than any source ({MAX_SOURCE_URI_BYTES} bytes)"
        )));
    }
    let given = |text: String| (!text.is_empty()).then_some(text);
    let author = given(filter.author).map(|author| {
        author
            .parse::<AuthorId>()
            .map_err(|_| invalid(format!("{author:?} is no author: give 64 hexadecimal digits")))
    });
    Ok(Filter {
        topic: given(filter.topic).map(Topic::new).transpose()?,
        tags: filter.tags,
        author: author.transpose()?,
        created_from_ms: filter.created_from_ms,
        created_before_ms: filter.created_before_ms,
        lang: given(filter.lang),
        source_prefix: given(filter.source_prefix),
        shared_only: false,
    })
}

/// Reads the place where the page before ended; empty for the first page.
pub(super) fn read_page_token(token: &str) -> Result<Option<Position>, CallError> {
    let read = |token: &str| token.parse().map_err(|error: BadPosition| invalid(error.to_string()));
    (!token.is_empty()).then_some(token).map(read).transpose()
}

/// What became of one item of a bulk stream.
pub(super) fn bulk_response(ordinal: u64, result: Result<(GrainId, Put), CallError>) -> rpc::BulkPutResponse {
    let (outcome, id, reason) = match result {
        Ok((id, Put::Added)) => (rpc::PutOutcome::Added, id.to_string(), String::new()),
        Ok((_, Put::Duplicate { id, .. })) => (rpc::PutOutcome::Duplicate, id.to_string(), String::new()),
        Err(error) => (rpc::PutOutcome::Refused, String::new(), error.to_string()),
    };
    rpc::BulkPutResponse { ordinal, outcome: outcome.into(), id, reason }
}

/// Something that happened, or that so many things were missed.
pub(super) fn watch_message(happening: Result<Happening, BroadcastStreamRecvError>) -> rpc::WatchResponse {
    use rpc::watch_response::Event;
    let event = match happening {
        Ok(Happening::GrainAdded { id, topic, author, retraction, peer }) => {
            Event::GrainAdded(rpc::GrainAdded {
                id: id.to_string(),
                topic: topic.to_string(),
                author: author.to_string(),
                kind: kind_message(if retraction { Kind::Retraction } else { Kind::Note }).into(),
                peer_id: peer.map(|peer| peer.to_string()).unwrap_or_default(),
            })
        }
        Ok(Happening::PeerJoined { peer }) => Event::PeerJoined(peer.to_string()),
        Ok(Happening::PeerLeft { peer }) => Event::PeerLeft(peer.to_string()),
        Ok(Happening::PeerBanned { peer }) => Event::PeerBanned(peer.to_string()),
        Ok(Happening::Sync(progress)) => Event::Sync(sync_message(&progress)),
        Err(BroadcastStreamRecvError::Lagged(count)) => Event::Missed(count),
    };
    rpc::WatchResponse { time_ms: now_ms(), event: Some(event) }
}

/// A grain that was found here.
pub(super) fn hit_message(hit: &Hit) -> rpc::Hit {
    let grain = grain_message(&hit.record, false);
    let (score, model_id) = (f64::from(hit.score), hit.model.to_string());
    rpc::Hit { grain: Some(grain), score, peer_id: String::new(), model_id }
}

/// What ends an answer, as far as it is about this node.
pub(super) fn summary_message(answer: &Answer) -> rpc::SearchSummary {
    let searched = |asked: &Asked| rpc::SearchedModel {
        name: asked.space.model.full_name(),
        model_id: asked.space.id().to_string(),
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    rpc::SearchSummary {
        hits: answer.hits.len() as u32,
        searched: answer.searched,
        pending: answer.pending,
        elapsed_us: micros(answer.elapsed),
        embed_us: micros(answer.embed),
        peers: Vec::new(),
        models: answer.asked.iter().map(searched).collect(),
    }
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

    #[test]
    fn a_wrong_filter_is_refused_with_the_reason() {
        let reason = |filter| read_filter(Some(filter)).unwrap_err().to_string();
        assert!(reason(rpc::Filter { topic: "No".into(), ..Default::default() }).contains("topic"));
        assert!(reason(rpc::Filter { author: "me".into(), ..Default::default() }).contains("64 hexadecimal"));
        assert!(reason(rpc::Filter { tags: vec!["t".into(); 17], ..Default::default() }).contains("17 tags"));
        assert!(read_filter(None).unwrap().is_empty());
    }
}
