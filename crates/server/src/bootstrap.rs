//! `bootstrap_expect`: when the servers of a new cluster have found each other, each makes
//! itself a member of the same first configuration (`reference/raft-and-snapshots.md`
//! section 12).
//!
//! [`Bootstrap`] decides, from what members say of themselves and what they answer; [`run`]
//! watches, asks and waits. Whoever finds a cluster that is there already stops for good: two
//! clusters from one set of servers are what must never be.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use raft::{Configuration, Server, ServerId, Suffrage};
use tokio::sync::watch;
use types::member::{Member, MemberStatus};
use types::{Datacenter, Index};

use crate::raft_host::RaftHost;

/// How often a server is asked before it is given up, and how long the first pause is; each
/// further one is twice as long. As in Consul.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// When servers do not answer and members do not change, how long until all is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// A server that is a member of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerMember {
    /// Its node name.
    pub name: String,
    /// Its node id.
    pub id: ServerId,
    /// Where its server port is.
    pub address: SocketAddr,
    /// How many servers it expects; zero if it does not say.
    expect: usize,
    /// It makes a cluster of its own.
    bootstrap: bool,
    /// It gets the log and has no vote.
    read_replica: bool,
}

impl ServerMember {
    /// A member of this datacenter that is a server and has not left.
    fn of(member: &Member, datacenter: &Datacenter) -> Option<Self> {
        let tag = |name| member.tags.get(name).map(String::as_str);
        let has = |name| tag(name) == Some("1");
        if tag("role") != Some("consul")
            || tag("dc") != Some(datacenter.as_str())
            || member.status == MemberStatus::LEFT
        {
            return None;
        }
        let ip: IpAddr = member.addr.parse().ok()?;
        Some(Self {
            name: member.name.clone(),
            id: ServerId(tag("id").filter(|id| !id.is_empty())?.into()),
            address: SocketAddr::new(ip, tag("port")?.parse().ok()?),
            expect: tag("expect").and_then(|count| count.parse().ok()).unwrap_or(0),
            bootstrap: has("bootstrap"),
            read_replica: has("read_replica") || has("nonvoter"),
        })
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until members change.
    Wait,
    /// Nothing until they do or so much time has passed.
    Pause(Duration),
    /// Ask this server for its Raft peers (`Status.Peers`).
    Ask(ServerMember),
    /// Start a cluster of these.
    Bootstrap(Configuration),
    /// Never mind: there is a cluster.
    Stop,
}

/// Decides whether and when a cluster begins. Without a clock: it says how long to wait.
#[derive(Debug)]
pub struct Bootstrap {
    expect: usize,
    datacenter: Datacenter,
    found: Vec<ServerMember>,
    /// What was last complained of.
    complaint: Option<String>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not all are there.
    Gathering,
    /// So many of those who were found have answered that they know no peers.
    Asking { answered: usize, attempts: u32 },
    /// One of them did not answer.
    Paused { answered: usize, attempts: u32 },
    /// There is a cluster.
    Stopped,
}

impl Bootstrap {
    /// For a cluster that begins when so many servers of this datacenter are there.
    pub fn new(expect: usize, datacenter: Datacenter) -> Self {
        let (found, complaint, state) = (Vec::new(), None, State::Gathering);
        Self { expect, datacenter, found, complaint, state }
    }

    /// These are all members of the pool.
    pub fn handle_members(&mut self, members: &[Member]) {
        if self.state == State::Stopped {
            return;
        }
        let servers =
            members.iter().filter_map(|member| ServerMember::of(member, &self.datacenter));
        let mut found: Vec<ServerMember> = servers.collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(complaint) = self.conflict(&found) {
            if self.complaint.as_ref() != Some(&complaint) {
                tracing::error!(target: "agent.server", expect = self.expect, "{complaint}");
                self.complaint = Some(complaint);
            }
            self.state = State::Gathering;
            return;
        }
        self.complaint = None;
        let voters = found.iter().filter(|server| !server.read_replica).count();
        if voters < self.expect {
            self.state = State::Gathering;
        } else if found != self.found || self.state == State::Gathering {
            self.state = State::Asking { answered: 0, attempts: 0 };
        }
        self.found = found;
    }

