//! The crates keep to the arrows of the design.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Which crates of this project a crate may use, `[dependencies]` and `[build-dependencies]` alike.
const ARROWS: [(&str, &[&str]); 7] = [
    ("synapsenet-proto", &[]),
    ("synapsenet-storage", &["synapsenet-proto"]),
    ("synapsenet-index", &["synapsenet-proto"]),
    ("synapsenet-net", &["synapsenet-proto"]),
    ("synapsenet", &["synapsenet-proto", "synapsenet-storage", "synapsenet-index", "synapsenet-net"]),
    (
        "synapsenet-tests",
        &["synapsenet", "synapsenet-proto", "synapsenet-storage", "synapsenet-index", "synapsenet-net"],
    ),
    (
        "synapsenet-benches",
        &["synapsenet", "synapsenet-proto", "synapsenet-storage", "synapsenet-index", "synapsenet-net"],
    ),
];

/// What belongs to some crates only. The tests and benches may use everything.
const OWNERS: [(&str, &[&str]); 19] = [
    ("tonic", &["synapsenet-proto", "synapsenet"]),
    ("anyhow", &["synapsenet"]),
    ("clap", &["synapsenet"]),
    ("axum", &["synapsenet"]),
    ("hyper-util", &["synapsenet"]),
    ("rmcp", &["synapsenet"]),
    ("prost-reflect", &["synapsenet"]),
    ("tonic-health", &["synapsenet"]),
    ("tonic-reflection", &["synapsenet"]),
    ("tokio", &["synapsenet", "synapsenet-net"]),
    ("landlock", &["synapsenet"]),
    ("opentelemetry", &["synapsenet"]),
    ("seccompiler", &["synapsenet"]),
    ("redb", &["synapsenet-storage"]),
    // Grains, and backups.
    ("zstd", &["synapsenet-storage", "synapsenet"]),
    ("ort", &["synapsenet-index"]),
    ("rust-stemmers", &["synapsenet-index"]),
    ("usearch", &["synapsenet-index"]),
    ("libp2p", &["synapsenet-net"]),
];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

/// What each crate builds on, not counting what only its own tests use.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let of = |package: &cargo_metadata::Package| {
        let built_on =
            package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        built_on.map(|dependency| dependency.name.clone()).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), of(package))).collect()
}

#[test]
fn crates_use_only_what_the_design_lets_them() {
    let dependencies = dependencies(&metadata());
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let there: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(there, known, "a new crate is argued for, and named here");
    for (name, allowed) in ARROWS {
        let used: BTreeSet<&str> =
            dependencies[name].iter().map(String::as_str).filter(|used| known.contains(used)).collect();
        let excess: Vec<_> = used.difference(&allowed.iter().copied().collect()).copied().collect();
        assert!(excess.is_empty(), "{name} must not use {excess:?}");
    }
    // The arrows that make the design what it is are there.
    assert!(dependencies["synapsenet-storage"].contains("synapsenet-proto"));
    for part in ["synapsenet-proto", "synapsenet-storage", "synapsenet-index"] {
        assert!(dependencies["synapsenet"].contains(part), "the node joins {part}");
    }
}

