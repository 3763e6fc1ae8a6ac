//! A catalog of a few rows, a recursor that does as it is told, a client, and a
//! reader of messages.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dns::{Locality, Lookup, Name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use types::catalog::{CheckServiceNode, Node, NodeService};

use super::super::*;

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const PTR: u16 = 12;
pub(super) const NOERROR: u8 = 0;
pub(super) const FORMERR: u8 = 1;
pub(super) const SERVFAIL: u8 = 2;
pub(super) const NXDOMAIN: u8 = 3;
pub(super) const NOTIMP: u8 = 4;
pub(super) const REFUSED: u8 = 5;

/// Services by name. Names that begin with `slow` wait until the gate opens;
/// `broken` fails; the datacenter `far` is not known.
pub(super) struct FakeSource {
    services: BTreeMap<String, Arc<Vec<CheckServiceNode>>>,
    owner: (IpAddr, AddressOwner),
    /// Whether rows are at hand.
    ready: bool,
    pub(super) gate: Semaphore,
}

impl FakeSource {
    /// `name address` pairs; several addresses of one name are several instances.
    pub(super) fn new(ready: bool, services: &[(&str, &str)]) -> Self {
        let mut rows: BTreeMap<String, Vec<CheckServiceNode>> = BTreeMap::new();
        for (name, address) in services {
            let node = Node { node: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
            let service = NodeService {
                service: (*name).into(),
                address: (*address).to_owned(),
                port: 80,
                ..NodeService::default()
            };
            let row = CheckServiceNode {
                node: Arc::new(node),
                service: Arc::new(service),
                checks: Vec::new(),
            };
            rows.entry((*name).to_owned()).or_default().push(row);
        }
        Self {
            services: rows.into_iter().map(|(name, rows)| (name, Arc::new(rows))).collect(),
            owner: (Ipv4Addr::new(10, 0, 0, 1).into(), AddressOwner::Node("n1".into())),
            ready,
            gate: Semaphore::new(0),
        }
    }

    fn find(&self, lookup: &Lookup<'_>) -> Result<Found, LookupError> {
        match *lookup {
            Lookup::Service { locality: Locality::Datacenter("far"), .. } => {
                Err(LookupError::UnknownDatacenter)
            }
            Lookup::Service { service: "broken", .. } => {
                Err(LookupError::Failed("No cluster leader".to_owned()))
            }
            Lookup::Service { service, .. } => {
                Ok(Found::Instances(self.services.get(service).cloned().unwrap_or_default()))
            }
            Lookup::Reverse(ip) => {
                let owner = (ip == self.owner.0).then(|| self.owner.1.clone());
                Ok(Found::Reverse(owner))
            }
            Lookup::Virtual { .. } => Ok(Found::Virtual(Some(Ipv4Addr::new(240, 0, 0, 1)))),
            Lookup::Query { .. } => Ok(Found::Query(None)),
            _ => Ok(Found::Node(None)),
        }
    }
}

fn is_slow(lookup: &Lookup<'_>) -> bool {
    matches!(lookup, Lookup::Service { service, .. } if service.starts_with("slow"))
}

impl DnsSource for FakeSource {
    fn look_up_now(&self, call: &LookupCall<'_>) -> Option<Result<Found, LookupError>> {
        (self.ready && !is_slow(&call.lookup)).then(|| self.find(&call.lookup))
    }

    fn look_up<'a>(&'a self, call: LookupCall<'a>) -> LookupFuture<'a> {
        Box::pin(async move {
            if is_slow(&call.lookup) {
                self.gate.acquire().await.expect("the gate stays").forget();
            }
            self.find(&call.lookup)
        })
    }
}

/// What a recursor does with a question.
#[derive(Clone, Copy)]
pub(super) enum Does {
    Answers(Ipv4Addr),
    Says(u8),
    Truncates,
    IsSilent,
}

/// A recursor on UDP and TCP of the same port.
pub(super) struct FakeRecursor {
    pub(super) address: SocketAddr,
    /// Id and whether it came over TCP.
    pub(super) asked: Arc<Mutex<Vec<(u16, bool)>>>,
    _tasks: JoinSet<()>,
}

impl FakeRecursor {
    pub(super) async fn start(does: Does) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let address = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut octets = [0; 2048];
            while let Ok((length, client)) = udp.recv_from(&mut octets).await {
                log.lock().expect("no panic").push((id(&octets), false));
                // Somebody else's reply comes first: it has to be overlooked.
                let mut forged = reply(&octets[..length], Does::Says(SERVFAIL)).expect("a reply");
                dns::set_id(&mut forged, !id(&octets));
                udp.send_to(&forged, client).await.expect("to send");
                if let Some(reply) = reply(&octets[..length], does) {
                    udp.send_to(&reply, client).await.expect("to send");
                }
            }
        });
        let log = Arc::clone(&asked);
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let query = read_message(&mut stream).await.expect("a question");
                log.lock().expect("no panic").push((id(&query), true));
                if let Some(reply) = reply(&query, does) {
                    stream.write_all(&framed(&reply)).await.expect("to send");
                }
            }
        });
        Self { address, asked, _tasks: tasks }
    }
}

