//! The binary as it is used: processes, signals, exit codes, files
//! (`reference/cli.md` sections 3.1 and 3.2, `reference/config.md` section 10).
//!
//! Nothing here waits for time to pass: a test waits for a line of the log, for an answer
//! or for the end of a process, and fails when it takes unreasonably long.

mod support;

#[path = "agent_process/cluster.rs"]
mod cluster;
#[path = "agent_process/datacenters.rs"]
mod datacenters;
#[path = "agent_process/explain.rs"]
mod explain;
#[path = "agent_process/locks.rs"]
mod locks;
#[path = "agent_process/monitor.rs"]
mod monitor;
#[path = "agent_process/recovery.rs"]
mod recovery;
#[path = "agent_process/watches.rs"]
mod watches;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use support::{Agent, command, free_ports, http, text, until};

#[test]
fn a_development_agent_answers_over_http() {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    assert_eq!(agent.http("PUT", "/v1/kv/greeting", "hello"), (200, "true".to_owned()));
    assert_eq!(agent.http("GET", "/v1/kv/greeting?raw", ""), (200, "hello".to_owned()));
    assert_eq!(agent.http("GET", "/v1/kv/nothing", "").0, 404);
    let leader = agent.http("GET", "/v1/status/leader", "").1;
    assert_eq!(leader, format!("\"127.0.0.1:{}\"", agent.ports[2]));
    let (status, output) = agent.consul(&["kv", "get", "greeting"]);
    assert_eq!((status, output.as_str()), (0, "hello\n"));
}

#[test]
fn another_web_interface_is_served_where_it_shall_be() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "<p>ours</p>").unwrap();
    let dir = format!("-ui-dir={}", folder.path().display());
    let mut agent = Agent::start(&["-dev", &dir, "-ui-content-path=/console"]);
    agent.await_line("Consul agent running!");
    assert_eq!(agent.http("GET", "/console/dc1/services", ""), (200, "<p>ours</p>".to_owned()));
    assert_eq!(agent.http("GET", "/", "").0, 301);
    assert_eq!(agent.http("GET", "/console", "").0, 307);
    assert_eq!(agent.http("GET", "/ui/", "").0, 404);
}

#[test]
fn a_service_is_found_over_http_and_dns_while_its_check_passes() {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    let definition = "{\"Name\": \"web\", \"Port\": 8080, \"Check\": {\"TTL\": \"1h\"}}";
    assert_eq!(agent.http("PUT", "/v1/agent/service/register", definition).0, 200);
    let critical = |agent: &Agent| agent.http("GET", "/v1/health/state/critical", "").1;
    agent.until(&critical, "service:web");
    assert_eq!(agent.http("GET", "/v1/health/service/web?passing", "").1, "[]");
    assert_eq!(agent.dns_answers("web.service.consul"), 0);

    assert_eq!(agent.http("PUT", "/v1/agent/check/pass/service:web", "").0, 200);
    agent.until(&|agent| agent.http("GET", "/v1/health/service/web?passing", "").1, "8080");
    assert_eq!(agent.dns_answers("web.service.consul"), 1);

    assert_eq!(agent.http("PUT", "/v1/agent/service/deregister/web", "").0, 200);
    // Less would not do: an instance that is still there has empty lists, too.
    until(|| agent.http("GET", "/v1/catalog/service/web", "").1 == "[]");
    assert_eq!(agent.dns_answers("web.service.consul"), 0);
}

#[test]
fn a_signal_ends_the_agent_with_the_exit_code_of_its_settings() {
    let graceful = "Graceful exit completed";
    let abrupt = "Graceful shutdown disabled. Exiting";
    for (signal, name, settings, line, code) in [
        ("INT", "interrupt", "", abrupt, 1),
        ("TERM", "terminated", "", abrupt, 1),
        ("INT", "interrupt", "skip_leave_on_interrupt = false", graceful, 0),
        ("TERM", "terminated", "leave_on_terminate = true", graceful, 0),
    ] {
        let mut agent = Agent::start(&["-dev", "-hcl", settings]);
        agent.await_line("Consul agent running!");
        agent.signal(signal);
        agent.await_line(&format!("Caught: signal={name}"));
        agent.await_line(line);
        assert_eq!(agent.ended(), code, "{signal} {settings}");
        let last = agent.last_line();
        assert!(last.ends_with(&format!("agent: Exit code: code={code}")), "{last}");
    }
}

