//! `consul members` (`reference/cli.md` section 13).

use client::{Member, MembersQuery};
use filter::Pattern;

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Outcome, Tried as _};
use crate::flag::Flag;
use crate::table::{row, table};

/// Nothing is left after filtering.
const EXIT_NO_MEMBERS: u8 = 2;

pub(super) const COMMAND: Command = Command {
    words: "members",
    synopsis: "List the agents of the cluster",
    usage: "members [options]",
    help: "Prints the agents of the gossip pool as the agent asked sees them.\n\n\
           \x20   $ consul members -status='alive|failed'\n\
           \x20   $ consul members -wan",
    api: ApiFlags::CP,
    flags: || {
        vec![
            Flag::bool("detailed", "Print all tags in place of the columns made from them."),
            Flag::text("filter", "Only members for which this expression holds.").word("value"),
            Flag::text("segment", "Enterprise: only members of this network segment.").or("_all"),
            Flag::text("status", "Only members whose status matches this regular expression.")
                .or(".*"),
            Flag::bool("wan", "Print the servers of all datacenters. The agent must be a server."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let status =
        Pattern::compile(call.arguments.text("status")).tried("Failed to compile status regexp")?;
    let client = call.client()?;
    let query = MembersQuery {
        wan: call.arguments.bool("wan"),
        segment: call.arguments.text("segment").to_owned(),
        filter: call.arguments.text("filter").to_owned(),
    };
    let members = client.agent_members(&query).await.tried("Error retrieving members")?;
    let mut members: Vec<Seen> = members.iter().map(Seen::new).collect();
    members.retain(|seen| status.is_match(seen.member.status.as_str()));
    if members.is_empty() {
        return Ok(EXIT_NO_MEMBERS);
    }
    members.sort_by(|a, b| a.order().cmp(&b.order()));
    let detailed = call.arguments.bool("detailed");
    let mut rows = if detailed {
        vec![row(["Node", "Address", "Status", "Tags"])]
    } else {
        let columns = [
            "Node",
            "Address",
            "Status",
            "Type",
            "Build",
            "Protocol",
            "DC",
            "Partition",
            "Segment",
        ];
        vec![row(columns)]
    };
    rows.extend(members.iter().map(if detailed { Seen::detailed_row } else { Seen::row }));
    call.ui.output(table(&rows));
    Ok(0)
}

/// A member and what its tags say.
struct Seen<'a> {
    member: &'a Member,
    kind: &'static str,
    partition: &'a str,
    segment: &'a str,
}

impl<'a> Seen<'a> {
    fn new(member: &'a Member) -> Self {
        let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
        let kind = match tag("role") {
            "consul" => "server",
            "node" => "client",
            _ => "unknown",
        };
        let segment = match (tag("segment"), kind) {
            ("", "server") => "<all>",
            ("", _) => "<default>",
            (segment, _) => segment,
        };
        let partition = match tag("ap") {
            "" => "default",
            partition => partition,
        };
        Self { member, kind, partition, segment }
    }

    fn order(&self) -> (bool, &str, &str, &str) {
        (self.kind != "server", self.segment, self.partition, &self.member.name)
    }

    fn address(&self) -> String {
        let (address, port) = (&self.member.addr, self.member.port);
        if address.contains(':') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    }

    fn row(&self) -> Vec<String> {
        let tag = |name: &str| self.member.tags.get(name).map_or("", String::as_str);
        let build = tag("build").split(':').next().unwrap_or_default();
        let Member { name, status, .. } = self.member;
        let address = self.address();
        let (protocol, datacenter) = (tag("vsn"), tag("dc"));
        row([
            name,
            &address,
            status.as_str(),
            self.kind,
            build,
            protocol,
            datacenter,
            self.partition,
            self.segment,
        ])
    }

    fn detailed_row(&self) -> Vec<String> {
        let Member { name, status, tags, .. } = self.member;
        let mut tags = tags.clone();
        tags.insert("ap".to_owned(), self.partition.to_owned());
        tags.insert("segment".to_owned(), self.segment.to_owned());
        let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        row([name, &self.address(), status.as_str(), &tags.join(",")])
    }
}
