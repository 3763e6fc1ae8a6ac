//! A majority of the servers is lost for good, and the one that is left goes on.

use std::process::Stdio;

use super::cluster::Member;
use super::support::{command, free_ports, text, until_some};

/// Runs `consul operator raft recover`: exit code, output and complaints.
fn recover(member: &Member, words: &[&str]) -> (i32, String) {
    let output = command()
        .args(["operator", "raft", "recover"])
        .args(words)
        .env("CONSUL_HTTP_ADDR", format!("127.0.0.1:{}", member.agent.ports[0]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), text(&[output.stdout, output.stderr].concat()))
}

#[test]
fn the_server_that_is_left_of_three_goes_on_with_all_that_it_has() {
    let ports = [(); 3].map(|()| free_ports());
    let seeds = ports.map(|ports| ports[3]);
    let expect = ["-server", "-bootstrap-expect=3"];
    let [s1, s2, s3] = std::array::from_fn(|index| {
        Member::start(&format!("s{}", index + 1), ports[index], &seeds, &expect)
    });
    s1.until_voters(&["s1", "s2", "s3"]);
    s2.write("before", "kept");
    s1.until_says("/v1/kv/before?stale&raw", "kept");
    let (code, said) = recover(&s1, &["-yes"]);
    assert!(code == 1 && said.contains("nothing has to be recovered"), "{said}");

    // With their data.
    drop((s2, s3));
    // As long as they may be alive nothing is done; then it asks.
    let shown = until_some(|| match recover(&s1, &[]) {
        (1, said) if said.contains("Nothing was changed") => Ok(said),
        (code, said) => Err(format!("{code}: {said}")),
    });
    for part in ["left, this one", "failed", "lost", "This server last heard of a leader"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert_eq!(s1.agent.http("GET", "/v1/kv/before?consistent", "").0, 500);
    // Whoever saw another log is not obeyed.
    let order = r#"{"LastTerm": 1, "LastIndex": 1}"#;
    let (status, said) = s1.agent.http("PUT", "/v1/operator/raft/recovery", order);
    assert!(status == 500 && said.contains("the log has changed meanwhile"), "{said}");

    let (code, said) = recover(&s1, &["-yes"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("are the quorum and have a leader\n"), "{said}");
    s1.until_says("/v1/kv/before?consistent&raw", "kept");

    let [s4, s5] = ["s4", "s5"].map(|name| Member::start(name, free_ports(), &seeds, &["-server"]));
    s4.until_voters(&["s1", "s4", "s5"]);
    s5.write("after", "new");
    s5.until_says("/v1/kv/before?stale&raw", "kept");
    s4.until_says("/v1/kv/after?raw", "new");
}
