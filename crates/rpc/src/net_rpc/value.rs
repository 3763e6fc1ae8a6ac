//! Cutting values out of a stream.

use std::io;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;
use types::msgpack::{self, ValueScan};

use super::budget::Share;

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
    /// The value consists of more values than the limit.
    #[error("a value of more than {0} members")]
    TooMany(u64),
    /// Others use up what a server has for all requests.
    #[error("the server has too many bytes of requests to answer")]
    Exhausted,
    /// The sender stopped in the middle of it.
    #[error("no more of a value for {0:?}")]
    Stalled(Duration),
    /// Bytes that are no value.
    #[error(transparent)]
    Malformed(#[from] msgpack::Error),
    /// The stream broke.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of it.
    pub bytes_max: usize,
    /// Most values that it consists of, itself, members and keys counted.
    pub values_max: u64,
    /// How long its sender may stop in the middle of it.
    pub stall: Duration,
    /// Whether it is the middle of something before its first byte.
    pub begun: bool,
}

impl Limits {
    /// A limit of bytes only.
    pub const fn bytes(bytes_max: usize) -> Self {
        Self { bytes_max, values_max: u64::MAX, stall: Duration::MAX, begun: false }
    }
}

/// Bytes of a stream that were read and not asked for yet.
#[derive(Debug, Default)]
pub struct ValueReader {
    buffer: BytesMut,
    /// Bytes of the values that were given and are still there.
    given: usize,
    /// Its part in a limit for many, if there is one.
    share: Option<Share>,
}

impl ValueReader {
    /// A reader whose bytes count: those that it has, and those of the values that it gave,
    /// until [`ValueReader::forget`].
    pub(super) fn sharing(share: Share) -> Self {
        Self { share: Some(share), ..Self::default() }
    }

    /// The next value; `None` when the stream ended before it. A call that is dropped
    /// halfway may be made again.
    ///
    /// # Errors
    /// See [`ValueError`].
    pub async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        limits: Limits,
    ) -> Result<Option<Bytes>, ValueError> {
        let mut scan = ValueScan::default();
        loop {
            let found = scan.advance(&self.buffer)?;
            if scan.bytes_min() > limits.bytes_max as u64 {
                return Err(ValueError::TooLong(limits.bytes_max));
            }
            if scan.values_min() > limits.values_max {
                return Err(ValueError::TooMany(limits.values_max));
            }
            if let Some(len) = found {
                self.given += len;
                return Ok(Some(self.buffer.split_to(len).freeze()));
            }
            let promised = usize::try_from(scan.bytes_min()).unwrap_or(usize::MAX);
            let missing = promised.saturating_sub(self.buffer.len()).clamp(ROOM, ROOM_MAX);
            let whole = self.buffer.is_empty();
            let fill = self.fill(stream, missing);
            let read = if whole && !limits.begun {
                fill.await?
            } else {
                timeout(limits.stall, fill)
                    .await
                    .map_err(|_| ValueError::Stalled(limits.stall))??
            };
            if read == 0 {
                return if whole { Ok(None) } else { Err(ValueError::Ended) };
            }
            let held = self.given + self.buffer.len();
            if self.share.as_mut().is_some_and(|share| !share.hold(held)) {
                return Err(ValueError::Exhausted);
            }
        }
    }

    /// The values that it gave are gone.
    pub(super) fn forget(&mut self) {
        self.given = 0;
        if let Some(share) = &mut self.share {
            // Less than before, so there is room for it.
            share.hold(self.buffer.len());
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
    use tokio::io::AsyncWriteExt as _;

    use super::super::Budget;
    use super::*;

    const LIMITS: Limits = Limits { values_max: 10, ..Limits::bytes(100) };

    async fn read_all(bytes: &[u8], limits: Limits) -> (Vec<Vec<u8>>, Option<String>) {
        let (mut reader, mut stream, mut values) = (ValueReader::default(), bytes, Vec::new());
        loop {
            match reader.next(&mut stream, limits).await {
                Ok(Some(value)) => values.push(value.to_vec()),
                Ok(None) => return (values, None),
                Err(error) => return (values, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn values_are_cut_out_one_behind_the_other() {
        let (values, error) =
            read_all(b"\x80\x82\xa1a\x01\xa1b\xc3\xa3abc", Limits::bytes(100)).await;
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
            (b"\x80\x9b\x01\x01", "a value of more than 10 members"),
            (b"\x80\x85\x01\x01", "a value of more than 10 members"),
        ] {
            let (values, error) = read_all(bytes, LIMITS).await;
            assert_eq!((values.len(), error.as_deref()), (1, Some(text)), "{bytes:02x?}");
        }
        let mut fits = b"\xda\x00\x61".to_vec();
        fits.resize(100, b'x');
        assert_eq!(read_all(&fits, LIMITS).await, (vec![fits.clone()], None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_in_the_middle_is_not_waited_for() {
        let stall = Duration::from_secs(60);
        let limits = Limits { stall, ..LIMITS };
        let (mut sender, mut stream) = tokio::io::duplex(100);
        let mut reader = ValueReader::default();
        // Before the first byte there is all the time in the world.
        let waits = timeout(10 * stall, reader.next(&mut stream, limits)).await;
        assert!(waits.is_err());
        let begun = timeout(10 * stall, reader.next(&mut stream, Limits { begun: true, ..limits }));
        assert!(matches!(begun.await, Ok(Err(ValueError::Stalled(_)))));
        for byte in b"\xa5hell" {
            sender.write_all(&[*byte]).await.unwrap();
            let waits = timeout(stall - Duration::from_secs(1), reader.next(&mut stream, limits));
            assert!(waits.await.is_err());
        }
        let ended = reader.next(&mut stream, limits).await;
        assert!(matches!(ended, Err(ValueError::Stalled(_))));
    }

    #[tokio::test]
    async fn readers_share_what_there_is_and_give_it_back() {
        let budget = Budget::new(8);
        let [mut a, mut b] = [(); 2].map(|()| ValueReader::sharing(budget.share()));
        assert!(a.next(&mut &b"\xa4abcd"[..], LIMITS).await.unwrap().is_some());
        assert_eq!(budget.held(), 5);
        let refused = b.next(&mut &b"\xa4abcd"[..], LIMITS).await;
        assert!(matches!(refused, Err(ValueError::Exhausted)));
        a.forget();
        drop(b);
        assert_eq!(budget.held(), 0);
    }
}
