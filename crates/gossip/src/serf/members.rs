//! Who is in the pool: what the machine underneath says and what members said they would do,
//! put together (`reference/gossip-wire.md` section 11).
//!
//! A member announces that it joins or leaves with an *intent*. Logical time decides which
//! of two counts. An intent for somebody who is not known yet is kept for a while: it may
//! have overtaken the news that there is such a member.
//!
//! # Who came back does not stay `leaving`
//!
//! A push/pull tells who left, but not when: of a member that left it tells the time of its latest
//! intent, whatever that was. serf takes that time plus one for the time of the leave, also where
//! the member is there, not known yet, or known to have left. So a member that came back is
//! `leaving` for whoever hears from somebody who does not know that yet, and stays so, as its
//! join may well be earlier than the time that was made up; and as two members that know of one
//! leave tell each other ever later times, it gets worse the longer the member was away.
//!
//! Here nobody makes up times. What a push/pull tells as left counts for a member that is gone:
//! then it did not fail. A member that is there is leaving only if it says so itself, or an
//! operator does, and whoever sees one leave for longer than that takes sends it the intent in
//! which it believes ([`Members::asked_whether_they_leave`]). Who is there to hear that refutes it, and serf's
//! members do so too. To others nothing of this shows but that the times do not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::member::{Member, MemberStatus};
use types::user_event::LamportTime;

use super::action::{Action, Event};
use super::clock::next;
use super::core::{Core, Phase};
use super::queries::address_of;
use super::report::{Change, Measure, Report};
use crate::consul::Tags;
use crate::memberlist::Node;
use crate::wire::serf::{Join, Leave, SerfMessage, decode_tags};

/// Intents for nodes that are not known are kept for this many at most.
const RECENT_INTENTS_MAX: usize = 16 * 1024;

/// A member and what is known beside.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) member: Member,
    /// When its latest intent was told.
    pub(super) status_time: LamportTime,
    /// Since when it is gone or about to go; `None` while it is there to stay.
    pub(super) going_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    Join,
    Leave,
}

#[derive(Clone, Debug)]
struct RecentIntent {
    intent: Intent,
    time: LamportTime,
    heard_at: Instant,
}

/// All members by name, and intents for others.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub(super) known: BTreeMap<String, Known>,
    recent: BTreeMap<String, RecentIntent>,
    /// When to forget members that are leaving, as an operator wants.
    pruning: BTreeMap<String, Instant>,
    /// Counts changes of anything that [`super::Serf::members`] shows.
    pub(super) changes: u64,
}

impl Members {
    /// How many members have a status.
    pub(super) fn count(&self, status: MemberStatus) -> usize {
        self.known.values().filter(|known| known.member.status == status).count()
    }

    /// How many are there, as the machine underneath sees it.
    pub(super) fn present(&self) -> usize {
        self.count(MemberStatus::ALIVE) + self.count(MemberStatus::LEAVING)
    }

    /// Whether anybody but `name` is alive.
    pub(super) fn others_alive(&self, name: &str) -> bool {
        self.others_are(name, &[MemberStatus::ALIVE])
    }

    /// Whether anybody but `name` is there, be it that it is about to leave.
    pub(super) fn others_present(&self, name: &str) -> bool {
        self.others_are(name, &[MemberStatus::ALIVE, MemberStatus::LEAVING])
    }

    fn others_are(&self, name: &str, statuses: &[MemberStatus]) -> bool {
        let mut others = self.known.iter().filter(|(other, _)| *other != name);
        others.any(|(_, known)| statuses.contains(&known.member.status))
    }

    /// When a member is to be pruned.
    pub(super) fn next_prune(&self) -> Option<Instant> {
        self.pruning.values().min().copied()
    }

    /// Somebody knows that a member left; the latest intent of it that he knows has this time. The
    /// member, if that says that it did not fail.
    fn told_as_left(&mut self, name: &str, time: LamportTime) -> Option<Member> {
        // Who is there knows better, and who is not known is not missed.
        let known = self.known.get_mut(name)?;
        let failed = known.member.status == MemberStatus::FAILED;
        if failed && time >= known.status_time {
            known.member.status = MemberStatus::LEFT;
        }
        if known.member.status != MemberStatus::LEFT {
            return None;
        }
        known.status_time = time.max(known.status_time);
        failed.then(|| known.member.clone())
    }

    /// What to send to others than `own` that are leaving for longer than that takes: the intent
    /// that says so. Who is still there refutes it.
    pub(super) fn asked_whether_they_leave(
        &self,
        own: &str,
        now: Instant,
        patience: Duration,
    ) -> impl Iterator<Item = (SocketAddr, Bytes)> {
        let known = self.known.iter().filter(move |(name, known)| {
            known.member.status == MemberStatus::LEAVING
                && known.going_since.is_some_and(|since| now - since > patience)
                && *name != own
        });
        known.filter_map(|(name, known)| {
            let leave = Leave { time: known.status_time, node: name.clone(), prune: false };
            Some((address_of(&known.member)?, SerfMessage::Leave(leave).encode()))
        })
    }

