//! Why instances of a service are seen, or not: from the agent that runs them to the
//! answers that clients get. Pure: facts in, words out.

use std::collections::BTreeSet;

use checks::status::definition::Origin;
use types::catalog::CheckServiceNode;
use types::check::{HealthCheck, Status};
use types::explain::{Explanation, Finding, Visible};

use super::dns::Asked;
use super::words::{count, first_line, list, seconds};
use crate::local::report::{LocalReport, ServiceReport, Told};
use crate::local::state::is_maintenance;
use crate::local::trouble::Trouble;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// The name of the service.
    pub(super) name: String,
    /// The id of one instance, if only that matters.
    pub(super) instance: Option<String>,
    /// Tags that an instance must have.
    pub(super) tags: Vec<String>,
    /// Whether warnings count as failures (`?passing`, `dns_config.only_passing`).
    pub(super) passing_only: bool,
    /// `filter=`, empty for none.
    pub(super) filter: String,
}

/// What each station knows.
pub(super) struct Facts {
    /// What is asked.
    pub(super) question: Question,
    /// What this agent runs; or why that is not told.
    pub(super) local: Result<LocalReport, String>,
    /// Whether the token may see the service at all; or why not.
    pub(super) readable: Result<(), String>,
    /// Whether rows were hidden from the token.
    pub(super) hidden: bool,
    /// All instances of the catalog, whatever their tags and health; or why it could
    /// not be read.
    pub(super) catalog: Result<Vec<CheckServiceNode>, String>,
    /// Node and id of the instances that the filter keeps; or what is wrong with it.
    pub(super) filtered: Result<BTreeSet<(String, String)>, String>,
    /// Names of services that may have been meant.
    pub(super) similar: Vec<String>,
    /// What DNS answers, unless this name cannot be asked for.
    pub(super) dns: Option<Asked>,
}

/// The story.
pub(super) fn explain(facts: &Facts) -> Explanation {
    let name = &facts.question.name;
    let subject = match &facts.question.instance {
        Some(id) => format!("instance {id:?} of service {name:?}"),
        None => format!("service {name:?}"),
    };
    let mut told = Explanation::of(subject);
    let handed_out = stations(facts, &mut told);
    let total = facts.catalog.as_deref().map_or(0, |rows| facts.question.concerned(rows).count());
    conclude(facts, told, total, handed_out)
}

/// Tells all stations; the number of instances that come out at the end.
pub(super) fn stations(facts: &Facts, told: &mut Explanation) -> usize {
    registration(facts, told);
    if let Err(why) = &facts.readable {
        told.step("permission", Finding::Stop, why.clone(), Vec::new());
        told.advise(
            "Ask with a token whose policies allow service:read on it and node:read on its nodes.",
        );
        return 0;
    }
    if facts.hidden {
        let text = "The token may not see some nodes: their instances are left out.";
        told.step("permission", Finding::Warning, text, Vec::new());
        told.advise("Ask with a token that has node:read on the nodes of the service.");
    }
    let Some(rows) = catalog(facts, told) else { return 0 };
    let chosen = selection(facts, &rows, told);
    let healthy = health(facts, &chosen, told);
    dns(facts, &chosen, told);
    healthy
}

fn registration(facts: &Facts, told: &mut Explanation) {
    let report = match &facts.local {
        Ok(report) => report,
        Err(why) => {
            told.step("registration", Finding::Note, why.clone(), Vec::new());
            return;
        }
    };
    let node = report.node.as_str();
    if report.services.is_empty() {
        let text = format!(
            "This agent ({node}) does not run it. What other agents registered is in the catalog, below."
        );
        told.step("registration", Finding::Note, text, Vec::new());
        return;
    }
    let what = count(report.services.len(), "instance");
    let details = report.services.iter().map(describe_local).collect();
    let text = format!("This agent ({node}) runs {what} of it.");
    told.step("registration", Finding::Ok, text, details);
    sync(report, told);
}

