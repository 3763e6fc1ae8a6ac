//! Serf: what members of a pool tell each other beyond that they are there
//! (`reference/gossip-wire.md` sections 10 to 14).
//!
//! # The idea
//!
//! Underneath, [`crate::memberlist`] knows who answers and spreads messages. On top of that
//! members announce that they join or leave (`members`), so that who leaves is told
//! from who fails; send events to all (`user_events`), ask all and collect the answers
//! (`queries`), change the keys of the whole pool (`keys`), and measure how far they are
//! from each other ([`crate::coordinate`]). Lamport clocks (`clock`), one for each kind of
//! message, decide which of two counts and what is a copy. Now and then two members
//! exchange all that they know, which heals what packets lost.
//!
//! # Driving it
//!
//! [`Serf`] owns the machine underneath; a shell drives this one alone: inputs
//! (`handle_*`, and what is wanted: [`Serf::join`], [`Serf::leave`], ...), then
//! [`Serf::poll_action`] until there is nothing more, then [`Serf::next_timeout`]. Whoever
//! waits for something has an [`OperationId`], which comes back in [`Action::Completed`].
//!
//! # Where this differs from serf, unseen by others
//!
//! A join asks several seeds at a time; a relay carries nothing but answers and only to
//! members; no time of a leave is made up (`members`); a name with a line break is not written to the snapshot; a member that came back
//! is not pruned; a node that is alone does not wait for its leave to spread.

mod action;
mod clock;
mod conflict;
mod core;
mod joins;
mod keyring_file;
mod keys;
mod leaving;
mod members;
mod options;
mod periodic;
mod queries;
mod report;
mod snapshot;
mod user_events;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use types::coordinate::Coordinate;
use types::member::{Member, MemberStatus};

use self::core::Core;
use self::joins::Joins;
use self::leaving::Leaving;
use self::periodic::Periodic;
use self::queries::{Purpose, Running};
use crate::consul::Tags;
use crate::memberlist::{self, Delegate as _, ExchangeId, Memberlist, Waited};
use crate::wire::serf::{META_MAX, encode_tags};
use crate::wire::{Security, StreamMessage};

pub use self::action::{
    Action, Event, Joined, KeyringChange, KeyringFile, NotBroadcast, OperationId, Outcome, Query,
    UserEvent,
};
pub use self::joins::Seed;
pub use self::keyring_file::{
    BYTES_MAX as KEYRING_FILE_BYTES_MAX, KeyringFileError, read as read_keyring_file,
    write as write_keyring_file,
};
pub use self::keys::{KeyAnswers, KeyOperation};
pub use self::options::{Limits, Options, Timings};
pub use self::queries::{QueryOptions, QueryTooLarge, RespondError};
pub use self::report::{Change, Level, Measure, Report};
pub use self::snapshot::{Snapshot, SnapshotWrite, Unread};
pub use self::user_events::UserEventError;

/// Tags that do not fit into what members gossip of each other. The text is serf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Encoded length of tags exceeds limit of {META_MAX} bytes")]
pub struct TagsTooLong;

/// This node has left, or is about to. The text is serf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Serf can't Join after Leave or Shutdown")]
pub struct HasLeft;

/// What is counted of a pool, as `consul info` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Members, whatever their status.
    pub members: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that left.
    pub left: usize,
    /// 0 is best; the more, the less this node trusts itself.
    pub health_score: u32,
    /// The clocks of membership, events and queries.
    pub member_time: u64,
    /// The clock of events.
    pub event_time: u64,
    /// The clock of queries.
    pub query_time: u64,
    /// Messages that wait.
    pub intent_queue: usize,
    /// Events that wait.
    pub event_queue: usize,
    /// Queries that wait.
    pub query_queue: usize,
    /// Whether there are keys.
    pub encrypted: bool,
    /// How often the coordinate became unusable.
    pub coordinate_resets: u64,
}

/// One node of a pool.
#[derive(Debug)]
pub struct Serf {
    list: Memberlist,
    core: Core,
    joins: Joins,
    leaving: Leaving,
    periodic: Periodic,
    last_operation: u64,
}

impl Serf {
    /// A node that is alone so far. If a snapshot knows members of an earlier life, it tries to
    /// reach them.
    ///
    /// # Errors
    /// The tags are too long.
    pub fn new(options: Options, now: Instant) -> Result<Self, TagsTooLong> {
        let meta = encode_tags(&options.tags);
        if meta.len() > META_MAX {
            return Err(TagsTooLong);
        }
        let mut rng = Rng::with_seed(options.seed);
        let periodic = Periodic::new(&options.timings, now);
        let list_options = memberlist::Options {
            meta,
            packet_overhead: options.security.packet_overhead(),
            seed: rng.u64(..),
            ..options.memberlist.clone()
        };
        let mut core = Core::new(options, rng.fork(), now);
        let list = Memberlist::new(list_options, now, &mut core);
        let mut serf = Self {
            list,
            core,
            joins: Joins::default(),
            leaving: Leaving::default(),
            periodic,
            last_operation: 0,
        };
        serf.rejoin();
        serf.settle();
        Ok(serf)
    }

