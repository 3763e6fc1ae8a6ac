use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domains::kv::{KVS, KvCommand, KvOp};
use raft::{Body, Destination, Message, Suffrage};
use store::Store;
use types::kv::KvEntry;
use wal::{Disk, DiskError, DiskErrorKind, DiskFile, FileDisk, MemDisk, SnapshotStore};

use super::*;
use crate::fsm::Fsm;

fn options(name: &str) -> HostOptions {
    let raft = raft::Options::default();
    HostOptions { raft, ..HostOptions::in_memory(ServerId(name.into()), address(name), 7) }
}

fn address(name: &str) -> Arc<str> {
    format!("{name}:8300").into()
}

fn start_with(options: HostOptions, disk: &(impl Disk + Clone + 'static)) -> (RaftHost, Store) {
    let store = Store::new(&domains::tables());
    let applier = Fsm::new(store.clone());
    let host = RaftHost::start(options, Arc::new(disk.clone()), applier, |_| Box::new(NoPeers));
    (host.expect("the disk is sound"), store)
}

async fn start(disk: &(impl Disk + Clone + 'static)) -> (RaftHost, Store) {
    let (host, store) = start_with(options("a"), disk);
    assert!(host.until_leader().await);
    (host, store)
}

async fn put(host: &RaftHost, key: &str, value: &[u8]) -> Result<(), ProposeError> {
    let value = bytes::Bytes::copy_from_slice(value).into();
    let entry = KvEntry { key: key.into(), value, ..KvEntry::default() };
    let command = Box::new(KvCommand { op: KvOp::Set, entry, ..KvCommand::default() });
    let reply = host.propose(AnyCommand::encode(&*command), command).await?;
    reply.expect("a set does not fail");
    Ok(())
}

fn keys(store: &Store) -> Vec<String> {
    let state = store.snapshot();
    state.peek_prefix(&KVS, b"").map(|row| row.key.to_string()).collect()
}

#[tokio::test]
async fn many_writers_are_answered_and_a_restart_finds_all_they_wrote() {
    let disk = MemDisk::new();
    let (host, store) = start(&disk).await;
    let writers: Vec<_> = (0..20)
        .map(|writer| {
            let host = host.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    put(&host, &format!("{writer:02}/{n:02}"), b"v").await.expect("it leads");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer does not panic");
    }
    let before = keys(&store);
    assert_eq!(before.len(), 400);
    host.shutdown().await;
    assert!(host.stopped().await.is_none());
    assert!(matches!(put(&host, "late", b"").await, Err(ProposeError::Shutdown)));
    assert!(!host.is_leader() && !host.has_lease());

    let (_host, store) = start(&disk).await;
    assert_eq!(keys(&store), before);
}

#[tokio::test]
async fn the_sole_voter_leads_with_a_lease_and_says_so_in_its_figures() {
    let (host, _store) = start(&MemDisk::new()).await;
    assert!(host.is_leader() && host.has_lease());
    host.verify_leader().await.expect("it leads");
    let index = host.barrier().await.expect("it leads");
    assert_eq!((index, host.applied_index()), (Index(3), Index(3)));
    assert_eq!(host.leader().map(|leader| leader.address), Some(address("a")));
    assert_eq!(host.last_contact(), Duration::ZERO);
    let stats = host.stats().await.expect("it runs").to_map();
    let shown: Vec<String> = stats.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected = "applied_index=3 commit_index=3 fsm_pending=0 last_contact=0 last_log_index=3 \
         last_log_term=2 last_snapshot_index=0 last_snapshot_term=0 \
         latest_configuration=[{Suffrage:Voter ID:a Address:a:8300}] \
         latest_configuration_index=1 num_peers=0 protocol_version=3 protocol_version_max=3 \
         protocol_version_min=0 snapshot_version_max=1 snapshot_version_min=0 state=Leader term=2";
    assert_eq!(shown.join(" "), expected);
}

#[tokio::test]
async fn a_snapshot_shortens_the_log_and_a_restart_begins_at_it() {
    let disk = MemDisk::new();
    let mut options = options("a");
    options.raft.trailing_logs = 5;
    options.log.segment_bytes_first = 4096;
    options.log.segment_bytes_max = 4096;
    let (host, store) = start_with(options.clone(), &disk);
    assert!(host.until_leader().await);
    for n in 0..100 {
        put(&host, &format!("k{n}"), &[1; 200]).await.expect("it leads");
    }
    let meta = host.take_snapshot().await.expect("there is room").expect("there is news");
    assert_eq!(meta.last.index, host.applied_index());
    assert!(host.take_snapshot().await.expect("there is room").is_none());
    put(&host, "after", b"").await.expect("it leads");
    let stats = host.stats().await.expect("it runs");
    assert_eq!(stats.status.snapshot, meta.last);
    assert_eq!(stats.status.first.0, meta.last.index.0 - 4);
    let before = keys(&store);
    host.shutdown().await;
    assert!(disk.list("raft/log").expect("it is there").len() < 5, "old segments are gone");

    let (host, store) = start_with(options, &disk);
    assert!(host.until_leader().await);
    assert_eq!(keys(&store), before);
    assert_eq!(host.stats().await.expect("it runs").status.snapshot, meta.last);
}

#[tokio::test]
async fn new_settings_apply_while_the_host_runs() {
    let disk = MemDisk::new();
    let (host, _store) = start(&disk).await;
    for n in 0..20 {
        put(&host, &format!("k{n}"), &[1; 200]).await.expect("it leads");
    }
    let raft = raft::Options { trailing_logs: 5, snapshot_threshold: 1, ..options("a").raft };
    host.set(HostSettings { raft, snapshot_interval: Duration::from_millis(1) }).expect("it runs");
    // The next look comes at once and finds more entries than the new threshold.
    let snapshot = loop {
        let status = host.stats().await.expect("it runs").status;
        if status.snapshot.index > Index::ZERO {
            break status;
        }
    };
    assert_eq!(snapshot.first.0, snapshot.snapshot.index.0 - 4, "five entries are kept");
}

#[tokio::test]
async fn a_restored_archive_replaces_the_state_for_good() {
    let disk = MemDisk::new();
    let (host, store) = start(&disk).await;
    put(&host, "kept", b"").await.expect("it leads");
    let mut archive = Vec::new();
    replica::state_file::save(&store.snapshot(), &mut archive).expect("memory takes all");
    put(&host, "newer", b"").await.expect("it leads");

    let broken = host.restore(Index(900), Box::new(|out| out.write_all(b"\xc1"))).await;
    assert!(matches!(broken, Err(ProposeError::Snapshot(_))));
    assert_eq!(keys(&store), ["kept", "newer"]);

    let meta = host
        .restore(Index(900), Box::new(move |out| out.write_all(&archive)))
        .await
        .expect("it leads");
    assert_eq!((meta.last.index, keys(&store)), (Index(901), vec!["kept".to_owned()]));
    put(&host, "after", b"").await.expect("it leads");
    assert_eq!(host.applied_index(), Index(902));
    host.shutdown().await;

    let (_host, store) = start(&disk).await;
    assert_eq!(keys(&store), ["after", "kept"]);
}

#[tokio::test]
async fn what_was_queued_before_a_shutdown_is_done() {
    let disk = MemDisk::new();
    let (host, store) = start(&disk).await;
    let mut writes: Vec<_> = (0..50)
        .map(|n| {
            let host = host.clone();
            Box::pin(async move { put(&host, &format!("{n}"), b"").await })
        })
        .collect();
    for write in &mut writes {
        // The first poll queues it.
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx)));
        let _ = polled.await;
    }
    host.shutdown().await;
    assert_eq!(keys(&store).len(), 50);
}

