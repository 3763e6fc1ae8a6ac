//! Changes of federation states.

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Applied, CallError, Command, LeaderView};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::federation_state::FederationState;
use types::{Datacenter, Index, Timestamp};

use super::table::FEDERATION_STATES;

/// Writes or removes the state of a datacenter (Raft command 30,
/// `FederationStateRequest`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FederationStateCommand {
    /// The datacenter whose servers apply it.
    pub datacenter: Datacenter,
    /// What to do.
    pub op: FederationStateOp,
    /// The state; of one to remove only the datacenter counts.
    pub state: Option<FederationState>,
}

/// What to do with a state. The texts are the wire's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FederationStateOp {
    /// Write it.
    #[default]
    Upsert,
    /// Remove it.
    Delete,
}

impl Command for FederationStateCommand {
    const TAG: u8 = 30;
    const NAME: &'static str = "FederationState.Apply";
    type Reply = bool;

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(Permission::write(Resource::Operator, ""))
    }

    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        let state = self.state.as_mut().filter(|state| !state.datacenter.is_empty());
        let state = state.ok_or_else(|| CallError::failed("must specify Datacenter"))?;
        if self.op == FederationStateOp::Upsert && state.updated_at.is_zero() {
            state.updated_at = Timestamp::from_unix_nanos(leader.now_unix_nanos.into());
        }
        Ok(())
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<bool> {
        let Some(state) = &self.state else {
            return Err(CallError::failed("the federation state is missing"));
        };
        let key = state.datacenter.as_str().as_bytes();
        match self.op {
            FederationStateOp::Upsert => {
                let present = tx.peek(&FEDERATION_STATES, key);
                let mut row = state.clone();
                row.create_index = present.map_or(tx.index(), |present| present.create_index);
                row.modify_index = tx.index();
                // A copy of another datacenter's carries the index it has there.
                if row.primary_modify_index == Index::ZERO {
                    row.primary_modify_index = tx.index();
                }
                tx.put(&FEDERATION_STATES, row);
                tx.bump(FEDERATION_STATES.name);
            }
            FederationStateOp::Delete => {
                if tx.delete(&FEDERATION_STATES, key).is_some() {
                    tx.bump(FEDERATION_STATES.name);
                }
            }
        }
        Ok(true)
    }
}
