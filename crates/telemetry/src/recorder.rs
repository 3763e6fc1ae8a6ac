//! The recorder behind the `metrics` facade: all series of one agent.
//!
//! An emission finds its series by a read lock and a hash, and changes it under a lock
//! of its own; no clock is read. Time arrives once a second through
//! [`Recorder::advance`].
//!
//! Every value passes through [`Series`], which has a [`Feed`] for each collector that
//! wants each value as it comes (statsd, statsite, dogstatsd).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};

use crate::aggregate::{Kind, Reading, State};
use crate::filter::Filter;
use crate::names::{METRICS, RPC_SERVER_CALL};
use crate::prometheus::Exposition;
use crate::series::MetricName;
use crate::sink::{Feed, Sink};
use crate::summary::{GaugeRow, Labels, SampleRow, Summary, interval_start};

/// Most series at a time. Labels can hold what clients send, so there is a bound; what
/// comes beyond it is not measured.
const SERIES_MAX: usize = 8192;

/// Most bytes of a label's value; more are cut.
const LABEL_BYTES_MAX: usize = 256;

/// Intervals that are kept: one minute.
const INTERVALS_MAX: usize = 6;

/// Seconds after which a series of which nothing came is forgotten, unless Prometheus
/// was promised to find it for longer.
const IDLE_S_MAX: u64 = 60;

const SHARDS: usize = 16;

/// What all names begin with, and what is added to those of gauges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming {
    /// `telemetry.metrics_prefix`.
    pub(crate) prefix: String,
    /// The host's name; none with `telemetry.disable_hostname`.
    pub(crate) host: Option<String>,
}

impl Naming {
    /// The full name. Only gauges carry the host: they cannot be added up.
    pub(crate) fn full(&self, kind: Kind, name: &str) -> String {
        let parts = [
            Some(self.prefix.as_str()),
            self.host.as_deref().filter(|_| kind == Kind::Gauge),
            Some(name),
        ];
        let parts: Vec<&str> =
            parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        parts.join(".").replace(' ', "_")
    }
}

/// One metric with one set of labels.
pub(crate) struct Series {
    kind: Kind,
    /// The full name.
    name: Arc<str>,
    labels: Labels,
    /// `name;label=value;…`, by which answers are sorted.
    sort: String,
    /// What the list of metrics says, if the series is one that is always shown.
    declared: Option<&'static MetricName>,
    kept: AtomicBool,
    state: Mutex<State>,
    /// The ways to the sinks; none in most agents.
    feeds: Box<[Feed]>,
}

impl Series {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, value: f64) {
        if self.kept.load(Ordering::Relaxed) {
            self.lock().add(value);
            self.feeds.iter().for_each(|feed| feed.push(value));
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if self.kept.load(Ordering::Relaxed) {
            let mut state = self.lock();
            change(&mut state);
            let value = state.total().sum;
            drop(state);
            self.feeds.iter().for_each(|feed| feed.push(value));
        }
    }
}

impl metrics::CounterFn for Series {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, value: u64) {
        let more = value as f64 - self.lock().total().sum;
        if more > 0.0 {
            self.add(more);
        }
    }
}

impl metrics::GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.change(|state| state.step(value));
    }

    fn decrement(&self, value: f64) {
        self.change(|state| state.step(-value));
    }

    fn set(&self, value: f64) {
        self.change(|state| state.set(value));
    }
}

impl metrics::HistogramFn for Series {
    fn record(&self, value: f64) {
        self.add(value);
    }

    fn record_many(&self, value: f64, count: usize) {
        (0..count).for_each(|_| self.add(value));
    }
}

/// Series of each kind.
type Shard = [HashMap<Key, Arc<Series>>; 3];

/// The intervals of the last minute.
#[derive(Default)]
struct Intervals {
    /// When the running one began, seconds since the Unix epoch.
    start_s: u64,
    finished: VecDeque<Arc<Summary>>,
}

/// All series of one agent.
pub(crate) struct Recorder {
    naming: Naming,
    sinks: Vec<Arc<Sink>>,
    /// Seconds for which Prometheus finds a value; zero while it is off.
    retention_s: u64,
    filter: RwLock<Filter>,
    measures_calls: AtomicBool,
    shards: [RwLock<Shard>; SHARDS],
    count: AtomicUsize,
    full: AtomicBool,
    intervals: Mutex<Intervals>,
}

