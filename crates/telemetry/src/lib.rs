//! Telemetry: what a process counts and measures, and how it is read.
//!
//! - [`names`]: every metric, in one place; emission goes through its handles.
//! - [`series`]: the handles.
//! - `recorder`: the series behind the `metrics` facade, and their ten-second intervals.
//! - `aggregate`, `quantile`, `filter`, `summary`, `prometheus`: plain values and texts.
//! - `process`, `host`: what the system knows of this process, and of the machine.
//!
//! - `sink`: collectors that every value is pushed to.
//!
//! [`Metrics`] is the shell around them: it reads the clock, once a second, and hands
//! finished intervals to those who follow them.
//!
//! Behaviour: `reference/telemetry.md` sections 1 and 2.

mod aggregate;
mod filter;
mod host;
pub mod names;
mod process;
mod prometheus;
mod quantile;
mod recorder;
pub mod series;
mod settings;
mod sink;
mod summary;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use types::version::CONSUL_VERSION;

use filter::Filter;
use host::Host;
use process::ProcessFacts;
use recorder::{Naming, Recorder};
use sink::Sink;

pub use aggregate::Kind;
pub use prometheus::CONTENT_TYPE as PROMETHEUS_CONTENT_TYPE;
pub use settings::{FilterSettings, Settings};
pub use sink::{SinkError, SinkSettings};
pub use summary::{GaugeRow, Labels, SampleRow, Summary};

/// Most clients of `/v1/agent/metrics/stream` at a time.
const FOLLOWERS_MAX: usize = 64;

/// Intervals that wait for one slow client; it misses more.
const FOLLOWER_INTERVALS_MAX: usize = 4;

