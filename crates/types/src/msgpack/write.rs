//! Writing.

use serde::ser::{self, Serialize, Serializer};

use super::Error;
use super::skip::{Head, skip_value, take_head};

/// The bytes of `value`.
///
/// # Panics
/// When a `Serialize` of its own fails; none in the vocabulary does.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value);
    out
}

/// Appends the bytes of `value` to `out`. Panics as [`to_vec`].
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let mut writer = Writer { out, fields: Vec::new(), scratch: Vec::new(), joined: None };
    value.serialize(&mut writer).expect("a vocabulary struct's Serialize cannot fail");
}

/// Appends two structs as one map, with the fields of both in order: what Go makes of a
/// struct that embeds another. Of the two, `beside` is the small one: what `value` holds is
/// written once, in its place. Reading needs nothing like it: each struct is read for itself,
/// and passes over the fields of the other.
///
/// # Panics
/// As [`to_vec`], and when one of the two is no struct or has a field of the other.
pub fn write_joined<A, B>(out: &mut Vec<u8>, value: &A, beside: &B)
where
    A: Serialize + ?Sized,
    B: Serialize + ?Sized,
{
    let beside = to_vec(beside);
    let joined = Some(Joined::of(&beside));
    let mut writer = Writer { out, fields: Vec::new(), scratch: Vec::new(), joined };
    value.serialize(&mut writer).expect("a vocabulary struct's Serialize cannot fail");
    assert!(writer.joined.is_none(), "only a struct can be joined with another");
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Fields of the structs that are being written, outermost struct first.
    fields: Vec<Field<'a>>,
    /// Room to put a struct's fields in order.
    scratch: Vec<u8>,
    /// What goes into the next struct besides its own fields.
    joined: Option<Joined<'a>>,
}

struct Field<'a> {
    name: &'a [u8],
    start: usize,
    end: usize,
}

/// Fields that were written already, in order.
#[derive(Default)]
struct Joined<'a> {
    count: usize,
    entries: &'a [u8],
}

impl<'a> Joined<'a> {
    /// The fields of a struct that was written for itself.
    fn of(written: &'a [u8]) -> Self {
        let mut entries = written;
        let Ok(Head::Map(count)) = take_head(&mut entries) else {
            panic!("only a struct can be joined with another");
        };
        Self { count, entries }
    }

    /// Takes the next field, if its name is before this one.
    fn take_before(&mut self, name: Option<&[u8]>) -> Option<(&'a [u8], &'a [u8])> {
        const WHOLE: &str = "what was written by this module is whole";
        if self.count == 0 {
            return None;
        }
        let mut rest = self.entries;
        let Ok(Head::Raw(len)) = take_head(&mut rest) else { unreachable!("{WHOLE}") };
        let (next, mut rest) = rest.split_at(len);
        if let Some(name) = name {
            assert_ne!(next, name, "a field of both structs");
            if next > name {
                return None;
            }
        }
        skip_value(&mut rest).expect(WHOLE);
        let entry = &self.entries[..self.entries.len() - rest.len()];
        self.entries = rest;
        self.count -= 1;
        Some((next, entry))
    }
}

impl Writer<'_> {
    fn unsigned(&mut self, number: u64) {
        let bytes = number.to_be_bytes();
        match number {
            0..=0x7f => self.out.push(bytes[7]),
            0x80..=0xff => self.marked(0xcc, &bytes[7..]),
            0x100..=0xffff => self.marked(0xcd, &bytes[6..]),
            0x1_0000..=0xffff_ffff => self.marked(0xce, &bytes[4..]),
            _ => self.marked(0xcf, &bytes),
        }
    }

    fn signed(&mut self, number: i64) {
        let bytes = number.to_be_bytes();
        match number {
            0.. => self.unsigned(number.unsigned_abs()),
            -32..0 => self.out.push(bytes[7]),
            -0x80..-32 => self.marked(0xd0, &bytes[7..]),
            -0x8000..-0x80 => self.marked(0xd1, &bytes[6..]),
            -0x8000_0000..-0x8000 => self.marked(0xd2, &bytes[4..]),
            _ => self.marked(0xd3, &bytes),
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        match len {
            0..32 => self.out.push(0xa0 | len as u8),
            32..0x1_0000 => self.marked(0xda, &(len as u16).to_be_bytes()),
            _ => self.marked(0xdb, &(len as u32).to_be_bytes()),
        }
        self.out.extend_from_slice(bytes);
    }

    /// The head of an array (`fix` 0x90, `wide` 0xdc) or a map (0x80, 0xde).
    fn head(&mut self, fix: u8, wide: u8, len: usize) {
        match len {
            0..16 => self.out.push(fix | len as u8),
            16..0x1_0000 => self.marked(wide, &(len as u16).to_be_bytes()),
            _ => self.marked(wide + 1, &(len as u32).to_be_bytes()),
        }
    }

    fn marked(&mut self, marker: u8, bytes: &[u8]) {
        self.out.push(marker);
        self.out.extend_from_slice(bytes);
    }

    /// Sorts the fields written since `first`, whose bytes start at `body`.
    fn sort_fields(&mut self, first: usize, body: usize) {
        let fields = &mut self.fields[first..];
        if !fields.is_sorted_by_key(|field| field.name) {
            fields.sort_by_key(|field| field.name);
            self.scratch.clear();
            self.scratch.extend_from_slice(&self.out[body..]);
            self.out.truncate(body);
            for field in fields.iter() {
                self.out.extend_from_slice(&self.scratch[field.start - body..field.end - body]);
            }
        }
        self.fields.truncate(first);
    }
}

