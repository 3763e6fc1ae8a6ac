//! `consul exec` (`reference/cli.md` section 9). How it talks to agents:
//! `types::remote_exec`.

mod progress;

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{
    Client, EventFire, KvCondition, KvDelete, KvPut, QueryOptions, SessionCreate, Sessions,
};
use filter::Pattern;
use serde_json::Value;
use types::remote_exec::{self, JobRef, JobSpec};
use types::{Blob, GoDuration, Index, NodeName, SessionId};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;
use progress::{Line, Progress};

/// How long the session lives without being renewed, and how often it is.
const SESSION_TTL: &str = "15s";
const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// Most bytes of a script: what a key of the store can hold, as base64.
const SCRIPT_BYTES_MAX: u64 = 380 * 1024;

pub(super) const COMMAND: Command = Command {
    words: "exec",
    synopsis: "Run a command on agents",
    usage: "exec [options] [-|COMMAND...]",
    help: "Runs a command on every agent that the filters let through and that allows it\n\
           (`disable_remote_exec = false`), and prints what it writes. A dash reads a\n\
           script from standard input in place of a command. The exit code is 2 if the\n\
           command failed somewhere.\n\n\
           \x20   $ consul exec -service=web -tag=v2 uptime",
    api: ApiFlags::CS,
    flags: || {
        vec![
            Flag::text("node", "Only nodes whose name matches this regular expression."),
            Flag::text(
                "service",
                "Only nodes with a service that matches this regular expression.",
            ),
            Flag::text("tag", "With -service, only instances with a tag that matches this one."),
            Flag::text("prefix", "Where in the KV store the job and its output stand.")
                .or(remote_exec::PREFIX),
            Flag::bool("shell", "Let a shell run the command.").or("true"),
            Flag::duration("wait", "How long nothing may happen until it is over.").or("2s"),
            Flag::duration(
                "wait-repl",
                "How long servers may take until all of them know the job.",
            )
            .or("200ms"),
            Flag::bool("verbose", "Print more of what happens."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

/// What the flags and words ask for.
struct Order {
    spec: JobSpec,
    prefix: String,
    event: EventFire,
    wait: Duration,
    wait_replication: Duration,
    verbose: bool,
}

async fn run(call: &mut Call) -> Outcome {
    let order = parse(call)?;
    let client = call.client()?;
    let agent = client.agent_self().await.tried("Error querying Consul agent")?;
    let started = Instant::now();
    let session = make_session(call, &client, &agent, order.verbose)
        .await
        .map_err(|error| Failure::new(format!("Failed to create session: {error}")))?;
    verbose(call, &order, || format!("Created remote execution session: {session}"));
    let job = JobRef { prefix: order.prefix.clone(), session };
    // Listening begins here, so that no interrupt leaves the job behind.
    let interrupt = tokio::signal::ctrl_c();
    let outcome = tokio::select! {
        outcome = execute(call, &client, &order, &job) => outcome,
        never = renew(&client, &job.session) => match never {},
        _ = interrupt => Ok(1),
    };
    let cleaned = clean_up(&client, &job).await;
    let code = outcome?;
    if let Err(error) = cleaned {
        call.ui.error(error);
        return Ok(1);
    }
    verbose(call, &order, || {
        format!("Completed in {:.2} seconds", started.elapsed().as_secs_f64())
    });
    Ok(code)
}

fn verbose(call: &mut Call, order: &Order, text: impl FnOnce() -> String) {
    if order.verbose {
        call.ui.output(text());
    }
}

fn parse(call: &mut Call) -> Result<Order, Failure> {
    let text = |name: &str| call.arguments.text(name).to_owned();
    let mut order = Order {
        spec: JobSpec::default(),
        prefix: text("prefix"),
        event: EventFire {
            name: remote_exec::EVENT.to_owned(),
            node_filter: text("node"),
            service_filter: text("service"),
            tag_filter: text("tag"),
            ..EventFire::default()
        },
        wait: call.arguments.duration("wait").to_std(),
        wait_replication: call.arguments.duration("wait-repl").to_std(),
        verbose: call.arguments.bool("verbose"),
    };
    let with_shell = call.arguments.bool("shell");
    let words = call.arguments.words.clone();
    match words.as_slice() {
        [dash] if dash == "-" => {
            if !with_shell {
                let text = "Cannot configure -shell=false when reading from stdin";
                return Err(Failure::new(text));
            }
            let script = call.ui.read_input(SCRIPT_BYTES_MAX).tried("Failed to read stdin")?;
            order.spec.script = Blob(script.into());
        }
        _ if with_shell => order.spec.command = words.join(" "),
        _ => order.spec.args = words,
    }
    order.spec.wait = call.arguments.duration("wait").into();
    let JobSpec { command, args, script, .. } = &order.spec;
    if command.is_empty() && args.is_empty() && script.is_empty() {
        return Err(Failure::with_help("Must specify a command to execute"));
    }
    for (what, filter) in [
        ("node", &order.event.node_filter),
        ("service", &order.event.service_filter),
        ("tag", &order.event.tag_filter),
    ] {
        Pattern::compile(filter).tried(&format!("Failed to compile {what} filter regexp"))?;
    }
    if !order.event.tag_filter.is_empty() && order.event.service_filter.is_empty() {
        return Err(Failure::new("Cannot provide tag filter without service filter."));
    }
    Ok(order)
}

/// Makes the session that all keys of the job belong to. In another datacenter it belongs
/// to a server there and to none of its checks: this node is not known there.
async fn make_session(
    call: &mut Call,
    client: &Client,
    agent: &Value,
    verbose: bool,
) -> Result<SessionId, String> {
    let own = |name: &str| agent["Config"][name].as_str().unwrap_or_default().to_owned();
    let datacenter = client.config().datacenter.clone();
    let mut session = SessionCreate {
        behavior: "delete".to_owned(),
        name: remote_exec::SESSION_NAME.to_owned(),
        ttl: SESSION_TTL.to_owned(),
        ..SessionCreate::default()
    };
    if !datacenter.is_empty() && datacenter != own("Datacenter") {
        let node = server_in_datacenter(client).await.map_err(|error| {
            format!("Failed to find Consul server in remote datacenter: {error}")
        })?;
        if verbose {
            call.ui.output("Remote exec in foreign datacenter, using Session TTL");
            call.ui.output(format!("Binding session to remote node {node}@{datacenter}"));
        }
        let (name, home) = (own("NodeName"), own("Datacenter"));
        session.name = format!("{} via {name}@{home}", remote_exec::SESSION_NAME);
        session.node = node;
        session.node_checks = Some(Vec::new());
    }
    Sessions(client).create(&session).await.map_err(|error| error.to_string())
}

/// The name of a server that is well.
async fn server_in_datacenter(client: &Client) -> Result<NodeName, String> {
    let options = QueryOptions::default();
    let found = client.health_service("consul", true, &options).await;
    let rows = found.map_err(|error| error.to_string())?.rows;
    let first = rows.first().ok_or("No server is healthy there")?;
    Ok(first.node.node.clone())
}

/// Orders the job and prints what comes of it.
async fn execute(call: &mut Call, client: &Client, order: &Order, job: &JobRef) -> Outcome {
    let written = client
        .kv_put(&KvPut {
            condition: KvCondition::Acquire(job.session.as_str().to_owned()),
            ..KvPut::new(job.job(), types::json::encode(&order.spec))
        })
        .await
        .tried("Failed to create job file")?;
    if !written {
        return Err(Failure::new("Failed to create job file: the session cannot lock it"));
    }
    verbose(call, order, || "Uploaded remote execution spec".to_owned());
    // Agents read the job from whichever server they ask.
    tokio::time::sleep(order.wait_replication).await;
    let payload = Bytes::from(types::json::encode(job));
    let event = EventFire { payload, ..order.event.clone() };
    let id = event.send(client).await.tried("Failed to fire event")?;
    verbose(call, order, || format!("Fired remote execution event: {id}"));
    let progress = follow(call, client, order, job).await?;
    call.ui.output(progress.summary());
    Ok(progress.exit_code())
}

/// Prints what nodes write until nothing comes any more.
async fn follow(
    call: &mut Call,
    client: &Client,
    order: &Order,
    job: &JobRef,
) -> Result<Progress, Failure> {
    let mut progress = Progress::new(job.clone(), order.wait, Instant::now());
    let mut index = Index::ZERO;
    loop {
        let options = QueryOptions {
            wait_index: index,
            wait_time: GoDuration::from(order.wait),
            ..call.query_options()
        };
        let folder = job.folder();
        let listing = client.kv_keys(&folder, "", &options);
        let due = tokio::time::Instant::from_std(progress.poll_timeout());
        let Ok(listed) = tokio::time::timeout_at(due, listing).await else {
            return Ok(progress);
        };
        let listed = listed.tried("Failed to poll for output")?;
        index = listed.meta.last_index;
        for item in progress.handle_keys(listed.rows, Instant::now()) {
            let value = if Progress::is_told_by_key(&item) {
                Some(Bytes::new())
            } else {
                let found = client.kv_get(&item.key, &call.query_options()).await;
                found.tried("Failed to read output")?.rows.map(|entry| entry.value.0)
            };
            for line in progress.handle_value(&item, value.as_deref()) {
                match line {
                    Line::Plain(text) => call.ui.output(text),
                    Line::Verbose(text) => verbose(call, order, || text),
                }
            }
        }
    }
}

/// Keeps the session alive. A failure is not the end: agents stop when it is over.
async fn renew(client: &Client, session: &SessionId) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let _ = Sessions(client).renew(session).await;
    }
}

/// Ends the session, at which agents stop what still runs, and removes what is left.
async fn clean_up(client: &Client, job: &JobRef) -> Result<(), String> {
    let ended = Sessions(client).destroy(&job.session).await;
    let folder = job.folder();
    let folder = folder.trim_end_matches('/').to_owned();
    let removed = client.kv_delete(&KvDelete::Prefix(folder)).await;
    ended.map_err(|error| format!("Failed to destroy session: {error}"))?;
    removed.map_err(|error| format!("Failed to destroy data: {error}"))?;
    Ok(())
}
