//! The transaction that changes nothing.

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use store::Reader;
use types::txn::{TxnError, TxnResult};

use super::command::collect_errors;
use super::read::ReadOp;
use super::{access, validate};

/// Operations that change nothing, over one state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnRead {
    /// What to look at, in order.
    pub ops: Vec<ReadOp>,
}

/// What they give back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TxnReadReply {
    /// The rows, in the order of the operations; none if there are errors.
    pub results: Vec<TxnResult>,
    /// Every operation that was refused, in order.
    pub errors: Vec<TxnError>,
    /// Whether the errors were found without looking at the state, whose facts are then
    /// not told.
    pub unasked: bool,
}

impl Query for TxnRead {
    const NAME: &'static str = "Txn.Read";
    /// Nobody waits for a transaction, and few ask the same one twice.
    const KEPT: bool = false;
    type Reply = TxnReadReply;

    /// Each operation needs a permission of its own: see [`Self::prune`].
    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<TxnReadReply> {
        let state = reader.unwatched();
        let mut results = Vec::new();
        let errors = collect_errors(&self.ops, |op| op.run(state, &mut results));
        if !errors.is_empty() {
            results.clear();
        }
        Found::new(state.index(), TxnReadReply { results, errors, unasked: false })
    }

    /// What is malformed and what the sender may not do is told together and alone.
    fn prune(&self, who: &Authorizer, mut reply: TxnReadReply) -> Pruned<TxnReadReply> {
        let errors = collect_errors(&self.ops, |op| {
            if let ReadOp::Key { verb, key, .. } = op {
                validate::key(verb, key)?;
            }
            access::require_read(who, op).map_err(|denied| denied.to_string())
        });
        if !errors.is_empty() {
            return Pruned::nothing(TxnReadReply { results: Vec::new(), errors, unasked: true });
        }
        let removed = access::keep_visible(who, &mut reply.results);
        Pruned { reply, removed }
    }
}
