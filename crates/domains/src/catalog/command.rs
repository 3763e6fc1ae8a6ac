//! Registration and deregistration.

use acl::{Authorizer, PermissionDenied};
use bytes::Bytes;
use contract::remote::{CommandMethod, Nothing, ReplyReader, encode, reading};
use contract::{Applied, CallError, Command, LeaderView};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::Datacenter;
use types::catalog::{DeregisterRequest, RegisterRequest};

use super::table::{self, NODES, node_key};
use super::{access, apply, validate};

/// Registers a node, and an instance and checks on it (Raft command 0).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Register(pub RegisterRequest);

impl Command for Register {
    const TAG: u8 = 0;
    const NAME: &'static str = "Catalog.Register";
    type Reply = ();

    fn datacenter(&self) -> &Datacenter {
        &self.0.datacenter
    }

    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied> {
        access::register(who, store, &self.0)
    }

    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        validate::registration(&mut self.0)?;
        self.0.datacenter = leader.datacenter.clone();
        Ok(())
    }

    /// All of it or nothing.
    fn apply(&self, tx: &mut Tx<'_>) -> Applied<()> {
        let mark = tx.mark();
        let applied = self.apply_parts(tx);
        if applied.is_err() {
            tx.roll_back(mark);
        }
        applied
    }
}

impl Register {
    fn apply_parts(&self, tx: &mut Tx<'_>) -> Applied<()> {
        let request = &self.0;
        let key = node_key(request.node.as_str());
        if !request.skip_node_update || tx.peek(&NODES, key.as_bytes()).is_none() {
            let mut node = table::node_of(request);
            node.create_index = types::Index::ZERO;
            apply::put_node(tx, node)?;
        }
        if let Some(service) = &request.service {
            apply::put_service(tx, &request.node, service.clone())?;
        }
        for check in request.check.iter().chain(request.checks.iter().flatten()) {
            apply::put_check(tx, &request.node, check.clone())?;
        }
        Ok(())
    }
}

/// Removes an instance, a check, or a node with everything on it (Raft command 1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Deregister(pub DeregisterRequest);

impl Command for Deregister {
    const TAG: u8 = 1;
    const NAME: &'static str = "Catalog.Deregister";
    type Reply = ();

    fn datacenter(&self) -> &Datacenter {
        &self.0.datacenter
    }

    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied> {
        access::deregister(who, store, &self.0)
    }

    fn prepare(&mut self, _leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        if self.0.node.is_empty() {
            return Err(CallError::failed("Must provide node"));
        }
        Ok(())
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<()> {
        let request = &self.0;
        let node = request.node.as_str();
        if !request.service_id.is_empty() {
            apply::remove_service(tx, node, request.service_id.as_str());
        } else if !request.check_id.is_empty() {
            apply::remove_check(tx, node, request.check_id.as_str());
        } else {
            apply::remove_node(tx, node);
        }
        Ok(())
    }
}

impl CommandMethod for Register {
    fn encode_reply(_reply: &()) -> Bytes {
        encode(&Nothing {})
    }

    fn reply_reader(&self) -> ReplyReader<()> {
        reading(Self::METHOD, |Nothing {}| Ok(()))
    }
}

impl CommandMethod for Deregister {
    fn encode_reply(_reply: &()) -> Bytes {
        encode(&Nothing {})
    }

    fn reply_reader(&self) -> ReplyReader<()> {
        reading(Self::METHOD, |Nothing {}| Ok(()))
    }
}
