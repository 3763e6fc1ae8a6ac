//! Carries out one job: reads and writes keys, runs the program, tells the job what came
//! of it.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitStatus;
use std::time::Instant;

use bytes::Bytes;
use checks::program::{Program, start_error};
use contract::CallError;
use http_server::BoxFuture;
use tempfile::TempPath;
use types::remote_exec::{JobSpec, Part};

use super::JobStore;
use super::job::{Action, Ended, Job};

/// What Go says of a program that a signal ended.
const EXIT_BY_SIGNAL: i32 = -1;

/// A program that runs, and the script it came from.
struct Running {
    program: Program,
    /// It runs on without output, or is about to end.
    is_silent: bool,
    /// Removed when the program has ended.
    _script: Option<TempPath>,
}

/// What may happen next.
enum Happened {
    Read(Result<Option<Bytes>, CallError>),
    Written(Result<bool, CallError>),
    Output(io::Result<usize>),
    Exited(io::Result<ExitStatus>),
    TimeWent,
}

/// What was asked of the store and is not answered yet. There is one at a time.
enum Asked {
    Nothing,
    Read(BoxFuture<Result<Option<Bytes>, CallError>>),
    Write(BoxFuture<Result<bool, CallError>>),
}

/// Carries out a job to its end. When this is dropped before, the program is killed.
pub(super) async fn carry_out(mut job: Job, shell: &str, store: &dyn JobStore) {
    let mut asked = Asked::Nothing;
    let mut running: Option<Running> = None;
    let mut chunk = [0; 4096];
    loop {
        while let Some(action) = job.poll_action() {
            match action {
                Action::Read { key, consistent } => {
                    if consistent {
                        tracing::debug!(target: "agent", "trying consistent fetch of remote exec job spec");
                    }
                    asked = Asked::Read(store.read(&key, consistent));
                }
                Action::Write { key, value } => {
                    asked = Asked::Write(store.write(&key, value, job.session()));
                }
                Action::Start(spec) => match start(&spec, shell) {
                    Ok(started) => running = Some(started),
                    Err(error) => {
                        tracing::debug!(target: "agent", error, "failed to start remote exec");
                        job.handle_start_failed(&error, Instant::now());
                    }
                },
                // Dropping it kills it.
                Action::Kill => running = None,
            }
        }
        let happened = next(&mut asked, &mut running, &mut chunk, &job).await;
        let now = Instant::now();
        let ended = match happened {
            Happened::Read(read) => {
                asked = Asked::Nothing;
                let read = read.unwrap_or_else(|error| {
                    tracing::error!(target: "agent", error = %error, "failed to get remote exec job");
                    None
                });
                job.handle_read(read.as_deref(), now)
            }
            Happened::Written(written) => {
                asked = Asked::Nothing;
                match written {
                    Ok(written) => job.handle_written(written, now),
                    Err(error) => {
                        tracing::error!(target: "agent", error = %error, "failed to write for remote exec job");
                        job.handle_written(false, now)
                    }
                }
            }
            Happened::Output(Ok(count @ 1..)) => {
                job.handle_output(&chunk[..count], now);
                None
            }
            Happened::Output(_) => {
                if let Some(running) = &mut running {
                    running.is_silent = true;
                }
                None
            }
            Happened::Exited(exit) => {
                running = None;
                job.handle_exit(exit.map_or(EXIT_BY_SIGNAL, code), now);
                None
            }
            Happened::TimeWent => {
                job.handle_timeout(now);
                None
            }
        };
        if let Some(ended) = ended {
            tell(&ended);
            return;
        }
    }
}

async fn next(
    asked: &mut Asked,
    running: &mut Option<Running>,
    chunk: &mut [u8],
    job: &Job,
) -> Happened {
    let answer = async {
        match asked {
            Asked::Nothing => std::future::pending().await,
            Asked::Read(reading) => Happened::Read(reading.await),
            Asked::Write(writing) => Happened::Written(writing.await),
        }
    };
    let output = async {
        match running {
            Some(running) if running.is_silent => Happened::Exited(running.program.wait().await),
            Some(running) if job.wants_output() => {
                Happened::Output(running.program.read(chunk).await)
            }
            _ => std::future::pending().await,
        }
    };
    let due = async {
        match job.poll_timeout() {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        answer = answer => answer,
        output = output => output,
        () = due => Happened::TimeWent,
    }
}

/// Starts what a job asks for.
fn start(spec: &JobSpec, shell: &str) -> Result<Running, String> {
    let line = |line: &str| vec![shell.to_owned(), "-c".to_owned(), line.to_owned()];
    let (args, script) = if !spec.script.is_empty() {
        let script = write_script(&spec.script)
            .map_err(|error| format!("failed to write the script of the job: {error}"))?;
        (line(&script.to_string_lossy()), Some(script))
    } else if !spec.args.is_empty() {
        (spec.args.clone(), None)
    } else {
        (line(&spec.command), None)
    };
    tracing::info!(target: "agent", script = args.last().map_or("", String::as_str), "remote exec script");
    let program = Program::start(&args).map_err(|error| start_error(&args, &error))?;
    Ok(Running { program, is_silent: false, _script: script })
}

/// A file that this user alone can read and run. It is closed: a program that is open for
/// writing cannot be run.
fn write_script(script: &[u8]) -> io::Result<TempPath> {
    let mut file = tempfile::Builder::new().prefix("rexec").tempfile()?;
    file.write_all(script)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o700))?;
    Ok(file.into_temp_path())
}

fn code(exit: ExitStatus) -> i32 {
    exit.code().unwrap_or(EXIT_BY_SIGNAL)
}

fn tell(ended: &Ended) {
    match ended {
        Ended::NoJob => {
            tracing::debug!(target: "agent", "remote exec aborted, job spec missing");
        }
        Ended::BadJob(error) => {
            tracing::error!(target: "agent", error, "failed to decode remote exec spec");
        }
        Ended::NotWritten { part: Part::Ack } => {
            tracing::error!(target: "agent", "failed to ack remote exec job");
        }
        Ended::NotWritten { part: Part::Output(_) } => {
            tracing::error!(target: "agent", "failed to write output for remote exec job; it is stopped");
        }
        Ended::NotWritten { part: Part::Exit } => {
            tracing::error!(target: "agent", "failed to write exit code for remote exec job");
        }
        Ended::Exited(exit) => {
            tracing::debug!(target: "agent", exit, "remote exec job ended");
        }
    }
}
