//! What was said is found by its meaning, and stays.

use std::collections::HashMap;

use prost::Message;
use synapsenet_proto::{Draft, Grain, Identity, rpc};
use tonic::Code;

use super::harness::{Client, TestNode, noise, note, now_ms};

/// Notes, each with a question that shares no word with it.
pub(crate) const NOTES: [(&str, &str); 6] = [
    (
        "The physician prescribed amoxicillin against Anna's ear infection.",
        "which medicine did my daughter get when sick",
    ),
    (
        "Backups run nightly from every laptop to the NAS in the attic.",
        "where are copies of my files kept safe",
    ),
    ("Our lawn mower needs fresh oil before winter.", "maintenance for garden machines"),
    ("Pasta water should taste like the sea.", "how much salt do I use when cooking noodles"),
    ("Photosynthesis turns sunlight into sugar.", "what gives plants their food"),
    ("The landlord wants the rent on the third of each month.", "when do I pay for my flat"),
];

fn words(text: &str) -> Vec<String> {
    let words = text.to_lowercase();
    words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Puts every note and waits until all can be found.
pub(crate) async fn put_notes(client: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    for (text, _) in NOTES {
        ids.push(client.put(text).await);
    }
    client.wait_indexed().await;
    ids
}

async fn assert_all_found(client: &Client) {
    for (text, question) in NOTES {
        let found = client.search(question).await;
        assert_eq!(found.texts()[0], text, "{question}: {:?}", found.texts());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_finds_the_note_that_it_shares_no_word_with() {
    let node = TestNode::fresh().await;
    put_notes(&node).await;
    for (text, question) in NOTES {
        let asked = words(question);
        assert!(words(text).iter().all(|word| !asked.contains(word)), "{text} / {question}");
    }
    assert_all_found(&node).await;
    let found = node.search(NOTES[0].1).await;
    assert_eq!(found.hits.len(), NOTES.len(), "fewer grains than asked for are all found");
    assert_eq!((found.summary.searched, found.summary.pending), (NOTES.len() as u64, 0));
    assert!(found.summary.embed_us > 0 && found.summary.embed_us <= found.summary.elapsed_us);
    assert!(found.hits.iter().all(|hit| (-1.0..=1.0).contains(&hit.score)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_gives_as_many_hits_as_asked_for_and_the_best_ones() {
    let node = TestNode::fresh().await;
    put_notes(&node).await;
    let all = node.search(NOTES[2].1).await;
    for k in 1..=NOTES.len() {
        let some = node.search_in(NOTES[2].1, k as u32, rpc::Filter::default()).await;
        assert_eq!(some.ids(), all.ids()[..k]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart_and_found_as_before() {
    let node = TestNode::fresh().await;
    let author = node.node.author().to_owned();
    let ids = put_notes(&node).await;
    let before = node.search(NOTES[1].1).await;
    let (model, author_before) = {
        let status = node.status().await;
        (status.model.unwrap().space_id, status.author)
    };
    assert_eq!(author, author_before);

    let node = node.restart().await;
    let status = node.status().await;
    assert_eq!(
        (status.grains, status.pending, status.searchable),
        (NOTES.len() as u64, 0, NOTES.len() as u64)
    );
    assert_eq!(status.author, author, "the identity stays");
    assert_eq!(status.model.unwrap().space_id, model);
    for (id, (text, _)) in ids.iter().zip(NOTES) {
        let grain = node.get(id).await;
        assert_eq!((grain.text.as_str(), grain.author.as_str()), (text, author.as_str()));
        assert!(grain.searchable);
    }
    assert_all_found(&node).await;
    let after = node.search(NOTES[1].1).await;
    let scores = |found: &super::harness::Found| found.hits.iter().map(|hit| hit.score).collect::<Vec<_>>();
    assert_eq!((after.ids(), scores(&after)), (before.ids(), scores(&before)));
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_just_before_a_stop_becomes_searchable_after_the_start() {
    let node = TestNode::fresh().await;
    // Not waited for: some of it is pending when the node stops.
    for (text, _) in NOTES {
        node.put(text).await;
    }
    let node = node.restart().await;
    node.wait_indexed().await;
    assert_eq!(node.status().await.searchable, NOTES.len() as u64);
    assert_all_found(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_are_remembered_once() {
    let node = TestNode::fresh().await;
    let first = node.put("The spare key is under the third flower pot.").await;
    let again = node.try_put(note("The spare key is under the third flower pot.")).await.unwrap();
    assert_eq!((again.outcome(), &again.id), (rpc::PutOutcome::Duplicate, &first));
    assert_eq!(node.status().await.grains, 1);

    // Another topic, tag or source says something else.
    let words = note("The spare key is under the third flower pot.");
    node.put_draft(rpc::Draft { topic: "keys".into(), ..words.clone() }).await;
    node.put_draft(rpc::Draft { tags: vec!["key".into()], ..words.clone() }).await;
    let source = Some(rpc::Source { uri: "file:///keys.md".into(), ordinal: 0 });
    node.put_draft(rpc::Draft { source, ..words.clone() }).await;
    assert_eq!(node.status().await.grains, 4);

    // Still so when the node has been started again.
    let node = node.restart().await;
    let again = node.try_put(words).await.unwrap();
    assert_eq!((again.outcome(), &again.id), (rpc::PutOutcome::Duplicate, &first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grain_comes_back_as_it_was_said() {
    let node = TestNode::fresh().await;
    let target = node.put("The heating was serviced in October.").await;
    let links = vec![rpc::Link {
        target: blake3::Hash::from_hex(&target).unwrap().as_bytes().to_vec(),
        relation: "replies-to".into(),
    }];
    let draft = rpc::Draft {
        topic: "house".into(),
        text: "Die Heizung läuft wieder; nächste Wartung im Oktober. 🔥".into(),
        title: "Heizung".into(),
        tags: vec!["heating".into(), "größe".into()],
        lang: "de-AT".into(),
        mime: "text/markdown".into(),
        source: Some(rpc::Source { uri: "https://example.org/heating".into(), ordinal: 3 }),
        links,
        metadata: [("app".into(), "notes".into()), ("n".into(), "größer als 1".into())].into(),
    };
    let before = now_ms();
    let request = rpc::PutRequest { draft: Some(draft.clone()), share: true, ..Default::default() };
    let put = node.rpc.clone().put(request).await.unwrap().into_inner();
    assert!(put.shared);
    node.wait_indexed().await;

    let grain = node.get(&put.id).await;
    let back = rpc::Draft {
        topic: grain.topic.clone(),
        text: grain.text.clone(),
        title: grain.title.clone(),
        tags: grain.tags.clone(),
        lang: grain.lang.clone(),
        mime: grain.mime.clone(),
        source: grain.source.clone(),
        links: grain.links.clone(),
        metadata: grain.metadata.clone(),
    };
    assert_eq!(back, draft);
    assert_eq!(grain.kind(), rpc::GrainKind::Note);
    assert_eq!(grain.author, node.node.author());
    assert!(grain.shared && grain.searchable);
    assert!((before..=now_ms()).contains(&grain.created_ms));

    // The signed bytes are the grain: whoever opens them finds the same.
    let opened = Grain::open(&grain.signed).unwrap();
    assert_eq!((opened.id().to_string(), opened.text()), (grain.id.clone(), grain.text.as_str()));
    let unsigned = rpc::GetRequest { id: put.id, with_signed: false, ..Default::default() };
    assert!(node.rpc.clone().get(unsigned).await.unwrap().into_inner().grain.unwrap().signed.is_empty());

    // What is private stays marked so.
    assert!(!node.get(&target).await.shared);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_and_near_to_others_emerges() {
    let node = TestNode::fresh().await;
    let cat = node.put("The cat sleeps on the sofa.").await;
    let same = node.put("A cat is sleeping on the couch.").await;
    let copy = node.put("the cat sleeps: on the SOFA").await;
    let tax = node.put("The tax return is due in May.").await;
    let [cat, same, copy, tax] = [
        node.emergence_of(&cat).await,
        node.emergence_of(&same).await,
        node.emergence_of(&copy).await,
        node.emergence_of(&tax).await,
    ];
    assert_eq!(cat.novelty, 1.0, "nothing is older");
    assert!(same.novelty < 0.5 && tax.novelty > 0.7, "{same:?} {tax:?}");
    assert!(same.coherence > tax.coherence && cat.coherence > tax.coherence, "{cat:?} {same:?} {tax:?}");
    for parts in [cat, tax] {
        let sum = 0.5 * parts.novelty + 0.3 * parts.coherence + 0.2 * parts.reuse;
        assert!((parts.score - sum).abs() < 3e-6, "{parts:?}");
        assert_eq!((parts.occasions, parts.nothing()), (0, rpc::EmergenceNothing::Unspecified));
    }
    assert_eq!((same.score, same.nothing()), (0.0, rpc::EmergenceNothing::TooLittle), "{same:?}");
    assert_eq!((copy.score, copy.nothing()), (0.0, rpc::EmergenceNothing::SaidBefore));
    // A retraction has none.
    let retraction = node.try_retract(&node.put("Never mind.").await).await.unwrap();
    assert_eq!(node.try_get(&retraction).await.unwrap().emergence, None);
}

/// A text of many windows of the model, that says nothing but `end` of any interest.
fn long_text(end: &str) -> String {
    let filler = "The committee met again, went through the minutes of the last meeting, and adjourned without a decision. ";
    format!("{}{end}", filler.repeat(40))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_at_the_very_end_of_a_long_note_counts() {
    let node = TestNode::fresh().await;
    // If the model saw the beginning only, the two would look the same and the first one would win.
    let tide = long_text("Low tide at the harbour is at six in the morning.");
    let bread = long_text("Sourdough bread has to rest for twelve hours before it is baked.");
    let (tide, bread) = (node.put(tide).await, node.put(bread).await);
    node.wait_indexed().await;
    let found = node.search("how long does bread dough need to rise").await;
    assert_eq!(found.ids(), [bread.as_str(), tide.as_str()]);
    assert!(found.hits[0].score > found.hits[1].score);
    let found = node.search("when is the water in the port at its lowest").await;
    assert_eq!(found.ids(), [tide.as_str(), bread.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_found_among_hundreds_that_say_the_same() {
    /// Files with the same words on top: their vectors are equal, which graphs of neighbours find hard.
    const FILES: u32 = 600;
    let node = TestNode::fresh().await;
    let item = |n: u32| {
        let source = Some(rpc::Source { uri: format!("file:///src/{n}.c"), ordinal: 0 });
        let draft =
            rpc::Draft { source, ..note("Permission is hereby granted, free of charge, to any person.") };
        rpc::BulkPutRequest {
            item: Some(rpc::bulk_put_request::Item::Draft(draft)),
            share: false,
            ..Default::default()
        }
    };
    // Half of the notes come before the files, half after them.
    let (early, late) = NOTES.split_at(NOTES.len() / 2);
    for (text, _) in early {
        node.put(*text).await;
    }
    node.bulk_put((0..FILES).map(item).collect()).await;
    node.wait_indexed().await;
    for (text, _) in late {
        node.put(*text).await;
    }
    node.wait_indexed().await;
    let check = async |node: &Client| {
        assert_all_found(node).await;
        let all = node.search_in("copyright", 1000, rpc::Filter::default()).await;
        let there = FILES as usize + NOTES.len();
        assert_eq!(all.hits.len(), there, "a search for more than there is gives all there is");
    };
    check(&node).await;
    let node = node.restart().await;
    check(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_text_is_kept_whole() {
    let node = TestNode::fresh().await;
    let text = noise(1, synapsenet_proto::MAX_TEXT_BYTES);
    let id = node.put(text.clone()).await;
    assert_eq!(node.get(&id).await.text, text);
    let node = node.restart().await;
    assert_eq!(node.get(&id).await.text, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_index_ends_when_all_that_was_stored_can_be_found() {
    let node = TestNode::fresh().await;
    // Nothing stored is nothing to wait for.
    node.wait_indexed().await;
    for round in 0..3 {
        let id = node.put(format!("The meter in cellar number {round} was read.")).await;
        node.wait_indexed().await;
        assert!(node.get(&id).await.searchable);
        assert_eq!(node.search("meter reading").await.hits.len(), round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grain_is_found_by_the_beginning_of_its_id_when_that_names_one() {
    let node = TestNode::fresh().await;
    let id = node.put("The fuse box is behind the door.").await;
    for beginning in [&id[..8], &id[..9], &id[..63], &id] {
        assert_eq!(node.get(beginning).await.id, id);
        assert_eq!(node.get(&beginning.to_uppercase()).await.id, id);
    }
    let unknown =
        |digits: usize| if id.starts_with("ffff") { "0".repeat(digits) } else { "f".repeat(digits) };
    for digits in [8, 64] {
        Client::assert_refused(node.try_get(&unknown(digits)).await, Code::NotFound, "no grain has the id");
    }
    for wrong in ["", &id[..7], "zzzzzzzz", &format!("{id}0"), "../../etc"] {
        Client::assert_refused(node.try_get(wrong).await, Code::InvalidArgument, "64 hexadecimal digits");
    }
}

/// Two grains whose ids begin with the same 8 digits, found by trying one text after another.
fn grains_with_one_beginning(identity: &Identity) -> [Grain; 2] {
    let mut texts = HashMap::new();
    for number in 0.. {
        let text = format!("This is what was said as number {number}.");
        let body = rpc::GrainBody {
            version: 1,
            kind: rpc::GrainKind::Note.into(),
            author: identity.author().as_bytes().to_vec(),
            created_ms: 1,
            topic: "commons".into(),
            text: text.clone(),
            ..Default::default()
        };
        let id = blake3::hash(&body.encode_to_vec());
        let beginning: [u8; 4] = id.as_bytes()[..4].try_into().unwrap();
        if let Some(earlier) = texts.insert(beginning, text.clone()) {
            let seal = |text| Grain::seal(Draft { text, ..Draft::default() }, identity, 1).unwrap();
            return [seal(earlier), seal(text)];
        }
    }
    unreachable!("by the birthday paradox some hundred thousand tries are enough")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_two_ids_share_names_neither() {
    let node = TestNode::fresh().await;
    let grains = grains_with_one_beginning(&Identity::from_seed(&[3; 32]));
    let ids = grains.each_ref().map(|grain| grain.id().to_string());
    assert_eq!(ids[0][..8], ids[1][..8]);
    let item = |grain: &Grain| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Grain(grain.as_bytes().to_vec())),
        share: false,
        ..Default::default()
    };
    node.bulk_put(vec![item(&grains[0])]).await;
    assert_eq!(node.get(&ids[0][..8]).await.id, ids[0]);
    node.bulk_put(vec![item(&grains[1])]).await;
    Client::assert_refused(node.try_get(&ids[0][..8]).await, Code::InvalidArgument, "more than one");
    Client::assert_refused(node.try_retract(&ids[0][..8]).await, Code::InvalidArgument, "more than one");
    let differs = ids[0].bytes().zip(ids[1].bytes()).position(|(a, b)| a != b).unwrap();
    for id in &ids {
        assert_eq!(&node.get(&id[..=differs]).await.id, id);
        assert_eq!(&node.get(id).await.id, id);
    }
}
