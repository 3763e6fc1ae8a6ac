//! Which methods there are. `BLESS=1 cargo test -p domains --test remote` writes what is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use contract::MethodClass;

#[test]
fn every_method_of_consul_has_a_domain_or_is_named_as_missing() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/methods.list");
    let listed = fs::read_to_string(&path).expect("the list is there");
    let mut ours = BTreeMap::new();
    for domain in domains::ALL {
        for method in domain.methods {
            let entry = format!("{} {:?}", domain.name, method.class);
            assert_eq!(ours.insert(method.name, entry), None, "{} is there twice", method.name);
        }
    }
    let mut now = String::new();
    let mut known = BTreeSet::new();
    for line in listed.lines() {
        let name = line.split(' ').next().expect("a line has a beginning");
        let entry = ours.get(name).map_or("-", String::as_str);
        known.insert(name);
        match line.starts_with('#') {
            true => now.push_str(line),
            false => now.push_str(&format!("{name} {entry}")),
        }
        now.push('\n');
    }
    let unknown: Vec<_> = ours.keys().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "not a method of Consul's, and not in {path:?}: {unknown:?}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, now).expect("the list can be written");
    } else {
        assert_eq!(now, listed, "{}", path.display());
    }
}

/// What Consul does not have is named so that it never will.
#[test]
fn methods_of_our_own_do_not_take_names_of_consul() {
    const SERVICES: [&str; 17] = [
        "ACL",
        "AutoConfig",
        "AutoEncrypt",
        "Catalog",
        "ConfigEntry",
        "ConnectCA",
        "Coordinate",
        "DiscoveryChain",
        "FederationState",
        "Health",
        "Internal",
        "Intention",
        "KVS",
        "Operator",
        "PreparedQuery",
        "Session",
        "Txn",
    ];
    for method in domains::ALL.iter().flat_map(|domain| domain.methods) {
        let (service, _) = method.name.split_once('.').expect("a service and a method");
        assert!(service == "Proconsul" || SERVICES.contains(&service), "{}", method.name);
        assert_eq!(method.class == MethodClass::Exempt, service == "Operator", "{}", method.name);
    }
}

/// What nobody sent is refused in words, not with a panic.
#[test]
fn an_empty_argument_is_a_request_or_a_refusal() {
    for method in domains::ALL.iter().flat_map(|domain| domain.methods) {
        for args in [&b"\x80"[..], b"\xc0", b"", b"\xa1x", b"\x81\xa6Entity\xc3"] {
            if let Err(error) = (method.decode)(args) {
                assert!(!error.text().is_empty(), "{}", method.name);
            }
        }
    }
}
