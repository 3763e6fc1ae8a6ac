//! One line of the table: what was measured of each program, what was promised, and whether it is reached.

use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::samples::median;
use crate::server::{KINDS, Kind};

/// A longer reason, in characters, does not fit into the table and goes below it.
const SHORT: usize = 30;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Answers in a second: more is better. All others: less is better.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Megabytes (10^6 bytes).
    Megabytes,
    /// Kilobytes (10^3 bytes) for each waiting connection.
    KilobytesEach,
    /// Times the raw data.
    TimesRaw,
    /// Percent of one core.
    PercentOfCore,
    /// Percent of one core, for each of many.
    PercentOfCoreEach,
    /// A number of events.
    Events,
    /// A number of events for each of many.
    Share,
}

impl Unit {
    /// A figure as the table shows it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", grouped(value)),
            Self::Milliseconds if value >= 100.0 => format!("{value:.0} ms"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::KilobytesEach => format!("{value:.1} kB each"),
            Self::TimesRaw => format!("{value:.2}× raw"),
            Self::PercentOfCore => format!("{value:.1} % of a core"),
            Self::PercentOfCoreEach => format!("{value:.3} % of a core"),
            Self::Events => format!("{value:.0}"),
            Self::Share => format!("{value:.2}"),
        }
    }
}

/// A rounded number with commas between its thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is promised; every part that is there has to hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Promise {
    /// At least so many times as good as Consul.
    pub(crate) times_consul: Option<f64>,
    /// At least so many times as good as etcd.
    pub(crate) times_etcd: Option<f64>,
    /// At most this figure.
    pub(crate) at_most: Option<f64>,
}

/// One turn of one program.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// The figure, in the line's unit.
    pub(crate) value: f64,
    /// Latency that half of the answers did not exceed, in milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// Latency that 99 % of the answers did not exceed, in milliseconds.
    pub(crate) p99_ms: Option<f64>,
    /// Answers that were no success.
    pub(crate) failures: u64,
    /// Cores the server used.
    pub(crate) server_cores: Option<f64>,
    /// Cores the generator used.
    pub(crate) generator_cores: Option<f64>,
    /// Anything else worth reading.
    pub(crate) remark: String,
}

impl Turn {
    /// A figure alone.
    pub(crate) fn of(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// A load, by its answers in a second.
    pub(crate) fn of_load(mut load: Load) -> Self {
        Self {
            value: load.rate,
            p50_ms: Some(load.latency.quantile_ms(0.5)),
            p99_ms: Some(load.latency.quantile_ms(0.99)),
            failures: load.failures,
            server_cores: Some(load.server_cores),
            generator_cores: Some(load.generator_cores),
            remark: String::new(),
        }
    }
}

/// One program's part of a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Cell {
    /// Its turns, at least one.
    Measured(Vec<Turn>),
    /// Why there is nothing.
    Absent(String),
}

impl Cell {
    /// The median of its turns.
    pub(crate) fn value(&self) -> Option<f64> {
        match self {
            Self::Measured(turns) => Some(self.middle(turns, |turn| Some(turn.value))?),
            Self::Absent(_) => None,
        }
    }

    fn middle(&self, turns: &[Turn], part: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = turns.iter().filter_map(part).collect();
        (!values.is_empty()).then(|| median(&values))
    }

    /// As the table shows it.
    pub(crate) fn show(&self, unit: Unit) -> String {
        match (self, self.value()) {
            (Self::Measured(_), Some(value)) => unit.show(value),
            (Self::Measured(_), None) => "–".to_owned(),
            (Self::Absent(reason), _) if reason.chars().count() > SHORT => {
                "failed, see below".to_owned()
            }
            (Self::Absent(reason), _) => reason.clone(),
        }
    }

