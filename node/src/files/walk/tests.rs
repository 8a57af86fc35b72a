//! What a walk finds, passes over, counts and cannot look at.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A folder of files with these names, each with its name in it.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    dir
}

/// What a walk came to, as "name" for what is found, "-name" for what is skipped and "!name" for what is refused, and what it
/// left out.
fn walked(rules: &Rules, dir: &Path) -> (Vec<String>, LeftOut) {
    let name = |path: &Path| path.strip_prefix(dir).unwrap().display().to_string();
    let mut walk = rules.walk(dir);
    let entries = walk.by_ref().map(|entry| match entry {
        Entry::Found { path, .. } => name(&path),
        Entry::Skipped { path, .. } => format!("-{}", name(&path)),
        Entry::Refused { path, .. } => format!("!{}", name(&path)),
    });
    (entries.collect(), walk.left_out())
}

fn left_out(files: u64, folders: u64, example: &str) -> LeftOut {
    LeftOut { files, folders, example: Some(example.to_owned()) }
}

#[test]
fn what_programs_filled_and_what_is_hidden_is_counted_and_not_walked() {
    let dir = folder(&[
        ".hidden.md",
        ".config/a.md",
        ".git/HEAD",
        "a.md",
        "node_modules/pad/1.js",
        "node_modules/pad/2.js",
        "sub/b.md",
        "sub/venv/lib/a.py",
        "sub/build/shed.md",
    ]);
    let (found, out) = walked(&Rules::default(), dir.path());
    assert_eq!(found, ["a.md", "sub/b.md", "sub/build/shed.md"]);
    assert_eq!(out, left_out(1, 4, "node_modules"));
    assert_eq!(out.to_string(), "1 hidden file and 4 folders such as node_modules");
    let (found, out) = walked(&Rules { no_ignore: true, ..Rules::default() }, dir.path());
    assert_eq!((found.len(), out), (9, LeftOut::default()));
    // What somebody names is meant.
    assert_eq!(walked(&Rules::default(), &dir.path().join("node_modules")).0, ["pad/1.js", "pad/2.js"]);
}

#[test]
fn a_folder_that_is_left_out_is_not_even_opened() {
    let dir = folder(&["a.md", "node_modules/a.js"]);
    let closed = dir.path().join("node_modules");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let walked = walked(&Rules::default(), dir.path());
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(walked, (vec!["a.md".to_owned()], left_out(0, 1, "node_modules")));
}

#[test]
fn each_kind_of_ignore_file_and_each_glob_is_heeded() {
    let dir = folder(&["a.md", "b.md", "c.md", "d.log", "e/f.md", "e/keep.log", "drafts/g.md"]);
    fs::write(dir.path().join(".gitignore"), "a.md\n").unwrap();
    fs::write(dir.path().join(".ignore"), "b.md\n").unwrap();
    fs::write(dir.path().join(".synapseignore"), "c.md\n").unwrap();
    let exclude = ["*.log", "drafts/"].map(|glob| glob.parse().unwrap()).to_vec();
    let rules = Rules { exclude, ..Rules::default() };
    assert_eq!(
        walked(&rules, dir.path()),
        (vec!["e/f.md".to_owned()], LeftOut { files: 3, ..LeftOut::default() })
    );
    let all = walked(&Rules { no_ignore: true, ..rules }, dir.path()).0;
    let expected = [".gitignore", ".ignore", ".synapseignore", "a.md", "b.md", "c.md", "e/f.md"];
    assert_eq!(all, expected, "globs hold whatever else is taken");
}

#[test]
fn what_is_no_file_is_skipped_and_a_loop_of_links_ends() {
    let dir = folder(&["a.md", "sub/b.md", "id_rsa"]);
    symlink("..", dir.path().join("sub/loop")).unwrap();
    symlink("/nonexistent", dir.path().join("dangling.md")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let (found, _) = walked(&Rules::default(), dir.path());
    assert_eq!(found, ["a.md", "-dangling.md", "-id_rsa", "-socket", "sub/b.md", "-sub/loop"]);
    let insisting = Rules { include_secrets: true, ..Rules::default() };
    assert!(walked(&insisting, dir.path()).0.contains(&"id_rsa".to_owned()));
}

#[test]
fn names_that_are_odd_are_found_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 5] =
        [b"100%.md", b"caf\xe9.md", b"it's \"quoted\".md", b"line\nbreak.md", b"\x1b[31mred.md"];
    for name in names {
        fs::write(dir.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let found = Rules::default().walk(dir.path()).map(|entry| match entry {
        Entry::Found { path, found } => (path.file_name().unwrap().as_bytes().to_vec(), found.size),
        other => panic!("{other:?}"),
    });
    let mut found: Vec<_> = found.collect();
    let mut expected: Vec<_> = names.iter().map(|name| (name.to_vec(), 1)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_folder_that_cannot_be_opened_is_named_and_the_walk_goes_on() {
    let dir = folder(&["a.md", "closed/b.md", "z.md"]);
    let closed = dir.path().join("closed");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let is_closed = fs::read_dir(&closed).is_err();
    let (found, _) = walked(&Rules::default(), dir.path());
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    // Whoever may open everything finds what is in it.
    let expected = if is_closed { "!closed" } else { "closed/b.md" };
    assert_eq!(found, ["a.md", expected, "z.md"]);
}

#[test]
fn a_folder_that_is_gone_is_refused_by_its_name() {
    let gone = Path::new("/nonexistent/notes");
    let entries: Vec<_> = Rules::default().walk(gone).collect();
    let [Entry::Refused { path, reason }] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(path, gone);
    assert_eq!(reason, "it cannot be read: entity not found");
}

#[test]
fn the_folder_of_a_node_is_skipped_where_it_is_found_and_refused_where_it_is_named() {
    let dir = folder(&["a.md", "node/identity.seed", "node/note.md", "z/api.token", "z/a.md"]);
    let all = Rules { no_ignore: true, include_secrets: true, ..Rules::default() };
    for rules in [Rules::default(), all] {
        assert_eq!(walked(&rules, dir.path()).0, ["a.md", "-node", "-z"]);
        assert_eq!(walked(&rules, &dir.path().join("node")).0, ["!"]);
    }
}

#[test]
fn what_several_walks_left_out_is_told_in_one() {
    let mut sum = left_out(2, 1, ".git");
    sum.add(LeftOut { files: 0, folders: 1, example: Some("target".into()) });
    sum.add(LeftOut::default());
    assert_eq!(sum, left_out(2, 2, "target"));
    for (files, folders, told) in [(1, 0, "1 hidden file"), (0, 1, "1 folder such as target")] {
        assert_eq!(LeftOut { files, folders, ..sum.clone() }.to_string(), told);
    }
}
