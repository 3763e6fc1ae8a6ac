//! What the log of a Consul cluster does to records that are carried
//! (`reference/raft-and-snapshots.md` section 7).
//!
//! These commands set or remove whole records; what else they mean in Consul is that the
//! records are in force, which here they are not. The leader has checked them: links to
//! policies and roles are not looked at again.
//!
//! Those of peerings and of the resource API are messages of another form, and are not here.

use contract::CallError;
use store::Tx;
use types::msgpack::Value;

use super::record::{
    self, AUTH_METHODS, BINDING_RULES, CONFIG_ENTRY, ConfigEntry, INTENTIONS, Kind, POLICIES,
    ROLES, TOKENS,
};
use crate::system_metadata::{self, VIRTUAL_IPS};

/// The commands that are understood here: their first bytes.
pub const TAGS: &[u8] = &[11, 12, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28];

/// The index at which the ACL system was last bootstrapped.
pub(super) const BOOTSTRAPPED: &str = "acl-token-bootstrap";

/// Which leaves were given out last, as far as the log tells.
const LEAVES: &str = "connect-ca-leaf-certs";

/// Config entries that say nothing of single services.
const WITHOUT_SERVICES: &[&[u8]] = &[
    b"proxy-defaults",
    b"mesh",
    b"exported-services",
    b"jwt-provider",
    b"inline-certificate",
    b"file-system-certificate",
];

/// Why a command cannot be applied. The server must stop, as others may have applied it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The bytes are not what such a command has.
    #[error("its bytes are not those of such a command")]
    Undecodable,
    /// It means more than setting or removing records.
    #[error("{0}")]
    Beyond(&'static str),
}

/// Applies a command to the records that are carried. The inner error is the command's reply.
///
/// # Errors
/// See [`CommandError`]; `None` when the command is none of [`TAGS`].
pub fn apply(
    tx: &mut Tx<'_>,
    tag: u8,
    payload: &[u8],
) -> Option<Result<Result<(), CallError>, CommandError>> {
    if !TAGS.contains(&tag) {
        return None;
    }
    if tag == CONFIG_ENTRY {
        return Some(apply_config_entry(tx, payload).map(Ok));
    }
    let Ok((request, _)) = Value::from_prefix(payload) else {
        return Some(Err(CommandError::Undecodable));
    };
    Some(match tag {
        11 => bootstrap(tx, &request),
        12 => apply_intention(tx, &request).map(Ok),
        17 => set_tokens(tx, &request).map(Ok),
        18 => remove_all(tx, &TOKENS, &request, "TokenIDs").map(Ok),
        19 => set_all(tx, &POLICIES, &request, "Policies").map(Ok),
        20 => remove_all(tx, &POLICIES, &request, "PolicyIDs").map(Ok),
        21 => {
            tx.bump(LEAVES);
            Ok(Ok(()))
        }
        23 => set_all(tx, &ROLES, &request, "Roles").map(Ok),
        24 => remove_all(tx, &ROLES, &request, "RoleIDs").map(Ok),
        25 => set_all(tx, &BINDING_RULES, &request, "BindingRules").map(Ok),
        26 => remove_all(tx, &BINDING_RULES, &request, "BindingRuleIDs").map(Ok),
        27 => set_all(tx, &AUTH_METHODS, &request, "AuthMethods").map(Ok),
        _ => remove_auth_methods(tx, &request).map(Ok),
    })
}

fn set_all(tx: &mut Tx<'_>, kind: &Kind, request: &Value, field: &str) -> Result<(), CommandError> {
    let records = request.get(field).ok_or(CommandError::Undecodable)?.list();
    for value in records {
        put(tx, kind, value)?;
    }
    Ok(())
}

fn put(tx: &mut Tx<'_>, kind: &Kind, value: &Value) -> Result<(), CommandError> {
    match record::put(tx, kind, value.clone()) {
        true => Ok(()),
        false => Err(CommandError::Undecodable),
    }
}

fn remove_all(
    tx: &mut Tx<'_>,
    kind: &Kind,
    request: &Value,
    field: &str,
) -> Result<(), CommandError> {
    for id in request.get(field).ok_or(CommandError::Undecodable)?.list() {
        record::remove(tx, kind, id.raw());
    }
    Ok(())
}

