//! What a real agent sent and a real server replied: we read it, and what we would have
//! sent and replied in their place means the same.

use std::collections::BTreeSet;

use contract::{QueryKey, RemoteCall};
use types::msgpack::Value;

use crate::{hex, method, unhex};

const CALLS: &str = include_str!("../testdata/consul-1.8.7.calls");

/// Methods that are no domain's: the server itself answers them.
const ELSEWHERE: [&str; 7] = [
    "Catalog.ListDatacenters",
    "Coordinate.ListDatacenters",
    "Internal.EventFire",
    "Operator.RaftGetConfiguration",
    "Operator.ServerHealth",
    "Status.Leader",
    "Status.Peers",
];

#[test]
fn calls_of_an_old_agent_to_an_old_server_mean_to_us_what_they_meant() {
    let mut lines = CALLS.lines().filter(|line| !line.starts_with('#'));
    let mut elsewhere = BTreeSet::new();
    let mut checked = 0;
    while let Some(name) = lines.next() {
        let args = unhex(lines.next().and_then(|line| line.strip_prefix("> ")).expect("args"));
        let reply = lines.next().expect("a reply");
        if method(name).is_none() {
            elsewhere.insert(name);
            continue;
        }
        let reply = reply.strip_prefix("< ").map(unhex);
        check(name, &args, reply.as_deref());
        checked += 1;
    }
    assert_eq!(elsewhere, BTreeSet::from(ELSEWHERE));
    assert!(checked > 70, "{checked}");
}

/// Reads a call, and writes it again in our words.
fn check(name: &str, args: &[u8], reply: Option<&[u8]>) {
    let decoded = (method(name).expect("a method of ours").decode)(args);
    let (sent_again, replied_again) =
        match decoded.unwrap_or_else(|error| panic!("{name}: {error}")) {
            RemoteCall::Read { query, options, encode } => {
                let again = query.to_request(&options).expect("it came over the port");
                let Ok(RemoteCall::Read { query: same, .. }) =
                    (method(name).expect("the same").decode)(&again.args.0)
                else {
                    panic!("{name}: what we send is read as something else");
                };
                assert!(QueryKey(query.clone()) == QueryKey(same), "{name}: another question");
                let reply = reply.map(|bytes| {
                    let (reply, facts) = query.decode_reply(bytes).expect(name);
                    encode.encode(&*reply, &facts)
                });
                (again, reply)
            }
            RemoteCall::Write { command, token, encode } => {
                let again = command.to_request(&token).expect("it came over the port");
                let decode = command.reply_decoder();
                (again, reply.map(|bytes| encode(&*decode(bytes).expect(name))))
            }
            RemoteCall::Act { action, encode } => {
                let again = action.to_request().expect("it came over the port");
                let reply = reply.map(|bytes| {
                    let (reply, facts) = action.decode_reply(bytes).expect(name);
                    encode.encode(&*reply, &facts)
                });
                (again, reply)
            }
        };
    assert_eq!(sent_again.method, name);
    // Of the rows that are read in a transaction, only the names are kept.
    if name != "Txn.Read" {
        assert_same(&format!("{name}: the request"), args, &sent_again.args.0);
    }
    if let (Some(reply), Some(again)) = (reply, replied_again) {
        // Whether it is done is said of what depends on something; the rest is always done.
        if name != "KVS.Apply" {
            assert_same(&format!("{name}: the reply"), reply, &again);
        }
    }
}

/// Asserts that two values mean the same: what is zero may as well be missing.
fn assert_same(what: &str, theirs: &[u8], ours: &[u8]) {
    let meaning = |bytes: &[u8]| {
        let (value, rest) = Value::from_prefix(bytes).expect("it is msgpack");
        assert!(rest.is_empty());
        // Of a renewal that was none, the index is of no use to anybody.
        let value = if what.contains("Renew") { without_index(value) } else { value };
        // The tags of all instances of a service are a set, which Consul's servers write as
        // it comes.
        meaning(if what.contains("ListServices") { in_order(value) } else { value })
    };
    assert_eq!(meaning(theirs), meaning(ours), "{what}\n{}\n{}", hex(theirs), hex(ours));
}

fn without_index(value: Value) -> Value {
    let Value::Map(mut pairs) = value else { return value };
    pairs.retain(|(key, _)| *key != Value::Raw(b"Index".to_vec()));
    Value::Map(pairs)
}

/// A value with all its lists in the same order.
fn in_order(value: Value) -> Value {
    match value {
        Value::List(mut values) => {
            values.sort_by_key(|value| format!("{value:?}"));
            Value::List(values)
        }
        Value::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(key, value)| (key, in_order(value))).collect())
        }
        other => other,
    }
}

/// A value without what is zero, in the one form that all writers' forms come down to.
fn meaning(value: Value) -> Option<Value> {
    /// What old agents say of themselves although nothing depends on it.
    const TOLD_IN_VAIN: [&[u8]; 2] = [b"Ip", b"Agent"];
    /// The zero time.
    const NO_TIME: &[u8] = b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff";
    match value {
        Value::Null | Value::Bool(false) | Value::Unsigned(0) | Value::Signed(0) => None,
        Value::Raw(bytes) if bytes.is_empty() || bytes == NO_TIME => None,
        Value::Float(0.0) => None,
        Value::Signed(number) => {
            Some(u64::try_from(number).map_or(Value::Signed(number), Value::Unsigned))
        }
        Value::List(values) => {
            let values: Vec<Option<Value>> = values.into_iter().map(meaning).collect();
            let is_zero = values.iter().all(Option::is_none);
            let values = values.into_iter().map(|value| value.unwrap_or(Value::Null));
            (!is_zero).then(|| Value::List(values.collect()))
        }
        Value::Map(pairs) => {
            let mut pairs: Vec<(Value, Value)> = pairs
                .into_iter()
                .filter(|(key, _)| {
                    !TOLD_IN_VAIN.iter().any(|name| *key == Value::Raw(name.to_vec()))
                })
                .filter_map(|(key, value)| Some((key, meaning(value)?)))
                .filter(|(key, value)| !is_source_of_nothing(key, value))
                .collect();
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            (!pairs.is_empty()).then_some(Value::Map(pairs))
        }
        other => Some(other),
    }
}

/// Old agents tell their datacenter even if nothing is to be near them.
fn is_source_of_nothing(key: &Value, value: &Value) -> bool {
    let Value::Map(pairs) = value else { return false };
    let is = |key: &Value, name: &[u8]| *key == Value::Raw(name.to_vec());
    is(key, b"Source") && !pairs.iter().any(|(key, _)| is(key, b"Node"))
}

#[test]
fn zero_and_missing_are_the_same_and_nothing_else_is() {
    assert_same("both", b"\x82\xa1a\x01\xa1b\xc0", b"\x81\xa1a\xd3\0\0\0\0\0\0\0\x01");
    let different =
        std::panic::catch_unwind(|| assert_same("", b"\x81\xa1a\x01", b"\x81\xa1a\x02"));
    assert!(different.is_err());
}
