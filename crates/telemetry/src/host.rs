//! The machine under the process, from `/proc` (`telemetry.enable_host_metrics`,
//! `reference/telemetry.md` section 2).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names;

/// How often the machine is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Memory {
    total: f64,
    available: f64,
    free: f64,
    /// Neither free nor a cache that could go.
    used: f64,
}

impl Memory {
    fn parse(meminfo: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let mut rest = meminfo.lines().filter_map(|line| line.strip_prefix(name));
            let rest = rest.find_map(|rest| rest.strip_prefix(':'))?;
            rest.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|kb| kb * 1024.0)
        };
        let caches = ["Buffers", "Cached", "SReclaimable"].map(|name| bytes(name).unwrap_or(0.0));
        let (total, free) = (bytes("MemTotal")?, bytes("MemFree")?);
        let used = (total - free - caches.iter().sum::<f64>()).max(0.0);
        Some(Self { total, available: bytes("MemAvailable")?, free, used })
    }
}

/// What a processor has done since the machine started, in ticks.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cpu {
    name: String,
    user: f64,
    system: f64,
    idle: f64,
    io_wait: f64,
    total: f64,
}

impl Cpu {
    /// Each processor by itself.
    fn parse_all(stat: &str) -> Vec<Self> {
        let each = stat.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let name = words.next()?.to_owned();
            name.strip_prefix("cpu").filter(|number| !number.is_empty())?;
            let ticks: Vec<f64> = words.map_while(|word| word.parse().ok()).collect();
            // The time of guests, behind the first eight, is in that of users already.
            let &[user, nice, system, idle, io_wait, ..] = ticks.as_slice() else { return None };
            let total = ticks.iter().take(8).sum();
            Some(Self { name, user: user + nice, system, idle, io_wait, total })
        });
        each.collect()
    }

    /// The share of each kind of work since `before`, in per cent: user, system, idle,
    /// waiting, and all work.
    fn shares_since(&self, before: &Self) -> Option<[f64; 5]> {
        let whole = self.total - before.total;
        if self.name != before.name || whole <= 0.0 {
            return None;
        }
        let share = |now: f64, then: f64| ((now - then) / whole * 100.0).clamp(0.0, 100.0);
        let idle = share(self.idle, before.idle);
        let io_wait = share(self.io_wait, before.io_wait);
        Some([
            share(self.user, before.user),
            share(self.system, before.system),
            idle,
            io_wait,
            (100.0 - idle - io_wait).max(0.0),
        ])
    }
}

/// Looks at the machine again and again.
pub(crate) struct Host {
    /// Whose file system is measured.
    data_dir: PathBuf,
    before: Vec<Cpu>,
}

impl Host {
    /// Nothing seen yet.
    pub(crate) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, before: Vec::new() }
    }

    /// Looks, and emits what is seen. May wait for a slow file system.
    pub(crate) fn emit(&mut self) {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        if let Some(memory) = Memory::parse(&read("/proc/meminfo")) {
            names::HOST_MEMORY_TOTAL.set([], memory.total);
            names::HOST_MEMORY_AVAILABLE.set([], memory.available);
            names::HOST_MEMORY_FREE.set([], memory.free);
            names::HOST_MEMORY_USED.set([], memory.used);
            names::HOST_MEMORY_USED_PERCENT.set([], per_cent(memory.used, memory.total));
        }
        let cpus = Cpu::parse_all(&read("/proc/stat"));
        for (now, before) in cpus.iter().zip(&self.before) {
            let Some([user, system, idle, io_wait, total]) = now.shares_since(before) else {
                continue;
            };
            let label = || [now.name.clone().into()];
            names::HOST_CPU_USER.set(label(), user);
            names::HOST_CPU_SYSTEM.set(label(), system);
            names::HOST_CPU_IDLE.set(label(), idle);
            names::HOST_CPU_IOWAIT.set(label(), io_wait);
            names::HOST_CPU_TOTAL.set(label(), total);
        }
        self.before = cpus;
        emit_disk(&self.data_dir);
        let uptime = read("/proc/uptime");
        if let Some(seconds) = uptime.split('.').next().and_then(|text| text.parse::<f64>().ok()) {
            names::HOST_UPTIME.set([], seconds);
        }
    }
}

fn emit_disk(path: &Path) {
    let Ok(disk) = rustix::fs::statvfs(path) else { return };
    let bytes = |blocks: u64| blocks as f64 * disk.f_frsize as f64;
    let used = bytes(disk.f_blocks.saturating_sub(disk.f_bfree));
    let available = bytes(disk.f_bavail);
    let label = || [path.display().to_string().into()];
    names::HOST_DISK_SIZE.set(label(), bytes(disk.f_blocks));
    names::HOST_DISK_USED.set(label(), used);
    names::HOST_DISK_AVAILABLE.set(label(), available);
    names::HOST_DISK_USED_PERCENT.set(label(), per_cent(used, used + available));
    let inodes = disk.f_files.saturating_sub(disk.f_ffree) as f64;
    names::HOST_DISK_INODES_PERCENT.set(label(), per_cent(inodes, disk.f_files as f64));
}

fn per_cent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_table() {
        let table = "MemTotal:     1000 kB\nMemFree:       200 kB\nMemAvailable:  600 kB\n\
                     Buffers:        50 kB\nCached:        250 kB\nSReclaimable:  100 kB\n";
        let kb = |kb: f64| kb * 1024.0;
        let (total, available, free) = (kb(1000.0), kb(600.0), kb(200.0));
        let expected = Memory { total, available, free, used: kb(400.0) };
        assert_eq!(Memory::parse(table), Some(expected));
        assert_eq!(Memory::parse("MemTotal: x kB\n"), None);
        assert_eq!(Memory::parse(""), None);
    }

    #[test]
    fn processors_are_compared_with_what_they_were() {
        let before = "cpu  9 9 9 9\ncpu0 100 0 100 800 0 0 0 0 0 0\ncpu1 x\nintr 5\n";
        let after = "cpu0 120 10 110 850 5 5 0 0 99 99\n";
        let (before, after) = (Cpu::parse_all(before), Cpu::parse_all(after));
        assert_eq!(before.len(), 1);
        let shares = after[0].shares_since(&before[0]);
        assert_eq!(shares, Some([30.0, 10.0, 50.0, 5.0, 45.0]));
        assert_eq!(after[0].shares_since(&after[0]), None, "no time has passed");
    }

    #[test]
    fn the_file_system_of_a_path_has_a_size() {
        let recorder = crate::recorder::Recorder::for_tests(0, 0);
        metrics::with_local_recorder(&recorder, || {
            let mut host = Host::new("/".into());
            host.emit();
        });
        let summary = recorder.summary();
        let value = |name: &str| {
            summary.gauges.iter().find(|row| row.name.ends_with(name)).map(|row| row.value)
        };
        assert!(value("host.disk.size").is_some_and(|bytes| bytes > 0.0));
        assert!(value("host.memory.total").is_some_and(|bytes| bytes > 0.0));
        assert!(value("host.uptime").is_some_and(|seconds| seconds > 0.0));
    }
}
