//! The catalog as the DNS interface sees it.

use std::net::IpAddr;
use std::sync::Arc;

use contract::{CacheKind, CallError, Consistency, ErrorKind, Query, ReadOptions};
use dns::{Locality, Lookup};
use domains::catalog::{
    CatalogNode, CatalogNodes, InstanceSelection, PtrLookup, PtrTarget, ServicesAtAddress,
    VirtualIp,
};
use domains::health::HealthService;
use domains::prepared_query::{ExecuteRequest, Execution};
use telemetry::names;
use telemetry::series::CounterHandle;
use types::catalog::CheckServiceNode;
use types::prepared_query::ExecuteResponse;
use types::{Datacenter, GoDuration, NodeName, SecretId};

use crate::cache::AgentCache;
use crate::delegate::{Delegate, is_unknown_method};
use crate::dns_server::{
    AddressOwner, DnsSource, Found, FoundQuery, LookupCall, LookupError, LookupFuture, ready_now,
};

/// Answers look-ups through the delegate.
pub(crate) struct CatalogSource {
    delegate: Delegate,
    cache: Arc<AgentCache>,
    datacenter: Datacenter,
    /// The node of this agent.
    node: NodeName,
    /// `acl.tokens.dns`, else `acl.tokens.default`.
    token: SecretId,
    calls: CounterHandle,
}

impl CatalogSource {
    /// Look-ups through this delegate.
    pub(crate) fn new(
        delegate: Delegate,
        cache: Arc<AgentCache>,
        datacenter: Datacenter,
        node: NodeName,
        token: SecretId,
    ) -> Self {
        Self { delegate, cache, datacenter, node, token, calls: names::CLIENT_RPC.handle([]) }
    }

    async fn find(&self, call: &LookupCall<'_>) -> Result<Found, LookupError> {
        match call.lookup {
            Lookup::Node { node, locality } => {
                let query = CatalogNode { node: node.to_owned(), ..CatalogNode::default() };
                let Some(options) = self.options(call, locality) else {
                    return Ok(Found::Node(None));
                };
                let found = self.read(query, &options).await?;
                let named = found.as_ref().as_ref().map(|found| Arc::clone(&found.node));
                // A node is asked for by its name here, never by its id.
                Ok(Found::Node(named.filter(|n| n.node.as_str().eq_ignore_ascii_case(node))))
            }
            Lookup::Service { service, tag, locality } => {
                let tags = tag.map(str::to_owned).into_iter().collect();
                let selection = InstanceSelection { tags, ..InstanceSelection::of(service) };
                self.instances(call, locality, selection).await
            }
            Lookup::Connect { service, locality } => {
                let selection =
                    InstanceSelection { connect: true, ..InstanceSelection::of(service) };
                self.instances(call, locality, selection).await
            }
            // Gateways are linked by config entries, of which there are none yet.
            Lookup::Ingress { .. } => Ok(instances(Arc::default())),
            Lookup::Virtual { service, locality } => match self.options(call, locality) {
                Some(options) => {
                    let query = VirtualIp { service: service.to_owned() };
                    Ok(Found::Virtual(*self.read(query, &options).await?))
                }
                None => Ok(Found::Virtual(None)),
            },
            Lookup::Query { name, datacenter } => self.execute(call, name, datacenter).await,
            Lookup::Servers => {
                self.instances(call, Locality::Local, InstanceSelection::of("consul")).await
            }
            Lookup::Reverse(address) => {
                let options = self.local_options(call);
                let owner = match self.read(PtrLookup { address }, &options).await {
                    Err(LookupError::Failed(text)) if is_unknown_method(&text) => {
                        self.look_for(address, &options).await?
                    }
                    owner => Option::clone(&*owner?),
                };
                Ok(Found::Reverse(owner.map(|owner| match owner {
                    PtrTarget::Node(node) => AddressOwner::Node(node),
                    PtrTarget::Service(service) => AddressOwner::Service(service),
                })))
            }
        }
    }

    /// Who has an address, of servers that can only be asked for lists.
    async fn look_for(
        &self,
        address: IpAddr,
        options: &ReadOptions,
    ) -> Result<Option<PtrTarget>, LookupError> {
        let nodes = self.read(CatalogNodes::default(), options).await?;
        if let Some(node) = nodes.iter().find(|node| node.address.parse() == Ok(address)) {
            return Ok(Some(PtrTarget::Node(node.node.clone())));
        }
        let there =
            ServicesAtAddress { address: address.to_string(), ..ServicesAtAddress::default() };
        let rows = self.read(there, options).await?;
        Ok(rows.first().map(|row| PtrTarget::Service(row.service_name.clone())))
    }

