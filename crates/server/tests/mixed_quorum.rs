//! Servers of ours and a real Consul server in one quorum.
//!
//! Needs a Consul 1.8 binary, whose path stands in `CONSUL_1_8`:
//! `cargo test -p server --test mixed_quorum -- --ignored`. The servers do not gossip: their
//! addresses come from the configuration.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use contract::AnyCommand;
use domains::catalog::{NODES, node_key};
use domains::kv::{KVS, KvCommand, KvOp};
use raft::wire::{self, Rpc, Sender, Splitter};
use raft::{
    AppendEntries, Body, InstallSnapshot, LogPosition, RequestPreVote, RequestVote, SnapshotMeta,
    Term,
};
use replica::state_file;
use server::fsm::Fsm;
use server::raft_host::{HostOptions, MemDisk, RaftHost, RaftOptions, ServerId};
use server::raft_transport::{
    BoxedStream, Dial, FixedAddresses, Incoming, TIMEOUT, TransportOptions,
};
use snapshot::{Record, RecordError, RecordType, Splitter as Splitting};
use store::{Reader, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use types::Index;
use types::kv::KvEntry;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

const REAL: &str = "11111111-1111-1111-1111-111111111111";
const A: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
const B: &str = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";

/// More than a real leader puts into one entry, and less than it accepts.
const LARGE: usize = 1_500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real Consul 1.8"]
async fn servers_of_ours_and_a_real_one_are_one_cluster() {
    let binary = std::env::var_os("CONSUL_1_8").expect("CONSUL_1_8 is the path of a Consul 1.8");
    let directory = Directory::new();
    let ports = Ports::find().await;
    let mut real = Real::start(Path::new(&binary), &directory.0, ports);
    real.until_leader().await;
    speak(real.address()).await;
    assert_eq!(real.http("PUT", "/v1/kv/real/first", b"1").await, "true");

    // Two of ours join by a recovery of the real one: nobody gossips.
    real.kill();
    let book = Arc::new(FixedAddresses::default());
    book.set(ServerId(REAL.into()), real.address());
    let (a, b) = (Ours::start(A, &book).await, Ours::start(B, &book).await);
    let members = [(REAL, real.address()), (A, a.address), (B, b.address)];
    real.recover(&members);
    real.again();
    real.until_leader().await;
    for ours in [&a, &b] {
        ours.has("real/first").await;
        assert_eq!(ours.host.leader().map(|leader| leader.id), Some(ServerId(REAL.into())));
    }
    // A snapshot brought that; entries bring this, one of them in parts.
    assert_eq!(real.http("PUT", "/v1/kv/real/second", b"2").await, "true");
    assert_eq!(real.http("PUT", "/v1/kv/real/large", &vec![b'x'; LARGE]).await, "true");
    let node = br#"{"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web"}}"#;
    assert_eq!(real.http("PUT", "/v1/catalog/register", node).await, "true");
    for ours in [&a, &b] {
        ours.has("real/second").await;
        ours.has("real/large").await;
        let state = ours.store.snapshot();
        let large = state.get(&KVS, b"real/large").map(|row| row.value.len());
        assert_eq!(large, Some(LARGE));
        ours.until(|reader| reader.get(&NODES, node_key("n").as_bytes()).is_some()).await;
    }
    write_of_all_kinds(&real).await;
    for ours in [&a, &b] {
        same_state(&real, ours).await;
    }

    // The real one dies: ours go on, and it follows them when it is back.
    real.kill();
    let leader = tokio::select! {
        true = a.host.until_leader() => &a,
        true = b.host.until_leader() => &b,
    };
    leader.put("ours/first", b"1").await;
    leader.put("ours/large", &vec![b'y'; LARGE]).await;
    real.again();
    real.until_has("ours/first", b"1").await;
    real.until_has("ours/large", &vec![b'y'; LARGE]).await;

    // And it is handed leadership.
    leader.host.transfer_leadership(Some(ServerId(REAL.into()))).await.expect("it is up to date");
    real.until_leader().await;
    assert_eq!(real.http("PUT", "/v1/kv/real/third", b"3").await, "true");
    for ours in [&a, &b] {
        ours.has("real/third").await;
    }
    let applied = a.host.applied_index();
    assert!(applied > Index(10), "{applied}");
}

/// Something of all that a real leader writes when it is asked to.
async fn write_of_all_kinds(real: &Real) {
    let session = real.http("PUT", "/v1/session/create", br#"{"Node": "n", "Checks": []}"#).await;
    let session = session.split('"').nth(3).expect("it has an id").to_owned();
    let lock = format!("/v1/kv/lock?acquire={session}");
    let query = br#"{"Name": "q", "Service": {"Service": "web"}}"#;
    let policy = br#"{"Kind": "service-defaults", "Name": "web", "Protocol": "http"}"#;
    let proxy = br#"{"Kind": "proxy-defaults", "Name": "global", "Config": {"a": 1.5}}"#;
    let intention = br#"{"SourceName": "a", "DestinationName": "web", "Action": "allow"}"#;
    let txn = br#"[{"KV": {"Verb": "set", "Key": "txn", "Value": "dGV4dA=="}}]"#;
    let check =
        br#"{"Node": "n", "Address": "10.0.0.1", "Check": {"Name": "c", "Status": "passing"}}"#;
    for (method, path, body) in [
        ("PUT", lock.as_str(), &b"held"[..]),
        ("POST", "/v1/query", query),
        ("PUT", "/v1/config", policy),
        ("PUT", "/v1/config", proxy),
        ("PUT", "/v1/config", policy),
        ("POST", "/v1/connect/intentions", intention),
        ("PUT", "/v1/txn", txn),
        ("PUT", "/v1/catalog/register", check),
        ("DELETE", "/v1/kv/real/second", b""),
        ("DELETE", "/v1/config/proxy-defaults/global", b""),
    ] {
        let answer = real.http(method, path, body).await;
        let is_fine = answer.starts_with("true") || answer.starts_with('{');
        assert!(is_fine, "{method} {path}: {answer}");
    }
}

/// The records of a state: the kind and the bytes of each.
fn records(state: &[u8]) -> Vec<(RecordType, Vec<u8>)> {
    let mut records = Vec::new();
    let mut splitter = Splitting::new(|record: Record<'_>| -> Result<(), RecordError> {
        // Named indexes have other names since.
        if let Record::Of(kind, bytes) = record
            && kind != RecordType::INDEX
        {
            records.push((kind, bytes.to_vec()));
        }
        Ok(())
    });
    splitter.feed(state).expect("it is sound");
    splitter.finish().expect("it is whole");
    records
}

/// The real server's state and ours at the same index hold the same.
async fn same_state(real: &Real, ours: &Ours) {
    let comparing = async {
        loop {
            let archive = real.ask("GET", "/v1/snapshot", b"").await.expect("it answers");
            let mut state = Vec::new();
            snapshot::archive::read(&mut archive.as_slice(), &mut state).expect("it is sound");
            let theirs = Store::new(&domains::tables());
            let contents = state_file::restore(&mut state.as_slice(), &theirs);
            let index = contents.expect("it can be restored").index;
            while ours.host.applied_index() < index {
                sleep(Duration::from_millis(20)).await;
            }
            let present = ours.store.snapshot();
            // The real one's own node is written now and then: try again.
            if present.index() == index {
                let (mut left, mut right) = (Vec::new(), Vec::new());
                state_file::save(&theirs.snapshot(), &mut left).expect("memory takes all");
                state_file::save(&present, &mut right).expect("memory takes all");
                return (records(&left), records(&right));
            }
        }
    };
    let (theirs, ours) = timeout(PATIENCE, comparing).await.expect("there is a quiet moment");
    let show = |records: &[(RecordType, Vec<u8>)], others: &[(RecordType, Vec<u8>)]| {
        let other = records.iter().filter(|record| !others.contains(record));
        let other = other.map(|(kind, bytes)| format!("{kind} {}", bytes.escape_ascii()));
        other.collect::<Vec<String>>().join("\n")
    };
    let (only_there, only_here) = (show(&theirs, &ours), show(&ours, &theirs));
    assert!(
        only_there.is_empty() && only_here.is_empty(),
        "only there:\n{only_there}\nonly here:\n{only_here}"
    );
}

/// What a fake candidate and a fake leader are told.
async fn speak(address: SocketAddr) {
    let sender = Sender { id: ServerId(A.into()), address: "127.0.0.1:1".into() };
    let last = LogPosition { term: Term(1), index: Index(1) };
    let vote = RequestVote { term: Term(1), last, leadership_transfer: false };
    let entries = AppendEntries {
        term: Term(0),
        previous: LogPosition::default(),
        entries: Vec::new(),
        leader_commit: Index::ZERO,
    };
    let snapshot = SnapshotMeta {
        id: String::new(),
        last,
        configuration: raft::Configuration {
            servers: vec![raft::Server {
                id: sender.id.clone(),
                address: sender.address.clone(),
                suffrage: raft::Suffrage::Voter,
            }],
        },
        configuration_index: Index(1),
        size: 0,
    };
    let install = Body::InstallSnapshot(InstallSnapshot { term: Term(0), snapshot });
    let mut stream = dial(address).await.expect("it listens");
    for body in [Body::RequestVote(vote), Body::AppendEntries(entries), install] {
        let rpc = Rpc::of(&body).expect("it is a request");
        let answer = ask(&mut stream, &sender, &body).await.expect("it knows that");
        let response = wire::decode_response(rpc, &answer).expect("we understand it");
        match response.body.expect("it is not refused") {
            Body::RequestVoteResponse(vote) => assert!(!vote.granted && vote.term >= Term(2)),
            Body::AppendEntriesResponse(body) => assert!(!body.success && body.term >= Term(2)),
            Body::InstallSnapshotResponse(body) => assert!(!body.success),
            other => panic!("{other:?}"),
        }
    }
    let pre_vote = Body::RequestPreVote(RequestPreVote { term: Term(1), last });
    assert_eq!(ask(&mut stream, &sender, &pre_vote).await, None, "it knows no pre-votes");
}

/// The bytes of the answer; nothing when the connection is closed instead.
async fn ask(stream: &mut TcpStream, sender: &Sender, body: &Body) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    assert!(wire::encode_request(&mut bytes, sender, body));
    stream.write_all(&bytes).await.ok()?;
    let (mut splitter, mut buffer) = (Splitter::responses(), BytesMut::new());
    loop {
        if let Some(answer) = splitter.next(&mut buffer).expect("it is sound") {
            return Some(answer.to_vec());
        }
        let read =
            timeout(PATIENCE, stream.read_buf(&mut buffer)).await.expect("it says something");
        if read.unwrap_or(0) == 0 {
            return None;
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&[1]).await?;
    Ok(stream)
}

struct Plain;

impl Dial for Plain {
    fn dial<'d>(
        &'d self,
        _id: &'d ServerId,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send + 'd>> {
        Box::pin(async move { Ok(Box::new(dial(address).await?) as BoxedStream) })
    }
}

/// A server of ours.
struct Ours {
    host: RaftHost,
    store: Store,
    address: SocketAddr,
    _listening: JoinSet<()>,
}

impl Ours {
    async fn start(name: &str, book: &Arc<FixedAddresses>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("ports are free");
        let address = listener.local_addr().expect("it listens");
        let id = ServerId(name.into());
        book.set(id.clone(), address);
        let transport = TransportOptions {
            sender: Sender { id: id.clone(), address: address.to_string().into() },
            book: book.clone(),
            dial: Arc::new(Plain),
            runtime: tokio::runtime::Handle::current(),
            timeout: TIMEOUT,
        };
        let store = Store::new(&domains::tables());
        let mut incoming = None;
        let raft = RaftOptions::default();
        let seed = u64::from(address.port());
        let options =
            HostOptions { raft, ..HostOptions::new(id, address.to_string().into(), seed) };
        let (disk, applier) = (Arc::new(MemDisk::new()), Fsm::new(store.clone()));
        let host = RaftHost::start(options, disk, applier, |inlet| {
            let (transport, half) = server::raft_transport::start(transport, inlet);
            incoming = Some(half);
            Box::new(transport)
        });
        let incoming = incoming.expect("a host has a transport");
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, incoming));
        Self { host: host.expect("a new disk"), store, address, _listening: listening }
    }

    async fn put(&self, key: &str, value: &[u8]) {
        let value = bytes::Bytes::copy_from_slice(value).into();
        let entry = KvEntry { key: key.into(), value, ..KvEntry::default() };
        let command = Box::new(KvCommand { op: KvOp::Set, entry, ..KvCommand::default() });
        let reply = self.host.propose(AnyCommand::encode(&*command), command).await;
        reply.expect("it leads").expect("a set does not fail");
    }

    async fn has(&self, key: &str) {
        self.until(|reader| reader.get(&KVS, key.as_bytes()).is_some()).await;
    }

    async fn until(&self, is_there: impl Fn(&mut Reader<'_>) -> bool) {
        loop {
            let state = self.store.snapshot();
            let mut reader = Reader::new(&state);
            if is_there(&mut reader) {
                return;
            }
            let (changed, _) = self.store.subscribe(reader.into_watch_set());
            tokio::select! {
                () = changed.fired() => {}
                fatal = self.host.stopped() => panic!("the host stopped: {fatal:?}"),
                () = sleep(PATIENCE) => panic!("it does not come"),
            }
        }
    }
}

