//! A program that is run with its output captured, in a process group of its own.
//!
//! The whole group is killed on demand and on drop. The program is reaped only after its
//! output has ended: until then its process id cannot be taken by another program, so the
//! kill cannot hit a stranger.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};

use crate::runner::errno_text;

/// A running program.
pub struct Program {
    /// Dropped first: the child holds the id of the group until then.
    group: ProcessGroup,
    child: Child,
    output: pipe::Receiver,
}

impl Program {
    /// Starts a program with its arguments, without a shell and without input. Standard
    /// output and error are one pipe, so that their order is kept.
    ///
    /// # Errors
    /// What the system says; [`start_error`] puts it in words.
    pub fn start(args: &[String]) -> io::Result<Self> {
        let [program, args @ ..] = args else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Self::start_command(command)
    }

    /// Starts a command, whose environment and input are the caller's.
    ///
    /// # Errors
    /// What the system says; [`start_error`] puts it in words.
    pub fn start_command(mut command: Command) -> io::Result<Self> {
        let (sender, receiver) = pipe::pipe()?;
        let output: OwnedFd = sender.into_blocking_fd()?;
        let errors = output.try_clone()?;
        // The command, and with it our end of the pipe, is gone when this returns.
        let child = command
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = ProcessGroup::of(&child);
        Ok(Self { group, child, output: receiver })
    }

    /// What feeds the program if its input is a pipe; once.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Reads output. Zero bytes are its end: the program, and all it started that did not
    /// close their output, have ended or are about to. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        self.output.read(chunk).await
    }

    /// Waits for the program itself, behind the end of its output.
    ///
    /// # Errors
    /// What the system says.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let exit = self.child.wait().await?;
        self.group.disarm();
        Ok(exit)
    }

    /// Kills the program and all it started.
    pub fn kill(&mut self) {
        self.group.kill();
    }
}

/// Why a program could not be started, in the words of Go.
pub fn start_error(args: &[String], error: &io::Error) -> String {
    let program = args.first().map_or("", String::as_str);
    if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        return format!("exec: \"{program}\": executable file not found in $PATH");
    }
    format!("fork/exec {program}: {}", errno_text(error))
}

/// The processes of one run; they are killed on drop.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// `child` was started as the first of its own group.
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The group has ended and its id may belong to others.
    fn disarm(&mut self) {
        self.0 = None;
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // The group may have ended by itself, which is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