    /// Why these servers must not make a cluster.
    fn conflict(&self, found: &[ServerMember]) -> Option<String> {
        if let Some(other) = found.iter().find(|s| s.expect != 0 && s.expect != self.expect) {
            let (name, theirs, ours) = (&other.name, other.expect, self.expect);
            return Some(format!(
                "server {name} has bootstrap_expect = {theirs} and this one has {ours}: no \
                 cluster is made until all servers expect the same number"
            ));
        }
        if let Some(other) = found.iter().find(|server| server.bootstrap) {
            let name = &other.name;
            return Some(format!(
                "server {name} makes a cluster of its own (bootstrap mode): this server waits for \
                 that one to take it in"
            ));
        }
        let twin = found.windows(2).find(|pair| pair[0].id == pair[1].id)?;
        let (one, other, id) = (&twin[0].name, &twin[1].name, &twin[0].id.0);
        Some(format!(
            "servers {one} and {other} have the same node id {id}: give one of them another \
             node-id (a copied data directory?)"
        ))
    }

    /// What to do next.
    pub fn poll_step(&mut self) -> Step {
        match self.state {
            State::Gathering => Step::Wait,
            State::Stopped => Step::Stop,
            State::Asking { answered, .. } => match self.found.get(answered) {
                Some(server) => Step::Ask(server.clone()),
                None => Step::Bootstrap(self.configuration()),
            },
            State::Paused { answered, attempts } if attempts < ATTEMPTS => {
                self.state = State::Asking { answered, attempts };
                Step::Pause(FIRST_PAUSE * 2u32.pow(attempts - 1))
            }
            State::Paused { .. } => {
                self.state = State::Asking { answered: 0, attempts: 0 };
                Step::Pause(TRY_AGAIN)
            }
        }
    }

    /// What the server said that was asked, or that it could not be asked.
    pub fn handle_answer(&mut self, peers: Result<&[String], &str>) {
        let State::Asking { answered, attempts } = self.state else { return };
        let Some(server) = self.found.get(answered).map(|server| server.name.as_str()) else {
            return;
        };
        self.state = match peers {
            Ok([]) => State::Asking { answered: answered + 1, attempts: 0 },
            Ok(_) => {
                tracing::info!(target: "agent.server", server, "Existing Raft peers reported by server, disabling bootstrap mode");
                State::Stopped
            }
            Err(error) => {
                let attempts = attempts + 1;
                if attempts == ATTEMPTS {
                    tracing::error!(target: "agent.server", server, attempts, error, "cannot learn whether a server is in a cluster already: no cluster is made meanwhile");
                }
                State::Paused { answered, attempts }
            }
        };
    }

    /// This server has a log: it is in a cluster, or was.
    pub fn handle_log(&mut self, last: Index) {
        if last != Index::ZERO && self.state != State::Stopped {
            tracing::info!(target: "agent.server", "Raft data found, disabling bootstrap mode");
            self.state = State::Stopped;
        }
    }

