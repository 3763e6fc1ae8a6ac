//! Questions that an agent across answers as one of the servers' own kind does.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use domain::base::Rtype;
use domain::base::iana::Rcode;
use serde_json::Value;

use super::dns;
use super::local::SERVICE_ADDRESS;
use super::walk::{ACROSS, Walk};
use crate::snapshot_interop::agrees;

/// How long two agents may answer differently.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked over HTTP; what one of the versions does not know of an answer is not
/// compared.
const ASKED: &[&str] = &[
    "/v1/status/leader",
    "/v1/status/peers",
    "/v1/catalog/datacenters",
    "/v1/catalog/nodes",
    "/v1/catalog/nodes?node-meta=nobody:has",
    "/v1/catalog/nodes?filter=Node==across",
    "/v1/catalog/services",
    "/v1/catalog/service/web",
    "/v1/catalog/service/web?tag=v1",
    "/v1/catalog/service/nothing",
    "/v1/catalog/node/across",
    "/v1/catalog/node/nothing",
    "/v1/catalog/node-services/across",
    "/v1/catalog/connect/web",
    "/v1/health/node/across",
    "/v1/health/checks/web",
    "/v1/health/service/web",
    "/v1/health/service/web?passing",
    "/v1/health/service/web?stale",
    "/v1/health/service/web?consistent",
    "/v1/health/service/web?near=across",
    "/v1/health/service/web?cached",
    "/v1/health/connect/web",
    "/v1/health/state/any",
    "/v1/health/state/warning",
    "/v1/kv/walk?recurse",
    "/v1/kv/walk?keys",
    "/v1/kv/walk?keys&separator=/",
    "/v1/kv/walk/a",
    "/v1/kv/walk/a?raw",
    "/v1/kv/nothing",
    "/v1/session/list",
    "/v1/session/node/across",
    "/v1/query",
    "/v1/query/find-web/execute",
    "/v1/query/find-web/execute?near=across",
    "/v1/query/nothing/execute",
    "/v1/operator/raft/configuration",
    "/v1/operator/autopilot/configuration",
    "/v1/connect/ca/roots",
    "/v1/internal/ui/services",
    "/v1/internal/ui/nodes",
    "/v1/internal/ui/node/across",
    "/v1/agent/members",
    "/v1/health/state/nothing",
    "/v1/nothing",
];

/// Compares the answers of both client agents, and tells of all that differ.
pub(super) fn compare(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let mut differences = Vec::new();
    for target in ASKED {
        // What was written lately may be at one of the servers and not yet at another.
        let settled = walk.within(PATIENCE, target, |walk| same_answers(walk, target));
        differences.extend(settled.err().map(|error| format!("{error:#}")));
    }
    let names = names(walk);
    for (name, kind, is_found) in &names {
        let what = format!("{name} {kind}");
        let settled = walk.within(PATIENCE, &what, |walk| same_names(walk, name, *kind, *is_found));
        differences.extend(settled.err().map(|error| format!("{error:#}")));
    }
    ensure!(differences.is_empty(), "the answers differ:\n{}", differences.join("\n"));
    let count = ASKED.len() + names.len();
    walk.compared += count;
    walk.step(&format!("{count} questions are answered as by an agent of the servers' kind"));
    Ok(())
}

fn same_answers(walk: &Walk<'_>, target: &str) -> anyhow::Result<()> {
    let expected = walk.machine(walk.twin).ask("GET", target, b"")?;
    let found = walk.across().ask("GET", target, b"")?;
    ensure!(
        expected.status == found.status,
        "{} {} is not {} {}",
        expected.status,
        expected.text(),
        found.status,
        found.text()
    );
    if expected.status != 200 {
        // Texts for people may be better than they were.
        return Ok(());
    }
    if target.ends_with("?raw") {
        ensure!(expected.body == found.body, "{} is not {}", expected.text(), found.text());
        return Ok(());
    }
    let (mut expected, mut found): (Value, Value) =
        (serde_json::from_slice(&expected.body)?, serde_json::from_slice(&found.body)?);
    for value in [&mut expected, &mut found] {
        // Lists of servers and of members have no order.
        if let Value::Array(rows) = value
            && (target == "/v1/agent/members" || rows.iter().all(Value::is_string))
        {
            rows.sort_by_cached_key(|row| (row["Name"].to_string(), row.to_string()));
        }
    }
    agrees(&expected, &found)
}

/// Names, with whether there is anything.
fn names(walk: &Walk<'_>) -> Vec<(String, Rtype, bool)> {
    let reverse = |address: Ipv4Addr| {
        let [a, b, c, d] = address.octets();
        format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
    };
    let node = reverse(walk.across().host.address);
    let service = reverse(SERVICE_ADDRESS);
    [
        ("across.node.consul.", Rtype::A, true),
        ("across.node.dc1.consul.", Rtype::A, true),
        ("web.service.consul.", Rtype::A, true),
        ("web.service.consul.", Rtype::SRV, true),
        ("v1.web.service.consul.", Rtype::A, true),
        ("v2.web.service.consul.", Rtype::A, false),
        ("_web._v1.service.consul.", Rtype::SRV, true),
        ("consul.service.consul.", Rtype::A, true),
        ("find-web.query.consul.", Rtype::SRV, true),
        ("nothing.service.consul.", Rtype::A, false),
        (&node, Rtype::PTR, true),
        (&service, Rtype::PTR, true),
    ]
    .map(|(name, kind, is_found)| (name.to_owned(), kind, is_found))
    .to_vec()
}

fn same_names(walk: &Walk<'_>, name: &str, kind: Rtype, is_found: bool) -> anyhow::Result<()> {
    let expected = dns::ask(walk.dns(walk.twin), name, kind)?;
    let found = dns::ask(walk.dns(ACROSS), name, kind)?;
    let is_there = found.rcode == Rcode::NOERROR && !found.answers.is_empty();
    ensure!(is_there == is_found, "{found:?}");
    ensure!(
        expected.rcode == found.rcode && expected.answers == found.answers,
        "{expected:?} is not {found:?}"
    );
    Ok(())
}
