//! The msgpack dialect, against the examples of `reference/` and itself.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use types::catalog::{NodeService, RegisterRequest};
use types::check::HealthCheck;
use types::kv::KvEntry;
use types::msgpack::{self, Error, Extent};
use types::{Blob, GoDuration, Index};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct KvSet {
    #[serde(rename = "Datacenter")]
    datacenter: String,
    #[serde(rename = "Op")]
    op: String,
    #[serde(rename = "DirEnt")]
    dir_ent: KvEntry,
    #[serde(rename = "Token")]
    token: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Sample {
    zulu: i64,
    alpha: Option<u64>,
    nested: Vec<Sample>,
    span: GoDuration,
    bytes: Blob,
    text: String,
    flag: bool,
    ratio: f64,
    free: BTreeMap<String, serde_json::Value>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

const KV_SET: &str =
    "84 aa4461746163656e746572 a3646331 a6446972456e74 87 ab437265617465496e646578 00
    a5466c616773 00 a34b6579 a3666f6f a94c6f636b496e646578 00 ab4d6f64696679496e646578 00
    a753657373696f6e a0 a556616c7565 a568656c6c6f a24f70 a3736574 a5546f6b656e a0";

#[test]
fn a_kv_command_of_consul_is_read() {
    let command: KvSet = msgpack::from_slice(&unhex(KV_SET)).unwrap();
    assert_eq!(command.datacenter, "dc1");
    assert_eq!(command.op, "set");
    assert_eq!(&*command.dir_ent.key, "foo");
    assert_eq!(&*command.dir_ent.value, b"hello");
    assert!(command.dir_ent.session.is_empty());
}

#[test]
fn a_kv_command_is_written_as_consul_writes_it_but_for_the_empty_session() {
    let command: KvSet = msgpack::from_slice(&unhex(KV_SET)).unwrap();
    let expected = KV_SET.replace("87 ab", "86 ab").replace("a753657373696f6e a0 ", "");
    assert_eq!(msgpack::to_vec(&command), unhex(&expected));
}

#[test]
fn a_kv_record_of_a_snapshot_is_read() {
    let record = "87ab437265617465496e6465783da5466c61677300a34b6579a3666f6fa94c6f636b496e64657800
        ab4d6f64696679496e6465783da753657373696f6ea0a556616c7565a568656c6c6f";
    let entry: KvEntry = msgpack::from_slice(&unhex(record)).unwrap();
    assert_eq!((entry.create_index, &*entry.key), (Index(61), "foo"));
}

#[test]
fn several_values_in_a_row_are_read_one_by_one() {
    let bytes = unhex("a9 c0 82a34b6579a6636865636b73a556616c75654c".split_once(' ').unwrap().1);
    let (none, rest): (Option<u64>, _) = msgpack::from_prefix(&bytes).unwrap();
    let (row, rest): (BTreeMap<String, serde_json::Value>, _) = msgpack::from_prefix(rest).unwrap();
    assert_eq!(none, None);
    assert_eq!(row["Value"], 76);
    assert!(rest.is_empty());
    assert_eq!(msgpack::value_len(&bytes), Ok(Some(1)));
    assert_eq!(msgpack::value_len(&bytes[1..]), Ok(Some(bytes.len() - 1)));
    assert_eq!(msgpack::value_len(&bytes[1..9]), Ok(None));
    assert_eq!(msgpack::value_len(&[0xc1]), Err(Error::UnknownMarker(0xc1)));
}

#[track_caller]
fn writes<T: Serialize + ?Sized>(value: &T, hex: &str) {
    assert_eq!(msgpack::to_vec(value), unhex(hex));
}

#[test]
fn scalars_take_the_fewest_bytes() {
    writes(&0u8, "00");
    writes(&127i64, "7f");
    writes(&128i64, "cc80");
    writes(&256u32, "cd0100");
    writes(&65_536u64, "ce00010000");
    writes(&u64::MAX, "cfffffffffffffffff");
    writes(&-1i64, "ff");
    writes(&-32i64, "e0");
    writes(&-33i64, "d0df");
    writes(&-129i64, "d1ff7f");
    writes(&-32_769i64, "d2ffff7fff");
    writes(&i64::MIN, "d38000000000000000");
    writes(&true, "c3");
    writes(&1.5f64, "cb3ff8000000000000");
    writes(&1.5f32, "ca3fc00000");
    writes(&None::<u8>, "c0");
}

#[test]
fn text_and_bytes_are_raw() {
    writes("abc", "a3616263");
    assert_eq!(msgpack::to_vec(&"x".repeat(31))[0], 0xbf);
    assert_eq!(msgpack::to_vec(&"x".repeat(32))[..3], [0xda, 0, 32]);
    assert_eq!(msgpack::to_vec(&"x".repeat(65_536))[..5], [0xdb, 0, 1, 0, 0]);
    writes(&Blob::from(&b"\xff\x00"[..]), "a2ff00");
    writes(&Blob::default(), "c0");
    writes(&GoDuration::from_secs(1), "ce3b9aca00");
}

#[test]
fn fields_are_sorted_on_every_level() {
    let inner = Sample { zulu: 2, ..Sample::default() };
    let sample = Sample { zulu: 1, nested: vec![inner], ..Sample::default() };
    let bytes = msgpack::to_vec(&sample);
    let order: Vec<usize> = ["Alpha", "Bytes", "Flag", "Free", "Nested", "Ratio", "Span", "Text"]
        .iter()
        .map(|name| bytes.windows(name.len()).position(|w| w == name.as_bytes()).unwrap())
        .collect();
    assert!(order.is_sorted());
    assert_eq!(bytes[0], 0x89);
    assert_eq!(bytes.last(), Some(&1), "Zulu of the outer struct comes last");
    assert_eq!(msgpack::from_slice(&bytes), Ok(sample));
}

#[track_caller]
fn reads(hex: &str, expected: Sample) {
    assert_eq!(msgpack::from_slice::<Sample>(&unhex(hex)), Ok(expected), "{hex}");
}

#[test]
fn reading_is_liberal() {
    let zulu = |zulu| Sample { zulu, ..Sample::default() };
    reads("c0", zulu(0));
    reads("80", zulu(0));
    reads("81 a45a756c75 d20000000 7", zulu(7));
    reads("81 d9045a756c75 cf0000000000000007", zulu(7));
    reads("82 a45a756c75 07 a34e6577 93 01 81a161c0 c403010203", zulu(7));
    reads("82 a45a756c75 c0 03 07", zulu(0));
    reads("81 a5526174696f 03", Sample { ratio: 3.0, ..Sample::default() });
    reads("81 a4466c6167 01", Sample { flag: true, ..Sample::default() });
    reads("81 a6 4e6573746564 c0", zulu(0));
    reads("81 a454657874 c402ff41", Sample { text: "\u{fffd}A".into(), ..Sample::default() });
    reads(
        "81 a54279746573 c402ff41",
        Sample { bytes: Blob::from(&b"\xffA"[..]), ..Sample::default() },
    );
}

#[test]
fn a_struct_may_be_an_array_in_the_order_of_sorted_fields() {
    reads(
        "99 05 c0 c3 80 c0 c0 c0 a178 07",
        Sample { alpha: Some(5), flag: true, text: "x".into(), zulu: 7, ..Sample::default() },
    );
    reads("91 05", Sample { alpha: Some(5), ..Sample::default() });
    reads(
        "9b 05 c0 c3 80 c0 c0 c0 a178 07 01 91c0",
        Sample { alpha: Some(5), flag: true, text: "x".into(), zulu: 7, ..Sample::default() },
    );
}

#[test]
fn bad_bytes_are_refused_without_believing_their_lengths() {
    let refuses = |hex: &str, expected: Error| {
        assert_eq!(msgpack::from_slice::<Sample>(&unhex(hex)), Err(expected), "{hex}");
    };
    refuses("", Error::UnexpectedEnd);
    refuses("dfffffffff", Error::UnexpectedEnd);
    refuses("ddffffffff", Error::UnexpectedEnd);
    refuses("81 a454657874 dbffffffff", Error::UnexpectedEnd);
    refuses("81 a64e6573746564 ddffffffff 01", Error::UnexpectedEnd);
    refuses("c1", Error::UnknownMarker(0xc1));
    refuses("03", Error::Mismatch { expected: "a map", marker: 0x03 });
    let deep: Vec<u8> = [unhex("81 a446726565 81 a161"), vec![0x91; 500]].concat();
    assert_eq!(msgpack::from_slice::<Sample>(&deep), Err(Error::TooDeep));
}

#[test]
fn an_integer_must_fit_its_type() {
    assert_eq!(msgpack::from_slice::<u8>(&unhex("cd0100")), Err(Error::OutOfRange(256)));
    assert_eq!(msgpack::from_slice::<u64>(&unhex("ff")), Err(Error::OutOfRange(-1)));
}

#[test]
fn a_registration_survives() {
    let text = br#"{"Node": "n", "Address": "a", "NodeMeta": {"a": "b"},
        "Service": {"Service": "s", "Port": 80, "Tags": ["x"], "Weights": {"Passing": 2, "Warning": 1},
            "Proxy": {"Config": {"x": {"y": [1, -2, 2.5, null, "t", true]}}, "Upstreams": [{"DestinationName": "d"}]}},
        "Checks": [{"Name": "c", "Definition": {"HTTP": "h", "TTL": "5s", "Header": {"A": ["b"]}}}]}"#;
    let request: RegisterRequest = types::json::decode(text, types::json::Unknown::Deny).unwrap();
    let bytes = msgpack::to_vec(&request);
    assert_eq!(msgpack::from_slice(&bytes), Ok(request));
}

/// Real servers take an empty list for something else than none, and count a registration
/// that differs in nothing else as a change.
#[test]
fn a_registration_has_no_list_that_nobody_gave() {
    let request = RegisterRequest {
        service: Some(NodeService::default()),
        check: Some(HealthCheck::default()),
        checks: Some(vec![HealthCheck::default()]),
        ..RegisterRequest::default()
    };
    fn has_empty(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(rows) => rows.is_empty() || rows.iter().any(has_empty),
            // A struct without anything is a struct.
            serde_json::Value::Object(members) => members.values().any(has_empty),
            _ => false,
        }
    }
    let sent: serde_json::Value = msgpack::from_slice(&msgpack::to_vec(&request)).unwrap();
    assert!(!has_empty(&sent), "{sent}");
    assert_eq!(sent["Check"]["ServiceTags"], serde_json::Value::Null);
    let shown = types::json::encode(&NodeService::default());
    assert!(String::from_utf8(shown).unwrap().contains("\"Tags\":[]"), "people are shown a list");
}