fn describe_local(report: &ServiceReport) -> String {
    let service = &report.service;
    let origin = match report.origin {
        Origin::File => "from a configuration file",
        Origin::Api => "registered through the API",
    };
    let address = match (service.address.as_str(), service.port) {
        ("", 0) => String::new(),
        ("", port) => format!(", port {port}"),
        (address, 0) => format!(", {address}"),
        (address, port) => format!(", {address}:{port}"),
    };
    let checks = match report.checks.len() {
        0 => "no checks of its own, so it counts as healthy while its node does".to_owned(),
        many => count(many, "check"),
    };
    format!("{}: {origin}{address}; {checks}", service.id)
}

fn sync(report: &LocalReport, told: &mut Explanation) {
    let mut details = Vec::new();
    let mut finding = Finding::Ok;
    for service in &report.services {
        let (severity, words) = match &service.told {
            Told::Yes => continue,
            Told::Soon => (Finding::Note, "is being told to the catalog right now".to_owned()),
            Told::No(Trouble::Blocked) => {
                told.advise(
                    "Give the service a token with service:write on its name (in its definition, or acl.tokens.default of the agent), then reload.",
                );
                (Finding::Stop, "its token does not allow to register it".to_owned())
            }
            Told::No(Trouble::Failed(error)) => {
                (Finding::Stop, format!("the catalog refused it: {}", first_line(error)))
            }
        };
        finding = finding.max(severity);
        details.push(format!("{}: {words}", service.service.id));
    }
    if let Some(error) = &report.unread {
        finding = finding.max(Finding::Warning);
        details.push(format!("the catalog could not be read lately: {}", first_line(error)));
    }
    let next = seconds(report.next_full);
    let text = match finding {
        Finding::Ok => {
            format!("The catalog was told everything; both are compared again in {next}.")
        }
        Finding::Note => "The catalog is being told.".to_owned(),
        Finding::Warning | Finding::Stop => {
            told.advise(format!(
                "Nothing has to be done if the cause is gone: the agent tries again in {next}, and sooner when a server comes back."
            ));
            format!("The catalog does not know all of it; the agent tries again in {next}.")
        }
    };
    told.step("sync", finding, text, details);
}

/// The instances that are asked about, if there are any.
fn catalog<'f>(facts: &'f Facts, told: &mut Explanation) -> Option<Vec<&'f CheckServiceNode>> {
    let all = match &facts.catalog {
        Ok(all) => all,
        Err(error) => {
            let text = format!("The catalog cannot be read: {}.", first_line(error));
            told.step("catalog", Finding::Stop, text, Vec::new());
            told.advise("See whether the servers have a leader: consul operator raft list-peers.");
            return None;
        }
    };
    let rows: Vec<_> = facts.question.concerned(all).collect();
    if rows.is_empty() {
        let text = match (&facts.question.instance, all.len()) {
            (Some(id), others) if others > 0 => format!(
                "The catalog has {} of the service, but none with the id {id:?}.",
                count(others, "instance")
            ),
            _ => "The catalog has no instance of it in this datacenter.".to_owned(),
        };
        told.step("catalog", Finding::Stop, text, similar_names(&facts.similar));
        not_in_catalog(facts, told);
        return None;
    }
    let nodes: BTreeSet<_> = rows.iter().map(|row| row.node.node.as_str()).collect();
    let text = format!(
        "The catalog has {} on {}.",
        count(rows.len(), "instance"),
        count(nodes.len(), "node")
    );
    told.step("catalog", Finding::Ok, text, rows.iter().map(|row| describe_row(row)).collect());
    orphans(facts, &rows, told);
    Some(rows)
}

fn similar_names(similar: &[String]) -> Vec<String> {
    similar.iter().map(|name| format!("there is a service {name:?}")).collect()
}

fn not_in_catalog(facts: &Facts, told: &mut Explanation) {
    if let Some(name) = facts.similar.first() {
        told.advise(format!("Perhaps {name:?} was meant."));
    }
    let runs_here = facts.local.as_ref().is_ok_and(|report| !report.services.is_empty());
    if !runs_here {
        told.advise(
            "Register it on the agent of the machine that runs it: consul services register FILE, or a service block in the agent's configuration.",
        );
        told.advise(
            "If it is registered in another datacenter, ask there: consul explain service -datacenter=DC NAME.",
        );
    }
}