    /// Latencies, processor time, failures and remarks: what the second table shows.
    pub(crate) fn details(&self, unit: Unit) -> Option<String> {
        let turns = match self {
            Self::Measured(turns) => turns,
            Self::Absent(reason) => {
                return (reason.chars().count() > SHORT).then(|| reason.clone());
            }
        };
        let mut parts = Vec::new();
        let middle = |part: fn(&Turn) -> Option<f64>| self.middle(turns, part);
        if let (Some(p50), Some(p99)) = (middle(|turn| turn.p50_ms), middle(|turn| turn.p99_ms)) {
            parts.push(format!("p50 {p50:.2} ms, p99 {p99:.2} ms"));
        }
        if let (Some(server), Some(generator)) =
            (middle(|turn| turn.server_cores), middle(|turn| turn.generator_cores))
        {
            parts.push(format!("server {server:.2} cores, generator {generator:.2}"));
        }
        if turns.len() > 1 {
            let values: Vec<f64> = turns.iter().map(|turn| turn.value).collect();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            parts.push(format!(
                "{} turns from {} to {}",
                turns.len(),
                unit.show(least),
                unit.show(most)
            ));
        }
        let failures: u64 = turns.iter().map(|turn| turn.failures).sum();
        if failures > 0 {
            parts.push(format!("{failures} failed requests"));
        }
        parts.extend(
            turns.last().map(|turn| turn.remark.clone()).filter(|remark| !remark.is_empty()),
        );
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The work, in words.
    pub(crate) work: String,
    /// What its figures count.
    pub(crate) unit: Unit,
    /// The promise.
    pub(crate) promise: Promise,
    /// Of each program, in the order of [`KINDS`].
    pub(crate) cells: Vec<Cell>,
    /// Of serf, in rows of gossip.
    #[serde(default)]
    pub(crate) serf: Option<Cell>,
    /// Measured in a short run.
    pub(crate) quick: bool,
    /// What to know when reading it.
    pub(crate) note: String,
}

impl Line {
    /// A line that stands for a row that could not be measured at all.
    pub(crate) fn failed(name: &str, error: &anyhow::Error) -> Self {
        Self {
            work: name.to_owned(),
            unit: Unit::Events,
            promise: Promise::default(),
            cells: KINDS.iter().map(|_| Cell::Absent("failed".to_owned())).collect(),
            serf: None,
            quick: false,
            note: format!("{error:#}"),
        }
    }

    /// The cell of one program.
    pub(crate) fn cell(&self, kind: Kind) -> Option<&Cell> {
        KINDS.iter().position(|&one| one == kind).and_then(|index| self.cells.get(index))
    }

    /// What there is, by the programs' names.
    pub(crate) fn named_cells(&self) -> impl Iterator<Item = (&'static str, &Cell)> {
        let cells = KINDS.iter().map(|kind| kind.name()).zip(&self.cells);
        cells.chain(self.serf.iter().map(|cell| ("serf", cell)))
    }

    fn value(&self, kind: Kind) -> Option<f64> {
        self.cell(kind).and_then(Cell::value)
    }

    /// How many times as good as `peer` ours is; absent without both figures or with a zero among them.
    pub(crate) fn ratio(&self, peer: Kind) -> Option<f64> {
        self.ratio_to(self.value(peer)?)
    }

    fn ratio_to(&self, peer: f64) -> Option<f64> {
        let ours = self.value(Kind::Ours)?;
        let (above, below) = if self.unit == Unit::PerSecond { (ours, peer) } else { (peer, ours) };
        (below > 0.0 && above > 0.0).then(|| above / below)
    }

    /// Whether the promise is reached; `None` if that cannot be said.
    pub(crate) fn reached(&self) -> Option<bool> {
        let ours = self.value(Kind::Ours)?;
        let parts = [
            self.promise.at_most.map(|most| Some(ours <= most)),
            self.promise.times_consul.map(|times| Some(self.ratio(Kind::Consul)? >= times)),
            self.promise.times_etcd.map(|times| Some(self.ratio(Kind::Etcd)? >= times)),
        ];
        let parts: Vec<Option<bool>> = parts.into_iter().flatten().collect();
        if parts.contains(&Some(false)) {
            return Some(false);
        }
        if parts.is_empty() || parts.contains(&None) { None } else { Some(true) }
    }

