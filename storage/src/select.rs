//! What can be read by filter: the narrowest order is walked, and each of its entries is held against the rest.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::ops::ControlFlow;

use redb::{AccessGuard, ReadableTableMetadata};
use synapsenet_proto::{Grain, Kind};

use crate::filter::lang_covers;
use crate::tables::{self, Header};
use crate::{Filter, ListQuery, Page, Position, Selection, Slot, StorageError, View};

/// How many entries [`View::select`] holds against a filter for each slot that it may give, before it answers
/// [`Selection::Many`]: some milliseconds for a limit of 1,000.
const CHECKS_A_SLOT: usize = 4;

/// Entries of each order that are looked at to find out which is the narrowest for a count.
const ENTRIES_COMPARED: usize = 10_000;

/// How often the filters within one look into the orders for one record. Where they would do so more often, it is unpacked instead, which
/// costs as much, and then many conditions cost no more than one.
const MAX_LOOKED_UP: usize = 8;

/// Where a grain stands in each order: (created_ms, slot).
type Place = (u64, Slot);

/// Places in ascending order, or the error that ends them.
type Ascending<'a> = Box<dyn Iterator<Item = Result<Place, StorageError>> + 'a>;
/// The same from either end.
type BothWays<'a> = Box<dyn DoubleEndedIterator<Item = Result<Place, StorageError>> + 'a>;

/// One thing that a filter says, and for which there is an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Source,
    /// The tag at this place of the filter.
    Tag(usize),
    /// The pair of metadata at this place of the filter.
    Metadatum(usize),
    Author,
    Lang,
    Topic,
    Time,
}

/// A record that is held against filters. Of those that ask for more than the orders know, it is unpacked once.
struct Held<'a> {
    slot: Slot,
    header: Header<'a>,
    packed: &'a [u8],
    unpacked: OnceCell<(Grain, Option<String>)>,
}

impl<'a> Held<'a> {
    fn new(slot: Slot, header: Header<'a>, packed: &'a [u8]) -> Self {
        Self { slot, header, packed, unpacked: OnceCell::new() }
    }
}

/// The entries that are held against a filter, so that none is missed which fits.
enum Way {
    /// Those of one order of its own.
    One(Order),
    /// Those of an order of each filter in `any`, in their order, with its times narrowed to those of the whole.
    Any(Vec<(Filter, Order)>),
}

/// Is told a slot and whether it fits, and says whether to go on.
type Each<'a> = dyn FnMut(Slot, bool) -> Result<ControlFlow<()>, StorageError> + 'a;

