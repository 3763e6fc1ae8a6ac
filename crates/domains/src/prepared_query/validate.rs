//! What can be said of a query without looking at the state. Texts and their order are
//! Consul's.

use types::GoDuration;
use types::meta::{self, MetaError};
use types::prepared_query::{HIDDEN_TOKEN, PreparedQuery, QueryFailover};

/// Why a definition is refused.
pub(super) fn validate(query: &PreparedQuery) -> Result<(), String> {
    if query.name.is_empty() && query.session.is_empty() && !query.is_template() {
        return Err("Must be bound to a session".to_owned());
    }
    let token = query.token.as_str();
    if token == HIDDEN_TOKEN {
        return Err(format!(
            "Bad Token '{token}', it looks like a query definition with a redacted token was submitted"
        ));
    }
    let service = &query.service;
    if service.service.is_empty() {
        return Err("Must provide a Service name to query".to_owned());
    }
    validate_failover(&service.failover)?;
    if !service.sameness_group.is_empty() {
        return Err("sameness-groups are an enterprise-only feature".to_owned());
    }
    validate_ttl(&query.dns.ttl)?;
    if let Some(wanted) = &service.node_meta {
        // What agents register under the reserved prefix may be asked for.
        let exempt: Vec<&str> = wanted.keys().map(String::as_str).collect();
        meta::validate(wanted, &exempt).map_err(|error: MetaError| error.to_string())?;
    }
    Ok(())
}

fn validate_failover(failover: &QueryFailover) -> Result<(), String> {
    let nearest = failover.nearest_n;
    if nearest < 0 {
        return Err(format!("Bad NearestN '{nearest}', must be >= 0"));
    }
    let is_empty = |list: Option<usize>| list.unwrap_or(0) == 0;
    let others = nearest > 0 || !is_empty(failover.datacenters.as_ref().map(Vec::len));
    if others && !is_empty(failover.targets.as_ref().map(Vec::len)) {
        return Err("Targets cannot be populated with NearestN or Datacenters".to_owned());
    }
    Ok(())
}

fn validate_ttl(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let ttl = GoDuration::parse(text).map_err(|error| format!("Bad DNS TTL '{text}': {error}"))?;
    if ttl.as_nanos() < 0 {
        return Err(format!("DNS TTL '{}', must be >=0", ttl.as_nanos()));
    }
    Ok(())
}
