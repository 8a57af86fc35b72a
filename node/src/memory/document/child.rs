//! How is another program run on what a stranger wrote? With nothing of this process's surroundings, at a low priority, within bounds of
//! time, memory and output that it cannot pass, and never left behind.
//!
//! The limits of the system are set by a shell that then becomes the program: there is no safe call that sets them between fork and exec.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Between two looks whether a program that says no more has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// What is kept of what a program complains about.
const MAX_COMPLAINT_BYTES: usize = 4096;
/// What the shell says where there is no program of the name.
const NOT_THERE: i32 = 127;

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
    let mut child = Command::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .args(program)
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
        end(&mut child);
        return Err(io::Error::other("a process has no pipes"));
    };
    thread::scope(|scope| {
        // Each of these ends when the program does, as it has the other end of the pipe. One that reads no more is no fault.
        scope.spawn(move || drop(stdin.write_all(input)));
        let complaint = scope.spawn(move || {
            let mut kept = Vec::new();
            let _ = Read::by_ref(&mut stderr).take(MAX_COMPLAINT_BYTES as u64).read_to_end(&mut kept);
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&kept).into_owned()
        });
        let (told, said) = mpsc::sync_channel(1);
        let most = bounds.output_bytes as u64 + 1;
        scope.spawn(move || {
            let mut output = Vec::new();
            let _ = stdout.take(most).read_to_end(&mut output);
            // Nobody listens any more when it took too long.
            let _ = told.send(output);
        });
        let output = said.recv_timeout(bounds.until.saturating_duration_since(Instant::now()));
        let has_ended = output.is_ok() && has_ended_before(&child, bounds.until);
        let status = end(&mut child);
        let complaint = complaint.join().unwrap_or_default();
        Ok(match output {
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Outcome::TooSlow,
            Ok(output) if output.len() > bounds.output_bytes => Outcome::TooMuch,
            Ok(_) if !has_ended => Outcome::TooSlow,
            Ok(output) => match status.and_then(|status| status.code()) {
                Some(NOT_THERE) => Outcome::NotThere,
                code => Outcome::Ended { is_well: code == Some(0), output, complaint },
            },
        })
    })
}

/// Waits until a program has ended, without taking its status: its number must stay its own until its group was ended, too.
fn has_ended_before(child: &Child, until: Instant) -> bool {
    loop {
        match waitid(
            WaitId::Pid(pid(child)),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        ) {
            Ok(None) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

/// Ends a program and all that it started, and takes its status. It has ended when this returns.
fn end(child: &mut Child) -> Option<std::process::ExitStatus> {
    // One that has ended is nobody's any more, and that is well.
    let _ = kill_process_group(pid(child), Signal::KILL);
    child.wait().ok()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

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

    fn is_running(pid: &Path) -> bool {
        let pid = std::fs::read_to_string(pid).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // What was killed and not yet taken by init is dead all the same.
        !stat.is_empty() && !stat.contains(") Z ")
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
        let (dir, path) = fake("sleepy", "sleep 1000 & echo $! > \"$1\"; exec sleep 1000");
        let pid = dir.path().join("pid");
        let program = ["sleepy", pid.to_str().unwrap()];
        // More input than a pipe holds, which nobody reads.
        let outcome = run(&program, &path, &vec![0; 1 << 20], &bounds(Duration::from_secs(2))).unwrap();
        assert_eq!(outcome, Outcome::TooSlow);
        assert!(!is_running(&pid));
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
