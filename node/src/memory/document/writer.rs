//! What text is a document, whatever marks it has? Sections of plain lines: a reader tells what it meets, in order, and no word
//! of it is lost.
//!
//! Items of lists and rows of tables become lines, code keeps its own, and the address behind a link is written after it. A heading
//! stands above the sections below it; one with nothing below is text itself.

use std::ops::Range;
use std::sync::Arc;

use synapsenet_index::Section;
use synapsenet_proto::MAX_TITLE_BYTES;

use super::left_out::LeftOut;
use super::links::Link;
use super::neighbours::{Neighbour, Neighbours};
use super::table::Table;

/// How deep lists are indented: deeper items stand below those of this depth.
const MAX_INDENT: usize = 8;
/// The longest heading that is one: an element that is left open would make one of all that follows.
const MAX_HEADING_BYTES: usize = 1024;

/// Gathers the text of a document.
#[derive(Debug, Default)]
pub(super) struct Writer {
    sections: Vec<Section>,
    /// The headings above what comes next, the outermost first.
    headings: Vec<Heading>,
    /// The heading that is being read: its level, and what it says so far.
    pub(super) heading: Option<(u8, String)>,
    /// Lines that a heading leaves to the text below it: the addresses of its links.
    pub(super) beside_heading: Vec<String>,
    /// The section that is being written.
    pub(super) text: String,
    /// Where the headers of its tables are.
    headers: Vec<Range<usize>>,
    /// Whether a space is due before the next word.
    pub(super) is_space_due: bool,
    /// What the next text begins its line with.
    pub(super) marker: Option<String>,
    /// Open lists: the number of the next item where they are counted.
    lists: Vec<Option<u64>>,
    tables: Vec<Table>,
    /// Blocks in each other whose lines are kept.
    kept_lines: usize,
    pub(super) links: Vec<Link>,
    /// Whether the last section is made of headings that have nothing below them.
    is_last_bare: bool,
    /// The only heading of the first level, and how many there are.
    first_title: Option<Arc<str>>,
    titles: usize,
    /// The notes that its links lead to.
    pub neighbours: Neighbours,
    /// What is not text, and why.
    pub left_out: LeftOut,
}

/// What was gathered of a document.
#[derive(Debug)]
pub(super) struct Written {
    pub sections: Vec<Section>,
    /// Its only heading of the first level.
    pub heading: Option<String>,
    /// The notes that its links lead to.
    pub neighbours: Vec<Neighbour>,
    pub left_out: LeftOut,
}

#[derive(Debug)]
struct Heading {
    level: u8,
    text: Arc<str>,
    /// Whether some section stands below it.
    is_told: bool,
}

impl Writer {
    /// The document: its sections, and its only heading of the first level if it has but one.
    pub fn finish(mut self) -> Written {
        self.end_heading();
        while self.is_in_link() {
            self.end_link();
        }
        self.end_section();
        self.leave_headings(0);
        let heading = self.first_title.filter(|_| self.titles == 1).map(|title| title.to_string());
        let (sections, neighbours, left_out) = (self.sections, self.neighbours.into_list(), self.left_out);
        Written { sections, heading, neighbours, left_out }
    }

