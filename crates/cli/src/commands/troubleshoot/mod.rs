//! `consul troubleshoot` (`reference/cli.md` section 20).

pub(super) mod ports;

use crate::ApiFlags;
use crate::command::{Command, Run, no_flags};

pub(super) const GROUP: Command = Command {
    words: "troubleshoot",
    synopsis: "Find out why something cannot be reached",
    usage: "troubleshoot <subcommand> [options] [args]",
    help: "Finds out why something cannot be reached.\n\n\
           Which of Consul's ports are open on a host:\n\n\
           \x20   $ consul troubleshoot ports -host server-1.example.com",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};
