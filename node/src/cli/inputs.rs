//! What `add` is given: texts, files, folders and standard input, read one after the other in bounded memory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::decoded::decoded;
use super::failure::Failure;
use crate::calls::grains::{EncodingError, Format, MAX_DOCUMENT_BYTES, decode};
use crate::files::{Entry, LeftOut, Rules, SkipReason};

/// How much of a file is looked at to see whether it is text at all, as much as git looks at.
const SNIFF_BYTES: usize = 8000;

/// One argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A text that stands on the command line.
    Text(String),
    /// `-`.
    Stdin,
    /// Something that is read once and has no lasting name, such as `<(command)`.
    Pipe(PathBuf),
    /// A file.
    File(PathBuf),
    /// A folder with all that is below it.
    Folder(PathBuf),
}

/// One thing to add, or why there is none.
#[derive(Debug)]
pub(crate) enum Item {
    /// A text without a source.
    Text {
        /// What to call it: "text" or "stdin".
        name: &'static str,
        /// The text.
        text: String,
    },
    /// A file.
    Document {
        /// Its absolute path.
        path: PathBuf,
        /// All of it.
        content: Vec<u8>,
        /// Whether it was named on the command line, and not found in a folder.
        is_asked: bool,
    },
    /// A file that is too large to be held beside others: a PDF, a packed document or a mailbox.
    Large {
        /// Its absolute path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Whether it was named on the command line, and not found in a folder.
        is_asked: bool,
    },
    /// Nobody asked for this one in particular, and it is no text.
    Skipped(Problem),
    /// It was asked for and cannot be had.
    Refused(Problem),
    /// What the walk through a folder left out without naming it; comes last of the folder.
    LeftOut(LeftOut),
}

/// What cannot be added, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A path, or "text" or "stdin".
    pub(crate) name: String,
    /// The reason.
    pub(crate) reason: String,
}

impl Input {
    /// An argument is a file or folder when one of that name exists, otherwise a text.
    ///
    /// # Errors
    /// When it looks like the name of a file that does not exist: a slip of the pen is not a thought to remember.
    pub(crate) fn of_argument(argument: &OsStr, only_text: bool) -> Result<Self, Failure> {
        if !only_text && argument == "-" {
            return Ok(Self::Stdin);
        }
        if !only_text && let Ok(path) = Path::new(argument).canonicalize() {
            let kind = path.metadata().map(|metadata| metadata.file_type());
            return Ok(match kind {
                Ok(kind) if kind.is_dir() => Self::Folder(path),
                Ok(kind) if kind.is_file() => Self::File(path),
                // The name as given: that of a pipe leads nowhere.
                _ => Self::Pipe(argument.into()),
            });
        }
        let Some(text) = argument.to_str() else {
            let message = format!("{} does not exist, and is not a text in UTF-8", argument.display());
            return Err(Failure::usage(message, "check the name of the file"));
        };
        if !only_text && looks_like_path(text) {
            let hint = "check the name; to add it as a text, put --text before it";
            return Err(Failure::usage(format!("there is no file or folder {text}"), hint));
        }
        Ok(Self::Text(text.to_owned()))
    }

    /// What its contents are called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            Self::Stdin => "stdin".to_owned(),
            Self::Pipe(path) | Self::File(path) | Self::Folder(path) => path.display().to_string(),
        }
    }
}

