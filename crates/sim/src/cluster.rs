//! A whole run: servers, network, clients and faults, one event after the other.

use std::time::Instant;

use linearizability::keys::{Fault, find_fault, shortest_fault};
use raft::RoleName;
use replica::session_timers::sessions_with_ttl;

use crate::client::Clients;
use crate::clock::{Clock, Tempers, Time};
use crate::keeper::Keepers;
use crate::network::Network;
use crate::scenario::{
    CALM, CLIENTS, GROUPS, KEEPERS, RECOVERY, SETTLING, SPARES, Scenario, WATCHERS, Weather,
};
use crate::server::Server;
use crate::watcher::Watchers;
use crate::world::{Event, World};

/// Most steps of the search for an order of one group's history.
const STEPS_MAX: usize = 200_000;

/// Most acts that are told of a history without an order.
const ACTS_TOLD: usize = 30;

/// Most events of a run: more means that something goes round in a circle.
const EVENTS_MAX: u64 = 3_000_000;

pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) weather: Weather,
    pub(crate) servers: Vec<Server>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) watchers: Watchers,
    pub(crate) keepers: Keepers,
    pub(crate) faults_end: Time,
    /// Until then new leaders are doomed.
    pub(crate) cursed_until: Time,
    elections: u64,
    /// Partitions and storms so far.
    pub(crate) partitions: u64,
}

