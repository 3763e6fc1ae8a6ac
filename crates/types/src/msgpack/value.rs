//! Any value, for those who show what they do not know.

use serde::ser::{Serialize, Serializer};

use super::skip::{Head, take_head};
use super::{Error, MAX_DEPTH};

/// Whatever msgpack holds. Bytes are kept as they are: old writers do not tell them
/// from text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number that is not negative.
    Unsigned(u64),
    /// A number.
    Signed(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text or bytes.
    Raw(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// Pairs in their order.
    Map(Vec<(Value, Value)>),
    /// An extension: its type and its bytes.
    Extension(u8, Vec<u8>),
}

impl Serialize for Value {
    /// Maps keep the order of their pairs. An extension is written as its bytes alone: no
    /// writer of the dialect makes any.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Raw(bytes) | Self::Extension(_, bytes) => serializer.serialize_bytes(bytes),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(pairs) => {
                serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

impl Value {
    /// What a map has under a name; `None` for what is no map.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Self::Map(pairs) = self else { return None };
        let is_it = |key: &Value| matches!(key, Self::Raw(key) if key == name.as_bytes());
        pairs.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }

    /// Puts something under a name of a map: where it was, or in the order of the names.
    /// Of no effect on what is no map.
    pub fn set(&mut self, name: &str, value: Value) {
        let Self::Map(pairs) = self else { return };
        let mut place = pairs.len();
        for (at, (key, old)) in pairs.iter_mut().enumerate() {
            let Self::Raw(key) = key else { continue };
            if key == name.as_bytes() {
                *old = value;
                return;
            }
            if place > at && key.as_slice() > name.as_bytes() {
                place = at;
            }
        }
        pairs.insert(place, (Self::Raw(name.as_bytes().to_vec()), value));
    }

    /// Text or bytes; nothing for anything else.
    pub fn raw(&self) -> &[u8] {
        if let Self::Raw(bytes) = self { bytes } else { &[] }
    }

    /// A number that is not negative; zero for anything else.
    pub fn number(&self) -> u64 {
        if let Self::Unsigned(number) = self { *number } else { 0 }
    }

    /// The members of a list; none for anything else.
    pub fn list(&self) -> &[Value] {
        if let Self::List(values) = self { values } else { &[] }
    }

    /// Reads the first value of `bytes` and returns it with the bytes behind it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn from_prefix(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let mut rest = bytes;
        let value = read(&mut rest, MAX_DEPTH)?;
        Ok((value, rest))
    }
}

fn read(input: &mut &[u8], depth: usize) -> Result<Value, Error> {
    let head = take_head(input)?;
    // A member is a byte at least, so that a length past the end is refused first.
    let members = match head {
        Head::Array(len) => len,
        Head::Map(len) => len.saturating_mul(2),
        _ => 0,
    };
    if members > input.len() {
        return Err(Error::UnexpectedEnd);
    }
    let deeper = || depth.checked_sub(1).ok_or(Error::TooDeep);
    Ok(match head {
        Head::Nil => Value::Null,
        Head::Bool(value) => Value::Bool(value),
        Head::Unsigned(number) => Value::Unsigned(number),
        Head::Signed(number) => Value::Signed(number),
        Head::Float32(number) => Value::Float(number.into()),
        Head::Float64(number) => Value::Float(number),
        Head::Raw(len) => Value::Raw(take(input, len)?.to_vec()),
        Head::Extension(len) => {
            let kind = take(input, 1)?[0];
            Value::Extension(kind, take(input, len)?.to_vec())
        }
        Head::Array(len) => {
            let depth = deeper()?;
            Value::List((0..len).map(|_| read(input, depth)).collect::<Result<_, _>>()?)
        }
        Head::Map(len) => {
            let depth = deeper()?;
            let pairs = (0..len).map(|_| Ok((read(input, depth)?, read(input, depth)?)));
            Value::Map(pairs.collect::<Result<_, Error>>()?)
        }
    })
}

fn take<'b>(input: &mut &'b [u8], len: usize) -> Result<&'b [u8], Error> {
    let (bytes, rest) = input.split_at_checked(len).ok_or(Error::UnexpectedEnd)?;
    *input = rest;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::to_vec;

    #[test]
    fn values_are_written_as_they_were_read_and_can_be_changed() {
        let bytes = b"\x83\xa1a\x92\x07\xff\xa1c\xcb\x40\x14\0\0\0\0\0\0\xa1d\xc0";
        let (mut value, _) = Value::from_prefix(bytes).unwrap();
        assert_eq!(to_vec(&value), bytes);
        value.set("c", Value::Unsigned(1));
        value.set("b", Value::Raw(b"x".to_vec()));
        assert_eq!(to_vec(&value), b"\x84\xa1a\x92\x07\xff\xa1b\xa1x\xa1c\x01\xa1d\xc0");
        assert_eq!(value.get("b").map(Value::raw), Some(&b"x"[..]));
        assert_eq!(value.get("c").map(Value::number), Some(1));
        assert_eq!(value.get("a").map(|list| list.list().len()), Some(2));
        assert_eq!(value.get("z"), None);
    }

    #[test]
    fn values_are_read_as_they_are_and_bounded() {
        let raw = |bytes: &[u8]| Value::Raw(bytes.to_vec());
        for (bytes, expected) in [
            (&b"\xc0\xff"[..], Ok((Value::Null, &b"\xff"[..]))),
            (b"\xa2\xff\x00", Ok((raw(b"\xff\x00"), b""))),
            (b"\x92\x07\xff", Ok((Value::List(vec![Value::Unsigned(7), Value::Signed(-1)]), b""))),
            (b"\x81\xa1a\xc3", Ok((Value::Map(vec![(raw(b"a"), Value::Bool(true))]), b""))),
            (b"\xd4\x05x", Ok((Value::Extension(5, b"x".to_vec()), b""))),
            (b"\xdf\xff\xff\xff\xff\x00", Err(Error::UnexpectedEnd)),
            (b"\xdb\xff\xff\xff\xff\x00", Err(Error::UnexpectedEnd)),
            (b"\xc1", Err(Error::UnknownMarker(0xc1))),
        ] {
            assert_eq!(Value::from_prefix(bytes), expected, "{bytes:02x?}");
        }
        assert_eq!(Value::from_prefix(&[0x91; 10_000]), Err(Error::TooDeep));
    }
}
