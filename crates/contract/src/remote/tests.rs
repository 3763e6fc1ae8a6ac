use std::time::Duration;

use proptest::prelude::*;
use serde::Serialize;
use types::{Datacenter, Index, SecretId, msgpack};

use super::*;
use crate::error::ErrorKind;
use crate::options::{Consistency, ReadOptions};

fn span() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((1..i64::MAX as u64).prop_map(Duration::from_nanos))
}

fn read_options() -> impl Strategy<Value = ReadOptions> {
    let consistency = prop::sample::select(vec![
        Consistency::Default,
        Consistency::Consistent,
        Consistency::Stale,
    ]);
    let must = Just(Some(Duration::ZERO));
    let max_age = prop_oneof![span(), must];
    let spans = (span(), span(), max_age, span());
    (".*", ".*", any::<u64>(), any::<bool>(), consistency, spans).prop_map(
        |(datacenter, token, index, cached, consistency, (wait, stale, max_age, if_error))| {
            ReadOptions {
                datacenter: Datacenter::from(datacenter),
                token: SecretId::from(token),
                consistency,
                max_stale: stale.unwrap_or_default(),
                min_index: Index(index),
                max_wait: wait,
                cached,
                max_age,
                stale_if_error: if_error,
            }
        },
    )
}

/// A request whose fields stand on both sides of those of the options.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SomeRequest {
    zone: u8,
    key: &'static str,
    agent: [u8; 3],
}

proptest! {
    /// Whatever the method, forwarding learns what the sender wanted.
    #[test]
    fn the_options_of_any_request_are_read_back(options in read_options(), filter in ".*") {
        let request = SomeRequest { zone: 1, key: "k", agent: [1, 2, 3] };
        let args = join(&request, &QueryOptions::new(&options, &filter));
        let header = header(&args).expect("it is a request");
        prop_assert_eq!(format!("{:?}", header.to_read_options()), format!("{options:?}"));
        prop_assert_eq!(&header.token, &options.token);
        prop_assert_eq!(header.filter, filter);
    }

    #[test]
    fn no_bytes_make_a_header_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = header(&bytes).map(|header| header.to_read_options());
    }
}

#[test]
fn what_a_request_does_not_say_is_zero_and_what_nobody_knows_is_passed_over() {
    let read = |bytes: &[u8]| header(bytes).expect("it is a request");
    assert_eq!(read(b"\x80"), QueryOptions::default());
    assert_eq!(read(b"\xc0"), QueryOptions::default());
    let odd = b"\x83\xa5Token\xc0\xa5Novel\x91\x80\xaaDatacenter\xa3dc2";
    let expected = QueryOptions { datacenter: "dc2".into(), ..QueryOptions::default() };
    assert_eq!(read(odd), expected);
    let both = QueryOptions { allow_stale: true, require_consistent: true, ..Default::default() };
    assert_eq!(both.to_read_options().consistency, Consistency::Consistent);
    assert!(header(b"\xa3abc").is_err());
}

#[test]
fn the_kind_of_a_remote_error_is_in_its_text() {
    for (text, kind) in [
        (
            "rpc error making call: Permission denied: token with AccessorID 'x' lacks",
            ErrorKind::Denied,
        ),
        ("rpc error making call: rpc error making call: ACL not found", ErrorKind::Denied),
        ("rate limit exceeded, try again later or against a different server", ErrorKind::TooMany),
        ("RPC rate limit exceeded", ErrorKind::TooMany),
        (
            "rate limit exceeded for operation that can only be performed by the leader, try again later",
            ErrorKind::Unavailable,
        ),
        ("rpc error making call: Query not found", ErrorKind::NotFound),
        ("No cluster leader", ErrorKind::Failed),
        ("", ErrorKind::Failed),
    ] {
        let error = CallError::from_remote(text);
        assert_eq!((error.kind(), error.text()), (kind, text));
    }
}

#[test]
fn a_request_does_not_show_its_secrets() {
    let options = ReadOptions { token: SecretId::from("s3cret"), ..ReadOptions::default() };
    let options = QueryOptions::new(&options, "");
    let args = Args(encode(&options));
    assert!(msgpack::from_slice::<QueryOptions>(&args.0) == Ok(options.clone()));
    assert!(!format!("{options:?} {:?}", Outgoing { method: "KVS.Get", args }).contains("s3cret"));
}
