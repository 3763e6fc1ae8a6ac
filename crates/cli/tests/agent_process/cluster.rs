//! Several agents as one cluster: the first hour of a new operator.

use tempfile::TempDir;

use super::support::{Agent, free_ports, until, until_some};

/// Failures are noticed sooner than in production, where packets take longer.
const SETTINGS: &str = r#"
    performance { raft_multiplier = 1, leave_drain_time = "100ms" }
    autopilot { server_stabilization_time = "500ms" }
    gossip_lan {
        gossip_interval = "20ms", probe_interval = "200ms", probe_timeout = "100ms"
        suspicion_mult = 3
    }
"#;

/// An agent of the cluster, with its data.
pub(super) struct Member {
    pub(super) agent: Agent,
    _data: TempDir,
}

impl Member {
    /// Starts an agent that joins whoever listens at one of these gossip ports.
    pub(super) fn start(name: &str, ports: [u16; 5], seeds: &[u16], words: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut all = vec![
            format!("-node={name}"),
            format!("-data-dir={}", data.path().display()),
            format!("-hcl={SETTINGS}"),
            "-retry-interval=200ms".to_owned(),
        ];
        all.extend(seeds.iter().map(|port| format!("-retry-join=127.0.0.1:{port}")));
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut agent = Agent::start_on(ports, &all);
        agent.await_line("Consul agent running!");
        Self { agent, _data: data }
    }

    /// Waits until `consul members` shows these, as `name status type`.
    fn until_members(&self, wanted: &[&str]) {
        until_some(|| {
            let (_, table) = self.agent.consul(&["members"]);
            let mut seen: Vec<String> = table
                .lines()
                .skip(1)
                .map(|line| {
                    let cells: Vec<&str> = line.split_whitespace().collect();
                    format!("{} {} {}", cells[0], cells[2], cells[3])
                })
                .collect();
            seen.sort();
            if seen == wanted { Ok(()) } else { Err(format!("{wanted:?}, but:\n{table}")) }
        });
    }

    /// Waits until an answer contains this.
    pub(super) fn until_says(&self, target: &str, wanted: &str) {
        self.agent.until(&|agent| agent.http("GET", target, "").1, wanted);
    }

    /// Waits until the servers of the quorum are these, and all vote.
    pub(super) fn until_voters(&self, wanted: &[&str]) {
        until_some(|| {
            let (_, table) = self.agent.consul(&["operator", "raft", "list-peers"]);
            let rows = table.lines().skip(1).map(|line| line.split_whitespace());
            let mut seen: Vec<&str> = rows
                .filter(|row| row.clone().nth(4) == Some("true"))
                .filter_map(|mut row| row.next())
                .collect();
            seen.sort_unstable();
            if seen == wanted { Ok(()) } else { Err(format!("{wanted:?}, but:\n{table}")) }
        });
    }

    /// Writes as soon as the cluster can.
    pub(super) fn write(&self, key: &str, value: &str) {
        until_some(|| match self.agent.http("PUT", &format!("/v1/kv/{key}"), value) {
            (200, answer) if answer == "true" => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

#[test]
fn a_cluster_of_five_tells_who_left_and_who_failed_and_replaces_a_server() {
    let ports = [(); 3].map(|()| free_ports());
    let seeds = ports.map(|ports| ports[3]);
    let expect = ["-server", "-bootstrap-expect=3"];
    let [mut s1, s2, s3] = std::array::from_fn(|index| {
        Member::start(&format!("s{}", index + 1), ports[index], &seeds, &expect)
    });
    let mut c1 = Member::start("c1", free_ports(), &seeds, &[]);
    let mut c2 = Member::start("c2", free_ports(), &seeds, &[]);
    let all = [
        "c1 alive client",
        "c2 alive client",
        "s1 alive server",
        "s2 alive server",
        "s3 alive server",
    ];
    for member in [&s1, &s2, &s3, &c1, &c2] {
        member.until_members(&all);
    }
    s2.until_voters(&["s1", "s2", "s3"]);

    // What one writes all can read, and what runs on a client is found everywhere.
    c1.write("greeting", "hello");
    assert_eq!(s3.agent.http("GET", "/v1/kv/greeting?raw", ""), (200, "hello".to_owned()));
    let service = r#"{"Name": "web", "Port": 80}"#;
    assert_eq!(c2.agent.http("PUT", "/v1/agent/service/register", service).0, 200);
    s1.until_says("/v1/health/service/web?passing", "\"c2\"");
    c1.until_says("/v1/health/service/web?passing&cached", "\"c2\"");
    // DNS asks any server, which may be a moment behind.
    until(|| c1.agent.dns_answers("web.service.consul") == 1);

    // A server is lost, and another one takes its place.
    s1.agent.child.kill().unwrap();
    c1.write("after", "survived");
    let s4 = Member::start("s4", free_ports(), &seeds, &["-server"]);
    s4.until_says("/v1/kv/after?stale&raw", "survived");
    s2.until_voters(&["s2", "s3", "s4"]);

    // Ctrl-C leaves; a client that is killed has failed.
    c2.agent.signal("INT");
    assert_eq!(c2.agent.ended(), 0);
    c1.agent.child.kill().unwrap();
    s2.until_says("/v1/health/node/c1", "\"critical\"");
    until_some(|| match s2.agent.http("GET", "/v1/catalog/node/c2", "") {
        (200, answer) if answer == "null" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let (_, table) = s2.agent.consul(&["members"]);
    let status = |name: &str| {
        let row = table.lines().find(|line| line.starts_with(name));
        row.and_then(|row| row.split_whitespace().nth(2)).map(str::to_owned)
    };
    assert_eq!(status("c1 ").as_deref(), Some("failed"), "{table}");
    assert_eq!(status("c2 ").as_deref(), Some("left"), "{table}");
}
