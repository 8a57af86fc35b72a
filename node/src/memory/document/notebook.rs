//! What does a notebook (Jupyter's .ipynb) say? Its notes as Markdown, its code as code, and what the code printed; pictures are named
//! among what is left out.

use serde_json::Value;

use super::blobs::without_blobs;
use super::html::Page;
use super::markdown::read_markdown;
use super::read::{Clock, ReadError};

/// Reads a notebook of any version.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Broken`] where it is no notebook.
pub(super) fn read_notebook(text: &str, clock: &Clock) -> Result<Page, ReadError> {
    let notebook: Value = serde_json::from_str(text).map_err(|_| ReadError::Broken("it is no notebook"))?;
    let mut page = Page::default();
    // Before version 4, cells stood in sheets.
    let sheets = notebook["worksheets"].as_array().into_iter().flatten();
    let cells: Vec<&Value> = std::iter::once(&notebook)
        .chain(sheets)
        .flat_map(|sheet| sheet["cells"].as_array().into_iter().flatten())
        .collect();
    if cells.is_empty() && notebook.get("nbformat").is_none() {
        return Err(ReadError::Broken("it is no notebook"));
    }
    for cell in cells {
        clock.check()?;
        let source = if cell["source"].is_null() { &cell["input"] } else { &cell["source"] };
        let source = joined(source);
        match cell["cell_type"].as_str() {
            Some("code") => {
                lines(&mut page, &source);
                for output in cell["outputs"].as_array().into_iter().flatten() {
                    take_output(&mut page, output);
                }
            }
            Some("heading") => {
                page.writer.start_heading(cell["level"].as_u64().unwrap_or(1).clamp(1, 6) as u8);
                page.writer.push(&source);
                page.writer.end_heading();
            }
            Some("raw") => lines(&mut page, &source),
            _ => {
                let source = without_blobs(&source, &mut page.writer.left_out).into_owned();
                read_markdown(&source, &mut page, clock)?;
            }
        }
    }
    Ok(page)
}

/// What a piece of code printed.
fn take_output(page: &mut Page, output: &Value) {
    // Version 3 has the kinds beside each other, version 4 in `data`.
    let data = if output["data"].is_object() { &output["data"] } else { output };
    let text = ["text", "text/plain", "text/markdown", "text/latex", "text/html"]
        .iter()
        .find_map(|kind| Some(joined(data.get(kind)?)).filter(|text| !text.is_empty()));
    let has_text = text.is_some();
    let error = output["evalue"].as_str().map(|value| format!("{}: {value}", joined(&output["ename"])));
    for text in text.into_iter().chain(error) {
        lines(page, &text);
    }
    let kinds = data.as_object().into_iter().flatten().map(|(kind, _)| kind.as_str());
    for kind in kinds.filter(|kind| kind.starts_with("image/") || ["png", "jpeg", "svg"].contains(kind)) {
        page.writer.left_out.add(format!("a picture ({kind})"), "made by the code of the notebook");
    }
    if !has_text && data.get("application/javascript").is_some() {
        page.writer.left_out.add("a program (application/javascript)", "made by the code of the notebook");
    }
}

/// A block whose lines are kept.
fn lines(page: &mut Page, text: &str) {
    let text = without_blobs(text, &mut page.writer.left_out);
    page.writer.start_kept_lines();
    page.writer.push(text.trim_end());
    page.writer.end_kept_lines();
}

/// A text that is written as one or as a list of its lines.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::writer::Written;
    use super::*;

    #[test]
    fn notes_code_and_what_it_printed_are_kept_and_pictures_named() {
        let notebook = serde_json::json!({"nbformat": 4, "cells": [
            {"cell_type": "markdown", "source": ["# Pump\n", "\n", "The *flow*."]},
            {"cell_type": "code", "source": "a = 1\nif a:\n    print(a)", "outputs": [
                {"output_type": "stream", "text": ["one\n", "two\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": ["<Figure>"]}},
                {"output_type": "error", "ename": "ValueError", "evalue": "too low", "traceback": []}
            ]},
            {"cell_type": "raw", "source": "raw text"}
        ]});
        let page = read_notebook(&notebook.to_string(), &Clock::start(Duration::from_secs(10))).unwrap();
        let Written { sections, heading: title, left_out, .. } = page.writer.finish();
        assert_eq!(title.as_deref(), Some("Pump"));
        let text = "The flow.\n\na = 1\nif a:\n    print(a)\n\none\ntwo\n\n<Figure>\n\nValueError: too low\n\nraw text";
        assert_eq!(sections[0].text.trim(), text);
        assert_eq!(left_out.into_list().len(), 1);
    }

    #[test]
    fn what_is_no_notebook_is_refused() {
        for text in ["", "{", "[]", "{}", "null"] {
            assert!(read_notebook(text, &Clock::start(Duration::from_secs(10))).is_err(), "{text}");
        }
    }
}
