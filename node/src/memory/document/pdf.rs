//! What does a PDF say? What `pdftotext` of Poppler reads in it, page by page: another program, as no reader in Rust has met as many
//! broken files, and as one that breaks must not take the node along (`child`).
//!
//! Each page is a section of its number, so that a hit says where it stands. A page that is only a picture is named.

use std::ffi::OsStr;
use std::time::Instant;

use synapsenet_index::Section;

use super::child::{Bounds, Outcome, run};
use super::left_out::LeftOut;
use super::read::{Clock, MAX_DOCUMENT_BYTES, ReadError, Reading};
use crate::composed::composed;

/// Text with page breaks, behind a head that has the title: one program for both.
const PROGRAM: [&str; 6] = ["pdftotext", "-enc", "UTF-8", "-htmlmeta", "-", "-"];
/// Seconds of computing: 1,500 full pages, more than a document may have, take two on a desktop and ten on a small board.
const CPU_SECONDS: u64 = 30;
/// Memory: the file, which is at most 64 MiB, and what it unpacks to.
const MEMORY_KIB: u64 = 512 << 10;
/// What is said may have so much around the text.
const MAX_FRAME_BYTES: usize = 64 << 10;
/// Pages that are named one by one as being without text; of more, only how many they are.
const MAX_NAMED_PAGES: usize = 12;

/// Reads a PDF by the program that `path` leads to.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Broken`] says what to do.
pub(super) fn read_pdf(bytes: &[u8], path: &OsStr, clock: &Clock) -> Result<Reading, ReadError> {
    clock.check()?;
    let bounds = Bounds {
        until: Instant::now() + clock.left(),
        cpu_seconds: CPU_SECONDS,
        memory_kib: MEMORY_KIB,
        output_bytes: MAX_DOCUMENT_BYTES + MAX_FRAME_BYTES,
    };
    let outcome = run(&PROGRAM, path, bytes, &bounds).map_err(|_| {
        ReadError::Broken("the program that reads PDFs cannot be started: look at the limits of the node")
    })?;
    match outcome {
        Outcome::Ended { is_well: true, output, .. } => {
            pages(&composed(String::from_utf8_lossy(&output).into_owned()))
        }
        Outcome::Ended { complaint, .. } => Err(ReadError::Broken(reason(&complaint))),
        Outcome::NotThere => Err(ReadError::NoReader(
            "a PDF is read by pdftotext, which is not there: apt-get install poppler-utils",
        )),
        Outcome::TooSlow => Err(ReadError::TooSlow),
        Outcome::TooMuch => Err(ReadError::TooLong(MAX_DOCUMENT_BYTES + MAX_FRAME_BYTES + 1)),
    }
}

/// Why the program read nothing.
fn reason(complaint: &str) -> &'static str {
    if complaint.contains("password") || complaint.contains("encrypt") {
        "it is locked by a password: save a copy without one (qpdf --decrypt)"
    } else if complaint.contains("not allowed") {
        "its author does not allow its text to be taken out"
    } else {
        "it is damaged, or no PDF"
    }
}

/// The pages of what the program said.
fn pages(said: &str) -> Result<Reading, ReadError> {
    let said_otherwise =
        ReadError::Broken("pdftotext is of another kind than Poppler's: apt-get install poppler-utils");
    let Some((head, rest)) = said.split_once("<pre>\n") else { return Err(said_otherwise) };
    let Some((text, _)) = rest.rsplit_once("</pre>") else { return Err(said_otherwise) };
    // Behind each page comes a break.
    let text = text.strip_suffix('\u{c}').unwrap_or(text);
    let pages: Vec<&str> = text.split('\u{c}').collect();
    let (mut sections, mut empty) = (Vec::new(), Vec::new());
    for (page, number) in pages.iter().zip(1_usize..) {
        if page.trim().is_empty() {
            empty.push(number);
            continue;
        }
        let headings = if pages.len() > 1 { vec![format!("page {number}").into()] } else { Vec::new() };
        sections.push(Section { headings, text: (*page).to_owned(), headers: Vec::new() });
    }
    let mut left_out = LeftOut::default();
    if !empty.is_empty() {
        let what = name_pages(&empty, pages.len());
        left_out.add(what, "a page without text: have it recognised first, such as by ocrmypdf");
    }
    Ok(Reading { title: title(head), sections, left_out, ..Reading::default() })
}

/// The title in the head, which is a page's.
fn title(head: &str) -> String {
    let title = head.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map_or("", |(title, _)| title);
    let title = ["&lt; <", "&gt; >", "&quot; \"", "&apos; '", "&#39; '", "&amp; &"].iter().fold(
        title.to_owned(),
        |title, pair| match pair.split_once(' ') {
            Some((written, meant)) => title.replace(written, meant),
            None => title,
        },
    );
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    // What programs call a document that nobody gave a title.
    if title.eq_ignore_ascii_case("untitled") { String::new() } else { title }
}

/// "page 3", "pages 1-3, 7": runs are told by their ends.
fn name_pages(numbers: &[usize], all: usize) -> String {
    if numbers.len() == all {
        return if all == 1 { "its page".to_owned() } else { format!("all of its {all} pages") };
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    if runs.len() > MAX_NAMED_PAGES {
        return format!("{} of its {all} pages", numbers.len());
    }
    let told = runs
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    let told = told.collect::<Vec<_>>().join(", ");
    if numbers.len() == 1 { format!("page {told}") } else { format!("pages {told}") }
}

#[cfg(test)]
mod tests;
