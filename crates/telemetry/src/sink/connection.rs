//! Sockets to collectors.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::time::timeout;

use super::Transport;

/// Most bytes of a datagram: fits into a frame of Ethernet.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1400;

/// How long connecting and writing may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A socket to a collector.
pub(super) enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Connection {
    pub(super) async fn open(transport: Transport, address: &str) -> io::Result<Self> {
        if transport == Transport::Unix {
            let socket = UnixDatagram::unbound()?;
            socket.connect(address)?;
            return Ok(Self::Unix(socket));
        }
        let found = tokio::net::lookup_host(address).await?.next();
        let found = found.ok_or_else(|| io::Error::other("the name has no address"))?;
        match transport {
            Transport::Tcp => Ok(Self::Tcp(in_time(TcpStream::connect(found)).await?)),
            _ => {
                let any: SocketAddr = match found {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(found).await?;
                Ok(Self::Udp(socket))
            }
        }
    }

    /// Sends whole lines: over UDP and unix sockets as datagrams, of which one that
    /// nobody receives is no error.
    pub(super) async fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => in_time(stream.write_all(lines)).await,
            Self::Udp(socket) => {
                for datagram in datagrams(lines) {
                    match socket.send(datagram).await {
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                        sent => drop(sent?),
                    }
                }
                Ok(())
            }
            Self::Unix(socket) => {
                for datagram in datagrams(lines) {
                    socket.send(datagram).await?;
                }
                Ok(())
            }
        }
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Lines in pieces of at most [`DATAGRAM_BYTES_MAX`]; a line that is longer has one of its
/// own.
pub(super) fn datagrams(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let window = &lines[..lines.len().min(DATAGRAM_BYTES_MAX)];
        let end = match window.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1),
        };
        let (datagram, rest) = lines.split_at(end);
        lines = rest;
        (!datagram.is_empty()).then_some(datagram)
    })
}
