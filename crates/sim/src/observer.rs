//! Sees all servers at once and checks what Raft promises (thesis figure 3.2), as it happens.

use std::collections::{BTreeMap, VecDeque};

use raft::{Body, Entry, LogPosition, Message, Term};
use store::State;
use types::Index;

use crate::bug::Bug;
use crate::call::{Answer, Question};
use crate::counts::Counts;
use crate::machine::{self, Digest};
use crate::reference::Reference;
use crate::world::{Node, OperationId};

/// Most violations of one run that are kept; one is enough to look into.
const KEPT: usize = 20;

/// Of how many indexes one is that at which a restored state is asked everything.
const SHOWN_EVERY: u64 = 8;

/// An entry as far as it must be equal everywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    digest: u64,
    /// The term of the entry before.
    before: Option<Term>,
}

struct Committed {
    term: Term,
    /// The term in which it was committed.
    when: Term,
}

struct Applied {
    term: Term,
    entry: u64,
    operation: Option<OperationId>,
}

/// The observer.
pub(crate) struct Observer {
    pub(crate) violations: Vec<String>,
    /// How many of them are in the log.
    pub(crate) said: usize,
    leaders: BTreeMap<Term, Node>,
    votes: BTreeMap<(Node, Term), Node>,
    terms: BTreeMap<Node, Term>,
    entries: BTreeMap<(Index, Term), Known>,
    /// From index 1 on.
    committed: Vec<Committed>,
    /// From index 1 on.
    applied: Vec<Applied>,
    /// What the entries that leaders proposed are for.
    proposed: BTreeMap<(Index, Term), OperationId>,
    operations: BTreeMap<OperationId, Index>,
    reference: Reference,
    /// The last entry whose outcome a client was told.
    pub(crate) acknowledged: Index,
    pub(crate) counts: Counts,
}

