//! `consul operator raft remove-peer`.

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, quote};

const COMPLAINT: &str = "Error removing peer";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator raft remove-peer",
    synopsis: "Remove a server from the quorum",
    usage: "operator raft remove-peer [options]",
    help: "Removes a server that will not come back from the Raft configuration. A server\n\
           that leaves or is forced to leave needs no such help.",
    api: ApiFlags::CS,
    flags: || {
        vec![
            Flag::text("address", "Address of the server, ip:port."),
            Flag::text("id", "Id of the server."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client_or(NO_CLIENT)?;
    let address = call.arguments.text("address").to_owned();
    let id = call.arguments.text("id").to_owned();
    let removed = match (address.as_str(), id.as_str()) {
        ("", "") => {
            let reason = "an address or id is required for the peer to remove";
            return Err(Failure::new(format!("{COMPLAINT}: {reason}")));
        }
        (address, "") => {
            client.operator().raft_remove_peer_by_address(address).await.tried(COMPLAINT)?;
            format!("Removed peer with address {}", quote(address))
        }
        ("", id) => {
            client.operator().raft_remove_peer_by_id(id).await.tried(COMPLAINT)?;
            format!("Removed peer with id {}", quote(id))
        }
        _ => {
            return Err(Failure::new(format!("{COMPLAINT}: cannot give both an address and id")));
        }
    };
    call.ui.output(removed);
    Ok(0)
}