fn reply(query: &[u8], does: Does) -> Option<Vec<u8>> {
    let mut reply = query.to_vec();
    let (flags, record) = match does {
        Does::IsSilent => return None,
        Does::Says(rcode) => (0x8180 | u16::from(rcode), None),
        Does::Truncates => (0x8380, None),
        Does::Answers(ip) => (0x8180, Some(ip)),
    };
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    if let Some(ip) = record {
        reply[7] = 1;
        reply.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend_from_slice(&ip.octets());
    }
    Some(reply)
}

/// Settings with Consul's defaults and these recursors.
pub(super) fn settings(recursors: &[&FakeRecursor], timeout: Duration) -> DnsSettings {
    let options =
        dns::DnsOptions { has_recursors: !recursors.is_empty(), ..dns::DnsOptions::default() };
    DnsSettings {
        zones: dns::Zones::new(options).expect("valid options"),
        recursors: recursors.iter().map(|recursor| recursor.address).collect(),
        recursor_strategy: dns::RecursorStrategy::Sequential,
        recursor_timeout: timeout,
        freshness: Freshness::default(),
    }
}

/// A server on a free port.
pub(super) async fn serve(source: FakeSource, settings: DnsSettings) -> (DnsServer, SocketAddr) {
    serve_shared(Arc::new(source), settings).await
}

pub(super) async fn serve_shared(
    source: Arc<FakeSource>,
    settings: DnsSettings,
) -> (DnsServer, SocketAddr) {
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let options = DnsServerOptions { listen, settings, timings: None };
    let server = DnsServer::start(options, source).await;
    let server = server.expect("free ports");
    let address = server.addresses()[0];
    (server, address)
}

pub(super) fn question(id: u16, name: &str, record_type: u16) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
    message.extend_from_slice(&record_type.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    framed
}

pub(super) async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = in_time(stream.read_u16()).await.ok()?;
    let mut message = vec![0; usize::from(length)];
    in_time(stream.read_exact(&mut message)).await.ok()?;
    Some(message)
}

/// A test that waits for ever fails instead.
pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("an end within 20 s")
}

pub(super) async fn udp_client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(server).await.expect("an address");
    socket
}

pub(super) async fn receive(socket: &UdpSocket) -> Reply {
    let mut octets = vec![0; 65_535];
    let length = in_time(socket.recv(&mut octets)).await.expect("a reply");
    Reply::read(&octets[..length])
}

/// Asks over UDP.
pub(super) async fn ask(server: SocketAddr, name: &str, record_type: u16) -> Reply {
    let socket = udp_client(server).await;
    socket.send(&question(77, name, record_type)).await.expect("to send");
    let reply = receive(&socket).await;
    assert_eq!(reply.id, 77);
    reply
}

/// Asks over TCP.
pub(super) async fn ask_tcp(server: SocketAddr, name: &str, record_type: u16) -> Reply {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    stream.write_all(&framed(&question(78, name, record_type))).await.expect("to send");
    let reply = Reply::read(&read_message(&mut stream).await.expect("a reply"));
    assert_eq!(reply.id, 78);
    reply
}

fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// What a test wants to know of a reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) id: u16,
    pub(super) rcode: u8,
    /// `aa`, `tc`, `ra`.
    pub(super) flags: Vec<&'static str>,
    /// `owner type data` of each answer.
    pub(super) answers: Vec<String>,
}

impl Reply {
    pub(super) fn read(message: &[u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let bits = word(2);
        assert!(bits & 0x8000 != 0, "not a reply");
        let flags = [(0x0400, "aa"), (0x0200, "tc"), (0x0080, "ra")];
        let flags = flags.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name);
        let mut at = 12;
        for _ in 0..word(4) {
            at = Name::parse(message, at).expect("a name").1 + 4;
        }
        let mut answers = Vec::new();
        for _ in 0..word(6) {
            let (owner, next) = Name::parse(message, at).expect("an owner");
            let data = &message[next + 10..next + 10 + usize::from(word(next + 8))];
            let name = || Name::parse(message, next + 10).expect("a name").0.to_string();
            let text = match word(next) {
                A => format!("A {}", Ipv4Addr::new(data[0], data[1], data[2], data[3])),
                CNAME => format!("CNAME {}", name()),
                PTR => format!("PTR {}", name()),
                other => format!("TYPE{other}"),
            };
            answers.push(format!("{owner} {text}"));
            at = next + 10 + data.len();
        }
        answers.sort();
        Self { id: word(0), rcode: bits as u8 & 15, flags: flags.collect(), answers }
    }
}
