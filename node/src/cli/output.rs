//! What people and scripts read: results on standard output, everything else on standard error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::schema::Printed;

/// What a reader looks for first.
pub(crate) const STRONG: Style = Style::new().bold();
/// What a reader may skip.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Numbers that rank.
pub(crate) const SCORE: Style = AnsiColor::Green.on_default();
/// Words of a question where they stand.
pub(crate) const MATCH: Style = AnsiColor::Yellow.on_default().bold();
/// What went wrong.
pub(crate) const WRONG: Style = AnsiColor::Red.on_default().bold();
/// What to do about it.
pub(crate) const HINT: Style = AnsiColor::Yellow.on_default();

/// Longer lines are hard to read, however wide the terminal is.
const MAX_COLUMNS: usize = 100;
/// Columns that no layout of ours goes below.
const MIN_COLUMNS: usize = 40;
/// Digits of an id that are shown in lists: 48 bits, so that two of a million grains differ with near certainty.
pub(crate) const SHORT_ID_DIGITS: usize = 12;
/// Characters of a peer's id that are shown in lists: its end, because all of these ids begin alike.
pub(crate) const SHORT_PEER_CHARS: usize = 8;

/// Where output goes and in which form. Colours are stripped where no terminal shows them and where NO_COLOR is set.
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    links: bool,
    stdout: BufWriter<AutoStream<io::Stdout>>,
    columns: usize,
}

impl Output {
    /// `json`: one JSON object a line. `quiet`: results and errors only.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let columns =
            if is_terminal { textwrap::termwidth().clamp(MIN_COLUMNS, MAX_COLUMNS) } else { MAX_COLUMNS };
        let stdout = anstream::stdout();
        let shows_colours = AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let links = !json && is_terminal && shows_colours;
        Self { json, quiet, links, stdout: BufWriter::new(stdout), columns }
    }

    /// Whether results are written as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a terminal shows the results that can be expected to know hyperlinks, or to pass over them: one that colours may be
    /// shown on.
    pub(crate) fn has_links(&self) -> bool {
        self.links
    }

    /// Width that texts are laid out for.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Writes one line of a result for people.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{line}")?)
    }

    /// Writes one line of a result for scripts.
    pub(crate) fn record(&mut self, record: &impl Printed) -> Result<(), Failure> {
        let line = serde_json::to_string(record).expect("records have string keys and no failing fields");
        self.line(line)
    }

    /// Hands everything written so far to the terminal, file or pipe.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }

    /// Says something beside the result; people only, and not with `--quiet`.
    pub(crate) fn note(&mut self, note: impl Display) -> Result<(), Failure> {
        if self.json || self.quiet {
            return Ok(());
        }
        self.flush()?;
        anstream::eprintln!("{note}");
        Ok(())
    }

    /// Says what went wrong with one of many; people only, since scripts have it in their records.
    pub(crate) fn problem(&mut self, problem: impl Display) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.flush()?;
        anstream::eprintln!("{problem}");
        Ok(())
    }

    /// Writes a line beside the result for scripts: standard output stays free for the results themselves.
    pub(crate) fn aside(&mut self, record: &impl Printed) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        self.flush()?;
        let line = serde_json::to_string(record).expect("records have string keys and no failing fields");
        anstream::eprintln!("{line}");
        Ok(())
    }

    /// Writes a result that only confirms; not with `--quiet`.
    pub(crate) fn summary(&mut self, line: impl Display) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.line(line) }
    }

    /// A bar on standard error towards `total`, which may be 0 while it is not known. Nothing is drawn unless that is
    /// a terminal that somebody looks at.
    pub(crate) fn bar(&self, what: &'static str, total: u64, unit: Unit) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.draw_target());
        let template = match unit {
            Unit::Count => "{msg:>8} [{bar:30}] {human_pos}/{human_len} {eta}",
            Unit::Bytes => "{msg:>8} [{bar:30}] {bytes}/{total_bytes} {eta}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        bar.with_style(style.progress_chars("=> ")).with_message(what)
    }

    /// A sign of life on standard error for work whose end is not known.
    pub(crate) fn spinner(&self, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.draw_target());
        let style =
            ProgressStyle::with_template("{spinner} {msg} {human_pos}").expect("the template is well-formed");
        let bar = bar.with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if self.json || self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
    }
}

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// Bytes of a file.
    Bytes,
}

