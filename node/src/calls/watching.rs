//! Watching: what happens on the node as it happens, and what was stored since an earlier watch.
//!
//! A cursor is a place in the order in which grains came in, which stands in the store: a restart changes nothing of it, and it
//! is never too old. What lies behind it is read from the store a page at a time, then told live; whoever is too slow for what
//! is live goes back to the store for its grains, so that memory stays bounded and no grain is passed over.
//!
//! ```text
//! cursor --grains_after, page by page--> told --caught up--> live events --too slow--> grains_after ...
//! ```

use std::collections::VecDeque;

use synapsenet_proto::Grain;
use synapsenet_storage::{Filter, Record, Slot, View};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::calls::access::Topics;
use crate::calls::sealed::Seal;
use crate::calls::{Call, CallError, Happening, now_ms};

/// Grains that are read from the store at once: some milliseconds, and at most 8 MiB.
const PAGE: usize = 256;
/// What tells cursors from other uses of the store's number.
const CONTEXT: &str = "synapsenet v1 cursor of a watch";

/// What is told of. A grain and its retraction are kinds of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    GrainAdded,
    GrainRetracted,
    Peer,
    Sync,
    SourceChanged,
}

/// What somebody wants to be told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Which grains; see [`Wish::lets_through`].
    pub filter: Filter,
    /// Where an earlier watch ended; empty is from now on.
    pub cursor: String,
    /// Only these; none is all.
    pub kinds: Vec<Kind>,
}

/// Something to tell.
#[derive(Debug)]
pub(crate) enum Told {
    /// Where the watch begins.
    Begun,
    /// What happened.
    Happened(Box<Happening>),
    /// So many events were passed over; of grains, what follows tells.
    Missed(u64),
}

/// Something to tell, and when it was seen.
#[derive(Debug)]
pub(crate) struct News {
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    pub told: Told,
    /// Where to go on behind it, where it is a beginning or a grain.
    pub cursor: Option<String>,
}

/// One who watches.
pub(crate) struct Watching {
    call: Call,
    wish: Wish,
    seal: Seal,
    live: broadcast::Receiver<Happening>,
    /// Every grain up to this one was told or is not wanted.
    seen: Slot,
    /// What was read from the store and is to be told.
    page: VecDeque<News>,
    /// Whether the store may hold what was not told.
    is_behind: bool,
}

impl Call {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`CallError::NoCursor`] when the cursor says nothing here, and others.
    pub async fn watch(&self, wish: Wish) -> Result<Watching, CallError> {
        let filter = self.narrow_watch(wish.filter)?;
        // Before the store is read, so that nothing falls between the two.
        let live = self.listen();
        let cursor = wish.cursor.clone();
        let (seal, last, from) = self
            .read(move |_, view| {
                let (seal, last) = (Seal::new(CONTEXT, view.store_id()?), view.last_slot()?);
                let from = if cursor.is_empty() { last } else { slot_of(&seal, &cursor, last)? };
                Ok((seal, last, from))
            })
            .await?;
        let begun = News { time_ms: now_ms(), told: Told::Begun, cursor: Some(cursor_of(&seal, from)) };
        let wish = Wish { filter, ..wish };
        let page = VecDeque::from([begun]);
        Ok(Watching { call: self.clone(), wish, seal, live, seen: from, page, is_behind: from < last })
    }

    /// Unlike a list, a watch that names no topic means all that the caller has.
    fn narrow_watch(&self, filter: Filter) -> Result<Filter, CallError> {
        for topic in filter.topics().into_iter().flatten() {
            self.topics_of_caller().check(topic)?;
        }
        Ok(self.by_signed_source(filter))
    }
}

