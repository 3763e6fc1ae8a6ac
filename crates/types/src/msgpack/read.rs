//! Reading.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::skip::{Head, skip_value, take_head};
use super::{Error, MAX_DEPTH};

/// Reads the first value of `bytes`; what follows it is not looked at.
///
/// # Errors
/// See [`Error`].
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    from_prefix(bytes).map(|(value, _)| value)
}

/// Reads the first value of `bytes` and returns it with the bytes behind it.
///
/// # Errors
/// See [`Error`].
pub fn from_prefix<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8]), Error> {
    let mut reader = Reader { input: bytes, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    Ok((value, reader.input))
}

struct Reader<'de> {
    input: &'de [u8],
    depth: usize,
}

/// What a bare scalar becomes.
enum Scalar {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'de> Reader<'de> {
    fn marker(&self) -> u8 {
        self.input.first().copied().unwrap_or(0xc1)
    }

    fn take_nil(&mut self) -> bool {
        let nil = self.marker() == 0xc0;
        if nil {
            self.input = &self.input[1..];
        }
        nil
    }

    fn head(&mut self) -> Result<Head, Error> {
        take_head(&mut self.input)
    }

    fn bytes(&mut self, len: usize) -> Result<&'de [u8], Error> {
        let (bytes, rest) = self.input.split_at_checked(len).ok_or(Error::UnexpectedEnd)?;
        self.input = rest;
        Ok(bytes)
    }

    fn scalar(&mut self) -> Result<Scalar, Error> {
        let marker = self.marker();
        Ok(match self.head()? {
            Head::Nil => Scalar::Unsigned(0),
            Head::Unsigned(number) => Scalar::Unsigned(number),
            Head::Signed(number) => Scalar::Signed(number),
            Head::Bool(value) => Scalar::Unsigned(value.into()),
            Head::Float32(number) => Scalar::Float(number.into()),
            Head::Float64(number) => Scalar::Float(number),
            _ => return Err(Error::Mismatch { expected: "a number", marker }),
        })
    }

    fn integer<N: TryFrom<i128>>(&mut self) -> Result<N, Error> {
        let marker = self.marker();
        let number = match self.scalar()? {
            Scalar::Unsigned(number) => i128::from(number),
            Scalar::Signed(number) => i128::from(number),
            Scalar::Float(number) if number == number.trunc() && number.abs() < 1e18 => {
                number as i128
            }
            Scalar::Float(_) => return Err(Error::Mismatch { expected: "an integer", marker }),
        };
        N::try_from(number).map_err(|_| Error::OutOfRange(number))
    }

    fn float(&mut self) -> Result<f64, Error> {
        Ok(match self.scalar()? {
            Scalar::Unsigned(number) => number as f64,
            Scalar::Signed(number) => number as f64,
            Scalar::Float(number) => number,
        })
    }

