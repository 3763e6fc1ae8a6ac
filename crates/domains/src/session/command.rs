//! Making, ending and renewing sessions.

use std::sync::Arc;
use std::time::Duration;

use acl::{Authorizer, PermissionDenied};
use contract::{Applied, CallError, Command, LeaderView};
use serde::{Deserialize, Serialize};
use store::{State, Store, Tx};
use types::check::Status;
use types::session::{Behavior, Session};
use types::{Datacenter, GoDuration, SessionId, uuid};

use super::access;
use super::table::{LOCK_DELAYS, LockDelay, SESSIONS, SESSIONS_BY_CHECK, SESSIONS_BY_NODE, exists};
use crate::catalog::{CHECKS, NODES, check_key, node_key};
use crate::{kv, prepared_query};

/// Bounds of a session's time (`reference/http-api.md` 3.2).
const TTL_MAX: GoDuration = GoDuration::from_secs(24 * 3600);

/// The longest lock delay that counts.
const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);

/// Makes or ends a session (Raft command 3, `SessionRequest`), or renews one, which
/// never reaches the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SessionCommand {
    /// The datacenter whose session it is.
    pub datacenter: Datacenter,
    /// What to do.
    pub op: SessionOp,
    /// The session to make; of one to end or to renew only the id counts.
    pub session: Session,
}

/// What to do with a session. The texts are the wire's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionOp {
    /// Make it.
    #[default]
    Create,
    /// End it, if it is there.
    Destroy,
    /// Let its time begin anew. The leader alone does it: no log has it.
    Renew,
}

/// The answer to a [`SessionCommand`], as HTTP shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SessionReply {
    /// The id of the new session.
    Created {
        /// The id.
        #[serde(rename = "ID")]
        id: SessionId,
    },
    /// Always true: it is not there any more.
    Destroyed(bool),
    /// The session that lives on.
    Renewed([Arc<Session>; 1]),
    /// There is no such session to renew, or not any more.
    #[serde(skip)]
    NotFound(SessionId),
}

impl Command for SessionCommand {
    const TAG: u8 = 3;
    const NAME: &'static str = "Session.Apply";
    type Reply = SessionReply;

    fn op(&self) -> &'static str {
        match self.op {
            SessionOp::Create => "create",
            SessionOp::Destroy => "destroy",
            SessionOp::Renew => "renew",
        }
    }

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied> {
        match self.op {
            SessionOp::Create => who.require(access::write(self.session.node.as_str())),
            SessionOp::Destroy | SessionOp::Renew => {
                access::require_write(who, store, &self.session.id)
            }
        }
    }

    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        if self.op != SessionOp::Create {
            return Ok(());
        }
        validate(&mut self.session, leader.session_ttl_min)?;
        let state = leader.store.snapshot();
        self.session.id = loop {
            let id = SessionId::from(uuid((leader.random)()));
            if !exists(&state, &id) {
                break id;
            }
        };
        Ok(())
    }

    fn answer(&self, leader: &mut LeaderView<'_>) -> Result<Option<SessionReply>, CallError> {
        if self.op != SessionOp::Renew {
            return Ok(None);
        }
        let id = &self.session.id;
        let session = leader.store.snapshot().get(&SESSIONS, id.as_str().as_bytes());
        let lives_on = |session: &Arc<Session>| match session.time_to_live() {
            Some(ttl) => leader.memory.renew_session(id, ttl),
            None => true,
        };
        Ok(Some(match session.filter(lives_on) {
            Some(session) => SessionReply::Renewed([session]),
            None => SessionReply::NotFound(id.clone()),
        }))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<SessionReply> {
        match self.op {
            SessionOp::Create => {
                let id = create(tx, self.session.clone())?;
                Ok(SessionReply::Created { id })
            }
            SessionOp::Destroy => {
                end(tx, &self.session.id);
                Ok(SessionReply::Destroyed(true))
            }
            SessionOp::Renew => Err(CallError::failed("a renewal is not part of the log")),
        }
    }
}

/// What can be said without looking at the state; fills in what was not given.
fn validate(session: &mut Session, ttl_min: GoDuration) -> Result<(), CallError> {
    match &session.behavior {
        Behavior::Release | Behavior::Delete => {}
        Behavior::Other(text) if text.is_empty() => session.behavior = Behavior::Release,
        Behavior::Other(text) => {
            return Err(CallError::failed(format!("Invalid Behavior setting '{text}'")));
        }
    }
    if session.ttl.is_empty() {
        return Ok(());
    }
    let ttl = GoDuration::parse(&session.ttl).map_err(|error| {
        CallError::failed(format!("Session TTL '{}' invalid: {error}", session.ttl))
    })?;
    if !ttl.is_zero() && !(ttl_min..=TTL_MAX).contains(&ttl) {
        return Err(CallError::failed(format!(
            "Invalid Session TTL '{}', must be between [{ttl_min}={TTL_MAX}]",
            ttl.as_nanos()
        )));
    }
    Ok(())
}

fn create(tx: &mut Tx<'_>, mut session: Session) -> Applied<SessionId> {
    require_ties(tx, &session)?;
    let id = session.id.clone();
    session.create_index = tx.index();
    session.modify_index = tx.index();
    tx.put(&SESSIONS, session);
    tx.bump(SESSIONS.name);
    Ok(id)
}

/// The node and all checks must be there, and no check critical.
fn require_ties(state: &State, session: &Session) -> Applied<()> {
    let node = session.node.as_str();
    if state.peek(&NODES, node_key(node).as_bytes()).is_none() {
        return Err(CallError::failed("apply failed: Missing node registration"));
    }
    for id in session.all_checks() {
        match state.peek(&CHECKS, check_key(node, id.as_str()).as_bytes()) {
            None => {
                let text = format!("apply failed: Missing check '{id}' registration");
                return Err(CallError::failed(text));
            }
            Some(check) if check.status == Status::Critical => {
                let text = format!("apply failed: Check '{id}' is in critical state");
                return Err(CallError::failed(text));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Ends a session, its locks and its queries. Ending nothing changes nothing.
pub(crate) fn end(tx: &mut Tx<'_>, id: &SessionId) {
    let Some(session) = tx.delete(&SESSIONS, id.as_str().as_bytes()) else { return };
    tx.bump(SESSIONS.name);
    prepared_query::handle_session_ended(tx, id);
    let keys = kv::end_locks(tx, id, session.behavior == Behavior::Delete);
    let delay = session.lock_delay.to_std().min(LOCK_DELAY_MAX);
    if delay.is_zero() {
        return;
    }
    for key in keys {
        tx.put(&LOCK_DELAYS, LockDelay { key, delay });
    }
}

/// A check became critical or is gone: sessions that depend on it end.
pub(crate) fn handle_check_lost(tx: &mut Tx<'_>, node: &str, check_id: &str) {
    end_all(tx, SESSIONS_BY_CHECK, check_key(node, check_id).as_bytes());
}

/// A node is gone: its sessions end.
pub(crate) fn handle_node_removed(tx: &mut Tx<'_>, node: &str) {
    end_all(tx, SESSIONS_BY_NODE, node_key(node).as_bytes());
}

fn end_all(tx: &mut Tx<'_>, which: usize, key: &[u8]) {
    let ids: Vec<SessionId> =
        tx.secondary(&SESSIONS, which, key).map(|session| session.id.clone()).collect();
    for id in ids {
        end(tx, &id);
    }
}
