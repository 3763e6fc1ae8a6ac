//! Watches as users run them: by `consul watch` and in the configuration.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, sync_channel};

use super::support::{Agent, PATIENCE, command, free_ports, text, until_some};

#[test]
fn a_handler_of_the_command_runs_at_the_start_and_after_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    let seen = folder.path().join("seen");
    let handler = format!("cat >> {0}; echo index $CONSUL_INDEX >> {0}", seen.display());
    let mut watch = agent.spawn_consul(&["watch", "-type=key", "-key=k", &handler]);
    until_file(&seen, |seen| seen.starts_with("null\nindex "));
    agent.http("PUT", "/v1/kv/k", "one");
    until_file(&seen, |seen| {
        seen.split_once("\"Value\":\"b25l\"").is_some_and(|(_, end)| end.contains("index "))
    });
    interrupt(&watch);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let seen = fs::read_to_string(&seen).unwrap();
    assert_eq!(seen.lines().filter(|line| line.starts_with("index ")).count(), 2, "{seen}");
}

#[test]
fn a_handler_of_the_command_that_fails_ends_the_watch() {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    for (words, error) in [
        (&["exit 3"][..], "Error executing handler: exit status 3\n"),
        (
            &["-shell=false", "/nonexistent"],
            "Error starting handler: fork/exec /nonexistent: no such file or directory\n",
        ),
    ] {
        let words = [&["watch", "-type=nodes"], words].concat();
        let output = agent.spawn_consul(&words).wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), error));
    }
}

#[test]
fn a_handler_that_does_not_read_gets_a_large_state_all_the_same() {
    let mut agent = Agent::start(&["-dev"]);
    agent.await_line("Consul agent running!");
    agent.http("PUT", "/v1/kv/k", &"x".repeat(400_000));
    let words = ["watch", "-type=key", "-key=k", "kill -INT $PPID"];
    let output = agent.spawn_consul(&words).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_watch_of_the_configuration_runs_when_something_changed_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = folder.path().join("watches.json");
    let seen = |name: &str| folder.path().join(name);
    let watch = |key: &str| {
        let file = seen(key);
        format!(
            "{{\"type\": \"key\", \"key\": \"{key}\", \
              \"args\": [\"sh\", \"-c\", \"cat >> {}; echo >> {}.done\"]}}",
            file.display(),
            file.display()
        )
    };
    let write = |watches: &[String]| {
        fs::write(&config, format!("{{\"watches\": [{}]}}", watches.join(","))).unwrap();
    };
    let lines = |name: &str| fs::read_to_string(seen(name)).unwrap_or_default().lines().count();
    let words = ["-server", "-bootstrap-expect=1", "-data-dir", data.to_str().unwrap()];
    let words = [&words[..], &["-config-file", config.to_str().unwrap()]].concat();
    let until_written = |name: &str, count: usize| {
        until_file(&seen(&format!("{name}.done")), |done| done.lines().count() == count);
    };

    // A new watch runs at once, and then with every change.
    write(&[watch("a")]);
    let mut agent = Agent::start(&words);
    agent.await_line("Consul agent running!");
    until_written("a", 1);
    agent.until(&|agent| agent.http("PUT", "/v1/kv/a", "one").1, "true");
    until_written("a", 2);
    until_remembered(&data, 1);

    // A reload leaves it alone. The new one beside it proves that the reload is over.
    write(&[watch("a"), watch("b")]);
    assert_eq!(agent.consul(&["reload"]).0, 0);
    until_written("b", 1);
    until_remembered(&data, 2);
    agent.signal("TERM");
    agent.ended();

    // So does a restart; the change that happened meanwhile to another key counts.
    write(&[watch("a"), watch("b"), watch("c")]);
    let mut agent = Agent::start(&words);
    agent.await_line("Consul agent running!");
    until_written("c", 1);
    agent.until(&|agent| agent.http("PUT", "/v1/kv/a", "two").1, "true");
    until_written("a", 3);
    assert_eq!((lines("a"), lines("b"), lines("c")), (3, 1, 1));

    // One that is gone from the file runs no more, and nothing is remembered of it.
    write(&[watch("c")]);
    assert_eq!(agent.consul(&["reload"]).0, 0);
    until_remembered(&data, 1);
    agent.http("PUT", "/v1/kv/a", "three");
    agent.http("PUT", "/v1/kv/c", "one");
    until_written("c", 2);
    assert_eq!(lines("a"), 3);
}

#[test]
fn a_handler_is_never_run_twice_at_once_and_misses_no_last_state() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let script = format!(
        "echo in >> {log}; while [ ! -e {go} ]; do sleep 0.02; done; cat > {last}; echo out >> {log}",
        log = file("log"),
        go = file("go"),
        last = file("last")
    );
    let settings = format!(
        "watches = [{{ type = \"key\", key = \"k\", args = [\"sh\", \"-c\", \"{script}\"] }}]"
    );
    let mut agent = Agent::start(&["-dev", "-hcl", &settings]);
    agent.await_line("Consul agent running!");
    until_file(&folder.path().join("log"), |log| log == "in\n");
    for value in ["one", "two", "end"] {
        agent.until(&|agent| agent.http("PUT", "/v1/kv/k", value).1, "true");
    }
    fs::write(file("go"), "").unwrap();
    until_file(&folder.path().join("last"), |last| last.contains("\"Value\":\"ZW5k\""));
    until_file(&folder.path().join("log"), |log| log.ends_with("out\n"));
    let log = fs::read_to_string(file("log")).unwrap();
    assert_eq!(log, "in\nout\n".repeat(log.lines().count() / 2));
}

