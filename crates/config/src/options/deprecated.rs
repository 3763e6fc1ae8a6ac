//! Old spellings: which key they mean today (`reference/config.md` section 4).
//!
//! Each gives one warning that names the key to use. A value under the new key
//! wins over one under the old key in the same source.

/// What an old key does besides setting its new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Rename,
    /// Sets another boolean option too, unless the source sets that itself.
    AlsoSets(&'static str, bool),
    /// The value is a TLS version in the old spelling.
    TlsVersion,
    /// There is no new key.
    Ignored,
}

/// One old key.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    /// The old dotted path.
    pub old: &'static str,
    /// The new dotted path, empty for none.
    pub new: &'static str,
    /// What else it does.
    pub effect: Effect,
    /// Whether it is an alias that Consul takes without a word.
    pub silent: bool,
}

const fn renamed(old: &'static str, new: &'static str) -> Deprecated {
    Deprecated { old, new, effect: Effect::Rename, silent: false }
}

const fn with(old: &'static str, new: &'static str, effect: Effect) -> Deprecated {
    Deprecated { old, new, effect, silent: false }
}

/// Every old key.
pub const DEPRECATED: &[Deprecated] = &[
    renamed("acl_agent_master_token", "acl.tokens.agent_recovery"),
    renamed("acl_agent_token", "acl.tokens.agent"),
    renamed("acl_token", "acl.tokens.default"),
    renamed("acl_master_token", "acl.tokens.initial_management"),
    with(
        "acl_replication_token",
        "acl.tokens.replication",
        Effect::AlsoSets("acl.enable_token_replication", true),
    ),
    renamed("acl.tokens.master", "acl.tokens.initial_management"),
    renamed("acl.tokens.agent_master", "acl.tokens.agent_recovery"),
    with("acl_datacenter", "primary_datacenter", Effect::AlsoSets("acl.enabled", true)),
    renamed("acl_default_policy", "acl.default_policy"),
    renamed("acl_down_policy", "acl.down_policy"),
    renamed("acl_ttl", "acl.token_ttl"),
    renamed("acl_enable_key_list_policy", "acl.enable_key_list_policy"),
    renamed("enable_acl_replication", "acl.enable_token_replication"),
    renamed("ca_file", "tls.defaults.ca_file"),
    renamed("ca_path", "tls.defaults.ca_path"),
    renamed("cert_file", "tls.defaults.cert_file"),
    renamed("key_file", "tls.defaults.key_file"),
    renamed("tls_cipher_suites", "tls.defaults.tls_cipher_suites"),
    with("tls_min_version", "tls.defaults.tls_min_version", Effect::TlsVersion),
    with(
        "verify_incoming",
        "tls.defaults.verify_incoming",
        Effect::AlsoSets("tls.grpc.verify_incoming", false),
    ),
    renamed("verify_outgoing", "tls.defaults.verify_outgoing"),
    renamed("verify_incoming_https", "tls.https.verify_incoming"),
    renamed("verify_incoming_rpc", "tls.internal_rpc.verify_incoming"),
    renamed("verify_server_hostname", "tls.internal_rpc.verify_server_hostname"),
    with("tls_prefer_server_cipher_suites", "", Effect::Ignored),
    renamed("start_join", "retry_join"),
    renamed("start_join_wan", "retry_join_wan"),
    renamed("raft_boltdb.nofreelistsync", "raft_logstore.boltdb.no_freelist_sync"),
    renamed("raft_boltdb.no_freelist_sync", "raft_logstore.boltdb.no_freelist_sync"),
    renamed("ui", "ui_config.enabled"),
    renamed("ui_dir", "ui_config.dir"),
    renamed("ui_content_path", "ui_config.content_path"),
    Deprecated {
        old: "non_voting_server",
        new: "read_replica",
        effect: Effect::Rename,
        silent: true,
    },
];

/// Keys without any effect that are taken with a warning of their own.
pub const IGNORED: &[&str] = &["acl_enforce_version_8"];

/// The entry of an old dotted path.
pub fn find(path: &str) -> Option<&'static Deprecated> {
    DEPRECATED.iter().find(|entry| entry.old == path)
}

/// Whether some old key lies below the dotted path `path`.
pub(crate) fn is_block(path: &str) -> bool {
    DEPRECATED
        .iter()
        .any(|entry| entry.old.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}
