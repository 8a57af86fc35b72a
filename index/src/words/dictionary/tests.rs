use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Whether `a` becomes `b` by one edit, found by trying all that may be.
fn is_one_edit(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let without = |word: &[char], at: usize| [&word[..at], &word[at + 1..]].concat();
    let swapped = |at: usize| {
        let mut word = a.clone();
        word.swap(at, at + 1);
        word
    };
    (0..a.len()).any(|at| without(&a, at) == b)
        || (0..b.len()).any(|at| without(&b, at) == a)
        || (a.len() == b.len() && (0..a.len()).any(|at| without(&a, at) == without(&b, at)))
        || (1..a.len()).any(|at| swapped(at - 1) == b)
}

proptest! {
    #[test]
    fn terms_are_found_by_themselves_their_beginnings_and_what_is_nearly_them(
        terms in prop::collection::btree_set("[abü東]{1,6}", 0..400),
        shuffled in any::<u64>(),
        word in "[abü東c]{1,6}",
    ) {
        let mut arrivals: Vec<&String> = terms.iter().collect();
        arrivals.sort_by_key(|term| blake3::hash(format!("{shuffled}{term}").as_bytes()).to_string());
        let mut dictionary = Dictionary::default();
        for (number, term) in arrivals.iter().enumerate() {
            prop_assert_eq!(dictionary.number(term), None);
            prop_assert_eq!(dictionary.push(term), Some(number as u32));
        }
        for (number, term) in arrivals.iter().enumerate() {
            prop_assert_eq!(dictionary.number(term), Some(number as u32));
            prop_assert_eq!(dictionary.term(number as u32), term.as_str());
        }
        let of = |numbers: Vec<u32>| numbers.into_iter().map(|number| dictionary.term(number)).collect::<Vec<_>>();
        prop_assert_eq!(of(dictionary.in_order().collect()), terms.iter().collect::<Vec<_>>());
        let begun: Vec<&String> = terms.iter().filter(|term| term.starts_with(&word)).collect();
        prop_assert_eq!(of(dictionary.with_prefix(&word).collect()), begun);
        let edited: BTreeSet<&str> =
            terms.iter().map(String::as_str).filter(|term| *term != word && is_one_edit(&word, term)).collect();
        let found: BTreeSet<&str> =
            of(dictionary.one_edit_from(&word)).into_iter().filter(|term| *term != word).collect();
        prop_assert_eq!(found, edited);
    }
}

#[test]
fn many_terms_stay_in_order_however_they_come() {
    let mut dictionary = Dictionary::default();
    for number in 0..5000u32 {
        dictionary.push(&format!("{:08x}", number.wrapping_mul(2_654_435_761)));
    }
    let terms: Vec<&str> = dictionary.in_order().map(|number| dictionary.term(number)).collect();
    assert_eq!(terms.len(), 5000);
    assert!(terms.is_sorted());
    assert!(dictionary.order.iter().all(|block| !block.is_empty() && block.len() <= MAX_BLOCK_TERMS));
}
