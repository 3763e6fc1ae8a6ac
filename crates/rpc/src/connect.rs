//! Dialling a server (`reference/rpc-wire.md` 1 and 2).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::protocol::Protocol;
use crate::server_addr::ServerAddr;
use crate::stream::BoxedStream;

/// How connections to servers are made.
#[derive(Clone, Debug)]
pub struct Dial {
    /// How long it may take to connect.
    pub timeout: Duration,
    /// The address that connections come from; any if there is none.
    pub source: Option<SocketAddr>,
}

impl Default for Dial {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), source: None }
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
    stream.write_u8(protocol.byte()).await.map_err(|error| words(&error))?;
    Ok(Box::new(stream))
}

async fn connect_tcp(dial: &Dial, address: SocketAddr) -> Result<TcpStream, String> {
    let source = dial.source.map_or("<nil>".to_owned(), |source| source.to_string());
    let failed = |what: &str| format!("dial tcp {source}->{address}: {what}");
    let connecting = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = dial.source {
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
        _ => error.to_string(),
    }
}
