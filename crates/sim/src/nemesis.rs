//! Faults of all kinds, and an operator who changes members and leaders in the middle of them.

use std::collections::BTreeSet;
use std::time::Duration;

use raft::{Change, Suffrage};

use crate::clock::Tempers;
use crate::cluster::Cluster;
use crate::network::Storm;
use crate::server::{Doom, member};
use crate::world::{Event, Healing, Node};

/// How many kinds of faults [`Cluster::fault`] knows.
pub(crate) const KINDS: usize = 16;

/// Some of the kinds: loss of power, a split network, a frozen server, many entries at once,
/// short-lived leaders.
pub(crate) const POWER: usize = 0;
pub(crate) const SPLIT: usize = 3;
pub(crate) const FREEZE: usize = 7;
const FLOOD: usize = 14;
pub(crate) const CURSE: usize = 15;

/// These weights, and zero for all other kinds.
pub(crate) fn weights(of: &[(usize, u32)]) -> [u32; KINDS] {
    let mut weights = [0; KINDS];
    for (kind, weight) in of {
        weights[*kind] = *weight;
    }
    weights
}

impl Cluster {
    /// Does the next fault, and lets another follow.
    pub(crate) fn fault(&mut self) {
        let pause = self.weather.pause;
        let wait = self.world.about(pause);
        if self.world.now.after(wait) < self.faults_end {
            self.world.schedule_in(wait, Event::Fault);
        }
        let total: u32 = self.weather.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut ticket = self.world.rng.u32(0..total);
        let mut kind = 0;
        while ticket >= self.weather.weights[kind] {
            ticket -= self.weather.weights[kind];
            kind += 1;
        }
        let node = self.victim();
        match kind {
            POWER => self.crash(node, true),
            1 => self.crash(node, false),
            2 => self.crash_many(),
            SPLIT => self.split(),
            4 => self.cut_off(node, true, true),
            5 => {
                let inwards = self.world.rng.bool();
                self.cut_off(node, inwards, !inwards);
            }
            6 => self.storm(),
            FREEZE => self.freeze(node),
            8 => self.slow_disk(node),
            9 => self.fill_disk(node),
            10 => {
                self.say(format_args!("{node}: the next sync fails"));
                self.servers[usize::from(node.0)].disk.fail_syncs(1);
            }
            11 => self.doom(node),
            12 => self.disturb_clock(node),
            13 => self.alarm(node),
            FLOOD => self.flood(),
            _ => self.curse(),
        }
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        self.world.say(format_args!("FAULT {line}"));
    }

    /// The leader, or anyone.
    fn victim(&mut self) -> Node {
        let leader = self.servers.iter().find(|server| server.is_leader());
        match leader.map(|server| server.node) {
            Some(node) if self.world.rng.u8(0..10) < 4 => node,
            _ => Node(self.world.rng.u8(0..self.servers.len() as u8)),
        }
    }

    fn crash(&mut self, node: Node, power: bool) {
        self.servers[usize::from(node.0)].crash(power, &mut self.world);
        if !power {
            self.tell_of_end(node);
        }
    }

    /// Most of the others find that nobody listens any more where that server did.
    fn tell_of_end(&mut self, ended: Node) {
        for at in (0..self.servers.len() as u8).map(Node).filter(|at| *at != ended) {
            if self.world.rng.u8(0..10) < 8 {
                let wait = self.world.micros(100, 5_000);
                self.world.schedule_in(wait, Event::PeerDown { at, ended });
            }
        }
    }

    fn crash_many(&mut self) {
        let all = self.world.rng.bool();
        for number in 0..self.servers.len() as u8 {
            if all || self.world.rng.bool() {
                self.crash(Node(number), true);
            }
        }
    }

    fn cut(&mut self, cut: BTreeSet<(Node, Node)>) {
        self.partitions += 1;
        let number = self.partitions;
        self.network.cuts.insert(number, cut);
        let wait = self.lasting(700);
        self.world.schedule_in(wait, Event::Heal(Healing::Partition(number)));
    }

    /// How long something lasts: `mean` milliseconds or so.
    fn lasting(&mut self, mean: u64) -> Duration {
        let more = self.world.about(Duration::from_millis(mean));
        Duration::from_millis(50) + more.min(Duration::from_secs(3))
    }

    fn split(&mut self) {
        let nodes: Vec<Node> = self.servers.iter().map(|server| server.node).collect();
        let side: Vec<bool> = nodes.iter().map(|_| self.world.rng.bool()).collect();
        // At times one server is on both sides.
        let bridge = nodes.get(self.world.rng.usize(0..nodes.len() * 2)).copied();
        let mut cut = BTreeSet::new();
        for from in &nodes {
            for to in &nodes {
                let apart = side[usize::from(from.0)] != side[usize::from(to.0)];
                if apart && Some(*from) != bridge && Some(*to) != bridge {
                    cut.insert((*from, *to));
                }
            }
        }
        self.say(format_args!("split {side:?}, bridge {:?}", bridge.map(|node| node.0 + 1)));
        self.cut(cut);
    }

