//! Repository chores: `cargo xtask <chore>`.

mod bench;
mod cluster;
mod conformance;
mod durability;
mod linearizability;
mod live;
mod mixed_agents;
mod mixed_quorum;
mod proto;
mod sim;
mod snapshot_interop;
mod tidy;

use std::process::ExitCode;

use anyhow::Context as _;

const USAGE: &str = "usage: cargo xtask <chore>

  bench [--row NAME] [--quick] [--ours PATH] [--consul PATH] [--etcd PATH]
                run side by side with the peers and write bench/RESULTS.md
  conformance   check a binary against what real Consul answered: exactly the steps fail that
                .ci/ lists  --consul BIN [--suite FOLDER] [--jobs N]
  proto [--check]
                make the Rust code of the .proto files anew, or see whether it is that
  tidy          check the rules of the house: sizes, crate edges, purity, docs, words
  tidy --aims   also list what is above an aim but below the hard stop
  durability    kill a server again and again under writers: nothing acknowledged is lost
                [--short] [--restarts N] [--seed N] [--consul BIN]
  linearizability
                check-and-set, locks and transactions of concurrent clients on a server that is
                killed and paused, or on several that are also cut off, moved and left without
                room: what they saw has an order that explains it
                [--short] [--servers N] [--seconds N] [--seed N] [--consul BIN]
  cluster       clusters of real agents, walked through as an operator would
                [walk] [compose] [--consul BIN]
  mixed-agents  our client agents on real Consul servers, and real ones on ours
                [--consul BIN] [--real BIN]
  mixed-quorum  replace real Consul servers with ours one by one, and back, under writers
                [--short] [--tls] [--consul BIN] [--real BIN]
  snapshot-interop
                restore a real Consul's snapshot here and ours there  [--consul BIN] [--real BIN]
  sim           simulate clusters under faults, seed by seed; `sim --help` lists its options
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("xtask: {error:#}\n"));
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask does not stand in a workspace")?;
    let mut out = std::io::stdout();
    match arguments.as_slice() {
        ["bench", options @ ..] => bench::run(root, options),
        ["tidy", options @ ..] => {
            let report = tidy::check(root)?;
            if options.contains(&"--aims") {
                say(&mut out, &report.aims());
            }
            say(&mut out, &report.to_string());
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        ["conformance", options @ ..] => {
            conformance::run(root, options, &mut |text| say(&mut out, text))
        }
        ["proto", options @ ..] => proto::run(root, options).map(|()| ExitCode::SUCCESS),
        ["sim", options @ ..] => sim::run(root, options),
        ["cluster", options @ ..] => cluster::run(root, options, &mut |text| say(&mut out, text)),
        ["mixed-agents", options @ ..] => {
            mixed_agents::run(root, options, &mut |text| say(&mut out, text))
        }
        ["mixed-quorum", options @ ..] => {
            mixed_quorum::run(root, options, &mut |text| say(&mut out, text))
        }
        ["snapshot-interop", options @ ..] => {
            snapshot_interop::run(root, options, &mut |text| say(&mut out, text))
        }
        ["durability", options @ ..] => {
            durability::run(root, options, &mut |text| say(&mut out, text))
        }
        ["linearizability", options @ ..] => {
            linearizability::run(root, options, &mut |text| say(&mut out, text))
        }
        _ => {
            say(&mut out, USAGE);
            Ok(ExitCode::from(2))
        }
    }
}

/// Writes and forgets: a reader that has gone away is no failure of the chore.
fn say(out: &mut dyn std::io::Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}
