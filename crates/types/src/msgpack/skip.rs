//! The heads of values, and stepping over values without reading them.

use super::{Error, MAX_DEPTH};

/// The first bytes of a value: its kind, and its number or length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float32(f32),
    Float64(f64),
    /// Text or bytes of this many bytes.
    Raw(usize),
    Array(usize),
    Map(usize),
    /// An extension: its type and how many bytes it has.
    Extension(usize),
}

/// Takes a head off `input`. No length is checked against what is left.
pub(super) fn take_head(input: &mut &[u8]) -> Result<Head, Error> {
    let marker = take::<1>(input)?[0];
    Ok(match marker {
        0x00..=0x7f => Head::Unsigned(marker.into()),
        0x80..=0x8f => Head::Map(usize::from(marker & 0x0f)),
        0x90..=0x9f => Head::Array(usize::from(marker & 0x0f)),
        0xa0..=0xbf => Head::Raw(usize::from(marker & 0x1f)),
        0xc0 => Head::Nil,
        0xc2 => Head::Bool(false),
        0xc3 => Head::Bool(true),
        0xc4 | 0xd9 => Head::Raw(take_len::<1>(input)?),
        0xc5 | 0xda => Head::Raw(take_len::<2>(input)?),
        0xc6 | 0xdb => Head::Raw(take_len::<4>(input)?),
        0xc7 => Head::Extension(take_len::<1>(input)?),
        0xc8 => Head::Extension(take_len::<2>(input)?),
        0xc9 => Head::Extension(take_len::<4>(input)?),
        0xca => Head::Float32(f32::from_be_bytes(take(input)?)),
        0xcb => Head::Float64(f64::from_be_bytes(take(input)?)),
        0xcc => Head::Unsigned(take::<1>(input)?[0].into()),
        0xcd => Head::Unsigned(u16::from_be_bytes(take(input)?).into()),
        0xce => Head::Unsigned(u32::from_be_bytes(take(input)?).into()),
        0xcf => Head::Unsigned(u64::from_be_bytes(take(input)?)),
        0xd0 => Head::Signed(i8::from_be_bytes(take(input)?).into()),
        0xd1 => Head::Signed(i16::from_be_bytes(take(input)?).into()),
        0xd2 => Head::Signed(i32::from_be_bytes(take(input)?).into()),
        0xd3 => Head::Signed(i64::from_be_bytes(take(input)?)),
        0xd4..=0xd8 => Head::Extension(1 << (marker - 0xd4)),
        0xdc => Head::Array(take_len::<2>(input)?),
        0xdd => Head::Array(take_len::<4>(input)?),
        0xde => Head::Map(take_len::<2>(input)?),
        0xdf => Head::Map(take_len::<4>(input)?),
        0xe0..=0xff => Head::Signed(i64::from(marker as i8)),
        0xc1 => return Err(Error::UnknownMarker(marker)),
    })
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Error> {
    let (bytes, rest) = input.split_first_chunk::<N>().ok_or(Error::UnexpectedEnd)?;
    *input = rest;
    Ok(*bytes)
}

fn take_len<const N: usize>(input: &mut &[u8]) -> Result<usize, Error> {
    Ok(take::<N>(input)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
}

/// Steps over one value.
pub(super) fn skip_value(input: &mut &[u8]) -> Result<(), Error> {
    // How many values are left on the innermost level that is open, and on those around it.
    let mut left: u64 = 1;
    let mut around: Vec<u64> = Vec::new();
    loop {
        while left == 0 {
            let Some(outer) = around.pop() else { return Ok(()) };
            left = outer;
        }
        left -= 1;
        let bytes = match take_head(input)? {
            Head::Array(len) => {
                around.push(std::mem::replace(&mut left, len as u64));
                0
            }
            Head::Map(len) => {
                around.push(std::mem::replace(&mut left, len as u64 * 2));
                0
            }
            Head::Raw(len) => len,
            Head::Extension(len) => len.checked_add(1).ok_or(Error::UnexpectedEnd)?,
            _ => 0,
        };
        if around.len() > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        *input = input.get(bytes..).ok_or(Error::UnexpectedEnd)?;
    }
}

/// How many bytes the first value in `bytes` takes; `None` when it is not all
/// there yet. For streams that send values without a length in front.
///
/// # Errors
/// Bytes that no more bytes can make into a value.
pub fn value_len(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let mut rest = bytes;
    match skip_value(&mut rest) {
        Ok(()) => Ok(Some(bytes.len() - rest.len())),
        Err(Error::UnexpectedEnd) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How far the first value of some bytes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is all there, and this many bytes long.
    Whole(usize),
    /// It is not all there: at least this many bytes are missing, never zero.
    Short(usize),
}

/// How far the first value in `bytes` reaches if it consists of at most `values_max` values,
/// itself, members and keys counted. For sockets: the answer says how much to read, and the
/// work is bounded however often it is asked for.
///
/// # Errors
/// [`Error::TooMany`], and bytes that no more bytes can make into a value.
pub fn extent(bytes: &[u8], values_max: usize) -> Result<Extent, Error> {
    let mut rest = bytes;
    let mut to_come: u64 = 1;
    let mut seen = 0;
    let short = |missing: u64| Ok(Extent::Short(usize::try_from(missing).unwrap_or(usize::MAX)));
    while to_come > 0 {
        if to_come > (values_max - seen) as u64 {
            return Err(Error::TooMany(values_max));
        }
        let head = match take_head(&mut rest) {
            Ok(head) => head,
            // A value is a byte at least.
            Err(Error::UnexpectedEnd) => return short(to_come),
            Err(error) => return Err(error),
        };
        seen += 1;
        to_come -= 1;
        let len = match head {
            Head::Array(len) => {
                to_come += len as u64;
                0
            }
            Head::Map(len) => {
                to_come += len as u64 * 2;
                0
            }
            Head::Raw(len) => len,
            Head::Extension(len) => len.saturating_add(1),
            _ => 0,
        };
        match rest.get(len..) {
            Some(behind) => rest = behind,
            None => return short((len - rest.len()) as u64 + to_come),
        }
    }
    Ok(Extent::Whole(bytes.len() - rest.len()))
}