impl View {
    /// Whether the slot holds a note, searchable or not, that fits the filter. Some microseconds: only a filter by source, or with many
    /// filters in it, unpacks the grain.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn matches(&self, slot: Slot, filter: &Filter) -> Result<bool, StorageError> {
        let Some(record) = self.tables.records.get(slot)? else { return Ok(false) };
        let (header, packed) = Header::split(slot, record.value())?;
        Ok(header.kind == Kind::Note && self.fits(&Held::new(slot, header, packed), filter)?)
    }

    /// Which searchable notes fit the filter: [`Selection::Few`] with every one of them when they are at most `limit`.
    /// When more fit, or when the narrowest order is so long that four times `limit` of its entries did not decide it,
    /// [`Selection::Many`]. With a limit of `usize::MAX` the answer is always exact.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn select(&self, filter: &Filter, limit: usize) -> Result<Selection, StorageError> {
        self.select_among(filter, limit, !self.tables.waiting.is_empty()?)
    }

    /// As [`View::select`], of all notes, searchable or not: those that wait for a vector have their words already.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn select_stored(&self, filter: &Filter, limit: usize) -> Result<Selection, StorageError> {
        self.select_among(filter, limit, false)
    }

    fn select_among(
        &self,
        filter: &Filter,
        limit: usize,
        without_pending: bool,
    ) -> Result<Selection, StorageError> {
        if filter.is_empty() {
            return Ok(Selection::All);
        }
        let most_checks = limit.saturating_mul(CHECKS_A_SLOT);
        let (mut slots, mut checked, mut is_many) = (Vec::new(), 0, false);
        self.walk(filter, limit, false, &mut |slot, fits| {
            let is_meant = fits && !(without_pending && self.is_pending(slot)?);
            is_many = is_meant && slots.len() == limit || checked >= most_checks;
            checked += 1;
            if is_meant && !is_many {
                slots.push(slot);
            }
            Ok(if is_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(if is_many { Selection::Many } else { Selection::Few(slots) })
    }

    /// Tells `each` every entry of the narrowest way to what a filter that is not empty lets through, in no particular order,
    /// and whether it fits. What fits is told once. Up to `compared` entries of each order are counted to find that way.
    fn walk(
        &self,
        filter: &Filter,
        compared: usize,
        with_retractions: bool,
        each: &mut Each<'_>,
    ) -> Result<(), StorageError> {
        match self.way(filter, compared)? {
            Way::One(order) => {
                // Whether it went to the end is for `each` to know.
                let _ = self.walk_order(filter, order, &without(filter, order), with_retractions, each)?;
            }
            Way::Any(ways) => {
                for (place, (ranged, order)) in ways.iter().enumerate() {
                    // What fits an earlier one, too, was told there.
                    let none = [&filter.none[..], &filter.any[..place]].concat();
                    let meant = Filter { any: vec![filter.any[place].clone()], none, ..filter.clone() };
                    if self.walk_order(ranged, *order, &meant, with_retractions, each)?.is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn walk_order(
        &self,
        filter: &Filter,
        order: Order,
        rest: &Filter,
        with_retractions: bool,
        each: &mut Each<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        for place in self.ascending(filter, order)? {
            let (_, slot) = place?;
            let fits = self.is_listed(slot, rest, with_retractions)?;
            if each(slot, fits)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// One page of grains, the newest first (by the time that their authors gave them; of one time, the last to arrive
    /// first). No more than `limit` grains are loaded, but a filter that few fit makes it pass over many entries.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn list(&self, query: &ListQuery) -> Result<Page, StorageError> {
        let mut places = match &query.filter.source_prefix {
            Some(_) => self.newest_of_source(query)?,
            None => self.newest(query)?,
        };
        let found = places.len();
        places.truncate(query.limit);
        let mut records = Vec::new();
        let mut room = query.max_bytes.unwrap_or(usize::MAX);
        for &(_, slot) in &places {
            let record = self.existing_record(slot)?;
            let left = room.checked_sub(record.grain.as_bytes().len());
            if left.is_none() && !records.is_empty() {
                break;
            }
            room = left.unwrap_or(0);
            records.push(record);
        }
        let last = places[..records.len()].last().filter(|_| records.len() < found);
        let next = last.map(|&(created_ms, slot)| Position { created_ms, slot });
        Ok(Page { records, next })
    }

    /// Tells `visit` each grain that fits the filter, searchable or not, once and in no particular order; retractions only where they
    /// are wanted. Some microseconds for each entry of the narrowest order.
    ///
    /// # Errors
    /// As [`View::counts`], and what `visit` gives, which ends it.
    pub fn visit(
        &self,
        filter: &Filter,
        with_retractions: bool,
        visit: &mut dyn FnMut(Slot) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.walk(filter, ENTRIES_COMPARED, with_retractions, &mut |slot, fits| {
            if fits {
                visit(slot)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// How many grains fit the filter, searchable or not; retractions only where they are wanted. Without a filter it takes no
    /// time, with one some microseconds for each entry of the narrowest order.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn count(&self, filter: &Filter, with_retractions: bool) -> Result<u64, StorageError> {
        if filter.is_empty() {
            let counts = self.counts()?;
            return Ok(counts.notes + if with_retractions { counts.retractions } else { 0 });
        }
        let mut count = 0;
        self.visit(filter, with_retractions, &mut |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// The newest places of a query, one more than its page has. Walks orders that end in time from their ends.
    fn newest(&self, query: &ListQuery) -> Result<Vec<Place>, StorageError> {
        let filter = &query.filter;
        let order = by_time(filter);
        let ways = match order {
            Order::Time => of_any(filter, by_time),
            _ => Vec::new(),
        };
        if ways.is_empty() || ways.iter().any(|(_, order)| *order == Order::Time) {
            let places = self.both_ways(filter, order, query.after)?.rev();
            return self.first_listed(query, &without(filter, order), places);
        }
        let mut orders = Vec::with_capacity(ways.len());
        for (ranged, order) in &ways {
            orders.push(self.both_ways(ranged, *order, query.after)?.rev().peekable());
        }
        self.first_listed(query, filter, std::iter::from_fn(move || last_of(&mut orders)))
    }

    /// The first of these places that a query lists, one more than its page has.
    fn first_listed(
        &self,
        query: &ListQuery,
        rest: &Filter,
        all: impl Iterator<Item = Result<Place, StorageError>>,
    ) -> Result<Vec<Place>, StorageError> {
        let mut places = Vec::new();
        for place in all {
            let place = place?;
            if self.is_listed(place.1, rest, query.with_retractions)? {
                places.push(place);
                if places.len() > query.limit {
                    break;
                }
            }
        }
        Ok(places)
    }

    /// As [`View::newest`], for the sources that begin with a prefix: their order is one by URI first, so all of it is
    /// walked, and the newest are kept in a heap that is no larger than the page.
    fn newest_of_source(&self, query: &ListQuery) -> Result<Vec<Place>, StorageError> {
        let order = Order::Source;
        let rest = without(&query.filter, order);
        let mut newest = BinaryHeap::new();
        for place in self.ascending(&query.filter, order)? {
            let place = place?;
            let is_before = query.after.is_none_or(|after| place < (after.created_ms, after.slot));
            let is_newer =
                newest.len() <= query.limit || newest.peek().is_some_and(|Reverse(old)| *old < place);
            if is_before && is_newer && self.is_listed(place.1, &rest, query.with_retractions)? {
                newest.push(Reverse(place));
                if newest.len() > query.limit.saturating_add(1) {
                    newest.pop();
                }
            }
        }
        Ok(newest.into_sorted_vec().into_iter().map(|Reverse(place)| place).collect())
    }

    fn is_listed(&self, slot: Slot, filter: &Filter, with_retractions: bool) -> Result<bool, StorageError> {
        let Some(record) = self.tables.records.get(slot)? else { return Ok(false) };
        let (header, packed) = Header::split(slot, record.value())?;
        let is_meant = header.kind == Kind::Note || with_retractions;
        Ok(is_meant && self.fits(&Held::new(slot, header, packed), filter)?)
    }

    /// Holds a record against a filter, the cheapest questions first.
    fn fits(&self, held: &Held<'_>, filter: &Filter) -> Result<bool, StorageError> {
        let (slot, header) = (held.slot, &held.header);
        let created_ms = header.created_ms;
        let may_be_meant = header.shared || !filter.shared_only;
        if !may_be_meant || !filter.fits_time(created_ms) || !filter.fits_lang(header.lang) {
            return Ok(false);
        }
        if let Some(topic) = &filter.topic
            && self.tables.by_topic.get((topic.as_str(), created_ms, slot))?.is_none()
        {
            return Ok(false);
        }
        if let Some(author) = &filter.author
            && self.tables.by_author.get((author.as_bytes(), created_ms, slot))?.is_none()
        {
            return Ok(false);
        }
        for tag in &filter.tags {
            if self.tables.by_tag.get((tag.as_str(), created_ms, slot))?.is_none() {
                return Ok(false);
            }
        }
        for (key, value) in &filter.metadata {
            let pair = tables::pair(key, value);
            if self.tables.by_metadata.get((pair.as_str(), created_ms, slot))?.is_none() {
                return Ok(false);
            }
        }
        if let Some(prefix) = &filter.source_prefix
            && !self.unpack(held)?.1.as_ref().is_some_and(|uri| uri.starts_with(prefix))
        {
            return Ok(false);
        }
        if filter.any.iter().chain(&filter.none).map(looked_up).sum::<usize>() > MAX_LOOKED_UP {
            let (grain, uri) = self.unpack(held)?;
            return Ok(filter.fits_others(grain, uri.as_deref(), header.shared));
        }
        let mut fits_one = filter.any.is_empty();
        for other in &filter.any {
            fits_one = fits_one || self.fits(held, other)?;
        }
        for other in &filter.none {
            fits_one = fits_one && !self.fits(held, other)?;
        }
        Ok(fits_one)
    }

    /// The grain that is held against filters, and where its document lies by now.
    fn unpack<'a>(&self, held: &'a Held<'_>) -> Result<&'a (Grain, Option<String>), StorageError> {
        if let Some(unpacked) = held.unpacked.get() {
            return Ok(unpacked);
        }
        let grain = tables::decode_grain(held.slot, &held.header, held.packed)?;
        let moved = self.tables.moved.get(held.slot)?.map(|moved| moved.value().to_owned());
        let uri = moved.or_else(|| grain.body().draft.source.as_ref().map(|source| source.uri.clone()));
        Ok(held.unpacked.get_or_init(|| (grain, uri)))
    }

    /// The way with the fewest entries for a filter that is not empty. Counts up to `limit` of each order.
    fn way(&self, filter: &Filter, limit: usize) -> Result<Way, StorageError> {
        let (order, fewest) = self.narrowest(filter, limit, !filter.any.is_empty())?;
        if filter.any.is_empty() {
            return Ok(Way::One(order));
        }
        let (mut ways, mut entries) = (of_any(filter, |_| Order::Time), 0_usize);
        for (ranged, order) in &mut ways {
            let (narrowest, count) = self.narrowest(ranged, limit, true)?;
            (*order, entries) = (narrowest, entries + count);
        }
        Ok(if entries < fewest { Way::Any(ways) } else { Way::One(order) })
    }

    /// The order with the fewest entries for what a filter says by itself, and how many these are: up to `limit` and one. Of
    /// orders that have more, the first in the order of what they usually let through. A single one is counted only where
    /// that is asked for.
    fn narrowest(
        &self,
        filter: &Filter,
        limit: usize,
        counted: bool,
    ) -> Result<(Order, usize), StorageError> {
        let mut orders = Vec::new();
        orders.extend(filter.source_prefix.as_ref().map(|_| Order::Source));
        orders.extend((0..filter.tags.len()).map(Order::Tag));
        orders.extend((0..filter.metadata.len()).map(Order::Metadatum));
        orders.extend(filter.author.map(|_| Order::Author));
        // Notes that name no language have no entry in the order by language.
        orders.extend(filter.lang.as_ref().filter(|lang| !lang.is_empty()).map(|_| Order::Lang));
        orders.extend(filter.topic.as_ref().map(|_| Order::Topic));
        if orders.is_empty() || filter.times() != (0, None) {
            orders.push(Order::Time);
        }
        let (mut best, mut fewest) = (orders[0], usize::MAX);
        if orders.len() == 1 && !counted {
            return Ok((best, fewest));
        }
        for order in orders {
            let most = limit.saturating_add(1).min(fewest);
            let mut count = 0;
            for place in self.ascending(filter, order)?.take(most) {
                place?;
                count += 1;
            }
            if count < fewest {
                (best, fewest) = (order, count);
            }
        }
        Ok((best, fewest))
    }

    /// The places of an order that fit its part of the filter and its times.
    fn ascending<'a>(&'a self, filter: &'a Filter, order: Order) -> Result<Ascending<'a>, StorageError> {
        let lang = filter.lang.as_deref().unwrap_or_default().to_ascii_lowercase();
        let places: Ascending<'a> = match order {
            Order::Source => {
                let prefix = filter.source_prefix.as_deref().unwrap_or_default();
                let range = self.tables.by_source.range((prefix, 0, 0)..)?;
                let fits = move |uri: &str| uri.starts_with(prefix);
                Box::new(range.map_while(move |entry| place_while(entry, &fits)))
            }
            Order::Lang => {
                // '-' sorts before letters and digits, so "en" and all that "en" covers stand together.
                let range = self.tables.by_lang.range((lang.as_str(), 0, 0)..)?;
                let fits = move |tag: &str| lang_covers(&lang, tag);
                Box::new(range.map_while(move |entry| place_while(entry, &fits)))
            }
            Order::Tag(_) | Order::Metadatum(_) | Order::Author | Order::Topic | Order::Time => {
                return Ok(Box::new(self.both_ways(filter, order, None)?));
            }
        };
        // An error is not filtered away.
        Ok(Box::new(places.filter(|place| place.as_ref().map_or(true, |place| filter.fits_time(place.0)))))
    }

    /// As [`View::ascending`], for the orders in which one value is asked for, so that they go by time; only what stands
    /// before `end`.
    fn both_ways<'a>(
        &'a self,
        filter: &'a Filter,
        order: Order,
        end: Option<Position>,
    ) -> Result<BothWays<'a>, StorageError> {
        let (from, before) = filter.times();
        let first = (from, 0);
        // Slots begin at 1, so (before, 0) is the first place that is too late.
        let last = before.map_or((u64::MAX, u64::MAX), |before| (before, 0));
        let last = end.map_or(last, |end| last.min((end.created_ms, end.slot)));
        if first >= last {
            return Ok(Box::new(std::iter::empty()));
        }
        Ok(match order {
            Order::Tag(place) => {
                let tag = filter.tags.get(place).map_or("", String::as_str);
                Box::new(
                    self.tables
                        .by_tag
                        .range((tag, first.0, first.1)..(tag, last.0, last.1))?
                        .map(entry_place),
                )
            }
            Order::Metadatum(place) => {
                let Some((key, value)) = filter.metadata.iter().nth(place) else {
                    return Ok(Box::new(std::iter::empty()));
                };
                let pair = tables::pair(key, value);
                let range = (pair.as_str(), first.0, first.1)..(pair.as_str(), last.0, last.1);
                Box::new(self.tables.by_metadata.range(range)?.map(entry_place))
            }
            Order::Author => {
                let Some(author) = &filter.author else { return Ok(Box::new(std::iter::empty())) };
                let author = author.as_bytes();
                let range = (author, first.0, first.1)..(author, last.0, last.1);
                Box::new(self.tables.by_author.range(range)?.map(entry_place))
            }
            Order::Topic => {
                let topic = filter.topic.as_ref().map_or("", |topic| topic.as_str());
                let range = (topic, first.0, first.1)..(topic, last.0, last.1);
                Box::new(self.tables.by_topic.range(range)?.map(entry_place))
            }
            Order::Time | Order::Source | Order::Lang => {
                Box::new(self.tables.by_time.range(first..last)?.map(|entry| Ok(entry?.0.value())))
            }
        })
    }
}

/// How often a filter looks into an order for one record, at most.
fn looked_up(filter: &Filter) -> usize {
    let Filter { topic, author, tags, metadata, any, none, .. } = filter;
    let own = usize::from(topic.is_some()) + usize::from(author.is_some()) + tags.len() + metadata.len();
    own + any.iter().chain(none).map(looked_up).sum::<usize>()
}

/// What is left to be asked of the entries of an order.
fn without(filter: &Filter, order: Order) -> Filter {
    let mut rest = filter.clone();
    match order {
        Order::Source => rest.source_prefix = None,
        Order::Tag(place) => drop(rest.tags.remove(place)),
        Order::Metadatum(place) => {
            let key = rest.metadata.keys().nth(place).cloned();
            key.map(|key| rest.metadata.remove(&key));
        }
        Order::Author => rest.author = None,
        Order::Lang => rest.lang = None,
        Order::Topic => rest.topic = None,
        Order::Time => (rest.created_from_ms, rest.created_before_ms) = (None, None),
    }
    rest
}

/// The order of a filter that goes by time and usually lets the least through.
fn by_time(filter: &Filter) -> Order {
    match filter {
        Filter { tags, .. } if !tags.is_empty() => Order::Tag(0),
        Filter { metadata, .. } if !metadata.is_empty() => Order::Metadatum(0),
        Filter { author: Some(_), .. } => Order::Author,
        Filter { topic: Some(_), .. } => Order::Topic,
        _ => Order::Time,
    }
}

/// The filters in `any`, with their times narrowed to those of the whole, and an order of each.
fn of_any(filter: &Filter, order: impl Fn(&Filter) -> Order) -> Vec<(Filter, Order)> {
    let ranged = |one: &Filter| {
        let befores = [one.created_before_ms, filter.created_before_ms];
        let ranged = Filter {
            created_from_ms: one.created_from_ms.max(filter.created_from_ms),
            created_before_ms: befores.into_iter().flatten().min(),
            ..one.clone()
        };
        let order = order(&ranged);
        (ranged, order)
    };
    filter.any.iter().map(ranged).collect()
}

/// The last place of several orders that are walked from their ends, once where it stands in several, or an error.
fn last_of<I: Iterator<Item = Result<Place, StorageError>>>(
    orders: &mut [Peekable<I>],
) -> Option<Result<Place, StorageError>> {
    let mut last: Option<Place> = None;
    for order in orders.iter_mut() {
        match order.peek() {
            Some(Err(_)) => return order.next(),
            Some(Ok(place)) => last = last.max(Some(*place)),
            None => {}
        }
    }
    let last = last?;
    for order in orders {
        order.next_if(|place| matches!(place, Ok(place) if *place == last));
    }
    Some(Ok(last))
}

/// An entry of an order other than the one by time alone.
type Entry<'a, K> = Result<(AccessGuard<'a, (K, u64, u64)>, AccessGuard<'a, ()>), redb::StorageError>;

fn entry_place<K: redb::Key + 'static>(entry: Entry<'_, K>) -> Result<Place, StorageError> {
    let (_, created_ms, slot) = entry?.0.value();
    Ok((created_ms, slot))
}

/// The place of an entry whose text fits, an error, or the end.
fn place_while(
    entry: Entry<'_, &'static str>,
    fits: &impl Fn(&str) -> bool,
) -> Option<Result<Place, StorageError>> {
    match entry {
        Ok((key, _)) => {
            let (text, created_ms, slot) = key.value();
            fits(text).then_some(Ok((created_ms, slot)))
        }
        Err(error) => Some(Err(error.into())),
    }
}
