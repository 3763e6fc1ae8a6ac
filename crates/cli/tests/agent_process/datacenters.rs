//! Three datacenters: what one of them asks of the others, while one is lost and back.

use tempfile::TempDir;

use super::support::{Agent, free_ports, receive, send, until, until_some};

/// Failures are noticed sooner than in production, where packets take longer.
const SETTINGS: &str = r#"
    performance { raft_multiplier = 1, leave_drain_time = "100ms" }
    gossip_lan { gossip_interval = "20ms" }
    gossip_wan {
        gossip_interval = "20ms", probe_interval = "200ms", probe_timeout = "100ms"
        suspicion_mult = 3
    }
"#;

const FIRST_KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
const SECOND_KEY: &str = "ndCqO6+yuKlK5hkUuQC7fhSbYZfnqXD9HVg0SLFiWlQ=";

/// The only server of a datacenter, with its data.
struct Site {
    name: &'static str,
    ports: [u16; 5],
    data: TempDir,
    agent: Agent,
}

impl Site {
    /// Starts a server that joins whoever listens at this WAN gossip port.
    fn start(name: &'static str, seed: u16) -> Self {
        let (ports, data) = (free_ports(), tempfile::tempdir().unwrap());
        let agent = Self::launch(name, ports, &data, seed);
        Self { name, ports, data, agent }
    }

    fn launch(name: &str, ports: [u16; 5], data: &TempDir, seed: u16) -> Agent {
        let words = [
            format!("-node=of-{name}"),
            format!("-datacenter={name}"),
            format!("-data-dir={}", data.path().display()),
            format!("-hcl={SETTINGS}"),
            format!("-encrypt={FIRST_KEY}"),
            format!("-retry-join-wan=127.0.0.1:{seed}"),
            "-retry-interval-wan=200ms".to_owned(),
            "-server".to_owned(),
            "-bootstrap-expect=1".to_owned(),
        ];
        let mut agent = Agent::start_on(ports, &words.each_ref().map(String::as_str));
        agent.await_line("Consul agent running!");
        agent
    }

    fn lose(&mut self) {
        self.agent.child.kill().unwrap();
    }

    fn come_back(&mut self, seed: u16) {
        self.lose();
        self.agent.child.wait().unwrap();
        self.agent = Self::launch(self.name, self.ports, &self.data, seed);
    }

    fn ask(&self, target: &str) -> (u16, String) {
        self.agent.http("GET", target, "")
    }

    /// Writes as soon as the datacenter can.
    fn write(&self, method: &str, target: &str, body: &str) -> String {
        until_some(|| match self.agent.http(method, target, body) {
            (200, answer) => Ok(answer),
            other => Err(format!("{method} {target}: {other:?}")),
        })
    }

    /// Waits until an answer is this one.
    fn until_answers(&self, target: &str, wanted: (u16, &str)) {
        until_some(|| {
            let answer = self.ask(target);
            match answer.0 == wanted.0 && answer.1 == wanted.1 {
                true => Ok(()),
                false => Err(format!("{target} in {}: not {wanted:?} but {answer:?}", self.name)),
            }
        });
    }

    /// Waits until `consul members -wan` gives a server this status.
    fn until_status(&self, node: &str, status: &str) {
        until_some(|| {
            let (_, table) = self.agent.consul(&["members", "-wan"]);
            let row = table.lines().find(|line| line.starts_with(node));
            match row.and_then(|row| row.split_whitespace().nth(2)) == Some(status) {
                true => Ok(()),
                false => Err(format!("{node} is not {status}:\n{table}")),
            }
        });
    }

    /// Waits until a prepared query finds its instance in a datacenter, at this attempt.
    fn until_found_in(&self, query: &str, datacenter: &str, failovers: u64) {
        let target = format!("/v1/query/{query}/execute");
        until_some(|| {
            let (_, answer) = self.ask(&target);
            let there = answer.contains(&format!("\"Datacenter\":\"{datacenter}\",\"PeerName\""));
            let attempts = answer.contains(&format!("\"Failovers\":{failovers},"));
            match there && attempts {
                true => Ok(()),
                false => Err(format!("{query} is not in {datacenter} ({failovers}): {answer}")),
            }
        });
    }
}

