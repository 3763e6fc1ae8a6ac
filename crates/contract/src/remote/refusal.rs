//! Errors that come from another server: a text and nothing else.

use crate::error::{CallError, ErrorKind};

/// What the texts say, looked for in this order (`reference/http-api.md` 1.6 and 3.9,
/// `reference/rpc-wire.md` section 9). They may have words of each hop in front.
const KINDS: &[(&str, ErrorKind)] = &[
    ("Permission denied", ErrorKind::Denied),
    ("ACL not found", ErrorKind::Denied),
    ("RPC rate limit exceeded", ErrorKind::TooMany),
    ("Rate limit reached, try again later", ErrorKind::TooMany),
    ("try again later or against a different server", ErrorKind::TooMany),
    (
        "rate limit exceeded for operation that can only be performed by the leader, try again later",
        ErrorKind::Unavailable,
    ),
    ("Query not found", ErrorKind::NotFound),
    ("ACL support disabled", ErrorKind::Disabled),
];

impl CallError {
    /// The error that a text from another server stands for, of the kind that an agent of
    /// Consul answers it with.
    pub fn from_remote(text: impl Into<String>) -> Self {
        let text = text.into();
        let known = KINDS.iter().find(|(part, _)| text.contains(part));
        Self::new(known.map_or(ErrorKind::Failed, |(_, kind)| *kind), text)
    }
}
