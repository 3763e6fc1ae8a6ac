//! Calls on the server port: what is sent is read back, and the bytes are Consul's.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use contract::remote::RemoteCommand as _;
use contract::{
    Command, MethodDef, Outgoing, Query, ReadFacts, ReadOptions, RemoteCall, applied_reply_of,
    reply_of,
};
use domains::kv::{Around, KvAround, KvCommand, KvGet, KvKeys, KvList, KvOp};
use types::kv::KvEntry;
use types::{Index, SecretId};

fn method(name: &str) -> &'static MethodDef {
    let mut methods = domains::ALL.iter().flat_map(|domain| domain.methods);
    methods.find(|method| method.name == name).unwrap_or_else(|| panic!("no method {name}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn facts() -> ReadFacts {
    ReadFacts {
        index: Index(61),
        known_leader: true,
        last_contact: Duration::from_nanos(7),
        removed: true,
    }
}

fn options() -> ReadOptions {
    ReadOptions {
        datacenter: "dc1".into(),
        token: SecretId::from("t"),
        min_index: Index(60),
        ..ReadOptions::stale("dc1".into())
    }
}

/// The query gets to another server, and its reply back.
fn check_read<Q>(query: &Q, replies: &[Q::Reply])
where
    Q: Query + Debug,
    Q::Reply: Debug + PartialEq,
{
    let Outgoing { method: name, args } = query.to_request(&options()).expect("it has a method");
    let RemoteCall::Read { query: read, options: read_options, encode } =
        (method(name).decode)(&args.0).expect("the request is read")
    else {
        panic!("{name} is no read");
    };
    let read: &Q = read.as_any().downcast_ref().expect("it is the same query");
    assert_eq!(read, query);
    assert_eq!(format!("{read_options:?}"), format!("{:?}", options()));
    for reply in replies {
        let bytes = encode.encode(reply, &facts());
        let (again, told) = query.decode_reply(&bytes).expect("the reply is read");
        assert_eq!(reply_of::<Q>(&*again), reply, "{name}: {}", hex(&bytes));
        assert_eq!(told, facts());
    }
}

/// The command gets to another server without its token, and its reply back.
fn check_write<C>(command: &C, reply: &C::Reply)
where
    C: Command + Debug + PartialEq,
    C::Reply: Debug + PartialEq,
{
    let token = SecretId::from("s3cret");
    let Outgoing { method: name, args } = command.to_request(&token).expect("it has a method");
    let RemoteCall::Write { command: read, token: read_token, encode } =
        (method(name).decode)(&args.0).expect("the request is read")
    else {
        panic!("{name} is no write");
    };
    assert_eq!(read_token, token);
    let log = read.encode();
    let mut expected = vec![C::TAG];
    types::msgpack::write(&mut expected, command);
    assert_eq!(hex(&log), hex(&expected), "{name}: what enters the log");
    assert!(!hex(&log).contains(&hex(b"s3cret")), "{name}: no secret enters the log");
    let bytes = encode(reply as &(dyn Any + Send));
    let again = (command.reply_decoder())(&bytes).expect("the reply is read");
    assert_eq!(applied_reply_of::<C>(&*again), reply, "{name}: {}", hex(&bytes));
}

fn entry(key: &str) -> Arc<KvEntry> {
    Arc::new(KvEntry {
        key: key.into(),
        value: b"hello"[..].into(),
        flags: 3,
        create_index: Index(61),
        modify_index: Index(61),
        ..KvEntry::default()
    })
}

#[test]
fn calls_about_keys_cross_the_port() {
    check_read(&KvGet { key: "foo".into() }, &[None, Some(entry("foo"))]);
    check_read(&KvList { prefix: "f".into() }, &[vec![], vec![entry("foo"), entry("fop")]]);
    let keys = KvKeys { prefix: "f".into(), separator: "/".to_owned() };
    check_read(&keys, &[vec![], vec!["foo".into(), "fop/".into()]]);
    let around = Around {
        deleted_at: Some(Index(3)),
        below: vec!["foo/a".into()],
        below_count: 12,
        similar: vec!["fob".into()],
    };
    check_read(&KvAround { key: "foo".into() }, &[Around::default(), around]);
    let command =
        |op| KvCommand { datacenter: "dc1".into(), op, entry: KvEntry::clone(&entry("foo")) };
    for op in [KvOp::Cas, KvOp::DeleteCas, KvOp::Lock, KvOp::Unlock] {
        check_write(&command(op), &false);
        check_write(&command(op), &true);
    }
    for op in [KvOp::Set, KvOp::Delete, KvOp::DeleteTree] {
        check_write(&command(op), &true);
        // A real server says `false` to these, and has done it.
        let reply = (command(op).reply_decoder())(b"\xc2").expect("it is read");
        assert_eq!(applied_reply_of::<KvCommand>(&*reply), &true, "{op:?}");
    }
}

#[test]
fn the_bytes_of_a_reply_are_those_of_consul() {
    // `reference/rpc-wire.md` section 17.
    let expected = concat!(
        "88a74261636b656e6400b0436f6e73697374656e63794c6576656ca0a7456e747269657391",
        "87ab437265617465496e6465783da5466c61677300a34b6579a3666f6fa94c6f636b496e64657800",
        "ab4d6f64696679496e6465783da753657373696f6ea0a556616c7565a568656c6c6f",
        "a5496e6465783dab4b6e6f776e4c6561646572c3ab4c617374436f6e7461637400",
        "ab4e6f744d6f646966696564c2b5526573756c747346696c7465726564427941434c73c2",
    );
    let asked = "82aa4461746163656e746572a3646331a34b6579a3666f6f";
    let asked: Vec<u8> = asked
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("it is text"), 16)
                .expect("it is hex")
        })
        .collect();
    let Ok(RemoteCall::Read { encode, .. }) = (method("KVS.Get").decode)(&asked) else {
        panic!("it is a read");
    };
    let entry = KvEntry { flags: 0, ..KvEntry::clone(&entry("foo")) };
    let facts = ReadFacts { index: Index(61), known_leader: true, ..ReadFacts::default() };
    let bytes = hex(&encode.encode(&Some(Arc::new(entry)), &facts));
    // An entry of ours leaves the session out if there is none.
    let without_session = expected.replace("87ab43", "86ab43").replace("a753657373696f6ea0", "");
    assert_eq!(bytes, without_session);
}
