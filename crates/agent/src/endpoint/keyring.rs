//! `/v1/operator/keyring`: the keys that gossip is encrypted with.
//! All members of the pools that this server is in are asked, or told.

use std::collections::BTreeMap;

use ::acl::{Permission, Resource};
use contract::{CallError, Request, Response};
use gossip::serf::{KeyAnswers, KeyOperation};
use gossip::wire::Key;
use http::Method;
use http_server::{LocalRoute, Reply};
use serde::Deserialize;
use types::Datacenter;
use types::keyring::KeyringResponse;

use super::{handler, json};
use crate::delegate::Delegate;
use crate::multi_error;
use crate::process::AgentHandle;

/// The route.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let run = handler(agent, |agent, request| async move { keyring(&agent, &request).await });
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    let verbs = methods.map(|method| (method, run.clone())).to_vec();
    vec![LocalRoute { path: "/v1/operator/keyring", verbs }]
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    key: String,
}

/// How many members pass a message on to make sure that it arrives.
const RELAY_FACTOR_MAX: i64 = 5;

async fn keyring(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let lists = request.method == Method::GET;
    let body: Body =
        if lists { Body::default() } else { request.json("Request decode failed: ")? };
    check_relay_factor(request.params.text("relay-factor"))?;
    let local_only = parse_local_only(request.params.text("local-only"))?;
    if local_only && !lists {
        return Err(CallError::bad_request(
            "Invalid use of local-only: local-only can only be set for list requests",
        ));
    }
    let permission = match lists {
        true => Permission::read(Resource::Keyring, ""),
        false => Permission::write(Resource::Keyring, ""),
    };
    (agent.authorizer())(&request.token).require(permission)?;
    if matches!(agent.delegate(), Delegate::Client(_)) {
        return Err(CallError::failed("keyring operations must run against a server node"));
    }
    let relay_factor = request.params.text("relay-factor").parse().unwrap_or(0);
    let key = || Key::from_base64(&body.key).map_err(|error| error.to_string());
    let operation = match request.method {
        Method::POST => key().map(KeyOperation::Install),
        Method::PUT => key().map(KeyOperation::Use),
        Method::DELETE => key().map(KeyOperation::Remove),
        _ => Ok(KeyOperation::List),
    };
    let (pools, datacenter) = (agent.pools(), &agent.config().identity.datacenter);
    let wan = pools.wan().filter(|_| !local_only).map(|wan| (wan, true));
    let mut responses = Vec::new();
    for (pool, wan) in wan.into_iter().chain([(pools.lan(), false)]) {
        let answers = match &operation {
            Ok(operation) => {
                let answers = pool.key_operation(operation.clone(), relay_factor).await;
                answers.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.clone()),
        };
        responses.push(response(wan, datacenter, answers));
    }
    let errors = complaints(&responses);
    if !errors.is_empty() {
        return Err(CallError::failed(multi_error::list(&errors)));
    }
    match lists {
        true => Ok(json(request, &responses)),
        false => Ok(Response::ok().into()),
    }
}

fn response(
    wan: bool,
    datacenter: &Datacenter,
    answers: Result<KeyAnswers, String>,
) -> KeyringResponse {
    let empty =
        KeyringResponse { wan, datacenter: datacenter.clone(), ..KeyringResponse::default() };
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => return KeyringResponse { error, ..empty },
    };
    let counts = |keys: &BTreeMap<String, usize>| {
        keys.iter().map(|(key, nodes)| (key.clone(), u64::try_from(*nodes).unwrap_or(0))).collect()
    };
    KeyringResponse {
        error: answers.error().unwrap_or_default(),
        keys: counts(&answers.keys),
        primary_keys: counts(&answers.primary_keys),
        num_nodes: u64::try_from(answers.nodes).unwrap_or(0),
        messages: answers.messages,
        ..empty
    }
}

/// Everything that went wrong in all pools.
fn complaints(responses: &[KeyringResponse]) -> Vec<String> {
    let of_pool = |response: &KeyringResponse| {
        let pool = match response.wan {
            true => "WAN".to_owned(),
            false => format!("{} (LAN)", response.datacenter),
        };
        let messages = response.messages.iter().map(|(node, text)| format!("{node}: {text}"));
        std::iter::once(format!("{pool} error: {}", response.error)).chain(messages).collect()
    };
    let failed = responses.iter().filter(|response| !response.error.is_empty());
    failed.flat_map(|response| -> Vec<String> { of_pool(response) }).collect()
}

fn check_relay_factor(text: &str) -> Result<(), CallError> {
    if text.is_empty() {
        return Ok(());
    }
    let factor: i64 = text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        };
        let text = format!("Error parsing relay factor: strconv.Atoi: parsing {text:?}: {reason}");
        CallError::bad_request(text)
    })?;
    if (0..=RELAY_FACTOR_MAX).contains(&factor) {
        return Ok(());
    }
    Err(CallError::bad_request("Invalid relay-factor: Relay factor must be in range: [0, 5]"))
}

fn parse_local_only(text: &str) -> Result<bool, CallError> {
    if text.is_empty() {
        return Ok(false);
    }
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(CallError::bad_request(format!(
            "Error parsing local-only: strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_listed_pool_by_pool() {
        let answers = |member: &str| KeyAnswers {
            nodes: 1,
            responses: 1,
            errors: 1,
            messages: [(member.to_owned(), "Keyring is empty (encryption not enabled)".to_owned())]
                .into(),
            ..KeyAnswers::default()
        };
        let datacenter = Datacenter::from("dc1");
        let responses = [
            response(true, &datacenter, Ok(answers("a1.dc1"))),
            response(false, &datacenter, Ok(answers("a1"))),
        ];
        let expected = "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\
                        \t* a1.dc1: Keyring is empty (encryption not enabled)\n\
                        \t* dc1 (LAN) error: 1/1 nodes reported failure\n\
                        \t* a1: Keyring is empty (encryption not enabled)\n\n";
        assert_eq!(multi_error::list(&complaints(&responses)), expected);
        let wrong = Err("illegal base64 data at input byte 0".to_owned());
        let wrong = response(false, &datacenter, wrong);
        assert_eq!(complaints(&[wrong]), ["dc1 (LAN) error: illegal base64 data at input byte 0"]);
    }

    #[test]
    fn parameters_are_refused_in_consuls_words() {
        let check = |outcome: Result<(), CallError>, expected: &str| {
            assert_eq!(
                outcome.err().map(|error| error.text().to_owned()).as_deref(),
                Some(expected)
            );
        };
        for fine in ["", "0", "5"] {
            assert_eq!(check_relay_factor(fine), Ok(()));
        }
        let out_of_range = "Invalid relay-factor: Relay factor must be in range: [0, 5]";
        check(check_relay_factor("6"), out_of_range);
        check(check_relay_factor("-1"), out_of_range);
        let no_number = "Error parsing relay factor: strconv.Atoi: parsing \"x\": invalid syntax";
        check(check_relay_factor("x"), no_number);
        assert_eq!(parse_local_only("t"), Ok(true));
        let no_bool = "Error parsing local-only: strconv.ParseBool: parsing \"x\": invalid syntax";
        check(parse_local_only("x").map(|_| ()), no_bool);
    }
}
