//! Sans-I/O consensus core with the semantics of hashicorp/raft, so that servers of ours and
//! real Consul servers form one quorum. The facts are in `reference/raft-and-snapshots.md`.
//!
//! # The idea, by section of Ongaro's thesis ("Consensus: Bridging Theory and Practice")
//!
//! *3.3 Roles and terms.* Time is cut into terms with at most one leader each. A server is a
//! follower, a candidate or the leader; whoever hears of a newer term adopts it and follows.
//! Term and vote are durable before anyone is told of them.
//!
//! *3.4 Elections.* A follower that hears from no leader for a random time asks the others for
//! their votes; a majority makes it leader. A voter gives one vote a term, and only to a server
//! whose log is at least as up to date as its own (*3.6.1*).
//!
//! *3.5 Replication.* The leader appends to its log and sends each follower what follows the
//! entry they agree on. A follower removes what conflicts. A leader never removes anything.
//!
//! *3.6.2 Commitment.* An entry *of the leader's own term* that a majority of voters has on disk
//! is committed, and with it all before it. A new leader therefore begins with a no-op.
//!
//! *3.10 Transfer.* The leader stops accepting, brings the target up to date, and tells it to
//! campaign at once.
//!
//! *4 Members* change one at a time. *5 Snapshots* replace the beginning of the log; a follower
//! that needs what is gone gets the snapshot. *6.4 Reads* are answered under the lease, or after
//! a round of heartbeats. *9.6 Pre-vote* asks first whether an election can be won, so that a
//! server that comes back does not disturb. *10.2.1*: the leader writes to disk while it sends.
//!
//! # Where hashicorp/raft, and so Consul, differs
//!
//! * A candidate must be in the voter's configuration, and be a voter there.
//! * Leader stickiness (4.2.3): who knows a leader votes for no one else, unless the candidate
//!   was told to campaign by the leader. The leader is forgotten when the election timer runs out.
//! * Timers are random in `[x, 2x)`; a timer that runs out soon after a contact is set again.
//! * The leader steps down when a quorum was not in contact within the lease.
//! * A follower that refuses entries says where its log ends (`LastLog`) and whether to try again
//!   at once (`NoRetryBackoff`); other failures wait 10 ms, doubling after the second.
//! * At most 64 entries to a message, two messages under way. Heartbeats are messages of their
//!   own, not behind entries, and carry no commit index; an idle leader sends that within 50 ms.
//! * A configuration takes effect when appended; truncation brings back the one before. The next
//!   change waits until the last is committed. Nonvoters receive the log and do not vote. A
//!   leader that removes itself leads until that is committed.
//! * An operator's restore leaves a gap in the log, so that all followers take the snapshot.
//! * When a majority is lost for good, an operator makes those that are left the configuration
//!   ([`Core::recover`]); hashicorp/raft does that with servers that are stopped.
//!
//! Ours alone, and invisible to others: the lease counts from when the answered request was *sent*,
//! a restarted server gives no vote for the length of a lease, and the lease is void once a
//! transfer was tried; the order to campaign is obeyed only of the present leader; a follower that
//! is back is tried at once; a sole voter campaigns at once and without pre-vote; when the
//! leader's process is known to have ended, voters wait only until its lease for reads, which is
//! half of the one above, must be over ([`Core::handle_peer_down`]); a heartbeat's
//! answer does not wait for entries to be durable; the commit index is sent only to those who do
//! not know it; entries are applied only once they are durable here too; a wrong peer that would
//! have a committed entry removed, or that claims a led term, is refused.
//!
//! # Driving it
//!
//! A shell owns sockets, disk and clock. It feeds inputs ([`Core::handle_message`],
//! [`Core::handle_timeout`], [`Core::propose`], ...), then drains [`Core::poll_action`]. Writes
//! to disk are numbered and done in order; many may share one sync before
//! [`Core::handle_persisted`], and inputs may go on meanwhile. Messages that must not leave
//! before a write is durable are held by the core.
//!
//! ```
//! use std::time::Instant;
//! use raft::*;
//!
//! let id = ServerId("a".into());
//! let start = Start {
//!     id: id.clone(),
//!     options: Options::dev(),
//!     seed: 7,
//!     hard_state: HardState::default(),
//!     snapshot: None,
//!     configurations: Configurations::default(),
//! };
//! let now = Instant::now();
//! let mut core = Core::new(start, MemoryLog::default(), now).unwrap();
//! let me = Server { id, address: "127.0.0.1:8300".into(), suffrage: Suffrage::Voter };
//! core.bootstrap(Configuration { servers: vec![me] }, now).unwrap();
//! let mut applied = Vec::new();
//! loop {
//!     // One turn: drain the actions, sync once, tell the core; then wait for an input.
//!     let mut last_write = None;
//!     while let Some(action) = core.poll_action() {
//!         match action {
//!             Action::SaveHardState { write, state: _ } => last_write = Some(write),
//!             Action::AppendEntries { write, entries } => {
//!                 core.reader_mut().append(entries);
//!                 last_write = Some(write);
//!             }
//!             Action::BecameLeader { .. } => {
//!                 core.propose(vec![Proposal::command("x")], now).unwrap();
//!             }
//!             Action::Apply { entries } => applied.extend(entries),
//!             _ => {} // Send, snapshots, ...
//!         }
//!     }
//!     match last_write {
//!         Some(write) => core.handle_persisted(write, now), // after the sync
//!         None if applied.len() == 3 => break,              // configuration, no-op, x
//!         None => core.handle_timeout(now),                 // at core.poll_timeout()
//!     }
//! }
//! assert!(core.is_leader() && core.lease_valid(now));
//! ```

pub mod action;
mod core;
pub mod entry;
pub mod error;
pub mod log;
pub mod membership;
pub mod message;
pub mod options;
mod role;
pub mod wire;

pub use action::{Action, LossReason, ReadId, WriteNumber};
pub use core::{Core, FollowerStatus, Proposal, Start, Status};
pub use entry::{
    Configuration, Entry, EntryKind, HardState, LogPosition, Server, ServerId, SnapshotMeta,
    Suffrage, Term,
};
pub use error::{
    BootstrapError, ChangeError, ConfigurationError, LogError, ProposeError, RecoverError,
};
pub use log::{LogReader, MemoryLog};
pub use membership::{Change, Configurations};
pub use message::{
    AppendEntries, AppendEntriesResponse, Body, Destination, InstallSnapshot,
    InstallSnapshotResponse, Message, RequestId, RequestPreVote, RequestVote, VoteResponse,
};
pub use options::Options;
pub use role::RoleName;
