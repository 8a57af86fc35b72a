//! The shared grains of a topic as negentropy sees them: (created_ms, id), in order.

use std::sync::Arc;

use negentropy::{Bound, Error, Id, Item, NegentropyStorageBase};
use synapsenet_proto::{GrainId, Topic};
use synapsenet_storage::{StorageError, View};

/// Grains on one page: what a newcomer lacks is fetched page by page, newest first, and one page's ids fit into one
/// message of a third of a megabyte.
pub(crate) const MAX_PAGE_GRAINS: usize = 10_000;
/// Tests make do with fewer.
pub(crate) const PAGE_GRAINS: usize = if cfg!(test) { 1000 } else { MAX_PAGE_GRAINS };

/// A span of time, in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// It begins here ...
    pub from_ms: u64,
    /// ... and ends before this; 0 is without end, as on the wire.
    pub before_ms: u64,
}

impl Span {
    /// The whole of time.
    pub const WHOLE: Self = Self { from_ms: 0, before_ms: 0 };

    /// The pages that times cut this span into, newest first; none when the times do not descend. Whatever the last of them
    /// says, the last page goes back to the beginning.
    pub fn pages(self, times: &[u64]) -> Option<Vec<Self>> {
        if !times.is_sorted_by(|newer, older| newer > older) {
            return None;
        }
        let mut spans = Vec::with_capacity(times.len());
        let mut before_ms = self.before_ms;
        let within =
            |time: &&u64| **time >= self.from_ms && self.before().is_none_or(|before| **time < before);
        for &from_ms in times.iter().filter(within) {
            spans.push(Self { from_ms, before_ms });
            before_ms = from_ms;
        }
        if let Some(last) = spans.last_mut() {
            last.from_ms = self.from_ms;
        }
        Some(spans)
    }

    /// Whether this time is in it.
    pub fn contains(self, time_ms: u64) -> bool {
        time_ms >= self.from_ms && self.before().is_none_or(|before| time_ms < before)
    }

    /// Whether it has a beginning before its end.
    pub fn is_valid(self) -> bool {
        self.before_ms == 0 || self.from_ms < self.before_ms
    }

    fn before(self) -> Option<u64> {
        (self.before_ms != 0).then_some(self.before_ms)
    }
}

/// Grains in the order of (created_ms, id). Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Items {
    all: Arc<[Item]>,
    start: usize,
    end: usize,
}

impl Items {
    /// What may leave the node of a topic and a span.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(view: &View, topic: &Topic, span: Span) -> Result<Self, StorageError> {
        let items = view.shared_items(topic, span.from_ms, span.before())?;
        let item = |(time, id): (u64, GrainId)| {
            Item::with_timestamp_and_id(time, Id::from_byte_array(*id.as_bytes()))
        };
        let all: Arc<[Item]> = items.into_iter().map(item).collect();
        Ok(Self { start: 0, end: all.len(), all })
    }

    /// Those of a span.
    pub fn within(&self, span: Span) -> Self {
        let before = |time: u64| self.start + self.items().partition_point(|item| item.timestamp < time);
        let end = span.before().map_or(self.end, before);
        let start = before(span.from_ms).min(end);
        Self { all: self.all.clone(), start, end }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Times that part them into pages, newest first; none when they fit on one. Grains of one time are on one page,
    /// however many.
    pub fn page_times(&self) -> Vec<u64> {
        let mut left = self.items();
        let mut times = Vec::new();
        while left.len() > PAGE_GRAINS {
            let time = left[left.len() - PAGE_GRAINS].timestamp;
            left = &left[..left.partition_point(|item| item.timestamp < time)];
            times.push(time);
        }
        if !times.is_empty() && !left.is_empty() {
            times.push(0);
        }
        times
    }

    fn items(&self) -> &[Item] {
        &self.all[self.start..self.end]
    }
}

impl NegentropyStorageBase for Items {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.len())
    }

    fn get_item(&self, i: usize) -> Result<Option<Item>, Error> {
        Ok(self.items().get(i).copied())
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let items = self.items().get(begin..end).ok_or(Error::BadRange)?;
        for (i, item) in items.iter().enumerate() {
            if !visit(*item, begin + i)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, bound: &Bound) -> usize {
        let items = self.items().get(first..last).unwrap_or_default();
        first + items.partition_point(|item| *item < bound.item)
    }
}

#[cfg(test)]
impl Items {
    /// Grains of these times, with ids that are numbers.
    pub fn of_times(times: impl Iterator<Item = u64>) -> Self {
        let item = |(n, time): (usize, u64)| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            Item::with_timestamp_and_id(time, Id::from_byte_array(id))
        };
        let mut all: Vec<Item> = times.enumerate().map(item).collect();
        all.sort();
        Self { start: 0, end: all.len(), all: all.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_grains_have_no_pages() {
        assert!(Items::of_times(0..PAGE_GRAINS as u64).page_times().is_empty());
        assert!(Items::of_times(0..0).page_times().is_empty());
    }

    #[test]
    fn grains_of_one_time_are_on_one_page() {
        let items = Items::of_times(std::iter::repeat_n(7, 3 * PAGE_GRAINS));
        assert_eq!(items.page_times(), [7]);
    }

    #[test]
    fn times_that_do_not_descend_are_no_pages() {
        for bad in [[5, 5], [4, 5]] {
            assert_eq!(Span::WHOLE.pages(&bad), None);
        }
        assert_eq!(
            Span::WHOLE.pages(&[9, 5]),
            Some(vec![Span { from_ms: 9, before_ms: 0 }, Span { from_ms: 0, before_ms: 9 }])
        );
        let span = |from_ms, before_ms| Span { from_ms, before_ms };
        assert_eq!(span(3, 20).pages(&[25, 9, 5, 2]), Some(vec![span(9, 20), span(3, 9)]));
        assert!(span(3, 20).contains(3) && !span(3, 20).contains(20) && Span::WHOLE.contains(u64::MAX));
    }

    proptest! {
        #[test]
        fn every_grain_is_on_exactly_one_page(times in proptest::collection::vec(0u64..3000, 0..4000)) {
            let items = Items::of_times(times.iter().copied());
            let spans = Span::WHOLE.pages(&items.page_times()).unwrap();
            if !spans.is_empty() {
                let on_pages: usize = spans.iter().map(|span| items.within(*span).len()).sum();
                prop_assert_eq!(on_pages, items.len());
                prop_assert!(spans.iter().all(|span| span.is_valid()));
            }
        }
    }
}
