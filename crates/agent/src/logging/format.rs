//! One event as a line.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

impl Level {
    /// Reads a level as operators write it, whatever the case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "TRACE" => Level::Trace,
            "DEBUG" => Level::Debug,
            "INFO" => Level::Info,
            "WARN" => Level::Warn,
            "ERR" | "ERROR" => Level::Error,
            _ => return None,
        })
    }

    pub(super) fn from_u8(number: u8) -> Self {
        match number {
            0 => Level::Trace,
            1 => Level::Debug,
            2 => Level::Info,
            3 => Level::Warn,
            _ => Level::Error,
        }
    }

    /// The column of the plain format, seven wide.
    fn column(self) -> &'static str {
        match self {
            Level::Trace => "[TRACE]",
            Level::Debug => "[DEBUG]",
            Level::Info => "[INFO] ",
            Level::Warn => "[WARN] ",
            Level::Error => "[ERROR]",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

impl From<&tracing::Level> for Level {
    fn from(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::TRACE => Level::Trace,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::INFO => Level::Info,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::ERROR => Level::Error,
        }
    }
}

/// An event with its fields as text.
#[derive(Clone, Debug)]
pub struct LogEvent {
    /// How important it is.
    pub level: Level,
    /// The logger, `agent.http`.
    pub logger: String,
    /// What happened.
    pub message: String,
    /// With what, in order.
    pub fields: Vec<(&'static str, String)>,
    /// When, in nanoseconds since the Unix epoch.
    pub unix_nanos: i128,
}

impl LogEvent {
    pub(super) fn new(event: &tracing::Event<'_>, unix_nanos: i128) -> Self {
        let metadata = event.metadata();
        let mut log = Self {
            level: metadata.level().into(),
            logger: metadata.target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
            unix_nanos,
        };
        event.record(&mut log);
        log
    }

    /// The plain format, without the line's end.
    pub fn plain(&self) -> String {
        let mut line = String::with_capacity(128);
        push_local_time(&mut line, self.unix_nanos);
        let _ = write!(line, " {} ", self.level.column());
        self.push_unstamped(&mut line);
        line
    }

    /// The plain format from the logger on, without the line's end.
    pub(super) fn unstamped(&self) -> String {
        let mut line = String::with_capacity(128);
        self.push_unstamped(&mut line);
        line
    }

    /// The local time as syslog wants it: `Nov  1 07:54:20`.
    pub(super) fn syslog_time(&self) -> String {
        let zoned = timestamp(self.unix_nanos).to_zoned(jiff::tz::TimeZone::system());
        zoned.strftime("%b %e %H:%M:%S").to_string()
    }

    fn push_unstamped(&self, line: &mut String) {
        let _ = write!(line, "{}: {}", self.logger, self.message);
        let (inline, blocks): (Vec<_>, Vec<_>) =
            self.fields.iter().partition(|(_, value)| !value.contains('\n'));
        if !self.fields.is_empty() {
            line.push(':');
        }
        for (key, value) in inline {
            let _ = write!(line, " {key}=");
            push_value(line, value);
        }
        for (key, value) in blocks {
            let _ = write!(line, "\n  {key}=");
            for part in value.lines() {
                let _ = write!(line, "\n  | {part}");
            }
        }
    }

    /// The JSON format, without the line's end.
    pub fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("@level".into(), json!(self.level.name()));
        object.insert("@message".into(), json!(self.message));
        object.insert("@module".into(), json!(self.logger));
        object.insert("@timestamp".into(), json!(utc_micros(self.unix_nanos)));
        for (key, value) in &self.fields {
            object.insert((*key).to_owned(), json!(value));
        }
        Value::Object(object).to_string()
    }
}

impl Visit for LogEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            // Consul writes some keys with a dash, which no Rust field name can have.
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A value as Consul quotes it: bare if all of it is between `-` and `~`.
fn push_value(line: &mut String, value: &str) {
    let bare = !value.is_empty() && value.bytes().all(|byte| (0x2d..=0x7e).contains(&byte));
    // A list of words is bare; members of a cluster are told as one text.
    let list = value.starts_with('[') && value.ends_with(']') && !value.contains(['"', '{']);
    if bare || list {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(line, "\\x{:02x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

fn timestamp(unix_nanos: i128) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(unix_nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// `2026-11-21T07:54:20.123Z`, or `…+0100` where local time is not UTC.
fn push_local_time(line: &mut String, unix_nanos: i128) {
    let zone = jiff::tz::TimeZone::system();
    let zoned = timestamp(unix_nanos).to_zoned(zone);
    let format = match zoned.offset().seconds() {
        0 => "%Y-%m-%dT%H:%M:%S.%3fZ",
        _ => "%Y-%m-%dT%H:%M:%S.%3f%z",
    };
    let _ = write!(line, "{}", zoned.strftime(format));
}

fn utc_micros(unix_nanos: i128) -> String {
    timestamp(unix_nanos).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fields: &[(&'static str, &str)]) -> LogEvent {
        LogEvent {
            level: Level::Info,
            logger: "agent".into(),
            message: "Synced service".into(),
            fields: fields.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            unix_nanos: 1_795_247_660_123_456_789,
        }
    }

    fn tail(fields: &[(&'static str, &str)]) -> String {
        let line = event(fields).plain();
        line.split_once(" [INFO]  agent: ").expect("it has the columns").1.to_owned()
    }

    #[test]
    fn values_are_quoted_only_when_they_need_it() {
        assert_eq!(tail(&[]), "Synced service");
        assert_eq!(tail(&[("service", "web1")]), "Synced service: service=web1");
        assert_eq!(tail(&[("a", "x y"), ("b", "")]), "Synced service: a=\"x y\" b=\"\"");
        assert_eq!(tail(&[("e", "say \"hi\"\tnow")]), "Synced service: e=\"say \\\"hi\\\"\\tnow\"");
        assert_eq!(tail(&[("l", "[a, b]")]), "Synced service: l=[a, b]");
        assert_eq!(tail(&[("s", "[{ID:1 A:2}]")]), "Synced service: s=\"[{ID:1 A:2}]\"");
        assert_eq!(tail(&[("o", "one\ntwo")]), "Synced service:\n  o=\n  | one\n  | two");
    }

    #[test]
    fn json_lines_have_sorted_keys() {
        let line = event(&[("service", "web1")]).json();
        assert_eq!(
            line,
            r#"{"@level":"info","@message":"Synced service","@module":"agent","@timestamp":"2026-11-21T07:54:20.123456Z","service":"web1"}"#
        );
    }
}
