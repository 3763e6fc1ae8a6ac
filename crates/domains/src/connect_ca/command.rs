//! Changes of the certificate authority.

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Applied, CallError, Command};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::connect_ca::{CaConfiguration, CaProviderState, CaRoot};
use types::{Datacenter, Index};

use super::table::{CA_CONFIG, CA_PROVIDER_STATE, CA_ROOTS, SERIAL};

/// A change of the authority (Raft command 13, `CARequest`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaCommand {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// What to do.
    pub op: CaOp,
    /// The index of the roots that the change was made from.
    pub index: Index,
    /// The new configuration; its `ModifyIndex` is that of the one it replaces.
    pub config: Option<CaConfiguration>,
    /// The new roots, all of them.
    pub roots: Option<Vec<CaRoot>>,
    /// What the built-in provider keeps.
    pub provider_state: Option<CaProviderState>,
}

/// What to do. The texts are the wire's (`reference/rpc-wire.md` section 13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaOp {
    /// Replace all roots if they are as of the given index.
    #[default]
    SetRoots,
    /// Replace the configuration; if its `ModifyIndex` is not zero, only that version.
    SetConfig,
    /// Both, or neither.
    SetRootsConfig,
    /// Store what the built-in provider keeps.
    SetProviderState,
    /// Forget it.
    DeleteProviderState,
    /// Give out the next serial number.
    IncrementProviderSerial,
}

/// What a change of the authority gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CaReply {
    /// Whether it was done; `false` means that something else changed it before.
    Done(bool),
    /// The serial number that was given out.
    Serial(u64),
}

impl Command for CaCommand {
    const TAG: u8 = 13;
    const NAME: &'static str = "ConnectCA.Apply";
    type Reply = CaReply;

    fn op(&self) -> &'static str {
        match self.op {
            CaOp::SetRoots => "set-roots",
            CaOp::SetConfig => "set-config",
            CaOp::SetRootsConfig => "set-roots-config",
            CaOp::SetProviderState => "set-provider-state",
            CaOp::DeleteProviderState => "delete-provider-state",
            CaOp::IncrementProviderSerial => "increment-provider-serial",
        }
    }

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(Permission::write(Resource::Operator, ""))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<CaReply> {
        match self.op {
            CaOp::SetRoots => {
                let roots = self.checked_roots()?;
                let current = roots_index_is(tx, self.index);
                if current {
                    replace_roots(tx, roots);
                }
                Ok(CaReply::Done(current))
            }
            CaOp::SetConfig => {
                let config = self.config()?;
                let current =
                    config.modify_index == Index::ZERO || config_index_is(tx, config.modify_index);
                if current {
                    replace_config(tx, config, tx.index());
                }
                Ok(CaReply::Done(current))
            }
            CaOp::SetRootsConfig => {
                let (roots, config) = (self.checked_roots()?, self.config()?);
                let current =
                    roots_index_is(tx, self.index) && config_index_is(tx, config.modify_index);
                if current {
                    replace_roots(tx, roots);
                    // As real servers number it (seen with 1.8.7), so that the states of a
                    // quorum of both are the same.
                    replace_config(tx, config, Index(tx.index().0 + 1));
                }
                Ok(CaReply::Done(current))
            }
            CaOp::SetProviderState => {
                set_provider_state(tx, self.provider_state()?);
                Ok(CaReply::Done(true))
            }
            CaOp::DeleteProviderState => {
                let id = self.provider_state()?.id.as_bytes();
                let present = tx.delete(&CA_PROVIDER_STATE, id).is_some();
                if present {
                    tx.bump(CA_PROVIDER_STATE.name);
                }
                Ok(CaReply::Done(true))
            }
            CaOp::IncrementProviderSerial => Ok(CaReply::Serial(next_serial(tx))),
        }
    }
}

impl CaCommand {
    /// The roots, of which exactly one must be active and none without id.
    fn checked_roots(&self) -> Result<&[CaRoot], CallError> {
        let roots = self.roots.as_deref().unwrap_or_default();
        if roots.iter().filter(|root| root.active).count() != 1 {
            return Err(CallError::failed("there must be exactly one active CA root"));
        }
        if roots.iter().any(|root| root.id.is_empty()) {
            return Err(CallError::failed("a CA root has no ID"));
        }
        Ok(roots)
    }

    fn config(&self) -> Result<&CaConfiguration, CallError> {
        self.config.as_ref().ok_or_else(|| CallError::failed("the CA configuration is missing"))
    }

    fn provider_state(&self) -> Result<&CaProviderState, CallError> {
        let state = self.provider_state.as_ref().filter(|state| !state.id.is_empty());
        state.ok_or_else(|| CallError::failed("the CA provider state is missing"))
    }
}

fn roots_index_is(tx: &Tx<'_>, expected: Index) -> bool {
    tx.index_of(CA_ROOTS.name) == expected
}

/// Zero stands for no configuration.
fn config_index_is(tx: &Tx<'_>, expected: Index) -> bool {
    tx.peek(&CA_CONFIG, b"").map_or(Index::ZERO, |config| config.modify_index) == expected
}

fn replace_roots(tx: &mut Tx<'_>, roots: &[CaRoot]) {
    let old: Vec<_> = tx.prefix(&CA_ROOTS, &[]).collect();
    for root in &old {
        tx.delete(&CA_ROOTS, root.id.as_bytes());
    }
    for root in roots {
        let present = old.iter().find(|present| present.id == root.id);
        let create_index = present.map_or(tx.index(), |present| present.create_index);
        let modify_index = tx.index();
        tx.put(&CA_ROOTS, CaRoot { create_index, modify_index, ..root.clone() });
    }
    tx.bump(CA_ROOTS.name);
}

/// The cluster id stays what it once was, whatever the new configuration says.
fn replace_config(tx: &mut Tx<'_>, config: &CaConfiguration, index: Index) {
    let mut config = CaConfiguration { create_index: index, modify_index: index, ..config.clone() };
    if let Some(present) = tx.peek(&CA_CONFIG, b"") {
        config.create_index = present.create_index;
        if !present.cluster_id.is_empty() {
            config.cluster_id.clone_from(&present.cluster_id);
        }
    }
    tx.put(&CA_CONFIG, config);
    tx.bump(CA_CONFIG.name);
}

fn set_provider_state(tx: &mut Tx<'_>, state: &CaProviderState) {
    let present = tx.peek(&CA_PROVIDER_STATE, state.id.as_bytes());
    let create_index = present.map_or(tx.index(), |present| present.create_index);
    let modify_index = tx.index();
    tx.put(&CA_PROVIDER_STATE, CaProviderState { create_index, modify_index, ..state.clone() });
    tx.bump(CA_PROVIDER_STATE.name);
}

/// The first serial number is the index of the command that asked for it.
fn next_serial(tx: &mut Tx<'_>) -> u64 {
    let next = match tx.index_of(SERIAL) {
        Index::ZERO => tx.index(),
        Index(last) => Index(last.saturating_add(1)),
    };
    tx.set_index(SERIAL, next);
    next.0
}
