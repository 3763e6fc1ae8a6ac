//! Why a call failed, in the words that the client reads.

use acl::PermissionDenied;
use thiserror::Error;
use types::json::DecodeError;

/// A failed call. The text is what the client gets; programs match on many of them,
/// so texts that `reference/` gives are used to the letter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text}")]
pub struct CallError {
    kind: ErrorKind,
    text: String,
}

/// What kind of failure it is. Each surface (HTTP, DNS, RPC) maps the kinds to its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed. HTTP 400.
    BadRequest,
    /// The feature is off. HTTP 401.
    Disabled,
    /// The token does not allow it, or does not exist. HTTP 403.
    Denied,
    /// What is asked for does not exist. HTTP 404.
    NotFound,
    /// The transaction was refused. HTTP 409.
    Conflict,
    /// The request is too large. HTTP 413.
    TooLarge,
    /// Too many requests; try again later or elsewhere. HTTP 429.
    TooMany,
    /// A mistake that Consul's servers find (and that therefore is a 500 there), or
    /// trouble on our side. HTTP 500.
    Failed,
    /// Consul can do it and this version cannot yet. HTTP 501.
    NotAvailable,
    /// Only the leader could do it and it cannot. HTTP 503.
    Unavailable,
}

impl CallError {
    /// An error of this kind with this text.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// A malformed request.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, text)
    }

    /// A missing thing.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, text)
    }

    /// A mistake that Consul answers with 500, or trouble on our side.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, text)
    }

    /// There is no leader to ask.
    pub fn no_leader() -> Self {
        Self::failed("No cluster leader")
    }

    /// Nobody knows how to reach that datacenter.
    pub fn no_path_to_datacenter() -> Self {
        Self::failed("No path to datacenter")
    }

    /// The body could not be read as what it should be.
    pub fn decode(prefix: &str, error: &DecodeError) -> Self {
        Self::bad_request(format!("{prefix}{error}"))
    }

    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the client reads.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<PermissionDenied> for CallError {
    fn from(denied: PermissionDenied) -> Self {
        Self::new(ErrorKind::Denied, denied.to_string())
    }
}
