use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use contract::AnyCommand;
use domains::kv::{KVS, KvCommand, KvOp};
use raft::wire::{self, Request, Rpc, Splitter};
use raft::{
    AppendEntries, Configuration, LogPosition, RequestPreVote, Server, Suffrage, Term, VoteResponse,
};
use store::{Reader, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use types::Index;
use types::kv::KvEntry;
use wal::{Disk, DiskError, DiskFile};

use super::*;
use crate::fsm::Fsm;
use crate::raft_host::{
    Change, HostOptions, HostSettings, MemDisk, ProposeError, RaftHost, RaftOptions, RaftStats,
};

const RAFT_BYTE: u8 = 1;

/// What does not happen within this time does not happen.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(60), future).await;
    done.expect("it happens within a minute")
}

fn id(name: &str) -> ServerId {
    ServerId(format!("{name:0>36}").into())
}

/// Plain TCP and the first byte.
struct Plain;

impl Dial for Plain {
    fn dial<'d>(
        &'d self,
        _id: &'d ServerId,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send + 'd>> {
        Box::pin(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&[RAFT_BYTE]).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

/// A host with a port of its own.
struct Node {
    id: ServerId,
    disk: MemDisk,
    host: RaftHost,
    store: Store,
    address: SocketAddr,
    /// Takes connections; they all end with it.
    _listening: JoinSet<()>,
}

#[derive(Default)]
struct Cluster {
    book: Arc<FixedAddresses>,
}

fn options(node: &ServerId, address: SocketAddr) -> HostOptions {
    let seed = node.0.bytes().map(u64::from).sum::<u64>() * u64::from(address.port());
    let raft = RaftOptions {
        heartbeat_timeout: Duration::from_millis(400),
        election_timeout: Duration::from_millis(400),
        leader_lease_timeout: Duration::from_millis(300),
        trailing_logs: 5,
        ..RaftOptions::default()
    };
    HostOptions { raft, ..HostOptions::new(node.clone(), address.to_string().into(), seed) }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("ports are free");
    let address = listener.local_addr().expect("it listens");
    (listener, address)
}

impl Cluster {
    /// Starts a host over what is on the disk, at a new address that everybody knows.
    async fn start(&self, name: &str, disk: MemDisk) -> Node {
        self.start_on(name, disk.clone(), Arc::new(disk)).await
    }

    /// The same, where the host sees the disk through another.
    async fn start_on(&self, name: &str, disk: MemDisk, seen: Arc<dyn Disk>) -> Node {
        let (listener, address) = listen().await;
        let id = id(name);
        self.book.set(id.clone(), address);
        let sender = Sender { id: id.clone(), address: address.to_string().into() };
        let transport = TransportOptions {
            sender,
            book: self.book.clone(),
            dial: Arc::new(Plain),
            runtime: Handle::current(),
            timeout: TIMEOUT,
        };
        let store = Store::new(&domains::tables());
        let mut halves = None;
        let applier = Fsm::new(store.clone());
        let host = RaftHost::start(options(&id, address), seen, applier, |inlet| {
            let (transport, incoming) = super::start(transport, inlet);
            halves = Some(incoming);
            Box::new(transport)
        });
        let incoming = halves.expect("a host has a transport");
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, from) = listener.accept().await.expect("it listens");
                let incoming = incoming.clone();
                connections.spawn(async move {
                    if stream.read_u8().await.is_ok_and(|byte| byte == RAFT_BYTE) {
                        incoming.accept(stream, from).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        let host = host.expect("the disk is sound");
        Node { id, disk, host, store, address, _listening: listening }
    }

    /// Starts new servers that all know each other.
    async fn found(&self, names: &[&str]) -> Vec<Node> {
        let mut nodes = Vec::new();
        for name in names {
            nodes.push(self.start(name, MemDisk::new()).await);
        }
        let servers = nodes.iter().map(Node::member).collect();
        let configuration = Configuration { servers };
        for node in &nodes {
            let done = node.host.bootstrap(configuration.clone()).await.expect("it runs");
            done.expect("it is new");
        }
        nodes
    }
}

impl Node {
    fn member(&self) -> Server {
        let (id, address) = (self.id.clone(), self.address.to_string().into());
        Server { id, address, suffrage: Suffrage::Voter }
    }

    /// Stops the host, and with it every connection; its disk is left.
    async fn stop(self) -> MemDisk {
        self.host.shutdown().await;
        self.disk
    }

    async fn put(&self, key: &str) -> Result<(), ProposeError> {
        let entry =
            KvEntry { key: key.into(), value: (&b"value"[..]).into(), ..KvEntry::default() };
        let command = Box::new(KvCommand { op: KvOp::Set, entry, ..KvCommand::default() });
        let reply = self.host.propose(AnyCommand::encode(&*command), command).await?;
        reply.expect("a set does not fail");
        Ok(())
    }

    /// Waits until the key is in this server's state.
    async fn has(&self, key: &str) {
        loop {
            let state = self.store.snapshot();
            let mut reader = Reader::new(&state);
            if reader.get(&KVS, key.as_bytes()).is_some() {
                return;
            }
            let (changed, _) = self.store.subscribe(reader.into_watch_set());
            in_time(changed.fired()).await;
        }
    }

    async fn stats(&self) -> RaftStats {
        self.host.stats().await.expect("it runs")
    }
}

/// Waits until one of them leads; its place.
async fn leader(nodes: &[Node]) -> usize {
    let mut waiting = JoinSet::new();
    for (place, node) in nodes.iter().enumerate() {
        let host = node.host.clone();
        waiting.spawn(async move { host.until_leader().await.then_some(place) });
    }
    in_time(waiting.join_next())
        .await
        .and_then(Result::ok)
        .flatten()
        .expect("somebody leads in the end")
}

async fn all_have(nodes: &[Node], key: &str) {
    for node in nodes {
        node.has(key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_agree_and_outlive_their_leader() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a", "b", "c"]).await;
    let first = leader(&nodes).await;
    for n in 0..100 {
        nodes[first].put(&format!("k{n}")).await.expect("it leads");
    }
    all_have(&nodes, "k99").await;
    nodes[first].host.verify_leader().await.expect("a majority agrees");
    let stats = nodes[first].stats().await;
    assert_eq!((stats.peers(), stats.followers.len()), (2, 2));

    let stopped = nodes.remove(first);
    let name = stopped.id.clone();
    let disk = stopped.stop().await;
    let second = leader(&nodes).await;
    nodes[second].put("without it").await.expect("it leads");
    all_have(&nodes, "without it").await;

    let back = cluster.start(&name.0, disk).await;
    back.has("without it").await;
    assert_eq!(back.host.leader().map(|leader| leader.id), Some(nodes[second].id.clone()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_servers_go_on_with_three_and_not_with_two() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a", "b", "c", "d", "e"]).await;
    let mut stopped = Vec::new();
    for round in 0..2 {
        let first = leader(&nodes).await;
        nodes[first].put(&format!("round {round}")).await.expect("it leads");
        let node = nodes.remove(first);
        stopped.push((node.id.clone(), node.stop().await));
    }
    let third = leader(&nodes).await;
    nodes[third].put("of three").await.expect("three of five are a majority");
    all_have(&nodes, "of three").await;

    let (other, mut leadership) = ((third + 1) % 3, nodes[third].host.watch_leadership());
    nodes.remove(other).stop().await;
    in_time(leadership.wait_for(|leads| !leads)).await.expect("it runs");
    assert!(nodes.iter().all(|node| !node.host.has_lease()));
    for (name, disk) in stopped {
        nodes.push(cluster.start(&name.0, disk).await);
    }
    let last = leader(&nodes).await;
    nodes[last].put("of four").await.expect("four of five are a majority");
    for key in ["round 0", "round 1", "of three", "of four"] {
        all_have(&nodes, key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_for_long_gets_a_snapshot() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a", "b", "c"]).await;
    let first = leader(&nodes).await;
    nodes[first].put("before").await.expect("it leads");
    all_have(&nodes, "before").await;
    let away = nodes.remove((first + 1) % 3);
    let name = away.id.clone();
    let disk = away.stop().await;
    let leader = &nodes[leader(&nodes).await];
    for n in 0..300 {
        leader.put(&format!("meanwhile {n}")).await.expect("it leads");
    }
    let meta = leader.host.take_snapshot().await.expect("there is room").expect("there is news");
    leader.put("after").await.expect("it leads");

    let back = cluster.start(&name.0, disk).await;
    back.has("after").await;
    back.has("meanwhile 299").await;
    let status = back.stats().await.status;
    assert_eq!((status.snapshot, status.first), (meta.last, meta.last.index.next()));
    // What it was sent is its own from then on.
    let name = back.id.clone();
    let back = cluster.start(&name.0, back.stop().await).await;
    back.has("meanwhile 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_and_leadership_moves() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a"]).await;
    assert!(nodes[0].host.until_leader().await);
    nodes[0].put("alone").await.expect("it leads");
    for name in ["b", "c"] {
        let node = cluster.start(name, MemDisk::new()).await;
        let Server { id, address, .. } = node.member();
        let change = Change::AddNonvoter { id: id.clone(), address: address.clone() };
        nodes[0].host.change_membership(change, None).await.expect("it leads");
        node.has("alone").await;
        let change = Change::AddVoter { id, address };
        nodes[0].host.change_membership(change, None).await.expect("it leads");
        nodes.push(node);
    }
    let target = nodes[2].id.clone();
    nodes[0].host.transfer_leadership(Some(target)).await.expect("it is up to date");
    assert!(nodes[2].host.until_leader().await);
    nodes[2].put("moved").await.expect("it leads");
    let change = Change::Remove { id: nodes[0].id.clone() };
    nodes[2].host.change_membership(change, None).await.expect("it leads");
    nodes[2].put("of two").await.expect("it leads");
    nodes[1].has("of two").await;
    assert_eq!(nodes[2].stats().await.configuration.servers.len(), 2);
    let members = nodes[1].host.watch_configuration().borrow().clone();
    assert!(members.server(&nodes[0].id).is_none());
    let mut removed = nodes[0].host.watch_leadership();
    assert!(!*removed.borrow_and_update(), "who is removed does not lead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leaders_process_ends_nobody_waits_for_the_heartbeat_timeout() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a", "b", "c"]).await;
    let first = leader(&nodes).await;
    nodes[first].put("before").await.expect("it leads");
    all_have(&nodes, "before").await;
    let old = nodes.remove(first);
    for node in &nodes {
        // Longer than this test waits for anything.
        let raft = RaftOptions {
            heartbeat_timeout: Duration::from_secs(61),
            ..options(&node.id, node.address).raft
        };
        let snapshot_interval = Duration::from_secs(30);
        node.host.set(HostSettings { raft, snapshot_interval }).expect("it runs");
    }
    old.stop().await;
    let next = leader(&nodes).await;
    nodes[next].put("after").await.expect("it leads");
    all_have(&nodes, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_heals_when_all_its_addresses_change() {
    let cluster = Cluster::default();
    let nodes = cluster.found(&["a", "b", "c"]).await;
    let first = leader(&nodes).await;
    nodes[first].put("before").await.expect("it leads");
    let before: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let mut disks = Vec::new();
    for node in nodes {
        disks.push((node.id.clone(), node.stop().await));
    }
    // What stands in the configuration is nobody any more.
    let mut nodes = Vec::new();
    for (name, disk) in disks {
        nodes.push(cluster.start(&name.0, disk).await);
    }
    assert!(nodes.iter().all(|node| !before.contains(&node.address)));
    let first = leader(&nodes).await;
    nodes[first].put("after").await.expect("it leads");
    all_have(&nodes, "after").await;
    all_have(&nodes, "before").await;
    // All tell where the leader is, and not where the configuration says that it was.
    let address = nodes[first].address.to_string();
    for node in &nodes {
        let mut leader = node.host.watch_leader();
        let tells =
            |leader: &Option<Server>| leader.as_ref().is_some_and(|l| *l.address == address);
        in_time(leader.wait_for(tells)).await.expect("it runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_found_where_it_says_that_it_is_before_gossip_knows() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a", "b", "c"]).await;
    let first = leader(&nodes).await;
    nodes[first].put("before").await.expect("it leads");
    all_have(&nodes, "before").await;
    let stays = nodes.remove(first);
    let mut disks = Vec::new();
    for node in nodes {
        disks.push((node.id.clone(), node.stop().await));
    }
    // Only this one has it, so that it alone can lead: those who have moved must be found.
    assert!(stays.put("late").await.is_err(), "there is no quorum");
    let mut nodes = vec![stays];
    for (name, disk) in disks {
        // Who comes back knows the one that stayed, and nobody knows where it is itself.
        let elsewhere = Cluster::default();
        elsewhere.book.set(nodes[0].id.clone(), nodes[0].address);
        nodes.push(elsewhere.start(&name.0, disk).await);
    }
    all_have(&nodes, "late").await;
    assert!(nodes[0].host.is_leader());
}

/// A disk whose syncs take as many milliseconds as somebody says.
#[derive(Clone, Debug)]
struct StallingDisk {
    disk: MemDisk,
    stall_ms: Arc<AtomicU64>,
}

#[derive(Debug)]
struct StallingFile {
    file: Box<dyn DiskFile>,
    stall_ms: Arc<AtomicU64>,
}

impl StallingDisk {
    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(StallingFile { file, stall_ms: self.stall_ms.clone() })
    }
}

impl Disk for StallingDisk {
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.disk.create(path).map(|file| self.wrap(file))
    }
    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.disk.open(path).map(|file| self.wrap(file))
    }
    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        self.disk.create_dir(path)
    }
    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        self.disk.list(path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.disk.remove(path)
    }
    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        self.disk.sync_dir(path)
    }
}

impl DiskFile for StallingFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.file.read_at(offset, into)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_at(offset, bytes)
    }
    #[expect(clippy::disallowed_methods, reason = "the Raft thread is no runtime thread")]
    fn sync_data(&mut self) -> Result<(), DiskError> {
        std::thread::sleep(Duration::from_millis(self.stall_ms.load(Ordering::Relaxed)));
        self.file.sync_data()
    }
    fn preallocate(&mut self, len: u64) -> Result<(), DiskError> {
        self.file.preallocate(len)
    }
    fn size(&self) -> Result<u64, DiskError> {
        self.file.size()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_stalls_hands_over() {
    let cluster = Cluster::default();
    let stall_ms = Arc::new(AtomicU64::new(0));
    let slow = StallingDisk { disk: MemDisk::new(), stall_ms: stall_ms.clone() };
    let mut nodes = vec![cluster.start_on("a", slow.disk.clone(), Arc::new(slow)).await];
    let configuration = Configuration { servers: vec![nodes[0].member()] };
    nodes[0].host.bootstrap(configuration).await.expect("it runs").expect("it is new");
    assert!(nodes[0].host.until_leader().await);
    for name in ["b", "c"] {
        let node = cluster.start(name, MemDisk::new()).await;
        let Server { id, address, .. } = node.member();
        let change = Change::AddVoter { id, address };
        nodes[0].host.change_membership(change, None).await.expect("it leads");
        nodes.push(node);
    }
    nodes[0].put("before").await.expect("it leads");
    all_have(&nodes, "before").await;
    let term = nodes[0].stats().await.status.term;

    // Longer than half of the lease, and shorter than the lease.
    let mut leadership = nodes[0].host.watch_leadership();
    stall_ms.store(200, Ordering::Relaxed);
    // It may be answered by this leader, or lost on the way.
    let _ = nodes[0].put("meanwhile").await;
    in_time(leadership.wait_for(|leads| !leads)).await.expect("it runs");
    let next = leader(&nodes[1..]).await + 1;
    nodes[next].put("after").await.expect("it leads");
    nodes[3 - next].has("after").await;
    // An election without a word from the old leader would have taken a pre-vote and luck.
    assert_eq!(nodes[next].stats().await.status.term, Term(term.0 + 1));
}

fn write_file(disk: &MemDisk, path: &str, text: &str) {
    let mut file = Disk::create(disk, path).expect("there is room");
    file.write_at(0, text.as_bytes()).expect("there is room");
    file.sync_data().expect("it is memory");
    Disk::sync_dir(disk, "raft").expect("it is memory");
}

fn has_file(disk: &MemDisk, name: &str) -> bool {
    Disk::list(disk, "raft").expect("it is there").iter().any(|found| found == name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_a_lost_cluster_is_recovered_by_hand() {
    let cluster = Cluster::default();
    let mut nodes = cluster.found(&["a", "b", "c"]).await;
    let first = leader(&nodes).await;
    nodes[first].put("before").await.expect("it leads");
    all_have(&nodes, "before").await;
    let survivor = nodes.remove((first + 1) % 3);
    let name = survivor.id.clone();
    // The others, and their disks, are gone for good.
    drop(nodes);
    let disk = survivor.stop().await;
    assert!(has_file(&disk, "peers.info"));
    let address = "127.0.0.1:1";
    let line = format!(r#"[{{"id": "{}", "address": "{address}"}}]"#, name.0);
    write_file(&disk, "raft/peers.json", &line);

    let node = cluster.start(&name.0, disk).await;
    assert!(node.host.until_leader().await, "it is alone");
    node.has("before").await;
    node.put("after").await.expect("it leads");
    assert!(!has_file(&node.disk, "peers.json"), "it is in force once");
    let members = node.stats().await.configuration.servers;
    assert_eq!(members.len(), 1);
    // Another server joins what was recovered, and gets all of it.
    let joining = cluster.start("d", MemDisk::new()).await;
    let Server { id, address, .. } = joining.member();
    node.host.change_membership(Change::AddVoter { id, address }, None).await.expect("it leads");
    all_have(&[joining], "after").await;
    let node = cluster.start(&name.0, node.stop().await).await;
    node.has("before").await;
}

#[tokio::test]
async fn a_recovery_that_cannot_be_says_why_and_changes_nothing() {
    let start = |disk: &MemDisk| {
        let applier = Fsm::new(Store::new(&domains::tables()));
        let options =
            HostOptions { bootstrap: true, ..options(&id("a"), ([127, 0, 0, 1], 9).into()) };
        let transport = |_| Box::new(crate::raft_host::NoPeers) as Box<dyn Transport>;
        RaftHost::start(options, Arc::new(disk.clone()), applier, transport)
    };
    // What is there before the first start may be of another cluster.
    let disk = MemDisk::new();
    Disk::create_dir(&disk, "raft").expect("there is room");
    write_file(&disk, "raft/peers.json", "no json");
    let host = start(&disk).expect("it is not read");
    assert!(!has_file(&disk, "peers.json") && has_file(&disk, "peers.info"));
    host.shutdown().await;

    for (text, expected) in [
        ("no json", "a list of objects"),
        (r#"["10.0.0.1:8300"]"#, "a list of objects"),
        ("[]", "need at least one voter"),
        (r#"[{"id": "a", "address": "x", "non_voter": true}]"#, "need at least one voter"),
        (r#"[{"id": "a"}]"#, "empty address in configuration"),
    ] {
        write_file(&disk, "raft/peers.json", text);
        let error = start(&disk).err().expect(text).to_string();
        assert!(error.contains(expected) && error.contains("mend the file"), "{error}");
        assert!(has_file(&disk, "peers.json"));
        Disk::remove(&disk, "raft/peers.json").expect("it is there");
    }
    let host = start(&disk).expect("nothing has changed");
    assert!(host.until_leader().await);
    host.shutdown().await;

    let empty = MemDisk::new();
    Disk::create_dir(&empty, "raft").expect("there is room");
    write_file(&empty, "raft/peers.info", "");
    write_file(&empty, "raft/peers.json", r#"[{"id": "a", "address": "x"}]"#);
    let error = start(&empty).err().expect("there is nothing to recover").to_string();
    assert!(error.contains("refused to recover cluster with no initial state"), "{error}");
}

/// Another server's side of a connection, by hand.
struct Hand {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Hand {
    async fn to(node: &Node) -> Self {
        let mut stream = TcpStream::connect(node.address).await.expect("it listens");
        stream.write_all(&[RAFT_BYTE]).await.expect("it is connected");
        Self { stream, buffer: BytesMut::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is connected");
    }

    /// The next whole message; nothing when the other side has closed the connection.
    async fn next(&mut self, mut splitter: Splitter) -> Option<Bytes> {
        loop {
            if let Some(message) = splitter.next(&mut self.buffer).expect("it is sound") {
                return Some(message);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn ask(&mut self, from: &Sender, body: &Body) -> Option<Result<Body, String>> {
        let mut bytes = Vec::new();
        assert!(wire::encode_request(&mut bytes, from, body));
        self.send(&bytes).await;
        let answer = self.next(Splitter::responses()).await?;
        let rpc = Rpc::of(body).expect("it is a request");
        Some(wire::decode_response(rpc, &answer).expect("it is sound").body)
    }

    async fn request(&mut self) -> Option<Request> {
        let request = self.next(Splitter::requests()).await?;
        Some(wire::decode_request(&request).expect("it is sound"))
    }
}

fn heartbeat(term: u64) -> Body {
    let (previous, entries) = (LogPosition::default(), Vec::new());
    let (term, leader_commit) = (Term(term), Index::ZERO);
    Body::AppendEntries(AppendEntries { term, previous, entries, leader_commit })
}

fn sender(name: &str, address: &str) -> Sender {
    Sender { id: id(name), address: address.into() }
}

#[tokio::test]
async fn requests_are_answered_in_their_order_or_the_connection_is_closed() {
    let cluster = Cluster::default();
    let node = cluster.start("a", MemDisk::new()).await;
    let leader = sender("z", "127.0.0.1:1");
    let mut hand = Hand::to(&node).await;
    let vote = Body::RequestPreVote(RequestPreVote { term: Term(3), last: Default::default() });
    let mut bytes = Vec::new();
    for body in [&vote, &heartbeat(7), &vote] {
        assert!(wire::encode_request(&mut bytes, &leader, body));
    }
    hand.send(&bytes).await;
    let mut granted = Vec::new();
    for rpc in [Rpc::RequestPreVote, Rpc::AppendEntries, Rpc::RequestPreVote] {
        let answer = hand.next(Splitter::responses()).await.expect("it answers");
        match wire::decode_response(rpc, &answer).expect("it is sound").body {
            Ok(Body::RequestPreVoteResponse(vote)) => granted.push(vote.granted),
            Ok(Body::AppendEntriesResponse(response)) => assert!(response.success),
            other => panic!("{other:?}"),
        }
    }
    // Behind the heartbeat its term is over.
    assert_eq!(granted, [true, false]);
    assert_eq!(node.stats().await.status.term, Term(7));

    // A protocol of long ago is refused, and the connection is of use all the same.
    hand.send(b"\x03\x81\xafProtocolVersion\x01").await;
    let answer = hand.next(Splitter::responses()).await.expect("it answers");
    let refused = wire::decode_response(Rpc::TimeoutNow, &answer).expect("it is sound").body;
    assert_eq!(refused, Err(wire::UNSUPPORTED_PROTOCOL.to_owned()));
    assert!(matches!(hand.ask(&leader, &heartbeat(7)).await, Some(Ok(_))));

    hand.send(b"\x09").await;
    assert!(hand.next(Splitter::responses()).await.is_none(), "no call has this type");
    let mut hand = Hand::to(&node).await;
    let itself = Sender { id: node.id.clone(), ..leader };
    assert_eq!(hand.ask(&itself, &heartbeat(8)).await, None);
    assert_eq!(node.stats().await.status.term, Term(7));
}

#[tokio::test]
async fn a_server_that_gives_no_id_is_known_by_its_address() {
    let cluster = Cluster::default();
    let node = cluster.start("a", MemDisk::new()).await;
    let old = Sender { id: ServerId("".into()), address: "127.0.0.1:8300".into() };
    assert_eq!(Hand::to(&node).await.ask(&old, &heartbeat(5)).await, None, "nobody knows it");
    assert_eq!(node.stats().await.status.term, Term(0));

    cluster.book.set(id("old"), "127.0.0.1:8300".parse().expect("an address"));
    let mut hand = Hand::to(&node).await;
    assert!(matches!(hand.ask(&old, &heartbeat(5)).await, Some(Ok(_))));
    assert_eq!(node.host.leader().map(|leader| leader.id), Some(id("old")));
    // It hands over: whoever is at the leader's address is the leader.
    let nameless = Sender { address: "".into(), ..old };
    let answer = hand.ask(&nameless, &Body::TimeoutNow).await;
    assert_eq!(answer, Some(Ok(Body::TimeoutNowResponse)));
}

#[tokio::test]
async fn a_snapshot_is_read_to_its_end_even_if_it_is_of_no_use() {
    let cluster = Cluster::default();
    let node = cluster.start("a", MemDisk::new()).await;
    let leader = sender("z", "127.0.0.1:1");
    let mut hand = Hand::to(&node).await;
    let server = Server { id: id("z"), address: "127.0.0.1:1".into(), suffrage: Suffrage::Voter };
    let last = LogPosition { term: Term(2), index: Index(9) };
    let announced = |size| {
        let configuration = Configuration { servers: vec![server.clone()] };
        let (id, configuration_index) = (String::new(), Index(1));
        let snapshot = raft::SnapshotMeta { id, last, configuration, configuration_index, size };
        Body::InstallSnapshot(raft::InstallSnapshot { term: Term(2), snapshot })
    };
    let garbage = vec![0xc1; 600_000];
    let mut bytes = Vec::new();
    assert!(wire::encode_request(&mut bytes, &leader, &announced(garbage.len() as u64)));
    hand.send(&[&bytes[..], &garbage].concat()).await;
    let answer = hand.next(Splitter::responses()).await.expect("it answers");
    let response = wire::decode_response(Rpc::InstallSnapshot, &answer).expect("it is sound");
    let Ok(Body::InstallSnapshotResponse(response)) = response.body else { panic!("{response:?}") };
    assert!(!response.success);
    // The connection goes on, and nothing is left on the disk.
    assert!(matches!(hand.ask(&leader, &heartbeat(2)).await, Some(Ok(_))));
    let left = Disk::list(&node.disk, "raft/snapshots").expect("it is there");
    assert_eq!(left, Vec::<String>::new());

    let mut state = Vec::new();
    replica::state_file::save(&node.store.snapshot(), &mut state).expect("memory takes all");
    let mut bytes = Vec::new();
    assert!(wire::encode_request(&mut bytes, &leader, &announced(state.len() as u64)));
    hand.send(&[&bytes[..], &state].concat()).await;
    let answer = hand.next(Splitter::responses()).await.expect("it answers");
    let response = wire::decode_response(Rpc::InstallSnapshot, &answer).expect("it is sound");
    let Ok(Body::InstallSnapshotResponse(response)) = response.body else { panic!("{response:?}") };
    assert!(response.success);
    assert_eq!(node.stats().await.status.snapshot, last);
}

/// A member of the cluster whose side of the protocol is a closure.
async fn fake(
    cluster: &Cluster,
    name: &str,
    answer: impl Fn(&Request) -> Option<(Sender, Body)> + Send + Sync + 'static,
) -> (Server, JoinSet<()>) {
    let (listener, address) = listen().await;
    cluster.book.set(id(name), address);
    let answer = Arc::new(answer);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let answer = answer.clone();
            connections.spawn(async move {
                if stream.read_u8().await.is_err() {
                    return;
                }
                let mut hand = Hand { stream, buffer: BytesMut::new() };
                while let Some(request) = hand.request().await {
                    let Some((sender, body)) = answer(&request) else { return };
                    let mut bytes = Vec::new();
                    wire::encode_response(&mut bytes, &sender, Ok(&body));
                    hand.send(&bytes).await;
                }
            });
        }
    });
    let (id, address) = (id(name), address.to_string().into());
    (Server { id, address, suffrage: Suffrage::Voter }, tasks)
}

fn agree(request: &Request) -> Option<Body> {
    let vote = |term| VoteResponse { term, granted: true };
    match &request.body {
        Body::RequestVote(body) => Some(Body::RequestVoteResponse(vote(body.term))),
        Body::RequestPreVote(body) => Some(Body::RequestPreVoteResponse(vote(body.term))),
        Body::AppendEntries(body) => {
            let last_log = body.entries.last().map_or(body.previous.index, |entry| entry.index);
            Some(Body::AppendEntriesResponse(raft::AppendEntriesResponse {
                term: body.term,
                last_log,
                success: body.term > Term(0),
                no_retry_backoff: false,
            }))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_server_that_knows_no_pre_votes_does_not_stand_in_the_way() {
    let cluster = Cluster::default();
    let node = cluster.start("a", MemDisk::new()).await;
    let old = Sender { id: ServerId("".into()), address: "".into() };
    let (other, _tasks) = fake(&cluster, "old", move |request| match request.body {
        Body::RequestPreVote(_) => None,
        _ => agree(request).map(|body| (old.clone(), body)),
    })
    .await;
    let configuration = Configuration { servers: vec![node.member(), other] };
    node.host.bootstrap(configuration).await.expect("it runs").expect("it is new");
    assert!(node.host.until_leader().await);
    node.put("a").await.expect("both agree");
}

#[tokio::test]
async fn an_answer_of_another_server_than_the_one_that_was_asked_counts_as_none() {
    let cluster = Cluster::default();
    let node = cluster.start("a", MemDisk::new()).await;
    let (asked, mut asks) = watch::channel(0);
    let stranger = sender("stranger", "127.0.0.1:1");
    let (other, _tasks) = fake(&cluster, "b", move |request| {
        asked.send_modify(|count| *count += 1);
        agree(request).map(|body| (stranger.clone(), body))
    })
    .await;
    let configuration = Configuration { servers: vec![node.member(), other] };
    node.host.bootstrap(configuration).await.expect("it runs").expect("it is new");
    // Its vote would be enough.
    in_time(asks.wait_for(|count| *count >= 3)).await.expect("it is asked again and again");
    assert!(!node.host.is_leader());
    assert_eq!(node.stats().await.status.term, Term(1));
}