/// An error as a line for scripts.
#[derive(Serialize, JsonSchema)]
pub(super) struct FailureRecord<'a> {
    /// What went wrong, for people.
    error: &'a str,
    /// What to do next.
    hint: &'a str,
    /// The exit code of the command.
    code: u8,
}

/// Tells on standard error why a command stopped.
pub(crate) fn tell_failure(failure: &Failure, json: bool) {
    let Failure::Told { exit, message, hint } = failure else { return };
    tell(message, hint, *exit, json);
}

/// Writes one error: what happened, then what to do.
pub(crate) fn tell(message: &str, hint: &str, exit: Exit, json: bool) {
    let mut stderr = anstream::stderr().lock();
    let written = if json {
        let record = FailureRecord { error: message, hint, code: exit as u8 };
        let line = serde_json::to_string(&record).expect("the record is plain text and a number");
        writeln!(stderr, "{line}")
    } else {
        let (message, hint) = (printable(message), printable(hint));
        writeln!(stderr, "{WRONG}error:{WRONG:#} {message}\n{HINT}hint:{HINT:#} {hint}")
    };
    // When standard error is closed there is nobody left to tell.
    drop(written);
}

/// The text with everything left out that a terminal obeys instead of showing: control characters, and the marks that
/// reorder what stands after them. Texts come from files and from strangers. Line breaks stay, tabs become spaces.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let shown = |c: char| match c {
        '\n' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    if text.chars().all(shown) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('\t', "    ");
    Cow::Owned(text.chars().filter(|&c| shown(c)).collect())
}

/// A text that a terminal opens `uri` for when it is clicked on: by OSC 8, which others pass over. It takes the columns that `shown`
/// takes, which must be printable. Of the URI, whatever a terminal might obey is percent-encoded.
pub(crate) fn hyperlink(shown: &str, uri: &str) -> String {
    let uri = percent_encoding::utf8_percent_encode(uri, NOT_IN_LINKS);
    format!("\u{1b}]8;;{uri}\u{1b}\\{shown}\u{1b}]8;;\u{1b}\\")
}

/// What must not stand in the URI of a hyperlink: all but printable ASCII, which the set always holds, and the space.
const NOT_IN_LINKS: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ');

/// The text on one line, cut with an ellipsis so that it takes at most `columns`.
pub(crate) fn one_line(text: &str, columns: usize) -> String {
    // Whatever a line can show is in this many characters, so that a long text is not laid out in vain.
    let start: String = text.chars().take(columns * 8).collect();
    let words = printable(&start).split_whitespace().collect::<Vec<_>>().join(" ");
    if textwrap::core::display_width(&words) <= columns && start.len() == text.len() {
        return words;
    }
    let mut line = String::new();
    let mut width = 0;
    for c in words.chars() {
        width += textwrap::core::display_width(c.encode_utf8(&mut [0; 4]));
        if width >= columns {
            break;
        }
        line.push(c);
    }
    line.truncate(line.trim_end().len());
    line.push('…');
    line
}

/// The text in lines of at most `columns`, each after `indent` spaces; at most `max_lines`, the last with an ellipsis.
pub(crate) fn paragraph(text: &str, columns: usize, indent: usize, max_lines: usize) -> Vec<String> {
    let margin = " ".repeat(indent);
    let text = printable(text);
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        for part in textwrap::wrap(line.trim(), columns.saturating_sub(indent + 2).max(20)) {
            if lines.len() == max_lines {
                if let Some(last) = lines.last_mut() {
                    *last = format!("{last} …");
                }
                return lines;
            }
            lines.push(format!("{margin}{part}"));
        }
    }
    lines
}

