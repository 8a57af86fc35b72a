//! What this machine lets the process have.

use std::path::{Path, PathBuf};

/// A limit above this is none: cgroup v1 says "no limit" with a number of pages that no machine has.
const MAX_LIMIT: u64 = 1 << 60;

/// Bytes of memory that this process may have: what the machine has, or less where a container or a service manager says
/// so. None where the system does not tell.
pub(crate) fn memory_limit() -> Option<u64> {
    memory_limit_below(Path::new("/"))
}

/// Bytes that belong to this process alone: what it holds, without files that the system can read again. None where the
/// system does not tell.
pub(crate) fn own_memory() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

fn memory_limit_below(root: &Path) -> Option<u64> {
    let proc = root.join("proc");
    let machine = std::fs::read_to_string(proc.join("meminfo")).ok();
    let machine = machine.and_then(|text| kibibytes(&text, "MemTotal:"));
    let groups = std::fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| limit_of_group(root, line));
    limits.chain(machine).min()
}

/// A number of kibibytes from a file of proc(5), in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The lowest limit of a control group and those around it (cgroups(7)): `line` is one of /proc/self/cgroup.
fn limit_of_group(root: &Path, line: &str) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // Inside a container the path may be one of the world outside: then the mount itself is the group.
    let mount: PathBuf = root.join(mount);
    let group = mount.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|group| group.starts_with(&mount));
    let read = |group: &Path| std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    groups.filter_map(read).filter(|limit| *limit < MAX_LIMIT).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 1 GiB whose process is in these groups.
    fn machine(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        let meminfo = ("proc/meminfo", "MemTotal:        1048576 kB\nMemFree:  5 kB\n");
        for (path, text) in [meminfo, ("proc/self/cgroup", groups)].iter().chain(files) {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        memory_limit_below(root.path())
    }

    #[test]
    fn the_lowest_limit_of_a_group_and_those_around_it_counts() {
        let groups = "0::/system.slice/synapsenet.service\n";
        let inner = "sys/fs/cgroup/system.slice/synapsenet.service/memory.max";
        let outer = "sys/fs/cgroup/system.slice/memory.max";
        assert_eq!(machine(groups, &[(inner, "max\n"), (outer, "max\n")]), Some(1 << 30));
        assert_eq!(machine(groups, &[(inner, "146800640\n"), (outer, "max\n")]), Some(140 << 20));
        assert_eq!(machine(groups, &[(inner, "536870912\n"), (outer, "268435456\n")]), Some(256 << 20));
        assert_eq!(machine("0::/\n", &[("sys/fs/cgroup/memory.max", "1048576\n")]), Some(1 << 20));
    }

    #[test]
    fn the_older_control_groups_are_read_too() {
        let groups = "5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n";
        let none = ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(groups, &[none]), Some(1 << 30));
        // In a container the group is mounted where its path does not say.
        let here = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "146800640\n");
        assert_eq!(machine(groups, &[here]), Some(140 << 20));
    }

    #[test]
    fn where_the_system_does_not_tell_there_is_no_limit() {
        assert_eq!(memory_limit_below(Path::new("/there/is/no/such/folder")), None);
        assert!(memory_limit().is_none_or(|limit| limit > 1 << 20));
        assert!(own_memory().is_none_or(|bytes| bytes > 0));
    }
}
