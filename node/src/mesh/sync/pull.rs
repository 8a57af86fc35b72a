//! One synchronisation with one peer: learn what is missing, fetch it, hand it in.
//!
//! First the whole of time is compared. The first answer finishes it when nothing is missing, and says how many grains
//! there are. When a page or more is missing, it goes on page by page, newest first, so that a newcomer is of use early.
//! What came is stored at once; whatever interrupts this, the next one goes on from there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use synapsenet_net::Offence;
use synapsenet_proto::{MAX_CLOCK_SKEW_MS, rpc};
use tokio_util::sync::CancellationToken;

use super::board::Teller;
use super::items::{Items, PAGE_GRAINS, Span};
use super::session::{Endless, Rounds, Session, Step};
use super::source::{Batch, Source, Stop, Wanted};
use crate::blocking::blocking;
use crate::memory::events::{SyncProgress, SyncState};
use crate::memory::ingest::now_ms;

/// Grains that a peer may be asked for at once.
pub(crate) const MAX_FETCHED_IDS: usize = 512;
/// Grains asked for at once here. What is on its way when this process dies is fetched again, so it is little ...
pub(super) const FETCHED_IDS: usize = 256;
/// ... and so are the batches at the same time: one is stored while the next one comes.
pub(super) const MAX_FETCHES: usize = 2;
/// A synchronisation that goes on for so long gives its place to others, and goes on when it has its turn again: on a line of
/// 4 MiB a second, after some million grains.
pub(super) const MAX_SYNC: Duration = Duration::from_secs(900);
/// Bytes of refused grains in one synchronisation, above which it ends when they are most of what came: 100,000 short texts of an
/// author that is not wanted here are fewer.
const MAX_REFUSED_BYTES: u64 = 64 << 20;
/// A synchronisation that brings nothing new for so long gives its place to others.
pub(super) const MAX_BARREN: Duration = Duration::from_secs(120);
/// Grains listed and not given, above which no more are asked for of a peer that gave fewer than those. It costs it
/// nothing: an author may have withdrawn them, or the peer's owner forgotten them, between list and fetch.
pub(super) const MAX_NEVER_GIVEN: u64 = 1024;
/// Pages that are gone through: 40 million grains.
pub(super) const MAX_PAGES: usize = 4096;

/// A synchronisation that is under way.
pub(super) struct Pull {
    source: Arc<Source>,
    progress: SyncProgress,
    teller: Teller,
    start: Instant,
    /// When the latest new grain came.
    useful: Instant,
    added: u64,
    given_up: u64,
    refused_bytes: u64,
    lacks: Lacks,
}

/// What a peer lacks of what is here, as a number that tells one set from another; 0 when nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lacks(u64);

impl Lacks {
    fn add(&mut self, ids: &[negentropy::Id]) {
        for id in ids {
            let id = id.as_bytes();
            let half = u64::from_le_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
            // Never 0, so that one id is not taken for none.
            self.0 = self.0.wrapping_add(half | 1);
        }
    }

    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// How a synchronisation turned out.
pub(super) struct Pulled {
    pub progress: SyncProgress,
    /// Grains that are new here.
    pub added: u64,
    /// What the peer should not have done.
    pub offence: Option<Offence>,
    /// What the peer lacks.
    pub lacks: Lacks,
    /// When it is the peer's turn again.
    pub next: Next,
}

/// When the next synchronisation of a topic with the same peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// As soon as it is wanted.
    Usual,
    /// It is wanted: there is more.
    GoesOn,
    /// After a while in which others have their turns.
    AfterRest,
}

impl Pull {
    pub fn new(source: Source, teller: Teller) -> Self {
        let (now, progress) = (Instant::now(), SyncProgress::of_start(source.topic.clone(), source.peer));
        Self {
            source: Arc::new(source),
            progress,
            teller,
            start: now,
            useful: now,
            added: 0,
            given_up: 0,
            refused_bytes: 0,
            lacks: Lacks::default(),
        }
    }

