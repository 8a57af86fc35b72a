//! HTML read as the Markdown that says the same.
//!
//! The converter calls itself for every element inside another, and the parser before it repeats what is left open. So a
//! page is first written anew as one that nests no deeper than pages for people do and closes all that it opens; then what
//! both of them cost grows with its size alone.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};

/// Elements within each other; the tags of deeper ones are left out, their text is not. Pages for people have some tens.
const MAX_DEPTH: usize = 100;
/// How far up the end of an element looks for its beginning.
const MAX_LOOK: usize = 256;
/// How long one page may take. The largest that is no attack takes a second.
const MAX_READ: Duration = Duration::from_secs(10);
/// Bytes between two looks at the clock.
const STEP_BYTES: usize = 4096;
/// Stack of the converter in bytes: some kilobytes for each of [`MAX_DEPTH`] elements, and as many that they imply.
const STACK_BYTES: usize = 64 << 20;

/// Nothing in these is text of the page.
const LEFT_OUT: [&str; 9] =
    ["script", "style", "noscript", "template", "svg", "nav", "head", "iframe", "noframes"];
/// Of the attributes, what the text depends on.
const ATTRIBUTES: [&str; 4] = ["href", "alt", "title", "start"];
/// Elements without an end.
const VOID: [&str; 9] = ["br", "hr", "img", "wbr", "input", "link", "meta", "area", "col"];
/// Elements that another one of their kind ends, so that they do not nest.
const ENDED_BY_THE_NEXT: [&str; 15] = [
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "caption", "colgroup", "html",
    "head", "body",
];
/// Elements that the parser opens again in every block that begins before they end (HTML, section 13.2.4.3).
const FORMATTING: [&str; 14] =
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"];

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HtmlError {
    /// It takes longer than any page for people does.
    #[error("it takes longer than {} s to read: save it as plain text", MAX_READ.as_secs())]
    TooSlow,
    /// The converter gave up.
    #[error("its HTML cannot be read: save it as plain text")]
    Unreadable,
    /// There is no thread to read it with.
    #[error("there is no thread to read it with: {0}")]
    NoThread(#[from] io::Error),
}

/// The Markdown that says what the page says.
///
/// # Errors
/// [`HtmlError`].
pub(super) fn to_markdown(html: &str) -> Result<String, HtmlError> {
    let page = flatten(html, MAX_READ)?;
    std::thread::scope(|scope| {
        let converting = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || {
            let converter = htmd::HtmlToMarkdown::builder().skip_tags(LEFT_OUT.to_vec()).build();
            converter.convert(&page)
        })?;
        match converting.join() {
            Ok(Ok(markdown)) => Ok(markdown),
            Ok(Err(_)) | Err(_) => Err(HtmlError::Unreadable),
        }
    })
}

/// Writes a page anew, within [`MAX_DEPTH`] and well nested.
fn flatten(html: &str, limit: Duration) -> Result<String, HtmlError> {
    let start = Instant::now();
    let tokenizer = Tokenizer::new(Flattener::default(), Default::default());
    let input = BufferQueue::default();
    let mut rest = html;
    while !rest.is_empty() {
        let (step, after) = rest.split_at(rest.ceil_char_boundary(STEP_BYTES.min(rest.len())));
        input.push_back(StrTendril::from_slice(step));
        // It stops at the end of a script, which is not run here.
        while !input.is_empty() {
            let _ = tokenizer.feed(&input);
        }
        if start.elapsed() > limit {
            return Err(HtmlError::TooSlow);
        }
        rest = after;
    }
    tokenizer.end();
    Ok(tokenizer.sink.page.into_inner().text)
}

/// Takes the tokens of a page.
#[derive(Default)]
struct Flattener {
    page: RefCell<Page>,
}

/// The page that is being written.
#[derive(Default)]
struct Page {
    text: String,
    open: Vec<Open>,
    /// How many of the open ones were written.
    written: usize,
    /// The element whose content is being passed over up to its end.
    left_out: Option<String>,
}

struct Open {
    name: String,
    is_written: bool,
}

impl TokenSink for Flattener {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut page = self.page.borrow_mut();
        match token {
            Token::TagToken(tag) => page.take_tag(&tag),
            Token::CharacterTokens(text) => {
                page.push_text(&text);
                TokenSinkResult::Continue
            }
            Token::EOFToken => {
                page.close_from(0);
                TokenSinkResult::Continue
            }
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::ParseError(_) => TokenSinkResult::Continue,
        }
    }
}

