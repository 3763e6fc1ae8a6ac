//! Every target, one file for each part of the system.

mod api;
mod archive;
mod catalog_rows;
mod config;
mod dns;
mod filter;
mod flags;
mod gossip;
mod http_path;
mod json_struct;
mod log_line;
mod msgpack;
mod query_template;
mod raft_wire;
mod remote;
mod requests;
mod rpc;
mod serf;
mod snapshot;
mod wal;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its test and of its folder in the corpus.
    pub name: &'static str,
    /// Panics if the input breaks a promise.
    pub check: fn(&[u8]),
    /// Words that inputs are made of.
    pub words: &'static [&'static str],
    /// Inputs that are no text, made by the code that they are meant for.
    pub made: fn() -> Vec<Vec<u8>>,
}

impl Target {
    const fn new(name: &'static str, check: fn(&[u8]), words: &'static [&'static str]) -> Self {
        Self { name, check, words, made: Vec::new }
    }

    const fn made_by(mut self, made: fn() -> Vec<Vec<u8>>) -> Self {
        self.made = made;
        self
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("filter", filter::check, filter::WORDS),
    Target::new("hcl", config::check_hcl, config::HCL_WORDS),
    Target::new("json", config::check_json, config::JSON_WORDS),
    Target::new("config", config::check_config, config::HCL_WORDS),
    Target::new("template", config::check_template, config::TEMPLATE_WORDS),
    Target::new("dns", dns::check, dns::WORDS).made_by(dns::made),
    Target::new("http_path", http_path::check, http_path::WORDS),
    Target::new("kv", api::check_kv, api::KV_WORDS),
    Target::new("catalog", api::check_catalog, api::CATALOG_WORDS),
    Target::new("txn", api::check_txn, api::TXN_WORDS),
    Target::new("prepared_query", api::check_queries, api::QUERY_WORDS),
    Target::new("query_template", query_template::check, query_template::WORDS),
    Target::new("log_command", api::check_log_command, &[]).made_by(api::made_commands),
    Target::new("json_struct", json_struct::check, json_struct::WORDS),
    Target::new("msgpack", msgpack::check, &[]).made_by(msgpack::made),
    Target::new("raft_configuration", msgpack::check_configuration, &[])
        .made_by(msgpack::made_configurations),
    Target::new("raft_wire", raft_wire::check, &[]).made_by(raft_wire::made),
    Target::new("remote", remote::check, &[]).made_by(remote::made),
    Target::new("wal_log", wal::check_log, &[]).made_by(wal::made_edits),
    Target::new("wal_stable", wal::check_stable, &[]).made_by(wal::made_edits),
    Target::new("wal_snapshot", wal::check_snapshot, &[]).made_by(wal::made_edits),
    Target::new("snapshot", snapshot::check, &[]).made_by(snapshot::made),
    Target::new("archive", archive::check, &[]).made_by(archive::made),
    Target::new("flags", flags::check, flags::WORDS),
    Target::new("duration", flags::check_duration, flags::DURATION_WORDS),
    Target::new("service_definition", json_struct::check_definition, json_struct::WORDS),
    Target::new("log_line", log_line::check, &[]),
    Target::new("gossip_packet", gossip::check_packet, &[]).made_by(gossip::made_packets),
    Target::new("gossip_stream", gossip::check_stream, &[]).made_by(gossip::made_streams),
    Target::new("gossip_serf", gossip::check_serf, &[]).made_by(gossip::made_serf),
    Target::new("serf", serf::check, &[]).made_by(serf::made),
    Target::new("serf_files", serf::check_files, serf::FILE_WORDS),
    Target::new("rpc_frames", rpc::check_frames, &[]).made_by(rpc::made_frames),
    Target::new("rpc_calls", rpc::check_calls, &[]).made_by(rpc::made_calls),
];

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The input as text, as lenient readers take it.
fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

/// An error says something, and not too much.
fn assert_says(error: &str, input_bytes: usize) {
    assert!(!error.trim().is_empty(), "an error without a word");
    let most = 16 * input_bytes + 16 * 1024;
    assert!(error.len() < most, "{} bytes of error for {input_bytes} of input", error.len());
}
