//! What the log says: one more replica, which is never late, loses nothing, and remembers the
//! state after each entry.

use std::sync::Arc;

use domains::catalog::{CHECKS, NODES, check_key, node_key};
use domains::kv::KVS;
use domains::session::{LOCK_DELAYS, SESSIONS};
use raft::{Entry, EntryKind};
use replica::fsm::FsmCommand;
use store::State;
use types::Index;
use types::check::Status;

use crate::bug::Bug;
use crate::machine::{self, Machine};

/// The states by index, from zero on.
pub(crate) struct Reference {
    machine: Machine,
    states: Vec<(Arc<State>, Option<u64>)>,
}

impl Reference {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let machine = Machine::new(bug);
        let states = vec![(machine.state(), None)];
        Reference { machine, states }
    }

    /// Applies the entry that follows, and says what must not be in the state then.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        if entry.kind == EntryKind::Command {
            let command = FsmCommand::of_entry(entry.term.0, &entry.extensions, &entry.data);
            let reply = self.machine.apply(vec![(entry.index, command)]);
            reply.map_err(|error| format!("no gaps: {error}"))?;
        }
        let state = self.machine.state();
        let sound = check(&state);
        self.states.push((state, None));
        sound.map_err(|what| format!("{what}, after entry {}", entry.index))
    }

    /// The state after an entry that was applied.
    pub(crate) fn state(&self, index: Index) -> Option<&Arc<State>> {
        self.states.get(index.0 as usize).map(|(state, _)| state)
    }

    /// The digest of that state.
    pub(crate) fn digest(&mut self, index: Index) -> Option<u64> {
        let (state, digest) = self.states.get_mut(index.0 as usize)?;
        Some(*digest.get_or_insert_with(|| machine::digest(state)))
    }
}

/// What must hold between commands (`domains::session`).
fn check(state: &State) -> Result<(), String> {
    for entry in state.peek_prefix(&KVS, &[]) {
        let holder = entry.session.as_str();
        if !holder.is_empty() && state.peek(&SESSIONS, holder.as_bytes()).is_none() {
            let key = &entry.key;
            return Err(format!("session invalidation: {key} is held by {holder}, which is over"));
        }
    }
    for session in state.peek_prefix(&SESSIONS, &[]) {
        let (id, node) = (&session.id, session.node.as_str());
        if state.peek(&NODES, node_key(node).as_bytes()).is_none() {
            return Err(format!("session invalidation: {id} lives, its node {node} does not"));
        }
        for check in session.all_checks() {
            let row = state.peek(&CHECKS, check_key(node, check.as_str()).as_bytes());
            if row.is_none_or(|row| row.status == Status::Critical) {
                return Err(format!(
                    "session invalidation: {id} lives, its check {check} does not"
                ));
            }
        }
    }
    if state.len(&LOCK_DELAYS) > 0 {
        return Err("lock delays: they stay in the state".to_owned());
    }
    Ok(())
}
