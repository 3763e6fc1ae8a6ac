//! Asks each station.

use std::collections::BTreeSet;

use ::dns::{Lookup, Name, Plan};
use acl::{Permission, PermissionDenied, Resource};
use contract::{CallError, ReadOptions, Request};
use domains::catalog::{CatalogServices, InstanceSelection, RowFilter};
use domains::health::{HealthNode, HealthService, InstanceHealth};
use domains::kv::{Around, KvAround, KvGet, KvKeys};
use domains::session::SessionInfo;
use types::catalog::{CheckServiceNode, NodeService};
use types::explain::{Explanation, Finding, Visible};
use types::similar::similar;

use crate::delegate::{Delegate, is_unknown_method};

use super::dns::{Asked, Zone, ask, diagnose_invalid, known_types, question, reading, record_type};
use super::service::{Facts, Question};
use super::{Explainer, key, service};

/// Most names that are offered for one that does not exist.
const SIMILAR_MAX: usize = 3;

impl Explainer {
    /// Why the instances of a service are seen, or not. A name that no service has but
    /// an instance of this agent is explained for that instance alone.
    pub(crate) async fn service(
        &self,
        name: &str,
        request: &Request,
    ) -> Result<Explanation, CallError> {
        let options = request.read_options()?;
        let params = &request.params;
        let mut question = Question {
            name: name.to_owned(),
            instance: Some(params.text("id").to_owned()).filter(|id| !id.is_empty()),
            tags: params.all("tag").map(str::to_owned).collect(),
            passing_only: params.has("passing") || self.handle.config().dns.only_passing,
            filter: params.text("filter").to_owned(),
        };
        if question.instance.is_none()
            && let Some(service) = self.service_of_instance(name, &options)
        {
            question.instance = Some(name.to_owned());
            question.name = service;
        }
        let asked = self.ask_for_service(&question, &options).await;
        let facts = self.service_facts(question, &options, asked).await;
        Ok(service::explain(&facts))
    }

    /// The service of the instance of this agent with that id, unless the agent has a
    /// service of that name or the token may not see what it runs.
    fn service_of_instance(&self, id: &str, options: &ReadOptions) -> Option<String> {
        self.require_agent_read(options).ok()?;
        let by_name = self.local.report(|service| is_named(service, id));
        let by_id = self.local.report(|service| service.id.as_str() == id);
        let instance = by_id.services.first().filter(|_| by_name.services.is_empty())?;
        Some(instance.service.service.as_str().to_owned())
    }

    fn require_agent_read(&self, options: &ReadOptions) -> Result<(), PermissionDenied> {
        let node = self.handle.node().node;
        let permission = Permission::read(Resource::Agent, node.as_str());
        self.local.authorizer(&options.token).require(permission)
    }

    async fn ask_for_service(&self, question: &Question, options: &ReadOptions) -> Option<Asked> {
        let settings = self.answerer.settings();
        let domain = &settings.zones.options().domain;
        let tag = match question.tags.as_slice() {
            [tag] => format!("{tag}."),
            _ => String::new(),
        };
        let datacenter = &options.datacenter;
        let name = format!("{tag}{}.service.{datacenter}.{domain}", question.name);
        let is_label = |text: &str| !text.contains('.') && Name::from_text(text).is_some();
        if !is_label(&question.name) {
            return None;
        }
        ask(&self.answerer, &name, ::dns::RecordType::SRV).await
    }

