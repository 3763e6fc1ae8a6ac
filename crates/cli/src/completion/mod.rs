//! Shell completion (`reference/cli.md` 1.3).
//!
//! A shell that was told to complete `consul` runs it with the line so far in `COMP_LINE`,
//! and takes each line that it prints as a candidate. Consul completes the words of
//! commands; here flags are completed too, once a word begins with a dash.

mod install;

use crate::command::{Command, Environment};
use crate::commands::{COMMANDS, find};
use crate::failure::Exit;
use crate::ui::Ui;

/// The line so far, when a shell asks.
const LINE: &str = "COMP_LINE";

/// How much of the line stands before the cursor, in bytes.
const POINT: &str = "COMP_POINT";

const INSTALL: &str = "autocomplete-install";
const UNINSTALL: &str = "autocomplete-uninstall";

/// The flags that `consul` takes before any command.
const ROOT_FLAGS: [&str; 4] = ["help", "version", INSTALL, UNINSTALL];

/// Answers a shell that asks what a line may go on with.
pub(crate) fn answer(environment: &Environment, ui: &mut Ui) -> Option<Exit> {
    let line = environment(LINE).filter(|line| !line.is_empty())?;
    let point = environment(POINT).and_then(|point| point.parse().ok());
    let line = point.and_then(|point: usize| line.get(..point)).unwrap_or(&line);
    for candidate in candidates(line) {
        ui.output(candidate);
    }
    Some(0)
}

/// Installs or removes completion, if one of the words asks for that.
pub(crate) fn install_or_remove(words: &[String], ui: &mut Ui) -> Option<Exit> {
    let asks = |flag: &str| words.iter().any(|word| is_flag(word, flag));
    let outcome = match (asks(INSTALL), asks(UNINSTALL)) {
        (false, false) => return None,
        (true, true) => Err("Either the autocomplete install or uninstall flag may be \
                             specified, but not both."
            .to_owned()),
        (true, false) => install::of_this_user(install::install),
        (false, true) => install::of_this_user(install::remove),
    };
    Some(match outcome {
        Ok(()) => 0,
        Err(error) => {
            ui.error(format!("Error executing CLI: {error}"));
            1
        }
    })
}

fn is_flag(word: &str, flag: &str) -> bool {
    word.strip_prefix("--").or_else(|| word.strip_prefix('-')) == Some(flag)
}

/// What the last word of a line may become, sorted.
fn candidates(line: &str) -> Vec<String> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let last = match line.ends_with(char::is_whitespace) {
        true => "",
        false => words.pop().unwrap_or(""),
    };
    let typed = words.get(1..).unwrap_or(&[]);
    let (command, length) = command_of(typed);
    let mut found: Vec<String> = if last.starts_with('-') {
        flags(command).into_iter().map(|name| format!("-{name}")).collect()
    } else if length == typed.iter().filter(|word| !word.starts_with('-')).count() {
        // Behind the words of a command nothing but its own arguments may follow.
        children(command).into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let last = last.strip_prefix('-').map_or(last.to_owned(), |rest| {
        // Two dashes mean the same as one.
        format!("-{}", rest.strip_prefix('-').unwrap_or(rest))
    });
    found.retain(|candidate| candidate.starts_with(&last));
    found.sort_unstable();
    found.dedup();
    found
}

/// The longest command that the words begin with, flags left out, and how many of them it
/// has; none for the root.
fn command_of(typed: &[&str]) -> (Option<&'static Command>, usize) {
    let words: Vec<&str> = typed.iter().filter(|word| !word.starts_with('-')).copied().collect();
    (1..=words.len())
        .rev()
        .find_map(|length| find(&words[..length].join(" ")).map(|command| (Some(command), length)))
        .unwrap_or((None, 0))
}

/// The words that make the words of a command, or the root, those of another one.
fn children(command: Option<&Command>) -> Vec<&'static str> {
    let prefix = command.map_or(String::new(), |command| format!("{} ", command.words));
    let rest = COMMANDS.iter().filter_map(|child| child.words.strip_prefix(&prefix));
    rest.filter(|rest| !rest.contains(' ')).collect()
}

fn flags(command: Option<&Command>) -> Vec<&'static str> {
    let Some(command) = command else { return ROOT_FLAGS.to_vec() };
    let shown = command.all_flags().into_iter().filter(|flag| !flag.hidden);
    shown.map(|flag| flag.name).chain(["help"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_with_the_words_of_commands_and_with_their_flags() {
        for (line, expected) in [
            ("consul kv ", "delete export get import put"),
            ("consul kv g", "get"),
            ("consul kv", "kv"),
            ("consul k", "keygen keyring kv"),
            ("/usr/bin/consul  kv   e", "export"),
            ("consul -", "-autocomplete-install -autocomplete-uninstall -help -version"),
            ("consul --v", "-version"),
            ("consul kv -h", "-help"),
            ("consul kv -help g", "get"),
            ("consul kv get -ke", "-keys"),
            ("consul kv get --ca-", "-ca-file -ca-path"),
            ("consul kv get -recurse -re", "-recurse"),
            ("consul operator raft ", "list-peers recover remove-peer transfer-leader"),
            ("consul tls c", "ca cert"),
            ("consul kv get foo", ""),
            ("consul kv get ", ""),
            ("consul kv nosuch ", ""),
            ("consul nosuch ", ""),
            ("consul nosuch -v", "-version"),
            ("", ""),
            ("consul", ""),
        ] {
            // What the program itself is called is not completed.
            let found = if line.contains(' ') { candidates(line) } else { Vec::new() };
            assert_eq!(found.join(" "), expected, "{line:?}");
        }
        let all = candidates("consul ");
        assert!(all.contains(&"agent".to_owned()) && !all.contains(&"kv get".to_owned()));
        assert!(all.is_sorted());
    }

    #[test]
    fn any_line_has_an_answer() {
        for line in ["  ", "-", "consul\t-", "consul ä", "consul -- kv "] {
            let _ = candidates(line);
        }
    }
}
