//! Tells the program from what it was built: the commit, the target, the profile and the compiler. Each follows from the source and the way it is
//! built alone, so that the same source gives the same program: no time, no name of a machine or of a person.

use std::env::var;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sets the commit where the source is no git checkout: for packages and images, which are built from a copy of it.
const COMMIT: &str = "BUILD_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    println!("cargo::rerun-if-changed=build.rs");
    let commit = var(COMMIT).ok().filter(|commit| is_plain(commit)).or_else(commit);
    let rustc = said(Command::new(var("RUSTC").as_deref().unwrap_or("rustc")).arg("--version"));
    let unknown = || "unknown".to_owned();
    for (name, value) in [
        ("SYNAPSENET_BUILD_COMMIT", commit),
        ("SYNAPSENET_BUILD_TARGET", var("TARGET").ok()),
        ("SYNAPSENET_BUILD_PROFILE", var("PROFILE").ok()),
        ("SYNAPSENET_BUILD_RUSTC", rustc),
    ] {
        println!("cargo::rustc-env={name}={}", value.unwrap_or_else(unknown));
    }
}

/// A name of a commit and nothing that could be taken for another line of a build script.
fn is_plain(commit: &str) -> bool {
    !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The commit that is checked out, where this source is a git checkout: not a copy of it that lies somewhere in another one.
fn commit() -> Option<String> {
    let root = Path::new(&var("CARGO_MANIFEST_DIR").ok()?).parent()?.canonicalize().ok()?;
    let top = PathBuf::from(git(&root, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root {
        return None;
    }
    // What names the commit: the head, the branch that it points to, and the file into which git packs branches; and the log of the head,
    // as a branch that was packed gets a file of its own with the next commit.
    let branch = git(&root, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = root.join(git(&root, &["rev-parse", "--git-path", name])?);
        // cargo runs a script each time that looks at what is not there.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&root, &["rev-parse", "HEAD"])
}

/// What git says of the repository in `root`, whatever other one the environment names.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    said(
        Command::new("git")
            .arg("-C")
            .arg(root)
            .args(arguments)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE"),
    )
}

/// The first line that a command says, when it ends well.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned).filter(|line| !line.is_empty())
}
