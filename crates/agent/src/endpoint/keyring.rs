//! `/v1/operator/keyring` (`reference/http-api.md` 2.12). What is asked is looked at; the
//! keys belong to gossip, which this version does not have.

use ::acl::{Permission, Resource};
use contract::{CallError, ErrorKind, Request};
use http::Method;
use http_server::{LocalRoute, Reply};
use serde::Deserialize;

use super::{AuthorizerHook, handler};

const PATH: &str = "/v1/operator/keyring";

/// Most other nodes that pass an answer on.
const RELAY_FACTOR_MAX: i64 = 5;

/// The body of all but a list.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct KeyringBody {
    #[allow(dead_code, reason = "decoded so that a wrong body is refused")]
    key: String,
}

/// The route.
pub(crate) fn routes(authorizer: &AuthorizerHook) -> Vec<LocalRoute> {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    let handle = handler(authorizer, |who, request| async move { handle(&who, &request) });
    let verbs = methods.map(|method| (method, handle.clone())).into();
    vec![LocalRoute { path: PATH, verbs }]
}

fn handle(authorizer: &AuthorizerHook, request: &Request) -> Result<Reply, CallError> {
    let lists = request.method == Method::GET;
    if !lists {
        request.json::<KeyringBody>("Request decode failed: ")?;
    }
    check_relay_factor(request.params.text("relay-factor"))?;
    check_local_only(request.params.text("local-only"), lists)?;
    let permission = match lists {
        true => Permission::read(Resource::Keyring, ""),
        false => Permission::write(Resource::Keyring, ""),
    };
    authorizer(&request.token).require(permission)?;
    let text = format!("{PATH} is not available in this version of Proconsul yet");
    Err(CallError::new(ErrorKind::NotAvailable, text))
}

fn check_relay_factor(text: &str) -> Result<(), CallError> {
    if text.is_empty() {
        return Ok(());
    }
    let Ok(factor) = text.parse::<i64>() else {
        let text =
            format!("Error parsing relay factor: strconv.Atoi: parsing {text:?}: invalid syntax");
        return Err(CallError::bad_request(text));
    };
    if !(0..=RELAY_FACTOR_MAX).contains(&factor) {
        let text =
            format!("Invalid relay-factor: Relay factor must be in range: [0, {RELAY_FACTOR_MAX}]");
        return Err(CallError::bad_request(text));
    }
    Ok(())
}

/// The texts that Go takes for a boolean.
fn check_local_only(text: &str, lists: bool) -> Result<(), CallError> {
    let local = match text {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
        "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
        _ => {
            let text = format!(
                "Error parsing local-only: strconv.ParseBool: parsing {text:?}: invalid syntax"
            );
            return Err(CallError::bad_request(text));
        }
    };
    if local && !lists {
        let text = "Invalid use of local-only: local-only can only be set for list requests";
        return Err(CallError::bad_request(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::local::tests::Endpoints;

    async fn refused(what: &str, body: &[u8]) -> (ErrorKind, String) {
        let allow: AuthorizerHook = Arc::new(|_| ::acl::Authorizer::allow_all());
        let endpoints = Endpoints::of(routes(&allow));
        let Err(error) = endpoints.call(what, body.to_vec()).await else { panic!("{what}") };
        (error.kind(), error.text().to_owned())
    }

    #[tokio::test]
    async fn wrong_requests_are_refused_in_the_words_of_consul() {
        for (what, body, text) in [
            ("PUT /v1/operator/keyring", &b""[..], "Request decode failed: EOF"),
            ("POST /v1/operator/keyring", b"{", "Request decode failed: unexpected EOF"),
            (
                "GET /v1/operator/keyring?relay-factor=9",
                b"",
                "Invalid relay-factor: Relay factor must be in range: [0, 5]",
            ),
            (
                "GET /v1/operator/keyring?relay-factor=x",
                b"",
                "Error parsing relay factor: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "GET /v1/operator/keyring?local-only=x",
                b"",
                "Error parsing local-only: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "DELETE /v1/operator/keyring?local-only=true",
                b"{\"Key\": \"x\"}",
                "Invalid use of local-only: local-only can only be set for list requests",
            ),
        ] {
            assert_eq!(
                refused(what, body).await,
                (ErrorKind::BadRequest, text.to_owned()),
                "{what}"
            );
        }
        let list = refused("GET /v1/operator/keyring?relay-factor=2&local-only=1", b"").await;
        assert_eq!(list.0, ErrorKind::NotAvailable);
    }
}