#[test]
fn an_agent_that_would_not_obey_acls_does_not_serve_where_they_are() {
    let mut agent = Agent::start(&["-dev", "-hcl=acl { enabled = true }"]);
    let line = agent.await_line("[ERROR] agent: Error starting agent: error=");
    assert!(line.contains("acl.enabled is true, but this version does not have ACLs"), "{line}");
    assert_eq!(agent.ended(), 1);

    // A backup of a cluster with ACLs: refused, unless an operator says that they are off.
    let backup =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshot/testdata/consul-1.8.7-full.snap");
    for (settings, code, said) in [
        (
            "-hcl=acl {}",
            1,
            "a cluster with ACLs in force (a bootstrapped ACL system, 2 tokens, 1 policy)",
        ),
        ("-hcl=acl { enabled = false }", 0, "Restored snapshot"),
    ] {
        let mut agent = Agent::start(&["-dev", settings]);
        agent.await_line("Consul agent running!");
        agent.until(&|agent| agent.http("PUT", "/v1/kv/a", "b").1, "true");
        let address = format!("127.0.0.1:{}", agent.ports[0]);
        let output = command()
            .args(["snapshot", "restore", backup])
            .env("CONSUL_HTTP_ADDR", address)
            .output()
            .unwrap();
        let text = text(&[output.stdout, output.stderr].concat());
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(said), "{text}");
        let is_kept = agent.http("GET", "/v1/kv/a?raw", "").1 == "b";
        assert_eq!(is_kept, code == 1, "{settings}");
    }
}

#[test]
fn an_agent_that_is_told_to_leave_ends_well() {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    let (code, output) = agent.consul(&["leave"]);
    assert_eq!((code, output.as_str()), (0, "Graceful leave complete\n"));
    assert_eq!(agent.ended(), 0);
}

#[test]
fn a_hangup_applies_the_new_log_level_and_survives_a_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.hcl");
    fs::write(&file, "log_level = \"info\"").unwrap();
    let mut agent = Agent::start(&["-dev", "-config-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");

    fs::write(&file, "log_level = \"warn\"").unwrap();
    agent.signal("HUP");
    agent.await_line("Caught: signal=hangup");
    agent.until_log_level("warn");

    fs::write(&file, "log_level = ").unwrap();
    let before = agent.seen.len();
    agent.signal("HUP");
    let line = agent.await_line("[ERROR] agent: Reload config failed: error=");
    assert!(line.contains("agent.hcl"), "{line}");
    let caught = agent.seen[before..].iter().any(|line| line.contains("Caught: signal=hangup"));
    assert!(!caught, "information is below the log level");
    assert_eq!(agent.http("GET", "/v1/status/leader", "").0, 200);

    fs::write(&file, "log_level = \"info\"").unwrap();
    let (code, output) = agent.consul(&["reload"]);
    assert_eq!((code, output.as_str()), (0, "Configuration reload triggered\n"));
    agent.until_log_level("info");
    agent.signal("TERM");
    agent.await_line("Caught: signal=terminated");
    assert_eq!(agent.ended(), 1);
}

#[test]
fn what_a_server_acknowledged_survives_a_kill_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let agent = server(data);
    let node = "{\"Node\": \"n\", \"Address\": \"127.0.0.1\"}";
    assert_eq!(agent.http("PUT", "/v1/kv/kept", "value").0, 200);
    assert_eq!(agent.http("PUT", "/v1/catalog/register", node).0, 200);
    let (_, entry) = agent.http("GET", "/v1/kv/kept", "");
    let node_id = fs::read_to_string(folder.path().join("node-id")).unwrap();
    assert!(folder.path().join("raft/snapshots").is_dir(), "where operators look for them");
    drop(agent);

    let agent = server(data);
    assert_eq!(agent.http("GET", "/v1/kv/kept", ""), (200, entry), "with its indexes");
    let (_, nodes) = agent.http("GET", "/v1/catalog/nodes", "");
    assert!(nodes.contains("\"Node\":\"n\"") || nodes.contains("\"Node\": \"n\""), "{nodes}");
    let (_, agent_self) = agent.http("GET", "/v1/agent/self", "");
    assert!(agent_self.contains(&node_id), "{node_id}: {agent_self}");
    assert_eq!(fs::read_to_string(folder.path().join("node-id")).unwrap(), node_id);
}

