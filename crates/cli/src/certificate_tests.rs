//! Certificates are read back with a parser that is not the one that wrote them.

use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-01-01.
const NOW: Duration = Duration::from_secs(1_767_225_600);

fn validity() -> Validity {
    Validity { from: NOW, until: NOW + DAY * 30 }
}

fn authority(common_name: &str, cluster_id: &str, domains: &[&str]) -> Issued {
    let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
    new_authority(&AuthorityRequest {
        common_name,
        cluster_id,
        domain: "consul",
        permitted_domains: &domains,
        validity: validity(),
    })
    .unwrap()
}

fn request(for_authentication: bool) -> CertificateRequest {
    CertificateRequest {
        common_name: "server.dc1.consul".to_owned(),
        dns_names: vec!["server.dc1.consul".to_owned(), "localhost".to_owned()],
        addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        for_authentication,
        validity: validity(),
    }
}

/// Name, criticality and content of each extension, one line each.
fn describe(pem: &str) -> (String, Vec<String>) {
    let der = find_block(pem, |label| label == "CERTIFICATE").unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.validity().not_before.timestamp(), 1_767_225_600);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_767_225_600 + 30 * 86_400);
    assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
    let serial = certificate.serial.to_string();
    let mut lines = vec![certificate.subject().to_string().replace(&serial, "SERIAL")];
    for extension in certificate.extensions() {
        let content = match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(_) => "subject key".to_owned(),
            ParsedExtension::AuthorityKeyIdentifier(_) => "authority key".to_owned(),
            ParsedExtension::KeyUsage(usage) => usage.to_string(),
            ParsedExtension::BasicConstraints(basic) => {
                format!("authority {} {:?}", basic.ca, basic.path_len_constraint)
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                format!("server {} client {}", usage.server_auth, usage.client_auth)
            }
            ParsedExtension::NameConstraints(names) => {
                let permitted = names.permitted_subtrees.as_deref().unwrap_or_default();
                let bases: Vec<String> =
                    permitted.iter().map(|subtree| show(&subtree.base)).collect();
                format!("only {}", bases.join(" "))
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let names: Vec<String> = names.general_names.iter().map(show).collect();
                names.join(" ")
            }
            other => panic!("{other:?}"),
        };
        lines.push(format!("{} {content}", if extension.critical { "!" } else { "-" }));
    }
    (serial, lines)
}

fn show(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("dns:{name}"),
        GeneralName::URI(name) => format!("uri:{name}"),
        GeneralName::IPAddress(bytes) => format!("ip:{bytes:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_authority_is_named_by_its_serial_number_and_signs_itself() {
    let issued = authority("", "", &[]);
    let (_, lines) = describe(&issued.certificate_pem);
    assert_eq!(
        lines,
        [
            "C=US, O=HashiCorp Inc., L=San Francisco, ST=CA, streetAddress=101 Second Street, \
             postalCode=94105, CN=Consul Agent CA SERIAL",
            "! Digital Signature, Key Cert Sign, CRL Sign",
            "- subject key",
            "! authority true None",
        ]
    );
    let der = find_block(&issued.certificate_pem, |_| true).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    certificate.verify_signature(None).unwrap();
}

#[test]
fn an_authority_may_be_limited_to_domains_and_have_a_spiffe_name() {
    let issued = authority("Mine", "11-22", &["x", "consul", "localhost"]);
    let (_, lines) = describe(&issued.certificate_pem);
    assert!(lines[0].ends_with(", CN=Mine"), "{}", lines[0]);
    assert!(lines.contains(&"- uri:spiffe://11-22.consul".to_owned()), "{lines:?}");
    assert!(lines.contains(&"! only dns:x dns:consul dns:localhost".to_owned()), "{lines:?}");
}

#[test]
fn an_authority_read_from_its_files_signs_for_agents() {
    // A name outside the plain letters must come back bit for bit.
    for name in ["", "Amt für Züge", "with_underscore@home"] {
        let issued = authority(name, "", &[]);
        let signer = Authority::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
        let leaf = signer.issue(&request(true)).unwrap();
        let (_, lines) = describe(&leaf.certificate_pem);
        assert_eq!(
            lines,
            [
                "CN=server.dc1.consul",
                "- authority key",
                "- dns:server.dc1.consul dns:localhost ip:[127, 0, 0, 1] \
                 ip:[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]",
                "! Digital Signature, Key Encipherment",
                "- server true client true",
                "- subject key",
                "! authority false None",
            ]
        );
        let (root, leaf) = (
            find_block(&issued.certificate_pem, |_| true).unwrap(),
            find_block(&leaf.certificate_pem, |_| true).unwrap(),
        );
        let (_, root) = X509Certificate::from_der(&root).unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        leaf.verify_signature(Some(root.public_key())).unwrap();
    }
}

#[test]
fn a_certificate_for_the_command_line_has_no_extended_usage() {
    let issued = authority("", "", &[]);
    let signer = Authority::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
    let (_, lines) = describe(&signer.issue(&request(false)).unwrap().certificate_pem);
    assert!(!lines.iter().any(|line| line.contains("client")), "{lines:?}");
}

#[test]
fn serial_numbers_differ() {
    let serial = |_| describe(&authority("", "", &[]).certificate_pem).0;
    assert_ne!(serial(1), serial(2));
}

#[test]
fn keys_stand_in_pem_lines_of_64_letters_and_may_follow_their_curve() {
    let issued = authority("", "", &[]);
    let lines: Vec<&str> = issued.key_pem.lines().collect();
    assert_eq!(lines[0], "-----BEGIN EC PRIVATE KEY-----");
    assert_eq!(lines[1].len(), 64);
    assert_eq!(lines.last(), Some(&"-----END EC PRIVATE KEY-----"));
    let curve = pem("EC PARAMETERS", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let file = format!("{curve}{}", issued.key_pem);
    Authority::from_pem(&issued.certificate_pem, &file).unwrap();
}

#[test]
fn files_that_are_no_authority_are_refused() {
    let issued = authority("", "", &[]);
    let other = authority("", "", &[]);
    let signer = Authority::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
    let leaf = signer.issue(&request(true)).unwrap();
    let garbage = pem("CERTIFICATE", b"garbage");
    for (certificate, key, expected) in [
        ("", issued.key_pem.as_str(), "the file holds no certificate"),
        (&issued.certificate_pem, "", "the file holds no private key"),
        (
            &issued.certificate_pem,
            &other.key_pem,
            "the private key is not the one of the certificate",
        ),
        (&leaf.certificate_pem, &leaf.key_pem, "the certificate is not one of an authority"),
        (&garbage, &issued.key_pem, "damaged certificate"),
        (
            &issued.certificate_pem,
            &pem("EC PRIVATE KEY", b"garbage"),
            "a private key of an unknown kind, or damaged",
        ),
    ] {
        let error = Authority::from_pem(certificate, key).err().unwrap();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn names_beyond_ascii_are_refused() {
    let issued = authority("", "", &[]);
    let signer = Authority::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
    for name in ["sërver", ""] {
        let wrong = CertificateRequest { dns_names: vec![name.to_owned()], ..request(true) };
        assert!(signer.issue(&wrong).is_err(), "{name}");
    }
}
