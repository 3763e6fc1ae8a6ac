//! JSON into the public structs, and back.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use types::catalog::{
    CheckServiceNode, DeregisterRequest, Node, NodeService, RegisterRequest, ServiceNode,
};
use types::check::{CheckDefinition, HealthCheck};
use types::json::{self, Unknown};
use types::kv::KvEntry;
use types::service::ServiceDefinition;

use super::assert_says;

/// What definitions are made of.
pub(super) const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "1",
    "-1",
    "1.5",
    "\"10s\"",
    "\"Name\":",
    "\"name\":\"web\"",
    "\"ID\":\"x\"",
    "\"id\":\"y\"",
    "\"CheckID\":\"c\"",
    "\"check_id\":\"d\"",
    "\"TTL\":\"15s\"",
    "\"ttl\":15000000000",
    "\"Interval\":\"10s\"",
    "\"interval\":\"1h\"",
    "\"HTTP\":\"http://x\"",
    "\"Args\":[\"a\"]",
    "\"ScriptArgs\":[\"b\"]",
    "\"Header\":{\"a\":[\"b\"]}",
    "\"Check\":{",
    "\"Checks\":[{",
    "\"Meta\":{\"a\":\"b\"}",
    "\"Tags\":[\"t\"]",
    "\"Port\":8080",
    "\"Weights\":{\"Passing\":1,\"Warning\":1}",
    "\"Proxy\":{\"Config\":{\"a\":1e300}}",
    "\"Connect\":{\"SidecarService\":{}}",
    "\"connect\":{\"sidecar_service\":{\"port\":1}}",
    "\"TaggedAddresses\":{\"lan\":{\"Address\":\"a\",\"Port\":1}}",
    "\"Kind\":\"connect-proxy\"",
    "\"Upstreams\":[{\"DestinationName\":\"db\"}]",
    "\"Locality\":{\"Region\":\"r\"}",
    "\"Value\":\"dmFsdWU=\"",
    "\"Flags\":18446744073709551615",
    "\"Definition\":{",
    "\"Status\":\"passing\"",
    "\"DeregisterCriticalServiceAfter\":\"90m\"",
    "\"Service\":{",
    "\"Node\":{",
    "\\ud800",
    "\"Expose\":{\"Checks\":true,\"Paths\":[{\"Path\":\"/\"}]}",
    "\"MeshGateway\":{\"Mode\":\"local\"}",
];

/// Checks one document against every struct.
pub(super) fn check(input: &[u8]) {
    survives::<RegisterRequest>(input);
    survives::<DeregisterRequest>(input);
    survives::<NodeService>(input);
    survives::<Node>(input);
    survives::<HealthCheck>(input);
    survives::<CheckServiceNode>(input);
    survives::<ServiceNode>(input);
    survives::<KvEntry>(input);
}

/// Checks one definition of a service and of a check.
pub(super) fn check_definition(input: &[u8]) {
    if let Some(service) = survives::<ServiceDefinition>(input) {
        let _ = service.effective_id();
        service.all_checks().for_each(judge);
    }
    if let Some(check) = survives::<CheckDefinition>(input) {
        judge(&check);
    }
}

fn judge(check: &CheckDefinition) {
    use checks::status::definition;
    if let Err(error) = check.validate() {
        assert_says(&error.to_string(), 0);
    }
    let _ = (check.kind(), definition::initial_status(check), definition::deregister_after(check));
    let _ = definition::timeout(check, std::time::Duration::from_secs(10));
}

/// What is accepted is the same after it was written and read again, as JSON and
/// as msgpack; what is refused is refused with words.
fn survives<T>(input: &[u8]) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let strict = json::decode::<T>(input, Unknown::Deny);
    let lenient = json::decode::<T>(input, Unknown::Ignore);
    if let Err(error) = json::decode_whole::<T>(input, Unknown::Ignore) {
        assert_says(&error.to_string(), input.len());
    }
    if let Err(error) = &strict {
        assert_says(&error.to_string(), input.len());
    }
    let value = match (strict, lenient) {
        (Ok(strict), Ok(lenient)) => {
            assert_eq!(strict, lenient);
            strict
        }
        (Ok(_), Err(error)) => panic!("accepted with fields denied, else not: {error}"),
        (Err(_), Ok(lenient)) => lenient,
        (Err(_), Err(_)) => return None,
    };
    let written = json::encode(&value);
    let second: Result<serde_json::Value, _> = serde_json::from_slice(&written);
    assert!(second.is_ok(), "not JSON: {}", String::from_utf8_lossy(&written));
    let again = json::decode_whole::<T>(&written, Unknown::Deny);
    let again =
        again.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
    assert_eq!(json::encode(&again), written, "JSON changes it");
    let packed = types::msgpack::to_vec(&value);
    let again: T = types::msgpack::from_slice(&packed).expect("we read what we write");
    assert_eq!(types::msgpack::to_vec(&again), packed, "msgpack changes it");
    Some(value)
}
