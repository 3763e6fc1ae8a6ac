//! What a handler gets: an answer of the API as Consul's Go client would write it again.
//!
//! Consul decodes an answer into a struct of that client and encodes the struct for the
//! handler. Fields that the struct does not have are gone, those that the answer leaves out
//! are there with their zero, and the order is that of the struct. Handlers have relied on
//! this form since there are watches, so the structs of `hashicorp/consul/api` stand here as
//! tables.

use serde_json::{Map, Value as Json};

/// What a value is, and with that what stands in its place when it is missing.
pub(super) enum Shape {
    /// A text; empty.
    Text,
    /// A text or null; null.
    Bytes,
    /// A number; 0.
    Number,
    /// A truth; false.
    Flag,
    /// A duration as text; `0s`.
    Duration,
    /// A moment as text; Go's zero time.
    Time,
    /// Anything, passed on as it is; null.
    Any,
    /// A list; null.
    List(&'static Shape),
    /// A map by names; null.
    Map(&'static Shape),
    /// A struct; one of zeros.
    Object(&'static [Field]),
    /// A struct that may be absent; null.
    Pointer(&'static [Field]),
}

/// One field of a struct.
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    /// Whether a zero is left out.
    omit_empty: bool,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, omit_empty: false }
}

/// A field that is left out when it is empty (`omitempty`).
const fn filled(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, omit_empty: true }
}

/// An answer is not of the shape it should have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the answer of the agent is not understood: {path} is not {expected}")]
pub(super) struct WrongShape {
    path: String,
    expected: &'static str,
}

/// Writes `value` in this shape, in Go's compact JSON.
pub(super) fn reshape(shape: &Shape, value: &Json) -> Result<Vec<u8>, WrongShape> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, shape, value).map_err(|mut wrong| {
        if wrong.path.is_empty() {
            wrong.path.push_str("it");
        }
        wrong
    })?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, shape: &Shape, value: &Json) -> Result<(), WrongShape> {
    let wrong = |expected| Err(WrongShape { path: String::new(), expected });
    match (shape, value) {
        (Shape::Any, value) => types::json::encode_into(out, value),
        (Shape::Object(fields), Json::Null) => write_object(out, fields, &Map::new())?,
        (shape, Json::Null) => out.extend_from_slice(zero(shape)),
        (Shape::Object(fields) | Shape::Pointer(fields), Json::Object(members)) => {
            write_object(out, fields, members)?;
        }
        (Shape::List(shape), Json::Array(values)) => {
            out.push(b'[');
            for (position, value) in values.iter().enumerate() {
                comma(out, position);
                write(out, shape, value).map_err(|wrong| wrong.within(&format!("[{position}]")))?;
            }
            out.push(b']');
        }
        (Shape::Map(shape), Json::Object(members)) => {
            out.push(b'{');
            for (position, (name, value)) in members.iter().enumerate() {
                comma(out, position);
                types::json::encode_into(out, name);
                out.push(b':');
                write(out, shape, value).map_err(|wrong| wrong.within(&format!(".{name}")))?;
            }
            out.push(b'}');
        }
        (Shape::Text | Shape::Bytes | Shape::Duration | Shape::Time, Json::String(_))
        | (Shape::Number, Json::Number(_))
        | (Shape::Flag, Json::Bool(_)) => types::json::encode_into(out, value),
        (Shape::Text | Shape::Bytes | Shape::Duration | Shape::Time, _) => return wrong("a text"),
        (Shape::Number, _) => return wrong("a number"),
        (Shape::Flag, _) => return wrong("true or false"),
        (Shape::List(_), _) => return wrong("a list"),
        (Shape::Map(_) | Shape::Object(_) | Shape::Pointer(_), _) => return wrong("an object"),
    }
    Ok(())
}

