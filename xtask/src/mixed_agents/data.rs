//! What applications do through an agent: keys, locks, events, prepared queries.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::walk::{ACROSS, SERVERS, Walk};

pub(super) fn keys(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let twin = walk.twin;
    for (writer, reader) in [(ACROSS, 0), (ACROSS, twin), (0, ACROSS), (twin, ACROSS)] {
        let key = format!("/v1/kv/walk/from{writer}to{reader}");
        walk.verdict(writer, &format!("{key}?flags=7"), "hello", true)?;
        walk.sees(reader, &key, |rows| {
            rows[0]["Value"] == STANDARD.encode("hello") && rows[0]["Flags"] == 7
        })?;
    }
    walk.verdict(ACROSS, "/v1/kv/walk/a?cas=0", "one", true)?;
    walk.verdict(ACROSS, "/v1/kv/walk/a?cas=0", "two", false)?;
    let index = index_of(walk, "/v1/kv/walk/a")?;
    walk.verdict(twin, &format!("/v1/kv/walk/a?cas={index}"), "two", true)?;
    walk.verdict(ACROSS, &format!("/v1/kv/walk/a?cas={index}"), "three", false)?;
    let index = index_of(walk, "/v1/kv/walk/a")?;
    walk.verdict(ACROSS, &format!("/v1/kv/walk/a?cas={index}"), "three", true)?;

    for number in 0..20 {
        walk.verdict(ACROSS, &format!("/v1/kv/walk/many/{number}"), &number.to_string(), true)?;
    }
    walk.write(ACROSS, "DELETE", "/v1/kv/walk/many/1?recurse", &Value::Null)?;
    let keys = walk.sees(ACROSS, "/v1/kv/walk/many/?keys&consistent", |keys| keys.is_array())?;
    ensure!(keys.as_array().is_some_and(|keys| keys.len() == 9), "{keys}");

    // More than one packet, and more than one frame.
    let large: String = (0..400_000).map(|_| fastrand::alphanumeric()).collect();
    walk.verdict(ACROSS, "/v1/kv/walk/large", &large, true)?;
    for machine in [ACROSS, twin] {
        let read = walk.machine(machine).must("GET", "/v1/kv/walk/large?raw&consistent", b"")?;
        ensure!(read.text() == large, "the large value is another");
    }
    walk.write(ACROSS, "DELETE", "/v1/kv/walk/large", &Value::Null)?;

    let value = STANDARD.encode("in a transaction");
    let written = walk.write(
        ACROSS,
        "PUT",
        "/v1/txn",
        &json!([{"KV": {"Verb": "set", "Key": "walk/txn", "Value": value}},
                {"KV": {"Verb": "get", "Key": "walk/a"}}]),
    )?;
    let rows: Value = serde_json::from_slice(&written.body)?;
    ensure!(rows["Results"].as_array().is_some_and(|rows| rows.len() == 2), "{rows}");
    let refused = walk.across().ask(
        "PUT",
        "/v1/txn",
        br#"[{"KV": {"Verb": "check-index", "Key": "walk/a", "Index": 1}}]"#,
    )?;
    ensure!(refused.status == 409, "{} {}", refused.status, refused.text());
    walk.step("keys: reads, writes, check-and-set, lists, a large value, transactions");
    Ok(())
}

fn index_of(walk: &Walk<'_>, target: &str) -> anyhow::Result<u64> {
    let rows = walk.across().json(&format!("{target}?consistent"))?;
    rows[0]["ModifyIndex"].as_u64().with_context(|| rows.to_string())
}

