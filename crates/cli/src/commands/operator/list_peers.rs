//! `consul operator raft list-peers`.

use client::{RaftConfiguration, RaftServer};

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _};
use crate::table::{row, table};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator raft list-peers",
    synopsis: "List the servers of the quorum",
    usage: "operator raft list-peers [options]",
    help: "Prints the servers of the Raft configuration, who leads, and how far each one's\n\
           log is behind the leader's.",
    api: ApiFlags::CS,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client_or(NO_CLIENT)?;
    let options = call.query_options();
    let configuration = client
        .operator()
        .raft_configuration(&options)
        .await
        .tried("Error getting peers: Failed to retrieve raft configuration")?;
    call.ui.output(table(&rows(&configuration)));
    Ok(0)
}

pub(in crate::commands) fn rows(configuration: &RaftConfiguration) -> Vec<Vec<String>> {
    let columns = [
        "Node",
        "ID",
        "Address",
        "State",
        "Voter",
        "RaftProtocol",
        "Commit Index",
        "Trails Leader By",
    ];
    let leader = configuration.servers.iter().find(|server| server.leader);
    let leader_index = leader.map_or(0, |leader| leader.last_index);
    let mut rows = vec![row(columns)];
    rows.extend(configuration.servers.iter().map(|server| server_row(server, leader_index)));
    rows
}

fn server_row(server: &RaftServer, leader_index: u64) -> Vec<String> {
    let state = if server.leader { "leader" } else { "follower" };
    let protocol = match server.protocol_version.as_str() {
        "" => "<=1",
        version => version,
    };
    let behind = match leader_index.saturating_sub(server.last_index) {
        _ if server.leader => "-".to_owned(),
        1 => "1 commit".to_owned(),
        commits => format!("{commits} commits"),
    };
    row([
        &server.node,
        &server.id,
        &server.address,
        state,
        if server.voter { "true" } else { "false" },
        protocol,
        &server.last_index.to_string(),
        &behind,
    ])
}
