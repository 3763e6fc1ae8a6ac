//! One HTTP/1.1 connection to the agent, and those that idle between requests.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::tls::Fault;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Address, Config};
use crate::error::{DialError, TransportError, system_text};
use crate::tls;
use crate::upload::Outgoing;

/// Most connections that are kept for the next request.
const IDLE_MAX: usize = 8;
/// How long a connection may be silent before the other side is asked whether it is there,
/// and the pause between the questions.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection and the task that drives it, which ends with it.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to the agent.
    pub(crate) async fn open(
        address: &Address,
        config: &Config,
        tls: Option<&TlsConnector>,
    ) -> Result<Self, TransportError> {
        match (address, tls) {
            (Address::Unix { path }, _) => {
                let dialed = timeout(config.connect_timeout, UnixStream::connect(path)).await;
                let stream = dialed
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map_err(|error| dial_error("unix", path, &error))?;
                Self::start(stream).await
            }
            (Address::Tcp { host, port, .. }, None) => {
                Self::start(dial(host, *port, config).await?).await
            }
            (Address::Tcp { host, port, .. }, Some(connector)) => {
                let name = match config.tls.server_name.as_str() {
                    "" => host,
                    name => name,
                };
                let server_name = tls::server_name(name)?;
                let stream = dial(host, *port, config).await?;
                let handshake =
                    timeout(config.connect_timeout, connector.connect(server_name, stream));
                let stream = handshake
                    .await
                    .map_err(|_| Fault::Other("handshake timeout".to_owned()))?
                    .map_err(|error| tls::handshake_error(&error, name))?;
                Self::start(stream).await
            }
        }
    }

    async fn start<S>(stream: S) -> Result<Self, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            // Go's programs write header names so, and some receivers look for exactly that.
            http1::Builder::new()
                .title_case_headers(true)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| http_error(&error))?;
        // Errors of the driver reach the request that waits on `sender`.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }
}

/// Connections that wait for the next request.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Vec<Connection>>>);

impl Idle {
    /// The one that was used last, if it still stands.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.sender.is_closed());
        connections.pop()
    }

    /// Keeps a connection whose answer was read to the end.
    pub(crate) fn put(&self, connection: Connection) {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() < IDLE_MAX && !connection.sender.is_closed() {
            connections.push(connection);
        }
    }
}

/// Connects to the first address of `host` that takes the call. When none does,
/// the error is that of the first.
async fn dial(host: &str, port: u16, config: &Config) -> Result<TcpStream, TransportError> {
    let lookup = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = match lookup {
        Ok(addresses) => addresses.collect(),
        Err(_) => return Err(DialError::Lookup { host: host.to_owned() }.into()),
    };
    let mut first_error = None;
    for address in addresses {
        let dialed = timeout(config.connect_timeout, TcpStream::connect(address)).await;
        match dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Without it the last bytes of a small request may wait; not worth failing for.
                let _ = stream.set_nodelay(true);
                // A blocking read hears nothing for minutes: this tells a quiet agent from
                // one that is gone, as Go's client does.
                let _ = SockRef::from(&stream).set_tcp_keepalive(
                    &TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE),
                );
                return Ok(stream);
            }
            Err(error) => {
                first_error.get_or_insert_with(|| dial_error("tcp", &address.to_string(), &error));
            }
        }
    }
    let error = first_error.unwrap_or_else(|| DialError::Lookup { host: host.to_owned() });
    Err(error.into())
}

fn dial_error(network: &'static str, address: &str, error: &io::Error) -> DialError {
    let address = address.to_owned();
    if error.kind() == io::ErrorKind::TimedOut {
        DialError::Timeout { network, address }
    } else {
        DialError::Connect { network, address, reason: system_text(error) }
    }
}

/// What hyper says, in the words of Go.
pub(crate) fn http_error(error: &hyper::Error) -> TransportError {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return TransportError::Closed;
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            // The name was verified when the connection was made.
            return tls::handshake_error(error, "");
        }
        source = cause.source();
    }
    TransportError::Broken(format!("net/http: HTTP/1.x transport connection broken: {error}"))
}