    async fn instances(
        &self,
        call: &LookupCall<'_>,
        locality: Locality<'_>,
        selection: InstanceSelection,
    ) -> Result<Found, LookupError> {
        let Some(options) = self.options(call, locality) else {
            return Ok(instances(Arc::default()));
        };
        let query = HealthService { selection, ..HealthService::default() };
        Ok(instances(self.read(query, &options).await?))
    }

    /// Executes a prepared query.
    async fn execute(
        &self,
        call: &LookupCall<'_>,
        name: &str,
        datacenter: Option<&str>,
    ) -> Result<Found, LookupError> {
        let locality = datacenter.map_or(Locality::Local, Locality::Datacenter);
        let Some(options) = self.options(call, locality) else { return Ok(Found::Query(None)) };
        let request = ExecuteRequest {
            id_or_name: name.to_owned(),
            agent: self.node.clone(),
            address: Some(call.source_ip),
            ..ExecuteRequest::default()
        };
        match self.delegate.act_typed(Execution::new(request, options)).await {
            Ok((response, _)) => Ok(Found::Query(Some(FoundQuery {
                ttl: ttl_seconds(&response),
                service: response.service,
                instances: Arc::new(response.nodes),
            }))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Query(None)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// How to read; `None` where a cluster peer is asked for, of which there are none.
    fn options(&self, call: &LookupCall<'_>, locality: Locality<'_>) -> Option<ReadOptions> {
        match locality {
            Locality::Local => Some(self.local_options(call)),
            Locality::Datacenter(name) if name.eq_ignore_ascii_case(self.datacenter.as_str()) => {
                Some(self.local_options(call))
            }
            Locality::Datacenter(name) => {
                let datacenter = Datacenter::from(name.to_lowercase());
                Some(ReadOptions { datacenter, ..self.local_options(call) })
            }
            Locality::Peer(_) => None,
        }
    }

    fn local_options(&self, call: &LookupCall<'_>) -> ReadOptions {
        let consistency = match call.freshness.allow_stale {
            true => Consistency::Stale,
            false => Consistency::Default,
        };
        let freshness = call.freshness;
        let max_age = Some(freshness.cache_max_age.to_std());
        ReadOptions {
            datacenter: self.datacenter.clone(),
            token: self.token.clone(),
            consistency,
            max_stale: freshness.max_stale.to_std(),
            cached: freshness.use_cache,
            max_age: max_age.filter(|age| freshness.use_cache && !age.is_zero()),
            ..ReadOptions::default()
        }
    }

    async fn read<Q: Query>(
        &self,
        query: Q,
        options: &ReadOptions,
    ) -> Result<Arc<Q::Reply>, LookupError> {
        self.calls.increment(1);
        let kind = match options.cached {
            true if Q::NAME == HealthService::NAME => CacheKind::Streamed,
            true => CacheKind::Refreshed,
            false => CacheKind::None,
        };
        let read = self.cache.read(&self.delegate, Arc::new(query), options, kind).await;
        let (answer, _) = read.map_err(|error| failed(&error))?;
        let rows = answer.shared_reply().downcast::<Q::Reply>();
        Ok(rows.expect("a query's reply has the query's reply type"))
    }
}

/// What becomes of a question that the servers did not answer.
fn failed(error: &CallError) -> LookupError {
    if error.text().contains(CallError::no_path_to_datacenter().text()) {
        return LookupError::UnknownDatacenter;
    }
    LookupError::Failed(error.text().to_owned())
}

/// The TTL that a query says, in whole seconds.
fn ttl_seconds(response: &ExecuteResponse) -> Option<u32> {
    let text = response.dns.ttl.as_str();
    if text.is_empty() {
        return None;
    }
    match GoDuration::parse(text) {
        Ok(ttl) => Some(u32::try_from(ttl.to_std().as_secs()).unwrap_or(u32::MAX)),
        Err(error) => {
            let service = response.service.as_str();
            tracing::warn!(
                target: "agent.dns",
                service, %error, "Failed to parse TTL of prepared query, ignoring"
            );
            Some(0)
        }
    }
}

fn instances(rows: Arc<Vec<CheckServiceNode>>) -> Found {
    Found::Instances(rows)
}

impl DnsSource for CatalogSource {
    /// Stale reads of a kept result wait for nobody.
    fn look_up_now(&self, call: &LookupCall<'_>) -> Option<Result<Found, LookupError>> {
        ready_now(self.find(call))
    }

    fn look_up<'a>(&'a self, call: LookupCall<'a>) -> LookupFuture<'a> {
        Box::pin(async move { self.find(&call).await })
    }
}
