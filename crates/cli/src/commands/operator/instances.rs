//! `consul operator usage instances`.

use std::collections::BTreeMap;

use types::usage::ServiceUsage;

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _, at_most};
use crate::flag::Flag;
use crate::table::{row, table_with_gap};

/// Blanks between two columns.
const GAP: usize = 6;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator usage instances",
    synopsis: "Count the service instances",
    usage: "operator usage instances [options]",
    help: "Prints how many nodes, services and instances there are. Billable are instances\n\
           that do something of their own: no proxies, no gateways, no servers.",
    api: ApiFlags::CS,
    flags: || {
        vec![
            Flag::bool("all-datacenters", "Count in all datacenters."),
            Flag::bool("billable", "Print the billable instances alone."),
            Flag::bool("connect", "Print the instances of the mesh alone."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 0)?;
    let flag = |name: &str| call.arguments.bool(name);
    let (all, billable, connect) = (flag("all-datacenters"), flag("billable"), flag("connect"));
    if billable && connect {
        return Err(Failure::new("Cannot specify both -billable and -connect flags"));
    }
    let client = call.client_or(NO_CLIENT)?;
    let options = call.query_options();
    let usage = client.operator().usage(all, &options).await;
    let usage = usage.tried("Error fetching usage information")?;
    if !connect {
        call.ui.raw_output(billable_instances(&usage, all));
    }
    if !billable {
        call.ui.raw_output(mesh_instances(&usage, all));
    }
    Ok(0)
}

type Usage = BTreeMap<String, ServiceUsage>;

/// Two empty lines at the end part it from what follows.
fn billable_instances(usage: &Usage, all: bool) -> String {
    let billable = |usage: &ServiceUsage| usage.billable_service_instances;
    let total: u64 = usage.values().map(billable).sum();
    let mut out = format!("Billable Service Instances Total: {total}\n");
    for (datacenter, usage) in usage {
        out.push_str(&format!("{datacenter} Billable Service Instances: {}\n", billable(usage)));
    }
    out.push_str("\nBillable Services\n");
    let services: u64 = usage.values().map(|usage| usage.services).sum();
    let mut rows = vec![row(["Services", "Service instances"])];
    if all {
        rows[0].insert(0, "Datacenter".to_owned());
        rows.extend(usage.iter().map(|(datacenter, usage)| {
            row([datacenter, &usage.services.to_string(), &billable(usage).to_string()])
        }));
        rows.push(row(["", "", ""]));
        rows.push(row(["Total", &services.to_string(), &total.to_string()]));
    } else {
        rows.push(row([&services.to_string(), &total.to_string()]));
    }
    let nodes: u64 = usage.values().map(|usage| usage.nodes).sum();
    // The two empty cells are Consul's.
    let mut node_rows = vec![row(["Datacenter", "Count", "", ""])];
    node_rows.extend(usage.iter().map(|(dc, usage)| row([dc, &usage.nodes.to_string()])));
    node_rows.extend([row(["", ""]), row(["Total", &nodes.to_string()])]);
    let (services, nodes) = (table_with_gap(&rows, GAP), table_with_gap(&node_rows, GAP));
    out + &format!("{services}\n\n\nNodes\n{nodes}\n\n\n")
}

fn mesh_instances(usage: &Usage, all: bool) -> String {
    let mut rows = vec![row(["Type", "Service instances"])];
    if all {
        rows[0].insert(0, "Datacenter".to_owned());
    }
    let mut total = 0;
    for (datacenter, usage) in usage {
        for (kind, number) in &usage.connect_service_instances {
            let mut cells = row([kind, &number.to_string()]);
            if all {
                cells.insert(0, datacenter.clone());
            }
            rows.push(cells);
            total += number;
        }
    }
    if all {
        rows.push(row(["", "", ""]));
        rows.push(row(["Total", "", &total.to_string()]));
    }
    format!("Connect Services\n{}\n", table_with_gap(&rows, GAP))
}
