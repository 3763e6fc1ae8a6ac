//! Who receives lines.

use std::io::Write as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::file::LogFile;
use super::format::{Level, LogEvent};
use super::syslog::Syslog;

/// Lines that wait for one follower; more are dropped and counted.
const FOLLOWER_LINES_MAX: usize = 512;

/// Lines that wait for the banner; more are dropped, oldest first.
const EARLY_LINES_MAX: usize = 4096;

/// The log of one process. Cloning gives another handle.
#[derive(Clone)]
pub struct Logging {
    shared: Arc<Shared>,
}

struct Shared {
    /// Level of standard output, the file and syslog.
    level: AtomicU8,
    /// The lowest level that anybody wants.
    lowest: AtomicU8,
    json: bool,
    outlets: Mutex<Outlets>,
}

struct Outlets {
    /// Lines from before the banner, until it is printed.
    early: Option<Vec<LogEvent>>,
    file: Option<LogFile>,
    syslog: Option<Syslog>,
    followers: Vec<Arc<Receiver>>,
}

struct Receiver {
    level: Level,
    json: bool,
    sender: mpsc::Sender<Bytes>,
    dropped: AtomicU64,
}

/// A stream of lines for one client of `/v1/agent/monitor`.
pub struct Follower {
    /// The lines, each with its end.
    pub lines: mpsc::Receiver<Bytes>,
    receiver: Arc<Receiver>,
}

impl Follower {
    /// How many lines were dropped because the client was slow.
    pub fn dropped(&self) -> u64 {
        self.receiver.dropped.load(Ordering::Relaxed)
    }
}

impl Logging {
    /// A log that keeps its lines until [`Self::begin`].
    pub fn new(level: Level, json: bool, file: Option<LogFile>, syslog: Option<Syslog>) -> Self {
        let outlets = Outlets { early: Some(Vec::new()), file, syslog, followers: Vec::new() };
        let level = AtomicU8::new(level as u8);
        let lowest = AtomicU8::new(level.load(Ordering::Relaxed));
        Self { shared: Arc::new(Shared { level, lowest, json, outlets: Mutex::new(outlets) }) }
    }

    /// The layer through which `tracing` events become lines.
    pub fn layer(&self) -> LogLayer {
        LogLayer { shared: Arc::clone(&self.shared) }
    }

    /// Writes what was kept; from now on lines are written as they come.
    pub fn begin(&self) {
        let mut outlets = self.shared.lock();
        for event in outlets.early.take().unwrap_or_default() {
            self.shared.write(&mut outlets, &event);
        }
    }

    /// Writes what is on its way; nothing goes to syslog from now on.
    pub fn finish(&self) {
        let syslog = self.shared.lock().syslog.take();
        if let Some(syslog) = syslog {
            syslog.finish();
        }
    }

    /// Changes the level of standard output, the file and syslog.
    pub fn set_level(&self, level: Level) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
        let outlets = self.shared.lock();
        self.shared.settle(&outlets);
    }

    /// Begins a stream of lines from this level on.
    pub fn follow(&self, level: Level, json: bool) -> Follower {
        let (sender, lines) = mpsc::channel(FOLLOWER_LINES_MAX);
        let receiver = Arc::new(Receiver { level, json, sender, dropped: AtomicU64::new(0) });
        let mut outlets = self.shared.lock();
        outlets.followers.push(Arc::clone(&receiver));
        self.shared.settle(&outlets);
        Follower { lines, receiver }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outlets> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, outlets: &Outlets) {
        let own = self.level.load(Ordering::Relaxed);
        let lowest = outlets.followers.iter().map(|f| f.level as u8).fold(own, u8::min);
        self.lowest.store(lowest, Ordering::Relaxed);
    }

    fn write(&self, outlets: &mut Outlets, event: &LogEvent) {
        if event.level >= Level::from_u8(self.level.load(Ordering::Relaxed)) {
            let mut line = if self.json { event.json() } else { event.plain() };
            if let Some(file) = &mut outlets.file {
                // There is nowhere to tell that the log cannot be written.
                let _ = file.write_line(&line);
            }
            if let Some(syslog) = &mut outlets.syslog {
                syslog.write(event, self.json);
            }
            line.push('\n');
            let _ = std::io::stdout().lock().write_all(line.as_bytes());
        }
        let before = outlets.followers.len();
        outlets.followers.retain(|follower| !follower.sender.is_closed());
        for follower in outlets.followers.iter().filter(|f| event.level >= f.level) {
            let mut line = if follower.json { event.json() } else { event.plain() };
            line.push('\n');
            if follower.sender.try_send(line.into()).is_err() {
                follower.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if outlets.followers.len() < before {
            self.settle(outlets);
        }
    }
}

/// Turns `tracing` events into lines.
pub struct LogLayer {
    shared: Arc<Shared>,
}

/// Libraries log under their own names; operators see only the agent's loggers.
fn is_ours(target: &str) -> bool {
    target == "agent" || target.starts_with("agent.") || target.starts_with("connect.")
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata.target()) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        Level::from(metadata.level()) as u8 >= self.shared.lowest.load(Ordering::Relaxed)
            && is_ours(metadata.target())
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(0));
        let event = LogEvent::new(event, now);
        let mut outlets = self.shared.lock();
        match &mut outlets.early {
            Some(early) if early.len() < EARLY_LINES_MAX => early.push(event),
            Some(early) => {
                early.remove(0);
                early.push(event);
            }
            None => self.shared.write(&mut outlets, &event),
        }
    }
}
