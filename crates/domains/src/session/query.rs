//! Reads of sessions. All of them report the index of the table
//! (`reference/http-api.md` 6.1), and wake for the sessions that they show.

use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use store::Reader;
use types::session::Session;
use types::{Index, NodeName, SessionId};

use super::access;
use super::table::{SESSIONS, SESSIONS_BY_NODE};
use crate::catalog::node_key;

type Rows = Vec<Arc<Session>>;

fn table_index(reader: &Reader<'_>) -> Index {
    reader.unwatched().index_of(SESSIONS.name)
}

fn keep_visible(who: &Authorizer, rows: Rows) -> Pruned<Rows> {
    Pruned::keep(rows, |session| access::can_see(who, session))
}

/// One session, as a list of at most one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
}

impl Query for SessionInfo {
    const NAME: &'static str = "Session.Get";
    const KEPT: bool = false;
    type Reply = Vec<Arc<Session>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Rows> {
        let found = reader.get(&SESSIONS, self.id.as_str().as_bytes());
        let index = table_index(reader);
        match found {
            Some(session) => Found::new(index, vec![session]),
            None => Found::absent(index, Vec::new()),
        }
    }

    fn prune(&self, who: &Authorizer, reply: Rows) -> Pruned<Rows> {
        keep_visible(who, reply)
    }
}

/// The sessions of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeSessions {
    /// The node.
    pub node: NodeName,
}

impl Query for NodeSessions {
    const NAME: &'static str = "Session.NodeSessions";
    type Reply = Vec<Arc<Session>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Rows> {
        let key = node_key(self.node.as_str());
        let rows = reader.secondary(&SESSIONS, SESSIONS_BY_NODE, key.as_bytes()).collect();
        Found::new(table_index(reader), rows)
    }

    fn prune(&self, who: &Authorizer, reply: Rows) -> Pruned<Rows> {
        keep_visible(who, reply)
    }
}

/// All sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sessions;

impl Query for Sessions {
    const NAME: &'static str = "Session.List";
    type Reply = Vec<Arc<Session>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Rows> {
        let index = reader.max_index_of(&[SESSIONS.name]);
        Found::new(index, reader.unwatched().prefix(&SESSIONS, &[]).collect())
    }

    fn prune(&self, who: &Authorizer, reply: Rows) -> Pruned<Rows> {
        keep_visible(who, reply)
    }
}
