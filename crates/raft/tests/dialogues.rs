//! Golden dialogues: `testdata/*.txt` hold commands (`> ...`) and what a cluster answers.
//! `UPDATE_EXPECT=1 cargo test` writes the answers anew; read the difference.

mod cluster;

use std::fmt::Write as _;
use std::time::Duration;

use cluster::{Cluster, id, voter};
use raft::*;

fn run(script: &str) -> String {
    let mut cluster = Cluster::new(0, 0, 1);
    let mut text = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(text, "{line}");
            cluster.out.clear();
            command_line(&mut cluster, command);
            text.push_str(&cluster.out);
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn command_line(cluster: &mut Cluster, command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let n = |place: usize| -> u8 { words.get(place).and_then(|w| w.parse().ok()).unwrap_or(0) };
    match words[0] {
        "cluster" => *cluster = Cluster::new(n(1), n(2), 1),
        "start" => cluster.start(n(1), 1),
        "restart" => {
            cluster.crash(n(1));
            cluster.start(n(1), 2);
        }
        "crash" => cluster.crash(n(1)),
        "wipe" => {
            cluster.crash(n(1));
            cluster.nodes.insert(n(1), cluster::Node::default());
            cluster.start(n(1), 2);
        }
        "timeout" => cluster.time_out(n(1)),
        "deliver" => cluster.deliver(),
        "step" => (0..cluster.queue.len()).for_each(|_| cluster.deliver_at(0)),
        "lose" => cluster.queue.clear(),
        "hold" => cluster.kept.append(&mut cluster.queue),
        "release" => cluster.queue.append(&mut cluster.kept),
        "elect" => {
            cluster.time_out(n(1));
            cluster.deliver();
        }
        "advance" => cluster.advance(Duration::from_millis(words[1].parse().unwrap())),
        "wait" => cluster.now += Duration::from_millis(words[1].parse().unwrap()),
        "quiet" => {
            cluster.advance(Duration::from_millis(words[1].parse().unwrap()));
            cluster.out.clear();
        }
        "isolate" => {
            for other in cluster.nodes.keys().copied().filter(|other| *other != n(1)) {
                cluster.cuts.extend([(n(1), other), (other, n(1))]);
            }
        }
        "cut" => cluster.cuts.extend([(n(1), n(2)), (n(2), n(1))]),
        "heal" => cluster.cuts.clear(),
        "stall" => cluster.nodes.get_mut(&n(1)).unwrap().stalled = true,
        "persist" => cluster.persist(n(1)),
        "trailing" | "max-entries" | "no-pre-vote" => {
            match words[0] {
                "no-pre-vote" => cluster.options.pre_vote = false,
                "trailing" => cluster.options.trailing_logs = u64::from(n(1)),
                _ => cluster.options.max_append_entries = usize::from(n(1)),
            }
            let options = cluster.options.clone();
            for node in cluster.nodes.values_mut() {
                node.core.iter_mut().for_each(|core| core.set_options(options.clone()));
            }
        }
        _ => ask(cluster, &words, n),
    }
}

fn ask(cluster: &mut Cluster, words: &[&str], n: impl Fn(usize) -> u8) {
    let server = || (id(n(2)), format!("10.0.0.{}:8300", n(2)).into());
    let change = match words[0] {
        "add-voter" => Some(Change::AddVoter { id: server().0, address: server().1 }),
        "add-nonvoter" => Some(Change::AddNonvoter { id: server().0, address: server().1 }),
        "demote" => Some(Change::DemoteVoter { id: server().0 }),
        "remove" => Some(Change::Remove { id: server().0 }),
        _ => None,
    };
    if let Some(change) = change {
        let result = cluster.with(n(1), |core, now| core.change_membership(&change, None, now));
        return say(cluster, result.unwrap().map(|position| position.index.0));
    }
    match words[0] {
        "propose" => {
            let batch = words[2..].iter().map(|w| Proposal::command(w.as_bytes().to_vec()));
            let result = cluster.with(n(1), |core, now| core.propose(batch.collect(), now));
            say(cluster, result.unwrap().map(|position| position.index.0));
        }
        "transfer" => {
            let target = words.get(2).map(|_| id(n(2)));
            let result = cluster.with(n(1), |core, now| core.transfer_leadership(target, now));
            say(cluster, result.unwrap());
        }
        "verify" => {
            let result = cluster.with(n(1), |core, now| core.verify_leader(now));
            say(cluster, result.unwrap().map(|_| "asked"));
        }
        "lease" => {
            let valid = cluster.with(n(1), |core, now| core.lease_valid(now));
            let _ = writeln!(cluster.out, "{}", valid.unwrap());
        }
        "down" => {
            let ended = id(n(2));
            let _ = cluster.with(n(1), |core, now| core.handle_peer_down(&ended, now));
        }
        "step-down" => drop(cluster.with(n(1), |core, now| core.step_down(now))),
        "snapshot" => {
            let index = cluster.snapshot(n(1));
            say::<_, ()>(cluster, Ok(index.map(|index| index.0)));
        }
        "restore" => restore(cluster, n(1)),
        // Of whom it is asked, the index that the operator saw (0: the true one), who is left.
        "recover" => {
            let left = words[3..].iter().map(|word| voter(word.parse().unwrap()));
            let left = Configuration { servers: left.collect() };
            let seen = types::Index(u64::from(n(2)));
            let result = cluster.with(n(1), |core, now| {
                let last = core.status().last;
                let index = if seen.0 == 0 { last.index } else { seen };
                core.recover(&left, LogPosition { index, ..last }, now)
            });
            say(cluster, result.unwrap().map(|position| (position.term.0, position.index.0)));
        }
        "status" => status(cluster),
        other => panic!("no command {other}"),
    }
}

fn say<T: std::fmt::Debug, E: std::fmt::Debug>(cluster: &mut Cluster, result: Result<T, E>) {
    let _ = writeln!(cluster.out, "{result:?}");
}

fn restore(cluster: &mut Cluster, n: u8) {
    let begun = cluster.with(n, |core, now| core.begin_restore(types::Index(0), now)).unwrap();
    let (last, configurations) = begun.unwrap();
    let node = cluster.nodes.get_mut(&n).unwrap();
    node.state = vec![(last.index.0, last.term.0, "restored".into())];
    let meta = SnapshotMeta {
        id: "restored".into(),
        last,
        configuration: configurations.latest,
        configuration_index: configurations.latest_index,
        size: 1,
    };
    node.snapshot = Some((meta.clone(), node.state.clone()));
    cluster.with(n, |core, now| core.handle_restored(meta, now)).unwrap().unwrap();
}

fn status(cluster: &mut Cluster) {
    let mut text = String::new();
    for (n, node) in &mut cluster.nodes {
        let Some(core) = node.core.as_mut() else {
            let _ = writeln!(text, "n{n} is down");
            continue;
        };
        let s = core.status();
        let voters: Vec<_> = core.configurations().latest.voters().cloned().collect();
        let _ = writeln!(
            text,
            "n{n} {:?} t{} leader {:?} log {}..{}/t{} stable {} commit {} applied {} voters {voters:?}",
            s.role,
            s.term.0,
            s.leader,
            s.first,
            s.last.index,
            s.last.term.0,
            s.stable,
            s.commit,
            s.applied
        );
    }
    cluster.out.push_str(&text);
}

#[test]
fn every_dialogue_goes_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&script));
        let text = outcome.unwrap_or_else(|_| panic!("in {}", path.display()));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}
