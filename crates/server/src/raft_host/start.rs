//! Starting: what the disk holds becomes a state machine, a core and a thread.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use raft::{
    BootstrapError, Configuration, Configurations, Core, HardState, Server, SnapshotMeta, Start,
    Suffrage,
};
use wal::{Disk, Log, SnapshotStore, StableStore};

use super::applier::Applier;
use super::driver::Driver;
use super::error::{Fatal, StartError};
use super::inbox::Inbox;
use super::shared::{Lease, Shared};
use super::storage::{HostCore, StoredLog, Writes};
use super::transport::{Inlet, Transport};
use super::{Handle, HostOptions, RaftHost};

const LOG: &str = "raft/log";
const STABLE: &str = "raft";
const SNAPSHOTS: &str = "raft/snapshots";

impl RaftHost {
    /// Opens what is on `disk`, restores the newest sound snapshot into `applier`, and
    /// starts the thread. A `peers.json` that an operator wrote is put in force before. Reads the disk on the caller's thread. Committed entries behind
    /// the snapshot are applied once they are known to be committed: on a sole voter at
    /// once, see [`RaftHost::until_leader`].
    ///
    /// # Errors
    /// When the disk cannot be used or is damaged; nothing was started.
    pub fn start(
        options: HostOptions,
        disk: Arc<dyn Disk>,
        mut applier: impl Applier,
        transport: impl FnOnce(Inlet) -> Box<dyn Transport>,
    ) -> Result<RaftHost, StartError> {
        let now = Instant::now();
        let (mut log, recovery) = Log::open(disk.clone(), LOG, options.log)?;
        if let Some(cut) = recovery.cut {
            tracing::warn!(target: "agent.server.raft", file = %cut.file, index = cut.index.0, bytes = cut.bytes, "cut entries off the end of the log that a crash left unfinished");
        }
        let stable = StableStore::open(&disk, STABLE)?;
        let snapshots = SnapshotStore::open(disk.clone(), SNAPSHOTS)?;
        super::recovery::recover(&disk, &mut log, &snapshots, &mut applier)?;
        let snapshot = restore_newest(&snapshots, &log, &mut applier)?;
        let core = make_core(&options, log, stable.hard_state().clone(), snapshot, now)?;

        let shared = Arc::new(Shared::new(now, options.id.clone()));
        let inbox = Arc::new(Inbox::default());
        let writes = Writes::new(stable, options.sync_delay);
        let parts = (shared.clone(), inbox.clone());
        let inlet = Inlet::new(inbox.clone(), shared.clone(), snapshots.clone());
        let transport = transport(inlet.clone());
        let applier = Box::new(applier);
        let driver = Driver::new(core, writes, snapshots, applier, transport, parts, options);
        let end = End { shared: shared.clone(), inbox: inbox.clone() };
        let thread = std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(move || run(driver, end))
            .map_err(StartError::Thread)?;
        let thread = Mutex::new(Some(thread));
        let verified = telemetry::names::RAFT_VERIFY_LEADER.handle([]);
        Ok(RaftHost { handle: Arc::new(Handle { shared, inbox, inlet, verified, thread }) })
    }
}

pub(super) fn restore_newest(
    snapshots: &SnapshotStore,
    log: &Log,
    applier: &mut impl Applier,
) -> Result<Option<SnapshotMeta>, StartError> {
    let newest = snapshots.open_newest()?;
    for rejected in &newest.rejected {
        tracing::error!(target: "agent.server.raft", error = %rejected, "passed over a snapshot");
    }
    let Some((meta, mut state)) = newest.snapshot else {
        // Without any snapshot the log must tell everything.
        return match newest.rejected.into_iter().next() {
            Some(rejected) if log.first_index().0 > 1 => {
                Err(StartError::NoSnapshot(rejected.to_string()))
            }
            _ => Ok(None),
        };
    };
    let start = Instant::now();
    applier
        .restore(&mut state)
        .map_err(|error| StartError::Restore { id: meta.id.clone(), reason: error.to_string() })?;
    telemetry::names::RAFT_FSM_LAST_RESTORE_DURATION
        .set([], start.elapsed().as_secs_f64() * 1000.0);
    Ok(Some(meta))
}

fn make_core(
    options: &HostOptions,
    log: Log,
    mut hard_state: HardState,
    snapshot: Option<SnapshotMeta>,
    now: Instant,
) -> Result<HostCore, StartError> {
    let reader = StoredLog(log);
    let configurations = Configurations::recover(snapshot.as_ref(), &reader)?;
    let is_empty = reader.0.last_index().0 == 0 && snapshot.is_none();
    if is_empty && hard_state.term.0 == 1 && hard_state.vote.is_none() {
        // A crash came between the two writes of a bootstrap: begin again.
        hard_state = HardState::default();
    }
    let start = Start {
        id: options.id.clone(),
        options: options.raft.clone(),
        seed: options.seed,
        hard_state,
        snapshot,
        configurations,
    };
    let mut core = Core::new(start, reader, now)?;
    if options.bootstrap {
        let server = Server {
            id: options.id.clone(),
            address: options.address.clone(),
            suffrage: Suffrage::Voter,
        };
        match core.bootstrap(Configuration { servers: vec![server] }, now) {
            Ok(()) | Err(BootstrapError::NotNew) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(core)
}

/// The thread.
fn run(mut driver: Driver, end: End) {
    let outcome = driver.run();
    // Told before those who wait are let go of, so that they learn why.
    end.tell(outcome);
}

/// Tells of the thread's end, also when it panics.
struct End {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
}

impl End {
    fn tell(&self, outcome: Result<(), Fatal>) {
        self.shared.set_lease(Lease::None);
        self.shared.set_leadership(false);
        self.shared.leader.send_replace(None);
        self.shared.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(outcome);
            }
            first
        });
        self.shared.room.close();
        self.inbox.close();
        // Those who are in the queue wait in vain.
        self.inbox.take(&mut Vec::new(), None);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.tell(Err(Fatal::new("the raft thread panicked")));
    }
}
