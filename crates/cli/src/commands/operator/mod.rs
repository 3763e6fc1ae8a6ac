//! `consul operator` (`reference/cli.md` section 14).

pub(super) mod get_config;
pub(super) mod instances;
pub(super) mod list_peers;
pub(super) mod recover;
pub(super) mod remove_peer;
pub(super) mod set_config;
pub(super) mod state;
pub(super) mod transfer_leader;

use crate::ApiFlags;
use crate::command::{Command, Run, no_flags};

pub(super) const GROUP: Command = Command {
    words: "operator",
    synopsis: "Look after the servers",
    usage: "operator <subcommand> [options]",
    help: "Tools for whoever looks after the servers of a cluster.",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

pub(super) const RAFT_GROUP: Command = Command {
    words: "operator raft",
    synopsis: "Manage the servers of the Raft quorum",
    usage: "operator raft <subcommand> [options]",
    help: "Shows and changes which servers keep the replicated log.\n\n\
           \x20   $ consul operator raft list-peers",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

pub(super) const AUTOPILOT_GROUP: Command = Command {
    words: "operator autopilot",
    synopsis: "Have servers look after each other",
    usage: "operator autopilot <subcommand> [options]",
    help: "Shows how the servers are doing, and shows and changes the rules by which the\n\
           leader gives up dead ones and lets new ones vote.\n\n\
           \x20   $ consul operator autopilot state",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

pub(super) const USAGE_GROUP: Command = Command {
    words: "operator usage",
    synopsis: "Count what there is",
    usage: "operator usage <subcommand> [options]",
    help: "Shows how much there is in the datacenter.\n\n\
           \x20   $ consul operator usage instances",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

/// How these commands complain that there can be no client.
const NO_CLIENT: &str = "Error initializing client";
