use std::io::Write;

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::read::read;
use super::*;

fn pack(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The title, and each section as its headings and its text.
fn shown(bytes: &[u8], format: Format) -> (String, Vec<(String, String)>) {
    let reading = read(bytes, format, "").unwrap();
    let section = |section: &synapsenet_index::Section| {
        let headings: Vec<&str> = section.headings.iter().map(AsRef::as_ref).collect();
        (headings.join(" > "), section.text.trim().to_owned())
    };
    (reading.title, reading.sections.iter().map(section).collect())
}

fn expected(title: &str, sections: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
    let section = |(heading, text): &(&str, &str)| ((*heading).to_owned(), (*text).to_owned());
    (title.to_owned(), sections.iter().map(section).collect())
}

fn docx(body: &str) -> Vec<u8> {
    let document = format!("<w:document xmlns:w=\"w\" xmlns:r=\"r\"><w:body>{body}</w:body></w:document>");
    pack(&[
        ("word/document.xml", &document),
        (
            "word/styles.xml",
            "<w:styles><w:style w:styleId=\"berschrift1\"><w:name w:val=\"heading 1\"/></w:style></w:styles>",
        ),
        (
            "word/_rels/document.xml.rels",
            "<Relationships><Relationship Id=\"r1\" Target=\"https://example.org/pump\" TargetMode=\"External\"/></Relationships>",
        ),
        ("docProps/core.xml", "<cp><dc:title>The heat &amp; the pump</dc:title></cp>"),
        (
            "word/footnotes.xml",
            "<w:footnotes><w:p><w:r><w:t>Ask Maria first.</w:t></w:r></w:p></w:footnotes>",
        ),
    ])
}

#[test]
fn a_document_of_word_is_read_with_its_headings_tables_links_and_notes() {
    let body = "<w:p><w:pPr><w:pStyle w:val=\"berschrift1\"/></w:pPr><w:r><w:t>Filter</w:t></w:r></w:p>\
        <w:p><w:r><w:t xml:space=\"preserve\">Clean it </w:t></w:r><w:r><w:t>every &lt;3&gt; months</w:t><w:br/><w:t>or sooner.</w:t></w:r></w:p>\
        <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>Switch it off</w:t></w:r></w:p>\
        <w:p><w:hyperlink r:id=\"r1\"><w:r><w:t>The manual</w:t></w:r></w:hyperlink></w:p>\
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>Part</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Price</w:t></w:r></w:p></w:tc></w:tr>\
        <w:tr><w:tc><w:p><w:r><w:t>Seal</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>3 euros</w:t></w:r></w:p></w:tc></w:tr></w:tbl>\
        <w:p><w:r><mc:AlternateContent><mc:Choice><w:t>once</w:t></mc:Choice><mc:Fallback><w:t>once</w:t></mc:Fallback></mc:AlternateContent></w:r></w:p>";
    let (title, sections) = shown(&docx(body), Format::Docx);
    assert_eq!(
        (title.as_str(), sections.len(), sections[0].0.as_str()),
        ("The heat & the pump", 1, "Filter")
    );
    let lines: Vec<&str> = sections[0].1.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "Clean it every <3> months",
            "or sooner.",
            "- Switch it off",
            "The manual (https://example.org/pump)",
            "Part | Price",
            "Seal | 3 euros",
            "once",
            "Ask Maria first."
        ]
    );
}

#[test]
fn an_open_document_is_read_without_what_was_deleted_in_it() {
    let content = "<office:document-content><office:body><office:text>\
        <text:tracked-changes><text:p>gone</text:p></text:tracked-changes>\
        <text:h text:outline-level=\"1\">House</text:h><text:p>The  boiler<text:s text:c=\"2\"/>wants<text:line-break/>1.5 bar.</text:p>\
        <text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>sub</text:p></text:list-item></text:list></text:list-item></text:list>\
        <table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p></table:table-cell></table:table-row></table:table>\
        <text:p><text:a xlink:href=\"https://example.org/b\">bar</text:a></text:p></office:text></office:body></office:document-content>";
    let bytes = pack(&[("content.xml", content), ("meta.xml", "<m><dc:title>Notes</dc:title></m>")]);
    let (title, sections) = shown(&bytes, Format::Odt);
    assert_eq!((title.as_str(), sections.len(), sections[0].0.as_str()), ("Notes", 1, "House"));
    let lines: Vec<&str> = sections[0].1.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        ["The boiler  wants", "1.5 bar.", "- one", "  - sub", "a | b", "bar (https://example.org/b)"]
    );
}

