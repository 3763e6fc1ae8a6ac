//! `consul tls ca create`.

use super::{exists, is_taken, save, validity};
use crate::ApiFlags;
use crate::certificate::{AuthorityRequest, new_authority};
use crate::command::{Call, Command, Run};
use crate::failure::{Outcome, Tried as _};
use crate::flag::{Flag, Kind};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "tls ca create",
    synopsis: "Make a certificate authority",
    usage: "tls ca create [options]",
    help: "Makes an authority: a self-signed certificate and its key, as two files in the\n\
           current folder. Keep the key as safe as the keys of the house.\n\n\
           \x20   $ consul tls ca create\n\
           \x20   $ consul tls ca create -domain=example -days=365 -name-constraint",
    api: ApiFlags::NONE,
    flags: || {
        vec![
            Flag::new("days", Kind::Integer, "Days that the certificate is valid.").or("1825"),
            Flag::text(
                "domain",
                "The DNS domain of the agents; also the beginning of the file names.",
            )
            .or("consul"),
            Flag::text(
                "common-name",
                "Common name of the certificate; by default one with its serial number.",
            ),
            Flag::text(
                "cluster-id",
                "Id of the cluster, for a SPIFFE name beside the common name.",
            ),
            Flag::bool(
                "name-constraint",
                "Let the authority vouch for names in the domain and localhost only.",
            ),
            Flag::list(
                "additional-name-constraint",
                "With -name-constraint: a domain that it may vouch for too. May be given more than once.",
            ),
            Flag::list("additional-constraint", "A short form of -additional-name-constraint."),
        ]
    },
    run: Run::Here(run),
};

fn run(call: &mut Call) -> Outcome {
    let arguments = &call.arguments;
    let domain = arguments.text("domain").to_owned();
    let files = [format!("{domain}-agent-ca.pem"), format!("{domain}-agent-ca-key.pem")];
    if let Some(file) = files.iter().find(|file| is_taken(file)) {
        return Err(exists(file));
    }
    let mut constraints = Vec::new();
    if arguments.bool("name-constraint") {
        constraints.extend(arguments.list("additional-name-constraint"));
        constraints.extend(arguments.list("additional-constraint"));
        constraints.extend([domain.clone(), "localhost".to_owned()]);
    }
    let request = AuthorityRequest {
        common_name: arguments.text("common-name"),
        cluster_id: arguments.text("cluster-id"),
        domain: &domain,
        permitted_domains: &constraints,
        validity: validity(call)?,
    };
    let issued = new_authority(&request).tried("Error creating the authority")?;
    save(&issued, &files[0], &files[1])?;
    for file in files {
        call.ui.output(format!("==> Saved {file}"));
    }
    Ok(0)
}
