//! What a datacenter tells others of the gateways that lead into it.

use serde::{Deserialize, Serialize};

use crate::catalog::CheckServiceNode;
use crate::{Datacenter, Index, Timestamp};

/// The gateways of one datacenter (`reference/http-api.md` 2.10).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FederationState {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// Its mesh gateways with their health.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mesh_gateways: Vec<CheckServiceNode>,
    /// When its leader last found something else than before.
    pub updated_at: Timestamp,
    /// The index of the change in the primary datacenter.
    #[serde(skip_serializing_if = "is_zero")]
    pub primary_modify_index: Index,
    /// The index that created it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

fn is_zero(index: &Index) -> bool {
    *index == Index::ZERO
}
