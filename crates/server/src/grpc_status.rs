//! Why a call failed, as gRPC tells it (`reference/grpc-and-xds.md` section 1).

use contract::{CallError, ErrorKind};
use grpc::{Code, Status};

/// The status that an error is told as.
pub(crate) fn status_of(error: &CallError) -> Status {
    let code = match error.kind() {
        ErrorKind::BadRequest | ErrorKind::TooLarge => Code::InvalidArgument,
        ErrorKind::Disabled => Code::FailedPrecondition,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::TooMany => Code::ResourceExhausted,
        ErrorKind::NotAvailable => Code::Unimplemented,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Failed if *error == CallError::no_leader() => Code::Unavailable,
        // What Go's servers say of an error that is not a status.
        ErrorKind::Failed => Code::Unknown,
    };
    Status::new(code, error.text())
}
