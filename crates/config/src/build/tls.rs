//! TLS of the listeners; unset keys are taken from `tls.defaults`.

use super::Build;
use crate::runtime::{TlsConfig, TlsListenerConfig, TlsVersion};
use crate::settings::quote;

/// Suites that may be named.
const CIPHER_SUITES: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
];

pub(super) fn tls(build: &mut Build<'_>) -> Result<TlsConfig, String> {
    let settings = build.settings;
    if settings.is_set("tls.grpc.verify_outgoing") {
        return Err("verify_outgoing is not valid in the tls.grpc stanza".to_owned());
    }
    if ["https", "grpc"]
        .iter()
        .any(|stanza| settings.is_set(&format!("tls.{stanza}.verify_server_hostname")))
    {
        return Err("verify_server_hostname is only valid in the tls.defaults and \
                    tls.internal_rpc stanzas"
            .to_owned());
    }
    if ["defaults", "https", "internal_rpc"]
        .iter()
        .any(|stanza| settings.is_set(&format!("tls.{stanza}.use_auto_cert")))
    {
        return Err("use_auto_cert is only valid in the tls.grpc stanza".to_owned());
    }
    check_stanza(build, "defaults");
    let mut internal_rpc = listener(build, "internal_rpc");
    if internal_rpc.verify_server_hostname {
        internal_rpc.verify_outgoing = true;
    }
    let mut https = listener(build, "https");
    https.verify_server_hostname = false;
    let mut grpc = listener(build, "grpc");
    grpc.verify_server_hostname = false;
    grpc.verify_outgoing = false;
    Ok(TlsConfig {
        internal_rpc,
        https,
        grpc,
        server_name: settings.text("server_name"),
        auto_encrypt: settings.bool("auto_encrypt.tls"),
        auto_encrypt_allow: settings.bool("auto_encrypt.allow_tls"),
    })
}

fn listener(build: &mut Build<'_>, stanza: &str) -> TlsListenerConfig {
    check_stanza(build, stanza);
    let settings = build.settings;
    let source = |key: &str| {
        let own = format!("tls.{stanza}.{key}");
        if settings.is_set(&own) { own } else { format!("tls.defaults.{key}") }
    };
    let file = |key: &str| settings.non_empty(&source(key)).map(Into::into);
    let on = |key: &str| settings.bool(&source(key));
    let version = settings.text(&source("tls_min_version"));
    TlsListenerConfig {
        ca_file: file("ca_file"),
        ca_path: file("ca_path"),
        cert_file: file("cert_file"),
        key_file: file("key_file"),
        min_version: find_version(&version).unwrap_or_default(),
        cipher_suites: suites(&settings.text(&source("tls_cipher_suites"))),
        verify_incoming: on("verify_incoming"),
        verify_outgoing: on("verify_outgoing"),
        verify_server_hostname: on("verify_server_hostname"),
        use_auto_cert: stanza == "grpc" && settings.bool("tls.grpc.use_auto_cert"),
    }
}

fn find_version(name: &str) -> Option<TlsVersion> {
    TlsVersion::ALL.iter().find(|(known, _)| *known == name).map(|(_, version)| *version)
}

fn suites(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Notes wrong versions and suites of one stanza under its own name.
fn check_stanza(build: &mut Build<'_>, stanza: &str) {
    let version = build.settings.text(&format!("tls.{stanza}.tls_min_version"));
    if !version.is_empty() && find_version(&version).is_none() {
        let names: Vec<_> = TlsVersion::ALL.iter().map(|(name, _)| *name).collect();
        build.errors.push(format!(
            "tls.{stanza}.tls_min_version: invalid TLS version: no matching TLS version found for \
             {version}, please specify one of [{}]",
            names.join(", ")
        ));
    }
    let key = format!("tls.{stanza}.tls_cipher_suites");
    let names = suites(&build.settings.text(&key));
    if names.is_empty() {
        return;
    }
    if find_version(&version) == Some(TlsVersion::V1_3) {
        build.errors.push(format!("{key}: TLS 1.3 cipher suites are not configurable"));
        return;
    }
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| !CIPHER_SUITES.contains(&name.as_str()))
        .map(|name| quote(name))
        .collect();
    if !unknown.is_empty() {
        build.errors.push(format!(
            "{key}: invalid TLS cipher suites: no matching cipher suite found for {}",
            unknown.join(", ")
        ));
    }
}
