//! TLS, ACL, certificates given automatically.

use super::definitions::SERVICE_PROVIDER_TOKEN;
use super::{Feature, Kind, Opt, duration, flag, list, map, of_kind, text};

pub(super) const OPTIONS: &[Opt] = &[
    // TLS: what all listeners inherit, then each listener.
    text("tls.defaults.ca_file", "", "Authorities, one file.").reloads(),
    text("tls.defaults.ca_path", "", "Authorities, a folder.").reloads(),
    text("tls.defaults.cert_file", "", "Certificate.").reloads(),
    text("tls.defaults.key_file", "", "Key.").reloads(),
    text("tls.defaults.tls_min_version", "", "Oldest version; TLSv1_2 when unset.").reloads(),
    text("tls.defaults.tls_cipher_suites", "", "Suites below TLS 1.3, commas between.").reloads(),
    flag("tls.defaults.verify_incoming", false, "Peers need a certificate.").reloads(),
    flag("tls.defaults.verify_outgoing", false, "Own connections verify.").reloads(),
    flag("tls.defaults.verify_server_hostname", false, "Check server names.").reloads(),
    flag("tls.defaults.use_auto_cert", false, "Only valid in tls.grpc.").reloads(),
    text("tls.https.ca_file", "", "Authorities, one file.").reloads(),
    text("tls.https.ca_path", "", "Authorities, a folder.").reloads(),
    text("tls.https.cert_file", "", "Certificate.").reloads(),
    text("tls.https.key_file", "", "Key.").reloads(),
    text("tls.https.tls_min_version", "", "Oldest version.").reloads(),
    text("tls.https.tls_cipher_suites", "", "Suites below TLS 1.3.").reloads(),
    flag("tls.https.verify_incoming", false, "Clients need a certificate.").reloads(),
    flag("tls.https.verify_outgoing", false, "Own connections verify.").reloads(),
    flag("tls.https.verify_server_hostname", false, "Only valid in defaults, internal_rpc.")
        .reloads(),
    flag("tls.https.use_auto_cert", false, "Only valid in tls.grpc.").reloads(),
    port("tls.internal_rpc.ca_file", Kind::Str),
    port("tls.internal_rpc.ca_path", Kind::Str),
    port("tls.internal_rpc.cert_file", Kind::Str),
    port("tls.internal_rpc.key_file", Kind::Str),
    port("tls.internal_rpc.tls_min_version", Kind::Str),
    port("tls.internal_rpc.tls_cipher_suites", Kind::Str),
    port("tls.internal_rpc.verify_incoming", Kind::Bool),
    port("tls.internal_rpc.verify_outgoing", Kind::Bool),
    port("tls.internal_rpc.verify_server_hostname", Kind::Bool),
    internal("tls.internal_rpc.use_auto_cert", Kind::Bool),
    internal("tls.grpc.ca_file", Kind::Str),
    internal("tls.grpc.ca_path", Kind::Str),
    internal("tls.grpc.cert_file", Kind::Str),
    internal("tls.grpc.key_file", Kind::Str),
    internal("tls.grpc.tls_min_version", Kind::Str),
    internal("tls.grpc.tls_cipher_suites", Kind::Str),
    internal("tls.grpc.verify_incoming", Kind::Bool),
    internal("tls.grpc.verify_outgoing", Kind::Bool),
    internal("tls.grpc.verify_server_hostname", Kind::Bool),
    internal("tls.grpc.use_auto_cert", Kind::Bool),
    text("server_name", "", "Own name in TLS."),
    // ACL.
    flag("acl.enabled", false, "Access control.").of(Feature::Acl),
    text("acl.default_policy", "allow", "allow or deny.").of(Feature::Acl),
    text("acl.down_policy", "extend-cache", "What holds while no server answers.").of(Feature::Acl),
    duration("acl.token_ttl", "30s", "How long tokens are cached.").of(Feature::Acl),
    duration("acl.policy_ttl", "30s", "How long policies are cached.").of(Feature::Acl),
    duration("acl.role_ttl", "0s", "How long roles are cached.").of(Feature::Acl),
    flag("acl.enable_key_list_policy", false, "Listing keys needs permission.").of(Feature::Acl),
    flag("acl.enable_token_replication", false, "Replicate tokens.").of(Feature::Acl),
    flag("acl.enable_token_persistence", false, "Keep tokens on disk.").reloads().of(Feature::Acl),
    flag("acl.msp_disable_bootstrap", false, "Managed service providers.").enterprise(),
    token("acl.tokens.initial_management"),
    token("acl.tokens.replication"),
    token("acl.tokens.agent_recovery"),
    token("acl.tokens.default"),
    token("acl.tokens.agent"),
    token("acl.tokens.config_file_service_registration"),
    token("acl.tokens.dns"),
    of_kind(
        "acl.tokens.managed_service_provider",
        Kind::Objects(SERVICE_PROVIDER_TOKEN),
        "Managed service providers.",
    )
    .enterprise()
    .secret(),
    text("default_intention_policy", "", "allow or deny; follows ACLs when unset.")
        .of(Feature::Connect),
    // Certificates given by servers.
    flag("auto_encrypt.tls", false, "Get a certificate from the servers.").of(Feature::AutoEncrypt),
    flag("auto_encrypt.allow_tls", false, "Give certificates to clients.").of(Feature::AutoEncrypt),
    list("auto_encrypt.dns_san", "Names in the certificate.").of(Feature::AutoEncrypt),
    list("auto_encrypt.ip_san", "Addresses in the certificate.").of(Feature::AutoEncrypt),
    flag("auto_config.enabled", false, "Get configuration from the servers.")
        .of(Feature::AutoConfig),
    text("auto_config.intro_token", "", "JWT that introduces the agent.")
        .of(Feature::AutoConfig)
        .secret(),
    text("auto_config.intro_token_file", "", "File with that JWT.").of(Feature::AutoConfig),
    list("auto_config.server_addresses", "Servers to ask.").of(Feature::AutoConfig),
    list("auto_config.dns_sans", "Names in the certificate.").of(Feature::AutoConfig),
    list("auto_config.ip_sans", "Addresses in the certificate.").of(Feature::AutoConfig),
    flag("auto_config.authorization.enabled", false, "Answer clients.").of(Feature::AutoConfig),
    authorization_list("auto_config.authorization.static.claim_assertions"),
    flag("auto_config.authorization.static.allow_reuse", false, "A JWT may be used again.")
        .of(Feature::AutoConfig),
    authorization_list("auto_config.authorization.static.jwt_supported_algs"),
    authorization_list("auto_config.authorization.static.bound_audiences"),
    map("auto_config.authorization.static.claim_mappings", "Claims by name.")
        .of(Feature::AutoConfig),
    map("auto_config.authorization.static.list_claim_mappings", "List claims by name.")
        .of(Feature::AutoConfig),
    authorization("auto_config.authorization.static.oidc_discovery_url"),
    authorization("auto_config.authorization.static.oidc_discovery_ca_cert"),
    authorization("auto_config.authorization.static.jwks_url"),
    authorization("auto_config.authorization.static.jwks_ca_cert"),
    authorization_list("auto_config.authorization.static.jwt_validation_pub_keys"),
    authorization("auto_config.authorization.static.bound_issuer"),
    authorization_age("auto_config.authorization.static.expiration_leeway"),
    authorization_age("auto_config.authorization.static.not_before_leeway"),
    authorization_age("auto_config.authorization.static.clock_skew_leeway"),
];

/// TLS of the server port and of the way to it.
const fn port(key: &'static str, kind: Kind) -> Opt {
    of_kind(key, kind, "As in tls.defaults.").reloads().of(Feature::Rpc)
}

const fn internal(key: &'static str, kind: Kind) -> Opt {
    of_kind(key, kind, "As in tls.defaults.").reloads().of(Feature::InternalTls)
}

const fn token(key: &'static str) -> Opt {
    text(key, "", "A token of the agent.").reloads().secret().of(Feature::Acl)
}

const fn authorization(key: &'static str) -> Opt {
    text(key, "", "How a JWT is judged.").of(Feature::AutoConfig)
}

const fn authorization_list(key: &'static str) -> Opt {
    list(key, "How a JWT is judged.").of(Feature::AutoConfig)
}

const fn authorization_age(key: &'static str) -> Opt {
    duration(key, "0s", "How a JWT is judged.").of(Feature::AutoConfig)
}
