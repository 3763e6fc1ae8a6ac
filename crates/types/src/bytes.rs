//! Bytes that are base64 text in JSON and raw bytes in msgpack.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A byte string. JSON: padded standard base64, `null` when empty. Msgpack:
/// raw bytes, nil when empty. Cloning shares the memory.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Bytes);

impl Blob {
    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<&'static [u8]> for Blob {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl std::ops::Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            serializer.serialize_none()
        } else if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor {
            base64: bool,
        }

        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                if !self.base64 {
                    return Ok(Blob(Bytes::copy_from_slice(text.as_bytes())));
                }
                let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
                match STANDARD.decode(&text) {
                    Ok(bytes) => Ok(Blob(bytes.into())),
                    Err(_) => Err(E::custom(format!(
                        "illegal base64 data at input byte {}",
                        first_invalid_base64(&text)
                    ))),
                }
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            fn visit_none<E: de::Error>(self) -> Result<Blob, E> {
                Ok(Blob::default())
            }

            fn visit_unit<E: de::Error>(self) -> Result<Blob, E> {
                Ok(Blob::default())
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Blob, D::Error> {
                Blob::deserialize(deserializer)
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_any(BlobVisitor { base64: true })
        } else {
            deserializer.deserialize_byte_buf(BlobVisitor { base64: false })
        }
    }
}

/// The position that Go's decoder blames: the first byte outside the alphabet,
/// or the last incomplete group of four.
fn first_invalid_base64(text: &str) -> usize {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let bytes = text.as_bytes();
    bytes.iter().position(|b| !alphabet(*b)).unwrap_or(bytes.len() / 4 * 4)
}
