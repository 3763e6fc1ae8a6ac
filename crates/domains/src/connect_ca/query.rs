//! Reads of the certificate authority.

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use store::Reader;
use types::connect_ca::{CaRoot, CaRoots};

use super::table::{CA_CONFIG, CA_ROOTS};

/// All roots. Public: whoever verifies a member of the mesh needs them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaRootsQuery;

impl Query for CaRootsQuery {
    const NAME: &'static str = "ConnectCA.Roots";
    type Reply = CaRoots;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<CaRoots> {
        let roots: Vec<CaRoot> = reader.prefix(&CA_ROOTS, &[]).map(|root| root.public()).collect();
        let config = reader.get(&CA_CONFIG, b"");
        let cluster_id = config.as_deref().map_or("", |config| &config.cluster_id);
        let trust_domain = match cluster_id {
            "" => String::new(),
            id => format!("{id}.consul"),
        };
        let active = roots.iter().find(|root| root.active);
        let active_root_id = active.map_or_else(String::new, |root| root.id.clone());
        let index = reader.index_of(CA_ROOTS.name);
        Found::new(index, CaRoots { active_root_id, trust_domain, roots })
    }

    fn prune(&self, _who: &Authorizer, reply: CaRoots) -> Pruned<CaRoots> {
        Pruned::nothing(reply)
    }
}