impl Recorder {
    /// No series, at this moment (seconds since the Unix epoch).
    pub(crate) fn new(
        naming: Naming,
        filter: Filter,
        sinks: Vec<Sink>,
        retention_s: u64,
        now_s: u64,
    ) -> Self {
        let intervals = Intervals { start_s: interval_start(now_s), finished: VecDeque::new() };
        let calls = naming.full(Kind::Sample, RPC_SERVER_CALL.metric().name);
        Self {
            measures_calls: AtomicBool::new(filter.keeps(&calls)),
            naming,
            sinks: sinks.into_iter().map(Arc::new).collect(),
            retention_s,
            filter: RwLock::new(filter),
            shards: Default::default(),
            count: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            intervals: Mutex::new(intervals),
        }
    }

    /// A recorder that keeps everything, of the host `h1`.
    #[cfg(test)]
    pub(crate) fn for_tests(retention_s: u64, now_s: u64) -> Self {
        let naming = Naming { prefix: "consul".into(), host: Some("h1".into()) };
        let filter = Filter::new("consul", &crate::Settings::default().filter);
        Self::new(naming, filter, Vec::new(), retention_s, now_s)
    }

    /// Where every value is pushed to.
    pub(crate) fn sinks(&self) -> &[Arc<Sink>] {
        &self.sinks
    }

    /// Whether `rpc.server.call` is kept.
    pub(crate) fn measures_calls(&self) -> bool {
        self.measures_calls.load(Ordering::Relaxed)
    }

    fn keeps_calls(&self, filter: &Filter) -> bool {
        let metric = RPC_SERVER_CALL.metric();
        filter.keeps(&self.naming.full(metric.kind, metric.name))
    }

    /// Replaces the filter, also for the series that exist.
    pub(crate) fn set_filter(&self, filter: Filter) {
        for series in self.all() {
            series.kept.store(filter.keeps(&series.name), Ordering::Relaxed);
        }
        self.measures_calls.store(self.keeps_calls(&filter), Ordering::Relaxed);
        *self.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
    }

    /// Notes that it is `now_s`, seconds since the Unix epoch. Gives the interval that
    /// ended by that, if one did.
    pub(crate) fn advance(&self, now_s: u64) -> Option<Arc<Summary>> {
        let mut intervals = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        let series = self.all();
        series.iter().for_each(|series| series.lock().tick(now_s));
        let start_s = interval_start(now_s);
        if start_s == intervals.start_s {
            return None;
        }
        let finished = Arc::new(summarize(intervals.start_s, series, State::finish_interval));
        intervals.start_s = start_s;
        intervals.finished.push_back(Arc::clone(&finished));
        if intervals.finished.len() > INTERVALS_MAX {
            intervals.finished.pop_front();
        }
        drop(intervals);
        self.forget_idle(now_s);
        Some(finished)
    }

    /// The last finished interval; the running one while there is no other.
    pub(crate) fn summary(&self) -> Arc<Summary> {
        let intervals = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        match intervals.finished.back() {
            Some(finished) => Arc::clone(finished),
            None => Arc::new(summarize(intervals.start_s, self.all(), |state| state.reading())),
        }
    }

    /// The finished intervals of the last minute, oldest first.
    pub(crate) fn finished(&self) -> Vec<Arc<Summary>> {
        let intervals = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        intervals.finished.iter().cloned().collect()
    }

    /// What Prometheus reads at this moment, without the process' own values; none while
    /// it is off.
    pub(crate) fn exposition(&self, now_s: u64) -> Option<Exposition> {
        if self.retention_s == 0 {
            return None;
        }
        let mut shown = Exposition::default();
        for series in self.all() {
            let state = series.lock();
            let expired = series.declared.is_none() && state.is_idle(now_s, self.retention_s);
            if !expired && series.kept.load(Ordering::Relaxed) {
                let help = series.declared.map(|metric| metric.help);
                shown.add(&series.name, series.kind, help, &series.labels, &state);
            }
        }
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        for metric in METRICS.iter().filter(|metric| !metric.is_family()) {
            let name = self.naming.full(metric.kind, metric.name);
            if filter.keeps(&name) {
                shown.declare(&name, metric.kind, metric.help);
            }
        }
        Some(shown)
    }

    /// Whether series were refused since the last time this was asked.
    pub(crate) fn was_full(&self) -> bool {
        self.full.swap(false, Ordering::Relaxed)
    }

