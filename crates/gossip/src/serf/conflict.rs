//! Two nodes with one name (`reference/gossip-wire.md` section 11).
//!
//! Of two nodes at different addresses that claim one name, the machine underneath keeps the
//! first. The other one hears of that too: each may ask the pool which of them it knows,
//! and the one that most members do not know gives up.

use bytes::Bytes;

use super::action::{Action, Query};
use super::core::Core;
use super::queries::{Purpose, QueryOptions};
use super::report::Report;
use crate::memberlist::Node;
use crate::wire::serf::{ConflictMember, SerfMessage};

/// The query by which members are asked where they know a node.
pub(super) const QUERY: &str = "_serf_conflict";

impl Core {
    /// Two nodes claim one name.
    pub(super) fn name_conflict(&mut self, known: &Node, other: &Node) {
        if *known.name != *self.name {
            let (name, known, other) = (known.name.to_string(), known.addr, other.addr);
            return self.report(Report::NameConflict { name, known, other });
        }
        let resolves = self.options.resolve_name_conflicts;
        self.report(Report::OwnNameConflict { other: other.addr, resolves });
        let asks =
            |running: &super::queries::Running| matches!(running.purpose, Purpose::Conflict { .. });
        if !resolves || self.running.values().any(asks) {
            return;
        }
        let payload = Bytes::from(self.name.clone());
        let purpose = Purpose::Conflict { responses: 0, matching: 0 };
        if let Err(error) = self.ask(QUERY, payload, QueryOptions::default(), purpose) {
            self.report(Report::NotAnswered(error.to_string()));
        }
    }

    /// The pool was asked: stay or go.
    pub(super) fn resolve_conflict(&mut self, responses: usize, matching: usize) {
        let stays = matching > responses / 2;
        self.report(Report::NameResolution { matching, responses, stays });
        if !stays {
            self.out.push_back(Action::Shutdown);
        }
    }

    /// Somebody asks where this node knows a node. One does not speak for oneself.
    pub(super) fn answer_conflict(&mut self, query: &Query) {
        let Ok(name) = std::str::from_utf8(&query.payload) else { return };
        if name == self.name {
            return;
        }
        let known = self.members.known.get(name);
        let member = known.map_or_else(ConflictMember::default, |known| {
            let member = &known.member;
            ConflictMember {
                addr: member.addr.parse().ok(),
                delegate_cur: member.delegate_cur,
                delegate_max: member.delegate_max,
                delegate_min: member.delegate_min,
                name: member.name.clone(),
                port: member.port,
                protocol_cur: member.protocol_cur,
                protocol_max: member.protocol_max,
                protocol_min: member.protocol_min,
                status: member.status,
                tags: member.tags.clone(),
            }
        });
        let answer = SerfMessage::ConflictResponse(member).encode();
        let sent = self.respond(query, answer);
        self.report_unsent(sent);
    }
}
