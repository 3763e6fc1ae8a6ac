//! Lines for syslog (`enable_syslog`, `reference/telemetry.md` section 3).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::format::{Level, LogEvent};

/// Where the system's log daemon listens.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Names another socket, for containers that have it elsewhere.
const SOCKET_VARIABLE: &str = "PROCONSUL_SYSLOG_SOCKET";

/// How often the daemon is looked for at the start, and how long between.
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_secs(5);

/// How long the daemon may take for one line.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines that wait for the daemon; more are dropped and counted.
const QUEUE_LINES_MAX: usize = 1024;

/// Longest line, in bytes; more than daemons keep, less than a datagram may have.
const LINE_BYTES_MAX: usize = 32 << 10;

/// The facilities, by their numbers.
const FACILITIES: [(&str, u8); 20] = [
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

/// Lines on their way to the system's log daemon, on a thread of their own: who logs does
/// not wait for the daemon.
pub struct Syslog {
    facility: u8,
    queue: SyncSender<Vec<u8>>,
    /// Lines that the queue had no room for since it had some.
    dropped: u64,
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Syslog {
    /// Waits for the daemon, as the agent may be started before it.
    ///
    /// # Errors
    /// The text with which the agent refuses to start.
    #[allow(clippy::disallowed_methods, reason = "the runtime starts after the log")]
    pub fn open(facility: &str) -> Result<Self, String> {
        let paths = match std::env::var_os(SOCKET_VARIABLE) {
            Some(path) => vec![path.into()],
            None => SOCKETS.map(PathBuf::from).to_vec(),
        };
        let facility = number(facility)?;
        let mut daemon = Daemon { paths, socket: None };
        let mut attempt = 1;
        while let Err(error) = daemon.connect() {
            if attempt == ATTEMPTS {
                let waited = types::GoDuration::from(PAUSE * ATTEMPTS);
                return Err(format!(
                    "Syslog setup did not succeed within timeout ({waited}). {error}"
                ));
            }
            std::thread::sleep(PAUSE);
            attempt += 1;
        }
        Self::start(facility, daemon).map_err(|error| format!("Failed to setup logging: {error}"))
    }

    fn start(facility: u8, mut daemon: Daemon) -> io::Result<Self> {
        let (queue, packets) = sync_channel::<Vec<u8>>(QUEUE_LINES_MAX);
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&is_ending);
        let thread = std::thread::Builder::new().name("syslog".to_owned()).spawn(move || {
            for packet in packets {
                let sent = daemon.send(&packet);
                if sent.is_err() && ending.load(Ordering::Relaxed) {
                    return;
                }
            }
        })?;
        Ok(Self { facility, queue, dropped: 0, is_ending, thread })
    }

    /// Writes one event, unless the daemon has fallen far behind.
    pub(super) fn write(&mut self, event: &LogEvent, json: bool) {
        if self.dropped > 0 {
            let mut gap = event.clone();
            gap.level = Level::Warn;
            gap.logger = "agent".to_owned();
            gap.message = "Lines were dropped, as syslog is slow".to_owned();
            gap.fields = vec![("dropped_count", self.dropped.to_string())];
            if !self.push(&gap, json) {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if !self.push(event, json) {
            self.dropped += 1;
        }
    }

    fn push(&self, event: &LogEvent, json: bool) -> bool {
        self.queue.try_send(packet(self.facility, event, json, std::process::id())).is_ok()
    }

    /// Writes what is queued, as long as the daemon takes it.
    pub(super) fn finish(self) {
        self.is_ending.store(true, Ordering::Relaxed);
        drop(self.queue);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}

/// The connection to the daemon.
struct Daemon {
    paths: Vec<PathBuf>,
    socket: Option<UnixDatagram>,
}

impl Daemon {
    /// Sends a packet. A daemon that was started again has a new socket.
    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket
            && socket.send(packet).is_ok()
        {
            return Ok(());
        }
        self.connect()?.send(packet).map(drop)
    }

    fn connect(&mut self) -> io::Result<&UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        for path in &self.paths {
            outcome = socket.connect(path);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map(|()| &*self.socket.insert(socket))
    }
}

fn number(facility: &str) -> Result<u8, String> {
    let upper = facility.to_ascii_uppercase();
    let found = FACILITIES.iter().find(|(name, _)| *name == upper);
    found.map(|(_, number)| *number).ok_or_else(|| format!("invalid syslog facility: {facility}"))
}

/// A packet in the form of RFC 3164 without a host, which local daemons read. With JSON
/// the line tells its own level, and the packet has the one that Consul gives them all.
fn packet(facility: u8, event: &LogEvent, json: bool, pid: u32) -> Vec<u8> {
    let severity = match event.level {
        _ if json => 5,
        Level::Trace | Level::Debug => 7,
        Level::Info => 5,
        Level::Warn => 4,
        Level::Error => 3,
    };
    let mut text = if json { event.json() } else { event.unstamped() };
    if text.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    let (priority, time) = (facility * 8 + severity, event.syslog_time());
    format!("<{priority}>{time} consul[{pid}]: {text}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(level: Level, message: &str) -> LogEvent {
        LogEvent {
            level,
            logger: "agent.server".into(),
            message: message.into(),
            fields: vec![("node", "n 1".to_owned())],
            unix_nanos: 1_795_247_660_123_456_789,
        }
    }

    #[test]
    fn a_packet_has_priority_time_tag_and_the_line_from_the_logger_on() {
        for (facility, level, json, head) in [
            ("LOCAL0", Level::Info, false, "<133>"),
            ("local7", Level::Trace, false, "<191>"),
            ("DAEMON", Level::Warn, false, "<28>"),
            ("USER", Level::Error, false, "<11>"),
            ("LOCAL0", Level::Error, true, "<133>"),
        ] {
            let facility = number(facility).unwrap();
            let packet = packet(facility, &event(level, "joined"), json, 42);
            let packet = String::from_utf8(packet).unwrap();
            assert!(packet.starts_with(head), "{packet}");
            let tail = packet.split_once(" consul[42]: ").unwrap().1;
            match json {
                true => assert!(tail.starts_with("{\"@level\":\"error\""), "{tail}"),
                false => assert_eq!(tail, "agent.server: joined: node=\"n 1\"\n"),
            }
        }
    }

    #[test]
    fn a_long_line_is_cut_and_an_unknown_facility_is_named() {
        let long = "ä".repeat(LINE_BYTES_MAX);
        let packet = packet(16, &event(Level::Info, &long), false, 1);
        assert!(packet.len() < LINE_BYTES_MAX + 100 && packet.ends_with(b"\n"));
        assert!(std::str::from_utf8(&packet).is_ok());
        assert_eq!(number("LOCAL8"), Err("invalid syslog facility: LOCAL8".to_owned()));
    }

    #[test]
    fn a_daemon_that_was_started_again_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut bytes = [0; 256];
        let mut connection = Daemon { paths: vec![path.clone()], socket: None };
        assert!(connection.connect().is_err());
        for _ in 0..2 {
            let daemon = UnixDatagram::bind(&path).unwrap();
            connection.send(b"<133>line").unwrap();
            assert_eq!(daemon.recv(&mut bytes).unwrap(), 9);
            drop(daemon);
            std::fs::remove_file(&path).unwrap();
        }
        assert!(connection.send(b"<133>line").is_err());
    }

    #[test]
    fn a_slow_daemon_gets_what_fits_and_is_told_what_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut connection = Daemon { paths: vec![path], socket: None };
        connection.connect().unwrap();
        let mut syslog = Syslog::start(16, connection).unwrap();
        for _ in 0..2 * QUEUE_LINES_MAX {
            syslog.write(&event(Level::Info, "joined"), false);
        }
        let dropped = syslog.dropped;
        assert!(dropped > 0, "nobody reads");
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 256];
            let mut lines = 0;
            loop {
                let length = daemon.recv(&mut bytes).unwrap();
                let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
                lines += 1;
                if line.contains("Lines were dropped") {
                    return (lines, line);
                }
            }
        });
        while syslog.dropped > 0 {
            syslog.write(&event(Level::Info, "joined"), false);
        }
        let (lines, line) = reader.join().unwrap();
        assert!(line.contains("agent: Lines were dropped, as syslog is slow: dropped_count="));
        assert!(lines > QUEUE_LINES_MAX, "{lines}");
        syslog.finish();
    }
}