#[test]
fn a_saved_state_comes_back_over_a_newer_one_and_whoever_waits_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.snap");
    let file = file.to_str().unwrap();
    let agent = server(folder.path().join("data").to_str().unwrap());
    assert_eq!(agent.http("PUT", "/v1/kv/app", "before").0, 200);
    let (code, output) = agent.consul(&["snapshot", "save", file]);
    assert_eq!(code, 0, "{output}");
    assert!(output.starts_with("Saved and verified snapshot to index "), "{output}");
    assert_eq!(agent.http("PUT", "/v1/kv/app", "after").0, 200);
    assert_eq!(agent.http("PUT", "/v1/kv/new", "x").0, 200);

    let waiting = std::thread::scope(|scope| {
        let target = "/v1/kv/new?index=1000000&wait=10m";
        let port = agent.ports[0];
        let waiting = scope.spawn(move || http(port, "GET", target, ""));
        // It may begin to wait behind a restore, but not behind all of them.
        while !waiting.is_finished() {
            let (code, output) = agent.consul(&["snapshot", "restore", file]);
            assert_eq!((code, output.as_str()), (0, "Restored snapshot\n"));
        }
        waiting.join().unwrap()
    });
    assert_eq!(waiting.0, 404, "{}", waiting.1);
    assert_eq!(agent.http("GET", "/v1/kv/app?raw", "").1, "before");
    assert_eq!(agent.http("PUT", "/v1/kv/app", "again").0, 200);

    let junk = folder.path().join("junk.snap");
    fs::write(&junk, &fs::read(file).unwrap()[..200]).unwrap();
    let output = command()
        .args(["snapshot", "restore", junk.to_str().unwrap()])
        .env("CONSUL_HTTP_ADDR", format!("127.0.0.1:{}", agent.ports[0]))
        .output()
        .unwrap();
    let expected = "Error restoring snapshot: Unexpected response code: 500 (failed to read \
                    snapshot file: failed to read or write snapshot data: unexpected EOF)\n";
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), expected));
    assert_eq!(agent.http("GET", "/v1/kv/app?raw", "").1, "again");
    drop(agent);

    let agent = server(folder.path().join("data").to_str().unwrap());
    assert_eq!(agent.http("GET", "/v1/kv/app?raw", "").1, "again");
    assert_eq!(agent.http("GET", "/v1/kv/new", "").0, 404);
}

#[test]
fn a_server_saves_by_itself_as_its_schedule_says() {
    let folder = tempfile::tempdir().unwrap();
    let archives = folder.path().join("archives");
    let settings = folder.path().join("agent.hcl");
    let interval = "snapshot_schedule { interval = \"1s\"";
    let to_folder = format!("{interval} retain = 2 directory = {archives:?} }}");
    fs::write(&settings, to_folder).unwrap();
    let mut agent = Agent::start(&["-dev", "-config-file", settings.to_str().unwrap()]);
    for _ in 0..3 {
        agent.await_line("agent.snapshot: Saved a scheduled snapshot");
    }
    let names: Vec<_> = fs::read_dir(&archives).unwrap().map(|e| e.unwrap().path()).collect();
    let finished = names.iter().filter(|path| path.extension().is_some_and(|e| e == "snap"));
    let finished: Vec<_> = finished.collect();
    assert!((1..=3).contains(&finished.len()), "{names:?}");
    let (code, listing) = agent.consul(&["snapshot", "inspect", finished[0].to_str().unwrap()]);
    assert_eq!(code, 0, "{listing}");
    assert!(agent.consul(&["info"]).1.contains("snapshot_schedule:"));

    let received = folder.path().join("received.snap");
    let script = format!("cat > {0}.part && mv {0}.part {0}", received.display());
    let to_program = format!("{interval} command = [\"sh\", \"-c\", {script:?}] }}");
    fs::write(&settings, to_program).unwrap();
    agent.signal("HUP");
    agent.await_line("agent.snapshot: Saved a scheduled snapshot: index=");
    agent.until(&|_| received.exists().to_string(), "true");
    let failing = format!("{interval} command = [\"sh\", \"-c\", \"echo no room >&2; exit 3\"] }}");
    fs::write(&settings, failing).unwrap();
    agent.signal("HUP");
    let line = agent.await_line("[ERROR] agent.snapshot: A scheduled snapshot was not saved");
    assert!(line.contains("no room") && line.contains("next=1s"), "{line}");
    let (code, listing) = agent.consul(&["snapshot", "inspect", received.to_str().unwrap()]);
    assert_eq!(code, 0, "{listing}");
}

#[test]
fn the_log_of_a_real_consul_is_refused_with_the_way_to_move_over() {
    for log in ["raft/raft.db", "raft/wal/wal-meta.db"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(log);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "theirs").unwrap();
        let data = folder.path().to_str().unwrap();
        let words =
            ["agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1", "-data-dir", data];
        let output = command().args(words).output().unwrap();
        let told = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("consul snapshot save"), "{told}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was added");
    }
}

