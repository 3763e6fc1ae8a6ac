//! The extensions of a part: a protobuf message of hashicorp/go-raftchunking.

/// How the extensions of a log verifier's checkpoint begin.
pub(super) const CHECKPOINT_MAGIC: &[u8] = b"\x03\xa5\x92\x03\xd6\xf9\xd1\xaf";

/// Most parts of a command: with 512 KiB each, far more than any request may have.
pub(super) const PARTS_MAX: u32 = 1 << 16;

/// Which part of which command an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The command: a random number.
    pub op: u64,
    /// The part, from zero.
    pub sequence: u32,
    /// How many parts the command has.
    pub count: u32,
}

/// Extensions that say nothing of a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// They are no such message.
    #[error("error unmarshaling chunk info: the log entry's extensions are no part of a command")]
    Undecodable,
    /// They are, and contradict themselves.
    #[error("part {sequence} of {count} of a chunked command")]
    Impossible {
        /// The part.
        sequence: u64,
        /// Of so many.
        count: u64,
    },
}

impl Part {
    /// Reads extensions.
    ///
    /// # Errors
    /// See [`PartError`].
    pub fn decode(extensions: &[u8]) -> Result<Self, PartError> {
        let (mut op, mut sequence, mut count) = (0, 0, 0);
        let mut rest = extensions;
        while !rest.is_empty() {
            let key = varint(&mut rest).ok_or(PartError::Undecodable)?;
            let value = match key & 7 {
                0 => varint(&mut rest),
                1 => skip(&mut rest, 8),
                2 => varint(&mut rest).and_then(|len| skip(&mut rest, len)),
                5 => skip(&mut rest, 4),
                _ => None,
            };
            let value = value.ok_or(PartError::Undecodable)?;
            match key {
                0x08 => op = value,
                0x10 => sequence = value,
                0x18 => count = value,
                // What would be extensions of the whole command: Consul gives it none.
                _ => {}
            }
        }
        let impossible = PartError::Impossible { sequence, count };
        match (u32::try_from(sequence), u32::try_from(count)) {
            (Ok(part), Ok(parts)) if part < parts && parts <= PARTS_MAX => {
                Ok(Self { op, sequence: part, count: parts })
            }
            _ => Err(impossible),
        }
    }

    /// The extensions, as Consul's leaders write them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = [(0x08, self.op), (0x10, self.sequence.into()), (0x18, self.count.into())];
        for (key, mut value) in fields.into_iter().filter(|(_, value)| *value != 0) {
            out.push(key);
            while value >= 0x80 {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        }
        out
    }
}

fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Steps over a field that is not looked at.
fn skip(input: &mut &[u8], bytes: u64) -> Option<u64> {
    *input = input.get(usize::try_from(bytes).ok()?..)?;
    Some(0)
}