impl Watching {
    /// What to tell next; None once the node tells nothing any more.
    pub async fn next(&mut self) -> Option<Result<News, CallError>> {
        loop {
            if let Some(news) = self.page.pop_front() {
                return Some(Ok(news));
            }
            if self.is_behind {
                match self.read_page().await {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            }
            match self.live.recv().await {
                Ok(Happening::GrainAdded { slot, .. }) if slot <= self.seen => {}
                Ok(happening) => {
                    if let Happening::GrainAdded { slot, .. } = &happening {
                        self.seen = *slot;
                    }
                    match self.wants(&happening).await {
                        Ok(true) => return Some(Ok(self.news(now_ms(), happening))),
                        Ok(false) => {}
                        Err(error) => return Some(Err(error)),
                    }
                }
                Err(RecvError::Lagged(count)) => {
                    self.is_behind = true;
                    // How much happens elsewhere is not for who is limited to topics.
                    let count = if self.call.topics_of_caller().is_limited() { 1 } else { count };
                    return Some(Ok(News { time_ms: now_ms(), told: Told::Missed(count), cursor: None }));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads the next grains behind those that were seen.
    async fn read_page(&mut self) -> Result<(), CallError> {
        let (seen, filter, topics) =
            (self.seen, self.wish.filter.clone(), self.call.topics_of_caller().clone());
        let page = self.call.read(move |_, view| page(view, seen, &filter, &topics));
        let (last, found) = page.await?;
        match last {
            Some(last) => self.seen = last,
            None => self.is_behind = false,
        }
        for (received_ms, happening) in found {
            if self.wish.is_of_kind(&happening) {
                let news = self.news(received_ms, happening);
                self.page.push_back(news);
            }
        }
        Ok(())
    }

    async fn wants(&self, happening: &Happening) -> Result<bool, CallError> {
        let topics = self.call.topics_of_caller();
        if !self.wish.is_of_kind(happening) {
            return Ok(false);
        }
        let Happening::GrainAdded { slot, topic, .. } = happening else { return Ok(!topics.is_limited()) };
        if !topics.has(topic) {
            return Ok(false);
        }
        if self.wish.filter.is_empty() {
            return Ok(true);
        }
        let (slot, filter) = (*slot, self.wish.filter.clone());
        // One that is gone by now is told of by its retraction.
        let fits = self.call.read(move |_, view| match view.record(slot)? {
            Some(record) => lets_through(view, &record, &filter),
            None => Ok(false),
        });
        fits.await
    }

    fn news(&self, time_ms: u64, happening: Happening) -> News {
        let is_limited = self.call.topics_of_caller().is_limited();
        let (happening, cursor) = match happening {
            Happening::GrainAdded { slot, id, topic, author, retracts, peer } => {
                // Who the peers of the node are is told to those who may ask for all that it does.
                let peer = peer.filter(|_| !is_limited);
                let cursor = Some(cursor_of(&self.seal, slot));
                (Happening::GrainAdded { slot, id, topic, author, retracts, peer }, cursor)
            }
            other => (other, None),
        };
        News { time_ms, told: Told::Happened(Box::new(happening)), cursor }
    }
}

impl Wish {
    fn is_of_kind(&self, happening: &Happening) -> bool {
        let kind = match happening {
            Happening::GrainAdded { retracts: None, .. } => Kind::GrainAdded,
            Happening::GrainAdded { retracts: Some(_), .. } => Kind::GrainRetracted,
            Happening::PeerJoined { .. } | Happening::PeerLeft { .. } | Happening::PeerBanned { .. } => {
                Kind::Peer
            }
            Happening::Sync(_) => Kind::Sync,
            Happening::SourceChanged(_) => Kind::SourceChanged,
        };
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// Whether a grain is meant by a filter. A retraction has no tags, language, source or metadata, and what it withdrew is gone: of it
/// only topic, author and time are asked, so that whoever holds what a watch told learns that it was withdrawn.
fn lets_through(view: &View, record: &Record, filter: &Filter) -> Result<bool, CallError> {
    if record.grain.retracted().is_none() {
        return Ok(view.matches(record.slot, filter)?);
    }
    Ok(may_withdraw(&record.grain, filter))
}

/// Whether a retraction may withdraw what is meant by a filter.
fn may_withdraw(retraction: &Grain, filter: &Filter) -> bool {
    let asked = |filter: &Filter| Filter {
        topic: filter.topic.clone(),
        author: filter.author,
        created_from_ms: filter.created_from_ms,
        created_before_ms: filter.created_before_ms,
        ..Filter::default()
    };
    let Filter { topic, author, created_from_ms, created_before_ms, any, none, .. } = filter;
    let time = retraction.created_ms();
    topic.as_ref().is_none_or(|topic| topic == retraction.topic())
        && author.is_none_or(|author| author == retraction.author())
        && created_from_ms.is_none_or(|from| time >= from)
        && created_before_ms.is_none_or(|before| time < before)
        && (any.is_empty() || any.iter().any(|other| may_withdraw(retraction, other)))
        // One that asks for more too, such as a tag, may not have meant what was withdrawn.
        && !none.iter().any(|other| *other == asked(other) && may_withdraw(retraction, other))
}

/// The last slot that was looked at behind `seen`, none when there is no more, and what of it is meant, with when it came in.
type Page = (Option<Slot>, Vec<(u64, Happening)>);

fn page(view: &View, seen: Slot, filter: &Filter, topics: &Topics) -> Result<Page, CallError> {
    let grains = view.grains_after(seen, PAGE)?;
    let last = grains.last().map(|(slot, _)| *slot);
    let mut found = Vec::new();
    // One that is damaged cannot be told of; `verify` does.
    for record in grains.into_iter().filter_map(|(_, record)| record) {
        if !topics.shows(&record) || !lets_through(view, &record, filter)? {
            continue;
        }
        let (slot, received_ms, grain) = (record.slot, record.received_ms, record.grain);
        let (id, topic, author, retracts) =
            (grain.id(), grain.topic().clone(), grain.author(), grain.retracted());
        found.push((received_ms, Happening::GrainAdded { slot, id, topic, author, retracts, peer: None }));
    }
    Ok((last, found))
}

fn cursor_of(seal: &Seal, slot: Slot) -> String {
    seal.close(&slot.to_be_bytes())
}

fn slot_of(seal: &Seal, cursor: &str, last: Slot) -> Result<Slot, CallError> {
    let slot = seal.open(cursor).and_then(|slot| slot.try_into().ok()).map(Slot::from_be_bytes);
    match slot.ok_or(CallError::NoCursor("the cursor is not of this data folder"))? {
        slot if slot > last => Err(CallError::NoCursor(
            "the cursor is ahead of what is stored here: the data folder was restored to an earlier state",
        )),
        slot => Ok(slot),
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_proto::{Draft, Topic};

    use super::*;
    use crate::testing::author;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn draft(text: &str) -> Draft {
        Draft { text: text.into(), ..Draft::default() }
    }

    #[test]
    fn a_retraction_is_told_to_whom_what_it_withdraws_may_have_been_told() {
        let note = Grain::seal(Draft { topic: topic("bees"), ..draft("hum") }, &author(1), 5).unwrap();
        let gone = Grain::retract(note.id(), topic("bees"), &author(1), 6).unwrap();
        let of = |name| Filter { topic: Some(topic(name)), ..Filter::default() };
        let tagged = |filter| Filter { tags: vec!["t".into()], ..filter };
        let any = |any| Filter { any, ..Filter::default() };
        let none = |none| Filter { none, ..Filter::default() };
        assert!(may_withdraw(&gone, &any(vec![of("house"), tagged(of("bees"))])));
        assert!(!may_withdraw(&gone, &any(vec![of("house"), of("keys")])));
        assert!(!may_withdraw(&gone, &none(vec![of("bees")])));
        assert!(
            may_withdraw(&gone, &none(vec![of("house"), tagged(of("bees"))])),
            "it may have had no such tag"
        );
    }

    #[test]
    fn a_cursor_ahead_of_the_store_is_refused() {
        let seal = Seal::new(CONTEXT, 7);
        let two = cursor_of(&seal, 2);
        assert_eq!(slot_of(&seal, &two, 2).unwrap(), 2);
        assert!(slot_of(&seal, &two, 1).unwrap_err().to_string().contains("restored"));
        // What is closed here and no slot.
        assert!(matches!(slot_of(&seal, &seal.close(b"2"), 2), Err(CallError::NoCursor(_))));
    }
}
