//! Connects to `host:port` and says what went wrong in Go's words, which is
//! what check outputs show (`dial tcp 127.0.0.1:1: connect: connection refused`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, timeout_at};

/// With several addresses, each gets its share of the time, but no less than this.
const SHARE_MIN: Duration = Duration::from_secs(2);
/// More addresses of one name are not tried.
const ADDRESSES_MAX: usize = 32;

/// A transport, as Go names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Tcp,
    Udp,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Tcp => "tcp",
            Network::Udp => "udp",
        })
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum DialError {
    #[error("dial {network}: {reason}")]
    Address { network: Network, reason: String },
    #[error("dial {network}: lookup {host}: {reason}")]
    Lookup { network: Network, host: String, reason: String },
    #[error("dial {network} {address}: connect: {}", errno_text(.source))]
    Connect { network: Network, address: String, source: io::Error },
    #[error("dial {network} {address}: i/o timeout")]
    Timeout { network: Network, address: String },
}

/// The text of an operating system error as Go prints it: lower case, no number.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Splits `host:port` by Go's rules; the error is Go's reason. A host in
/// brackets loses them.
pub(super) fn split_host_port(address: &str) -> Result<(&str, &str), String> {
    let wrong = |reason: &str| Err(format!("address {address}: {reason}"));
    let Some(colon) = address.rfind(':') else {
        return wrong("missing port in address");
    };
    let (host, port) = (&address[..colon], &address[colon + 1..]);
    if let Some(inner) = address.strip_prefix('[') {
        return match inner.find(']') {
            None => wrong("missing ']' in address"),
            Some(end) if end + 2 == address.len() => wrong("missing port in address"),
            Some(end) if end + 2 == colon => Ok((&inner[..end], port)),
            Some(_) => wrong("too many colons in address"),
        };
    }
    match host {
        _ if host.contains(':') => wrong("too many colons in address"),
        _ if host.contains(['[', ']']) => wrong("unexpected ']' in address"),
        _ => Ok((host, port)),
    }
}

/// An address to try and how errors name it.
struct Candidate {
    address: SocketAddr,
    shown: String,
}

/// Connects to the first address of `address` that answers before `deadline`.
/// When none does, the error is that of the first.
pub(super) async fn tcp(address: &str, deadline: Instant) -> Result<TcpStream, DialError> {
    let candidates = resolve(Network::Tcp, address, deadline).await?;
    let count = candidates.len();
    let mut first_error = None;
    for (tried, candidate) in candidates.into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = (left / (count - tried) as u32).max(SHARE_MIN.min(left));
        let connect = TcpStream::connect(candidate.address);
        let network = Network::Tcp;
        let error = match tokio::time::timeout(share, connect).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => DialError::Connect { network, address: candidate.shown, source },
            Err(_) => DialError::Timeout { network, address: candidate.shown },
        };
        first_error.get_or_insert(error);
    }
    Err(first_error.unwrap_or_else(|| DialError::Timeout {
        network: Network::Tcp,
        address: address.to_owned(),
    }))
}

/// A datagram socket that talks to the first address of `address` alone.
pub(super) async fn udp(address: &str, deadline: Instant) -> Result<UdpSocket, DialError> {
    let network = Network::Udp;
    let mut first_error = None;
    for Candidate { address, shown } in resolve(network, address, deadline).await? {
        match bind_and_connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(source) => {
                first_error.get_or_insert(DialError::Connect { network, address: shown, source });
            }
        }
    }
    let address = address.to_owned();
    Err(first_error.unwrap_or(DialError::Timeout { network, address }))
}

async fn bind_and_connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

async fn resolve(
    network: Network,
    address: &str,
    deadline: Instant,
) -> Result<Vec<Candidate>, DialError> {
    let reject = |reason| DialError::Address { network, reason };
    let (host, port_text) = split_host_port(address).map_err(reject)?;
    let port: u16 = match port_text.parse::<u16>() {
        Ok(port) => port,
        Err(_) if port_text.is_empty() => 0,
        Err(_) if port_text.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(reject(format!("address {port_text}: invalid port")));
        }
        Err(_) => return Err(reject(format!("lookup {network}/{port_text}: unknown port"))),
    };
    if host.is_empty() {
        // No host means this machine.
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let candidate =
            |ip| Candidate { address: SocketAddr::new(ip, port), shown: format!(":{port}") };
        return Ok(loopback.map(candidate).into_iter().collect());
    }
    let shown = |address: SocketAddr| Candidate { address, shown: address.to_string() };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![shown(SocketAddr::new(ip, port))]);
    }
    let failed = |reason: &str| DialError::Lookup {
        network,
        host: host.to_owned(),
        reason: reason.to_owned(),
    };
    let lookup = timeout_at(deadline, lookup_host((host, port))).await;
    let found: Vec<_> = lookup
        .map_err(|_| failed("i/o timeout"))?
        .map_err(|_| failed("no such host"))?
        .take(ADDRESSES_MAX)
        .map(shown)
        .collect();
    if found.is_empty() { Err(failed("no such host")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_split_as_go_does() {
        let cases = [
            ("127.0.0.1:80", Ok(("127.0.0.1", "80"))),
            (":80", Ok(("", "80"))),
            ("[::1]:80", Ok(("::1", "80"))),
            ("web.local:", Ok(("web.local", ""))),
            ("web", Err("address web: missing port in address")),
            ("::1:80", Err("address ::1:80: too many colons in address")),
            ("[::1]", Err("address [::1]: missing port in address")),
            ("[::1:80", Err("address [::1:80: missing ']' in address")),
        ];
        for (text, expect) in cases {
            assert_eq!(
                split_host_port(text).map_err(|e| e.to_string()),
                expect.map_err(String::from)
            );
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_splitting_panic(text in "[\\[\\]:a0é]{0,12}") {
            let _ = split_host_port(&text);
        }
    }

    #[tokio::test]
    async fn wrong_ports_and_names_are_told_in_the_words_of_go() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let cases = [
            ("127.0.0.1:99999", "dial tcp: address 99999: invalid port"),
            ("127.0.0.1:abc", "dial tcp: lookup tcp/abc: unknown port"),
            ("web", "dial tcp: address web: missing port in address"),
        ];
        for (address, expect) in cases {
            assert_eq!(tcp(address, deadline).await.unwrap_err().to_string(), expect);
        }
    }
}
