//! How do the files of a backup lie in one file?
//!
//! ```text
//!  age( zstd( tar( backup.json, the files of the plan in its order, SHA256SUMS )))      age only with a passphrase
//! ```
//!
//! Both ends work on streams: neither holds more than a few blocks in memory, however long the files are.

use std::io::{self, BufRead, Read, Write};

use age::secrecy::SecretString;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::seal::{Sealing, unseal};
use super::{BackupError, MAX_FILES, PLAN, Plan, SUMS};

/// The unit of a tar archive, in bytes.
const BLOCK: usize = 512;
/// How hard zstd tries: vectors hardly get smaller, and grains are packed already.
const LEVEL: i32 = 3;
/// The longest plan, in bytes; that of the most files is shorter.
const MAX_PLAN_BYTES: u64 = 1 << 20;
/// The longest list of hashes, in bytes.
const MAX_SUMS_BYTES: u64 = 1 << 20;
/// What one read takes, in bytes.
const BUFFER: usize = 64 << 10;

/// Writes a backup, file by file, in the order of its plan.
pub(crate) struct ArchiveWriter<W: Write> {
    to: zstd::Encoder<'static, Sealing<W>>,
    plan: Plan,
    sums: String,
    /// Which file is being written, and what is known of it.
    file: usize,
    written: u64,
    hash: Sha256,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins with the plan.
    ///
    /// # Errors
    /// When it cannot be written, or the plan [is none](Plan::check).
    pub fn begin(to: W, plan: Plan, passphrase: Option<SecretString>) -> Result<Self, BackupError> {
        plan.check()?;
        let mut to = zstd::Encoder::new(Sealing::begin(to, passphrase)?, LEVEL)?;
        to.include_checksum(true)?;
        let mut archive = Self { to, plan, sums: String::new(), file: 0, written: 0, hash: Sha256::new() };
        let text =
            serde_json::to_vec_pretty(&archive.plan).expect("a plan has string keys and no failing fields");
        archive.small(PLAN, &text)?;
        archive.sum(PLAN, &text);
        archive.head()?;
        Ok(archive)
    }

    /// Writes the next bytes of the file `file` of the plan. They come in order.
    ///
    /// # Errors
    /// When they cannot be written, or are not what the plan says comes next.
    pub fn content(&mut self, file: usize, bytes: &[u8]) -> Result<(), BackupError> {
        let not_planned = BackupError::NoBackup("what comes is not what was announced");
        let Some(planned) = self.plan.files.get(self.file).filter(|_| file == self.file) else {
            return Err(not_planned);
        };
        if bytes.len() as u64 > planned.size_bytes - self.written {
            return Err(not_planned);
        }
        self.to.write_all(bytes)?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        self.end_files()
    }

    /// Ends the archive, and gives back what it was written to.
    ///
    /// # Errors
    /// [`BackupError::CutOff`] when files are missing, and when the end cannot be written.
    pub fn finish(mut self) -> Result<W, BackupError> {
        if self.file < self.plan.files.len() {
            return Err(BackupError::CutOff);
        }
        let sums = std::mem::take(&mut self.sums);
        self.small(SUMS, sums.as_bytes())?;
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to.finish()?.finish()?)
    }

    /// What was written so far, as if the writer had been killed.
    #[cfg(test)]
    pub fn unfinished(mut self) -> W
    where
        W: Clone,
    {
        self.to.flush().unwrap();
        self.to.get_ref().inner().clone()
    }

    /// Ends the file that is complete, and those after it that are empty, and begins the next.
    fn end_files(&mut self) -> Result<(), BackupError> {
        let planned = &self.plan.files[self.file];
        if self.written < planned.size_bytes {
            return Ok(());
        }
        let hash = HEXLOWER.encode(&std::mem::take(&mut self.hash).finalize());
        self.sums += &format!("{hash}  {}\n", planned.name);
        self.to.write_all(padding(self.written))?;
        (self.file, self.written) = (self.file + 1, 0);
        self.head()
    }

    /// Writes the header of the file that comes next, if there is one.
    fn head(&mut self) -> Result<(), BackupError> {
        let Some(next) = self.plan.files.get(self.file) else { return Ok(()) };
        self.to.write_all(header(&next.name, next.size_bytes, self.plan.created_ms)?.as_bytes())?;
        self.end_files()
    }

    /// Writes a whole file that is not in the plan.
    fn small(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.to.write_all(header(name, size, self.plan.created_ms)?.as_bytes())?;
        self.to.write_all(content)?;
        self.to.write_all(padding(size))
    }

    fn sum(&mut self, name: &str, content: &[u8]) {
        self.sums += &format!("{}  {name}\n", HEXLOWER.encode(&Sha256::digest(content)));
    }
}

/// The header of a file that its owner alone may read.
fn header(name: &str, size: u64, created_ms: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(size);
    header.set_mtime(created_ms / 1000);
    header.set_cksum();
    Ok(header)
}

