//! Cutting values out of a stream.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use types::msgpack::{self, ValueScan};

/// Least room for what is read next.
const ROOM: usize = 4 << 10;

/// Most room for what is read next: a value that only promises to be long costs no more.
const ROOM_MAX: usize = 256 << 10;

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The stream ended inside a value.
    #[error("unexpected EOF")]
    Ended,
    /// The value is longer than the limit.
    #[error("a value of more than {0} bytes")]
    TooLong(usize),
    /// Bytes that are no value.
    #[error(transparent)]
    Malformed(#[from] msgpack::Error),
    /// The stream broke.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Bytes of a stream that were read and not asked for yet.
#[derive(Debug, Default)]
pub struct ValueReader {
    buffer: BytesMut,
}

impl ValueReader {
    /// The next value, at most `bytes_max` long; `None` when the stream ended before it. A
    /// call that is dropped halfway may be made again.
    ///
    /// # Errors
    /// See [`ValueError`].
    pub async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        bytes_max: usize,
    ) -> Result<Option<Bytes>, ValueError> {
        let mut scan = ValueScan::default();
        loop {
            let found = scan.advance(&self.buffer)?;
            if scan.bytes_min() > bytes_max as u64 {
                return Err(ValueError::TooLong(bytes_max));
            }
            if let Some(len) = found {
                return Ok(Some(self.buffer.split_to(len).freeze()));
            }
            let promised = usize::try_from(scan.bytes_min()).unwrap_or(usize::MAX);
            let missing = promised.saturating_sub(self.buffer.len());
            if self.fill(stream, missing.clamp(ROOM, ROOM_MAX)).await? == 0 {
                let whole = self.buffer.is_empty();
                return if whole { Ok(None) } else { Err(ValueError::Ended) };
            }
        }
    }

    /// Completes when the stream ends or breaks. What comes before that is kept for later;
    /// after `bytes_max` of it, nothing more is read and this never completes.
    pub async fn ended(&mut self, stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) {
        while self.buffer.len() < bytes_max {
            if !matches!(self.fill(stream, ROOM).await, Ok(1..)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// What was read behind the last value.
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }

    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        room: usize,
    ) -> io::Result<usize> {
        self.buffer.reserve(room);
        match stream.read_buf(&mut self.buffer).await {
            // TLS that ended without saying so.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8], bytes_max: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let (mut reader, mut stream, mut values) = (ValueReader::default(), bytes, Vec::new());
        loop {
            match reader.next(&mut stream, bytes_max).await {
                Ok(Some(value)) => values.push(value.to_vec()),
                Ok(None) => return (values, None),
                Err(error) => return (values, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn values_are_cut_out_one_behind_the_other() {
        let (values, error) = read_all(b"\x80\x82\xa1a\x01\xa1b\xc3\xa3abc", 100).await;
        assert_eq!(values, [&b"\x80"[..], b"\x82\xa1a\x01\xa1b\xc3", b"\xa3abc"]);
        assert_eq!(error, None);
    }

    #[tokio::test]
    async fn what_is_no_value_in_bounds_is_an_error() {
        for (bytes, text) in [
            (&b"\x80\x82\xa1a"[..], "unexpected EOF"),
            (b"\x80\xdb\xff\xff\xff\xffabc", "a value of more than 100 bytes"),
            (b"\x80\xdf\xff\xff\xff\xff", "a value of more than 100 bytes"),
            (b"\x80\xda\x00\x62", "a value of more than 100 bytes"),
            (b"\x80\xc1", "msgpack: unknown marker 0xc1"),
        ] {
            let (values, error) = read_all(bytes, 100).await;
            assert_eq!((values.len(), error.as_deref()), (1, Some(text)), "{bytes:02x?}");
        }
        let mut fits = b"\xda\x00\x61".to_vec();
        fits.resize(100, b'x');
        assert_eq!(read_all(&fits, 100).await, (vec![fits.clone()], None));
    }
}
