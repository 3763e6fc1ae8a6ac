//! The options that all reads share (`reference/http-api.md` 1.8 to 1.10).

use std::time::Duration;

use types::{Datacenter, GoDuration, Index, SecretId};

use crate::error::CallError;
use crate::request::Request;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// The leader answers while it holds its lease.
    #[default]
    Default,
    /// The leader first makes sure that it still leads.
    Consistent,
    /// Any server answers.
    Stale,
}

impl Consistency {
    /// What it is called in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::Default => "leader",
            Consistency::Consistent => "consistent",
            Consistency::Stale => "stale",
        }
    }
}

/// Where, how fresh, and how long to wait.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The datacenter to ask.
    pub datacenter: Datacenter,
    /// The token.
    pub token: SecretId,
    /// How fresh.
    pub consistency: Consistency,
    /// A stale answer older than this is asked again at the leader; zero for no limit.
    pub max_stale: Duration,
    /// Wait until the answer's index is above this one; zero for not at all.
    pub min_index: Index,
    /// How long to wait; `None` for the agent's default. The server adds up to a
    /// sixteenth and cuts at its maximum.
    pub max_wait: Option<Duration>,
    /// Whether a cached answer will do (`cached`).
    pub cached: bool,
    /// Oldest acceptable cached answer (`Cache-Control: max-age`).
    pub max_age: Option<Duration>,
    /// How old a cached answer may be when the servers are away.
    pub stale_if_error: Option<Duration>,
}

impl ReadOptions {
    /// Options for reads of this agent's own, such as a DNS answer's.
    pub fn stale(datacenter: Datacenter) -> Self {
        Self { datacenter, consistency: Consistency::Stale, ..Self::default() }
    }

    pub(crate) fn parse(request: &Request) -> Result<Self, CallError> {
        let params = &request.params;
        refuse_enterprise(request)?;
        let mut options = Self {
            datacenter: request.datacenter(),
            token: request.token.clone(),
            ..Self::default()
        };
        parse_wait(request, &mut options)?;
        let stale = params.has("stale");
        let consistent = params.has("consistent");
        let leader = params.has("leader");
        options.cached = params.has("cached");
        if let Some(text) = params.get("max_stale").filter(|text| !text.is_empty()) {
            let duration = GoDuration::parse(text)
                .map_err(|_| CallError::bad_request(format!("Invalid max_stale value {text:?}")))?;
            options.max_stale = duration.to_std();
            if duration.is_positive() {
                options.consistency = Consistency::Stale;
            }
        }
        if stale {
            options.consistency = Consistency::Stale;
        }
        let discovery =
            request.path.starts_with("/v1/catalog") || request.path.starts_with("/v1/health");
        let nothing_asked = !stale && !consistent && !leader && options.max_stale.is_zero();
        if nothing_asked && discovery && !request.agent.discovery_max_stale.is_zero() {
            options.max_stale = request.agent.discovery_max_stale;
            options.consistency = Consistency::Stale;
        }
        if consistent {
            if options.consistency == Consistency::Stale {
                return Err(CallError::bad_request(
                    "Cannot specify ?stale with ?consistent, conflicting semantics.",
                ));
            }
            if options.cached {
                return Err(CallError::bad_request(
                    "Cannot specify ?cached with ?consistent, conflicting semantics.",
                ));
            }
            options.consistency = Consistency::Consistent;
        }
        parse_cache_control(request, &mut options)?;
        Ok(options)
    }
}

/// Namespaces and partitions: named, so that nobody believes they were applied.
fn refuse_enterprise(request: &Request) -> Result<(), CallError> {
    let refusals = [
        ("ns", "X-Consul-Namespace", "Namespaces are"),
        ("partition", "X-Consul-Partition", "Partitions are"),
    ];
    for (param, header, what) in refusals {
        if !request.params.text(param).is_empty() {
            return Err(CallError::bad_request(format!(
                "Invalid query parameter: {param:?} - {what} a Consul Enterprise feature"
            )));
        }
        let value = request.headers.get(header);
        if value.is_some_and(|value| !value.is_empty()) {
            return Err(CallError::bad_request(format!(
                "Invalid header: {header:?} - {what} a Consul Enterprise feature"
            )));
        }
    }
    Ok(())
}

fn parse_wait(request: &Request, options: &mut ReadOptions) -> Result<(), CallError> {
    if let Some(text) = request.params.get("wait").filter(|text| !text.is_empty()) {
        let wait =
            GoDuration::parse(text).map_err(|_| CallError::bad_request("Invalid wait time"))?;
        options.max_wait = Some(wait.to_std());
    }
    if let Some(text) = request.params.get("index").filter(|text| !text.is_empty()) {
        let index = text.parse().map_err(|_| CallError::bad_request("Invalid index"))?;
        options.min_index = Index(index);
    }
    Ok(())
}

fn parse_cache_control(request: &Request, options: &mut ReadOptions) -> Result<(), CallError> {
    let Some(header) = request.headers.get(http::header::CACHE_CONTROL) else { return Ok(()) };
    let invalid = || CallError::bad_request("Invalid Cache-Control header.");
    let header = header.to_str().map_err(|_| invalid())?;
    for directive in header.split(',').map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || value.trim().parse::<u32>().map_err(|_| invalid());
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => options.max_age = Some(Duration::from_secs(seconds()?.into())),
            "must-revalidate" => options.max_age = Some(Duration::ZERO),
            "stale-if-error" => {
                options.stale_if_error = Some(Duration::from_secs(seconds()?.into()));
            }
            _ => {}
        }
    }
    Ok(())
}