    async fn service_facts(
        &self,
        question: Question,
        options: &ReadOptions,
        dns: Option<Asked>,
    ) -> Facts {
        let local = match self.require_agent_read(options) {
            Ok(()) => Ok(self.local.report(|service| {
                is_named(service, &question.name)
                    && question.instance.as_ref().is_none_or(|id| service.id.as_str() == id)
            })),
            Err(_) => Err(format!(
                "What this agent ({}) runs is told only to tokens with agent:read on it.",
                self.handle.node().node
            )),
        };
        let all = self.instances(&question, "", options).await;
        let filtered = match question.filter.as_str() {
            "" => Ok(BTreeSet::new()),
            filter => self.instances(&question, filter, options).await.map(|(rows, _)| {
                let key = |row: &CheckServiceNode| {
                    (row.node.node.as_str().to_owned(), row.service.id.as_str().to_owned())
                };
                rows.iter().map(key).collect()
            }),
        };
        let (catalog, hidden) = match all {
            Ok((rows, hidden)) => (Ok(rows), hidden),
            Err(error) => (Err(error), false),
        };
        // Rules know case, questions do not: the name as it was registered is what counts.
        let registered = catalog.as_deref().ok().and_then(<[_]>::first);
        let name = registered.map_or(question.name.as_str(), |row| row.service.service.as_str());
        let readable = self
            .local
            .authorizer(&options.token)
            .require(Permission::read(Resource::Service, name))
            .map_err(|denied| denied.to_string());
        let is_missing = catalog.as_ref().is_ok_and(Vec::is_empty);
        let similar = match is_missing {
            true => self.similar_services(&question.name, options).await,
            false => Vec::new(),
        };
        Facts { question, local, readable, hidden, catalog, filtered, similar, dns }
    }

    async fn instances(
        &self,
        question: &Question,
        filter: &str,
        options: &ReadOptions,
    ) -> Result<(Vec<CheckServiceNode>, bool), String> {
        let query = HealthService {
            selection: InstanceSelection::of(question.name.as_str()),
            health: InstanceHealth::Any,
            filter: RowFilter::of(filter),
        };
        let read = self.handle.delegate().read_typed(query, options).await;
        let (rows, facts) = read.map_err(|error| error.text().to_owned())?;
        Ok((Vec::clone(&rows), facts.removed))
    }

    async fn similar_services(&self, name: &str, options: &ReadOptions) -> Vec<String> {
        // Without a catalog there is nothing to offer; the catalog's own station tells why.
        let read = self.handle.delegate().read_typed(CatalogServices::default(), options).await;
        let Ok((services, _)) = read else { return Vec::new() };
        let names = services.names();
        similar(name, names, SIMILAR_MAX).into_iter().map(str::to_owned).collect()
    }

    /// How a DNS name is read, and what becomes of it.
    pub(crate) async fn dns(
        &self,
        name: &str,
        request: &Request,
    ) -> Result<Explanation, CallError> {
        let kind = match request.params.text("type") {
            "" => "A",
            text => text,
        };
        let Some(kind) = record_type(kind) else {
            let known = known_types();
            let text = format!("Unknown record type {kind:?}; known are {known}");
            return Err(CallError::bad_request(text));
        };
        let bad_name = || CallError::bad_request(format!("{name:?} is not a domain name"));
        let message = question(&Name::from_text(name).ok_or_else(bad_name)?, kind);
        let parsed = ::dns::Request::parse(&message).map_err(|_| bad_name())?;
        let options = request.read_options()?;
        let settings = self.answerer.settings();
        let config = self.handle.config();
        let mut told = Explanation::of(format!("DNS name {name:?} ({kind})"));
        let about = Zone {
            domain: &settings.zones.options().domain,
            datacenter: config.identity.datacenter.as_str(),
            recursors: match settings.recursors.as_slice() {
                [] => "none".to_owned(),
                some => {
                    let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
                    texts.join(", ")
                }
            },
        };
        let plan = ::dns::plan(&parsed, &settings.zones);
        reading(&plan, &about, &mut told);
        if let Plan::Invalid(_) = plan {
            diagnose_invalid(name, &about, &mut told);
        }
        let asked = ask(&self.answerer, name, kind).await;
        if let Plan::Lookup(_, Lookup::Service { service, tag, .. }) = plan {
            let asked_for = Question {
                name: service.to_owned(),
                tags: tag.map(str::to_owned).into_iter().collect(),
                passing_only: config.dns.only_passing,
                ..Question::default()
            };
            let facts = self.service_facts(asked_for, &options, asked.clone()).await;
            service::stations(&facts, &mut told);
        } else if let Some(asked) = &asked {
            let finding = match asked.records.is_empty() {
                true => Finding::Stop,
                false => Finding::Ok,
            };
            told.step("dns", finding, asked.sentence(), asked.lines());
        }
        let Some(asked) = asked else {
            return Ok(told.conclude(Visible::No, "It gets no answer."));
        };
        let visible = match asked.records.len() {
            0 => Visible::No,
            _ if asked.truncated => Visible::Partly,
            _ => Visible::Yes,
        };
        let has_other_types = asked.records.is_empty() && asked.rcode == "NOERROR";
        if has_other_types {
            told.advise(format!(
                "The name exists, but has no {kind} records: ask for another type."
            ));
        }
        let sentence = asked.sentence();
        Ok(told.conclude(visible, sentence))
    }

