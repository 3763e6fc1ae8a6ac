//! `consul explain` against a real agent: what it says, and its exit codes.

use super::support::{Agent, until};

/// Seen, wholly or partly.
const SEEN: i32 = 0;
/// Not seen at all.
const NOT_SEEN: i32 = 2;

fn ready() -> Agent {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    agent.until(&|agent| agent.http("GET", "/v1/health/state/passing", "").1, "serfHealth");
    agent
}

/// The command says all of this and ends so.
fn says(agent: &Agent, words: &[&str], exit: i32, texts: &[&str]) {
    let (code, output) = agent.consul(&[&["explain"], words].concat());
    assert_eq!(code, exit, "{words:?}: {output}");
    for text in texts {
        assert!(output.contains(text), "{words:?} does not say {text:?}: {output}");
    }
}

#[test]
fn a_service_is_explained_from_its_registration_to_its_answers() {
    let agent = ready();
    let unknown = ["The catalog has no instance of it", "consul services register FILE"];
    says(&agent, &["service", "web"], NOT_SEEN, &unknown);

    let definition = r#"{"ID": "w1", "Name": "Web", "Port": 80, "Tags": ["v1"],
        "Check": {"TTL": "1h", "Notes": "by hand"}}"#;
    assert_eq!(agent.http("PUT", "/v1/agent/service/register", definition).0, 200);
    agent.until(&|agent| agent.http("GET", "/v1/health/checks/web", "").1, "critical");
    let held = ["held back, check \"service:w1\" is critical", "0 of 1", "It is not handed out"];
    says(&agent, &["service", "web"], NOT_SEEN, &held);
    says(&agent, &["dns", "web.service.consul"], NOT_SEEN, &["held back", "NXDOMAIN"]);

    assert_eq!(agent.http("PUT", "/v1/agent/check/pass/service:w1", "").0, 200);
    agent.until(&|agent| agent.http("GET", "/v1/health/checks/web", "").1, "passing");
    // Names know no case, and the agent runs it under whatever case is asked for.
    for name in ["web", "WEB", "Web"] {
        let words = ["This agent (agent) runs 1 instance", "All of it is handed out: 1 instance"];
        says(&agent, &["service", name], SEEN, &words);
    }
    says(&agent, &["service", "w1"], SEEN, &["instance \"w1\" of service \"Web\""]);
    let tag = ["lacks the tag \"v2\"; it has v1"];
    says(&agent, &["service", "-tag=v2", "web"], NOT_SEEN, &tag);
    let json = ["\"Visible\": \"yes\"", "\"Station\": \"catalog\""];
    says(&agent, &["service", "-format=json", "web"], SEEN, &json);
    says(&agent, &["dns", "-type=SRV", "web.service.consul"], SEEN, &["SRV 1 1 80"]);
    says(&agent, &["dns", "web.consul"], NOT_SEEN, &["web.service.consul for a service"]);
}

#[test]
fn a_key_is_explained_with_what_is_near_it_and_who_holds_it() {
    let agent = ready();
    assert_eq!(agent.http("PUT", "/v1/kv/app/Config", "x").0, 200);
    says(&agent, &["key", "app/config"], NOT_SEEN, &["\"app/Config\" was meant"]);
    says(&agent, &["key", "app/Config"], SEEN, &["It exists.", "a value of 1 byte"]);
    let (_, created) = agent.http("PUT", "/v1/session/create", r#"{"Name": "worker"}"#);
    let session = created.split('"').nth(3).unwrap().to_owned();
    let lock = format!("/v1/kv/app/Config?acquire={session}");
    until(|| agent.http("PUT", &lock, "x").1 == "true");
    says(&agent, &["key", "app/Config"], SEEN, &[&session, "worker"]);
}

#[test]
fn wrong_words_and_an_agent_that_is_away_are_errors() {
    let agent = ready();
    says(&agent, &["service"], 1, &[]);
    says(&agent, &["dns", "-type=NOSUCH", "web.service.consul"], 1, &[]);
    let ports = super::free_ports();
    let away = format!("-http-addr=127.0.0.1:{}", ports[0]);
    says(&agent, &["service", &away, "web"], 1, &[]);
}