fn looks_like_path(text: &str) -> bool {
    let is_word = !text.is_empty() && !text.contains(char::is_whitespace);
    let named = Path::new(text).extension().is_some_and(|extension| {
        ["txt", "md", "markdown", "html", "htm", "eml", "mbox", "ipynb", "docx", "odt", "epub", "pdf"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    is_word && (named || text.starts_with(['/', '~']) || text.starts_with("./") || text.starts_with("../"))
}

/// Looks whether a file may be read, by its name and by its text.
///
/// # Errors
/// Why it is kept back, and what insists.
fn check(rules: &Rules, path: &Path, text: &str) -> Result<(), String> {
    rules.check(path, text).map_err(kept_back)
}

/// As [`check`], of a file whose lines are to be read: by its name, and by how it begins.
///
/// # Errors
/// The reason, or why it cannot be read.
pub(crate) fn check_lines(rules: &Rules, encoding: &str, path: &Path) -> Result<(), String> {
    let mut beginning = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    decoded(Box::new(file), encoding)
        .and_then(|text| text.take(MAX_DOCUMENT_BYTES as u64).read_to_end(&mut beginning))
        .map_err(|error| error.to_string())?;
    check(rules, path, &String::from_utf8_lossy(&beginning))
}

/// A file that was named on the command line.
fn read_asked(rules: &Rules, encoding: &str, path: PathBuf) -> Item {
    match read_document(&path, encoding) {
        Ok((content, text)) => match check(rules, &path, &text) {
            Ok(()) => content.item(path, true),
            Err(reason) => refused(&path, reason),
        },
        Err(Unreadable::NotText(reason)) => refused(&path, reason),
        Err(Unreadable::Other(reason)) => refused(&path, reason),
    }
}

/// What the walk through a folder came to: there, what is no text was hardly meant.
fn read_found(rules: &Rules, encoding: &str, entry: Entry) -> Item {
    let path = match entry {
        Entry::Found { path, .. } => path,
        Entry::Skipped { path, reason: SkipReason::Secret(reason) } => {
            return skipped(&path, &kept_back(reason));
        }
        Entry::Skipped { path, reason } => return skipped(&path, &reason.to_string()),
        Entry::Refused { path, reason } => return refused(&path, reason),
    };
    match read_document(&path, encoding) {
        Ok((content, _)) if content.is_empty() => skipped(&path, "it is empty"),
        Ok((content, text)) => match check(rules, &path, &text) {
            Ok(()) => content.item(path, false),
            Err(reason) => skipped(&path, &reason),
        },
        Err(Unreadable::NotText(reason)) => skipped(&path, &reason.to_string()),
        Err(Unreadable::Other(reason)) => refused(&path, reason),
    }
}

/// What was read of a file.
enum Content {
    /// All of it.
    Whole(Vec<u8>),
    /// So many bytes that it is better read in pieces.
    Large(u64),
}

impl Content {
    fn item(self, path: PathBuf, is_asked: bool) -> Item {
        match self {
            Self::Whole(content) => Item::Document { path, content, is_asked },
            Self::Large(size) => Item::Large { path, size, is_asked },
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(content) if content.trim_ascii().is_empty())
    }
}

/// The bytes of a file, and its text as far as that can be told here; of a large one how it begins.
fn read_document(path: &Path, encoding: &str) -> Result<(Content, String), Unreadable> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let format = Format::of_name(&path.to_string_lossy());
    if format.is_text() {
        let content = read_bytes(file, size, !encoding.is_empty())?;
        let text = decode(&content, encoding, format == Format::Html).map_err(Unreadable::NotText)?;
        return Ok((Content::Whole(content), text));
    }
    if size > format.max_bytes() as u64 {
        let most = indicatif::HumanBytes(format.max_bytes() as u64);
        return Err(Unreadable::Other(format!("it is larger than {most}: split it")));
    }
    let mut content = Vec::with_capacity(size.min(MAX_DOCUMENT_BYTES as u64) as usize + 1);
    file.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut content)?;
    // The parts of a mail may have an encoding each: the node decodes them. What is packed is no text yet.
    let text =
        if format.is_binary() { String::new() } else { String::from_utf8_lossy(&content).into_owned() };
    match content.len() > MAX_DOCUMENT_BYTES {
        true => Ok((Content::Large(size), text)),
        false => Ok((Content::Whole(content), text)),
    }
}

/// How many items [`read_all`] will give, without what is only counted.
pub(crate) fn count(rules: &Rules, inputs: &[Input]) -> u64 {
    let count = |input: &Input| match input {
        Input::Folder(path) => rules.walk(path).count() as u64,
        _ => 1,
    };
    inputs.iter().map(count).sum()
}

/// Reads each input and hands it to `each`, until that says that it wants no more. `encoding` is the label of the encoding of
/// texts; empty for finding it out.
pub(crate) fn read_all(
    rules: &Rules,
    encoding: &str,
    inputs: Vec<Input>,
    mut each: impl FnMut(Item) -> bool,
) {
    for input in inputs {
        let wanted = match input {
            Input::Text(text) => each(Item::Text { name: "text", text }),
            Input::Stdin => each(read_stream("stdin", io::stdin().lock(), encoding)),
            Input::Pipe(path) => each(match File::open(&path) {
                Ok(file) => read_stream("stdin", file, encoding),
                Err(error) => refused(&path, error),
            }),
            Input::File(path) => each(read_asked(rules, encoding, path)),
            Input::Folder(folder) => {
                let mut walk = rules.walk(&folder);
                walk.by_ref().all(|entry| each(read_found(rules, encoding, entry)))
                    && each(Item::LeftOut(walk.left_out()))
            }
        };
        if !wanted {
            return;
        }
    }
}

/// Why a file is not handed on, unless somebody insists.
fn kept_back(reason: &str) -> String {
    format!("{reason} (--include-secrets takes it)")
}

fn read_stream(name: &'static str, input: impl Read, encoding: &str) -> Item {
    let problem = |reason: String| Item::Refused(Problem { name: name.to_owned(), reason });
    let text = read_bytes(input, 0, !encoding.is_empty())
        .and_then(|bytes| decode(&bytes, encoding, false).map_err(Unreadable::NotText));
    match text {
        Ok(text) => Item::Text { name, text },
        Err(Unreadable::NotText(reason)) => problem(reason.to_string()),
        Err(Unreadable::Other(reason)) => problem(reason),
    }
}

fn refused(path: &Path, reason: impl ToString) -> Item {
    Item::Refused(Problem { name: path.display().to_string(), reason: reason.to_string() })
}

fn skipped(path: &Path, reason: &str) -> Item {
    Item::Skipped(Problem { name: path.display().to_string(), reason: reason.to_owned() })
}

enum Unreadable {
    /// Bytes that are no text, or not known as one.
    NotText(EncodingError),
    /// Anything else.
    Other(String),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Reads at most [`MAX_DOCUMENT_BYTES`]. Whether it is text at all is seen first, so that a film is called no text and not a
/// text that is too long. `size` is what the file system says, 0 when it says nothing.
fn read_bytes(mut input: impl Read, size: u64, has_encoding: bool) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::with_capacity(size.min(MAX_DOCUMENT_BYTES as u64) as usize + 1);
    Read::by_ref(&mut input).take(SNIFF_BYTES as u64).read_to_end(&mut bytes)?;
    // UTF-16 has zeros in its letters, and says so by its mark or is named.
    let may_have_zeros = has_encoding || bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if bytes.contains(&0) && !may_have_zeros {
        return Err(Unreadable::NotText(EncodingError::NotText));
    }
    let rest = (MAX_DOCUMENT_BYTES + 1 - bytes.len()) as u64;
    input.take(rest).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let most = indicatif::HumanBytes(MAX_DOCUMENT_BYTES as u64);
        return Err(Unreadable::Other(format!("it is larger than {most}: split it, or use --lines")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(include_secrets: bool) -> Rules {
        Rules { include_secrets, ..Rules::default() }
    }

    fn names(rules: &Rules, folder: &Path) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut documents, mut skipped, mut refused) = (vec![], vec![], vec![]);
        read_all(rules, "", vec![Input::Folder(folder.to_owned())], |item| {
            let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
            match item {
                Item::Document { path, .. } | Item::Large { path, .. } => documents.push(name(&path)),
                Item::Skipped(problem) => skipped.push(name(Path::new(&problem.name))),
                Item::Refused(problem) => refused.push(name(Path::new(&problem.name))),
                Item::LeftOut(_) => {}
                Item::Text { .. } => panic!("a folder holds no bare texts"),
            }
            true
        });
        (documents, skipped, refused)
    }

    #[test]
    fn a_folder_gives_its_texts_and_nothing_hidden_or_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(root.join(name), bytes).unwrap();
        for folder in ["sub", "data", ".hidden"] {
            std::fs::create_dir(root.join(folder)).unwrap();
        }
        write("a.md", b"# A");
        write("b.xyz", b"plain");
        write("empty.txt", b" \n");
        write("film.bin", b"\0\0\0");
        write("latin1.txt", b"caf\xe9");
        write("sub/c.html", b"<p>c");
        write("sub/secret.txt", b"ignored");
        write(".gitignore", b"secret.txt\n");
        write(".hidden/d.md", b"hidden");
        write("data/api.token", b"token");
        write("data/notes.md", b"# A note in a node's data folder");
        let size = MAX_DOCUMENT_BYTES + 1;
        write("long.txt", &vec![b'x'; size]);
        write("film.mp4", &vec![0; size]);
        std::os::unix::fs::symlink(root.join("a.md"), root.join("link.md")).unwrap();

        assert_eq!(count(&rules(false), &[Input::Folder(root.clone())]), 10);
        let (documents, skipped, refused) = names(&rules(false), &root);
        assert_eq!(documents, ["a.md", "b.xyz", "c.html"]);
        assert_eq!(skipped, ["data", "empty.txt", "film.bin", "film.mp4", "latin1.txt", "link.md"]);
        assert_eq!(refused, ["long.txt"]);
        let taking_all = Rules { no_ignore: true, ..Rules::default() };
        let all = [".gitignore", "d.md", "a.md", "b.xyz", "c.html", "secret.txt"];
        assert_eq!(names(&taking_all, &root).0, all);
    }

    #[test]
    fn an_argument_is_what_exists_and_else_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join("a.md");
        std::fs::write(&file, "x").unwrap();
        let input = |text: &OsStr, only_text| Input::of_argument(text, only_text).ok();
        assert_eq!(input(root.as_os_str(), false), Some(Input::Folder(root.clone())));
        assert_eq!(input(file.as_os_str(), false), Some(Input::File(file.clone())));
        assert_eq!(input("-".as_ref(), false), Some(Input::Stdin));
        assert_eq!(input("/dev/null".as_ref(), false), Some(Input::Pipe("/dev/null".into())));
        for text in ["a thought", "3.14", "1/2", "see notes.md there"] {
            assert_eq!(input(text.as_ref(), false), Some(Input::Text(text.into())));
        }
        for typo in ["notes.md", "./notes", "/no/such/file", "~/notes", "Notes.TXT"] {
            assert_eq!(input(typo.as_ref(), false), None, "{typo}");
            assert_eq!(input(typo.as_ref(), true), Some(Input::Text(typo.into())));
        }
        assert_eq!(input("-".as_ref(), true), Some(Input::Text("-".into())));
    }

    #[test]
    fn what_is_no_text_is_seen_at_its_beginning_and_another_encoding_is_named_as_the_way_out() {
        let read = |bytes: &[u8], encoding: &str| read_bytes(bytes, 0, !encoding.is_empty()).is_ok();
        let late_nul = [vec![b'x'; SNIFF_BYTES], vec![0]].concat();
        assert!(!read(b"\0\0film", "") && read(b"\xff\xfea\0", "") && read(b"a\0", "utf-16le"));
        let text = |bytes: &[u8], encoding: &str| match read_stream("stdin", bytes, encoding) {
            Item::Text { text, .. } => Ok(text),
            Item::Refused(problem) => Err(problem.reason),
            _ => panic!("a stream is a text or refused"),
        };
        assert!(text(&late_nul, "").is_err());
        assert_eq!(text("\u{feff}bom".as_bytes(), "").as_deref(), Ok("bom"));
        assert_eq!(text(b"\xff\xfea\0", "").as_deref(), Ok("a"));
        assert_eq!(text(b"caf\xe9", "latin1").as_deref(), Ok("café"));
        assert!(text(b"caf\xe9", "").unwrap_err().contains("--encoding windows-1252"));
        let border = format!("{}é and more", "x".repeat(SNIFF_BYTES - 1));
        assert_eq!(text(border.as_bytes(), ""), Ok(border));
    }

    #[test]
    fn what_is_no_text_may_be_larger_and_is_read_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, size: usize| {
            let path = dir.path().join(name);
            File::create(&path).unwrap().set_len(size as u64).unwrap();
            path
        };
        let size = MAX_DOCUMENT_BYTES + 1;
        for name in ["book.epub", "manual.pdf", "archive.mbox"] {
            let item = read_asked(&rules(false), "", file(name, size));
            assert!(matches!(item, Item::Large { size: found, .. } if found == size as u64), "{name}");
        }
        let small = read_asked(&rules(false), "", file("small.pdf", 9));
        assert!(matches!(small, Item::Document { content, .. } if content.len() == 9));
        let Item::Refused(problem) =
            read_asked(&rules(false), "", file("huge.pdf", Format::Pdf.max_bytes() + 1))
        else {
            panic!("too large is too large")
        };
        assert!(problem.reason.contains("64"), "{}", problem.reason);
        // A key in a mailbox is a key, however much follows.
        let mailbox = dir.path().join("keys.mbox");
        let key = "From a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n".to_owned() + &" ".repeat(size);
        std::fs::write(&mailbox, key).unwrap();
        assert!(matches!(read_asked(&rules(false), "", mailbox), Item::Refused(_)));
    }

    #[test]
    fn a_file_that_was_asked_for_is_refused_and_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film.bin");
        std::fs::write(&path, b"\0").unwrap();
        assert!(matches!(read_asked(&rules(false), "", path), Item::Refused(_)));
        assert!(matches!(read_asked(&rules(false), "", dir.path().join("gone")), Item::Refused(_)));
    }

    #[test]
    fn a_key_is_left_out_of_a_folder_and_refused_by_name_unless_it_is_insisted_on() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let key = root.join("laptop.md");
        std::fs::write(&key, "The key:\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n").unwrap();
        std::fs::write(root.join("server.key"), "abc").unwrap();
        std::fs::write(root.join("note.md"), "a note").unwrap();
        let (documents, skipped, _) = names(&rules(false), &root);
        assert_eq!(
            (documents, skipped),
            (vec!["note.md".to_owned()], vec!["laptop.md".into(), "server.key".into()])
        );
        let Item::Refused(Problem { reason, .. }) = read_asked(&rules(false), "", key.clone()) else {
            panic!()
        };
        assert!(reason.contains("--include-secrets"), "{reason}");
        assert_eq!(names(&rules(true), &root).0.len(), 3);
        assert!(matches!(read_asked(&rules(true), "", key), Item::Document { .. }));
    }

    #[test]
    fn a_data_folder_is_not_read_even_when_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("models")).unwrap();
        for name in ["identity.seed", "mesh.json", "models/readme.md"] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        for folder in [root.clone(), root.join("models")] {
            let (documents, _, refused) = names(&rules(true), &folder);
            assert_eq!((documents.len(), refused.len()), (0, 1), "{}", folder.display());
        }
        assert!(matches!(read_asked(&rules(false), "", root.join("mesh.json")), Item::Refused(_)));
    }
}
