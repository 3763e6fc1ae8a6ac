//! Operations on the keys of a pool, as they are told to operators.

use std::collections::BTreeMap;

use gossip::serf::{KeyAnswers, KeyOperation};
use gossip::wire::Key;
use types::Datacenter;
use types::keyring::{KeyringOperation, KeyringRequest, KeyringResponse};

use crate::gossip::Pool;

/// Has the members of a pool do something with their keys. `told` says which pool it is.
pub(super) async fn operate(
    pool: &Pool,
    operation: KeyringOperation,
    request: &KeyringRequest,
    told: KeyringResponse,
) -> KeyringResponse {
    let key = || Key::from_base64(request.key.as_str()).map_err(|error| error.to_string());
    let operation = match operation {
        KeyringOperation::List => Ok(KeyOperation::List),
        KeyringOperation::Install => key().map(KeyOperation::Install),
        KeyringOperation::Use => key().map(KeyOperation::Use),
        KeyringOperation::Remove => key().map(KeyOperation::Remove),
    };
    let answers = match operation {
        Ok(operation) => {
            let answers = pool.key_operation(operation, request.relay_factor).await;
            answers.map_err(|error| error.to_string())
        }
        Err(error) => Err(error),
    };
    response(told, answers)
}

/// The pool of a kind and the datacenter of the server that asks.
pub(super) fn told(wan: bool, datacenter: &Datacenter) -> KeyringResponse {
    KeyringResponse { wan, datacenter: datacenter.clone(), ..KeyringResponse::default() }
}

fn response(told: KeyringResponse, answers: Result<KeyAnswers, String>) -> KeyringResponse {
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => return KeyringResponse { error, ..told },
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
        ..told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_answer_is_told_with_what_went_wrong() {
        let messages = [("a1".to_owned(), "Keyring is empty".to_owned())].into();
        let keys = [("k".to_owned(), 2)].into();
        let base = KeyAnswers { nodes: 3, responses: 3, keys, ..KeyAnswers::default() };
        let answers = KeyAnswers { errors: 1, messages, ..base };
        let told = told(true, &"dc1".into());
        let response = |answers| response(told.clone(), answers);
        let some = response(Ok(answers));
        assert_eq!((some.wan, some.datacenter.as_str(), some.num_nodes), (true, "dc1", 3));
        assert_eq!((some.keys.get("k"), some.messages.len()), (Some(&2), 1));
        assert_eq!(some.error, "1/3 nodes reported failure");
        let none = response(Err("illegal base64 data at input byte 0".to_owned()));
        assert_eq!(none.error, "illegal base64 data at input byte 0");
    }
}
