use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn lists_come_back_as_they_were_pushed(
        lists in prop::collection::vec(
            prop::collection::vec((prop_oneof![0..3u32, 0..300u32, 0..5_000_000u32], prop_oneof![1..3u32, 1..=u32::MAX]), 0..300),
            1..8,
        ),
    ) {
        let mut pool = Lists::default();
        lists.iter().for_each(|_| pool.push_list());
        let mut expected: Vec<Vec<Posting>> = vec![Vec::new(); lists.len()];
        // In turns, so that slices of different lists lie between each other.
        for at in 0..300 {
            for (number, list) in lists.iter().enumerate() {
                if let Some(&(gap, count)) = list.get(at) {
                    let doc = expected[number].last().map_or(gap, |last| last.doc + 1 + gap);
                    expected[number].push(Posting { doc, count });
                    let has_room = pool.push(number as u32, Posting { doc, count });
                    prop_assert!(has_room);
                }
            }
        }
        for (number, expected) in expected.iter().enumerate() {
            let mut list = Vec::new();
            pool.for_each(number as u32, |posting| list.push(posting));
            prop_assert_eq!(&list, expected);
            prop_assert_eq!(pool.count(number as u32) as usize, expected.len());
            // The same in one go, then one more.
            let Some(last) = expected.last() else { continue };
            let mut next = 0;
            let mut bytes = Vec::new();
            for posting in expected {
                let (code, length) = encode(posting.doc - next, posting.count);
                bytes.extend_from_slice(&code[..length]);
                next = posting.doc + 1;
            }
            let mut filled = Lists::default();
            filled.push_list();
            prop_assert_eq!(filled.fill(0, &bytes, last.doc + 1), Some(()));
            let more = Posting { doc: last.doc + 7, count: 3 };
            prop_assert!(filled.push(0, more));
            let mut list = Vec::new();
            filled.for_each(0, |posting| list.push(posting));
            prop_assert_eq!(list.pop(), Some(more));
            prop_assert_eq!(&list, expected);
            let mut none = Lists::default();
            none.push_list();
            prop_assert_eq!(none.fill(0, &bytes, last.doc), None);
        }
    }

    #[test]
    fn a_posting_is_read_as_it_was_written(gap in any::<u32>(), count in 1..=u32::MAX) {
        let (bytes, length) = encode(gap, count);
        prop_assert_ne!(bytes[0], 0);
        let mut at = 0;
        prop_assert_eq!(decode(&bytes[..length], &mut at), Some((gap, count)));
        prop_assert_eq!(at, length);
        for end in 0..length {
            prop_assert_eq!(decode(&bytes[..end], &mut 0), None);
        }
    }
}

#[test]
fn a_long_list_takes_little_more_than_its_bytes() {
    let mut pool = Lists::default();
    pool.push_list();
    for doc in 0..1_000_000 {
        assert!(pool.push(0, Posting { doc: doc * 3, count: 1 }));
    }
    assert!(pool.memory_bytes() < 1_100_000, "{}", pool.memory_bytes());
}
