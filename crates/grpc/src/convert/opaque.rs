//! Free-form configuration: JSON values as `google.protobuf.Struct`, and back.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;
use types::proxy::Opaque;

/// How deep values may be nested within each other; what is deeper is left out. The reader
/// of messages stops at about this depth, too.
const DEPTH_MAX: usize = 100;

/// Whole numbers up to here are exact in a message, which knows floating point alone.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

pub(super) fn to_message(opaque: &Opaque) -> Struct {
    let fields = opaque.iter().map(|(name, value)| (name.clone(), value_to_message(value, 0)));
    Struct { fields: fields.collect() }
}

pub(super) fn of_message(message: Struct) -> Opaque {
    message.fields.into_iter().map(|(name, value)| (name, value_of_message(value, 0))).collect()
}

fn value_to_message(value: &Json, depth: usize) -> Value {
    let deeper = depth + 1;
    let kind = match value {
        _ if depth > DEPTH_MAX => Kind::NullValue(0),
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(0.0)),
        Json::String(value) => Kind::StringValue(value.clone()),
        Json::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(|value| value_to_message(value, deeper)).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .iter()
                .map(|(name, value)| (name.clone(), value_to_message(value, deeper)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn value_of_message(value: Value, depth: usize) -> Json {
    let deeper = depth + 1;
    match value.kind {
        _ if depth > DEPTH_MAX => Json::Null,
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::ListValue(list)) => {
            list.values.into_iter().map(|value| value_of_message(value, deeper)).collect()
        }
        Some(Kind::StructValue(object)) => Json::Object(
            object
                .fields
                .into_iter()
                .map(|(name, value)| (name, value_of_message(value, deeper)))
                .collect(),
        ),
    }
}

/// A whole number is shown as one. What is no number is shown as nothing.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        return Json::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}
