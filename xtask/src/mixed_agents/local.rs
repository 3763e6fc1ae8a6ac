//! Services and checks of the agent, and what becomes of them while it or the servers are
//! away.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::walk::{ACROSS, SERVERS, SOON, Walk};

/// Where the service is that has an address of its own.
pub(super) const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

pub(super) fn services(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let register = "/v1/agent/service/register";
    let http = format!("http://{}/v1/agent/service/web-1", walk.across().http());
    for body in [
        json!({"ID": "web-1", "Name": "web", "Port": 80, "Tags": ["v1"], "Meta": {"a": "b"},
               "Address": SERVICE_ADDRESS.to_string(), "Weights": {"Passing": 2, "Warning": 1},
               "Check": {"CheckID": "web-ttl", "TTL": "600s", "Status": "passing"}}),
        // What nobody gave and what is given as nothing stay in sync both.
        json!({"Name": "bare"}),
        json!({"Name": "scripted", "Port": 81, "EnableTagOverride": true}),
        json!({"Name": "empty", "Tags": [], "Meta": {}, "TaggedAddresses": {}}),
    ] {
        walk.write(ACROSS, "PUT", register, &body)?;
    }
    for body in [
        json!({"ID": "script", "Name": "script", "Interval": "500ms", "ServiceID": "scripted",
               "Args": ["/bin/sh", "-c", "echo said; exit 1"]}),
        json!({"ID": "web-http", "Name": "http", "Interval": "500ms", "HTTP": http,
               "ServiceID": "web-1"}),
        json!({"ID": "nobody", "Name": "nobody", "Interval": "500ms", "TCP": "127.0.0.1:1"}),
    ] {
        walk.write(ACROSS, "PUT", "/v1/agent/check/register", &body)?;
    }
    for (check, status, output) in [
        ("web-ttl", "passing", ""),
        ("web-http", "passing", "200 OK"),
        ("script", "warning", "said"),
        // Output alone is told after `check_update_interval`.
        ("nobody", "critical", ""),
    ] {
        check_is(walk, check, status, output)?;
    }
    for (report, status) in [("warn", "warning"), ("fail", "critical"), ("pass", "passing")] {
        let note = format!("note-of-{report}");
        let target = format!("/v1/agent/check/{report}/web-ttl?note={note}");
        walk.write(ACROSS, "PUT", &target, &Value::Null)?;
        check_is(walk, "web-ttl", status, &note)?;
    }
    let maintenance = "/v1/agent/service/maintenance/bare?enable";
    walk.write(ACROSS, "PUT", &format!("{maintenance}=true&reason=works"), &Value::Null)?;
    check_is(walk, "_service_maintenance:bare", "critical", "")?;
    walk.write(ACROSS, "PUT", &format!("{maintenance}=false"), &Value::Null)?;
    walk.sees(0, "/v1/health/checks/bare", |checks| checks.as_array().is_some_and(Vec::is_empty))?;
    walk.write(ACROSS, "PUT", "/v1/agent/check/deregister/nobody", &Value::Null)?;
    walk.sees(0, "/v1/health/node/across", |checks| {
        checks.as_array().is_some_and(|checks| checks.iter().all(|c| c["CheckID"] != "nobody"))
    })?;
    walk.step("services and checks (TTL, HTTP, script, TCP, maintenance) reach the servers");
    Ok(())
}

fn check_is(walk: &mut Walk<'_>, check: &str, status: &str, output: &str) -> anyhow::Result<()> {
    walk.sees(0, "/v1/health/node/across", |checks| {
        checks.as_array().into_iter().flatten().any(|row| {
            row["CheckID"] == check
                && row["Status"] == status
                && row["Output"].as_str().is_some_and(|text| text.contains(output))
        })
    })?;
    Ok(())
}

/// The leader is killed: another one takes over, and the agent finds it.
pub(super) fn leader_lost(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let leader = walk.cluster.until_leader(SOON)?;
    walk.cluster.machines[leader].kill()?;
    walk.until("the agent writes again", |walk| {
        walk.across().must("PUT", "/v1/kv/walk/failover", b"done").map(drop)
    })?;
    walk.writes += 1;
    let name = format!("server{}", leader + 1);
    walk.member_is(ACROSS, &name, "failed")?;
    walk.cluster.machines[leader].start()?;
    walk.member_is(ACROSS, &name, "alive")?;
    walk.step("the leader was killed: the agent writes on through another server");
    Ok(())
}

