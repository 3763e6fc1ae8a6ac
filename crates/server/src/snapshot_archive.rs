//! An operator saves the state as an archive, and restores one
//! (`reference/raft-and-snapshots.md` sections 9 and 11).

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use acl::{Permission, Resource};
use contract::{CallError, Consistency, ReadFacts};
use rpc::{BoxedStream, Protocol};
use snapshot::archive::{self, ArchiveError};
use snapshot::{Meta, Record, Splitter};
use tokio::time::timeout;
use types::{Datacenter, Index, SecretId};

use crate::forward::{Attempts, Failure, Place, is_elsewhere, place};
use crate::operator::READ;
use crate::raft_host::{Capture, ProposeError};
use crate::{Server, write};
use replica::state_file::{Contents, RestoreError};

/// How long a restore waits for the state to be in use, as in Consul.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(60);

/// The state of one moment, to be written as an archive.
pub struct SavedSnapshot {
    /// What is told beside it; the index is the archive's.
    pub facts: ReadFacts,
    capture: Capture,
}

impl SavedSnapshot {
    /// Writes the archive; takes the time of two passes over the state, and blocks.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: impl Write) -> io::Result<Meta> {
        let now = write::now_unix_nanos() / 1_000_000_000;
        let state = &self.capture.state;
        archive::write(out, Meta::from(&self.capture.meta), now, &|out| state(out))
    }
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the archive was of.
    pub meta: Meta,
    /// What was in its state.
    pub contents: Contents,
    /// The Raft index of the state from now on.
    pub index: Index,
}

/// An archive: read once to look through it, and once to take it.
pub trait Archive: Read + Seek + Send + 'static {}

impl<T: Read + Seek + Send + 'static> Archive for T {}

impl Server {
    /// The connection over which a snapshot is saved or restored, with nothing said on it
    /// yet; `None` if it is this server that does it.
    ///
    /// # Errors
    /// There is no way to the datacenter, or no leader.
    pub async fn snapshot_elsewhere(
        &self,
        datacenter: &Datacenter,
        consistency: Consistency,
    ) -> Result<Option<BoxedStream>, CallError> {
        if is_elsewhere(self, datacenter) {
            let opened = self.peers().open_in(datacenter, Protocol::Snapshot).await;
            return Ok(Some(opened.map_err(Failure::There)?));
        }
        let mut attempts = Attempts::new(READ);
        loop {
            let failure = match place(self, consistency == Consistency::Stale) {
                Ok(Place::Here) => return Ok(None),
                Ok(Place::At(leader)) => {
                    match self.peers().open(&leader, Protocol::Snapshot).await {
                        Ok(stream) => return Ok(Some(stream)),
                        Err(error) => Failure::There(error),
                    }
                }
                Err(error) => Failure::Here(error),
            };
            attempts.pause(self, failure).await?;
        }
    }

    /// Whether a restore would be taken on: asked before an archive is sent, which may be
    /// long.
    ///
    /// # Errors
    /// Permission denied.
    pub fn may_restore(&self, datacenter: &Datacenter, token: &SecretId) -> Result<(), CallError> {
        // Another server says for itself what may be done there.
        if is_elsewhere(self, datacenter) { Ok(()) } else { self.may_snapshot(token) }
    }

    fn may_snapshot(&self, token: &SecretId) -> Result<(), CallError> {
        Ok(self.authorizer(token).require(Permission::write(Resource::Acl, ""))?)
    }

    /// The state as it is now: the leader's, or this server's for a stale read.
    ///
    /// # Errors
    /// Without permission, without a leader, or when there is no state yet.
    pub async fn save_snapshot(
        &self,
        datacenter: &Datacenter,
        token: &SecretId,
        consistency: Consistency,
    ) -> Result<SavedSnapshot, CallError> {
        check_datacenter(self, datacenter)?;
        self.may_snapshot(token)?;
        self.save_own_snapshot(consistency).await
    }

    /// As [`Server::save_snapshot`], for what this server does by itself.
    ///
    /// # Errors
    /// Without a leader, or when there is no state yet.
    pub async fn save_own_snapshot(
        &self,
        consistency: Consistency,
    ) -> Result<SavedSnapshot, CallError> {
        if consistency != Consistency::Stale {
            // Never an older state than one that somebody was told of.
            self.be_fresh_enough(Consistency::Consistent).await?;
        }
        let capture = self.raft().capture().await.map_err(|error| {
            let error = match error {
                ProposeError::Snapshot(text) => text,
                other => other.to_string(),
            };
            CallError::failed(format!("Raft error when taking snapshot: {error}"))
        })?;
        let raft = self.raft();
        let facts = ReadFacts {
            index: capture.meta.last.index,
            known_leader: raft.leader().is_some(),
            last_contact: raft.last_contact(),
            removed: false,
        };
        Ok(SavedSnapshot { facts, capture })
    }