#[tokio::test]
async fn a_failed_sync_stops_the_host_for_good() {
    let disk = MemDisk::with_faults(1);
    let (host, _store) = start(&disk).await;
    put(&host, "a", b"").await.expect("it leads");
    disk.fail_syncs(1);
    for _ in 0..2 {
        let error = put(&host, "b", b"").await.expect_err("the disk fails");
        assert!(matches!(error, ProposeError::Fatal(_)), "{error}");
        assert!(error.is_ambiguous());
    }
    let fatal = host.stopped().await.expect("it did not end in order").to_string();
    assert!(
        fatal.starts_with("raft cannot go on and this server must stop: sync raft/log/"),
        "{fatal}"
    );
    assert!(!host.is_leader() && !host.has_lease());
    assert!(!host.until_leader().await);
}

#[tokio::test]
async fn a_full_disk_fails_writes_and_room_brings_them_back() {
    let disk = MemDisk::new();
    let mut options = options("a");
    options.log.segment_bytes_first = 4096;
    let (host, store) = start_with(options, &disk);
    assert!(host.until_leader().await);
    let mut full = host.watch_disk_full();
    disk.set_capacity(Some(disk.used()));
    let mut queued = None;
    for n in 0..40 {
        let outcome = put(&host, &format!("k{n}"), &[0; 200]).await;
        match outcome {
            Ok(()) => assert!(queued.is_none()),
            Err(ProposeError::DiskFull { queued: true, error }) => {
                assert!(error.is_full());
                queued = Some(format!("k{n}"));
            }
            Err(ProposeError::DiskFull { queued: false, .. }) => assert!(queued.is_some()),
            Err(other) => panic!("{other}"),
        }
    }
    let queued = queued.expect("the first segment does not hold it all");
    disk.set_capacity(None);
    full.wait_for(|full| !*full).await.expect("the host runs");
    put(&host, "after", b"").await.expect("there is room");
    let keys = keys(&store);
    assert!(keys.contains(&queued) && keys.contains(&"after".to_owned()));
}

