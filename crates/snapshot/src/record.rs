//! The kinds of records.

use std::fmt;

/// The kind of a record in a `state.bin`, by its first byte. The numbers are those of
/// the commands in the log; not each of them occurs in snapshots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u8);

/// The kinds that snapshots hold, in the order in which they stand there.
pub const ORDER: &[RecordType] = &[
    RecordType(32),
    RecordType(33),
    RecordType(0),
    RecordType(6),
    RecordType(3),
    RecordType(17),
    RecordType(19),
    RecordType(23),
    RecordType(25),
    RecordType(27),
    RecordType(2),
    RecordType(5),
    RecordType(7),
    RecordType(9),
    RecordType(12),
    RecordType(13),
    RecordType(14),
    RecordType(15),
    RecordType(22),
    RecordType(30),
    RecordType(31),
    RecordType::INDEX,
    RecordType(35),
    RecordType(38),
    RecordType(40),
    RecordType(42),
    RecordType::CHUNKS,
];

/// By number; those that are missing have no name in Consul either.
const NAMES: &[(u8, &str)] = &[
    (0, "Register"),
    (1, "Deregister"),
    (2, "KVS"),
    (3, "Session"),
    (4, "ACL"),
    (5, "Tombstone"),
    (6, "CoordinateBatchUpdate"),
    (7, "PreparedQuery"),
    (8, "Txn"),
    (9, "Autopilot"),
    (10, "Area"),
    (11, "ACLBootstrap"),
    (12, "Intention"),
    (13, "ConnectCA"),
    (14, "ConnectCAProviderState"),
    (15, "ConnectCAConfig"),
    (16, "Index"),
    (17, "ACLToken"),
    (18, "ACLTokenDelete"),
    (19, "ACLPolicy"),
    (20, "ACLPolicyDelete"),
    (21, "ConnectCALeaf"),
    (22, "ConfigEntry"),
    (23, "ACLRole"),
    (24, "ACLRoleDelete"),
    (25, "ACLBindingRule"),
    (26, "ACLBindingRuleDelete"),
    (27, "ACLAuthMethod"),
    (28, "ACLAuthMethodDelete"),
    (29, "ChunkingState"),
    (30, "FederationState"),
    (31, "SystemMetadata"),
    (32, "ServiceVirtualIP"),
    (33, "FreeVirtualIP"),
    (34, "KindServiceName"),
    (35, "Peering"),
    (36, "PeeringDelete"),
    (38, "PeeringTrustBundle"),
    (39, "PeeringTrustBundleDelete"),
    (40, "PeeringSecret"),
    (42, "Resource"),
    (43, "UpdateManualVirtualIPRequestType"),
];

impl RecordType {
    /// Nodes, services and checks.
    pub const REGISTER: Self = Self(0);
    /// Keys.
    pub const KVS: Self = Self(2);
    /// The ACL system before Consul 1.4.
    pub const LEGACY_ACL: Self = Self(4);
    /// Named indexes, which belong to no domain.
    pub const INDEX: Self = Self(16);
    /// Entries of the kinds that the mesh is configured with.
    pub const CONFIG_ENTRY: Self = Self(22);
    /// Commands of which only a part had arrived.
    pub const CHUNKS: Self = Self(29);

    /// The name in Consul's listings.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }

    /// Whether only Consul Enterprise knows what it is.
    pub fn is_enterprise(self) -> bool {
        self.0 >= 64
    }

    /// Its place in [`ORDER`]; `None` for what no snapshot holds.
    pub fn place(self) -> Option<usize> {
        ORDER.iter().position(|known| *known == self)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Unknown({})", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_that_snapshots_hold_has_one_place_and_a_name() {
        for (place, kind) in ORDER.iter().enumerate() {
            assert_eq!(kind.place(), Some(place), "{kind} is there twice");
            assert!(kind.name().is_some() && !kind.is_enterprise());
        }
        assert_eq!(RecordType::LEGACY_ACL.place(), None);
        assert_eq!(RecordType(62).to_string(), "Unknown(62)");
    }
}