impl Cluster {
    /// All servers start at once.
    pub(crate) fn new(seed: u64, scenario: Scenario, base: Instant, keep_text: bool) -> Self {
        let servers = u64::from(scenario.servers);
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(64).wrapping_add(servers));
        let mut weather = Weather::draw(&mut rng);
        if let Some(bug) = scenario.bug {
            weather.favour(bug);
        }
        let mut world = World::new(rng, scenario, keep_text);
        world.default_reads_promised = weather.clocks == Tempers::Steady;
        world.say(format_args!("seed {seed}, {} servers, {weather:?}", scenario.servers));
        let nodes = scenario.servers + SPARES;
        let clients = Clients::new(CLIENTS, nodes, &mut world);
        let watchers = Watchers::new(CLIENTS, WATCHERS, nodes, &mut world);
        let keepers = Keepers::new(CLIENTS + WATCHERS, KEEPERS, nodes, &mut world);
        let mut servers = Vec::new();
        for number in 0..nodes {
            let clock = Clock::new(base, weather.clocks, &mut world.rng);
            servers.push(Server::new(crate::world::Node(number), clock, &mut world));
        }
        let faults_end = Time(0).after(weather.duration);
        let network = Network::default();
        Cluster {
            world,
            weather,
            servers,
            network,
            clients,
            watchers,
            keepers,
            faults_end,
            cursed_until: Time(0),
            elections: 0,
            partitions: 0,
        }
    }

    /// Faults, then recovery, then rest; checks along the way and at the end.
    pub(crate) fn run(&mut self) {
        for place in 0..self.servers.len() {
            self.start(place);
        }
        self.world.schedule_in(CALM, Event::Fault);
        self.world.schedule_in(CALM, Event::Admin);
        if !self.run_until(self.faults_end) {
            return;
        }
        self.calm_down();
        let recovered = self.faults_end.after(RECOVERY);
        if !self.run_until(recovered) {
            return;
        }
        if !self.clients.has_written_since(self.faults_end) {
            match self.weather.promises_a_leader() {
                true => {
                    let what = format!("liveness: no write within {RECOVERY:?} of calm");
                    self.world.violation(what);
                }
                false => {
                    self.world.say(format_args!("no leader after careless changes"));
                    self.world.observer.counts.leaderless += 1;
                    self.check_histories();
                }
            }
            return;
        }
        self.clients.stop();
        self.watchers.ask_the_leader();
        self.keepers.stop();
        if self.run_until(recovered.after(SETTLING)) {
            self.check_states();
            self.check_histories();
        }
    }

    /// `false` once something is wrong: what follows would be noise.
    fn run_until(&mut self, end: Time) -> bool {
        while let Some(event) = self.world.next_event(end) {
            self.handle(event);
            if self.world.observer.counts.elections > self.elections {
                self.elections = self.world.observer.counts.elections;
                self.elected();
            }
            for packet in std::mem::take(&mut self.world.outgoing) {
                self.network.send(packet, &self.weather, &mut self.world);
            }
            for reply in std::mem::take(&mut self.world.replies) {
                let unlucky = self.world.now < self.faults_end && self.world.chance(5);
                if !unlucky {
                    let wait = self.world.micros(50, 2000);
                    self.world.schedule_in(wait, Event::Reply(reply));
                }
            }
            if self.world.events > EVENTS_MAX {
                self.world.violation(format!("more than {EVENTS_MAX} events"));
            }
            if !self.world.observer.violations.is_empty() {
                return false;
            }
        }
        true
    }

    fn handle(&mut self, event: Event) {
        let Some(event) = self.unless_paused(event) else { return };
        let world = &mut self.world;
        match event {
            Event::Deliver(packet) => {
                let server = &mut self.servers[usize::from(packet.to.0)];
                if server.process.is_none() {
                    self.network.lose(&packet, &self.weather, world);
                } else if self.network.arrives(&packet, &self.weather, world) {
                    let (from, to, body) = (packet.from, packet.to, &packet.message.body);
                    world.say(format_args!("{from}->{to} {}", Said(body)));
                    server.handle(world, |process, world| process.receive(packet, world));
                }
            }
            Event::Failed { at, to, request } => {
                self.servers[usize::from(at.0)].handle(world, |process, _| {
                    process.core.handle_failure(&to.id(), request, process.local);
                    Ok(())
                });
            }
            Event::PeerDown { at, ended } => {
                self.servers[usize::from(at.0)].handle(world, |process, _| {
                    process.core.handle_peer_down(&ended.id(), process.local);
                    Ok(())
                });
            }
            Event::Inner { node, incarnation, what } => {
                self.servers[usize::from(node.0)].inner(incarnation, &what, world);
            }
            Event::Request { to, request } => {
                self.servers[usize::from(to.0)].handle(world, |process, world| {
                    process.request(request, world);
                    Ok(())
                });
            }
            Event::Reply(reply) if reply.client < CLIENTS => self.clients.answered(reply, world),
            Event::Reply(reply) if reply.client < CLIENTS + WATCHERS => {
                self.watchers.answered(reply, world);
            }
            Event::Reply(reply) => self.keepers.answered(reply, world),
            Event::Client { client, attempt } if client < CLIENTS => {
                self.clients.wake(client, attempt, world);
            }
            Event::Client { client, attempt } if client < CLIENTS + WATCHERS => {
                self.watchers.wake(client, attempt, world);
            }
            Event::Client { client, attempt } => self.keepers.wake(client, attempt, world),
            Event::Deadline { client, attempt } if client < CLIENTS => {
                self.clients.gives_up(client, attempt, world);
            }
            Event::Deadline { client, attempt } if client < CLIENTS + WATCHERS => {
                self.watchers.gives_up(client, attempt, world);
            }
            Event::Deadline { client, attempt } => self.keepers.gives_up(client, attempt, world),
            Event::Start(node) => self.start(usize::from(node.0)),
            Event::Resume(node) => self.servers[usize::from(node.0)].paused = None,
            Event::Heal(healing) => self.heal(&healing),
            Event::Strike { node, incarnation } => self.strike(node, incarnation),
            Event::Fault => self.fault(),
            Event::Admin => self.administer(),
        }
    }

    /// What concerns a frozen server waits until it is frozen no more.
    fn unless_paused(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::Deliver(packet) => packet.to,
            Event::Failed { at, .. } | Event::PeerDown { at, .. } => *at,
            Event::Inner { node, .. } => *node,
            Event::Request { to, .. } => *to,
            _ => return Some(event),
        };
        match self.servers[usize::from(node.0)].paused {
            Some(until) if until > self.world.now => {
                self.world.schedule(until, event);
                None
            }
            _ => Some(event),
        }
    }

    fn start(&mut self, place: usize) {
        let voters = self.world.scenario.servers;
        self.servers[place].start(voters, &self.weather, &mut self.world);
    }

    /// From here on there are no faults.
    fn calm_down(&mut self) {
        self.world.say(format_args!("CALM"));
        self.network.calm_down();
        let now = self.world.now;
        for server in &mut self.servers {
            server.slow = 1;
            server.doom = None;
            server.disk.set_capacity(None);
            server.disk.fail_syncs(0);
            if let Some(until) = server.paused {
                server.paused = Some(until.min(now));
            }
            server.clock.change_rate(now, Tempers::Steady, &mut self.world.rng);
            server.clock_changed(&mut self.world);
            self.world.schedule(now, Event::Start(server.node));
        }
    }

    /// All members have come to the same state.
    fn check_states(&mut self) {
        let leader = self.servers.iter().filter_map(|server| server.process.as_ref());
        let leader = leader.filter(|p| p.core.role() == RoleName::Leader).max_by_key(|p| {
            // Of two, the newer.
            p.core.term()
        });
        let Some(leader) = leader else {
            self.world.violation("liveness: no leader at the end".to_owned());
            return;
        };
        let members = leader.core.configurations().latest.clone();
        let end = leader.core.commit_index();
        let mut wrong = self.watchers.behind(&leader.machine.state());
        for id in sessions_with_ttl(&leader.machine.state()).keys() {
            wrong.push(format!("session time: {} outlives its time", id.as_str()));
        }
        let observer = &mut self.world.observer;
        if end < observer.acknowledged || leader.core.last_index() != end {
            wrong.push(format!("liveness: the leader has committed no more than {end}"));
        }
        for server in self.servers.iter().filter(|s| members.server(&s.node.id()).is_some()) {
            let node = server.node;
            match &server.process {
                None => wrong.push(format!("liveness: {node} does not run at the end")),
                Some(process) if process.applied != end => {
                    let applied = process.applied;
                    wrong.push(format!("liveness: {node} has applied {applied} of {end}"));
                }
                Some(process) => {
                    let state = process.machine.state();
                    observer.reaches(node, end, &state);
                    observer.shows(node, end, &state);
                }
            }
        }
        if self.world.observer.last_applied() > end {
            let applied = self.world.observer.last_applied();
            wrong.push(format!("acknowledged writes: {applied} was applied, {end} is the end"));
        }
        self.world.say_violations();
        for what in wrong {
            self.world.violation(what);
        }
    }

    fn check_histories(&mut self) {
        if let Some(what) = self.keepers.overlap().filter(|_| self.world.default_reads_promised) {
            self.world.violation(what);
        }
        for what in self.clients.lost(&self.world) {
            self.world.violation(what);
        }
        for group in 0..GROUPS {
            let history = self.clients.history_of(group, &self.world);
            match find_fault(&history, STEPS_MAX) {
                None => {}
                Some(Fault::Undecided) => self.world.observer.counts.undecided += 1,
                Some(Fault::TwoHolders(one, other)) => {
                    let what = format!("lock exclusion: in group {group} {one:?} and {other:?}");
                    self.world.violation(what);
                }
                Some(Fault::NoOrder) => {
                    let count = history.len();
                    self.world.violation(format!(
                        "linearizability: no order explains the {count} operations on group {group}"
                    ));
                    for operation in shortest_fault(&history, ACTS_TOLD, STEPS_MAX) {
                        self.world.say(format_args!("group {group}: {operation:?}"));
                    }
                }
            }
        }
    }
}

