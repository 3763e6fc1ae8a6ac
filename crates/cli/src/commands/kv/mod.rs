//! `consul kv` (`reference/cli.md` section 11).

pub(super) mod delete;
pub(super) mod export;
pub(super) mod get;
pub(super) mod import;
pub(super) mod put;

use crate::ApiFlags;
use crate::command::{Command, Run, no_flags};
use crate::failure::Failure;

pub(super) const GROUP: Command = Command {
    words: "kv",
    synopsis: "Read and write keys",
    usage: "kv <subcommand> [options] [args]",
    help: "Reads and writes the key/value store.\n\n\
           Write a key, read it, remove it:\n\n\
           \x20   $ consul kv put app/limit 10\n\
           \x20   $ consul kv get app/limit\n\
           \x20   $ consul kv delete app/limit",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

/// The complaint of every command that needs a key.
fn missing_key() -> Failure {
    Failure::new("Error! Missing KEY argument")
}
