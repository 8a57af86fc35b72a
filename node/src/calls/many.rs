//! Many grains at once: which of this node's own a filter means, and what becomes of each.
//!
//! Notes are taken a page at a time, newest first, so that memory does not grow with their number. What is done is on disk before
//! it is told; whoever was interrupted asks again and goes on with what is left.

use futures::{Stream, StreamExt};
use synapsenet_storage::{Filter, ListQuery, Page, Position, Record};

use crate::calls::error::invalid;
use crate::calls::{Call, CallError};

/// Notes on a page: all of them are under way at the same time, so that they share commits. At most 8 MiB.
const PAGE: usize = 256;
/// Notes that are shown of those that are meant.
const SHOWN: usize = 5;

/// What is to become of each note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It is withdrawn.
    Retract,
    /// It may leave the node.
    Share,
}

/// Which notes are meant.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    /// At least one condition.
    pub filter: Filter,
    /// The source of the filter is a whole URI, not only the beginning of one.
    pub whole_source: bool,
    /// They are only counted, and the first are shown.
    pub dry_run: bool,
}

/// How far it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Notes of this node's own author with which something is to be done.
    pub meant: u64,
    /// Of those, the ones with which it is done.
    pub done: u64,
    /// Notes of this node's own author with which nothing is to be done, as they are shared already.
    pub already: u64,
    /// Notes of others, which only these may withdraw or share.
    pub not_own: u64,
    /// Of those meant, the ones that stay as they were.
    pub refused: u64,
    /// Why the first of these does.
    pub refusal: String,
    /// The newest of those meant; in a dry run alone.
    pub first: Vec<Record>,
    /// Whether this is the end.
    pub is_finished: bool,
}

/// What is still to do.
enum Work {
    Count(Meant),
    Do { meant: Meant, tally: Tally, after: Option<Position> },
}

impl Call {
    /// Withdraws or shares every note of this node's own author that is meant. Answers how many these are, then after each page
    /// how far it is.
    ///
    /// # Errors
    /// [`CallError`]; from the stream, too, and then nothing follows. What was done before is done.
    pub fn do_to_many(
        &self,
        deed: Deed,
        meant: Meant,
    ) -> Result<impl Stream<Item = Result<Tally, CallError>> + Send + use<>, CallError> {
        let meant = Meant { filter: self.by_signed_source(meant.filter), ..meant };
        if meant.filter.is_empty() {
            return Err(invalid("say which grains: by topic, tag, author, language, source or time"));
        }
        if meant.whole_source && meant.filter.source_prefix.is_none() {
            return Err(invalid("whole_source is set, and the filter names no source"));
        }
        let meant = Meant { filter: self.topics_of_caller().narrow(meant.filter)?, ..meant };
        let call = self.clone();
        Ok(futures::stream::unfold(Some(Work::Count(meant)), move |work| {
            let call = call.clone();
            async move {
                Some(match call.step(deed, work?).await {
                    Ok((tally, work)) => (Ok(tally), work),
                    Err(error) => (Err(error), None),
                })
            }
        }))
    }

    async fn step(&self, deed: Deed, work: Work) -> Result<(Tally, Option<Work>), CallError> {
        match work {
            Work::Count(meant) => {
                let tally = self.tally(deed, &meant).await?;
                let is_finished = meant.dry_run || tally.meant == 0;
                let told = Tally { is_finished, ..tally.clone() };
                Ok((told, (!is_finished).then_some(Work::Do { meant, tally, after: None })))
            }
            Work::Do { meant, mut tally, after } => {
                let page = self.page(&meant, after).await?;
                self.do_to(deed, &meant, page.records, &mut tally).await?;
                tally.is_finished = page.next.is_none();
                let told = tally.clone();
                Ok((told, page.next.map(|after| Work::Do { meant, tally, after: Some(after) })))
            }
        }
    }

    async fn page(&self, meant: &Meant, after: Option<Position>) -> Result<Page, CallError> {
        let query = ListQuery { filter: meant.filter.clone(), after, limit: PAGE, ..ListQuery::default() };
        self.read(move |_, view| Ok(view.list(&query)?)).await
    }

    /// Whether a note that fits the filter is one to do something with, counted where it is not.
    fn is_meant(&self, deed: Deed, meant: &Meant, record: &Record, tally: &mut Tally) -> bool {
        if meant.whole_source && !is_of_source(record, &meant.filter) {
            return false;
        }
        if record.grain.author() != self.parts.identity.author() {
            tally.not_own += 1;
            return false;
        }
        if deed == Deed::Share && record.shared {
            tally.already += 1;
            return false;
        }
        true
    }

    async fn tally(&self, deed: Deed, meant: &Meant) -> Result<Tally, CallError> {
        let (mut tally, mut after) = (Tally::default(), None);
        loop {
            let page = self.page(meant, after).await?;
            for record in page.records {
                if !self.is_meant(deed, meant, &record, &mut tally) {
                    continue;
                }
                tally.meant += 1;
                if meant.dry_run && tally.first.len() < SHOWN {
                    tally.first.push(record);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(tally);
            }
        }
    }

    /// Does it to those of a page that are meant.
    async fn do_to(
        &self,
        deed: Deed,
        meant: &Meant,
        records: Vec<Record>,
        tally: &mut Tally,
    ) -> Result<(), CallError> {
        let mut counted = Tally::default();
        let records = records.into_iter().filter(|record| self.is_meant(deed, meant, record, &mut counted));
        let records: Vec<_> = records.collect();
        let deeds = records.into_iter().map(|record| {
            let call = self.clone();
            async move {
                match deed {
                    Deed::Retract => call.retract_record(&record).await.map(drop),
                    Deed::Share => call.share_grain(&record.grain).await.map(drop),
                }
            }
        });
        let mut ended = futures::stream::iter(deeds).buffer_unordered(PAGE);
        while let Some(ended) = ended.next().await {
            match ended {
                Ok(()) => tally.done += 1,
                // Nothing that follows could be done either.
                Err(error) if error.ends_a_batch() => return Err(error),
                // Somebody else was quicker.
                Err(CallError::NoGrain(_)) => tally.done += 1,
                Err(error) => {
                    tally.refused += 1;
                    if tally.refusal.is_empty() {
                        tally.refusal = error.to_string();
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a note was taken from the very source that a filter names, and not from one whose URI only begins so.
pub(super) fn is_of_source(record: &Record, filter: &Filter) -> bool {
    record.source_uri() == filter.source_prefix.as_deref()
}
