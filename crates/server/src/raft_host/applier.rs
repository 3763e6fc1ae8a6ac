//! The state machine as the host sees it.

use std::io::{self, Read, Write};

use bytes::Bytes;
use contract::AnyCommand;
use raft::{Entry, Term};
use replica::state_file;
use types::Index;

use crate::fsm::{Fsm, FsmCommand, FsmError, FsmReply};

/// A committed command.
pub struct Committed {
    /// Its index.
    pub index: Index,
    /// The term of the leader that appended it.
    pub term: Term,
    /// As the log holds it.
    pub bytes: Bytes,
    /// What the log has beside it; see [`raft::Entry::extensions`].
    pub extensions: Bytes,
    /// As it was typed, if it was proposed here and not before a restart.
    pub command: Option<Box<dyn AnyCommand>>,
}

impl Committed {
    /// The command of an entry that holds one.
    pub fn new(entry: Entry, command: Option<Box<dyn AnyCommand>>) -> Self {
        let Entry { index, term, data: bytes, extensions, .. } = entry;
        Self { index, term, bytes, extensions, command }
    }
}

/// Writes the state of one moment, on another thread; the same bytes each time.
pub type SnapshotJob = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + Send>;

/// Why a snapshot's state was not taken; the state is what it was before.
pub type RestoreFailure = Box<dyn std::error::Error + Send + Sync>;

/// What committed commands are applied to. All calls come from one thread.
pub trait Applier: Send + 'static {
    /// Applies commands in order, all at once for whoever reads; a reply for each.
    ///
    /// # Errors
    /// When one cannot be applied at all: the server must stop.
    fn apply(&mut self, batch: Vec<Committed>) -> Result<Vec<FsmReply>, FsmError>;

    /// What writes the state as it is now; later changes do not show.
    fn snapshot(&mut self) -> SnapshotJob;

    /// Puts a snapshot's state in place of the present one.
    ///
    /// # Errors
    /// When the bytes are not a state.
    fn restore(&mut self, state: &mut dyn Read) -> Result<(), RestoreFailure>;
}

impl Applier for Fsm {
    fn apply(&mut self, mut batch: Vec<Committed>) -> Result<Vec<FsmReply>, FsmError> {
        let commands = batch.iter_mut().map(|committed| {
            let command = match committed.command.take() {
                Some(command) => FsmCommand::Typed(command),
                None => {
                    let term = committed.term.0;
                    FsmCommand::of_entry(term, &committed.extensions, &committed.bytes)
                }
            };
            (committed.index, command)
        });
        Fsm::apply(self, commands)
    }

    fn snapshot(&mut self) -> SnapshotJob {
        let state = self.store().snapshot();
        Box::new(move |out| state_file::save(&state, out))
    }

    fn restore(&mut self, state: &mut dyn Read) -> Result<(), RestoreFailure> {
        let contents = Fsm::restore(self, state)?;
        if let Some(carried) = contents.carried_text() {
            tracing::warn!(target: "agent.server.fsm", carried, "The state has records of features that this version does not have: they are kept and saved with each snapshot, but are not in force");
        }
        Ok(())
    }
}
