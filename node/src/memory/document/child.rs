//! How is another program run on what a stranger wrote? With nothing of this process's surroundings, at a low priority, within bounds of
//! time, memory and output that it cannot pass, confined by the kernel where that can (`confined`), and never waited for beyond its time.
//!
//! The limits of the system are set by a shell that then becomes the program: there is no safe call that sets them between fork and exec.

#[cfg(all(target_os = "linux", target_endian = "little"))]
mod confined;

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

#[cfg(all(target_os = "linux", target_endian = "little"))]
use confined::spawn;

/// Between two looks whether a program that says no more has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;
/// What is kept of what a program complains about.
const MAX_COMPLAINT_BYTES: usize = 4096;
/// What the shell says where there is no program of the name.
const NOT_THERE: i32 = 127;

/// Folders with secrets, such as the data folder of each node in this process.
static PRIVATE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Keeps a folder from all programs that are run from now on, wherever it lies.
pub(crate) fn keep_private(folder: &Path) {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut folders = PRIVATE.lock().unwrap_or_else(PoisonError::into_inner);
    if !folders.contains(&folder) {
        folders.push(folder);
    }
}

/// What a program may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Until when it has to be done.
    pub until: Instant,
    /// Seconds of computing: it ends by itself when the node was killed meanwhile.
    pub cpu_seconds: u64,
    /// Address space in KiB.
    pub memory_kib: u64,
    /// Bytes that it may say.
    pub output_bytes: usize,
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended.
    Ended {
        /// Whether it says that all is well.
        is_well: bool,
        /// What it said.
        output: Vec<u8>,
        /// What it complained about, the beginning.
        complaint: String,
    },
    /// There is no such program, or it cannot be started.
    NotThere,
    /// It took too long, and was ended.
    TooSlow,
    /// It said too much, and was ended.
    TooMuch,
}

/// Runs a program, looked for in `path`, with `input` on its standard input.
///
/// # Errors
/// When no process can be started at all.
pub(super) fn run(program: &[&str], path: &OsStr, input: &[u8], bounds: &Bounds) -> io::Result<Outcome> {
    let Bounds { cpu_seconds, memory_kib, .. } = bounds;
    // A limit that cannot be set is lower already. The shell knows of no program where the path leads to none.
    let script = format!(
        "ulimit -c 0; ulimit -t {cpu_seconds}; ulimit -v {memory_kib}; command -v \"$1\" >/dev/null || exit {NOT_THERE}; \
         exec nice -n 10 \"$@\""
    );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &script, "sh"])
        .args(program)
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(&mut command, program.first().copied().unwrap_or_default(), path)?;
    let talked = Pipes::of(&mut child, input).and_then(|mut pipes| {
        let ending = pipes.talk(&child, bounds)?;
        Ok((ending, pipes))
    });
    // Whatever else has the other ends of the pipes: ours are closed with them.
    let status = end(&mut child);
    let (ending, Pipes { output, complaint, .. }) = talked?;
    Ok(match ending {
        Ending::TooSlow => Outcome::TooSlow,
        Ending::TooMuch => Outcome::TooMuch,
        Ending::ByItself => match status.and_then(|status| status.code()) {
            Some(NOT_THERE) => Outcome::NotThere,
            code => {
                let complaint = String::from_utf8_lossy(&complaint).into_owned();
                Outcome::Ended { is_well: code == Some(0), output, complaint }
            }
        },
    })
}

/// Elsewhere, a program may what this process may.
#[cfg(not(all(target_os = "linux", target_endian = "little")))]
fn spawn(command: &mut Command, _program: &str, _path: &OsStr) -> io::Result<Child> {
    command.spawn()
}

/// How the talk with a program ended.
enum Ending {
    ByItself,
    TooSlow,
    TooMuch,
}

/// What is said to a program and by it. Nothing here waits for longer than is allowed: something that the program started may have
/// left its group, and keep the pipes.
struct Pipes<'a> {
    input: &'a [u8],
    /// None once all is said, or nobody listens.
    stdin: Option<ChildStdin>,
    /// None once no more comes.
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

impl<'a> Pipes<'a> {
    fn of(child: &mut Child, input: &'a [u8]) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        stdin.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
        stdout.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
        stderr.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
        let (output, complaint) = (Vec::new(), Vec::new());
        Ok(Self { input, stdin, stdout, stderr, output, complaint })
    }

