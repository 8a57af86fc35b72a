use proptest::prelude::*;
use pulldown_cmark::{Event, Parser};

use super::*;

fn reading(text: &str, format: Format) -> Reading {
    read(text.as_bytes(), format, "").unwrap()
}

/// Headings and text of each section.
fn shown(text: &str, format: Format) -> Vec<(String, String)> {
    let shown = |section: &Section| (section.headings.join(" > "), section.text.trim().to_owned());
    reading(text, format).sections.iter().map(shown).collect()
}

/// The text of a document that has no headings.
fn text(document: &str, format: Format) -> String {
    let sections = shown(document, format);
    assert_eq!(sections.len(), 1, "{sections:?}");
    sections[0].1.clone()
}

fn markdown(document: &str) -> String {
    text(document, Format::Markdown)
}

fn html(document: &str) -> String {
    text(document, Format::Html)
}

/// All that a document says, heading and text, one after the other.
fn whole(document: &str, format: Format) -> String {
    let shown = shown(document, format);
    shown.iter().map(|(headings, text)| format!("{headings}\n{text}\n")).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(heading, text)| (heading.to_string(), text.to_string())).collect()
}

#[test]
fn markdown_is_read_by_its_headings_without_its_marks() {
    let document = "Before.\n\n# House\n\nA *fine* `house`.\n\n## Roof\n- tiles\n- gutter\n\n\
                    ## Cellar\n\nDry\nand cool.\n\n# Garden\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    let expected = [
        ("", "Before."),
        ("House", "A fine house."),
        ("House > Roof", "- tiles\n- gutter"),
        ("House > Cellar", "Dry and cool."),
        ("Garden", "a | b\n1 | 2"),
    ];
    assert_eq!(shown(document, Format::Markdown), pairs(&expected));
}

#[test]
fn html_is_read_without_scripts_and_menus() {
    let page = "<html><head><title>T</title><style>p{}</style></head><body><nav>menu</nav><h1>House</h1>\
                <script>alert(1)</script><p>A <b>fine</b> house &amp; garden.</p><h2>Roof</h2><ul><li>tiles</li></ul>";
    let expected = [("House", "A fine house & garden."), ("House > Roof", "- tiles")];
    assert_eq!(shown(page, Format::Html), pairs(&expected));
    let reading = reading(page, Format::Html);
    assert_eq!(reading.title, "T");
    let left_out = reading.left_out.into_list();
    assert_eq!(left_out.len(), 1);
    assert!(left_out[0].what.contains("menu"));
}

#[test]
fn plain_text_is_one_section() {
    assert_eq!(text("# no heading\n\ntext", Format::Plain), "# no heading\n\ntext");
    assert!(shown(" \n\t\n", Format::Plain).is_empty());
}

#[test]
fn a_rule_swallows_nothing() {
    let document =
        "# Shed\n\nThe key.\n\n---\nThe mower takes petrol.\n\n- blade: sharpen\n---\n\nThe hose.\n";
    let whole = whole(document, Format::Markdown);
    for words in ["The key", "The mower takes petrol", "blade: sharpen", "The hose"] {
        assert!(whole.contains(words), "{words}: {whole}");
    }
    assert!(self::whole("---\nNote of mine.\n---\n\nMore.", Format::Markdown).contains("Note of mine"));
}

#[test]
fn front_matter_is_title_tags_and_text_that_finds_the_note() {
    let document =
        "---\ntitle: Chimney\naliases: [flue check]\ntags: [heating, house]\nweight: 3\n---\n\nIn October.\n";
    let reading = reading(document, Format::Markdown);
    assert_eq!((reading.title.as_str(), reading.tags.len()), ("Chimney", 2));
    assert_eq!(markdown(document), "Also called: flue check\nweight: 3\n\nIn October.");
    assert_eq!(markdown("---\ndescription: Only this.\n---\n"), "Only this.");
    assert!(shown("---\ntitle: stub\ntags: [x]\n---\n", Format::Markdown).is_empty());
}

