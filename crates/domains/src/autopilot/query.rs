//! Reads of the configuration.

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{CallError, Found, Pruned, Query};
use store::Reader;
use types::autopilot::AutopilotConfiguration;

use super::table::AUTOPILOT;

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AutopilotGet;

impl Query for AutopilotGet {
    const NAME: &'static str = "Operator.AutopilotGetConfiguration";
    const KEPT: bool = false;
    type Reply = Option<AutopilotConfiguration>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Operator, ""))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let row = reader.get(&AUTOPILOT, b"").map(|row| AutopilotConfiguration::clone(&row));
        Found::new(reader.index_of(AUTOPILOT.name), row)
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        match reply {
            Some(_) => Ok(reply),
            None => Err(CallError::failed(
                "there is no autopilot configuration yet: a leader makes it as soon as there is one",
            )),
        }
    }
}
