//! What a process cost so far, read from `/proc`: Linux only, like the rest of the bench.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// Linux counts the processor time that it shows in `/proc` in hundredths of a second, on every machine (`proc(5)`, `USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of the calling process, user and system.
pub fn own_cpu() -> anyhow::Result<Duration> {
    Ok(stat("self")?.own)
}

/// Processor time of a process, user and system, all threads; not that of its children.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    Ok(stat(&pid.to_string())?.own)
}

/// Processor time of a process and all its children, living and ended: for Postgres, whose postmaster starts a process for each
/// connection.
pub fn cpu_with_children(pid: u32) -> anyhow::Result<Duration> {
    let parent = stat(&pid.to_string())?;
    let mut total = parent.own + parent.ended_children;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(name) = name
            .to_str()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        // A process may end between being listed and being read; then its parent has its time.
        if let Ok(child) = stat(name)
            && child.parent == pid
        {
            total += child.own + child.ended_children;
        }
    }
    Ok(total)
}

/// The memory of a process that is in use as real memory.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now, in bytes.
    pub resident: u64,
    /// The most so far, in bytes.
    pub resident_max: u64,
}

/// Memory of a process.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path} could not be read"))?;
    let bytes = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_suffix("kB")?.trim().parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory {
        resident: bytes("VmRSS:")?,
        resident_max: bytes("VmHWM:")?,
    })
}

/// Lets this process, and those that it starts, have `wanted` files and sockets open. Errors if the system does not allow it.
pub fn allow_open_files(wanted: u64) -> anyhow::Result<()> {
    if open_files_max()? < wanted {
        // The standard library cannot raise a limit; util-linux's `prlimit` can. What counts is the limit afterwards.
        let _ = Command::new("prlimit")
            .arg(format!("--pid={}", std::process::id()))
            .arg(format!("--nofile={wanted}:"))
            .stderr(Stdio::null())
            .status();
    }
    let allowed = open_files_max()?;
    ensure!(
        allowed >= wanted,
        "{wanted} open files are needed, and {allowed} allowed: ulimit -n {wanted}"
    );
    Ok(())
}

fn open_files_max() -> anyhow::Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next())
        .map(|limit| limit.parse().unwrap_or(u64::MAX))
        .context("/proc/self/limits names no limit of open files")
}

/// The type of the file system that a folder is on, such as `ext4`.
pub fn file_system(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, mount, kind) = (fields.next()?, fields.next()?, fields.next()?);
            folder.starts_with(mount).then_some((mount.len(), kind))
        })
        // Of two mounts on the same folder the later one is seen, and `max_by_key` answers the last of equals.
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind.to_owned())
        .with_context(|| format!("{} is on no mounted file system", folder.display()))
}

struct Stat {
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

fn stat(process: &str) -> anyhow::Result<Stat> {
    let path = format!("/proc/{process}/stat");
    let line = fs::read_to_string(&path).with_context(|| format!("{path} could not be read"))?;
    parse_stat(&line).with_context(|| format!("{path} is not as documented"))
}

fn parse_stat(line: &str) -> Option<Stat> {
    // The second field is the program's name in brackets and may contain anything; from the last bracket on it is numbers.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let time = |user: u64, system: u64| Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND);
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: time(ticks(11)?, ticks(12)?),
        ended_children: time(ticks(13)?, ticks(14)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let line = "4242 (odd) name (x) S 17 4242 4242 0 -1 4194560 900 0 0 0 250 50 30 20 20 0 4 0 100 1 1 1\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat.parent, 17);
        assert_eq!(stat.own, Duration::from_secs(3));
        assert_eq!(stat.ended_children, Duration::from_millis(500));
    }

    #[test]
    fn a_cut_line_is_no_reading() {
        assert!(parse_stat("4242 (name) S 17").is_none());
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn this_process_can_be_read() {
        let own = std::process::id();
        assert!(cpu_with_children(own).unwrap() >= cpu(own).unwrap().saturating_sub(Duration::from_secs(1)));
        let memory = memory(own).unwrap();
        assert!(memory.resident > 0 && memory.resident_max > 0);
        allow_open_files(1).unwrap();
        assert!(!file_system(Path::new("/proc")).unwrap().is_empty());
    }
}
