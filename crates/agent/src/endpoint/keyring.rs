//! `/v1/operator/keyring`: the keys that gossip is encrypted with.
//!
//! Gossip is not encrypted yet: the keyrings of both pools are empty, and each member says
//! so, in the words of Consul's members.

use ::acl::{Permission, Resource};
use contract::{CallError, Request};
use http::Method;
use http_server::{LocalRoute, Reply};
use serde::Deserialize;
use types::go_base64;

use super::handler;
use crate::multi_error;
use crate::process::AgentHandle;

/// The route.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let run = handler(agent, |agent, request| async move { keyring(&agent, &request) });
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

fn keyring(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
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
    let complaint = match lists {
        true => Complaint::Members("Keyring is empty (encryption not enabled)"),
        false => match go_base64::decode(body.key.as_bytes()) {
            (_, Some(wrong)) => Complaint::Pool(wrong),
            (_, None) => Complaint::Members("No keyring to modify (encryption not enabled)"),
        },
    };
    let config = agent.config();
    let (node, datacenter) = (&config.identity.node_name, &config.identity.datacenter);
    let mut pools = vec![(format!("{datacenter} (LAN)"), node.to_string())];
    if config.ports.serf_wan.is_some() && !local_only {
        pools.insert(0, ("WAN".to_owned(), format!("{node}.{datacenter}")));
    }
    Err(CallError::failed(tell(&pools, &complaint)))
}

/// What is wrong.
enum Complaint {
    /// Each member says this.
    Members(&'static str),
    /// The pool was not even asked.
    Pool(String),
}

/// Everything that went wrong in all pools. Each pool is a name and its only member.
fn tell(pools: &[(String, String)], complaint: &Complaint) -> String {
    let lines: Vec<String> = pools
        .iter()
        .flat_map(|(pool, member)| match complaint {
            Complaint::Members(text) => vec![
                format!("{pool} error: 1/1 nodes reported failure"),
                format!("{member}: {text}"),
            ],
            Complaint::Pool(text) => vec![format!("{pool} error: {text}")],
        })
        .collect();
    multi_error::list(&lines)
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
        let pools =
            [("WAN".to_owned(), "a1.dc1".to_owned()), ("dc1 (LAN)".to_owned(), "a1".to_owned())];
        let empty = Complaint::Members("Keyring is empty (encryption not enabled)");
        let expected = "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\
                        \t* a1.dc1: Keyring is empty (encryption not enabled)\n\
                        \t* dc1 (LAN) error: 1/1 nodes reported failure\n\
                        \t* a1: Keyring is empty (encryption not enabled)\n\n";
        assert_eq!(tell(&pools, &empty), expected);
        let wrong = Complaint::Pool("illegal base64 data at input byte 0".to_owned());
        let expected =
            "1 error occurred:\n\t* dc1 (LAN) error: illegal base64 data at input byte 0\n\n";
        assert_eq!(tell(&pools[1..], &wrong), expected);
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
