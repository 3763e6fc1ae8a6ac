//! Merged settings: which options the sources set, and to what.
//!
//! Settings are flat: the key is the dotted path of the option. That makes the
//! merge rules of `reference/config.md` 1.2 short: a scalar is replaced, a list
//! is appended, a map is overlaid.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;
use types::GoDuration;

use crate::options::{self, Kind, Opt};
use crate::value::Value;

/// The options that the sources set, by dotted key. `Debug` hides secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Settings(BTreeMap<&'static str, Value>);

impl Settings {
    /// Sets `option` by the merge rule of its kind.
    pub(crate) fn merge(&mut self, option: &'static Opt, value: Value) {
        match (self.0.get_mut(option.key), value) {
            (_, Value::Null) => {}
            (Some(Value::List(old)), Value::List(new)) => old.extend(new),
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, value) => {
                self.0.insert(option.key, value);
            }
        }
    }

    /// Lays the settings of a later source over these.
    pub(crate) fn overlay(&mut self, later: Settings) {
        for (key, value) in later.0 {
            if let Some(option) = options::find(key) {
                self.merge(option, value);
            }
        }
    }

    /// Forgets the settings whose option passes the test.
    pub(crate) fn remove(&mut self, test: impl Fn(&Opt) -> bool) {
        self.0.retain(|key, _| !options::find(key).is_some_and(&test));
    }

    /// These, but for the options that pass the test: those are as in `other`.
    pub(crate) fn with_those_of(&self, other: &Settings, test: impl Fn(&Opt) -> bool) -> Settings {
        let passes = |key: &str| options::find(key).is_some_and(&test);
        let kept = self.0.iter().filter(|(key, _)| !passes(key));
        let taken = other.0.iter().filter(|(key, _)| passes(key));
        Settings(kept.chain(taken).map(|(key, value)| (*key, value.clone())).collect())
    }

    /// Whether any source set `key`.
    pub fn is_set(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The keys that were set, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// What a source set, without the default.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A boolean option, else its default.
    pub(crate) fn bool(&self, key: &str) -> bool {
        match self.0.get(key) {
            Some(Value::Bool(value)) => *value,
            _ => default(key) == "true",
        }
    }

    /// An integer option, else its default, else 0.
    pub(crate) fn int(&self, key: &str) -> i64 {
        match self.0.get(key) {
            Some(Value::Int(value)) => *value,
            _ => default(key).parse().unwrap_or(0),
        }
    }

    /// A number option, else its default, else 0.
    pub(crate) fn float(&self, key: &str) -> f64 {
        match self.0.get(key) {
            Some(Value::Float(value)) => *value,
            _ => default(key).parse().unwrap_or(0.0),
        }
    }

    /// A text option, else its default.
    pub(crate) fn text(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(Value::Str(value)) => value.clone(),
            _ => default(key).to_owned(),
        }
    }

    /// A text option that a source set to something.
    pub(crate) fn non_empty(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    /// A duration option, else its default; its text is in the error.
    pub(crate) fn duration(&self, key: &str) -> Result<GoDuration, String> {
        let text = self.text(key);
        if text.is_empty() {
            return Ok(GoDuration::ZERO);
        }
        GoDuration::parse(&text)
            .map_err(|error| format!("{key}: invalid duration: {}: {error}", quote(&text)))
    }

    /// A list of texts; empty when unset.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        debug_assert!(options::find(key).is_some(), "{key} is an option");
        match self.0.get(key) {
            Some(Value::List(items)) => items
                .iter()
                .filter_map(|item| match item {
                    Value::Str(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// A list of objects; empty when unset.
    pub(crate) fn objects(&self, key: &str) -> &[Value] {
        debug_assert!(options::find(key).is_some(), "{key} is an option");
        match self.0.get(key) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// A map of texts; empty when unset.
    pub(crate) fn map(&self, key: &str) -> BTreeMap<String, String> {
        debug_assert!(options::find(key).is_some(), "{key} is an option");
        match self.0.get(key) {
            Some(Value::Object(object)) => object
                .iter()
                .filter_map(|(key, value)| match value {
                    Value::Str(text) => Some((key.clone(), text.clone())),
                    _ => None,
                })
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// All settings as one JSON object by dotted key; secrets are `"hidden"`.
    pub fn to_json(&self) -> Json {
        let shown = |(key, value): (&&str, &Value)| {
            let secret = options::find(key).is_some_and(|option| option.secret);
            let json = if secret { hidden() } else { without_tokens(value.to_json()) };
            ((*key).to_owned(), json)
        };
        Json::Object(self.0.iter().map(shown).collect())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({})", self.to_json())
    }
}

fn hidden() -> Json {
    Json::String("hidden".to_owned())
}

/// Hides the tokens of services, checks and watches.
pub(crate) fn without_tokens(json: Json) -> Json {
    match json {
        Json::Object(object) => {
            let shown = |(key, value): (String, Json)| match key.eq_ignore_ascii_case("token") {
                true => (key, hidden()),
                false => (key, without_tokens(value)),
            };
            Json::Object(object.into_iter().map(shown).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(without_tokens).collect()),
        other => other,
    }
}

/// The default of an option as text; empty for none.
fn default(key: &str) -> &'static str {
    let option = options::find(key);
    debug_assert!(option.is_some(), "{key} is an option");
    debug_assert!(
        !matches!(option.map(|o| o.kind), Some(Kind::List | Kind::Map)),
        "{key} is a scalar"
    );
    option.map_or("", |option| option.default)
}

/// Text in Go's quotes, for the texts that occur in configuration.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() && (c as u32) < 0x80 => {
                quoted.push_str(&format!("\\x{:02x}", c as u32))
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
