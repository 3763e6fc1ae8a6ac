//! The certificate authority of the mesh (`reference/rpc-wire.md` section 16,
//! `reference/grpc-and-xds.md` section 7).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::proxy::Opaque;
use crate::{Index, Timestamp};

/// A root certificate that members of the mesh trust, or trusted until lately.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaRoot {
    /// SHA-1 of the certificate's DER, lower-case hex with colons.
    #[serde(rename = "ID")]
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The certificate's serial number.
    pub serial_number: u64,
    /// The certificate's subject key id, hex with colons.
    #[serde(rename = "SigningKeyID")]
    pub signing_key_id: String,
    /// The cluster id whose trust domain it serves, without `.consul`.
    pub external_trust_domain: String,
    /// Since when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// The certificate, PEM.
    pub root_cert: String,
    /// What leads from leaf certificates to it, PEM, nearest to the leaf first.
    pub intermediate_certs: Option<Vec<String>>,
    /// The certificate that signs, for providers that keep it here; never served.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signing_cert: String,
    /// The key that signs, for providers that keep it here; never served.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signing_key: String,
    /// Whether new certificates lead to it.
    pub active: bool,
    /// When another root took its place; zero while none has.
    #[serde(skip_serializing_if = "Timestamp::is_zero")]
    pub rotated_out_at: Timestamp,
    /// `ec` or `rsa`.
    pub private_key_type: String,
    /// Bits of the key.
    pub private_key_bits: i64,
    /// The index that brought it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

impl CaRoot {
    /// The root as anybody may see it: without what signs.
    #[must_use]
    pub fn public(&self) -> Self {
        Self { signing_cert: String::new(), signing_key: String::new(), ..self.clone() }
    }
}

impl fmt::Debug for CaRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaRoot")
            .field("id", &self.id)
            .field("active", &self.active)
            .field("serial_number", &self.serial_number)
            .field("modify_index", &self.modify_index)
            .finish_non_exhaustive()
    }
}

/// All roots (`IndexedCARoots`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaRoots {
    /// The root that new certificates lead to; empty before there is one.
    #[serde(rename = "ActiveRootID")]
    pub active_root_id: String,
    /// `<cluster id>.consul`; empty before there is an authority.
    pub trust_domain: String,
    /// The roots by id, without what signs.
    pub roots: Vec<CaRoot>,
}

/// How the authority works (`CAConfiguration`).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaConfiguration {
    /// UUID that was chosen once for the cluster.
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
    /// `consul`, `vault` or `aws-pca`.
    pub provider: String,
    /// Settings of the provider; may hold a private key.
    pub config: Option<Opaque>,
    /// What the provider wants to remember.
    pub state: Option<BTreeMap<String, String>>,
    /// Whether a rotation may go without cross-signing.
    pub force_without_cross_signing: bool,
    /// The index that brought it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

impl fmt::Debug for CaConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaConfiguration")
            .field("cluster_id", &self.cluster_id)
            .field("provider", &self.provider)
            .field("modify_index", &self.modify_index)
            .finish_non_exhaustive()
    }
}

/// What the built-in provider keeps (`CAConsulProviderState`): the key of the root.
/// Never served.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaProviderState {
    /// Stands for the settings that the key was made for.
    #[serde(rename = "ID")]
    pub id: String,
    /// The key, PEM.
    pub private_key: String,
    /// The root certificate, PEM.
    pub root_cert: String,
    /// The intermediate certificate of a secondary datacenter, PEM.
    pub intermediate_cert: String,
    /// The index that brought it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

impl fmt::Debug for CaProviderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaProviderState")
            .field("id", &self.id)
            .field("modify_index", &self.modify_index)
            .finish_non_exhaustive()
    }
}