/// A disk that dies at some point, as the power does, and leaves its files.
#[derive(Clone, Debug)]
struct DyingDisk {
    disk: FileDisk,
    operations: Arc<AtomicU64>,
    last: u64,
}

impl DyingDisk {
    fn step(&self) -> Result<(), DiskError> {
        if self.operations.fetch_add(1, Ordering::Relaxed) < self.last {
            return Ok(());
        }
        let (kind, path) = (DiskErrorKind::Other, String::new());
        Err(DiskError { kind, operation: "die", path, detail: "no power".to_owned() })
    }
}

impl Disk for DyingDisk {
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.step()?;
        Ok(Box::new(DyingFile { file: self.disk.create(path)?, disk: self.clone() }))
    }
    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(DyingFile { file: self.disk.open(path)?, disk: self.clone() }))
    }
    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        self.disk.create_dir(path)
    }
    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        self.disk.list(path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.step()?;
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.step()?;
        self.disk.remove(path)
    }
    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        self.step()?;
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        self.step()?;
        self.disk.sync_dir(path)
    }
}

#[derive(Debug)]
struct DyingFile {
    file: Box<dyn DiskFile>,
    disk: DyingDisk,
}

impl DiskFile for DyingFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.file.read_at(offset, into)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        match self.disk.step() {
            Ok(()) => self.file.write_at(offset, bytes),
            Err(error) => {
                self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
                Err(error)
            }
        }
    }
    fn sync_data(&mut self) -> Result<(), DiskError> {
        self.disk.step()?;
        self.file.sync_data()
    }
    fn preallocate(&mut self, len: u64) -> Result<(), DiskError> {
        self.file.preallocate(len)
    }
    fn size(&self) -> Result<u64, DiskError> {
        self.file.size()
    }
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("raft-host-{}-{name}", std::process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_the_death_of_the_disk() {
    for last in [30, 47, 101, 250] {
        let directory = Directory::new(&format!("dying-{last}"));
        let disk = FileDisk::new(&directory.0);
        let dying = DyingDisk { disk: disk.clone(), operations: Arc::default(), last };
        let mut options = options("a");
        options.log.segment_bytes_first = 4096;
        options.log.segment_bytes_max = 8192;
        let (host, _store) = start_with(options.clone(), &dying);
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (host, acknowledged) = (host.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    host.until_leader().await;
                    for n in 0.. {
                        let key = format!("{writer}/{n:05}");
                        if put(&host, &key, &[7; 100]).await.is_err() {
                            return;
                        }
                        acknowledged.lock().expect("nobody panics").push(key);
                    }
                })
            })
            .collect();
        assert!(host.stopped().await.is_some());
        for writer in writers {
            writer.await.expect("a writer does not panic");
        }
        drop(host);

        let (host, store) = start_with(options, &disk);
        assert!(host.until_leader().await);
        let found = keys(&store);
        for key in acknowledged.lock().expect("nobody panics").iter() {
            assert!(found.contains(key), "{key} is lost");
        }
        host.shutdown().await;
    }
}

