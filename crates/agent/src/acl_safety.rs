//! ACLs are not built yet: where a cluster has them this agent would leave open what they
//! guard, so it must not be part of one unnoticed.
//!
//! Three things keep it out, and nothing is lost by any of them: a configuration with
//! `acl.enabled` does not start ([`refuse_configured`]), the LAN pool does not take in a
//! server that enforces ACLs ([`gossip::consul::MergeRules::check_new`]), and a server does
//! not take on a log or a snapshot of a cluster whose ACLs are in force
//! ([`server::fsm::FsmError::Acls`]). Where a server that is in the pool already turns them
//! on, which is for its cluster to decide, [`watch`] says so.

use std::collections::BTreeSet;

use config::RuntimeConfig;
use gossip::consul::enforces_acls;
use tokio::sync::watch;
use types::member::Member;

/// What nobody gets who asks for ACLs.
///
/// # Errors
/// ACLs are asked for.
pub(crate) fn refuse_configured(config: &RuntimeConfig) -> Result<(), String> {
    if !config.acl.enabled {
        return Ok(());
    }
    Err("acl.enabled is true, but this version does not have ACLs, and would leave open what \
         they are to guard. Nothing was changed. Use a Consul agent for a cluster with ACLs, or \
         set acl.enabled to false"
        .to_owned())
}

/// Says of each server of the pool that it enforces ACLs, once, until `stop`.
pub(crate) async fn watch(
    mut members: watch::Receiver<Vec<Member>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told = BTreeSet::new();
    loop {
        let enforcing: BTreeSet<String> = members
            .borrow_and_update()
            .iter()
            .filter(|member| enforces_acls(member))
            .map(|member| member.name.clone())
            .collect();
        for server in enforcing.difference(&told) {
            tracing::error!(target: "agent", server, "A server enforces ACLs, which this version does not have: this agent leaves open what they guard. Use a Consul agent in its place, or set acl.enabled to false on that server");
        }
        told = enforcing;
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
