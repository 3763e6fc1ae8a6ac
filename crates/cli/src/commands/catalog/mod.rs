//! `consul catalog` (`reference/cli.md` section 5).

pub(super) mod datacenters;
pub(super) mod nodes;
pub(super) mod services;

use crate::ApiFlags;
use crate::command::{Command, Run, no_flags};

pub(super) const GROUP: Command = Command {
    words: "catalog",
    synopsis: "Look at the catalog",
    usage: "catalog <subcommand> [options] [args]",
    help: "Lists datacenters, nodes and services.\n\n\
           \x20   $ consul catalog nodes\n\
           \x20   $ consul catalog services -tags",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};
