//! Random changes, after each of which the store and a plain model of it in memory must agree on everything.

mod model;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;
use synapsenet_proto::{Draft, Grain, GrainId, Kind, Link, Source, Topic};

use self::model::{Entry, Model};
use crate::testing::*;
use crate::{
    AuthorRule, Change, Filter, LANE_AGAIN, LANE_OWN, Lane, ListQuery, Occasions, Origin, Outcome, Selection,
    Slot, Store, StoreOptions, TopicPolicy, View,
};

#[derive(Debug, Clone)]
enum Op {
    Put { text: u8, author: u8, topic: u8, time: u64, looks: u8, shared: bool, origin: Origin },
    Retract { which: usize, author: u8, time: u64 },
    PutAgain { which: usize, shared: bool, origin: Origin },
    Share { which: usize },
    Replace { which: usize, text: u8, looks: u8, time: u64, shared: bool },
    AddVector { slot: Slot, other: bool, n: u8 },
    DropVectors { other: bool, limit: usize },
    Prune { up_to: u64 },
    AddClaim { slot: Slot, n: u8 },
    DropClaim { slot: Slot },
    Forget { slots: Vec<Slot>, remember: bool },
    TrimStrangers { grains: u64, notes: u64, bytes: u64, limit: usize, first: Vec<Slot>, remember: bool },
    MoveSource { slots: Vec<Slot>, to: u8 },
    SetAuthorRule { author: u8, rule: Option<AuthorRule> },
    SetTopicPolicy { topic: u8, policy: TopicPolicy },
    AddClaimed { slot: Slot, author: u8, n: u8 },
    Checked { slot: Slot, author: u8 },
    Distrust { author: u8 },
    Purge { limit: usize },
    Pin { slot: Slot, pinned: bool, most: u64 },
    CountUse { slot: Slot, day: u32, by_owner: u32, by_others: u32 },
    DropUses { before_day: u32, from: Slot },
}

fn origin() -> impl Strategy<Value = Origin> {
    proptest::sample::select(vec![
        Origin::Here,
        Origin::Here,
        Origin::Known,
        Origin::Stranger,
        Origin::Stranger,
    ])
}

fn rule() -> impl Strategy<Value = Option<AuthorRule>> {
    proptest::sample::select(vec![None, Some(AuthorRule::Followed), Some(AuthorRule::Blocked)])
}

