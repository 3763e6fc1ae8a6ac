//! Why a call had no answer, in Consul's words (`reference/rpc-wire.md` 6).

use thiserror::Error;

/// A failed call. Programs match on parts of these texts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RpcError {
    /// There is no connection to the server.
    #[error("rpc error getting client: failed to get conn: {0}")]
    Connect(String),
    /// There is a connection, and no stream could be opened in it.
    #[error("rpc error getting client: failed to start stream: {0}")]
    Stream(String),
    /// The server's own words.
    #[error("rpc error making call: {0}")]
    Remote(String),
    /// The connection broke, or what came over it was no answer.
    #[error("rpc error making call: {0}")]
    Broken(String),
    /// No answer in time. The connection stays.
    #[error("rpc error making call: i/o deadline reached")]
    Timeout,
    /// There is no connection for a call without a certificate.
    #[error("rpcinsecure: error establishing connection: {0}")]
    InsecureConnect(String),
    /// A call without a certificate failed.
    #[error("rpcinsecure: error making call: {0}")]
    InsecureCall(String),
    /// `limits.rpc_rate` of this agent.
    #[error("RPC rate limit exceeded")]
    RateLimited,
    /// No server of this datacenter is known.
    #[error("No known Consul servers")]
    NoServers,
    /// Nobody knows how to reach that datacenter.
    #[error("No path to datacenter")]
    NoPath,
    /// The datacenter is known, and none of its servers can be reached.
    #[error("Remote DC has no server currently reachable")]
    NoneReachable,
}

/// Ends of texts that say that the other side is gone.
const ENDS: [&str; 3] = ["EOF", "stream closed", "session shutdown"];

impl RpcError {
    /// Whether there is a machine at the address, and nobody listens at the port.
    pub fn is_refused(&self) -> bool {
        matches!(self, RpcError::Connect(text) if text.ends_with(": connection refused"))
    }

    /// Whether the other side went away: the connection is of no use any more, and a read
    /// may be asked again elsewhere.
    pub fn is_eof_like(&self) -> bool {
        match self {
            Self::Remote(text) => text.ends_with("EOF"),
            Self::Stream(text) | Self::Broken(text) => ENDS.iter().any(|end| text.ends_with(end)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_is_known_as_such() {
        let refused =
            RpcError::Connect("dial tcp <nil>->[::1]:8300: connect: connection refused".into());
        assert!(refused.is_refused());
        assert!(!RpcError::Connect("dial tcp <nil>->[::1]:8300: i/o timeout".into()).is_refused());
        assert!(!RpcError::Remote("dial tcp: connection refused".into()).is_refused());
    }

    #[test]
    fn texts_are_those_that_programs_match_on() {
        for (error, text, eof_like) in [
            (
                RpcError::Connect("dial tcp".into()),
                "rpc error getting client: failed to get conn: dial tcp",
                false,
            ),
            (
                RpcError::Stream("session shutdown".into()),
                "rpc error getting client: failed to start stream: session shutdown",
                true,
            ),
            (RpcError::Broken("EOF".into()), "rpc error making call: EOF", true),
            (
                RpcError::Broken("unexpected EOF".into()),
                "rpc error making call: unexpected EOF",
                true,
            ),
            (
                RpcError::Broken("stream closed".into()),
                "rpc error making call: stream closed",
                true,
            ),
            (
                RpcError::Remote("rpc error making call: EOF".into()),
                "rpc error making call: rpc error making call: EOF",
                true,
            ),
            (
                RpcError::Remote("No cluster leader".into()),
                "rpc error making call: No cluster leader",
                false,
            ),
            (RpcError::Timeout, "rpc error making call: i/o deadline reached", false),
        ] {
            assert_eq!((error.to_string().as_str(), error.is_eof_like()), (text, eof_like));
        }
    }
}
