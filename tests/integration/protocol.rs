//! The page for other implementers, proto/PROTOCOL.md, is held against the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of all sources below a folder, without white space.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.extend(fs::read_to_string(path).unwrap().split_whitespace());
        }
    }
}

/// The tests that own the constants compare the lists; here is seen that no list is without such a test.
#[test]
fn each_list_of_the_page_for_implementers_is_compared_with_the_program() {
    let page = fs::read_to_string(root().join("proto/PROTOCOL.md")).unwrap();
    let lists: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("```limits ")).collect();
    assert!(lists.len() >= 12, "{lists:?}");
    let fences = page.lines().filter(|line| line.starts_with("```")).count();
    assert_eq!(fences, 2 * lists.len(), "every fenced list has a name, and each name stands once");
    let mut text = String::new();
    for folder in ["proto/src", "net/src", "node/src"] {
        sources(&root().join(folder), &mut text);
    }
    for list in lists {
        assert!(
            text.contains(&format!("assert_page_says(\"{list}\",")),
            "nothing compares the list `{list}`"
        );
    }
}
