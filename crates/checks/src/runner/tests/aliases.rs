//! Alias checks, against a source that the test drives.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::watch;
use types::Index;
use types::check::HealthCheck;

use super::*;
use crate::runner::Runner;
use crate::runner::alias::{AliasAnswer, AliasFailure, AliasQuery, AliasSource, AliasState};

/// A local state: its index is the version of the watch.
struct Local(watch::Receiver<AliasState>);

impl AliasSource for Local {
    fn fetch<'a>(&'a self, query: AliasQuery<'a>) -> AliasAnswer<'a> {
        assert!(query.node.is_none());
        assert_eq!(query.service.as_str(), "web");
        Box::pin(async move {
            let mut receiver = self.0.clone();
            let newer = receiver.wait_for(|state| state.index > query.newer_than);
            Ok(newer.await.map_err(|_| AliasFailure("gone".into()))?.clone())
        })
    }
}

fn state(index: u64, status: Status) -> AliasState {
    let check = HealthCheck {
        name: "http".into(),
        service_id: "web".into(),
        status,
        output: "down".into(),
        ..HealthCheck::default()
    };
    AliasState { service_found: true, checks: vec![check], index: Index(index) }
}

#[tokio::test]
async fn an_alias_follows_the_checks_of_its_service() {
    let (reporter, mut seen) = reports();
    let (sender, receiver) = watch::channel(state(1, Status::Passing));
    let runner = Runner::new(Settings::default(), reporter, Arc::new(Local(receiver)));
    let alias = definition(r#"{"CheckID":"al","AliasService":"web"}"#);
    let handle = runner.start(&alias, "", &mut fastrand::Rng::with_seed(1)).unwrap();
    let expect = |status, output: &str| (CheckId::from("al"), status, output.to_owned());
    let first = within(seen.recv()).await.unwrap();
    assert_eq!(first, expect(Status::Passing, "All checks passing."));
    // A change that changes nothing for the alias is not reported.
    sender.send(state(2, Status::Passing)).unwrap();
    sender.send(state(3, Status::Critical)).unwrap();
    let second = within(seen.recv()).await.unwrap();
    assert_eq!(second, expect(Status::Critical, "Aliased check \"http\" failing: down"));
    sender
        .send(AliasState { service_found: false, index: Index(4), ..state(4, Status::Passing) })
        .unwrap();
    let third = within(seen.recv()).await.unwrap();
    assert_eq!(third, expect(Status::Critical, "Service web could not be found on node "));
    within(handle.stop()).await;
    assert!(seen.try_recv().is_err());
}

/// A source that fails three times and then answers, and keeps what it was asked.
struct Remote(Mutex<u32>);

impl AliasSource for Remote {
    fn fetch<'a>(&'a self, query: AliasQuery<'a>) -> AliasAnswer<'a> {
        assert_eq!(query.node.unwrap().as_str(), "n2");
        let mut calls = self.0.lock().unwrap();
        *calls += 1;
        let call = *calls;
        Box::pin(async move {
            match call {
                1..=3 => Err(AliasFailure("No cluster leader".into())),
                4 => Ok(state(7, Status::Warning)),
                _ => std::future::pending().await,
            }
        })
    }
}

#[tokio::test]
async fn an_alias_of_another_node_tells_failures_from_the_second_on() {
    let (reporter, mut seen) = reports();
    let runner = Runner::new(Settings::default(), reporter, Arc::new(Remote(Mutex::new(0))));
    let alias = definition(r#"{"CheckID":"al","AliasService":"web","AliasNode":"n2"}"#);
    let _handle = runner.start(&alias, "", &mut fastrand::Rng::with_seed(1)).unwrap();
    let first = within(seen.recv()).await.unwrap();
    assert_eq!(first.2, "Failure checking aliased node or service: No cluster leader");
    let second = within(seen.recv()).await.unwrap();
    assert_eq!(
        (second.1, second.2.as_str()),
        (Status::Warning, "Aliased check \"http\" failing: down")
    );
}
