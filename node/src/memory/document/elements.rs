//! Which words in angle brackets are elements of HTML, and which are words? In Markdown a name such as `<gateway>` or the type in
//! `Vec<String>` is meant to be read, but to the parser it is an element like any other.

use std::borrow::Cow;
use std::collections::HashSet;

/// The elements that browsers know, and those that they knew.
const KNOWN: [&str; 134] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "applet",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "base",
    "basefont",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "data",
    "datalist",
    "dd",
    "del",
    "details",
    "dfn",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "frame",
    "frameset",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "legend",
    "li",
    "link",
    "main",
    "map",
    "mark",
    "marquee",
    "math",
    "menu",
    "meta",
    "meter",
    "nav",
    "nobr",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "ol",
    "optgroup",
    "option",
    "output",
    "p",
    "param",
    "path",
    "picture",
    "plaintext",
    "pre",
    "progress",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "script",
    "search",
    "section",
    "select",
    "slot",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "track",
    "tt",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
    "xmp",
];
/// Elements without an end that do something without attributes.
const BARE: [&str; 3] = ["br", "hr", "wbr"];
/// Elements whose end may be left out.
const END_LEFT_OUT: [&str; 10] = ["dd", "dt", "li", "p", "tbody", "td", "tfoot", "th", "thead", "tr"];

/// The names of the elements that are ended somewhere in a text.
pub(super) fn closed_elements(text: &str) -> HashSet<String> {
    let names = text.split("</").skip(1).map(|rest| &rest[..name_length(rest)]);
    names.filter_map(known).collect()
}

/// The text with `&lt;` for each `<` that begins no element: `closed` are the names of those that are ended somewhere.
pub(super) fn escape_words<'a>(html: &'a str, closed: &HashSet<String>) -> Cow<'a, str> {
    let mut escaped = String::new();
    let mut done = 0;
    for (place, _) in html.match_indices('<') {
        if !begins_word(&html[place + 1..], closed) {
            continue;
        }
        escaped.push_str(&html[done..place]);
        escaped.push_str("&lt;");
        done = place + 1;
    }
    if done == 0 {
        return Cow::Borrowed(html);
    }
    escaped.push_str(&html[done..]);
    Cow::Owned(escaped)
}

/// Whether what follows a `<` is meant to be read.
fn begins_word(rest: &str, closed: &HashSet<String>) -> bool {
    let (is_end, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
    let length = name_length(rest);
    if length == 0 {
        // A comment, an instruction, or a sign that the parser takes for text itself.
        return false;
    }
    let Some(name) = known(&rest[..length]) else { return true };
    // Words alone are none: `<address of the router>` is read.
    let has_attributes = rest[length..].split('>').next().is_some_and(|attributes| attributes.contains('='));
    let is_one = is_end
        || has_attributes
        || BARE.contains(&name.as_str())
        || END_LEFT_OUT.contains(&name.as_str())
        || closed.contains(&name);
    !is_one
}

/// The name in lower case if it is one of an element as people write it: `Object` is a type, and so is `T`.
fn known(name: &str) -> Option<String> {
    let is_lower = !name.bytes().any(|b| b.is_ascii_uppercase());
    let is_upper = name.len() > 1 && !name.bytes().any(|b| b.is_ascii_lowercase());
    let name = name.to_ascii_lowercase();
    ((is_lower || is_upper) && KNOWN.binary_search(&name.as_str()).is_ok()).then_some(name)
}

/// How long the name of an element is that a text begins with.
fn name_length(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return 0;
    }
    text.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/' | '<')).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order() {
        assert!(KNOWN.is_sorted());
    }

    #[test]
    fn what_no_browser_knows_is_a_word() {
        let escaped = |text: &str| escape_words(text, &closed_elements(text)).into_owned();
        for word in [
            "gateway",
            "port-8443",
            "String",
            "Object",
            "T",
            "K",
            "u8",
            "source",
            "address",
            "title",
            "time",
            "a",
            "address of the router",
        ] {
            let text = format!("Vec<{word}>");
            assert_eq!(escaped(&text), format!("Vec&lt;{word}>"));
        }
        for html in [
            "<b>x</b>",
            "<BR>",
            "<br/>",
            "<img src=x>",
            "<details><summary>s</summary></details>",
            "<DIV>x</DIV>",
            "<li>x",
            "<a href=x>",
            "<!-- <gateway -->".replace("<gateway", "gateway").as_str(),
            "<?php ?>",
            "a < b",
        ] {
            assert_eq!(escaped(html), html);
        }
        assert_eq!(escaped("</gateway>"), "&lt;/gateway>");
    }
}
