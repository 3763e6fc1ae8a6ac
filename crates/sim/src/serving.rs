//! A process and its clients: commands into the log, answers out of the state, and queries that
//! wait for one.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acl::Authorizer;
use contract::{AnyCommand, AnyQuery, Consistency, LeaderMemory, LeaderView};
use domains::kv::{KvCommand, KvOp};
use domains::session::{SessionCommand, SessionOp};
use replica::admission::{Admitted, admit};
use replica::blocking::Blocking;
use replica::live::Live;
use replica::session_timers::{SessionTimers, sessions_with_ttl};
use types::coordinate::NodeCoordinate;
use types::session::Session;
use types::{GoDuration, Index, SessionId};

use crate::bug::Bug;
use crate::call::{Answer, Change, Question, Told, What};
use crate::client::{Outcome, Request};
use crate::keeper::TTL_MIN_MS;
use crate::process::{Process, Waiting};
use crate::world::{Inner, Node, World};

/// Most sessions that are ended at a time.
const ENDING_MAX: usize = 64;

/// A query that waits.
pub(crate) struct Blocked {
    request: Request,
    question: Question,
    query: Arc<dyn AnyQuery>,
    blocking: Blocking,
    current: Arc<Live>,
    /// What was applied and what would have been answered when it began to wait.
    began: (Index, Answer),
    replaced: u64,
    /// Woken, and did not notice; for a bug.
    deaf: bool,
}

impl Process {
    /// Takes a request of a client.
    pub(crate) fn request(&mut self, request: Request, world: &mut World) {
        let What::Ask { consistency, .. } = &request.what else {
            return self.take_command(request, world);
        };
        match consistency {
            Consistency::Stale => self.reads.push((Index::ZERO, request)),
            // All that this leader acknowledged is applied here, and all that earlier ones did.
            Consistency::Default if self.has_lease() => self.reads.push((Index::ZERO, request)),
            Consistency::Default
                if world.has(Bug::StaleReadWithoutLease) && self.core.is_leader() =>
            {
                self.reads.push((Index::ZERO, request));
            }
            Consistency::Default | Consistency::Consistent => {
                match self.core.verify_leader(self.local) {
                    Ok(read) => self.verifying.entry(read).or_default().push(request),
                    Err(_) => self.refuse(&request, world),
                }
            }
        }
    }

    /// Does what a leader does with a command before the log.
    fn take_command(&mut self, request: Request, world: &mut World) {
        let What::Change(change) = &request.what else { return };
        if !self.leads() {
            return self.refuse(&request, world);
        }
        let datacenter = "dc1".into();
        let memory = Memory { timers: &self.leadership.timers, now: self.local };
        let mut leader = LeaderView {
            store: self.machine.store(),
            now_unix_nanos: world.now.0,
            random: &mut || world.rng.u128(..),
            datacenter: &datacenter,
            session_ttl_min: GoDuration::from_millis(TTL_MIN_MS),
            memory: &memory,
        };
        let told = match admit(change.command(), &Authorizer::allow_all(), &mut leader) {
            Ok(Admitted::Ready(command)) => {
                if self.inbox.is_empty() {
                    let wait = world.micros(20, 300);
                    self.schedule(wait, Inner::Propose, world);
                }
                self.inbox.push((request, command.into_inner()));
                return;
            }
            Ok(Admitted::Answered(reply)) if self.has_lease() => change.told(Ok(reply)),
            Ok(Admitted::Answered(reply)) => {
                let told = change.told(Ok(reply));
                match self.core.verify_leader(self.local) {
                    Ok(read) => {
                        self.leadership.remembered.entry(read).or_default().push((request, told))
                    }
                    Err(_) => self.refuse(&request, world),
                }
                return;
            }
            Err(error) => change.told(Err(error)),
        };
        self.reply(&request, Outcome::Told(told), world);
    }

    /// Proposes what came together.
    pub(crate) fn propose(&mut self, world: &mut World) {
        let inbox = std::mem::take(&mut self.inbox);
        let encode = |command: &dyn AnyCommand| raft::Proposal::command(command.encode());
        let batch: Vec<_> = inbox.iter().map(|(_, command)| encode(&**command)).collect();
        let count = batch.len() as u64;
        match self.core.propose(batch, self.local) {
            Ok(last) => {
                let indexes = (last.index.0 + 1 - count..).map(Index);
                for (index, (request, command)) in indexes.zip(inbox) {
                    world.observer.proposes(index, last.term, request.operation);
                    let plain = plain(&request.what);
                    if let Some(told) = plain.filter(|_| world.has(Bug::AcknowledgedBeforeCommit)) {
                        self.reply(&request, Outcome::Told(told), world);
                        continue;
                    }
                    let command = Some(command);
                    self.waiting.insert(index, Waiting { term: last.term, request, command });
                }
            }
            Err(_) => inbox.iter().for_each(|(request, _)| self.refuse(request, world)),
        }
    }

