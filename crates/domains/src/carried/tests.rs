use store::{INDEXES, Store, Tx};
use types::Index;
use types::msgpack::{self, Value};

use super::*;
use crate::carried::acl::AclRecords;
use crate::carried::command::{CommandError, TAGS};
use crate::system_metadata::{SYSTEM_METADATA, SystemMetadataEntry, VIRTUAL_IPS};

fn raw(text: &str) -> Value {
    Value::Raw(text.as_bytes().to_vec())
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(key, value)| (raw(key), value.clone())).collect())
}

fn list(values: &[Value]) -> Value {
    Value::List(values.to_vec())
}

struct Case(Store);

impl Case {
    fn new() -> Self {
        Self(Store::new(&crate::tables()))
    }

    fn write<T>(&self, index: u64, change: impl FnOnce(&mut Tx<'_>) -> T) -> T {
        self.0.write(|batch| change(&mut batch.tx(Index(index))))
    }

    fn apply(&self, index: u64, tag: u8, request: &Value) {
        let payload = msgpack::to_vec(request);
        let applied = self.write(index, |tx| command::apply(tx, tag, &payload));
        applied.expect("it is one of them").expect("it is understood").expect("it is not refused");
    }

    fn fails(&self, tag: u8, payload: &[u8]) -> CommandError {
        let applied = self.write(99, |tx| command::apply(tx, tag, payload));
        applied.expect("it is one of them").expect_err("it cannot be applied")
    }

    /// The records of a kind: an id each, with the indexes of its making and its last change.
    fn shown(&self, kind: u8, id: &str) -> Vec<String> {
        let mut shown = Vec::new();
        for_each(&self.0.snapshot(), kind, |record| {
            let (value, _) = Value::from_prefix(&record.bytes).expect("it is msgpack");
            let text = |field| String::from_utf8_lossy(value.get(field).map_or(b"", Value::raw));
            let number = |field| value.get(field).map_or(0, Value::number);
            let (name, created, changed) = (text(id), number("CreateIndex"), number("ModifyIndex"));
            shown.push(format!("{name} {created} {changed}"));
        });
        shown
    }

    fn index(&self, name: &str) -> u64 {
        self.0.snapshot().index_of(name).0
    }
}

#[test]
fn records_are_set_and_removed_by_their_ids() {
    // Records, id, index, set with, removed with.
    for (kind, id, index, (set, records), (remove, ids)) in [
        (17, "AccessorID", "acl-tokens", (17, "Tokens"), (18, "TokenIDs")),
        (19, "ID", "acl-policies", (19, "Policies"), (20, "PolicyIDs")),
        (23, "ID", "acl-roles", (23, "Roles"), (24, "RoleIDs")),
        (25, "ID", "acl-binding-rules", (25, "BindingRules"), (26, "BindingRuleIDs")),
        (27, "Name", "acl-auth-methods", (27, "AuthMethods"), (28, "AuthMethodNames")),
    ] {
        let case = Case::new();
        let record = |name: &str| map(&[(id, raw(name)), ("Secret", raw("s"))]);
        case.apply(5, set, &map(&[(records, list(&[record("b"), record("A")]))]));
        case.apply(6, set, &map(&[(records, list(&[record("a")]))]));
        assert_eq!(case.shown(kind, id), ["a 5 6", "b 5 5"], "{index}");
        case.apply(7, remove, &map(&[(ids, list(&[raw("none")]))]));
        assert_eq!(case.index(index), 6, "{index}");
        case.apply(8, remove, &map(&[(ids, list(&[raw("B")]))]));
        assert_eq!((case.shown(kind, id), case.index(index)), (vec!["a 5 6".to_owned()], 8));
        assert_eq!(case.fails(set, b"\x80"), CommandError::Undecodable);
        assert_eq!(case.fails(set, b"\xc1"), CommandError::Undecodable);
    }
}

#[test]
fn a_record_of_a_snapshot_is_the_same_as_one_of_the_log() {
    let (logged, restored) = (Case::new(), Case::new());
    let policy = map(&[("ID", raw("p")), ("Rules", raw("acl = \"read\""))]);
    logged.apply(5, 19, &map(&[("Policies", list(std::slice::from_ref(&policy)))]));
    let mut bytes = Vec::new();
    for_each(&logged.0.snapshot(), 19, |record| bytes.extend_from_slice(&record.bytes));
    restored.write(5, |tx| carry(tx, 19, 1, &bytes));
    restored.apply(9, 19, &map(&[("Policies", list(&[policy]))]));
    assert_eq!(restored.shown(19, "ID"), ["p 5 9"]);
}

#[test]
fn tokens_are_checked_and_set_where_that_is_asked_for_and_bootstrapped_once() {
    let case = Case::new();
    let token = |index| {
        let token = map(&[("AccessorID", raw("t")), ("ModifyIndex", Value::Unsigned(index))]);
        map(&[("CAS", Value::Bool(true)), ("Tokens", list(&[token]))])
    };
    case.apply(5, 17, &token(0));
    case.apply(6, 17, &token(0));
    assert_eq!(case.shown(17, "AccessorID"), ["t 5 5"]);
    case.apply(7, 17, &token(5));
    assert_eq!(case.shown(17, "AccessorID"), ["t 5 7"]);

    let bootstrap = |reset| {
        let token = map(&[("AccessorID", raw("first"))]);
        map(&[("ResetIndex", Value::Unsigned(reset)), ("Token", token)])
    };
    case.apply(8, 11, &bootstrap(0));
    let again = msgpack::to_vec(&bootstrap(0));
    let reply = case.write(9, |tx| command::apply(tx, 11, &again)).expect("known").expect("sound");
    let error = reply.expect_err("it was done").to_string();
    assert_eq!(error, "ACL bootstrap no longer allowed (reset index: 8)");
    case.apply(10, 11, &bootstrap(8));
    assert_eq!(case.shown(17, "AccessorID"), ["first 8 10", "t 5 7"]);
}

#[test]
fn with_a_method_go_its_rules_and_tokens() {
    let case = Case::new();
    let of = |id: &str, method: &str| map(&[(id, raw(method)), ("AuthMethod", raw(method))]);
    for method in ["jwt", "kube"] {
        case.apply(5, 27, &map(&[("AuthMethods", list(&[map(&[("Name", raw(method))])]))]));
        case.apply(5, 25, &map(&[("BindingRules", list(&[of("ID", method)]))]));
        case.apply(5, 17, &map(&[("Tokens", list(&[of("AccessorID", method)]))]));
    }
    case.apply(6, 28, &map(&[("AuthMethodNames", list(&[raw("jwt")]))]));
    assert_eq!(case.shown(27, "Name"), ["kube 5 5"]);
    assert_eq!(case.shown(25, "ID"), ["kube 5 5"]);
    assert_eq!(case.shown(17, "AccessorID"), ["kube 5 5"]);
}

fn config_entry(op: &str, kind: &str, name: &str, index: u64) -> Vec<u8> {
    let entry = map(&[("ModifyIndex", Value::Unsigned(index)), ("Name", raw(name))]);
    // One kind wraps its entries once more.
    let entry = match kind {
        "proxy-defaults" => Value::Raw(msgpack::to_vec(&entry)),
        _ => entry,
    };
    let mut inner = msgpack::to_vec(&raw(kind));
    let request = [("Datacenter", raw("dc1")), ("Entry", entry), ("Op", raw(op))];
    inner.extend(msgpack::to_vec(&map(&request)));
    msgpack::to_vec(&Value::Raw(inner))
}

#[test]
fn config_entries_are_set_and_removed_by_kind_and_name() {
    let case = Case::new();
    let apply = |index, op: &str, kind: &str, name: &str, expected| {
        let payload = config_entry(op, kind, name, expected);
        let applied = case.write(index, |tx| command::apply(tx, 22, &payload));
        applied.expect("it is one of them").expect("it is understood").expect("it has no reply");
    };
    let count = || {
        let mut count = 0;
        for_each(&case.0.snapshot(), 22, |_| count += 1);
        (count, case.index("config-entries"))
    };
    apply(5, "upsert", "service-defaults", "web", 0);
    apply(6, "upsert", "service-resolver", "web", 0);
    apply(7, "upsert", "proxy-defaults", "global", 0);
    assert_eq!(count(), (3, 7));
    apply(8, "upsert-cas", "service-defaults", "web", 4);
    apply(8, "delete-cas", "service-defaults", "web", 4);
    assert_eq!(count(), (3, 7));
    apply(9, "upsert-cas", "service-defaults", "web", 5);
    apply(10, "delete-cas", "service-defaults", "web", 9);
    apply(11, "delete", "proxy-defaults", "GLOBAL", 0);
    assert_eq!(count(), (1, 11));
    apply(12, "upsert", "service-resolver", "web", 0);
    let mut record = Vec::new();
    for_each(&case.0.snapshot(), 22, |found| record.extend_from_slice(&found.bytes));
    let again = record::ConfigEntry::decode(&record).expect("it is one");
    assert_eq!((again.kind.as_slice(), again.op.as_slice()), (&b"service-resolver"[..], &b""[..]));
    assert_eq!(again.expected(), 12);

    // Where services have virtual addresses, entries may give them some.
    case.write(13, |tx| {
        let (key, value) = (VIRTUAL_IPS.to_owned(), "true".to_owned());
        let flag = SystemMetadataEntry { key, value, ..SystemMetadataEntry::default() };
        tx.put(&SYSTEM_METADATA, flag);
    });
    apply(14, "upsert", "proxy-defaults", "global", 0);
    let beyond = case.fails(22, &config_entry("upsert", "service-resolver", "web", 0));
    assert!(matches!(beyond, CommandError::Beyond(_)), "{beyond}");
    assert_eq!(case.fails(22, b"\xa0"), CommandError::Undecodable);
}

#[test]
fn intentions_and_leaves_are_noted() {
    let case = Case::new();
    let intention =
        |op: &str, id: &str| map(&[("Intention", map(&[("ID", raw(id))])), ("Op", raw(op))]);
    case.apply(5, 12, &intention("create", "i"));
    case.apply(6, 12, &intention("update", "i"));
    assert_eq!(case.shown(12, "ID"), ["i 5 6"]);
    case.apply(7, 12, &intention("delete", "i"));
    assert_eq!((case.shown(12, "ID"), case.index("connect-intentions")), (vec![], 7));
    let other = msgpack::to_vec(&intention("delete-all", "i"));
    assert!(matches!(case.fails(12, &other), CommandError::Beyond(_)));

    case.apply(10, 21, &map(&[("Op", raw("increment-index"))]));
    assert_eq!(case.index("connect-ca-leaf-certs"), 10);
}

#[test]
fn a_domain_of_its_own_leaves_nothing_to_carry() {
    for domain in crate::ALL {
        for command in domain.commands {
            assert!(!TAGS.contains(&command.tag), "{} has its domain: take it off", command.name);
        }
    }
}

#[test]
fn access_control_is_in_force_once_anybody_made_something_of_it() {
    const FIRST: &str = "00000000-0000-0000-0000-000000000001";
    const SECOND: &str = "00000000-0000-0000-0000-000000000002";
    let token = |id: &str| map(&[("AccessorID", raw(id))]);
    let policy = |id: &str| map(&[("ID", raw(id))]);
    let tokens = |ids: &[&str]| {
        (17, map(&[("Tokens", list(&ids.iter().map(|id| token(id)).collect::<Vec<_>>()))]))
    };
    let policies = |ids: &[&str]| {
        (19, map(&[("Policies", list(&ids.iter().map(|id| policy(id)).collect::<Vec<_>>()))]))
    };
    for (commands, expected) in [
        // What a leader makes when it is started with ACLs.
        (vec![policies(&[FIRST, SECOND]), tokens(&[SECOND])], ""),
        (vec![tokens(&["a"])], "1 token"),
        // An accessor that has the id of a built-in policy is no built-in token.
        (vec![tokens(&[FIRST, SECOND, "b"])], "2 tokens"),
        (vec![policies(&["p"]), tokens(&["a"])], "1 token, 1 policy"),
        (vec![(11, map(&[("Token", token("a"))]))], "a bootstrapped ACL system, 1 token"),
        (
            vec![
                (11, map(&[("Token", token("a"))])),
                (18, map(&[("TokenIDs", list(&[raw("a")]))])),
            ],
            "a bootstrapped ACL system",
        ),
    ] {
        let case = Case::new();
        for (index, (tag, request)) in (1..).zip(&commands) {
            case.apply(index, *tag, request);
        }
        let of_log = case.write(50, |tx| AclRecords::of(tx));
        assert_eq!(of_log.to_string(), expected);
        assert_eq!(of_log.are_in_force(), !expected.is_empty());
        // A snapshot tells the same.
        let mut of_snapshot = AclRecords::default();
        for kind in 0..=255 {
            let state = case.0.snapshot();
            for_each(&state, kind, |record| of_snapshot.note(kind, &record.bytes));
        }
        let state = case.0.snapshot();
        state
            .peek_prefix(&INDEXES, &[])
            .for_each(|row| of_snapshot.note_index(&row.name, row.value));
        assert_eq!(of_snapshot, of_log);
    }
    let mut broken = AclRecords::default();
    broken.note(17, b"\xc1");
    assert!(broken.are_in_force(), "what cannot be read may be anything");
}