#[test]
fn three_datacenters_answer_for_each_other_and_do_without_one_that_is_lost() {
    let one = Site::start("one", 1);
    let seed = one.ports[4];
    let (mut two, mut three) = (Site::start("two", seed), Site::start("three", seed));
    for site in [&one, &two, &three] {
        until_some(|| {
            let (_, names) = site.ask("/v1/catalog/datacenters");
            let all = ["one", "two", "three"].iter().all(|name| names.contains(name));
            all.then_some(()).ok_or(names)
        });
        site.write("PUT", "/v1/kv/here", site.name);
    }

    // What is asked of another datacenter, and what nobody knows.
    one.until_answers("/v1/kv/here?raw&dc=two", (200, "two"));
    three.until_answers("/v1/kv/here?raw&dc=two", (200, "two"));
    one.until_answers("/v1/kv/here?dc=four", (500, "No path to datacenter"));
    assert_eq!(one.agent.dns_answers("of-two.node.two.consul"), 1);
    assert_eq!(one.agent.dns_answers("of-two.node.four.consul"), 0);

    // Failover to the second and the third datacenter, by list and by target.
    for site in [&two, &three] {
        let service = r#"{"Name": "db", "Port": 5432, "Address": "127.0.0.1"}"#;
        site.write("PUT", "/v1/agent/service/register", service);
        until(|| site.agent.dns_answers("db.service.consul") == 1);
    }
    for (name, failover) in [
        ("listed", r#"{"Datacenters": ["four", "two", "three"]}"#),
        ("aimed", r#"{"Targets": [{"Datacenter": "two"}, {"Datacenter": "three"}]}"#),
        ("near", r#"{"NearestN": 2}"#),
    ] {
        let service = format!(r#"{{"Service": "db", "Failover": {failover}}}"#);
        let query = format!(r#"{{"Name": "{name}", "Service": {service}}}"#);
        one.write("POST", "/v1/query", &query);
    }
    one.until_found_in("listed", "two", 1);
    one.until_found_in("aimed", "two", 1);
    assert_eq!(one.agent.dns_answers("near.query.consul"), 1);

    keys_are_changed_in_all_pools(&one);

    // Whoever waits for a change there is told when the datacenter is lost.
    let (_, rows) = one.ask("/v1/kv/here?dc=two");
    let (_, rest) = rows.split_once("\"ModifyIndex\":").unwrap();
    let index: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    let target = format!("/v1/kv/here?dc=two&wait=50s&index={index}");
    let waiting = send(one.ports[0], "GET", &target, "");
    // What is asked after it has its answer before it.
    one.until_answers("/v1/kv/here?raw&dc=two", (200, "two"));
    two.lose();
    let (status, error) = receive(waiting);
    assert_eq!(status, 500, "{error}");
    one.until_status("of-two.two", "failed");
    assert_eq!(one.ask("/v1/kv/here?dc=two").0, 500);
    one.until_found_in("listed", "three", 2);
    one.until_found_in("aimed", "three", 2);
    until(|| one.agent.dns_answers("near.query.consul") == 1);
    assert_eq!(one.agent.dns_answers("of-two.node.two.consul"), 0);

    // It comes back and is asked again.
    two.come_back(seed);
    one.until_status("of-two.two", "alive");
    one.until_answers("/v1/kv/here?raw&dc=two", (200, "two"));
    one.until_found_in("listed", "two", 1);

    // One that will not come back is forgotten.
    three.lose();
    one.until_status("of-three.three", "failed");
    let (code, _) = one.agent.consul(&["force-leave", "-wan", "of-three.three"]);
    assert_eq!(code, 0);
    one.until_status("of-three.three", "left");
    two.until_status("of-three.three", "left");
    one.until_answers("/v1/kv/here?dc=three", (500, "No path to datacenter"));
    two.until_answers("/v1/kv/here?dc=three", (500, "No path to datacenter"));
}

/// A new key comes, is used, and the old one goes: in the WAN pool and three LAN pools.
fn keys_are_changed_in_all_pools(one: &Site) {
    let run = |words: &[&str]| {
        let (code, output) = one.agent.consul(&[&["keyring"], words].concat());
        assert_eq!(code, 0, "consul keyring {words:?}: {output}");
        output
    };
    run(&["-install", SECOND_KEY]);
    let listed = run(&["-list"]);
    for pool in ["WAN:", "one (LAN):", "two (LAN):", "three (LAN):"] {
        let (_, of_pool) = listed.split_once(pool).unwrap_or_else(|| panic!("{pool} {listed}"));
        let nodes = if pool == "WAN:" { "[3/3]" } else { "[1/1]" };
        for key in [FIRST_KEY, SECOND_KEY] {
            let row = of_pool.lines().find(|line| line.contains(key)).unwrap_or_default();
            assert!(row.contains(nodes), "{key} in {pool} {listed}");
        }
    }
    assert!(!run(&["-list", "-local-only"]).contains("two (LAN)"));
    run(&["-use", SECOND_KEY, "-relay-factor", "1"]);
    run(&["-remove", FIRST_KEY]);
    let primary = run(&["-list-primary"]);
    assert_eq!(primary.matches(SECOND_KEY).count(), 4, "{primary}");
    assert!(!primary.contains(FIRST_KEY), "{primary}");
}
