//! Stories, station by station, from facts that no agent is needed for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use checks::status::definition::Origin;
use domains::kv::Around;
use types::Index;
use types::catalog::{CheckServiceNode, Node, NodeService};
use types::check::{HealthCheck, Status};
use types::explain::{Explanation, Visible};
use types::kv::KvEntry;
use types::session::Session;

use super::dns::Asked;
use super::service::{Facts, Question};
use super::{key, service};
use crate::local::report::{LocalReport, ServiceReport, Told};
use crate::local::trouble::Trouble;

fn instance(id: &str, tags: &[&str]) -> Arc<NodeService> {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Arc::new(NodeService { id: id.into(), service: "web".into(), tags, ..NodeService::default() })
}

fn check(id: &str, service: &str, status: Status) -> Arc<HealthCheck> {
    Arc::new(HealthCheck {
        check_id: id.into(),
        service_id: service.into(),
        status,
        output: "dial tcp: refused".to_owned(),
        ..HealthCheck::default()
    })
}

fn row(id: &str, tags: &[&str], checks: &[(&str, Status)]) -> CheckServiceNode {
    CheckServiceNode {
        node: Arc::new(Node { node: "n1".into(), address: "10.0.0.1".into(), ..Node::default() }),
        service: instance(id, tags),
        checks: checks.iter().map(|(name, status)| check(name, id, status.clone())).collect(),
    }
}

fn report(services: &[(&str, Told)]) -> LocalReport {
    let services = services.iter().map(|(id, told)| ServiceReport {
        service: instance(id, &[]),
        origin: Origin::Api,
        checks: Vec::new(),
        told: told.clone(),
    });
    LocalReport {
        node: "n1".into(),
        services: services.collect(),
        unread: None,
        next_full: Duration::from_secs(40),
    }
}

fn facts(local: LocalReport, catalog: Vec<CheckServiceNode>) -> Facts {
    Facts {
        question: Question { name: "web".to_owned(), ..Question::default() },
        local: Ok(local),
        readable: Ok(()),
        hidden: false,
        catalog: Ok(catalog),
        filtered: Ok(BTreeSet::new()),
        similar: Vec::new(),
        dns: Some(Asked {
            name: "web.service.consul.".to_owned(),
            record_type: ::dns::RecordType::SRV,
            rcode: "NOERROR".to_owned(),
            truncated: false,
            records: vec!["web.service.consul. 0 SRV 1 1 80 n1.node.consul.".to_owned()],
        }),
    }
}

/// `registration:ok sync:stop …`.
fn path(told: &Explanation) -> String {
    let finding = |step: &types::explain::Step| {
        let finding = serde_json::to_string(&step.finding).expect("a word");
        format!("{}:{}", step.station, finding.trim_matches('"'))
    };
    told.steps.iter().map(finding).collect::<Vec<_>>().join(" ")
}