    fn cut_off(&mut self, node: Node, inwards: bool, outwards: bool) {
        let mut cut = BTreeSet::new();
        for server in &self.servers {
            if inwards {
                cut.insert((server.node, node));
            }
            if outwards {
                cut.insert((node, server.node));
            }
        }
        self.say(format_args!("{node} is cut off, inwards {inwards}, outwards {outwards}"));
        self.cut(cut);
        if self.weather.weights[FLOOD] > 0 {
            self.flood();
        }
    }

    fn storm(&mut self) {
        self.partitions += 1;
        let number = self.partitions;
        let lost = self.world.rng.u32(0..400);
        let delay = self.world.millis(1, 200);
        self.say(format_args!("storm: lost {lost}, delay {delay:?}"));
        self.network.storm = Some(Storm { number, lost, delay });
        let wait = self.lasting(500);
        self.world.schedule_in(wait, Event::Heal(Healing::Storm(number)));
    }

    /// Whoever leads, or still thinks so, gets more entries than it can send at once.
    fn flood(&mut self) {
        for place in 0..self.servers.len() {
            let server = &mut self.servers[place];
            if !server.is_leader() || server.paused.is_some() {
                continue;
            }
            let count = self.world.rng.usize(1..40);
            self.world.say(format_args!("FAULT {count} barriers flood {}", server.node));
            server.handle(&mut self.world, |process, _| {
                let batch = vec![raft::Proposal::barrier(); count];
                // One that transfers its leadership refuses.
                let _ = process.core.propose(batch, process.local);
                Ok(())
            });
        }
    }

    /// For a while, whoever wins an election will not last.
    fn curse(&mut self) {
        let wait = self.lasting(1500);
        self.cursed_until = self.world.now.after(wait);
        self.say(format_args!("leaders are cursed for {wait:?}"));
    }

    /// There is a new leader.
    pub(crate) fn elected(&mut self) {
        if self.world.now >= self.cursed_until || self.world.now >= self.faults_end {
            return;
        }
        if self.world.rng.bool() {
            self.flood();
        }
        let leaders = self.servers.iter().filter(|server| server.is_leader());
        let leaders: Vec<(Node, u64)> = leaders.map(|s| (s.node, s.incarnation)).collect();
        for (node, incarnation) in leaders {
            match self.world.rng.u8(0..4) {
                0 => {
                    let doom = Doom::AfterWrites(self.world.rng.u32(0..6));
                    self.servers[usize::from(node.0)].doom = Some(doom);
                }
                1 => self.cut_off(node, false, true),
                _ => {
                    let wait = self.world.millis(2, 80);
                    self.world.schedule_in(wait, Event::Strike { node, incarnation });
                }
            }
        }
    }

    /// A curse comes true.
    pub(crate) fn strike(&mut self, node: Node, incarnation: u64) {
        if self.servers[usize::from(node.0)].incarnation == incarnation {
            let power = self.world.rng.bool();
            self.crash(node, power);
        }
    }

    fn freeze(&mut self, node: Node) {
        let wait = self.lasting(400);
        let until = self.world.now.after(wait);
        let server = &mut self.servers[usize::from(node.0)];
        if server.process.is_some() && server.paused.is_none() {
            server.paused = Some(until);
            self.world.schedule(until, Event::Resume(node));
            self.say(format_args!("{node} is frozen for {wait:?}"));
        }
    }

    fn slow_disk(&mut self, node: Node) {
        let slow = self.world.rng.u32(10..300);
        self.servers[usize::from(node.0)].slow = slow;
        self.say(format_args!("{node} has a disk {slow} times slower"));
        let wait = self.lasting(600);
        self.world.schedule_in(wait, Event::Heal(Healing::SlowDisk(node)));
    }

    fn fill_disk(&mut self, node: Node) {
        let more = self.world.rng.u64(0..30_000);
        let disk = &self.servers[usize::from(node.0)].disk;
        if self.world.rng.bool() {
            disk.cut_next_write(more as usize / 60);
            self.say(format_args!("{node}: the next write is cut"));
            return;
        }
        disk.set_capacity(Some(disk.used() + more));
        self.say(format_args!("{node} has room for {more} bytes"));
        let wait = self.lasting(500);
        self.world.schedule_in(wait, Event::Heal(Healing::FullDisk(node)));
    }

    fn doom(&mut self, node: Node) {
        let doom = match self.world.rng.bool() {
            true => Doom::AfterInstall,
            false => Doom::AfterWrites(self.world.rng.u32(0..10)),
        };
        self.servers[usize::from(node.0)].doom = Some(doom);
        self.say(format_args!("{node} has a doom: {doom:?}"));
    }