    /// A packet came; it is open.
    pub fn handle_packet(&mut self, from: SocketAddr, plain: &[u8], now: Instant) {
        self.core.now = now;
        self.list.handle_packet(from, plain, now, &mut self.core);
        self.settle();
    }

    /// Somebody opened a stream and sent this; what to answer, before it is sealed.
    pub fn handle_stream_request(
        &mut self,
        from: SocketAddr,
        message: StreamMessage,
        now: Instant,
    ) -> Option<Bytes> {
        self.core.now = now;
        let answer = self.list.handle_stream_request(from, message, now, &mut self.core);
        self.settle();
        answer
    }

    /// What came of [`Action::Exchange`]: the answer, nothing if none was to come, or why there
    /// is none.
    pub fn handle_stream_answer(
        &mut self,
        id: ExchangeId,
        answer: Result<Option<StreamMessage>, String>,
        now: Instant,
    ) {
        self.core.now = now;
        self.core.ignore_old_events = self.joins.ignores_old_events(id);
        self.list.handle_stream_answer(id, answer, now, &mut self.core);
        self.core.ignore_old_events = false;
        self.settle();
    }

    /// How [`Action::PersistKeyring`] went; if it failed, why.
    pub fn handle_persisted(
        &mut self,
        change: KeyringChange,
        result: Result<(), String>,
        now: Instant,
    ) {
        self.core.now = now;
        self.core.keyring_persisted(change, result);
        self.settle();
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        let core = &self.core;
        let times = [
            self.list.next_timeout(),
            core.members.next_prune(),
            core.running.values().map(Running::deadline).min(),
            core.snapshot.as_ref().and_then(Snapshot::write_at),
            self.leaving.next_timeout(),
            Some(self.periodic.next()),
        ];
        times.into_iter().flatten().min()
    }

    /// Time has come to [`Self::next_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.core.now = now;
        if self.list.next_timeout().is_some_and(|at| at <= now) {
            self.list.handle_timeout(now, &mut self.core);
        }
        self.core.prune_due();
        self.core.close_due_queries();
        self.leave_on();
        self.do_periodic();
        self.settle();
        let snapshot = self.core.snapshot.as_mut();
        if let Some(write) = snapshot.and_then(|snapshot| snapshot.take(now)) {
            self.core.out.push_back(Action::Snapshot(write));
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.out.pop_front()
    }

    /// Sends an event to all members, this node among them.
    ///
    /// # Errors
    /// It is too large.
    pub fn user_event(
        &mut self,
        name: &str,
        payload: Bytes,
        coalesce: bool,
        now: Instant,
    ) -> Result<(), UserEventError> {
        self.core.now = now;
        let sent = self.core.user_event(name, payload, coalesce);
        self.settle();
        sent
    }

    /// Asks all members, this node among them. Answers come as [`Outcome::Answered`] until
    /// [`Outcome::Closed`].
    ///
    /// # Errors
    /// It is too large.
    pub fn query(
        &mut self,
        name: &str,
        payload: Bytes,
        options: QueryOptions,
        now: Instant,
    ) -> Result<OperationId, QueryTooLarge> {
        self.core.now = now;
        let id = self.new_operation();
        let asked = self.core.ask(name, payload, options, Purpose::Asked(id));
        self.settle();
        asked.map(|()| id)
    }

    /// Answers a query.
    ///
    /// # Errors
    /// It is too late, or the answer is too large.
    pub fn respond(
        &mut self,
        query: &Query,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), RespondError> {
        self.core.now = now;
        let sent = self.core.respond(query, payload);
        self.settle();
        sent
    }

    /// Has all members do something with their keys; `relay_factor` is over how many others
    /// each answer goes as well. Ends with [`Outcome::Keys`].
    ///
    /// # Errors
    /// The query is too large, which no key makes it.
    pub fn operate_keys(
        &mut self,
        operation: &KeyOperation,
        relay_factor: u8,
        now: Instant,
    ) -> Result<OperationId, QueryTooLarge> {
        self.core.now = now;
        let id = self.new_operation();
        let asked = self.core.operate_keys(operation, relay_factor, id);
        self.settle();
        asked.map(|()| id)
    }

