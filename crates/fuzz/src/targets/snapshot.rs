//! Snapshots of the state: all or nothing.

use server::fsm::{Fsm, FsmCommand};
use server::state_file;
use store::Store;
use types::Index;

use super::{api, assert_says};

fn filled(commands: usize) -> Store {
    let fsm = Fsm::new(Store::new(&domains::tables()));
    let commands = api::sample_commands().into_iter().take(commands);
    let numbered =
        commands.zip(3..).map(|(command, index)| (Index(index), FsmCommand::Typed(command)));
    fsm.apply(numbered).expect("the samples are sound");
    fsm.store().clone()
}

/// Checks one snapshot.
pub(super) fn check(input: &[u8]) {
    let store = filled(4);
    let before = api::saved(&store);
    match state_file::restore(&mut &input[..], &store) {
        Err(error) => {
            assert_says(&error.to_string(), input.len());
            assert_eq!(api::saved(&store), before, "a refused snapshot changed something");
        }
        Ok(index) => {
            assert_eq!(store.snapshot().index(), index);
            api::restore(&store);
            // What came with the snapshot can be worked with.
            let fsm = Fsm::new(store);
            let commands = api::sample_commands().into_iter();
            let next = index.0.saturating_add(1)..;
            let numbered = commands
                .zip(next)
                .map(|(command, index)| (Index(index), FsmCommand::Typed(command)));
            fsm.apply(numbered).expect("the samples are known");
        }
    }
}

/// Snapshots of growing states.
pub(super) fn made() -> Vec<Vec<u8>> {
    [0, 3, 5, 9].into_iter().map(|commands| api::saved(&filled(commands))).collect()
}
