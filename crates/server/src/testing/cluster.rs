//! Several servers in this process, each behind a port of its own on loopback, with gossip
//! that the test plays.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domains::kv::{KvCommand, KvGet, KvOp};
use raft::wire::Sender;
use raft::{Configuration, ServerId, Suffrage};
use rpc::{BoxFuture, Pool, PoolOptions, Router, ServeOptions, ServerAddr};
use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use types::autopilot::AutopilotConfiguration;
use types::coordinate::DatacenterMap;
use types::keyring::{KeyringOperation, KeyringRequest, KeyringResponse};
use types::kv::KvEntry;
use types::member::{Member, MemberStatus};
use types::{Datacenter, GoDuration, SecretId};

use contract::{CallError, Consistency, ReadFacts, ReadOptions};

use crate::endpoint::Endpoint;
use crate::fsm::Fsm;
use crate::gossip::{Gossip, PoolKind};
use crate::peers::{Peers, RaftDial};
use crate::raft_host::{HostOptions, MemDisk, RaftHost, RaftOptions};
use crate::raft_transport::{self, Members, TIMEOUT, TransportOptions};
use crate::server_member::tests::member;
use crate::{Server, ServerOptions};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Fast, and yet no trouble for a machine that is busy with other things.
fn timings() -> RaftOptions {
    RaftOptions {
        heartbeat_timeout: Duration::from_millis(300),
        election_timeout: Duration::from_millis(300),
        leader_lease_timeout: Duration::from_millis(250),
        ..RaftOptions::default()
    }
}

/// What the servers of a datacenter gossip.
#[derive(Clone)]
pub(crate) struct FakeGossip {
    own: String,
    members: Arc<watch::Sender<Vec<Member>>>,
    /// Names and payloads of the events that were sent.
    pub(crate) events: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl FakeGossip {
    fn set_status(&self, name: &str, status: MemberStatus) {
        self.members.send_modify(|members| {
            for member in members.iter_mut().filter(|member| member.name == name) {
                member.status = status;
            }
        });
    }
}

impl Gossip for FakeGossip {
    fn members(&self) -> Vec<Member> {
        self.members.borrow().clone()
    }

    fn distance(&self, _server: &ServerAddr) -> Option<f64> {
        None
    }

    fn datacenter_maps(&self) -> BoxFuture<'_, Vec<DatacenterMap>> {
        Box::pin(async { Vec::new() })
    }

    /// The datacenter stands in the name of who answers.
    fn operate_keys<'g>(
        &'g self,
        pool: PoolKind,
        operation: KeyringOperation,
        _request: &'g KeyringRequest,
    ) -> BoxFuture<'g, Option<KeyringResponse>> {
        let answer = KeyringResponse {
            wan: pool == PoolKind::Wan,
            messages: [(self.own.clone(), operation.as_str().to_owned())].into(),
            ..KeyringResponse::default()
        };
        Box::pin(async { Some(answer) })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        self.set_status(&self.own, MemberStatus::LEFT);
        Box::pin(async { Ok(()) })
    }

    fn force_leave<'g>(&'g self, node: &'g str) -> BoxFuture<'g, Result<(), String>> {
        self.set_status(node, MemberStatus::LEFT);
        Box::pin(async { Ok(()) })
    }

    fn user_event<'g>(
        &'g self,
        name: &'g str,
        payload: Bytes,
        _coalesce: bool,
    ) -> BoxFuture<'g, Result<(), String>> {
        self.events.lock().unwrap().push((name.to_owned(), payload));
        Box::pin(async { Ok(()) })
    }
}

/// One server.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) addr: ServerAddr,
    pub(crate) gossip: FakeGossip,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), CallError> {
        self.put_in(&Datacenter::default(), key, value).await
    }

    pub(crate) async fn put_in(
        &self,
        datacenter: &Datacenter,
        key: &str,
        value: &str,
    ) -> Result<(), CallError> {
        let value = Bytes::copy_from_slice(value.as_bytes()).into();
        let entry = KvEntry { key: key.into(), value, ..KvEntry::default() };
        let command = KvCommand { datacenter: datacenter.clone(), op: KvOp::Set, entry };
        self.server.write_typed(command, &SecretId::default()).await.map(drop)
    }

    /// The value of a key, empty if there is none.
    pub(crate) async fn get(&self, key: &str, options: &ReadOptions) -> Result<Got, CallError> {
        let query = KvGet { key: key.into() };
        let (entry, facts) = self.server.read_typed(query, options).await?;
        let value = entry.as_ref().as_ref().map(|entry| entry.value.to_vec()).unwrap_or_default();
        Ok(Got { value: String::from_utf8(value).expect("tests write text"), facts })
    }

    /// Ends it without a word, as a power cut would.
    async fn kill(mut self) {
        self.tasks.shutdown().await;
        self.server.raft().shutdown().await;
    }
}

