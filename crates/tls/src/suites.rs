//! What is spoken: versions and cipher suites.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

static FROM_1_2: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static FROM_1_3: [&SupportedProtocolVersion; 1] = [&TLS13];

/// The versions from the configured one on. TLS 1.0 and 1.1 are not spoken, whatever is configured.
pub fn versions(only_1_3: bool) -> &'static [&'static SupportedProtocolVersion] {
    if only_1_3 { &FROM_1_3 } else { &FROM_1_2 }
}

/// Everything, or below TLS 1.3 these suites alone. Suites of that list without forward
/// secrecy or authenticated encryption are left out, with a warning.
pub fn provider(suites: &[String]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if suites.is_empty() {
        return Arc::new(provider);
    }
    let name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
    let spoken: Vec<String> = provider.cipher_suites.iter().map(name).collect();
    let unspoken: Vec<_> = suites.iter().filter(|s| !spoken.contains(s)).cloned().collect();
    if !unspoken.is_empty() {
        let suites = format!("[{}]", unspoken.join(", "));
        tracing::warn!(
            target: "agent",
            suites,
            "tls_cipher_suites: suites without forward secrecy or without authenticated \
             encryption are not spoken"
        );
    }
    provider.cipher_suites.retain(|suite| suite.tls13().is_some() || suites.contains(&name(suite)));
    Arc::new(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_suites_are_spoken_alone_below_tls_1_3() {
        let spoken = |suites: &[&str]| {
            let suites: Vec<String> = suites.iter().map(|suite| (*suite).to_owned()).collect();
            let suites = &provider(&suites).cipher_suites;
            let old = suites.iter().filter(|suite| suite.tls13().is_none());
            let new = suites.iter().filter(|suite| suite.tls13().is_some()).count();
            (old.map(|suite| format!("{:?}", suite.suite())).collect::<Vec<_>>(), new)
        };
        let (all, new) = spoken(&[]);
        assert_eq!((all.len(), new), (6, 3));
        let one = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
        assert_eq!(spoken(&[one, "TLS_RSA_WITH_AES_128_CBC_SHA"]), (vec![one.to_owned()], 3));
        let (none, new) = spoken(&["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]);
        assert_eq!((none.len(), new), (0, 3));
    }
}
