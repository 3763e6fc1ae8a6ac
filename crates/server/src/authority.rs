//! The first root of the mesh: a leader makes one when there is none.
//!
//! `reference/grpc-and-xds.md` section 7 and `reference/raft-and-snapshots.md` section 18.
//! Three commands: a serial number (which also makes sure that everything before it is
//! applied here), the key, then root and configuration under compare-and-set. A leader
//! that stops half-way leaves at most a key, which the next one forgets.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use contract::CallError;
use domains::connect_ca::{CA_CONFIG, CA_PROVIDER_STATE, CA_ROOTS, CaCommand, CaOp, CaReply};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use store::State;
use types::connect_ca::{CaConfiguration, CaProviderState, CaRoot};
use types::{Index, SecretId, Timestamp, uuid};

use crate::Server;

/// How long to wait before the next try after one that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How long a root is valid: 87,600 hours.
const ROOT_LIFE: Duration = Duration::from_secs(87_600 * 3600);

/// Settings of the built-in provider that nobody set.
const DEFAULTS: [(&str, &str); 3] =
    [("IntermediateCertTTL", "8760h"), ("LeafCertTTL", "72h"), ("RootCertTTL", "87600h")];

/// Makes sure that there is a root, trying until it is there.
pub(crate) async fn establish(server: &Server) {
    if !server.shared.options.makes_authority {
        return;
    }
    while let Err(error) = initialize(server).await {
        tracing::error!(target: "connect.ca", error = %error, "Failed to initialize Connect CA");
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn initialize(server: &Server) -> Result<(), CallError> {
    if has_root(&server.store().snapshot()) {
        tracing::info!(target: "connect.ca", provider = "consul", "initialized primary datacenter CA from existing CARoot with provider");
        return Ok(());
    }
    let serial = next_serial(server).await?;
    let state = server.store().snapshot();
    if has_root(&state) {
        return Ok(());
    }
    for abandoned in state.prefix(&CA_PROVIDER_STATE, &[]) {
        let provider_state =
            CaProviderState { id: abandoned.id.clone(), ..CaProviderState::default() };
        let op = CaOp::DeleteProviderState;
        run(server, CaCommand { op, provider_state: Some(provider_state), ..CaCommand::default() })
            .await?;
    }
    let config = configuration(&state, || uuid(fastrand::u128(..)));
    let made = Made::new(&config.cluster_id, serial, SystemTime::now()).map_err(|error| {
        CallError::failed(format!("error generating CA root certificate: {error}"))
    })?;
    let op = CaOp::SetProviderState;
    let provider_state = Some(made.provider_state);
    run(server, CaCommand { op, provider_state, ..CaCommand::default() }).await?;
    let command = CaCommand {
        op: CaOp::SetRootsConfig,
        index: state.index_of(CA_ROOTS.name),
        config: Some(config),
        roots: Some(vec![made.root]),
        ..CaCommand::default()
    };
    match run(server, command).await? {
        CaReply::Done(false) => {
            Err(CallError::failed("could not atomically update roots and config"))
        }
        _ => {
            tracing::info!(target: "connect.ca", provider = "consul", "initialized primary datacenter CA with provider");
            Ok(())
        }
    }
}

async fn run(server: &Server, command: CaCommand) -> Result<CaReply, CallError> {
    server.write_typed(command, &SecretId::default()).await
}

async fn next_serial(server: &Server) -> Result<u64, CallError> {
    let op = CaOp::IncrementProviderSerial;
    match run(server, CaCommand { op, ..CaCommand::default() }).await? {
        CaReply::Serial(serial) => Ok(serial),
        CaReply::Done(_) => Err(CallError::failed("no CA serial number was given out")),
    }
}

fn has_root(state: &State) -> bool {
    state.peek_prefix(&CA_ROOTS, &[]).any(|root| root.active)
        && state.peek(&CA_CONFIG, b"").is_some_and(|config| !config.cluster_id.is_empty())
}

/// The configuration that is there, or the first one.
fn configuration(state: &State, new_cluster_id: impl FnOnce() -> String) -> CaConfiguration {
    let mut config = state.peek(&CA_CONFIG, b"").cloned().unwrap_or_else(|| CaConfiguration {
        provider: "consul".to_owned(),
        config: Some(DEFAULTS.map(|(key, value)| (key.to_owned(), value.into())).into()),
        modify_index: Index::ZERO,
        ..CaConfiguration::default()
    });
    if config.cluster_id.is_empty() {
        config.cluster_id = new_cluster_id();
    }
    config
}

/// A root with the key that signs for it.
struct Made {
    root: CaRoot,
    provider_state: CaProviderState,
}

impl Made {
    /// A self-signed root with an EC key on P-256.
    fn new(cluster_id: &str, serial: u64, now: SystemTime) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let key_id = digest::digest(&SHA256, &key.subject_public_key_info());
        let trust_domain = format!("{cluster_id}.consul");
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Certificates know whole seconds, and the row says what the certificate says.
        let not_before = Duration::from_secs(since.as_secs());
        let not_after = not_before + ROOT_LIFE;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);

        let mut params = CertificateParams::default();
        params.not_before = epoch + not_before;
        params.not_after = epoch + not_after;
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name(cluster_id));
        let uri = format!("spiffe://{}", trust_domain.to_lowercase());
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri)?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_id.as_ref().to_vec());
        params.use_authority_key_identifier_extension = true;
        let certificate = params.self_signed(&key)?;

        let (private_key, root_cert) = (key.serialize_pem(), certificate.pem());
        let settings = format!("{private_key},{root_cert},ec,256,true");
        let root = CaRoot {
            id: colon_hex(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der()).as_ref()),
            name: "Consul CA Primary Cert".to_owned(),
            serial_number: serial,
            signing_key_id: colon_hex(key_id.as_ref()),
            external_trust_domain: cluster_id.to_owned(),
            not_before: Timestamp::from(SystemTime::UNIX_EPOCH + not_before),
            not_after: Timestamp::from(SystemTime::UNIX_EPOCH + not_after),
            root_cert: root_cert.clone(),
            active: true,
            private_key_type: "ec".to_owned(),
            private_key_bits: 256,
            ..CaRoot::default()
        };
        let provider_state = CaProviderState {
            id: colon_hex(digest::digest(&SHA256, settings.as_bytes()).as_ref()),
            private_key,
            root_cert,
            ..CaProviderState::default()
        };
        Ok(Self { root, provider_state })
    }
}