/// Whoever waits for a change hears of it, wherever it was made.
pub(super) fn wake_ups(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let twin = walk.twin;
    for (waiter, writer) in [(ACROSS, twin), (twin, ACROSS), (ACROSS, ACROSS), (0, ACROSS)] {
        let value = format!("by{writer}for{waiter}");
        let answer = walk.wakes(waiter, "/v1/kv/walk/a", |walk| {
            walk.verdict(writer, "/v1/kv/walk/a", &value, true)
        })?;
        let rows: Value = serde_json::from_slice(&answer.body)?;
        ensure!(rows[0]["Value"] == STANDARD.encode(&value), "{rows}");
    }
    // A key that is not there yet, and a prefix that loses one.
    walk.wakes(ACROSS, "/v1/kv/walk/soon", |walk| {
        walk.verdict(twin, "/v1/kv/walk/soon", "now", true)
    })?;
    walk.wakes(ACROSS, "/v1/kv/walk/many/?keys", |walk| {
        walk.write(twin, "DELETE", "/v1/kv/walk/many/2", &Value::Null).map(drop)
    })?;
    let external =
        json!({"Node": "external", "Address": "10.1.1.1", "Service": {"Service": "ext"}});
    for target in ["/v1/health/service/ext", "/v1/catalog/service/ext2"] {
        walk.wakes(ACROSS, target, |walk| {
            let mut external = external.clone();
            external["Service"]["Service"] = target.rsplit('/').next().into();
            walk.write(twin, "PUT", "/v1/catalog/register", &external).map(drop)
        })?;
    }
    walk.wakes(ACROSS, "/v1/catalog/nodes", |walk| {
        walk.write(ACROSS, "PUT", "/v1/catalog/deregister", &json!({"Node": "external"})).map(drop)
    })?;
    walk.step("blocking queries wake across agents: keys, prefixes, services, nodes");
    Ok(())
}

/// Sessions, locks on keys, and `consul lock`.
pub(super) fn sessions(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let twin = walk.twin;
    let create = |walk: &mut Walk<'_>, machine: usize, body: &Value| -> anyhow::Result<String> {
        let answer = walk.write(machine, "PUT", "/v1/session/create", body)?;
        let answer: Value = serde_json::from_slice(&answer.body)?;
        answer["ID"].as_str().map(str::to_owned).context("no session")
    };
    let own = create(walk, ACROSS, &json!({"Name": "own", "TTL": "300s", "LockDelay": "0s"}))?;
    let other = create(walk, twin, &json!({"Name": "other", "LockDelay": "0s"}))?;
    let lock = "/v1/kv/walk/lock";
    walk.verdict(ACROSS, &format!("{lock}?acquire={own}"), "mine", true)?;
    walk.verdict(twin, &format!("{lock}?acquire={other}"), "mine too", false)?;
    walk.verdict(ACROSS, &format!("{lock}?release={other}"), "", false)?;
    walk.wakes(twin, lock, |walk| {
        walk.verdict(ACROSS, &format!("{lock}?release={own}"), "free", true)
    })?;
    walk.verdict(twin, &format!("{lock}?acquire={other}"), "theirs", true)?;
    walk.write(ACROSS, "PUT", &format!("/v1/session/renew/{own}"), &Value::Null)?;
    // Who destroys a session frees what it holds.
    walk.write(ACROSS, "PUT", &format!("/v1/session/destroy/{other}"), &Value::Null)?;
    walk.sees(ACROSS, lock, |rows| rows[0]["Session"].is_null())?;

    // A check that fails takes its sessions with it.
    let bound = json!({"Name": "bound", "LockDelay": "0s", "Behavior": "delete",
                       "Checks": ["serfHealth", "web-ttl"]});
    let bound = create(walk, ACROSS, &bound)?;
    walk.verdict(ACROSS, &format!("{lock}/bound?acquire={bound}"), "held", true)?;
    walk.wakes(twin, &format!("{lock}/bound"), |walk| {
        walk.write(ACROSS, "PUT", "/v1/agent/check/fail/web-ttl?note=gone", &Value::Null).map(drop)
    })?;
    let gone = walk.machine(twin).ask("GET", &format!("{lock}/bound?consistent"), b"")?;
    ensure!(gone.status == 404, "the key outlived the check: {}", gone.text());
    walk.write(ACROSS, "PUT", "/v1/agent/check/pass/web-ttl?note=back", &Value::Null)?;
    walk.sees(0, "/v1/health/checks/web", |checks| {
        checks.as_array().is_some_and(|checks| checks.iter().all(|c| c["Status"] == "passing"))
    })?;

    // The session of an agent that is lost is not told of here: see what fails.
    for (machine, kind) in [(ACROSS, "own"), (twin, "other")] {
        for limit in ["-n=1", "-n=2"] {
            walk.machine(machine).command(&[
                "lock",
                limit,
                &format!("walk/{kind}{limit}"),
                "true",
            ])?;
        }
    }
    walk.step("sessions and locks: contended, released, renewed, destroyed, lost with a check");
    Ok(())
}