#[test]
fn an_event_reaches_the_agent_that_sends_it() {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    let (code, output) = agent.consul(&["event", "-name=deploy", "-node=agent", "1.4.2"]);
    let id = output.strip_prefix("Event ID: ").unwrap().trim_end();
    assert_eq!(code, 0);
    agent.until(&|agent| agent.http("GET", "/v1/event/list?name=deploy", "").1, id);
    let (code, output) = agent.consul(&["event", "-name=deploy", "-node=another"]);
    assert_eq!((code, output.starts_with("Event ID: ")), (0, true));
    // It is not for this agent; the one behind it is.
    agent.consul(&["event", "-name=last"]);
    let list = |agent: &Agent| agent.http("GET", "/v1/event/list", "").1;
    agent.until(&list, "last");
    assert_eq!(list(&agent).matches("deploy").count(), 1);
}

#[test]
fn a_command_runs_on_agents_that_allow_it_and_on_no_others() {
    let exec = |agent: &Agent, command: &str| agent.consul(&["exec", "-wait=1s", command]);
    let nothing = "0 / 0 node(s) completed / acknowledged\n";
    let one = "1 / 1 node(s) completed / acknowledged\n";

    let start = |words: &[&str]| {
        let mut agent = Agent::start(words);
        agent.await_line("Consul agent running!");
        // A session needs a node that is well.
        agent.until(&|agent| agent.http("GET", "/v1/health/state/passing", "").1, "serfHealth");
        agent
    };
    let mut off = start(&["-dev"]);
    assert_eq!(exec(&off, "echo hello"), (0, nothing.to_owned()));
    off.await_line_in_any_order("ignoring remote exec event, disabled.");

    let on = start(&["-dev", "-hcl", "disable_remote_exec = false"]);
    let printed =
        format!("    agent: hello\n    agent:\n==> agent: finished with exit code 0\n{one}");
    assert_eq!(exec(&on, "echo hello"), (0, printed));
    let printed = format!(
        "    agent: out\n    agent: err\n    agent:\n==> agent: finished with exit code 3\n{one}"
    );
    assert_eq!(exec(&on, "echo out; echo err >&2; exit 3"), (2, printed));
    assert_eq!(on.http("GET", "/v1/kv/_rexec?keys", "").0, 404, "nothing is left behind");
    assert_eq!(on.http("GET", "/v1/session/list", "").1, "[]");
}

#[test]
fn the_pid_file_is_there_as_long_as_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("consul.pid");
    let mut agent = Agent::start(&["-dev", "-pid-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");
    assert_eq!(fs::read_to_string(&file).unwrap(), agent.child.id().to_string());
    agent.signal("TERM");
    agent.ended();
    assert!(!file.exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let ports = free_ports();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
    let mut agent = Agent::start_on(ports, &["-dev"]);
    let address = format!("127.0.0.1:{}", ports[0]);
    let line = format!(
        "[ERROR] agent: Error starting agent: error=\"listen tcp {address}: bind: address already \
         in use\""
    );
    agent.await_line(&line);
    assert_eq!(agent.ended(), 1);
}

#[test]
fn wrong_flags_and_settings_are_refused_before_anything_starts() {
    for (words, error) in [
        (&["-dev", "-http-port=x"][..], "invalid value \"x\" for flag -http-port: parse error\n"),
        (&["-dev", "-nosuch"], "flag provided but not defined: -nosuch\n"),
        (&["-dev", "extra"], "==> Unexpected extra arguments: [extra]\n"),
        (&["-server"], "==> data_dir cannot be empty\n"),
        (
            &["-dev", "-config-file=/nonexistent.hcl"],
            "==> config: Open failed on /nonexistent.hcl. open /nonexistent.hcl: no such file or \
             directory\n",
        ),
        (
            &["-dev", "-config-format=xml"],
            "==> config: -config-format must be either 'hcl' or 'json'\n",
        ),
        (&["-dev", "-hcl=nosuch = 1"], "==> failed to parse flag-0.hcl: 1 error occurred:"),
    ] {
        let output = command().arg("agent").args(words).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(err.starts_with(error), "{words:?}: {err}");
        assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{words:?}");
    }
}

/// A server that keeps its data in a folder, ready to be asked.
fn server(data: &str) -> Agent {
    let mut agent = Agent::start(&["-server", "-bootstrap-expect=1", "-data-dir", data]);
    agent.await_line("Consul agent running!");
    agent.await_line_in_any_order("cluster leadership acquired");
    agent
}
