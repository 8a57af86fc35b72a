//! How does a backup become a data folder? Whole or not at all: it is unpacked, checked and opened aside, and then moved into its place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use synapsenet_proto::AuthorId;
use synapsenet_storage::{AuthorRule, Change, Problem, Store, StoreOptions};

use super::archive::ArchiveReader;
use super::{BackupError, Plan};
use crate::data_folder::{CONFIG, DATABASE, IDENTITY, SOURCES, private_dir, sync_folder_of};

/// What is not whole yet lies in a folder whose name begins so.
const PARTIAL: &str = ".restoring-";
/// Where a configuration is laid that a node does not take over by itself.
pub(crate) const CONFIG_ASIDE: &str = "config.toml.restored";
/// What may lie in a folder that counts as empty: a file system makes it.
const LOST_AND_FOUND: &str = "lost+found";

/// Makes the data folder `data_dir` from a backup. `tell` hears how many bytes of its files are there, and of how many.
///
/// Where the secret of the node is not in it, the author whose grains these are is followed: the node that starts on it is another one,
/// to which they are as good as its own.
///
/// # Errors
/// [`BackupError`]; then the folder is as it was.
pub(crate) fn restore(
    reader: ArchiveReader<'_>,
    data_dir: &Path,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Plan, BackupError> {
    refuse_used(data_dir)?;
    private_dir(data_dir)?;
    let aside = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(data_dir)?;
    let plan = unpack(reader, aside.path(), tell)?;
    let store = open(aside.path(), &plan)?;
    if !plan.has_identity()
        && let Ok(author) = plan.author.parse::<AuthorId>()
    {
        store.write(vec![Change::SetAuthorRule { author, rule: Some(AuthorRule::Followed) }])?;
    }
    drop(store);
    keep_still(aside.path())?;
    move_in(aside.path(), data_dir)?;
    Ok(plan)
}

/// Reads a whole backup, and checks every record of its database with its signature. `scratch` is a folder on a disk with room for
/// it; nothing of it is left. `tell` hears how many bytes of its files are there, `tell_checked` how many records are checked.
///
/// # Errors
/// [`BackupError`]. What is wrong with single records is no error.
pub(crate) fn verify(
    reader: ArchiveReader<'_>,
    scratch: &Path,
    tell: &mut dyn FnMut(u64, u64),
    tell_checked: &mut dyn FnMut(u64, u64),
) -> Result<(Plan, Vec<Problem>), BackupError> {
    let aside = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(scratch)?;
    let plan = unpack(reader, aside.path(), tell)?;
    let problems = open(aside.path(), &plan)?.view()?.verify(tell_checked)?;
    Ok((plan, problems))
}

/// Refuses a folder that something lies in. What a restore left that was killed is removed.
fn refuse_used(data_dir: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(entry.path())?;
        } else if name != LOST_AND_FOUND {
            return Err(BackupError::NotEmpty(data_dir.display().to_string()));
        }
    }
    Ok(())
}

