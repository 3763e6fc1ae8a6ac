//! Lines of the log: whatever is told, one event stays one event.

use agent::logging::{Level, LogEvent};

use crate::choices::Choices;

const KEYS: &[&str] = &["error", "node", "@level", "@message", "a b", ""];

/// Checks one event made of the input.
pub(super) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let level = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    let level = *choices.pick(&level);
    let unix_nanos = match choices.below(4) {
        0 => i128::MAX,
        1 => i128::MIN,
        2 => -1,
        _ => 1_800_000_000_000_000_000 + i128::from(choices.byte()),
    };
    let text = super::text(choices.rest()).into_owned();
    let parts: Vec<&str> = text.splitn(6, '\u{1f}').collect();
    let (message, values) = parts.split_first().expect("a split has a part");
    let fields = KEYS.iter().copied().zip(values.iter().map(|value| (*value).to_owned()));
    let event = LogEvent {
        level,
        logger: "agent.fuzz".to_owned(),
        message: (*message).to_owned(),
        fields: fields.collect(),
        unix_nanos,
    };
    assert!(event.plain().contains("agent.fuzz"));
    let json = event.json();
    assert!(!json.contains('\n'), "two lines: {json}");
    let read: serde_json::Value = serde_json::from_str(&json).expect("a line is JSON");
    assert!(read.is_object());
}