    /// Runs to the end, or until it is cancelled.
    pub async fn run(mut self, cancel: &CancellationToken) -> Pulled {
        self.tell();
        let ended = cancel.run_until_cancelled(self.pull()).await;
        let ended = ended.unwrap_or_else(|| Err(Stop::failed("it is not wanted any more")));
        let (mut offence, mut next) = (None, Next::Usual);
        self.progress.state = match ended {
            Ok(()) => SyncState::Done,
            Err(Stop::Full) => {
                self.progress.quota_reached = true;
                SyncState::Done
            }
            Err(Stop::Later) => {
                next = Next::GoesOn;
                SyncState::Failed("there is more than there is time for at once; it goes on".to_owned())
            }
            Err(Stop::Rest(reason)) => {
                next = Next::AfterRest;
                SyncState::Failed(reason.to_owned())
            }
            Err(Stop::Failed { reason, offence: fault }) => {
                offence = fault;
                SyncState::Failed(reason)
            }
        };
        self.tell();
        Pulled { progress: self.progress, added: self.added, offence, lacks: self.lacks, next }
    }

    async fn pull(&mut self) -> Result<(), Stop> {
        // What is dated ahead of the clock here would be refused, and what is older than all there is room for.
        let before_ms = now_ms().saturating_add(MAX_CLOCK_SKEW_MS);
        let all = Span { from_ms: self.source.oldest_wanted_ms(), before_ms };
        if !all.is_valid() {
            return Err(Stop::Full);
        }
        for page in self.session(all, true).await? {
            self.session(page, false).await?;
        }
        Ok(())
    }

    /// Compares one span and fetches what is missing of it. When it is the first and too much is missing for
    /// that, nothing is fetched, and it answers the pages to go through.
    async fn session(&mut self, span: Span, mut is_first: bool) -> Result<Vec<Span>, Stop> {
        let session = Arc::new(Session { items: self.read(span).await?, is_first });
        let opening = session.clone();
        let mut message = blocking(move || opening.open()).await.map_err(Stop::failed)?;
        let mut rounds = Rounds::default();
        loop {
            let answer = self.reconcile(span, message.clone()).await?;
            if std::mem::take(&mut is_first) && answer.grains > (session.items.len() + PAGE_GRAINS) as u64 {
                let pages = pages(span, &answer.pages)?;
                if !pages.is_empty() {
                    return Ok(pages);
                }
            }
            let stepping = session.clone();
            let step = blocking(move || stepping.step(&answer.message)).await;
            let step = step.map_err(|error| Stop::offence(Offence::BadAnswer, error))?;
            let counted = rounds.count(&message, &step);
            let Step { have, need, next } = step;
            self.lacks.add(&have);
            let missing = self.source.missing(need).await?;
            self.progress.missing += missing.len() as u64;
            self.tell_sometimes();
            self.fetch(missing, span).await?;
            counted.map_err(endless)?;
            let Some(next) = next else { return Ok(Vec::new()) };
            message = next;
        }
    }

    async fn read(&self, span: Span) -> Result<Items, Stop> {
        let source = self.source.clone();
        let read = move || Items::read(&source.memory.store.view()?, &source.topic, span);
        blocking(read).await.map_err(Stop::failed)
    }

    async fn reconcile(&mut self, span: Span, message: Vec<u8>) -> Result<rpc::SyncResponse, Stop> {
        if self.useful.elapsed() > MAX_BARREN {
            return Err(Stop::Rest("the peer answers slowly and brings nothing new"));
        }
        self.keep_time()?;
        let Span { from_ms, before_ms } = span;
        let topic = self.source.topic.to_string();
        self.source.reconcile(rpc::Reconcile { topic, from_ms, before_ms, message }).await
    }

    /// Fetches what is missing, and last what another synchronisation was fetching and did not bring.
    async fn fetch(&mut self, missing: Vec<Wanted>, span: Span) -> Result<(), Stop> {
        let left = self.fetch_all(missing, span, true).await?;
        self.fetch_all(left, span, false).await.map(|_| ())
    }