/// What fills the last block of a file.
fn padding(size: u64) -> &'static [u8] {
    let over = (size % BLOCK as u64) as usize;
    &[0; BLOCK][..if over == 0 { 0 } else { BLOCK - over }]
}

/// Reads a backup, file by file.
pub(crate) struct ArchiveReader<'a> {
    from: Box<dyn Read + 'a>,
    plan: Plan,
    sums: String,
    file: usize,
}

impl<'a> ArchiveReader<'a> {
    /// Reads the plan. `ask` is asked for the passphrase when there is one.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn begin<R: BufRead + 'a>(
        from: R,
        ask: &mut dyn FnMut() -> Result<SecretString, BackupError>,
    ) -> Result<Self, BackupError> {
        let packed = unseal(from, ask)?;
        let from = zstd::Decoder::new(packed).map_err(of_reading)?;
        let mut archive = Self { from: Box::new(from), plan: Plan::default(), sums: String::new(), file: 0 };
        let text = archive.small(PLAN, MAX_PLAN_BYTES)?;
        archive.plan = serde_json::from_slice(&text)
            .map_err(|_| BackupError::NoBackup("what it says of itself cannot be read"))?;
        archive.plan.check()?;
        archive.sums = format!("{}  {PLAN}\n", HEXLOWER.encode(&Sha256::digest(&text)));
        Ok(archive)
    }

    /// What is in it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Hands the next file to `write`, piece by piece. Answers its name; nothing when all of them were there and are what was put in.
    ///
    /// # Errors
    /// [`BackupError`], that of `write` too.
    pub fn next_file(
        &mut self,
        write: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
    ) -> Result<Option<String>, BackupError> {
        let Some(planned) = self.plan.files.get(self.file).cloned() else {
            return self.end().map(|()| None);
        };
        if self.header(&planned.name)? != planned.size_bytes {
            return Err(BackupError::Damaged(planned.name));
        }
        let (mut left, mut hash, mut buffer) = (planned.size_bytes, Sha256::new(), vec![0; BUFFER]);
        // An empty file is one, too.
        write(&planned.name, &[])?;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let part = &mut buffer[..most];
            self.from.read_exact(part).map_err(of_reading)?;
            hash.update(&*part);
            write(&planned.name, part)?;
            left -= part.len() as u64;
        }
        self.pad(planned.size_bytes)?;
        self.sums += &format!("{}  {}\n", HEXLOWER.encode(&hash.finalize()), planned.name);
        self.file += 1;
        Ok(Some(planned.name))
    }

    /// Compares what was read with the hashes at the end.
    fn end(&mut self) -> Result<(), BackupError> {
        let sums = self.small(SUMS, MAX_SUMS_BYTES)?;
        let sums = String::from_utf8(sums).map_err(|_| BackupError::Damaged(SUMS.to_owned()))?;
        for (said, found) in sums.lines().zip(self.sums.lines()) {
            if said != found {
                let name = found.split_once("  ").map_or(found, |(_, name)| name);
                return Err(BackupError::Damaged(name.to_owned()));
            }
        }
        if sums != self.sums {
            return Err(BackupError::Damaged(SUMS.to_owned()));
        }
        // To the very end, where the hash of the packed stream and the seal's are.
        let mut rest = Vec::new();
        (&mut self.from).take(3 * BLOCK as u64).read_to_end(&mut rest).map_err(of_reading)?;
        match rest.len() {
            len if len < 2 * BLOCK => Err(BackupError::CutOff),
            len if len == 2 * BLOCK && rest.iter().all(|byte| *byte == 0) => Ok(()),
            _ => Err(BackupError::NoBackup("something follows its end")),
        }
    }

    /// Reads a whole file that is not in the plan.
    fn small(&mut self, name: &str, most: u64) -> Result<Vec<u8>, BackupError> {
        let size = self.header(name)?;
        if size > most {
            return Err(BackupError::NoBackup("what it says of itself is too long"));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.from.read_exact(&mut content).map_err(of_reading)?;
        self.pad(size)?;
        Ok(content)
    }

    /// Reads the header of a file, which must have this name. Answers how long it is.
    fn header(&mut self, name: &str) -> Result<u64, BackupError> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(of_reading)?;
        let header = Header::from_byte_slice(&block);
        let is_it =
            header.path_bytes().as_ref() == name.as_bytes() && header.entry_type() == EntryType::Regular;
        // The sum of its bytes, with the place of the sum itself as blanks.
        let sum: u32 =
            block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        match header.entry_size() {
            Ok(size) if is_it && header.cksum().is_ok_and(|said| said == sum) => Ok(size),
            _ if name == PLAN => Err(BackupError::NoBackup("it does not begin as one")),
            _ => Err(BackupError::Damaged(name.to_owned())),
        }
    }

    fn pad(&mut self, size: u64) -> Result<(), BackupError> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block[..padding(size).len()]).map_err(of_reading)
    }
}

