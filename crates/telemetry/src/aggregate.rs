//! What one series has gathered: for the running interval and since its start.
//!
//! Plain values; time is given. The meaning of every number is that of the in-memory
//! sink that `/v1/agent/metrics` shows (`reference/telemetry.md` section 1).

use crate::quantile::Window;

/// Length of an interval, seconds. Rates are per second of this.
pub(crate) const INTERVAL_S: u64 = 10;

/// The kind of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Counts; adds up.
    Counter,
    /// Has a value; the last one wins.
    Gauge,
    /// A distribution of values. Timers are samples in milliseconds.
    Sample,
}

/// Values of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Aggregate {
    /// How many values.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: f64,
    sum_of_squares: f64,
    /// The least; zero when there is none.
    pub(crate) min: f64,
    /// The greatest; zero when there is none.
    pub(crate) max: f64,
}

impl Aggregate {
    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        let first = self.count == 0;
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
        if first || value < self.min {
            self.min = value;
        }
        if first || value > self.max {
            self.max = value;
        }
    }

    /// The sum per second of the interval, whether or not it has ended.
    pub(crate) fn rate(&self) -> f64 {
        self.sum / INTERVAL_S as f64
    }

    /// The mean; zero when there is no value.
    pub(crate) fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// The deviation of a sample of this size; zero for less than two values.
    pub(crate) fn deviation(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = self.count as f64;
        let spread = count * self.sum_of_squares - self.sum * self.sum;
        // Equal values can come out a hair below zero.
        (spread.max(0.0) / (count * (count - 1.0))).sqrt()
    }
}

/// What a series gave in one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    /// The last value of a gauge.
    Value(f64),
    /// All values of a counter or a sample.
    Values(Aggregate),
}

/// Everything since the start of the series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Total {
    /// How many values.
    pub(crate) count: u64,
    /// Their sum; of a gauge, its value.
    pub(crate) sum: f64,
}

/// The state of one series.
#[derive(Debug)]
pub(crate) struct State {
    kind: Kind,
    interval: Aggregate,
    /// Whether a gauge was set in this interval.
    set: bool,
    total: Total,
    window: Option<Window>,
    /// Whether something came since the last tick.
    touched: bool,
    /// The tick after which nothing came, seconds since the Unix epoch.
    updated_s: u64,
    /// Whether the gauge is changed by steps: then its value must outlive its idleness.
    stepped: bool,
}

impl State {
    /// Nothing yet. With quantiles if somebody will ask for them.
    pub(crate) fn new(kind: Kind, quantiles: bool) -> Self {
        Self {
            kind,
            interval: Aggregate::default(),
            set: false,
            total: Total::default(),
            window: (quantiles && kind == Kind::Sample).then(Window::default),
            touched: true,
            updated_s: 0,
            stepped: false,
        }
    }

