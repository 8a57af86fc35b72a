use synapsenet_storage::Occasions;

use super::super::Weights;
use super::super::worth::{Nothing, Used};
use super::*;

fn said(by: u8, created_ms: u64, words: u64) -> Said {
    let author = AuthorId::from_bytes([by; 32]);
    let topic = Topic::new("a").unwrap();
    let order = (created_ms, [0; 16]);
    Said { order, topic, author, words, cites: Vec::new(), came: 1, is_strangers: false }
}

fn weights() -> Weights {
    Weights::of(&crate::config::EmergenceConfig::default())
}

fn nothing(column: &Column, slot: Slot) -> Option<Nothing> {
    column.emergence(slot, Used::default(), &weights()).unwrap().nothing
}

#[test]
fn many_that_say_the_same_words_are_each_looked_at_without_the_others() {
    const MANY: u64 = 20_000;
    let mut column = Column::default();
    for slot in 0..MANY {
        column.insert(slot, said(1, MANY - slot, 7));
        column.found(slot, &[]);
    }
    let group = &column.together[&7];
    assert_eq!((group.members.len() as u64, group.by_author[&0]), (MANY, MANY as usize));
    // Comparing each with all would take minutes here.
    assert!((0..MANY - 1).all(|slot| nothing(&column, slot) == Some(Nothing::SaidBefore)));
    assert_eq!(nothing(&column, MANY - 1), Some(Nothing::Boilerplate));
    assert_eq!(column.echoes().len() as u64, MANY - 1);
    for slot in 0..MANY - 1 {
        column.remove(slot);
    }
    assert_eq!(nothing(&column, MANY - 1), None);
    assert!(column.together.is_empty() && column.alone[&7] == MANY - 1);
}

#[test]
fn what_others_bring_later_with_an_earlier_date_takes_nothing_from_what_is_kept_and_earns_nothing() {
    let mut column = Column::default();
    // The same words, words that are nearly the same, and the author's own earlier ones.
    for (slot, by, created_ms, words) in
        [(1, 1, 100, 7), (2, 1, 100, 8), (3, 1, 100, 9), (4, 2, 99, 7), (5, 2, 99, 10), (6, 1, 99, 9)]
    {
        column.insert(slot, said(by, created_ms, words));
    }
    let same = Millionths(999_000);
    for (slot, others) in
        [(1, vec![]), (2, vec![(5, same)]), (3, vec![]), (4, vec![]), (5, vec![(2, same)]), (6, vec![])]
    {
        column.found(slot, &others);
    }
    let echoes = column.echoes();
    let worth = |slot| column.worth(slot, Used::default(), &weights(), &echoes).unwrap().score.0;
    for slot in 1..=3 {
        assert_eq!(nothing(&column, slot), Some(Nothing::SaidBefore), "{slot} is shown as all see it");
    }
    assert!(worth(1) > 0 && worth(2) > 0 && worth(6) > 0);
    assert_eq!((worth(4), worth(5)), (0, 0), "they came later");
    assert_eq!(worth(3), 0, "its own author said it before");
    // What came before it counts, whoever says it.
    column.insert(7, said(3, 200, 7));
    column.found(7, &[]);
    let worth = column.worth(7, Used::default(), &weights(), &column.echoes()).unwrap();
    assert_eq!(worth.nothing, Some(Nothing::SaidBefore));
}

/// A stranger's note of this author, that came on a day.
fn brought(column: &mut Column, slot: Slot, by: u8, created_ms: u64, came: u32) {
    let said = Said { came, is_strangers: true, ..said(by, created_ms, slot) };
    column.insert(slot, said);
    column.found(slot, &[]);
}

#[test]
fn a_stranger_counts_as_far_as_others_say_something_near_it_and_its_author_was_of_use() {
    let mut column = Column::default();
    for (slot, by) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5)] {
        brought(&mut column, slot, by, slot, 1);
    }
    let near = Millionths(800_000);
    let of = |column: &Column, of_author, by_owner| {
        let occasions = Occasions { by_owner, by_others: 1000 };
        column.emergence(1, Used { occasions, of_author }, &weights()).unwrap()
    };
    assert_eq!((of(&column, 9, 0).nothing, of(&column, 9, 0).score.0), (Some(Nothing::Unbacked), 0));
    column.found(1, &[(2, near)]);
    assert_eq!(of(&column, 9, 0).nothing, Some(Nothing::Unbacked), "its own author is no company");
    column.found(1, &[(2, near), (3, near)]);
    assert_eq!(of(&column, 9, 0).backing.0, 333_333);
    column.found(1, &[(2, near), (3, near), (4, near), (5, near), (6, near)]);
    let backing = [0, 1, 2, 3, 99].map(|uses| of(&column, uses, 0).backing.0);
    assert_eq!(backing, [100_000, 400_000, 700_000, 1_000_000, 1_000_000]);
    assert_eq!(of(&column, 0, 1).backing, Millionths::ONE, "it was of use itself");
    assert_eq!(of(&column, 0, 0).occasions, 3, "a crowd of others is three");
    let whole = of(&column, 3, 0).score.0;
    assert!(of(&column, 0, 0).score.0.abs_diff(whole / 10) <= 1);
}

#[test]
fn one_author_has_no_more_than_five_places_among_neighbours_in_any_order() {
    let cosine = |n: u64| Millionths(700_000 + 1000 * (n % 7));
    let met = |order: &[u64]| {
        let mut column = Column::default();
        brought(&mut column, 99, 9, 1, 1);
        for slot in 0..60 {
            brought(&mut column, slot, if slot < 40 { 1 } else { 2 + slot as u8 / 4 }, slot + 2, 1);
        }
        for &slot in order {
            column.found(slot, &[(99, cosine(slot))]);
        }
        column.entries[&99].near.clone()
    };
    let ascending: Vec<u64> = (0..60).collect();
    let near = met(&ascending);
    assert_eq!(near.len(), MAX_NEAR);
    assert_eq!(near.iter().filter(|near| near.slot() < 40).count(), MAX_NEAR_OF_ONE);
    let mixed: Vec<u64> = (0..60).map(|n| n * 37 % 60).collect();
    let descending: Vec<u64> = (0..60).rev().collect();
    assert_eq!((met(&mixed), met(&descending)), (near.clone(), near));
}

#[test]
fn of_what_a_newcomer_fetches_in_one_day_nobody_loses_by_the_order_and_what_comes_later_is_a_copy() {
    // Whether the words are the same, or nearly.
    for echoed in [true, false] {
        let mut column = Column::default();
        // The first that came, one that is older by its date, and one that came on the next day and is dated back.
        for (slot, by, created_ms, came) in [(1, 1, 100, 9), (2, 2, 50, 9), (3, 3, 40, 10)] {
            let said = Said { came, ..said(by, created_ms, if echoed { 7 } else { slot }) };
            column.insert(slot, said);
        }
        let same = Millionths(990_000);
        let met = [vec![], vec![(1, same)], vec![(1, same), (2, same)]];
        for (slot, others) in (1..).zip(met) {
            column.found(slot, if echoed { &[] } else { &others });
        }
        let echoes = column.echoes();
        let nothing = |slot| column.worth(slot, Used::default(), &weights(), &echoes).unwrap().nothing;
        assert_eq!([1, 2, 3].map(nothing), [None, None, Some(Nothing::SaidBefore)], "{echoed}");
    }
}