/// The metrics of one agent. Cloning gives another handle.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    recorder: Arc<Recorder>,
    prefix: String,
    retries_sinks: bool,
    host_metrics: Option<PathBuf>,
    followers: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Metrics {
    /// Makes the metrics of an agent those of the process: from now on, what is emitted
    /// is recorded here. In a process with several agents that is the last one.
    pub fn install(settings: &Settings) -> Self {
        let metrics = Self::new(settings, unix_seconds());
        make_current(&metrics.shared.recorder);
        metrics
    }

    fn new(settings: &Settings, now_s: u64) -> Self {
        let Settings { prefix, host, filter, sinks, host_metrics, prometheus_retention } = settings;
        let host = (!host.is_empty()).then(|| host.clone());
        let retry = sinks.retry;
        let sinks = Sink::all(sinks, host.as_deref());
        let naming = Naming { prefix: prefix.clone(), host };
        let retention_s =
            prometheus_retention.as_secs().max(u64::from(!prometheus_retention.is_zero()));
        let filter = Filter::new(prefix, filter);
        let shared = Shared {
            recorder: Arc::new(Recorder::new(naming, filter, sinks, retention_s, now_s)),
            retries_sinks: retry,
            host_metrics: host_metrics.clone(),
            prefix: prefix.clone(),
            followers: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes over a new filter, also for the series that exist.
    pub fn set_filter(&self, filter: &FilterSettings) {
        self.shared.recorder.set_filter(Filter::new(&self.shared.prefix, filter));
    }

    /// Whether all collectors can be sent to.
    ///
    /// # Errors
    /// The first that cannot, unless the settings say that it is tried again.
    pub async fn check_sinks(&self) -> Result<(), SinkError> {
        if !self.shared.retries_sinks {
            for sink in self.shared.recorder.sinks() {
                sink.check().await?;
            }
        }
        Ok(())
    }

    /// Sends to all collectors, until `stop`.
    async fn run_sinks(&self, stop: watch::Receiver<bool>) {
        let mut running = tokio::task::JoinSet::new();
        for sink in self.shared.recorder.sinks() {
            let (sink, stop) = (Arc::clone(sink), stop.clone());
            running.spawn(async move { sink.run(stop).await });
        }
        while running.join_next().await.is_some() {}
    }

    /// Ends intervals and measures the process, once a second, until `stop` says so or
    /// its sender is gone; then the streams of all followers end. Meanwhile, collectors
    /// get what they are to get.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        tokio::join!(
            self.run_sinks(stop.clone()),
            self.run_host(stop.clone()),
            self.run_intervals(stop),
        );
    }

    /// Looks at the machine, until `stop`.
    async fn run_host(&self, mut stop: watch::Receiver<bool>) {
        let Some(data_dir) = self.shared.host_metrics.clone() else { return };
        let mut host = Host::new(data_dir);
        let mut looks = tokio::time::interval(host::INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = looks.tick() => {}
            }
            let recorder = Arc::clone(&self.shared.recorder);
            let look = tokio::task::spawn_blocking(move || {
                metrics::with_local_recorder(&*recorder, || host.emit());
                host
            });
            match look.await {
                Ok(again) => host = again,
                Err(error) => {
                    tracing::error!(target: "agent", error = %error, "Cannot look at the machine");
                    return;
                }
            }
        }
    }

    async fn run_intervals(&self, mut stop: watch::Receiver<bool>) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut told_full = false;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = seconds.tick() => {}
            }
            let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
            self.measure(tasks);
            self.advance(unix_seconds());
            if self.shared.recorder.was_full() && !told_full {
                told_full = true;
                tracing::warn!(target: "agent", "Too many metrics, new ones are not recorded");
            }
        }
        self.lock_followers().clear();
    }

    /// Emits what is measured once a second.
    fn measure(&self, tasks: usize) {
        metrics::with_local_recorder(&*self.shared.recorder, || {
            ProcessFacts::read_memory().emit_runtime(tasks);
            names::VERSION.set([CONSUL_VERSION.into(), "".into()], 1.0);
        });
    }

    /// Ends the interval if it is over, and tells the followers.
    fn advance(&self, now_s: u64) {
        let Some(finished) = self.shared.recorder.advance(now_s) else { return };
        let mut followers = self.lock_followers();
        if followers.is_empty() {
            return;
        }
        let mut text = types::json::encode_pretty(&*finished);
        text.push(b'\n');
        let text = Bytes::from(text);
        followers.retain(|follower| {
            let missed = matches!(
                follower.try_send(text.clone()),
                Err(mpsc::error::TrySendError::Closed(_))
            );
            !missed
        });
    }

    /// The last finished interval; the running one while there is no other.
    pub fn summary(&self) -> Arc<Summary> {
        self.advance(unix_seconds());
        self.shared.recorder.summary()
    }

    /// The finished intervals of the last minute as lines: what `SIGUSR1` prints to
    /// standard error.
    pub fn lines(&self) -> String {
        self.advance(unix_seconds());
        self.shared.recorder.finished().iter().map(|interval| interval.lines()).collect()
    }

    /// The Prometheus text; none while its retention time is zero.
    pub fn prometheus(&self) -> Option<String> {
        let now_s = unix_seconds();
        self.advance(now_s);
        let mut shown = self.shared.recorder.exposition(now_s)?;
        shown.add_process(&ProcessFacts::read());
        Some(shown.to_string())
    }

    /// Each interval as it ends, as JSON; none if there are too many followers.
    pub fn follow(&self) -> Option<mpsc::Receiver<Bytes>> {
        let mut followers = self.lock_followers();
        followers.retain(|follower| !follower.is_closed());
        if followers.len() >= FOLLOWERS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(FOLLOWER_INTERVALS_MAX);
        followers.push(sender);
        Some(receiver)
    }

    fn lock_followers(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Bytes>>> {
        self.shared.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `rpc.server.call` is wanted, which has more labels than is good for every call.
pub fn measures_calls() -> bool {
    CURRENT.get().is_some_and(|current| current.load().measures_calls())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The recorder of the agent that was installed last.
static CURRENT: OnceLock<ArcSwap<Recorder>> = OnceLock::new();

fn make_current(recorder: &Arc<Recorder>) {
    let mut first = false;
    let current = CURRENT.get_or_init(|| {
        first = true;
        ArcSwap::new(Arc::clone(recorder))
    });
    if !first {
        current.store(Arc::clone(recorder));
    } else if metrics::set_global_recorder(Current).is_err() {
        tracing::warn!(target: "agent", "Metrics are recorded elsewhere in this process");
    }
}

/// The facade takes one recorder for the life of the process: this one, which hands on
/// to the recorder of the agent that was installed last.
struct Current;

impl Current {
    fn with<T>(&self, give: impl FnOnce(&Recorder) -> T, otherwise: T) -> T {
        CURRENT.get().map_or(otherwise, |current| give(&current.load()))
    }
}

impl metrics::Recorder for Current {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.with(|recorder| recorder.register_counter(key, metadata), Counter::noop())
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.with(|recorder| recorder.register_gauge(key, metadata), Gauge::noop())
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.with(|recorder| recorder.register_histogram(key, metadata), Histogram::noop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_in_the_process_takes_over() {
        let first = Metrics::install(&Settings::default());
        let second = Metrics::install(&Settings::default());
        let labels = ["GET".into(), "v1_test_taken_over_".into()];
        names::API_HTTP.record(labels, Duration::from_millis(2));
        let rows = |metrics: &Metrics| {
            let summary = types::json::encode(&*metrics.shared.recorder.summary());
            let summary = String::from_utf8(summary).expect("JSON is text");
            summary.matches(r#"{"method":"GET","path":"v1_test_taken_over_"}"#).count()
        };
        assert_eq!((rows(&first), rows(&second)), (0, 1));
    }

    #[test]
    fn followers_get_each_interval_and_slow_ones_miss_some() {
        let metrics = Metrics::new(&Settings::default(), 1_795_247_660);
        let mut slow = metrics.follow().expect("there is room");
        let gone = metrics.follow().expect("there is room");
        drop(gone);
        for interval in 1..=FOLLOWER_INTERVALS_MAX as u64 + 2 {
            metrics.measure(3);
            metrics.advance(1_795_247_660 + interval * 10);
        }
        assert_eq!(metrics.lock_followers().len(), 1);
        let first = slow.try_recv().expect("an interval ended");
        let first = std::str::from_utf8(&first).expect("JSON is text");
        assert!(first.starts_with("{\n    \"Timestamp\": \"2026-11-21 07:54:20 +0000 UTC\",\n"));
        assert!(first.ends_with("}\n"), "{first}");
        assert!(first.contains("\"consul.runtime.num_goroutines\""));
        assert_eq!(std::iter::from_fn(|| slow.try_recv().ok()).count(), FOLLOWER_INTERVALS_MAX - 1);
    }

    #[test]
    fn followers_are_bounded() {
        let metrics = Metrics::new(&Settings::default(), 0);
        let mut streams: Vec<_> = std::iter::from_fn(|| metrics.follow()).collect();
        assert_eq!(streams.len(), FOLLOWERS_MAX);
        streams.pop();
        assert!(metrics.follow().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_streams_end_when_the_agent_stops() {
        let metrics = Metrics::new(&Settings::default(), 0);
        let mut stream = metrics.follow().expect("there is room");
        let (stop, stopped) = watch::channel(false);
        let running = metrics.clone();
        let running = tokio::spawn(async move { running.run(stopped).await });
        assert!(stream.recv().await.is_some(), "the interval of 1970 is over");
        stop.send(true).expect("it listens");
        running.await.expect("it ends");
        assert!(stream.recv().await.is_none());
    }
}
