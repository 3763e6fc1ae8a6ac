//! Changes of the metadata.

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::remote::RemoteCommand;
use contract::{Applied, CallError, Command};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::Datacenter;

use super::table::{SYSTEM_METADATA, SystemMetadataEntry, place_of};

/// Writes or removes an entry (Raft command 31, `SystemMetadataRequest`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SystemMetadataCommand {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// What to do.
    pub op: SystemMetadataOp,
    /// The entry; of one to remove only the key counts.
    pub entry: Option<SystemMetadataEntry>,
}

/// What to do with an entry. The texts are the wire's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemMetadataOp {
    /// Write it.
    #[default]
    Upsert,
    /// Remove it.
    Delete,
}

/// Leaders write it for themselves.
impl RemoteCommand for SystemMetadataCommand {}

impl Command for SystemMetadataCommand {
    const TAG: u8 = 31;
    const NAME: &'static str = "SystemMetadata.Apply";
    type Reply = ();

    fn op(&self) -> &'static str {
        match self.op {
            SystemMetadataOp::Upsert => "upsert",
            SystemMetadataOp::Delete => "delete",
        }
    }

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(Permission::write(Resource::Operator, ""))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<()> {
        let entry = self.entry.as_ref().filter(|entry| !entry.key.is_empty());
        let entry = entry.ok_or_else(|| CallError::failed("missing key on system metadata"))?;
        let place = place_of(&entry.key);
        match self.op {
            SystemMetadataOp::Upsert => {
                let present = tx.peek(&SYSTEM_METADATA, place.as_bytes());
                let create_index = present.map_or(tx.index(), |present| present.create_index);
                let modify_index = tx.index();
                let row = SystemMetadataEntry { create_index, modify_index, ..entry.clone() };
                tx.put(&SYSTEM_METADATA, row);
                tx.bump(SYSTEM_METADATA.name);
            }
            SystemMetadataOp::Delete => {
                if tx.delete(&SYSTEM_METADATA, place.as_bytes()).is_some() {
                    tx.bump(SYSTEM_METADATA.name);
                }
            }
        }
        Ok(())
    }
}