    /// All who were found, with their votes.
    fn configuration(&self) -> Configuration {
        let servers = self.found.iter().map(|server| Server {
            id: server.id.clone(),
            address: server.address.to_string().into(),
            suffrage: if server.read_replica { Suffrage::Nonvoter } else { Suffrage::Voter },
        });
        Configuration { servers: servers.collect() }
    }
}

/// Asks servers for what they know of Raft.
pub trait AskPeers: Send + Sync {
    /// `Status.Peers` of that server, which may be the own one.
    ///
    /// # Errors
    /// Why it could not be asked.
    fn peers<'a>(
        &'a self,
        server: &'a ServerMember,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send + 'a>>;
}

/// Waits until the servers of a new cluster are there, and makes it. Returns when it is made,
/// when there is one already, or when the host or gossip has ended.
pub async fn run(
    mut bootstrap: Bootstrap,
    host: &RaftHost,
    mut members: watch::Receiver<Vec<Member>>,
    ask: &impl AskPeers,
) {
    let mut configuration = host.watch_configuration();
    loop {
        let Ok(stats) = host.stats().await else { return };
        bootstrap.handle_log(stats.status.last.index);
        bootstrap.handle_members(&members.borrow_and_update());
        let pause = match bootstrap.poll_step() {
            Step::Stop => return,
            Step::Wait => None,
            Step::Pause(pause) => Some(pause),
            Step::Ask(server) => {
                let peers = ask.peers(&server).await;
                bootstrap.handle_answer(peers.as_deref().map_err(String::as_str));
                continue;
            }
            Step::Bootstrap(first) => {
                let peers: Vec<&str> = first.servers.iter().map(|s| &*s.address).collect();
                let peers = peers.join(",");
                tracing::info!(target: "agent.server", peers, "Found expected number of peers, attempting bootstrap");
                match host.bootstrap(first).await {
                    Ok(Ok(())) | Err(_) => return,
                    // Somebody was faster: the log tells of it.
                    Ok(Err(raft::BootstrapError::NotNew)) => continue,
                    Ok(Err(error)) => {
                        tracing::error!(target: "agent.server", %error, "failed to bootstrap the cluster");
                        Some(TRY_AGAIN)
                    }
                }
            }
        };
        let waited = tokio::time::sleep(pause.unwrap_or(Duration::MAX));
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            changed = configuration.changed() => if changed.is_err() { return },
            () = waited, if pause.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn member(n: u8, tags: &[(&str, &str)]) -> Member {
        let id = format!("id-{n}");
        let own =
            [("role", "consul"), ("dc", "dc1"), ("id", &id), ("port", "8300"), ("expect", "3")];
        let tags = own.iter().chain(tags).map(|(key, value)| ((*key).into(), (*value).into()));
        Member {
            name: format!("n{n}"),
            addr: format!("10.0.0.{n}"),
            tags: tags.collect(),
            status: MemberStatus::ALIVE,
            ..Member::default()
        }
    }

    fn members(count: u8) -> Vec<Member> {
        (1..=count).map(|n| member(n, &[])).collect()
    }

    fn bootstrap() -> Bootstrap {
        Bootstrap::new(3, "dc1".into())
    }

    fn asked(step: Step) -> String {
        let Step::Ask(server) = step else { panic!("{step:?}") };
        server.name
    }

    #[test]
    fn a_cluster_begins_when_all_who_are_expected_say_that_there_is_none() {
        let mut case = bootstrap();
        assert_eq!(case.poll_step(), Step::Wait);
        case.handle_members(&members(2));
        assert_eq!(case.poll_step(), Step::Wait);
        // More than expected are there at once, one of them without a vote.
        let mut all = members(3);
        all.insert(0, member(4, &[("read_replica", "1")]));
        case.handle_members(&all);
        for name in ["n1", "n2", "n3", "n4"] {
            assert_eq!(asked(case.poll_step()), name);
            case.handle_answer(Ok(&[]));
        }
        let Step::Bootstrap(first) = case.poll_step() else { panic!("{case:?}") };
        let shown: Vec<String> = first
            .servers
            .iter()
            .map(|server| format!("{} {} {:?}", server.id.0, server.address, server.suffrage))
            .collect();
        assert_eq!(
            shown,
            [
                "id-1 10.0.0.1:8300 Voter",
                "id-2 10.0.0.2:8300 Voter",
                "id-3 10.0.0.3:8300 Voter",
                "id-4 10.0.0.4:8300 Nonvoter"
            ]
        );
    }

    #[test]
    fn who_does_not_count_is_not_waited_for() {
        let away = Member { status: MemberStatus::LEFT, ..member(3, &[]) };
        for (what, third) in [
            ("a read replica", member(3, &[("nonvoter", "1")])),
            ("a client", member(3, &[("role", "node")])),
            ("another datacenter", member(3, &[("dc", "dc2")])),
            ("no id", member(3, &[("id", "")])),
            ("no port", member(3, &[("port", "x")])),
            ("one that left", away),
        ] {
            let mut case = bootstrap();
            case.handle_members(&[&members(2)[..], &[third]].concat());
            assert_eq!(case.poll_step(), Step::Wait, "{what}");
        }
    }

    #[test]
    fn a_conflict_keeps_everybody_waiting_until_it_is_mended() {
        for (what, third) in [
            ("expects another number", member(3, &[("expect", "5")])),
            ("has a cluster of its own", member(3, &[("bootstrap", "1")])),
            ("has the same node id", member(3, &[("id", "id-1")])),
        ] {
            let mut case = bootstrap();
            case.handle_members(&[&members(2)[..], &[third]].concat());
            assert_eq!(case.poll_step(), Step::Wait, "{what}");
            assert!(case.complaint.is_some(), "{what}");
            case.handle_members(&members(3));
            assert_eq!(asked(case.poll_step()), "n1", "{what}");
        }
    }

    #[test]
    fn an_existing_cluster_ends_it_for_good() {
        let mut case = bootstrap();
        case.handle_members(&members(3));
        assert_eq!(asked(case.poll_step()), "n1");
        case.handle_answer(Ok(&[]));
        case.handle_answer(Ok(&["10.0.0.9:8300".to_owned()]));
        assert_eq!(case.poll_step(), Step::Stop);
        case.handle_members(&members(4));
        assert_eq!(case.poll_step(), Step::Stop);

        let mut case = bootstrap();
        case.handle_members(&members(3));
        case.handle_log(Index(0));
        assert_eq!(asked(case.poll_step()), "n1");
        case.handle_log(Index(1));
        assert_eq!(case.poll_step(), Step::Stop);
    }

    #[test]
    fn a_server_that_does_not_answer_is_asked_again_ever_more_rarely() {
        let mut case = bootstrap();
        case.handle_members(&members(3));
        case.handle_answer(Ok(&[]));
        let mut pauses = Vec::new();
        for _ in 0..ATTEMPTS {
            assert_eq!(asked(case.poll_step()), "n2");
            case.handle_answer(Err("connection refused"));
            let Step::Pause(pause) = case.poll_step() else { panic!("{case:?}") };
            pauses.push(pause.as_secs());
            // The same members again are no news.
            case.handle_members(&members(3));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30]);
        assert_eq!(asked(case.poll_step()), "n1", "all is asked anew");
        case.handle_answer(Ok(&[]));
        case.handle_members(&members(4));
        assert_eq!(asked(case.poll_step()), "n1", "and when there are others");
    }

    /// Nobody knows any peers; notes who was asked.
    #[derive(Default)]
    struct Nobody(Mutex<Vec<String>>);

    impl AskPeers for Nobody {
        fn peers<'a>(
            &'a self,
            server: &'a ServerMember,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send + 'a>> {
            self.0.lock().expect("nobody panics").push(server.name.clone());
            Box::pin(std::future::ready(Ok(Vec::new())))
        }
    }

    #[tokio::test]
    async fn a_host_is_bootstrapped_once_the_members_are_there() {
        use crate::fsm::Fsm;
        use crate::raft_host::{HostOptions, MemDisk, NoPeers};

        let applier = Fsm::new(store::Store::new(&domains::tables()));
        let options = HostOptions::new(ServerId("id-1".into()), "10.0.0.1:8300".into(), 7);
        let disk = MemDisk::new();
        let host = RaftHost::start(options, Arc::new(disk), applier, |_| Box::new(NoPeers));
        let host = host.expect("the disk is sound");
        let (sender, receiver) = watch::channel(members(2));
        let nobody = Nobody::default();
        let grow = async {
            tokio::task::yield_now().await;
            sender.send_replace(members(3));
        };
        tokio::join!(run(bootstrap(), &host, receiver.clone(), &nobody), grow);
        assert_eq!(*nobody.0.lock().expect("nobody panics"), ["n1", "n2", "n3"]);
        assert_eq!(host.stats().await.expect("it runs").configuration.servers.len(), 3);
        // After a restart there is nothing to decide.
        run(bootstrap(), &host, receiver, &nobody).await;
        assert_eq!(nobody.0.lock().expect("nobody panics").len(), 3);
    }
}