/// All servers are away for a while. What is registered meanwhile gets to them when they are
/// back, what they forgot is told again, and what they know is left alone.
pub(super) fn servers_away(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let forgotten = json!({"Node": "across", "ServiceID": "bare"});
    walk.write(0, "PUT", "/v1/catalog/deregister", &forgotten)?;
    let before = indexes(walk)?;
    ensure!(before.len() > 4, "{before:?}");
    for server in 0..SERVERS {
        walk.cluster.machines[server].kill()?;
    }
    let service = json!({"Name": "offline", "Port": 90});
    walk.write(ACROSS, "PUT", "/v1/agent/service/register", &service)?;
    walk.write(ACROSS, "PUT", "/v1/agent/service/deregister/empty", &Value::Null)?;
    let refused = walk.across().ask("PUT", "/v1/kv/walk/nobody", b"")?;
    ensure!(refused.status == 500, "{} {}", refused.status, refused.text());
    for server in 0..SERVERS {
        walk.cluster.machines[server].start()?;
    }
    walk.cluster.until_leader(SOON)?;
    let target = "/v1/catalog/node/across";
    walk.sees(0, target, |node| {
        let services = &node["Services"];
        services["offline"].is_object()
            && services["bare"].is_object()
            && services["empty"].is_null()
    })?;
    walk.sees(ACROSS, target, |node| node["Services"]["offline"].is_object())?;
    let after = indexes(walk)?;
    for (name, index) in before.iter().filter(|(name, _)| name != "empty") {
        let now = after.iter().find(|(other, _)| other == name);
        ensure!(
            now.is_some_and(|(_, now)| now == index) || name == "serfHealth",
            "{name} was in sync at {index}, and was written again: {now:?}"
        );
    }
    walk.step("all servers were away: what changed meanwhile is synced, and nothing else");
    Ok(())
}

/// The services and checks of the agent with the index of their last change.
fn indexes(walk: &Walk<'_>) -> anyhow::Result<Vec<(String, u64)>> {
    let node = walk.machine(0).json("/v1/catalog/node/across")?;
    let checks = walk.machine(0).json("/v1/health/node/across")?;
    let services = node["Services"].as_object().context("no services")?.values();
    let rows = services.chain(checks.as_array().into_iter().flatten());
    let named = rows.map(|row| {
        let name = row.get("CheckID").or_else(|| row.get("ID")).and_then(Value::as_str);
        (name.unwrap_or_default().to_owned(), row["ModifyIndex"].as_u64().unwrap_or_default())
    });
    Ok(named.filter(|(name, _)| name != "bare").collect())
}

/// The agent leaves, and comes back with what it had.
pub(super) fn leave_and_return(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let across = &mut walk.cluster.machines[ACROSS];
    across.command(&["leave"])?;
    across.until_ended(SOON)?;
    let twin = walk.twin;
    walk.member_is(twin, "across", "left")?;
    walk.sees(twin, "/v1/catalog/nodes", |nodes| {
        nodes.as_array().is_some_and(|nodes| nodes.iter().all(|node| node["Node"] != "across"))
    })?;
    walk.cluster.machines[ACROSS].start()?;
    walk.member_is(twin, "across", "alive")?;
    returned(walk)?;
    walk.step("the agent left, its node was gone, and it came back with its services");
    Ok(())
}

/// The agent is lost, given up, and comes back; its sessions do not.
pub(super) fn fail_and_return(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let twin = walk.twin;
    let session = walk.write(ACROSS, "PUT", "/v1/session/create", &json!({"Name": "lost"}))?;
    let session: Value = serde_json::from_slice(&session.body)?;
    let session = session["ID"].as_str().context("no session")?.to_owned();
    walk.verdict(ACROSS, &format!("/v1/kv/walk/lost?acquire={session}"), "held", true)?;
    walk.cluster.machines[ACROSS].kill()?;
    walk.member_is(twin, "across", "failed")?;
    walk.sees(twin, "/v1/health/node/across", |checks| {
        checks
            .as_array()
            .into_iter()
            .flatten()
            .any(|row| row["CheckID"] == "serfHealth" && row["Status"] == "critical")
    })?;
    walk.sees(twin, "/v1/kv/walk/lost", |rows| rows[0]["Session"].is_null())?;
    walk.cluster.machines[ACROSS].start()?;
    walk.member_is(twin, "across", "alive")?;
    returned(walk)?;
    walk.cluster.machines[ACROSS].kill()?;
    walk.member_is(twin, "across", "failed")?;
    walk.machine(twin).command(&["force-leave", "across"])?;
    walk.member_is(0, "across", "left")?;
    walk.cluster.machines[ACROSS].start()?;
    walk.member_is(twin, "across", "alive")?;
    returned(walk)?;

    // The same with the roles changed: the agent across sees one of the others go.
    walk.cluster.machines[twin].signal(Signal::KILL)?;
    walk.cluster.machines[twin].until_ended(SOON)?;
    walk.member_is(ACROSS, "twin", "failed")?;
    walk.across().command(&["force-leave", "twin"])?;
    walk.member_is(ACROSS, "twin", "left")?;
    walk.member_is(0, "twin", "left")?;
    walk.cluster.machines[twin].start()?;
    walk.member_is(ACROSS, "twin", "alive")?;
    walk.step("agents of both kinds failed, were given up, and came back; a session was lost");
    Ok(())
}

/// The node is healthy and has its services and checks.
fn returned(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    walk.sees(0, "/v1/health/node/across", |checks| {
        let checks = checks.as_array().map(Vec::as_slice).unwrap_or_default();
        let is = |id, status| checks.iter().any(|c| c["CheckID"] == id && c["Status"] == status);
        is("serfHealth", "passing") && is("web-http", "passing") && is("script", "warning")
    })?;
    // A TTL starts over where an agent does.
    walk.write(ACROSS, "PUT", "/v1/agent/check/pass/web-ttl", &Value::Null)?;
    walk.sees(0, "/v1/health/service/web?passing", |rows| {
        rows.as_array().is_some_and(|rows| rows.len() == 1)
    })?;
    Ok(())
}
