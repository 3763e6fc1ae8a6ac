//! Permissions and authorizers.
//!
//! A call names the [`Permission`] it needs; an [`Authorizer`] says whether the
//! holder of a token has it. While ACLs are off there is one authorizer,
//! [`Authorizer::allow_all`], and every question is answered with yes. Callers
//! never ask whether ACLs are on: they ask for permissions.
//!
//! Resources and wording: `reference/http-api.md` 1.6 and 1.13.

use std::fmt;

/// What a permission is about. The texts are those of the rule language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Tokens, policies, roles, auth methods, snapshots.
    Acl,
    /// The agent's own endpoints, by node name.
    Agent,
    /// User events, by event name.
    Event,
    /// Intentions, by destination.
    Intention,
    /// A key.
    Key,
    /// All keys under a prefix.
    KeyPrefix,
    /// Gossip keys.
    Keyring,
    /// Mesh-wide settings.
    Mesh,
    /// A node.
    Node,
    /// Operation of the servers.
    Operator,
    /// Cluster peerings.
    Peering,
    /// A prepared query, by name.
    Query,
    /// A service.
    Service,
    /// Sessions, by node.
    Session,
}

impl Resource {
    /// The name in rules and in error texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Acl => "acl",
            Resource::Agent => "agent",
            Resource::Event => "event",
            Resource::Intention => "intention",
            Resource::Key | Resource::KeyPrefix => "key",
            Resource::Keyring => "keyring",
            Resource::Mesh => "mesh",
            Resource::Node => "node",
            Resource::Operator => "operator",
            Resource::Peering => "peering",
            Resource::Query => "query",
            Resource::Service => "service",
            Resource::Session => "session",
        }
    }
}

/// How a resource is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// See it.
    Read,
    /// See that it exists, for key listings.
    List,
    /// Change it.
    Write,
}

impl Access {
    /// The name in rules and in error texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::List => "list",
            Access::Write => "write",
        }
    }
}

/// One thing that a call needs, or that a row needs to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission<'a> {
    /// What it is about.
    pub resource: Resource,
    /// How it is touched.
    pub access: Access,
    /// Which one; empty for resources without names.
    pub name: &'a str,
}

impl<'a> Permission<'a> {
    /// See one named resource.
    pub fn read(resource: Resource, name: &'a str) -> Self {
        Self { resource, access: Access::Read, name }
    }

    /// Change one named resource.
    pub fn write(resource: Resource, name: &'a str) -> Self {
        Self { resource, access: Access::Write, name }
    }
}

/// What the holder of a token may do.
#[derive(Clone, Debug)]
pub struct Authorizer {
    rules: Rules,
}

#[derive(Clone, Debug)]
enum Rules {
    AllowAll,
    DenyAll,
}

impl Authorizer {
    /// Everything is allowed: ACLs are off.
    pub const fn allow_all() -> Self {
        Self { rules: Rules::AllowAll }
    }

    /// Nothing is allowed.
    pub const fn deny_all() -> Self {
        Self { rules: Rules::DenyAll }
    }

    /// Equal for authorizers that answer every question alike, so that results may be
    /// shared among those who ask with them.
    pub fn identity(&self) -> u64 {
        match self.rules {
            Rules::AllowAll => 0,
            Rules::DenyAll => 1,
        }
    }

    /// Whether no question can be answered with no, so that pruning may be skipped.
    pub fn allows_everything(&self) -> bool {
        matches!(self.rules, Rules::AllowAll)
    }

    /// Whether the holder has the permission.
    pub fn allows(&self, _permission: Permission<'_>) -> bool {
        match self.rules {
            Rules::AllowAll => true,
            Rules::DenyAll => false,
        }
    }

    /// As [`Self::allows`], with the refusal to send to the client.
    pub fn require(&self, permission: Permission<'_>) -> Result<(), PermissionDenied> {
        if self.allows(permission) {
            return Ok(());
        }
        Err(PermissionDenied {
            resource: permission.resource,
            access: permission.access,
            name: permission.name.to_owned(),
        })
    }
}

/// A refusal. Programs match on the first two words of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionDenied {
    resource: Resource,
    access: Access,
    name: String,
}

impl fmt::Display for PermissionDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Permission denied: anonymous token lacks permission '{}:{}'",
            self.resource.as_str(),
            self.access.as_str()
        )?;
        if !self.name.is_empty() {
            write!(f, " on {:?}", self.name)?;
        }
        f.write_str(
            ". The anonymous token is used implicitly when a request does not specify a token.",
        )
    }
}

impl std::error::Error for PermissionDenied {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_missing() {
        let refusal = Authorizer::deny_all()
            .require(Permission::read(Resource::Key, "x"))
            .expect_err("nothing is allowed");
        assert_eq!(
            refusal.to_string(),
            "Permission denied: anonymous token lacks permission 'key:read' on \"x\". The anonymous \
             token is used implicitly when a request does not specify a token."
        );
    }

    #[test]
    fn everything_is_allowed_while_acls_are_off() {
        let who = Authorizer::allow_all();
        assert!(who.allows_everything());
        assert!(who.require(Permission::write(Resource::Operator, "")).is_ok());
    }
}
