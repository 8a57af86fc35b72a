//! How is a program kept from what is none of its business? By the kernel, without any right that a user has not: Landlock lets it read
//! what programs are made of and nothing else, write nothing, and signal nobody (landlock(7)); a filter of system calls lets it open
//! no socket, so that it reaches neither a network nor this node's own (seccomp(2)).
//!
//! Both hold for the thread that asks for them and for all that it starts, so a thread of its own starts the program and ends.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Once;
use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, path_beneath_rules,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What this was written for: Linux 6.12. An older kernel keeps as much of it as it can.
const KERNEL: ABI = ABI::V6;
/// What programs are made of: themselves, their libraries, and the data and settings of Poppler.
const READ: [&str; 14] = [
    "/bin",
    "/sbin",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/dev/null",
];
/// What lies beside a folder of programs that is elsewhere.
const BESIDE: [&str; 4] = ["", "../lib", "../lib64", "../share"];
/// Sockets, and the ways around a filter or into another process.
const FORBIDDEN: [i64; 14] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_io_uring_setup,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_userfaultfd,
];

/// Starts a program that finds others in `path`, as confined as this system can.
///
/// # Errors
/// When it cannot be started.
pub(super) fn spawn(command: &mut Command, path: &OsStr) -> io::Result<Child> {
    thread::scope(|scope| {
        let starting = thread::Builder::new().name("confined".into()).spawn_scoped(scope, || {
            if let Err(reason) = confine(path) {
                tell_once(&reason);
            }
            command.spawn()
        })?;
        starting.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts a program panicked")))
    })
}

/// Confines this thread and what it starts.
fn confine(path: &OsStr) -> Result<(), String> {
    let files = confine_files(path).map_err(|error| error.to_string());
    let calls = confine_calls();
    match files {
        Ok(RulesetStatus::NotEnforced) => Err("the kernel has no Landlock (Linux 5.13)".to_owned()),
        Ok(_) => calls,
        Err(error) => Err(error),
    }
}

/// Asking for more than the kernel has is no error: it is left out.
fn confine_files(path: &OsStr) -> Result<RulesetStatus, RulesetError> {
    let beside = std::env::split_paths(path).flat_map(|folder| BESIDE.map(|beside| folder.join(beside)));
    let read = READ.iter().map(PathBuf::from).chain(beside.filter(|folder| is_of_programs(folder)));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(KERNEL))?
        .handle_access(AccessNet::from_all(KERNEL))?
        .scope(Scope::from_all(KERNEL))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(KERNEL)))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile | AccessFs::Truncate))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Whether a folder of the path is one that programs would lie in: no more than what is named may be read for its sake.
fn is_of_programs(folder: &Path) -> bool {
    folder.is_absolute() && folder.components().count() > 2
}

fn confine_calls() -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| format!("system calls cannot be filtered: {error}");
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| told(&error))?;
    // A call without conditions is refused whatever it asks for.
    let rules: BTreeMap<_, _> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|error| told(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| told(&error))
}

fn tell_once(reason: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            reason,
            "a program that reads documents runs unconfined: it may read what this user may, and use the network"
        );
    });
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::tests::fake;
    use super::super::{Bounds, Outcome, run};
    use super::*;

    /// Runs this script, and says whether it ended well, what it said, and what it complained about. None where the kernel cannot
    /// confine a program.
    fn confined(script: &str, argument: &str) -> Option<(bool, String, String)> {
        let (_dir, path) = fake("confined", script);
        let can = thread::scope(|scope| scope.spawn(|| confine(&path)).join().unwrap());
        if let Err(reason) = can {
            eprintln!("not tried: {reason}");
            return None;
        }
        let until = Instant::now() + Duration::from_secs(120);
        let bounds = Bounds { until, cpu_seconds: 60, memory_kib: 1 << 20, output_bytes: 1000 };
        match run(&["confined", argument], &path, b"", &bounds).unwrap() {
            Outcome::Ended { is_well, output, complaint } => {
                Some((is_well, String::from_utf8(output).unwrap(), complaint))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_reads_and_writes_no_file_of_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("identity.seed");
        std::fs::write(&secret, "the secret").unwrap();
        let script = "cat \"$1\"; ls \"${1%/*}\"; echo mine > \"$1\"; echo more > \"$1.more\"; echo done";
        let Some((_, said, complaint)) = confined(script, secret.to_str().unwrap()) else { return };
        assert_eq!(said, "done\n", "{complaint}");
        assert_eq!(complaint.matches("ermission denied").count(), 4, "{complaint}");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "the secret");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_program_reaches_no_network() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let script = "bash -c \"exec 3<>/dev/tcp/127.0.0.1/$1\" && echo reached";
        let Some((is_well, said, complaint)) = confined(script, &port) else { return };
        assert!(!is_well && said.is_empty(), "{said}");
        assert!(complaint.contains("not permitted"), "no socket is opened at all: {complaint}");
    }

    #[test]
    fn a_program_signals_nobody_outside() {
        let id = std::process::id().to_string();
        let Some((is_well, _, complaint)) = confined("kill -0 $1", &id) else { return };
        // Linux before 6.12 cannot keep it from that.
        if !is_well {
            assert!(complaint.contains("ermitted"), "{complaint}");
        }
    }

    #[test]
    fn this_process_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        if confined("true", "").is_some() {
            std::fs::write(dir.path().join("file"), "written").unwrap();
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        }
    }
}