/// Instances that the catalog has for this node although the agent does not run them.
fn orphans(facts: &Facts, rows: &[&CheckServiceNode], told: &mut Explanation) {
    let Ok(report) = &facts.local else { return };
    let is_orphan = |row: &&&CheckServiceNode| {
        row.node.node == report.node
            && row.service.id != *"consul"
            && !report.services.iter().any(|local| local.service.id == row.service.id)
    };
    let orphans: Vec<String> = rows
        .iter()
        .filter(is_orphan)
        .map(|row| format!("{}: not registered with this agent", row.service.id))
        .collect();
    if orphans.is_empty() {
        return;
    }
    let text = format!(
        "The catalog has {} for this node that the agent does not run: it is removed within {}.",
        count(orphans.len(), "instance"),
        seconds(report.next_full)
    );
    told.step("sync", Finding::Warning, text, orphans);
    told.advise(format!(
        "Register services with the agent of their node ({}), not in the catalog under its name: anti-entropy removes what the agent does not know.",
        report.node
    ));
}

fn describe_row(row: &CheckServiceNode) -> String {
    let address = match row.service.address.as_str() {
        "" => row.node.address.as_str(),
        own => own,
    };
    let mut text =
        format!("{} on {}: {address}:{}", row.service.id, row.node.node, row.service.port);
    if !row.service.tags.is_empty() {
        text.push_str(&format!(", tags {}", row.service.tags.join(",")));
    }
    text
}

/// The instances that tags and filter leave.
fn selection<'f>(
    facts: &Facts,
    rows: &[&'f CheckServiceNode],
    told: &mut Explanation,
) -> Vec<&'f CheckServiceNode> {
    let question = &facts.question;
    if question.tags.is_empty() && question.filter.is_empty() {
        return rows.to_vec();
    }
    let filtered = match &facts.filtered {
        Ok(filtered) => filtered,
        Err(error) => {
            let text = format!("The filter cannot be used: {}.", first_line(error));
            told.step("selection", Finding::Stop, text, Vec::new());
            told.advise("Correct the filter expression; the error names the place.");
            return Vec::new();
        }
    };
    let mut kept = Vec::new();
    let mut details = Vec::new();
    for row in rows {
        let missing: Vec<&str> = question
            .tags
            .iter()
            .map(String::as_str)
            .filter(|tag| !row.service.has_tag(tag))
            .collect();
        let key = (row.node.node.as_str().to_owned(), row.service.id.as_str().to_owned());
        let place = format!("{} on {}", row.service.id, row.node.node);
        if !missing.is_empty() {
            let has = match row.service.tags.as_slice() {
                [] => "it has none".to_owned(),
                tags => format!("it has {}", tags.join(",")),
            };
            details.push(format!("{place}: lacks the tag {}; {has}", list(&missing)));
        } else if !question.filter.is_empty() && !filtered.contains(&key) {
            details.push(format!("{place}: does not match the filter"));
        } else {
            kept.push(*row);
        }
    }
    let finding = match (kept.len(), details.is_empty()) {
        (0, _) => Finding::Stop,
        (_, true) => Finding::Ok,
        _ => Finding::Warning,
    };
    let what = match (question.tags.is_empty(), question.filter.is_empty()) {
        (false, false) => "Tags and filter keep",
        (false, true) => "The tags keep",
        _ => "The filter keeps",
    };
    let text = format!("{what} {} of {}.", kept.len(), count(rows.len(), "instance"));
    told.step("selection", finding, text, details);
    if finding == Finding::Stop {
        told.advise(
            "Ask without the tags or the filter, or give the instances the tags they lack.",
        );
    }
    kept
}

