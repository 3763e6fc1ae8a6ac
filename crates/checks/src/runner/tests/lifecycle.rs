//! Starting, scheduling and stopping checks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::*;
use crate::runner::alias::NoAliases;
use crate::runner::{Polling, Run, Runner, StartError, random_below};
use crate::status::Thresholds;

fn runner(reporter: Arc<Reports>) -> Runner {
    Runner::new(Settings::default(), reporter, Arc::new(NoAliases))
}

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

#[tokio::test(start_paused = true)]
async fn runs_start_after_a_delay_and_an_interval_after_the_end_of_the_one_before() {
    let (reporter, mut seen) = reports();
    let polling = Polling {
        check_id: "c".into(),
        thresholds: Thresholds::new(&CheckDefinition::default()),
        reporter,
    };
    let start = Instant::now();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let kept = starts.clone();
    let ask = move || -> Run {
        kept.lock().unwrap().push(start.elapsed().as_secs());
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Observation::counted(Outcome::passing("fine"))
        })
    };
    let task = tokio::spawn(polling.run(Duration::from_secs(2), Duration::from_secs(10), ask));
    for _ in 0..3 {
        assert_eq!(seen.recv().await.unwrap(), ("c".into(), Status::Passing, "fine".into()));
    }
    task.abort();
    assert_eq!(*starts.lock().unwrap(), [2, 15, 28]);
}

