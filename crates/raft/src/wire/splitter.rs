//! Where one message ends and the next begins.

use bytes::{Bytes, BytesMut};
use types::msgpack::ValueScan;

use super::{Rpc, WireError};

/// Most bytes of an AppendEntries: its entries are 64 commands, of which few are large.
const APPEND_BYTES_MAX: usize = 128 << 20;

/// Most bytes of any other message. An InstallSnapshot carries a configuration.
const OTHER_BYTES_MAX: usize = 1 << 20;

/// Cuts what a stream brings into requests or into answers. Each byte is looked at once.
#[derive(Clone, Debug)]
pub struct Splitter {
    /// Of requests, not of answers.
    of_requests: bool,
    /// Bytes before the value that is being looked at.
    start: usize,
    /// Values that are not whole yet, this one included.
    values: u8,
    scan: ValueScan,
    limit: usize,
}

impl Splitter {
    /// For the receiver of requests.
    pub fn requests() -> Self {
        let (start, values, limit) = (0, 1, OTHER_BYTES_MAX);
        Self { of_requests: true, start, values, scan: ValueScan::default(), limit }
    }

    /// For the receiver of answers: an error text and a map each.
    pub fn responses() -> Self {
        Self { of_requests: false, values: 2, ..Self::requests() }
    }

    /// Takes the first message off `buffer`; `None` while it is not whole: append what the
    /// stream brings, and ask again.
    ///
    /// # Errors
    /// [`WireError::UnknownRpc`], [`WireError::TooLarge`], [`WireError::Msgpack`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, WireError> {
        if self.of_requests && self.start == 0 {
            let Some(byte) = buffer.first() else { return Ok(None) };
            self.limit = match Rpc::from_byte(*byte)? {
                Rpc::AppendEntries => APPEND_BYTES_MAX,
                _ => OTHER_BYTES_MAX,
            };
            self.start = 1;
        }
        while self.values > 0 {
            let length = self.scan.advance(&buffer[self.start..])?;
            // What is promised counts, so that no more is waited for than is taken.
            if self.start as u64 + self.scan.bytes_min() > self.limit as u64 {
                return Err(WireError::TooLarge(self.limit));
            }
            let Some(length) = length else { return Ok(None) };
            self.start += length;
            self.values -= 1;
            self.scan = ValueScan::default();
        }
        let message = buffer.split_to(self.start).freeze();
        *self = if self.of_requests { Self::requests() } else { Self::responses() };
        Ok(Some(message))
    }
}
