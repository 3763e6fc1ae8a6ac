//! `consul operator raft recover`, which Consul does not have.

use types::operator::{Recovery, RecoveryOrder, RecoveryServer};

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;
use crate::table::{row, table};

const COMPLAINT: &str = "Error recovering the quorum";

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator raft recover",
    synopsis: "Go on with the servers that are left (Proconsul only)",
    usage: "operator raft recover [options]",
    help: "When so many servers are lost for good that the others find no majority, makes\n\
           those that are left the quorum, while they run. Consul has no such command: there\n\
           all servers are stopped and given a raft/peers.json, which works here, too.\n\n\
           It is given on a server that is left, over a loopback address or a unix socket.\n\
           It shows what that server knows and what may be lost, and asks before it does\n\
           anything. It refuses while a majority answers, while there is a leader, and when\n\
           another server that is left has more of the log.\n\n\
           The lost servers must never come back with the data they had: a majority of them\n\
           would be a cluster of its own. Give them empty data directories.",
    api: ApiFlags::C,
    flags: || vec![Flag::bool("yes", "Do it without asking.")],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client_or(NO_CLIENT)?;
    let recovery = client.operator().raft_recovery().await.tried(COMPLAINT)?;
    call.ui.output(table(&rows(&recovery)));
    if !recovery.refused.is_empty() {
        return Err(Failure::new(format!("{COMPLAINT}: {}", recovery.refused)));
    }
    call.ui.output(format!("\n{}", outlook(&recovery)));
    if !call.arguments.bool("yes") {
        call.ui.raw_output("\nGo on without the lost servers? Only 'yes' does it: ");
        let answer = call.ui.read_line(ANSWER_BYTES_MAX).tried("Failed to read stdin")?;
        if answer.trim_ascii() != b"yes" {
            return Err(Failure::new("Nothing was changed"));
        }
    }
    let Recovery { last_term, last_index, .. } = recovery;
    client
        .operator()
        .raft_recover(RecoveryOrder { last_term, last_index })
        .await
        .tried(COMPLAINT)?;
    call.ui.output("\nThe servers that are left are the quorum and have a leader");
    Ok(0)
}

fn rows(recovery: &Recovery) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Node", "ID", "Address", "Voter", "Gossip", "Log Ends At", "Is"])];
    rows.extend(recovery.servers.iter().map(|server| server_row(recovery, server)));
    rows
}

fn server_row(recovery: &Recovery, server: &RecoveryServer) -> Vec<String> {
    let end = match server.answers {
        true => format!("index {} of term {}", server.last_index, server.last_term),
        false => "-".to_owned(),
    };
    let fate = match (server.answers, server.id == recovery.id) {
        (true, true) => "left, this one",
        (true, false) => "left",
        (false, _) => "lost",
    };
    let voter = if server.voter { "true" } else { "false" };
    row([&server.node, &server.id, &server.address, voter, &server.status, &end, fate])
}

/// What comes of it, at worst.
fn outlook(recovery: &Recovery) -> String {
    let seconds = recovery.last_contact.to_std().as_secs();
    let mut lines = vec![format!(
        "This server last heard of a leader, or led, {seconds} s ago. What the lost servers have\n\
         acknowledged since then, or shortly before without telling it, is lost."
    )];
    let (commit, last) = (recovery.commit_index, recovery.last_index);
    if commit < last {
        lines.push(format!(
            "It does not know whether a majority had the indexes {} to {last}: they take effect.",
            commit + 1
        ));
    }
    lines.push(
        "The lost servers must never come back with the data they had: give them empty data\n\
         directories."
            .to_owned(),
    );
    lines.join("\n")
}
