//! Golden dialogues: `testdata/serf/*.txt` hold commands (`> ...`) and what the nodes of a pool
//! tell then. `UPDATE_EXPECT=1 cargo test` writes the answers anew; read the difference.
//!
//! Who hears of what first is a matter of luck. So what a node tells between two commands is
//! sorted; only what is told of one member stays in its order. Then luck must not show.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use gossip::serf::{Event, KeyOperation, Outcome, QueryOptions, Snapshot};
use gossip::wire::serf::Filter;
use types::member::Member;

use super::network::{Network, encrypted, key, name};

/// Each dialogue is the same with all of these.
const SEEDS: u64 = 5;

#[test]
fn dialogues() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/serf");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let script = std::fs::read_to_string(&file).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, run(&script, 0)).unwrap();
        } else {
            for seed in 0..SEEDS {
                assert_eq!(run(&script, seed), script, "{} with seed {seed}", file.display());
            }
        }
    }
}

fn run(script: &str, seed: u64) -> String {
    let mut network = Network::new(seed);
    let mut text = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(text, "{line}");
            let words: Vec<&str> = command.split_whitespace().collect();
            let told = obey(&mut network, &words, seed);
            text.push_str(&told);
            for (number, host) in &mut network.hosts {
                tell(&mut text, &name(*number), host);
                host.forget();
            }
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// Carries out a command; what it says by itself.
fn obey(network: &mut Network, words: &[&str], seed: u64) -> String {
    let n = |place: usize| -> u8 {
        let word = words.get(place).map(|word| word.trim_start_matches('n'));
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let word = |place: usize| words.get(place).copied().unwrap_or_default();
    let payload = |place: usize| Bytes::copy_from_slice(word(place).as_bytes());
    match words[0] {
        "pool" => {
            let adjust = if word(2) == "encrypted" { encrypted } else { |_, _: &mut _| {} };
            *network = Network::joined_with(n(1), seed, adjust);
        }
        "start" => network.start(n(1)),
        "join" => drop(network.join(n(1), n(2))),
        "crash" => network.crash(n(1)),
        "full-disk" => network.hosts.get_mut(&n(1)).unwrap().disk_full = true,
        "run" => network.run(word(1).parse().unwrap()),
        "cut" => network.cuts.extend([(n(1), n(2)), (n(2), n(1))]),
        "heal" => network.cuts.clear(),
        "leave" => drop(network.with(n(1), |serf, now| serf.leave(now))),
        "force-leave" => {
            let (gone, prune) = (name(n(2)), word(3) == "prune");
            network.with(n(1), |serf, now| serf.force_leave(&gone, prune, now));
        }
        "tags" => {
            let pairs = words[2..].iter().filter_map(|pair| pair.split_once('='));
            let tags = pairs.map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect();
            network.with(n(1), |serf, now| serf.set_tags(tags, now)).unwrap();
        }
        "event" => {
            let sent =
                network.with(n(1), |serf, now| serf.user_event(word(2), payload(3), false, now));
            return sent.err().map_or_else(String::new, |error| format!("{error}\n"));
        }
        "query" => {
            let mut options = QueryOptions::default();
            for option in &words[4..] {
                match option.split_once('=').unwrap_or((option, "")) {
                    ("ack", _) => options.acknowledge = true,
                    ("relay", factor) => options.relay_factor = factor.parse().unwrap(),
                    ("node", node) => options.filters.push(Filter::Nodes(vec![node.to_owned()])),
                    (tag, value) => options
                        .filters
                        .push(Filter::Tag { tag: tag.to_owned(), expression: value.to_owned() }),
                }
            }
            let asked =
                network.with(n(1), |serf, now| serf.query(word(2), payload(3), options, now));
            return asked.err().map_or_else(String::new, |error| format!("{error}\n"));
        }
        "answer" => return answer(network, n(1), payload(2)),
        "keys" => {
            let operation = match (word(2), n(3)) {
                ("install", byte) => KeyOperation::Install(key(byte)),
                ("use", byte) => KeyOperation::Use(key(byte)),
                ("remove", byte) => KeyOperation::Remove(key(byte)),
                _ => KeyOperation::List,
            };
            network.with(n(1), |serf, now| serf.operate_keys(&operation, 0, now)).unwrap();
        }
        "snapshot" => {
            let (kept, _) = Snapshot::read(network.hosts[&n(1)].snapshot.as_bytes(), false);
            let alive: Vec<&str> = kept.alive().map(|(name, _)| name).collect();
            return format!("alive {alive:?}, clocks {:?}\n", kept.clocks().map(|clock| clock.0));
        }
        "status" => return network.shown(),
        other => panic!("no command {other}"),
    }
    String::new()
}

/// Has a node answer the last query that it heard.
fn answer(network: &mut Network, host: u8, payload: Bytes) -> String {
    let Some(query) = network.hosts[&host].asked.clone() else { return "no query\n".to_owned() };
    let sent = network.with(host, |serf, now| serf.respond(&query, payload, now));
    sent.err().map_or_else(String::new, |error| format!("{error}\n"))
}

fn tell(text: &mut String, node: &str, host: &super::network::Host) {
    let member = |member: &Member| member.name.clone();
    let mut events: Vec<&Event> = host.events.iter().collect();
    events.sort_by_key(|event| match event {
        Event::MemberJoin(who)
        | Event::MemberLeave(who)
        | Event::MemberFailed(who)
        | Event::MemberUpdate(who)
        | Event::MemberReap(who) => (0, who.name.clone()),
        Event::User(user) => (1, user.lamport_time.0.to_string()),
        Event::Query(query) => (2, query.lamport_time.0.to_string()),
    });
    for event in events {
        let told = match event {
            Event::MemberJoin(who) => format!("join {}", member(who)),
            Event::MemberLeave(who) => format!("leave {}", member(who)),
            Event::MemberFailed(who) => format!("failed {}", member(who)),
            Event::MemberUpdate(who) => format!("update {} {:?}", member(who), who.tags),
            Event::MemberReap(who) => format!("reap {}", member(who)),
            Event::User(user) => {
                format!("event {} {:?} at {}", user.name, user.payload, user.lamport_time.0)
            }
            Event::Query(query) => format!(
                "query {} {:?} from {} at {}",
                query.name, query.payload, query.source_node, query.lamport_time.0
            ),
        };
        let _ = writeln!(text, "{node}: {told}");
    }
    let outcomes = host.outcomes.iter().map(|(_, outcome)| match outcome {
        Outcome::Keys(answers) => {
            let all: Vec<usize> = answers.keys.values().copied().collect();
            let error = answers.error().unwrap_or_else(|| "done".to_owned());
            format!("{node}= {error}, keys {all:?}, {:?}\n", answers.messages)
        }
        outcome => format!("{node}= {outcome:?}\n"),
    });
    let mut outcomes: Vec<String> = outcomes.collect();
    outcomes.sort();
    let mut reports: Vec<String> =
        host.reports.iter().map(|report| format!("{node}! {report}\n")).collect();
    reports.sort();
    text.extend(outcomes.into_iter().chain(reports));
}
