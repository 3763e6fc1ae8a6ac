//! Script checks: a program of the operator, run directly, without a shell, in
//! a process group of its own, which is killed when the time is over or the check is
//! stopped.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use types::check::{CheckDefinition, Status};
use types::{CheckId, GoDuration};

use super::probe::Observation;
use super::{Settings, dial};
use crate::program::{self, Program};
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
        let mut program = match Program::start(&self.args) {
            Ok(program) => program,
            Err(error) => {
                let error = program::start_error(&self.args, &error);
                tracing::error!(
                    target: "agent", check = %check, error = %error, "Check failed to invoke"
                );
                return Observation::immediate(Outcome::critical(error));
            }
        };
        let mut captured = RingBuffer::new(self.output_limit);
        let work = finish(&mut program, &mut captured);
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(exit)) => {
                Observation::counted(Outcome::new(status(exit), captured.marked_text()))
            }
            Ok(Err(error)) => Observation::immediate(Outcome::critical(dial::errno_text(&error))),
            Err(_) => {
                program.kill();
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
}

async fn finish(program: &mut Program, captured: &mut RingBuffer) -> io::Result<ExitStatus> {
    let mut chunk = [0; 4096];
    loop {
        let count = program.read(&mut chunk).await?;
        if count == 0 {
            return program.wait().await;
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
