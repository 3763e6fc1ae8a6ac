//! The rules of the house that a program can check.
//!
//! Each module looks for one kind of trouble and returns [`Finding`]s. A finding
//! about a size may be excused in `xtask/tidy-exceptions.toml`, which may only
//! shrink ([`exceptions`]); all others have to be mended.

mod edges;
mod exceptions;
mod limits;
mod metrics;
mod purity;
mod source;
mod text;

use std::fmt::{self, Write as _};
use std::path::Path;

use limits::Measures;

/// One thing to mend.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the root, with a line or a name.
    place: String,
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// What [`check`] found.
pub(crate) struct Report {
    findings: Vec<Finding>,
    measures: Measures,
}

impl Report {
    /// Whether there is nothing to mend.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// What is above an aim but below the hard stop, one line each.
    pub(crate) fn aims(&self) -> String {
        self.measures.above_aim().fold(String::new(), |mut lines, size| {
            let _ = writeln!(lines, "aim: {}: {}", size.place, size.measure());
            lines
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{}: {}", finding.place, finding.message)?;
        }
        writeln!(f, "tidy: {} to mend; {}", self.findings.len(), self.measures)
    }
}

/// Checks the workspace at `root`.
///
/// # Errors
/// When files cannot be listed or read, or the table of exceptions is malformed.
pub(crate) fn check(root: &Path) -> anyhow::Result<Report> {
    let files = source::list(root)?;
    let sources = source::parse(root, &files)?;
    let mut measures = Measures::take(&sources);
    measures.sizes.extend(text::sizes(root, &files)?);
    let exceptions = exceptions::read(root)?;

    let mut findings = exceptions.judge(&measures);
    findings.extend(edges::check(root)?);
    findings.extend(purity::check(root, &sources));
    findings.extend(text::check(root, &files)?);
    findings.extend(sources.iter().filter_map(text::module_docs));
    findings.extend(metrics::check(&sources));
    findings.sort();
    Ok(Report { findings, measures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy_enough_to_be_checked() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(check(root).is_ok());
    }
}
