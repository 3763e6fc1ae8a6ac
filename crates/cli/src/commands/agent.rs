//! `consul agent` (`reference/cli.md` section 3).

use config::{AGENT_FLAGS, AgentFlag, FlagKind, Sources};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Exit, Failure, Outcome};
use crate::flag::{Arguments, Flag, Kind};

pub(super) const COMMAND: Command = Command {
    words: "agent",
    synopsis: "Run an agent",
    usage: "agent [options]",
    help: "Runs an agent until it is told to leave or to end. Configuration comes from\n\
           files, folders and flags; later ones override earlier ones.\n\n\
           \x20   $ consul agent -dev\n\
           \x20   $ consul agent -config-dir=/etc/consul.d",
    api: ApiFlags::NONE,
    flags: || AGENT_FLAGS.iter().map(flag).collect(),
    run: Run::Here(run),
};

fn flag(flag: &AgentFlag) -> Flag {
    let kind = match flag.kind {
        FlagKind::Bool => Kind::Bool,
        FlagKind::Int => Kind::Integer,
        FlagKind::Str | FlagKind::Duration => Kind::Text,
        // `key:value` is checked with the rest of the configuration.
        FlagKind::List | FlagKind::Map => Kind::List,
    };
    Flag::new(flag.name, kind, flag.help).word(if kind.is_bool() { "" } else { "value" })
}

fn run(call: &mut Call) -> Outcome {
    let words = &call.arguments.words;
    if !words.is_empty() {
        let words = words.join(" ");
        return Err(Failure::new(format!("==> Unexpected extra arguments: [{words}]")));
    }
    Ok(start(sources(&call.arguments)))
}

/// Sorts the flags by where `config` wants them.
fn sources(arguments: &Arguments) -> Sources {
    let mut sources = Sources::default();
    for (name, value) in arguments.given() {
        match *name {
            "dev" => sources.dev = arguments.bool("dev"),
            "config-file" | "config-dir" => sources.config_files.push(value.clone()),
            "config-format" => sources.config_format.clone_from(value),
            "hcl" => sources.hcl.push(value.clone()),
            name => sources.flags.push((name.to_owned(), value.clone())),
        }
    }
    sources
}

/// Runs the agent to its end and gives its exit code. The one place where the
/// command line and the agent meet.
fn start(sources: Sources) -> Exit {
    agent::run(&agent::RunOptions { sources, warnings: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_sorted_by_where_they_belong() {
        let words = [
            "-dev",
            "-config-file=a.hcl",
            "-config-dir",
            "b",
            "-hcl=x = 1",
            "-http-port=1",
            "-server",
            "-node-meta=a:b",
        ];
        let words = words.map(str::to_owned);
        let arguments = Arguments::parse(&COMMAND.all_flags(), &words).unwrap();
        let sources = sources(&arguments);
        assert!(sources.dev);
        assert_eq!(sources.config_files, ["a.hcl", "b"]);
        assert_eq!(sources.hcl, ["x = 1"]);
        let flags: Vec<_> =
            sources.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(flags, [("http-port", "1"), ("server", "true"), ("node-meta", "a:b")]);
    }
}
