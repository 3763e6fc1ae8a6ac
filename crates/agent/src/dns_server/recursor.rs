//! Asking recursors (`reference/dns.md` section 10).
//!
//! Each question goes out from a socket of its own, so that the kernel gives it a
//! port of its own, with an id from the system's random source: who wants to forge
//! a reply has to guess both. The socket is connected, so that only datagrams from
//! the recursor arrive.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use dns::{Question, Transport, Verdict, judge_reply, set_id};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::lines;
use super::settings::DnsSettings;

/// The largest message (RFC 1035 section 4.2).
const MESSAGE_OCTETS_MAX: usize = 65_535;

/// Asks one recursor after the other until one answers. `message` goes out as it is
/// but for the id; the reply has the id of `message` again. `None` when all failed.
pub(super) async fn ask(
    settings: &DnsSettings,
    question: &Question,
    message: &[u8],
    transport: Transport,
    seed: u64,
) -> Option<Vec<u8>> {
    let id = message.first_chunk::<2>().copied().map(u16::from_be_bytes)?;
    let mut query = message.to_vec();
    for at in settings.recursor_strategy.order(settings.recursors.len(), seed) {
        let recursor = settings.recursors[at];
        let asked = match random_id() {
            Ok(random) => {
                set_id(&mut query, random);
                let exchange = exchange(recursor, &query, transport);
                tokio::time::timeout(settings.recursor_timeout, exchange)
                    .await
                    .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")))
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok(Replied::Good(mut reply)) => {
                set_id(&mut reply, id);
                return Some(reply);
            }
            Ok(Replied::Bad { rcode }) => lines::recursor_refused(question, recursor, rcode),
            Err(error) => lines::recursor_failed(recursor, &error),
        }
    }
    None
}

/// What a recursor sent.
enum Replied {
    Good(Vec<u8>),
    Bad { rcode: u8 },
}

async fn exchange(recursor: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Replied> {
    match transport {
        Transport::Udp => exchange_udp(recursor, query).await,
        Transport::Tcp => exchange_tcp(recursor, query).await,
    }
}

async fn exchange_udp(recursor: SocketAddr, query: &[u8]) -> io::Result<Replied> {
    let any: SocketAddr = match recursor {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(recursor).await?;
    socket.send(query).await?;
    let mut octets = vec![0; MESSAGE_OCTETS_MAX];
    loop {
        let length = socket.recv(&mut octets).await?;
        if let Some(replied) = judged(query, &octets[..length]) {
            return Ok(replied);
        }
    }
}

async fn exchange_tcp(recursor: SocketAddr, query: &[u8]) -> io::Result<Replied> {
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    let mut stream = TcpStream::connect(recursor).await?;
    stream.write_all(&framed).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    // Nobody else can write into the connection: a strange reply is final.
    judged(query, &reply).ok_or_else(|| io::Error::other("reply does not fit the question"))
}

/// `None` for what is not a reply to the query.
fn judged(query: &[u8], reply: &[u8]) -> Option<Replied> {
    match judge_reply(query, reply) {
        Verdict::Relay => Some(Replied::Good(reply.to_vec())),
        Verdict::TryNext { rcode } => Some(Replied::Bad { rcode }),
        Verdict::Ignore => None,
    }
}

fn random_id() -> io::Result<u16> {
    let mut octets = [0; 2];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(u16::from_be_bytes(octets))
}
