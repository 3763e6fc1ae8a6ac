//! What a command is, and what it gets when it runs.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::api::ApiFlags;
use crate::failure::Outcome;
use crate::flag::{Arguments, Flag};
use crate::ui::Ui;

/// One command or group of commands.
pub struct Command {
    /// Its words, separated by single spaces: `kv get`.
    pub words: &'static str,
    /// A short verb phrase for the list of commands.
    pub synopsis: &'static str,
    /// What follows `Usage: consul ` in its help.
    pub usage: &'static str,
    /// What it does, for people; each line is indented by two blanks.
    pub help: &'static str,
    /// Which flags of the HTTP client it takes.
    pub api: ApiFlags,
    /// Its own flags.
    pub flags: fn() -> Vec<Flag>,
    /// What it does.
    pub run: Run,
}

/// What a command does.
pub enum Run {
    /// It groups the commands whose words begin with its own.
    Group,
    /// Work without an event loop.
    Here(fn(&mut Call) -> Outcome),
    /// Work that waits for the network, on an event loop of its own thread.
    Online(for<'a> fn(&'a mut Call) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>),
}

impl Command {
    /// The flags of the HTTP client that it takes, then its own.
    pub fn all_flags(&self) -> Vec<Flag> {
        let mut flags = self.api.flags();
        flags.extend((self.flags)());
        flags
    }

    /// Whether it only groups others.
    pub fn is_group(&self) -> bool {
        matches!(self.run, Run::Group)
    }
}

/// Looks up an environment variable.
pub type Environment = Rc<dyn Fn(&str) -> Option<String>>;

/// One run of a command.
pub struct Call {
    /// Where it reads and writes.
    pub ui: Ui,
    /// Its flags and words.
    pub arguments: Arguments,
    /// The environment.
    pub environment: Environment,
}

/// For commands and groups without flags of their own.
pub(crate) fn no_flags() -> Vec<Flag> {
    Vec::new()
}
