//! Keys of the whole pool (`reference/gossip-wire.md` section 12).
//!
//! Whoever changes or lists keys asks all members with a query of serf's own; each does as it
//! is told, has the change on disk, and only then answers. The asker adds the answers up.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::action::{Action, KeyringChange, KeyringFile, OperationId, Query};
use super::core::Core;
use super::keyring_file;
use super::queries::{INTERNAL_PREFIX, Purpose, QueryOptions, QueryTooLarge};
use super::report::Report;
use crate::wire::serf::{KeyRequest, KeyResponse, SerfMessage};
use crate::wire::{Key, Keyring};

/// The least bytes that a key takes in a list, by which serf judges how many may fit.
const LISTED_KEY_BYTES_MIN: usize = 25;

/// What all members are to do with their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Know a key, so that messages under it can be read.
    Install(Key),
    /// Write under a key that is installed.
    Use(Key),
    /// Forget a key that is not the one in use.
    Remove(Key),
    /// Say which keys there are.
    List,
}

impl KeyOperation {
    fn query(&self) -> &'static str {
        match self {
            KeyOperation::Install(_) => "install-key",
            KeyOperation::Use(_) => "use-key",
            KeyOperation::Remove(_) => "remove-key",
            KeyOperation::List => "list-keys",
        }
    }

    fn key(&self) -> Bytes {
        match self {
            KeyOperation::Install(key) | KeyOperation::Use(key) | KeyOperation::Remove(key) => {
                Bytes::copy_from_slice(key.expose())
            }
            KeyOperation::List => Bytes::new(),
        }
    }
}

/// What the members said to an operation on keys. The keys do not show in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyAnswers {
    /// Members that were there when it began.
    pub nodes: usize,
    /// Those that answered.
    pub responses: usize,
    /// Those that did not do as they were told.
    pub errors: usize,
    /// What members had to say, by name.
    pub messages: BTreeMap<String, String>,
    /// How many members know each key, by its base64.
    pub keys: BTreeMap<String, usize>,
    /// How many members write under each key.
    pub primary_keys: BTreeMap<String, usize>,
}

impl KeyAnswers {
    /// Why the operation is not done everywhere, in serf's words.
    pub fn error(&self) -> Option<String> {
        if self.errors > 0 {
            return Some(format!("{}/{} nodes reported failure", self.errors, self.nodes));
        }
        let missing = self.responses != self.nodes;
        missing.then(|| format!("{}/{} nodes reported success", self.responses, self.nodes))
    }
}

impl fmt::Debug for KeyAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAnswers")
            .field("nodes", &self.nodes)
            .field("responses", &self.responses)
            .field("errors", &self.errors)
            .field("messages", &self.messages)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// Answers that are being added up.
#[derive(Clone, Debug)]
pub(super) struct KeyTally(KeyAnswers);

impl KeyTally {
    /// Takes in an answer. Whether it was the last that is to come.
    pub(super) fn take(&mut self, from: String, payload: &[u8]) -> bool {
        let answers = &mut self.0;
        answers.responses += 1;
        match SerfMessage::decode(payload) {
            Ok(SerfMessage::KeyResponse(response)) => {
                let KeyResponse { keys, message, primary_key, result } = response;
                answers.errors += usize::from(!result);
                if !result || !message.is_empty() {
                    answers.messages.insert(from, message);
                }
                for key in keys {
                    *answers.keys.entry(key).or_default() += 1;
                }
                if !primary_key.is_empty() {
                    *answers.primary_keys.entry(primary_key).or_default() += 1;
                }
            }
            // Not what it says: there may be keys in it.
            Ok(_) => {
                answers.errors += 1;
                answers.messages.insert(from, "Invalid key query response type".to_owned());
            }
            Err(error) => {
                answers.errors += 1;
                let message = format!("Failed to decode key query response: {error}");
                answers.messages.insert(from, message);
            }
        }
        answers.responses == answers.nodes
    }

    pub(super) fn into_answers(self) -> KeyAnswers {
        self.0
    }
}

/// A query whose answer waits for the disk.
#[derive(Clone, Debug)]
pub(super) struct Unpersisted {
    query: Query,
    operation: &'static str,
}

impl Core {
    /// Has all members do something with their keys.
    pub(super) fn operate_keys(
        &mut self,
        operation: &KeyOperation,
        relay_factor: u8,
        id: OperationId,
    ) -> Result<(), QueryTooLarge> {
        let nodes = self.members.present();
        let tally = KeyTally(KeyAnswers { nodes, ..KeyAnswers::default() });
        let name = format!("{INTERNAL_PREFIX}{}", operation.query());
        let payload = SerfMessage::KeyRequest(KeyRequest { key: operation.key() }).encode();
        let options = QueryOptions { relay_factor, ..QueryOptions::default() };
        self.ask(&name, payload, options, Purpose::Keys(id, tally))
    }