async fn listen(listener: TcpListener, incoming: Incoming) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, from) = listener.accept().await.expect("it listens");
        let incoming = incoming.clone();
        connections.spawn(async move {
            if stream.read_u8().await.is_ok_and(|byte| byte == 1) {
                incoming.accept(stream, from).await;
            }
        });
    }
}

/// A real server. It is killed when it is dropped.
struct Real {
    binary: PathBuf,
    directory: PathBuf,
    ports: Ports,
    child: Child,
}

impl Real {
    fn start(binary: &Path, directory: &Path, ports: Ports) -> Self {
        let Ports { server, serf_lan, serf_wan, http } = ports;
        let data = directory.join("data");
        let configuration = format!(
            r#"{{"server": true, "bootstrap_expect": 1, "data_dir": {data:?}, "node_name": "real",
                "node_id": "{REAL}", "bind_addr": "127.0.0.1", "log_level": "DEBUG",
                "performance": {{"raft_multiplier": 1}}, "disable_update_check": true,
                "autopilot": {{"cleanup_dead_servers": false}},
                "limits": {{"kv_max_value_size": 4000000}},
                "ports": {{"server": {server}, "serf_lan": {serf_lan}, "serf_wan": {serf_wan},
                    "http": {http}, "dns": -1, "grpc": -1}}}}"#
        );
        std::fs::write(directory.join("consul.json"), configuration).expect("there is room");
        let child = spawn(binary, directory);
        Self { binary: binary.to_owned(), directory: directory.to_owned(), ports, child }
    }

    fn again(&mut self) {
        self.child = spawn(&self.binary, &self.directory);
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn recover(&self, members: &[(&str, SocketAddr)]) {
        let lines = members
            .iter()
            .map(|(id, address)| format!(r#"{{"id": "{id}", "address": "{address}"}}"#));
        let lines: Vec<String> = lines.collect();
        let path = self.directory.join("data/raft/peers.json");
        std::fs::write(path, format!("[{}]", lines.join(", "))).expect("there is room");
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.server).into()
    }

    async fn until_leader(&mut self) {
        let own = format!("{:?}", self.address().to_string());
        self.until("GET", "/v1/status/leader", own.as_bytes()).await;
        // It leads in fact once it answers a consistent read.
        self.until("GET", "/v1/kv/none?consistent&keys", b"").await;
    }

    async fn until_has(&mut self, key: &str, value: &[u8]) {
        self.until("GET", &format!("/v1/kv/{key}?raw&stale"), value).await;
    }

    /// It has no way to tell: so it is asked again and again.
    async fn until(&mut self, method: &str, path: &str, expected: &[u8]) {
        let asking = async {
            while !self.ask(method, path, b"").await.is_ok_and(|body| body == expected) {
                assert!(self.child.try_wait().expect("it is ours").is_none(), "Consul has ended");
                sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(PATIENCE, asking).await.is_err() {
            let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let from = log.len().saturating_sub(4000);
            panic!("{path} does not become {} bytes:\n{}", expected.len(), &log[from..]);
        }
    }

    async fn http(&self, method: &str, path: &str, body: &[u8]) -> String {
        let answer = self.ask(method, path, body).await.expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.http)).await?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: consul\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        Ok(answer.split_off(end.map_or(0, |end| end + 4)))
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(binary: &Path, directory: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("log"));
    let mut consul = Command::new(binary);
    consul.args(["agent", "-config-file"]).arg(directory.join("consul.json"));
    consul.stdout(log.expect("there is room")).stderr(Stdio::null()).stdin(Stdio::null());
    consul.spawn().expect("it can be started")
}

#[derive(Clone, Copy)]
struct Ports {
    server: u16,
    serf_lan: u16,
    serf_wan: u16,
    http: u16,
}

impl Ports {
    async fn find() -> Self {
        let mut ports = [0; 4];
        let mut taken = Vec::new();
        for port in &mut ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let listener = listener.expect("ports are free");
            *port = listener.local_addr().expect("it listens").port();
            taken.push(listener);
        }
        let [server, serf_lan, serf_wan, http] = ports;
        Self { server, serf_lan, serf_wan, http }
    }
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("mixed-quorum-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is room");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
