//! What the histories say.

use std::fmt;

use linearizability::Operation;
use linearizability::keys::{Act, Fault, Outcome, Step, find_fault, shortest_fault};

use super::Histories;

/// A search that takes longer is given up, and the test fails: it proved nothing.
const STEPS_MAX: usize = 3_000_000;

/// Acts that are shown when there is no order.
const SHOWN: usize = 14;

/// What was found, and how much there was to find it in.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) mistakes: Vec<String>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    acts: usize,
    unknown: usize,
    transactions: usize,
    refused_transactions: usize,
    comparisons: usize,
    failed_comparisons: usize,
    locks: usize,
    refused_locks: usize,
}

impl Counts {
    fn add(&mut self, act: &Act) {
        let Act { steps, outcome } = act;
        let is_refused = matches!(outcome, Outcome::Refused(_));
        self.acts += 1;
        self.unknown += usize::from(*outcome == Outcome::Unknown);
        let (good, bad) = match steps.as_slice() {
            [Step::Cas(..) | Step::DeleteCas(..)] => {
                (&mut self.comparisons, &mut self.failed_comparisons)
            }
            [Step::Lock(..)] => (&mut self.locks, &mut self.refused_locks),
            [_, _, ..] => (&mut self.transactions, &mut self.refused_transactions),
            _ => return,
        };
        *good += usize::from(matches!(outcome, Outcome::Done(_)));
        *bad += usize::from(is_refused);
    }

    /// What there was none of, and so was not tested.
    fn missing(&self) -> Vec<&'static str> {
        let all = [
            ("unknown outcomes", self.unknown),
            ("transactions", self.transactions),
            ("refused transactions", self.refused_transactions),
            ("comparisons", self.comparisons),
            ("failed comparisons", self.failed_comparisons),
            ("locks", self.locks),
            ("refused locks", self.refused_locks),
        ];
        all.iter().filter(|(_, count)| *count == 0).map(|(what, _)| *what).collect()
    }
}

impl Report {
    pub(super) fn is_good(&self) -> bool {
        self.mistakes.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { acts, unknown, transactions, comparisons, locks, .. } = &self.counts;
        write!(
            f,
            "{acts} acts, of which {unknown} without an answer, {transactions} transactions \
             (and {} refused), {comparisons} comparisons (and {} that failed), {locks} locks (and {} \
             refused)",
            self.counts.refused_transactions,
            self.counts.failed_comparisons,
            self.counts.refused_locks,
        )?;
        if self.mistakes.is_empty() {
            return f.write_str(": all is explained by one thing at a time");
        }
        for mistake in &self.mistakes {
            write!(f, "\n{mistake}")?;
        }
        Ok(())
    }
}

/// Judges what was done to each group of keys.
pub(super) fn judge(histories: &Histories) -> Report {
    let mut report = Report::default();
    for (group, history) in histories.iter().enumerate() {
        history.iter().for_each(|operation| report.counts.add(&operation.act));
        report.mistakes.extend(judge_group(history).map(|what| format!("group {group}: {what}")));
    }
    let missing = report.counts.missing();
    if !missing.is_empty() {
        report.mistakes.push(format!("there were none: {}", missing.join(", ")));
    }
    report
}

fn judge_group(history: &[Operation<Act>]) -> Option<String> {
    match find_fault(history, STEPS_MAX)? {
        Fault::TwoHolders(one, other) => {
            Some(format!("two sessions hold one lock: {one:?} and {other:?}"))
        }
        Fault::Undecided => Some("the search took too long, nothing is proven".to_owned()),
        Fault::NoOrder => Some(explain(history)),
    }
}

/// The shortest beginning of the history that has no order, and its last acts.
fn explain(history: &[Operation<Act>]) -> String {
    let mut text = "no order explains what was seen; the last of it, times in ns:".to_owned();
    for Operation { called, returned, act } in shortest_fault(history, SHOWN, STEPS_MAX) {
        text.push_str(&format!("\n  {called} to {}: {act:?}", returned.unwrap_or_default()));
    }
    text
}
