//! What can be wrong with an archive.

use std::io;

/// Why an archive is refused, or could not be read. Nothing of it may be used then.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive's bytes could not be had.
    #[error("cannot read the snapshot: {0}")]
    Input(io::Error),
    /// It is not gzip: what Go's reader says.
    #[error("failed to decompress snapshot: {0}")]
    NotGzip(&'static str),
    /// It ends too early.
    #[error("failed to read snapshot file: failed to read or write snapshot data: unexpected EOF")]
    Cut,
    /// It ends behind the tar, but within the gzip.
    #[error("unexpected EOF")]
    CutTrailer,
    /// The compressed bytes are damaged.
    #[error("failed to read snapshot file: failed to read or write snapshot data: flate: {0}")]
    Corrupt(String),
    /// The checksum of gzip is another.
    #[error("gzip: invalid checksum")]
    GzipChecksum,
    /// It is no tar.
    #[error("failed to read snapshot file: failed reading snapshot: archive/tar: {0}")]
    NotTar(String),
    /// A member that does not belong there.
    #[error("failed to read snapshot file: unexpected file {name:?} in snapshot")]
    Unexpected {
        /// Its name, cut if it is long.
        name: String,
    },
    /// A link, a folder or a device in place of a file.
    #[error("failed to read snapshot file: {name:?} in the snapshot is not a regular file")]
    NotRegular {
        /// Its name.
        name: String,
    },
    /// A member for the second time.
    #[error("failed to read snapshot file: {name:?} is in the snapshot twice")]
    Twice {
        /// Its name.
        name: &'static str,
    },
    /// A member that is far larger than it can be.
    #[error(
        "failed to read snapshot file: {name:?} in the snapshot claims {bytes} bytes, at most {most} make sense"
    )]
    TooLarge {
        /// Its name.
        name: &'static str,
        /// What it claims to have.
        bytes: u64,
        /// What it may have.
        most: u64,
    },
    /// `meta.json` is not what it should be.
    #[error("failed to read snapshot file: failed to decode snapshot metadata: {0}")]
    Meta(String),
    /// `SHA256SUMS` is not what it should be.
    #[error("failed to read snapshot file: failed checking integrity of snapshot: {0}")]
    Sums(String),
    /// A sum is missing, as `SHA256SUMS` is, or the file that it is of.
    #[error(
        "failed to read snapshot file: failed checking integrity of snapshot: file missing for {name:?}"
    )]
    SumMissing {
        /// The file.
        name: &'static str,
    },
    /// A sum is not that of the file.
    #[error(
        "failed to read snapshot file: failed checking integrity of snapshot: hash check failed for {name:?}"
    )]
    SumDiffers {
        /// The file.
        name: &'static str,
    },
    /// More stands behind the end.
    #[error("{0} unread uncompressed bytes remain")]
    Trailing(Remaining),
    /// More stands behind the gzip.
    #[error("{0} bytes follow the end of the snapshot's gzip stream")]
    Following(Remaining),
    /// The version of the format is unknown.
    #[error("unsupported snapshot version {0}")]
    Version(i64),
    /// `meta.json` tells another size.
    #[error("failed to write snapshot, size didn't match ({found} != {told})")]
    Size {
        /// The bytes of `state.bin`.
        found: u64,
        /// What `meta.json` says.
        told: u64,
    },
    /// Whoever was given the state did not take it.
    #[error("{0}")]
    State(io::Error),
}

/// How many bytes there are, counted up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// As many as were counted.
    pub bytes: u64,
    /// Whether there are more than that.
    pub or_more: bool,
}

impl std::fmt::Display for Remaining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.or_more { "more than " } else { "" };
        write!(f, "{more}{}", self.bytes)
    }
}
