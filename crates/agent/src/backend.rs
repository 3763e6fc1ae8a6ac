//! Runs the calls of the domains through the delegate.

use std::net::IpAddr;
use std::sync::Arc;

use contract::{CacheKind, Call, CallError, Encoding, ReadFacts, Response, Show};
use http_server::{Backend, BoxFuture, Outcome, ReadMeta};
use server::rate_limit::Caller;
use telemetry::names;
use telemetry::series::CounterHandle;

use crate::cache::AgentCache;
use crate::delegate::Delegate;

/// The delegate as the HTTP server sees it.
pub(crate) struct DelegateBackend {
    delegate: Delegate,
    cache: Arc<AgentCache>,
    /// `http_config.use_cache`.
    uses_cache: bool,
    calls: CounterHandle,
}

impl DelegateBackend {
    /// Runs calls through this delegate.
    pub(crate) fn new(delegate: Delegate, cache: Arc<AgentCache>, uses_cache: bool) -> Self {
        let calls = names::CLIENT_RPC.handle([]);
        Self { delegate, cache, uses_cache, calls }
    }
}

impl Backend for DelegateBackend {
    fn run(
        &self,
        call: Call,
        encoding: Encoding,
        client: Option<IpAddr>,
    ) -> BoxFuture<Result<Outcome, CallError>> {
        let delegate = self.delegate.called_by(Caller::Client(client));
        let (cache, uses_cache) = (Arc::clone(&self.cache), self.uses_cache);
        let kind = move |kind| if uses_cache { kind } else { CacheKind::None };
        if !matches!(call, Call::Answer(_)) {
            self.calls.increment(1);
        }
        Box::pin(async move {
            match call {
                Call::Answer(response) => Ok(Outcome { response, meta: None }),
                Call::Write(write) => {
                    let reply = delegate.write(write.command, &write.token).await?;
                    Ok(Outcome { response: (write.show)(&*reply, encoding), meta: None })
                }
                Call::Act(mut call) => {
                    let (action, options) = (&mut *call.action, &call.options);
                    let acted = cache.act(&delegate, action, options, kind(call.cache)).await;
                    let (reply, facts, cached) = acted?;
                    let consistency = Some(call.options.consistency.as_str());
                    let mut meta = read_meta(&facts, consistency);
                    cached.apply(&mut meta);
                    Ok(Outcome { response: (call.show)(&*reply, encoding), meta: Some(meta) })
                }
                Call::Read(read) => {
                    let read_cached =
                        cache.read(&delegate, read.query, &read.options, kind(read.cache));
                    let (answer, cached) = read_cached.await?;
                    let consistency =
                        read.tells_consistency.then(|| read.options.consistency.as_str());
                    let mut meta = read_meta(&answer.facts, consistency);
                    cached.apply(&mut meta);
                    let response = match read.show {
                        Show::Json(encode) => Response::encoded(answer.body(encoding, encode)),
                        Show::Custom(show) => show(answer.reply(), encoding),
                        Show::WithFacts(show) => show(answer.reply(), &answer.facts, encoding),
                    };
                    let told = read.facts.go_with(response.status);
                    Ok(Outcome { response, meta: told.then_some(meta) })
                }
            }
        })
    }
}

/// What of it goes into headers.
pub(crate) fn read_meta(facts: &ReadFacts, consistency: Option<&'static str>) -> ReadMeta {
    ReadMeta {
        index: facts.index,
        known_leader: facts.known_leader,
        last_contact_ms: u64::try_from(facts.last_contact.as_millis()).unwrap_or(u64::MAX),
        consistency,
        removed: facts.removed,
        backend: "blocking-query",
        cache: None,
    }
}
