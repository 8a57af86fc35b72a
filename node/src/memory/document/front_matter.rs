//! What does the front matter of a note say? Its title and its tags; whatever else a person wrote there is text, as nothing may be lost:
//! descriptions as they are, other values behind their keys, switches (`draft: true`) not at all.
//!
//! Front matter stands at the very beginning, between lines of `---` (YAML) or `+++` (TOML), and has keys. What cannot be read as that
//! is text, as a rule in the middle of a note is a rule.

use super::yaml;

/// The longest front matter; what is longer is text.
const MAX_BYTES: usize = 64 << 10;
/// Keys whose values are sentences.
const SENTENCES: [&str; 6] = ["description", "summary", "abstract", "excerpt", "subtitle", "tldr"];

/// What stands before a note.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FrontMatter {
    /// The title; may be empty.
    pub title: String,
    /// The tags as they were written, without `#`.
    pub tags: Vec<String>,
    /// What is text, a line each.
    pub lines: Vec<String>,
}

/// Takes the front matter off a note: answers it and the rest; none where there is none.
pub(super) fn front_matter(text: &str) -> Option<(FrontMatter, &str)> {
    let (first, rest) = text.split_once('\n')?;
    let mark = first.trim_end();
    if !["---", "+++"].contains(&mark) {
        return None;
    }
    let mut place = 0;
    for line in rest.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == mark || (mark == "---" && bare == "...") {
            let inside = &rest[..place];
            let values = if mark == "---" { yaml::values(inside)? } else { toml_values(inside)? };
            // A heading looks like a comment.
            if values.is_empty() && !inside.trim().is_empty() {
                return None;
            }
            return Some((sort(values), &rest[place + line.len()..]));
        }
        place += line.len();
        if place > MAX_BYTES {
            return None;
        }
    }
    None
}

/// Sorts what stands behind the keys.
fn sort(values: Vec<(String, Vec<String>)>) -> FrontMatter {
    let mut front = FrontMatter::default();
    for (key, values) in values {
        let values: Vec<String> = values.into_iter().filter(|value| !is_switch(value)).collect();
        if values.is_empty() {
            continue;
        }
        match key.to_lowercase().as_str() {
            "title" if front.title.is_empty() => front.title = values.join(" "),
            "tags" | "tag" | "taxonomies.tags" => front.tags.extend(tags(&values)),
            "aliases" | "alias" => front.lines.push(format!("Also called: {}", values.join(", "))),
            known if SENTENCES.contains(&known) => front.lines.extend(values),
            _ => front.lines.push(format!("{key}: {}", values.join(", "))),
        }
    }
    front
}

/// Tags in one value are separated by commas, or by spaces where there is no comma.
fn tags(values: &[String]) -> Vec<String> {
    let is_list = values.len() > 1;
    let split = |value: &String| -> Vec<String> {
        match value.contains(',') {
            true => value.split(',').map(str::to_owned).collect(),
            false if is_list => vec![value.clone()],
            false => value.split_whitespace().map(str::to_owned).collect(),
        }
    };
    let bare = |tag: String| tag.trim().trim_start_matches('#').trim().to_owned();
    values.iter().flat_map(split).map(bare).filter(|tag| !tag.is_empty()).collect()
}

/// Whether a value is for programs: it is on, off, or nothing.
fn is_switch(value: &str) -> bool {
    let value = value.trim().to_lowercase();
    ["", "~", "null", "true", "false", "yes", "no", "on", "off"].contains(&value.as_str())
}

/// The keys of TOML with what stands behind them.
fn toml_values(inside: &str) -> Option<Vec<(String, Vec<String>)>> {
    let table: toml::Table = inside.parse().ok()?;
    let mut values = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                for (inner_key, value) in inner {
                    values.push((format!("{key}.{inner_key}"), scalars(&value)));
                }
            }
            value => values.push((key, scalars(&value))),
        }
    }
    Some(values)
}

/// The values in a value, in order. The parser bounds how deep they nest.
fn scalars(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::String(text) => vec![text.clone()],
        toml::Value::Array(values) => values.iter().flat_map(scalars).collect(),
        toml::Value::Table(table) => {
            let named = |(key, value): (&String, &toml::Value)| {
                scalars(value).into_iter().map(|value| format!("{key}: {value}")).collect::<Vec<_>>()
            };
            table.iter().flat_map(named).collect()
        }
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (FrontMatter, &str) {
        front_matter(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn yaml_gives_title_tags_and_what_a_person_wrote() {
        let text = "---\ntitle: \"Annual: chimney\"\naliases: [flue check, 'sweep, yearly']\ntags:\n  - heating\n  - \"#house\"\n\
                    created: 2025-03-02\ndraft: true\n# a comment\ndescription: >\n  He comes\n  in October.\nauthor:\n  name: Anna\n---\nBody.\n";
        let (front, rest) = read(text);
        assert_eq!(rest, "Body.\n");
        assert_eq!(front.title, "Annual: chimney");
        assert_eq!(front.tags, ["heating", "house"]);
        assert_eq!(
            front.lines,
            [
                "Also called: flue check, sweep, yearly",
                "created: 2025-03-02",
                "He comes in October.",
                "author: name: Anna"
            ]
        );
    }

    #[test]
    fn toml_gives_the_same() {
        let text = "+++\r\ntitle = \"Solar inverter\"\r\ndate = 2025-01-02\r\ndraft = false\r\ntags = [\"power\"]\r\n\
                    [taxonomies]\r\ntags = [\"roof\"]\r\n+++\r\nBody.";
        let (front, rest) = read(text);
        assert_eq!((front.title.as_str(), rest), ("Solar inverter", "Body."));
        assert_eq!(front.tags, ["power", "roof"]);
        assert_eq!(front.lines, ["date: 2025-01-02"]);
    }

    #[test]
    fn tags_are_written_in_many_ways() {
        for (line, expected) in [
            ("tags: [a b, c]", vec!["a b", "c"]),
            ("tags: a, b c", vec!["a", "b c"]),
            ("tags: a b", vec!["a", "b"]),
            ("tag: \"#a\"", vec!["a"]),
            ("tags:\n- a\n- b c", vec!["a", "b c"]),
            ("Tags: []", vec![]),
        ] {
            assert_eq!(read(&format!("---\n{line}\n---\n")).0.tags, expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_front_matter_is_text() {
        for text in [
            "---\nThe mower takes petrol.\n---\nrest",
            "---\n\n# Slide\n\n---\n",
            "---\nkey: value\n",
            "text\n---\nkey: value\n---\n",
            "---\n- an item\n---\n",
            "+++\nno toml\n+++\n",
            "----\na: b\n----\n",
            "---",
            "",
        ] {
            assert_eq!(front_matter(text), None, "{text}");
        }
        assert_eq!(read("---\n---\nBody.").1, "Body.");
        assert_eq!(front_matter(&format!("---\na: {}\n---\n", "x\n  ".repeat(MAX_BYTES))), None);
    }
}