/// With `CAS`, those that were changed meanwhile stay as they are.
fn set_tokens(tx: &mut Tx<'_>, request: &Value) -> Result<(), CommandError> {
    let checks = request.get("CAS") == Some(&Value::Bool(true));
    let tokens = request.get("Tokens").ok_or(CommandError::Undecodable)?.list();
    for token in tokens {
        let id = token.get(TOKENS.id).map(Value::raw).unwrap_or_default();
        let present = record::find(tx, &TOKENS, id).map_or(0, |old| record::modified(&old));
        if !checks || record::modified(token) == present {
            put(tx, &TOKENS, token)?;
        }
    }
    Ok(())
}

/// The first token, once; again with the index of the last time.
fn bootstrap(tx: &mut Tx<'_>, request: &Value) -> Result<Result<(), CallError>, CommandError> {
    let token = request.get("Token").ok_or(CommandError::Undecodable)?;
    let (last, reset) = (tx.index_of(BOOTSTRAPPED).0, request.get("ResetIndex"));
    let reset = reset.map_or(0, Value::number);
    if last != 0 && reset != last {
        let text = format!("ACL bootstrap no longer allowed (reset index: {last})");
        return Ok(Err(CallError::failed(text)));
    }
    put(tx, &TOKENS, token)?;
    tx.bump(BOOTSTRAPPED);
    Ok(Ok(()))
}

/// With a method go the rules that bind its logins and the tokens of these.
fn remove_auth_methods(tx: &mut Tx<'_>, request: &Value) -> Result<(), CommandError> {
    let names = request.get("AuthMethodNames").ok_or(CommandError::Undecodable)?.list();
    for name in names {
        if !record::remove(tx, &AUTH_METHODS, name.raw()) {
            continue;
        }
        for kind in [&BINDING_RULES, &TOKENS] {
            for id in record::ids_with(tx, kind, "AuthMethod", name.raw()) {
                record::remove(tx, kind, &id);
            }
        }
    }
    Ok(())
}

/// Intentions as they were before they stood in config entries.
fn apply_intention(tx: &mut Tx<'_>, request: &Value) -> Result<(), CommandError> {
    if request.get("Mutation").is_some_and(|mutation| *mutation != Value::Null) {
        return Err(CommandError::Beyond("it changes a part of a config entry"));
    }
    let intention = request.get("Intention").ok_or(CommandError::Undecodable)?;
    match request.get("Op").map(Value::raw).unwrap_or_default() {
        b"create" | b"update" | b"upsert" => {
            let mut intention = intention.clone();
            if intention.get("Meta") == Some(&Value::Null) {
                // As Consul stores it.
                intention.set("Meta", Value::Map(Vec::new()));
            }
            put(tx, &INTENTIONS, &intention)
        }
        b"delete" => {
            let id = intention.get(INTENTIONS.id).map(Value::raw).unwrap_or_default();
            record::remove(tx, &INTENTIONS, id);
            Ok(())
        }
        _ => Err(CommandError::Beyond("it is an operation on intentions that is not known here")),
    }
}

fn apply_config_entry(tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), CommandError> {
    let entry = ConfigEntry::decode(payload).ok_or(CommandError::Undecodable)?;
    let gives_addresses = system_metadata::value(tx, VIRTUAL_IPS) == Some("true");
    if gives_addresses && !WITHOUT_SERVICES.contains(&entry.kind.as_slice()) {
        return Err(CommandError::Beyond(
            "it is a config entry of services, which may give them virtual addresses",
        ));
    }
    let fits = entry.present(tx) == entry.expected();
    match entry.op.as_slice() {
        b"" | b"upsert" => entry.put(tx),
        b"upsert-cas" | b"upsert-with-status-cas" if fits => entry.put(tx),
        b"delete" => entry.remove(tx),
        b"delete-cas" if fits => entry.remove(tx),
        b"upsert-cas" | b"upsert-with-status-cas" | b"delete-cas" => {}
        _ => return Err(CommandError::Undecodable),
    }
    Ok(())
}