    /// Says something else of this node.
    ///
    /// # Errors
    /// The tags are too long.
    pub fn set_tags(&mut self, tags: Tags, now: Instant) -> Result<(), TagsTooLong> {
        let meta = encode_tags(&tags);
        if meta.len() > META_MAX {
            return Err(TagsTooLong);
        }
        self.core.now = now;
        self.core.options.tags = tags;
        let timeout = self.core.options.timings.broadcast_timeout;
        self.list.update_meta(meta, timeout, now, &mut self.core);
        self.settle();
        Ok(())
    }

    /// Pings a member now, to know how far it is: an answer within `timeout` is taken in as
    /// that to a probe is, and no answer means nothing.
    pub fn measure(&mut self, name: &str, timeout: Duration, now: Instant) {
        self.core.now = now;
        self.list.ping(name, timeout, now);
        self.settle();
    }

    /// All members, whatever their status, sorted by name.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.core.members.known.values().map(|known| &known.member)
    }

    /// The member of that name, whatever its status.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.core.members.known.get(name).map(|known| &known.member)
    }

    /// Counts changes of [`Self::members`].
    pub fn members_changes(&self) -> u64 {
        self.core.members.changes
    }

    /// Where this node is in the space of round trips.
    pub fn coordinate(&self) -> &Coordinate {
        self.core.vivaldi.coordinate()
    }

    /// Where members said they are when they were last measured, and this node, by name.
    pub fn coordinates(&self) -> &BTreeMap<String, Coordinate> {
        &self.core.coordinates
    }

    /// Keys and label, for sealing what goes and opening what comes.
    pub fn security(&self) -> &Security {
        &self.core.security
    }

    /// Whether the node has left for good.
    pub fn has_left(&self) -> bool {
        self.core.phase == self::core::Phase::Left
    }

    /// 0 is best; the more, the less this node trusts itself.
    pub fn health_score(&self) -> u32 {
        self.list.health_score()
    }

    /// What the machine underneath counted since the beginning.
    pub fn counts(&self) -> memberlist::Counts {
        self.list.counts()
    }

    /// What `consul info` shows.
    pub fn stats(&self) -> Stats {
        let core = &self.core;
        Stats {
            members: core.members.known.len(),
            failed: core.members.count(MemberStatus::FAILED),
            left: core.members.count(MemberStatus::LEFT),
            health_score: self.list.health_score(),
            member_time: core.clock.time().0,
            event_time: core.event_clock.time().0,
            query_time: core.query_clock.time().0,
            intent_queue: core.intent_queue.len(),
            event_queue: core.event_queue.len(),
            query_queue: core.query_queue.len(),
            encrypted: core.security.keyring.is_some(),
            coordinate_resets: core.vivaldi.resets(),
        }
    }

    /// What the snapshot's file is to be in the place of what could not be appended to.
    pub fn rewrite_snapshot(&mut self) -> Option<String> {
        self.core.snapshot.as_mut().map(Snapshot::rewrite)
    }

    /// The end: what is still to be written to the snapshot's file, and said.
    pub fn shutdown(&mut self) {
        if !self.has_left() {
            self.core.report(Report::ShutdownWithoutLeave);
        }
        if let Some(write) = self.core.snapshot.as_mut().and_then(Snapshot::flush) {
            self.core.out.push_back(Action::Snapshot(write));
        }
    }

    fn new_operation(&mut self) -> OperationId {
        self.last_operation += 1;
        OperationId(self.last_operation)
    }

    /// Carries what each half wants of the other, until neither wants anything.
    fn settle(&mut self) {
        loop {
            if let Some((to, message)) = self.core.sends.pop_front() {
                if to == self.core.address {
                    self.core.handle_user(to, &message);
                } else {
                    self.list.send_user(to, &message);
                }
            } else if let Some(action) = self.list.poll_action() {
                self.take_action(action);
            } else {
                let finished = self.core.intent_queue.take_finished();
                if finished.is_empty() {
                    break;
                }
                finished.into_iter().for_each(|ticket| self.broadcast_done(ticket));
            }
        }
        let (now, time) = (self.core.now, self.core.clock.time());
        if let Some(snapshot) = &mut self.core.snapshot {
            snapshot.clock(types::user_event::LamportTime(time.0.saturating_sub(1)), now);
        }
    }

    fn take_action(&mut self, action: memberlist::Action) {
        let action = match action {
            memberlist::Action::Packet { to, plain } => Action::Packet { to, plain },
            memberlist::Action::Exchange { id, to, name: _, message, answered, deadline } => {
                Action::Exchange { id, to, message, answered, deadline }
            }
            memberlist::Action::Exchanged { id, outcome } => return self.join_on(id, outcome),
            memberlist::Action::Broadcast { what: Waited::Leave, sent } => {
                return self.list_left(sent);
            }
            memberlist::Action::Broadcast { what: Waited::Update, .. } => return,
            memberlist::Action::Warning(warning) => Action::Report(Report::Memberlist(warning)),
        };
        self.core.out.push_back(action);
    }
}
