//! What the system knows of this process, from `/proc`.
//!
//! Consul's `runtime.*` tell of Go's heap. Here, memory that holds data stands for what
//! is allocated, all resident memory for what the system gave, and the runtime's tasks
//! for goroutines. There is no garbage collection to tell of: its counts are zero, and
//! counts of single allocations do not exist.

use crate::aggregate::Kind;
use crate::names;

/// Numbers about this process; none where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessFacts {
    /// Seconds of processor time.
    pub(crate) cpu_s: Option<f64>,
    /// Open file descriptors.
    pub(crate) open_files: Option<f64>,
    /// Most file descriptors.
    pub(crate) open_files_max: Option<f64>,
    /// Bytes of address space.
    pub(crate) virtual_bytes: Option<f64>,
    /// Bytes of memory.
    pub(crate) resident_bytes: Option<f64>,
    /// Bytes of memory that no file stands behind.
    pub(crate) data_bytes: Option<f64>,
    /// When it started, seconds since the Unix epoch.
    pub(crate) start_s: Option<f64>,
}

impl ProcessFacts {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let files = std::fs::read_dir("/proc/self/fd").ok();
        // Looking opens a descriptor of its own.
        let open_files = files.map(|files| files.count().saturating_sub(1) as f64);
        let stat = read("/proc/self/stat");
        Self { open_files, ..Self::memory(&read("/proc/self/status")) }
            .with_limits(&read("/proc/self/limits"))
            .with_times(&stat, &read("/proc/stat"), ticks)
    }

    /// Only what changes every second.
    pub(crate) fn read_memory() -> Self {
        Self::memory(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn memory(status: &str) -> Self {
        let bytes = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kilobytes: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
            Some(kilobytes * 1024.0)
        };
        Self {
            virtual_bytes: bytes("VmSize"),
            resident_bytes: bytes("VmRSS"),
            data_bytes: bytes("RssAnon"),
            ..Self::default()
        }
    }

    fn with_limits(mut self, limits: &str) -> Self {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.and_then(|line| line.split_ascii_whitespace().next());
        self.open_files_max = soft.and_then(|soft| soft.parse().ok());
        self
    }

    /// Times are given in ticks since the machine started.
    fn with_times(mut self, stat: &str, system: &str, ticks: f64) -> Self {
        // The name of the program, in brackets, may hold anything. Fields are counted
        // from behind it; the first there is number 3 in proc(5).
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        self.cpu_s = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "));
        let booted = booted.and_then(|seconds| seconds.trim().parse::<f64>().ok());
        self.start_s = booted.zip(field(22)).map(|(booted, start)| booted + start / ticks);
        self
    }

    /// The names, kinds and helps of Prometheus' own clients.
    pub(crate) fn rows(&self) -> [(&'static str, Kind, &'static str, Option<f64>); 6] {
        let gauge = Kind::Gauge;
        [
            ("process_cpu_seconds_total", Kind::Counter, "Seconds of processor time.", self.cpu_s),
            ("process_open_fds", gauge, "Open file descriptors.", self.open_files),
            ("process_max_fds", gauge, "Most open file descriptors.", self.open_files_max),
            ("process_virtual_memory_bytes", gauge, "Address space in bytes.", self.virtual_bytes),
            ("process_resident_memory_bytes", gauge, "Memory in bytes.", self.resident_bytes),
            ("process_start_time_seconds", gauge, "Start in Unix seconds.", self.start_s),
        ]
    }

    /// Sets the gauges of `runtime.*`, with this number of tasks.
    pub(crate) fn emit_runtime(&self, tasks: usize) {
        names::RUNTIME_NUM_GOROUTINES.set([], tasks as f64);
        names::RUNTIME_TOTAL_GC_PAUSE_NS.set([], 0.0);
        names::RUNTIME_TOTAL_GC_RUNS.set([], 0.0);
        if let Some(bytes) = self.data_bytes {
            names::RUNTIME_ALLOC_BYTES.set([], bytes);
        }
        if let Some(bytes) = self.resident_bytes {
            names::RUNTIME_SYS_BYTES.set([], bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let status = "Name:\tconsul\nVmSize:\t    3060 kB\nVmRSS:\t 1640 kB\nRssAnon:\t 88 kB\n";
        let limits = "Limit   Soft Limit   Hard Limit   Units\n\
                      Max open files            1024                 20000                files\n";
        let stat = "7 (con) sul) S 1 2 3 0 -1 4 101 0 0 0 250 50 0 0 20 0 1 0 1000 3133440 410";
        let facts = ProcessFacts::memory(status).with_limits(limits).with_times(
            stat,
            "cpu 1 2\nbtime 1700000000\n",
            100.0,
        );
        let expected = ProcessFacts {
            cpu_s: Some(3.0),
            open_files: None,
            open_files_max: Some(1024.0),
            virtual_bytes: Some(3_133_440.0),
            resident_bytes: Some(1_679_360.0),
            data_bytes: Some(90_112.0),
            start_s: Some(1_700_000_010.0),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let facts = ProcessFacts::memory("VmRSS:").with_limits("").with_times("7 (x", "", 100.0);
        assert_eq!(facts, ProcessFacts::default());
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let facts = ProcessFacts::read();
        assert!(facts.resident_bytes.is_some_and(|bytes| bytes > 0.0));
        assert!(facts.open_files.is_some_and(|files| files > 0.0));
    }
}