    fn all(&self) -> Vec<Arc<Series>> {
        let mut all = Vec::with_capacity(self.count.load(Ordering::Relaxed));
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().for_each(|kind| all.extend(kind.values().cloned()));
        }
        all
    }

    fn forget_idle(&self, now_s: u64) {
        let seconds = self.retention_s.max(IDLE_S_MAX);
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            for series in shard.iter_mut() {
                let before = series.len();
                series.retain(|_, series| {
                    // A handle that somebody keeps must go on reaching what is shown.
                    let held = Arc::strong_count(series) > 1;
                    let state = series.lock();
                    let needed = series.declared.is_some() || state.must_stay();
                    held || needed || !state.is_idle(now_s, seconds)
                });
                self.count.fetch_sub(before - series.len(), Ordering::Relaxed);
            }
        }
    }

    fn series(&self, kind: Kind, key: &Key) -> Option<Arc<Series>> {
        let shard = &self.shards[key.get_hash() as usize % SHARDS];
        let known = shard.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known[kind as usize].get(key) {
            return Some(Arc::clone(series));
        }
        drop(known);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = shard[kind as usize].get(key) {
            return Some(Arc::clone(series));
        }
        if self.count.load(Ordering::Relaxed) >= SERIES_MAX {
            self.full.store(true, Ordering::Relaxed);
            return None;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let series = Arc::new(self.new_series(kind, key));
        shard[kind as usize].insert(key.to_retained(), Arc::clone(&series));
        Some(series)
    }

    fn new_series(&self, kind: Kind, key: &Key) -> Series {
        let name = self.naming.full(kind, key.name());
        let mut sort = name.clone();
        let mut labels = std::collections::BTreeMap::new();
        for label in key.labels() {
            let value = cut(label.value());
            sort.push_str(&format!(";{}={value}", label.key()).replace(' ', "_"));
            labels.insert(label.key().to_owned(), value.to_owned());
        }
        let declared = METRICS.iter().copied().find(|metric| metric.name == key.name());
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        let sinks = self.sinks.iter();
        let feeds = sinks.map(|sink| Feed::new(sink, &self.naming, kind, key.name(), &labels));
        Series {
            feeds: feeds.collect(),
            kind,
            kept: AtomicBool::new(filter.keeps(&name)),
            name: name.into(),
            declared: declared.filter(|_| labels.is_empty()),
            labels: Arc::new(labels),
            sort,
            state: Mutex::new(State::new(kind, self.retention_s > 0)),
        }
    }
}