    /// Why a key is seen, or not.
    pub(crate) async fn key(
        &self,
        name: &str,
        request: &Request,
    ) -> Result<Explanation, CallError> {
        let options = request.read_options()?;
        let delegate = self.handle.delegate();
        let entry = delegate.read_typed(KvGet { key: name.into() }, &options).await;
        let entry = match entry {
            Ok((entry, _)) => Ok(Option::clone(&entry)),
            Err(error) if error.kind() == contract::ErrorKind::Denied => {
                Err(error.text().to_owned())
            }
            Err(error) => return Err(error),
        };
        let around = match &entry {
            Ok(None) => around(delegate, name, &options).await?,
            _ => Around::default(),
        };
        let mut facts = key::Facts {
            key: name.to_owned(),
            lock_delay: entry.is_ok().then(|| delegate.lock_delay_left(name)).flatten(),
            entry,
            around,
            session: None,
            session_checks: Vec::new(),
        };
        if let Ok(Some(entry)) = &facts.entry
            && !entry.session.is_empty()
        {
            let query = SessionInfo { id: entry.session.clone() };
            let (found, _) = delegate.read_typed(query, &options).await?;
            facts.session = found.first().cloned();
        }
        if let Some(session) = &facts.session {
            let node =
                HealthNode { node: session.node.as_str().to_owned(), ..HealthNode::default() };
            let (checks, _) = delegate.read_typed(node, &options).await?;
            let wanted: BTreeSet<_> = session.all_checks().collect();
            facts.session_checks =
                checks.iter().filter(|check| wanted.contains(&check.check_id)).cloned().collect();
        }
        Ok(key::explain(&facts))
    }
}

/// Names of services know no case, neither over DNS nor over HTTP.
fn is_named(service: &NodeService, name: &str) -> bool {
    service.service.as_str().to_lowercase() == name.to_lowercase()
}

/// What stands near a key. Servers of Consul are asked for names of keys, and cannot tell of
/// one that was deleted.
async fn around(
    delegate: &Delegate,
    name: &str,
    options: &ReadOptions,
) -> Result<Around, CallError> {
    let query = KvAround { key: name.into() };
    match delegate.read_typed(query.clone(), options).await {
        Err(error) if is_unknown_method(error.text()) => {}
        found => return Ok(Around::clone(&*found?.0)),
    }
    let below = KvKeys { prefix: query.folder().into(), separator: String::new() };
    let (below, _) = delegate.read_typed(below, options).await?;
    let folder = query.parent().map_or_else(String::new, |parent| format!("{parent}/"));
    let siblings = KvKeys { prefix: folder.into(), separator: "/".to_owned() };
    let (siblings, _) = delegate.read_typed(siblings, options).await?;
    Ok(Around::of(name, Vec::clone(&below), Vec::clone(&siblings)))
}
