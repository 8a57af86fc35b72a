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
use std::sync::{Once, PoisonError};
use std::thread;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::{Access, access};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

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
/// What a program is made of that lies elsewhere: its folder, its libraries beside that, and Poppler's data.
const BESIDE: [&str; 4] = ["", "../lib", "../lib64", "../share/poppler"];
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
/// x86_64 takes each call by a second number too, which has this bit, and some by one that is only there (x32).
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;
/// `ptrace`, `process_vm_readv` and `process_vm_writev` there.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_X32: [i64; 3] = [521, 539, 540];
/// What a new process may not have of its own: with namespaces it would be root in them, and reach what the kernel guards less well.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Starts a program that runs another one, `program` of those in `path`, as confined as this system can.
///
/// # Errors
/// When it cannot be started.
pub(super) fn spawn(command: &mut Command, program: &str, path: &OsStr) -> io::Result<Child> {
    thread::scope(|scope| {
        let starting = thread::Builder::new().name("confined".into()).spawn_scoped(scope, || {
            if let Err(reason) = confine(program, path) {
                tell_once(&reason);
            }
            command.spawn()
        })?;
        starting.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts a program panicked")))
    })
}

/// Confines this thread and what it starts.
fn confine(program: &str, path: &OsStr) -> Result<(), String> {
    let files = confine_files(program, path).map_err(|error| error.to_string());
    let calls = confine_calls();
    match files {
        Ok(RulesetStatus::NotEnforced) => {
            Err("the kernel has no Landlock (Linux 5.13), or what started the node forbids it".to_owned())
        }
        Ok(_) => calls,
        Err(error) => Err(error),
    }
}

/// Asking for more than the kernel has is no error: it is left out.
fn confine_files(program: &str, path: &OsStr) -> Result<RulesetStatus, RulesetError> {
    let read = readable(program, path, &private(), std::env::home_dir().as_deref());
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

/// What may be read: the system's programs, and the one that is run where it is none of them. Never anything of a `private` folder,
/// and for the sake of a program never the home folder: other folders of the path are none of its business.
fn readable(program: &str, path: &OsStr, private: &[PathBuf], home: Option<&Path>) -> Vec<PathBuf> {
    let home = home.map(|home| home.canonicalize().unwrap_or_else(|_| home.to_owned()));
    let holds_home = |folder: &Path| home.as_deref().is_some_and(|home| home.starts_with(folder));
    let beside = folder_of(program, path)
        .into_iter()
        .flat_map(|folder| BESIDE.map(|beside| folder.join(beside)))
        .filter_map(|folder| folder.canonicalize().ok())
        .filter(|folder| is_of_programs(folder) && !holds_home(folder));
    let system = READ.iter().filter_map(|folder| Path::new(folder).canonicalize().ok());
    let is_private =
        |folder: &Path| private.iter().any(|own| own.starts_with(folder) || folder.starts_with(own));
    system.chain(beside).filter(|folder| !is_private(folder)).collect()
}

/// The folders that nobody may read who is run here, as they lie now.
fn private() -> Vec<PathBuf> {
    let folders = super::PRIVATE.lock().unwrap_or_else(PoisonError::into_inner);
    folders.iter().map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone())).collect()
}

/// The folder of the path that a program is found in, as a shell finds it.
fn folder_of(program: &str, path: &OsStr) -> Option<PathBuf> {
    let is_program = |file: &Path| access(file, Access::EXEC_OK).is_ok() && file.is_file();
    std::env::split_paths(path).find(|folder| folder.is_absolute() && is_program(&folder.join(program)))
}

/// Whether a folder is one that programs would lie in, and not one that has everything.
fn is_of_programs(folder: &Path) -> bool {
    folder.components().count() > 2
}

/// The numbers that a call is taken by.
fn numbers(call: i64) -> impl Iterator<Item = i64> {
    #[cfg(target_arch = "x86_64")]
    let numbers = [call, call | X32];
    #[cfg(not(target_arch = "x86_64"))]
    let numbers = [call];
    numbers.into_iter()
}

fn confine_calls() -> Result<(), String> {
    refuse(forbidden()?, libc::EPERM)?;
    // A filter does not see what clone3 is asked for. As if it were not there: whoever wants it then takes clone.
    refuse(numbers(libc::SYS_clone3).map(|call| (call, Vec::new())).collect(), libc::ENOSYS)
}

