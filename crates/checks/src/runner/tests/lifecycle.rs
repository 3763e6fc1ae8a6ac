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