/// Writes the files of a backup into `to`.
fn unpack(
    mut reader: ArchiveReader<'_>,
    to: &Path,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Plan, BackupError> {
    let total = reader.plan().size_bytes();
    let free = free_bytes(to)?;
    if total > free {
        return Err(BackupError::NoRoom { folder: to.display().to_string(), needed: total, free });
    }
    let (mut file, mut done): (Option<File>, u64) = (None, 0);
    loop {
        let next = reader.next_file(&mut |name, part| {
            if part.is_empty() {
                file = Some(make(&to.join(name))?);
            }
            done += part.len() as u64;
            tell(done, total);
            file.as_mut().map_or(Ok(()), |file| file.write_all(part))
        })?;
        if next.is_none() {
            return Ok(reader.plan().clone());
        }
        if let Some(file) = file.take() {
            file.sync_all()?;
        }
    }
}

/// Makes a file that its owner alone may read, and the folder that it lies in.
fn make(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        private_dir(folder)?;
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens the database of what was unpacked, and compares how much is in it with what was said.
fn open(folder: &Path, plan: &Plan) -> Result<Store, BackupError> {
    let store = Store::open(&folder.join(DATABASE), &StoreOptions::default())?;
    let counts = store.view()?.counts()?;
    if (counts.notes, counts.retractions) == (plan.grains, plan.retractions) {
        Ok(store)
    } else {
        Err(BackupError::Damaged(DATABASE.to_owned()))
    }
}

/// Sees to it that a node which starts on the folder does nothing by itself that the backup says: folders are left alone until their owner
/// says otherwise, as here may lie others than there, and no library is loaded that a configuration names.
fn keep_still(folder: &Path) -> Result<(), BackupError> {
    let read = |name: &str| match fs::read_to_string(folder.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    if let Some(sources) = read(SOURCES)? {
        let mut sources: serde_json::Value = serde_json::from_str(&sources)
            .map_err(|_| BackupError::NoBackup("its list of folders cannot be read"))?;
        pause(&mut sources);
        let text = serde_json::to_vec_pretty(&sources).expect("what was read can be written");
        crate::data_folder::write(&folder.join(SOURCES), &text)?;
    }
    if read(CONFIG)?.is_some_and(|text| names_library(&text)) {
        fs::rename(folder.join(CONFIG), folder.join(CONFIG_ASIDE))?;
    }
    Ok(())
}

/// Says of each folder in the list that it is paused.
fn pause(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(values) => values.iter_mut().for_each(pause),
        serde_json::Value::Object(fields) if fields.contains_key("folder") => {
            fields.insert("is_paused".to_owned(), true.into());
        }
        serde_json::Value::Object(fields) => fields.values_mut().for_each(pause),
        _ => {}
    }
}

/// Whether a configuration names a library that is to be loaded; one that cannot be read may.
fn names_library(config: &str) -> bool {
    let Ok(config) = config.parse::<toml::Table>() else { return true };
    let named = config.get("ai").and_then(|ai| ai.get("onnxruntime"));
    named.is_some_and(|library| library.as_str() != Some(""))
}

/// Moves what was unpacked into its place: the database last, and the secret before it, so that a node which is started on half of it
/// makes no new one that stays unseen.
fn move_in(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut names: Vec<_> =
        fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort_by_key(|name| (name == DATABASE, name == IDENTITY));
    for name in names {
        fs::rename(from.join(&name), to.join(&name))?;
    }
    let inside: PathBuf = to.join(DATABASE);
    Ok(sync_folder_of(&inside)?)
}

/// How much room the disk of a folder has for this user.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use age::secrecy::SecretString;
    use synapsenet_proto::{Draft, Grain, Identity};
    use synapsenet_storage::{LANE_OWN, Origin};

    use super::super::PlannedFile;
    use super::super::archive::ArchiveWriter;
    use super::*;
    use crate::data_folder::MESH;

    const AUTHOR: [u8; 32] = [7; 32];

    /// The bytes of a store with so many notes.
    fn database(notes: u64) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DATABASE);
        let store = Store::open(&path, &StoreOptions::default()).unwrap();
        for n in 0..notes {
            let draft = Draft { text: format!("note {n}"), ..Draft::default() };
            let grain = Grain::seal(draft, &Identity::from_seed(&AUTHOR), n + 1).unwrap();
            let (shared, claim) = (false, None);
            let put =
                Change::Put { grain, shared, received_ms: 1, claim, origin: Origin::Here, lane: LANE_OWN };
            store.write(vec![put]).unwrap();
        }
        drop(store);
        fs::read(path).unwrap()
    }

    /// A backup of these files that says that there are so many notes.
    fn backup(notes: u64, files: &[(&str, &[u8])]) -> Vec<u8> {
        let planned = |&(name, content): &(&str, &[u8])| PlannedFile {
            name: name.to_owned(),
            size_bytes: content.len() as u64,
        };
        let author = Identity::from_seed(&AUTHOR).author().to_string();
        let files_of = files.iter().map(planned).collect();
        let plan = Plan { author, grains: notes, files: files_of, ..Plan::default() };
        let mut archive = ArchiveWriter::begin(Vec::new(), plan, None).unwrap();
        for (number, (_, content)) in files.iter().enumerate() {
            if !content.is_empty() {
                archive.content(number, content).unwrap();
            }
        }
        archive.finish().unwrap()
    }

    fn restored(backup: &[u8], to: &Path) -> Result<Plan, BackupError> {
        let mut nobody = || -> Result<SecretString, BackupError> { Err(BackupError::Sealed) };
        restore(ArchiveReader::begin(backup, &mut nobody)?, to, &mut |_, _| ())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_becomes_a_folder_for_its_owner_alone_also_where_one_lies_empty() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("deep/node");
        fs::create_dir_all(to.join(LOST_AND_FOUND)).unwrap();
        fs::create_dir(to.join(".restoring-killed")).unwrap();
        let database = database(3);
        let files =
            [(DATABASE, &database[..]), (MESH, b"{}"), (IDENTITY, b"secret"), ("models/m/a.onnx", b"")];
        restored(&backup(3, &files), &to).unwrap();
        assert_eq!(names(&to), [DATABASE, IDENTITY, LOST_AND_FOUND, MESH, "models"]);
        assert_eq!(names(&to.join("models/m")), ["a.onnx"]);
        let mode = fs::metadata(to.join(IDENTITY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(restored(&backup(3, &files), &to), Err(BackupError::NotEmpty(_))));
    }

    #[test]
    fn nothing_begins_by_itself_on_what_was_restored() {
        let (dir, database) = (tempfile::tempdir().unwrap(), database(1));
        let sources = br#"{"format":1,"sources":[{"folder":"/home/anna","terms":{"topic":"a","share":true},"rhythm":"watch"}]}"#;
        let config = b"[ai]\nonnxruntime = \"/data/models/m/evil.so\"\n";
        let files = [(DATABASE, &database[..]), (SOURCES, &sources[..]), (CONFIG, &config[..])];
        restored(&backup(1, &files), dir.path()).unwrap();
        let read: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.path().join(SOURCES)).unwrap()).unwrap();
        assert_eq!(read["sources"][0]["is_paused"], true, "{read}");
        assert_eq!(names(dir.path()), [CONFIG_ASIDE, DATABASE, SOURCES]);
        assert!(!names_library("[ai]\nonnxruntime = \"\"\n[api]\nlisten = \"\"\n") && names_library("[ai"));
    }

    #[test]
    fn without_the_secret_the_author_is_followed_and_with_it_nobody_is() {
        let database = database(2);
        for secret in [&[][..], &[(IDENTITY, &b"secret"[..])]] {
            let dir = tempfile::tempdir().unwrap();
            let files = [&[(DATABASE, &database[..])], secret].concat();
            restored(&backup(2, &files), dir.path()).unwrap();
            let store = Store::open(&dir.path().join(DATABASE), &StoreOptions::default()).unwrap();
            let rules = store.view().unwrap().author_rules().unwrap();
            let followed = (Identity::from_seed(&AUTHOR).author(), AuthorRule::Followed);
            assert_eq!(rules, Vec::from_iter(secret.is_empty().then_some(followed)));
        }
    }

    #[test]
    fn what_is_wrong_leaves_the_folder_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let database = database(2);
        // Another number of notes than it says; no database at all; and one that ends too early.
        let wrong = backup(5, &[(DATABASE, &database)]);
        assert!(matches!(restored(&wrong, dir.path()), Err(BackupError::Damaged(_))));
        let none = backup(2, &[(DATABASE, b"nothing of the kind")]);
        assert!(matches!(restored(&none, dir.path()), Err(BackupError::Storage(_))));
        let whole = backup(2, &[(DATABASE, &database)]);
        assert!(restored(&whole[..whole.len() - 20], dir.path()).is_err());
        assert_eq!(names(dir.path()), [""; 0]);
        // More than any disk has.
        let plan = Plan {
            files: vec![PlannedFile { name: DATABASE.to_owned(), size_bytes: 1 << 60 }],
            ..Plan::default()
        };
        let huge = ArchiveWriter::begin(Vec::new(), plan, None).unwrap().unfinished();
        assert!(matches!(restored(&huge, dir.path()), Err(BackupError::NoRoom { .. })));
        restored(&whole, dir.path()).unwrap();
    }

    #[test]
    fn a_check_reads_all_of_it_and_leaves_nothing() {
        let (scratch, database) = (tempfile::tempdir().unwrap(), database(4));
        let whole = backup(4, &[(DATABASE, &database)]);
        let mut nobody = || -> Result<SecretString, BackupError> { Err(BackupError::Sealed) };
        let reader = ArchiveReader::begin(&whole[..], &mut nobody).unwrap();
        let (plan, problems) = verify(reader, scratch.path(), &mut |_, _| (), &mut |_, _| ()).unwrap();
        assert!(plan.grains == 4 && problems.is_empty());
        assert_eq!(names(scratch.path()), [""; 0]);
    }
}