/// The beginning of an id, long enough to name it.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID_DIGITS).unwrap_or(id)
}

/// A peer's id as lists show it.
pub(crate) fn shown_id(id: &str, wide: bool) -> String {
    let cut = id.len().saturating_sub(SHORT_PEER_CHARS);
    if wide || cut == 0 || !id.is_char_boundary(cut) { id.to_owned() } else { format!("…{}", &id[cut..]) }
}

/// What to do about texts that a model cannot read.
pub(crate) const READER_HINT: &str =
    "; multilingual-e5-small reads most scripts: `synapsenet models fetch multilingual-e5-small`";

/// "1 grain", "2 grains".
pub(crate) fn plural(count: u64, one: &str) -> String {
    let number = indicatif::HumanCount(count);
    if count == 1 { format!("{number} {one}") } else { format!("{number} {one}s") }
}

/// Rows under a head, each column as wide as it needs.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: Vec<[String; N]>,
    out: &mut Output,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let width = textwrap::core::display_width;
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| width(&row[column]));
        cells.max().unwrap_or(0).max(width(head[column]))
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, column) in cells.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(column.saturating_sub(width(cell)) + 2));
        }
        line.trim_end().to_owned()
    };
    out.line(format_args!("{FAINT}{}{FAINT:#}", line(head)))?;
    for row in &rows {
        out.line(line(row.each_ref().map(String::as_str)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\x07\u{9b}c\u{202e}d\ne\tf\r"), "a[2Jbcd\ne    f");
        assert!(matches!(printable("plain\ntext"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_hyperlink_holds_nothing_that_a_terminal_obeys() {
        let link = hyperlink("a.md #1", "file:///home/my notes/дом%20\u{1b}\\\u{7}\u{9b}31m.md");
        let parts: Vec<_> = link.split('\u{1b}').collect();
        assert_eq!(parts.len(), 5, "{link:?}");
        assert_eq!(parts[1], "]8;;file:///home/my%20notes/%D0%B4%D0%BE%D0%BC%20%1B\\%07%C2%9B31m.md");
        assert_eq!((parts[2], parts[3], parts[4]), ("\\a.md #1", "]8;;", "\\"));
        assert_eq!(anstream::adapter::strip_str(&link).to_string(), "a.md #1");
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        assert_eq!(one_line("one\n two\tthree", 20), "one two three");
        assert_eq!(one_line("one two three", 8), "one two…");
        assert_eq!(one_line("日本語の文章", 7), "日本語…");
        assert_eq!(one_line(&"x".repeat(10_000), 5), "xxxx…");
    }

    #[test]
    fn a_paragraph_ends_with_an_ellipsis_when_it_is_cut() {
        let lines = paragraph("aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii", 26, 4, 2);
        assert_eq!(lines, ["    aaaa bbbb cccc dddd", "    eeee ffff gggg hhhh …"]);
    }

    #[test]
    fn an_error_for_scripts_is_one_json_object() {
        let record = FailureRecord { error: "no \"node\"", hint: "run", code: 3 };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(line, r#"{"error":"no \"node\"","hint":"run","code":3}"#);
    }

    #[test]
    fn short_ids_are_the_beginning_of_ids() {
        assert_eq!(short_id(&"ab".repeat(32)), "abababababab");
        assert_eq!(short_id("ab"), "ab");
    }

    #[test]
    fn ids_are_shown_by_their_end() {
        assert_eq!(shown_id("12D3KooWABCDEFGH", false), "…ABCDEFGH");
        assert_eq!(shown_id("12D3KooWABCDEFGH", true), "12D3KooWABCDEFGH");
        assert_eq!(shown_id("short", false), "short");
    }
}
