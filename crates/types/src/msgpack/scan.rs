//! Finding the end of a value that arrives in pieces.

use super::skip::{Head, take_head};
use super::{Error, MAX_DEPTH};

/// Finds where a value ends while its bytes still arrive. Each byte is looked at once,
/// nothing is built, and lengths are only counted: a value that promises four billion
/// members costs a number until they come.
#[derive(Clone, Debug)]
pub struct ValueScan {
    /// How many values are left on each level that is open.
    open: Vec<u64>,
    /// How many values are left on all levels.
    left: u64,
    /// How many values began.
    seen: u64,
    /// Where the next head is; past the bytes while text has not all come.
    next: usize,
}

impl Default for ValueScan {
    fn default() -> Self {
        Self { open: vec![1], left: 1, seen: 0, next: 0 }
    }
}

impl ValueScan {
    /// Goes on with `bytes`, which are the value from its first byte as far as it has
    /// come: those of the last call and what came behind them. Returns the length of the
    /// value once all of it is there.
    ///
    /// # Errors
    /// Bytes that no more bytes can make into a value.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        while self.left > 0 {
            let Some(mut rest) = bytes.get(self.next..).filter(|rest| !rest.is_empty()) else {
                return Ok(None);
            };
            let before = rest.len();
            let head = match take_head(&mut rest) {
                Ok(head) => head,
                Err(Error::UnexpectedEnd) => return Ok(None),
                Err(error) => return Err(error),
            };
            self.next += before - rest.len();
            self.take(head)?;
        }
        Ok((self.next <= bytes.len()).then_some(self.next))
    }

    /// How many bytes the value has at least, as far as its heads tell.
    pub fn bytes_min(&self) -> u64 {
        (self.next as u64).saturating_add(self.left)
    }

    /// How many values it consists of at least, itself, members and keys counted.
    pub fn values_min(&self) -> u64 {
        self.seen.saturating_add(self.left)
    }

    fn take(&mut self, head: Head) -> Result<(), Error> {
        self.seen += 1;
        self.left -= 1;
        if let Some(left) = self.open.last_mut() {
            *left -= 1;
        }
        let members = match head {
            Head::Array(len) => Some(len as u64),
            Head::Map(len) => Some(len as u64 * 2),
            Head::Raw(len) => self.step(len)?,
            Head::Extension(len) => self.step(len.saturating_add(1))?,
            _ => None,
        };
        if let Some(members) = members {
            self.left = self.left.saturating_add(members);
            self.open.push(members);
            // The value itself stands on a level of its own.
            if self.open.len() > MAX_DEPTH + 1 {
                return Err(Error::TooDeep);
            }
        }
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
        Ok(())
    }

    /// Steps over bytes that have no values in them.
    fn step(&mut self, bytes: usize) -> Result<Option<u64>, Error> {
        self.next = self.next.checked_add(bytes).ok_or(Error::UnexpectedEnd)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::value_len;

    #[test]
    fn a_value_in_pieces_ends_where_the_whole_one_does() {
        for value in [
            &b"\xc0"[..],
            b"\xa0",
            b"\xa3abc",
            b"\x80",
            b"\x90",
            b"\xcd\x01\x02",
            b"\xda\x00\x03abc",
            b"\xd4\x05x",
            b"\xc7\x02\x05xy",
            b"\x92\x93\x01\x02\x03\x81\xa1a\x90",
            b"\x82\xa1a\x91\x90\xa1b\xdc\x00\x02\xc2\xc3",
        ] {
            let mut stream = value.to_vec();
            stream.extend_from_slice(b"\xa1z");
            for piece in 1..=stream.len() {
                let mut scan = ValueScan::default();
                let mut found = None;
                for end in (piece..stream.len()).step_by(piece).chain([stream.len()]) {
                    let answer = scan.advance(&stream[..end]).unwrap();
                    assert_eq!(answer, value_len(&stream[..end]).unwrap(), "{value:02x?} {end}");
                    assert!(scan.bytes_min() <= value.len() as u64);
                    found = answer;
                }
                assert_eq!(found, Some(value.len()), "{value:02x?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn promises_are_known_before_they_are_kept() {
        let many = u64::from(u32::MAX);
        for (head, least, values) in [
            (&b"\xdb\xff\xff\xff\xff"[..], 5 + many, 1),
            (b"\xdd\xff\xff\xff\xff", 5 + many, 1 + many),
            (b"\xdf\xff\xff\xff\xff", 5 + 2 * many, 1 + 2 * many),
            (b"\x92\xa5", 2 + 5 + 1, 3),
        ] {
            let mut scan = ValueScan::default();
            assert_eq!(scan.advance(head), Ok(None));
            assert_eq!((scan.bytes_min(), scan.values_min()), (least, values), "{head:02x?}");
        }
    }

    #[test]
    fn what_can_never_be_a_value_is_refused() {
        assert_eq!(ValueScan::default().advance(b"\x91\xc1"), Err(Error::UnknownMarker(0xc1)));
        assert_eq!(ValueScan::default().advance(&[0x91; 10_000]), Err(Error::TooDeep));
        for (depth, inside) in
            [(MAX_DEPTH, &b"\xc0"[..]), (MAX_DEPTH - 1, b"\x90"), (MAX_DEPTH, b"\x90")]
        {
            let value = [&vec![0x91; depth][..], inside].concat();
            assert_eq!(ValueScan::default().advance(&value), value_len(&value), "{depth}");
        }
    }
}
