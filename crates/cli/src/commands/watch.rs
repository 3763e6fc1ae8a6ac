//! `consul watch` (`reference/cli.md` section 21).

use std::process::Stdio;

use agent::invocation::{Invocation, exit_error};
use client::Client;
use client::watch::{Change, Parameters, WatchEvent, WatchPlan, WatchQuery, Watcher};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt as _;
use types::GoDuration;

use crate::ApiFlags;
use crate::child::{Children, Signals};
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, Kind};
use crate::json;

pub(super) const COMMAND: Command = Command {
    words: "watch",
    synopsis: "Run a program whenever something changes",
    usage: "watch [options] [CHILD...]",
    help: "Watches a key, a service, … and runs CHILD with the new state, as JSON, on its\n\
           standard input: once at the start and then after every change. Without CHILD the\n\
           state is printed once.\n\n\
           \x20   $ consul watch -type=service -service=web ./update-proxy\n\
           \x20   $ consul watch -type=keyprefix -prefix=app/",
    api: ApiFlags::CS,
    flags: || {
        vec![
            Flag::text(
                "type",
                "What is watched: key, keyprefix, services, nodes, service, checks or event.",
            ),
            Flag::text("key", "The key, for the type key."),
            Flag::text("prefix", "The beginning of the keys, for the type keyprefix."),
            Flag::text("service", "The service, for the types service and checks."),
            Flag::list(
                "tag",
                "Only instances with this tag, for the type service. May be repeated.",
            )
            .word("value"),
            Flag::text(
                "passingonly",
                "Only instances that pass all checks, for the type service: true or false.",
            )
            .word("[true|false]"),
            Flag::text("state", "Only checks in this state, for the type checks."),
            Flag::text("name", "Only events of this name, for the type event."),
            Flag::text("filter", "Only rows for which this expression is true."),
            Flag::new(
                "shell",
                Kind::Bool,
                "Run CHILD as a line of a shell, the one that SHELL names.",
            )
            .or("true"),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let kind = call.arguments.text("type");
    if kind.is_empty() {
        return Err(Failure::with_help("Watch type must be specified"));
    }
    if kind.starts_with("connect_") || kind.starts_with("agent_") {
        return Err(Failure::new(format!("Type {kind} is not supported in the CLI tool")));
    }
    let query =
        WatchQuery::parse(parameters(call)?).map_err(|error| Failure::new(error.to_string()))?;
    let words = call.arguments.words.clone();
    let program = if words.is_empty() { None } else { Some(call.program(&words)?) };
    let client = call.client()?;
    // Consul looks whether the agent is there first; the complaint is known by it.
    client.agent_self().await.tried("Error querying Consul agent")?;
    let mut signals = Signals::catch()?;
    follow(call, client, query, program.as_ref(), &mut signals).await
}

/// The flags by the names that the parameters have in files.
fn parameters(call: &Call) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::new();
    for name in ["type", "key", "prefix", "service", "state", "name", "filter"] {
        let value = call.arguments.text(name);
        if !value.is_empty() {
            parameters.insert(name.to_owned(), value.into());
        }
    }
    let tags = call.arguments.list("tag");
    if !tags.is_empty() {
        parameters.insert("tag".to_owned(), tags.into());
    }
    if call.arguments.bool("stale") {
        parameters.insert("stale".to_owned(), Json::Bool(true));
    }
    let passing_only = call.arguments.text("passingonly");
    if !passing_only.is_empty() {
        let flag = crate::number::parse_bool(passing_only).ok_or_else(|| {
            let value = crate::flag::quote(passing_only);
            Failure::new(format!(
                "Failed to parse passingonly flag: strconv.ParseBool: parsing {value}: invalid syntax"
            ))
        })?;
        parameters.insert("passingonly".to_owned(), Json::Bool(flag));
    }
    Ok(parameters)
}

async fn follow(
    call: &mut Call,
    client: Client,
    query: WatchQuery,
    program: Option<&Invocation>,
    signals: &mut Signals,
) -> Outcome {
    let mut watcher = Watcher::new(client, WatchPlan::new(query));
    loop {
        let event = tokio::select! {
            event = watcher.next() => event,
            _ = signals.end() => return Ok(0),
        };
        match (event, program) {
            (WatchEvent::Failed { error, retry }, _) => {
                let (kind, retry) = (watcher.plan().query().kind(), GoDuration::from(retry));
                call.ui
                    .error(format!("Watch errored: type={kind} error=\"{error}\" retry={retry}"));
            }
            (WatchEvent::Changed(change), None) => {
                let state = RawValue::from_string(String::from_utf8_lossy(&change.json).into())
                    .tried("Error encoding output")?;
                call.ui.output(json::indented(&state, "    "));
                return Ok(0);
            }
            (WatchEvent::Changed(change), Some(program)) => {
                if handle(program, change, signals).await? {
                    return Ok(0);
                }
            }
        }
    }
}

/// Runs the program to its end. Gives whether a signal asked for the end of the command
/// meanwhile, in which case it does not matter how the program ended.
async fn handle(
    program: &Invocation,
    change: Change,
    signals: &mut Signals,
) -> Result<bool, Failure> {
    let mut command = program.command();
    command.env("CONSUL_INDEX", change.index.0.to_string()).stdin(Stdio::piped());
    let started = Children::start(command, true).map_err(|error| program.start_error(&error));
    let mut children = started.tried("Error starting handler")?;
    let mut state = change.json;
    state.push(b'\n');
    let mut input = children.take_stdin();
    let feed = async {
        if let Some(mut input) = input.take() {
            // A program that does not read its input has the right to.
            let _ = input.write_all(&state).await;
        }
    };
    // The end of the program counts: what it left running may hold its input open unread.
    let (status, ending) = tokio::select! {
        biased;
        never = async { feed.await; std::future::pending().await } => never,
        ended = signals.forward_until_exit(&mut children) => ended,
    };
    if ending {
        return Ok(true);
    }
    match exit_error(status.tried("Error executing handler")?) {
        None => Ok(false),
        Some(error) => Err(Failure::new(format!("Error executing handler: {error}"))),
    }
}
