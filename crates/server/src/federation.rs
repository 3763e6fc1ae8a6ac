//! What this datacenter tells others of its mesh gateways: the leader compares it with the
//! catalog, and writes it when they differ (`reference/raft-and-snapshots.md` section 13).

use std::time::Duration;

use contract::{CallError, ReadOptions};
use domains::federation_state::{
    FEDERATION_STATES, FederationStateCommand, FederationStateOp, OwnMeshGateways,
};
use types::catalog::CheckServiceNode;
use types::federation_state::FederationState;
use types::{Datacenter, Index, SecretId};

use crate::Server;

/// How long to wait before the next try after one that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the state of this datacenter as the catalog says, as long as it is polled.
pub(crate) async fn run(server: &Server) {
    let mut seen = Index::ZERO;
    loop {
        match reconcile(server, seen).await {
            Ok(index) => seen = index,
            Err(error) => {
                tracing::error!(target: "agent.server", error = %error, "error performing anti-entropy sync of federation state");
                tokio::time::sleep(RETRY_INTERVAL).await;
                seen = Index::ZERO;
            }
        }
    }
}

/// Waits for something newer than `seen` and writes what differs.
async fn reconcile(server: &Server, seen: Index) -> Result<Index, CallError> {
    let datacenter = server.shared.options.datacenter.clone();
    let options =
        ReadOptions { datacenter: datacenter.clone(), min_index: seen, ..ReadOptions::default() };
    let (gateways, facts) = server.read_typed(OwnMeshGateways, &options).await?;
    if needs_write(server, &datacenter, &gateways) {
        let state = FederationState {
            datacenter: datacenter.clone(),
            mesh_gateways: gateways.as_ref().clone(),
            ..FederationState::default()
        };
        let op = FederationStateOp::Upsert;
        let command = FederationStateCommand { datacenter, op, state: Some(state) };
        server.write_typed(command, &SecretId::default()).await?;
    }
    Ok(facts.index)
}

fn needs_write(server: &Server, datacenter: &Datacenter, found: &[CheckServiceNode]) -> bool {
    let state = server.store().snapshot();
    let present = state.peek(&FEDERATION_STATES, datacenter.as_str().as_bytes());
    present.is_none_or(|present| present.mesh_gateways != found)
}