    /// Keeps an intent for a node that is not known. Whether it is news.
    fn remember(&mut self, name: &str, intent: RecentIntent) -> bool {
        match self.recent.get(name) {
            Some(kept) if kept.time >= intent.time => false,
            None if self.recent.len() >= RECENT_INTENTS_MAX => false,
            _ => {
                self.recent.insert(name.to_owned(), intent);
                true
            }
        }
    }
}

impl Core {
    /// The machine underneath has a member, new or back.
    pub(super) fn member_joined(&mut self, node: &Node) {
        let now = self.now;
        let tags = self.tags_of(node);
        let recent = self.members.recent.remove(&*node.name);
        self.members.pruning.remove(&*node.name);
        let mut flaps = false;
        let known = match self.members.known.get_mut(&*node.name) {
            Some(known) => {
                let flap_timeout = self.options.timings.flap_timeout;
                flaps = known.member.status == MemberStatus::FAILED
                    && known.going_since.is_some_and(|since| now - since < flap_timeout);
                known
            }
            None => {
                let fresh = Known {
                    member: Member::default(),
                    status_time: recent.as_ref().map_or(LamportTime(0), |recent| recent.time),
                    going_since: None,
                };
                self.members.known.entry(node.name.to_string()).or_insert(fresh)
            }
        };
        let leaves = recent.is_some_and(|recent| recent.intent == Intent::Leave);
        known.member = member_of(node, tags);
        known.member.status = if leaves { MemberStatus::LEAVING } else { MemberStatus::ALIVE };
        known.going_since = leaves.then_some(now);
        let member = known.member.clone();
        if flaps {
            self.measure(Measure::Flap);
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.joined(&node.name, node.addr, now);
        }
        self.changed(Change::Join, false, member);
    }

