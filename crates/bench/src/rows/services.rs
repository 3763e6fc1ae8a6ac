//! Services: registration churn, the health of a large one, and DNS.

use std::net::SocketAddr;

use super::Bench;
use super::kv::run;
use crate::line::{Line, Promise, Turn, Unit};
use crate::load::{Until, drive};
use crate::server::{Kind, Server};
use crate::wire::Script;
use crate::wire::http::{self, Requests};

/// Instances of the large service.
const INSTANCES: usize = 1000;
/// Connections that read the large service.
const READERS: usize = 16;
/// Services each connection of the churn registers and deregisters.
const CHURNED: usize = 50;

/// 64 connections register services with the agent and deregister them again; each answer counts.
pub(super) fn churn(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let arguments = bench.arguments.clone();
    let until = Until::Time { warm_up: arguments.warm_up(), run: arguments.run_time() };
    let cells = bench.fleet().take_turns(
        arguments.turns(),
        |_| Ok(()),
        |server| match server.kind {
            Kind::Etcd => Ok(None),
            Kind::Ours | Kind::Consul => run(server, until, |_, one| churn_script(one)).map(Some),
        },
    );
    let promise = Promise { times_consul: Some(10.0), ..Promise::default() };
    let mut line = bench.line(
        "service register / deregister churn, 64 connections",
        Unit::PerSecond,
        promise,
        cells,
    );
    line.note =
        "PUT /v1/agent/service/register and deregister in turn, on an agent with a data directory"
            .to_owned();
    Ok(vec![line])
}

fn churn_script(connection: usize) -> Script {
    let mut requests = Vec::new();
    for number in 0..CHURNED {
        let id = format!("churn-{connection}-{number}");
        let body = serde_json::json!({ "ID": id, "Name": format!("churn-{connection}"), "Port": 8000 + number });
        requests.push(http::request(
            "PUT",
            "/v1/agent/service/register",
            body.to_string().as_bytes(),
        ));
        requests.push(http::request("PUT", &format!("/v1/agent/service/deregister/{id}"), b""));
    }
    Script::forever(requests.into(), 0)
}

/// 16 connections read `/v1/health/service/large`, whose 1,000 instances stand on nodes of their own with a check each.
pub(super) fn health(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let arguments = bench.arguments.clone();
    let until = Until::Time { warm_up: arguments.warm_up(), run: arguments.run_time() };
    let cells = bench.fleet().take_turns(
        arguments.turns(),
        |server| {
            if server.kind == Kind::Etcd { Ok(()) } else { register(server, "large", INSTANCES) }
        },
        |server| {
            if server.kind == Kind::Etcd {
                return Ok(None);
            }
            let request = http::request("GET", "/v1/health/service/large", b"");
            let script = Script::forever(vec![request].into(), 0);
            let readers = (0..READERS).map(|_| Requests::new(script.clone())).collect();
            drive(server.address, server.pid(), readers, until).map(Turn::of_load).map(Some)
        },
    );
    let promise = Promise { times_consul: Some(10.0), ..Promise::default() };
    let work = "health of a service with 1,000 instances, 16 connections";
    Ok(vec![bench.line(work, Unit::PerSecond, promise, cells)])
}

/// Registers instances of a service through the catalog, on a node each, with a passing check each.
fn register(server: &Server, service: &str, instances: usize) -> anyhow::Result<()> {
    let mut scripts = vec![Vec::new(); 8];
    let connections = scripts.len();
    for number in 0..instances {
        let body = registration(service, number);
        scripts[number % connections].push(http::request(
            "PUT",
            "/v1/catalog/register",
            body.as_bytes(),
        ));
    }
    let dialogues =
        scripts.into_iter().map(|requests| Requests::new(Script::once(requests))).collect();
    let load = drive(server.address, server.pid(), dialogues, Until::Done)?;
    anyhow::ensure!(load.failures == 0, "{} registrations failed", load.failures);
    expect_instances(server.address, service, instances)
}

fn registration(service: &str, number: usize) -> String {
    let node = format!("{service}-node-{number}");
    serde_json::json!({
        "Node": node,
        "Address": format!("10.0.{}.{}", number / 250, number % 250 + 1),
        "Service": {
            "ID": format!("{service}-{number}"), "Service": service, "Port": 8080,
            "Tags": ["v1", "primary"], "Meta": { "version": "1.0.0" },
        },
        "Check": {
            "Node": node, "CheckID": format!("service:{service}-{number}"), "Name": "alive",
            "Status": "passing", "ServiceID": format!("{service}-{number}"),
        },
    })
    .to_string()
}

fn expect_instances(address: SocketAddr, service: &str, instances: usize) -> anyhow::Result<()> {
    let answer =
        http::expect(address, "GET", &format!("/v1/health/service/{service}?passing"), b"")?;
    let list: Vec<serde_json::Value> = serde_json::from_slice(&answer.body)?;
    anyhow::ensure!(list.len() == instances, "{} instances instead of {instances}", list.len());
    Ok(())
}

/// 128 questions under way over UDP for a service with three instances.
pub(super) fn dns(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let arguments = bench.arguments.clone();
    let mut lines = Vec::new();
    for (name, kind) in [("A", crate::dns::A), ("SRV", crate::dns::SRV)] {
        let cells = bench.fleet().take_turns(
            arguments.turns(),
            |server| if server.kind == Kind::Etcd { Ok(()) } else { register(server, "small", 3) },
            |server| {
                if server.kind == Kind::Etcd {
                    return Ok(None);
                }
                let question = crate::dns::question("small.service.consul", kind);
                let (warm_up, time) = (arguments.warm_up(), arguments.run_time());
                crate::dns::drive(server.dns, server.pid(), question, warm_up, time)
                    .map(Turn::of_load)
                    .map(Some)
            },
        );
        let promise = Promise { times_consul: Some(10.0), ..Promise::default() };
        let work = format!("DNS {name} over UDP, 128 questions under way");
        lines.push(bench.line(work, Unit::PerSecond, promise, cells));
    }
    Ok(lines)
}
