//! `consul configtest`: what [`super::validate`] was called before Consul 0.8.
//! Consul dropped the name; here it goes on working, with one warning.

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::commands::validate;
use crate::failure::Outcome;
use crate::flag::Flag;

pub(super) const COMMAND: Command = Command {
    words: "configtest",
    synopsis: "Check configuration files, under its old name",
    usage: "configtest [options] [FILE_OR_DIRECTORY...]",
    help: "The old name of `consul validate`.",
    api: ApiFlags::NONE,
    flags: || {
        let mut flags = validate::FLAGS.to_vec();
        flags.push(Flag::list("config-file", "A file to check; may be given more than once."));
        flags.push(Flag::list("config-dir", "A folder to check; may be given more than once."));
        flags
    },
    run: Run::Here(run),
};

fn run(call: &mut Call) -> Outcome {
    call.ui.error("'consul configtest' is deprecated. Use 'consul validate' instead.");
    // Files and folders count in the order they were given in.
    let given = call.arguments.given().iter();
    let mut files: Vec<String> = given
        .filter(|(name, _)| ["config-file", "config-dir"].contains(name))
        .map(|(_, file)| file.clone())
        .collect();
    files.extend(call.arguments.words.iter().cloned());
    validate::check(call, files)
}