impl<'w, 'a> Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Counted<'w, 'a>;
    type SerializeTuple = Counted<'w, 'a>;
    type SerializeTupleStruct = Counted<'w, 'a>;
    type SerializeTupleVariant = Counted<'w, 'a>;
    type SerializeMap = Counted<'w, 'a>;
    type SerializeStruct = Sorted<'w, 'a>;
    type SerializeStructVariant = Sorted<'w, 'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.push(0xc2 | u8::from(value));
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.signed(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.unsigned(value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.marked(0xca, &value.to_be_bytes());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.marked(0xcb, &value.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.raw(value.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.raw(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.raw(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.out.push(0xc0);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.head(0x80, 0xde, 1);
        self.raw(variant.as_bytes());
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'w, 'a>, Error> {
        Ok(Counted::begin(self, Shape::Array, len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Counted<'w, 'a>, Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<Counted<'w, 'a>, Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Counted<'w, 'a>, Error> {
        self.head(0x80, 0xde, 1);
        self.raw(variant.as_bytes());
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'w, 'a>, Error> {
        Ok(Counted::begin(self, Shape::Map, len))
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Sorted<'w, 'a>, Error> {
        Ok(Sorted::begin(self, len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Sorted<'w, 'a>, Error> {
        self.head(0x80, 0xde, 1);
        self.raw(variant.as_bytes());
        Ok(Sorted::begin(self, len))
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Array,
    Map,
}

/// An array or a map. One whose length is not known beforehand gets the widest
/// head, which is filled in at the end.
struct Counted<'w, 'a> {
    writer: &'w mut Writer<'a>,
    count: u32,
    late: Option<usize>,
}

impl<'w, 'a> Counted<'w, 'a> {
    fn begin(writer: &'w mut Writer<'a>, shape: Shape, len: Option<usize>) -> Self {
        let (fix, wide) = match shape {
            Shape::Array => (0x90, 0xdc),
            Shape::Map => (0x80, 0xde),
        };
        let late = match len {
            Some(len) => {
                writer.head(fix, wide, len);
                None
            }
            None => {
                writer.marked(wide + 1, &[0; 4]);
                Some(writer.out.len() - 4)
            }
        };
        Self { writer, count: 0, late }
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.count += 1;
        value.serialize(&mut *self.writer)
    }

    fn finish(self) -> Result<(), Error> {
        if let Some(at) = self.late {
            self.writer.out[at..at + 4].copy_from_slice(&self.count.to_be_bytes());
        }
        Ok(())
    }
}

macro_rules! sequences {
    ($($trait:ident $method:ident;)*) => { $(
        impl ser::$trait for Counted<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.add(value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )* };
}

sequences! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

impl ser::SerializeMap for Counted<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.add(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// A struct: its fields are written as they come and put in order at the end.
struct Sorted<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// How many entries of `Writer::fields` belong to structs further out.
    first: usize,
    body: usize,
    /// Fields of another struct that are still to be written. Putting each in its place
    /// at once spares the sorting, if the struct's own fields come in order.
    joined: Joined<'a>,
}

impl<'w, 'a> Sorted<'w, 'a> {
    fn begin(writer: &'w mut Writer<'a>, len: usize) -> Self {
        let joined = writer.joined.take().unwrap_or_default();
        writer.head(0x80, 0xde, len + joined.count);
        let (first, body) = (writer.fields.len(), writer.out.len());
        Self { writer, first, body, joined }
    }

    fn add<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.add_joined(Some(name.as_bytes()));
        let start = self.writer.out.len();
        self.writer.raw(name.as_bytes());
        value.serialize(&mut *self.writer)?;
        let end = self.writer.out.len();
        self.writer.fields.push(Field { name: name.as_bytes(), start, end });
        Ok(())
    }

    fn add_joined(&mut self, before: Option<&[u8]>) {
        while let Some((name, entry)) = self.joined.take_before(before) {
            let start = self.writer.out.len();
            self.writer.out.extend_from_slice(entry);
            let end = self.writer.out.len();
            self.writer.fields.push(Field { name, start, end });
        }
    }

    fn finish(mut self) -> Result<(), Error> {
        self.add_joined(None);
        self.writer.sort_fields(self.first, self.body);
        Ok(())
    }
}

macro_rules! structs {
    ($($trait:ident)*) => { $(
        impl ser::$trait for Sorted<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.add(name, value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )* };
}

structs! { SerializeStruct SerializeStructVariant }
