//! Script checks: a program of the operator, run directly, without a shell, in
//! a process group of its own.
//!
//! The whole group is killed when the time is over or the check is stopped. The
//! program is reaped only after its output has ended: until then its process id
//! cannot be taken by another program, so the kill cannot hit a stranger.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use types::check::{CheckDefinition, Status};
use types::{CheckId, GoDuration};

use super::probe::Observation;
use super::{Settings, dial};
use crate::status::output::RingBuffer;
use crate::status::{Outcome, definition, output};

#[derive(Debug)]
pub(super) struct Script {
    args: Vec<String>,
    timeout: Duration,
    output_limit: usize,
}

impl Script {
    pub(super) fn new(definition: &CheckDefinition, settings: &Settings) -> Self {
        Self {
            args: definition.script_args.clone(),
            timeout: definition::timeout(definition, definition::SCRIPT_TIMEOUT),
            output_limit: output::limit(definition.output_max_size, settings.output_max_size),
        }
    }

    pub(super) async fn run(&self, check: &CheckId) -> Observation {
        let (mut child, mut receiver) = match self.spawn() {
            Ok(started) => started,
            Err(error) => {
                let error = self.start_error(&error);
                tracing::error!(
                    target: "agent", check = %check, error = %error, "Check failed to invoke"
                );
                return Observation::immediate(Outcome::critical(error));
            }
        };
        let mut group = ProcessGroup::of(&child);
        let mut captured = RingBuffer::new(self.output_limit);
        let work = finish(&mut child, &mut receiver, &mut captured);
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(exit)) => {
                group.disarm();
                Observation::counted(Outcome::new(status(exit), captured.marked_text()))
            }
            Ok(Err(error)) => Observation::immediate(Outcome::critical(dial::errno_text(&error))),
            Err(_) => {
                group.kill();
                let timeout = GoDuration::from(self.timeout);
                tracing::warn!(
                    target: "agent", check = %check, timeout = %timeout, "Timed out running check"
                );
                let mut output = format!("Timed out ({timeout}) running check");
                if captured.written() > 0 {
                    output.push_str("\n\n");
                    output.push_str(&captured.marked_text());
                }
                Observation::immediate(Outcome::critical(output))
            }
        }
    }

    /// Standard output and error are one pipe, so that their order is kept.
    fn spawn(&self) -> io::Result<(Child, pipe::Receiver)> {
        let [program, args @ ..] = self.args.as_slice() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (sender, receiver) = pipe::pipe()?;
        let output: OwnedFd = sender.into_blocking_fd()?;
        let errors = output.try_clone()?;
        // The command, and with it our end of the pipe, is gone when this returns.
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, receiver))
    }

    fn start_error(&self, error: &io::Error) -> String {
        let program = self.args.first().map_or("", String::as_str);
        if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
            return format!("exec: \"{program}\": executable file not found in $PATH");
        }
        format!("fork/exec {program}: {}", dial::errno_text(error))
    }
}

async fn finish(
    child: &mut Child,
    receiver: &mut pipe::Receiver,
    captured: &mut RingBuffer,
) -> io::Result<ExitStatus> {
    let mut chunk = [0; 4096];
    loop {
        let count = receiver.read(&mut chunk).await?;
        if count == 0 {
            return child.wait().await;
        }
        captured.push(&chunk[..count]);
    }
}

/// What an exit means; a signal is critical.
fn status(exit: ExitStatus) -> Status {
    match exit.code() {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        _ => Status::Critical,
    }
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
