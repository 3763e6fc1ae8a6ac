//! The state machine behind the log.

use std::any::Any;
use std::io::Read;

use contract::{AnyCommand, CallError, CommandDef, SKIPPABLE_BIT};
use domains::carried::acl::{self, AclRecords};
use domains::session::{self, LockDelay};
use domains::{carried, chunking};
use snapshot::RecordType;
use store::{Store, Tx};
use types::Index;

use crate::state_file::{self, Contents, RestoreError};

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

impl<'c> FsmCommand<'c> {
    /// What the log holds, `extensions` beside the command's bytes.
    pub fn of_entry(term: u64, extensions: &'c [u8], data: &'c [u8]) -> Self {
        match chunking::is_part(extensions) {
            true => FsmCommand::Part { term, extensions, data },
            false => FsmCommand::Encoded(data),
        }
    }
}

/// Hears what happens while commands are applied, for what is not part of the state. What it
/// does must not change the state.
pub trait Witness {
    /// A command with this name and this word for what it does was applied.
    fn applied(&mut self, name: &'static str, op: &'static str) {
        let _ = (name, op);
    }

    /// A record of a kind that no domain understands was kept.
    fn carried(&mut self, kind: RecordType) {
        let _ = kind;
    }

    /// A command with an unknown tag was passed over, as it may be.
    fn skipped(&mut self, index: Index, tag: u8) {
        let _ = (index, tag);
    }

    /// A command ended sessions, whose keys cannot be locked for a while from now on.
    fn lock_delays(&mut self, delays: Vec<LockDelay>, proposed_here: bool) {
        let _ = (delays, proposed_here);
    }
}

/// Hears nothing.
impl Witness for () {}

/// What an operator is told who has ACLs.
pub(crate) const ACLS_NOT_BUILT: &str = "this version does not have ACLs, and would leave open \
    what they guard. Nothing is lost: all records are kept. Use a Consul server here, or, if \
    acl.enabled is false on all servers of the cluster, set it to false in this server's \
    configuration too, and they are kept without being obeyed";

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
    /// It is known what it is, and not all that it does.
    #[error(
        "the log entry at index {index}, a command of type {tag} ({kind}), cannot be applied by this \
         version: {reason}. Replace this server by a version that can, or by a Consul server; the \
         cluster goes on without it meanwhile"
    )]
    Beyond {
        /// Where it stands.
        index: Index,
        /// Its first byte.
        tag: u8,
        /// What Consul calls it.
        kind: RecordType,
        /// What is the matter with it.
        reason: String,
    },
    /// From here on access control is in force.
    #[error(
        "the log entry at index {index} ({kind}) puts ACLs in force in this cluster ({records}): \
         {hint}",
        hint = ACLS_NOT_BUILT
    )]
    Acls {
        /// Where it stands.
        index: Index,
        /// What Consul calls it.
        kind: RecordType,
        /// What there is.
        records: AclRecords,
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
    /// Whether access control that is in force is kept rather than refused.
    keeps_acls: bool,
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
        Self { store, by_tag, keeps_acls: false }
    }

    /// The same, which keeps access control that is in force in the log or in a snapshot
    /// without obeying it, as an operator has ordered it to.
    #[must_use]
    pub fn keeping_acls(self) -> Self {
        Self { keeps_acls: true, ..self }
    }

    /// Puts a snapshot's state in place of the present one.
    ///
    /// # Errors
    /// If it cannot be read or must not be served; nothing has changed then.
    pub fn restore(&self, input: &mut dyn Read) -> Result<Contents, RestoreError> {
        state_file::restore_if(input, &self.store, |contents| {
            match self.may_serve(&contents.acls) {
                true => Ok(()),
                false => Err(RestoreError::Acls(contents.acls)),
            }
        })
    }

    fn may_serve(&self, records: &AclRecords) -> bool {
        self.keeps_acls || !records.are_in_force()
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Applies commands in order, as one commit for all who read and wait.
    ///
    /// # Errors
    /// If one of them cannot be applied at all. The state is then no state of the log.
    pub fn apply<'c>(
        &self,
        commands: impl Iterator<Item = (Index, FsmCommand<'c>)>,
        witness: &mut dyn Witness,
    ) -> Result<Vec<FsmReply>, FsmError> {
        self.store.write(|batch| {
            commands
                .map(|(index, command)| {
                    let mut tx = batch.tx(index);
                    let proposed_here = matches!(command, FsmCommand::Typed(_));
                    let reply = match command {
                        FsmCommand::Typed(command) => run(command, &mut tx, witness),
                        FsmCommand::Encoded(bytes) => self.read_and_run(bytes, &mut tx, witness)?,
                        FsmCommand::Part { term, extensions, data } => {
                            match chunking::take(&mut tx, term, extensions, data) {
                                Ok(Some(whole)) => self.read_and_run(&whole, &mut tx, witness)?,
                                Ok(None) => nothing(),
                                Err(error) => Err(CallError::failed(error.to_string())),
                            }
                        }
                    };
                    let delays = session::take_lock_delays(&mut tx);
                    if !delays.is_empty() {
                        witness.lock_delays(delays, proposed_here);
                    }
                    Ok(reply)
                })
                .collect()
        })
    }

    /// Reads a command back from the log and applies it. One that may be skipped and is not
    /// known is.
    fn read_and_run(
        &self,
        bytes: &[u8],
        tx: &mut Tx<'_>,
        witness: &mut dyn Witness,
    ) -> Result<FsmReply, FsmError> {
        let Some((&tag, payload)) = bytes.split_first() else { return Ok(nothing()) };
        let (index, number) = (tx.index(), tag & !SKIPPABLE_BIT);
        let kind = RecordType(number);
        if let Some(known) = self.by_tag[usize::from(number)] {
            let command = (known.decode)(payload).map_err(|error| FsmError::Undecodable {
                index,
                name: known.name,
                reason: error.to_string(),
            })?;
            return Ok(run(command, tx, witness));
        }
        match carried::command::apply(tx, number, payload) {
            Some(Ok(reply)) => {
                if acl::TAGS.contains(&number) {
                    let records = AclRecords::of(tx);
                    if !self.may_serve(&records) {
                        return Err(FsmError::Acls { index, kind, records });
                    }
                }
                witness.carried(kind);
                Ok(reply.map(|()| Box::new(()) as Box<dyn Any + Send>))
            }
            Some(Err(error)) => {
                Err(FsmError::Beyond { index, tag, kind, reason: error.to_string() })
            }
            None if tag & SKIPPABLE_BIT != 0 => {
                witness.skipped(index, tag);
                Ok(nothing())
            }
            None => Err(FsmError::Unknown { index, tag, kind }),
        }
    }
}