#[test]
fn a_book_is_read_in_the_order_of_its_pages() {
    let bytes = pack(&[
        ("META-INF/container.xml", "<c><rootfile full-path=\"OEBPS/book.opf\"/></c>"),
        (
            "OEBPS/book.opf",
            "<package><metadata><dc:title>Bees</dc:title></metadata><manifest><item id=\"b\" href=\"two.xhtml\"/>\
             <item id=\"a\" href=\"../first%20one.xhtml\"/><item id=\"c\" href=\"gone.xhtml\"/></manifest>\
             <spine><itemref idref=\"a\"/><itemref idref=\"b\"/><itemref idref=\"c\"/></spine></package>",
        ),
        (
            "OEBPS/two.xhtml",
            "<html><head><title>x</title></head><body><h2>Queens</h2><p>There is one.</p></body></html>",
        ),
        ("first one.xhtml", "<html><body><h1>Hives</h1><p>They are of wood.</p></body></html>"),
    ]);
    let sections = [("Hives", "They are of wood."), ("Hives > Queens", "There is one.")];
    assert_eq!(shown(&bytes, Format::Epub), expected("Bees", &sections));
    let left_out = read(&bytes, Format::Epub, "").unwrap().left_out.into_list();
    assert_eq!(left_out[0].what, "gone.xhtml");
}

#[test]
fn what_is_no_archive_or_unpacks_to_too_much_is_refused_with_the_reason() {
    let refused = |bytes: &[u8], format| read(bytes, format, "").unwrap_err().to_string();
    for format in [Format::Docx, Format::Odt, Format::Epub] {
        assert!(refused(b"no archive", format).contains("not what its name says"));
        assert!(refused(&pack(&[("a", "b")]), format).starts_with("it is no "));
    }
    let large = "<w:p><w:r><w:t>word</w:t></w:r></w:p>".repeat(1_000_000);
    assert!(refused(&docx(&large), Format::Docx).contains("unpacks to more"));
}

#[test]
fn what_nests_deeper_than_any_document_is_read() {
    let deep = format!("{}{}word{}", "<w:p>".repeat(100_000), "<w:r><w:t>", "</w:t></w:r></w:p>");
    let (_, sections) = shown(&docx(&deep), Format::Docx);
    assert!(sections[0].1.starts_with("word"), "{:?}", sections[0].1.get(..50));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_word_of_a_paragraph_is_kept_in_order(
        words in prop::collection::vec("[a-z]{3,9}[0-9]{2}", 1..40),
        cuts in prop::collection::vec(0u8..6, 40),
    ) {
        let between = ["</w:t></w:r><w:r><w:t xml:space=\"preserve\"> ", " ", "</w:t></w:r></w:p><w:p><w:r><w:t>",
            "</w:t><w:tab/><w:t>", "</w:t><w:br/><w:t>", "</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val=\"berschrift1\"/></w:pPr><w:r><w:t>"];
        let mut body = String::from("<w:p><w:r><w:t>");
        for (word, cut) in words.iter().zip(&cuts) {
            body.push_str(word);
            body.push_str(between[usize::from(*cut)]);
        }
        body.push_str("</w:t></w:r></w:p>");
        let reading = read(&docx(&body), Format::Docx, "").unwrap();
        let mut said = String::new();
        let mut above: Vec<std::sync::Arc<str>> = Vec::new();
        for section in &reading.sections {
            // A heading is said once for all that stands below it.
            let known = section.headings.iter().zip(&above).take_while(|(one, other)| one == other).count();
            for heading in &section.headings[known..] {
                said.push_str(heading);
                said.push(' ');
            }
            said.push_str(&section.text);
            said.push(' ');
            above.clone_from(&section.headings);
        }
        let said: Vec<&str> = said.split_whitespace().filter(|word| words.iter().any(|known| known == word)).collect();
        prop_assert_eq!(said, words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_stands_in_an_archive_is_read_or_refused(
        text in "(<[wt]:(p|t|r|h|tbl|tr|tc|a|list|pStyle w:val=\"berschrift1\"/|hyperlink)>|</[wt]:(p|t|tbl|tr|tc|a|list)>|&[a-z#0-9]{0,4};|\\PC){0,80}",
        cut in 0usize..400,
    ) {
        let bytes = docx(&text);
        let _ = read(&bytes, Format::Docx, "");
        let _ = read(&bytes[..bytes.len().saturating_sub(cut)], Format::Docx, "");
        let _ = read(&pack(&[("content.xml", &text)]), Format::Odt, "");
    }
}
