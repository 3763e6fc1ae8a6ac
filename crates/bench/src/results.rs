//! Everything measured so far, as JSON between runs and as the table that is committed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::rows::ROWS;
use crate::server::{KINDS, Kind};

/// What is kept between runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Machine, programs, limits of the last run.
    pub(crate) facts: Vec<String>,
    /// Lines by the name of their row.
    rows: BTreeMap<String, Vec<Line>>,
}

const HEAD: &str = "# Side by side with the peers

Written by `cargo xtask bench`; do not edit. One server of each kind, on one machine, in one run, in turn; medians.
Consul is 1.8.7, etcd 3.5 and serf 0.10, all of Debian. \"Ratio\" says how many times as good ours is, whichever way is better;
below 1 it is worse. What the rows do, and why, stands at the functions in `crates/bench/src/rows/`.

";

impl Results {
    /// What earlier runs measured; nothing if there were none.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        match std::fs::read(path) {
            // A file of another version is as good as none.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Keeps everything for the next run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes the lines of one row, instead of those it had.
    pub(crate) fn replace(&mut self, row: &str, lines: Vec<Line>) {
        self.rows.insert(row.to_owned(), lines);
    }

    /// The rows that no run has measured yet.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        ROWS.iter().map(|row| row.name).filter(|name| !self.rows.contains_key(*name)).collect()
    }

    /// The committed file. `obstacles` says, by row, what stands in the way of a promise.
    pub(crate) fn render(&self, obstacles: &BTreeMap<String, String>) -> String {
        let mut text = HEAD.to_owned();
        for fact in &self.facts {
            text.push_str(&format!("- {fact}\n"));
        }
        text.push_str("\n| work | promise | ours | Consul 1.8.7 | etcd 3.5 | serf 0.10 | ratio | reached? |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for row in ROWS {
            match self.rows.get(row.name) {
                Some(lines) => lines.iter().for_each(|line| text.push_str(&table_line(line))),
                None => text.push_str(&format!("| {} | | not run | | | | | |\n", row.name)),
            }
        }
        text.push_str(
            "\nNot here: the write gap when a leader is killed under load needs a cluster, not one server.\n\
             \\* a short run (`--quick`), with fewer and shorter turns and less data.\n",
        );
        text.push_str("\n## What stands in the way\n\n");
        text.push_str(&self.render_obstacles(obstacles));
        text.push_str("\n## Details\n");
        for lines in ROWS.iter().filter_map(|row| self.rows.get(row.name)) {
            lines.iter().for_each(|line| text.push_str(&details(line)));
        }
        text
    }

    fn render_obstacles(&self, obstacles: &BTreeMap<String, String>) -> String {
        let mut text = String::new();
        for row in ROWS {
            let lines = self.rows.get(row.name).map(Vec::as_slice).unwrap_or_default();
            let missed: Vec<&Line> =
                lines.iter().filter(|line| line.reached() == Some(false)).collect();
            if missed.is_empty() {
                continue;
            }
            let works: Vec<&str> = missed.iter().map(|line| line.work.as_str()).collect();
            let reason = obstacles.get(row.name).map_or("not examined yet", String::as_str);
            text.push_str(&format!("- **{}**: {reason}\n", works.join("; ")));
        }
        if text.is_empty() {
            let lines = self.rows.values().flatten();
            let judged = lines.filter(|line| line.reached().is_some()).count();
            let verdict = match judged {
                0 => "Ours has not been measured yet.\n",
                _ => "Nothing that could be judged missed its promise.\n",
            };
            text.push_str(verdict);
        }
        text
    }
}

fn table_line(line: &Line) -> String {
    let mut text = format!(
        "| {}{} | {} |",
        line.work,
        if line.quick { " *" } else { "" },
        line.promise_text()
    );
    for kind in KINDS {
        let shown = line.cell(kind).map(|cell| cell.show(line.unit)).unwrap_or_default();
        let shown = if kind == Kind::Ours { format!("**{shown}**") } else { shown };
        text.push_str(&format!(" {} |", shown.replace(['|', '\n'], " ")));
    }
    let serf = line.serf.as_ref().map_or_else(|| "–".to_owned(), |cell| cell.show(line.unit));
    text.push_str(&format!(" {} |", serf.replace(['|', '\n'], " ")));
    let reached = match line.reached() {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "?",
    };
    text.push_str(&format!(" {} | {reached} |\n", line.ratio_text()));
    text
}

fn details(line: &Line) -> String {
    let mut text = String::new();
    for (name, cell) in line.named_cells() {
        if let Some(details) = cell.details(line.unit) {
            text.push_str(&format!("- {name}: {}\n", details.replace('\n', " ")));
        }
    }
    if !line.note.is_empty() {
        text.push_str(&format!("- {}\n", line.note.replace('\n', " ")));
    }
    if text.is_empty() { text } else { format!("\n{}:\n\n{text}", line.work) }
}

/// Reads lines of `row = text`; blank lines and those starting with `#` say nothing. No file is no obstacles.
///
/// # Errors
/// The file is there but cannot be read.
pub(crate) fn read_obstacles(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines
        .filter_map(|line| line.split_once('='))
        .map(|(row, reason)| (row.trim().to_owned(), reason.trim().to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Cell, Promise, Turn, Unit};

    #[test]
    fn losing_rows_are_shown_with_what_stands_in_the_way() {
        let mut results = Results::default();
        results.replace(
            ROWS[0].name,
            vec![Line {
                work: "writing".to_owned(),
                unit: Unit::PerSecond,
                promise: Promise { times_consul: Some(4.0), ..Promise::default() },
                cells: vec![
                    Cell::Measured(vec![Turn::of(3000.0)]),
                    Cell::Measured(vec![Turn::of(1000.0)]),
                    Cell::Absent("absent".to_owned()),
                ],
                serf: None,
                quick: true,
                note: "a note".to_owned(),
            }],
        );
        let obstacles = BTreeMap::from([(ROWS[0].name.to_owned(), "the disk".to_owned())]);
        let text = results.render(&obstacles);
        assert!(text.contains(
            "| writing * | ≥ 4× Consul | **3,000/s** | 1,000/s | absent | – | 3.0× Consul | **no** |\n"
        ));
        assert!(text.contains("- **writing**: the disk\n"));
        assert!(text.contains("a note"));
        assert!(text.contains("not run"));
        assert!(results.render(&BTreeMap::new()).contains("not examined yet"));
    }
}
