//! The header of a frame: version, type, flags, stream, length; big endian.

use std::fmt;
use std::ops::BitOr;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 12;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// As many bytes of a stream as the length says follow.
    Data = 0,
    /// The length is how many more bytes the other side may send.
    WindowUpdate = 1,
    /// The length is a value that is to be sent back.
    Ping = 2,
    /// The length is the reason for which no more streams are taken.
    GoAway = 3,
}

/// What a frame says beside its type. Flags that nobody knows are kept and ignored.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// A new stream, or a ping that wants an answer.
    pub const SYN: Flags = Flags(1);
    /// A stream is accepted, or a ping is answered.
    pub const ACK: Flags = Flags(2);
    /// The sender sends no more on this stream.
    pub const FIN: Flags = Flags(4);
    /// The stream is aborted.
    pub const RST: Flags = Flags(8);

    /// Whether all flags of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// What it says beside that.
    pub flags: Flags,
    /// The stream it is about; 0 for the session.
    pub stream: u32,
    /// Means what the type says.
    pub length: u32,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A version other than 0.
    #[error("invalid protocol version {0}")]
    Version(u8),
    /// A type that nobody knows.
    #[error("invalid msg type {0}")]
    Kind(u8),
}

impl Header {
    /// The twelve bytes.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[1] = self.kind as u8;
        bytes[2..4].copy_from_slice(&self.flags.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// What twelve bytes say.
    ///
    /// # Errors
    /// Another version, an unknown type.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(FrameError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(FrameError::Kind(other)),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        for (hex, kind, flags, stream, length) in [
            (0x0001_0001_0000_0001_0000_0000, Kind::WindowUpdate, Flags::SYN, 1, 0),
            (0x0000_0000_0000_0001_0000_0021, Kind::Data, Flags::NONE, 1, 0x21),
            (0x0002_0001_0000_0000_0000_0007, Kind::Ping, Flags::SYN, 0, 7),
            (0x0003_0000_0000_0000_0000_0002, Kind::GoAway, Flags::NONE, 0, 2),
            (0x0000_000f_ffff_ffff_ffff_ffff, Kind::Data, Flags(15), u32::MAX, u32::MAX),
        ] {
            let bytes: [u8; 12] = u128::to_be_bytes(hex)[4..].try_into().unwrap();
            let header = Header { kind, flags, stream, length };
            assert_eq!(Header::decode(&bytes), Ok(header));
            assert_eq!(header.encode(), bytes);
        }
        let mut bytes = [0; 12];
        bytes[1] = 4;
        assert_eq!(Header::decode(&bytes), Err(FrameError::Kind(4)));
        bytes[0] = 1;
        assert_eq!(Header::decode(&bytes), Err(FrameError::Version(1)));
    }
}
