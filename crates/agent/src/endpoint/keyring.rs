//! `/v1/operator/keyring`: the keys that gossip is encrypted with.
//! All members of all pools are asked, or told, those of other datacenters too.

use contract::{CallError, Request, Response};
use http::Method;
use http_server::{LocalRoute, Reply};
use serde::Deserialize;
use types::SecretId;
use types::keyring::{KeyringOperation, KeyringRequest, KeyringResponse};

use super::{handler, json};
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
    key: SecretId,
}

/// How many members pass a message on to make sure that it arrives.
const RELAY_FACTOR_MAX: i64 = 5;

async fn keyring(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let lists = request.method == Method::GET;
    let body: Body =
        if lists { Body::default() } else { request.json("Request decode failed: ")? };
    check_relay_factor(request.params.text("relay-factor"))?;
    let local_only = parse_local_only(request.params.text("local-only"))?;
    let operation = match request.method {
        Method::POST => KeyringOperation::Install,
        Method::PUT => KeyringOperation::Use,
        Method::DELETE => KeyringOperation::Remove,
        _ => KeyringOperation::List,
    };
    let Some(server) = agent.delegate().server() else {
        return Err(CallError::failed("keyring operations must run against a server node"));
    };
    let asked = KeyringRequest {
        datacenter: agent.config().identity.datacenter.clone(),
        key: body.key,
        local_only,
        operation: operation.as_str().to_owned(),
        relay_factor: request.params.text("relay-factor").parse().unwrap_or(0),
        token: request.token.clone(),
        ..KeyringRequest::default()
    };
    let responses = server::operate_keys(server, asked).await?;
    let errors = complaints(&responses);
    if !errors.is_empty() {
        return Err(CallError::failed(multi_error::list(&errors)));
    }
    match lists {
        true => Ok(json(request, &responses)),
        false => Ok(Response::ok().into()),
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
        let response = |wan, node: &str| KeyringResponse {
            wan,
            datacenter: "dc1".into(),
            error: "1/1 nodes reported failure".to_owned(),
            messages: [(node.to_owned(), "Keyring is empty (encryption not enabled)".to_owned())]
                .into(),
            ..KeyringResponse::default()
        };
        let responses = [response(true, "a1.dc1"), response(false, "a1")];
        let expected = "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\
                        \t* a1.dc1: Keyring is empty (encryption not enabled)\n\
                        \t* dc1 (LAN) error: 1/1 nodes reported failure\n\
                        \t* a1: Keyring is empty (encryption not enabled)\n\n";
        assert_eq!(multi_error::list(&complaints(&responses)), expected);
        let fine = KeyringResponse::default();
        let wrong = KeyringResponse {
            datacenter: "dc2".into(),
            error: "No path to datacenter".to_owned(),
            ..KeyringResponse::default()
        };
        assert_eq!(complaints(&[fine, wrong]), ["dc2 (LAN) error: No path to datacenter"]);
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
