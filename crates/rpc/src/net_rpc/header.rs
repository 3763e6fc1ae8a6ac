//! What stands in front of an argument and of a reply.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use types::msgpack;

/// Stands in front of an argument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RequestHeader {
    /// Chosen by the caller; the answer carries it.
    pub seq: u64,
    /// `Service.Method`.
    pub service_method: String,
}

/// Stands in front of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResponseHeader {
    /// Why there is no reply; empty if there is one.
    pub error: String,
    /// That of the request.
    pub seq: u64,
    /// That of the request.
    pub service_method: String,
}

/// An empty map: a struct without fields, and what follows the header of an error.
pub const EMPTY: Bytes = Bytes::from_static(b"\x80");

/// Values up to this size are written with their header in one piece.
pub(super) const JOINED_BYTES_MAX: usize = 16 << 10;

/// The header as bytes, with the value behind it if that is small. The second part is the
/// value if it is not.
pub(super) fn join(header: &impl Serialize, value: Bytes) -> (Bytes, Bytes) {
    let mut bytes = BytesMut::from(msgpack::to_vec(header).as_slice());
    if value.len() > JOINED_BYTES_MAX {
        return (bytes.freeze(), value);
    }
    bytes.put(value);
    (bytes.freeze(), Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_that_consul_sends() {
        let request = RequestHeader { seq: 1, service_method: "Status.Ping".to_owned() };
        assert_eq!(msgpack::to_vec(&request), b"\x82\xa3Seq\x01\xadServiceMethod\xabStatus.Ping");
        assert_eq!(msgpack::from_slice(&msgpack::to_vec(&request)), Ok(request));
        let response = ResponseHeader {
            seq: 1,
            service_method: "Status.Ping".to_owned(),
            ..ResponseHeader::default()
        };
        let bytes = b"\x83\xa5Error\xa0\xa3Seq\x01\xadServiceMethod\xabStatus.Ping";
        assert_eq!(msgpack::to_vec(&response), bytes);
        assert_eq!(msgpack::from_slice(bytes), Ok(response));
    }

    #[test]
    fn only_small_values_are_copied_behind_their_header() {
        let header = RequestHeader::default();
        let (first, second) = join(&header, EMPTY);
        assert!(first.ends_with(b"\x80") && second.is_empty());
        let large = Bytes::from(vec![0; JOINED_BYTES_MAX + 1]);
        let (_, second) = join(&header, large.clone());
        assert_eq!(second.as_ptr(), large.as_ptr());
    }
}
