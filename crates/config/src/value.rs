//! The value model that HCL and JSON share.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

/// Deepest nesting that a source may have.
pub const DEPTH_MAX: usize = 64;
/// Most values in one source.
pub const VALUES_MAX: usize = 1 << 20;

/// A parsed value. Objects are sorted by key; of a key written twice the last
/// one stays, except for HCL blocks, which gather in a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON's `null`; reads as "not set".
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number of HCL.
    Int(i64),
    /// Another number of HCL, and every number of JSON.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Value>),
    /// An object or block.
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// The type in the words of Consul's decoder.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::List(_) => "slice",
            Value::Object(_) => "map",
        }
    }

    /// The value as Consul's decoder prints it (Go's `%v`).
    pub fn shown(&self) -> String {
        match self {
            Value::Null => "<nil>".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => go_float(*value),
            Value::Str(value) => value.clone(),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(Value::shown).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Object(object) => {
                let fields: Vec<_> =
                    object.iter().map(|(key, value)| format!("{key}:{}", value.shown())).collect();
                format!("map[{}]", fields.join(" "))
            }
        }
    }

    /// The value as JSON, keys as they are. Whole numbers become integers; a
    /// list of one block that HCL made becomes the block.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::Number((*value).into()),
            Value::Float(value) => match whole(*value) {
                Some(whole) => Json::Number(whole.into()),
                None => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            },
            Value::Str(value) => Json::String(value.clone()),
            Value::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Object(object) => Json::Object(
                object
                    .iter()
                    .map(|(key, value)| (key.clone(), value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Replaces every list of exactly one object by that object. For free-form
    /// settings: HCL 1 cannot tell a block from a list of one block.
    pub fn unwrap_single_blocks(self) -> Value {
        match self {
            Value::List(mut items) if matches!(items.as_slice(), [Value::Object(_)]) => {
                items.remove(0).unwrap_single_blocks()
            }
            Value::List(items) => {
                Value::List(items.into_iter().map(Value::unwrap_single_blocks).collect())
            }
            Value::Object(object) => Value::Object(
                object
                    .into_iter()
                    .map(|(key, value)| (key, value.unwrap_single_blocks()))
                    .collect(),
            ),
            other => other,
        }
    }
}

/// The number as an integer when it is one that fits.
pub(crate) fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9.0e15).then_some(value as i64)
}

fn go_float(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e21).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    value.to_string()
}