/// How many of the instances are healthy enough to be handed out.
fn health(facts: &Facts, rows: &[&CheckServiceNode], told: &mut Explanation) -> usize {
    if rows.is_empty() {
        return 0;
    }
    let strict = facts.question.passing_only;
    let mut out = 0;
    let mut details = Vec::new();
    let mut in_maintenance = false;
    let mut failing = false;
    for row in rows {
        let bad: Vec<&HealthCheck> = row
            .checks
            .iter()
            .map(|check| &**check)
            .filter(|check| check.status != Status::Passing)
            .collect();
        let excludes = |check: &&HealthCheck| !check.status.is_handed_out(strict);
        if !bad.iter().any(excludes) {
            out += 1;
        }
        for check in bad {
            in_maintenance |= is_maintenance(&check.check_id);
            failing |= !is_maintenance(&check.check_id) && excludes(&check);
            let verdict = if excludes(&check) { "held back" } else { "still handed out" };
            details.push(format!(
                "{} on {}: {verdict}, {}",
                row.service.id,
                row.node.node,
                describe_check(check)
            ));
        }
    }
    let finding = match (out, details.is_empty()) {
        (0, _) => Finding::Stop,
        (_, true) => Finding::Ok,
        _ => Finding::Warning,
    };
    let rule = match strict {
        true => "Only instances whose checks all pass are handed out",
        false => "Instances without a critical check are handed out",
    };
    let text = format!("{rule}: {out} of {}.", rows.len());
    told.step("health", finding, text, details);
    if in_maintenance {
        told.advise("End maintenance mode where it is not wanted: consul maint -disable (with -service=ID for a service).");
    }
    if failing && out < rows.len() {
        told.advise("See what the critical checks above say; their outputs come from the checks themselves.");
    }
    if out < rows.len() && !strict {
        told.advise("Over HTTP, /v1/health/service/NAME without ?passing shows the held-back instances too.");
    }
    out
}

fn describe_check(check: &HealthCheck) -> String {
    let whose = if check.service_id.is_empty() { " of the node" } else { "" };
    if is_maintenance(&check.check_id) {
        return format!("maintenance mode{whose}: {}", first_line(&check.notes));
    }
    let output = first_line(&check.output);
    let says = match output.as_str() {
        "" => " and has said nothing yet".to_owned(),
        output => format!(": {output}"),
    };
    format!("check {:?}{whose} is {}{says}", check.check_id.as_str(), check.status)
}

/// What DNS makes of the healthy instances.
fn dns(facts: &Facts, rows: &[&CheckServiceNode], told: &mut Explanation) {
    let Some(asked) = &facts.dns else {
        let text = format!(
            "{:?} cannot be asked for over DNS: a label has letters, digits and hyphens, at most 63.",
            facts.question.name
        );
        told.step("dns", Finding::Warning, text, Vec::new());
        told.advise("Give the service a name that DNS can carry, if it is to be found there.");
        return;
    };
    let finding = match asked.records.is_empty() {
        true if rows.is_empty() => Finding::Note,
        true => Finding::Warning,
        false => Finding::Ok,
    };
    told.step("dns", finding, asked.sentence(), asked.lines());
}

fn conclude(facts: &Facts, told: Explanation, total: usize, handed_out: usize) -> Explanation {
    let stop = told.steps.iter().find(|step| step.finding == Finding::Stop);
    let one = facts.question.instance.is_some();
    match (handed_out, total) {
        (0, _) => {
            let why = stop.map_or("The stations below tell why.", |step| step.text.as_str());
            let text = format!("It is not handed out. {why}");
            told.conclude(Visible::No, text)
        }
        (_, _) if one => told.conclude(Visible::Yes, "It is handed out."),
        (out, all) if out == all => {
            let text = format!("All of it is handed out: {}.", count(all, "instance"));
            told.conclude(Visible::Yes, text)
        }
        (out, all) => {
            let text = format!("{out} of {} are handed out.", count(all, "instance"));
            told.conclude(Visible::Partly, text)
        }
    }
}

impl Question {
    /// The rows that the question is about.
    fn concerned<'r>(
        &'r self,
        rows: &'r [CheckServiceNode],
    ) -> impl Iterator<Item = &'r CheckServiceNode> {
        rows.iter().filter(|row| match &self.instance {
            Some(id) => row.service.id.as_str() == id,
            None => true,
        })
    }
}
