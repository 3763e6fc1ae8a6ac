//! `consul validate` (`reference/cli.md` section 21).

use config::{Disk, Sources};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

/// Its flags.
pub(super) const FLAGS: &[Flag] = &[
    Flag::text("config-format", "Read every file as this format: hcl or json."),
    Flag::bool("quiet", "Print neither success nor warnings."),
];

pub(super) const COMMAND: Command = Command {
    words: "validate",
    synopsis: "Check configuration files",
    usage: "validate [options] FILE_OR_DIRECTORY...",
    help: "Reads configuration files and folders as an agent would, and says whether it\n\
           could start with them. They must be complete, so give all at once.\n\n\
           \x20   $ consul validate /etc/consul.d",
    api: ApiFlags::NONE,
    flags: || FLAGS.to_vec(),
    run: Run::Here(run),
};

fn run(call: &mut Call) -> Outcome {
    let files = call.arguments.words.clone();
    check(call, files)
}

/// Says whether an agent could start with `files`.
pub(super) fn check(call: &mut Call, files: Vec<String>) -> Outcome {
    if files.is_empty() {
        return Err(Failure::new("Must specify at least one config file or directory"));
    }
    let format = call.arguments.text("config-format").to_owned();
    if !["", "hcl", "json"].contains(&format.as_str()) {
        // The unbalanced quote is Consul's.
        return Err(Failure::new("-config-format must be either 'hcl' or 'json"));
    }
    let sources = Sources { config_files: files, config_format: format, ..Sources::default() };
    let loaded = config::load(&sources, &Disk, &agent::read_environment())
        .tried("Config validation failed")?;
    if !call.arguments.bool("quiet") {
        for warning in &loaded.warnings {
            call.ui.error(warning);
        }
        call.ui.output("Configuration is valid!");
    }
    Ok(0)
}