    /// Adds a value to a counter or a sample.
    pub(crate) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.touched = true;
        self.interval.add(value);
        self.total.count += 1;
        self.total.sum += value;
        if let Some(window) = &mut self.window {
            window.add(value);
        }
    }

    /// Sets a gauge. Not-a-number is a value that Prometheus shows.
    pub(crate) fn set(&mut self, value: f64) {
        self.touched = true;
        self.set = true;
        self.total = Total { count: self.total.count + 1, sum: value };
    }

    /// Changes a gauge by a step.
    pub(crate) fn step(&mut self, by: f64) {
        self.stepped = true;
        self.set(self.total.sum + by);
    }

    /// What the running interval has so far.
    pub(crate) fn reading(&self) -> Option<Reading> {
        match self.kind {
            // JSON has no way to write what is not a number.
            Kind::Gauge => {
                (self.set && self.total.sum.is_finite()).then_some(Reading::Value(self.total.sum))
            }
            Kind::Counter | Kind::Sample => {
                (self.interval.count > 0).then_some(Reading::Values(self.interval))
            }
        }
    }

    /// Ends the interval and begins the next.
    pub(crate) fn finish_interval(&mut self) -> Option<Reading> {
        let reading = self.reading();
        self.interval = Aggregate::default();
        self.set = false;
        reading
    }

    /// Notes that it is `now_s`, seconds since the Unix epoch. At least once a second.
    pub(crate) fn tick(&mut self, now_s: u64) {
        if std::mem::take(&mut self.touched) {
            self.updated_s = now_s;
        }
        if let Some(window) = &mut self.window {
            window.advance(now_s);
        }
    }

    /// Whether nothing came for longer than this.
    pub(crate) fn is_idle(&self, now_s: u64, seconds: u64) -> bool {
        !self.touched && now_s.saturating_sub(self.updated_s) > seconds
    }

    /// Whether forgetting the series would change what is shown later.
    pub(crate) fn must_stay(&self) -> bool {
        self.stepped
    }

    /// The tick by which the last value had come, seconds since the Unix epoch.
    pub(crate) fn updated_s(&self) -> u64 {
        self.updated_s
    }

    /// Everything since the start.
    pub(crate) fn total(&self) -> Total {
        self.total
    }

    /// The quantiles of the last ten seconds; not numbers when there was nothing.
    pub(crate) fn quantiles<const N: usize>(&self, wanted: [f64; N]) -> [f64; N] {
        match &self.window {
            Some(window) => window.quantiles(wanted),
            None => [f64::NAN; N],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_tells_count_sum_bounds_mean_and_deviation() {
        let cases: [(&[f64], [f64; 7]); 5] = [
            // values, [count, sum, min, max, mean, deviation, rate]
            (&[], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (&[5.0], [1.0, 5.0, 5.0, 5.0, 5.0, 0.0, 0.5]),
            (&[1.0, 1.0, 1.0], [3.0, 3.0, 1.0, 1.0, 1.0, 0.0, 0.3]),
            (&[2.0, 4.0], [2.0, 6.0, 2.0, 4.0, 3.0, std::f64::consts::SQRT_2, 0.6]),
            (&[-3.0, 0.0, 3.0], [3.0, 0.0, -3.0, 3.0, 0.0, 3.0, 0.0]),
        ];
        for (values, [count, sum, min, max, mean, deviation, rate]) in cases {
            let mut all = Aggregate::default();
            values.iter().for_each(|value| all.add(*value));
            let got = [all.sum, all.min, all.max, all.mean(), all.deviation(), all.rate()];
            assert_eq!(all.count as f64, count, "{values:?}");
            for (got, want) in got.into_iter().zip([sum, min, max, mean, deviation, rate]) {
                assert!((got - want).abs() < 1e-9, "{values:?}: {got} is not {want}");
            }
        }
    }

    #[test]
    fn equal_values_have_no_deviation() {
        let mut all = Aggregate::default();
        (0..1000).for_each(|_| all.add(0.1));
        assert!(all.deviation() < 1e-6);
    }

    #[test]
    fn a_gauge_is_read_only_in_intervals_in_which_it_was_set() {
        let mut gauge = State::new(Kind::Gauge, false);
        assert_eq!(gauge.finish_interval(), None);
        gauge.set(3.0);
        gauge.set(4.0);
        assert_eq!(gauge.finish_interval(), Some(Reading::Value(4.0)));
        assert_eq!(gauge.finish_interval(), None);
        assert_eq!(gauge.total().sum, 4.0, "Prometheus keeps the value");
        gauge.step(-1.0);
        assert_eq!(gauge.reading(), Some(Reading::Value(3.0)));
        gauge.set(f64::NAN);
        assert_eq!(gauge.reading(), None, "JSON cannot say it");
    }

    #[test]
    fn a_counter_begins_each_interval_at_zero_and_keeps_its_total() {
        let mut counter = State::new(Kind::Counter, false);
        counter.add(1.0);
        counter.add(2.0);
        let Some(Reading::Values(first)) = counter.finish_interval() else { panic!("two values") };
        assert_eq!((first.count, first.sum), (2, 3.0));
        counter.add(10.0);
        let Some(Reading::Values(second)) = counter.finish_interval() else { panic!("one value") };
        assert_eq!((second.count, second.sum, second.min), (1, 10.0, 10.0));
        assert_eq!(counter.total(), Total { count: 3, sum: 13.0 });
    }

    #[test]
    fn a_series_is_idle_once_nothing_came_for_longer_than_asked() {
        let mut counter = State::new(Kind::Counter, false);
        counter.add(1.0);
        assert!(!counter.is_idle(1_000_000, 1), "it was not even noted yet");
        counter.tick(100);
        assert!(!counter.is_idle(160, 60));
        assert!(counter.is_idle(161, 60));
        counter.add(1.0);
        counter.tick(161);
        assert!(!counter.is_idle(161, 60));
    }

    #[test]
    fn what_is_not_a_number_is_not_added() {
        let mut sample = State::new(Kind::Sample, true);
        sample.add(f64::NAN);
        sample.add(f64::INFINITY);
        assert_eq!(sample.reading(), None);
        assert_eq!(sample.total(), Total::default());
    }
}