    fn disturb_clock(&mut self, node: Node) {
        let (now, tempers) = (self.world.now, self.weather.clocks);
        let leap = self.world.rng.u64(0..1_500_000_000);
        let server = &mut self.servers[usize::from(node.0)];
        if tempers == Tempers::Wild && self.world.rng.bool() {
            server.clock.leap(now, leap);
            self.world.say(format_args!("FAULT {node}: the clock leaps by {leap} ns"));
        } else {
            server.clock.change_rate(now, tempers, &mut self.world.rng);
            self.world.say(format_args!("FAULT {node}: the clock has another rate"));
        }
        if server.paused.is_none() {
            server.clock_changed(&mut self.world);
        }
    }

    /// A timer rings before its time, or others believe that the server has ended.
    fn alarm(&mut self, node: Node) {
        if self.world.rng.bool() {
            self.say(format_args!("{node} is said to have ended"));
            return self.tell_of_end(node);
        }
        let server = &mut self.servers[usize::from(node.0)];
        if server.paused.is_none() {
            server.handle(&mut self.world, |process, _| {
                process.core.handle_timeout(process.local);
                Ok(())
            });
        }
    }

    pub(crate) fn heal(&mut self, healing: &Healing) {
        self.world.say(format_args!("heals: {healing:?}"));
        match healing {
            Healing::Partition(number) => drop(self.network.cuts.remove(number)),
            Healing::Storm(number) => {
                self.network.storm.take_if(|storm| storm.number == *number);
            }
            Healing::SlowDisk(node) => self.servers[usize::from(node.0)].slow = 1,
            Healing::FullDisk(node) => {
                self.servers[usize::from(node.0)].disk.set_capacity(None);
            }
        }
    }

    /// Changes the members or the leader, if there is one who can.
    pub(crate) fn administer(&mut self) {
        let Some(mean) = self.weather.admin else { return };
        let wait = self.world.about(mean);
        if self.world.now.after(wait) < self.faults_end {
            self.world.schedule_in(wait, Event::Admin);
        }
        let leaders: Vec<usize> = (0..self.servers.len())
            .filter(|place| self.servers[*place].is_leader())
            .filter(|place| self.servers[*place].paused.is_none())
            .collect();
        if leaders.is_empty() {
            return;
        }
        let place = leaders[self.world.rng.usize(0..leaders.len())];
        let who = Node(self.world.rng.u8(0..self.servers.len() as u8));
        let least = usize::from(self.world.scenario.servers.saturating_sub(1).max(1));
        let dice = self.world.rng.u8(0..10);
        let careful = self.weather.careful;
        if dice >= 3 && careful && !self.all_know_the_configuration(place) {
            return;
        }
        self.servers[place].handle(&mut self.world, |process, world| {
            let node = process.node;
            let (core, local) = (&mut process.core, process.local);
            if dice < 3 {
                let target = (who != node && dice > 0).then(|| who.id());
                let result = core.transfer_leadership(target.clone(), local);
                world.say(format_args!("ADMIN {node} transfers to {target:?}: {result:?}"));
                return Ok(());
            }
            let latest = &core.configurations().latest;
            let suffrage = latest.server(&who.id()).map(|server| server.suffrage);
            // One of two who gives its own vote away and is cut off leaves none who can win: it
            // will not campaign, and the other lacks its last entry.
            let is_hasty = careful && who == node && latest.voters().count() == 2;
            let may_lose = latest.voters().count() > least && !is_hasty;
            let (id, address) = (who.id(), member(who).address);
            let change = match (suffrage, dice) {
                (None, 3..7) => Change::AddNonvoter { id, address },
                (None, _) | (Some(Suffrage::Nonvoter), 3..8) => Change::AddVoter { id, address },
                (Some(Suffrage::Nonvoter), _) => Change::Remove { id },
                (Some(Suffrage::Voter), 3..6) if may_lose => Change::DemoteVoter { id },
                (Some(Suffrage::Voter), _) if may_lose => Change::Remove { id },
                _ => return Ok(()),
            };
            let result = core.change_membership(&change, None, local);
            world.observer.counts.changes += u64::from(result.is_ok());
            world.say(format_args!("ADMIN {node} {change:?}: {result:?}"));
            Ok(())
        });
        if dice < 2 {
            self.disturb_transfer(Node(place as u8), who);
        }
    }

    /// The server that is to lead hears of it late, when there may be another leader.
    fn disturb_transfer(&mut self, leader: Node, target: Node) {
        if self.weather.weights[FREEZE] == 0 {
            return;
        }
        self.freeze(target);
        if self.world.rng.bool() {
            self.servers[usize::from(leader.0)].doom = Some(Doom::AfterWrites(2));
        }
    }

    /// Whether all voters have the configuration that this leader has, durably.
    fn all_know_the_configuration(&self, leader: usize) -> bool {
        self.servers[leader].process.as_ref().is_some_and(|process| {
            let configurations = process.core.configurations();
            let followers = process.core.followers_status();
            configurations.latest.voters().filter(|id| **id != process.node.id()).all(|id| {
                let follower = followers.iter().find(|follower| follower.id == *id);
                follower.is_some_and(|f| f.matched >= configurations.latest_index)
            })
        })
    }
}