#[test]
fn an_http_handler_gets_the_state_with_its_index() {
    let (port, requests) = receiver("200 OK");
    let settings = format!(
        "watches = [{{ type = \"key\", key = \"k\", handler_type = \"http\", http_handler_config {{
            path = \"http://127.0.0.1:{port}/hook%20a?b=c\", method = \"PUT\",
            header = {{ \"x-secret\" = [\"s3\", \"s4\"] }} }} }}]"
    );
    let mut agent = Agent::start(&["-dev", "-log-level=debug", "-hcl", &settings]);
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.starts_with("PUT /hook%20a?b=c HTTP/1.1\r\n"), "{request}");
    for header in
        ["X-Secret: s3", "X-Secret: s4", "Content-Type: application/json", "X-Consul-Index: "]
    {
        assert!(request.contains(header), "{header}: {request}");
    }
    assert!(request.ends_with("\r\n\r\nnull\n"), "{request}");
    let line = agent.await_line("http watch handler succeeded with output");
    assert!(line.contains("output=reply"), "{line}");
    assert!(!agent.seen.iter().any(|line| line.contains("s3")), "headers stay out of the log");
    agent.until(&|agent| agent.http("PUT", "/v1/kv/k", "v").1, "true");
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.contains("\"Value\":\"dg==\""), "{request}");
}

#[test]
fn handlers_that_fail_are_in_the_log_with_their_last_output() {
    let (port, _requests) = receiver("500 Internal Server Error");
    let settings = format!(
        "watches = [
          {{ type = \"key\", key = \"k\", args = [\"sh\", \"-c\", \"seq 5000; exit 3\"] }},
          {{ type = \"key\", key = \"k\", handler_type = \"http\", http_handler_config {{
            path = \"http://127.0.0.1:{port}/\" }} }},
          {{ type = \"agent_service\", service_id = \"nope\", args = [\"true\"] }}]"
    );
    let mut agent = Agent::start(&["-dev", "-log-level=debug", "-hcl", &settings]);
    for line in [
        "Failed to run watch handler: watch_handler=[sh -c seq 5000; exit 3] error=\"exit status 3\"",
        "Captured 4096 of 23893 bytes",
        "http watch handler failed with output: ",
        "Watch errored: type=agent_service error=\"Unexpected response code: 404 (unknown service ID: \
         nope)\" retry=5s",
    ] {
        agent.await_line_in_any_order(line);
    }
}

#[test]
fn watches_reach_an_agent_that_listens_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let seen = folder.path().join("seen");
    let watch = |seen: &Path| {
        format!(
            "watches = [{{ type = \"nodes\", args = [\"sh\", \"-c\", \"cat > {}\"] }}]",
            seen.display()
        )
    };
    let address =
        format!("addresses {{ http = \"unix://{}\" }} {}", socket.display(), watch(&seen));
    let mut agent = Agent::start(&["-dev", "-hcl", &address]);
    agent.await_line("Consul agent running!");
    until_file(&seen, |seen| seen.starts_with("[{\"ID\":"));
    drop(agent);

    let made = command().current_dir(&folder).args(["tls", "ca", "create"]).output().unwrap();
    assert!(made.status.success());
    let made = command().current_dir(&folder).args(["tls", "cert", "create", "-server"]).output();
    assert!(made.unwrap().status.success());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let seen = folder.path().join("seen over TLS");
    let https = format!(
        "ports {{ https = {port} http = -1 }}
         tls {{ https {{ ca_file = \"{ca}\" cert_file = \"{cert}\" key_file = \"{key}\"
                         verify_incoming = true }} }}
         watches = [{{ type = \"nodes\", args = [\"sh\", \"-c\", \"cat > '{seen}'\"] }}]",
        port = free_ports()[0],
        ca = file("consul-agent-ca.pem"),
        cert = file("dc1-server-consul-0.pem"),
        key = file("dc1-server-consul-0-key.pem"),
        seen = seen.display(),
    );
    let ports = free_ports();
    let config = folder.path().join("https.hcl");
    fs::write(&config, https).unwrap();
    // The port of the flag comes behind the file and would win.
    let mut agent = Agent::start_on(
        [0, ports[1], ports[2], ports[3], ports[4]],
        &["-dev", "-config-file", config.to_str().unwrap()],
    );
    agent.await_line("Consul agent running!");
    until_file(&seen, |seen| seen.starts_with("[{\"ID\":"));
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// Waits until the content of a file is as wanted.
fn until_file(file: &Path, wanted: impl Fn(&str) -> bool) {
    until_some(|| {
        let content = fs::read_to_string(file).unwrap_or_default();
        match wanted(&content) {
            true => Ok(()),
            false => Err(format!("{}: {content}", file.display())),
        }
    });
}

/// Waits until the agent has noted what so many watches delivered.
fn until_remembered(data: &Path, count: usize) {
    until_some(|| {
        let files = fs::read_dir(data.join("watches")).map_or(0, |files| {
            files.filter(|file| file.as_ref().unwrap().path().extension().is_none()).count()
        });
        if files == count { Ok(()) } else { Err(format!("{files} files")) }
    });
}

/// Takes HTTP requests, one a connection, and answers each with this status.
fn receiver(status: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = sync_channel(16);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            // The state is the last line of each request.
            while !request.ends_with(b"\n") || request.ends_with(b"\r\n") {
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => request.extend_from_slice(&chunk[..count]),
                    _ => break,
                }
            }
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nreply");
            let _ = stream.write_all(answer.as_bytes());
            if sender.send(text(&request)).is_err() {
                return;
            }
        }
    });
    (port, requests)
}
