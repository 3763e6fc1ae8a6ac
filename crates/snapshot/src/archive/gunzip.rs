//! Decompression that tells what is wrong.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

use super::BUFFER_BYTES;
use super::error::{ArchiveError, Remaining};

/// Bytes behind the end that are counted.
const REMAINING_MAX: u64 = 1 << 20;

/// Bytes of the fixed part of a gzip header.
const HEADER_BYTES: usize = 10;

/// The head that was looked at, then the rest.
type Input<R> = Chain<Cursor<Vec<u8>>, Marked<R>>;

/// One gzip member, and nothing behind it.
pub(super) struct Gunzip<R> {
    decoder: GzDecoder<BufReader<Input<R>>>,
    /// Whether the tar has ended, so that only the trailer may be missing.
    pub(super) is_past_tar: bool,
}

impl<R: Read> Gunzip<R> {
    pub(super) fn open(input: R) -> Result<Self, ArchiveError> {
        let mut input = Marked { input };
        let mut head = Vec::with_capacity(HEADER_BYTES);
        let read = input.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut head);
        read.map_err(unmarked)?;
        match head.as_slice() {
            [] => return Err(ArchiveError::NotGzip("EOF")),
            head if head.len() < HEADER_BYTES => {
                return Err(ArchiveError::NotGzip("unexpected EOF"));
            }
            [0x1f, 0x8b, 8, ..] => {}
            _ => return Err(ArchiveError::NotGzip("gzip: invalid header")),
        }
        let input = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(input));
        Ok(Self { decoder: GzDecoder::new(input), is_past_tar: false })
    }

    /// Reads until `into` is full or the stream ends.
    pub(super) fn fill(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.decoder.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.told(error)),
            }
        }
        Ok(filled)
    }

    /// The end must be here.
    pub(super) fn finish(mut self) -> Result<(), ArchiveError> {
        self.is_past_tar = true;
        let remaining = count(|into| self.fill(into))?;
        if let Some(remaining) = remaining {
            return Err(ArchiveError::Trailing(remaining));
        }
        let mut input = self.decoder.into_inner();
        let following = count(|into| match input.fill_buf() {
            Ok(bytes) => {
                let taken = bytes.len().min(into.len());
                input.consume(taken);
                Ok(taken)
            }
            Err(error) => Err(unmarked(error)),
        })?;
        following.map_or(Ok(()), |following| Err(ArchiveError::Following(following)))
    }

    fn told(&self, error: io::Error) -> ArchiveError {
        if error.get_ref().is_some_and(|inner| inner.is::<InputFailed>()) {
            return unmarked(error);
        }
        let text = error.to_string();
        match error.kind() {
            io::ErrorKind::UnexpectedEof if self.is_past_tar => ArchiveError::CutTrailer,
            io::ErrorKind::UnexpectedEof => ArchiveError::Cut,
            _ if text.contains("checksum") => ArchiveError::GzipChecksum,
            _ if text.contains("gzip header") => ArchiveError::NotGzip("gzip: invalid header"),
            _ => ArchiveError::Corrupt(text),
        }
    }
}

/// Counts what is left, up to a limit.
fn count(
    mut read: impl FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
) -> Result<Option<Remaining>, ArchiveError> {
    let mut buffer = [0; 4096];
    let mut bytes = 0;
    loop {
        match read(&mut buffer)? {
            0 if bytes == 0 => return Ok(None),
            0 => return Ok(Some(Remaining { bytes, or_more: false })),
            count => bytes += count as u64,
        }
        if bytes > REMAINING_MAX {
            return Ok(Some(Remaining { bytes: REMAINING_MAX, or_more: true }));
        }
    }
}

/// Tells errors of the input from those of what is in it.
struct Marked<R> {
    input: R,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InputFailed(io::Error);

impl<R: Read> Read for Marked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.input.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(InputFailed(error)),
        })
    }
}

fn unmarked(error: io::Error) -> ArchiveError {
    ArchiveError::Input(match error.downcast::<InputFailed>() {
        Ok(InputFailed(error)) | Err(error) => error,
    })
}
