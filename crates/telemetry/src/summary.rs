//! One interval as `/v1/agent/metrics` shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::aggregate::{Aggregate, INTERVAL_S};

/// Labels of a series, sorted by name.
pub type Labels = Arc<BTreeMap<String, String>>;

/// One interval. Field order is that of the answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// When the interval began.
    pub timestamp: String,
    /// Gauges that were set.
    pub gauges: Vec<GaugeRow>,
    /// Always empty; clients expect the list.
    pub points: [(); 0],
    /// Counters that counted.
    pub counters: Vec<SampleRow>,
    /// Samples and timers.
    pub samples: Vec<SampleRow>,
}

/// A gauge in one interval.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GaugeRow {
    /// The full name.
    pub name: Arc<str>,
    /// The last value.
    pub value: f64,
    /// Its labels.
    pub labels: Labels,
}

/// A counter or a sample in one interval.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SampleRow {
    /// The full name.
    pub name: Arc<str>,
    /// How many values there were; how often a counter was counted up.
    pub count: u64,
    /// The sum per second of the interval.
    pub rate: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Their deviation; zero for less than two values.
    pub stddev: f64,
    /// Its labels.
    pub labels: Labels,
    /// When the last value came, seconds since the Unix epoch; only in [`Summary::lines`].
    #[serde(skip)]
    pub(crate) updated_s: u64,
}

impl SampleRow {
    /// The row of these values.
    pub(crate) fn new(name: Arc<str>, labels: Labels, values: &Aggregate, updated_s: u64) -> Self {
        Self {
            name,
            count: values.count,
            rate: values.rate(),
            sum: values.sum,
            min: values.min,
            max: values.max,
            mean: values.mean(),
            stddev: values.deviation(),
            labels,
            updated_s,
        }
    }

    fn push_line(&self, lines: &mut String, interval: &str, kind: char) {
        let Self { count, sum, min, max, mean, stddev, .. } = self;
        let name = full_name(&self.name, &self.labels);
        let _ = write!(lines, "[{interval}][{kind}] '{name}': Count: {count}");
        if *stddev != 0.0 {
            let _ = write!(lines, " Min: {min:.3} Mean: {mean:.3} Max: {max:.3}");
            let _ = write!(lines, " Stddev: {stddev:.3}");
        }
        let _ = writeln!(lines, " Sum: {sum:.3} LastUpdated: {}", time_text(self.updated_s));
    }
}

impl Summary {
    /// An interval without rows that began at `start_s`, seconds since the Unix epoch.
    pub(crate) fn new(start_s: u64) -> Self {
        Self {
            timestamp: time_text(start_s),
            gauges: Vec::new(),
            points: [],
            counters: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// The rows as lines, as `SIGUSR1` prints them.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for row in &self.gauges {
            let name = full_name(&row.name, &row.labels);
            let _ = writeln!(lines, "[{}][G] '{name}': {:.3}", self.timestamp, row.value);
        }
        self.counters.iter().for_each(|row| row.push_line(&mut lines, &self.timestamp, 'C'));
        self.samples.iter().for_each(|row| row.push_line(&mut lines, &self.timestamp, 'S'));
        lines
    }
}

/// Name and values of labels; lines have no place for the names of labels.
fn full_name(name: &str, labels: &Labels) -> String {
    let values = labels.values().map(|value| value.replace([' ', ':'], "_"));
    std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>().join(".")
}

/// Seconds since the Unix epoch as Go prints a time.
fn time_text(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let time = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// When the interval of a moment began; both in seconds since the Unix epoch.
pub(crate) fn interval_start(now_s: u64) -> u64 {
    now_s - now_s % INTERVAL_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_begin_at_whole_tens_of_seconds() {
        for (now, start) in [(0, 0), (9, 0), (10, 10), (1_795_247_669, 1_795_247_660)] {
            assert_eq!(interval_start(now), start);
        }
    }

    #[test]
    fn the_time_is_written_as_go_prints_it() {
        assert_eq!(Summary::new(1_795_247_660).timestamp, "2026-11-21 07:54:20 +0000 UTC");
    }
}
