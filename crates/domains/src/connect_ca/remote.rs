//! The certificate authority on the server port.

use contract::remote::{QueryMethod, QueryOptions, RemoteCommand};
use contract::{CallError, MethodDef, ReadFacts};
use types::connect_ca::CaRoots;

use super::command::CaCommand;
use super::query::CaRootsQuery;
use crate::requests::DcRequest;

pub(super) const METHODS: &[MethodDef] = &[MethodDef::read::<CaRootsQuery>()];

/// Leaders change the authority for themselves: what they write holds its key.
impl RemoteCommand for CaCommand {}

/// `IndexedCARoots` has the fields of the rows.
impl QueryMethod for CaRootsQuery {
    type Request = DcRequest;
    type Wire<'r> = &'r CaRoots;
    type Received = CaRoots;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &CaRoots) -> &CaRoots {
        reply
    }

    fn of_wire(&self, received: CaRoots, _facts: &ReadFacts) -> Result<CaRoots, CallError> {
        Ok(received)
    }
}