/// User events of each side are listed by the other.
pub(super) fn events(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let twin = walk.twin;
    for (from, to) in [(ACROSS, twin), (ACROSS, 0), (twin, ACROSS), (SERVERS - 1, ACROSS)] {
        let name = format!("deploy-{from}-{to}");
        walk.machine(from).command(&["event", &format!("-name={name}"), "version 2"])?;
        walk.writes += 1;
        walk.sees(to, &format!("/v1/event/list?name={name}"), |events| {
            events.as_array().is_some_and(|events| events.len() == 1)
                && events[0]["Payload"] == STANDARD.encode("version 2")
        })?;
    }
    walk.step("events reach the other kind, once");
    Ok(())
}

pub(super) fn prepared_queries(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    let twin = walk.twin;
    let query = json!({"Name": "find-web", "Service": {"Service": "web", "OnlyPassing": true,
                       "Tags": ["v1"]}, "DNS": {"TTL": "10s"}});
    let made = walk.write(ACROSS, "POST", "/v1/query", &query)?;
    let made: Value = serde_json::from_slice(&made.body)?;
    let id = made["ID"].as_str().context("no id")?.to_owned();
    for machine in [ACROSS, twin, 0] {
        walk.sees(machine, "/v1/query/find-web/execute", |found| {
            found["Nodes"].as_array().is_some_and(|nodes| nodes.len() == 1)
                && found["Nodes"][0]["Node"]["Node"] == "across"
        })?;
    }
    let template = json!({"Name": "tpl-", "Template": {"Type": "name_prefix_match"},
                          "Service": {"Service": "${name.suffix}"}});
    let made = walk.write(ACROSS, "POST", "/v1/query", &template)?;
    let made: Value = serde_json::from_slice(&made.body)?;
    let template = made["ID"].as_str().context("no id")?.to_owned();
    walk.sees(ACROSS, "/v1/query/tpl-web/execute", |found| found["Service"] == "web")?;
    let explained = walk.sees(ACROSS, "/v1/query/tpl-web/explain", |found| found.is_object())?;
    ensure!(explained["Query"]["Service"]["Service"] == "web", "{explained}");

    let mut changed = query;
    changed["Service"]["OnlyPassing"] = false.into();
    walk.write(ACROSS, "PUT", &format!("/v1/query/{id}"), &changed)?;
    walk.sees(0, &format!("/v1/query/{id}"), |rows| rows[0]["Service"]["OnlyPassing"] == false)?;
    walk.write(ACROSS, "DELETE", &format!("/v1/query/{template}"), &Value::Null)?;
    walk.step("prepared queries and templates: made, executed, explained, changed, deleted");
    Ok(())
}

/// Saved and restored through the agent: a stream of its own to a server.
pub(super) fn snapshots(walk: &mut Walk<'_>) -> anyhow::Result<()> {
    walk.verdict(ACROSS, "/v1/kv/walk/saved", "before", true)?;
    let path = walk.folder.join("through-the-agent.snap");
    let path = path.to_str().context("a path that is no text")?;
    walk.across().command(&["snapshot", "save", path])?;
    walk.across().command(&["snapshot", "inspect", path])?;
    walk.machine(walk.twin).command(&["snapshot", "inspect", path])?;
    walk.verdict(ACROSS, "/v1/kv/walk/saved", "after", true)?;
    walk.across().command(&["snapshot", "restore", path])?;
    walk.until("the snapshot is restored", |walk| {
        let value = walk.across().must("GET", "/v1/kv/walk/saved?raw", b"")?;
        ensure!(value.text() == "before", "it is {}", value.text());
        Ok(())
    })?;
    walk.step("a snapshot is saved and restored through the agent");
    Ok(())
}