/// Servers in one process, whose messages are delivered at once.
#[derive(Clone, Default)]
struct Wire {
    inlets: Arc<Mutex<BTreeMap<ServerId, Inlet>>>,
    is_cut: Arc<AtomicBool>,
    /// Whoever leads, and whether it had its lease when it told another to campaign.
    leader: Arc<OnceLock<RaftHost>>,
    had_lease: Arc<Mutex<Vec<bool>>>,
}

struct Port {
    from: ServerId,
    wire: Wire,
}

impl Transport for Port {
    fn send(&mut self, to: Destination, message: Message) {
        let inlets = self.wire.inlets.lock().expect("nobody panics");
        if let (Body::TimeoutNow, Some(leader)) = (&message.body, self.wire.leader.get()) {
            self.wire.had_lease.lock().expect("nobody panics").push(leader.has_lease());
        }
        let request = message.request;
        let receiver = inlets.get(&to.id).filter(|_| !self.wire.is_cut.load(Ordering::Relaxed));
        let delivered = receiver.is_some_and(|inlet| inlet.deliver(self.from.clone(), message));
        if !delivered && let Some(own) = inlets.get(&self.from) {
            let _ = own.fail(to.id, request);
        }
    }

    fn send_snapshot(&mut self, _to: Destination, _message: Message, _snapshots: &SnapshotStore) {}
}

fn join(wire: &Wire, name: &str, bootstrap: bool) -> (RaftHost, Store) {
    let store = Store::new(&domains::tables());
    let mut options = HostOptions { bootstrap, ..options(name) };
    options.raft.heartbeat_timeout = Duration::from_millis(300);
    options.raft.election_timeout = Duration::from_millis(300);
    options.raft.leader_lease_timeout = Duration::from_millis(300);
    let port = Port { from: options.id.clone(), wire: wire.clone() };
    let applier = Fsm::new(store.clone());
    let id = options.id.clone();
    let host = RaftHost::start(options, Arc::new(MemDisk::new()), applier, |inlet| {
        wire.inlets.lock().expect("nobody panics").insert(id, inlet);
        Box::new(port)
    });
    (host.expect("the disk is sound"), store)
}

#[tokio::test]
async fn three_servers_agree_and_leadership_moves_with_all_that_was_written() {
    let wire = Wire::default();
    let (a, _) = join(&wire, "a", true);
    let (b, stored) = join(&wire, "b", false);
    let (_c, _) = join(&wire, "c", false);
    assert!(a.until_leader().await);
    for name in ["b", "c"] {
        let change = Change::AddVoter { id: ServerId(name.into()), address: address(name) };
        a.change_membership(change, None).await.expect("it leads");
    }
    for n in 0..30 {
        put(&a, &format!("{n:02}"), b"").await.expect("it leads");
    }
    a.verify_leader().await.expect("a majority agrees");
    let stats = a.stats().await.expect("it runs");
    assert_eq!((stats.peers(), stats.followers.len()), (2, 2));
    assert!(stats.configuration.servers.iter().all(|s| s.suffrage == Suffrage::Voter));

    let error = put(&b, "x", b"").await.expect_err("it follows");
    assert!(matches!(error, ProposeError::NotLeader(Some(leader)) if &*leader.0 == "a"));
    assert!(wire.leader.set(a.clone()).is_ok());
    a.transfer_leadership(Some(ServerId("b".into()))).await.expect("it is up to date");
    assert!(b.until_leader().await);
    // Not even while it was told: a default read would miss what is written there.
    assert_eq!(*wire.had_lease.lock().expect("nobody panics"), [false]);
    put(&b, "30", b"").await.expect("it leads");
    assert_eq!(keys(&stored).len(), 31);

    let mut leadership = b.watch_leadership();
    wire.is_cut.store(true, Ordering::Relaxed);
    leadership.wait_for(|leads| !*leads).await.expect("it runs");
    assert!(!b.has_lease());
    // The wire holds it, and it the wire.
    a.shutdown().await;
}