fn policy() -> impl Strategy<Value = TopicPolicy> {
    let one = TopicPolicy::Listed(vec![author(1).author()]);
    proptest::sample::select(vec![TopicPolicy::Open, TopicPolicy::Known, TopicPolicy::Listed(vec![]), one])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..6, 1u8..4, 0u8..3, 0u64..5, 0u8..8, (any::<bool>(), origin())).prop_map(
            |(text, author, topic, time, looks, (shared, origin))| Op::Put { text, author, topic, time, looks, shared, origin }
        ),
        3 => (any::<usize>(), 1u8..4, 0u64..5).prop_map(|(which, author, time)| Op::Retract { which, author, time }),
        2 => (any::<usize>(), any::<bool>(), origin()).prop_map(|(which, shared, origin)| Op::PutAgain { which, shared, origin }),
        1 => any::<usize>().prop_map(|which| Op::Share { which }),
        3 => (any::<usize>(), 0u8..6, 0u8..8, 0u64..5, any::<bool>())
            .prop_map(|(which, text, looks, time, shared)| Op::Replace { which, text, looks, time, shared }),
        6 => (0u64..20, any::<bool>(), any::<u8>()).prop_map(|(slot, other, n)| Op::AddVector { slot, other, n }),
        2 => (any::<bool>(), 0usize..5).prop_map(|(other, limit)| Op::DropVectors { other, limit }),
        1 => (0u64..20).prop_map(|up_to| Op::Prune { up_to }),
        2 => (0u64..20, any::<u8>()).prop_map(|(slot, n)| Op::AddClaim { slot, n }),
        2 => (0u64..20, 0u32..4, 0u32..3, 0u32..3)
            .prop_map(|(slot, day, by_owner, by_others)| Op::CountUse { slot, day, by_owner, by_others }),
        2 => (0u64..20, any::<bool>(), 0u64..4).prop_map(|(slot, pinned, most)| Op::Pin { slot, pinned, most }),
        1 => (0u32..4, 0u64..20).prop_map(|(before_day, from)| Op::DropUses { before_day, from }),
        1 => (0u64..20).prop_map(|slot| Op::DropClaim { slot }),
        2 => (proptest::collection::vec(0u64..20, 0..4), any::<bool>())
            .prop_map(|(slots, remember)| Op::Forget { slots, remember }),
        1 => ((0u64..4, 0u64..12, prop_oneof![Just(u64::MAX), 0u64..9000], 0usize..4),
            (proptest::collection::vec(0u64..20, 0..4), any::<bool>()))
            .prop_map(|((grains, notes, bytes, limit), (first, remember))| {
                Op::TrimStrangers { grains, notes, bytes, limit, first, remember }
            }),
        2 => (proptest::collection::vec(0u64..20, 0..4), 0u8..3)
            .prop_map(|(slots, to)| Op::MoveSource { slots, to }),
        1 => (1u8..4, rule()).prop_map(|(author, rule)| Op::SetAuthorRule { author, rule }),
        1 => (0u8..3, policy()).prop_map(|(topic, policy)| Op::SetTopicPolicy { topic, policy }),
        4 => (0u64..20, 1u8..4, any::<u8>()).prop_map(|(slot, author, n)| Op::AddClaimed { slot, author, n }),
        2 => (0u64..20, 1u8..4).prop_map(|(slot, author)| Op::Checked { slot, author }),
        1 => (1u8..4).prop_map(|author| Op::Distrust { author }),
        2 => (1usize..4).prop_map(|limit| Op::Purge { limit }),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let some = || proptest::collection::vec(plain_filter(), 0..3);
    let (any, none) = (proptest::option::weighted(0.4, some()), proptest::option::weighted(0.4, some()));
    (plain_filter(), any, none).prop_map(|(filter, any, none)| Filter {
        any: any.unwrap_or_default(),
        none: none.unwrap_or_default(),
        ..filter
    })
}

/// One without others in it.
fn plain_filter() -> impl Strategy<Value = Filter> {
    let times = (proptest::option::of(0u64..6), proptest::option::of(0u64..6));
    let words = (
        proptest::option::weighted(0.3, proptest::sample::select(vec!["en", "EN-gb", "de", ""])),
        proptest::option::weighted(
            0.3,
            proptest::sample::select(vec!["file:///", "file:///a", "file:///b/c", "x"]),
        ),
        proptest::collection::vec(proptest::sample::select(vec!["red", "blue", "none"]), 0..3),
        proptest::option::weighted(0.3, proptest::sample::select(vec![("n", "1"), ("n", "2"), ("m", "1")])),
    );
    let of = (proptest::option::of(0u8..3), proptest::option::of(1u8..5), proptest::bool::weighted(0.2));
    (of, times, words).prop_map(
        |(
            (topic_of, author_of, shared_only),
            (created_from_ms, created_before_ms),
            (lang, source_prefix, tags, pair),
        )| Filter {
            shared_only,
            topic: topic_of.map(topic),
            author: author_of.map(|n| author(n).author()),
            created_from_ms,
            created_before_ms,
            lang: lang.map(str::to_owned),
            source_prefix: source_prefix.map(str::to_owned),
            tags: tags.into_iter().map(str::to_owned).collect(),
            metadata: pair.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Filter::default()
        },
    )
}

/// Where documents lie.
const SOURCES: [&str; 3] = ["file:///a", "file:///ab", "file:///b/c"];

/// Author 1 is at this node.
fn lane_of(author: u8) -> Lane {
    if author == 1 { LANE_OWN } else { LANE_AGAIN + Lane::from(author) }
}

fn topic(n: u8) -> Topic {
    Topic::new(["commons", "common", "a-b"][usize::from(n)]).unwrap()
}

