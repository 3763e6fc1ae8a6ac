//! Stale reads: any server may answer them, with what was true once. What was never true is
//! never seen: values that nobody has written yet, and those of acts that were refused.

use std::collections::HashMap;

use linearizability::keys::{Outcome, Step};

use super::Histories;

/// What a stale read saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) group: usize,
    pub(super) key: usize,
    pub(super) value: u64,
    /// When it was told, in ns since the start.
    pub(super) at: u64,
}

/// The first of them that saw what cannot have been there.
pub(super) fn find_fault(reads: &[Seen], histories: &Histories) -> Option<String> {
    let mut written = HashMap::new();
    for (group, history) in histories.iter().enumerate() {
        for operation in history {
            let is_refused = matches!(operation.act.outcome, Outcome::Refused(_));
            for step in &operation.act.steps {
                let (Step::Set(key, value)
                | Step::Cas(key, value, _)
                | Step::Lock(key, value, _)
                | Step::Unlock(key, value, _)) = *step
                else {
                    continue;
                };
                written.insert(value, (group, key, operation.called, is_refused));
            }
        }
    }
    let strange = reads.iter().find(|seen| {
        let known = written.get(&seen.value);
        known.is_none_or(|(group, key, called, is_refused)| {
            (*group, *key) != (seen.group, seen.key) || *called > seen.at || *is_refused
        })
    });
    strange.map(|seen| {
        format!("a stale read saw what was never there: {seen:?}, {:?}", written.get(&seen.value))
    })
}

#[cfg(test)]
mod tests {
    use linearizability::Operation;
    use linearizability::keys::Act;

    use super::*;

    #[test]
    fn a_stale_read_sees_what_was_true_once() {
        let act = |value, called, outcome| {
            let act = Act { steps: vec![Step::Set(0, value)], outcome };
            Operation { called, returned: None, act }
        };
        let done = Outcome::Done(Vec::new());
        let history = vec![
            act(1, 10, done),
            act(2, 20, Outcome::Unknown),
            act(3, 30, Outcome::Refused(vec![0])),
        ];
        let histories = vec![history];
        let fault =
            |key, value, at| find_fault(&[Seen { group: 0, key, value, at }], &histories).is_some();
        assert!(!fault(0, 1, 90), "it may be old");
        assert!(!fault(0, 2, 90), "nobody knows whether it was done");
        assert!(fault(0, 3, 90), "it was refused");
        assert!(fault(0, 2, 19), "it was not yet asked for");
        assert!(fault(1, 1, 90), "it was written elsewhere");
        assert!(fault(0, 4, 90), "nobody wrote it");
    }
}
