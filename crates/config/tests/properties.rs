//! Whatever comes in, nothing panics, and what is right comes back.

mod support;

use config::{hcl, json, template};
use proptest::prelude::*;
use support::{Files, machine};

/// Text made of the pieces that the grammars care about.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("=".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("${".to_owned()),
        Just("<<EOF\n".to_owned()),
        Just("<<-EOF\n".to_owned()),
        Just("\nEOF\n".to_owned()),
        Just("/*".to_owned()),
        Just("*/".to_owned()),
        Just("#".to_owned()),
        Just("-0x1e+5".to_owned()),
        Just("1.5e9999".to_owned()),
        Just("\\ud800".to_owned()),
        Just("{{ GetAllInterfaces | ".to_owned()),
        Just("include \"name\" \"^eth\"".to_owned()),
        Just("math \"address\" \"+1\"".to_owned()),
        Just(" | attr \"address\" }}".to_owned()),
        Just(" | limit -1".to_owned()),
        Just("service ".to_owned()),
        Just("check ".to_owned()),
        Just("ports ".to_owned()),
        Just("http".to_owned()),
        Just("\"5x\"".to_owned()),
        Just("true".to_owned()),
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A value for any option, mostly wrong.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        Just("-1".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("1.5".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"-5s\"".to_owned()),
        Just("\"unix://\"".to_owned()),
        Just("\"{{ GetPrivateIP }}\"".to_owned()),
        Just("[]".to_owned()),
        Just("[\"x\", \"\"]".to_owned()),
        Just("{}".to_owned()),
        Just("{ x = \"y\" }".to_owned()),
        Just("[{ name = \"x\", interval = \"1s\" }]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn parsers_and_templates_never_panic(text in pieces()) {
        let _ = hcl::parse(&text);
        let _ = json::parse(&text);
        let _ = template::expand(&text, &machine().interfaces);
    }

    #[test]
    fn loading_never_panics(text in pieces(), flags in prop::collection::vec((0usize..68, "\\PC{0,8}"), 0..4)) {
        let mut sources = config::Sources { dev: true, ..Default::default() };
        sources.hcl.push(text);
        for (index, value) in flags {
            sources.flags.push((config::AGENT_FLAGS[index].name.to_owned(), value));
        }
        let _ = config::load(&sources, &Files::default(), &machine());
    }

    #[test]
    fn every_option_takes_every_value_without_a_panic(value in value()) {
        for option in config::options::all() {
            let blocks: Vec<_> = option.key.split('.').collect();
            let (last, outer) = blocks.split_last().unwrap();
            let mut text = format!("{last} = {value}");
            for block in outer.iter().rev() {
                text = format!("{block} {{ {text} }}");
            }
            let mut sources = config::Sources { dev: true, ..Default::default() };
            sources.hcl.push(text);
            let _ = config::load(&sources, &Files::default(), &machine());
        }
    }

    #[test]
    fn json_reads_as_serde_json_reads_it(text in "[\\[\\]{}:,\"a1.e\\- tn]{0,24}") {
        let ours = json::parse(&text).ok().map(|value| value.to_json());
        let theirs = serde_json::from_str::<serde_json::Value>(&text).ok();
        // Numbers too large for a float are refused by ours and by Go.
        prop_assert_eq!(ours.is_some(), theirs.is_some(), "{}", text);
    }

    #[test]
    fn a_text_survives_being_written_as_hcl_and_json(text in "\\PC{0,20}") {
        let written = serde_json::to_string(&text).unwrap();
        let read = json::parse(&written).unwrap();
        prop_assert_eq!(read, config::Value::Str(text.clone()));
        prop_assume!(!text.contains("${"));
        let read = hcl::parse(&format!("domain = {written}")).unwrap();
        let read = read.to_json();
        prop_assert_eq!(read["domain"].as_str(), Some(text.as_str()));
    }
}

#[test]
fn templates_expand_as_go_sockaddr_does() {
    let cases = [
        ("10.0.0.1", Ok("10.0.0.1")),
        ("{{ GetPrivateIP }}", Ok("10.1.2.3")),
        ("{{GetPublicIP}}", Ok("")),
        ("{{ GetPublicIPs }}", Ok("8.8.4.4")),
        ("{{ GetInterfaceIP \"eth1\" }}:80", Ok("8.8.4.4:80")),
        ("{{ GetInterfaceIPs \"eth.*\" }}", Ok("10.1.2.3 8.8.4.4")),
        (
            "{{ GetAllInterfaces | include \"type\" \"ipv4\" | join \"address\" \",\" }}",
            Ok("127.0.0.1,10.1.2.3,8.8.4.4"),
        ),
        (
            "{{ GetAllInterfaces | exclude \"name\" \"lo\" | sort \"-address\" | limit 1 | attr \"name\" }}",
            Ok("eth0"),
        ),
        (
            "{{ GetDefaultInterfaces | include \"type\" \"ipv4\" | math \"network\" \"+1\" | attr \"address\" }}",
            Ok("10.1.2.1"),
        ),
        (
            "{{ GetDefaultInterfaces | include \"type\" \"ipv4\" | math \"network\" \"-1\" | attr \"address\" }}",
            Ok("10.1.2.254"),
        ),
        (
            "{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"network\" }}",
            Ok("10.1.2.0/24"),
        ),
        (
            "{{ GetAllInterfaces | unique \"name\" | offset 1 | join \"name\" \" \" }}",
            Ok("eth0 eth1"),
        ),
        (
            "{{ GetAllInterfaces | include \"flags\" \"up|loopback\" | include \"rfc\" \"1122\" | attr \"address\" }}",
            Ok("127.0.0.1"),
        ),
        ("{{ attr \"address\" (GetPrivateInterfaces) }}", Ok("10.1.2.3")),
        ("{{ `10.9.9.9` }}", Ok("10.9.9.9")),
        ("{{ GetPrivateIP", Err("unclosed action")),
        ("{{ }}", Err("missing value for command")),
        ("{{ GetAllInterfaces | include \"rfc\" \"1\" }}", Err("unsupported RFC 1")),
        ("{{ sort \"x\" GetAllInterfaces }}", Err("unknown sort type: \"x\"")),
        ("{{ GetPrivateIP \"x\" }}", Err("wrong number of args for GetPrivateIP")),
    ];
    for (text, expected) in cases {
        let expanded = template::expand(text, &machine().interfaces);
        assert_eq!(expanded.as_deref().map_err(String::as_str), expected, "{text}");
    }
}
