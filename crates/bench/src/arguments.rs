//! The command line of the benchmark: which rows, which programs, where the results go.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// What the run was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// The one row to run; all rows if absent.
    pub(crate) row: Option<String>,
    /// Short runs and smaller data, for work in progress.
    pub(crate) quick: bool,
    /// The program under test.
    pub(crate) ours: Option<PathBuf>,
    /// Real Consul 1.8.
    pub(crate) consul: Option<PathBuf>,
    /// etcd 3.5.
    pub(crate) etcd: Option<PathBuf>,
    /// serf 0.10.
    pub(crate) serf: Option<PathBuf>,
    /// The table that is committed.
    pub(crate) results: PathBuf,
    /// What stands in the way of each promise not reached: lines of `row = text`.
    pub(crate) obstacles: PathBuf,
    /// Everything measured, kept beside the table so that one row can be repeated alone.
    pub(crate) json: PathBuf,
}

impl Arguments {
    /// Reads the words after the program's name. A peer not named is taken from `CONSUL_1_8`, `ETCD_3_5` and `SERF_0_10`.
    ///
    /// # Errors
    /// An unknown option, or one without its value.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut arguments = Self {
            row: None,
            quick: false,
            ours: None,
            consul: existing("CONSUL_1_8"),
            etcd: existing("ETCD_3_5"),
            serf: existing("SERF_0_10"),
            results: PathBuf::from("bench/RESULTS.md"),
            obstacles: PathBuf::from("bench/obstacles.txt"),
            json: PathBuf::from("bench/results.json"),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--row" => arguments.row = Some(value()?),
                "--quick" => arguments.quick = true,
                "--ours" => arguments.ours = Some(PathBuf::from(value()?)),
                "--consul" => arguments.consul = Some(PathBuf::from(value()?)),
                "--etcd" => arguments.etcd = Some(PathBuf::from(value()?)),
                "--serf" => arguments.serf = Some(PathBuf::from(value()?)),
                "--results" => arguments.results = PathBuf::from(value()?),
                "--obstacles" => arguments.obstacles = PathBuf::from(value()?),
                "--json" => arguments.json = PathBuf::from(value()?),
                other => bail!("unknown option {other}"),
            }
        }
        Ok(arguments)
    }

    /// How long one run of a load row lasts, without its warm-up.
    pub(crate) fn run_time(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }

    /// How long a load runs before anything is counted.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 500 } else { 1000 })
    }

    /// How often each server takes its turn in a load row.
    pub(crate) fn turns(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }
}

fn existing(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let words = ["--row", "kv-put", "--quick", "--ours", "/x"].map(String::from);
        let arguments = Arguments::parse(words).unwrap();
        assert_eq!(arguments.row.as_deref(), Some("kv-put"));
        assert!(arguments.quick);
        assert_eq!(arguments.ours, Some(PathBuf::from("/x")));
        assert!(Arguments::parse(["--rows".to_owned()]).is_err());
        assert!(Arguments::parse(["--row".to_owned()]).is_err());
    }
}
