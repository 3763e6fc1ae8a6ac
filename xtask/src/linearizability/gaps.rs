//! How long nobody could write: probes ask nothing else, one at each server, and hang up early.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::faults::{Fault, Round};
use crate::live::http::Connection;
use crate::live::server::pause;

/// A probe waits for so long, and then asks anew.
const PATIENCE: Duration = Duration::from_millis(300);

/// Between two acts of a probe.
const PAUSE: Duration = Duration::from_millis(5);

/// Somebody can write again after this time, on a machine that has other things to do as well,
/// and when one fault comes upon another. What is promised is far less; the report tells what
/// was measured.
const GAP_MAX: Duration = Duration::from_secs(20);

/// Writes at one server, again and again. The times of the answers, in ns since the start.
pub(super) fn probe(server: usize, shared: &Shared) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let is_over = || shared.is_over.load(Ordering::SeqCst);
    let target = format!("/v1/kv/gap/{server}");
    while !is_over() {
        let address = shared.addresses.lock().unwrap_or_else(PoisonError::into_inner)[server];
        let Ok(mut connection) = Connection::open_patient(address, PATIENCE) else {
            pause(PAUSE);
            continue;
        };
        while !is_over() {
            match connection.ask("PUT", &target, b"") {
                Ok(answer) if answer.status == 200 => acknowledged.push(shared.now()),
                Ok(_) => {}
                Err(_) => break,
            }
            pause(PAUSE);
        }
    }
    acknowledged
}

/// The longest time without an acknowledged write, for each round of each fault.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps(BTreeMap<Fault, Vec<Duration>>);

impl Gaps {
    /// Of the times of all answers and of what happened, in ns since the start.
    pub(super) fn new(mut acknowledged: Vec<u64>, rounds: &[Round], end: u64) -> Self {
        acknowledged.extend([0, end]);
        acknowledged.sort_unstable();
        let mut gaps = Self::default();
        for (place, round) in rounds.iter().enumerate() {
            let until = rounds.get(place + 1).map_or(end, |next| next.struck);
            let pairs = acknowledged.windows(2);
            let meant = pairs.filter(|pair| pair[1] > round.struck && pair[0] < until);
            let from_then = meant.map(|pair| pair[1] - pair[0].max(round.struck));
            let longest = from_then.max().unwrap_or_default();
            gaps.0.entry(round.fault).or_default().push(Duration::from_nanos(longest));
        }
        gaps.0.values_mut().for_each(|gaps| gaps.sort_unstable());
        gaps
    }

    /// Gaps that are longer than any may be.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let longest = self.0.iter().filter_map(|(fault, gaps)| Some((fault, *gaps.last()?)));
        let too_long = longest.filter(|(_, gap)| *gap > GAP_MAX);
        too_long.map(|(fault, gap)| format!("{fault:?}: nobody could write for {gap:?}")).collect()
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ms without a write, median and longest of so many faults:")?;
        for (fault, gaps) in &self.0 {
            let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
            let (median, longest) = (median.as_millis(), longest.as_millis());
            write!(f, " {fault:?} {median} {longest} of {},", gaps.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_time_without_an_answer_from_a_fault_to_the_next() {
        let second = 1_000_000_000;
        let round = |fault, struck: u64| Round { fault, struck: struck * second };
        let rounds = [round(Fault::KillLeader, 10), round(Fault::KillAll, 50)];
        // Of one that began before the fault, what came after it.
        let acknowledged = [1, 9, 12, 30, 41, 49, 51, 80].map(|at| at * second);
        let gaps = Gaps::new(acknowledged.to_vec(), &rounds, 90 * second);
        let seconds: Vec<u64> = gaps.0.values().flatten().map(Duration::as_secs).collect();
        assert_eq!(seconds, [18, 29]);
        assert_eq!(gaps.mistakes().len(), 1);
        assert!(gaps.to_string().contains("KillLeader 18000 18000 of 1"), "{gaps}");
        let early = Gaps::new(vec![9 * second, 20 * second], &rounds[..1], 25 * second);
        assert_eq!(early.0.values().flatten().next(), Some(&Duration::from_secs(10)));
        let none = Gaps::new(Vec::new(), &rounds, 90 * second);
        assert_eq!(none.mistakes().len(), 2, "no answer at all is one long gap");
    }
}
