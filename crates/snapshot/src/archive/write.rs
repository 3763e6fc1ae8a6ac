//! Writing an archive.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::{BUFFER_BYTES, META, STATE, SUMS};
use crate::meta::Meta;

/// Zeroes that fill up a block.
const BLOCK: [u8; 512] = [0; 512];

/// What writes a `state.bin`, the same bytes each time.
pub type WriteState<'s> = &'s dyn Fn(&mut dyn Write) -> io::Result<()>;

/// Writes an archive to `out`, and returns its description, with the size of the state.
/// The size and the sum stand before the state in the archive, so `state` is called
/// twice, and must write the same. `mtime` is the time of the members, seconds since the
/// Unix epoch.
///
/// # Errors
/// Those of `out` and of `state`; what was written is then not an archive.
pub fn write(
    out: impl Write,
    mut meta: Meta,
    mtime: u64,
    state: WriteState<'_>,
) -> io::Result<Meta> {
    let mut measured = Measured::new(io::sink());
    state(&mut measured)?;
    let (size, state_sum) = measured.finish();
    meta.size = size;
    meta.crc = Default::default();
    let encoded = meta.encode();
    let mut sum = Context::new(&SHA256);
    sum.update(&encoded);
    let sums = format!("{}{}", line(&sum.finish(), META), line(&state_sum, STATE));

    let gzip = GzEncoder::new(BufWriter::with_capacity(BUFFER_BYTES, out), Compression::default());
    let mut tar = BufWriter::with_capacity(BUFFER_BYTES, gzip);
    put(&mut tar, META, mtime, &encoded)?;
    tar.write_all(header(STATE, size, mtime)?.as_bytes())?;
    let mut measured = Measured::new(&mut tar);
    state(&mut measured)?;
    if measured.finish().0 != size {
        return Err(io::Error::other("the state changed while it was written"));
    }
    pad(&mut tar, size)?;
    put(&mut tar, SUMS, mtime, sums.as_bytes())?;
    tar.write_all(&BLOCK)?;
    tar.write_all(&BLOCK)?;
    let gzip = tar.into_inner().map_err(io::IntoInnerError::into_error)?;
    gzip.finish()?.flush()?;
    Ok(meta)
}

fn put(tar: &mut impl Write, name: &str, mtime: u64, bytes: &[u8]) -> io::Result<()> {
    tar.write_all(header(name, bytes.len() as u64, mtime)?.as_bytes())?;
    tar.write_all(bytes)?;
    pad(tar, bytes.len() as u64)
}

fn header(name: &str, bytes: u64, mtime: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(mtime);
    header.set_entry_type(EntryType::Regular);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

fn pad(tar: &mut impl Write, bytes: u64) -> io::Result<()> {
    let over = (bytes % BLOCK.len() as u64) as usize;
    if over == 0 { Ok(()) } else { tar.write_all(&BLOCK[over..]) }
}

fn line(sum: &Digest, name: &str) -> String {
    let mut line = String::new();
    for byte in sum.as_ref() {
        let _ = write!(line, "{byte:02x}");
    }
    let _ = writeln!(line, "  {name}");
    line
}

/// Counts and sums what passes through.
struct Measured<W> {
    out: W,
    bytes: u64,
    sum: Context,
}

impl<W: Write> Measured<W> {
    fn new(out: W) -> Self {
        Self { out, bytes: 0, sum: Context::new(&SHA256) }
    }

    fn finish(self) -> (u64, Digest) {
        (self.bytes, self.sum.finish())
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sum.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
