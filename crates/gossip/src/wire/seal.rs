//! The outer layers: label and encryption (`reference/gossip-wire.md` sections 2, 4 and 5).
//!
//! An encrypted blob is a version byte, a nonce of 12 bytes, the AES-GCM text and its tag.
//! Packets are nothing but that; streams have a type byte and a length in front, which the tag
//! covers. A nonce must never come twice with one key: it is drawn by the caller.

use std::borrow::Cow;

use aws_lc_rs::aead::{self, Aad};
use bytes::Bytes;

use super::keyring::{Key, Keyring};
use super::{MessageType, stream};

/// What makes a message's key stream its own: 12 random bytes.
pub type Nonce = [u8; 12];

/// Most bytes of a label.
pub const LABEL_MAX: usize = 255;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;

/// The form of an encrypted blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SealVersion {
    /// Padded to whole blocks; spoken below memberlist protocol 2.
    V0 = 0,
    /// Not padded.
    #[default]
    V1 = 1,
}

impl SealVersion {
    /// Most bytes that encryption adds.
    pub fn overhead(self) -> usize {
        match self {
            SealVersion::V0 => 45,
            SealVersion::V1 => 29,
        }
    }
}

/// What a pool demands of what comes, and puts around what goes.
#[derive(Clone, Debug)]
pub struct Security {
    /// The keys; `None` for a pool without encryption.
    pub keyring: Option<Keyring>,
    /// The pool's label, at most [`LABEL_MAX`] bytes. Consul's pools have none.
    pub label: Bytes,
    /// Whether what is not encrypted is refused (with a keyring).
    pub verify_incoming: bool,
    /// Whether to encrypt (with a keyring).
    pub verify_outgoing: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self { keyring: None, label: Bytes::new(), verify_incoming: true, verify_outgoing: true }
    }
}

/// Why what came is not for us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A label's header that is cut off.
    #[error("cannot decode label; packet has been truncated")]
    LabelTruncated,
    /// A label's header without a label.
    #[error("label header cannot be empty when present")]
    LabelEmpty,
    /// Another pool's label, or none where one is needed.
    #[error("discarding message with unacceptable label {0:?}")]
    Label(String),
    /// A blob of another version than 0 and 1.
    #[error("unsupported encryption version {0}")]
    Version(u8),
    /// Fewer bytes than an empty blob has.
    #[error("payload is too small to decrypt: {0}")]
    TooSmall(usize),
    /// Not encrypted with any of our keys, or changed on the way.
    #[error("No installed keys could decrypt the message")]
    NoKey,
    /// Padding that no one writes.
    #[error("the decrypted message's padding is wrong")]
    Padding,
}

impl Security {
    /// Whether what is sent is encrypted.
    pub fn encrypts(&self) -> bool {
        self.keyring.is_some() && self.verify_outgoing
    }

    /// Bytes that [`Security::seal_packet`] adds to a packet.
    pub fn packet_overhead(&self) -> usize {
        let label = if self.label.is_empty() { 0 } else { 2 + self.label.len() };
        label + if self.encrypts() { SealVersion::V1.overhead() } else { 0 }
    }

    /// A packet as it goes out.
    pub fn seal_packet<'p>(&self, nonce: Nonce, plain: &'p [u8]) -> Cow<'p, [u8]> {
        let Some(keyring) = self.keyring.as_ref().filter(|_| self.verify_outgoing) else {
            return match self.label_header() {
                header if header.is_empty() => Cow::Borrowed(plain),
                header => Cow::Owned([&header, plain].concat()),
            };
        };
        let mut out = self.label_header();
        seal(&mut out, keyring.primary(), SealVersion::V1, nonce, &self.label, plain);
        Cow::Owned(out)
    }

    /// What a packet that came holds.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_packet<'p>(&self, packet: &'p [u8]) -> Result<Cow<'p, [u8]>, OpenError> {
        let (label, rest) = split_label(packet)?;
        if label != self.label {
            return Err(wrong_label(label));
        }
        let Some(keyring) = &self.keyring else { return Ok(Cow::Borrowed(rest)) };
        match open(keyring, &self.label, rest) {
            Ok(plain) => Ok(Cow::Owned(plain)),
            Err(_) if !self.verify_incoming => Ok(Cow::Borrowed(rest)),
            Err(error) => Err(error),
        }
    }

    /// A stream's message as it goes out.
    pub fn seal_stream<'p>(&self, nonce: Nonce, plain: &'p [u8]) -> Cow<'p, [u8]> {
        let mut out = self.label_header();
        match self.keyring.as_ref().filter(|_| self.verify_outgoing) {
            None if out.is_empty() => return Cow::Borrowed(plain),
            None => out.extend(plain),
            Some(keyring) => {
                let length = SealVersion::V1.overhead() + plain.len();
                let prefix = stream::sealed_prefix(length);
                let aad = [&prefix[..], &self.label].concat();
                out.extend(prefix);
                seal(&mut out, keyring.primary(), SealVersion::V1, nonce, &aad, plain);
            }
        }
        Cow::Owned(out)
    }

    fn label_header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.label.is_empty() {
            let label = &self.label[..self.label.len().min(LABEL_MAX)];
            out.extend([MessageType::HasLabel as u8, label.len() as u8]);
            out.extend(label);
        }
        out
    }
}

/// The label in front of some bytes, empty if there is none, and what is behind it.
pub(super) fn split_label(bytes: &[u8]) -> Result<(&[u8], &[u8]), OpenError> {
    if bytes.first() != Some(&(MessageType::HasLabel as u8)) {
        return Ok((&[], bytes));
    }
    let &length = bytes.get(1).ok_or(OpenError::LabelTruncated)?;
    if length == 0 {
        return Err(OpenError::LabelEmpty);
    }
    bytes[2..].split_at_checked(usize::from(length)).ok_or(OpenError::LabelTruncated)
}

pub(super) fn wrong_label(label: &[u8]) -> OpenError {
    OpenError::Label(String::from_utf8_lossy(label).into_owned())
}

/// Appends `plain`, encrypted, to `out`.
pub fn seal(
    out: &mut Vec<u8>,
    key: &Key,
    version: SealVersion,
    nonce: Nonce,
    aad: &[u8],
    plain: &[u8],
) {
    out.reserve(plain.len() + version.overhead());
    out.push(version as u8);
    out.extend(nonce);
    let start = out.len();
    out.extend(plain);
    if version == SealVersion::V0 {
        let padding = BLOCK_BYTES - plain.len() % BLOCK_BYTES;
        out.extend(std::iter::repeat_n(padding as u8, padding));
    }
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let tag = key
        .cipher()
        .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[start..])
        .expect("a message is far below what AES-GCM takes");
    out.extend(tag.as_ref());
}

/// What an encrypted blob holds, by the first key that fits.
///
/// # Errors
/// See [`OpenError`].
pub fn open(keyring: &Keyring, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let too_small = OpenError::TooSmall(sealed.len());
    let (&version, rest) = sealed.split_first().ok_or(too_small.clone())?;
    let padded = match version {
        0 => true,
        1 => false,
        other => return Err(OpenError::Version(other)),
    };
    let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(too_small.clone())?;
    if text.len() < TAG_BYTES {
        return Err(too_small);
    }
    let mut plain = keyring.open(*nonce, aad, text).ok_or(OpenError::NoKey)?;
    if padded {
        let padding = plain.last().map_or(0, |last| usize::from(*last));
        if !(1..=BLOCK_BYTES).contains(&padding) || padding > plain.len() {
            return Err(OpenError::Padding);
        }
        plain.truncate(plain.len() - padding);
    }
    Ok(plain)
}