/// What a stream that is read says when it ends too early or was changed.
fn of_reading(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::CutOff,
        // What zstd says, and age.
        io::ErrorKind::Other | io::ErrorKind::InvalidData => BackupError::Spoiled,
        _ => BackupError::Io(error),
    }
}

const _: () = assert!(MAX_FILES as u64 * 256 < MAX_PLAN_BYTES + MAX_SUMS_BYTES);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::plan;
    use super::*;
    use crate::data_folder::{DATABASE, IDENTITY, MESH};

    fn nobody() -> Result<SecretString, BackupError> {
        Err(BackupError::Sealed)
    }

    /// An archive of these files, whose content comes in pieces of `step` bytes.
    fn packed(files: &[(&str, Vec<u8>)], step: usize, passphrase: Option<&str>) -> Vec<u8> {
        let named: Vec<(&str, u64)> =
            files.iter().map(|(name, content)| (*name, content.len() as u64)).collect();
        let passphrase = passphrase.map(|word| SecretString::from(word.to_owned()));
        let mut archive = ArchiveWriter::begin(Vec::new(), plan(&named), passphrase).unwrap();
        for (file, (_, content)) in files.iter().enumerate() {
            for part in content.chunks(step) {
                archive.content(file, part).unwrap();
            }
        }
        archive.finish().unwrap()
    }

    fn unpacked(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
        let mut reader = ArchiveReader::begin(archive, &mut nobody)?;
        let mut files = Vec::new();
        loop {
            let mut content = Vec::new();
            let next = reader.next_file(&mut |_, part| {
                content.extend_from_slice(part);
                Ok(())
            })?;
            let Some(name) = next else { return Ok(files) };
            files.push((name, content));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_is_packed_is_unpacked(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 3),
            step in 1usize..700,
        ) {
            let names = [DATABASE, MESH, "models/mine/model.toml"];
            let files: Vec<(&str, Vec<u8>)> = names.into_iter().zip(contents).collect();
            let got = unpacked(&packed(&files, step, None)).unwrap();
            let expected: Vec<(String, Vec<u8>)> =
                files.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn what_was_cut_or_changed_is_never_taken_for_whole(
            content in proptest::collection::vec(any::<u8>(), 0..3000),
            at in any::<prop::sample::Index>(),
            flip in 1u8..=255,
        ) {
            let archive = packed(&[(DATABASE, content.clone()), (MESH, Vec::new())], 512, None);
            let cut = at.index(archive.len());
            prop_assert!(unpacked(&archive[..cut]).is_err(), "cut at {} of {}", cut, archive.len());
            let mut changed = archive.clone();
            changed[cut] ^= flip;
            if let Ok(files) = unpacked(&changed) {
                // Bits that mean nothing, such as those of zstd's header that are not used.
                prop_assert_eq!(&files[0].1, &content);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), is_packed: bool) {
            let bytes = if is_packed { zstd::encode_all(&bytes[..], 1).unwrap() } else { bytes };
            prop_assert!(unpacked(&bytes).is_err());
        }
    }

    #[test]
    fn other_programs_read_it() {
        let files = [(DATABASE, vec![7; 1000]), (IDENTITY, b"secret".to_vec())];
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.tar"), zstd::decode_all(&packed(&files, 100, None)[..]).unwrap())
            .unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let done =
                std::process::Command::new(program).args(arguments).current_dir(dir.path()).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        run("tar", &["-xf", "b.tar"]);
        run("sha256sum", &["-c", SUMS]);
        for (name, content) in files {
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), content);
        }
    }

    #[test]
    fn what_was_not_announced_is_not_written() {
        let begin = || ArchiveWriter::begin(Vec::new(), plan(&[(DATABASE, 3), (MESH, 0)]), None).unwrap();
        assert!(begin().content(0, b"four").is_err() && begin().content(1, b"").is_err());
        let mut archive = begin();
        archive.content(0, b"th").unwrap();
        assert!(matches!(archive.finish(), Err(BackupError::CutOff)));
        let mut archive = begin();
        archive.content(0, b"thr").unwrap();
        assert!(archive.content(2, b"x").is_err());
    }

    #[test]
    fn a_sealed_one_asks_and_says_when_nobody_answers() {
        let archive = packed(&[(DATABASE, vec![1; 99])], 50, Some("open"));
        assert!(matches!(unpacked(&archive), Err(BackupError::Sealed)));
        let mut reader =
            ArchiveReader::begin(&archive[..], &mut || Ok(SecretString::from("open".to_owned()))).unwrap();
        assert_eq!(reader.next_file(&mut |_, _| Ok(())).unwrap().as_deref(), Some(DATABASE));
        assert_eq!(reader.next_file(&mut |_, _| Ok(())).unwrap(), None);
    }
}
