//! `consul tls` (`reference/cli.md` section 19).

pub(super) mod ca_create;
pub(super) mod cert_create;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::ApiFlags;
use crate::certificate::{Issued, Validity};
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::Failure;

pub(super) const GROUP: Command = Command {
    words: "tls",
    synopsis: "Make certificates for the agents",
    usage: "tls <subcommand> [options]",
    help: "Makes a certificate authority and certificates for agents that talk TLS.\n\n\
           An authority, then a certificate for a server and one for a client:\n\n\
           \x20   $ consul tls ca create\n\
           \x20   $ consul tls cert create -server\n\
           \x20   $ consul tls cert create -client",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

pub(super) const CA_GROUP: Command = Command {
    words: "tls ca",
    synopsis: "Make a certificate authority",
    usage: "tls ca <subcommand> [options]",
    help: "Makes the authority that signs the certificates of the agents.\n\n\
           \x20   $ consul tls ca create",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

pub(super) const CERT_GROUP: Command = Command {
    words: "tls cert",
    synopsis: "Make certificates",
    usage: "tls cert <subcommand> [options]",
    help: "Makes certificates signed by the authority of `consul tls ca create`.\n\n\
           \x20   $ consul tls cert create -server",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

/// Days that a certificate may be valid at most: about a thousand years.
const DAYS_MAX: i64 = 365_000;

/// From now on for the flag `-days`.
fn validity(call: &Call) -> Result<Validity, Failure> {
    let days = call.arguments.integer("days");
    let seconds = u64::try_from(days)
        .ok()
        .filter(|_| (1..=DAYS_MAX).contains(&days))
        .map(|days| days * 24 * 60 * 60)
        .ok_or_else(|| {
            Failure::new(format!("-days must be between 1 and {DAYS_MAX}, not {days}"))
        })?;
    let from = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| Failure::new("the clock of this machine shows a time before 1970"))?;
    Ok(Validity { from, until: from + Duration::from_secs(seconds) })
}

/// Writes a certificate and its key into new files, both or none.
fn save(issued: &Issued, certificate: &str, key: &str) -> Result<(), Failure> {
    write_new(key, &issued.key_pem, 0o600)?;
    write_new(certificate, &issued.certificate_pem, 0o644).inspect_err(|_| {
        // The first complaint is the one that counts.
        let _ = fs::remove_file(key);
    })
}

/// Writes a file that is not there yet.
fn write_new(file: &str, content: &str, mode: u32) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let mut opened = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(file),
        _ => Failure::new(format!("open {file}: {}", client::system_text(&error))),
    })?;
    let written = opened.write_all(content.as_bytes()).and_then(|()| opened.sync_all());
    written.map_err(|error| {
        // Half a key is of no use.
        let _ = fs::remove_file(file);
        Failure::new(format!("write {file}: {}", client::system_text(&error)))
    })
}

/// The complaint about a file that would be overwritten.
fn exists(file: &str) -> Failure {
    Failure::new(format!("{file} already exists."))
}

/// Whether something has that name, be it a link to nowhere.
fn is_taken(file: &str) -> bool {
    Path::new(file).symlink_metadata().is_ok()
}

/// Reads a small text file; the complaint begins with `what`.
fn read(file: &str, what: &str) -> Result<String, Failure> {
    let bytes = fs::read(file).map_err(|error| {
        Failure::new(format!("{what}: open {file}: {}", client::system_text(&error)))
    })?;
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("{what}: {file} is no PEM file")))
}