    /// Text as it stands, with its lines.
    pub fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some((_, heading)) = &mut self.heading {
            if heading.len() + text.len() <= MAX_HEADING_BYTES {
                if std::mem::take(&mut self.is_space_due) && !heading.is_empty() {
                    heading.push(' ');
                }
                heading.push_str(text);
                return;
            }
            // Where a heading has no end, what follows is text.
            self.end_heading();
        }
        if let Some(marker) = self.marker.take() {
            self.end_line();
            let depth = self.lists.len().saturating_sub(1).min(MAX_INDENT);
            self.text.extend(std::iter::repeat_n("  ", depth));
            self.text.push_str(&marker);
        } else if self.is_space_due && !self.is_at_line_start() {
            self.text.push(' ');
        }
        self.is_space_due = false;
        self.text.push_str(text);
    }

    /// Text whose white space means no more than a space, unless lines are kept here.
    pub fn flow(&mut self, text: &str) {
        if self.kept_lines > 0 {
            return self.push(text);
        }
        // A space that may not be broken is one all the same.
        let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
        for word in text.split_inclusive(is_space) {
            let bare = word.trim_end_matches(is_space);
            self.push(bare);
            if bare.len() < word.len() {
                self.space();
            }
        }
    }

    /// A space before what follows, if there is anything before it on the line.
    pub fn space(&mut self) {
        self.is_space_due = true;
    }

    /// The next text begins a line.
    pub fn end_line(&mut self) {
        if self.heading.is_some() {
            return self.space();
        }
        self.is_space_due = false;
        if !self.is_at_line_start() {
            self.text.push('\n');
        }
    }

    /// A line ends here, also an empty one.
    pub fn break_line(&mut self) {
        if self.heading.is_some() {
            return self.space();
        }
        self.is_space_due = false;
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// The next text begins a paragraph.
    pub fn end_paragraph(&mut self) {
        // The first paragraph of an item stands beside its mark.
        if self.marker.is_some() {
            return;
        }
        self.end_line();
        if self.heading.is_none() && !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Begins a block: as [`Writer::end_paragraph`], and a heading that says something already is none of the block's.
    pub fn start_block(&mut self) {
        if self.heading.as_ref().is_some_and(|(_, heading)| !heading.trim().is_empty()) {
            self.end_heading();
        }
        self.end_paragraph();
    }

    /// Begins a heading; 1 is the highest level.
    pub fn start_heading(&mut self, level: u8) {
        self.end_heading();
        self.end_section();
        self.leave_headings(level);
        self.heading = Some((level, String::new()));
    }

    /// Ends the open heading, if there is one.
    pub fn end_heading(&mut self) {
        let Some((level, heading)) = self.heading.take() else { return };
        self.is_space_due = false;
        self.marker = None;
        let heading = heading.split_whitespace().collect::<Vec<_>>().join(" ");
        if !heading.is_empty() {
            // A title has no room for a longer one, and what it has no room for is text.
            let shown: Arc<str> = heading[..heading.floor_char_boundary(MAX_TITLE_BYTES)].into();
            if level == 1 {
                self.titles += 1;
                self.first_title.get_or_insert_with(|| shown.clone());
            }
            if shown.len() < heading.len() {
                self.push(&heading);
                self.end_paragraph();
            }
            self.headings.push(Heading { level, text: shown, is_told: false });
        }
        for line in std::mem::take(&mut self.beside_heading) {
            self.push(&line);
            self.end_line();
        }
    }

    /// Begins a list whose items are counted from `first`, or marked.
    pub fn start_list(&mut self, first: Option<u64>) {
        match self.lists.is_empty() {
            true => self.start_block(),
            false => self.end_line(),
        }
        self.marker = None;
        self.lists.push(first);
    }

    /// Ends a list.
    pub fn end_list(&mut self) {
        if self.lists.pop().is_some() {
            self.marker = None;
            match self.lists.is_empty() {
                true => self.end_paragraph(),
                false => self.end_line(),
            }
        }
    }

    /// Begins an item, whose number is told where it is not the next one.
    pub fn start_item(&mut self, number: Option<u64>) {
        self.end_line();
        let marker = match self.lists.last_mut() {
            Some(Some(next)) => {
                let this = number.unwrap_or(*next);
                *next = this.saturating_add(1);
                format!("{this}. ")
            }
            _ => "- ".to_owned(),
        };
        self.marker = Some(marker);
    }

    /// Ends an item.
    pub fn end_item(&mut self) {
        self.marker = None;
        self.end_line();
    }

    /// Begins a line with this mark, once there is text for it.
    pub fn start_marked_line(&mut self, marker: &str) {
        self.end_line();
        self.marker = Some(marker.to_owned());
    }

    /// Begins a block whose lines and spaces are kept.
    pub fn start_kept_lines(&mut self) {
        self.start_block();
        if let Some(table) = self.tables.last_mut() {
            table.keep_lines();
        }
        self.kept_lines += 1;
    }

    /// Ends such a block.
    pub fn end_kept_lines(&mut self) {
        if self.kept_lines > 0 {
            self.kept_lines -= 1;
            self.end_paragraph();
        }
    }

    /// Begins a table.
    pub fn start_table(&mut self) {
        self.marker = None;
        if let Some(outer) = self.tables.last_mut() {
            outer.hold_another();
        }
        self.start_block();
        self.tables.push(Table::default());
    }

    /// Says whether the rows from here on are the header of the table.
    pub fn set_header(&mut self, is_header: bool) {
        if let Some(table) = self.tables.last_mut() {
            table.is_header = is_header;
        }
    }

    /// Begins a row.
    pub fn start_row(&mut self) {
        self.end_row();
        self.start_block();
        // Rows follow each other; only the table has paragraphs around it.
        if self.tables.last().is_some_and(Table::has_rows) && self.text.ends_with("\n\n") {
            self.text.pop();
        }
        let start = self.text.len();
        if let Some(table) = self.tables.last_mut() {
            table.start_row(start);
        }
    }

    /// Begins a cell, in a row of its own where there is none. Outside of a table it is a block.
    pub fn start_cell(&mut self, is_header: bool) {
        if self.tables.last().is_none_or(|table| !table.is_in_row()) {
            self.start_row();
        }
        match self.tables.last_mut() {
            Some(table) if table.is_layout => self.end_paragraph(),
            Some(table) => {
                self.is_space_due = false;
                self.marker = None;
                table.start_cell(&mut self.text, is_header);
            }
            None => self.start_block(),
        }
    }

    /// Ends a row.
    pub fn end_row(&mut self) {
        let Some(table) = self.tables.last_mut().filter(|table| table.is_in_row()) else { return };
        self.marker = None;
        if let Some(header) = table.end_row(&mut self.text) {
            self.headers.push(header);
        }
        self.end_line();
    }

    /// Ends a table.
    pub fn end_table(&mut self) {
        self.end_row();
        if self.tables.pop().is_some() {
            self.end_paragraph();
        }
    }

    fn is_at_line_start(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }

    /// Ends the section that is being written; the headings above it stand in it.
    fn end_section(&mut self) {
        self.marker = None;
        self.is_space_due = false;
        for table in &mut self.tables {
            table.forget_row();
        }
        let (text, headers) = (std::mem::take(&mut self.text), std::mem::take(&mut self.headers));
        if text.trim().is_empty() {
            return;
        }
        self.headings.iter_mut().for_each(|heading| heading.is_told = true);
        let headings = self.headings.iter().map(|heading| heading.text.clone()).collect();
        self.sections.push(Section { headings, text, headers });
        self.is_last_bare = false;
    }

    /// Closes the headings from a level on. One that nothing stood below is told as text, with its neighbours of the same kind.
    fn leave_headings(&mut self, level: u8) {
        let closed = self.headings.iter().position(|heading| heading.level >= level);
        let Some(closed) = closed else { return };
        if let Some(last) = self.headings.pop_if(|last| !last.is_told) {
            self.headings.iter_mut().for_each(|heading| heading.is_told = true);
            let above: Vec<Arc<str>> = self.headings.iter().map(|heading| heading.text.clone()).collect();
            match self.sections.last_mut().filter(|section| self.is_last_bare && section.headings == above) {
                Some(section) => {
                    section.text.push('\n');
                    section.text.push_str(&last.text);
                }
                None => {
                    let text = last.text.to_string();
                    self.sections.push(Section { headings: above, text, headers: Vec::new() });
                    self.is_last_bare = true;
                }
            }
        }
        self.headings.truncate(closed);
    }
}