    pub(crate) fn reply(&self, request: &Request, outcome: Outcome, world: &mut World) {
        world.replies.push(request.answered(self.node, outcome));
    }

    fn refuse(&self, request: &Request, world: &mut World) {
        let leader = self.core.leader().and_then(Node::of);
        self.reply(request, Outcome::Refused(leader), world);
    }

    /// Another may lead: who asked this server as the leader has to ask again.
    pub(crate) fn refuse_reads(&mut self, world: &mut World) {
        let waiting = std::mem::take(&mut self.blocked);
        let (stale, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|blocked| {
            matches!(blocked.request.what, What::Ask { consistency: Consistency::Stale, .. })
        });
        self.blocked = stale;
        let remembered = std::mem::take(&mut self.leadership.remembered).into_values().flatten();
        let verifying = std::mem::take(&mut self.verifying).into_values().flatten();
        let verifying = verifying.chain(remembered.map(|(request, _)| request));
        for request in verifying.chain(others.into_iter().map(|blocked| blocked.request)) {
            self.reply(&request, Outcome::Refused(None), world);
        }
    }

    pub(crate) fn serve_reads(&mut self, world: &mut World) {
        let mut later = Vec::new();
        for (index, request) in std::mem::take(&mut self.reads) {
            if index > self.applied {
                later.push((index, request));
                continue;
            }
            self.check_fresh(&request, world);
            self.serve(request, world);
        }
        self.reads = later;
    }

    /// Answers a query, or lets it wait.
    fn serve(&mut self, request: Request, world: &mut World) {
        let What::Ask { question, min_index, .. } = &request.what else { return };
        let (question, query, who) = (question.clone(), question.query(), Authorizer::allow_all());
        let live = &self.machine.live;
        const SOUND: &str = "no question has a filter that could fail";
        if *min_index == Index::ZERO {
            let answer = question.told(live.now(&query, &who).expect(SOUND).evaluated());
            self.check_grows(&question, &answer, world);
            return self.answer(&request, &question, answer, world);
        }
        let blocking = Blocking::new(self.machine.store(), *min_index);
        let current = live.get(&query, &who).expect(SOUND);
        let answer = question.told(&current.evaluated);
        if blocking.is_over(self.machine.store(), &current.evaluated) {
            return self.answer(&request, &question, answer, world);
        }
        let (client, attempt) = (request.client, request.attempt);
        let wait = world.millis(100, 1500);
        self.schedule(wait, Inner::WaitOver { client, attempt }, world);
        let (began, replaced) = ((self.applied, answer), self.machine.store().replaced());
        let deaf = false;
        let blocked =
            Blocked { request, question, query, blocking, current, began, replaced, deaf };
        self.blocked.push(blocked);
    }

    fn answer(
        &mut self,
        request: &Request,
        question: &Question,
        mut answer: Answer,
        world: &mut World,
    ) {
        if world.has(Bug::IndexTooNew) {
            answer.index = self.machine.state().index();
        }
        world.observer.answers(self.node, question, &answer);
        self.reply(request, Outcome::Told(Told::Rows(answer)), world);
    }

    /// Who asks again without having been woken is not told of an earlier time.
    fn check_grows(&mut self, question: &Question, answer: &Answer, world: &mut World) {
        let Question::Key(key) = question else { return };
        let shown = self.shown.entry(key.clone()).or_default();
        if answer.index < *shown {
            let (node, index) = (self.node, answer.index);
            world.violation(format!("index: {node} shows {key} as of {index}, after {shown}"));
        }
        *shown = answer.index;
    }

    /// A query has waited long enough: it is answered with what there is.
    pub(crate) fn wait_over(&mut self, client: usize, attempt: u64, world: &mut World) {
        let is_it = |blocked: &Blocked| {
            (blocked.request.client, blocked.request.attempt) == (client, attempt)
        };
        let Some(place) = self.blocked.iter().position(is_it) else { return };
        let blocked = self.blocked.swap_remove(place);
        let now = self.machine.live.now(&blocked.query, &Authorizer::allow_all());
        let answer = now.expect("no question has a filter that could fail");
        let answer = blocked.question.told(answer.evaluated());
        self.check_grows(&blocked.question, &answer, world);
        self.answer(&blocked.request, &blocked.question, answer, world);
    }

    fn look_again(&self, blocked: &Blocked) -> (Arc<Live>, Answer) {
        let current = self.machine.live.get(&blocked.query, &Authorizer::allow_all());
        let current = current.expect("no question has a filter that could fail");
        let answer = blocked.question.told(&current.evaluated);
        (current, answer)
    }

