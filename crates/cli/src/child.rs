//! A program that a command runs: `consul watch` and `consul lock`.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use agent::invocation::Invocation;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{self, SignalKind};

use crate::command::Call;
use crate::failure::Failure;

/// The pause between two looks whether all processes of a group have ended: there is no event
/// for the end of processes that others started.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Call {
    /// The program that `words` name: a line for a shell unless `-shell=false`.
    pub(crate) fn program(&self, words: &[String]) -> Result<Invocation, Failure> {
        if self.arguments.bool("shell") {
            return Ok(Invocation::shell(&words.join(" "), (self.environment)("SHELL")));
        }
        Invocation::direct(words).ok_or_else(|| Failure::new("Error starting handler: no command"))
    }
}

/// The processes of a program that a command runs.
///
/// In a group of their own a signal reaches all of them, not the shell alone that was
/// started. A program that reads the terminal has to stay in the group of the command: then
/// a signal reaches the one process only, as in Consul.
pub(crate) struct Children {
    child: Child,
    pid: Option<Pid>,
    group: bool,
}

impl Children {
    /// Starts a program, in a group of its own if `group`.
    pub(crate) fn start(mut command: Command, group: bool) -> io::Result<Self> {
        if group {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, pid, group })
    }

    /// The id of the process that was started.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.map_or(0, |pid| pid.as_raw_nonzero().get())
    }

    /// What feeds the program, once.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the end of the process that was started. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal; processes that have ended take none. Gives whether there was one that did.
    pub(crate) fn send(&self, signal: Signal) -> bool {
        // Without a group, a process that was waited for may have left its id to another.
        match self.pid {
            Some(pid) if self.group => kill_process_group(pid, signal).is_ok(),
            Some(pid) if self.child.id().is_some() => kill_process(pid, signal).is_ok(),
            _ => false,
        }
    }

    /// Tells all processes to end, kills those that still run after `patience`, and gives
    /// how the first of them ended.
    pub(crate) async fn kill(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        self.send(Signal::TERM);
        let all_ended = async {
            let status = self.child.wait().await;
            while self.group && self.pid.is_some_and(|pid| test_kill_process_group(pid).is_ok()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            status
        };
        if let Ok(status) = tokio::time::timeout(patience, all_ended).await {
            return status;
        }
        self.send(Signal::KILL);
        self.child.wait().await
    }
}

/// The signals that a command hears while its child runs.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
    quit: unix::Signal,
    user_1: unix::Signal,
    user_2: unix::Signal,
}

/// A signal that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// The command should end.
    End(Signal),
    /// It is for the child.
    Other(Signal),
}

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let catch = |kind| {
            unix::signal(kind)
                .map_err(|error| Failure::new(format!("Error executing CLI: {error}")))
        };
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
            quit: catch(SignalKind::quit())?,
            user_1: catch(SignalKind::user_defined1())?,
            user_2: catch(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::End(Signal::INT),
            _ = self.terminate.recv() => Caught::End(Signal::TERM),
            _ = self.hangup.recv() => Caught::Other(Signal::HUP),
            _ = self.quit.recv() => Caught::Other(Signal::QUIT),
            _ = self.user_1.recv() => Caught::Other(Signal::USR1),
            _ = self.user_2.recv() => Caught::Other(Signal::USR2),
        }
    }

    /// The next one that should end the command.
    pub(crate) async fn end(&mut self) -> Signal {
        loop {
            if let Caught::End(signal) = self.next().await {
                return signal;
            }
        }
    }

    /// Waits for the end of a child and forwards every signal to it. Also gives whether one of
    /// them should end the command.
    pub(crate) async fn forward_until_exit(
        &mut self,
        children: &mut Children,
    ) -> (io::Result<ExitStatus>, bool) {
        let mut ending = false;
        loop {
            tokio::select! {
                status = children.wait() => return (status, ending),
                caught = self.next() => {
                    let (Caught::End(signal) | Caught::Other(signal)) = caught;
                    ending |= matches!(caught, Caught::End(_));
                    children.send(signal);
                }
            }
        }
    }
}
