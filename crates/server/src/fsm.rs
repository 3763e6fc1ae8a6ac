//! The state machine behind the log.

use std::any::Any;
use std::time::{Duration, Instant};

use contract::{AnyCommand, CallError, CommandDef, SKIPPABLE_BIT};
use domains::{chunking, session};
use snapshot::RecordType;
use store::Store;
use types::Index;

use crate::lock_delay::LockDelays;
use crate::metrics::ApplyMetrics;

/// What applying one command gave: the command's reply, or why it changed nothing.
pub type FsmReply = Result<Box<dyn Any + Send>, CallError>;

/// A command to apply.
pub enum FsmCommand<'c> {
    /// As it was typed, on the server that proposed it.
    Typed(Box<dyn AnyCommand>),
    /// As the log holds it.
    Encoded(&'c [u8]),
    /// A part of one, as the log holds it (`domains::chunking`).
    Part {
        /// The entry's term.
        term: u64,
        /// Which part it is.
        extensions: &'c [u8],
        /// Its bytes.
        data: &'c [u8],
    },
}

/// A log entry that this server cannot apply. It must stop: skipping the entry would
/// make its state another than that of the servers that know it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FsmError {
    /// The tag is unknown.
    #[error(
        "the log entry at index {index} is a command of type {tag} ({kind}), which this version \
         cannot apply, and skipping it would make this server's state another than its peers'. \
         Replace this server by a version that knows such commands, or by a Consul server, \
         with the same data in the cluster; the cluster goes on without it meanwhile"
    )]
    Unknown {
        /// Where it stands.
        index: Index,
        /// Its first byte.
        tag: u8,
        /// What Consul calls it.
        kind: RecordType,
    },
    /// The bytes do not decode.
    #[error("the log entry at index {index} ({name}) cannot be read: {reason}")]
    Undecodable {
        /// Where it stands.
        index: Index,
        /// The command it claims to be.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Applies commands to a store.
pub struct Fsm {
    store: Store,
    by_tag: Vec<Option<&'static CommandDef>>,
    lock_delays: LockDelays,
    metrics: ApplyMetrics,
}

impl Fsm {
    /// The state machine of all domains over this store.
    pub fn new(store: Store) -> Self {
        let mut by_tag = vec![None; 256];
        for domain in domains::ALL {
            for command in domain.commands {
                let taken = by_tag[usize::from(command.tag)].replace(command);
                assert!(taken.is_none(), "two commands have the tag {}", command.tag);
            }
        }
        let (lock_delays, metrics) = (LockDelays::default(), ApplyMetrics::new());
        Self { store, by_tag, lock_delays, metrics }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where it notes the keys that sessions leave behind that end by a command which
    /// was proposed here: while this server leads, all of them.
    pub fn lock_delays(&self) -> LockDelays {
        self.lock_delays.clone()
    }

    /// Applies commands in order, as one commit for all who read and wait.
    pub fn apply<'c>(
        &self,
        commands: impl Iterator<Item = (Index, FsmCommand<'c>)>,
    ) -> Result<Vec<FsmReply>, FsmError> {
        let start = Instant::now();
        let mut before = Duration::ZERO;
        self.store.write(|batch| {
            commands
                .map(|(index, command)| {
                    let mut tx = batch.tx(index);
                    let proposed_here = matches!(command, FsmCommand::Typed(_));
                    let command = match command {
                        FsmCommand::Typed(command) => Ok(Some(command)),
                        FsmCommand::Encoded(bytes) => Ok(self.decode(index, bytes)?),
                        FsmCommand::Part { term, extensions, data } => {
                            match chunking::take(&mut tx, term, extensions, data) {
                                Ok(Some(whole)) => Ok(self.decode(index, &whole)?),
                                Ok(None) => Ok(None),
                                Err(error) => Err(CallError::failed(error.to_string())),
                            }
                        }
                    };
                    let reply = match command {
                        Ok(Some(command)) => {
                            let reply = command.apply(&mut tx);
                            let took = start.elapsed();
                            self.metrics.applied((command.name(), command.op()), took - before);
                            before = took;
                            reply
                        }
                        Ok(None) => Ok(Box::new(()) as Box<dyn Any + Send>),
                        Err(error) => Err(error),
                    };
                    let delays = session::take_lock_delays(&mut tx);
                    if proposed_here {
                        self.lock_delays.note(delays);
                    }
                    Ok(reply)
                })
                .collect()
        })
    }

    /// Reads a command back from the log; `None` for one that may be skipped.
    fn decode(&self, index: Index, bytes: &[u8]) -> Result<Option<Box<dyn AnyCommand>>, FsmError> {
        let Some((&tag, payload)) = bytes.split_first() else { return Ok(None) };
        let known = self.by_tag[usize::from(tag & !SKIPPABLE_BIT)];
        let Some(definition) = known else {
            if tag & SKIPPABLE_BIT != 0 {
                tracing::debug!(target: "agent.server.fsm", tag, index = index.0, "Skipping a command that may be skipped");
                return Ok(None);
            }
            return Err(FsmError::Unknown { index, tag, kind: RecordType(tag) });
        };
        (definition.decode)(payload).map(Some).map_err(|error| FsmError::Undecodable {
            index,
            name: definition.name,
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use domains::kv::{KVS, KvCommand};
    use types::kv::KvEntry;

    use super::*;

    fn fsm() -> Fsm {
        Fsm::new(Store::new(&domains::tables()))
    }

    fn put(key: &str) -> KvCommand {
        KvCommand {
            entry: KvEntry { key: key.into(), ..KvEntry::default() },
            ..KvCommand::default()
        }
    }

    #[test]
    fn a_command_gives_the_same_state_typed_and_encoded() {
        let (typed, encoded) = (fsm(), fsm());
        let bytes = AnyCommand::encode(&put("a"));
        let one = std::iter::once((Index(7), FsmCommand::Typed(Box::new(put("a")))));
        typed.apply(one).expect("it is known");
        let one = std::iter::once((Index(7), FsmCommand::Encoded(&bytes)));
        encoded.apply(one).expect("it is known");
        let row =
            |fsm: &Fsm| fsm.store().snapshot().get(&KVS, b"a").map(|row| KvEntry::clone(&row));
        assert_eq!(row(&typed), row(&encoded));
        assert_eq!(row(&typed).map(|row| row.modify_index), Some(Index(7)));
    }

    #[test]
    fn a_command_in_parts_is_applied_where_its_last_part_stands() {
        let fsm = fsm();
        let bytes = AnyCommand::encode(&put("a"));
        let (first, second) = bytes.split_at(20);
        let extensions = |sequence| chunking::Part { op: 5, sequence, count: 2 }.encode();
        let (one, two) = (extensions(0), extensions(1));
        let apply = |index, term, extensions: &[u8], data: &[u8]| {
            let part = FsmCommand::Part { term, extensions, data };
            let mut replies = fsm.apply(std::iter::once((Index(index), part))).expect("known");
            replies.remove(0).map(|_| ())
        };
        let row = || fsm.store().snapshot().get(&KVS, b"a").map(|row| row.modify_index);
        assert_eq!(apply(7, 2, &one, first), Ok(()));
        // Another leader's entry drops what the one before did not complete.
        assert_eq!(apply(8, 3, &two, second), Ok(()));
        assert_eq!(row(), None);
        assert_eq!(apply(9, 3, &one, first), Ok(()));
        assert_eq!(row(), Some(Index(9)));
        let refused = apply(10, 3, b"\xff", first);
        assert!(refused.is_err_and(|error| error.to_string().contains("unmarshaling chunk info")));
    }

    #[test]
    fn an_unknown_command_stops_the_server_unless_it_may_be_skipped() {
        let apply = |bytes: &[u8]| {
            fsm().apply(std::iter::once((Index(3), FsmCommand::Encoded(bytes)))).map(|r| r.len())
        };
        assert_eq!(
            apply(&[0x3f, 0xc0]),
            Err(FsmError::Unknown { index: Index(3), tag: 0x3f, kind: RecordType(0x3f) })
        );
        assert_eq!(apply(&[0xbf, 0xc0]), Ok(1));
        assert!(matches!(
            apply(&[0x02, 0xc1]),
            Err(FsmError::Undecodable { name: "KVS.Apply", .. })
        ));
    }
}
