//! How is HTML read? By its tags, one after the other, as they come: no tree is built, so that no page is too deep, and what is left
//! open costs nothing.
//!
//! What a browser does not show is left out without a word (scripts, styles, comments); menus are left out and named.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};

use super::read::{Clock, ReadError};
use super::writer::Writer;

/// Bytes between two looks at the clock.
const STEP_BYTES: usize = 4096;
/// The longest title of a page; what is longer is text.
const MAX_TITLE: usize = 1024;

/// Nothing in these is shown, and their content is no HTML.
const RAW: [&str; 6] = ["script", "style", "noscript", "iframe", "noframes", "noembed"];
/// Elements that begin and end a paragraph.
const BLOCKS: [&str; 32] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "details",
    "dialog",
    "div",
    "dl",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frameset",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "main",
    "object",
    "p",
    "search",
    "section",
    "select",
    "summary",
    "svg",
    "template",
    "textarea",
    "video",
];
/// Elements that begin and end a line.
const LINES: [&str; 6] = ["caption", "dt", "legend", "optgroup", "option", "text"];

/// A page, or pieces of HTML between which something else is written.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Where its text goes.
    pub writer: Writer,
    /// The title that stands in its head.
    pub title: String,
    /// Whether this is a page of its own, so that its title is one and its menus are none of its text.
    is_whole: bool,
    is_in_title: bool,
    /// The element that is passed over, and how many of its name are open.
    passed_over: Option<(String, usize)>,
    /// Whether that had any text.
    has_passed_text: bool,
    /// Ends of menus and templates that are still to come: without one, they are not passed over.
    ends_to_come: [usize; PASSED_OVER.len()],
}

/// What is passed over as a whole.
const PASSED_OVER: [&str; 2] = ["nav", "template"];

/// Reads a page.
///
/// # Errors
/// [`ReadError::TooSlow`].
pub(super) fn read_html(html: &str, page: &mut Page, clock: &Clock) -> Result<(), ReadError> {
    page.is_whole = true;
    let lower = html.to_ascii_lowercase();
    page.ends_to_come = PASSED_OVER.map(|name| lower.matches(&format!("</{name}")).count());
    page.read(html, clock)?;
    page.end_fragment();
    page.is_whole = false;
    Ok(())
}

impl Page {
    /// Reads HTML, which may go on later.
    ///
    /// # Errors
    /// [`ReadError::TooSlow`].
    pub fn read(&mut self, html: &str, clock: &Clock) -> Result<(), ReadError> {
        let tokenizer = Tokenizer::new(Sink { page: RefCell::new(std::mem::take(self)) }, Default::default());
        let input = BufferQueue::default();
        let mut rest = html;
        let mut result = Ok(());
        while !rest.is_empty() && result.is_ok() {
            let (step, after) = rest.split_at(rest.ceil_char_boundary(STEP_BYTES.min(rest.len())));
            input.push_back(StrTendril::from_slice(step));
            // It stops at the end of a script, which is not run here.
            while !input.is_empty() {
                let _ = tokenizer.feed(&input);
            }
            result = clock.check();
            rest = after;
        }
        tokenizer.end();
        *self = tokenizer.sink.page.into_inner();
        result
    }

    /// Ends what is left open: an element that is passed over ends with the piece of HTML that it stands in.
    pub fn end_fragment(&mut self) {
        if let Some((name, _)) = self.passed_over.take()
            && std::mem::take(&mut self.has_passed_text)
            && name == "nav"
        {
            self.writer.left_out.add("a menu (<nav>)", "it is no text of the page");
        }
        self.is_in_title = false;
    }

    fn take_text(&mut self, text: &str) {
        if self.passed_over.is_some() {
            self.has_passed_text |= !text.trim().is_empty();
        } else if self.is_in_title && self.title.len() + text.len() <= MAX_TITLE {
            self.title.push_str(text);
        } else {
            self.writer.flow(text);
        }
    }