#[test]
fn what_json_lets_in_at_its_deepest_survives_inside_a_command() {
    let depth = types::json::MAX_DEPTH;
    let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let value = types::json::decode(text.as_bytes(), types::json::Unknown::Deny).unwrap();
    let sample = Sample { free: BTreeMap::from([("x".to_owned(), value)]), ..Sample::default() };
    let outer = Sample { nested: vec![sample], ..Sample::default() };
    assert_eq!(msgpack::from_slice(&msgpack::to_vec(&outer)), Ok(outer));
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        (-1e9..1e9f64).prop_map(serde_json::Value::from),
        ".{0,40}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(serde_json::Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..20)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let free = prop::collection::btree_map(".{0,8}", value(), 0..4);
    (any::<i64>(), any::<Option<u64>>(), ".{0,40}", any::<bool>(), any::<f32>(), bytes, free)
        .prop_map(|(zulu, alpha, text, flag, ratio, bytes, free)| Sample {
            zulu,
            alpha,
            nested: vec![Sample { zulu, ..Sample::default() }; usize::from(flag)],
            span: GoDuration::from_nanos(zulu),
            bytes: Blob(bytes.into()),
            text,
            flag,
            ratio: ratio.into(),
            free,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_back(sample in sample()) {
        let bytes = msgpack::to_vec(&sample);
        prop_assert_eq!(msgpack::value_len(&bytes), Ok(Some(bytes.len())));
        prop_assert_eq!(msgpack::from_slice::<Sample>(&bytes), Ok(sample));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = msgpack::from_slice::<Sample>(&bytes);
        let _ = msgpack::from_slice::<NodeService>(&bytes);
        let _ = msgpack::from_slice::<HealthCheck>(&bytes);
        let _ = msgpack::from_slice::<serde_json::Value>(&bytes);
        let _ = msgpack::value_len(&bytes);
    }

    #[test]
    fn a_damaged_message_does_not_make_the_reader_panic(
        sample in sample(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = msgpack::to_vec(&sample);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = msgpack::from_slice::<Sample>(&bytes);
        let _ = msgpack::from_slice::<Sample>(&bytes[..at]);
    }
}

/// A struct whose fields do not come in order.
#[derive(Serialize)]
struct Unordered {
    m: u8,
    z: Vec<u8>,
    c: &'static str,
}

#[derive(Serialize)]
struct Beside {
    a: u8,
    d: Option<u8>,
    zz: bool,
}

#[derive(Serialize)]
struct AsOne {
    a: u8,
    c: &'static str,
    d: Option<u8>,
    m: u8,
    z: Vec<u8>,
    zz: bool,
}

#[test]
fn two_structs_are_joined_into_one_map_in_order() {
    let main = Unordered { m: 1, z: vec![2; 40], c: "c" };
    let beside = Beside { a: 3, d: None, zz: true };
    let as_one = AsOne { a: 3, c: "c", d: None, m: 1, z: vec![2; 40], zz: true };
    let mut joined = b"before".to_vec();
    msgpack::write_joined(&mut joined, &main, &beside);
    assert_eq!(joined, [b"before".to_vec(), msgpack::to_vec(&as_one)].concat());
    let mut other_way = Vec::new();
    msgpack::write_joined(&mut other_way, &beside, &main);
    assert_eq!(other_way, msgpack::to_vec(&as_one));
}

#[test]
#[should_panic(expected = "only a struct can be joined")]
fn a_list_cannot_be_joined_with_a_struct() {
    msgpack::write_joined(&mut Vec::new(), &[1, 2], &Beside { a: 3, d: None, zz: true });
}

#[test]
fn how_much_is_missing_is_known_at_every_byte() {
    let bytes = unhex("83 a161 db00000003 616263 a162 93 01 cd0100 c0 da0001 78 d50501 02");
    assert_eq!(msgpack::extent(&bytes, 64), Ok(Extent::Whole(bytes.len())));
    let behind = [&bytes[..], &[0xc1]].concat();
    assert_eq!(msgpack::extent(&behind, 64), Ok(Extent::Whole(bytes.len())));
    for end in 0..bytes.len() {
        let Ok(Extent::Short(missing)) = msgpack::extent(&bytes[..end], 64) else {
            panic!("{end} bytes are not all");
        };
        assert!((1..=bytes.len() - end).contains(&missing), "{missing} missing at {end}");
    }
    assert_eq!(msgpack::extent(&unhex("db 00010000 78"), 1), Ok(Extent::Short(65_535)));
}

#[test]
fn an_extent_s_work_is_bounded() {
    for bytes in
        [vec![0x91; 100], unhex("dd ffffffff"), unhex("df ffffffff"), unhex("82 01 02 03 04")]
    {
        assert_eq!(msgpack::extent(&bytes, 4), Err(Error::TooMany(4)));
    }
    assert_eq!(msgpack::extent(&unhex("93 010203"), 4), Ok(Extent::Whole(4)));
    assert_eq!(msgpack::extent(&unhex("c1"), 4), Err(Error::UnknownMarker(0xc1)));
}
