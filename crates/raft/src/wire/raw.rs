//! Bytes that are borrowed while they are read.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::WireError;
use crate::entry::ServerId;

/// Most bytes of an id or an address. Consul's ids have 36.
const NAME_BYTES_MAX: usize = 255;

/// Most characters of a refusal that are shown.
const TEXT_CHARS_MAX: usize = 300;

/// Text or bytes; nil when empty, as Go's nil slices are.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw<'a>(Cow<'a, [u8]>);

impl Raw<'_> {
    /// The bytes, without a copy if they lie in `whole`.
    pub(super) fn into_bytes(self, whole: &Bytes) -> Bytes {
        match self.0 {
            Cow::Borrowed([]) => Bytes::new(),
            Cow::Borrowed(bytes) => whole.slice_ref(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        }
    }

    /// As an id or an address.
    pub(super) fn name(&self) -> Result<&str, WireError> {
        let text = std::str::from_utf8(&self.0).ok().filter(|text| text.len() <= NAME_BYTES_MAX);
        text.ok_or(WireError::Sender)
    }

    /// As an id, if there is one.
    pub(super) fn server_id(&self) -> Result<Option<ServerId>, WireError> {
        let name = self.name()?;
        Ok((!name.is_empty()).then(|| ServerId(name.into())))
    }

    /// As words for people.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).chars().take(TEXT_CHARS_MAX).collect()
    }
}

impl std::ops::Deref for Raw<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> From<&'a str> for Raw<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Raw<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Raw<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.is_empty() {
            true => serializer.serialize_none(),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Borrowed(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Owned(bytes)))
            }
        }

        deserializer.deserialize_bytes(RawVisitor)
    }
}
