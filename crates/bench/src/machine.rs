//! What the machine is, and what `/proc` says about a process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::Arguments;

/// Raises the soft limit of open files to the hard one, here and for the servers started from here. Returns the limit.
///
/// # Errors
/// The kernel refuses, which it never does for a soft limit.
pub(crate) fn raise_descriptor_limit() -> anyhow::Result<usize> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(descriptor_limit())
}

/// How many files this process, and each server started from here, may open.
pub(crate) fn descriptor_limit() -> usize {
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(1 << 20, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The facts that stand above the table: machine, programs, limits.
pub(crate) fn facts(arguments: &Arguments, descriptors: usize) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut facts = vec![
        format!("{cores} cores ({model}), memory {memory}, Linux {}", kernel.trim()),
        format!(
            "open files per process: {descriptors}; load average at the start: {}",
            load_average()
        ),
    ];
    let programs = [
        ("ours", &arguments.ours, "version"),
        ("Consul", &arguments.consul, "version"),
        ("etcd", &arguments.etcd, "--version"),
        ("serf", &arguments.serf, "version"),
    ];
    for (name, path, option) in programs {
        let version = path.as_deref().and_then(|path| version(path, option));
        facts.push(format!("{name}: {}", version.unwrap_or_else(|| "absent".to_owned())));
    }
    facts
}

/// Of the last minute: above 0.5 or so, others work on this machine and the figures are not worth much.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The line in which a program says what it is and of which version: of several, ours is the one with our name.
pub(crate) fn version(program: &Path, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let own = text.lines().find(|line| line.starts_with("Proconsul"));
    own.or_else(|| text.lines().next()).map(str::to_owned)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Resident memory of a process in bytes, the pages of its program file included.
///
/// # Errors
/// The process is gone.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let text = field(&format!("/proc/{pid}/status"), "VmRSS").context("the process is gone")?;
    let kib: u64 = text.trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Resident memory of a process in bytes, with its share of pages that others have too: each of ten processes has a
/// tenth of the program file.
///
/// # Errors
/// The process is gone.
pub(crate) fn proportional(pid: u32) -> anyhow::Result<u64> {
    let text = field(&format!("/proc/{pid}/smaps_rollup"), "Pss").context("the process is gone")?;
    let kib: u64 = text.trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// The most resident memory of a process, in bytes, since [`reset_peak`].
///
/// # Errors
/// The process is gone.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    let text = field(&format!("/proc/{pid}/status"), "VmHWM").context("the process is gone")?;
    let kib: u64 = text.trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Lets the peak of a process begin anew at what it has.
///
/// # Errors
/// The process is gone or not ours.
pub(crate) fn reset_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak cannot be reset")
}

/// Processor time of a process so far, user and system, in steps of 10 ms.
///
/// # Errors
/// The process is gone.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    parse_stat(&text).context("/proc/PID/stat has another form")
}

fn parse_stat(text: &str) -> Option<Duration> {
    // The program's name may hold blanks and brackets: what counts stands behind the last bracket.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    // Linux reports 100 ticks a second to programs, whatever the kernel's own clock.
    Some(Duration::from_millis((user + system) * 10))
}

/// Waits without doing anything.
#[expect(
    clippy::disallowed_methods,
    reason = "the generator is one plain thread, there is no runtime to hold up"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse_stat(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_processor_time() {
        assert!(resident(std::process::id()).unwrap() > 0);
        assert!(processor_time(std::process::id()).is_ok());
    }
}
