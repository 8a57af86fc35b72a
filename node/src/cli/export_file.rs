//! Where an export goes: a file that is either complete or not there.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// An export on its way to the disk.
pub(crate) enum ExportFile {
    /// Gets its name when it is complete. Private grains are in it, so only its owner may read it; that is how
    /// temporary files are made, and the mode stays when the file gets its name.
    Named {
        /// The file while it has no name.
        writer: BufWriter<NamedTempFile>,
        /// The name that it will get.
        path: PathBuf,
    },
    /// A pipe or a device, written as it is: a file must never take the place of such a thing.
    Special(BufWriter<File>),
}

impl ExportFile {
    /// Begins a file that replaces the one at `path`, if there is one. A link stays, and what it leads to is replaced.
    ///
    /// # Errors
    /// When the folder is missing or cannot be written.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                return Ok(Self::Special(BufWriter::new(OpenOptions::new().write(true).open(path)?)));
            }
            _ => {}
        }
        let folder = folder_of(&path);
        if !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let writer = BufWriter::new(NamedTempFile::new_in(folder)?);
        Ok(Self::Named { writer, path })
    }

    /// Makes it last: all of it is on the disk, under its name.
    ///
    /// # Errors
    /// When the disk does not take it; then whatever had the name before is still there.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Special(mut writer) => writer.flush(),
            Self::Named { writer, path } => {
                let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)?;
                // The name is on the disk when the folder is.
                File::open(folder_of(&path))?.sync_all()
            }
        }
    }
}

impl Write for ExportFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Named { writer, .. } => writer.write(bytes),
            Self::Special(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Named { writer, .. } => writer.flush(),
            Self::Special(writer) => writer.flush(),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut file = ExportFile::create(path)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        fs::write(&path, "old").unwrap();
        let mut file = ExportFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        drop(ExportFile::create(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "what was given up leaves nothing");
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        write(&link, "new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    /// `export /dev/full`, run by root, once put a file in the place of the device.
    #[test]
    fn a_pipe_or_device_is_written_to_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut text = String::new();
                File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            })
        };
        write(&path, "through the pipe").unwrap();
        assert_eq!(reader.join().unwrap(), "through the pipe");
        assert!(path.symlink_metadata().unwrap().file_type().is_fifo());
    }

    #[test]
    fn a_missing_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("missing/x"), "x").unwrap_err();
        assert!(error.to_string().starts_with("there is no folder "), "{error}");
        assert_eq!(write(dir.path(), "x").unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