/// `pri-<8 random letters and digits>.consul.ca.<8 of the cluster id>.consul`.
fn common_name(cluster_id: &str) -> String {
    let random: String = (0..8).map(|_| fastrand::digit(36)).collect();
    let cluster: String = cluster_id.chars().take(8).collect();
    format!("pri-{random}.consul.ca.{cluster}.consul")
}

/// Bytes as lower-case hex with colons between them.
fn colon_hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use wal::MemDisk;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;
    use crate::testing::leader_on;

    const CLUSTER: &str = "0a1b2c3d-0000-1111-2222-333344445555";

    #[test]
    fn a_new_root_says_what_its_row_says() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let made = Made::new(CLUSTER, 7, now).expect("a key can be made");
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(made.root.root_cert.as_bytes()).expect("it is PEM");
        assert!(made.root.root_cert.ends_with("-----END CERTIFICATE-----\n"));
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).expect("it is a certificate");
        certificate.verify_signature(None).expect("it is signed by itself");
        assert_eq!(certificate.serial.to_string(), "7");
        assert_eq!(certificate.subject(), certificate.issuer());
        let name = certificate.subject().iter_common_name().next().expect("one");
        let name = name.as_str().expect("a text");
        assert!(name.starts_with("pri-") && name.ends_with(".consul.ca.0a1b2c3d.consul"), "{name}");
        assert_eq!(name.len(), "pri-abcd1234.consul.ca.0a1b2c3d.consul".len());
        let validity = certificate.validity();
        assert_eq!(validity.not_before.timestamp(), 1_700_000_000);
        assert_eq!(validity.not_after.timestamp(), 1_700_000_000 + 87_600 * 3600);
        assert_eq!(made.root.not_before.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(made.root.not_after.to_string(), "2033-11-11T22:13:20Z");
        assert_eq!(
            made.root.id,
            colon_hex(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &pem.contents).as_ref())
        );
        assert_eq!((made.root.id.len(), made.root.signing_key_id.len()), (59, 95));

        let usage = certificate.key_usage().expect("sound").expect("there");
        assert!(usage.critical && usage.value.digital_signature());
        assert!(
            usage.value.key_cert_sign() && usage.value.crl_sign() && !usage.value.key_agreement()
        );
        let basic = certificate.basic_constraints().expect("sound").expect("there");
        assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint.is_none());
        let names = certificate.subject_alternative_name().expect("sound").expect("there");
        let uri = format!("spiffe://{CLUSTER}.consul");
        assert_eq!(names.value.general_names, [GeneralName::URI(&uri)]);
        let mut identifiers = 0;
        for extension in certificate.extensions() {
            let id = match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => id.0,
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    id.key_identifier.as_ref().expect("there").0
                }
                _ => continue,
            };
            assert_eq!(colon_hex(id), made.root.signing_key_id);
            identifiers += 1;
        }
        assert_eq!(identifiers, 2);
        KeyPair::from_pem(&made.provider_state.private_key).expect("the key can be read back");
    }

    fn roots(server: &Server) -> Vec<CaRoot> {
        let state = server.store().snapshot();
        state.peek_prefix(&CA_ROOTS, &[]).cloned().collect()
    }

    #[tokio::test]
    async fn a_leader_makes_one_root_and_keeps_it_over_terms_and_restarts() {
        let disk = MemDisk::new();
        let server = leader_on(&disk).await;
        // What a leader left that stopped before it stored the root.
        let provider_state =
            Some(CaProviderState { id: "old".to_owned(), ..CaProviderState::default() });
        let op = CaOp::SetProviderState;
        run(&server, CaCommand { op, provider_state, ..CaCommand::default() })
            .await
            .expect("it leads");
        establish(&server).await;
        let first = roots(&server);
        assert_eq!(first.len(), 1);
        assert_eq!(server.store().snapshot().len(&CA_PROVIDER_STATE), 1);
        establish(&server).await;
        assert_eq!(roots(&server), first);
        server.raft().shutdown().await;

        let server = leader_on(&disk).await;
        establish(&server).await;
        assert_eq!(roots(&server), first);
        server.raft().shutdown().await;
    }
}