    /// Talks until the program has ended and said all, or its bounds are reached.
    fn talk(&mut self, child: &Child, bounds: &Bounds) -> io::Result<Ending> {
        loop {
            if self.output.len() > bounds.output_bytes {
                return Ok(Ending::TooMuch);
            }
            let has_said_all = self.stdout.is_none();
            if has_said_all && has_ended(child) {
                return Ok(Ending::ByItself);
            }
            let left = bounds.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Ending::TooSlow);
            }
            // Nothing tells that a program has ended but itself.
            let patience = if has_said_all { left.min(LOOK_AGAIN) } else { left };
            self.wait(patience)?;
            self.say()?;
            self.hear(bounds.output_bytes)?;
        }
    }

    /// Waits until something can be said or heard.
    fn wait(&self, patience: Duration) -> io::Result<()> {
        let stdin = self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT));
        let stdout = self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN));
        let stderr = self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN));
        let mut pipes: Vec<PollFd<'_>> = [stdin, stdout, stderr].into_iter().flatten().collect();
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut pipes, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Says as much of the input as the program takes now.
    fn say(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        if !self.input.is_empty() {
            match stdin.write(self.input) {
                Ok(written) => self.input = &self.input[written..],
                Err(error) if is_for_later(&error) => return Ok(()),
                // One that reads no more is no fault.
                Err(_) => self.input = &[],
            }
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }

    /// Takes what the program has said by now.
    fn hear(&mut self, most: usize) -> io::Result<()> {
        let room = (most + 1).saturating_sub(self.output.len());
        if has_closed(self.stdout.as_mut(), &mut self.output, room)? {
            self.stdout = None;
        }
        let room = MAX_COMPLAINT_BYTES.saturating_sub(self.complaint.len());
        if has_closed(self.stderr.as_mut(), &mut self.complaint, room)? {
            self.stderr = None;
        }
        Ok(())
    }
}

/// Reads once, and keeps so many bytes of it at most. Whether nothing comes any more.
fn has_closed(pipe: Option<&mut impl Read>, kept: &mut Vec<u8>, room: usize) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut chunk = [0; CHUNK];
    match pipe.read(&mut chunk) {
        Ok(0) => Ok(true),
        Ok(read) => {
            kept.extend_from_slice(&chunk[..read.min(room)]);
            Ok(false)
        }
        Err(error) if is_for_later(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Whether a program has ended, without taking its status: its number must stay its own until its group was ended, too.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid(child)), options), Ok(None))
}

