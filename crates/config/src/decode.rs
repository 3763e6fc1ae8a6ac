//! From the [`Value`] of one source to typed [`Settings`]: types, unknown keys,
//! old spellings (`reference/config.md` 1.1 and 4).

use std::collections::BTreeMap;

use crate::options::definitions::{self, Field};
use crate::options::deprecated::{self, Deprecated, Effect};
use crate::options::{self, Kind, Opt};
use crate::settings::Settings;
use crate::value::Value;

/// The settings of one source and what to say about them.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
}

/// Checks a source against the list of options.
pub(crate) fn decode(source: Value) -> Result<Decoded, String> {
    let Value::Object(object) = source else {
        return Err(format!("expected an object, got {}", source.kind()));
    };
    let mut decoder = Decoder::default();
    decoder.block(object, "", "");
    decoder.apply_single_blocks();
    decoder.apply_old_keys();
    let Decoder { mut type_errors, mut unknown, decoded, .. } = decoder;
    if !type_errors.is_empty() {
        type_errors.sort();
        let lines: Vec<_> = type_errors.iter().map(|error| format!("* {error}")).collect();
        return Err(format!("{} error(s) decoding:\n\n{}", lines.len(), lines.join("\n")));
    }
    if !unknown.is_empty() {
        unknown.sort();
        return Err(multi_error(&unknown));
    }
    Ok(decoded)
}

/// Several errors in the layout that Consul prints.
pub(crate) fn multi_error(errors: &[String]) -> String {
    let lines: Vec<_> = errors.iter().map(|error| format!("\t* {error}")).collect();
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    format!("{} {noun} occurred:\n{}\n\n", errors.len(), lines.join("\n"))
}

#[derive(Default)]
struct Decoder {
    decoded: Decoded,
    type_errors: Vec<String>,
    unknown: Vec<String>,
    /// Old keys wait until the new ones of the source are known: those win.
    old: Vec<(&'static Deprecated, Value)>,
    /// `service {}` and `check {}` come behind `services` and `checks`.
    single: Vec<(&'static Opt, &'static str, Value)>,
}

impl Decoder {
    /// One block of options. `path` is lower-case; `shown` is as written.
    fn block(&mut self, object: BTreeMap<String, Value>, path: &str, shown: &str) {
        for (key, value) in object {
            let lower = join(path, &key.to_lowercase());
            let shown = join(shown, &key);
            if deprecated::IGNORED.contains(&lower.as_str()) {
                self.decoded
                    .warnings
                    .push(format!("config key \"{lower}\" is deprecated and should be removed"));
            } else if let Some(entry) = deprecated::find(&lower) {
                self.old.push((entry, value));
            } else if let Some((option, name)) = single_block(&lower) {
                self.single.push((option, name, value));
            } else if let Some(option) = options::find(&lower) {
                self.set(option, value, &lower);
            } else if options::is_block(&lower) || deprecated::is_block(&lower) {
                match unwrap_single(value) {
                    Value::Object(object) => self.block(object, &lower, &shown),
                    Value::Null => {}
                    other => self.expected_map(&lower, &other),
                }
            } else {
                self.unknown.push(format!("invalid config key {shown}"));
            }
        }
    }

    fn set(&mut self, option: &'static Opt, value: Value, path: &str) {
        if let Some(value) = self.typed(option.kind, value, path) {
            self.decoded.settings.merge(option, value);
        }
    }

    fn apply_single_blocks(&mut self) {
        for (option, name, value) in std::mem::take(&mut self.single) {
            match unwrap_single(value) {
                Value::Object(object) => self.set(option, Value::Object(object), name),
                Value::Null => {}
                // Several blocks of that name are meant as the plural.
                Value::List(items) if !items.is_empty() => {
                    self.set(option, Value::List(items), name);
                }
                other => self.expected_map(name, &other),
            }
        }
    }

    fn apply_old_keys(&mut self) {
        for (entry, value) in std::mem::take(&mut self.old) {
            self.warn_old(entry);
            let Some(option) = options::find(entry.new) else { continue };
            let value = if entry.effect == Effect::TlsVersion {
                self.new_tls_version(value)
            } else {
                value
            };
            let Some(value) = self.typed(option.kind, value, entry.old) else { continue };
            if matches!(value, Value::List(_)) || !self.decoded.settings.is_set(option.key) {
                self.decoded.settings.merge(option, value);
            }
            if let Effect::AlsoSets(key, on) = entry.effect
                && let Some(also) = options::find(key)
                && !self.decoded.settings.is_set(key)
            {
                self.decoded.settings.merge(also, Value::Bool(on));
            }
        }
    }

    fn warn_old(&mut self, entry: &Deprecated) {
        if entry.silent {
            return;
        }
        // Of a renamed block the warning names the block.
        let block = entry.old.starts_with("raft_boltdb.");
        let parent = |key: &'static str| match key.rsplit_once('.') {
            Some((parent, _)) if block => parent,
            _ => key,
        };
        let (old, new) = (parent(entry.old), parent(entry.new));
        self.decoded.warnings.push(match entry.effect {
            Effect::Ignored => format!("The '{old}' field is deprecated and will be ignored."),
            _ => format!("The '{old}' field is deprecated. Use the '{new}' field instead."),
        });
    }

    fn new_tls_version(&mut self, value: Value) -> Value {
        let Value::Str(old) = &value else { return value };
        let new = match old.as_str() {
            "tls10" => "TLSv1_0",
            "tls11" => "TLSv1_1",
            "tls12" => "TLSv1_2",
            "tls13" => "TLSv1_3",
            _ => return value,
        };
        self.decoded.warnings.push(format!(
            "'tls_min_version' value '{old}' is deprecated, please specify '{new}' instead"
        ));
        Value::Str(new.to_owned())
    }

