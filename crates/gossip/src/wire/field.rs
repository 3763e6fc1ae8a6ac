//! How single fields are written where the derived way is not the dialect's.

use std::fmt;

use serde::de::{Deserializer, Visitor};

/// Reads bytes (nil: none) and makes something of them.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    make: fn(&[u8]) -> T,
) -> Result<T, D::Error> {
    struct Bytes<T>(fn(&[u8]) -> T);

    impl<T> Visitor<'_> for Bytes<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<T, E> {
            Ok((self.0)(bytes))
        }
    }

    deserializer.deserialize_bytes(Bytes(make))
}

/// An IP address: 4 or 16 bytes, IPv4 also as 16. Bytes of another length are no address.
pub(super) mod ip {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use serde::{Deserializer, Serializer};

    pub(in crate::wire) fn serialize<S: Serializer>(
        ip: &Option<IpAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match ip {
            None => serializer.serialize_none(),
            Some(IpAddr::V4(ip)) => serializer.serialize_bytes(&ip.octets()),
            Some(IpAddr::V6(ip)) => serializer.serialize_bytes(&ip.octets()),
        }
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<IpAddr>, D::Error> {
        super::read(deserializer, |bytes| {
            if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
                return Some(IpAddr::V4(Ipv4Addr::from(octets)));
            }
            let octets = <[u8; 16]>::try_from(bytes).ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        })
    }
}

/// Bytes that are never nil: empty ones are written as such.
pub(super) mod raw {
    use std::borrow::Cow;

    use serde::{Deserializer, Serializer};

    pub(in crate::wire) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u8>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        super::read(deserializer, |bytes| T::from(bytes.to_vec()))
    }

    /// Bytes that are borrowed from the message, nil when empty.
    pub(in crate::wire) mod or_nil {
        use super::{Cow, Deserializer, Serializer};

        pub(in crate::wire) fn serialize<S: Serializer>(
            bytes: &[u8],
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            if bytes.is_empty() {
                return serializer.serialize_none();
            }
            serializer.serialize_bytes(bytes)
        }

        pub(in crate::wire) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Cow<'a, [u8]>, D::Error> {
            struct Borrowed;

            impl<'de> serde::de::Visitor<'de> for Borrowed {
                type Value = Cow<'de, [u8]>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }

                fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                    Ok(Cow::Borrowed(bytes))
                }

                fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                    Ok(Cow::Owned(bytes))
                }
            }

            deserializer.deserialize_bytes(Borrowed)
        }
    }
}

/// A list that is nil when empty.
pub(super) mod list_or_nil {
    use serde::{Serialize, Serializer};

    pub(in crate::wire) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if list.is_empty() { serializer.serialize_none() } else { list.serialize(serializer) }
    }
}

/// Lists and maps of which a bounded number of members is read: a member may take a byte in the
/// message, and a hundred in memory. Those behind are stepped over.
pub(super) mod at_most {
    use std::collections::BTreeMap;
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

    struct AtMost<T>(usize, PhantomData<T>);

    pub(in crate::wire) fn list<'de, const MAX: usize, T, D>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_seq(AtMost::<Vec<T>>(MAX, PhantomData))
    }

    pub(in crate::wire) fn map<'de, const MAX: usize, K, V, D>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_map(AtMost::<BTreeMap<K, V>>(MAX, PhantomData))
    }

    impl<'de, T: Deserialize<'de>> Visitor<'de> for AtMost<Vec<T>> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while list.len() < self.0 {
                match members.next_element()? {
                    Some(member) => list.push(member),
                    None => return Ok(list),
                }
            }
            while members.next_element::<IgnoredAny>()?.is_some() {}
            Ok(list)
        }
    }

    impl<'de, K, V> Visitor<'de> for AtMost<BTreeMap<K, V>>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while map.len() < self.0 {
                match members.next_entry()? {
                    Some((key, value)) => drop(map.insert(key, value)),
                    None => return Ok(map),
                }
            }
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(map)
        }
    }
}

/// The six version bytes; nil when there are none. Fewer than six are none.
pub(super) mod versions {
    use serde::{Deserializer, Serializer};

    use crate::wire::Versions;

    pub(in crate::wire) fn serialize<S: Serializer>(
        versions: &Option<Versions>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match versions {
            None => serializer.serialize_none(),
            Some(versions) => serializer.serialize_bytes(&versions.to_bytes()),
        }
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Versions>, D::Error> {
        super::read(deserializer, |bytes| bytes.first_chunk().map(|first| Versions::from(*first)))
    }
}