#[test]
fn even_the_tests_of_a_part_do_not_use_its_siblings() {
    let siblings = ["synapsenet-storage", "synapsenet-index", "synapsenet-net"];
    for package in metadata().packages {
        if siblings.contains(&package.name.as_str()) {
            for dependency in &package.dependencies {
                assert!(
                    !siblings.contains(&dependency.name.as_str()),
                    "{} uses {}",
                    package.name,
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn what_has_an_owner_is_used_by_its_owner_only() {
    let dependencies = dependencies(&metadata());
    for (library, owners) in OWNERS {
        for (name, used) in &dependencies {
            let free = ["synapsenet-tests", "synapsenet-benches"].contains(&name.as_str());
            let allowed = free || owners.contains(&name.as_str());
            assert!(allowed || !used.contains(library), "{name} must not use {library}");
        }
    }
}

#[test]
fn one_binary_holds_the_tests_and_one_the_benches() {
    let mut found = BTreeSet::new();
    for package in metadata().packages {
        for target in &package.targets {
            if target.is_test() || target.is_bench() {
                found.insert((package.name.to_string(), target.name.clone()));
            }
        }
        assert!(package.publish.as_ref().is_some_and(Vec::is_empty), "{} is not published", package.name);
    }
    let expected = [
        ("synapsenet-benches".to_owned(), "performance_benchmarks".to_owned()),
        ("synapsenet-tests".to_owned(), "integration_tests".to_owned()),
    ];
    assert_eq!(found, expected.into());
}

/// The rooms of the node, and which others each may name. Doors come first, what everything stands on last; an arrow that is
/// not here is argued for in the commit that draws it.
const ROOMS: [(&str, &[&str]); 10] = [
    // The memory of an agent is a command, too: on standard input and output.
    ("cli", &["calls", "mcp", "node"]),
    ("mcp", &["calls"]),
    ("rpc", &["calls"]),
    ("http", &["calls"]),
    ("calls", &["memory", "mesh", "models", "sources"]),
    ("sources", &["memory"]),
    // A memory for benches.
    ("rehearsal", &["memory"]),
    ("mesh", &["memory", "models"]),
    ("memory", &["models"]),
    ("models", &[]),
];
/// What every room may use, and what uses none of them.
const BASE: [&str; 16] = [
    "backup",
    "blocking",
    "composed",
    "config",
    "connections",
    "data_folder",
    "files",
    "filter",
    "identity",
    "log",
    "machine",
    "metrics",
    "tasks",
    "testing",
    "traces",
    "wire",
];
/// Joins the rooms, so it may name all.
const COMPOSITION: [&str; 3] = ["node", "lib", "main"];

/// The sources below a folder, each with the room that it belongs to.
fn sources(dir: &Path, room: Option<&str>, found: &mut Vec<(String, std::path::PathBuf)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            sources(&path, Some(room.unwrap_or(&name)), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((room.unwrap_or(&name).to_owned(), path));
        }
    }
}

/// The rooms that a source names, without what its tests do.
fn named(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let after = |line: &str| {
        let names = line.split("crate::").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    lines.flat_map(after).collect()
}

#[test]
fn the_rooms_of_the_node_name_only_what_lies_below_them() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/src"), None, &mut found);
    let is_test =
        |path: &Path| path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests"));
    found.retain(|(room, path)| room != "testing" && !is_test(path));
    let rooms: BTreeSet<&str> = found.iter().map(|(room, _)| room.as_str()).collect();
    for room in &rooms {
        let is_known =
            ROOMS.iter().any(|(known, _)| known == room) || BASE.contains(room) || COMPOSITION.contains(room);
        assert!(is_known, "the room {room} is new: say here what it may name");
    }
    for (room, _) in ROOMS {
        assert!(rooms.contains(room), "there is no room {room}");
    }
    let mut arrows = 0;
    for (room, path) in found.iter().filter(|(room, _)| !COMPOSITION.contains(&room.as_str())) {
        let below = ROOMS.iter().find(|(known, _)| known == room).map_or(&[][..], |(_, below)| below);
        for other in named(&std::fs::read_to_string(path).unwrap()) {
            arrows += usize::from(other != *room);
            let is_drawn =
                other == *room || BASE.contains(&other.as_str()) || below.contains(&other.as_str());
            assert!(is_drawn, "{} names {other}, which does not lie below {room}", path.display());
        }
    }
    assert!(arrows > 50, "only {arrows} arrows were found: is this the place where they are drawn?");
}

#[test]
fn an_arrow_is_seen_wherever_it_stands() {
    let source = "use crate::memory::Memory;\nfn f() { crate::mesh::g() }\n// crate::calls\n#[cfg(test)]\nmod tests {\n    use crate::rpc;\n}\n";
    assert_eq!(named(source), ["memory".to_owned(), "mesh".to_owned()].into());
}
