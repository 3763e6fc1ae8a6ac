//! `consul lock` (`reference/cli.md` section 12).

use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use agent::invocation::{Invocation, exit_error};
use client::Client;
use client::lock::{Held, Lock, LockError, LockOptions};
use client::semaphore::{Semaphore, SemaphoreError, SemaphoreOptions, Slot};
use types::GoDuration;

use crate::ApiFlags;
use crate::child::{Caught, Children, Signals};
use crate::command::{Call, Command, Run};
use crate::failure::{Exit, Failure, Outcome, Tried as _};
use crate::flag::{Flag, Kind};
use crate::ui::Ui;

/// The exit code for a child that failed, with `-child-exit-code`.
const EXIT_CHILD: Exit = 2;
/// How long a child may take to end before it is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);
/// The pause between two looks whether the agent is back.
const MONITOR_RETRY_TIME: Duration = Duration::from_secs(1);

pub(super) const COMMAND: Command = Command {
    words: "lock",
    synopsis: "Run a program while holding a lock",
    usage: "lock [options] PREFIX CHILD...",
    help: "Acquires the lock PREFIX/.lock, runs CHILD, and gives the lock back when CHILD\n\
           ends. If the lock is lost meanwhile, CHILD is told to end, and killed after five\n\
           seconds. With -n several may hold the lock at once.\n\n\
           \x20   $ consul lock service/backup/lock ./backup --full",
    api: ApiFlags::CS,
    flags: || {
        vec![
            Flag::bool("child-exit-code", "Exit with 2 when CHILD fails; otherwise its end does not matter."),
            Flag::new("n", Kind::Integer, "How many may hold the lock at once; all must say the same.")
                .or("1"),
            Flag::new("monitor-retry", Kind::Integer, "How often in a row, a second apart, the agent may fail to say that the lock is held.")
                .or("3"),
            Flag::text("name", "Name of the session. Default: what is run and where."),
            Flag::bool("pass-stdin", "Give CHILD the standard input."),
            Flag::new("shell", Kind::Bool, "Run CHILD as a line of a shell, the one that SHELL names.")
                .or("true"),
            Flag::new("timeout", Kind::Duration, "Give up when the lock cannot be had for so long. Default: wait for ever."),
            Flag::new("try", Kind::Duration, "An old name of -timeout."),
            Flag::bool("verbose", "Say what happens."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let order = Order::read(call)?;
    let client = call.client()?;
    // Consul looks whether the agent is there first; the complaint is known by it.
    client.agent_self().await.tried("Error querying Consul agent")?;
    let mut signals = Signals::catch()?;
    let exclusion = Exclusion::new(client, &order)?;
    order.say(&mut call.ui, &exclusion.setting_up());
    order.say(&mut call.ui, "Attempting lock acquisition");
    let stop = async {
        signals.end().await;
    };
    let acquired = exclusion.acquire(stop).await;
    let Some(mut grant) = acquired.tried("Lock acquisition failed")? else {
        return Err(Failure::new("Shutdown triggered or timeout during lock acquisition"));
    };
    let exit = attend(&order, &mut call.ui, &mut grant, &mut signals).await;
    grant.release().await.tried("Lock release failed")?;
    match exclusion.destroy().await.tried("Lock cleanup failed")? {
        true => order.say(&mut call.ui, "Cleanup succeeded"),
        false => order.say(&mut call.ui, "Cleanup aborted, lock in use"),
    }
    Ok(exit)
}

/// What was asked for.
struct Order {
    prefix: String,
    program: Invocation,
    session_name: String,
    holders: i64,
    monitor_retries: u32,
    /// Zero for ever.
    timeout: Duration,
    pass_stdin: bool,
    child_exit_code: bool,
    verbose: bool,
}

impl Order {
    fn read(call: &Call) -> Result<Self, Failure> {
        let arguments = &call.arguments;
        let (prefix, words) = match arguments.words.as_slice() {
            [prefix, words @ ..] if !words.is_empty() => (prefix, words),
            _ => return Err(Failure::new("Key prefix and child command must be specified")),
        };
        let holders = arguments.integer("n");
        if holders <= 0 {
            return Err(Failure::new("Lock holder limit must be positive"));
        }
        let monitor_retries = u32::try_from(arguments.integer("monitor-retry"))
            .map_err(|_| Failure::new("Number for 'monitor-retry' must be >= 0"))?;
        let flag = if arguments.is_set("timeout") { "timeout" } else { "try" };
        let timeout = match GoDuration::parse(arguments.text(flag)) {
            Ok(timeout) if timeout.as_nanos() < 0 => {
                return Err(Failure::new("Timeout must be positive"));
            }
            Ok(timeout) => timeout.to_std(),
            // The flag is empty: what is no duration was refused before.
            Err(_) => Duration::ZERO,
        };
        let prefix = prefix.trim_start_matches('/').to_owned();
        let session_name = match arguments.text("name") {
            "" => format!("Consul lock for '{}' at '{prefix}'", words.join(" ")),
            name => name.to_owned(),
        };
        Ok(Self {
            program: call.program(words)?,
            prefix,
            session_name,
            holders,
            monitor_retries,
            timeout,
            pass_stdin: arguments.bool("pass-stdin"),
            child_exit_code: arguments.bool("child-exit-code"),
            verbose: arguments.bool("verbose"),
        })
    }

    fn say(&self, ui: &mut Ui, text: &str) {
        if self.verbose {
            ui.output(text);
        }
    }

    /// The exit code when the child did not do what it should.
    fn exit_of_failure(&self) -> Exit {
        if self.child_exit_code { EXIT_CHILD } else { 0 }
    }
}

/// Runs the child to its end, which comes early if the lock is lost or a signal asks for it.
async fn attend(order: &Order, ui: &mut Ui, grant: &mut Grant, signals: &mut Signals) -> Exit {
    order.say(ui, "Starting handler");
    let mut command = order.program.command();
    command.env("CONSUL_LOCK_HELD", "true");
    if !order.pass_stdin {
        command.stdin(Stdio::null());
    }
    let mut children = match Children::start(command, !order.pass_stdin) {
        Ok(children) => children,
        Err(error) => {
            let error = order.program.start_error(&error);
            ui.error(format!("Error starting handler: {error}"));
            return order.exit_of_failure();
        }
    };
    let mut killed = false;
    let status = loop {
        tokio::select! {
            status = children.wait() => break status,
            () = grant.lost() => order.say(ui, "Lock lost, killing child"),
            caught = signals.next() => match caught {
                Caught::Other(signal) => {
                    children.send(signal);
                    continue;
                }
                Caught::End(signal) => {
                    order.say(ui, "Shutdown triggered, killing child");
                    children.send(signal);
                }
            }
        }
        order.say(ui, &format!("Terminating child pid {}", children.pid()));
        killed = true;
        break children.kill(KILL_AFTER).await;
    };
    let error = match status {
        Ok(status) => exit_error(status),
        Err(error) => Some(client::system_text(&error)),
    };
    if let Some(error) = &error {
        ui.error(format!("Error running handler: {error}"));
    }
    let ended = if killed { "Child terminated" } else { "Child terminated, releasing lock" };
    order.say(ui, ended);
    if error.is_some() { order.exit_of_failure() } else { 0 }
}

/// A lock, or a semaphore when several may hold it.
enum Exclusion {
    Lock(Lock, String),
    Semaphore(Semaphore, i64, String),
}

/// What was acquired.
enum Grant {
    Lock(Held),
    Semaphore(Slot),
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Semaphore(#[from] SemaphoreError),
}

impl Exclusion {
    fn new(client: Client, order: &Order) -> Result<Self, Failure> {
        let session_name = order.session_name.clone();
        let Order { monitor_retries, timeout, .. } = *order;
        let monitor_retry_time = MONITOR_RETRY_TIME;
        let try_once = !timeout.is_zero();
        let wait_time = |default| if try_once { timeout } else { default };
        let failed = |error: Refused| Failure::new(format!("Lock setup failed: {error}"));
        if order.holders == 1 {
            let key = format!("{}/.lock", order.prefix.trim_end_matches('/'));
            let key = key.trim_start_matches('/').to_owned();
            let defaults = LockOptions::new(key.as_str());
            let options = LockOptions {
                session_name,
                monitor_retries,
                monitor_retry_time,
                try_once,
                wait_time: wait_time(defaults.wait_time),
                ..defaults
            };
            let lock = Lock::new(client, options).map_err(|error| failed(error.into()))?;
            return Ok(Self::Lock(lock, key));
        }
        let defaults = SemaphoreOptions::new(order.prefix.clone(), order.holders);
        let options = SemaphoreOptions {
            session_name,
            monitor_retries,
            monitor_retry_time,
            try_once,
            wait_time: wait_time(defaults.wait_time),
            ..defaults
        };
        let semaphore = Semaphore::new(client, options).map_err(|error| failed(error.into()))?;
        Ok(Self::Semaphore(semaphore, order.holders, order.prefix.clone()))
    }

    fn setting_up(&self) -> String {
        match self {
            Self::Lock(_, key) => format!("Setting up lock at path: {key}"),
            Self::Semaphore(_, holders, prefix) => {
                format!("Setting up semaphore (limit {holders}) at prefix: {prefix}")
            }
        }
    }

    async fn acquire(&self, stop: impl Future<Output = ()>) -> Result<Option<Grant>, Refused> {
        Ok(match self {
            Self::Lock(lock, _) => lock.acquire(stop).await?.map(Grant::Lock),
            Self::Semaphore(semaphore, ..) => semaphore.acquire(stop).await?.map(Grant::Semaphore),
        })
    }

    /// Removes what nobody holds. Gives whether nobody did.
    async fn destroy(&self) -> Result<bool, Refused> {
        let destroyed = match self {
            Self::Lock(lock, _) => lock.destroy().await.map_err(Refused::from),
            Self::Semaphore(semaphore, ..) => semaphore.destroy().await.map_err(Refused::from),
        };
        match destroyed {
            Ok(()) => Ok(true),
            Err(Refused::Lock(LockError::InUse) | Refused::Semaphore(SemaphoreError::InUse)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Grant {
    async fn lost(&mut self) {
        match self {
            Self::Lock(held) => held.lost().await,
            Self::Semaphore(slot) => slot.lost().await,
        }
    }

    async fn release(self) -> Result<(), Refused> {
        match self {
            Self::Lock(held) => held.release().await?,
            Self::Semaphore(slot) => slot.release().await?,
        }
        Ok(())
    }
}
