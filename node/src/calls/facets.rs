//! How many grains a filter lets through, and of which topics, tags, authors and languages these are. It reads the grains for that, as
//! many as a bound allows, and says where it stopped; it keeps no table of its own.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use synapsenet_proto::Grain;
use synapsenet_storage::Filter;

use crate::calls::error::invalid_in;
use crate::calls::{Call, CallError};

/// Values of a facet that are told when nobody says how many, and at most.
const DEFAULT_VALUES: usize = 10;
const MAX_VALUES: usize = 100;
/// Grains that are read for one call, so that what it costs is bounded.
const MAX_READ: usize = 100_000;
/// Values of a facet that are told apart: authors choose their tags, and this many take a megabyte or two.
const MAX_DISTINCT: usize = 10_000;

/// By what grains are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Facet {
    Topic,
    /// A grain counts under each of its tags.
    Tag,
    Author,
    /// As it stands in the grain; empty where it names none.
    Lang,
}

/// What grains were counted by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facets {
    /// One for each facet, in the order asked.
    pub counts: Vec<Counted>,
    /// Whether some grains, or some of their values, are not in it.
    pub is_partial: bool,
}

/// The values of a facet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub facet: Facet,
    /// With the number of grains of each, the most frequent first.
    pub values: Vec<(String, u64)>,
    /// Grains, once for each of their values that is not among these.
    pub others: u64,
    /// Values that there are.
    pub distinct: u64,
}

impl Call {
    /// How many grains a filter lets through; notes, and retractions where they are wanted. By each facet, the `top` most
    /// frequent values; 0 is [`DEFAULT_VALUES`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn count_by(
        &self,
        filter: Filter,
        with_retractions: bool,
        facets: Vec<Facet>,
        top: usize,
    ) -> Result<(u64, Facets), CallError> {
        let top = match top {
            0 => DEFAULT_VALUES,
            top if top <= MAX_VALUES => top,
            top => return Err(invalid_in("top", format!("top is {top}; at most {MAX_VALUES} are allowed"))),
        };
        if facets.iter().collect::<HashSet<_>>().len() < facets.len() {
            return Err(invalid_in("facets", "a facet is named twice"));
        }
        if facets.is_empty() {
            return Ok((self.count(filter, with_retractions).await?, Facets::default()));
        }
        let filter = self.topics_of_caller().narrow(self.by_signed_source(filter))?;
        // One that says nothing has no order to walk: all times are one.
        let created_from_ms = filter.created_from_ms.or(Some(0));
        let filter = Filter { created_from_ms, ..filter };
        self.read(move |_, view| {
            let mut counter = Counter::new(facets);
            let mut grains = 0_u64;
            view.visit(&filter, with_retractions, &mut |slot| {
                grains += 1;
                if counter.read < MAX_READ
                    && let Some(record) = view.record(slot)?
                {
                    counter.add(&record.grain);
                }
                Ok(())
            })?;
            let facets = counter.told(grains, top);
            Ok((grains, facets))
        })
        .await
    }
}

/// Counts of all facets while grains are read.
struct Counter {
    counts: Vec<(Facet, HashMap<String, u64>)>,
    read: usize,
    /// Values that are not told apart, of each facet.
    uncounted: Vec<u64>,
}

impl Counter {
    fn new(facets: Vec<Facet>) -> Self {
        let uncounted = vec![0; facets.len()];
        let counts = facets.into_iter().map(|facet| (facet, HashMap::new())).collect();
        Self { counts, read: 0, uncounted }
    }

    fn add(&mut self, grain: &Grain) {
        self.read += 1;
        let draft = &grain.body().draft;
        for ((facet, counts), uncounted) in self.counts.iter_mut().zip(&mut self.uncounted) {
            match facet {
                Facet::Topic => count(counts, uncounted, draft.topic.as_str()),
                Facet::Author => count(counts, uncounted, &grain.author().to_string()),
                Facet::Lang => count(counts, uncounted, &draft.lang),
                Facet::Tag => draft.tags.iter().for_each(|tag| count(counts, uncounted, tag)),
            }
        }
    }

    fn told(self, grains: u64, top: usize) -> Facets {
        let is_partial = (self.read as u64) < grains || self.uncounted.iter().any(|&count| count > 0);
        let told = |((facet, counts), uncounted): ((Facet, HashMap<String, u64>), u64)| {
            let distinct = counts.len() as u64;
            let mut values: Vec<(String, u64)> = counts.into_iter().collect();
            values.sort_by(|(a, of_a), (b, of_b)| Reverse(of_a).cmp(&Reverse(of_b)).then(a.cmp(b)));
            let rest = values.split_off(top.min(values.len()));
            let others = uncounted + rest.iter().map(|(_, grains)| grains).sum::<u64>();
            Counted { facet, values, others, distinct }
        };
        Facets { counts: self.counts.into_iter().zip(self.uncounted).map(told).collect(), is_partial }
    }
}

fn count(counts: &mut HashMap<String, u64>, uncounted: &mut u64, value: &str) {
    if let Some(count) = counts.get_mut(value) {
        *count += 1;
    } else if counts.len() < MAX_DISTINCT {
        counts.insert(value.to_owned(), 1);
    } else {
        *uncounted += 1;
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_proto::{Draft, Topic};

    use super::*;
    use crate::testing::author;

    fn grain(topic: &str, tags: &[String]) -> Grain {
        let draft = Draft {
            topic: Topic::new(topic).unwrap(),
            tags: tags.to_vec(),
            text: "text".into(),
            ..Draft::default()
        };
        Grain::seal(draft, &author(1), 1).unwrap()
    }

    #[test]
    fn the_most_frequent_come_first_and_the_rest_is_counted() {
        let mut counter = Counter::new(vec![Facet::Topic, Facet::Tag, Facet::Lang]);
        for (topic, tags) in [("a", vec![]), ("b", vec!["x"]), ("b", vec!["x", "y"]), ("c", vec!["z"])] {
            counter.add(&grain(topic, &tags.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        }
        let Facets { counts, is_partial } = counter.told(4, 2);
        assert!(!is_partial);
        let value = |name: &str, grains| (name.to_owned(), grains);
        let of = |facet, values, others, distinct| Counted { facet, values, others, distinct };
        assert_eq!(
            counts,
            [
                of(Facet::Topic, vec![value("b", 2), value("a", 1)], 1, 3),
                of(Facet::Tag, vec![value("x", 2), value("y", 1)], 1, 3),
                of(Facet::Lang, vec![value("", 4)], 0, 1),
            ]
        );
    }

    #[test]
    fn what_is_beyond_the_bounds_is_said_to_be_missing() {
        let mut counter = Counter::new(vec![Facet::Tag]);
        counter.add(&grain("a", &[]));
        assert!(counter.told(2, 10).is_partial, "one was not read");
        let mut counter = Counter::new(vec![Facet::Tag]);
        let mut made = 0;
        while made <= MAX_DISTINCT {
            let tags: Vec<String> = (made..made + 16).map(|number| format!("tag-{number}")).collect();
            counter.add(&grain("a", &tags));
            made += tags.len();
        }
        let (read, facets) = (counter.read as u64, counter.told(made as u64 / 16, 1));
        assert_eq!(read, made as u64 / 16);
        assert!(facets.is_partial);
        let counted = &facets.counts[0];
        assert_eq!((counted.distinct, counted.others + 1), (MAX_DISTINCT as u64, made as u64));
    }
}
