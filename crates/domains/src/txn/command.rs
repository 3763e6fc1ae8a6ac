//! The transaction that goes through the log.

use acl::{Authorizer, PermissionDenied};
use contract::{Applied, CallError, Command, LeaderMemory, LeaderView};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::Datacenter;
use types::txn::{RowVerb, TxnError, TxnOp, TxnResult};

use super::{access, apply, validate};
use crate::catalog;

/// Several operations of which all happen or none (Raft command 8, `TxnRequest`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnCommand {
    /// The datacenter whose rows they are about.
    pub datacenter: Datacenter,
    /// What to do, in order.
    pub ops: Vec<TxnOp>,
}

/// What a transaction gives back: rows, or else what is wrong with it (`TxnResponse`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TxnReply {
    /// The rows, in the order of the operations; none if there are errors.
    pub results: Vec<TxnResult>,
    /// Every operation that was refused, in order. If there is one, nothing was changed.
    pub errors: Vec<TxnError>,
}

impl Command for TxnCommand {
    const TAG: u8 = 8;
    const NAME: &'static str = "Txn.Apply";
    type Reply = TxnReply;

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    /// Each operation needs a permission of its own: see [`Self::refusal`].
    fn authorize(&self, _who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn refusal(
        &self,
        who: &Authorizer,
        store: &Store,
        memory: &dyn LeaderMemory,
    ) -> Option<TxnReply> {
        let may = access::OfSender::new(who, store);
        let errors = collect_errors(&self.ops, |op| {
            validate::operation(op)?;
            may.require(op).map_err(|denied| denied.to_string())?;
            validate::lock_delay(op, memory)
        });
        (!errors.is_empty()).then(|| TxnReply { results: Vec::new(), errors })
    }

    /// Fills in what the rows leave out.
    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        for op in &mut self.ops {
            match op {
                TxnOp { node: Some(op), .. } if op.node.datacenter.is_empty() => {
                    op.node.datacenter = leader.datacenter.clone();
                }
                TxnOp { service: Some(op), .. } if op.verb != RowVerb::Get => {
                    catalog::default_service_id(&mut op.service);
                }
                TxnOp { check: Some(op), .. } if op.verb != RowVerb::Get => {
                    catalog::check_defaults(&mut op.check);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All of it or nothing. An operation behind one that failed is tried all the same,
    /// so that the sender learns of everything at once.
    fn apply(&self, tx: &mut Tx<'_>) -> Applied<TxnReply> {
        let mark = tx.mark();
        let mut results = Vec::new();
        let errors = collect_errors(&self.ops, |op| apply::operation(tx, op, &mut results));
        if !errors.is_empty() {
            tx.roll_back(mark);
            results.clear();
        }
        Ok(TxnReply { results, errors })
    }

    fn prune(who: &Authorizer, mut reply: TxnReply) -> TxnReply {
        access::keep_visible(who, &mut reply.results);
        reply
    }
}

/// Runs the function for each operation and names those that it refuses.
pub(super) fn collect_errors<O>(
    ops: &[O],
    mut run: impl FnMut(&O) -> Result<(), String>,
) -> Vec<TxnError> {
    (0..)
        .zip(ops)
        .filter_map(|(op_index, op)| run(op).err().map(|what| TxnError { op_index, what }))
        .collect()
}
