//! What tests of several modules start from.

use std::sync::Arc;
use std::time::Duration;

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
    let options = ServerOptions {
        datacenter: "dc1".into(),
        default_query_time: Duration::from_secs(300),
        max_query_time: Duration::from_secs(600),
        hold_timeout: Duration::from_secs(7),
        makes_authority: true,
        coordinate_update_period: Duration::from_secs(5),
        session_ttl_min: types::GoDuration::from_secs(10),
        autopilot: Default::default(),
    };
    Server::new(options, store, host, lock_delays)
}
