//! Dialling a server (`reference/rpc-wire.md` 1 and 2).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tls::Fault;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::protocol::Protocol;
use crate::rpc_tls::Tls;
use crate::server_addr::ServerAddr;
use crate::stream::BoxedStream;

/// How connections to servers are made.
#[derive(Clone, Debug)]
pub struct Dial {
    /// How long it may take to connect.
    pub timeout: Duration,
    /// The address that connections come from, with port 0: `bind_addr`, where that is one
    /// address. Any if there is none.
    pub source: Option<SocketAddr>,
    /// How TLS is spoken, if its settings ask for it.
    pub tls: Option<Tls>,
}

impl Default for Dial {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), source: None, tls: None }
    }
}

/// Connects to a server and says what for.
///
/// # Errors
/// Go's words for what went wrong.
pub(crate) async fn connect(
    dial: &Dial,
    server: &ServerAddr,
    protocol: Protocol,
) -> Result<BoxedStream, String> {
    let mut stream = connect_tcp(dial, server.address).await?;
    let tls = dial.tls.as_ref().map(Tls::state);
    let outgoing = tls.as_ref().and_then(|tls| Some((tls, tls.outgoing.clone()?)));
    if let Some((tls, config)) = outgoing {
        let name = tls.server_name(&server.datacenter).map_err(|error| error.to_string())?;
        say(&mut stream, Protocol::Tls).await?;
        let mut stream = shake_hands(dial, config, name, stream).await?;
        say(&mut stream, protocol).await?;
        return Ok(Box::new(stream));
    }
    say(&mut stream, protocol).await?;
    Ok(Box::new(stream))
}

/// Connects to a server without showing a certificate, for the calls of those who have none.
///
/// # Errors
/// Go's words for what went wrong.
pub(crate) async fn connect_insecure(
    dial: &Dial,
    server: &ServerAddr,
) -> Result<TlsStream<TcpStream>, String> {
    let Some(tls) = dial.tls.as_ref().map(Tls::state) else {
        return Err("TLS is not configured".to_owned());
    };
    let name = tls.server_name(&server.datacenter).map_err(|error| error.to_string())?;
    let mut stream = connect_tcp(dial, server.address).await?;
    say(&mut stream, Protocol::TlsInsecure).await?;
    shake_hands(dial, Arc::clone(&tls.outgoing_insecure), name, stream).await
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), protocol: Protocol) -> Result<(), String> {
    let said = async {
        stream.write_u8(protocol.byte()).await?;
        stream.flush().await
    };
    said.await.map_err(|error| words(&error))
}

async fn shake_hands(
    dial: &Dial,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let shown = name.to_str().into_owned();
    let shaking = TlsConnector::from(config).connect(name, stream);
    match timeout(dial.timeout, shaking).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            Err(Fault::of(&error, &shown).map_or_else(|| words(&error), |fault| fault.to_string()))
        }
        Err(_) => Err("i/o timeout".to_owned()),
    }
}

async fn connect_tcp(dial: &Dial, address: SocketAddr) -> Result<TcpStream, String> {
    // One of the other family reaches nobody there.
    let source = dial.source.filter(|source| source.is_ipv4() == address.is_ipv4());
    let shown = source.map_or("<nil>".to_owned(), |source| source.to_string());
    let failed = |what: &str| format!("dial tcp {shown}->{address}: {what}");
    let connecting = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source {
            socket.bind(source)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    match timeout(dial.timeout, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(&format!("connect: {}", words(&error)))),
        Err(_) => Err(failed("i/o timeout")),
    }
}

/// What the system says, as Go says it.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::BrokenPipe => "broken pipe".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => error.to_string(),
    }
}
