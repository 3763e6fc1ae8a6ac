//! Two sessions never hold one lock: the plain question behind locks, asked by itself.

use super::{Act, KEYS, Outcome, Session, Step};
use crate::Operation;

/// A session surely held the key from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    key: usize,
    from: u64,
    to: u64,
    session: Session,
}

/// Two holds of one key that overlap, if there are.
pub fn check(history: &[Operation<Act>]) -> Option<(Hold, Hold)> {
    let mut holds = Vec::new();
    for operation in history {
        let (Some(returned), Outcome::Done(_)) = (operation.returned, &operation.act.outcome)
        else {
            continue;
        };
        for step in &operation.act.steps {
            if let Step::Lock(key, _, session) = *step {
                let to = first_end(history, key, session, operation.called);
                holds.push(Hold { key, from: returned, to, session });
            }
        }
    }
    holds.retain(|hold| hold.from < hold.to);
    holds.sort_unstable();
    for key in 0..KEYS {
        // The one that lasts longest so far: what begins before its end overlaps.
        let mut last: Option<Hold> = None;
        for hold in holds.iter().filter(|hold| hold.key == key) {
            if let Some(last) = last
                && last.session != hold.session
                && hold.from < last.to
            {
                return Some((last, *hold));
            }
            last = last.filter(|last| last.to > hold.to).or(Some(*hold));
        }
    }
    None
}

/// When at the earliest something could have ended the hold that began after `since`:
/// giving it back, the end of the session, or the end of the key. Acts that were under
/// way at that moment may have been later than the hold's beginning.
fn first_end(history: &[Operation<Act>], key: usize, session: Session, since: u64) -> u64 {
    let ends = |step: &Step| match *step {
        Step::Unlock(other, _, holder) => other == key && holder == session,
        Step::Destroy(other, _) => other == session,
        Step::Delete(other) | Step::DeleteCas(other, _) => other == key,
        _ => false,
    };
    history
        .iter()
        .filter(|operation| !matches!(operation.act.outcome, Outcome::Refused(_)))
        .filter(|operation| operation.returned.is_none_or(|returned| returned > since))
        .filter(|operation| operation.act.steps.iter().any(ends))
        .map(|operation| operation.called)
        .min()
        .unwrap_or(u64::MAX)
}