fn run(command: Box<dyn AnyCommand>, tx: &mut Tx<'_>, witness: &mut dyn Witness) -> FsmReply {
    let reply = command.apply(tx);
    witness.applied(command.name(), command.op());
    reply
}

/// The reply of what changes nothing.
fn nothing() -> FsmReply {
    Ok(Box::new(()))
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
        typed.apply(one, &mut ()).expect("it is known");
        let one = std::iter::once((Index(7), FsmCommand::Encoded(&bytes)));
        encoded.apply(one, &mut ()).expect("it is known");
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
            let mut replies =
                fsm.apply(std::iter::once((Index(index), part)), &mut ()).expect("known");
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
    fn access_control_in_force_stops_the_server_unless_an_operator_ruled_it_out() {
        // Of what a leader with ACLs makes by itself, and a token that somebody made.
        let set = |id: &str| {
            [b"\x11\x81\xa6Tokens\x91\x81\xaaAccessorID\xd9\x24", id.as_bytes()].concat()
        };
        let (built_in, made) = (
            set("00000000-0000-0000-0000-000000000002"),
            set("6a1253d2-1785-24fd-91c2-f8e78c745511"),
        );
        let apply = |fsm: Fsm, index, bytes: &[u8]| {
            let command = std::iter::once((Index(index), FsmCommand::Encoded(bytes)));
            fsm.apply(command, &mut ()).map(drop)
        };
        assert_eq!(apply(fsm(), 3, &built_in), Ok(()));
        assert_eq!(apply(fsm().keeping_acls(), 3, &made), Ok(()));
        let error = apply(fsm(), 3, &made).expect_err("nobody would obey it").to_string();
        for part in ["index 3 (ACLToken", "in force in this cluster (1 token)", "acl.enabled"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_unknown_command_stops_the_server_unless_it_may_be_skipped() {
        let apply = |bytes: &[u8]| {
            fsm()
                .apply(std::iter::once((Index(3), FsmCommand::Encoded(bytes))), &mut ())
                .map(|r| r.len())
        };
        assert_eq!(
            apply(&[0x3f, 0xc0]),
            Err(FsmError::Unknown { index: Index(3), tag: 0x3f, kind: RecordType(0x3f) })
        );
        assert_eq!(apply(&[0xbf, 0xc0]), Ok(1));
        // A peering; and an intention that is changed in part.
        let error = apply(&[35, 0x0a]).expect_err("nobody knows it").to_string();
        assert!(error.contains("type 35 (Peering)") && error.contains("Replace this server"));
        let error = apply(b"\x0c\x81\xa8Mutation\x80").expect_err("it is too much").to_string();
        assert!(
            error.contains("type 12 (Intention)") && error.contains("a part of a config entry")
        );
        assert!(matches!(
            apply(&[0x02, 0xc1]),
            Err(FsmError::Undecodable { name: "KVS.Apply", .. })
        ));
    }
}
