//! `consul services` (`reference/cli.md` section 17).

pub(super) mod deregister;
pub(super) mod export;
pub(super) mod exported_services;
pub(super) mod register;

use config::{Disk, Sources};
use types::service::ServiceDefinition;

use crate::ApiFlags;
use crate::command::{Command, Run, no_flags};
use crate::failure::{Failure, Tried as _};

pub(super) const GROUP: Command = Command {
    words: "services",
    synopsis: "Register services and share them",
    usage: "services <subcommand> [options] [args]",
    help: "Registers services with an agent, and exports them to other clusters.\n\n\
           \x20   $ consul services register web.hcl\n\
           \x20   $ consul services deregister -id=web-1",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

/// The services that configuration files define. The files are read as an
/// agent in development mode reads them, which asks for no other option.
fn definitions(files: &[String]) -> Result<Vec<ServiceDefinition>, Failure> {
    let sources = Sources { dev: true, config_files: files.to_vec(), ..Sources::default() };
    let loaded = config::load(&sources, &Disk, &agent::read_environment()).tried("Error")?;
    Ok(loaded.config.services().to_vec())
}
