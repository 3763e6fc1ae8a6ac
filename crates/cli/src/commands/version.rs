//! `consul version` (`reference/cli.md` section 21).

use serde::Serialize;
use types::version::{CONSUL_BUILD_DATE, CONSUL_REVISION, CONSUL_VERSION, PROCONSUL_VERSION};

use super::format::{FORMAT, Format};
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::Outcome;
use crate::json::indented;

/// Protocol versions: spoken by default, lowest and highest understood.
const PROTOCOL: Protocol = Protocol { default: 2, min: 2, max: 3 };

pub(super) const COMMAND: Command = Command {
    words: "version",
    synopsis: "Print the version",
    usage: "version [options]",
    help: "Prints the version of Consul whose behaviour this program keeps, and its own.",
    api: ApiFlags::NONE,
    flags: || vec![FORMAT],
    run: Run::Here(run),
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: &'static str,
    revision: &'static str,
    prerelease: &'static str,
    build_date: &'static str,
    #[serde(rename = "RPC")]
    rpc: Protocol,
    /// Our own version, under a name that Consul does not use.
    proconsul: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protocol {
    default: u8,
    min: u8,
    max: u8,
}

fn run(call: &mut Call) -> Outcome {
    let text = match Format::of(call)? {
        Format::Pretty => pretty(),
        Format::Json => indented(
            &Version {
                version: CONSUL_VERSION,
                revision: CONSUL_REVISION,
                prerelease: "",
                build_date: CONSUL_BUILD_DATE,
                rpc: PROTOCOL,
                proconsul: PROCONSUL_VERSION,
            },
            "   ",
        ),
    };
    call.ui.output(text);
    Ok(0)
}

fn pretty() -> String {
    let Protocol { default, min, max } = PROTOCOL;
    format!(
        "Consul v{CONSUL_VERSION}\n\
         Proconsul v{PROCONSUL_VERSION}, an openly licensed Consul\n\
         Revision {CONSUL_REVISION}\n\
         Build Date {CONSUL_BUILD_DATE}\n\
         Protocol {default} spoken by default, understands {min} to {max} (agent will \
         automatically use protocol >{default} when speaking to compatible agents)\n"
    )
}
