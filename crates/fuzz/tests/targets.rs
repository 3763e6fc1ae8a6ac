//! Each target under bolero: its corpus, then what is made of the corpus.

use std::time::Duration;

use fuzz::choices::Choices;
use fuzz::targets::{self, TARGETS, Target};
use fuzz::{corpus, mutate};

/// How long a target runs in a plain `cargo test`, in milliseconds.
/// `BOLERO_RANDOM_TEST_TIME_MS` goes before it.
const RUN_MS: u64 = 250;

/// Most bytes that a random input is decided by.
const DECISIONS_BYTES_MAX: usize = 512;

macro_rules! fuzz {
    ($($name:ident)*) => {
        const RUN: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                let target = targets::find(stringify!($name)).expect("it is in the list");
                let seeds = seeds(target);
                seeds.iter().for_each(|seed| (target.check)(seed));
                bolero::check!()
                    .with_test_time(Duration::from_millis(RUN_MS))
                    .with_max_len(DECISIONS_BYTES_MAX)
                    .for_each(|bytes: &[u8]| {
                        (target.check)(bytes);
                        let mut choices = Choices::new(bytes);
                        (target.check)(&mutate::mutated(&seeds, target.words, &mut choices));
                    });
            }
        )*
    };
}

fuzz! {
    filter hcl json config template dns http_path kv catalog txn prepared_query query_template
    log_command json_struct msgpack raft_configuration raft_wire remote wal_log wal_stable wal_snapshot snapshot
    archive flags duration service_definition
    log_line gossip_packet gossip_stream gossip_serf serf serf_files rpc_frames rpc_calls
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    corpus::read(target.name).unwrap_or_else(|error| panic!("corpus of {}: {error}", target.name))
}

#[test]
fn every_target_is_run() {
    let named: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(named, RUN);
}

#[test]
fn the_corpus_is_small_and_there() {
    for target in TARGETS {
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            corpus::write(target.name, &(target.made)()).expect("the corpus can be written");
        }
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{} has no corpus", target.name);
        let total: usize = seeds.iter().map(Vec::len).sum();
        assert!(total < 64 * 1024, "the corpus of {} has {total} bytes", target.name);
    }
}