    /// Text or bytes; nothing for nil.
    fn raw(&mut self) -> Result<&'de [u8], Error> {
        let marker = self.marker();
        match self.head()? {
            Head::Nil => Ok(&[]),
            Head::Raw(len) => self.bytes(len),
            _ => Err(Error::Mismatch { expected: "text or bytes", marker }),
        }
    }

    fn visit_text<V: Visitor<'de>>(bytes: &'de [u8], visitor: V) -> Result<V::Value, Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => visitor.visit_borrowed_str(text),
            Err(_) => visitor.visit_string(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// Reads the members of an array or a map. A member is a byte at least, so
    /// that a length past the end is refused before anything is read.
    fn nested<T>(
        &mut self,
        members: usize,
        read: impl FnOnce(&mut Members<'_, 'de>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if members > self.input.len() {
            return Err(Error::UnexpectedEnd);
        }
        if self.depth == MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.depth += 1;
        let mut access = Members { reader: self, left: members, shape: None };
        let value = read(&mut access)?;
        // A visitor may stop early, as one for a tuple does.
        for _ in 0..access.left {
            skip_value(&mut access.reader.input)?;
        }
        self.depth -= 1;
        Ok(value)
    }

    fn map<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let members = len.checked_mul(2).ok_or(Error::UnexpectedEnd)?;
        self.nested(members, |access| visitor.visit_map(access))
    }

    fn array<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.nested(len, |access| visitor.visit_seq(access))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.integer::<$type>()?)
        }
    )* };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let marker = self.marker();
        match self.head()? {
            Head::Nil => visitor.visit_unit(),
            Head::Bool(value) => visitor.visit_bool(value),
            Head::Unsigned(number) => visitor.visit_u64(number),
            Head::Signed(number) => visitor.visit_i64(number),
            Head::Float32(number) => visitor.visit_f32(number),
            Head::Float64(number) => visitor.visit_f64(number),
            Head::Raw(len) => Reader::visit_text(self.bytes(len)?, visitor),
            Head::Array(len) => self.array(len, visitor),
            Head::Map(len) => self.map(len, visitor),
            Head::Extension(_) => Err(Error::Mismatch { expected: "a plain value", marker }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number: i128 = self.integer()?;
        visitor.visit_bool(number != 0)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f32(self.float()? as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        Reader::visit_text(self.raw()?, visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if matches!(self.marker(), 0x90..=0x9f | 0xdc | 0xdd) {
            return visitor.visit_byte_buf(Vec::deserialize(self)?);
        }
        visitor.visit_borrowed_bytes(self.raw()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.take_nil() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let marker = self.marker();
        match self.head()? {
            Head::Nil => self.array(0, visitor),
            Head::Array(len) => self.array(len, visitor),
            _ => Err(Error::Mismatch { expected: "an array", marker }),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let marker = self.marker();
        match self.head()? {
            Head::Nil => self.map(0, visitor),
            Head::Map(len) => self.map(len, visitor),
            _ => Err(Error::Mismatch { expected: "a map", marker }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let marker = self.marker();
        let (members, shape) = match self.head()? {
            Head::Nil => (0, Shape::Keyed),
            Head::Map(len) => (len.checked_mul(2).ok_or(Error::UnexpectedEnd)?, Shape::Keyed),
            Head::Array(len) => (len, Shape::positions(fields)),
            _ => return Err(Error::Mismatch { expected: "a map", marker }),
        };
        self.nested(members, |access| {
            access.shape = Some(shape);
            visitor.visit_map(access)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if matches!(self.marker(), 0x81) {
            self.head()?;
            return self.nested(2, |access| {
                access.left = 0;
                visitor.visit_enum(Variant { reader: &mut *access.reader, content: true })
            });
        }
        visitor.visit_enum(Variant { reader: self, content: false })
    }

    /// A field's name. Anything but text is the name of no field.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.marker() {
            0xa0..=0xbf | 0xc4..=0xc6 | 0xd9..=0xdb => Reader::visit_text(self.raw()?, visitor),
            _ => {
                skip_value(&mut self.input)?;
                visitor.visit_borrowed_str("")
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        skip_value(&mut self.input)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit unit_struct i128 u128 }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }
}

/// The members of an array or a map that are still to come. For a map, keys
/// and values both count.
struct Members<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    /// For a struct.
    shape: Option<Shape>,
}

enum Shape {
    /// A map: each value has its field's name in front.
    Keyed,
    /// An array: values stand in the sorted order of the fields.
    Positions(std::vec::IntoIter<&'static str>),
}

impl Shape {
    /// Other spellings of a field have no position of their own; Consul's own
    /// names start with a capital.
    fn positions(fields: &[&'static str]) -> Self {
        let own = |name: &&str| !name.contains('_') && name.starts_with(|c: char| c.is_uppercase());
        let mut names: Vec<&'static str> = fields.iter().copied().filter(own).collect();
        names.sort_unstable();
        Shape::Positions(names.into_iter())
    }
}

impl<'de> SeqAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> Members<'_, 'de> {
    /// Goes to the next field of a struct whose value is not nil, which would
    /// leave the field as it is. The name, or what stands in its place, is next
    /// to be read unless it is returned.
    fn next_field(&mut self) -> Result<Option<Option<&'static str>>, Error> {
        while self.left > 0 {
            let name = match &mut self.shape {
                Some(Shape::Positions(names)) => match names.next() {
                    Some(name) => Some(name),
                    None => return Ok(None),
                },
                Some(Shape::Keyed) => {
                    let mut ahead = self.reader.input;
                    skip_value(&mut ahead)?;
                    if ahead.first() == Some(&0xc0) {
                        self.reader.input = &ahead[1..];
                        self.left -= 2;
                        continue;
                    }
                    None
                }
                None => None,
            };
            if name.is_some() && self.reader.take_nil() {
                self.left -= 1;
                continue;
            }
            return Ok(Some(name));
        }
        Ok(None)
    }
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        match self.next_field()? {
            None => Ok(None),
            Some(Some(name)) => {
                let name = serde::de::value::StrDeserializer::<Error>::new(name);
                seed.deserialize(name).map(Some)
            }
            Some(None) => {
                self.left -= 1;
                seed.deserialize(&mut *self.reader).map(Some)
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::UnexpectedEnd)?;
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left / 2)
    }
}

/// A variant's name, and its content when it stands in a map of one.
struct Variant<'r, 'de> {
    reader: &'r mut Reader<'de>,
    content: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let value = seed.deserialize(&mut *self.reader)?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.content { skip_value(&mut self.reader.input) } else { Ok(()) }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        if self.content {
            return seed.deserialize(self.reader);
        }
        seed.deserialize(&mut Reader { input: &[0xc0], depth: MAX_DEPTH })
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        if self.content {
            return self.reader.deserialize_seq(visitor);
        }
        Err(Error::Mismatch { expected: "a variant's content", marker: self.reader.marker() })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.content {
            return self.reader.deserialize_struct("", fields, visitor);
        }
        Err(Error::Mismatch { expected: "a variant's content", marker: self.reader.marker() })
    }
}
