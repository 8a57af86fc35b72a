//! Folders that programs filled, and can fill again: known by their names and by what lies in or beside them.
//!
//! A name alone is seldom enough: somebody's notes about building may lie in a folder called `build`.

use std::path::Path;

/// Folders of one kind.
struct Kind {
    /// What they are called.
    names: &'static [&'static str],
    /// One of these lies beside them; empty where the name is enough.
    beside: &'static [&'static str],
    /// And one of these lies in them; empty where that does not matter.
    inside: &'static [&'static str],
}

const KINDS: [Kind; 9] = [
    Kind {
        names: &["node_modules", "bower_components", "jspm_packages", "__pycache__", "__pypackages__"],
        beside: &[],
        inside: &[],
    },
    Kind { names: &["target"], beside: &["Cargo.toml", "pom.xml", "build.sbt"], inside: &[] },
    Kind {
        names: &["build", "out"],
        beside: &[
            "package.json",
            "build.gradle",
            "build.gradle.kts",
            "CMakeLists.txt",
            "meson.build",
            "setup.py",
            "pyproject.toml",
        ],
        inside: &[],
    },
    Kind { names: &["dist"], beside: &["package.json", "setup.py", "pyproject.toml"], inside: &[] },
    Kind { names: &["venv"], beside: &[], inside: &["lib", "Lib"] },
    Kind { names: &["vendor"], beside: &["go.mod"], inside: &["modules.txt"] },
    Kind { names: &["vendor"], beside: &["composer.json"], inside: &["autoload.php"] },
    Kind { names: &["_build", "deps"], beside: &["mix.exs"], inside: &[] },
    Kind { names: &["Pods"], beside: &["Podfile"], inside: &[] },
];

/// What lies in a virtual environment of Python, whatever it is called.
const ENVIRONMENT: &str = "pyvenv.cfg";
/// What lies in a cache whose program keeps to the Cache Directory Tagging Specification (bford.info/cachedir), and how that
/// file begins.
const CACHE_TAG: &str = "CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether a folder was filled by a program.
pub(super) fn is_junk(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    let is_of = |kind: &Kind| {
        let has = |names: &[&str], place: &Path| {
            names.is_empty() || names.iter().any(|name| place.join(name).exists())
        };
        kind.names.iter().any(|known| name == *known)
            && has(kind.beside, folder.parent().unwrap_or(folder))
            && has(kind.inside, folder)
    };
    KINDS.iter().any(is_of) || folder.join(ENVIRONMENT).is_file() || is_tagged(folder)
}

fn is_tagged(folder: &Path) -> bool {
    let tag = super::read(&folder.join(CACHE_TAG), CACHE_SIGNATURE.len() as u64);
    tag.is_ok_and(|beginning| beginning == CACHE_SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_a_program_filled_is_told_from_one_of_notes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let make = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for path in [
            "web/package.json",
            "web/node_modules/a/index.js",
            "web/dist/a.js",
            "web/build/a.js",
            "rust/Cargo.toml",
            "rust/target/debug/a",
            "py/venv/lib/a.py",
            "py/__pycache__/a.pyc",
            "py/any/pyvenv.cfg",
            "go/go.mod",
            "go/vendor/modules.txt",
            "notes/build/shed.md",
            "notes/target/goals.md",
            "notes/out/walks.md",
            "notes/venv/a.md",
            "notes/vendor/list.md",
            "notes/dist/a.md",
        ] {
            make(path, "x");
        }
        make("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# made by a program");
        make("wrong/CACHEDIR.TAG", "mine");
        for junk in [
            "web/node_modules",
            "web/dist",
            "web/build",
            "rust/target",
            "py/venv",
            "py/__pycache__",
            "py/any",
            "go/vendor",
            "cache",
        ] {
            assert!(is_junk(&root.join(junk)), "{junk}");
        }
        for kept in [
            "web",
            "rust",
            "py",
            "notes/build",
            "notes/target",
            "notes/out",
            "notes/venv",
            "notes/vendor",
            "notes/dist",
            "wrong",
        ] {
            assert!(!is_junk(&root.join(kept)), "{kept}");
        }
    }
}
