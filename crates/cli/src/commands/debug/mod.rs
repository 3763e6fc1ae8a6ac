//! `consul debug` (`reference/cli.md` section 8): gathers for a while what helps to
//! understand an agent, and packs it.
//!
//! - `plan`: what to gather, for how long, and where to.
//! - `capture`: gathers it.
//! - `bundle`: the folder that it is gathered in, and the archive made of it.

mod bundle;
mod capture;
mod plan;

use std::time::Duration;

use client::Client;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use self::bundle::Bundle;
use self::capture::Capture;
use self::plan::{Plan, Target};
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

/// The format of the names of bundles.
const NAME_FORMAT: &str = "%Y-%m-%dT%H-%M-%S";

const NO_PPROF: &str = "[WARN] Unable to capture pprof. Set enable_debug to true on target agent \
                        to enable profiling.";

pub(super) const COMMAND: Command = Command {
    words: "debug",
    synopsis: "Gather what helps to understand an agent",
    usage: "debug [options]",
    help: "Records metrics, log, profiles and facts of an agent and its machine for a\n\
           while, and packs them into an archive. An interrupt ends the recording early.\n\
           Logs and the agent's configuration tell much about a system: look at the\n\
           archive before you hand it on.\n\n\
           Targets: metrics, logs, pprof, host, agent, members.",
    api: ApiFlags::C,
    flags: || {
        vec![
            Flag::bool("archive", "Pack the folder into an archive and remove it.").or("true"),
            Flag::list("capture", "A target to capture, may be given several times. Default: all.")
                .word("target"),
            Flag::duration("duration", "How long to record, at least 10s.").or("5m"),
            Flag::duration("interval", "How often to take snapshots, at least 5s.").or("30s"),
            Flag::text("output", "The folder, and the archive's name without .tar.gz.")
                .word("path"),
            Flag::text("since", "Not supported: what was logged before is in the log."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    if !call.arguments.words.is_empty() {
        return Err(Failure::new("==> debug: Too many arguments provided, expected 0"));
    }
    if !call.arguments.text("since").is_empty() {
        return Err(Failure::new(
            "-since is not supported: it hands over to a tool that is not part of Consul",
        ));
    }
    let client = call.client()?;
    let mut plan = Plan::new(&call.arguments).map_err(|error| invalid(&error))?;
    let about = client.agent_self().await.map_err(|error| {
        invalid(&format!(
            "error querying target agent: {error}. verify connectivity and agent address"
        ))
    })?;
    plan.check_targets().map_err(|error| invalid(&error))?;
    if plan.has(Target::Pprof) && !tells_profiles(&about) {
        plan.drop(Target::Pprof);
        call.ui.error(NO_PPROF);
    }
    if plan.output.is_empty() {
        plan.output = format!("consul-debug-{}", offset_time(&Zoned::now()));
    }
    let bundle = Bundle::create(&plan.output).map_err(|error| invalid(&error))?;
    announce(call, &plan, &about);

    let outcome = record(call, &client, &plan, &bundle, &about).await;
    // What was gathered before something failed is worth keeping.
    if call.arguments.bool("archive") {
        let archive = bundle.pack().tried("Archive creation failed")?;
        outcome?;
        call.ui.output(format!("    Saved debug archive: {archive}"));
    } else {
        outcome?;
        call.ui.output(format!("    Saved debug directory: {}", plan.output));
    }
    Ok(0)
}

fn invalid(error: &str) -> Failure {
    Failure::new(format!("==> Capture validation failed: {error}"))
}

/// `2026-11-21T15-31-40+0000`, with `Z` for UTC.
fn offset_time(now: &Zoned) -> String {
    let time = now.strftime(NAME_FORMAT);
    match now.offset().seconds() {
        0 => format!("{time}Z"),
        _ => format!("{time}{}", now.strftime("%z")),
    }
}

/// Whether the agent gives profiles to somebody with the right token.
fn tells_profiles(about: &Value) -> bool {
    let debug = &about["DebugConfig"];
    debug["EnableDebug"].as_bool() == Some(true) || debug["ACLsEnabled"].as_bool() == Some(true)
}

fn version(about: &Value) -> &str {
    about["Config"]["Version"].as_str().unwrap_or("unknown")
}

fn announce(call: &mut Call, plan: &Plan, about: &Value) {
    let archive = if call.arguments.bool("archive") { ".tar.gz" } else { "" };
    let lines = [
        "==> Starting debugger and capturing static information...".to_owned(),
        format!("     Agent Version: '{}'", version(about)),
        format!("          Interval: '{}'", plan.interval),
        format!("          Duration: '{}'", plan.duration),
        format!("            Output: '{}{archive}'", plan.output),
        format!("           Capture: '{}'", plan.names().join(", ")),
    ];
    call.ui.output(lines.join("\n"));
}

/// Records everything, until the time is over or an interrupt comes.
async fn record(
    call: &mut Call,
    client: &Client,
    plan: &Plan,
    bundle: &Bundle,
    about: &Value,
) -> Result<(), Failure> {
    let capture = Capture { client, plan, bundle };
    bundle.write_json("index.json", &plan.index(version(about))).tried("index.json")?;
    let mut warnings = capture.once(about).await;
    call.ui.output(format!("==> Beginning capture interval {} (0)", utc_now()));
    let intervals = async {
        let mut warnings = Vec::new();
        let mut ticks = tokio::time::interval(plan.interval.to_std());
        let end = tokio::time::Instant::now() + plan.duration.to_std();
        let mut number = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    warnings.extend(capture.at_interval(&Timestamp::now()).await);
                    call.ui.output(format!("==> Capture successful {} ({number})", utc_now()));
                    number += 1;
                }
                () = tokio::time::sleep_until(end) => return warnings,
            }
        }
    };
    let all = async { tokio::join!(capture.throughout(), intervals) };
    tokio::select! {
        (throughout, intervals) = all => {
            warnings.extend(throughout);
            warnings.extend(intervals);
        }
        _ = tokio::signal::ctrl_c() => {}
    }
    for warning in warnings {
        call.ui.error(format!("[WARN] {warning}"));
    }
    Ok(())
}

/// As Go prints a time in UTC.
fn utc_now() -> String {
    Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%9f +0000 UTC").to_string()
}

/// How much longer than the recording a request for it may take.
const GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bundles_tell_the_time_and_its_zone() {
        let at = |zone: &str| {
            let time: Timestamp = "2026-11-21T15:31:40Z".parse().expect("it is a time");
            let offset = jiff::tz::Offset::from_hours(zone.parse().expect("a number"));
            offset_time(&time.to_zoned(offset.expect("it is in a day").to_time_zone()))
        };
        assert_eq!(at("0"), "2026-11-21T15-31-40Z");
        assert_eq!(at("1"), "2026-11-21T16-31-40+0100");
    }

    #[test]
    fn profiles_are_there_with_debug_or_acls() {
        let about = |debug: bool, acls: bool| serde_json::json!({"DebugConfig": {"EnableDebug": debug, "ACLsEnabled": acls}});
        assert!(!tells_profiles(&about(false, false)));
        assert!(tells_profiles(&about(true, false)));
        assert!(tells_profiles(&about(false, true)));
        assert!(!tells_profiles(&serde_json::json!({})));
    }

    #[test]
    fn every_target_is_in_the_help() {
        for (name, _) in plan::TARGETS {
            assert!(COMMAND.help.contains(name), "{name}");
        }
    }
}
