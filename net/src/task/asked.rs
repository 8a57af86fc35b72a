//! Questions in both directions.

use std::pin::Pin;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::request_response::{self, Message, OutboundFailure, ResponseChannel};
use synapsenet_proto::rpc;
use tokio::sync::oneshot;

use super::{AskReply, Line, MAX_ANSWERING, MAX_ASKED, Task, now_ms};
use crate::codec::Asked;
use crate::score::Offence;
use crate::{AskError, Event, Reply, Request, Response};

/// Where an answer goes.
pub(crate) enum Channel {
    Sync(ResponseChannel<rpc::SyncResponse>),
    Fetch(ResponseChannel<rpc::FetchResponse>),
    Search(ResponseChannel<rpc::Answer>),
}

/// An answer that the application is making; none when it makes none.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Option<(Channel, Response)>> + Send>>;

impl Task {
    pub(super) fn ask(&mut self, peer: PeerId, request: Request, reply: AskReply) {
        self.asked.retain(|_, (reply, _)| !reply.is_closed());
        let refused = if !self.swarm.is_connected(&peer) {
            Some(AskError::NotConnected)
        } else if self.asked.len() >= MAX_ASKED {
            Some(AskError::Busy)
        } else {
            None
        };
        if let Some(error) = refused {
            // Whoever asked has gone.
            let _ = reply.send(Err(error));
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        let key = match request {
            Request::Sync(question) => {
                (Line::Sync, behaviour.sync.send_request(&peer, Asked::Question(question)))
            }
            Request::Fetch(question) => {
                (Line::Fetch, behaviour.fetch.send_request(&peer, Asked::Question(question)))
            }
            Request::Search(question) => {
                (Line::Search, behaviour.search.send_request(&peer, Asked::Question(question)))
            }
        };
        self.asked.insert(key, (reply, Instant::now()));
    }

    /// Something happened on one of the protocols for questions.
    pub(super) fn on_question<Q, A>(
        &mut self,
        line: Line,
        event: request_response::Event<Asked<Q>, A>,
        request_of: fn(Q) -> Request,
        response_of: fn(A) -> Response,
        channel_of: fn(ResponseChannel<A>) -> Channel,
    ) {
        use request_response::Event;
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                match request {
                    Asked::Question(request) => {
                        self.on_asked(peer, request_of(request), channel_of(channel));
                    }
                    Asked::Unreadable => self.offended(peer, Offence::BadRequest),
                    Asked::Stalled => self.offended(peer, Offence::Stalled),
                }
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                if let Some((reply, asked)) = self.asked.remove(&(line, request_id)) {
                    let response = response_of(response);
                    self.read_clock(peer, &response, asked);
                    // Whoever asked has gone.
                    let _ = reply.send(Ok(response));
                }
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                let error = self.ask_error(peer, error);
                if let Some((reply, _)) = self.asked.remove(&(line, request_id)) {
                    // As above.
                    let _ = reply.send(Err(error));
                }
            }
            // The peer hung up, or nobody here answered.
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    /// An answer to a question about what is missing tells what time it is at the peer.
    fn read_clock(&mut self, peer: PeerId, response: &Response, asked: Instant) {
        if let Response::Sync(rpc::SyncResponse { clock_ms, .. }) = response
            && *clock_ms != 0
            && self.peers.contains_key(&peer)
        {
            self.clocks.told(peer, *clock_ms, asked.elapsed(), now_ms());
        }
    }

    fn on_asked(&mut self, peer: PeerId, request: Request, channel: Channel) {
        if self.answering.len() >= MAX_ANSWERING {
            self.metrics.dropped_questions.inc();
            return;
        }
        let (answer, answered) = oneshot::channel();
        if !self.tell(Event::Asked { peer, request: Box::new(request), reply: Reply { answer } }) {
            self.metrics.dropped_questions.inc();
            return;
        }
        self.answering.push(Box::pin(async move { answered.await.ok().map(|response| (channel, response)) }));
    }

    pub(super) fn on_answered(&mut self, answered: Option<(Channel, Response)>) {
        let behaviour = self.swarm.behaviour_mut();
        let is_sent = match answered {
            Some((Channel::Sync(channel), Response::Sync(mut answer))) => {
                if answer.clock_ms == 0 {
                    answer.clock_ms = now_ms();
                }
                behaviour.sync.send_response(channel, answer).is_ok()
            }
            Some((Channel::Fetch(channel), Response::Fetch(answer))) => {
                behaviour.fetch.send_response(channel, answer).is_ok()
            }
            Some((Channel::Search(channel), Response::Search(answer))) => {
                behaviour.search.send_response(channel, answer).is_ok()
            }
            Some(_) => {
                tracing::error!("a question got the answer of another protocol");
                false
            }
            None => false,
        };
        if !is_sent {
            tracing::debug!("a question stays without an answer");
        }
    }

    fn ask_error(&mut self, peer: PeerId, error: OutboundFailure) -> AskError {
        match error {
            OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => AskError::NotConnected,
            OutboundFailure::Timeout => AskError::TimedOut,
            OutboundFailure::UnsupportedProtocols => AskError::Unsupported,
            OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.offended(peer, Offence::BadAnswer);
                AskError::BadAnswer(error.to_string())
            }
            OutboundFailure::Io(_) => AskError::NotConnected,
        }
    }
}
