//! What to do about agents that cannot talk to each other: their errors say what happened,
//! in words that programs know, and not which option has to change on which side.

/// What an error of gossip comes from, seen from this agent.
pub(crate) fn on_gossip(error: &str) -> Option<&'static str> {
    if error.contains("Remote state is encrypted and encryption is not configured") {
        return Some(
            "the other agent encrypts gossip and this one does not: set `encrypt` here to the \
             key of its pool (`consul keyring -list` there)",
        );
    }
    if error.contains("Encryption is configured but remote state is not encrypted") {
        return Some(
            "this agent encrypts gossip and the other one does not: set `encrypt` there to the \
             key of this pool (`consul keyring -list` here)",
        );
    }
    error.contains("No installed keys could decrypt the message").then_some(
        "both agents encrypt gossip, with different keys: compare `consul keyring -list` of \
         both; keys in serf/*.keyring of a data directory count more than `encrypt`",
    )
}

/// What an error of the way to a server comes from, seen from this agent.
pub(crate) fn on_server_port(error: &str, uses_tls: bool) -> Option<&'static str> {
    if error.ends_with("EOF") || error.ends_with("connection reset by peer") {
        return Some(match uses_tls {
            false => {
                "if the server has verify_incoming, set tls.defaults.ca_file, cert_file, \
                 key_file and verify_outgoing here"
            }
            true => {
                "if the server has verify_incoming, set tls.defaults.cert_file and key_file \
                 here to a certificate of its authority; if it has no TLS, set its cert_file \
                 and key_file"
            }
        });
    }
    if error.contains("certificate signed by unknown authority") {
        return Some(
            "the server's certificate is of an authority that is not in tls.defaults.ca_file here",
        );
    }
    (error.contains("x509: certificate is valid for") || error.contains("certificate is not valid"))
        .then_some(
            "verify_server_hostname asks for the name server.<datacenter>.<domain> in the \
             server's certificate: `consul tls cert create -server` makes one",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mismatch_names_the_option_and_the_side() {
        let plain = "Remote state is encrypted and encryption is not configured";
        for (advice, words) in [
            (on_gossip(plain), &["`encrypt` here"][..]),
            (
                on_gossip("Encryption is configured but remote state is not encrypted from=x"),
                &["`encrypt` there"],
            ),
            (on_gossip("No installed keys could decrypt the message"), &["keyring -list"]),
            (on_server_port("rpc error making call: EOF", false), &["verify_outgoing here"]),
            (on_server_port("rpc error making call: EOF", true), &["cert_file and key_file here"]),
            (
                on_server_port("tls: x509: certificate signed by unknown authority", true),
                &["ca_file here"],
            ),
            (
                on_server_port("x509: certificate is valid for a, not server.dc1.consul", true),
                &["cert create -server"],
            ),
        ] {
            let advice = advice.unwrap_or_default();
            assert!(words.iter().all(|word| advice.contains(word)), "{words:?}: {advice:?}");
        }
        assert_eq!(on_gossip("i/o timeout"), None);
        assert_eq!(on_server_port("rpc error making call: Permission denied", false), None);
    }
}