    fn take_tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        let is_start = tag.kind == TagKind::StartTag;
        if let Some(place) = PASSED_OVER.iter().position(|known| *known == name).filter(|_| !is_start) {
            self.ends_to_come[place] = self.ends_to_come[place].saturating_sub(1);
        }
        match &mut self.passed_over {
            Some((passed, open)) if passed == name => {
                *open = if is_start { *open + 1 } else { *open - 1 };
                if *open == 0 {
                    self.end_fragment();
                }
            }
            Some(_) => {}
            None if is_start => return self.start(name, tag),
            None => self.end(name),
        }
        TokenSinkResult::Continue
    }

    fn pass_over(&mut self, name: &str) {
        self.passed_over = Some((name.to_owned(), 1));
        self.has_passed_text = false;
    }

    fn start(&mut self, name: &str, tag: &Tag) -> TokenSinkResult<()> {
        let attribute = |wanted: &str| {
            let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == wanted);
            found.map_or("", |attribute| &*attribute.value)
        };
        if RAW.contains(&name) {
            self.pass_over(name);
            let is_script = name == "script";
            return TokenSinkResult::RawData(if is_script { RawKind::ScriptData } else { RawKind::Rawtext });
        }
        if let Some(place) = PASSED_OVER.iter().position(|passed| *passed == name)
            && self.is_whole
            && self.ends_to_come[place] > 0
        {
            self.pass_over(name);
            return TokenSinkResult::Continue;
        }
        let writer = &mut self.writer;
        match name {
            "title" if self.is_whole && self.title.is_empty() => {
                self.is_in_title = true;
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => writer.start_heading(name.as_bytes()[1] - b'0'),
            "br" => writer.break_line(),
            "wbr" => {}
            "pre" | "listing" => writer.start_kept_lines(),
            "xmp" => {
                writer.start_kept_lines();
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "plaintext" if self.is_whole => {
                writer.start_kept_lines();
                return TokenSinkResult::Plaintext;
            }
            "textarea" => {
                writer.start_block();
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "ul" | "menu" | "dir" => writer.start_list(None),
            "ol" => writer.start_list(Some(attribute("start").trim().parse().unwrap_or(1))),
            "li" => writer.start_item(attribute("value").trim().parse().ok()),
            "dd" => writer.start_marked_line(": "),
            "table" => writer.start_table(),
            "thead" => writer.set_header(true),
            "tbody" | "tfoot" => writer.set_header(false),
            "tr" => writer.start_row(),
            "td" | "th" => writer.start_cell(name == "th"),
            "a" => {
                if writer.is_in_link() {
                    writer.end_link();
                }
                writer.start_link(attribute("href"), attribute("title"), false);
            }
            "img" | "area" => {
                let address = if name == "img" { attribute("src") } else { "" };
                writer.start_link(address, attribute("title"), false);
                writer.flow(attribute("alt"));
                writer.end_picture();
            }
            "input" => match attribute("type").to_ascii_lowercase().as_str() {
                "checkbox" | "radio" => {
                    let is_checked = tag.attrs.iter().any(|attribute| &*attribute.name.local == "checked");
                    writer.push(if is_checked { "[x] " } else { "[ ] " });
                }
                "hidden" | "password" | "file" | "image" => {}
                _ => writer.flow(attribute("value")),
            },
            "rt" => writer.space(),
            _ if BLOCKS.contains(&name) => writer.start_block(),
            _ if LINES.contains(&name) => writer.end_line(),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn end(&mut self, name: &str) {
        let writer = &mut self.writer;
        match name {
            "title" => self.is_in_title = false,
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => writer.end_heading(),
            "pre" | "listing" | "xmp" | "plaintext" => writer.end_kept_lines(),
            "ul" | "menu" | "dir" | "ol" => writer.end_list(),
            "li" => writer.end_item(),
            "dd" => writer.end_line(),
            "table" => writer.end_table(),
            "thead" => writer.set_header(false),
            "tr" => writer.end_row(),
            "caption" => writer.end_paragraph(),
            "a" if writer.is_in_link() => writer.end_link(),
            _ if BLOCKS.contains(&name) => writer.end_paragraph(),
            _ if LINES.contains(&name) => writer.end_line(),
            _ => {}
        }
    }
}

/// Takes the tokens of a page.
struct Sink {
    page: RefCell<Page>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut page = self.page.borrow_mut();
        match token {
            Token::TagToken(tag) => page.take_tag(&tag),
            Token::CharacterTokens(text) => {
                page.take_text(&text);
                TokenSinkResult::Continue
            }
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => TokenSinkResult::Continue,
        }
    }
}
