//! Snapshots of the state: all or nothing.

use replica::state_file;
use server::fsm::{Fsm, FsmCommand};
use store::Store;
use types::Index;

use super::{api, assert_says};
use crate::choices::Choices;

fn filled(commands: usize) -> Store {
    let fsm = Fsm::new(Store::new(&domains::tables()));
    let commands = api::sample_commands().into_iter().take(commands);
    let numbered =
        commands.zip(3..).map(|(command, index)| (Index(index), FsmCommand::Typed(command)));
    fsm.apply(numbered).expect("the samples are sound");
    fsm.store().clone()
}

/// Checks the input as a snapshot, and as decisions to make one out of sound
/// records, in any order and number.
pub(super) fn check(input: &[u8]) {
    check_restore(input);
    check_restore(&shuffled(&mut Choices::new(input)));
}

fn shuffled(choices: &mut Choices<'_>) -> Vec<u8> {
    let whole = api::saved(&filled(5));
    let length = |bytes: &[u8]| {
        types::msgpack::value_len(bytes).expect("it was just saved").expect("all of it is there")
    };
    let (header, mut rest) = whole.split_at(length(&whole));
    let mut records: Vec<&[u8]> = Vec::new();
    while !rest.is_empty() {
        let (record, after) = rest.split_at(1 + length(&rest[1..]));
        records.push(record);
        rest = after;
    }
    let mut made = header.to_vec();
    while !choices.is_empty() {
        let start = made.len();
        made.extend_from_slice(choices.pick::<&[u8]>(&records));
        if choices.below(4) == 0 {
            let at = start + choices.below(made.len() - start);
            made[at] = choices.byte();
        }
    }
    made
}

fn check_restore(input: &[u8]) {
    let store = filled(4);
    let before = api::saved(&store);
    match state_file::restore(&mut &input[..], &store) {
        Err(error) => {
            assert_says(&error.to_string(), input.len());
            assert_eq!(api::saved(&store), before, "a refused snapshot changed something");
        }
        Ok(contents) => {
            let index = contents.index;
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
