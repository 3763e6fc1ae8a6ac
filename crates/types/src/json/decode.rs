//! From a parsed document to a struct, by the rules of Go.

use std::cell::RefCell;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{DecodeError, Kind};
use super::object::Entries;
use super::parse::{Json, expect_end, parse};

/// What happens to a field that the struct does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The document is refused: `json: unknown field "X"`.
    Deny,
    /// The field is skipped.
    Ignore,
}

/// Most pairs of spellings of one field that are not merely another case or
/// snake case (`ID` beside `CheckID`) in one document.
const MAX_DUPLICATES: usize = 16;

/// Decodes the first value in `bytes`; what follows it is not looked at.
///
/// # Errors
/// Bad syntax, unknown fields (with [`Unknown::Deny`]), values of the wrong type,
/// more than [`super::MAX_DEPTH`] levels, and whatever a visitor complains of.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], unknown: Unknown) -> Result<T, DecodeError> {
    let (json, _) = parse(bytes)?;
    decode_tree(&json, unknown)
}

/// Decodes `bytes` as one document: anything behind the first value is an error,
/// and a document that breaks off is told as `unexpected end of JSON input`.
///
/// # Errors
/// As [`decode`].
pub fn decode_whole<T: DeserializeOwned>(bytes: &[u8], unknown: Unknown) -> Result<T, DecodeError> {
    let (json, rest) = parse(bytes).map_err(|error| match *error.0 {
        Kind::Empty | Kind::UnexpectedEnd => Kind::TruncatedInput.into(),
        _ => error,
    })?;
    expect_end(rest)?;
    decode_tree(&json, unknown)
}

/// Decodes a value that was parsed before.
///
/// # Errors
/// As [`decode`], bar those of syntax.
pub fn decode_value<T: DeserializeOwned>(
    value: serde_json::Value,
    unknown: Unknown,
) -> Result<T, DecodeError> {
    decode_tree(&Json::from(value), unknown)
}

fn decode_tree<T: DeserializeOwned>(json: &Json<'_>, unknown: Unknown) -> Result<T, DecodeError> {
    let dropped = RefCell::new(Vec::new());
    loop {
        let result = T::deserialize(Reader { json, unknown, dropped: &dropped });
        match result {
            Err(error)
                if matches!(*error.0, Kind::Duplicate(_))
                    && (1..=MAX_DUPLICATES).contains(&dropped.borrow().len()) => {}
            result => return result,
        }
    }
}

/// Fields left out of a retry: address of the object's fields, and which.
pub(super) type Dropped = RefCell<Vec<(usize, usize)>>;

/// A `serde` deserializer over a parsed value.
#[derive(Clone, Copy)]
pub(super) struct Reader<'de> {
    pub(super) json: &'de Json<'de>,
    pub(super) unknown: Unknown,
    pub(super) dropped: &'de Dropped,
}

impl<'de> Reader<'de> {
    pub(super) fn at(self, json: &'de Json<'de>) -> Self {
        Self { json, ..self }
    }

    fn mismatch(self, wanted: &str) -> DecodeError {
        let found = match self.json {
            Json::Null => "null",
            Json::Bool(_) => "bool",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        };
        DecodeError::mismatch(found, wanted)
    }

    /// The integer, zero for `null`. Fractions and exponents are refused.
    fn integer<N: std::str::FromStr + Default>(self, wanted: &str) -> Result<N, DecodeError> {
        match self.json {
            Json::Null => Ok(N::default()),
            Json::Number(text) => {
                text.parse().map_err(|_| DecodeError::mismatch(format!("number {text}"), wanted))
            }
            _ => Err(self.mismatch(wanted)),
        }
    }

    fn float(self, wanted: &str) -> Result<f64, DecodeError> {
        match self.json {
            Json::Null => Ok(0.0),
            Json::Number(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(DecodeError::mismatch(format!("number {text}"), wanted)),
            },
            _ => Err(self.mismatch(wanted)),
        }
    }

    fn text(self) -> Result<&'de str, DecodeError> {
        match self.json {
            Json::Null => Ok(""),
            Json::String(text) => Ok(text),
            _ => Err(self.mismatch("string")),
        }
    }

    fn items(self, wanted: &str) -> Result<Items<'de>, DecodeError> {
        match self.json {
            Json::Null => Ok(Items { reader: self, rest: [].iter() }),
            Json::Array(items) => Ok(Items { reader: self, rest: items.iter() }),
            _ => Err(self.mismatch(wanted)),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty, $go:literal;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.integer::<$type>($go)?)
        }
    )* };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = DecodeError;

    integers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int";
        deserialize_i128 visit_i128 i128, "int";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
        deserialize_u128 visit_u128 u128, "uint64";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.json {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::String(text) => visitor.visit_borrowed_str(text),
            Json::Array(_) => visitor.visit_seq(self.items("")?),
            Json::Object(fields) => visitor.visit_map(Entries::of_map(self, fields)),
            Json::Number(text) => {
                if let Ok(number) = text.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = text.parse::<i64>() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(self.float("float64")?)
                }
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.json {
            Json::Null => visitor.visit_bool(false),
            Json::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f32(self.float("float32")? as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.float("float64")?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.json {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.items("[]string")?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.json {
            Json::Null => visitor.visit_map(Entries::of_map(self, &[])),
            Json::Object(fields) => visitor.visit_map(Entries::of_map(self, fields)),
            _ => Err(self.mismatch("map[string]string")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let object = match self.json {
            Json::Null => &[][..],
            Json::Object(object) => object.as_slice(),
            // A name may say its package; most are of the one that holds the server's.
            _ => {
                return Err(match name.trim_start_matches('.') {
                    full if full.contains('.') => self.mismatch(full),
                    name => self.mismatch(&format!("structs.{name}")),
                });
            }
        };
        let mut entries = Entries::of_struct(self, object, name, fields);
        let result = visitor.visit_map(&mut entries);
        if let Err(error) = &result
            && matches!(*error.0, Kind::Duplicate(_))
            && !entries.inside
        {
            let drop = (object.as_ptr().addr(), entries.at.saturating_sub(1));
            self.dropped.borrow_mut().push(drop);
        }
        result
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.json {
            Json::String(text) => {
                visitor.visit_enum(Variant { reader: self, name: text, content: None })
            }
            Json::Object(fields) if fields.len() == 1 => visitor.visit_enum(Variant {
                reader: self,
                name: &fields[0].0,
                content: Some(&fields[0].1),
            }),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit unit_struct }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }
}

struct Items<'de> {
    reader: Reader<'de>,
    rest: std::slice::Iter<'de, Json<'de>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        self.rest.next().map(|json| seed.deserialize(self.reader.at(json))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Variant<'de> {
    reader: Reader<'de>,
    name: &'de str,
    content: Option<&'de Json<'de>>,
}

impl<'de> Variant<'de> {
    fn content(&self) -> Reader<'de> {
        self.reader.at(self.content.unwrap_or(&Json::Null))
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self), DecodeError> {
        let name: BorrowedStrDeserializer<'de, DecodeError> =
            BorrowedStrDeserializer::new(self.name);
        seed.deserialize(name).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        seed.deserialize(self.content())
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.content().deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.content().deserialize_struct("", fields, visitor)
    }
}
