//! Changes of the configuration.

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Applied, Command};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::Datacenter;
use types::autopilot::AutopilotConfiguration;

use super::table::{AUTOPILOT, configuration};

/// Sets the configuration (Raft command 9, `AutopilotSetConfigRequest`). The reply tells
/// whether it was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotSet {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// The new configuration; with `cas`, its `ModifyIndex` is that of the one it replaces.
    pub config: AutopilotConfiguration,
    /// Whether only that one is replaced.
    #[serde(rename = "CAS")]
    pub cas: bool,
}

impl Command for AutopilotSet {
    const TAG: u8 = 9;
    const NAME: &'static str = "Operator.AutopilotSetConfiguration";
    type Reply = bool;

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(Permission::write(Resource::Operator, ""))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<bool> {
        let present = configuration(tx);
        if self.cas && present.is_none_or(|old| old.modify_index != self.config.modify_index) {
            return Ok(false);
        }
        let create_index = present.map_or(tx.index(), |old| old.create_index);
        let modify_index = tx.index();
        tx.put(
            &AUTOPILOT,
            AutopilotConfiguration { create_index, modify_index, ..self.config.clone() },
        );
        tx.bump(AUTOPILOT.name);
        Ok(true)
    }
}
