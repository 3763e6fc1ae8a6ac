//! Certificates of agents and of the authority that signs them
//! (`reference/cli.md` section 19).
//!
//! Nothing here reads a clock or a file: time comes with the request, and PEM
//! texts go in and out. Keys and serial numbers are drawn at random.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PublicKeyData as _, SanType, SerialNumber,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Letters in a line of a PEM file.
const PEM_COLUMNS: usize = 64;

/// Attribute `streetAddress` of X.520.
const STREET: &[u64] = &[2, 5, 4, 9];

/// Attribute `postalCode` of X.520.
const POSTAL_CODE: &[u64] = &[2, 5, 4, 17];

/// When a certificate is valid, as time since 1970 with a precision of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The first moment.
    pub(crate) from: Duration,
    /// The last moment; before the year 10000.
    pub(crate) until: Duration,
}

/// A certificate and its key.
pub(crate) struct Issued {
    /// `CERTIFICATE`.
    pub(crate) certificate_pem: String,
    /// `EC PRIVATE KEY`. A secret.
    pub(crate) key_pem: String,
}

/// A new authority.
#[derive(Debug)]
pub(crate) struct AuthorityRequest<'a> {
    /// Empty for `Consul Agent CA` and the serial number.
    pub(crate) common_name: &'a str,
    /// Empty, or what the SPIFFE name begins with.
    pub(crate) cluster_id: &'a str,
    /// What the SPIFFE name ends with.
    pub(crate) domain: &'a str,
    /// The only domains that the authority may vouch for; empty for all.
    pub(crate) permitted_domains: &'a [String],
    /// When it is valid.
    pub(crate) validity: Validity,
}

/// A certificate to be signed by an [`Authority`].
#[derive(Debug)]
pub(crate) struct CertificateRequest {
    /// The subject.
    pub(crate) common_name: String,
    /// The DNS names it is good for.
    pub(crate) dns_names: Vec<String>,
    /// The addresses it is good for.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether it says that it is for servers and clients of TLS.
    pub(crate) for_authentication: bool,
    /// When it is valid.
    pub(crate) validity: Validity,
}

/// Makes an authority that signs itself.
///
/// # Errors
/// A name that no certificate can hold; no random data.
pub(crate) fn new_authority(request: &AuthorityRequest<'_>) -> Result<Issued, String> {
    let serial = random_serial()?;
    let mut params = params(request.validity, serial);
    params.distinguished_name = authority_name(request.common_name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    if !request.cluster_id.is_empty() {
        let name = format!("spiffe://{}.{}", request.cluster_id, request.domain);
        params.subject_alt_names = vec![SanType::URI(ascii(&name)?)];
    }
    if !request.permitted_domains.is_empty() {
        let mut subtrees = Vec::new();
        for domain in request.permitted_domains {
            ascii(domain)?;
            subtrees.push(GeneralSubtree::DnsName(domain.clone()));
        }
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: subtrees, excluded_subtrees: Vec::new() });
    }
    let (key, key_pem) = new_key()?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(Issued { certificate_pem: certificate.pem(), key_pem })
}

/// An authority that can sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its name as it stands in its certificate.
    subject: Vec<u8>,
}

