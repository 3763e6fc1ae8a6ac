//! Values as lines of text.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use super::Sink;
use super::queue::Queue;
use crate::aggregate::Kind;
use crate::recorder::Naming;

/// How a line is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `name:value|type`; values of labels are parts of the name.
    Statsd,
    /// The same with labels as tags, and the host as one of them.
    Dogstatsd {
        /// Tags of every line.
        tags: Vec<String>,
        /// The host whose name gauges would have as a part.
        host: Option<String>,
    },
}

/// The way from one series to one sink: all of a line but the value.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: Arc<Queue>,
    before: String,
    after: String,
    /// Whether values are written as whole numbers.
    whole: bool,
}

impl Feed {
    /// The way to `sink` for a series of this kind, name (without prefix) and labels.
    pub(crate) fn new(
        sink: &Sink,
        naming: &Naming,
        kind: Kind,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let letters = match kind {
            Kind::Counter => "c",
            Kind::Gauge => "g",
            Kind::Sample => "ms",
        };
        let (before, after) = match &sink.dialect {
            Dialect::Statsd => {
                let parts = std::iter::once(naming.full(kind, name));
                let parts: Vec<String> = parts.chain(labels.values().cloned()).collect();
                (parts.join("."), format!("|{letters}\n"))
            }
            Dialect::Dogstatsd { tags, host } => {
                let naming = Naming { prefix: naming.prefix.clone(), host: None };
                let mut tags = tags.clone();
                if let Some(host) = host.as_ref().filter(|_| kind == Kind::Gauge) {
                    tags.push(format!("host:{host}"));
                }
                tags.extend(labels.iter().map(|(label, value)| format!("{label}:{value}")));
                let tags = match tags.is_empty() {
                    true => String::new(),
                    false => format!(
                        "|#{}",
                        tags.iter().map(|tag| clean_tag(tag)).collect::<Vec<_>>().join(",")
                    ),
                };
                (naming.full(kind, name), format!("|{letters}{tags}\n"))
            }
        };
        let whole = kind == Kind::Counter && matches!(sink.dialect, Dialect::Dogstatsd { .. });
        Self {
            queue: Arc::clone(&sink.queue),
            before: format!("{}:", clean_name(&before)),
            after,
            whole,
        }
    }

    /// Sends a value on its way. What is no number has no line.
    pub(crate) fn push(&self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let room = self.before.len() + self.after.len() + 32;
        self.queue.push(room, |lines| {
            lines.extend_from_slice(self.before.as_bytes());
            // Writing into memory does not fail.
            let _ = match self.whole {
                true => write!(lines, "{value:.0}"),
                false => write!(lines, "{value:.6}"),
            };
            lines.extend_from_slice(self.after.as_bytes());
        });
    }
}

/// A name in which nothing means anything to the format.
fn clean_name(name: &str) -> String {
    let clean = |c: char| if matches!(c, ':' | ' ' | '|' | '\n' | '\r') { '_' } else { c };
    name.chars().map(clean).collect()
}

/// A tag in which only its own colon means anything.
fn clean_tag(tag: &str) -> String {
    let clean = |c: char| if matches!(c, ',' | '|' | '\n' | '\r') { '_' } else { c };
    tag.chars().map(clean).collect()
}
