//! `consul operator raft transfer-leader`.

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

const COMPLAINT: &str = "Error transfering leadership";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator raft transfer-leader",
    synopsis: "Hand the leadership to another server",
    usage: "operator raft transfer-leader [options]",
    help: "Has the leader hand its duty to another server: to the one named, or to the one\n\
           whose log is the furthest.",
    api: ApiFlags::CS,
    flags: || vec![Flag::text("id", "Id of the server that is to lead.")],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client_or(NO_CLIENT)?;
    let id = call.arguments.text("id").to_owned();
    // The blank in place of a second colon is Consul's.
    let transferred = client.operator().raft_transfer_leader(&id).await.map_err(|error| {
        Failure::new(format!("{COMPLAINT}: Failed to transfer leadership {error}"))
    })?;
    if !transferred {
        return Err::<u8, _>("the leader did not hand over").tried(COMPLAINT);
    }
    call.ui.output("Success");
    Ok(0)
}