impl Authority {
    /// Reads an authority: a PEM file with its certificate first, and one with
    /// its key (PKCS #8, `EC PRIVATE KEY` or `RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// What is wrong with them; a key of another certificate.
    pub(crate) fn from_pem(certificate: &str, key: &str) -> Result<Self, String> {
        let der = find_block(certificate, |label| label == "CERTIFICATE")
            .ok_or("the file holds no certificate")?;
        // `openssl ecparam` writes the name of the curve in front of the key.
        let key = find_block(key, |label| label.ends_with("PRIVATE KEY"))
            .ok_or("the file holds no private key")?;
        let (_, parsed) = X509Certificate::from_der(&der)
            .map_err(|error| format!("damaged certificate: {error}"))?;
        if !parsed.is_ca() {
            return Err("the certificate is not one of an authority".to_owned());
        }
        let key = KeyPair::try_from(key.as_slice())
            .map_err(|_| "a private key of an unknown kind, or damaged".to_owned())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err("the private key is not the one of the certificate".to_owned());
        }
        let subject = parsed.subject().as_raw().to_vec();
        let issuer = Issuer::from_ca_cert_der(&der.into(), key)
            .map_err(|error| format!("unusable certificate: {error}"))?;
        Ok(Self { issuer, subject })
    }

    /// Makes a key and signs a certificate for it.
    ///
    /// # Errors
    /// A name that no certificate can hold; no random data.
    pub(crate) fn issue(&self, request: &CertificateRequest) -> Result<Issued, String> {
        let mut params = params(request.validity, random_serial()?);
        params.distinguished_name.push(DnType::CommonName, printable(&request.common_name));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        if request.for_authentication {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        for name in &request.dns_names {
            params.subject_alt_names.push(SanType::DnsName(ascii(name)?));
        }
        for address in &request.addresses {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        let (key, key_pem) = new_key()?;
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(|error| error.to_string())?;
        let (_, parsed) = X509Certificate::from_der(certificate.der())
            .map_err(|error| format!("damaged certificate: {error}"))?;
        // Whoever checks the chain compares these bytes.
        if parsed.issuer().as_raw() != self.subject {
            return Err("the name of the authority has a form that cannot be signed for".to_owned());
        }
        Ok(Issued { certificate_pem: certificate.pem(), key_pem })
    }
}

/// What all certificates have in common.
fn params(validity: Validity, serial: u128) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(validity.from.as_secs());
    params.not_after = epoch + Duration::from_secs(validity.until.as_secs());
    params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
    params.distinguished_name = DistinguishedName::new();
    params
}

/// The attributes in the order in which Go writes them.
fn authority_name(common_name: &str, serial: u128) -> DistinguishedName {
    let common_name = match common_name {
        "" => format!("Consul Agent CA {serial}"),
        given => given.to_owned(),
    };
    let mut name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::OrganizationName, "HashiCorp Inc."),
        (DnType::LocalityName, "San Francisco"),
        (DnType::StateOrProvinceName, "CA"),
        (DnType::from_oid(STREET), "101 Second Street"),
        (DnType::from_oid(POSTAL_CODE), "94105"),
        (DnType::CommonName, &common_name),
    ] {
        name.push(kind, printable(value));
    }
    name
}

/// The plainest kind of text that can hold it, as Go chooses.
fn printable(text: &str) -> DnValue {
    match PrintableString::try_from(text) {
        Ok(text) => DnValue::PrintableString(text),
        Err(_) => DnValue::Utf8String(text.to_owned()),
    }
}

fn ascii(name: &str) -> Result<Ia5String, String> {
    if name.is_empty() {
        return Err("a name is empty".to_owned());
    }
    Ia5String::try_from(name).map_err(|_| format!("{name} holds letters beyond ASCII"))
}

fn random_serial() -> Result<u128, String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random data".to_owned())?;
    // Zero is no serial number (RFC 5280 section 4.1.2.2).
    Ok(u128::from_be_bytes(bytes).max(1))
}

/// A new key on P-256, and its PEM text.
fn new_key() -> Result<(KeyPair, String), String> {
    let no_key = |_| "no key could be made".to_owned();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(no_key)?;
    let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().map_err(no_key)?;
    let key = KeyPair::try_from(der.as_ref()).map_err(|error| error.to_string())?;
    Ok((key, pem("EC PRIVATE KEY", der.as_ref())))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(PEM_COLUMNS));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The content of the first block of a PEM file with such a label.
fn find_block(text: &str, wanted: fn(&str) -> bool) -> Option<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(text.as_bytes()).map_while(Result::ok);
    blocks.into_iter().find(|block| wanted(&block.label)).map(|block| block.contents)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