    /// Answers a query of serf's own.
    pub(super) fn handle_internal_query(&mut self, query: Query) {
        let name = query.name.strip_prefix(INTERNAL_PREFIX).unwrap_or(&query.name);
        let change: fn(&mut Keyring, Key) -> Result<(), String> = match name {
            // The acknowledgement is the answer.
            "ping" => return,
            "conflict" => return self.answer_conflict(&query),
            "list-keys" => return self.list_keys(&query),
            "install-key" => |keyring, key| keyring.install(key).map_err(text),
            "use-key" => |keyring, key| keyring.use_key(&key).map_err(text),
            "remove-key" => |keyring, key| keyring.remove(&key).map_err(text),
            _ => {
                let name = name.to_owned();
                return self.report(Report::UnknownQuery(name));
            }
        };
        let operation = match name {
            "install-key" => "install-key",
            "use-key" => "use-key",
            _ => "remove-key",
        };
        self.report(Report::KeyQuery(operation));
        match self.change_keys(&query.payload, change) {
            Err(message) => self.finish_key_query(&query, operation, Err(message)),
            Ok(None) => self.finish_key_query(&query, operation, Ok(())),
            Ok(Some(file)) => {
                self.last_keyring_change += 1;
                let change = KeyringChange(self.last_keyring_change);
                self.unpersisted.insert(change, Unpersisted { query, operation });
                self.out.push_back(Action::PersistKeyring(change, file));
            }
        }
    }

    /// Changes the keyring; what is to be on disk before that is told.
    fn change_keys(
        &mut self,
        payload: &[u8],
        change: fn(&mut Keyring, Key) -> Result<(), String>,
    ) -> Result<Option<KeyringFile>, String> {
        let request = match SerfMessage::decode(payload).map_err(text)? {
            SerfMessage::KeyRequest(request) => request,
            _ => return Err("Invalid key query type".to_owned()),
        };
        let Some(keyring) = &mut self.security.keyring else {
            return Err("No keyring to modify (encryption not enabled)".to_owned());
        };
        change(keyring, Key::new(&request.key).map_err(text)?)?;
        let persist = self.options.persist_keyring;
        Ok(persist.then(|| KeyringFile(keyring_file::write(keyring))))
    }

    /// A change of the keyring is on disk, or could not be written.
    pub(super) fn keyring_persisted(&mut self, change: KeyringChange, result: Result<(), String>) {
        if let Some(Unpersisted { query, operation }) = self.unpersisted.remove(&change) {
            let result = result.map_err(|why| format!("Failed to write keyring file: {why}"));
            self.finish_key_query(&query, operation, result);
        }
    }

    fn finish_key_query(
        &mut self,
        query: &Query,
        operation: &'static str,
        result: Result<(), String>,
    ) {
        let mut response = KeyResponse { result: result.is_ok(), ..KeyResponse::default() };
        if let Err(message) = result {
            self.report(Report::KeyQueryFailed(operation, message.clone()));
            response.message = message;
        }
        let sent = self.respond(query, SerfMessage::KeyResponse(response).encode());
        self.report_unsent(sent);
    }

    fn list_keys(&mut self, query: &Query) {
        const OPERATION: &str = "list-keys";
        self.report(Report::KeyQuery(OPERATION));
        let Some(keyring) = &self.security.keyring else {
            let message = "Keyring is empty (encryption not enabled)".to_owned();
            return self.finish_key_query(query, OPERATION, Err(message));
        };
        let mut response = KeyResponse {
            keys: keyring.keys().iter().map(Key::expose_base64).collect(),
            primary_key: keyring.primary().expose_base64(),
            result: true,
            message: String::new(),
        };
        // As many keys as there is room for, and word of it if they are not all.
        let all = response.keys.len();
        let mut shown = all.min(self.options.limits.response / LISTED_KEY_BYTES_MIN);
        loop {
            let answer = SerfMessage::KeyResponse(response.clone()).encode();
            if self.response_fits(query, &answer) {
                let sent = self.respond(query, answer);
                return self.report_unsent(sent);
            }
            response.keys.truncate(shown);
            response.message =
                format!("truncated key list response, showing first {shown} of {all} keys");
            match shown.checked_sub(1) {
                Some(fewer) => shown = fewer,
                None => {
                    let message = "Failed to truncate response so that it fits into message";
                    return self.finish_key_query(query, OPERATION, Err(message.to_owned()));
                }
            }
        }
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
