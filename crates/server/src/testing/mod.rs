//! What tests of several modules start from.

pub(crate) mod cluster;

use std::sync::Arc;

use store::Store;

use crate::fsm::Fsm;
use crate::raft_host::{HostOptions, MemDisk, NoPeers, RaftHost};
use crate::{Server, ServerOptions};

/// A server that is alone, in memory, and leads. Nobody does a leader's duties.
pub(crate) async fn leader() -> Server {
    leader_on(&MemDisk::new()).await
}

/// As [`leader`], over what is on a disk.
pub(crate) async fn leader_on(disk: &MemDisk) -> Server {
    let store = Store::new(&domains::tables());
    let applier = Fsm::new(store.clone());
    let lock_delays = applier.lock_delays();
    let options = HostOptions::in_memory(raft::ServerId("a".into()), "a:8300".into(), 7);
    let host = RaftHost::start(options, Arc::new(disk.clone()), applier, |_| Box::new(NoPeers));
    let host = host.expect("the disk is sound");
    assert!(host.until_leader().await);
    Server::new(ServerOptions::default(), store, host, lock_delays)
}
