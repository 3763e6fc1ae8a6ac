//! A command on the leader, before it enters the log.

use std::any::Any;

use acl::Authorizer;
use contract::{AnyCommand, Authorized, CallError, LeaderView, Refusal};

/// What becomes of a command that a leader took.
pub enum Admitted {
    /// It is answered with this reply of its command, and nothing enters the log. The
    /// answer may come from what the leader remembers, so it counts only while nobody
    /// else leads.
    Answered(Box<dyn Any + Send>),
    /// All choices are made: it is to be proposed.
    Ready(Authorized<Box<dyn AnyCommand>>),
}

/// Checks the permission, then lets the command make its choices.
///
/// # Errors
/// If the sender may not, or the command is wrong.
pub fn admit(
    command: Box<dyn AnyCommand>,
    who: &Authorizer,
    leader: &mut LeaderView<'_>,
) -> Result<Admitted, CallError> {
    let mut authorized = match Authorized::command(command, who, leader.store, leader.memory) {
        Ok(authorized) => authorized,
        Err(Refusal::Error(error)) => return Err(error),
        Err(Refusal::Reply(reply)) => return Ok(Admitted::Answered(reply)),
    };
    let command = authorized.get_mut();
    command.prepare(leader)?;
    Ok(match command.answer(leader)? {
        Some(answer) => Admitted::Answered(answer),
        None => Admitted::Ready(authorized),
    })
}
