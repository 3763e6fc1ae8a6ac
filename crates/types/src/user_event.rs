//! Events that users send to all agents of a datacenter.

use serde::{Deserialize, Serialize};

use crate::{Blob, EventId, msgpack};

/// The version of [`UserEvent`] that is written.
pub const VERSION: u64 = 1;

/// A point on the logical clock of a gossip pool: grows with each event that is sent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LamportTime(pub u64);

/// An event, as HTTP shows it (`reference/http-api.md` 2.9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UserEvent {
    /// Its id, which the agent gives that is asked to send it.
    #[serde(rename = "ID")]
    pub id: EventId,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Blob,
    /// A regular expression that the name of a node must match; empty for all nodes.
    pub node_filter: String,
    /// A regular expression that the name of a service on the node must match.
    pub service_filter: String,
    /// A regular expression that a tag of such a service must match.
    pub tag_filter: String,
    /// The version of the format.
    pub version: u64,
    /// When it was sent; zero before that.
    #[serde(rename = "LTime")]
    pub lamport_time: LamportTime,
}

impl UserEvent {
    /// The bytes that travel in the gossip pool (`reference/gossip-wire.md` section 16):
    /// a map of what is not empty, in the newer dialect of msgpack, which tells text
    /// from bytes.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut entries: Vec<(&str, Vec<u8>)> = Vec::new();
        for (key, text) in [("ID", self.id.as_str()), ("n", &self.name), ("nf", &self.node_filter)]
        {
            entries.push((key, text_value(text)));
        }
        entries.push(("p", bytes_value(&self.payload)));
        for (key, text) in [("sf", &self.service_filter), ("tf", &self.tag_filter)] {
            entries.push((key, text_value(text)));
        }
        let version = if self.version == 0 { Vec::new() } else { msgpack::to_vec(&self.version) };
        entries.push(("v", version));
        entries.retain(|(_, value)| !value.is_empty());
        // Seven entries at most: one byte says so.
        let mut wire = vec![0x80 | entries.len() as u8];
        for (key, value) in entries {
            wire.extend_from_slice(&text_value(key));
            wire.extend_from_slice(&value);
        }
        wire
    }

    /// Reads what [`Self::to_wire`] writes, in either dialect.
    ///
    /// # Errors
    /// Bytes that are not such a map.
    pub fn from_wire(wire: &[u8], lamport_time: LamportTime) -> Result<Self, msgpack::Error> {
        let wire: WireEvent = msgpack::from_slice(wire)?;
        Ok(Self {
            id: wire.id,
            name: wire.n,
            payload: wire.p,
            node_filter: wire.nf,
            service_filter: wire.sf,
            tag_filter: wire.tf,
            version: wire.v,
            lamport_time,
        })
    }

    /// The number under which a client waits for an event behind this one: both halves
    /// of the id, one over the other.
    pub fn index(&self) -> u64 {
        let digits = self.id.as_str().bytes().filter_map(|byte| (byte as char).to_digit(16));
        let bits = digits.fold(0_u128, |bits, digit| (bits << 4) | u128::from(digit));
        ((bits >> 64) as u64) ^ (bits as u64)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireEvent {
    #[serde(rename = "ID")]
    id: EventId,
    n: String,
    p: Blob,
    nf: String,
    sf: String,
    tf: String,
    v: u64,
}

/// Nothing for an empty text.
fn text_value(text: &str) -> Vec<u8> {
    let mut value = match text.len() {
        0 => return Vec::new(),
        length @ ..32 => vec![0xa0 | length as u8],
        length @ ..0x100 => vec![0xd9, length as u8],
        length => sized([0xda, 0xdb], length),
    };
    value.extend_from_slice(text.as_bytes());
    value
}

/// Nothing for no bytes.
fn bytes_value(bytes: &[u8]) -> Vec<u8> {
    let mut value = match bytes.len() {
        0 => return Vec::new(),
        length @ ..0x100 => vec![0xc4, length as u8],
        length => sized([0xc5, 0xc6], length),
    };
    value.extend_from_slice(bytes);
    value
}

/// A length of two bytes, or of four behind the other marker.
fn sized(markers: [u8; 2], length: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(length + 5);
    match u16::try_from(length) {
        Ok(short) => {
            value.push(markers[0]);
            value.extend_from_slice(&short.to_be_bytes());
        }
        Err(_) => {
            value.push(markers[1]);
            // Nothing of this size is ever sent; it is cut to what a reader can hold.
            value.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ca965907-381c-5267-3e59-ca141ded3f2b";

    fn deploy() -> UserEvent {
        UserEvent {
            id: ID.into(),
            name: "deploy".to_owned(),
            payload: Blob::from(&b"payload!"[..]),
            version: 1,
            ..UserEvent::default()
        }
    }

    #[test]
    fn the_wire_form_is_the_recorded_one() {
        let wire = deploy().to_wire();
        let head = b"\x84\xa2ID\xd9\x24";
        let tail = b"\xa1n\xa6deploy\xa1p\xc4\x08payload!\xa1v\x01";
        assert_eq!(wire, [&head[..], ID.as_bytes(), tail].concat());
        let back = UserEvent::from_wire(&wire, LamportTime(2));
        assert_eq!(back, Ok(UserEvent { lamport_time: LamportTime(2), ..deploy() }));
    }

    #[test]
    fn every_field_and_every_length_comes_back() {
        for length in [0, 1, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(length);
            let event = UserEvent {
                id: ID.into(),
                name: text.clone(),
                payload: Blob(text.clone().into()),
                node_filter: text.clone(),
                service_filter: text.clone(),
                tag_filter: text,
                version: 1,
                lamport_time: LamportTime(9),
            };
            let back = UserEvent::from_wire(&event.to_wire(), LamportTime(9));
            assert_eq!(back, Ok(event), "{length}");
        }
    }

    #[test]
    fn the_index_is_one_half_of_the_id_over_the_other() {
        assert_eq!(deploy().index(), 0xca96_5907_381c_5267 ^ 0x3e59_ca14_1ded_3f2b);
        assert_eq!(UserEvent::default().index(), 0);
        let long = UserEvent { id: "f".repeat(100).as_str().into(), ..UserEvent::default() };
        assert_eq!(long.index(), 0);
    }
}
