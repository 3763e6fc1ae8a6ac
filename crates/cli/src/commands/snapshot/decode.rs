//! `consul snapshot decode`: every record as a line of JSON.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use snapshot::{Record, RecordType};
use types::msgpack::Value;

use super::{file_argument, read};
use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::Outcome;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "snapshot decode",
    synopsis: "Print the records of a saved state as JSON",
    usage: "snapshot decode [options] FILE",
    help: "Prints every record of a snapshot as a line of JSON, with its kind as Type and\n\
           its contents as Data, for tools that look for something or compare. Bytes that\n\
           are no text are shown as base64, with \"base64:\" before it. The lines hold the\n\
           secrets that the snapshot holds.\n\n\
           \x20   $ consul snapshot decode backup.snap | jq 'select(.Type == \"KVS\")'",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Here(run),
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<T> {
    data: T,
    r#type: String,
}

fn run(call: &mut Call) -> Outcome {
    let path = file_argument(call)?;
    let ui = &mut call.ui;
    read(&path, &mut |record| ui.output(line(record)))?;
    Ok(0)
}

fn line(record: Record<'_>) -> Vec<u8> {
    match record {
        Record::Header(header) => {
            types::json::encode(&Line { data: header, r#type: "SnapshotHeader".to_owned() })
        }
        Record::Of(kind, bytes) => {
            let value = value_of(kind, bytes).unwrap_or_else(|| Value::Raw(bytes.to_vec()));
            types::json::encode(&Line { data: Json(&value), r#type: kind.to_string() })
        }
    }
}

/// What a record holds; `None` if it cannot be shown but as bytes.
fn value_of(kind: RecordType, bytes: &[u8]) -> Option<Value> {
    let (value, _) = Value::from_prefix(bytes).ok()?;
    match value {
        Value::Raw(inner) if kind == RecordType::CONFIG_ENTRY => {
            Some(config_entry(&inner).unwrap_or(Value::Raw(inner)))
        }
        other => Some(other),
    }
}

/// A config entry stands in a byte string of its own: its kind, then the rest. Some kinds
/// wrap their fields once more.
fn config_entry(bytes: &[u8]) -> Option<Value> {
    let (_kind, rest) = Value::from_prefix(bytes).ok()?;
    let (Value::Map(mut fields), _) = Value::from_prefix(rest).ok()? else { return None };
    for (name, value) in &mut fields {
        if *name == Value::Raw(b"Entry".to_vec())
            && let Value::Raw(wrapped) = value
            && let Ok((unwrapped, _)) = Value::from_prefix(wrapped)
        {
            *value = unwrapped;
        }
    }
    Some(Value::Map(fields))
}

/// A value as JSON.
struct Json<'v>(&'v Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => out.serialize_unit(),
            Value::Bool(value) => out.serialize_bool(*value),
            Value::Unsigned(number) => out.serialize_u64(*number),
            Value::Signed(number) => out.serialize_i64(*number),
            Value::Float(number) => out.serialize_f64(*number),
            Value::Raw(bytes) | Value::Extension(_, bytes) => out.serialize_str(&shown(bytes)),
            Value::List(values) => out.collect_seq(values.iter().map(Json)),
            Value::Map(pairs) => {
                out.collect_map(pairs.iter().map(|(key, value)| (key_text(key), Json(value))))
            }
        }
    }
}

/// Keys of JSON are texts.
fn key_text(key: &Value) -> String {
    match key {
        Value::Raw(bytes) => shown(bytes).into_owned(),
        other => String::from_utf8_lossy(&types::json::encode(&Json(other))).into_owned(),
    }
}

/// Text as it is, and other bytes so that none of them is lost.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    let is_plain = |text: &&str| {
        text.chars().all(|letter| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t'))
    };
    match std::str::from_utf8(bytes).ok().filter(is_plain) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(format!("base64:{}", STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_a_line_whatever_it_holds() {
        let header = snapshot::StateHeader { last_index: types::Index(7) };
        let kv = b"\x82\xa3Key\xa1a\xa5Value\xa2\xff\x00";
        let entry = b"\xda\x00\x24\xb0service-defaults\x82\xa5Entry\x81\xa4Name\xa1w\xa2Op\xa0";
        for (record, expected) in [
            (Record::Header(header), r#"{"Data":{"LastIndex":7},"Type":"SnapshotHeader"}"#),
            (
                Record::Of(RecordType::KVS, kv),
                r#"{"Data":{"Key":"a","Value":"base64:/wA="},"Type":"KVS"}"#,
            ),
            (
                Record::Of(RecordType::CONFIG_ENTRY, entry),
                r#"{"Data":{"Entry":{"Name":"w"},"Op":""},"Type":"ConfigEntry"}"#,
            ),
            (
                Record::Of(RecordType(35), b"\xa2\x0a\x00"),
                r#"{"Data":"base64:CgA=","Type":"Peering"}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(line(record)).expect("JSON is text"), expected);
        }
    }
}
