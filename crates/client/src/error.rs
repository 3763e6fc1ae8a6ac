//! What can go wrong, in the words of Consul's Go client
//! (`reference/cli.md` section 2).

use std::io;

use thiserror::Error;

/// A request that failed, or a client that could not be made.
#[derive(Debug, Error)]
pub enum Error {
    /// The agent answered, and not with success.
    #[error("Unexpected response code: {code} ({body})")]
    Status {
        /// The HTTP status.
        code: u16,
        /// The body without the white space around it.
        body: String,
    },
    /// No answer came.
    #[error("{operation} \"{url}\": {cause}")]
    Transport {
        /// The method as `Get`, `Put`, ….
        operation: String,
        /// The whole address that was asked for.
        url: String,
        /// Why.
        cause: TransportError,
    },
    /// The address begins with something else than `http`, `https` or `unix`.
    #[error("Unknown protocol scheme: {0}")]
    UnknownScheme(String),
    /// The file with the token cannot be read.
    #[error("Error loading token file {path} : {reason}")]
    TokenFile {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file with certificates or keys cannot be used.
    #[error("{0}")]
    Tls(String),
    /// Keys do not begin with a slash.
    #[error("Invalid key. Key must not begin with a '/': {0}")]
    LeadingSlash(String),
    /// The request cannot be put on the wire, for example because the token has a line break.
    #[error("invalid request: {0}")]
    Request(#[from] http::Error),
    /// The answer is not the JSON it should be.
    #[error("{0}")]
    Decode(#[from] types::json::DecodeError),
}

impl Error {
    /// The HTTP status of an answer that was not a success.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Why no answer came.
#[derive(Debug, Error)]
pub enum TransportError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The other side does not prove who it is, or does not speak TLS.
    #[error(transparent)]
    Tls(#[from] tls::Fault),
    /// The connection was closed before the answer was complete.
    #[error("EOF")]
    Closed,
    /// The connection broke or what came is not HTTP.
    #[error("{0}")]
    Broken(String),
    /// The body is longer than [`crate::Config::body_bytes_max`].
    #[error("http: response body too large")]
    BodyTooLarge,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup {
        /// The name.
        host: String,
    },
    /// The address refuses.
    #[error("dial {network} {address}: connect: {reason}")]
    Connect {
        /// `tcp` or `unix`.
        network: &'static str,
        /// `ip:port` or a path.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The address does not answer.
    #[error("dial {network} {address}: i/o timeout")]
    Timeout {
        /// `tcp` or `unix`.
        network: &'static str,
        /// `ip:port` or a path.
        address: String,
    },
}

/// What the operating system said, spelled as Go spells it: in lower case and
/// without the number.
pub fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        // An acronym at the start keeps its case.
        Some(first) if !letters.as_str().starts_with(|c: char| c.is_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_go_writes_them() {
        for (code, expected) in [
            (2, "no such file or directory"),
            (13, "permission denied"),
            (111, "connection refused"),
            (104, "connection reset by peer"),
        ] {
            assert_eq!(system_text(&io::Error::from_raw_os_error(code)), expected);
        }
        assert_eq!(system_text(&io::Error::other("TLS broke")), "TLS broke");
    }

    #[test]
    fn a_refused_connection_reads_as_in_go() {
        let error = Error::Transport {
            operation: "Get".into(),
            url: "http://127.0.0.1:1/v1/kv/lead".into(),
            cause: DialError::Connect {
                network: "tcp",
                address: "127.0.0.1:1".into(),
                reason: "connection refused".into(),
            }
            .into(),
        };
        assert_eq!(
            error.to_string(),
            "Get \"http://127.0.0.1:1/v1/kv/lead\": dial tcp 127.0.0.1:1: connect: connection refused"
        );
    }
}
