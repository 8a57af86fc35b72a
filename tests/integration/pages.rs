//! Do the pages lead somewhere, and do they name what there is?

use std::path::{Path, PathBuf};

use synapsenet::Settings;

use super::harness::synapsenet;

/// Folders with pages of others, or that programs filled.
const NOT_OURS: [&str; 4] = ["target", "corpus", "seeds", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every page of the project, but the sample notes, which are data.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()) && name != "sample-notes" {
                pages(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The targets of the links of a page, not those in its code.
fn links(page: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        // Links are shown as code, too: the spans with a target in them. Code that is the text of a link has none.
        let shown = line
            .split('`')
            .enumerate()
            .filter(|(nth, span)| nth % 2 == 1 && span.contains("]("))
            .map(|(_, span)| span);
        let line = shown.fold(line.to_owned(), |line, span| line.replace(span, ""));
        if !in_code {
            found.extend(
                line.split("](")
                    .skip(1)
                    .filter_map(|rest| rest.split_once(')'))
                    .map(|(target, _)| target.to_owned()),
            );
        }
    }
    found
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn has_heading(page: &str, wanted: &str) -> bool {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn every_link_in_a_page_leads_to_a_file_and_a_heading_that_are_there() {
    let mut found = Vec::new();
    pages(&root(), &mut found);
    assert!(found.len() > 10, "only {found:?}");
    let mut broken = Vec::new();
    for path in &found {
        let page = std::fs::read_to_string(path).unwrap();
        for link in links(&page).into_iter().filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = target.exists()
                && (heading.is_empty() || has_heading(&std::fs::read_to_string(&target).unwrap(), heading));
            if !is_there {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// What a page's table says of a key: the cells of its row. A row may have several keys, and their defaults in the same order.
fn defaults_in_table(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells = row.split(" | ").collect::<Vec<_>>();
        let keys = cells[0].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let values = cells[1].split(", ").map(|value| value.trim_matches('`').to_owned()).collect::<Vec<_>>();
        for (nth, key) in keys.iter().enumerate() {
            let value = if keys.len() == values.len() {
                values[nth].clone()
            } else {
                cells[1].trim_matches('`').to_owned()
            };
            found.push((key.clone(), value));
        }
    }
    found
}

#[test]
fn the_page_of_settings_has_every_key_with_its_default_and_no_other() {
    let page = std::fs::read_to_string(root().join("deploy/SETTINGS.md")).unwrap();
    let table = defaults_in_table(&page);
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::load(None, folder.path(), Vec::new()).unwrap();
    let mut wrong = Vec::new();
    for entry in settings.entries() {
        let is = entry.value.to_string();
        // Said in words: they are long, or made from the machine.
        let in_words = ["network.listen", "network.max_memory"].contains(&entry.key.as_str());
        match table.iter().find(|(key, _)| *key == entry.key) {
            None => wrong.push(format!("{} is missing; its default is {is}", entry.key)),
            Some((_, said)) if *said != is && !in_words => {
                wrong.push(format!("{} is {is}, the page says {said}", entry.key))
            }
            Some(_) => {}
        }
    }
    for (key, _) in &table {
        if settings.origin(key).is_none() {
            wrong.push(format!("{key} is no setting"));
        }
    }
    assert!(wrong.is_empty(), "deploy/SETTINGS.md:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_first_page_has_every_command() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let help = synapsenet(folder.path(), &["--help"]).await.ended_with(0).out;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help");
    let names = names.collect::<Vec<_>>();
    assert!(names.len() > 20, "only {names:?} in:\n{help}");
    let rows = page.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>();
    let stands = |name: &&&str| {
        rows.iter().any(|row| row.contains(&format!("`{name}`")) || row.contains(&format!("`{name} ")))
    };
    let missing = names.iter().filter(|name| !stands(name)).collect::<Vec<_>>();
    assert!(missing.is_empty(), "README.md's table lacks {missing:?}");
}