    /// Puts the state of an archive in place of the present one, on all servers. The
    /// archive is looked through to its end before anything changes. Returns when the
    /// state is in use.
    ///
    /// # Errors
    /// Without permission, without a leader, or when the archive is not sound: with what
    /// is wrong with it. Nothing has changed then.
    pub async fn restore_snapshot(
        &self,
        mut archive: impl Archive,
        datacenter: &Datacenter,
        token: &SecretId,
    ) -> Result<Restored, CallError> {
        check_datacenter(self, datacenter)?;
        self.may_snapshot(token)?;
        self.be_fresh_enough(Consistency::Default).await?;
        let looked = tokio::task::spawn_blocking(move || {
            let found = look_through(&mut archive);
            (archive, found)
        });
        let (archive, found) = looked.await.map_err(|_| CallError::failed("interrupted"))?;
        let (meta, contents) = found.map_err(CallError::failed)?;
        if contents.acls.are_in_force() && !self.shared.options.keeps_acls {
            return Err(CallError::failed(RestoreError::Acls(contents.acls).to_string()));
        }
        let state = move |out: &mut dyn Write| copy_state(archive, out);
        // Once begun it runs to its end, whether or not somebody waits for it: the duties
        // must not begin anew with the state that it replaces.
        let server = self.clone();
        let restoring = tokio::spawn(async move {
            let _paused = server.shared.duties.pause().await;
            server.raft().restore(Index(meta.index), Box::new(state)).await
        });
        let restored = restoring.await.map_err(|_| CallError::failed("interrupted"))?;
        let restored = restored.map_err(|error| {
            let error = match error {
                ProposeError::Snapshot(text) => text,
                other => other.to_string(),
            };
            CallError::failed(format!("Raft error when restoring snapshot: {error}"))
        })?;
        let index = restored.last.index;
        tracing::info!(target: "agent.server", archived = meta.index, index = index.0, "Restored the state of a snapshot");
        match timeout(RESTORE_TIMEOUT, self.raft().barrier()).await {
            Ok(Ok(_)) => Ok(Restored { meta, contents, index }),
            // The state is there; whether it stays is up to who leads now.
            Ok(Err(error)) => Err(error.to_call_error()),
            Err(_) => Err(CallError::failed("timed out waiting to re-run leader actions")),
        }
    }
}

/// What is done elsewhere goes there by [`Server::snapshot_elsewhere`].
fn check_datacenter(server: &Server, datacenter: &Datacenter) -> Result<(), CallError> {
    if is_elsewhere(server, datacenter) {
        return Err(CallError::no_path_to_datacenter());
    }
    Ok(())
}

/// Reads an archive to its end, as a restore would before it changes anything.
///
/// # Errors
/// What is wrong with it.
pub fn check_archive(archive: &mut impl Read) -> Result<(), String> {
    look_through(archive).map(|_| ())
}

/// Reads an archive to its end. What is wrong with the archive goes before what is wrong
/// with a record, which it may explain.
fn look_through(archive: &mut impl Read) -> Result<(Meta, Contents), String> {
    let mut contents = Contents::default();
    let mut splitter = Splitter::new(|record: Record<'_>| -> Result<(), RestoreError> {
        contents.judge(record).map(|_| ())
    });
    let read = archive::read(archive, &mut splitter);
    match read {
        Err(ArchiveError::State(error)) => {
            Err(splitter.finish().err().map_or(error.to_string(), |error| error.to_string()))
        }
        Err(error) => Err(error.to_string()),
        Ok(meta) => {
            splitter.finish().map_err(|error| error.to_string())?;
            Ok((meta, contents))
        }
    }
}

