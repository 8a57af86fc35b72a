//! Lists and filters give exactly what they should: no grain too many, none too few, in order.

use std::collections::BTreeSet;

use prost::Message;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::rpc::{Filter, ListRequest};
use synapsenet_proto::{Draft, Grain, Identity, MAX_TEXT_BYTES, Source, Topic, rpc};

use super::harness::{Client, TestNode, noise, note, now_ms, within};

/// Grains of two authors, that differ in everything that a filter can ask for.
fn library() -> Vec<Grain> {
    let authors = [Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32])];
    let topics = ["commons", "house", "house.cellar"];
    let langs = ["", "en", "en-GB", "eng", "de"];
    let tags: [&[&str]; 4] = [&[], &["a"], &["b", "a"], &["a b"]];
    let sources = [None, Some("file:notes/a.md"), Some("file:notes/a.md.old"), Some("https://example.org/")];
    let now = now_ms();
    (0..60)
        .map(|n: usize| {
            let draft = Draft {
                topic: Topic::new(topics[n % 3]).unwrap(),
                text: format!("Observation number {n}, written down on the spot."),
                tags: tags[n % 4].iter().map(|tag| tag.to_string()).collect(),
                lang: langs[n % 5].into(),
                source: sources[n / 2 % 4].map(|uri| Source { uri: uri.into(), ordinal: n as u32 }),
                ..Draft::default()
            };
            // Three at a time have one time stamp, and they do not come in the order of time.
            let created_ms = now - 1_000_000 + (n as u64 / 3 * 7 % 20) * 1000;
            Grain::seal(draft, &authors[n % 2], created_ms).unwrap()
        })
        .collect()
}

async fn node_with(grains: &[Grain]) -> TestNode {
    let node = TestNode::fresh().await;
    let item = |grain: &Grain| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Grain(grain.as_bytes().to_vec())),
        share: false,
        ..Default::default()
    };
    for result in node.bulk_put(grains.iter().map(item).collect()).await {
        assert_eq!(result.outcome(), rpc::PutOutcome::Added, "{}", result.reason);
    }
    node.wait_indexed().await;
    node
}

/// What the schema says about filters, in the plainest words.
fn matches(grain: &Grain, filter: &Filter) -> bool {
    let draft = &grain.body().draft;
    let lang = &filter.lang;
    (filter.topic.is_empty() || draft.topic.as_str() == filter.topic)
        && filter.tags.iter().all(|tag| draft.tags.contains(tag))
        && (filter.author.is_empty() || grain.author().to_string().eq_ignore_ascii_case(&filter.author))
        && filter.created_from_ms.is_none_or(|from| grain.created_ms() >= from)
        && filter.created_before_ms.is_none_or(|before| grain.created_ms() < before)
        && (lang.is_empty() || draft.lang == *lang || draft.lang.starts_with(&format!("{lang}-")))
        && (filter.source_prefix.is_empty()
            || draft.source.as_ref().is_some_and(|source| source.uri.starts_with(&filter.source_prefix)))
}

fn ids(grains: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<String> = grains.into_iter().collect();
    ids.sort();
    ids
}

