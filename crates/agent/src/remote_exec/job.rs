//! One remote execution from the order to the exit code: what to read, write and run,
//! and when. No I/O: [`super::run`] does what it says.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::json::{self, Unknown};
use types::remote_exec::{JobRef, JobSpec, OUTPUT_BYTES_MAX, Part};
use types::{GoDuration, NodeName};

/// How long output waits to become a larger piece.
const GATHER_TIME: Duration = Duration::from_millis(500);

/// Output that is not sent yet; while there is so much, the program waits.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// All output of one program. Consul knows no limit; a program that writes for ever would
/// fill the log of every server.
const OUTPUT_TOTAL_MAX: usize = 16 * 1024 * 1024;

/// Signs of life are not given more often, whatever a job says.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// The exit code of what could not be started, or was stopped for its output.
const EXIT_FAILED: i32 = 255;

/// One execution.
#[derive(Debug)]
pub(super) struct Job {
    job: JobRef,
    node: NodeName,
    phase: Phase,
    actions: VecDeque<Action>,
    /// How often to give a sign of life.
    heartbeat: Duration,
    last_write: Instant,
    is_writing: bool,
    unsent: Vec<u8>,
    /// When the first byte of it came.
    unsent_since: Instant,
    pieces: u32,
    output_total: usize,
    exit: Option<i32>,
}

#[derive(Debug, PartialEq)]
enum Phase {
    /// The job is being read; a stale answer without it is not the last word.
    Reading { confirmed: bool },
    /// It is known what to do, and whoever ordered is being told.
    Acknowledging(JobSpec),
    /// The program runs, or what it wrote is being sent.
    Running,
    /// The exit code is being written.
    Ending,
    /// Nothing is left to do.
    Done,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Read a key; from the leader if it is to be `consistent`.
    Read { key: String, consistent: bool },
    /// Write a key and take its lock for the session of the job.
    Write { key: String, value: Bytes },
    /// Start the program. Its output and its end are to be told.
    Start(JobSpec),
    /// Kill the program and all it started.
    Kill,
}

/// What is worth a line in the log.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    /// The job is not there.
    NoJob,
    /// The job is none.
    BadJob(String),
    /// A key could not be written: the session is over, or the token may not.
    NotWritten { part: Part },
    /// The exit code was written.
    Exited(i32),
}

impl Job {
    /// What an event orders this node to do.
    ///
    /// # Errors
    /// It orders nothing; the text says what is wrong.
    pub(super) fn new(payload: &[u8], node: NodeName, now: Instant) -> Result<Self, String> {
        let job: JobRef =
            json::decode(payload, Unknown::Ignore).map_err(|error| error.to_string())?;
        let read = Action::Read { key: job.job(), consistent: false };
        Ok(Self {
            job,
            node,
            phase: Phase::Reading { confirmed: false },
            actions: VecDeque::from([read]),
            heartbeat: HEARTBEAT_MIN,
            last_write: now,
            is_writing: false,
            unsent: Vec::new(),
            unsent_since: now,
            pieces: 0,
            output_total: 0,
            exit: None,
        })
    }

    /// The session that all writes belong to.
    pub(super) fn session(&self) -> &types::SessionId {
        &self.job.session
    }

