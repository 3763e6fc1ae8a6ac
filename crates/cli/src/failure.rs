//! How a command ends.

use std::fmt::Display;

/// An exit code.
pub type Exit = u8;

/// A command ends with an exit code of its own or with a [`Failure`].
pub type Outcome = Result<Exit, Failure>;

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Printed to standard error.
    pub message: String,
    /// Whether the command's help follows on standard error.
    pub with_help: bool,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// A message and exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), with_help: false, exit: 1 }
    }

    /// A message, an empty line, the command's help, and exit code 1.
    pub fn with_help(message: impl Into<String>) -> Self {
        Self { with_help: true, ..Self::new(message) }
    }
}

/// Turns an error into a [`Failure`] that says what was tried.
pub(crate) trait Tried<T> {
    /// The failure's text is `what`, a colon, and the error.
    fn tried(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: Display> Tried<T> for Result<T, E> {
    fn tried(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// The complaint of commands that take at most `most` arguments.
pub(crate) fn at_most(arguments: &[String], most: usize) -> Result<(), Failure> {
    if arguments.len() <= most {
        return Ok(());
    }
    let count = arguments.len();
    Err(Failure::new(format!("Too many arguments (expected {most}, got {count})")))
}