/// Every filter that the tests try, each alone and many together.
fn filters(library: &[Grain]) -> Vec<Filter> {
    let filter = Filter::default;
    let author = |n: usize| library[n].author().to_string();
    let time = |n: usize| Some(library[n].created_ms());
    vec![
        filter(),
        Filter { topic: "house".into(), ..filter() },
        Filter { topic: "hous".into(), ..filter() },
        Filter { tags: vec!["a".into()], ..filter() },
        Filter { tags: vec!["a".into(), "b".into()], ..filter() },
        Filter { tags: vec!["a b".into()], ..filter() },
        Filter { tags: vec!["b".into(), "missing".into()], ..filter() },
        Filter { author: author(0), ..filter() },
        Filter { author: author(1), ..filter() },
        Filter { author: author(1).to_uppercase(), ..filter() },
        Filter { author: "0".repeat(64), ..filter() },
        Filter { created_from_ms: time(30), ..filter() },
        Filter { created_before_ms: time(30), ..filter() },
        Filter { created_from_ms: time(30), created_before_ms: time(30).map(|ms| ms + 1), ..filter() },
        Filter { created_from_ms: time(30), created_before_ms: time(30), ..filter() },
        Filter { created_from_ms: Some(u64::MAX), ..filter() },
        Filter { created_before_ms: Some(0), ..filter() },
        Filter { created_from_ms: Some(0), created_before_ms: Some(u64::MAX), ..filter() },
        Filter { lang: "en".into(), ..filter() },
        Filter { lang: "en-GB".into(), ..filter() },
        Filter { lang: "de".into(), ..filter() },
        Filter { lang: "fr".into(), ..filter() },
        Filter { source_prefix: "file:notes/a.md".into(), ..filter() },
        Filter { source_prefix: "file:notes/a.md.old".into(), ..filter() },
        Filter { source_prefix: "https://".into(), ..filter() },
        Filter { source_prefix: "file:other".into(), ..filter() },
        Filter { topic: "house".into(), tags: vec!["a".into()], ..filter() },
        Filter { topic: "house".into(), author: author(0), lang: "en".into(), ..filter() },
        Filter { tags: vec!["a".into()], source_prefix: "file:notes/".into(), ..filter() },
        Filter { author: author(1), created_from_ms: time(20), created_before_ms: time(50), ..filter() },
        Filter {
            topic: "commons".into(),
            tags: vec!["a".into()],
            author: author(1),
            created_from_ms: Some(1),
            created_before_ms: Some(u64::MAX),
            lang: "en".into(),
            source_prefix: "file:".into(),
            ..filter()
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_lets_through_exactly_what_it_says() {
    let library = library();
    let node = node_with(&library).await;
    let (mut some, mut none) = (0, 0);
    for filter in filters(&library) {
        let wanted = library.iter().filter(|grain| matches(grain, &filter));
        let wanted = ids(wanted.map(|grain| grain.id().to_string()));
        *if wanted.is_empty() { &mut none } else { &mut some } += 1;
        let listed = node.list(filter.clone()).await;
        assert_eq!(ids(listed.into_iter().map(|grain| grain.id)), wanted, "list with {filter:?}");
        let found = node.search_in("what was observed", 1000, filter.clone()).await;
        assert_eq!(ids(found.ids().into_iter().map(str::to_owned)), wanted, "search with {filter:?}");
        assert_eq!(found.summary.searched, library.len() as u64);
        // The best of them is the best of all that are let through, however few are asked for.
        let best = node.search_in("what was observed", 1, filter).await;
        assert_eq!(best.ids(), found.ids().into_iter().take(1).collect::<Vec<_>>());
    }
    assert!(some > 15 && none > 4, "the filters try both: {some} and {none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_still_holds_after_retractions_and_a_restart() {
    let node = TestNode::fresh().await;
    let draft = |n: u32| rpc::Draft {
        text: format!("Reading number {n} of the meter."),
        tags: vec![["even", "odd"][n as usize % 2].into()],
        ..Default::default()
    };
    let mut left = Vec::new();
    for n in 0..12 {
        let id = node.put_draft(draft(n)).await;
        if n % 3 == 0 {
            node.try_retract(&id).await.unwrap();
        } else if n % 2 == 0 {
            left.push(id);
        }
    }
    node.wait_indexed().await;
    let even = Filter { tags: vec!["even".into()], ..Default::default() };
    let check = async |node: &Client| {
        let listed = ids(node.list(even.clone()).await.into_iter().map(|grain| grain.id));
        assert_eq!(listed, ids(left.clone()));
        let found = node.search_in("meter", 100, even.clone()).await;
        assert_eq!(ids(found.ids().into_iter().map(str::to_owned)), ids(left.clone()));
    };
    check(&node).await;
    let node = node.restart().await;
    check(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_joined_are_the_whole_list_newest_first() {
    let library = library();
    let node = node_with(&library).await;
    let house = Filter { topic: "house".into(), ..Default::default() };
    let author = Filter { author: library[0].author().to_string(), ..Default::default() };
    let tagged = Filter { tags: vec!["a".into()], ..Default::default() };
    for filter in [Filter::default(), house, author, tagged] {
        let wanted = library.iter().filter(|grain| matches(grain, &filter));
        let wanted = ids(wanted.map(|grain| grain.id().to_string()));
        let mut orders = Vec::new();
        for page_size in
            [1, 7, wanted.len() as u32 - 1, wanted.len() as u32, wanted.len() as u32 + 1, 1000, 0]
        {
            let request = ListRequest { filter: Some(filter.clone()), page_size, ..Default::default() };
            let pages = node.list_pages(request).await;
            let full = if page_size == 0 { 100 } else { page_size as usize };
            let (last, before) = pages.split_last().unwrap();
            assert!(before.iter().all(|page| page.len() == full), "only the last page is short");
            assert!(!last.is_empty() && last.len() <= full, "no page is empty");
            let grains = pages.concat();
            assert!(grains.is_sorted_by(|a, b| a.created_ms >= b.created_ms), "newest first");
            assert!(grains.iter().all(|grain| grain.signed.is_empty()), "signed bytes come when asked for");
            let order: Vec<String> = grains.into_iter().map(|grain| grain.id).collect();
            assert_eq!(ids(order.clone()), wanted, "pages of {page_size}");
            orders.push(order);
        }
        assert!(
            orders.iter().all(|order| *order == orders[0]),
            "the order does not depend on the size of a page"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_while_a_list_is_read_neither_repeats_nor_hides_anything() {
    let library = library();
    let (before, after) = library.split_at(40);
    let node = node_with(before).await;
    let first = ListRequest { page_size: 10, ..Default::default() };
    let page = node.try_list(first.clone()).await.unwrap();
    let mut seen: Vec<String> = page.grains.into_iter().map(|grain| grain.id).collect();
    // Some of these are older than the page that was read, some newer.
    let item = |grain: &Grain| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Grain(grain.as_bytes().to_vec())),
        share: false,
        ..Default::default()
    };
    node.bulk_put(after.iter().map(item).collect()).await;
    let mut page_token = page.next_page_token;
    while !page_token.is_empty() {
        let page = node.try_list(ListRequest { page_token, ..first.clone() }).await.unwrap();
        seen.extend(page.grains.into_iter().map(|grain| grain.id));
        page_token = page.next_page_token;
    }
    assert_eq!(ids(seen.clone()).iter().collect::<BTreeSet<_>>().len(), seen.len(), "no repeats");
    for grain in before {
        assert!(seen.contains(&grain.id().to_string()), "what was there from the start is listed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_signed_bytes_gives_grains_that_open() {
    let library = library();
    let node = node_with(&library[..5]).await;
    let request = ListRequest { with_signed: true, ..Default::default() };
    let grains = node.list_pages(request).await.concat();
    assert_eq!(grains.len(), 5);
    for grain in grains {
        let opened = Grain::open(&grain.signed).unwrap();
        assert_eq!(opened.id().to_string(), grain.id);
        assert!(library.contains(&opened), "byte for byte what was handed in");
    }
}

/// gRPC's clients take answers of up to 4 MiB, unless they are told otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_grains_is_no_larger_than_what_clients_take() {
    const COUNT: usize = 400;
    let node = TestNode::fresh().await;
    let item = |n: usize| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Draft(note(noise(n as u64, MAX_TEXT_BYTES)))),
        share: false,
        ..Default::default()
    };
    node.bulk_put((0..COUNT).map(item).collect()).await;
    let mut usual = NodeServiceClient::new(node.channel.clone());
    for with_signed in [false, true] {
        let (mut seen, mut pages, mut page_token) = (BTreeSet::new(), 0, String::new());
        loop {
            let request = ListRequest { page_size: 1000, with_signed, page_token, ..Default::default() };
            let page = within("a page", usual.list(request)).await.unwrap().into_inner();
            assert!(
                page.encoded_len() > 2 << 20 || page.next_page_token.is_empty(),
                "no page is needlessly small"
            );
            seen.extend(page.grains.into_iter().map(|grain| grain.id));
            (pages, page_token) = (pages + 1, page.next_page_token);
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), COUNT);
        assert!(pages > 1, "they do not fit on one page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_lists_and_finds_nothing() {
    let node = TestNode::fresh().await;
    assert_eq!(node.list_pages(ListRequest::default()).await, vec![vec![]]);
    let found = node.search("anything").await;
    assert_eq!((found.hits.len(), found.summary.searched, found.summary.pending), (0, 0, 0));
    let status = node.status().await;
    assert_eq!((status.grains, status.retractions, status.pending, status.searchable), (0, 0, 0, 0));
    assert!(status.topics.is_empty());
    node.verify_sound().await;
}
