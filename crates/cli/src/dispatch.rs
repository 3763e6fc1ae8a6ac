//! From words to a command (`reference/cli.md` 1.2).

use crate::command::{Call, Command, Environment, Run};
use crate::commands::{NOT_YET, find};
use crate::completion;
use crate::failure::{Exit, Failure, Outcome};
use crate::flag::Arguments;
use crate::help;
use crate::ui::Ui;

/// No such command.
const EXIT_UNKNOWN: Exit = 127;

/// What the words of the command line mean.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    /// The words of the command; empty when there are none.
    command: String,
    /// What follows them.
    rest: Vec<String>,
    help: bool,
    version: bool,
    /// Whether other flags stand before the command.
    early_flags: bool,
}

/// Runs the command that `words` (without the program's name) mean.
pub fn execute(words: &[String], environment: Environment, mut ui: Ui) -> Exit {
    if let Some(exit) = completion::answer(&environment, &mut ui) {
        return exit;
    }
    let line = read(words);
    if line.command.is_empty()
        && let Some(exit) = completion::install_or_remove(words, &mut ui)
    {
        return exit;
    }
    if line.version {
        return execute(&["version".to_owned()], environment, ui);
    }
    if line.help && line.command.is_empty() {
        ui.output(help::root());
        return 0;
    }
    let Some(command) = find(&line.command) else {
        return match NOT_YET.iter().find(|words| **words == line.command) {
            Some(words) => not_yet(words, line.help, &mut ui),
            None => {
                ui.error(help::root());
                EXIT_UNKNOWN
            }
        };
    };
    if line.help {
        ui.raw_output(help::command(command));
        return 0;
    }
    if line.early_flags {
        ui.error(
            "Invalid flags before the subcommand. If these flags are for\n\
             the subcommand, please put them after the subcommand.\n",
        );
        ui.raw_error(help::command(command));
        return 1;
    }
    run(command, &line.rest, environment, ui)
}

fn not_yet(words: &str, help: bool, ui: &mut Ui) -> Exit {
    let text = format!("consul {words} is not available yet");
    if help {
        ui.output(format!("Usage: consul {words} [options]\n\n  {text}."));
        return 0;
    }
    ui.error(text);
    1
}

fn run(command: &Command, words: &[String], environment: Environment, mut ui: Ui) -> Exit {
    if command.is_group() {
        ui.raw_error(help::command(command));
        return 1;
    }
    let flags = command.all_flags();
    let arguments = match Arguments::parse(&flags, words) {
        Ok(arguments) => arguments,
        Err(complaint) => {
            ui.error(&complaint);
            ui.raw_error(help::flag_defaults(&flags));
            if command.words == "agent" {
                ui.error(format!("==> error parsing flags: {complaint}"));
            }
            return 1;
        }
    };
    let mut call = Call { ui, arguments, environment };
    match outcome(command, &mut call) {
        Ok(exit) => exit,
        Err(failure) => {
            call.ui.error(&failure.message);
            if failure.with_help {
                call.ui.error("");
                call.ui.raw_error(help::command(command));
            }
            failure.exit
        }
    }
}

fn outcome(command: &Command, call: &mut Call) -> Outcome {
    match command.run {
        Run::Group => Ok(1),
        Run::Here(work) => work(call),
        Run::Online(work) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("Error executing CLI: {error}")))?;
            runtime.block_on(work(call))
        }
    }
}

fn read(words: &[String]) -> Line {
    let mut line = Line::default();
    let mut found = false;
    for (position, word) in words.iter().enumerate() {
        match word.as_str() {
            "--" => break,
            "-h" | "-help" | "--help" => line.help = true,
            "-v" | "-version" | "--version" if !found => line.version = true,
            flag if !found && flag.starts_with('-') => line.early_flags = true,
            "" => {}
            _ if !found => {
                found = true;
                let (command, length) = longest_command(&words[position..]);
                line.command = command;
                line.rest = words[position + length..].to_vec();
            }
            _ => {}
        }
    }
    line
}

/// The longest run of leading words that is a command, and how many they are;
/// the first word alone when none is.
fn longest_command(words: &[String]) -> (String, usize) {
    let is_part =
        |word: &&String| !word.is_empty() && !word.contains(' ') && !word.starts_with('-');
    let most = words.iter().take_while(is_part).count();
    for length in (1..=most).rev() {
        let candidate = words[..length].join(" ");
        if find(&candidate).is_some() || NOT_YET.contains(&candidate.as_str()) {
            return (candidate, length);
        }
    }
    (words[0].clone(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_longest_command_is_taken() {
        let kv = line("kv get -recurse foo");
        assert_eq!(kv.command, "kv get");
        assert_eq!(kv.rest, ["-recurse", "foo"]);
        assert_eq!(line("kv frobnicate").command, "kv");
        assert_eq!(line("members kv get").command, "members");
        assert_eq!(line("nosuch kv").command, "nosuch");
        assert_eq!(line("operator raft list-peers").command, "operator raft list-peers");
        assert_eq!(line("acl token read").command, "acl");
    }

    #[test]
    fn help_is_asked_for_anywhere_and_a_version_only_first() {
        assert!(line("kv get foo -h").help);
        assert!(!line("kv get -- -h").help);
        assert!(line("-v kv").version);
        assert!(!line("kv -v").version);
        assert!(line("-x kv").early_flags);
        assert!(!line("kv -x").early_flags);
    }
}
