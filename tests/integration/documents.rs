//! Documents: split into chunks, kept in step with their source, read as what they are.

use synapsenet_proto::rpc::{AddDocumentRequest, AddDocumentResponse, DocumentFormat, Filter};
use synapsenet_proto::{Draft, Grain, Identity, Source, rpc};
use tonic::Code;

use super::harness::{Client, TestNode, note, now_ms, synapsenet};

const URI: &str = "file:///notes/house.md";

fn document(text: &str, format: DocumentFormat) -> AddDocumentRequest {
    AddDocumentRequest { uri: URI.into(), content: text.into(), format: format.into(), ..Default::default() }
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
            ("About the house > House > Roof", "The tiles are from 1987."),
            ("About the house > House > Cellar", "The pump stands in the north corner."),
            ("About the house > House > Garden", "Three apple trees (https://example.org/tree) grow there."),
        ])
        .enumerate()
    {
        let grain = node.get(id).await;
        assert_eq!(grain.title, title);
        assert!(grain.text.contains(fact), "{:?}", grain.text);
        assert!(!grain.text.contains('#') && !grain.text.contains('*'), "{:?}", grain.text);
        let source = grain.source.unwrap();
        assert_eq!((grain.file_uri.as_str(), source.ordinal), (URI, ordinal as u32));
        assert_eq!(
            (grain.topic.as_str(), grain.lang.as_str(), grain.mime.as_str()),
            ("house", "en", "text/markdown")
        );
        assert_eq!(grain.tags, ["home"]);
        assert!(grain.shared);
    }
    node.wait_indexed().await;
    assert_eq!(node.search("where is the water pump").await.best().title, "About the house > House > Cellar");
    assert_eq!(node.search("fruit").await.best().title, "About the house > House > Garden");
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
    let html = "<!doctype html><html><head><title>Baking</title><style>p { color: red }</style></head><body>\
                <nav>Home About Imprint</nav><h1>Bread</h1><script>let secret = 'tracker';</script>\
                <p>Rye &amp; wheat, <b>twelve</b> hours of rest.</p><h2>Oven</h2><p>Heat it to 250&nbsp;degrees.</p>";
    let added = node.try_add_document(document(html, DocumentFormat::Html)).await.unwrap();
    let mut whole = String::new();
    for id in &added.ids {
        let grain = node.get(id).await;
        assert_eq!(grain.mime, "text/html");
        assert!(grain.title.starts_with("Baking > Bread"), "{:?}", grain.title);
        whole += &format!("{}\n{}\n", grain.title, grain.text);
    }
    for shown in ["Rye & wheat, twelve hours of rest.", "Heat it to 250"] {
        assert!(whole.contains(shown), "{shown:?} is not in {whole:?}");
    }
    assert_eq!(added.left_out.len(), 1, "the menu is named: {:?}", added.left_out);
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