/// What a read gave.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) value: String,
    pub(crate) facts: ReadFacts,
}

pub(crate) fn mode(consistency: Consistency) -> ReadOptions {
    ReadOptions { consistency, ..ReadOptions::default() }
}

/// The servers of a datacenter.
pub(crate) struct Cluster {
    datacenter: Datacenter,
    hold_timeout: Duration,
    members: Arc<watch::Sender<Vec<Member>>>,
    /// Who knows of the servers of this datacenter: its servers, and those who were told.
    routers: Vec<Router>,
    pub(crate) servers: Vec<Running>,
}

impl Cluster {
    /// That many servers that vote, one of which leads.
    pub(crate) async fn start(datacenter: &str, count: usize) -> Self {
        let mut cluster = Self::without_leader(datacenter, count, Duration::from_secs(7)).await;
        let servers = cluster.servers.iter().map(|running| raft::Server {
            id: running.server.raft().id().clone(),
            address: running.addr.address.to_string().into(),
            suffrage: Suffrage::Voter,
        });
        let configuration = Configuration { servers: servers.collect() };
        for running in &cluster.servers {
            let done = running.server.raft().bootstrap(configuration.clone()).await;
            done.expect("it runs").expect("it is new");
        }
        cluster.until_led().await;
        cluster
    }

    /// That many servers that were never told who they are together.
    pub(crate) async fn without_leader(
        datacenter: &str,
        count: usize,
        hold_timeout: Duration,
    ) -> Self {
        let mut cluster = Self {
            datacenter: datacenter.into(),
            hold_timeout,
            members: Arc::new(watch::Sender::new(Vec::new())),
            routers: Vec::new(),
            servers: Vec::new(),
        };
        for _ in 0..count {
            cluster.add().await;
        }
        cluster
    }

    /// Starts one more server, which the others hear of.
    pub(crate) async fn add(&mut self) -> usize {
        let number = self.routers.len() + 1;
        let name = format!("s{number}");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
        let address = listener.local_addr().expect("it is bound");
        let id = format!("{}-{name}", self.datacenter);
        let addr = ServerAddr {
            datacenter: self.datacenter.clone(),
            id: id.clone(),
            name: name.clone(),
            address,
        };
        let router = Router::new(self.datacenter.clone());
        self.routers.push(router.clone());
        let running = self.run(ServerId(id.as_str().into()), addr.clone(), listener, router).await;
        for running in self.servers.iter().chain([&running]) {
            self.routers.iter().for_each(|router| router.add_server(running.addr.clone()));
        }
        let tags = format!("role=consul id={id} port={} build=1.21.4:abc", address.port());
        self.members.send_modify(|members| {
            members.push(member(&name, "127.0.0.1", MemberStatus::ALIVE, &tags));
        });
        self.servers.push(running);
        self.servers.len() - 1
    }

