//! Finding out what a connection is for: its first byte, TLS, and the byte inside.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tls::Fault;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ServeOptions;
use crate::protocol::Protocol;
use crate::rpc_tls::{Tls, TlsState};
use crate::stream::BoxedStream;

/// What a connection turned out to be for.
pub(super) struct Switched {
    pub(super) protocol: Protocol,
    pub(super) stream: BoxedStream,
    /// Whether it is TLS.
    pub(super) tls: bool,
}

/// Why a connection is closed before it says what it is for, or when it did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It went away without a byte.
    #[error("EOF")]
    Gone,
    #[error("{0}")]
    Byte(io::Error),
    #[error("i/o timeout")]
    Timeout,
    #[error("unrecognized RPC byte: {0}")]
    Unknown(u8),
    #[error("TLS connection attempted, server not configured for TLS")]
    NoTls,
    #[error("Non-TLS connection attempted with VerifyIncoming set")]
    Plain,
    #[error("TLS handshake failed: {0}")]
    Handshake(String),
    #[error("the connection does not say which protocol it speaks (ALPN)")]
    NoProtocol,
    #[error("the client's certificate is not that of a server of this datacenter")]
    NotAServer,
}

impl Refusal {
    /// Says why a connection is closed, in Consul's words.
    pub(super) fn log(&self, conn: SocketAddr) {
        let hint = self.hint();
        match self {
            Self::Gone => {}
            Self::Unknown(byte) => {
                tracing::error!(target: "agent.server.rpc", byte, %conn, "unrecognized RPC byte");
            }
            Self::NoTls | Self::Plain => {
                tracing::error!(target: "agent.server.rpc", %conn, hint, "{self}");
            }
            Self::Byte(_) | Self::Timeout => {
                tracing::error!(target: "agent.server.rpc", %conn, error = %self, "failed to read byte");
            }
            Self::Handshake(_) | Self::NoProtocol | Self::NotAServer => {
                tracing::error!(target: "agent.server.rpc", %conn, error = %self, hint, "TLS connection refused");
            }
        }
    }

    /// What to do about it, and on which side.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTls => {
                Some("set tls.defaults.cert_file and key_file here, or clear verify_outgoing there")
            }
            Self::Plain => {
                Some("set tls.defaults.ca_file, cert_file, key_file and verify_outgoing there")
            }
            Self::Handshake(error) if error.contains("remote error") => Some(
                "the other agent does not take this one's certificate: its authority must be in \
                 tls.defaults.ca_file there, and its name server.<datacenter>.<domain> where \
                 verify_server_hostname is set",
            ),
            Self::Handshake(_) => Some(
                "where verify_incoming is set here, the other agent needs tls.defaults.cert_file \
                 and key_file of an authority in ca_file here",
            ),
            Self::NotAServer => {
                Some("`consul tls cert create -server` makes the certificate of a server")
            }
            Self::Gone | Self::Byte(_) | Self::Timeout | Self::Unknown(_) | Self::NoProtocol => {
                None
            }
        }
    }
}

/// Finds out what a connection is for.
///
/// # Errors
/// See [`Refusal`].
pub(super) async fn switch(
    options: &ServeOptions,
    mut stream: TcpStream,
) -> Result<Switched, Refusal> {
    let deadline = Instant::now() + options.handshake_timeout;
    let tls = options.tls.as_ref().map(Tls::state);
    let byte = match timeout_at(deadline, peek(&stream)).await {
        Ok(byte) => byte?,
        Err(_) => return Err(Refusal::Timeout),
    };
    let Some(protocol) = Protocol::from_byte(byte) else {
        let Some(tls) = tls else { return Err(Refusal::Unknown(byte)) };
        let Some(config) = tls.incoming_native.clone() else { return Err(Refusal::Unknown(byte)) };
        let stream = shake_hands(stream, config, deadline).await?;
        let name = stream.get_ref().1.alpn_protocol().ok_or(Refusal::NoProtocol)?;
        let protocol = Protocol::from_alpn(name).ok_or(Refusal::NoProtocol)?;
        return inside(&tls, protocol, stream);
    };
    // It was seen already.
    first_byte(&mut stream, deadline).await?;
    match (protocol, tls) {
        (Protocol::Tls, Some(tls)) => {
            let config = tls.incoming.clone().ok_or(Refusal::NoTls)?;
            let mut stream = shake_hands(stream, config, deadline).await?;
            let byte = first_byte(&mut stream, deadline).await?;
            match Protocol::from_byte(byte) {
                None | Some(Protocol::Tls | Protocol::TlsInsecure) => Err(Refusal::Unknown(byte)),
                Some(protocol) => inside(&tls, protocol, stream),
            }
        }
        (Protocol::TlsInsecure, Some(tls)) => {
            let config = tls.incoming_insecure.clone().ok_or(Refusal::NoTls)?;
            let stream = shake_hands(stream, config, deadline).await?;
            Ok(Switched { protocol, stream: Box::new(stream), tls: true })
        }
        (Protocol::Tls | Protocol::TlsInsecure, None) => Err(Refusal::NoTls),
        (_, Some(tls)) if tls.verify_incoming => Err(Refusal::Plain),
        (protocol, _) => Ok(Switched { protocol, stream: Box::new(stream), tls: false }),
    }
}

/// What is spoken inside TLS, if this client may speak it.
fn inside(
    tls: &TlsState,
    protocol: Protocol,
    stream: TlsStream<TcpStream>,
) -> Result<Switched, Refusal> {
    let of_servers = matches!(protocol, Protocol::Raft | Protocol::RaftForwarding);
    if of_servers && !tls.may_speak_raft(stream.get_ref().1.peer_certificates()) {
        return Err(Refusal::NotAServer);
    }
    Ok(Switched { protocol, stream: Box::new(stream), tls: true })
}

/// The first byte, which stays where it is.
async fn peek(stream: &TcpStream) -> Result<u8, Refusal> {
    let mut byte = [0];
    match stream.peek(&mut byte).await {
        Ok(0) => Err(Refusal::Gone),
        Ok(_) => Ok(byte[0]),
        Err(error) => Err(Refusal::Byte(error)),
    }
}

async fn first_byte(
    stream: &mut (impl AsyncRead + Unpin),
    deadline: Instant,
) -> Result<u8, Refusal> {
    match timeout_at(deadline, stream.read_u8()).await {
        Ok(Ok(byte)) => Ok(byte),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Refusal::Gone),
        Ok(Err(error)) => Err(Refusal::Byte(error)),
        Err(_) => Err(Refusal::Timeout),
    }
}

async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, Refusal> {
    match timeout_at(deadline, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let fault = Fault::of(&error, "").map_or_else(|| error.to_string(), |f| f.to_string());
            Err(Refusal::Handshake(fault))
        }
        Err(_) => Err(Refusal::Timeout),
    }
}