/// Ends a program and all that it started in its group, and takes its status. It has ended when this returns.
fn end(child: &mut Child) -> Option<std::process::ExitStatus> {
    // One that has ended is nobody's any more, and that is well. It may have left the group that began with it.
    let _ = kill_process_group(pid(child), Signal::KILL);
    let _ = child.kill();
    child.wait().ok()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with a program of this name and script, and a path that begins with it.
    pub(in crate::memory::document) fn fake(
        name: &str,
        script: &str,
    ) -> (tempfile::TempDir, std::ffi::OsString) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        (dir, path.into())
    }

    fn bounds(time: Duration) -> Bounds {
        Bounds { until: Instant::now() + time, cpu_seconds: 60, memory_kib: 1 << 20, output_bytes: 1000 }
    }

    const LONG: Duration = Duration::from_secs(120);

    /// A number that no other process has among its arguments.
    fn unique(number: u32) -> String {
        format!("{number}.{}", std::process::id())
    }

    /// The processes that sleep for so long. What was killed and not yet taken by init has no arguments any more.
    fn sleeping(time: &str) -> Vec<Pid> {
        let arguments = format!("sleep\0{time}\0");
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let sleeps = std::fs::read(path.join("cmdline")).ok()? == arguments.as_bytes();
            sleeps.then(|| Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)).flatten()
        });
        processes.collect()
    }

    #[test]
    fn what_a_program_says_of_its_input_comes_back() {
        let input = vec![b'x'; 700];
        let outcome = run(&["cat"], OsStr::new("/usr/bin:/bin"), &input, &bounds(LONG)).unwrap();
        let Outcome::Ended { is_well: true, output, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(output, input);
    }

    #[test]
    fn a_program_has_nothing_of_the_surroundings() {
        let outcome = run(&["env"], OsStr::new("/usr/bin:/bin"), b"", &bounds(LONG)).unwrap();
        let Outcome::Ended { output, .. } = outcome else { panic!("{outcome:?}") };
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("LC_ALL=C") && !text.contains("HOME") && !text.contains("CARGO"), "{text}");
    }

    #[test]
    fn one_that_is_not_there_is_told_apart_from_one_that_fails() {
        let path = OsStr::new("/usr/bin:/bin");
        assert_eq!(run(&["no-such-program"], path, b"", &bounds(LONG)).unwrap(), Outcome::NotThere);
        let (_dir, path) = fake("broken", "echo what is wrong >&2; exit 3");
        let outcome = run(&["broken"], &path, b"", &bounds(LONG)).unwrap();
        let Outcome::Ended { is_well: false, complaint, .. } = outcome else { panic!("{outcome:?}") };
        assert!(complaint.contains("what is wrong"), "{complaint}");
    }

    #[test]
    fn one_that_sleeps_is_ended_with_all_that_it_started() {
        let (_dir, path) = fake("sleepy", "sleep $1 & exec sleep $1");
        let time = unique(1000);
        let program = ["sleepy", &time];
        // More input than a pipe holds, which nobody reads.
        let outcome = run(&program, &path, &vec![0; 1 << 20], &bounds(Duration::from_secs(2))).unwrap();
        assert_eq!(outcome, Outcome::TooSlow);
        // What is killed takes a moment to be gone.
        let begin = Instant::now();
        while !sleeping(&time).is_empty() {
            assert!(begin.elapsed() < LONG, "it was left behind");
        }
    }

    /// Something that left the group of the program kept the pipes, and whoever waited for their end waited as long as that lived.
    #[test]
    fn one_that_leaves_something_behind_is_waited_for_until_its_time_is_over() {
        for (number, script) in
            [(2000, "setsid sleep $1 & exit 0"), (3000, "setsid sleep $1 >&- & sleep 1000")]
        {
            let (_dir, path) = fake("leaving", script);
            let time = unique(number);
            let begin = Instant::now();
            let outcome =
                run(&["leaving", &time], &path, &vec![0; 1 << 20], &bounds(Duration::from_secs(2))).unwrap();
            assert_eq!(outcome, Outcome::TooSlow, "{script}");
            assert!(begin.elapsed() < LONG, "{script}");
            for left in sleeping(&time) {
                rustix::process::kill_process(left, Signal::KILL).unwrap();
            }
        }
    }

    #[test]
    fn one_that_says_no_more_and_stays_is_ended() {
        let (_dir, path) = fake("silent", "exec >&-; sleep 1000");
        let outcome = run(&["silent"], &path, b"", &bounds(Duration::from_secs(2))).unwrap();
        assert_eq!(outcome, Outcome::TooSlow);
    }

    #[test]
    fn one_that_floods_is_ended_and_so_is_one_that_complains_without_end() {
        let outcome = run(&["yes"], OsStr::new("/usr/bin:/bin"), b"", &bounds(LONG)).unwrap();
        assert_eq!(outcome, Outcome::TooMuch);
        let (_dir, path) = fake("complaining", "yes >&2");
        let outcome = run(&["complaining"], &path, b"", &bounds(Duration::from_secs(2))).unwrap();
        assert_eq!(outcome, Outcome::TooSlow);
    }

    #[test]
    fn one_that_computes_or_takes_memory_without_end_is_ended_by_the_system() {
        let (_dir, path) = fake("busy", "while :; do :; done");
        let tight = Bounds { cpu_seconds: 1, ..bounds(LONG) };
        let outcome = run(&["busy"], &path, b"", &tight).unwrap();
        assert!(matches!(outcome, Outcome::Ended { is_well: false, .. }), "{outcome:?}");
        let tight = Bounds { memory_kib: 64 << 10, ..bounds(LONG) };
        // Without a line end, all of it is kept.
        let outcome = run(&["sort", "/dev/zero"], OsStr::new("/usr/bin:/bin"), b"", &tight).unwrap();
        assert!(matches!(outcome, Outcome::Ended { is_well: false, .. }), "{outcome:?}");
    }
}