fn write_object(
    out: &mut Vec<u8>,
    fields: &[Field],
    members: &Map<String, Json>,
) -> Result<(), WrongShape> {
    out.push(b'{');
    let mut count = 0;
    for field in fields {
        let value = members.get(field.name).unwrap_or(&Json::Null);
        if field.omit_empty && is_empty(&field.shape, value) {
            continue;
        }
        comma(out, count);
        count += 1;
        types::json::encode_into(out, field.name);
        out.push(b':');
        write(out, &field.shape, value)
            .map_err(|wrong| wrong.within(&format!(".{}", field.name)))?;
    }
    out.push(b'}');
    Ok(())
}

impl WrongShape {
    fn within(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

fn comma(out: &mut Vec<u8>, position: usize) {
    if position > 0 {
        out.push(b',');
    }
}

/// What `omitempty` leaves out; a struct that is not behind a pointer is never empty.
fn is_empty(shape: &Shape, value: &Json) -> bool {
    match value {
        Json::Null => !matches!(shape, Shape::Object(_)),
        Json::Bool(flag) => !flag,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(values) => values.is_empty(),
        Json::Object(members) => matches!(shape, Shape::Map(_)) && members.is_empty(),
    }
}

fn zero(shape: &Shape) -> &'static [u8] {
    match shape {
        Shape::Text => b"\"\"",
        Shape::Number => b"0",
        Shape::Flag => b"false",
        Shape::Duration => b"\"0s\"",
        Shape::Time => b"\"0001-01-01T00:00:00Z\"",
        Shape::Bytes
        | Shape::Any
        | Shape::List(_)
        | Shape::Map(_)
        | Shape::Object(_)
        | Shape::Pointer(_) => b"null",
    }
}

use Shape::{Any, Bytes, Duration, Flag, List, Number, Object, Pointer, Text, Time};

/// `KVPair`.
pub(super) const KEY: Shape = Pointer(KV_PAIR);
/// `KVPairs`.
pub(super) const KEYS: Shape = List(&KEY);
/// Service names with their tags.
pub(super) const SERVICES: Shape = Shape::Map(&List(&Text));
/// `[]*Node`.
pub(super) const NODES: Shape = List(&Pointer(NODE));
/// `[]*ServiceEntry`.
pub(super) const SERVICE_ENTRIES: Shape = List(&Pointer(SERVICE_ENTRY));
/// `HealthChecks`.
pub(super) const CHECKS: Shape = List(&Pointer(HEALTH_CHECK));
/// `CARootList`.
pub(super) const ROOTS: Shape = Pointer(CA_ROOT_LIST);
/// `LeafCert`.
pub(super) const LEAF: Shape = Pointer(LEAF_CERT);
/// `AgentService`.
pub(super) const AGENT_SERVICE: Shape = Pointer(AGENT_SERVICE_FIELDS);
/// `[]*UserEvent`.
pub(super) const EVENTS: Shape = List(&Pointer(USER_EVENT));

const KV_PAIR: &[Field] = &[
    field("Key", Text),
    field("CreateIndex", Number),
    field("ModifyIndex", Number),
    field("LockIndex", Number),
    field("Flags", Number),
    field("Value", Bytes),
    field("Session", Text),
    filled("Namespace", Text),
    filled("Partition", Text),
];

const NODE: &[Field] = &[
    field("ID", Text),
    field("Node", Text),
    field("Address", Text),
    field("Datacenter", Text),
    field("TaggedAddresses", Shape::Map(&Text)),
    field("Meta", Shape::Map(&Text)),
    field("CreateIndex", Number),
    field("ModifyIndex", Number),
    filled("Partition", Text),
    filled("PeerName", Text),
    filled("Locality", Pointer(LOCALITY)),
];

const LOCALITY: &[Field] = &[field("Region", Text), field("Zone", Text)];

const SERVICE_ENTRY: &[Field] = &[
    field("Node", Pointer(NODE)),
    field("Service", Pointer(AGENT_SERVICE_FIELDS)),
    field("Checks", CHECKS),
];

const HEALTH_CHECK: &[Field] = &[
    field("Node", Text),
    field("CheckID", Text),
    field("Name", Text),
    field("Status", Text),
    field("Notes", Text),
    field("Output", Text),
    field("ServiceID", Text),
    field("ServiceName", Text),
    field("ServiceTags", List(&Text)),
    field("Type", Text),
    filled("Namespace", Text),
    filled("Partition", Text),
    field("ExposedPort", Number),
    filled("PeerName", Text),
    field("Definition", Object(CHECK_DEFINITION)),
    field("CreateIndex", Number),
    field("ModifyIndex", Number),
];

const CHECK_DEFINITION: &[Field] = &[
    field("Interval", Duration),
    field("Timeout", Duration),
    field("DeregisterCriticalServiceAfter", Duration),
    field("HTTP", Text),
    field("Header", Shape::Map(&List(&Text))),
    field("Method", Text),
    field("Body", Text),
    field("TLSServerName", Text),
    field("TLSSkipVerify", Flag),
    field("TCP", Text),
    field("TCPUseTLS", Flag),
    field("UDP", Text),
    field("GRPC", Text),
    field("OSService", Text),
    field("GRPCUseTLS", Flag),
    filled("SessionName", Text),
];

const AGENT_SERVICE_FIELDS: &[Field] = &[
    filled("Kind", Text),
    field("ID", Text),
    field("Service", Text),
    field("Tags", List(&Text)),
    field("Meta", Shape::Map(&Text)),
    field("Port", Number),
    field("Address", Text),
    filled("SocketPath", Text),
    filled("TaggedAddresses", Shape::Map(&Object(SERVICE_ADDRESS))),
    field("Weights", Object(WEIGHTS)),
    field("EnableTagOverride", Flag),
    filled("CreateIndex", Number),
    filled("ModifyIndex", Number),
    filled("ContentHash", Text),
    filled("Proxy", Pointer(PROXY)),
    filled("Connect", Pointer(CONNECT)),
    filled("PeerName", Text),
    filled("Namespace", Text),
    filled("Partition", Text),
    filled("Datacenter", Text),
    filled("Locality", Pointer(LOCALITY)),
];

const SERVICE_ADDRESS: &[Field] = &[field("Address", Text), field("Port", Number)];

const WEIGHTS: &[Field] = &[field("Passing", Number), field("Warning", Number)];

const CONNECT: &[Field] = &[filled("Native", Flag), filled("SidecarService", Any)];

const PROXY: &[Field] = &[
    filled("EnvoyExtensions", List(&Object(ENVOY_EXTENSION))),
    filled("DestinationServiceName", Text),
    filled("DestinationServiceID", Text),
    filled("LocalServiceAddress", Text),
    filled("LocalServicePort", Number),
    filled("LocalServiceSocketPath", Text),
    filled("Mode", Text),
    filled("TransparentProxy", Pointer(TRANSPARENT_PROXY)),
    filled("Config", Shape::Map(&Any)),
    filled("Upstreams", List(&Object(UPSTREAM))),
    field("MeshGateway", Object(MESH_GATEWAY)),
    field("Expose", Object(EXPOSE)),
    filled("AccessLogs", Pointer(ACCESS_LOGS)),
];

const ENVOY_EXTENSION: &[Field] = &[
    field("Name", Text),
    field("Required", Flag),
    field("Arguments", Shape::Map(&Any)),
    field("ConsulVersion", Text),
    field("EnvoyVersion", Text),
];

const TRANSPARENT_PROXY: &[Field] =
    &[filled("OutboundListenerPort", Number), filled("DialedDirectly", Flag)];

const UPSTREAM: &[Field] = &[
    filled("DestinationType", Text),
    filled("DestinationPartition", Text),
    filled("DestinationNamespace", Text),
    filled("DestinationPeer", Text),
    field("DestinationName", Text),
    filled("Datacenter", Text),
    filled("LocalBindAddress", Text),
    filled("LocalBindPort", Number),
    filled("LocalBindSocketPath", Text),
    filled("LocalBindSocketMode", Text),
    filled("Config", Shape::Map(&Any)),
    field("MeshGateway", Object(MESH_GATEWAY)),
    filled("CentrallyConfigured", Flag),
];

const MESH_GATEWAY: &[Field] = &[filled("Mode", Text)];

const EXPOSE: &[Field] = &[filled("Checks", Flag), filled("Paths", List(&Object(EXPOSE_PATH)))];

const EXPOSE_PATH: &[Field] = &[
    filled("ListenerPort", Number),
    filled("Path", Text),
    filled("LocalPathPort", Number),
    filled("Protocol", Text),
    field("ParsedFromCheck", Flag),
];

const ACCESS_LOGS: &[Field] = &[
    filled("Enabled", Flag),
    filled("DisableListenerLogs", Flag),
    filled("Type", Text),
    filled("Path", Text),
    filled("JSONFormat", Text),
    filled("TextFormat", Text),
];

const CA_ROOT_LIST: &[Field] = &[
    field("ActiveRootID", Text),
    field("TrustDomain", Text),
    field("Roots", List(&Pointer(CA_ROOT))),
];

const CA_ROOT: &[Field] = &[
    field("ID", Text),
    field("Name", Text),
    field("RootCert", Text),
    field("Active", Flag),
    field("CreateIndex", Number),
    field("ModifyIndex", Number),
];

const LEAF_CERT: &[Field] = &[
    field("SerialNumber", Text),
    filled("CertPEM", Text),
    filled("PrivateKeyPEM", Text),
    field("Service", Text),
    field("ServiceURI", Text),
    field("ValidAfter", Time),
    field("ValidBefore", Time),
    field("CreateIndex", Number),
    field("ModifyIndex", Number),
];

const USER_EVENT: &[Field] = &[
    field("ID", Text),
    field("Name", Text),
    field("Payload", Bytes),
    field("NodeFilter", Text),
    field("ServiceFilter", Text),
    field("TagFilter", Text),
    field("Version", Number),
    field("LTime", Number),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(shape: &Shape, value: Json, expected: &str) {
        let written = reshape(shape, &value).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_key_has_the_fields_of_the_go_struct_in_its_order() {
        check(
            &KEY,
            json!({"LockIndex": 1, "Key": "a<b", "Flags": 0, "Value": "b25l", "CreateIndex": 3,
                   "ModifyIndex": 4, "Unknown": true}),
            "{\"Key\":\"a\\u003cb\",\"CreateIndex\":3,\"ModifyIndex\":4,\"LockIndex\":1,\"Flags\":0,\
             \"Value\":\"b25l\",\"Session\":\"\"}",
        );
        check(&KEY, Json::Null, "null");
        check(&KEYS, json!([]), "[]");
    }

    #[test]
    fn missing_structs_are_zeros_and_missing_pointers_are_not_there() {
        check(
            &AGENT_SERVICE,
            json!({"ID": "s", "Tags": [], "Meta": {"b": "2", "a": "1"}, "TaggedAddresses": {}}),
            "{\"ID\":\"s\",\"Service\":\"\",\"Tags\":[],\"Meta\":{\"a\":\"1\",\"b\":\"2\"},\"Port\":0,\
             \"Address\":\"\",\"Weights\":{\"Passing\":0,\"Warning\":0},\"EnableTagOverride\":false}",
        );
        check(
            &AGENT_SERVICE,
            json!({"Proxy": {"Config": {}}, "Connect": {}}),
            "{\"ID\":\"\",\"Service\":\"\",\"Tags\":null,\"Meta\":null,\"Port\":0,\"Address\":\"\",\
             \"Weights\":{\"Passing\":0,\"Warning\":0},\"EnableTagOverride\":false,\
             \"Proxy\":{\"MeshGateway\":{},\"Expose\":{}},\"Connect\":{}}",
        );
    }

    #[test]
    fn a_value_of_another_kind_is_named_by_its_path() {
        let error = reshape(&SERVICES, &json!({"web": ["a", 1]})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the answer of the agent is not understood: .web[1] is not a text"
        );
        let error = reshape(&SERVICES, &json!("x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the answer of the agent is not understood: it is not an object"
        );
    }
}