fn details(told: &Explanation) -> String {
    told.steps.iter().flat_map(|step| step.details.clone()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_healthy_service_passes_all_stations_and_nothing_is_advised() {
    let told = service::explain(&facts(
        report(&[("web", Told::Yes)]),
        vec![row("web", &[], &[("alive", Status::Passing)])],
    ));
    assert_eq!(path(&told), "registration:ok sync:ok catalog:ok health:ok dns:ok");
    assert_eq!((told.visible, told.advice.len()), (Visible::Yes, 0));
}

#[test]
fn a_service_that_the_catalog_refused_stops_at_sync_with_the_reason() {
    let refused = Told::No(Trouble::Failed("rpc error: No cluster leader".to_owned()));
    let told = service::explain(&facts(report(&[("web", refused)]), Vec::new()));
    assert_eq!(path(&told), "registration:ok sync:stop catalog:stop");
    assert!(details(&told).contains("No cluster leader"));
    assert!(told.advice.iter().any(|advice| advice.contains("40 seconds")));
}

#[test]
fn a_service_whose_token_may_not_register_it_is_told_which_permission_it_lacks() {
    let blocked = Told::No(Trouble::Blocked);
    let told = service::explain(&facts(report(&[("web", blocked)]), Vec::new()));
    assert!(told.advice.iter().any(|advice| advice.contains("service:write")));
}

#[test]
fn critical_checks_hold_back_and_warnings_only_if_asked_for_passing() {
    let rows = || {
        vec![
            row("web-1", &[], &[("alive", Status::Critical)]),
            row("web-2", &[], &[("slow", Status::Warning)]),
            row("web-3", &[], &[("odd", Status::Other("odd".into()))]),
        ]
    };
    let mut asked = facts(report(&[]), rows());
    let told = service::explain(&asked);
    assert_eq!(told.visible, Visible::Partly);
    assert!(details(&told).contains("web-1 on n1: held back, check \"alive\" is critical"));
    assert!(details(&told).contains("web-2 on n1: still handed out"));
    assert!(details(&told).contains("web-3 on n1: still handed out"));
    asked.question.passing_only = true;
    assert_eq!(service::explain(&asked).visible, Visible::No);
}

#[test]
fn maintenance_mode_is_called_by_its_name() {
    let rows = vec![row("web", &[], &[("_service_maintenance:web", Status::Critical)])];
    let told = service::explain(&facts(report(&[]), rows));
    assert!(details(&told).contains("maintenance mode"));
    assert!(told.advice.iter().any(|advice| advice.contains("consul maint -disable")));
}

#[test]
fn a_tag_that_an_instance_lacks_is_told_with_those_it_has() {
    let mut asked = facts(report(&[]), vec![row("web", &["v1"], &[])]);
    asked.question.tags = vec!["v2".to_owned()];
    let told = service::explain(&asked);
    assert_eq!(told.visible, Visible::No);
    assert!(details(&told).contains("lacks the tag \"v2\"; it has v1"));
    asked.question.tags = vec!["V1".to_owned()];
    assert_eq!(service::explain(&asked).visible, Visible::Yes);
}

#[test]
fn an_instance_of_this_node_that_the_agent_does_not_run_will_be_removed() {
    let told = service::explain(&facts(report(&[]), vec![row("ghost", &[], &[])]));
    assert_eq!(path(&told), "registration:note catalog:ok sync:warning health:ok dns:ok");
}

#[test]
fn a_service_that_may_not_be_read_is_told_to_nobody() {
    let mut asked = facts(report(&[]), vec![row("web", &[], &[])]);
    asked.readable = Err("Permission denied: lacks permission 'service:read'".to_owned());
    let told = service::explain(&asked);
    assert_eq!(path(&told), "registration:note permission:stop");
    assert_eq!(told.visible, Visible::No);
}

#[test]
fn a_misspelt_service_leads_to_the_one_that_was_meant() {
    let mut asked = facts(report(&[]), Vec::new());
    asked.similar = vec!["webs".to_owned()];
    let told = service::explain(&asked);
    assert!(told.advice.iter().any(|advice| advice.contains("\"webs\" was meant")));
}

fn key_facts(entry: Option<KvEntry>) -> key::Facts {
    key::Facts {
        key: "app/leader".to_owned(),
        entry: Ok(entry.map(Arc::new)),
        around: Around::default(),
        session: None,
        session_checks: Vec::new(),
        lock_delay: None,
    }
}

#[test]
fn a_held_key_is_told_with_its_holder_and_what_ends_the_lock() {
    let entry = KvEntry { session: "s1".into(), lock_index: 2, ..KvEntry::default() };
    let mut asked = key_facts(Some(entry));
    asked.session = Some(Arc::new(Session {
        id: "s1".into(),
        name: "leader".to_owned(),
        node: "n1".into(),
        ttl: "10s".to_owned(),
        ..Session::default()
    }));
    asked.session_checks = vec![check("serfHealth", "", Status::Critical)];
    let told = key::explain(&asked);
    assert_eq!(path(&told), "store:ok lock:warning");
    assert!(details(&told).contains("renewed every 10 seconds"));
    assert!(details(&told).contains("\"serfHealth\", which is critical"));
}

#[test]
fn a_session_that_nothing_ends_is_pointed_out() {
    let entry = KvEntry { session: "s1".into(), ..KvEntry::default() };
    let mut asked = key_facts(Some(entry));
    asked.session = Some(Arc::new(Session { id: "s1".into(), ..Session::default() }));
    let told = key::explain(&asked);
    assert!(told.advice.iter().any(|advice| advice.contains("/v1/session/destroy/s1")));
}

#[test]
fn a_missing_key_is_told_with_what_is_near_and_why_it_cannot_be_locked() {
    let mut asked = key_facts(None);
    asked.around = Around {
        deleted_at: Some(Index(7)),
        below: vec!["app/leader/a".into()],
        below_count: 1,
        similar: vec!["app/Leader".into()],
    };
    asked.lock_delay = Some(Duration::from_secs(12));
    let told = key::explain(&asked);
    assert_eq!((path(&told).as_str(), told.visible), ("store:stop lock:warning", Visible::No));
    let details = details(&told);
    assert!(details.contains("deleted at index 7") && details.contains("app/leader/a"));
    assert!(told.advice.iter().any(|advice| advice.contains("\"app/Leader\" was meant")));
}