impl Observer {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Observer {
            violations: Vec::new(),
            said: 0,
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            terms: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: Vec::new(),
            applied: Vec::new(),
            proposed: BTreeMap::new(),
            operations: BTreeMap::new(),
            reference: Reference::new(bug),
            acknowledged: Index::ZERO,
            counts: Counts::default(),
        }
    }

    fn fail(&mut self, what: String) {
        if self.violations.len() < KEPT {
            self.violations.push(what);
        }
    }

    /// Terms only grow, and a voter has one vote a term, restarts or not.
    pub(crate) fn sends(&mut self, from: Node, to: Node, message: &Message) {
        let term = match &message.body {
            Body::AppendEntries(body) => body.term,
            Body::AppendEntriesResponse(body) => body.term,
            Body::RequestVote(body) => body.term,
            Body::RequestVoteResponse(body) => {
                if body.granted {
                    self.votes_for(from, body.term, to);
                }
                body.term
            }
            Body::InstallSnapshot(body) => body.term,
            Body::InstallSnapshotResponse(body) => body.term,
            _ => return,
        };
        let known = self.terms.entry(from).or_default();
        // An answer may have been held back while the term grew, so a lower one may follow.
        *known = term.max(*known);
        if let Body::RequestVote(_) = &message.body {
            self.votes_for(from, term, from);
        }
    }

    fn votes_for(&mut self, voter: Node, term: Term, candidate: Node) {
        let known = *self.votes.entry((voter, term)).or_insert(candidate);
        if known != candidate {
            let term = term.0;
            self.fail(format!("one vote: {voter} gave {known} and {candidate} one in term {term}"));
        }
    }

    /// A process begins with that term on its disk.
    pub(crate) fn starts(&mut self, node: Node, term: Term) {
        let known = self.terms.get(&node).copied().unwrap_or_default();
        if term < known {
            let (term, known) = (term.0, known.0);
            self.fail(format!("term kept: {node} starts in term {term} but said {known} before"));
        }
    }

    pub(crate) fn becomes_leader(&mut self, node: Node, term: Term, log: &Shadow) {
        self.counts.elections += 1;
        let known = *self.leaders.entry(term).or_insert(node);
        if known != node {
            self.fail(format!("election safety: {known} and {node} lead term {}", term.0));
        }
        let lacks = (1..).map(Index).zip(&self.committed).find(|(index, committed)| {
            let is_older = committed.when < term;
            is_older && *index > log.base && log.term(*index) != Some(committed.term)
        });
        if let Some((index, committed)) = lacks {
            let (term, of, when) = (term.0, committed.term.0, committed.when.0);
            self.fail(format!(
                "leader completeness: {node}, leader of term {term}, lacks entry {index} of term \
                 {of}, committed in term {when}"
            ));
        }
    }

    /// Log matching, by induction: index and term say what the entry is and what the term of
    /// the one before it is.
    pub(crate) fn has_entry(&mut self, node: Node, entry: &Entry, before: Option<Term>) {
        let mut digest = Digest::default();
        digest.add(&[entry.kind as u8]);
        digest.add(&entry.data);
        let mine = Known { digest: digest.0, before };
        let known = self.entries.entry((entry.index, entry.term)).or_insert(mine);
        known.before = known.before.or(before);
        if known.digest != mine.digest || (before.is_some() && known.before != before) {
            let (index, term) = (entry.index, entry.term.0);
            self.fail(format!("log matching: {node} has another entry {index} of term {term}"));
        }
    }

    /// A server takes all up to `commit` for committed; it knew that up to `seen`.
    pub(crate) fn commits(&mut self, node: Node, log: &Shadow, seen: Index, term: Term) {
        let commit = log.commit;
        if commit < seen {
            self.fail(format!("commit grows: {node} goes from {seen} back to {commit}"));
        }
        for index in (seen.0 + 1..=commit.0).map(Index) {
            let Some(mine) = log.term(index) else { continue };
            let place = index.0 as usize - 1;
            match self.committed.get(place) {
                Some(known) if known.term != mine => {
                    let (known, mine) = (known.term.0, mine.0);
                    self.fail(format!(
                        "committed never lost: entry {index} was committed with term {known}, \
                         and by {node} with term {mine}"
                    ));
                }
                Some(_) => {}
                None if place == self.committed.len() => {
                    self.counts.commits += 1;
                    self.committed.push(Committed { term: mine, when: term });
                }
                None => self.fail(format!("{node} commits {index} before what is before it")),
            }
        }
    }

    /// A leader appends what a client wants.
    pub(crate) fn proposes(&mut self, index: Index, term: Term, operation: OperationId) {
        self.proposed.insert((index, term), operation);
    }

    /// All apply the same entry at an index.
    pub(crate) fn applies(&mut self, node: Node, entry: &Entry) {
        let index = entry.index;
        let mut digest = Digest::default();
        digest.add(&[entry.kind as u8]);
        digest.add(&entry.data);
        let place = index.0 as usize - 1;
        match self.applied.get(place) {
            Some(known) if known.term != entry.term || known.entry != digest.0 => {
                self.fail(format!("state machine safety: {node} applies another entry {index}"));
            }
            Some(_) => {}
            None if place == self.applied.len() => {
                let operation = self.proposed.get(&(index, entry.term)).copied();
                let again = operation.and_then(|id| self.operations.insert(id, index));
                if let (Some(id), Some(before)) = (operation, again) {
                    self.fail(format!("operation {} is at {before} and {index}", id.0));
                }
                let (term, entry_digest) = (entry.term, digest.0);
                self.applied.push(Applied { term, entry: entry_digest, operation });
                if let Err(what) = self.reference.apply(entry) {
                    self.fail(what);
                }
            }
            None => self.fail(format!("{node} applies {index} before what is before it")),
        }
    }

    /// A server has the state after an entry that it applied: the one that the log says.
    pub(crate) fn reaches(&mut self, node: Node, index: Index, state: &State) {
        if self.reference.digest(index) != Some(machine::digest(state)) {
            self.fail(format!("equal states: {node} has another state after entry {index}"));
        }
    }

    /// A server is asked all there is to ask, and answers as the log says.
    pub(crate) fn shows(&mut self, node: Node, index: Index, state: &State) {
        let Some(right) = self.reference.state(index) else { return };
        for question in Question::everything() {
            if question.answer(state) != question.answer(right) {
                let what = format!("equal states: {node} answers {question:?} wrongly at {index}");
                return self.fail(what);
            }
        }
    }

    /// A state machine is replaced by a snapshot's state.
    pub(crate) fn restores(&mut self, node: Node, last: LogPosition, state: &State) {
        let (index, term) = (last.index, last.term.0);
        let place = (index.0 as usize).checked_sub(1);
        match place.and_then(|place| self.applied.get(place)) {
            Some(known) if known.term != last.term => self.fail(format!(
                "{node} restores a snapshot of term {term} at {index}, of which {} was applied",
                known.term.0
            )),
            Some(_) if self.reference.digest(index) != Some(machine::digest(state)) => {
                self.fail(format!("equal states: {node} restores another state of {index}"));
            }
            // It takes long, so not every time.
            Some(_) if index.0.is_multiple_of(SHOWN_EVERY) => self.shows(node, index, state),
            Some(_) => {}
            None => self.fail(format!("{node} restores a snapshot of {index}, never applied")),
        }
    }

    /// A query is answered. The index that stands beside the rows says as of when they are: the
    /// state after that entry answers the same.
    pub(crate) fn answers(&mut self, node: Node, question: &Question, answer: &Answer) {
        let index = answer.index;
        if self.is_otherwise(index, question, answer) {
            self.fail(format!("index: {question:?} is not answered at {node} as of {index}"));
        }
    }

    /// Whether the state after an entry gives another answer, or there is no such entry.
    pub(crate) fn is_otherwise(&self, index: Index, question: &Question, answer: &Answer) -> bool {
        // One is told for zero, as zero would not wait.
        let index = if index == Index(1) { Index::ZERO } else { index };
        self.reference.state(index).is_none_or(|state| question.answer(state) != *answer)
    }

    /// A client is told that its write took effect at that index.
    pub(crate) fn acknowledges(&mut self, node: Node, operation: OperationId, index: Index) {
        self.acknowledged = self.acknowledged.max(index);
        let known = self.applied.get(index.0 as usize - 1).and_then(|applied| applied.operation);
        if known != Some(operation) {
            let id = operation.0;
            self.fail(format!("acknowledged writes: {node} acknowledges {id}, not at {index}"));
        }
    }

    /// Whether any server has applied it.
    pub(crate) fn was_applied(&self, operation: OperationId) -> bool {
        self.operations.contains_key(&operation)
    }

    /// The last index that any server has applied.
    pub(crate) fn last_applied(&self) -> Index {
        Index(self.applied.len() as u64)
    }
}

