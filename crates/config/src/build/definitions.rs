//! Services, checks and watches from files: their conversion, and the rules
//! that Consul checks while it reads the configuration (`reference/config.md`
//! section 7, `reference/checks.md` section 1).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use types::GoDuration;
use types::service::ServiceDefinition;

use super::Build;
use crate::options::definitions::{CHECK, Field, SERVICE, WATCH};
use crate::options::{self, Kind};
use crate::runtime::DefinitionSource;
use crate::settings::quote;
use crate::value::Value;

const KINDS: &[&str] =
    &["connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"];

pub(super) fn read(build: &mut Build<'_>) -> Result<DefinitionSource, String> {
    let settings = build.settings;
    let mut out = DefinitionSource::default();
    for value in settings.objects("services") {
        out.services.push(service(build, value)?);
    }
    for value in settings.objects("checks") {
        let id = check_name(value);
        let json = check_json(build, value, "");
        out.checks.push(from_json(json, &format!("check {}", quote(&id)))?);
    }
    for value in settings.objects("watches") {
        out.watches.push(to_json(build, WATCH, value, "watches"));
    }
    for (index, value) in settings.objects("config_entries.bootstrap").iter().enumerate() {
        out.config_entries.push(config_entry(index, value)?);
    }
    Ok(out)
}

/// The rules for all definitions that were read.
pub(super) fn validate(definitions: &DefinitionSource) -> Result<(), String> {
    for check in &definitions.checks {
        check.validate().map_err(|error| format!("check {}: {error}", quote(&check.name)))?;
    }
    for service in &definitions.services {
        validate_service(service).map_err(|error| match error {
            ServiceError::Whole(text) => text,
            ServiceError::Part(text) => {
                format!("service {}: {text}", quote(service.name.as_str()))
            }
        })?;
    }
    Ok(())
}

enum ServiceError {
    /// Names the service itself.
    Whole(String),
    /// Stands behind `service "x": `.
    Part(String),
}

fn validate_service(service: &ServiceDefinition) -> Result<(), ServiceError> {
    let name = service.name.as_str();
    for check in service.all_checks() {
        check.validate().map_err(|error| {
            ServiceError::Part(format!("check {}: {error}", quote(&check.name)))
        })?;
    }
    if let Some(meta) = &service.meta {
        types::meta::validate(meta, &[]).map_err(|error| {
            ServiceError::Whole(format!("invalid meta for service {name}: {error}"))
        })?;
    }
    if let Some(weights) = &service.weights {
        let problem = match (weights.passing, weights.warning) {
            (passing, _) if passing < 1 => Some("Passing must be greater than 0"),
            (_, warning) if warning < 0 => Some("Warning must be greater or equal than 0"),
            (passing, warning) if passing > 65535 || warning > 65535 => {
                Some("DNS Weight must be between 0 and 65535")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(ServiceError::Whole(format!(
                "Invalid weight definition for service {name}: {problem}"
            )));
        }
    }
    if !service.socket_path.is_empty() && (service.port != 0 || !service.address.is_empty()) {
        return Err(ServiceError::Part(format!(
            "service {name} cannot have both socket path {} and address/port",
            service.socket_path
        )));
    }
    let sidecar = service.connect.as_ref().and_then(|connect| connect.sidecar_service.as_deref());
    let Some(sidecar) = sidecar else { return Ok(()) };
    if !sidecar.id.is_empty() {
        return Err(ServiceError::Part("sidecar_service can't specify an ID".to_owned()));
    }
    if sidecar.connect.as_ref().is_some_and(|connect| connect.sidecar_service.is_some()) {
        return Err(ServiceError::Part(
            "sidecar_service can't have a nested sidecar_service".to_owned(),
        ));
    }
    validate_service(sidecar)
}

fn service(build: &mut Build<'_>, value: &Value) -> Result<ServiceDefinition, String> {
    let name = text_of(value, "name");
    let json = to_json(build, SERVICE, value, &name);
    let mut service: ServiceDefinition = from_json(json, &format!("service {}", quote(&name)))?;
    if !KINDS.contains(&service.kind.as_str()) {
        service.kind.clear();
    }
    Ok(service)
}

fn from_json<T: serde::de::DeserializeOwned>(json: Json, what: &str) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| format!("{what}: {error}"))
}

