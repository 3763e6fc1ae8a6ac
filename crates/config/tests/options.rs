//! The lists of options and flags hold together.

use std::collections::BTreeSet;

use config::flags::{AGENT_FLAGS, FlagKind, FlagTarget, Instead};
use config::options::definitions::{CHECK, SERVICE};
use config::options::{self, Kind, deprecated};
use types::GoDuration;

#[test]
fn keys_are_unique_lower_case_and_no_key_is_a_block() {
    let mut seen = BTreeSet::new();
    for option in options::all() {
        assert!(seen.insert(option.key), "{} stands twice", option.key);
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c);
        assert!(option.key.chars().all(allowed), "{}", option.key);
        assert!(!option.help.is_empty(), "{} has no help", option.key);
    }
    for key in &seen {
        let below = format!("{key}.");
        assert!(!seen.iter().any(|other| other.starts_with(&below)), "{key} is a block too");
    }
    assert!(seen.len() > 280, "{} options", seen.len());
}

#[test]
fn defaults_have_the_type_of_their_option() {
    for option in options::all().filter(|option| !option.default.is_empty()) {
        let ok = match option.kind {
            Kind::Bool => matches!(option.default, "true" | "false"),
            Kind::Int => option.default.parse::<i64>().is_ok(),
            Kind::Float => option.default.parse::<f64>().is_ok(),
            Kind::Duration => GoDuration::parse(option.default).is_ok(),
            Kind::Str => true,
            _ => false,
        };
        assert!(ok, "{} = {}", option.key, option.default);
    }
}

#[test]
fn old_keys_lead_to_options_and_are_none_themselves() {
    for entry in deprecated::DEPRECATED {
        assert!(entry.new.is_empty() || options::find(entry.new).is_some(), "{}", entry.new);
        assert!(options::find(entry.old).is_none(), "{}", entry.old);
    }
}

#[test]
fn flags_are_sorted_and_set_options_of_their_type() {
    assert!(AGENT_FLAGS.is_sorted_by(|a, b| a.name < b.name));
    for flag in AGENT_FLAGS {
        assert!(!flag.help.is_empty());
        match flag.instead {
            Some(Instead::Flag(text)) => {
                let name = text.split('=').next().unwrap();
                assert!(AGENT_FLAGS.iter().any(|flag| flag.name == name), "{text}");
            }
            Some(Instead::Field(key)) => assert!(options::find(key).is_some(), "{key}"),
            None => {}
        }
        let FlagTarget::Option(key) = flag.target else { continue };
        let option = options::find(key).unwrap_or_else(|| panic!("-{} sets {key}", flag.name));
        let same = matches!(
            (flag.kind, option.kind),
            (FlagKind::Bool, Kind::Bool)
                | (FlagKind::Str, Kind::Str)
                | (FlagKind::Int, Kind::Int)
                | (FlagKind::Duration, Kind::Duration)
                | (FlagKind::List, Kind::List)
                | (FlagKind::Map, Kind::Map)
        );
        assert!(same, "-{} and {key} differ in type", flag.name);
    }
    assert_eq!(AGENT_FLAGS.len(), 68);
}

#[test]
fn every_field_of_a_definition_reads_into_its_struct() {
    // A name that serde does not know would be dropped without a word.
    for (fields, is_service) in [(SERVICE, true), (CHECK, false)] {
        for field in fields.iter().filter(|field| !field.json.is_empty() && field.key != "script") {
            let value = match field.kind {
                Kind::Bool => serde_json::json!(true),
                Kind::Int => serde_json::json!(7),
                Kind::Duration => serde_json::json!("7s"),
                Kind::List => serde_json::json!(["x"]),
                Kind::Map => serde_json::json!({"x": "y"}),
                Kind::ListMap => serde_json::json!({"x": ["y"]}),
                Kind::Str => serde_json::json!("x"),
                _ => continue,
            };
            let json = serde_json::json!({ field.json: value });
            let back = if is_service {
                let read: types::service::ServiceDefinition =
                    serde_json::from_value(json.clone()).unwrap();
                serde_json::to_value(read).unwrap()
            } else {
                let read: types::check::CheckDefinition =
                    serde_json::from_value(json.clone()).unwrap();
                serde_json::to_value(read).unwrap()
            };
            assert_eq!(back, json, "{}", field.key);
        }
    }
}

#[test]
fn every_reloadable_option_belongs_to_a_part_of_the_agent() {
    for option in options::all() {
        assert_eq!(
            config::reload::part_of(option.key).is_some(),
            option.reloadable,
            "{}",
            option.key
        );
    }
}

#[test]
fn the_list_of_options_changes_only_on_purpose() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata/options.list");
    let mut lines: Vec<_> = options::all()
        .map(|option| {
            let kind = format!("{:?}", option.kind);
            let kind = kind.split('(').next().unwrap_or_default().to_owned();
            let reload = if option.reloadable { " reload" } else { "" };
            // What happens when it is set.
            let state = match option {
                option if option.enterprise => "enterprise".to_owned(),
                option if option.help == "Not configurable." => "fixed".to_owned(),
                option if option.is_without_effect() => {
                    format!("without effect until there is {:?}", option.feature)
                }
                _ => "works".to_owned(),
            };
            format!("{} {kind} {:?}{reload}: {state}", option.key, option.default)
        })
        .collect();
    lines.sort();
    let printed = lines.join("\n") + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &printed).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), printed);
}
