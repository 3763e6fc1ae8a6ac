//! Side by side benchmarks of one server with its peers: real Consul 1.8 and, where it has the same thing, etcd 3.5.
//!
//! Started by `cargo xtask bench`, which finds or builds the programs. Every row starts the servers it needs on free
//! loopback ports with data directories of their own, runs them in turn (A B C A B C ...) under the same generated load,
//! and takes medians. What was measured is kept as JSON in the build directory; the table goes to `bench/RESULTS.md`.
//!
//! The generator is one thread around epoll with requests rendered beforehand, so that on a small machine it is the
//! server that is measured. Its own processor time is reported beside the server's.

mod arguments;
mod cluster;
mod delay;
mod dns;
mod herd;
mod line;
mod load;
mod machine;
mod pool;
mod results;
mod rows;
mod samples;
mod server;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::arguments::Arguments;
use crate::line::Line;
use crate::results::Results;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}\n"));
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let descriptors = machine::raise_descriptor_limit()?;
    let mut results = Results::load(&arguments.json)?;
    results.facts = machine::facts(&arguments, descriptors);
    let mut bench = rows::Bench::new(arguments, descriptors);
    let chosen = rows::chosen(bench.arguments.row.as_deref())?;
    for row in chosen {
        say(&format!("{}: ", row.name));
        let lines = (row.measure)(&mut bench).with_context(|| format!("row {}", row.name));
        bench.finish_row(row);
        let lines = lines.unwrap_or_else(|error| vec![Line::failed(row.name, &error)]);
        for line in &lines {
            say(&format!("\n  {}", line.summary()));
        }
        say("\n");
        results.replace(row.name, lines);
        results.save(&bench.arguments.json)?;
    }
    let (path, missing) = (bench.arguments.results.clone(), results.missing());
    if path.exists() && !missing.is_empty() {
        // A table of all rows is not given up for one of some.
        say(&format!(
            "{} stays as it is: never measured: {}\n",
            path.display(),
            missing.join(", ")
        ));
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().context("the results file has no directory")?)?;
    let obstacles = results::read_obstacles(&bench.arguments.obstacles)?;
    std::fs::write(&path, results.render(&obstacles))
        .with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("wrote {}\n", path.display()));
    Ok(())
}

/// Writes to standard output and forgets: a reader that has gone away is no failure of a benchmark.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
