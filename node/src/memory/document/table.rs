//! How are the cells of a row one line? They are written one after the other as they come, with all that stands in them, and joined
//! when the row ends. A table that holds another one is a layout: its cells are paragraphs.

use std::ops::Range;

/// Between the cells of a row.
const BETWEEN_CELLS: &str = " | ";

/// A table that is being written.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Whether the rows that come are its header.
    pub is_header: bool,
    /// Whether it holds another table.
    pub is_layout: bool,
    row: Option<Row>,
    rows: usize,
}

/// A row: where it and its cells begin in the text.
#[derive(Debug, Default)]
struct Row {
    start: usize,
    cells: Vec<usize>,
    /// Whether all its cells are headings of columns.
    is_header: bool,
    keeps_lines: bool,
}

impl Table {
    /// Whether a row is open.
    pub fn is_in_row(&self) -> bool {
        self.row.is_some()
    }

    /// Whether a row was written.
    pub fn has_rows(&self) -> bool {
        self.rows > 0
    }

    /// Another table begins in this one.
    pub fn hold_another(&mut self) {
        self.is_layout = true;
    }

    /// The lines of the open cell mean something.
    pub fn keep_lines(&mut self) {
        if let Some(row) = &mut self.row {
            row.keeps_lines = true;
        }
    }

    /// The text of the open row has gone elsewhere.
    pub fn forget_row(&mut self) {
        self.row = None;
        self.rows = 0;
    }

    /// Begins a row at this place of the text.
    pub fn start_row(&mut self, start: usize) {
        self.row = Some(Row { start, cells: Vec::new(), is_header: true, keeps_lines: false });
    }

    /// Begins a cell at the end of the text.
    pub fn start_cell(&mut self, text: &mut String, is_header: bool) {
        let Some(row) = &mut self.row else { return };
        // Set apart, also where the table turns out to be a layout.
        if text.len() > row.start && !text.ends_with('\n') {
            text.push('\n');
        }
        row.is_header &= is_header;
        row.cells.push(text.len());
    }

    /// Makes a line of the open row. Answers where it stands if it is the header of the table.
    pub fn end_row(&mut self, text: &mut String) -> Option<Range<usize>> {
        let row = self.row.take()?;
        if self.is_layout || row.cells.is_empty() || row.start > text.len() {
            return None;
        }
        if row.cells.len() > 1 {
            let mut ends = row.cells.iter().skip(1).copied().chain([text.len()]);
            let cells: Vec<String> = row
                .cells
                .iter()
                .map(|&start| {
                    let cell = text.get(start..ends.next().unwrap_or(start)).unwrap_or_default().trim();
                    match row.keeps_lines {
                        true => cell.to_owned(),
                        false => cell
                            .lines()
                            .map(str::trim)
                            .filter(|line| !line.is_empty())
                            .collect::<Vec<_>>()
                            .join(" "),
                    }
                })
                .collect();
            let before = text[row.start..row.cells[0]].trim().to_owned();
            text.truncate(row.start);
            if cells.iter().any(|cell| !cell.is_empty()) {
                text.push_str(&before);
                text.push_str(cells.join(BETWEEN_CELLS).trim_end());
            } else {
                text.push_str(&before);
            }
        } else {
            let end = text.trim_end().len();
            text.truncate(end.max(row.start));
        }
        let line = text.get(row.start..).unwrap_or_default();
        if line.is_empty() {
            return None;
        }
        let is_header = self.rows == 0 && (self.is_header || row.is_header) && !line.contains('\n');
        self.rows += 1;
        is_header.then_some(row.start..text.len())
    }
}
