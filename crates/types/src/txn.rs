//! Transactions: what may be asked for in one, and what comes back.
//!
//! Shapes: `reference/http-api.md` 3.3, msgpack names: `reference/rpc-wire.md`
//! section 16. The body of an HTTP request is spelled differently and has a form of
//! its own; these are the operations that travel between servers and in the log.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::NodeName;
use crate::catalog::{Node, NodeService};
use crate::check::HealthCheck;
use crate::kv::KvEntry;
use crate::session::Session;
use crate::stored::Stored;

/// One operation: exactly one of the fields is set. If there are several, the first
/// one counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnOp {
    /// About a key, or the keys with a prefix.
    #[serde(rename = "KV")]
    pub kv: Option<TxnKvOp>,
    /// About a node.
    pub node: Option<Box<TxnNodeOp>>,
    /// About a service instance.
    pub service: Option<Box<TxnServiceOp>>,
    /// About a check.
    pub check: Option<Box<TxnCheckOp>>,
    /// About a session. Servers use it; the HTTP API does not have it.
    pub session: Option<Box<TxnSessionOp>>,
    /// Changes of intentions, as servers made them before intentions were config
    /// entries. They are refused when they are read: skipping one would make the
    /// state another than that of the servers that know it.
    pub intention: Option<Unsupported>,
}

/// An operation on keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnKvOp {
    /// What to do.
    pub verb: KvVerb,
    /// Key or prefix, value, flags, session; `ModifyIndex` is the expected index.
    #[serde(rename = "DirEnt")]
    pub entry: KvEntry,
}

/// An operation on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnNodeOp {
    /// What to do.
    pub verb: RowVerb,
    /// The node; `ModifyIndex` is the expected index.
    pub node: Node,
}

/// An operation on a service instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnServiceOp {
    /// What to do.
    pub verb: RowVerb,
    /// The node it is on.
    pub node: NodeName,
    /// The instance; `ModifyIndex` is the expected index.
    pub service: NodeService,
}

/// An operation on a check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnCheckOp {
    /// What to do.
    pub verb: RowVerb,
    /// The check; `ModifyIndex` is the expected index.
    pub check: HealthCheck,
}

/// An operation on a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnSessionOp {
    /// `delete`, the only one there is.
    pub verb: String,
    /// The session, of which only the id counts.
    pub session: Session,
}

/// A part of an operation that this version cannot apply. There is no value of this
/// type: only its absence can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {}

impl Serialize for Unsupported {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("intentions in transactions are not supported by this version"))
    }
}

/// Declares a verb: its texts on the wire, and one more variant for all other texts.
macro_rules! verbs {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A text that is not one of the above.
            Unknown(Box<str>),
        }

        impl $name {
            /// The text on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $text,)*
                    $name::Unknown(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => $name::$variant,)*
                    _ => $name::Unknown(text.into()),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::Unknown("".into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| $name::from(text.as_str()))
            }
        }
    };
}

verbs! {
    /// What to do with keys.
    KvVerb {
        /// Write it, whatever was there.
        Set "set",
        /// Remove it.
        Delete "delete",
        /// Remove it if its index is the expected one.
        DeleteCas "delete-cas",
        /// Remove everything that begins with it.
        DeleteTree "delete-tree",
        /// Write it if its index is the expected one; zero: if it does not exist.
        Cas "cas",
        /// Write it and take its lock.
        Lock "lock",
        /// Write it and give its lock back.
        Unlock "unlock",
        /// Read it; it must be there.
        Get "get",
        /// Read it, or an empty entry if it is not there.
        GetOrEmpty "get-or-empty",
        /// Read everything that begins with it.
        GetTree "get-tree",
        /// It must be locked by the session.
        CheckSession "check-session",
        /// Its index must be the expected one.
        CheckIndex "check-index",
        /// It must not be there.
        CheckNotExists "check-not-exists",
    }
}

verbs! {
    /// What to do with a node, an instance or a check.
    RowVerb {
        /// Read it; it must be there.
        Get "get",
        /// Write it, whatever was there.
        Set "set",
        /// Write it if its index is the expected one; zero: if it does not exist.
        Cas "cas",
        /// Remove it.
        Delete "delete",
        /// Remove it if its index is the expected one.
        DeleteCas "delete-cas",
    }
}