    /// The promise in words.
    pub(crate) fn promise_text(&self) -> String {
        let parts = [
            self.promise.at_most.map(|most| format!("≤ {}", self.unit.show(most))),
            self.promise.times_consul.map(|times| format!("≥ {times}× Consul")),
            self.promise.times_etcd.map(|times| format!("≥ {times}× etcd")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
    }

    /// The ratios in words.
    pub(crate) fn ratio_text(&self) -> String {
        let peers = self.named_cells().filter(|(name, _)| *name != Kind::Ours.name());
        let parts: Vec<String> = peers
            .filter_map(|(name, cell)| {
                Some(format!("{:.1}× {name}", self.ratio_to(cell.value()?)?))
            })
            .collect();
        if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
    }

    /// One line for the terminal.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("{} (promised {}):", self.work, self.promise_text());
        for (name, cell) in self.named_cells() {
            text.push_str(&format!("\n    {name}: {}", cell.show(self.unit)));
            if let Some(details) = cell.details(self.unit) {
                text.push_str(&format!(" ({details})"));
            }
        }
        if !self.note.is_empty() {
            text.push_str(&format!("\n    {}", self.note));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(unit: Unit, promise: Promise, values: [Option<f64>; 3]) -> Line {
        let cell = |value: Option<f64>| match value {
            Some(value) => Cell::Measured(vec![Turn::of(value)]),
            None => Cell::Absent("absent".to_owned()),
        };
        Line {
            work: "work".to_owned(),
            unit,
            promise,
            cells: values.map(cell).to_vec(),
            serf: None,
            quick: false,
            note: String::new(),
        }
    }

    #[test]
    fn a_promise_holds_only_when_each_part_of_it_does() {
        let both = Promise { times_consul: Some(4.0), times_etcd: Some(1.5), at_most: None };
        for (values, reached) in [
            ([Some(400.0), Some(100.0), Some(200.0)], Some(true)),
            ([Some(399.0), Some(100.0), Some(200.0)], Some(false)),
            ([Some(400.0), Some(100.0), Some(300.0)], Some(false)),
            ([Some(400.0), Some(100.0), None], None),
            ([Some(300.0), Some(100.0), None], Some(false)),
            ([None, Some(100.0), Some(200.0)], None),
        ] {
            assert_eq!(
                line(Unit::PerSecond, both.clone(), values).reached(),
                reached,
                "{values:?}"
            );
        }
        let most = Promise { at_most: Some(50.0), ..Promise::default() };
        assert_eq!(
            line(Unit::Milliseconds, most.clone(), [Some(50.0), None, None]).reached(),
            Some(true)
        );
        assert_eq!(line(Unit::Milliseconds, most, [Some(50.1), None, None]).reached(), Some(false));
        assert_eq!(line(Unit::Events, Promise::default(), [Some(1.0), None, None]).reached(), None);
    }

    #[test]
    fn ratios_say_how_many_times_better_ours_is() {
        let fast = line(Unit::PerSecond, Promise::default(), [Some(500.0), Some(100.0), None]);
        assert_eq!(fast.ratio_text(), "5.0× Consul");
        let small =
            line(Unit::Megabytes, Promise::default(), [Some(10.0), Some(100.0), Some(50.0)]);
        assert_eq!(small.ratio_text(), "10.0× Consul, 5.0× etcd");
        let none = line(Unit::Events, Promise::default(), [Some(0.0), Some(0.0), None]);
        assert_eq!(none.ratio_text(), "–");
    }

    #[test]
    fn figures_are_shown_with_their_unit() {
        assert_eq!(Unit::PerSecond.show(1_234_567.8), "1,234,568/s");
        assert_eq!(Unit::PerSecond.show(12.0), "12/s");
        assert_eq!(Unit::Milliseconds.show(9_123.4), "9123 ms");
        assert_eq!(Unit::TimesRaw.show(1.5), "1.50× raw");
    }
}
