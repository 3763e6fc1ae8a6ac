//! Node ids: how a configured or stored one is read, and how one is made from
//! the id of the host (`reference/config.md` section 10).

use thiserror::Error;
use types::NodeId;

/// Why text is not a node id. The messages are Consul's.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NodeIdError {
    /// Not 36 characters.
    #[error("uuid string is wrong length")]
    Length,
    /// Not in groups of hexadecimal digits with dashes between.
    #[error("uuid is improperly formatted")]
    Format,
}

/// Reads a UUID: 36 characters in groups of 8, 4, 4, 4 and 12. Upper case is
/// folded; space around a stored id is the caller's to trim.
pub fn parse(text: &str) -> Result<NodeId, NodeIdError> {
    let text = text.to_ascii_lowercase();
    if text.len() != 36 {
        return Err(NodeIdError::Length);
    }
    let well_formed = text.bytes().enumerate().all(|(position, byte)| match position {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    if well_formed { Ok(NodeId::from(text)) } else { Err(NodeIdError::Format) }
}

/// Checks `node_id` of the configuration. The error is the line that ends the
/// agent.
pub fn from_config(text: &str) -> Result<NodeId, String> {
    parse(text)
        .map_err(|error| format!("failed to setup node ID: specified NodeID is invalid: {error}"))
}

/// Checks the content of the file `node-id`. The error is the line that ends
/// the agent.
pub fn from_file(path: &str, content: &str) -> Result<NodeId, String> {
    parse(content.trim())
        .map_err(|error| format!("failed to setup node ID: NodeID in {path} is invalid: {error}"))
}

/// An id from 16 bytes: random ones, or the first ones of the SHA-512 of the
/// host's id when `disable_host_node_id` is false. No version bits are set.
pub fn from_bytes(bytes: [u8; 16]) -> NodeId {
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    NodeId::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_any_case_and_refused_in_consuls_words() {
        let id = "ABCDEF01-2345-6789-abcd-ef0123456789";
        assert_eq!(parse(id).unwrap(), id.to_ascii_lowercase().as_str());
        assert_eq!(
            from_config("xyz").unwrap_err(),
            "failed to setup node ID: specified NodeID is invalid: uuid string is wrong length"
        );
        assert_eq!(parse("ABCDEF01-2345-6789-abcd_ef0123456789"), Err(NodeIdError::Format));
        assert_eq!(
            from_file("/d/node-id", "x\n").unwrap_err(),
            "failed to setup node ID: NodeID in /d/node-id is invalid: uuid string is wrong length"
        );
    }

    #[test]
    fn bytes_become_an_id_that_reads_back() {
        let id = from_bytes([0xab; 16]);
        assert_eq!(id, "abababab-abab-abab-abab-abababababab");
        assert_eq!(parse(id.as_str()), Ok(id));
    }
}
