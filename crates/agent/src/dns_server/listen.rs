//! Binding the sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

/// Room asked of the kernel for datagrams that wait to be read, in octets. The
/// kernel gives less if it is configured so.
const UDP_RECEIVE_OCTETS: usize = 4 << 20;
/// Connections that wait to be accepted.
const TCP_BACKLOG: i32 = 1024;
/// How often a pair of free ports is looked for when port 0 was given.
const PORT_TRIES: usize = 16;

/// One of the two ways that DNS travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Udp => "udp",
            Network::Tcp => "tcp",
        })
    }
}

/// A socket that could not be bound. Reads as Go's errors do:
/// `listen udp 127.0.0.1:8600: bind: address already in use`.
#[derive(Debug)]
pub struct ListenError {
    /// UDP or TCP.
    pub network: Network,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, address, error } = self;
        write!(f, "listen {network} {address}: bind: {}", go_text(error))
    }
}

// The message contains that of the system, so that there is no source to show.
impl std::error::Error for ListenError {}

/// The system's words as Go writes them: in lower case, without the number.
fn go_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Binds UDP and TCP on each address. Needs the reactor of the runtime.
pub(super) fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Bound>, ListenError> {
    addresses.iter().map(|address| bind(*address)).collect()
}

fn bind(asked: SocketAddr) -> Result<Bound, ListenError> {
    let fault = |network| move |error| ListenError { network, address: asked, error };
    let mut tries = if asked.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = bind_udp(asked).map_err(fault(Network::Udp))?;
        let address = udp.local_addr().map_err(fault(Network::Udp))?;
        // With port 0 somebody may have the same port for TCP: take another pair.
        match bind_tcp(address) {
            Ok(tcp) => return Ok(Bound { address, udp, tcp }),
            Err(error) if tries == 0 => return Err(fault(Network::Tcp)(error)),
            Err(_) => {}
        }
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    // Without SO_REUSEPORT: a second agent on the same port must be told.
    let socket = socket(address, Type::DGRAM)?;
    // More room is a help, not a need.
    let _ = socket.set_recv_buffer_size(UDP_RECEIVE_OCTETS);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() && !address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