/// What is refused. A call without conditions is, whatever it asks for.
fn forbidden() -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    #[cfg(target_arch = "x86_64")]
    let calls = FORBIDDEN.into_iter().chain(FORBIDDEN_X32);
    #[cfg(not(target_arch = "x86_64"))]
    let calls = FORBIDDEN.into_iter();
    let mut rules: BTreeMap<_, _> = calls.flat_map(numbers).map(|call| (call, Vec::new())).collect();
    let asks_for = |flag: i32| {
        let flag = u64::from(flag.cast_unsigned());
        let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag);
        is_set.and_then(|is_set| SeccompRule::new(vec![is_set])).map_err(|error| unfiltered(&error))
    };
    for call in numbers(libc::SYS_clone) {
        rules.insert(call, NAMESPACES.into_iter().map(asks_for).collect::<Result<_, _>>()?);
    }
    Ok(rules)
}

/// Has the kernel answer these calls with an error.
fn refuse(rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<(), String> {
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| unfiltered(&error))?;
    let refused = SeccompAction::Errno(error.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|error| unfiltered(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| unfiltered(&error))
}

fn unfiltered(error: &dyn std::fmt::Display) -> String {
    format!("system calls cannot be filtered: {error}")
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
        let can = thread::scope(|scope| scope.spawn(|| confine("confined", &path)).join().unwrap());
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
    fn a_program_makes_itself_no_namespace() {
        let Some((is_well, said, complaint)) = confined("unshare -r true && echo made", "") else { return };
        assert!(!is_well && said.is_empty(), "{said}");
        assert!(complaint.contains("not permitted"), "{complaint}");
    }

    /// By which numbers a call is refused is looked at, and not tried: trying needs a call that is not safe.
    #[test]
    fn a_call_is_refused_by_each_of_its_numbers() {
        let rules = forbidden().unwrap();
        for call in FORBIDDEN.into_iter().flat_map(numbers) {
            assert!(rules[&call].is_empty(), "{call} is refused whatever it asks for");
        }
        for call in numbers(libc::SYS_clone) {
            assert_eq!(rules[&call].len(), NAMESPACES.len(), "{call} is refused for what it asks for");
        }
        #[cfg(target_arch = "x86_64")]
        for call in [libc::SYS_socket | X32, 521 | X32, 540 | X32] {
            assert!(rules.contains_key(&call), "{call:#x}");
        }
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

    /// The data folder lies in `~/.local/share`, and many have `~/.local/bin` in their path.
    #[test]
    fn no_folder_of_the_path_opens_the_data_folder_or_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let of_home = |folder: &str| home.join(folder);
        let data = of_home(".local/share/synapsenet");
        for folder in
            [".local/bin", ".local/lib", ".local/share/poppler", ".local/share/synapsenet/bin", "other/bin"]
        {
            std::fs::create_dir_all(of_home(folder)).unwrap();
        }
        let tool = |folder: &str| {
            let file = of_home(folder).join("tool");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        };
        let read = |folders: &[&str]| {
            let path = std::env::join_paths(folders.iter().map(|folder| of_home(folder))).unwrap();
            let mut read = readable("tool", &path, std::slice::from_ref(&data), Some(&home));
            read.retain(|folder| folder.starts_with(&home) || home.starts_with(folder));
            read
        };
        assert_eq!(read(&[".local/bin", "other/bin"]), Vec::<PathBuf>::new(), "there is no such program");
        tool(".local/bin");
        let opened = [".local/bin", ".local/lib", ".local/share/poppler"].map(of_home);
        assert_eq!(read(&["other/bin", ".local/bin"]), opened, "what it is made of, and no other folder");
        tool(".local/share/synapsenet/bin");
        assert_eq!(
            read(&[".local/share/synapsenet/bin"]),
            Vec::<PathBuf>::new(),
            "it lies in the data folder"
        );
        tool("");
        assert_eq!(read(&[""]), Vec::<PathBuf>::new(), "it lies in the home folder");
        tool(".local");
        assert_eq!(read(&[".local"]), Vec::<PathBuf>::new(), "the data folder lies beneath it");
        let system = readable("cat", OsStr::new("/usr/bin:/bin"), &[PathBuf::from("/usr/lib/data")], None);
        let opens = |folder: &str| system.iter().any(|read| Path::new(folder).starts_with(read));
        assert!(!opens("/usr/lib/data"), "not even for the system's own: {system:?}");
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