    /// The machine underneath lost a member, or it went.
    pub(super) fn member_left(&mut self, node: &Node) {
        let Some(known) = self.members.known.get_mut(&*node.name) else { return };
        let (status, change) = match known.member.status {
            MemberStatus::LEAVING => (MemberStatus::LEFT, Change::Leave),
            MemberStatus::ALIVE => (MemberStatus::FAILED, Change::Failed),
            status => return self.report(Report::BadStateWhenLeft(status)),
        };
        known.member.status = status;
        known.going_since = Some(self.now);
        let member = known.member.clone();
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.gone(&member.name, self.now);
        }
        self.changed(change, false, member);
    }

    /// A member says something else of itself.
    pub(super) fn member_updated(&mut self, node: &Node) {
        let tags = self.tags_of(node);
        let Some(known) = self.members.known.get_mut(&*node.name) else { return };
        let status = known.member.status;
        known.member = Member { status, ..member_of(node, tags) };
        let member = known.member.clone();
        self.changed(Change::Update, false, member);
    }

    /// A member says that it joins, or that it did not leave. Whether to pass that on.
    pub(super) fn join_intent(&mut self, intent: &Join) -> bool {
        self.clock.witness(intent.time);
        let Some(known) = self.members.known.get_mut(&intent.node) else {
            let recent =
                RecentIntent { intent: Intent::Join, time: intent.time, heard_at: self.now };
            return self.members.remember(&intent.node, recent);
        };
        if intent.time <= known.status_time {
            return false;
        }
        known.status_time = intent.time;
        // It was leaving at an earlier time.
        if known.member.status == MemberStatus::LEAVING {
            known.member.status = MemberStatus::ALIVE;
            known.going_since = None;
            self.members.pruning.remove(&intent.node);
            self.members.changes += 1;
        }
        true
    }

    /// A member says that it leaves, or an operator says so of it. Whether to pass that on.
    pub(super) fn leave_intent(&mut self, intent: &Leave) -> bool {
        self.clock.witness(intent.time);
        let Some(known) = self.members.known.get_mut(&intent.node) else {
            let recent =
                RecentIntent { intent: Intent::Leave, time: intent.time, heard_at: self.now };
            return self.members.remember(&intent.node, recent);
        };
        // This node joined at that time: then it is another one that says so.
        let stays = intent.node == self.name && matches!(self.phase, Phase::Alive);
        if stays && intent.time >= known.status_time {
            self.report(Report::RefutedLeave);
            self.announce_join();
            return false;
        }
        if intent.time <= known.status_time {
            return false;
        }
        // Also where the status stays: else two such messages would be passed on for ever.
        known.status_time = intent.time;
        match known.member.status {
            MemberStatus::ALIVE => {
                known.member.status = MemberStatus::LEAVING;
                known.going_since = Some(self.now);
                self.members.changes += 1;
            }
            MemberStatus::FAILED => {
                known.member.status = MemberStatus::LEFT;
                let member = known.member.clone();
                self.changed(Change::Leave, true, member);
            }
            MemberStatus::LEAVING | MemberStatus::LEFT => {}
            _ => return false,
        }
        if intent.prune {
            self.prune(&intent.node);
        }
        true
    }

    /// Tells all that this node is there, at the present time.
    pub(super) fn announce_join(&mut self) {
        let intent = Join { time: self.clock.time(), node: self.name.clone() };
        self.join_intent(&intent);
        self.intent_queue.push(None, SerfMessage::Join(intent).encode(), None);
    }

    /// Forgets a member that is gone; one that is about to go, when it had time to.
    fn prune(&mut self, name: &str) {
        let Some(known) = self.members.known.get(name) else { return };
        if known.member.status != MemberStatus::LEAVING {
            return self.erase(name, true);
        }
        let timings = &self.options.timings;
        let at = self.now + timings.broadcast_timeout + timings.leave_propagate_delay;
        self.members.pruning.entry(name.to_owned()).or_insert(at);
    }

    /// Forgets the members whose time to be pruned has come.
    pub(super) fn prune_due(&mut self) {
        let due = self.members.pruning.iter().filter(|(_, at)| **at <= self.now);
        let names: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.erase(&name, true);
        }
    }

    /// Forgets members that are gone for long enough, and old intents.
    pub(super) fn reap(&mut self) {
        let timings = &self.options.timings;
        let over = |known: &Known| {
            let patience = match known.member.status {
                MemberStatus::FAILED => crate::consul::reconnect_timeout(&known.member.tags)
                    .unwrap_or(timings.reconnect_timeout),
                MemberStatus::LEFT => timings.tombstone_timeout,
                _ => return false,
            };
            known.going_since.is_some_and(|since| self.now - since > patience)
        };
        let known = self.members.known.iter().filter(|(_, known)| over(known));
        let names: Vec<String> = known.map(|(name, _)| name.clone()).collect();
        let intent_timeout = timings.recent_intent_timeout;
        for name in names {
            self.erase(&name, false);
        }
        let now = self.now;
        self.members.recent.retain(|_, intent| now - intent.heard_at <= intent_timeout);
    }

    fn erase(&mut self, name: &str, forced: bool) {
        self.members.pruning.remove(name);
        let Some(known) = self.members.known.remove(name) else { return };
        self.vivaldi.forget(name);
        self.coordinates.remove(name);
        self.changed(Change::Reap, forced, known.member);
    }

    fn changed(&mut self, change: Change, forced: bool, member: Member) {
        self.members.changes += 1;
        if let Ok(address) = member.addr.parse() {
            self.report(Report::Member { change, forced, name: member.name.clone(), address });
        }
        self.out.push_back(Action::Event(match change {
            Change::Join => Event::MemberJoin(member),
            Change::Leave => Event::MemberLeave(member),
            Change::Failed => Event::MemberFailed(member),
            Change::Update => Event::MemberUpdate(member),
            Change::Reap => Event::MemberReap(member),
        }));
    }

    /// The tags of a node; those that can be read, and a report of others.
    pub(super) fn tags_of(&mut self, node: &Node) -> Tags {
        decode_tags(&node.meta).unwrap_or_else(|error| {
            let error = format!("{}: {error}", node.name);
            self.report(Report::Undecodable { what: "tags", error });
            Tags::new()
        })
    }

    /// What a push/pull tells of the members: who left, and when each last spoke.
    pub(super) fn merge_intents(
        &mut self,
        status_times: &BTreeMap<String, LamportTime>,
        left: &[String],
    ) {
        let left: BTreeSet<&String> = left.iter().collect();
        for name in &left {
            let time = status_times.get(*name).copied().unwrap_or_default();
            self.clock.witness(time);
            if **name == self.name {
                // One past: what serf's members make of it is to be refuted too.
                let leave = Leave { time: next(time), node: self.name.clone(), prune: false };
                self.leave_intent(&leave);
            } else if let Some(member) = self.members.told_as_left(name, time) {
                self.changed(Change::Leave, true, member);
            }
        }
        for (name, time) in status_times.iter().filter(|(name, _)| !left.contains(name)) {
            self.join_intent(&Join { time: *time, node: name.clone() });
        }
    }
}

/// The member that a node is, as far as the node itself tells; its status is not.
pub(super) fn member_of(node: &Node, tags: Tags) -> Member {
    let versions = node.versions;
    Member {
        name: node.name.to_string(),
        addr: node.addr.ip().to_string(),
        port: node.addr.port(),
        tags,
        status: MemberStatus::NONE,
        protocol_min: versions.protocol_min,
        protocol_max: versions.protocol_max,
        protocol_cur: versions.protocol_current,
        delegate_min: versions.delegate_min,
        delegate_max: versions.delegate_max,
        delegate_cur: versions.delegate_current,
    }
}
