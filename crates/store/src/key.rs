//! Keys of rows and of index entries.

use std::sync::Arc;

use smallvec::SmallVec;

/// A key: bytes, compared bytewise. Shared, because a row often holds the same text.
pub type Key = Arc<[u8]>;

/// The two bytes that end a text inside a compound key. A zero byte inside a
/// text is written as `00 ff`, so no text can look like the end of another, and
/// keys sort as the lists of texts they were made from.
const END: [u8; 2] = [0x00, 0x01];

/// Builds compound keys out of texts: `KeyBuilder::new().text("web").text("web-1")`.
/// A builder with fewer texts is a prefix of all keys that begin with those texts.
#[derive(Clone, Debug, Default)]
pub struct KeyBuilder(SmallVec<[u8; 96]>);

impl KeyBuilder {
    /// An empty key, the prefix of all others.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a text and its end.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.push(byte);
        }
        self.0.extend_from_slice(&END);
        self
    }

    /// Appends a text in lower case (ASCII and beyond) and its end: names of nodes
    /// and services are compared without regard to case.
    #[must_use]
    pub fn text_ignoring_case(mut self, text: &str) -> Self {
        if text.is_ascii() {
            for byte in text.bytes() {
                self.push(byte.to_ascii_lowercase());
            }
            self.0.extend_from_slice(&END);
            return self;
        }
        self.text(&text.to_lowercase())
    }

    /// Appends a number so that keys sort by its value.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Appends bytes as they are; only as the last part of a key.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The finished key.
    pub fn build(&self) -> Key {
        Arc::from(self.0.as_slice())
    }

    fn push(&mut self, byte: u8) {
        self.0.push(byte);
        if byte == 0 {
            self.0.push(0xff);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_pass_for_the_beginning_of_another() {
        let web = KeyBuilder::new().text("web");
        for other in ["webs", "web\0", "web\0\u{1}x", "we"] {
            let other = KeyBuilder::new().text(other).text("id");
            assert!(!other.as_bytes().starts_with(web.as_bytes()));
        }
        assert!(KeyBuilder::new().text("web").text("1").as_bytes().starts_with(web.as_bytes()));
    }

    #[test]
    fn compound_keys_sort_as_their_texts() {
        let mut texts = [["a", "z"], ["a\0", "a"], ["ab", ""], ["a", ""], ["", "z"]];
        texts.sort_unstable();
        let keys: Vec<Key> =
            texts.iter().map(|[a, b]| KeyBuilder::new().text(a).text(b).build()).collect();
        assert!(keys.is_sorted());
    }
}