#[test]
fn the_only_heading_of_the_first_level_is_the_title() {
    let title = |document: &str| reading(document, Format::Markdown).title;
    assert_eq!(title("Intro\n\n# House\n\nx\n\n## Roof\n\ny"), "House");
    assert_eq!(title("# Monday\n\nx\n\n# Tuesday\n\ny"), "");
    assert_eq!(title("## Steps\n\nx"), "");
    assert_eq!(title("---\ntitle: Given\n---\n# House\n\nx"), "Given");
}

#[test]
fn headings_with_nothing_below_them_are_text() {
    let document = "# Call the plumber\n\n## Buy batteries\n\n## Sweep\n\n## Done\n\nPaid.\n\n# Last\n";
    let expected =
        [("Call the plumber", "Buy batteries\nSweep"), ("Call the plumber > Done", "Paid."), ("", "Last")];
    assert_eq!(shown(document, Format::Markdown), pairs(&expected));
    assert_eq!(shown("# Only this\n\n***\n", Format::Markdown), pairs(&[("", "Only this")]));
}

#[test]
fn names_in_angle_brackets_stay_and_elements_go() {
    assert_eq!(
        markdown(
            "Telnet to <gateway> on <port-8443>, Vec<String> and Map<Key> and Vec<T>, <b>not</b><br>this."
        ),
        "Telnet to <gateway> on <port-8443>, Vec<String> and Map<Key> and Vec<T>, not\nthis."
    );
    assert_eq!(
        markdown("<source> is where it\ncomes from.\n\n<gateway>\n"),
        "<source> is where it comes from.\n\n<gateway>"
    );
    assert_eq!(markdown("a <!-- hidden --> b\n\n<!-- all\nof it -->\n\nc"), "a  b\n\nc");
}

#[test]
fn html_within_markdown_is_read() {
    let document = "<details>\n<summary>More &amp; more</summary>\n\nInside **bold**.\n\n</details>\n\n\
                    <div>block\ntext</div>\n\n<table><tr><th>a<th>b<tr><td>1<td>2</table>\n";
    assert_eq!(markdown(document), "More & more\n\nInside bold.\n\nblock text\n\na | b\n1 | 2");
}

#[test]
fn the_address_behind_a_link_is_told() {
    let document = "- [Manual](https://example.org/manual-7.pdf)\n- [Ticket][t]\n- <https://example.org/x>\n\
                    - [pump](notes/Pump.md) and [[Valve|the valve]] and [[Tap]]\n\n[t]: https://example.org/991\n";
    assert_eq!(
        markdown(document),
        "- Manual (https://example.org/manual-7.pdf)\n- Ticket (https://example.org/991)\n- https://example.org/x\n\
         - pump and the valve (Valve) and Tap"
    );
    assert_eq!(
        html("<p>See <a href='https://example.org/a?b&amp;c'>this</a>."),
        "See this (https://example.org/a?b&c)."
    );
    let heading = shown("# See [this](https://example.org/a)\n\ntext", Format::Markdown);
    assert_eq!(heading, pairs(&[("See this", "https://example.org/a\ntext")]));
}

#[test]
fn a_picture_is_its_description_and_one_without_is_named() {
    assert_eq!(
        markdown("![The pump](pump.jpg) and ![a plan](data:image/png;base64,AAAA)"),
        "The pump (pump.jpg) and a plan"
    );
    let reading = reading("![](photo.jpg)\n", Format::Markdown);
    assert!(reading.sections.is_empty());
    assert_eq!(reading.left_out.into_list()[0].what, "photo.jpg");
}

