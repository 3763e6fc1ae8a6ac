//! `consul monitor` (`reference/cli.md` section 13).

use client::{MonitorQuery, Response};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

const ENDED: &str = "Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.";

pub(super) const COMMAND: Command = Command {
    words: "monitor",
    synopsis: "Follow the log of an agent",
    usage: "monitor [options]",
    help: "Prints the log lines of the agent from now on, until it is interrupted. The\n\
           level may be lower than the one that the agent itself logs at.",
    api: ApiFlags::C,
    flags: || {
        vec![
            Flag::bool("log-json", "Print the lines as JSON."),
            Flag::text("log-level", "The lowest level: TRACE, DEBUG, INFO, WARN or ERROR.")
                .or("INFO"),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client()?;
    let query = MonitorQuery {
        log_level: call.arguments.text("log-level").to_owned(),
        json: call.arguments.bool("log-json"),
    };
    // Listening begins before the request, so that no interrupt is missed.
    let interrupt = tokio::signal::ctrl_c();
    tokio::select! {
        outcome = follow(call, &client, &query) => outcome,
        _ = interrupt => Ok(0),
    }
}

async fn follow(call: &mut Call, client: &client::Client, query: &MonitorQuery) -> Outcome {
    let mut log: Response = client.agent_monitor(query).await.tried("Error starting monitor")?;
    while let Some(lines) = log.chunk().await.map_err(|_| Failure::new(ENDED))? {
        call.ui.raw_output(lines);
        if call.ui.is_closed() {
            return Ok(0);
        }
    }
    Err(Failure::new(ENDED))
}
