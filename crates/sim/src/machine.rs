//! The replicated state of one simulated server: the product's, with a planted bug if there is one.

use std::io::{self, Write};
use std::sync::Arc;

use replica::fsm::{Fsm, FsmCommand, FsmError, FsmReply};
use replica::live::LiveQueries;
use replica::state_file::{self, RestoreError};
use store::{State, Store};
use types::Index;

use crate::bug::Bug;
use crate::sabotage;

/// The state.
pub(crate) struct Machine {
    fsm: Fsm,
    pub(crate) live: LiveQueries,
    bug: Option<Bug>,
}

impl Machine {
    /// An empty state.
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let store = Store::new(&domains::tables());
        Machine { live: LiveQueries::new(store.clone()), fsm: Fsm::new(store), bug }
    }

    pub(crate) fn store(&self) -> &Store {
        self.fsm.store()
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.store().snapshot()
    }

    /// Applies commands as one commit.
    pub(crate) fn apply(
        &self,
        commands: Vec<(Index, FsmCommand<'_>)>,
    ) -> Result<Vec<FsmReply>, FsmError> {
        if !self.bug.is_some_and(Bug::is_in_apply) {
            return self.fsm.apply(commands.into_iter(), &mut ());
        }
        let mut replies = Vec::new();
        for (index, command) in commands {
            let before = self.state();
            sabotage::before_apply(self.bug, self.store(), index, &command);
            replies.extend(self.fsm.apply(std::iter::once((index, command)), &mut ())?);
            sabotage::after_apply(self.bug, self.store(), index, &before);
        }
        Ok(replies)
    }

    /// Puts a snapshot's state in place of the present one.
    pub(crate) fn restore(&self, mut bytes: &[u8]) -> Result<(), RestoreError> {
        state_file::restore(&mut bytes, self.store()).map(drop)
    }
}

/// A snapshot's bytes.
pub(crate) fn save(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state_file::save(state, &mut bytes).expect("memory takes all");
    bytes
}

/// Equal for equal states, and almost never else.
pub(crate) fn digest(state: &State) -> u64 {
    let mut digest = Digest::default();
    state_file::save(state, &mut digest).expect("a digest takes all");
    digest.0
}

/// FNV-1a with 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