/// A message in few words.
struct Said<'a>(&'a raft::Body);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use raft::Body;
        match self.0 {
            Body::AppendEntries(a) if a.is_heartbeat() => write!(f, "heartbeat t{}", a.term.0),
            Body::AppendEntries(a) => {
                let (term, previous, commit) = (a.term.0, a.previous, a.leader_commit);
                let (index, of) = (previous.index, previous.term.0);
                write!(f, "append t{term} after {index}/t{of} commit {commit}:")?;
                a.entries.iter().try_for_each(|entry| write!(f, " t{}", entry.term.0))
            }
            Body::AppendEntriesResponse(r) => {
                write!(f, "appended t{} {} last {}", r.term.0, r.success, r.last_log)
            }
            Body::RequestVote(v) => {
                let (index, of) = (v.last.index, v.last.term.0);
                let why = if v.leadership_transfer { " transfer" } else { "" };
                write!(f, "vote? t{} last {index}/t{of}{why}", v.term.0)
            }
            Body::RequestPreVote(v) => {
                write!(f, "pre-vote? t{} last {}/t{}", v.term.0, v.last.index, v.last.term.0)
            }
            Body::RequestVoteResponse(r) => write!(f, "vote t{} {}", r.term.0, r.granted),
            Body::RequestPreVoteResponse(r) => write!(f, "pre-vote t{} {}", r.term.0, r.granted),
            Body::InstallSnapshot(s) => {
                let last = s.snapshot.last;
                write!(f, "snapshot t{} {}/t{}", s.term.0, last.index, last.term.0)
            }
            Body::InstallSnapshotResponse(r) => write!(f, "installed t{} {}", r.term.0, r.success),
            Body::TimeoutNow => f.write_str("timeout-now"),
            Body::TimeoutNowResponse => f.write_str("timeout-now heard"),
        }
    }
}