#[test]
fn each_item_is_a_line_and_keeps_its_number_and_its_mark() {
    let document = "1. Switch off\n2. Open the valve\n   - lever left\n     - half a turn\n3. Wait\n\n- [x] done\n- [ ] open\n";
    assert_eq!(
        markdown(document),
        "1. Switch off\n2. Open the valve\n  - lever left\n    - half a turn\n3. Wait\n\n- [x] done\n- [ ] open"
    );
    assert_eq!(
        markdown("- trip\n\t- tickets\n\t\t- printed\n- bags\n"),
        "- trip\n  - tickets\n    - printed\n- bags"
    );
    assert_eq!(
        html("<ol><li>one<ul><li>sub</li></ul></li><li>two</ol><ol start=5><li>five<li value=9>nine</ol>"),
        "1. one\n  - sub\n2. two\n\n5. five\n9. nine"
    );
}

#[test]
fn lines_of_code_are_kept() {
    assert_eq!(markdown("```rust\nfn a() {\n    b();\n}\n```\n"), "fn a() {\n    b();\n}");
    assert_eq!(html("<p>Log:</p><pre>10:00 on\n  10:05 off</pre>"), "Log:\n\n10:00 on\n  10:05 off");
}

#[test]
fn the_cells_of_a_row_are_a_line() {
    let page =
        "<table><tr><td>Valve</td><td><p>120</p><p>euros</p></td></tr><tr><td>Seal<td><ul><li>3</ul></table>";
    assert_eq!(html(page), "Valve | 120 euros\nSeal | - 3");
    let layout = "<table><tr><td><p>One</p><p>Two</p></td></tr></table><table><tr><td>a<td>b<td><table><tr><td>c</table></table>";
    assert_eq!(html(layout), "One\n\nTwo\n\na\nb\n\nc");
    let reading = reading("Text.\n\n| a | b |\n|---|---|\n| 1 | |\n| | |\n", Format::Markdown);
    let section = &reading.sections[0];
    assert_eq!(section.text.trim(), "Text.\n\na | b\n1 |");
    assert_eq!(&section.text[section.headers[0].clone()], "a | b");
}

#[test]
fn what_else_notes_have_keeps_its_text() {
    assert_eq!(
        markdown("~~old~~ $a_1$ costs $5 and $6.[^1]\n\n$$x^2$$\n\nTerm\n: meaning\n\n[^1]: The note.\n"),
        "old $a_1$ costs $5 and $6.[^1]\n\n$$x^2$$\n\nTerm\n: meaning\n\n[^1]: The note."
    );
    assert_eq!(markdown("> [!NOTE]\n> Careful.\n"), "[!NOTE] Careful.");
    assert_eq!(
        html("<dl><dt>Term<dd>meaning</dl><textarea>typed</textarea><button>Go</button>"),
        "Term\n: meaning\n\ntyped\n\nGo"
    );
}

#[test]
fn data_within_a_text_is_left_out_and_named() {
    let data = "iVBORw0KGgoAAAANSUhEUgAAAAUA9ZXJs0123456789+/abcDEF".repeat(8);
    let document = format!("![plan](data:image/png;base64,{data})\n\nThe plan of {data} the house.\n");
    let reading = reading(&document, Format::Markdown);
    assert_eq!(reading.sections[0].text.trim(), "plan\n\nThe plan of  the house.");
    assert_eq!(reading.left_out.into_list().len(), 1);
}

#[test]
fn what_nests_deeper_than_any_page_is_read_and_its_text_is_kept() {
    const TEXT: &str = "The attic fan has a motor.";
    let shapes = [
        "blockquote",
        "div",
        "span",
        "section",
        "ul><li",
        "ol><li",
        "table><tr><td",
        "b",
        "i",
        "a href=x",
        "font size=1",
        "details><summary",
        "ruby><rt",
        "dl><dd",
        "p",
        "li",
        "button",
        "pre",
        "math",
        "h1",
        "fieldset",
        "center",
        "code",
        "select><option",
        "unheard-of",
        "form",
        "object",
        "em><p",
        "blockquote><p><b",
        "nav",
        "template",
        "thead",
        "h1><h2",
    ];
    for shape in shapes {
        for times in [1, 600, 20_000] {
            let open = format!("<{shape}>").repeat(times);
            let whole = whole(&format!("{open}{TEXT}"), Format::Html);
            assert!(whole.contains(TEXT), "{times} times {shape}: {:?}", whole.get(..200));
        }
    }
    for mark in ["> ", "- ", "*", "[", "![", "<b>", "1. ", "_", "\t", "$", "[["] {
        let document = format!("{}{TEXT}", mark.repeat(5000));
        assert!(whole(&document, Format::Markdown).contains("attic fan"), "{mark}");
    }
}