/// The beginning of a label's value, if it is too long.
fn cut(value: &str) -> &str {
    let mut end = value.len().min(LABEL_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

/// The rows of an interval, sorted.
fn summarize(
    start_s: u64,
    mut series: Vec<Arc<Series>>,
    read: impl Fn(&mut State) -> Option<Reading>,
) -> Summary {
    series.sort_by(|a, b| a.sort.cmp(&b.sort));
    let mut summary = Summary::new(start_s);
    for series in series {
        let mut state = series.lock();
        let Some(reading) = read(&mut state) else { continue };
        let updated_s = state.updated_s();
        drop(state);
        let (name, labels) = (Arc::clone(&series.name), Arc::clone(&series.labels));
        match reading {
            Reading::Value(value) => summary.gauges.push(GaugeRow { name, value, labels }),
            Reading::Values(values) => {
                let row = SampleRow::new(name, labels, &values, updated_s);
                let rows = match series.kind {
                    Kind::Counter => &mut summary.counters,
                    _ => &mut summary.samples,
                };
                rows.push(row);
            }
        }
    }
    summary
}

/// Descriptions come from the list of metrics; those of others are not used.
impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.series(Kind::Counter, key).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.series(Kind::Gauge, key).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.series(Kind::Sample, key).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metrics::with_local_recorder;

    use super::*;
    use crate::{FilterSettings, Settings, names};

    /// The start of an interval.
    const START: u64 = 1_795_247_660;

    fn recorder(retention_s: u64) -> Recorder {
        Recorder::for_tests(retention_s, START)
    }

    fn emit(recorder: &Recorder, emit: impl FnOnce()) {
        with_local_recorder(recorder, emit);
    }

    fn names_of(summary: &Summary) -> Vec<String> {
        let gauges = summary.gauges.iter().map(|row| row.name.to_string());
        let rows = summary.counters.iter().chain(&summary.samples).map(|row| row.name.to_string());
        gauges.chain(rows).collect()
    }

    #[test]
    fn an_interval_reads_as_the_reference_shows_it() {
        let recorder = recorder(0);
        emit(&recorder, || {
            names::RPC_REQUEST.increment([], 1);
            names::RPC_REQUEST.increment([], 1);
            names::RPC_REQUEST.increment([], 1);
            names::RUNTIME_ALLOC_BYTES.set([], 1_048_576.0);
            names::STATE_NODES.set(["dc1".into()], 2.0);
            let labels = || ["GET".into(), "v1_kv_".into()];
            names::API_HTTP.record(labels(), Duration::from_micros(1500));
            names::API_HTTP.record(labels(), Duration::from_micros(2500));
            names::SERF_EVENTS_NAMED.increment_at("consul:new-leader", ["lan".into()], 1);
        });
        let finished = recorder.advance(START + 10).expect("the interval is over");
        let shown =
            String::from_utf8(types::json::encode_pretty(&*finished)).expect("JSON is text");
        assert_eq!(shown.trim_end(), include_str!("testdata/interval.json").trim_end());
    }

    #[test]
    fn intervals_are_printed_as_lines() {
        let recorder = recorder(0);
        emit(&recorder, || {
            names::RPC_REQUEST.increment([], 3);
            names::STATE_NODES.set(["dc 1".into()], 2.0);
            names::API_HTTP.record(["GET".into(), "v1_kv_".into()], Duration::from_micros(1500));
            names::API_HTTP.record(["GET".into(), "v1_kv_".into()], Duration::from_micros(2500));
        });
        recorder.advance(START + 7);
        recorder.advance(START + 10);
        emit(&recorder, || names::RPC_REQUEST.increment([], 1));
        let lines: String = recorder.finished().iter().map(|interval| interval.lines()).collect();
        let time = "[2026-11-21 07:54:20 +0000 UTC]";
        let updated = "LastUpdated: 2026-11-21 07:54:27 +0000 UTC";
        let expected = [
            format!("{time}[G] 'consul.h1.state.nodes.dc_1': 2.000\n"),
            format!("{time}[C] 'consul.rpc.request': Count: 1 Sum: 3.000 {updated}\n"),
            format!(
                "{time}[S] 'consul.api.http.GET.v1_kv_': Count: 2 Min: 1.500 Mean: 2.000 \
                 Max: 2.500 Stddev: 0.707 Sum: 4.000 {updated}\n"
            ),
        ];
        assert_eq!(lines, expected.concat());
    }

    #[test]
    fn the_last_finished_interval_is_shown_and_the_running_one_only_at_first() {
        let recorder = recorder(0);
        emit(&recorder, || names::RPC_REQUEST.increment([], 1));
        assert_eq!(recorder.summary().counters[0].count, 1, "there is no finished one");
        assert_eq!(recorder.summary().counters[0].count, 1, "looking changes nothing");
        assert!(recorder.advance(START + 9).is_none());
        assert!(recorder.advance(START + 10).is_some());
        emit(&recorder, || names::RPC_REQUEST.increment([], 5));
        assert_eq!(recorder.summary().counters[0].sum, 1.0, "of the finished one");
        let second = recorder.advance(START + 34).expect("the interval is over");
        assert_eq!(second.counters[0].sum, 5.0);
        assert_eq!(second.timestamp, "2026-11-21 07:54:30 +0000 UTC");
        let third = recorder.advance(START + 40).expect("the interval is over");
        assert_eq!(names_of(&third), Vec::<String>::new(), "nothing came");
    }

    #[test]
    fn rows_are_sorted_by_name_and_labels() {
        let recorder = recorder(0);
        emit(&recorder, || {
            names::SERF_EVENTS.increment(["lan".into()], 1);
            names::SERF_EVENTS_NAMED.increment_at("deploy", ["lan".into()], 1);
            names::CLIENT_RPC_FAILED.increment(["b".into()], 1);
            names::CLIENT_RPC_FAILED.increment(["a".into()], 1);
        });
        let summary = recorder.summary();
        let rows: Vec<(&str, &str)> = summary
            .counters
            .iter()
            .map(|row| (&*row.name, row.labels.values().next().map_or("", String::as_str)))
            .collect();
        assert_eq!(
            rows,
            [
                ("consul.client.rpc.failed", "a"),
                ("consul.client.rpc.failed", "b"),
                ("consul.serf.events.deploy", "lan"),
                ("consul.serf.events", "lan"),
            ]
        );
    }

    #[test]
    fn a_new_filter_reaches_series_that_exist_and_handles_that_are_held() {
        let recorder = recorder(0);
        let mut handle = metrics::Counter::noop();
        emit(&recorder, || handle = names::RPC_QUERY.handle([]));
        handle.increment(1);
        let blocked = vec!["consul.rpc".to_owned()];
        let filter = FilterSettings { blocked, ..Settings::default().filter };
        recorder.set_filter(Filter::new("consul", &filter));
        handle.increment(1);
        assert_eq!(recorder.summary().counters[0].sum, 1.0);
        recorder.set_filter(Filter::new("consul", &Settings::default().filter));
        handle.increment(1);
        assert_eq!(recorder.summary().counters[0].sum, 2.0);
    }

    #[test]
    fn series_are_bounded_and_idle_ones_make_place() {
        let recorder = recorder(0);
        for service in 0..SERIES_MAX + 10 {
            emit(&recorder, || {
                names::HEALTH_SERVICE_QUERY.increment([service.to_string().into()], 1)
            });
        }
        assert!(recorder.was_full());
        assert!(!recorder.was_full(), "it is told once");
        let first = recorder.advance(START + 10).expect("the interval is over");
        assert_eq!(first.counters.len(), SERIES_MAX);
        emit(&recorder, || names::HEALTH_SERVICE_QUERY.increment(["7".into()], 1));
        recorder.advance(START + 11);
        recorder.advance(START + 71);
        assert_eq!(recorder.all().len(), 1, "only the one that came again is left");
        recorder.advance(START + 141);
        assert!(recorder.all().is_empty());
        assert_eq!(recorder.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_held_handle_keeps_its_series() {
        let recorder = recorder(0);
        let mut handle = metrics::Counter::noop();
        emit(&recorder, || handle = names::RPC_QUERY.handle([]));
        recorder.advance(START + 10);
        recorder.advance(START + 1000);
        handle.increment(1);
        assert_eq!(recorder.advance(START + 1010).expect("it is over").counters[0].count, 1);
    }

    #[test]
    fn long_labels_are_cut_at_a_character() {
        let long = "ä".repeat(LABEL_BYTES_MAX);
        assert_eq!(cut(&format!("x{long}")).len(), LABEL_BYTES_MAX - 1);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn prometheus_reads_what_the_golden_file_says() {
        let recorder = recorder(60);
        emit(&recorder, || {
            names::RPC_REQUEST.increment([], 3);
            names::RUNTIME_ALLOC_BYTES.set([], 1_048_576.0);
            names::SERVER_IS_LEADER.set([], 1.0);
            let labels = || ["GET".into(), "v1_kv_".into()];
            names::API_HTTP.record(labels(), Duration::from_millis(5));
            names::API_HTTP.record(labels(), Duration::from_millis(5));
            names::CLIENT_RPC_FAILED.increment(["quo\"te\\d\n".into()], 1);
            names::SERF_EVENTS_NAMED.increment_at("consul:new-leader", ["lan".into()], 1);
        });
        let shown = recorder.exposition(START).expect("it is on").to_string();
        let interesting = [
            "rpc_request",
            "alloc_bytes",
            "isLeader",
            "api_http",
            "rpc_failed",
            "serf_events",
            "raft_peers",
            "kvs_apply",
        ];
        let shown: String = shown
            .lines()
            .filter(|line| interesting.iter().any(|part| line.contains(part)))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(shown, include_str!("testdata/prometheus.txt"));
    }

    #[test]
    fn prometheus_forgets_what_is_not_declared_and_stays_at_zero_for_what_is() {
        let recorder = recorder(120);
        emit(&recorder, || {
            names::RPC_REQUEST.increment([], 3);
            names::CLIENT_RPC_FAILED.increment(["n2".into()], 1);
        });
        let shown = |at| recorder.exposition(at).expect("it is on").to_string();
        recorder.advance(START + 1);
        assert!(shown(START + 121).contains("consul_client_rpc_failed{server=\"n2\"} 1\n"));
        recorder.advance(START + 130);
        let later = shown(START + 130);
        assert!(later.contains("\nconsul_rpc_request 3\n"), "it is declared");
        assert!(later.contains("\nconsul_client_rpc_failed 0\n"), "{later}");
        assert!(!later.contains("n2"));
    }

    #[test]
    fn prometheus_is_off_without_retention() {
        assert!(recorder(0).exposition(START).is_none());
    }

    #[test]
    fn only_gauges_carry_the_host() {
        let with = Naming { prefix: "consul".into(), host: Some("h 1".into()) };
        let without = Naming { prefix: "consul".into(), host: None };
        let bare = Naming::default();
        assert_eq!(with.full(Kind::Gauge, "raft.peers"), "consul.h_1.raft.peers");
        assert_eq!(with.full(Kind::Counter, "raft.apply"), "consul.raft.apply");
        assert_eq!(without.full(Kind::Gauge, "raft.peers"), "consul.raft.peers");
        assert_eq!(bare.full(Kind::Gauge, "raft.peers"), "raft.peers");
    }
}