/// A document whose name says how it is read.
async fn add_file(node: &TestNode, name: &str, content: impl Into<Vec<u8>>) -> AddDocumentResponse {
    let request = AddDocumentRequest {
        uri: format!("file:///notes/{name}"),
        content: content.into(),
        ..Default::default()
    };
    node.try_add_document(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_found_by_what_stands_in_its_front_matter_and_by_the_name_of_its_file() {
    let node = TestNode::fresh().await;
    node.put("The filter of the water heater is old.").await;
    node.put("A chimney of brick was drawn by the annual guest.").await;
    let chimney = "---\ntitle: Annual chimney inspection\naliases: [flue check]\ntags: [heating, house]\n---\n\n\
                   He comes in October. Move the sofa.\n";
    add_file(&node, "2025-03.md", chimney).await;
    let steps = "## Steps\n\nShut the inlet, press the red button, unscrew the bowl by hand.\n";
    let added = add_file(&node, "Replace%20the%20drinking%20water%20filter.md", steps).await;
    assert_eq!(node.get(&added.ids[0]).await.title, "Replace the drinking water filter > Steps");
    node.wait_indexed().await;
    for question in ["annual chimney inspection", "flue check"] {
        assert!(node.search(question).await.best().text.contains("Move the sofa"), "{question}");
    }
    assert!(node.search("how do I replace the drinking water filter").await.best().text.contains("bowl"));
    let tagged = node.list(Filter { tags: vec!["heating".into()], ..Default::default() }).await;
    assert_eq!(tagged.len(), 1);
    assert_eq!(tagged[0].title, "Annual chimney inspection");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_file_says_how_it_is_read_and_what_is_left_out_is_named() {
    let node = TestNode::fresh().await;
    let utf16: Vec<u8> =
        "\u{feff}Der Rasen braucht Kalk.".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lawn = add_file(&node, "lawn.txt", utf16).await;
    assert_eq!(node.get(&lawn.ids[0]).await.text, "Der Rasen braucht Kalk.");
    let latin1 = AddDocumentRequest {
        uri: "file:///notes/latin1.txt".into(),
        content: b"Der Schl\xfcssel".to_vec(),
        encoding: "windows-1252".into(),
        ..Default::default()
    };
    let key = node.try_add_document(latin1).await.unwrap();
    assert_eq!(node.get(&key.ids[0]).await.text, "Der Schlüssel");

    let mail = "From: desk <desk@example.org>\nSubject: =?utf-8?Q?Rechnung_f=C3=BCr_die_Heizung?=\nMIME-Version: 1.0\n\
                Content-Type: multipart/mixed; boundary=xx\n\n--xx\nContent-Type: text/plain; charset=utf-8\n\
                Content-Transfer-Encoding: quoted-printable\n\n212 =E2=82=AC are due in Oct=\nober.\n\n--xx\n\
                Content-Type: application/pdf; name=bill.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n--xx--\n";
    let bill = add_file(&node, "bill.eml", mail).await;
    let grain = node.get(&bill.ids[0]).await;
    assert_eq!((bill.ids.len(), grain.title.as_str()), (1, "Rechnung für die Heizung"));
    assert!(grain.text.contains("212 € are due in October."), "{}", grain.text);
    assert!(bill.left_out[0].what.contains("bill.pdf"), "{:?}", bill.left_out);

    let notebook = r##"{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# Pump\n", "\n", "Its flow."]}]}"##;
    let pump = add_file(&node, "pump.ipynb", notebook).await;
    assert_eq!(node.get(&pump.ids[0]).await.title, "Pump");
    let tagged =
        add_file(&node, "tags.md", format!("---\ntags: {:?}\n---\nText.", (0..20).collect::<Vec<_>>())).await;
    assert_eq!((tagged.left_out.len(), node.get(&tagged.ids[0]).await.tags.len()), (4, 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_lost_its_text_has_no_chunks_any_more() {
    let node = TestNode::fresh().await;
    add_file(&node, "a.md", "Something.").await;
    let emptied = add_file(&node, "a.md", "![](photo.jpg)").await;
    assert!(emptied.empty);
    assert_eq!((counts(&emptied), node.status().await.grains), ((0, 0, 1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_with_accents_are_the_same_however_they_were_typed() {
    let node = TestNode::fresh().await;
    let draft = rpc::Draft { tags: vec!["Ku\u{308}che".into()], ..note("Die Tu\u{308}r klemmt.") };
    let id = node.put_draft(draft).await;
    let composed = rpc::Draft { tags: vec!["Küche".into()], ..note("Die Tür klemmt.") };
    let again = node.try_put(composed).await.unwrap();
    assert_eq!((again.outcome(), again.id), (rpc::PutOutcome::Duplicate, id));
    add_file(&node, "Ku\u{308}che/ofen.txt", "Der Ofen.").await;
    for tag in ["Küche", "Ku\u{308}che"] {
        assert_eq!(node.list(Filter { tags: vec![tag.into()], ..Default::default() }).await.len(), 1);
    }
    for folder in ["/notes/Küche/", "/notes/Küche"] {
        let inside = Filter { source_prefix: folder.into(), ..Default::default() };
        assert_eq!(node.list(inside).await.len(), 1);
    }
}

/// A book of one page, packed without being compressed, and a picture of so many bytes.
fn book(page: &str, picture_bytes: usize) -> Vec<u8> {
    let picture = vec![7; picture_bytes];
    let parts: [(&str, &[u8]); 4] = [
        ("META-INF/container.xml", b"<container><rootfiles><rootfile full-path=\"book.opf\"/></rootfiles></container>"),
        ("book.opf", b"<package><metadata><title>Keeping bees</title></metadata><manifest><item id=\"p\" href=\"p.html\"/></manifest><spine><itemref idref=\"p\"/></spine></package>"),
        ("p.html", page.as_bytes()),
        ("picture.jpg", &picture),
    ];
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in parts {
        let place = bytes.len() as u32;
        let mut head = Vec::new();
        // Version, flags, method and time; then the checksum and the sizes of what is stored.
        head.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [crc32(content), content.len() as u32, content.len() as u32] {
            head.extend(number.to_le_bytes());
        }
        head.extend((name.len() as u16).to_le_bytes());
        head.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&head);
        bytes.extend(name.as_bytes());
        bytes.extend(content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        directory.extend([0; 10]);
        directory.extend(place.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (place, size) = (bytes.len() as u32, directory.len() as u32);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00\x04\x00\x04\x00");
    bytes.extend(size.to_le_bytes());
    bytes.extend(place.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_with_large_pictures_is_taken_in_pieces() {
    use rpc::add_large_document_request::Item;
    let node = TestNode::fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("bees.epub");
    let bytes = book("<html><body><p>A hive is opened at noon.</p></body></html>", 5 << 20);
    std::fs::write(&path, &bytes).unwrap();
    let path = path.to_str().unwrap();
    let added = synapsenet(node.dir(), &["add", path, "--json"]).await.ended_with(0).records();
    assert_eq!((added[0]["event"].as_str(), added[0]["added"].as_u64()), (Some("document"), Some(1)));
    let again = synapsenet(node.dir(), &["add", path, "--json"]).await.ended_with(0).records();
    assert_eq!(again[0]["unchanged"], 1);
    let found = node.search("when do I open the hive").await;
    assert_eq!(found.best().title, "Keeping bees");

    // What breaks off, is more than was said, or is said twice is not taken for the whole.
    let document = |uri: &str, size| {
        let document = AddDocumentRequest { uri: uri.into(), ..Default::default() };
        Item::Document(rpc::LargeDocument { document: Some(document), size })
    };
    let add = async |items: Vec<Item>| {
        let items = items.into_iter().map(|item| rpc::AddLargeDocumentRequest { item: Some(item) });
        node.rpc.clone().add_large_document(tokio_stream::iter(items)).await
    };
    let size = bytes.len() as u64;
    let whole = || document("file:///x/b.epub", size);
    let half = || Item::Content(bytes[..1000].to_vec());
    let pieces =
        |bytes: &[u8]| bytes.chunks(1 << 20).map(|piece| Item::Content(piece.to_vec())).collect::<Vec<_>>();
    for (items, word) in [
        (vec![half()], "comes first"),
        (vec![whole(), half()], "another size"),
        (vec![document("file:///x/b.epub", 10), half()], "another size"),
        (vec![whole(), whole()], "comes once"),
        (vec![document("file:///x/b.epub", u64::MAX)], "at most 67108864"),
        (vec![document("file:///x/b.txt", 5 << 20)], "at most 4194304"),
    ] {
        Client::assert_refused(add(items).await, Code::InvalidArgument, word);
    }
    // A piece without anything only keeps others from their turn.
    let dawdling = [vec![whole(), Item::Content(Vec::new())], pieces(&bytes)].concat();
    Client::assert_refused(add(dawdling).await, Code::InvalidArgument, "another size");
    let all = [vec![whole()], pieces(&bytes)].concat();
    assert_eq!(add(all).await.unwrap().into_inner().added.unwrap().added, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_is_read_page_by_page_or_it_is_said_what_is_missing() {
    let node = TestNode::fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("manual.pdf");
    // Without its table: it is mended by whoever reads it.
    let page = |number: usize, text: &str| {
        let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
        format!(
            "{number} 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> \
             /Contents {} 0 R >>\nendobj\n{} 0 obj\n<< /Length {} >>\nstream\n{content}\nendstream\nendobj\n",
            number + 1,
            number + 1,
            content.len()
        )
    };
    let pdf = format!(
        "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n\
         2 0 obj\n<< /Type /Pages /Kids [4 0 R 6 0 R] /Count 2 >>\nendobj\n\
         3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>\nendobj\n{}{}\
         trailer << /Size 8 /Root 1 0 R >>\n%%EOF\n",
        page(4, "The warranty ends in May."),
        page(6, "The filter is behind the lid.")
    );
    std::fs::write(&path, pdf).unwrap();
    let added = synapsenet(node.dir(), &["add", path.to_str().unwrap()]).await;
    let program = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| dir.join("pdftotext").exists());
    if program {
        added.ended_with(0);
        let found = node.search("where is the filter").await;
        assert_eq!(
            (found.best().title.as_str(), found.best().mime.as_str()),
            ("manual > page 2", "application/pdf")
        );
    } else {
        assert!(std::env::var_os("SKIP_NO_TEST").is_none(), "no pdftotext: apt-get install poppler-utils");
        assert!(added.ended_with(1).err.contains("apt-get install poppler-utils"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_tells_no_path_and_whoever_owns_the_node_is_told_it() {
    let node = TestNode::fresh().await;
    let add = async |uri: &str, text: &str| {
        let request = AddDocumentRequest { uri: uri.into(), ..document(text, DocumentFormat::Plain) };
        node.try_add_document(request).await.unwrap()
    };
    let [hers, his] = ["file:///home/anna/notes/a.md", "file:///home/bernd/notes/a.md"];
    let (of_hers, of_his) = (add(hers, "Anna's note.").await, add(his, "Bernd's note.").await);
    let private = rpc::Source { uri: "/home/anna/diary.md".into(), ordinal: 0 };
    let diary = node.put_draft(rpc::Draft { source: Some(private), ..note("A private line.") }).await;
    // It may be shared later, as it was signed.
    node.rpc.clone().share(rpc::ShareRequest { id: diary.clone(), ..Default::default() }).await.unwrap();

    for id in of_hers.ids.iter().chain(&of_his.ids).chain([&diary]) {
        let signed = node.get(id).await.signed;
        let tells = |word: &str| signed.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        assert!(tells(".md"), "the name of the file is told");
        assert!(
            !["home", "anna", "bernd", "notes"].into_iter().any(tells),
            "{}",
            String::from_utf8_lossy(&signed)
        );
    }
    // A folder of the same name is another, and each is found by its path, as the owner is shown it.
    assert_eq!(counts(&add(hers, "Anna's other note.").await), (1, 0, 1));
    let node = node.restart().await;
    let from = async |prefix: &str| {
        let filter = Filter { source_prefix: prefix.into(), ..Default::default() };
        let mut files: Vec<_> = node.list(filter).await.into_iter().map(|grain| grain.file_uri).collect();
        files.sort();
        files
    };
    assert_eq!(from("file:///home/bernd/").await, [his]);
    assert_eq!(from("file:///home/anna/").await, ["file:///home/anna/diary.md", hers]);
    assert_eq!(from("/home/anna/notes/a.md").await, [hers]);
    assert_eq!(from("/home/").await.len(), 3);
    assert!(from("/home/anna/note/").await.is_empty());
    node.wait_indexed().await;
    let found =
        node.search_in("note", 10, Filter { source_prefix: "/home/bernd/".into(), ..Default::default() });
    assert_eq!(found.await.best().file_uri, his);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grain_of_ones_own_that_tells_a_path_is_not_shared() {
    let node = TestNode::fresh().await;
    let hex = std::fs::read(node.dir().join("identity.seed")).unwrap();
    let seed = blake3::Hash::from_hex(hex).unwrap();
    let source = Some(Source { uri: "file:///home/anna/a.md".into(), ordinal: 0 });
    let draft = Draft { text: "Sealed elsewhere.".into(), source, ..Draft::default() };
    let grain = Grain::seal(draft, &Identity::from_seed(seed.as_bytes()), now_ms()).unwrap();
    let item = |share| {
        let grain = rpc::bulk_put_request::Item::Grain(grain.as_bytes().to_vec());
        rpc::BulkPutRequest { item: Some(grain), share, ..Default::default() }
    };
    let results = node.bulk_put(vec![item(true), item(false)]).await;
    assert_eq!(results[0].outcome(), rpc::PutOutcome::Refused);
    assert!(results[0].reason.contains("path"), "{}", results[0].reason);
    assert_eq!(results[1].outcome(), rpc::PutOutcome::Added, "{}", results[1].reason);
    let shared =
        node.rpc.clone().share(rpc::ShareRequest { id: grain.id().to_string(), ..Default::default() }).await;
    Client::assert_refused(shared, Code::InvalidArgument, "add the file again");
}