/// A server's log as the core sees it, durable or not: its terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    /// The entry before the first.
    pub(crate) base: Index,
    terms: VecDeque<Term>,
    pub(crate) snapshot: LogPosition,
    pub(crate) commit: Index,
}

impl Shadow {
    pub(crate) fn new(base: Index, snapshot: LogPosition) -> Self {
        Shadow { base, terms: VecDeque::new(), snapshot, commit: snapshot.index }
    }

    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == Index::ZERO {
            return Some(Term(0));
        }
        if index == self.snapshot.index {
            return Some(self.snapshot.term);
        }
        let place = index.0.checked_sub(self.base.0 + 1)?;
        self.terms.get(place as usize).copied()
    }

    pub(crate) fn last(&self) -> Index {
        Index(self.base.0 + self.terms.len() as u64)
    }

    pub(crate) fn append(&mut self, entry: &Entry) {
        assert_eq!(entry.index, self.last().next(), "the core appends with a gap");
        self.terms.push_back(entry.term);
    }

    pub(crate) fn truncate(&mut self, from: Index) {
        self.terms.truncate(from.0.saturating_sub(self.base.0 + 1) as usize);
    }

    pub(crate) fn compact(&mut self, through: Index) {
        while self.base < through && self.terms.pop_front().is_some() {
            self.base = self.base.next();
        }
    }

    pub(crate) fn reset(&mut self, last: LogPosition) {
        self.terms.clear();
        self.base = last.index;
        self.snapshot = last;
    }
}
