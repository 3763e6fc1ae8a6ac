//! Who has the slots of a semaphore: the value of its coordination key, and what it means.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use types::SessionId;
use types::json::Unknown;
use types::kv::KvEntry;

/// Tells keys of semaphores from others.
pub const SEMAPHORE_FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

/// The name of the coordination key, below the prefix.
const COORDINATION_KEY: &str = ".lock";

/// The value of the coordination key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Slots {
    /// How many there are; all contenders have to agree.
    pub(crate) limit: i64,
    /// The sessions that have one; each is mapped to true.
    #[serde(deserialize_with = "types::null::or_null")]
    pub(crate) holders: BTreeMap<SessionId, bool>,
}

/// What the keys below the prefix say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotsSeen {
    pub(crate) slots: Slots,
    /// The index to change the coordination key by; 0 when it does not exist.
    pub(crate) modify_index: u64,
}

/// The keys are not those of this semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The coordination key is something else.
    Conflict,
    /// Its value cannot be read.
    Undecodable(String),
}

impl SlotsSeen {
    /// Reads the coordination key. One that does not exist has no holders.
    pub(crate) fn of_key(entry: Option<&KvEntry>, limit: i64) -> Result<Self, Unfit> {
        let empty = Slots { limit, ..Slots::default() };
        let Some(entry) = entry else { return Ok(Self { slots: empty, modify_index: 0 }) };
        if entry.flags != SEMAPHORE_FLAGS {
            return Err(Unfit::Conflict);
        }
        let modify_index = entry.modify_index.0;
        if entry.value.is_empty() {
            return Ok(Self { slots: empty, modify_index });
        }
        let slots = types::json::decode(&entry.value, Unknown::Ignore)
            .map_err(|error| Unfit::Undecodable(error.to_string()))?;
        Ok(Self { slots, modify_index })
    }

    /// Reads all keys below the prefix: holders whose contender key no session holds are
    /// dead and do not count.
    pub(crate) fn of_prefix(entries: &[KvEntry], prefix: &str, limit: i64) -> Result<Self, Unfit> {
        let key = coordination_key(prefix);
        let mut seen = Self::of_key(entries.iter().find(|entry| *entry.key == *key), limit)?;
        let alive: BTreeSet<&SessionId> = entries.iter().map(|entry| &entry.session).collect();
        seen.slots.holders.retain(|holder, _| !holder.is_empty() && alive.contains(holder));
        Ok(seen)
    }

    /// Whether this session has a slot.
    pub(crate) fn has(&self, session: &SessionId) -> bool {
        self.slots.holders.contains_key(session)
    }

    /// The value with a slot for this session; `None` when all slots are taken.
    pub(crate) fn with(&self, session: &SessionId) -> Option<Vec<u8>> {
        let count = i64::try_from(self.slots.holders.len()).unwrap_or(i64::MAX);
        if count >= self.slots.limit {
            return None;
        }
        let mut slots = self.slots.clone();
        slots.holders.insert(session.clone(), true);
        Some(types::json::encode(&slots))
    }

    /// The value without this session.
    pub(crate) fn without(&self, session: &SessionId) -> Vec<u8> {
        let mut slots = self.slots.clone();
        slots.holders.remove(session);
        types::json::encode(&slots)
    }
}

/// The key that says who has the slots.
pub(crate) fn coordination_key(prefix: &str) -> String {
    join(prefix, COORDINATION_KEY)
}

/// A path below another, cleaned as Go's `path.Join` does it.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    let mut steps: Vec<&str> = Vec::new();
    let rooted = prefix.starts_with('/');
    for step in prefix.split('/').chain(name.split('/')) {
        match step {
            "" | "." => {}
            ".." if steps.last().is_some_and(|last| *last != "..") => {
                steps.pop();
            }
            ".." if rooted => {}
            step => steps.push(step),
        }
    }
    let joined = steps.join("/");
    if rooted { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use types::{Blob, Index};

    fn entry(key: &str, session: &str, value: &str) -> KvEntry {
        KvEntry {
            key: key.into(),
            session: session.into(),
            flags: SEMAPHORE_FLAGS,
            value: Blob::from(bytes::Bytes::copy_from_slice(value.as_bytes())),
            modify_index: Index(7),
            ..KvEntry::default()
        }
    }

    #[test]
    fn paths_are_joined_as_go_joins_them() {
        for (prefix, joined) in [
            ("s", "s/.lock"),
            ("s/", "s/.lock"),
            ("s//t/./", "s/t/.lock"),
            ("s/../t", "t/.lock"),
            ("../t", "../t/.lock"),
            ("/s", "/s/.lock"),
            ("/../s", "/s/.lock"),
            ("", ".lock"),
        ] {
            assert_eq!(coordination_key(prefix), joined, "{prefix:?}");
        }
    }

    #[test]
    fn the_value_is_that_of_the_go_client() {
        let seen = SlotsSeen::of_prefix(&[], "s", 2).unwrap();
        let value = seen.with(&"a".into()).unwrap();
        assert_eq!(String::from_utf8_lossy(&value), "{\"Limit\":2,\"Holders\":{\"a\":true}}");
        let entries = [
            entry("s/.lock", "", "{\"Limit\":2,\"Holders\":{\"a\":true,\"dead\":true}}"),
            entry("s/a", "a", ""),
        ];
        let seen = SlotsSeen::of_prefix(&entries, "s/", 2).unwrap();
        assert!(seen.has(&"a".into()) && !seen.has(&"dead".into()));
        assert_eq!(seen.modify_index, 7);
        let value = seen.without(&"a".into());
        assert_eq!(String::from_utf8_lossy(&value), "{\"Limit\":2,\"Holders\":{}}");
    }

    #[test]
    fn keys_of_something_else_are_left_alone() {
        let other = KvEntry { key: "s/.lock".into(), ..KvEntry::default() };
        assert_eq!(SlotsSeen::of_prefix(&[other], "s", 2), Err(Unfit::Conflict));
        let torn = entry("s/.lock", "", "{\"Limit\":");
        assert!(matches!(SlotsSeen::of_prefix(&[torn], "s", 2), Err(Unfit::Undecodable(_))));
        let null = entry("s/.lock", "", "{\"Limit\":2,\"Holders\":null}");
        assert!(SlotsSeen::of_prefix(&[null], "s", 2).unwrap().slots.holders.is_empty());
    }

    proptest! {
        #[test]
        fn never_more_sessions_than_slots(
            limit in 1i64..4,
            moves in prop::collection::vec((0u8..6, any::<bool>()), 0..40),
        ) {
            let mut seen = SlotsSeen::of_prefix(&[], "s", limit).unwrap();
            let mut model = BTreeSet::new();
            for (who, takes) in moves {
                let session = SessionId::from(format!("session-{who}").as_str());
                let value = if takes {
                    let taken = seen.with(&session);
                    prop_assert_eq!(taken.is_some(), (model.len() as i64) < limit);
                    let Some(value) = taken else { continue };
                    model.insert(who);
                    value
                } else {
                    model.remove(&who);
                    seen.without(&session)
                };
                let entry = entry("s/.lock", "", &String::from_utf8(value).unwrap());
                seen = SlotsSeen::of_key(Some(&entry), limit).unwrap();
                prop_assert_eq!(seen.slots.holders.len(), model.len());
            }
        }
    }
}