    async fn run(
        &self,
        id: ServerId,
        addr: ServerAddr,
        listener: TcpListener,
        router: Router,
    ) -> Running {
        let pool = Pool::new(PoolOptions::server());
        let address: Arc<str> = addr.address.to_string().into();
        let transport = TransportOptions {
            sender: Sender { id: id.clone(), address: address.clone() },
            book: Arc::new(Members(self.members.subscribe())),
            dial: Arc::new(RaftDial::new(pool.clone(), self.datacenter.clone())),
            runtime: Handle::current(),
            timeout: TIMEOUT,
        };
        let seed = fastrand::u64(..);
        let in_memory = HostOptions::in_memory(id, address, seed);
        let options = HostOptions { raft: timings(), bootstrap: false, ..in_memory };
        let store = Store::new(&domains::tables());
        let applier = Fsm::new(store.clone());
        let lock_delays = applier.lock_delays();
        let mut incoming = None;
        let host = RaftHost::start(options, Arc::new(MemDisk::new()), applier, |inlet| {
            let (transport, from_others) = raft_transport::start(transport, inlet);
            incoming = Some(from_others);
            Box::new(transport)
        });
        let host = host.expect("the disk is sound");
        let options = ServerOptions {
            datacenter: self.datacenter.clone(),
            hold_timeout: self.hold_timeout,
            makes_authority: false,
            autopilot: AutopilotConfiguration {
                server_stabilization_time: GoDuration::from_secs(1),
                ..AutopilotConfiguration::default()
            },
            ..ServerOptions::default()
        };
        let server = Server::new(options, store, host, lock_delays);
        let gossip = FakeGossip {
            own: addr.name.clone(),
            members: self.members.clone(),
            events: Arc::default(),
        };
        server.connect(Peers::new(pool, router), Arc::new(gossip.clone()));
        let (stop, stops) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let endpoint = Endpoint::new(server.clone(), incoming.expect("the host made it"));
        let service = Arc::new(endpoint);
        tasks.spawn(rpc::serve(listener, ServeOptions::default(), service, stops.clone()));
        let own = addr.name.as_str().into();
        let members = self.members.subscribe();
        tasks.spawn(crate::leader::run(server.clone(), own, members, stops));
        Running { server, addr, gossip, stop, tasks }
    }

    /// Tells the servers of another datacenter of these.
    pub(crate) fn meet(&self, other: &Cluster) {
        for running in &self.servers {
            other.routers.iter().for_each(|router| router.add_server(running.addr.clone()));
        }
    }

    /// Waits until one leads, and all know it.
    pub(crate) async fn until_led(&mut self) -> usize {
        let led = async {
            loop {
                let known: Vec<Option<ServerId>> = self
                    .servers
                    .iter()
                    .map(|running| running.server.raft().leader().map(|leader| leader.id))
                    .collect();
                let agreed = known.iter().collect::<BTreeSet<_>>().len() == 1;
                let leader = self.servers.iter().position(|r| r.server.raft().is_leader());
                if let (true, Some(leader)) = (agreed, leader)
                    && known[0].as_ref() == Some(self.servers[leader].server.raft().id())
                {
                    return leader;
                }
                // Whatever happens next, some of them hears of it.
                let mut changes = JoinSet::new();
                for running in &self.servers {
                    let mut leader = running.server.raft().watch_leader();
                    let mut leads = running.server.raft().watch_leadership();
                    changes.spawn(async move {
                        tokio::select! {
                            _ = leader.changed() => {}
                            _ = leads.changed() => {}
                            // It may have happened before somebody listened.
                            () = tokio::time::sleep(Duration::from_millis(20)) => {}
                        }
                    });
                }
                changes.join_next().await;
            }
        };
        tokio::time::timeout(PATIENCE, led).await.expect("one of them leads")
    }

    /// A server that does not lead.
    pub(crate) fn follower(&self) -> &Running {
        let follows = |running: &&Running| !running.server.raft().is_leader();
        self.servers.iter().find(follows).expect("one follows")
    }

    /// The server that leads.
    pub(crate) fn leader(&self) -> &Running {
        self.servers.iter().find(|running| running.server.raft().is_leader()).expect("one leads")
    }

    /// Kills the leader; gossip finds out.
    pub(crate) async fn kill_leader(&mut self) -> ServerAddr {
        let leads = |running: &Running| running.server.raft().is_leader();
        let at = self.servers.iter().position(leads).expect("one leads");
        let killed = self.servers.remove(at);
        let addr = killed.addr.clone();
        let gossip = killed.gossip.clone();
        killed.kill().await;
        gossip.set_status(&addr.name, MemberStatus::FAILED);
        addr
    }

    /// Ends all of them in order.
    pub(crate) async fn stop(self) {
        for mut running in self.servers {
            running.stop.send_replace(true);
            while running.tasks.join_next().await.is_some() {}
            running.server.raft().shutdown().await;
        }
    }
}

/// Waits for a state that is looked at again and again.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> T {
    let seen = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it happens")
}
