//! The text format of Prometheus, version 0.0.4 (`reference/telemetry.md` section 1).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::aggregate::{Kind, State};
use crate::process::ProcessFacts;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The quantiles of a summary.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// What one scrape shows, sorted by name and labels.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: Option<String>,
    /// By the text of the labels.
    rows: BTreeMap<String, Row>,
}

#[derive(Debug)]
enum Row {
    Value(f64),
    Summary { quantiles: [f64; 3], sum: f64, count: u64 },
}

impl Exposition {
    /// Adds a series under its dotted name.
    pub(crate) fn add(
        &mut self,
        name: &str,
        kind: Kind,
        help: Option<&str>,
        labels: &BTreeMap<String, String>,
        state: &State,
    ) {
        let total = state.total();
        let row = match kind {
            Kind::Counter | Kind::Gauge => Row::Value(total.sum),
            Kind::Sample => Row::Summary {
                quantiles: state.quantiles(QUANTILES),
                sum: total.sum,
                count: total.count,
            },
        };
        self.insert(clean_name(name), kind, help, label_text(labels), row);
    }

    /// Shows zero under a dotted name that no series has, and gives its help.
    pub(crate) fn declare(&mut self, name: &str, kind: Kind, help: &str) {
        let name = clean_name(name);
        if let Some(known) = self.families.get_mut(&name) {
            known.help.get_or_insert_with(|| help.to_owned());
            return;
        }
        let row = match kind {
            Kind::Counter | Kind::Gauge => Row::Value(0.0),
            Kind::Sample => Row::Summary { quantiles: [f64::NAN; 3], sum: 0.0, count: 0 },
        };
        self.insert(name, kind, Some(help), String::new(), row);
    }

    /// Adds what is known of the process, under the names of Prometheus' own clients.
    pub(crate) fn add_process(&mut self, facts: &ProcessFacts) {
        for (name, kind, help, value) in facts.rows() {
            if let Some(value) = value {
                let row = Row::Value(value);
                self.insert(name.to_owned(), kind, Some(help), String::new(), row);
            }
        }
    }

    fn insert(&mut self, name: String, kind: Kind, help: Option<&str>, labels: String, row: Row) {
        let help = help.map(str::to_owned);
        let family = Family { kind, help, rows: BTreeMap::new() };
        let family = self.families.entry(name).or_insert(family);
        // Two dotted names can become one: the format allows one kind for it.
        if family.kind == kind {
            family.rows.insert(labels, row);
        }
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, family) in &self.families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Sample => "summary",
            };
            let help = family.help.as_deref().unwrap_or(name);
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for (labels, row) in &family.rows {
                write_row(f, name, labels, row)?;
            }
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, labels: &str, row: &Row) -> fmt::Result {
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    match row {
        Row::Value(value) => writeln!(f, "{name}{braced} {}", number(*value)),
        Row::Summary { quantiles, sum, count } => {
            let comma = if labels.is_empty() { "" } else { "," };
            for (quantile, value) in QUANTILES.iter().zip(quantiles) {
                let value = number(*value);
                writeln!(f, "{name}{{{labels}{comma}quantile=\"{quantile}\"}} {value}")?;
            }
            writeln!(f, "{name}_sum{braced} {}", number(*sum))?;
            writeln!(f, "{name}_count{braced} {count}")
        }
    }
}

/// A name of the format: letters, digits, `_` and `:`, no digit first.
fn clean_name(name: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' };
    let mut name: String = name.chars().map(clean).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// `a="1",b="2"`, sorted by name. Of two names that become one the first is kept.
fn label_text(labels: &BTreeMap<String, String>) -> String {
    let mut cleaned = BTreeMap::new();
    for (name, value) in labels {
        cleaned.entry(clean_name(name).replace(':', "_")).or_insert(value);
    }
    let mut text = String::new();
    for (name, value) in cleaned {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

/// A number as Go's client writes it: the shortest text, with an exponent for what is
/// below 1e-4 and from 1e6 on.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1_048_576.0, "1.048576e+06"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn names_are_cleaned_and_keep_case_and_colons() {
        let cases = [
            ("consul.raft.commitTime", "consul_raft_commitTime"),
            ("consul.serf.events.consul:new-leader", "consul_serf_events_consul:new_leader"),
            ("a b=c-d/e", "a_b_c_d_e"),
            ("1st", "_1st"),
            ("größe", "gr__e"),
        ];
        for (name, clean) in cases {
            assert_eq!(clean_name(name), clean);
        }
    }

    #[test]
    fn one_name_has_one_kind() {
        let mut shown = Exposition::default();
        shown.declare("consul.a.b", Kind::Counter, "One.");
        let gauge = State::new(Kind::Gauge, true);
        shown.add("consul.a-b", Kind::Gauge, None, &BTreeMap::new(), &gauge);
        let text = "# HELP consul_a_b One.\n# TYPE consul_a_b counter\nconsul_a_b 0\n";
        assert_eq!(shown.to_string(), text);
    }

    #[test]
    fn an_empty_summary_shows_what_is_not_a_number() {
        let mut shown = Exposition::default();
        shown.declare("consul.x", Kind::Sample, "Time.");
        assert_eq!(
            shown.to_string(),
            "# HELP consul_x Time.\n# TYPE consul_x summary\n\
             consul_x{quantile=\"0.5\"} NaN\nconsul_x{quantile=\"0.9\"} NaN\n\
             consul_x{quantile=\"0.99\"} NaN\nconsul_x_sum 0\nconsul_x_count 0\n"
        );
    }
}