    /// The value if it has the type; otherwise the mistake is noted. `null`
    /// counts as not set.
    fn typed(&mut self, kind: Kind, value: Value, path: &str) -> Option<Value> {
        match (kind, value) {
            (_, Value::Null) => None,
            (Kind::Bool, value @ Value::Bool(_)) => Some(value),
            (Kind::Int, value @ Value::Int(_)) => Some(value),
            // JSON has no integers; a fraction is cut as Consul cuts it.
            (Kind::Int, Value::Float(number)) => Some(Value::Int(number as i64)),
            (Kind::Float, Value::Int(number)) => Some(Value::Float(number as f64)),
            (Kind::Float, value @ Value::Float(_)) => Some(value),
            (Kind::Str | Kind::Duration | Kind::StrOrList, value @ Value::Str(_)) => Some(value),
            (Kind::List | Kind::StrOrList, Value::List(items)) => Some(self.texts(items, path)),
            (Kind::List, other) => {
                self.type_errors.push(format!(
                    "'{path}': source data must be an array or slice, got {}",
                    other.kind()
                ));
                None
            }
            (Kind::Map, value) => self.map(value, path, Kind::Str),
            (Kind::ListMap, value) => self.map(value, path, Kind::List),
            (Kind::ObjectMap(fields), value) => self.map(value, path, Kind::Object(fields)),
            (Kind::Free, value) => match unwrap_single(value) {
                value @ Value::Object(_) => Some(value.unwrap_single_blocks()),
                other => {
                    self.expected_map(path, &other);
                    None
                }
            },
            (Kind::Object(fields), value) => self.object(fields, value, path),
            (Kind::Service, value) => self.object(definitions::SERVICE, value, path),
            (Kind::Objects(fields), value) => self.objects(Kind::Object(fields), value, path),
            (Kind::FreeObjects, value) => self.objects(Kind::Free, value, path),
            (Kind::Bool, other) => self.unconvertible(path, "bool", &other),
            (Kind::Int, other) => self.unconvertible(path, "int", &other),
            (Kind::Float, other) => self.unconvertible(path, "float64", &other),
            (Kind::Str | Kind::Duration | Kind::StrOrList, other) => {
                self.unconvertible(path, "string", &other)
            }
        }
    }

    fn texts(&mut self, items: Vec<Value>, path: &str) -> Value {
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::Null => texts.push(Value::Str(String::new())),
                item => texts.extend(self.typed(Kind::Str, item, &format!("{path}[{index}]"))),
            }
        }
        Value::List(texts)
    }

    fn map(&mut self, value: Value, path: &str, kind: Kind) -> Option<Value> {
        let object = match unwrap_single(value) {
            Value::Object(object) => object,
            Value::List(items) if items.is_empty() => BTreeMap::new(),
            other => {
                self.expected_map(path, &other);
                return None;
            }
        };
        let mut out = BTreeMap::new();
        for (key, value) in object {
            let path = format!("{path}[{key}]");
            if let Some(value) = self.typed(kind, value, &path) {
                out.insert(key, value);
            }
        }
        Some(Value::Object(out))
    }

    fn objects(&mut self, kind: Kind, value: Value, path: &str) -> Option<Value> {
        let items = match value {
            Value::List(items) => items,
            value @ Value::Object(_) => {
                return self.typed(kind, value, path).map(|value| Value::List(vec![value]));
            }
            other => {
                self.type_errors.push(format!(
                    "'{path}': source data must be an array or slice, got {}",
                    other.kind()
                ));
                return None;
            }
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            out.extend(self.typed(kind, item, &format!("{path}[{index}]")));
        }
        Some(Value::List(out))
    }

    fn object(&mut self, fields: &'static [Field], value: Value, path: &str) -> Option<Value> {
        let Value::Object(object) = unwrap_single(value.clone()) else {
            self.expected_map(path, &value);
            return None;
        };
        let mut out = BTreeMap::new();
        for (key, value) in object {
            let Some(field) = definitions::find(fields, &key.to_lowercase()) else {
                self.unknown.push(format!("invalid config key {path}.{key}"));
                continue;
            };
            if let Some(value) = self.typed(field.kind, value, &format!("{path}.{}", field.key)) {
                out.insert(field.key.to_owned(), value);
            }
        }
        Some(Value::Object(out))
    }

    fn expected_map(&mut self, path: &str, found: &Value) {
        self.type_errors.push(format!("'{path}' expected a map, got '{}'", found.kind()));
    }

    fn unconvertible(&mut self, path: &str, wanted: &str, found: &Value) -> Option<Value> {
        self.type_errors.push(format!(
            "'{path}' expected type '{wanted}', got unconvertible type '{}', value: '{}'",
            found.kind(),
            shorten(&found.shown())
        ));
        None
    }
}

/// Values in messages are cut: a message is for people.
fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 200;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `service {}` appends to `services`, `check {}` to `checks`.
fn single_block(key: &str) -> Option<(&'static Opt, &'static str)> {
    match key {
        "service" => options::find("services").map(|option| (option, "service")),
        "check" => options::find("checks").map(|option| (option, "check")),
        _ => None,
    }
}

/// A list of one object is that object.
fn unwrap_single(value: Value) -> Value {
    match value {
        Value::List(mut items) if matches!(items.as_slice(), [Value::Object(_)]) => items.remove(0),
        other => other,
    }
}