    /// Answers queries that have waited for what happened, and checks that the others still have
    /// a reason to wait.
    pub(crate) fn wake_blocked(&mut self, world: &mut World) {
        let now = (self.applied, self.machine.store().replaced());
        if self.looked == now || self.blocked.is_empty() {
            return;
        }
        self.looked = now;
        for mut blocked in std::mem::take(&mut self.blocked) {
            let is_eager = world.has(Bug::WakeWithoutChange);
            if world.has(Bug::WakeLost) && !blocked.current.is_current() {
                blocked.deaf |= self.applied.0.is_multiple_of(3);
            }
            if !is_eager && (blocked.current.is_current() || blocked.deaf) {
                self.check_asleep(&blocked, world);
                self.blocked.push(blocked);
                continue;
            }
            let (current, answer) = self.look_again(&blocked);
            if is_eager || blocked.blocking.is_over(self.machine.store(), &current.evaluated) {
                self.wake(blocked, answer, world);
            } else {
                blocked.current = current;
                self.blocked.push(blocked);
            }
        }
    }

    fn wake(&mut self, blocked: Blocked, answer: Answer, world: &mut World) {
        let Blocked { request, question, began: (since, before), .. } = &blocked;
        let is_replaced = blocked.replaced != self.machine.store().replaced();
        if question.is_exact() && !is_replaced && answer.rows == before.rows {
            let mut between = (since.0..=self.applied.0).map(Index);
            if !between.any(|index| world.observer.is_otherwise(index, question, before)) {
                let (node, applied) = (self.node, self.applied);
                world.violation(format!(
                    "watches: {question:?} wakes at {node} between {since} and {applied}, where \
                     nothing changes"
                ));
            }
        }
        let What::Ask { consistency, .. } = &request.what else { return };
        if *consistency != Consistency::Stale && !self.has_lease() {
            return self.reply(request, Outcome::Refused(None), world);
        }
        world.observer.counts.woken += 1;
        self.answer(request, question, answer, world);
    }

    /// What is asked afresh must be what is kept, or the sleeper has missed something.
    fn check_asleep(&self, blocked: &Blocked, world: &mut World) {
        let (kept, question) = (&blocked.current.evaluated, &blocked.question);
        let fresh = question.evaluate(&self.machine.state());
        // Rows of one index are the same rows; that is looked at where they are answered with.
        if fresh.index != kept.index && question.rows(kept) != question.rows(&fresh) {
            let (node, index) = (self.node, fresh.index);
            world.violation(format!("watches: {question:?} sleeps at {node} through {index}"));
        }
    }

    /// What was acknowledged before a read began must be there.
    fn check_fresh(&self, request: &Request, world: &mut World) {
        let What::Ask { consistency, .. } = &request.what else { return };
        let promised = match consistency {
            Consistency::Default => world.default_reads_promised,
            Consistency::Consistent => true,
            Consistency::Stale => false,
        };
        if promised && self.applied < request.floor {
            let (node, applied, floor) = (self.node, self.applied, request.floor);
            let mode = request.what.name();
            world.violation(format!(
                "fresh reads: a {mode} read at {node} sees {applied}, but {floor} was \
                 acknowledged before"
            ));
        }
    }
}

impl Process {
    /// The duty of a leader to end sessions whose time is over.
    pub(crate) fn mind_sessions(&mut self) {
        if !self.leads() {
            return;
        }
        let sessions = sessions_with_ttl(&self.machine.state());
        let mut timers = self.leadership.timers.borrow_mut();
        match std::mem::replace(&mut self.leadership.minds_sessions, true) {
            false => timers.handle_established(&sessions, self.local),
            true => timers.handle_sessions(&sessions, self.local),
        }
        let due = timers.take_due(ENDING_MAX, self.local);
        let batch = due.into_iter().map(|id| {
            let session = Session { id, ..Session::default() };
            let op = SessionOp::Destroy;
            let command = SessionCommand { op, session, ..SessionCommand::default() };
            raft::Proposal::command(AnyCommand::encode(&command))
        });
        let batch: Vec<_> = batch.collect();
        if !batch.is_empty() {
            // One that cannot be proposed is tried again.
            let _ = self.core.propose(batch, self.local);
        }
    }
}

/// What a leader remembers at one moment.
struct Memory<'p> {
    timers: &'p RefCell<SessionTimers>,
    now: Instant,
}

impl LeaderMemory for Memory<'_> {
    fn is_lock_delayed(&self, _key: &str) -> bool {
        false
    }

    fn renew_session(&self, session: &SessionId, ttl: Duration) -> bool {
        self.timers.borrow_mut().handle_renew(session, ttl, self.now)
    }

    fn note_coordinate(&self, _row: NodeCoordinate) {}
}

/// What is told of a change without a condition.
fn plain(what: &What) -> Option<Told> {
    match what {
        What::Change(Change::Key(KvCommand { op: KvOp::Set | KvOp::Delete, .. })) => {
            Some(Told::Held(true))
        }
        What::Change(Change::Register(_) | Change::Deregister(_)) => Some(Told::Done),
        _ => None,
    }
}
