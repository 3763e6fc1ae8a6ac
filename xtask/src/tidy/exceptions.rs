//! Sizes above the hard stop that are put up with for now.
//!
//! The table may only shrink: an entry that is larger than needed, or not
//! needed at all, is itself something to mend.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use super::Finding;
use super::limits::{Measures, Rule, Size};

const FILE: &str = "xtask/tidy-exceptions.toml";

/// The table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    rule: Rule,
    /// As [`Size::place`].
    place: String,
    /// The size that is put up with.
    at_most: usize,
    /// Why it is not smaller.
    reason: String,
}

/// Reads the table of the workspace at `root`.
pub(super) fn read(root: &Path) -> anyhow::Result<Exceptions> {
    let text = std::fs::read_to_string(root.join(FILE)).context(FILE)?;
    toml::from_str(&text).context(FILE)
}

impl Exceptions {
    /// What is too large and not excused, and what is excused without need.
    pub(super) fn judge(&self, measures: &Measures) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            measures.sizes.iter().filter_map(|size| self.judge_size(size)).collect();
        findings.extend(self.exception.iter().filter_map(|entry| entry.judge(measures)));
        let (long, allowed) = measures.long_functions();
        if long > allowed {
            let message = format!(
                "{long} functions are above {} lines, {allowed} may be: see `cargo xtask tidy --aims`",
                Rule::FunctionLines.limits().0
            );
            findings.push(Finding::new("workspace", message));
        }
        findings
    }

    fn judge_size(&self, size: &Size) -> Option<Finding> {
        let entry = self.exception.iter().find(|entry| entry.covers(size));
        let allowed = entry.map_or(size.rule.limits().1, |entry| entry.at_most);
        (size.value > allowed).then(|| Finding::new(size.place.clone(), size.measure()))
    }
}

impl Exception {
    fn covers(&self, size: &Size) -> bool {
        self.rule == size.rule && self.place == size.place
    }

    fn judge(&self, measures: &Measures) -> Option<Finding> {
        let stop = self.rule.limits().1;
        let largest =
            measures.sizes.iter().filter(|size| self.covers(size)).map(|size| size.value).max();
        let message = match largest {
            _ if self.reason.trim().is_empty() => "has no reason".to_owned(),
            None => "is about nothing that exists: remove it".to_owned(),
            Some(value) if value <= stop => format!("is not needed ({value}): remove it"),
            Some(value) if value < self.at_most => format!("is too wide: lower it to {value}"),
            Some(_) => return None,
        };
        Some(Finding::new(FILE, format!("the exception for {} {message}", self.place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(table: &str, value: usize) -> Vec<String> {
        let exceptions: Exceptions = toml::from_str(table).unwrap();
        let sizes = vec![Size { rule: Rule::Fields, place: "a.rs::S".to_owned(), value }];
        let findings = exceptions.judge(&Measures { sizes });
        findings.into_iter().map(|finding| finding.message).collect()
    }

    fn entry(at_most: usize) -> String {
        format!(
            "[[exception]]\nrule = \"fields\"\nplace = \"a.rs::S\"\nat_most = {at_most}\nreason = \"r\"\n"
        )
    }

    #[test]
    fn what_is_too_large_needs_an_exception_that_fits() {
        assert_eq!(judge("", 30), [""; 0]);
        assert_eq!(judge("", 31), ["31 fields (aim 20, at most 30)"]);
        assert_eq!(judge(&entry(31), 31), [""; 0]);
        assert_eq!(judge(&entry(31), 32), ["32 fields (aim 20, at most 30)"]);
    }

    #[test]
    fn the_table_may_only_shrink() {
        assert_eq!(
            judge(&entry(33), 32),
            ["the exception for a.rs::S is too wide: lower it to 32"]
        );
        assert_eq!(
            judge(&entry(33), 30),
            ["the exception for a.rs::S is not needed (30): remove it"]
        );
    }
}