    /// What to do next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.phase != Phase::Running || self.is_writing || self.exit.is_some() {
            return None;
        }
        let heartbeat = self.last_write + self.heartbeat;
        Some(match self.unsent.is_empty() {
            true => heartbeat,
            false => heartbeat.min(self.unsent_since + GATHER_TIME),
        })
    }

    /// Whether there is room for more output.
    pub(super) fn wants_output(&self) -> bool {
        self.phase == Phase::Running && self.unsent.len() < UNSENT_BYTES_MAX
    }

    /// Whether the program may still be running.
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running && self.exit.is_none()
    }

    /// The key that was to be read, or that it is not there.
    pub(super) fn handle_read(&mut self, value: Option<&[u8]>, now: Instant) -> Option<Ended> {
        let Phase::Reading { confirmed } = self.phase else { return None };
        let Some(value) = value else {
            if confirmed {
                return self.end(Ended::NoJob);
            }
            self.phase = Phase::Reading { confirmed: true };
            self.actions.push_back(Action::Read { key: self.job.job(), consistent: true });
            return None;
        };
        let spec: JobSpec = match json::decode(value, Unknown::Ignore) {
            Ok(spec) => spec,
            Err(error) => return self.end(Ended::BadJob(error.to_string())),
        };
        self.heartbeat = GoDuration::from(spec.wait).to_std().max(HEARTBEAT_MIN);
        self.phase = Phase::Acknowledging(spec);
        self.write(Part::Ack, Bytes::new(), now);
        None
    }

    /// The key that was to be written is, or is not.
    pub(super) fn handle_written(&mut self, written: bool, now: Instant) -> Option<Ended> {
        self.is_writing = false;
        if !written {
            let part = match self.phase {
                Phase::Acknowledging(_) => Part::Ack,
                Phase::Ending => Part::Exit,
                _ => Part::Output(self.pieces.saturating_sub(1)),
            };
            if self.is_running() {
                self.actions.push_back(Action::Kill);
            }
            return self.end(Ended::NotWritten { part });
        }
        match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Acknowledging(spec) => self.actions.push_back(Action::Start(spec)),
            Phase::Running => self.send(now),
            Phase::Ending => return self.end(Ended::Exited(self.exit.unwrap_or(EXIT_FAILED))),
            other => self.phase = other,
        }
        None
    }

    /// The program could not be started; the text tells whoever ordered why.
    pub(super) fn handle_start_failed(&mut self, reason: &str, now: Instant) {
        self.handle_output(format!("{reason}\n").as_bytes(), now);
        self.handle_exit(EXIT_FAILED, now);
    }

    /// The program wrote something.
    pub(super) fn handle_output(&mut self, bytes: &[u8], now: Instant) {
        if !self.is_running() {
            return;
        }
        if self.unsent.is_empty() {
            self.unsent_since = now;
        }
        self.output_total += bytes.len();
        self.unsent.extend_from_slice(bytes);
        if self.output_total > OUTPUT_TOTAL_MAX {
            let limit = OUTPUT_TOTAL_MAX >> 20;
            let complaint = format!("\nStopped: more than {limit} MiB of output\n");
            self.unsent.extend_from_slice(complaint.as_bytes());
            self.actions.push_back(Action::Kill);
            self.exit = Some(EXIT_FAILED);
        }
        self.send(now);
    }

    /// The program ended. What it wrote was told before.
    pub(super) fn handle_exit(&mut self, code: i32, now: Instant) {
        if self.is_running() {
            self.exit = Some(code);
            self.send(now);
        }
    }

    /// Time went by.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.write_piece(now);
        }
    }

    /// Writes what is due, if nothing is being written.
    fn send(&mut self, now: Instant) {
        if self.is_writing || self.phase != Phase::Running {
            return;
        }
        let ended = self.exit.is_some();
        if self.unsent.len() >= OUTPUT_BYTES_MAX || (ended && !self.unsent.is_empty()) {
            self.write_piece(now);
        } else if let Some(code) = self.exit {
            self.phase = Phase::Ending;
            self.write(Part::Exit, code.to_string().into(), now);
        }
    }

    /// Writes a piece of output; an empty one is a sign of life.
    fn write_piece(&mut self, now: Instant) {
        let rest = self.unsent.split_off(self.unsent.len().min(OUTPUT_BYTES_MAX));
        let piece = std::mem::replace(&mut self.unsent, rest);
        self.unsent_since = now;
        self.write(Part::Output(self.pieces), piece.into(), now);
        self.pieces += 1;
    }

    fn write(&mut self, part: Part, value: Bytes, now: Instant) {
        self.is_writing = true;
        self.last_write = now;
        self.actions.push_back(Action::Write { key: self.job.key(&self.node, part), value });
    }

    fn end(&mut self, how: Ended) -> Option<Ended> {
        self.phase = Phase::Done;
        Some(how)
    }
}

#[cfg(test)]
mod tests;