/// A note whose fields besides the text hang on three bits.
fn sealed(text: u8, by: u8, of: u8, time: u64, looks: u8) -> Grain {
    let (tagged, sourced, linked) = (looks & 1 != 0, looks & 2 != 0, looks & 4 != 0);
    let uri = SOURCES[usize::from(text) % 3];
    let targets = [note("target", 1).id(), note("target", 2).id()];
    let draft = Draft {
        topic: topic(of),
        tags: if tagged {
            ["red", "blue"][..1 + usize::from(text) % 2].iter().map(|&t| t.to_owned()).collect()
        } else {
            vec![]
        },
        lang: if tagged || sourced {
            ["en", "en-GB", "de"][usize::from(text) % 3].to_owned()
        } else {
            String::new()
        },
        source: sourced.then(|| Source { uri: uri.to_owned(), ordinal: text.into() }),
        links: if linked {
            targets.map(|target| Link { target, relation: "cites".to_owned() }).to_vec()
        } else {
            vec![]
        },
        metadata: if tagged && linked {
            [("n".to_owned(), (text % 3).to_string())].into()
        } else {
            BTreeMap::new()
        },
        ..draft(&format!("text {text}"))
    };
    Grain::seal(draft, &author(by), time).unwrap()
}

/// Makes a change of an operation; `seen` are all grains that were ever made.
fn change(op: Op, seen: &mut Vec<Grain>) -> Option<Change> {
    let model = |other| if other { OTHER_MODEL } else { MODEL };
    let pick = |seen: &[Grain], which: usize| (!seen.is_empty()).then(|| seen[which % seen.len()].clone());
    Some(match op {
        Op::Put { text, author, topic, time, looks, shared, origin } => {
            let grain = sealed(text, author, topic, time, looks);
            seen.push(grain.clone());
            let claim = (looks & 1 != 0).then(|| vec![text, looks]);
            Change::Put { grain, shared, received_ms: 77, claim, origin, lane: lane_of(author) }
        }
        Op::Retract { which, author, time } => {
            let grain = retraction(&pick(seen, which)?, author, time);
            seen.push(grain.clone());
            put_change(&grain, true)
        }
        Op::PutAgain { which, shared, origin } => {
            let grain = pick(seen, which)?;
            Change::Put { grain, shared, received_ms: 77, claim: None, origin, lane: LANE_OWN }
        }
        Op::Share { which } => Change::Share { id: pick(seen, which)?.id() },
        Op::Replace { which, text, looks, time, shared } => {
            let old = pick(seen, which).filter(|old| old.kind() == Kind::Note)?;
            let by = (1..4).find(|n| author(*n).author() == old.author())?;
            let (with, retraction) = (sealed(text, by, 0, time, looks), retraction(&old, by, time));
            seen.extend([with.clone(), retraction.clone()]);
            Change::Replace { old: old.id(), with, retraction, shared, received_ms: 77, lane: LANE_OWN }
        }
        Op::AddVector { slot, other, n } => Change::AddVector { slot, vector: vector(model(other), n) },
        Op::DropVectors { other, limit } => Change::DropVectors { model: model(other), limit },
        Op::Prune { up_to } => Change::PruneIndexLog { up_to },
        Op::Pin { slot, pinned, most } => Change::Pin { slot, pinned, most },
        Op::CountUse { slot, day, by_owner, by_others } => {
            Change::CountUses { day, uses: vec![(slot, Occasions { by_owner, by_others })] }
        }
        Op::DropUses { before_day, from } => Change::DropUses { before_day, slots: from..from + 9 },
        Op::AddClaim { slot, n } => Change::AddClaim { slot, claim: vec![n] },
        Op::DropClaim { slot } => Change::DropClaim { slot },
        Op::AddClaimed { slot, author: n, n: value } => {
            Change::AddClaimed { slot, author: author(n).author(), vector: vector(MODEL, value) }
        }
        Op::Forget { slots, remember } => Change::Forget { slots, remember },
        Op::TrimStrangers { grains, notes, bytes, limit, first, remember } => {
            Change::TrimStrangers { grains, notes, bytes, limit, first, remember }
        }
        Op::MoveSource { slots, to } => {
            Change::MoveSource { slots, uri: SOURCES[usize::from(to)].to_owned() }
        }
        Op::SetAuthorRule { author: n, rule } => Change::SetAuthorRule { author: author(n).author(), rule },
        Op::SetTopicPolicy { topic: n, policy } => Change::SetTopicPolicy { topic: topic(n), policy },
        Op::Checked { slot, author: n } => Change::Checked { slot, author: author(n).author() },
        Op::Distrust { author: n } => Change::Distrust { author: author(n).author() },
        Op::Purge { limit } => Change::PurgeClaims { limit },
    })
}

