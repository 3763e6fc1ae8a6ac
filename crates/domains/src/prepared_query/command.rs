//! Storing, replacing and deleting queries.

use acl::{Authorizer, PermissionDenied};
use contract::{Applied, CallError, Command, LeaderView};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::Datacenter;
use types::prepared_query::PreparedQuery;

use super::table::{self, PREPARED_QUERIES};
use super::validate::validate;
use super::{access, uuid};

/// Stores or deletes a query (Raft command 7, `PreparedQueryRequest`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQueryCommand {
    /// The datacenter whose query it is.
    pub datacenter: Datacenter,
    /// What to do.
    pub op: PreparedQueryOp,
    /// The query; of one to delete only the id counts.
    pub query: PreparedQuery,
}

/// What to do with a query. The texts are the wire's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreparedQueryOp {
    /// Store a new one.
    #[default]
    Create,
    /// Put this one in the place of the one with its id.
    Update,
    /// Delete it.
    Delete,
}

/// The answer to a [`PreparedQueryCommand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreparedQueryReply {
    /// The id of the new query.
    Created(String),
    /// The query with this id was replaced or deleted.
    Done(String),
}

impl Command for PreparedQueryCommand {
    const TAG: u8 = 7;
    const NAME: &'static str = "PreparedQuery.Apply";
    type Reply = PreparedQueryReply;

    fn op(&self) -> &'static str {
        match self.op {
            PreparedQueryOp::Create => "create",
            PreparedQueryOp::Update => "update",
            PreparedQueryOp::Delete => "delete",
        }
    }

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied> {
        if self.op != PreparedQueryOp::Create {
            access::require_write_of(who, store, &self.query.id)?;
        }
        match self.op {
            PreparedQueryOp::Delete => Ok(()),
            PreparedQueryOp::Create | PreparedQueryOp::Update => {
                access::require_write(who, &self.query)
            }
        }
    }

    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        let state = leader.store.snapshot();
        let id = &mut self.query.id;
        match self.op {
            PreparedQueryOp::Create if !id.is_empty() => {
                let text = "ID must be empty when creating a new prepared query";
                return Err(CallError::failed(text));
            }
            PreparedQueryOp::Create => {
                *id = loop {
                    let id = uuid::from_bits((leader.random)());
                    if state.peek(&PREPARED_QUERIES, id.as_bytes()).is_none() {
                        break id;
                    }
                };
            }
            PreparedQueryOp::Update | PreparedQueryOp::Delete => {
                let canonical = uuid::parse(id).map_err(|error| {
                    CallError::failed(format!(
                        "Prepared Query lookup failed: failed prepared query lookup: index error: {error}"
                    ))
                })?;
                if state.peek(&PREPARED_QUERIES, canonical.as_bytes()).is_none() {
                    let text = format!("Cannot modify non-existent prepared query: '{id}'");
                    return Err(CallError::failed(text));
                }
                *id = canonical;
            }
        }
        if self.op == PreparedQueryOp::Delete {
            return Ok(());
        }
        validate(&self.query)
            .map_err(|reason| CallError::failed(format!("Invalid prepared query: {reason}")))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<PreparedQueryReply> {
        if self.op == PreparedQueryOp::Delete {
            table::delete(tx, &self.query.id);
            return Ok(PreparedQueryReply::Done(self.query.id.clone()));
        }
        let mut query = self.query.clone();
        let present = tx.peek(&PREPARED_QUERIES, query.id.as_bytes());
        query.create_index = present.map_or(tx.index(), |present| present.create_index);
        query.modify_index = tx.index();
        let id = query.id.clone();
        table::store(tx, query).map_err(|error| {
            CallError::new(error.kind(), format!("raft apply failed: {}", error.text()))
        })?;
        Ok(match self.op {
            PreparedQueryOp::Create => PreparedQueryReply::Created(id),
            _ => PreparedQueryReply::Done(id),
        })
    }
}
