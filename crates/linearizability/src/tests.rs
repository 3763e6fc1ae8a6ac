//! The search over the plainest of models, a register.

use super::{Model, Operation, Verdict};

/// What to do to a register.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    Put(String),
    /// Sets the value (second) if it is the first.
    Cas(String, String),
    Append(String),
}

impl Write {
    /// Does it to a value; `false` for a comparison that fails.
    fn apply_to(&self, value: &mut String) -> bool {
        match self {
            Write::Put(new) => value.clone_from(new),
            Write::Cas(expected, new) if value == expected => value.clone_from(new),
            Write::Cas(..) => return false,
            Write::Append(more) => value.push_str(more),
        }
        true
    }
}

/// What was done, with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Read(String),
    Write(Write, bool),
}

/// A register that begins empty.
struct Register;

impl Model for Register {
    type State = String;
    type Act = Act;

    fn initial(&self) -> String {
        String::new()
    }

    fn apply(&self, act: &Act, is_known: bool, value: &mut String) -> bool {
        match act {
            Act::Read(seen) => seen == value,
            Act::Write(write, outcome) => write.apply_to(value) == *outcome || !is_known,
        }
    }
}

fn check(history: &[Operation<Act>], steps_max: usize) -> Verdict {
    super::check(&Register, history, steps_max)
}

fn history(text: &str) -> Vec<Operation<Act>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let operation = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |at: usize| words[at].trim_matches('"').to_owned();
        let act = match words[2] {
            "put" => Act::Write(Write::Put(value(3)), true),
            "append" => Act::Write(Write::Append(value(3)), true),
            "cas" => Act::Write(Write::Cas(value(3), value(4)), words[5] == "true"),
            "get" => Act::Read(value(3)),
            other => panic!("{other}"),
        };
        Operation { called: words[0].parse().unwrap(), returned: words[1].parse().ok(), act }
    };
    lines.map(operation).collect()
}

#[track_caller]
fn assert_verdict(text: &str, expected: Verdict) {
    assert_eq!(check(&history(text), 100_000), expected, "{text}");
}

#[test]
fn what_a_register_can_do_is_linearizable() {
    for text in [
        "",
        r#"1 2 get """#,
        "1 2 put a\n 3 4 get a\n 5 6 append b\n 7 8 get ab",
        // Two at once, in either order.
        "1 9 put a\n 2 8 put b\n 10 11 get a",
        "1 9 put a\n 2 8 put b\n 10 11 get b",
        // A read sees what is under way, and another at the same time does not.
        "1 9 put a\n 2 8 get a\n 3 7 get \"\"",
        "1 2 put a\n 3 4 cas a b true\n 5 6 cas a c false\n 7 8 get b",
        // An unknown outcome: never, late, or at once.
        "1 ? put a\n 2 3 get \"\"\n 90 91 get \"\"",
        "1 ? put a\n 2 3 get \"\"\n 90 91 get a",
        "1 ? put a\n 2 3 get a\n 90 91 get a",
        "1 ? cas b c true\n 2 3 put b\n 4 5 get c",
    ] {
        assert_verdict(text, Verdict::Linearizable);
    }
}

#[test]
fn what_a_register_cannot_do_is_impossible() {
    for text in [
        "1 2 get a",
        // Stale.
        "1 2 put a\n 3 4 put b\n 5 6 get a",
        // Lost.
        "1 2 put a\n 3 4 get \"\"",
        // Twice.
        "1 2 append a\n 3 4 get aa",
        // There and gone again, with one write only.
        "1 ? put a\n 2 3 get a\n 4 5 get \"\"",
        // Two readers do not agree on the order.
        "1 2 put a\n 3 4 put b\n 3 4 put c\n 5 6 get b\n 7 8 get c",
        // Two comparisons with one value cannot both hold.
        "1 2 put a\n 3 9 cas a b true\n 3 9 cas a c true",
        "1 2 put a\n 3 4 cas a b false",
        // New before old, from the same write under way.
        "1 20 put a\n 2 3 get a\n 4 5 get \"\"",
    ] {
        assert_verdict(text, Verdict::Impossible);
    }
}

#[test]
fn a_search_that_takes_too_long_is_given_up() {
    let many: String = (0..40).map(|n| format!("1 90 put v{n}\n")).collect();
    assert_eq!(check(&history(&format!("{many} 91 92 get no")), 1000), Verdict::Undecided);
    assert_verdict(&format!("{many} 91 92 get v38"), Verdict::Linearizable);
}

/// Every history of three operations against trying all orders.
#[test]
fn the_search_agrees_with_trying_all_orders() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut found = [0, 0];
    for _ in 0..5000 {
        let mut operations = Vec::new();
        for _ in 0..rng.usize(1..=5) {
            let value = |rng: &mut fastrand::Rng| ["", "a", "b", "ab"][rng.usize(0..4)].into();
            let act = match rng.u8(0..4) {
                0 => Act::Write(Write::Put(value(&mut rng)), true),
                1 => Act::Write(Write::Append(value(&mut rng)), true),
                2 => Act::Write(Write::Cas(value(&mut rng), value(&mut rng)), rng.bool()),
                _ => Act::Read(value(&mut rng)),
            };
            let called = rng.u64(0..10);
            let returned = (rng.u8(0..4) > 0).then(|| called + 1 + rng.u64(0..6));
            operations.push(Operation { called, returned, act });
        }
        let expected = brute(&operations, &mut vec![false; operations.len()], "");
        let verdict = check(&operations, 100_000);
        assert_eq!(verdict == Verdict::Linearizable, expected, "{operations:?}");
        found[usize::from(expected)] += 1;
    }
    assert!(found[0] > 500 && found[1] > 500, "{found:?}");
}

fn brute(history: &[Operation<Act>], done: &mut Vec<bool>, value: &str) -> bool {
    let is_left = |at: usize, done: &[bool]| !done[at] && history[at].returned.is_some();
    if (0..history.len()).all(|at| !is_left(at, done)) {
        return true;
    }
    for at in 0..history.len() {
        // Nothing that is left may have returned before this was called.
        let late = (0..history.len()).any(|other| {
            is_left(other, done) && history[other].returned < Some(history[at].called)
        });
        if done[at] || late {
            continue;
        }
        let mut next = value.to_owned();
        let right = match &history[at].act {
            Act::Read(seen) => seen == value,
            Act::Write(write, outcome) => {
                write.apply_to(&mut next) == *outcome || history[at].returned.is_none()
            }
        };
        done[at] = true;
        let explained = right && brute(history, done, &next);
        done[at] = false;
        if explained {
            return true;
        }
    }
    false
}