/// Asks the store everything that does not hang on a filter.
fn compare(store: &Store, model: &Model, seen: &[Grain]) -> Result<(), TestCaseError> {
    let view = store.view().unwrap();
    prop_assert_eq!(view.counts().unwrap(), model.counts());
    let mut topics = BTreeMap::new();
    for entry in model.entries.values().filter(|entry| entry.grain.kind() == Kind::Note) {
        *topics.entry(entry.grain.topic().clone()).or_insert(0) += 1;
    }
    prop_assert_eq!(view.topics().unwrap(), topics.into_iter().collect::<Vec<_>>());
    for slot in 0..=model.last_slot + 1 {
        let record = view.record(slot).unwrap();
        let entry = model.entries.get(&slot);
        let place = record.as_ref().and_then(|record| record.source_uri());
        prop_assert_eq!(place, entry.and_then(|entry| entry.source()));
        let record = record.map(|r| (r.grain, r.shared, r.searchable, r.pinned));
        let is_searchable = |e: &Entry| e.grain.kind() == Kind::Note && e.pending.is_none();
        let expected = entry.map(|e| (e.grain.clone(), e.shared, is_searchable(e), e.pin.is_some()));
        prop_assert_eq!(record, expected);
        for id in [MODEL, OTHER_MODEL] {
            let expected = entry.and_then(|entry| entry.vectors.get(&id).cloned());
            prop_assert_eq!(view.vector(slot, id).unwrap(), expected);
        }
    }
    for grain in seen {
        let slot_where = |fits: &dyn Fn(&Grain) -> bool| {
            model.entries.iter().find(|(_, entry)| fits(&entry.grain)).map(|(&slot, _)| slot)
        };
        prop_assert_eq!(view.slot_of(&grain.id()).unwrap(), slot_where(&|other| other.id() == grain.id()));
        let fingerprint = grain.body().fingerprint();
        let same = |other: &Grain| other.kind() == Kind::Note && other.body().fingerprint() == fingerprint;
        prop_assert_eq!(view.find_fingerprint(&fingerprint).unwrap(), slot_where(&same));
    }
    for slot in 0..=model.last_slot + 1 {
        let expected = model.entries.get(&slot).and_then(|entry| entry.claim.clone());
        prop_assert_eq!(view.claim(slot).unwrap(), expected);
    }
    for n in 0..3 {
        for (from, before) in [(0, None), (1, Some(3)), (4, Some(4))] {
            let is_meant = |entry: &&Entry| {
                let time = entry.grain.created_ms();
                entry.shared
                    && *entry.grain.topic() == topic(n)
                    && time >= from
                    && before.is_none_or(|b| time < b)
            };
            let items = model.entries.values().filter(is_meant).map(|e| (e.grain.created_ms(), e.grain.id()));
            let expected: BTreeSet<(u64, GrainId)> = items.collect();
            let found = view.shared_items(&topic(n), from, before).unwrap();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
    for n in 1..4 {
        let author = author(n).author();
        let expected = model.standings.get(&author).copied().unwrap_or_default();
        prop_assert_eq!(view.author_standing(&author).unwrap(), expected);
    }
    let pins = model.entries.values().filter(|entry| entry.pin.is_some());
    prop_assert_eq!(view.pinned_count().unwrap(), pins.count() as u64);
    let mut uses = BTreeMap::new();
    view.for_each_use(1, &mut |slot, count| {
        let sum: &mut Occasions = uses.entry(slot).or_default();
        *sum = sum.plus(count);
    })
    .unwrap();
    let since = |entry: &Entry| {
        entry.uses.range(1..).fold(Occasions::default(), |sum, (_, occasions)| sum.plus(*occasions))
    };
    let expected =
        model.entries.iter().map(|(&slot, entry)| (slot, since(entry))).filter(|(_, uses)| uses.all() > 0);
    prop_assert_eq!(uses, expected.collect::<BTreeMap<_, _>>());
    let rules: BTreeMap<_, _> = view.author_rules().unwrap().into_iter().collect();
    prop_assert_eq!(&rules, &model.rules);
    let policies: BTreeMap<_, _> = view.topic_policies().unwrap().into_iter().collect();
    prop_assert_eq!(&policies, &model.policies);
    let strangers = model.entries.values().filter(|entry| entry.stranger_bytes.is_some());
    let oldest = strangers.map(|entry| entry.grain.created_ms()).min();
    prop_assert_eq!(view.oldest_of_strangers().unwrap(), oldest);
    for n in 1..4 {
        let by = model.entries.values().filter(|entry| entry.grain.author() == author(n).author());
        prop_assert_eq!(view.grains_by(&author(n).author()).unwrap(), by.count() as u64);
    }
    for grain in seen {
        let expected = model.forgotten.contains(&grain.id());
        prop_assert_eq!(view.is_forgotten(&grain.id()).unwrap(), expected);
    }
    let waiting = model.entries.iter().filter_map(|(&slot, e)| Some((e.pending?, slot)));
    let expected: BTreeSet<(Lane, Slot)> = waiting.collect();
    prop_assert_eq!(pending(&view), expected.iter().map(|&(_, slot)| slot).collect::<Vec<_>>());
    let any = view.first_pending(None, &|_| false).unwrap();
    prop_assert_eq!(any, expected.iter().map(|&(_, slot)| slot).min());
    let own = view.first_pending(Some(LANE_OWN), &|_| false).unwrap();
    prop_assert_eq!(own, expected.iter().find(|(lane, _)| *lane == LANE_OWN).map(|&(_, slot)| slot));
    let unchecked: Vec<Slot> =
        model.entries.iter().filter(|(_, e)| e.unchecked).map(|(&slot, _)| slot).collect();
    prop_assert_eq!(view.unchecked(MODEL).unwrap(), unchecked);
    prop_assert!(view.unchecked(OTHER_MODEL).unwrap().is_empty());
    prop_assert_eq!(view.is_purging().unwrap(), !model.purges.is_empty());
    let target = note("target", 1).id();
    let links = model.entries.values().filter(|e| {
        e.grain.kind() == Kind::Note && e.grain.body().draft.links.iter().any(|l| l.target == target)
    });
    prop_assert_eq!(view.links_to(&target).unwrap(), links.count() as u64);
    for after in 0..model.log.len() as u64 + 2 {
        let is_known = after >= model.pruned && after <= model.log.len() as u64;
        let expected = is_known.then(|| model.log[after as usize..].to_vec());
        prop_assert_eq!(view.index_log(after).unwrap(), expected);
    }
    compare_vectors(&view, model)?;
    prop_assert_eq!(problems(&view), Vec::<String>::new());
    Ok(())
}

/// Asks which vectors there are of which model, and which notes could get one of another.
fn compare_vectors(view: &View, model: &Model) -> Result<(), TestCaseError> {
    let mut counts = Vec::new();
    for id in [MODEL, OTHER_MODEL] {
        let mut vectors = Vec::new();
        view.for_each_vector(id, &mut |slot, vector| {
            vectors.push((slot, vector));
            ControlFlow::Continue(())
        })
        .unwrap();
        prop_assert_eq!(view.vector_count(id).unwrap(), vectors.len() as u64);
        counts.extend((!vectors.is_empty()).then_some((id, vectors.len() as u64)));
        let expected =
            model.entries.iter().filter_map(|(&slot, e)| Some((slot, e.vectors.get(&id)?.clone())));
        prop_assert_eq!(vectors, expected.collect::<Vec<_>>());
    }
    // The sort is stable, and the ids are in order.
    counts.sort_by_key(|&(_, count)| Reverse(count));
    prop_assert_eq!(view.models().unwrap(), counts);

    let searchable =
        model.entries.iter().filter(|(_, e)| e.grain.kind() == Kind::Note && e.pending.is_none());
    let mut expected: Vec<(u64, Slot)> = searchable.map(|(&slot, e)| (e.grain.created_ms(), slot)).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let expected: Vec<Slot> = expected.into_iter().map(|(_, slot)| slot).collect();
    prop_assert_eq!(newest_first(view, usize::MAX), expected);
    Ok(())
}

/// Asks the store for what a filter means, page by page and all at once.
fn compare_filtered(
    store: &Store,
    model: &Model,
    filter: &Filter,
    limit: usize,
) -> Result<(), TestCaseError> {
    let view = store.view().unwrap();
    let fits = |entry: &Entry| Model::lets_through(entry, filter);
    for (&slot, entry) in &model.entries {
        let expected = entry.grain.kind() == Kind::Note && fits(entry);
        prop_assert_eq!(view.matches(slot, filter).unwrap(), expected);
    }
    let is_searchable = |entry: &Entry| entry.grain.kind() == Kind::Note && entry.pending.is_none();
    let meant: Vec<Slot> =
        model.entries.iter().filter(|(_, e)| is_searchable(e) && fits(e)).map(|(&slot, _)| slot).collect();
    for limit in [limit, usize::MAX] {
        match view.select(filter, limit).unwrap() {
            Selection::All => prop_assert!(filter.is_empty()),
            Selection::Few(mut slots) => {
                slots.sort_unstable();
                prop_assert_eq!(&slots, &meant);
                prop_assert!(slots.len() <= limit);
            }
            Selection::Many => prop_assert!(meant.len() > limit || model.entries.len() > 4 * limit),
        }
    }
    for (with_retractions, max_bytes) in [(false, None), (true, None), (false, Some(1)), (true, Some(500))] {
        let mut expected: Vec<(u64, Slot)> = model
            .entries
            .iter()
            .filter(|(_, e)| (with_retractions || e.grain.kind() == Kind::Note) && fits(e))
            .map(|(&slot, e)| (e.grain.created_ms(), slot))
            .collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        prop_assert_eq!(view.count(filter, with_retractions).unwrap(), expected.len() as u64);
        let mut listed = Vec::new();
        let limit = limit.max(1);
        let mut query = ListQuery { filter: filter.clone(), after: None, limit, max_bytes, with_retractions };
        // Of a page that ended because of its bytes: how many more would have fitted.
        let mut room_before = None;
        loop {
            let page = view.list(&query).unwrap();
            let sizes: Vec<usize> = page.records.iter().map(|record| record.grain.as_bytes().len()).collect();
            prop_assert!(page.records.len() <= limit);
            prop_assert!(sizes.len() <= 1 || sizes.iter().sum::<usize>() <= max_bytes.unwrap_or(usize::MAX));
            if let Some(room) = room_before {
                prop_assert!(sizes[0] > room, "the page before had room for the first of this one");
            }
            listed.extend(page.records.iter().map(|record| (record.grain.created_ms(), record.slot)));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            prop_assert!(!sizes.is_empty());
            prop_assert!(max_bytes.is_some() || sizes.len() == limit, "only the last page is short");
            let room = max_bytes.map(|bytes| bytes.saturating_sub(sizes.iter().sum()));
            room_before = room.filter(|_| sizes.len() < limit);
        }
        prop_assert_eq!(listed, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_a_plain_model_of_it(
        batches in proptest::collection::vec(proptest::collection::vec(op(), 1..8), 1..8),
        filters in proptest::collection::vec((filter(), 0usize..4), 12),
    ) {
        let store = store();
        let mut model = Model::default();
        let mut seen = Vec::new();
        for batch in batches {
            let changes: Vec<Change> = batch.into_iter().filter_map(|op| change(op, &mut seen)).collect();
            let expected: Vec<Outcome> = changes.iter().map(|change| model.apply(change)).collect();
            prop_assert_eq!(store.write(changes).unwrap(), expected);
            compare(&store, &model, &seen)?;
        }
        compare_filtered(&store, &model, &Filter::default(), 2)?;
        for (filter, limit) in &filters {
            compare_filtered(&store, &model, filter, *limit)?;
        }
        let (view, dir) = (store.view().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join("copy.redb");
        let file = std::fs::File::create_new(&path).unwrap();
        prop_assert!(view.copy_to(file, &mut |_, _| ControlFlow::Continue(())).unwrap());
        let copy = Store::open(&path, &StoreOptions::default()).unwrap();
        prop_assert!(copy.view().unwrap().tables.dump() == view.tables.dump(), "a copy is the same");
    }
}
