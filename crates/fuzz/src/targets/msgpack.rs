//! msgpack into the public structs, and Raft configurations.

use std::fmt::Debug;

use raft::{Configuration, Server, ServerId, Suffrage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::catalog::{CheckServiceNode, DeregisterRequest, Node, RegisterRequest};
use types::check::{CheckDefinition, HealthCheck};
use types::kv::KvEntry;
use types::msgpack;
use types::service::ServiceDefinition;

use super::{api, assert_says, catalog_rows};

/// Checks one value against every struct.
pub(super) fn check(input: &[u8]) {
    let length = msgpack::value_len(input);
    if let Ok(Some(length)) = &length {
        assert!((1..=input.len()).contains(length));
    }
    let length = length.ok().flatten();
    survives::<RegisterRequest>(input, length);
    survives::<DeregisterRequest>(input, length);
    survives::<Node>(input, length);
    survives::<CheckServiceNode>(input, length);
    survives::<HealthCheck>(input, length);
    survives::<KvEntry>(input, length);
    survives::<ServiceDefinition>(input, length);
    survives::<CheckDefinition>(input, length);
}

fn survives<T>(input: &[u8], length: Option<usize>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    match msgpack::from_prefix::<T>(input) {
        Err(error) => assert_says(&error.to_string(), input.len()),
        Ok((value, rest)) => {
            if let Some(length) = length {
                assert_eq!(input.len() - rest.len(), length, "the reader left its value");
            }
            let packed = msgpack::to_vec(&value);
            let again: T = msgpack::from_slice(&packed).expect("we read what we write");
            assert_eq!(msgpack::to_vec(&again), packed, "msgpack changes it");
        }
    }
    if let Err(error) = msgpack::from_slice::<T>(input) {
        assert_says(&error.to_string(), input.len());
    }
}

/// Checks one configuration.
pub(super) fn check_configuration(input: &[u8]) {
    match Configuration::decode(input) {
        Err(error) => assert_says(&error.to_string(), input.len()),
        Ok(configuration) => {
            let again = Configuration::decode(&configuration.encode());
            assert_eq!(again.as_ref(), Ok(&configuration));
            if let Err(error) = configuration.validate() {
                assert_says(&error.to_string(), input.len());
            }
        }
    }
}

/// Structs, encoded.
pub(super) fn made() -> Vec<Vec<u8>> {
    let commands = api::made_commands();
    let bodies = commands.iter().map(|command| command[1..].to_vec());
    let rows = catalog_rows::instances().iter().take(3).map(msgpack::to_vec);
    bodies.chain(rows).collect()
}

/// Configurations, encoded.
pub(super) fn made_configurations() -> Vec<Vec<u8>> {
    let server = |id: &str, suffrage| Server {
        id: ServerId(id.into()),
        address: format!("{id}.example:8300").into(),
        suffrage,
    };
    let all = [
        server("a", Suffrage::Voter),
        server("b", Suffrage::Nonvoter),
        server("c", Suffrage::Voter),
    ];
    (0..=all.len())
        .map(|count| Configuration { servers: all[..count].to_vec() }.encode().to_vec())
        .collect()
}
