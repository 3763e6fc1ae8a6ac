//! The command line of `consul`: a small framework and every command.
//!
//! A command is one file in [`commands`] with a [`Command`] that says its
//! words, its flags, its help and what it does; the list
//! [`commands::COMMANDS`] names them all. [`execute`] finds the command that
//! the words mean, reads its flags as Go's `flag` package does, and runs it.
//! Help, usage messages and the list of commands come from those descriptors.
//!
//! Commands print through [`Ui`] and read the environment through [`Call`], so
//! that a test runs the very same code with buffers in the place of a terminal.
//! Layouts and exit codes: `reference/cli.md`.

mod api;
mod certificate;
mod child;
mod command;
pub mod commands;
mod completion;
mod dispatch;
mod failure;
mod flag;
mod help;
mod input;
mod json;
mod number;
mod table;
mod ui;

pub use api::ApiFlags;
pub use command::{Call, Command, Environment, Run};
pub use dispatch::execute;
pub use failure::{Exit, Failure, Outcome};
pub use flag::{Arguments, Flag, Kind};
pub use ui::Ui;
