//! Calls of the server port: arguments of every method, and replies to each of them.

use contract::remote::header;
use contract::{MethodDef, QueryKey, ReadOptions, RemoteCall};
use types::msgpack::Value;

use super::assert_says;

/// What a real agent and a real server said to each other.
const CALLS: &str = include_str!("../../../domains/tests/testdata/consul-1.8.7.calls");

fn methods() -> impl Iterator<Item = &'static MethodDef> {
    domains::ALL.iter().flat_map(|domain| domain.methods)
}

/// The first byte picks a method; the rest is its argument, and the reply of a server.
pub(super) fn check(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    let count = methods().count();
    let method = methods().nth(usize::from(*which) % count).expect("there is a method");
    if let Ok(options) = header(bytes) {
        let _: ReadOptions = options.to_read_options();
    }
    match (method.decode)(bytes) {
        Err(error) => assert_says(error.text(), bytes.len()),
        Ok(call) => check_call(method, call),
    }
    check_reply(method, bytes);
}

/// What was understood is said in our words, and understood as the same.
fn check_call(method: &MethodDef, call: RemoteCall) {
    let again = |args: &[u8]| (method.decode)(args).expect("we read what we write");
    match call {
        RemoteCall::Read { query, options, .. } => {
            let Some(sent) = query.to_request(&options) else { return };
            assert_eq!(sent.method, method.name);
            let RemoteCall::Read { query: same, options: same_options, .. } = again(&sent.args.0)
            else {
                panic!("another kind of call");
            };
            assert!(QueryKey(query) == QueryKey(same), "{}", method.name);
            assert_eq!(format!("{options:?}"), format!("{same_options:?}"));
        }
        RemoteCall::Write { command, token, .. } => {
            let sent = command.to_request(&token).expect("it has a method");
            let RemoteCall::Write { command: same, token: same_token, .. } = again(&sent.args.0)
            else {
                panic!("another kind of call");
            };
            assert_eq!(command.encode(), same.encode(), "{}", method.name);
            assert!(token == same_token);
        }
        RemoteCall::Act { action, .. } => {
            let sent = action.to_request().expect("it has a method");
            let RemoteCall::Act { action: same, .. } = again(&sent.args.0) else {
                panic!("another kind of call");
            };
            assert_eq!(same.to_request(), Some(sent));
        }
    }
}

/// The bytes as a reply to a call of this method: what is read can be written and read.
fn check_reply(method: &MethodDef, bytes: &[u8]) {
    let ask = asked(method);
    let says = |error: contract::CallError| assert_says(error.text(), bytes.len());
    match (method.decode)(&ask) {
        Err(_) => {}
        Ok(RemoteCall::Read { query, encode, .. }) => match query.decode_reply(bytes) {
            Err(error) => says(error),
            Ok((reply, facts)) => {
                let written = encode.encode(&*reply, &facts);
                let (reply, facts) = query.decode_reply(&written).expect("we read what we write");
                assert_eq!(written, encode.encode(&*reply, &facts), "{}", method.name);
            }
        },
        Ok(RemoteCall::Write { command, encode, .. }) => match (command.reply_decoder())(bytes) {
            Err(error) => says(error),
            Ok(reply) => {
                let written = encode(&*reply);
                let again = (command.reply_decoder())(&written).expect("we read what we write");
                assert_eq!(written, encode(&*again), "{}", method.name);
            }
        },
        Ok(RemoteCall::Act { action, encode }) => match action.decode_reply(bytes) {
            Err(error) => says(error),
            Ok((reply, facts)) => {
                let written = encode.encode(&*reply, &facts);
                assert!(action.decode_reply(&written).is_ok(), "{}", method.name);
            }
        },
    }
}

/// An argument that the method takes: the first that a real agent sent.
fn asked(method: &MethodDef) -> Vec<u8> {
    let mut lines = CALLS.lines();
    let of_method = lines.find(|line| *line == method.name).and_then(|_| lines.next());
    of_method.map_or_else(|| vec![0x80], |line| unhex(&line[2..]))
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("it is hex");
    (0..text.len()).step_by(2).map(pair).collect()
}

/// One argument and one reply of each method that a real agent used.
pub(super) fn made() -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    for (which, method) in (0..).zip(methods()) {
        let mut lines = CALLS.lines().skip_while(|line| *line != method.name).skip(1);
        for line in lines.by_ref().take(2).filter(|line| !line.starts_with('!')) {
            let bytes = unhex(&line[2..]);
            assert!(Value::from_prefix(&bytes).is_ok());
            made.push([vec![which], bytes].concat());
        }
    }
    made
}
