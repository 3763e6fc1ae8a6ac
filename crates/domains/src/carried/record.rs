//! Records by what identifies them.

use bytes::Bytes;
use store::Tx;
use types::Index;
use types::msgpack::{self, Value};

use super::{CARRIED, CarriedRecord, key_of};

/// A kind of records of which each has an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The first byte in snapshots.
    pub(super) kind: u8,
    /// The field with the id.
    pub(super) id: &'static str,
    /// The index that changes with them.
    pub(super) index: &'static str,
}

pub(super) const TOKENS: Kind = Kind { kind: 17, id: "AccessorID", index: "acl-tokens" };
pub(super) const POLICIES: Kind = Kind { kind: 19, id: "ID", index: "acl-policies" };
pub(super) const ROLES: Kind = Kind { kind: 23, id: "ID", index: "acl-roles" };
pub(super) const BINDING_RULES: Kind = Kind { kind: 25, id: "ID", index: "acl-binding-rules" };
pub(super) const AUTH_METHODS: Kind = Kind { kind: 27, id: "Name", index: "acl-auth-methods" };
pub(super) const INTENTIONS: Kind = Kind { kind: 12, id: "ID", index: "connect-intentions" };

const KINDS: &[&Kind] = &[&TOKENS, &POLICIES, &ROLES, &BINDING_RULES, &AUTH_METHODS, &INTENTIONS];

/// Config entries: text of a kind and a map, in one string of bytes.
pub(super) const CONFIG_ENTRY: u8 = 22;

/// Where a record belongs; `None` when that cannot be told.
pub(super) fn place_of(kind: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    if kind == CONFIG_ENTRY {
        return ConfigEntry::decode(bytes).map(|entry| entry.place());
    }
    let known = KINDS.iter().find(|known| known.kind == kind)?;
    let (value, _) = Value::from_prefix(bytes).ok()?;
    place_in(value.get(known.id)?.raw())
}

/// The place of an id, of which case is no part.
fn place_in(id: &[u8]) -> Option<Vec<u8>> {
    (!id.is_empty()).then(|| [&[1][..], &id.to_ascii_lowercase()].concat())
}

/// The record of an id.
pub(super) fn find(tx: &Tx<'_>, kind: &Kind, id: &[u8]) -> Option<Value> {
    let place = place_in(id)?;
    let record = tx.peek(&CARRIED, &key_of(kind.kind, &place))?;
    Value::from_prefix(&record.bytes).ok().map(|(value, _)| value)
}

/// The ids of those records in which a field has this text.
pub(super) fn ids_with(tx: &Tx<'_>, kind: &Kind, field: &str, text: &[u8]) -> Vec<Vec<u8>> {
    let prefix = [kind.kind];
    let records = tx.peek_prefix(&CARRIED, &prefix);
    let values = records.filter_map(|record| Some(Value::from_prefix(&record.bytes).ok()?.0));
    let fitting = values.filter(|value| value.get(field).is_some_and(|found| found.raw() == text));
    fitting.filter_map(|value| Some(value.get(kind.id)?.raw().to_vec())).collect()
}

/// Puts a record in the place of its id, and says when it came and changed. `false` without
/// an id.
pub(super) fn put(tx: &mut Tx<'_>, kind: &Kind, mut value: Value) -> bool {
    let id = value.get(kind.id).map(|id| id.raw().to_vec()).unwrap_or_default();
    let Some(place) = place_in(&id) else { return false };
    let created = find(tx, kind, &id).map_or(tx.index(), |old| created(&old));
    stamp(&mut value, created, tx.index());
    let bytes = Bytes::from(msgpack::to_vec(&value));
    tx.put(&CARRIED, CarriedRecord { kind: kind.kind, place, bytes });
    tx.bump(kind.index);
    true
}

/// Removes the record of an id; whether it was there.
pub(super) fn remove(tx: &mut Tx<'_>, kind: &Kind, id: &[u8]) -> bool {
    let Some(place) = place_in(id) else { return false };
    let was_there = tx.delete(&CARRIED, &key_of(kind.kind, &place)).is_some();
    if was_there {
        tx.bump(kind.index);
    }
    was_there
}

