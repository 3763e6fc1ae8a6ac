//! The configuration of autopilot on the server port.

use bytes::Bytes;
use contract::remote::{CommandMethod, QueryMethod, QueryOptions, ReplyReader, encode, reading};
use contract::{CallError, MethodDef, ReadFacts};
use types::autopilot::AutopilotConfiguration;

use super::command::AutopilotSet;
use super::query::AutopilotGet;
use crate::requests::DcRequest;

pub(super) const METHODS: &[MethodDef] =
    &[MethodDef::read::<AutopilotGet>(), MethodDef::write::<AutopilotSet>()];

impl CommandMethod for AutopilotSet {
    fn encode_reply(reply: &bool) -> Bytes {
        encode(reply)
    }

    fn reply_reader(&self) -> ReplyReader<bool> {
        reading(Self::METHOD, Ok)
    }
}

/// The reply is the bare configuration.
impl QueryMethod for AutopilotGet {
    const TELLS_FACTS: bool = false;
    type Request = DcRequest;
    type Wire<'r> = Option<&'r AutopilotConfiguration>;
    type Received = Option<AutopilotConfiguration>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Option<AutopilotConfiguration>) -> Self::Wire<'_> {
        reply.as_ref()
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received)
    }
}
