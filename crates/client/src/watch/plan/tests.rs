//! Dialogues of plans with an agent (`testdata/watch/`), and the rules of retries and indexes.
//!
//! A dialogue begins with `watch PARAMETERS`, or `after FINGERPRINT-OF PARAMETERS` for one that
//! goes on. Each `answer STATUS INDEX BODY` and each `fails` is what came back, and below it
//! stand what the plan makes of it and what it asks next. Run with `UPDATE_DIALOGUES=1` to
//! write what happens into the files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/watch");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let happened = play(&written);
        if std::env::var_os("UPDATE_DIALOGUES").is_some() {
            fs::write(&file, &happened).unwrap();
            continue;
        }
        for (number, (line, expected)) in happened.lines().zip(written.lines()).enumerate() {
            assert_eq!(line, expected, "{}:{}", file.display(), number + 1);
        }
        assert_eq!(happened.lines().count(), written.lines().count(), "{}", file.display());
    }
}

fn play(script: &str) -> String {
    let mut plan: Option<WatchPlan> = None;
    let mut happened = String::new();
    let mut delivered = None;
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        happened.push_str(line);
        happened.push('\n');
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let outcome = match (verb, &mut plan) {
            ("watch" | "again", _) => {
                let known = if verb == "again" { delivered } else { None };
                match WatchQuery::parse(serde_json::from_str(rest).unwrap()) {
                    Ok(query) => {
                        plan = Some(WatchPlan::new(query).after(known));
                        String::new()
                    }
                    Err(error) => {
                        plan = None;
                        format!("  error: {error}\n")
                    }
                }
            }
            ("answer", Some(plan)) => {
                let mut words = rest.splitn(3, ' ');
                let answer = PlanAnswer {
                    status: words.next().unwrap().parse().unwrap(),
                    index: Index(words.next().unwrap().parse().unwrap()),
                    body: words.next().unwrap_or("").as_bytes(),
                };
                match plan.handle_answer(&answer) {
                    Ok(Some(change)) => {
                        delivered = Some(change.fingerprint);
                        let json = String::from_utf8(change.json).unwrap();
                        format!("  change {} {json}\n", change.index.0)
                    }
                    Ok(None) => "  no change\n".to_owned(),
                    Err(error) => {
                        format!("  error: {error}\n  wait {:?}\n", plan.handle_failure())
                    }
                }
            }
            ("fails", Some(plan)) => format!("  wait {:?}\n", plan.handle_failure()),
            _ => {
                assert!(line.is_empty() || line.starts_with('#'), "{line}");
                continue;
            }
        };
        happened.push_str(&outcome);
        if let Some(plan) = &plan {
            happened.push_str(&format!("  > {}\n", plan.request().target()));
        }
    }
    happened
}

fn key_plan() -> WatchPlan {
    let parameters = json!({"type": "key", "key": "k"});
    WatchPlan::new(WatchQuery::parse(parameters.as_object().cloned().unwrap()).unwrap())
}

#[test]
fn a_fingerprint_is_read_as_it_is_written() {
    let fingerprint = Fingerprint::of(b"state");
    assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
    for wrong in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
        assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_token_goes_into_a_header_and_into_nothing_that_is_shown() {
    let parameters = json!({"type": "nodes", "token": "secret"});
    let plan = WatchPlan::new(WatchQuery::parse(parameters.as_object().cloned().unwrap()).unwrap());
    let request = plan.request();
    assert_eq!(request.headers, [("X-Consul-Token".to_owned(), "secret".to_owned())]);
    assert!(!format!("{plan:?} {request:?}").contains("secret"));
}

/// What comes back from the agent.
#[derive(Clone, Debug)]
enum Input {
    Answer { index: u64, value: u8 },
    Refused,
    Fails,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => (0..6u64, 0..3u8).prop_map(|(index, value)| Input::Answer { index, value }),
        1 => Just(Input::Refused),
        1 => Just(Input::Fails),
    ]
}

proptest! {
    #[test]
    fn waits_after_failures_grow_with_their_square_to_three_minutes(failures in 1u32..) {
        let seconds = 5 * u64::from(failures) * u64::from(failures).min(1000);
        prop_assert_eq!(retry_after(failures).as_secs(), seconds.min(180));
    }

    /// The agent's index names the state only while it does not change: the model knows an
    /// agent that gives a state an index of its own.
    #[test]
    fn a_change_is_what_differs_from_the_last_delivered_state(
        inputs in prop::collection::vec(input(), 0..40),
    ) {
        let mut plan = key_plan();
        let mut delivered: Option<u8> = None;
        let mut asked: Option<u64> = None;
        let mut failures = 0;
        for input in inputs {
            match input {
                Input::Answer { index, value } => {
                    let body = format!("[{{\"Key\":\"k\",\"Flags\":{value}}}]");
                    let answer = PlanAnswer { status: 200, index: Index(index), body: body.as_bytes() };
                    let change = plan.handle_answer(&answer).unwrap();
                    let index = index.max(1);
                    let unchanged = asked == Some(index) || delivered == Some(value);
                    prop_assert_eq!(change.is_some(), !unchanged);
                    if change.is_some() {
                        delivered = Some(value);
                    }
                    asked = match asked {
                        Some(previous) if index < previous => None,
                        _ => Some(index),
                    };
                    failures = 0;
                }
                Input::Refused => {
                    let answer = PlanAnswer { status: 500, index: Index(9), body: b"no" };
                    prop_assert!(plan.handle_answer(&answer).is_err());
                    failures += 1;
                    prop_assert_eq!(plan.handle_failure(), retry_after(failures));
                    asked = None;
                }
                Input::Fails => {
                    failures += 1;
                    prop_assert_eq!(plan.handle_failure(), retry_after(failures));
                    asked = None;
                }
            }
            let target = plan.request().target();
            let expected = match asked {
                Some(index) => format!("/v1/kv/k?index={index}"),
                None => "/v1/kv/k".to_owned(),
            };
            prop_assert_eq!(target, expected);
        }
    }
}