#[test]
fn a_document_that_takes_too_long_is_given_up() {
    let clock = Clock::start(Duration::ZERO);
    for (format, document) in [(Format::Html, "<p>word"), (Format::Markdown, "word *word*\n\n")] {
        let result = read_text(document.repeat(STEP), format, &clock);
        assert!(matches!(result, Err(ReadError::TooSlow)), "{format:?}");
    }
    let long = "x ".repeat(MAX_DOCUMENT_BYTES);
    assert!(matches!(read(long.as_bytes(), Format::Plain, ""), Err(ReadError::TooLong(_))));
}
const STEP: usize = 5000;

/// The letters and digits of a text. Words may be joined by marks, so that white space says nothing.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether the letters of `part` stand in those of `whole`, in order.
fn is_within(part: &str, whole: &str) -> Result<(), String> {
    let whole = letters(whole);
    let mut rest = whole.as_str();
    for word in part.split_whitespace().map(letters).filter(|word| !word.is_empty()) {
        match rest.find(&word) {
            Some(place) => rest = &rest[place + word.len()..],
            None => return Err(word),
        }
    }
    Ok(())
}

/// What a person sees of Markdown, told by the parser alone.
fn seen(markdown: &str) -> String {
    let options = pulldown_cmark::Options::ENABLE_TABLES | pulldown_cmark::Options::ENABLE_STRIKETHROUGH;
    let mut seen = String::new();
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Text(text) | Event::Code(text) => seen.push_str(&text),
            Event::Start(_) | Event::End(_) | Event::SoftBreak | Event::HardBreak => seen.push(' '),
            _ => {}
        }
    }
    seen
}

fn word() -> impl Strategy<Value = String> {
    "[a-z]{3,8}[0-9]{1,4}"
}

/// A stretch of text within a paragraph, in Markdown.
fn inline() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => word(),
        1 => word().prop_map(|word| format!("*{word}*")),
        1 => word().prop_map(|word| format!("`{word}`")),
        1 => word().prop_map(|word| format!("~~{word}~~")),
        1 => word().prop_map(|word| format!("<b>{word}</b>")),
        1 => word().prop_map(|word| format!("Vec<{word}>")),
        1 => (word(), word()).prop_map(|(shown, page)| format!("[{shown}](https://example.org/{page})")),
        1 => (word(), word()).prop_map(|(shown, page)| format!("![{shown}]({page}.png)")),
        1 => word().prop_map(|word| format!("${word}$")),
        1 => word().prop_map(|word| format!("[[{word}]]")),
    ]
}

fn line() -> impl Strategy<Value = String> {
    prop::collection::vec(inline(), 1..6).prop_map(|parts| parts.join(" "))
}