fn copy_state(mut archive: impl Read + Seek, out: &mut dyn Write) -> io::Result<()> {
    archive.seek(SeekFrom::Start(0))?;
    archive::read(archive, out).map_err(|error| match error {
        ArchiveError::State(error) | ArchiveError::Input(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use domains::kv::{KVS, KvCommand, TOMBSTONES};
    use domains::session::SESSIONS;
    use snapshot::RecordType;
    use store::{State, Store};
    use types::kv::KvEntry;

    use super::*;
    use replica::state_file;

    use crate::fsm::Fsm;
    use crate::raft_host::Applier;
    use crate::testing;

    const REAL: &[u8] = include_bytes!("../../snapshot/testdata/consul-1.8.7-full.snap");

    fn state_of(archive: &[u8]) -> Vec<u8> {
        let mut state = Vec::new();
        archive::read(archive, &mut state).expect("it is sound");
        state
    }

    fn archive_of(state: &[u8]) -> Vec<u8> {
        let mut archive = Vec::new();
        let mut meta = Meta::default();
        meta.version = 1;
        archive::write(&mut archive, meta, 0, &|out| out.write_all(state)).expect("there is room");
        archive
    }

    fn saved(state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        state_file::save(state, &mut bytes).expect("memory takes all");
        bytes
    }

    #[test]
    fn what_real_consul_saved_is_there_or_carried_and_saved_again() {
        let (meta, looked) = look_through(&mut &REAL[..]).expect("it is sound");
        assert_eq!((meta.index, meta.term, looked.index), (37, 2, Index(37)));
        let store = Store::new(&domains::tables());
        let contents = state_file::restore(&mut state_of(REAL).as_slice(), &store);
        assert_eq!(contents.expect("it is sound"), looked);
        let state = store.snapshot();
        let bin = state.get(&KVS, b"bin").expect("it is there");
        assert_eq!((bin.flags, bin.value.len(), bin.modify_index), (42, 256, Index(17)));
        let lock = state.get(&KVS, b"lock").expect("it is there");
        assert_eq!((state.len(&SESSIONS), state.len(&TOMBSTONES)), (1, 1));
        assert!(state.get(&SESSIONS, lock.session.as_str().as_bytes()).is_some());
        // Whatever has no domain yet is kept byte by byte, and found again in what is saved.
        let bytes = saved(&state);
        let again = look_through(&mut archive_of(&bytes).as_slice()).expect("it is sound").1;
        assert_eq!(again.carried, looked.carried);
        let expected = [(23, 1), (17, 3), (19, 2), (22, 7), (30, 1), (12, 1)];
        for (kind, count) in expected {
            let kind = RecordType(kind);
            let has_domain = domains::ALL.iter().any(|d| d.records.iter().any(|r| r.tag == kind.0));
            assert!(has_domain || looked.carried.get(&kind) == Some(&count), "{kind}");
        }
        state_file::restore(&mut bytes.as_slice(), &store).expect("we can read what we save");
        assert_eq!(saved(&store.snapshot()), bytes);
    }

    #[tokio::test]
    async fn a_restore_comes_behind_all_that_a_duty_of_the_leader_writes() {
        let server = testing::leader().await;
        let token = SecretId::default();
        let put = |key: &str| {
            let entry = KvEntry { key: key.into(), ..KvEntry::default() };
            server.write_typed(KvCommand { entry, ..KvCommand::default() }, &token)
        };
        let has = |key: &str| server.store().snapshot().get(&KVS, key.as_bytes()).is_some();
        put("archived").await.expect("it leads");
        let mut archive = Vec::new();
        let saved = server.save_own_snapshot(Consistency::Default).await.expect("it leads");
        saved.write(&mut archive).expect("memory takes all");

        let on_duty = server.shared.duties.begin().await;
        let restoring = tokio::spawn({
            let (server, archive) = (server.clone(), io::Cursor::new(archive));
            async move {
                server.restore_snapshot(archive, &Datacenter::default(), &SecretId::default()).await
            }
        });
        server.shared.duties.until_paused().await;
        // What the duty has under way is written yet, and is then replaced with the rest.
        put("by a duty").await.expect("it leads");
        assert!(has("by a duty"));
        drop(on_duty);
        restoring.await.expect("no panic").expect("it leads");
        assert!(has("archived") && !has("by a duty"));
        server.shared.duties.begin().await;
    }

    #[tokio::test]
    async fn a_state_with_acls_in_force_is_refused_and_nothing_changes() {
        let server = testing::leader().await;
        let (token, index) = (SecretId::default(), server.raft().applied_index());
        let archive = io::Cursor::new(REAL);
        let refused = server.restore_snapshot(archive, &Datacenter::default(), &token).await;
        let error = refused.expect_err("it has tokens").to_string();
        let expected = "the snapshot is of a cluster with ACLs in force (a bootstrapped ACL system, 2 tokens, 1 policy)";
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(server.raft().applied_index(), index);
        // A state that a leader sends, or that was there at the start, comes another way.
        let store = Store::new(&domains::tables());
        let mut fsm = Fsm::new(store.clone());
        let refused = Applier::restore(&mut fsm, &mut state_of(REAL).as_slice());
        assert!(refused.expect_err("it has tokens").to_string().starts_with(expected));
        assert_eq!(store.snapshot().index(), Index::ZERO);
        let restored = fsm.keeping_acls().restore(&mut state_of(REAL).as_slice());
        restored.expect("an operator ruled them out");
        assert_eq!(store.snapshot().index(), Index(37));
    }

    #[test]
    fn records_that_cannot_be_restored_are_found_before_anything_changes() {
        let state = state_of(REAL);
        for (what, state, expected) in [
            ("cut", state[..state.len() - 1].to_vec(), "ends in the middle of record number"),
            ("Enterprise", [&state[..], b"\x40\xc0"].concat(), "msg type <64> is a Consul Enter"),
            ("old ACLs", [&state[..], b"\x04\x80"].concat(), "legacy ACL command has been removed"),
            ("unknown", [&state[..], b"\x3e\xc0"].concat(), "Unrecognized msg type 62"),
            ("nothing", Vec::new(), "ends in the middle of record number 0"),
        ] {
            let error = look_through(&mut archive_of(&state).as_slice()).expect_err(what);
            assert!(error.contains(expected), "{what}: {error}");
        }
    }
}