impl Page {
    fn take_tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        match tag.kind {
            TagKind::EndTag if self.left_out.as_deref() == Some(name) => self.left_out = None,
            TagKind::EndTag if self.left_out.is_none() => self.end(name),
            TagKind::StartTag if self.left_out.is_none() => return self.start(tag),
            TagKind::StartTag | TagKind::EndTag => {}
        }
        TokenSinkResult::Continue
    }

    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        let raw = match name {
            "script" => Some(RawKind::ScriptData),
            "style" | "noscript" | "iframe" | "noframes" | "noembed" => Some(RawKind::Rawtext),
            _ => None,
        };
        if let Some(kind) = raw {
            self.left_out = Some(name.to_owned());
            return TokenSinkResult::RawData(kind);
        }
        if !FORMATTING.contains(&name) && !VOID.contains(&name) {
            self.close_formatting();
        }
        // What may stand in these is text alone.
        let (name, answer) = match name {
            "title" | "textarea" => (name, TokenSinkResult::RawData(RawKind::Rcdata)),
            "xmp" => ("pre", TokenSinkResult::RawData(RawKind::Rawtext)),
            "plaintext" => ("pre", TokenSinkResult::Plaintext),
            _ => (name, TokenSinkResult::Continue),
        };
        let nests = !VOID.contains(&name) && !ENDED_BY_THE_NEXT.contains(&name);
        let is_written = !nests || self.written < MAX_DEPTH;
        if is_written {
            self.push_tag(name, tag);
        }
        if nests {
            self.open.push(Open { name: name.to_owned(), is_written });
            self.written += usize::from(is_written);
        }
        answer
    }

    fn end(&mut self, name: &str) {
        let name = if matches!(name, "xmp" | "plaintext") { "pre" } else { name };
        if ENDED_BY_THE_NEXT.contains(&name) {
            self.close_formatting();
            return self.push_end(name);
        }
        let looked_at = self.open.len().saturating_sub(MAX_LOOK);
        if let Some(place) = self.open[looked_at..].iter().rposition(|open| open.name == name) {
            self.close_from(looked_at + place);
        }
    }

    /// Closes the elements that the parser would open again. They are never below another, because these close them.
    fn close_formatting(&mut self) {
        let is_other = |open: &Open| !FORMATTING.contains(&open.name.as_str());
        self.close_from(self.open.iter().rposition(is_other).map_or(0, |place| place + 1));
    }

    fn close_from(&mut self, place: usize) {
        while self.open.len() > place {
            let Some(Open { name, is_written }) = self.open.pop() else { return };
            if is_written {
                self.written -= 1;
                self.push_end(&name);
            }
        }
    }

    fn push_tag(&mut self, name: &str, tag: &Tag) {
        self.text.push('<');
        self.text.push_str(name);
        for attribute in tag.attrs.iter().filter(|attribute| ATTRIBUTES.contains(&&*attribute.name.local)) {
            self.text.push(' ');
            self.text.push_str(&attribute.name.local);
            self.text.push_str("=\"");
            self.push_escaped(&attribute.value);
            self.text.push('"');
        }
        self.text.push('>');
    }

    fn push_end(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    fn push_text(&mut self, text: &str) {
        if self.left_out.is_none() {
            self.push_escaped(text);
        }
    }

    fn push_escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                c => self.text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "The attic fan has a motor.";

    fn markdown(html: &str) -> String {
        to_markdown(html).unwrap()
    }

    #[test]
    fn what_nests_deeper_than_any_page_is_read_and_its_text_is_kept() {
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
        ];
        for shape in shapes {
            for times in [1, 99, 101, 600, 20_000] {
                let open = format!("<{shape}>").repeat(times);
                let names: Vec<&str> = shape.split("><").map(|tag| tag.split(' ').next().unwrap()).collect();
                let close: String = names.iter().rev().map(|name| format!("</{name}>")).collect();
                for page in [format!("{open}{TEXT}"), format!("{open}{TEXT}{}", close.repeat(times))] {
                    let read = markdown(&page);
                    assert!(read.contains(TEXT), "{times} times {shape}: {:?}", read.get(..200));
                }
            }
        }
    }

    #[test]
    fn what_is_left_open_in_many_blocks_is_not_repeated_in_each() {
        let open: String = (0..50).map(|n| format!("<font size={n}>")).collect();
        let page = format!("{open}{}", "<p>word".repeat(50_000));
        assert!(flatten(&page, MAX_READ).unwrap().len() < 2 * page.len());
        assert_eq!(markdown(&page).matches("word").count(), 50_000);
        let page: String = (0..50_000).map(|n| format!("<div><font size={n}>word</div>")).collect();
        assert_eq!(markdown(&page).matches("word").count(), 50_000);
    }

    #[test]
    fn a_page_that_takes_too_long_is_given_up() {
        let page = "<p>word".repeat(STEP_BYTES);
        assert!(matches!(flatten(&page, Duration::ZERO), Err(HtmlError::TooSlow)));
    }

    #[test]
    fn a_page_for_people_is_read_as_before() {
        let page = "<p>One <b>two</b> <a href='http://h/?a&amp;b'>three</a> &lt;four&gt;<br>five<ul><li>six<li>seven</ul>\
                    <script>if (a < b) { '</p>' }</script><table><tr><th>a<th>b<tr><td>1<td>2</table><pre>x\n  y</pre>";
        let expected =
            htmd::HtmlToMarkdown::builder().skip_tags(LEFT_OUT.to_vec()).build().convert(page).unwrap();
        assert_eq!(markdown(page), expected);
    }

    fn piece() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "div",
            "p",
            "b",
            "a",
            "table",
            "tr",
            "td",
            "ul",
            "li",
            "pre",
            "blockquote",
            "script",
            "style",
            "title",
            "textarea",
            "xmp",
            "plaintext",
            "svg",
            "math",
            "template",
            "select",
            "option",
            "frameset",
            "body",
            "head",
            "html",
            "ruby",
            "rt",
            "h1",
            "br",
            "img",
            "caption",
            "noscript",
            "details",
        ]);
        let times = prop::sample::select(vec![1usize, 2, 3, 120, 400]);
        let odd = prop::sample::select(vec![
            "word",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "&amp;",
            "&#0;",
            "&bogus",
            "<",
            "</",
            "<?",
            "\"",
            "'",
            "\0",
            "<a b='",
            "é",
        ]);
        prop_oneof![
            (name.clone(), times.clone()).prop_map(|(name, times)| format!("<{name}>").repeat(times)),
            (name, times).prop_map(|(name, times)| format!("</{name}>").repeat(times)),
            odd.prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn a_page_of_any_shape_is_read(pieces in prop::collection::vec(piece(), 0..40)) {
            prop_assert!(to_markdown(&pieces.concat()).is_ok());
        }
    }
}
