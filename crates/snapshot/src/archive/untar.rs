//! The members of a tar, one after the other, none of them trusted.

use std::io::Read;

use tar::{EntryType, Header, PaxExtensions};

use super::error::ArchiveError;
use super::gunzip::Gunzip;

/// The unit of a tar.
const BLOCK_BYTES: usize = 512;

/// Most bytes of an extended header: a handful of short lines.
const EXTENDED_BYTES_MAX: u64 = 64 << 10;

/// Most letters of a strange name that are shown.
const NAME_CHARS_MAX: usize = 64;

/// The head of a member.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) is_regular: bool,
}

pub(super) struct Untar<R> {
    gunzip: Gunzip<R>,
    /// Bytes of the present member that are still to come, and those that fill up its
    /// last block.
    left: u64,
    padding: usize,
}

impl<R: Read> Untar<R> {
    pub(super) fn open(input: R) -> Result<Self, ArchiveError> {
        Ok(Self { gunzip: Gunzip::open(input)?, left: 0, padding: 0 })
    }

    /// The next member; `None` at the end. The one before must have been read.
    pub(super) fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut size = None;
        loop {
            let Some(header) = self.next_header()? else { return Ok(None) };
            let bytes = header.entry_size().map_err(|error| not_tar(&error))?;
            match header.entry_type() {
                EntryType::XHeader | EntryType::XGlobalHeader => {
                    let extended = self.read_extended(bytes)?;
                    if header.entry_type() == EntryType::XHeader {
                        size = extended_size(&extended)?;
                    }
                }
                kind => {
                    let bytes = size.unwrap_or(bytes);
                    self.begin(bytes);
                    let name = String::from_utf8_lossy(&header.path_bytes())
                        .chars()
                        .take(NAME_CHARS_MAX)
                        .collect();
                    // The oldest tars mark a file by nothing.
                    let is_regular = matches!(kind, EntryType::Regular | EntryType::Continuous);
                    return Ok(Some(Member { name, bytes, is_regular }));
                }
            }
        }
    }

    /// Reads on in the member; 0 at its end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.gunzip.fill(&mut into[..want])?;
        if count < want {
            return Err(ArchiveError::Cut);
        }
        self.left -= count as u64;
        if self.left == 0 {
            self.skip_padding()?;
        }
        Ok(count)
    }

    /// Nothing may stand behind the end.
    pub(super) fn finish(self) -> Result<(), ArchiveError> {
        self.gunzip.finish()
    }

    /// A header, or the end: two empty blocks, of which Consul misses none.
    fn next_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        self.gunzip.is_past_tar = true;
        let mut block = [0; BLOCK_BYTES];
        match self.gunzip.fill(&mut block)? {
            0 => return Ok(None),
            BLOCK_BYTES => {}
            _ => return Err(ArchiveError::Cut),
        }
        if block == [0; BLOCK_BYTES] {
            match self.gunzip.fill(&mut block)? {
                0 => return Ok(None),
                BLOCK_BYTES if block == [0; BLOCK_BYTES] => return Ok(None),
                _ => return Err(ArchiveError::NotTar("invalid tar header".to_owned())),
            }
        }
        self.gunzip.is_past_tar = false;
        let header = Header::from_byte_slice(&block).clone();
        let told = header.cksum().map_err(|error| not_tar(&error))?;
        // The sum is taken with blanks in its own place.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        if told != sum {
            return Err(ArchiveError::NotTar("invalid tar header".to_owned()));
        }
        Ok(Some(header))
    }

    fn begin(&mut self, bytes: u64) {
        self.left = bytes;
        let over = (bytes % BLOCK_BYTES as u64) as usize;
        self.padding = if over == 0 { 0 } else { BLOCK_BYTES - over };
    }

    fn skip_padding(&mut self) -> Result<(), ArchiveError> {
        let mut padding = [0; BLOCK_BYTES];
        let wanted = std::mem::take(&mut self.padding);
        match self.gunzip.fill(&mut padding[..wanted])? {
            count if count == wanted => Ok(()),
            _ => Err(ArchiveError::Cut),
        }
    }

    fn read_extended(&mut self, bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        if bytes > EXTENDED_BYTES_MAX {
            return Err(ArchiveError::NotTar(format!("an extended header of {bytes} bytes")));
        }
        self.begin(bytes);
        let mut extended = vec![0; bytes as usize];
        self.read(&mut extended)?;
        Ok(extended)
    }
}

/// The size that an extended header tells, for files that are too large for a plain one.
fn extended_size(extended: &[u8]) -> Result<Option<u64>, ArchiveError> {
    let mut size = None;
    for line in PaxExtensions::new(extended) {
        let line = line.map_err(|error| not_tar(&error))?;
        if line.key_bytes() == b"size" {
            let text = std::str::from_utf8(line.value_bytes()).ok();
            let bytes = text.and_then(|text| text.parse().ok());
            size = Some(bytes.ok_or_else(|| ArchiveError::NotTar("invalid size".to_owned()))?);
        }
    }
    Ok(size)
}

fn not_tar(error: &std::io::Error) -> ArchiveError {
    // The library's own words name bytes of the header, of any length.
    let text: String = error.to_string().chars().take(2 * NAME_CHARS_MAX).collect();
    ArchiveError::NotTar(format!("invalid tar header: {text}"))
}
