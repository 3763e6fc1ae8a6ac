//! The members of an object: which of them fill which field of a struct.

use std::borrow::Cow;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess};

use super::decode::{Reader, Unknown};
use super::error::{DecodeError, Kind};
use super::parse::Json;

/// Structs that skip unknown fields even in a strict document
/// (`reference/http-api.md` 1.4, "Lenient decoders").
const ALWAYS_LENIENT: [&str; 2] = ["HealthCheckDefinition", "ServiceConnect"];

/// The members of an object, for a map or for a struct.
pub(super) struct Entries<'de> {
    reader: Reader<'de>,
    object: &'de [(Cow<'de, str>, Json<'de>)],
    /// The next member to look at.
    pub(super) at: usize,
    /// Whether a member's value is being decoded.
    pub(super) inside: bool,
    /// For a struct: its name and fields, and for each field the member that counts.
    shape: Option<Shape>,
    /// The field whose value comes next.
    field: &'static str,
}

struct Shape {
    name: &'static str,
    fields: &'static [&'static str],
    winners: Vec<Option<usize>>,
    lenient: bool,
}

impl<'de> Entries<'de> {
    pub(super) fn of_map(reader: Reader<'de>, object: &'de [(Cow<'de, str>, Json<'de>)]) -> Self {
        Self { reader, object, at: 0, inside: false, shape: None, field: "" }
    }

    pub(super) fn of_struct(
        reader: Reader<'de>,
        object: &'de [(Cow<'de, str>, Json<'de>)],
        name: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        let mut winners = vec![None; fields.len()];
        for (at, (key, value)) in object.iter().enumerate() {
            let dropped = || reader.dropped.borrow().contains(&(object.as_ptr().addr(), at));
            if let Some(field) = find_field(fields, key)
                && *value != Json::Null
                && !dropped()
            {
                winners[field] = Some(at);
            }
        }
        settle_spellings(fields, &mut winners);
        let lenient = reader.unknown == Unknown::Ignore || ALWAYS_LENIENT.contains(&name);
        let shape = Some(Shape { name, fields, winners, lenient });
        Self { shape, ..Self::of_map(reader, object) }
    }
}

/// The field that Go would fill from `key`: the exact name, else the first that
/// differs in case alone.
fn find_field(fields: &[&str], key: &str) -> Option<usize> {
    fields
        .iter()
        .position(|field| *field == key)
        .or_else(|| fields.iter().position(|field| field.eq_ignore_ascii_case(key)))
}

/// Where a document has both `local_bind_port` and `LocalBindPort`, the latter
/// counts; of `Kind` and `kind` the last one does.
fn settle_spellings(fields: &[&str], winners: &mut [Option<usize>]) {
    for at in 0..fields.len() {
        let snake = fields[at].contains('_');
        if winners[at].is_none() || !(snake || fields[at].starts_with(char::is_lowercase)) {
            continue;
        }
        for rival in 0..fields.len() {
            if rival == at || winners[rival].is_none() || !same_letters(fields[rival], fields[at]) {
                continue;
            }
            let loser = if snake || winners[at] < winners[rival] { at } else { rival };
            winners[loser] = None;
        }
    }
}

fn same_letters(a: &str, b: &str) -> bool {
    let letters = |name: &'_ str| -> Vec<u8> {
        name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect()
    };
    letters(a) == letters(b)
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        self.inside = false;
        while let Some((key, _)) = self.object.get(self.at) {
            self.at += 1;
            let Some(shape) = &self.shape else {
                return seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some);
            };
            match find_field(shape.fields, key) {
                Some(field) if shape.winners[field] == Some(self.at - 1) => {
                    self.field = shape.fields[field];
                    let name: StrDeserializer<'_, DecodeError> = self.field.into_deserializer();
                    return seed.deserialize(name).map(Some);
                }
                Some(_) => {}
                None if shape.lenient => {}
                None => return Err(Kind::UnknownField(key.to_string()).into()),
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let Some((_, json)) = self.at.checked_sub(1).and_then(|at| self.object.get(at)) else {
            return Err(Kind::UnexpectedEnd.into());
        };
        self.inside = true;
        let result = seed.deserialize(self.reader.at(json));
        match &self.shape {
            Some(shape) => result.map_err(|error| error.in_field(shape.name, self.field)),
            None => result,
        }
    }
}
