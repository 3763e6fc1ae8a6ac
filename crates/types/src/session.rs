//! Sessions (`reference/http-api.md` 3.2, `reference/rpc-wire.md` section 16).

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{CheckId, GoDuration, Index, NodeName, SessionId};

/// What holds locks: it lives as long as its node, its checks and its own time allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Session {
    /// A UUID that the leader picks.
    #[serde(rename = "ID")]
    pub id: SessionId,
    /// For people.
    pub name: String,
    /// The node it belongs to.
    pub node: NodeName,
    /// How long keys that it held cannot be locked after its end; at most 60 s count.
    /// JSON shows nanoseconds.
    pub lock_delay: GoDuration,
    /// What its end does to the keys that it holds.
    pub behavior: Behavior,
    /// Go duration text as it was given; `""` and `"0s"` for a session without end.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// Checks of its node that it depends on.
    #[serde(deserialize_with = "crate::null::or_null")]
    pub node_checks: Vec<CheckId>,
    /// Checks of instances on its node that it depends on; `None` is shown as `null`.
    pub service_checks: Option<Vec<ServiceCheck>>,
    /// Checks given in the old way, which it also depends on.
    #[serde(deserialize_with = "crate::null::or_null")]
    pub checks: Vec<CheckId>,
    /// The index that created it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

/// What the end of a session does to the keys that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behavior {
    /// They stay, unlocked.
    #[default]
    Release,
    /// They are deleted.
    Delete,
    /// A text that no session is created with; empty for none given.
    Other(String),
}

/// A check of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheck {
    /// The check.
    #[serde(rename = "ID")]
    pub id: CheckId,
    /// Always empty: namespaces are an Enterprise feature.
    pub namespace: String,
}

impl Session {
    /// All checks that it depends on.
    pub fn all_checks(&self) -> impl Iterator<Item = &CheckId> {
        let of_services = self.service_checks.iter().flatten().map(|check| &check.id);
        self.node_checks.iter().chain(of_services).chain(&self.checks)
    }

    /// How long it lives without being renewed; `None` for one without end.
    pub fn time_to_live(&self) -> Option<std::time::Duration> {
        let ttl = GoDuration::parse(&self.ttl).ok()?;
        ttl.is_positive().then(|| ttl.to_std())
    }
}

/// The old list of checks is left out of JSON when it is empty, and never of msgpack.
impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = serializer.is_human_readable();
        let with_checks = !json || !self.checks.is_empty();
        let mut fields = serializer.serialize_struct("Session", 10 + usize::from(with_checks))?;
        fields.serialize_field("ID", &self.id)?;
        fields.serialize_field("Name", &self.name)?;
        fields.serialize_field("Node", &self.node)?;
        fields.serialize_field("LockDelay", &self.lock_delay.as_nanos())?;
        fields.serialize_field("Behavior", &self.behavior)?;
        fields.serialize_field("TTL", &self.ttl)?;
        fields.serialize_field("NodeChecks", &self.node_checks)?;
        fields.serialize_field("ServiceChecks", &self.service_checks)?;
        if with_checks {
            fields.serialize_field("Checks", &(!self.checks.is_empty()).then_some(&self.checks))?;
        }
        fields.serialize_field("CreateIndex", &self.create_index)?;
        fields.serialize_field("ModifyIndex", &self.modify_index)?;
        fields.end()
    }
}

impl Behavior {
    /// The text in every format.
    pub fn as_str(&self) -> &str {
        match self {
            Behavior::Release => "release",
            Behavior::Delete => "delete",
            Behavior::Other(text) => text,
        }
    }
}

impl From<&str> for Behavior {
    fn from(text: &str) -> Self {
        match text {
            "release" => Behavior::Release,
            "delete" => Behavior::Delete,
            other => Behavior::Other(other.to_owned()),
        }
    }
}

impl Serialize for Behavior {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Behavior {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Behavior::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack;

    #[test]
    fn a_session_is_shown_as_consul_shows_it() {
        let session = Session {
            id: "s".into(),
            node: "a1".into(),
            lock_delay: GoDuration::from_secs(15),
            node_checks: vec!["serfHealth".into()],
            create_index: Index(7),
            modify_index: Index(7),
            ..Session::default()
        };
        assert_eq!(
            serde_json::to_string(&session).unwrap(),
            r#"{"ID":"s","Name":"","Node":"a1","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":7,"ModifyIndex":7}"#
        );
    }

    #[test]
    fn msgpack_has_every_field_and_reads_nil_lists() {
        let session = Session {
            behavior: Behavior::Delete,
            ttl: "10s".to_owned(),
            service_checks: Some(vec![ServiceCheck { id: "c".into(), ..ServiceCheck::default() }]),
            ..Session::default()
        };
        let bytes = msgpack::to_vec(&session);
        assert_eq!(bytes[0], 0x8b);
        assert_eq!(msgpack::from_slice::<Session>(&bytes).unwrap(), session);
        let nil = b"\x83\xaaNodeChecks\xc0\xa6Checks\xc0\xadServiceChecks\xc0";
        assert_eq!(msgpack::from_slice::<Session>(nil).unwrap(), Session::default());
    }

    #[test]
    fn only_a_positive_time_ends_a_session() {
        let ttl = |text: &str| Session { ttl: text.to_owned(), ..Session::default() };
        assert_eq!(ttl("").time_to_live(), None);
        assert_eq!(ttl("0s").time_to_live(), None);
        assert_eq!(ttl("-1s").time_to_live(), None);
        assert_eq!(ttl("10s").time_to_live(), Some(std::time::Duration::from_secs(10)));
    }
}
