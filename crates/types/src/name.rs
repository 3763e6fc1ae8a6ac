//! Newtypes for every index, id and name.
//!
//! The string types share their text (`Arc<str>`): a node name that stands in
//! ten thousand rows is one allocation per writer, cloning is a counter, and an
//! empty name takes no allocation at all.
//! They do not validate: Consul stores whatever text a client sends, and says
//! no in the few places that `reference/http-api.md` names.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name(Option<Arc<str>>);

        impl $name {
            /// No text.
            pub const EMPTY: Self = Self(None);

            /// The text itself.
            pub fn as_str(&self) -> &str {
                self.0.as_deref().unwrap_or("")
            }

            /// Whether the text is empty, which in Consul's formats means "not given".
            pub fn is_empty(&self) -> bool {
                self.0.is_none()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self((!text.is_empty()).then(|| Arc::from(text)))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::from(text.as_str())
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

macro_rules! visible_text {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    )* };
}

text_newtype! {
    /// The name of a node. Compared without regard to case by every look-up.
    NodeName
}
text_newtype! {
    /// The UUID of an agent, as lower-case text; empty for a node that was
    /// registered by hand.
    NodeId
}
text_newtype! {
    /// The name of a service, shared by all its instances.
    ServiceName
}
text_newtype! {
    /// The id of one service instance, unique on its node.
    ServiceId
}
text_newtype! {
    /// The id of a check, unique on its node.
    CheckId
}
text_newtype! {
    /// The name of a datacenter, lower-case.
    Datacenter
}
text_newtype! {
    /// The UUID of a session; empty when a lock is free.
    SessionId
}
text_newtype! {
    /// The UUID of a user event.
    EventId
}
text_newtype! {
    /// The secret of an ACL token. Neither `Debug` nor `Display` shows it.
    SecretId
}

visible_text!(NodeName, NodeId, ServiceName, ServiceId, CheckId, Datacenter, SessionId, EventId);

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "SecretId(none)" } else { "SecretId(hidden)" })
    }
}

/// A Raft log index: the version of the whole state, of a table, or of a row.
/// Zero means "none"; the HTTP API shows zero as one where clients rely on it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Index(pub u64);

impl Index {
    /// No index: nothing was written yet.
    pub const ZERO: Index = Index(0);

    /// The index that follows.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let secret = SecretId::from("b1gs33cr3t");
        assert_eq!(format!("{secret:?}"), "SecretId(hidden)");
    }
}
