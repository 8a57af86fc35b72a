//! Documents: split into chunks, kept in step with their source, read as what they are.

use synapsenet_proto::rpc::{AddDocumentRequest, AddDocumentResponse, DocumentFormat, Filter};
use tonic::Code;

use super::harness::{Client, TestNode};

const URI: &str = "file:///notes/house.md";

fn document(text: &str, format: DocumentFormat) -> AddDocumentRequest {
    AddDocumentRequest { uri: URI.into(), text: text.into(), format: format.into(), ..Default::default() }
}

fn counts(response: &AddDocumentResponse) -> (u32, u32, u32) {
    (response.added, response.unchanged, response.retracted)
}

/// A section of Markdown. A chunk never reaches over the end of one, so each of them is a grain.
fn section(heading: &str, fact: &str) -> String {
    format!("## {heading}\n\n{fact}\n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_becomes_chunks_with_their_headings_and_places() {
    let node = TestNode::fresh().await;
    let text = format!(
        "# House\n\n{}{}{}",
        section("Roof", "The *tiles* are from 1987."),
        section("Cellar", "The pump stands in the `north` corner."),
        section("Garden", "Three [apple trees](https://example.org/tree) grow there.")
    );
    let request = AddDocumentRequest {
        title: "About the house".into(),
        topic: "house".into(),
        tags: vec!["home".into()],
        lang: "en".into(),
        share: true,
        ..document(&text, DocumentFormat::Markdown)
    };
    let added = node.try_add_document(request).await.unwrap();
    assert_eq!(added.ids.len(), 3, "one chunk for each section");
    assert_eq!(counts(&added), (3, 0, 0));
    for (ordinal, (id, (title, fact))) in added
        .ids
        .iter()
        .zip([
            ("House > Roof", "The tiles are from 1987."),
            ("House > Cellar", "The pump stands in the north corner."),
            ("House > Garden", "Three apple trees grow there."),
        ])
        .enumerate()
    {
        let grain = node.get(id).await;
        assert_eq!(grain.title, title);
        assert!(grain.text.contains(fact), "{:?}", grain.text);
        assert!(!grain.text.contains('#') && !grain.text.contains("https://"), "{:?}", grain.text);
        let source = grain.source.unwrap();
        assert_eq!((source.uri.as_str(), source.ordinal), (URI, ordinal as u32));
        assert_eq!(
            (grain.topic.as_str(), grain.lang.as_str(), grain.mime.as_str()),
            ("house", "en", "text/markdown")
        );
        assert_eq!(grain.tags, ["home"]);
        assert!(grain.shared);
    }
    node.wait_indexed().await;
    assert_eq!(node.search("where is the water pump").await.best().title, "House > Cellar");
    assert_eq!(node.search("fruit").await.best().title, "House > Garden");
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_a_document_again_adds_nothing() {
    let node = TestNode::fresh().await;
    let text = section("Roof", "The tiles are from 1987.") + &section("Cellar", "The pump is in the corner.");
    let first = node.try_add_document(document(&text, DocumentFormat::Markdown)).await.unwrap();
    assert_eq!(counts(&first), (2, 0, 0));
    let again = node.try_add_document(document(&text, DocumentFormat::Markdown)).await.unwrap();
    assert_eq!((counts(&again), &again.ids), ((0, 2, 0), &first.ids));
    let node = node.restart().await;
    let again = node.try_add_document(document(&text, DocumentFormat::Markdown)).await.unwrap();
    assert_eq!((counts(&again), &again.ids), ((0, 2, 0), &first.ids));

    // The same words from another document are another document's.
    let other =
        AddDocumentRequest { uri: "file:///copy.md".into(), ..document(&text, DocumentFormat::Markdown) };
    assert_eq!(counts(&node.try_add_document(other).await.unwrap()), (2, 0, 0));
    assert_eq!(node.status().await.grains, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_document_withdraws_what_went_and_adds_what_came() {
    let node = TestNode::fresh().await;
    let roof = section("Roof", "The tiles are from 1987.");
    let cellar = section("Cellar", "The pump stands in the north corner.");
    let garden = section("Garden", "Three apple trees grow there.");
    let first = format!("{roof}{cellar}{garden}");
    let first = node.try_add_document(document(&first, DocumentFormat::Markdown)).await.unwrap();

    // One section goes, one comes in before the others, two stay.
    let pond = section("Pond", "Seven goldfish live in it.");
    let second = format!("{pond}{roof}{garden}");
    let second = node.try_add_document(document(&second, DocumentFormat::Markdown)).await.unwrap();
    assert_eq!(counts(&second), (1, 2, 1));
    assert_eq!(second.ids[1..], [first.ids[0].clone(), first.ids[2].clone()], "what stayed is what it was");
    Client::assert_refused(node.try_get(&first.ids[1]).await, Code::NotFound, "no grain");
    node.wait_indexed().await;
    assert!(!node.search("where is the water pump").await.ids().contains(&first.ids[1].as_str()));
    assert_eq!(node.search("fish").await.ids()[0], second.ids[0]);

    // An edit can be taken back.
    let third = format!("{roof}{cellar}{garden}");
    let third = node.try_add_document(document(&third, DocumentFormat::Markdown)).await.unwrap();
    assert_eq!(counts(&third), (1, 2, 1));
    node.wait_indexed().await;
    let status = node.status().await;
    assert_eq!((status.grains, status.retractions, status.searchable), (3, 2, 3));
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_without_its_scripts_styles_and_menus() {
    let node = TestNode::fresh().await;
    let html = "<!doctype html><html><head><title>Ignored</title><style>p { color: red }</style></head><body>\
                <nav>Home About Imprint</nav><h1>Bread</h1><script>let secret = 'tracker';</script>\
                <p>Rye &amp; wheat, <b>twelve</b> hours of rest.</p><h2>Oven</h2><p>Heat it to 250&nbsp;degrees.</p>";
    let added = node.try_add_document(document(html, DocumentFormat::Html)).await.unwrap();
    let mut whole = String::new();
    for id in &added.ids {
        let grain = node.get(id).await;
        assert_eq!(grain.mime, "text/html");
        assert!(grain.title.starts_with("Bread"), "{:?}", grain.title);
        whole += &format!("{}\n{}\n", grain.title, grain.text);
    }
    for shown in ["Rye & wheat, twelve hours of rest.", "Heat it to 250"] {
        assert!(whole.contains(shown), "{shown:?} is not in {whole:?}");
    }
    for hidden in ["tracker", "color", "Imprint", "<", "&amp;"] {
        assert!(!whole.contains(hidden), "{hidden:?} is in {whole:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sentence_of_a_long_document_is_kept_and_found() {
    let node = TestNode::fresh().await;
    let sentences: Vec<String> = (0..150)
        .map(|n| format!("Shelf number {n} holds the box with the label {}.", n * 7919 % 1000))
        .collect();
    let end = "At the very end the treasure lies beneath the old oak.";
    let text = format!("{} {end}", sentences.join(" "));
    let added = node.try_add_document(document(&text, DocumentFormat::Plain)).await.unwrap();
    assert!(added.ids.len() > 5, "one chunk holds what the model reads at once: {}", added.ids.len());
    let mut chunks = Vec::new();
    for id in &added.ids {
        chunks.push(node.get(id).await.text);
    }
    for sentence in sentences.iter().map(String::as_str).chain([end]) {
        assert!(chunks.iter().any(|chunk| chunk.contains(sentence)), "{sentence:?} is in no chunk whole");
    }
    node.wait_indexed().await;
    assert!(node.search("where is the gold buried").await.best().text.contains(end));
    let listed = node.list(Filter { source_prefix: URI.into(), ..Default::default() }).await;
    assert_eq!(listed.len(), added.ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_of_the_document_stands_where_there_are_no_headings() {
    let node = TestNode::fresh().await;
    let request = AddDocumentRequest {
        title: "Recipe".into(),
        ..document("# Flour\n\nand water", DocumentFormat::Plain)
    };
    let added = node.try_add_document(request).await.unwrap();
    let grain = node.get(&added.ids[0]).await;
    assert_eq!(
        (grain.title.as_str(), grain.text.as_str()),
        ("Recipe", "# Flour\n\nand water"),
        "plain text has no marks"
    );
}