/// The index at which a record was last changed.
pub(super) fn modified(value: &Value) -> u64 {
    value.get("ModifyIndex").map_or(0, Value::number)
}

fn created(value: &Value) -> Index {
    Index(value.get("CreateIndex").map_or(0, Value::number))
}

fn stamp(value: &mut Value, created: Index, modified: Index) {
    value.set("CreateIndex", Value::Unsigned(created.0));
    value.set("ModifyIndex", Value::Unsigned(modified.0));
}

/// A config entry with what surrounds it: the form is the same in the log and in snapshots
/// (`reference/rpc-wire.md` section 10).
pub(super) struct ConfigEntry {
    pub(super) kind: Vec<u8>,
    pub(super) op: Vec<u8>,
    entry: Value,
    /// The entry is a string of bytes itself.
    is_wrapped: bool,
}

impl ConfigEntry {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (outer, _) = Value::from_prefix(bytes).ok()?;
        let (kind, rest) = Value::from_prefix(outer.raw()).ok()?;
        let (request, _) = Value::from_prefix(rest).ok()?;
        let op = request.get("Op").map(|op| op.raw().to_vec()).unwrap_or_default();
        let (entry, is_wrapped) = match request.get("Entry")? {
            Value::Raw(bytes) => (Value::from_prefix(bytes).ok()?.0, true),
            entry => (entry.clone(), false),
        };
        matches!(entry, Value::Map(_)).then(|| Self {
            kind: kind.raw().to_vec(),
            op,
            entry,
            is_wrapped,
        })
    }

    /// As it stands in snapshots.
    fn encode(&self) -> Vec<u8> {
        let entry = match self.is_wrapped {
            true => Value::Raw(msgpack::to_vec(&self.entry)),
            false => self.entry.clone(),
        };
        let raw = |text: &[u8]| Value::Raw(text.to_vec());
        let request = Value::Map(vec![
            (raw(b"Datacenter"), raw(b"")),
            (raw(b"Entry"), entry),
            (raw(b"Op"), raw(b"")),
            (raw(b"Token"), raw(b"")),
        ]);
        let mut inner = msgpack::to_vec(&raw(&self.kind));
        inner.extend(msgpack::to_vec(&request));
        msgpack::to_vec(&Value::Raw(inner))
    }

    /// By kind and name. Kinds of which there is one do not give its name.
    fn place(&self) -> Vec<u8> {
        let name = self.entry.get("Name").map(Value::raw).unwrap_or_default();
        [&[1][..], &self.kind, &[0], &name.to_ascii_lowercase()].concat()
    }

    /// The index that a check-and-set goes by.
    pub(super) fn expected(&self) -> u64 {
        modified(&self.entry)
    }

    /// The index at which the entry of this kind and name was last changed; zero without one.
    pub(super) fn present(&self, tx: &Tx<'_>) -> u64 {
        self.old(tx).map_or(0, |old| modified(&old.entry))
    }

    pub(super) fn put(mut self, tx: &mut Tx<'_>) {
        let created = self.old(tx).map_or(tx.index(), |old| created(&old.entry));
        stamp(&mut self.entry, created, tx.index());
        let (kind, place, bytes) = (CONFIG_ENTRY, self.place(), Bytes::from(self.encode()));
        tx.put(&CARRIED, CarriedRecord { kind, place, bytes });
        tx.bump("config-entries");
    }

    pub(super) fn remove(&self, tx: &mut Tx<'_>) {
        if tx.delete(&CARRIED, &key_of(CONFIG_ENTRY, &self.place())).is_some() {
            tx.bump("config-entries");
        }
    }

    fn old(&self, tx: &Tx<'_>) -> Option<Self> {
        let record = tx.peek(&CARRIED, &key_of(CONFIG_ENTRY, &self.place()))?;
        Self::decode(&record.bytes)
    }
}