impl KvVerb {
    /// Whether it changes nothing. Consul counts what it does not know among these.
    pub fn is_read(&self) -> bool {
        use KvVerb::{CheckIndex, CheckNotExists, CheckSession, Get, GetOrEmpty, GetTree, Unknown};
        matches!(
            self,
            Get | GetOrEmpty | GetTree | CheckSession | CheckIndex | CheckNotExists | Unknown(_)
        )
    }
}

impl TxnOp {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        let row_verb = |verb: &RowVerb| *verb == RowVerb::Get;
        match self {
            Self { kv: Some(op), .. } => op.verb.is_read(),
            Self { node: Some(op), .. } => row_verb(&op.verb),
            Self { service: Some(op), .. } => row_verb(&op.verb),
            Self { check: Some(op), .. } => row_verb(&op.verb),
            Self { .. } => false,
        }
    }
}

/// A row that an operation gives back.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnResult {
    /// A key; its value only if it was asked for.
    Kv(Arc<KvEntry>),
    /// A node.
    Node(Arc<Node>),
    /// A service instance.
    Service(Arc<NodeService>),
    /// A check.
    Check(Arc<HealthCheck>),
}

/// Why an operation, and with it the whole transaction, was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TxnError {
    /// Which operation, counted from zero.
    pub op_index: u64,
    /// What is wrong. Programs match on some of these texts.
    pub what: String,
}

/// One member named after the kind of row. Lists of tags that are empty are `null`
/// here, unlike in the views of catalog and health.
impl Serialize for TxnResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let for_people = serializer.is_human_readable();
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            TxnResult::Kv(entry) => map.serialize_entry("KV", entry)?,
            TxnResult::Node(node) => map.serialize_entry("Node", node)?,
            TxnResult::Service(service) if for_people => {
                map.serialize_entry("Service", &Stored(&**service))?;
            }
            TxnResult::Service(service) => map.serialize_entry("Service", service)?,
            TxnResult::Check(check) if for_people => {
                map.serialize_entry("Check", &Stored(&**check))?;
            }
            TxnResult::Check(check) => map.serialize_entry("Check", check)?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack;

    #[test]
    fn verbs_survive_writing_and_reading_also_unknown_ones() {
        for text in ["set", "get-or-empty", "check-not-exists", "explode", ""] {
            let verb = KvVerb::from(text);
            assert_eq!(msgpack::from_slice(&msgpack::to_vec(&verb)), Ok(verb.clone()));
            assert_eq!(verb.as_str(), text);
        }
        assert_eq!(RowVerb::from("get"), RowVerb::Get);
        assert_eq!(RowVerb::from("lock"), RowVerb::Unknown("lock".into()));
    }

    #[test]
    fn an_intention_in_a_transaction_is_not_read_as_nothing() {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Old {
            intention: Option<TxnError>,
        }
        let absent = msgpack::to_vec(&Old { intention: None });
        assert_eq!(msgpack::from_slice(&absent), Ok(TxnOp::default()));
        let present = Some(TxnError { op_index: 0, what: String::new() });
        let error = msgpack::from_slice::<TxnOp>(&msgpack::to_vec(&Old { intention: present }));
        let error = error.expect_err("it cannot be applied").to_string();
        assert!(error.contains("intentions in transactions are not supported"), "{error}");
    }

    #[test]
    fn rows_without_tags_have_null_in_json() {
        let check = TxnResult::Check(Arc::new(HealthCheck::default()));
        let json = String::from_utf8(crate::json::encode(&check)).expect("it is text");
        assert!(
            json.starts_with(r#"{"Check":{"#) && json.contains(r#""ServiceTags":null"#),
            "{json}"
        );
        let service = NodeService { tags: vec!["a".to_owned()], ..NodeService::default() };
        let json = crate::json::encode(&TxnResult::Service(Arc::new(service)));
        let json = String::from_utf8(json).expect("it is text");
        assert!(json.contains(r#""Tags":["a"]"#), "{json}");
    }
}
