//! The typed handles through which a metric of [`crate::names`] is emitted.
//!
//! A handle knows its labels by number: what has one label cannot be emitted with two.
//! Emission goes through the `metrics` facade, so that it is a no-operation until a
//! recorder is installed. A loop that emits often keeps what `handle` gives: to emit
//! through that neither allocates nor looks anything up.

use std::time::{Duration, Instant};

use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, with_recorder};

use crate::aggregate::Kind;

pub use metrics::{Counter as CounterHandle, Gauge as GaugeHandle, Histogram as SampleHandle};

static METADATA: Metadata<'static> = Metadata::new("agent", Level::INFO, None);

/// What is known of a metric.
#[derive(Debug)]
pub struct MetricName {
    /// The name without the configured prefix. One part may be `<in brackets>`: then the
    /// metric is many, and the part is given when it is emitted.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells; the help of the Prometheus format.
    pub help: &'static str,
}

impl MetricName {
    const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind, labels, help }
    }

    /// Whether the name has a part that is given when it is emitted.
    pub fn is_family(&self) -> bool {
        self.name.contains('<')
    }

    fn key<const N: usize>(&self, part: Option<&str>, values: [SharedString; N]) -> Key {
        let name = match part {
            None => KeyName::from_const_str(self.name),
            Some(part) => {
                let (before, rest) = self.name.split_once('<').unwrap_or((self.name, ""));
                let (_, after) = rest.split_once('>').unwrap_or(("", ""));
                KeyName::from(format!("{before}{part}{after}"))
            }
        };
        let labels = self.labels.iter().zip(values);
        let labels: Vec<Label> = labels.map(|(name, value)| Label::new(*name, value)).collect();
        Key::from_parts(name, labels)
    }
}

/// Something that counts. `N` is the number of its labels.
#[derive(Debug)]
pub struct Counter<const N: usize>(MetricName);

impl<const N: usize> Counter<N> {
    pub(crate) const fn new(
        name: &'static str,
        labels: &'static [&'static str; N],
        help: &'static str,
    ) -> Self {
        Self(MetricName::new(name, Kind::Counter, labels, help))
    }

    /// What is known of it.
    pub const fn metric(&self) -> &MetricName {
        &self.0
    }

    /// Counts `by` more.
    pub fn increment(&self, labels: [SharedString; N], by: u64) {
        self.handle(labels).increment(by);
    }

    /// Counts `by` more under the name whose bracketed part is `part`.
    pub fn increment_at(&self, part: &str, labels: [SharedString; N], by: u64) {
        self.handle_at(part, labels).increment(by);
    }

    /// A handle to keep.
    pub fn handle(&self, labels: [SharedString; N]) -> CounterHandle {
        self.handle_of(None, labels)
    }

    /// A handle to keep, under the name whose bracketed part is `part`.
    pub fn handle_at(&self, part: &str, labels: [SharedString; N]) -> CounterHandle {
        self.handle_of(Some(part), labels)
    }

    fn handle_of(&self, part: Option<&str>, labels: [SharedString; N]) -> CounterHandle {
        let key = self.0.key(part, labels);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }
}

/// Something that has a value. `N` is the number of its labels.
#[derive(Debug)]
pub struct Gauge<const N: usize>(MetricName);

impl<const N: usize> Gauge<N> {
    pub(crate) const fn new(
        name: &'static str,
        labels: &'static [&'static str; N],
        help: &'static str,
    ) -> Self {
        Self(MetricName::new(name, Kind::Gauge, labels, help))
    }

    /// What is known of it.
    pub const fn metric(&self) -> &MetricName {
        &self.0
    }

    /// Sets the value.
    pub fn set(&self, labels: [SharedString; N], value: f64) {
        self.handle(labels).set(value);
    }

    /// A handle to keep. Its steps (`increment`, `decrement`) start at zero.
    pub fn handle(&self, labels: [SharedString; N]) -> GaugeHandle {
        let key = self.0.key(None, labels);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA))
    }
}

/// A distribution of values. `N` is the number of its labels.
#[derive(Debug)]
pub struct Sample<const N: usize>(MetricName);

impl<const N: usize> Sample<N> {
    pub(crate) const fn new(
        name: &'static str,
        labels: &'static [&'static str; N],
        help: &'static str,
    ) -> Self {
        Self(MetricName::new(name, Kind::Sample, labels, help))
    }

    /// What is known of it.
    pub const fn metric(&self) -> &MetricName {
        &self.0
    }

    /// Adds a value.
    pub fn record(&self, labels: [SharedString; N], value: f64) {
        self.handle(labels).record(value);
    }

    /// A handle to keep.
    pub fn handle(&self, labels: [SharedString; N]) -> SampleHandle {
        let key = self.0.key(None, labels);
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
    }
}

/// How long something took; a sample in milliseconds. `N` is the number of its labels.
#[derive(Debug)]
pub struct Timer<const N: usize>(MetricName);

impl<const N: usize> Timer<N> {
    pub(crate) const fn new(
        name: &'static str,
        labels: &'static [&'static str; N],
        help: &'static str,
    ) -> Self {
        Self(MetricName::new(name, Kind::Sample, labels, help))
    }

    /// What is known of it.
    pub const fn metric(&self) -> &MetricName {
        &self.0
    }

    /// Adds a duration.
    pub fn record(&self, labels: [SharedString; N], took: Duration) {
        self.handle(labels).record(took);
    }

    /// Adds a duration under the name whose bracketed part is `part`.
    pub fn record_at(&self, part: &str, labels: [SharedString; N], took: Duration) {
        self.handle_at(part, labels).record(took);
    }

    /// A handle to keep.
    pub fn handle(&self, labels: [SharedString; N]) -> TimerHandle {
        TimerHandle::of(&self.0.key(None, labels))
    }

    /// A handle to keep, under the name whose bracketed part is `part`.
    pub fn handle_at(&self, part: &str, labels: [SharedString; N]) -> TimerHandle {
        TimerHandle::of(&self.0.key(Some(part), labels))
    }
}

/// A timer with its labels, to keep.
#[derive(Clone, Debug)]
pub struct TimerHandle(SampleHandle);

impl TimerHandle {
    fn of(key: &Key) -> Self {
        Self(with_recorder(|recorder| recorder.register_histogram(key, &METADATA)))
    }

    /// Adds a duration.
    pub fn record(&self, took: Duration) {
        self.0.record(milliseconds(took));
    }

    /// Adds the time since `start`.
    pub fn record_since(&self, start: Instant) {
        self.record(start.elapsed());
    }

    /// Adds the same duration `times` times.
    pub fn record_many(&self, took: Duration, times: usize) {
        self.0.record_many(milliseconds(took), times);
    }
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