/// A block of Markdown.
fn block() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => line(),
        2 => (1usize..5, line()).prop_map(|(level, line)| format!("{} {line}", "#".repeat(level))),
        2 => prop::collection::vec((0usize..4, line()), 1..5).prop_map(|items| {
            items.iter().map(|(depth, line)| format!("{}- {line}\n", "  ".repeat(*depth))).collect()
        }),
        1 => prop::collection::vec(line(), 1..4).prop_map(|items| {
            items.iter().enumerate().map(|(n, line)| format!("{}. {line}\n", n + 1)).collect()
        }),
        1 => prop::collection::vec((word(), word()), 1..4).prop_map(|rows| {
            let rows: String = rows.iter().map(|(a, b)| format!("| {a} | {b} |\n")).collect();
            format!("| head1 | head2 |\n|---|---|\n{rows}")
        }),
        1 => line().prop_map(|line| format!("> {line}")),
        1 => word().prop_map(|word| format!("```\n{word}\n  {word}\n```")),
        1 => line().prop_map(|line| format!("<div>{line}</div>")),
        1 => line().prop_map(|line| format!("<details><summary>{line}</summary>\n\n{line}\n\n</details>")),
        1 => Just("---".to_owned()),
        1 => word().prop_map(|word| format!("---\n{word} under a rule")),
    ]
}

/// A piece of HTML, with what a browser shows of it.
fn piece() -> impl Strategy<Value = (String, String)> {
    let element = |name: &'static str| {
        word().prop_map(move |word| {
            (format!("<{name}>{word}</{}>", name.split(' ').next().unwrap_or_default()), word)
        })
    };
    let name = prop::sample::select(vec![
        "p",
        "div",
        "b",
        "h1",
        "h2",
        "h3",
        "ul",
        "li",
        "pre",
        "td",
        "table",
        "a href=https://example.org",
        "blockquote",
        "section",
        "textarea",
        "summary",
        "caption",
        "dt",
        "dd",
        "option",
        "unheard-of",
        "th",
        "span class='a'",
        "xmp",
        "code",
    ]);
    let open = prop::sample::select(vec![
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<ul>",
        "<li>",
        "</ul>",
        "<div>",
        "</div>",
        "<h2>",
        "<b>",
        "<a href=y>",
        "</p>",
        "<br>",
        "<pre>",
        "</pre>",
    ]);
    prop_oneof![
        6 => name.prop_flat_map(element),
        3 => word().prop_map(|word| (format!(" {word} "), word)),
        2 => open.prop_map(|tag| (tag.to_owned(), String::new())),
        1 => word().prop_map(|word| (format!("<script>{word}</script><!-- {word} --><style>{word}</style>"), String::new())),
        1 => word().prop_map(|word| (format!("<img src=x.png alt='{word}'>"), word)),
        1 => word().prop_map(|word| (format!("&lt;{word}&gt;"), word)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_word_that_is_seen_in_markdown_is_read_in_order(blocks in prop::collection::vec(block(), 1..10)) {
        let document = blocks.join("\n\n");
        let whole = whole(&document, Format::Markdown);
        if let Err(word) = is_within(&seen(&document), &whole) {
            prop_assert!(false, "{word} is lost of\n{document}\n--- read as\n{whole}");
        }
    }

    #[test]
    fn each_word_that_is_seen_in_a_page_is_read_in_order(pieces in prop::collection::vec(piece(), 0..30)) {
        let page: String = pieces.iter().map(|(html, _)| html.as_str()).collect();
        let seen: Vec<&str> = pieces.iter().map(|(_, seen)| seen.as_str()).collect();
        let whole = whole(&page, Format::Html);
        if let Err(word) = is_within(&seen.join(" "), &whole) {
            prop_assert!(false, "{word} is lost of\n{page}\n--- read as\n{whole}");
        }
    }

    #[test]
    fn any_text_is_read_in_any_format(text in "(\\PC|[#<>|`*\n-]|</?(td|table|ul|li|pre|h1|a|title|nav|p)>|<img alt=x>|\\[\\[|---\n){0,200}") {
        for format in [Format::Plain, Format::Markdown, Format::Html] {
            let reading = read(text.as_bytes(), format, "");
            let Ok(reading) = reading else { prop_assert!(text.contains('\0')); continue };
            for section in reading.sections {
                prop_assert!(section.headings.len() <= 6 && !section.text.trim().is_empty());
                prop_assert!(section.headers.iter().all(|header| !section.text[header.clone()].trim().is_empty()));
            }
        }
    }
}