fn text_of(value: &Value, key: &str) -> String {
    match value {
        Value::Object(object) => match object.get(key) {
            Some(Value::Str(text)) => text.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// What messages call a check: its id, else its name.
fn check_name(check: &Value) -> String {
    let id = text_of(check, "id");
    if id.is_empty() { text_of(check, "name") } else { id }
}

/// An object with the JSON names of its fields. Enterprise fields, which have
/// none, are left out.
fn to_json(build: &mut Build<'_>, fields: &'static [Field], value: &Value, path: &str) -> Json {
    let Value::Object(object) = value else { return value.to_json() };
    let mut out = Map::new();
    for (key, value) in object {
        let Some(field) = options::definitions::find(fields, key) else { continue };
        if field.json.is_empty() {
            continue;
        }
        out.insert(field.json.to_owned(), field_json(build, field, value, path));
    }
    Json::Object(out)
}

fn field_json(build: &mut Build<'_>, field: &Field, value: &Value, path: &str) -> Json {
    let mut one = |fields: &'static [Field], value: &Value| match field.key {
        "check" | "checks" if matches!(field.kind, Kind::Object(_) | Kind::Objects(_)) => {
            check_json(build, value, path)
        }
        _ => to_json(build, fields, value, path),
    };
    match (field.kind, value) {
        (Kind::Object(fields), value) => one(fields, value),
        (Kind::Service, value) => one(SERVICE, value),
        (Kind::Objects(fields), Value::List(items)) => {
            Json::Array(items.iter().map(|item| one(fields, item)).collect())
        }
        (Kind::ObjectMap(fields), Value::Object(object)) => Json::Object(
            object.iter().map(|(key, value)| (key.clone(), one(fields, value))).collect(),
        ),
        (_, value) => value.to_json(),
    }
}

/// A check; wrong durations are noted under `check[id].field`. `script` becomes
/// `args` that run the shell: Consul dropped it, files of old still hold it.
fn check_json(build: &mut Build<'_>, value: &Value, service: &str) -> Json {
    let Value::Object(object) = value else { return value.to_json() };
    let id = &check_name(value);
    let mut object: BTreeMap<String, Value> = object.clone();
    for field in CHECK.iter().filter(|field| matches!(field.kind, Kind::Duration)) {
        let Some(Value::Str(text)) = object.get(field.key) else { continue };
        if text.is_empty() {
            continue;
        }
        if let Err(error) = GoDuration::parse(text) {
            build.errors.push(format!(
                "check[{id}].{}: invalid duration: {}: {error}",
                field.key,
                quote(text)
            ));
            object.remove(field.key);
        }
    }
    if let Some(Value::Str(script)) = object
        .remove("script")
        .filter(|script| matches!(script, Value::Str(text) if !text.is_empty()))
    {
        let whose = match id.is_empty() {
            true => format!("a check of service {}", quote(service)),
            false => format!("check {}", quote(id)),
        };
        build.warnings.push(format!(
            "The 'script' field of {whose} is deprecated. Use the 'args' field instead: args = \
             [\"/bin/sh\", \"-c\", …]."
        ));
        object.entry("args".to_owned()).or_insert_with(|| {
            let words = ["/bin/sh".to_owned(), "-c".to_owned(), script];
            Value::List(words.into_iter().map(Value::Str).collect())
        });
    }
    to_json(build, CHECK, &Value::Object(object), id)
}

/// `Kind` and `Name` in any case must be there.
fn config_entry(index: usize, value: &Value) -> Result<Json, String> {
    let has = |wanted: &str| match value {
        Value::Object(object) => object.iter().any(|(key, value)| {
            key.eq_ignore_ascii_case(wanted)
                && matches!(value, Value::Str(text) if !text.is_empty())
        }),
        _ => false,
    };
    if !has("kind") {
        return Err(format!(
            "config_entries.bootstrap[{index}]: Payload does not contain a kind/Kind key"
        ));
    }
    Ok(value.to_json())
}
