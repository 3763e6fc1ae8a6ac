//! `consul monitor` against a real agent.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Agent, text};

/// Reads lines until one contains this.
fn line_with(lines: &mut impl Iterator<Item = String>, text: &str) -> String {
    lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line says {text:?}"))
}

fn lines(monitor: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(monitor.stdout.take().unwrap()).lines().map_while(Result::ok)
}

#[test]
fn the_log_is_followed_at_a_level_of_its_own_until_an_interrupt() {
    let mut agent = Agent::start(&["-dev", "-log-level=info"]);
    agent.await_line("Consul agent running!");
    let mut monitor = agent.spawn_consul(&["monitor", "-log-level=debug"]);
    let mut plain = lines(&mut monitor);
    let mut json_monitor = agent.spawn_consul(&["monitor", "-log-json"]);
    let mut json = lines(&mut json_monitor);
    // Whoever follows is not heard of; what happens again and again is seen by both at last.
    let (plain, json) = std::thread::scope(|scope| {
        let plain = scope.spawn(|| line_with(&mut plain, "[DEBUG] agent.http: Request finished"));
        let json = scope.spawn(|| line_with(&mut json, "Synced check"));
        for note in 0.. {
            if plain.is_finished() && json.is_finished() {
                break;
            }
            let id = format!("c{note}");
            let check = format!("{{\"ID\": {id:?}, \"Name\": \"c\", \"TTL\": \"1h\"}}");
            assert_eq!(agent.http("PUT", "/v1/agent/check/register", &check).0, 200);
        }
        (plain.join().unwrap(), json.join().unwrap())
    });
    assert!(plain.contains("method="), "{plain}");
    assert!(json.starts_with("{\"@level\":\"info\",\"@message\":\"Synced check\""), "{json}");

    kill_process(Pid::from_child(&monitor), Signal::INT).unwrap();
    assert_eq!(monitor.wait().unwrap().code(), Some(0));

    agent.signal("TERM");
    agent.ended();
    assert!(!agent.seen.iter().any(|line| line.contains("[DEBUG]")), "its own level stays");
    assert_eq!(json_monitor.wait().unwrap().code(), Some(1));
    let mut error = Vec::new();
    json_monitor.stderr.take().unwrap().read_to_end(&mut error).unwrap();
    assert!(text(&error).contains("Remote side ended the monitor!"), "{}", text(&error));
}