#[test]
fn the_first_delay_is_below_the_interval() {
    let mut rng = rng();
    for _ in 0..1000 {
        assert!(random_below(Duration::from_nanos(3), &mut rng) < Duration::from_nanos(3));
    }
    assert_eq!(random_below(Duration::ZERO, &mut rng), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn thresholds_hold_results_back_but_not_those_that_bypass_them() {
    let (reporter, mut seen) = reports();
    let polling = Polling {
        check_id: "c".into(),
        thresholds: Thresholds::new(&definition(
            r#"{"FailuresBeforeWarning":2,"FailuresBeforeCritical":3}"#,
        )),
        reporter,
    };
    let count = Arc::new(AtomicUsize::new(0));
    let ask = move || -> Run {
        let run = count.fetch_add(1, Ordering::Relaxed);
        let outcome = Outcome::new(
            if run == 0 { Status::Passing } else { Status::Critical },
            format!("run {run}"),
        );
        let observation = match run {
            4 => Observation::immediate(Outcome::critical("late")),
            _ => Observation::counted(outcome),
        };
        Box::pin(async { observation })
    };
    let task = tokio::spawn(polling.run(Duration::ZERO, Duration::from_secs(1), ask));
    let expect = [
        (Status::Passing, "run 0"),
        (Status::Warning, "run 2"),
        (Status::Critical, "run 3"),
        (Status::Critical, "late"),
    ];
    for (status, output) in expect {
        assert_eq!(seen.recv().await.unwrap(), ("c".into(), status, output.into()));
    }
    task.abort();
}

/// Writes each event as `LEVEL target: message field=value …`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String, String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "message" => self.0 = format!("{value:?}"),
                    name => self.1.push_str(&format!(" {name}={value:?}")),
                }
            }
        }
        let mut fields = Fields(String::new(), String::new());
        event.record(&mut fields);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let line = format!("{level} {target}: {}{}", fields.0, fields.1);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn results_are_logged_in_the_words_of_the_reference() {
    let (reporter, _seen) = reports();
    let mut polling = Polling {
        check_id: "c".into(),
        thresholds: Thresholds::new(&definition(
            r#"{"SuccessBeforePassing":2,"FailuresBeforeWarning":2,"FailuresBeforeCritical":3}"#,
        )),
        reporter,
    };
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        for status in [Status::Passing, Status::Critical, Status::Critical, Status::Critical] {
            polling.handle_observation(Observation::counted(Outcome::new(status, "text")));
        }
        polling.handle_observation(Observation::counted(Outcome::new(Status::Warning, "text")));
    });
    let lines = lines.0.lock().unwrap();
    let told: Vec<_> = lines.iter().filter(|line| !line.starts_with("TRACE")).collect();
    let expect = [
        "DEBUG agent: Check status updated check=c status=passing",
        "WARN agent: Check failed but has not reached warning/failure threshold check=c \
         status=critical failure_count=1 warning_threshold=2 failure_threshold=3",
        "WARN agent: Check is now warning check=c",
        "WARN agent: Check is now critical check=c",
        "WARN agent: Check passed but has not reached success threshold check=c status=warning \
         success_count=1 success_threshold=2",
    ];
    assert_eq!(told, expect);
    assert_eq!(lines[0], "TRACE agent: Check output check=c output=text");
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_is_told_its_status_and_expires() {
    let (reporter, mut seen) = reports();
    let ttl = definition(r#"{"CheckID":"t","TTL":"10s","OutputMaxSize":4}"#);
    let handle = runner(reporter).start(&ttl, "before", &mut rng()).unwrap();
    let start = Instant::now();
    handle.pass("abcdef").await.unwrap();
    let told = seen.try_recv().expect("an update is reported when it returns");
    assert_eq!(told, ("t".into(), Status::Passing, "abcd ... (captured 4 of 6 bytes)".into()));
    handle.warn("hm").await.unwrap();
    assert_eq!(seen.try_recv().unwrap().1, Status::Warning);
    handle.fail("no").await.unwrap();
    assert_eq!(seen.try_recv().unwrap().1, Status::Critical);
    let expired = seen.recv().await.unwrap();
    assert_eq!(expired.2, "TTL expired (last output before timeout follows): no");
    assert_eq!(start.elapsed().as_secs(), 10);
    let updates = handle.updates().unwrap();
    handle.stop().await;
    updates.update(Status::Passing, "too late").await;
    assert!(seen.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_that_is_told_nothing_expires_with_what_it_showed_before() {
    let (reporter, mut seen) = reports();
    let ttl = definition(r#"{"CheckID":"t","TTL":"10s"}"#);
    let _handle = runner(reporter).start(&ttl, "restored", &mut rng()).unwrap();
    let expired = seen.recv().await.unwrap();
    assert_eq!(expired.2, "TTL expired (last output before timeout follows): restored");
}

#[tokio::test]
async fn only_a_ttl_check_can_be_told_its_status() {
    let (reporter, _seen) = reports();
    let tcp = definition(r#"{"CheckID":"x","TCP":"127.0.0.1:1","Interval":"1h"}"#);
    let handle = runner(reporter).start(&tcp, "", &mut rng()).unwrap();
    let error = handle.pass("").await.unwrap_err();
    assert_eq!(error.to_string(), "CheckID \"x\" does not have associated TTL");
}

#[tokio::test]
async fn definitions_that_cannot_run_are_refused() {
    let (reporter, _seen) = reports();
    let runner = runner(reporter);
    let start = |text: &str| runner.start(&definition(text), "", &mut rng()).map(|_| ());
    let windows = start(r#"{"OSService":"nosuch","Interval":"5s"}"#).unwrap_err();
    assert_eq!(windows, StartError::NotImplemented);
    assert_eq!(windows.to_string(), "not implemented");
    let nothing = start(r#"{"Interval":"5s"}"#).unwrap_err();
    assert_eq!(nothing.to_string(), "Check type is not valid");
}

#[tokio::test]
async fn stopping_a_check_kills_its_program() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (reporter, mut seen) = reports();
    let settings =
        Settings { interval_min: types::GoDuration::from_millis(1), ..Settings::default() };
    let runner = Runner::new(settings, reporter, Arc::new(NoAliases));
    let script = CheckDefinition {
        script_args: ["/bin/sh", "-c", &format!("exec 3>{}; exec sleep 600", fifo.display())]
            .map(str::to_owned)
            .to_vec(),
        interval: types::GoDuration::from_millis(1),
        ..definition(r#"{"CheckID":"s"}"#)
    };
    let handle = runner.start(&script, "", &mut rng()).unwrap();
    // Opening waits for the script to have the other end; it ends with the script.
    let opened = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
    let mut file = within(opened).await.unwrap();
    within(handle.stop()).await;
    let ended = tokio::task::spawn_blocking(move || std::io::Read::read(&mut file, &mut [0; 1]));
    assert_eq!(within(ended).await.unwrap().unwrap(), 0);
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_started_check_runs_again_and_again() {
    let address = listen(|_stream| async {}).await;
    let (reporter, mut seen) = reports();
    let settings =
        Settings { interval_min: types::GoDuration::from_millis(1), ..Settings::default() };
    let runner = Runner::new(settings, reporter, Arc::new(NoAliases));
    let text = format!(r#"{{"CheckID":"t","TCP":"{address}","Interval":"1ms"}}"#);
    let handle = runner.start(&definition(&text), "", &mut rng()).unwrap();
    for _ in 0..3 {
        assert_eq!(within(seen.recv()).await.unwrap().1, Status::Passing);
    }
    within(handle.stop()).await;
}

#[tokio::test]
async fn a_check_that_sleeps_is_small_and_a_thousand_stop_at_once() {
    let (reporter, mut seen) = reports();
    let polling = Polling {
        check_id: "c".into(),
        thresholds: Thresholds::new(&CheckDefinition::default()),
        reporter: reporter.clone(),
    };
    let ask = || -> Run { Box::pin(std::future::pending()) };
    let future = polling.run(Duration::ZERO, Duration::ZERO, ask);
    assert!(size_of_val(&future) <= 512, "{} bytes", size_of_val(&future));
    drop(future);
    let runner = runner(reporter);
    let mut rng = rng();
    let handles: Vec<_> = (0..1000)
        .map(|number| {
            let text = format!(
                r#"{{"CheckID":"{number}","HTTP":"http://127.0.0.1:1/","Interval":"1000h"}}"#
            );
            runner.start(&definition(&text), "", &mut rng).unwrap()
        })
        .collect();
    for handle in handles {
        within(handle.stop()).await;
    }
    assert!(seen.try_recv().is_err());
}
