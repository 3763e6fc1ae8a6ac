//! Whether the access control of the cluster that the records come from is in force there.
//!
//! A server that keeps these records and does not obey them leaves open what they guard, so
//! whoever starts one has to know of them.

use std::fmt;

use store::Tx;
use types::Index;
use types::msgpack::Value;

use super::record::{POLICIES, TOKENS};
use super::{CARRIED, command};

/// What Consul makes by itself once access control is on, for nobody yet: the policies
/// `global-management` and `builtin/global-read-only`, and the anonymous token.
const BUILT_IN_POLICIES: &[&[u8]] =
    &[b"00000000-0000-0000-0000-000000000001", b"00000000-0000-0000-0000-000000000002"];
const BUILT_IN_TOKENS: &[&[u8]] = &[b"00000000-0000-0000-0000-000000000002"];

/// The commands after which access control may be in force: bootstrapping, tokens, policies.
pub const TAGS: &[u8] = &[11, 17, 19];

/// What operators have made of the access control of their cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AclRecords {
    /// Tokens other than the anonymous one.
    pub tokens: u64,
    /// Policies other than those that Consul makes.
    pub policies: u64,
    /// Whether the first token was made.
    pub is_bootstrapped: bool,
}

impl AclRecords {
    /// What is in the state that a command has just changed.
    pub fn of(tx: &Tx<'_>) -> Self {
        let mut found = Self::default();
        for kind in [TOKENS.kind, POLICIES.kind] {
            let records = tx.peek_prefix(&CARRIED, std::slice::from_ref(&kind));
            records.for_each(|record| found.note(kind, &record.bytes));
        }
        found.note_index(command::BOOTSTRAPPED, tx.index_of(command::BOOTSTRAPPED));
        found
    }

    /// Counts a record of a snapshot, of whatever kind.
    pub fn note(&mut self, kind: u8, bytes: &[u8]) {
        let (known, built_in, count) = match kind {
            _ if kind == TOKENS.kind => (&TOKENS, BUILT_IN_TOKENS, &mut self.tokens),
            _ if kind == POLICIES.kind => (&POLICIES, BUILT_IN_POLICIES, &mut self.policies),
            _ => return,
        };
        let value = Value::from_prefix(bytes).ok().map(|(value, _)| value);
        let id = value.as_ref().and_then(|value| value.get(known.id)).map(Value::raw);
        let is_built_in = id.is_some_and(|id| built_in.contains(&id));
        *count += u64::from(!is_built_in);
    }

    /// Takes note of a named index of a snapshot, of whatever name.
    pub fn note_index(&mut self, name: &str, index: Index) {
        self.is_bootstrapped |= name == command::BOOTSTRAPPED && index != Index::ZERO;
    }

    /// Whether anybody relies on them.
    pub fn are_in_force(&self) -> bool {
        *self != Self::default()
    }
}

impl fmt::Display for AclRecords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let bootstrapped = self.is_bootstrapped.then(|| "a bootstrapped ACL system".to_owned());
        let tokens = some(self.tokens, "token", "tokens");
        let policies = some(self.policies, "policy", "policies");
        let parts: Vec<String> = [bootstrapped, tokens, policies].into_iter().flatten().collect();
        out.write_str(&parts.join(", "))
    }
}
