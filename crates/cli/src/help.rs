//! The texts of help (`reference/cli.md` 1.1 and 1.2).

use std::fmt::Write as _;

use types::GoDuration;

use crate::api::is_api_flag;
use crate::command::Command;
use crate::commands::{COMMANDS, NOT_YET};
use crate::flag::{Flag, Kind, quote};

/// Width of a line of a flag's help.
const COLUMNS: usize = 67;

/// What `consul` alone prints, to be followed by a line break.
pub(crate) fn root() -> String {
    let commands = COMMANDS.iter().filter(|command| !command.words.contains(' '));
    format!(
        "Usage: consul [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n{}",
        list(commands.map(|command| (command.words, command.synopsis)).collect())
    ) + &not_yet("")
}

/// Names what Consul has below these words and this version has not; `prefix` ends in a
/// blank unless it is empty.
fn not_yet(prefix: &str) -> String {
    let rest = NOT_YET.iter().filter_map(|words| words.strip_prefix(prefix));
    let mut names: Vec<&str> = rest.filter(|rest| !rest.contains(' ')).collect();
    if names.is_empty() {
        return String::new();
    }
    names.sort_unstable();
    let mut text = String::from("\nNot available yet:\n");
    for line in wrap(&names.join(", "), COLUMNS) {
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// The help of a command or a group.
pub(crate) fn command(command: &Command) -> String {
    let mut text = format!("Usage: consul {}\n\n", command.usage);
    for line in command.help.lines() {
        let _ = writeln!(text, "{}{line}", if line.is_empty() { "" } else { "  " });
    }
    let flags: Vec<Flag> = command.all_flags().into_iter().filter(|flag| !flag.hidden).collect();
    let (api, own): (Vec<Flag>, Vec<Flag>) =
        flags.into_iter().partition(|flag| is_api_flag(flag.name));
    for (title, mut flags) in [("HTTP API Options", api), ("Command Options", own)] {
        if flags.is_empty() {
            continue;
        }
        flags.sort_by_key(|flag| flag.name);
        let _ = write!(text, "\n{title}\n\n");
        let sections: Vec<String> = flags.iter().map(section).collect();
        text.push_str(&sections.join("\n"));
    }
    if command.is_group() {
        let prefix = format!("{} ", command.words);
        let children = COMMANDS.iter().filter_map(|child| {
            let name = child.words.strip_prefix(&prefix)?;
            (!name.contains(' ')).then_some((name, child.synopsis))
        });
        let _ = write!(text, "\nSubcommands:\n{}", list(children.collect()));
        text.push_str(&not_yet(&prefix));
    }
    text
}

/// What follows the complaint about a bad flag.
pub(crate) fn flag_defaults(flags: &[Flag]) -> String {
    let mut flags: Vec<&Flag> = flags.iter().collect();
    flags.sort_by_key(|flag| flag.name);
    let mut text = String::from("Usage:\n");
    for flag in flags {
        let word = flag.shown_word();
        let space = if word.is_empty() { "" } else { " " };
        let _ = write!(text, "  -{}{space}{word}\n    \t{}", flag.name, flag.help);
        match (flag.default, flag.kind) {
            ("", _) => {}
            (default, Kind::Text) => {
                let _ = write!(text, " (default {})", quote(default));
            }
            (default, _) => {
                let shown = GoDuration::parse(default).map(|duration| duration.to_string());
                let shown = shown.ok().filter(|_| flag.kind == Kind::Duration);
                let _ = write!(text, " (default {})", shown.as_deref().unwrap_or(default));
            }
        }
        text.push('\n');
    }
    text
}

fn section(flag: &Flag) -> String {
    let word = flag.shown_word();
    let equals = if word.is_empty() { "" } else { "=<" };
    let close = if word.is_empty() { "" } else { ">" };
    let mut text = format!("  -{}{equals}{word}{close}\n", flag.name);
    for line in wrap(flag.help, COLUMNS) {
        let _ = writeln!(text, "     {line}");
    }
    text
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn list(mut entries: Vec<(&str, &str)>) -> String {
    entries.sort_unstable();
    let longest = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, synopsis) in entries {
        let _ = writeln!(text, "    {name:longest$}    {synopsis}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_command_has_one_section_per_kind_of_flag() {
        let text = command(crate::commands::find("kv delete").unwrap());
        assert!(text.starts_with("Usage: consul kv delete [options] KEY_OR_PREFIX\n\n"), "{text}");
        assert!(text.contains("\n\nHTTP API Options\n\n  -ca-file=<value>\n     "), "{text}");
        assert!(text.contains("\n\n  -http-addr=<address>\n     "), "{text}");
        assert!(text.contains("\n\nCommand Options\n\n  -cas\n     "), "{text}");
        assert!(text.contains("\n\n  -modify-index=<uint>\n     "), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn the_help_of_a_group_lists_its_children() {
        let text = command(crate::commands::find("kv").unwrap());
        assert!(text.contains("\nSubcommands:\n    delete    "), "{text}");
        assert!(text.contains("\n    put       "), "{text}");
        let text = command(crate::commands::find("operator").unwrap());
        assert!(
            text.contains("\n    raft         Manage the servers of the Raft quorum\n"),
            "{text}"
        );
    }

    #[test]
    fn a_bad_flag_is_followed_by_all_flags() {
        let flags = [
            Flag::text("separator", "Cuts.").or("/"),
            Flag::bool("cas", "Compares."),
            Flag::new("wait", Kind::Duration, "Waits.").or("90s"),
        ];
        assert_eq!(
            flag_defaults(&flags),
            "Usage:\n  -cas\n    \tCompares.\n  -separator string\n    \tCuts. (default \"/\")\n  \
             -wait duration\n    \tWaits. (default 1m30s)\n"
        );
    }

    #[test]
    fn root_help_lists_the_commands_in_columns() {
        let text = root();
        assert!(text.contains("\n    agent          "), "{text}");
        assert!(text.contains("\n    force-leave    "), "{text}");
        assert!(!text.contains("kv get"), "{text}");
        assert!(text.contains("\nNot available yet:\n    acl, "), "{text}");
    }
}