    /// Fetches grains in batches, a few at the same time. When those are not stored yet, no more are asked for. When one
    /// fails, the others still end, so that what came is stored. Answers those that are left to others.
    async fn fetch_all(
        &mut self,
        missing: Vec<Wanted>,
        span: Span,
        leave: bool,
    ) -> Result<Vec<Wanted>, Stop> {
        let (mut queue, mut left) = (VecDeque::from(missing), Vec::new());
        let mut under_way = FuturesUnordered::new();
        let mut result = Ok(());
        loop {
            let room = if queue.is_empty() { Ok(()) } else { self.source.need_room() };
            if let Err(stop) = room {
                queue.clear();
                result = result.and(Err(stop));
            }
            while under_way.len() < MAX_FETCHES && !queue.is_empty() {
                let batch: Vec<Wanted> = queue.drain(..queue.len().min(FETCHED_IDS)).collect();
                let length = batch.len();
                let batch = self.source.still_missing(batch).await;
                let batch =
                    batch.map(|batch| (length - batch.len(), self.source.under_way.take(batch, leave)));
                let Ok((came, (mut taken, others))) = batch.map_err(|stop| result = Err(stop)) else {
                    queue.clear();
                    break;
                };
                self.progress.fetched += came as u64;
                if came > 0 {
                    self.useful = Instant::now();
                }
                left.extend(others);
                let (source, wanted) = (self.source.clone(), std::mem::take(&mut taken.wanted));
                if !wanted.is_empty() {
                    under_way.push(async move {
                        let _until_it_came = taken;
                        source.bring(wanted, span).await
                    });
                }
            }
            let Some(batch) = under_way.next().await else { return result.map(|()| left) };
            let counted = batch.and_then(|batch| self.count(&batch).map(|()| batch.again));
            match counted {
                Ok(again) if result.is_ok() => {
                    again.into_iter().rev().for_each(|wanted| queue.push_front(wanted))
                }
                Ok(_) => {}
                Err(stop) => {
                    queue.clear();
                    result = result.and(Err(stop));
                }
            }
        }
    }

    /// # Errors
    /// When its time is over, or the peer is too slow.
    fn keep_time(&self) -> Result<(), Stop> {
        if self.source.pace.is_too_slow() {
            return Err(Stop::Rest("the peer is so slow that others have their turn"));
        }
        if self.start.elapsed() > MAX_SYNC { Err(Stop::Later) } else { Ok(()) }
    }

    fn count(&mut self, batch: &Batch) -> Result<(), Stop> {
        self.added += batch.added;
        self.given_up += batch.given_up;
        self.progress.fetched += batch.added + batch.known;
        self.progress.refused += batch.refused;
        self.progress.with_claim += batch.with_claim;
        self.tell_sometimes();
        if batch.added > 0 {
            self.useful = Instant::now();
        }
        if batch.is_full {
            return Err(Stop::Full);
        }
        self.refused_bytes += batch.refused_bytes;
        if self.refused_bytes > MAX_REFUSED_BYTES
            && self.refused_bytes > self.source.bytes_received.load(Relaxed) / 2
        {
            return Err(Stop::Rest("most of what the peer gives is refused here"));
        }
        self.keep_time()?;
        if self.given_up > MAX_NEVER_GIVEN && self.given_up > self.progress.fetched {
            return Err(Stop::failed("the peer lists grains that it does not give"));
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.bring_up_to_date();
        self.teller.tell(&self.progress);
    }

    fn tell_sometimes(&mut self) {
        self.bring_up_to_date();
        self.teller.tell_sometimes(&self.progress);
    }

    fn bring_up_to_date(&mut self) {
        self.progress.round_trips = self.source.round_trips.load(Relaxed);
        self.progress.comparison_bytes = self.source.comparison_bytes.load(Relaxed);
        self.progress.fetches = self.source.fetches.load(Relaxed);
        self.progress.bytes_sent = self.source.bytes_sent.load(Relaxed);
        self.progress.bytes_received = self.source.bytes_received.load(Relaxed);
        self.progress.elapsed = self.start.elapsed();
    }
}

fn pages(span: Span, times: &[u64]) -> Result<Vec<Span>, Stop> {
    let bad = |reason| Stop::offence(Offence::BadAnswer, reason);
    if times.len() > MAX_PAGES {
        return Err(bad("the peer has more pages than there may be"));
    }
    span.pages(times).ok_or_else(|| bad("the peer's pages are in no order"))
}

fn endless(endless: Endless) -> Stop {
    match endless {
        Endless::Fruitless => Stop::offence(Offence::EndlessSync, "the session leads nowhere"),
        Endless::Long => Stop::failed("there are too many differences for one session; the next one goes on"),
    }
}
