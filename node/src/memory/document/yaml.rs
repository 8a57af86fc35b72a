//! Which keys and values has the YAML of a front matter? Of that language only what people write there: keys in the first column, and
//! behind or below them texts, lists and blocks of lines. Whatever is not of this form is no front matter.

/// The keys in order, each with its values. `None` where a line is none of this form.
pub(super) fn values(inside: &str) -> Option<Vec<(String, Vec<String>)>> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut lines = inside.lines().peekable();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = key_and_value(line)?;
        let mut below = Vec::new();
        let belongs = |line: &str| line.trim().is_empty() || line.starts_with([' ', '\t']) || is_item(line);
        while let Some(line) = lines.next_if(|line| belongs(line)) {
            below.push(line.trim_end());
        }
        found.push((key, all_of(value, &below)));
    }
    Some(found)
}

fn is_item(line: &str) -> bool {
    line.trim_end() == "-" || line.starts_with("- ")
}

/// A key at the beginning of a line, and what stands behind it.
fn key_and_value(line: &str) -> Option<(String, &str)> {
    if line.starts_with([' ', '\t', '-', '[', '{', '|', '>', '&', '*', '!', '%', '@', '`']) {
        return None;
    }
    let (key, value) = match line.split_once(": ") {
        Some(split) => split,
        None => (line.strip_suffix(':')?, ""),
    };
    let key = unquoted(key.trim());
    (!key.is_empty()).then(|| (key, value.trim()))
}

/// The values of a key: what stands behind it and the lines below.
fn all_of(value: &str, below: &[&str]) -> Vec<String> {
    let text = |line: &&str| line.trim().to_owned();
    if value.starts_with(['|', '>']) && value.len() <= 3 {
        let separator = if value.starts_with('|') { "\n" } else { " " };
        let lines: Vec<String> = below.iter().map(text).collect();
        return vec![lines.join(separator).trim().to_owned()];
    }
    let is_list = value.is_empty() || value.starts_with('#');
    if is_list {
        return items(below);
    }
    let joined =
        std::iter::once(value.to_owned()).chain(below.iter().map(text)).collect::<Vec<_>>().join(" ");
    let joined = joined.trim();
    match joined.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
        Some((inside, _)) => flow_items(inside),
        None => vec![unquoted(joined)],
    }
}

/// The items of a list, or the lines below a key; one that is indented deeper than an item goes on with it.
fn items(below: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in below.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let item = line.strip_prefix("- ").map(str::trim);
        match item {
            None if line == "-" => {}
            _ => {
                let item = item.unwrap_or(line);
                match item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                    Some(inside) => found.extend(flow_items(inside)),
                    None => found.push(unquoted(item)),
                }
            }
        }
    }
    found
}

/// What stands between commas, which count for nothing inside quotation marks.
fn flow_items(inside: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut item, mut quote) = (String::new(), None);
    for c in inside.chars() {
        match (quote, c) {
            (None, ',') => found.push(std::mem::take(&mut item)),
            (None, '"' | '\'') if item.trim().is_empty() => {
                quote = Some(c);
                item.push(c);
            }
            (Some(open), c) if c == open => {
                quote = None;
                item.push(c);
            }
            _ => item.push(c),
        }
    }
    found.push(item);
    found.iter().map(|item| unquoted(item.trim())).filter(|item| !item.is_empty()).collect()
}

/// A text without the quotation marks around it.
fn unquoted(text: &str) -> String {
    let inside = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(inside) = inside('\'') {
        return inside.replace("''", "'");
    }
    match inside('"') {
        Some(inside) => inside.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}
