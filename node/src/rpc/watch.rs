//! Watching, between the messages of the API and the values of the node.

use futures::{Stream, StreamExt};
use synapsenet_proto::{Kind, rpc};
use tonic::Status;

use super::convert::{kind_message, source_changed_message, sync_message};
use super::status::status_of;
use crate::calls::error::invalid;
use crate::calls::watching::{Kind as Kinds, News, Told, Watching, Wish};
use crate::calls::{CallError, Happening};
use crate::filter;

/// What somebody wants to be told.
///
/// # Errors
/// When the filter is none, or a kind is unknown.
pub(super) fn read_wish(request: rpc::WatchRequest) -> Result<Wish, CallError> {
    let rpc::WatchRequest { filter, cursor, kinds } = request;
    let kind = |kind: i32| match rpc::EventKind::try_from(kind) {
        Ok(rpc::EventKind::GrainAdded) => Ok(Kinds::GrainAdded),
        Ok(rpc::EventKind::GrainRetracted) => Ok(Kinds::GrainRetracted),
        Ok(rpc::EventKind::Peer) => Ok(Kinds::Peer),
        Ok(rpc::EventKind::Sync) => Ok(Kinds::Sync),
        Ok(rpc::EventKind::SourceChanged) => Ok(Kinds::SourceChanged),
        Ok(rpc::EventKind::Unspecified) | Err(_) => {
            Err(invalid(format!("there is no kind of event {kind}: leave all out to be told of everything")))
        }
    };
    let kinds = kinds.into_iter().map(kind).collect::<Result<_, _>>()?;
    Ok(Wish { filter: filter::read_client(filter)?, cursor, kinds })
}

/// What is told, until an error ends it.
pub(super) fn messages(watching: Watching) -> impl Stream<Item = Result<rpc::WatchResponse, Status>> + Send {
    let news = futures::stream::unfold(Some(watching), |watching| async {
        let mut watching = watching?;
        match watching.next().await? {
            Ok(news) => Some((Ok(news), Some(watching))),
            Err(error) => Some((Err(error), None)),
        }
    });
    news.map(|news| news.map(message).map_err(status_of))
}

fn message(news: News) -> rpc::WatchResponse {
    use rpc::watch_response::Event;
    let event = match news.told {
        Told::Begun => None,
        Told::Missed(count) => Some(Event::Missed(count)),
        Told::Happened(happening) => Some(match *happening {
            Happening::GrainAdded { id, topic, author, retracts, peer, .. } => {
                let kind = if retracts.is_some() { Kind::Retraction } else { Kind::Note };
                Event::GrainAdded(rpc::GrainAdded {
                    id: id.to_string(),
                    topic: topic.to_string(),
                    author: author.to_string(),
                    kind: kind_message(kind).into(),
                    peer_id: peer.map(|peer| peer.to_string()).unwrap_or_default(),
                    retracted: retracts.map(|id| id.to_string()).unwrap_or_default(),
                })
            }
            Happening::PeerJoined { peer } => Event::PeerJoined(peer.to_string()),
            Happening::PeerLeft { peer } => Event::PeerLeft(peer.to_string()),
            Happening::PeerBanned { peer } => Event::PeerBanned(peer.to_string()),
            Happening::SourceChanged(change) => Event::SourceChanged(source_changed_message(change)),
            Happening::Sync(progress) => Event::Sync(sync_message(&progress)),
        }),
    };
    rpc::WatchResponse { time_ms: news.time_ms, event, cursor: news.cursor.unwrap_or_default() }
}
