//! The JSON dialect, seen through the structs that use it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use types::catalog::{CheckServiceNode, NodeService, RegisterRequest, Weights};
use types::check::{CheckDefinition, HealthCheck};
use types::json::{self, Unknown};
use types::{Blob, GoDuration};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Sample {
    name: String,
    count: i64,
    #[serde(alias = "wait_time")]
    wait_time: GoDuration,
    tags: Vec<String>,
    nested: Option<Box<Sample>>,
    meta: BTreeMap<String, String>,
    ratio: f64,
    value: Blob,
    free: serde_json::Value,
}

#[track_caller]
fn reads(text: &str, expected: Sample) {
    assert_eq!(json::decode::<Sample>(text.as_bytes(), Unknown::Deny), Ok(expected), "{text}");
}

#[track_caller]
fn refuses<T: serde::de::DeserializeOwned>(text: &str, expected: &str) {
    let error = json::decode::<T>(text.as_bytes(), Unknown::Deny).err().map(|e| e.to_string());
    assert_eq!(error.as_deref(), Some(expected), "{text}");
}

#[test]
fn names_match_without_regard_to_case_and_the_exact_one_is_preferred() {
    let named = |name: &str| Sample { name: name.into(), ..Sample::default() };
    reads(r#"{"name": "a"}"#, named("a"));
    reads(r#"{"NAME": "a", "nested": null}"#, named("a"));
    reads(r#"{"Name": "a", "name": "b"}"#, named("b"));
    reads(
        r#"{"nEsTeD": {"nAmE": "x"}}"#,
        Sample { nested: Some(Box::new(named("x"))), ..Sample::default() },
    );
}

#[test]
fn the_last_of_equal_keys_wins_and_null_leaves_a_field_alone() {
    let counted = |count| Sample { count, ..Sample::default() };
    reads(r#"{"Count": 1, "Count": 2}"#, counted(2));
    reads(r#"{"Count": 1, "Count": null}"#, counted(1));
    reads(
        r#"{"Name": null, "Tags": null, "Meta": null, "Ratio": null, "Value": null}"#,
        counted(0),
    );
    reads("null", counted(0));
    let weights = json::decode::<Weights>(br#"{"Passing": null, "Warning": 3}"#, Unknown::Deny);
    assert_eq!(weights, Ok(Weights { passing: 1, warning: 3 }));
}

#[test]
fn what_follows_the_first_value_is_not_looked_at() {
    reads("{} trailing", Sample::default());
    let whole = json::decode_whole::<Sample>(b"{} trailing", Unknown::Deny).unwrap_err();
    assert_eq!(whole.to_string(), "invalid character 't' after top-level value");
    let whole = json::decode_whole::<Sample>(b"{", Unknown::Deny).unwrap_err();
    assert_eq!(whole.to_string(), "unexpected end of JSON input");
}

#[test]
fn snake_case_is_read_and_yields_to_the_plain_spelling() {
    let waiting = |s| Sample { wait_time: GoDuration::from_secs(s), ..Sample::default() };
    reads(r#"{"wait_time": "2s"}"#, waiting(2));
    reads(r#"{"WaitTime": "1s", "wait_time": "2s"}"#, waiting(1));
    reads(r#"{"WaitTime": 3000000000}"#, waiting(3));
    reads(r#"{"wait_time": "2s", "WaitTime": "1s"}"#, waiting(1));
    let check = json::decode::<CheckDefinition>(br#"{"ID": "a", "CheckID": "b"}"#, Unknown::Deny);
    assert_eq!(check.unwrap().check_id, types::CheckId::from("a"));
}

#[test]
fn text_is_unescaped_as_in_go() {
    let named = |name: &str| Sample { name: name.into(), ..Sample::default() };
    reads(r#"{"Name": "a\n\"\\\/A😀"}"#, named("a\n\"\\/A😀"));
    reads(r#"{"Name": "\ud83d!\udc00"}"#, named("\u{fffd}!\u{fffd}"));
    let bytes = b"{\"Name\": \"a\xffb\"}";
    assert_eq!(json::decode::<Sample>(bytes, Unknown::Deny), Ok(named("a\u{fffd}b")));
}

#[test]
fn mistakes_of_syntax_are_told_in_the_words_of_go() {
    refuses::<Sample>("", "EOF");
    refuses::<Sample>(" \n", "EOF");
    refuses::<Sample>("{", "unexpected EOF");
    refuses::<Sample>(r#"{"Name": "a"#, "unexpected EOF");
    refuses::<Sample>("not json", "invalid character 'o' in literal null (expecting 'u')");
    refuses::<Sample>("x", "invalid character 'x' looking for beginning of value");
    refuses::<Sample>("'", r"invalid character '\'' looking for beginning of value");
    refuses::<Sample>("[1,]", "invalid character ']' looking for beginning of value");
    refuses::<Sample>(
        r#"{"a":1,}"#,
        "invalid character '}' looking for beginning of object key string",
    );
    refuses::<Sample>(r#"{"a" 1}"#, "invalid character '1' after object key");
    refuses::<Sample>(r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair");
    refuses::<Sample>("[1 2]", "invalid character '2' after array element");
    refuses::<Sample>("\"a\nb\"", r"invalid character '\n' in string literal");
    refuses::<Sample>(r#""\x""#, "invalid character 'x' in string escape code");
    refuses::<Sample>(r#""\u12g4""#, "invalid character 'g' in \\u hexadecimal character escape");
    refuses::<Sample>("-x", "invalid character 'x' in numeric literal");
    refuses::<Sample>("1.x", "invalid character 'x' after decimal point in numeric literal");
    refuses::<Sample>("1ex", "invalid character 'x' in exponent of numeric literal");
    refuses::<Sample>("é", "invalid character 'Ã' looking for beginning of value");
    refuses::<Sample>(&"[".repeat(200), "exceeded max depth");
}

#[test]
fn mistakes_of_type_are_told_in_the_words_of_go() {
    refuses::<Sample>(r#"{"Nope": 1, "Count": "x"}"#, "json: unknown field \"Nope\"");
    refuses::<RegisterRequest>(
        r#"{"Node": "n", "Address": 5}"#,
        "json: cannot unmarshal number into Go struct field RegisterRequest.Address of type string",
    );
    refuses::<RegisterRequest>(
        r#"{"service": {"port": "x"}}"#,
        "json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
    );
    refuses::<Sample>(
        r#"{"Count": 1.5}"#,
        "json: cannot unmarshal number 1.5 into Go struct field Sample.Count of type int",
    );
    refuses::<Sample>("[]", "json: cannot unmarshal array into Go value of type structs.Sample");
    refuses::<Sample>(r#"{"WaitTime": "abc"}"#, "time: invalid duration \"abc\"");
}

#[test]
fn a_struct_with_a_dotted_name_hides_what_is_around_it() {
    #[derive(Debug, Default, Deserialize)]
    #[serde(rename = ".Alias", rename_all = "PascalCase", default)]
    #[allow(dead_code, reason = "only its error is looked at")]
    struct Inner {
        port: i64,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[allow(dead_code, reason = "only its error is looked at")]
    struct Outer {
        inner: Inner,
    }
    let expected = "json: cannot unmarshal string into Go struct field .Alias.Port of type int";
    refuses::<Inner>(r#"{"Port": "x"}"#, expected);
    refuses::<Outer>(r#"{"Inner": {"Port": "x"}}"#, expected);
}

#[test]
fn unknown_fields_are_skipped_where_consul_skips_them() {
    let check = r#"{"Definition": {"Nope": 1, "HTTP": "http://x"}}"#;
    let check = json::decode::<HealthCheck>(check.as_bytes(), Unknown::Deny).unwrap();
    assert_eq!(check.definition.http, "http://x");
    let service = json::decode::<NodeService>(br#"{"Connect": {"Nope": 1}}"#, Unknown::Deny);
    assert!(service.is_ok());
    assert_eq!(
        json::decode::<Sample>(br#"{"Nope": {"a": [1]}}"#, Unknown::Ignore),
        Ok(Sample::default())
    );
    let error = json::decode::<NodeService>(br#"{"Namespace": "x"}"#, Unknown::Deny).unwrap_err();
    assert_eq!(error.unknown_field(), Some("Namespace"));
}

#[test]
fn text_is_escaped_and_floats_are_spelled_as_in_go() {
    let check = |value: serde_json::Value, expected: &str| {
        assert_eq!(String::from_utf8(json::encode(&value)).unwrap(), expected);
    };
    check(
        "<a href=\"x\">&é\u{2028}\u{2029}".into(),
        r#""\u003ca href=\"x\"\u003e\u0026é\u2028\u2029""#,
    );
    check("\u{0}\u{8}\u{c}\n\r\t\u{1f}\u{7f}".into(), "\"\\u0000\\b\\f\\n\\r\\t\\u001f\u{7f}\"");
    check(
        serde_json::json!([1.0, 0.5, 1e20, 1e21, 1.5e-7, 1e-6, -0.0]),
        "[1,0.5,100000000000000000000,1e+21,1.5e-7,0.000001,-0]",
    );
    check(serde_json::json!({"b": [], "a": {}}), r#"{"a":{},"b":[]}"#);
}

#[test]
fn pretty_output_is_indented_by_four_and_keeps_empty_things_together() {
    let value = serde_json::json!({"a": {}, "b": [], "c": [1, {"d": null}], "e": [[]]});
    let expected = r#"{
    "a": {},
    "b": [],
    "c": [
        1,
        {
            "d": null
        }
    ],
    "e": [
        []
    ]
}"#;
    assert_eq!(String::from_utf8(json::encode_pretty(&value)).unwrap(), expected);
}

#[test]
fn empty_objects_have_the_shape_that_consul_shows() {
    let entry =
        CheckServiceNode { checks: vec![HealthCheck::default().into()], ..Default::default() };
    let expected = concat!(
        r#"{"Node":{"ID":"","Node":"","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null,"CreateIndex":0,"ModifyIndex":0},"#,
        r#""Service":{"ID":"","Service":"","Tags":[],"Address":"","Meta":null,"Weights":null,"EnableTagOverride":false,"#,
        r#""Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":0,"ModifyIndex":0},"#,
        r#""Checks":[{"Node":"","CheckID":"","Name":"","Status":"critical","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"#,
        r#""Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}]}"#,
    );
    assert_eq!(String::from_utf8(json::encode(&entry)).unwrap(), expected);
}

#[test]
fn a_value_that_was_parsed_before_decodes_alike() {
    let value = serde_json::json!({"nAmE": "x", "count": 7, "free": {"a": [1, -2, 2.5, null]}});
    let decoded: Sample = json::decode_value(value.clone(), Unknown::Deny).unwrap();
    let bytes = serde_json::to_vec(&value).unwrap();
    assert_eq!(Ok(decoded), json::decode(&bytes, Unknown::Deny));
}

fn sample() -> impl Strategy<Value = Sample> {
    let meta = prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4);
    let tags = prop::collection::vec(".{0,8}", 0..4);
    let bytes = prop::collection::vec(any::<u8>(), 0..16);
    (".{0,40}", any::<i64>(), any::<i64>(), tags, meta, -1e9..1e9f64, bytes).prop_map(
        |(name, count, wait, tags, meta, ratio, bytes)| Sample {
            name: name.clone(),
            count,
            wait_time: GoDuration::from_nanos(wait),
            tags: tags.clone(),
            nested: Some(Box::new(Sample { name, ..Sample::default() })),
            meta,
            ratio,
            value: Blob(bytes.into()),
            free: serde_json::json!({"tags": tags, "count": count}),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_back(sample in sample()) {
        let compact = json::decode::<Sample>(&json::encode(&sample), Unknown::Deny);
        prop_assert_eq!(compact.as_ref(), Ok(&sample));
        let pretty = json::decode_whole(&json::encode_pretty(&sample), Unknown::Deny);
        prop_assert_eq!(pretty, Ok(sample));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = json::decode::<Sample>(&bytes, Unknown::Ignore);
    }

    #[test]
    fn no_json_like_text_makes_the_decoder_panic(text in r#"[\[\]{}",:0-9eE.\\untrfalse NameTgsWi_-]{0,64}"#) {
        let ours = json::decode_whole::<serde_json::Value>(text.as_bytes(), Unknown::Deny);
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        if let Ok(theirs) = theirs {
            prop_assert_eq!(ours.as_ref(), Ok(&theirs));
        }
        let _ = json::decode::<RegisterRequest>(text.as_bytes(), Unknown::Ignore);
    }
}

#[test]
fn stored_rows_show_empty_lists_as_null() {
    #[derive(Serialize)]
    struct Row {
        tags: Vec<&'static str>,
        nested: Vec<Vec<u8>>,
    }
    #[derive(Serialize)]
    struct Reply {
        rows: Vec<Row>,
        after: u8,
    }
    let nested = || vec![vec![1], vec![]];
    let rows =
        vec![Row { tags: vec![], nested: nested() }, Row { tags: vec!["a"], nested: vec![] }];
    let text = |rows, pretty| {
        String::from_utf8(json::encode_stored(&Reply { rows, after: 7 }, pretty)).unwrap()
    };
    assert_eq!(text(vec![], false), r#"{"rows":[],"after":7}"#);
    assert_eq!(text(vec![], true), "{\n    \"rows\": [],\n    \"after\": 7\n}");
    let pretty = text(vec![Row { tags: vec![], nested: nested() }], true);
    let expected = "{
    \"rows\": [
        {
            \"tags\": null,
            \"nested\": [
                [
                    1
                ],
                null
            ]
        }
    ],
    \"after\": 7
}";
    assert_eq!(pretty, expected);
    assert_eq!(
        text(rows, false),
        r#"{"rows":[{"tags":null,"nested":[[1],null]},{"tags":["a"],"nested":null}],"after":7}"#
    );
}
