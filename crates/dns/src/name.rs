//! Domain names in wire form, held inline so that a question costs no
//! allocation for its name (RFC 1035 section 3.1).

use std::fmt;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use crate::Malformed;

/// Most octets of a name on the wire, the root label included.
pub const NAME_OCTETS_MAX: usize = 255;
/// Most octets of one label.
pub const LABEL_OCTETS_MAX: usize = 63;
/// Compression pointers followed in one name. A name has at most 127 labels,
/// and each useful pointer leads to at least one.
const POINTERS_MAX: usize = 128;

/// An absolute domain name: length-prefixed labels, closed by the root label.
/// Spelling is kept, but does not matter when names are compared (RFC 4343).
#[derive(Clone)]
pub struct Name {
    length: u8,
    octets: [u8; NAME_OCTETS_MAX],
}

impl Name {
    /// The root name.
    pub fn root() -> Self {
        Self { length: 1, octets: [0; NAME_OCTETS_MAX] }
    }

    /// Reads `www.example.org` or `www.example.org.`; escapes are not known.
    /// `None` when a label is empty or longer than 63 octets, or the name too long.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut name = Self::root();
        name.push_text(text)?;
        Some(name)
    }

    /// Reads the possibly compressed name at `offset` of a message. Returns it
    /// with the offset after it. Never reads past the message, and gives up
    /// on loops, forward pointers and names that are too long.
    pub fn parse(message: &[u8], offset: usize) -> Result<(Self, usize), Malformed> {
        let mut name = Self::root();
        let mut at = offset;
        let mut end = None;
        for _ in 0..=POINTERS_MAX + NAME_OCTETS_MAX {
            let head = *message.get(at).ok_or(Malformed::Name)?;
            match head & 0xC0 {
                0x00 if head == 0 => return Ok((name, end.unwrap_or(at + 1))),
                0x00 => {
                    let next = at + 1 + usize::from(head);
                    let label = message.get(at + 1..next).ok_or(Malformed::Name)?;
                    name.push_label(label).ok_or(Malformed::Name)?;
                    at = next;
                }
                0xC0 => {
                    let low = *message.get(at + 1).ok_or(Malformed::Name)?;
                    let target = usize::from(head & 0x3F) << 8 | usize::from(low);
                    if target >= at {
                        return Err(Malformed::Name);
                    }
                    end.get_or_insert(at + 2);
                    at = target;
                }
                _ => return Err(Malformed::Name),
            }
        }
        Err(Malformed::Name)
    }

    /// Adds one label at the end. `None`, and nothing changed, when it is empty
    /// or does not fit.
    pub fn push_label(&mut self, label: &[u8]) -> Option<()> {
        let start = usize::from(self.length) - 1;
        let end = start + 1 + label.len();
        if label.is_empty() || label.len() > LABEL_OCTETS_MAX || end >= NAME_OCTETS_MAX {
            return None;
        }
        self.octets[start] = label.len() as u8;
        self.octets[start + 1..end].copy_from_slice(label);
        self.octets[end] = 0;
        self.length = (end + 1) as u8;
        Some(())
    }

    /// Adds the labels of dotted text; a dot at the end is allowed.
    pub fn push_text(&mut self, text: &str) -> Option<()> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Some(());
        }
        text.split('.').try_for_each(|label| self.push_label(label.as_bytes()))
    }

    /// Adds the labels of another name.
    pub fn push_name(&mut self, other: &Name) -> Option<()> {
        let start = usize::from(self.length) - 1;
        let end = start + usize::from(other.length);
        self.octets.get_mut(start..end)?.copy_from_slice(other.as_wire());
        self.length = end as u8;
        Some(())
    }

    /// The wire form, uncompressed.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.length == 1
    }

    /// The labels from left to right, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_wire();
        std::iter::from_fn(move || {
            let (&length, tail) = rest.split_first()?;
            if length == 0 {
                return None;
            }
            let (label, tail) = tail.split_at(usize::from(length));
            rest = tail;
            Some(label)
        })
    }

    /// Whether this name is `zone` or lies below it, without regard to case.
    pub fn is_within(&self, zone: &Name) -> bool {
        let Some(extra) = usize::from(self.length).checked_sub(usize::from(zone.length)) else {
            return false;
        };
        let mut at = 0;
        while at < extra {
            at += 1 + usize::from(self.octets[at]);
        }
        at == extra && self.as_wire()[extra..].eq_ignore_ascii_case(zone.as_wire())
    }

    /// The same name in lower case.
    pub fn to_lowercase(&self) -> Self {
        let mut lower = self.clone();
        // A length octet is at most 63 and `A` is 65: labels' lengths stay.
        lower.octets[..usize::from(self.length)].make_ascii_lowercase();
        lower
    }

    /// Dotted text in lower case without the final dot; the root is empty.
    /// Octets that are not printable ASCII become `\DDD`, dots and
    /// backslashes inside a label are escaped (RFC 4343 section 2.1).
    pub(crate) fn lowercase_text(&self) -> String {
        let mut text = String::with_capacity(usize::from(self.length));
        for label in self.labels() {
            if !text.is_empty() {
                text.push('.');
            }
            for octet in label {
                push_octet(&mut text, octet.to_ascii_lowercase());
            }
        }
        text
    }
}

/// Writes one octet of a label in presentation form.
fn push_octet(text: &mut String, octet: u8) {
    match octet {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
            text.push('\\');
            text.push(char::from(octet));
        }
        0x21..=0x7E => text.push(char::from(octet)),
        _ => {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\\{octet:03}");
        }
    }
}

impl fmt::Display for Name {
    /// Dotted text with the final dot, in the name's own spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        let mut text = String::new();
        for label in self.labels() {
            label.iter().for_each(|octet| push_octet(&mut text, *octet));
            text.push('.');
        }
        f.write_str(&text)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire().eq_ignore_ascii_case(other.as_wire())
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_wire().iter().for_each(|octet| state.write_u8(octet.to_ascii_lowercase()));
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a valid name")
    }

    #[test]
    fn names_are_within_their_zone_by_whole_labels_without_case() {
        assert!(name("db.service.Consul").is_within(&name("consul.")));
        assert!(name("consul").is_within(&name("consul")));
        assert!(name("consul").is_within(&Name::root()));
        assert!(!name("myconsul").is_within(&name("consul")));
        assert!(!name("consul").is_within(&name("a.consul")));
    }

    #[test]
    fn text_with_empty_or_long_labels_is_no_name() {
        assert!(Name::from_text("a..b").is_none());
        assert!(Name::from_text(&"x".repeat(64)).is_none());
        assert!(Name::from_text(&"x.".repeat(128)).is_none());
        assert!(Name::from_text(&"x.".repeat(127)).is_some());
    }

    #[test]
    fn pointers_that_loop_or_lead_forward_are_malformed() {
        assert!(Name::parse(&[0xC0, 0x00], 0).is_err());
        assert!(Name::parse(&[0xC0, 0x02, 0x00], 0).is_err());
        assert!(Name::parse(&[1, b'a', 0xC0, 0x00], 0).is_err());
        let (name, end) = Name::parse(&[1, b'a', 0, 1, b'b', 0xC0, 0x00], 3).expect("a name");
        assert_eq!((name.to_string().as_str(), end), ("b.a.", 7));
    }

    #[test]
    fn odd_octets_are_escaped_in_text() {
        let mut name = Name::root();
        name.push_label(b"a.B\xff").expect("a label");
        assert_eq!(name.lowercase_text(), "a\\.b\\255");
        assert_eq!(name.to_string(), "a\\.B\\255.");
    }
}
