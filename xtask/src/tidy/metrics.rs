//! Every metric of the list is emitted somewhere, or is one of those that wait for their
//! part of the product.

use std::collections::BTreeSet;

use super::Finding;
use super::source::Source;

/// The list of metrics.
const NAMES: &str = "crates/telemetry/src/names.rs";

/// Files that name metrics for their tests alone.
const FOR_TESTS: [&str; 2] = [NAMES, "crates/telemetry/src/recorder.rs"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(names) = sources.iter().find(|source| source.path == NAMES) else {
        return vec![Finding::new(NAMES, "the list of metrics is not there any more")];
    };
    let users = sources.iter().filter(|source| !FOR_TESTS.contains(&source.path.as_str()));
    judge(&names.text, users.map(|source| source.text.as_str()))
}

fn judge<'s>(list: &str, users: impl Iterator<Item = &'s str>) -> Vec<Finding> {
    let (declared, later) = (declared(list), later(list));
    let emitted: BTreeSet<&str> = users.flat_map(named).collect();
    let mut findings = Vec::new();
    for name in &declared {
        match (emitted.contains(name), later.contains(name)) {
            (false, false) => findings.push(Finding::new(NAMES, format!("nothing emits {name}"))),
            (true, true) => findings
                .push(Finding::new(NAMES, format!("{name} is emitted: take it out of LATER"))),
            _ => {}
        }
    }
    findings
}

/// `KVS_APPLY` of `    KVS_APPLY: Timer = …`.
fn declared(list: &str) -> BTreeSet<&str> {
    let kinds = ["Counter", "Gauge", "Sample", "Timer"];
    let lines = list.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("    ")?.split_once(": ")?;
        kinds.iter().any(|kind| rest.starts_with(&format!("{kind} ="))).then_some(name)
    });
    lines.collect()
}

/// `KVS_APPLY` of `    KVS_APPLY.metric(),`.
fn later(list: &str) -> BTreeSet<&str> {
    list.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(".metric(),")).collect()
}

/// `KVS_APPLY` of `names::KVS_APPLY`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("names::").map(|(at, found)| {
        let rest = &text[at + found.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_emitted_or_wait() {
        let list = "    A_B: Timer = \"a.b\" [];\n    C: Counter =\n    D: Gauge = \"d\" [];\n\
                    LATER = [\n    C.metric(),\n    D.metric(),\n];\n";
        let messages = |users: &[&str]| -> Vec<String> {
            judge(list, users.iter().copied()).into_iter().map(|found| found.message).collect()
        };
        assert_eq!(messages(&["names::A_B.record()", "x"]), Vec::<String>::new());
        assert_eq!(messages(&["names::A_BC.record()"]), ["nothing emits A_B"]);
        assert_eq!(messages(&["names::A_B, &names::C"]), ["C is emitted: take it out of LATER"]);
    }
}
