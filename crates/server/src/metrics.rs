//! What a server counts and measures of the calls it answers.
//!
//! Names: `reference/telemetry.md` section 2. Handles are kept, so that a call costs
//! neither an allocation nor a look-up in the list of all series.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use contract::Interest;
use telemetry::names;
use telemetry::series::{Counter, CounterHandle, GaugeHandle, Timer, TimerHandle};

/// How the commands of one name are measured.
struct Measured {
    /// [`contract::Command::NAME`].
    command: &'static str,
    /// From the request to the reply.
    call: Option<&'static Timer<0>>,
    /// In the state machine.
    apply: Apply,
}

/// How applying a command is measured.
enum Apply {
    /// By name alone.
    Plain(&'static Timer<0>),
    /// By name and [`contract::Command::op`].
    ByOp(&'static Timer<1>),
    /// Not at all: Consul has no metric for it.
    Unmeasured,
    /// As two timers; the second has a name that older dashboards know.
    Twice(&'static Timer<1>, &'static Timer<1>),
}

/// How every command is measured: a new one needs a line here.
const COMMANDS: &[Measured] = &[
    measured(
        "Catalog.Register",
        Some(&names::CATALOG_REGISTER),
        Apply::Plain(&names::FSM_REGISTER),
    ),
    measured(
        "Catalog.Deregister",
        Some(&names::CATALOG_DEREGISTER),
        Apply::Plain(&names::FSM_DEREGISTER),
    ),
    measured("Coordinate.BatchUpdate", None, Apply::Plain(&names::FSM_COORDINATE_BATCH_UPDATE)),
    // Consul's timer of applying it has the datacenter in its name; there is none here.
    measured("FederationState.Apply", Some(&names::FEDERATION_STATE_APPLY), Apply::Unmeasured),
    measured("Internal.AssignManualServiceVIPs", None, Apply::Unmeasured),
    measured("KVS.Apply", Some(&names::KVS_APPLY), Apply::ByOp(&names::FSM_KVS)),
    measured("Tombstone.Reap", None, Apply::ByOp(&names::FSM_TOMBSTONE)),
    measured(
        "PreparedQuery.Apply",
        Some(&names::PREPARED_QUERY_APPLY),
        Apply::ByOp(&names::FSM_PREPARED_QUERY),
    ),
    measured("Session.Apply", Some(&names::SESSION_APPLY), Apply::ByOp(&names::FSM_SESSION)),
    measured("Txn.Apply", Some(&names::TXN_APPLY), Apply::Plain(&names::FSM_TXN)),
    measured("Operator.AutopilotSetConfiguration", None, Apply::Plain(&names::FSM_AUTOPILOT)),
    measured("SystemMetadata.Apply", None, Apply::ByOp(&names::FSM_SYSTEM_METADATA)),
    measured("ConnectCA.Apply", None, Apply::Twice(&names::FSM_CA, &names::CONSUL_FSM_CA)),
];

/// Reads that are measured from request to reply; most are only counted.
const READS: &[(&str, &Timer<0>)] = &[
    ("Txn.Read", &names::TXN_READ),
    ("PreparedQuery.Execute", &names::PREPARED_QUERY_EXECUTE),
    ("PreparedQuery.ExecuteRemote", &names::PREPARED_QUERY_EXECUTE_REMOTE),
    ("PreparedQuery.Explain", &names::PREPARED_QUERY_EXPLAIN),
];

/// Operations that are measured by a name of their own from request to reply.
const CALLS_BY_OP: &[(&str, &str, &Timer<0>)] =
    &[("Session.Apply", "renew", &names::SESSION_RENEW)];

const fn measured(
    command: &'static str,
    call: Option<&'static Timer<0>>,
    apply: Apply,
) -> Measured {
    Measured { command, call, apply }
}

fn of_command(name: &str) -> Option<&'static Measured> {
    COMMANDS.iter().find(|measured| measured.command == name)
}

/// A command's name and operation.
type Operation = (&'static str, &'static str);

/// Timers by operation, found out when first needed: operations are as many as the
/// code has words for.
struct Timers {
    find: fn(Operation) -> Vec<TimerHandle>,
    known: RwLock<HashMap<Operation, Vec<TimerHandle>, foldhash::fast::RandomState>>,
}

impl Timers {
    fn new(find: fn(Operation) -> Vec<TimerHandle>) -> Self {
        Self { find, known: RwLock::default() }
    }

    fn record(&self, operation: Operation, took: Duration) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(timers) = known.get(&operation) {
            return timers.iter().for_each(|timer| timer.record(took));
        }
        drop(known);
        let timers = (self.find)(operation);
        timers.iter().for_each(|timer| timer.record(took));
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(operation, timers);
    }
}

/// How long commands take in the state machine.
pub(crate) struct ApplyMetrics {
    timers: Timers,
}

impl ApplyMetrics {
    /// Those of the recorder that is installed now.
    pub(crate) fn new() -> Self {
        let timers = Timers::new(|(name, op)| match of_command(name).map(|found| &found.apply) {
            Some(Apply::Plain(timer)) => vec![timer.handle([])],
            Some(Apply::ByOp(timer)) => vec![timer.handle([op.into()])],
            Some(Apply::Twice(timer, old)) => {
                vec![timer.handle([op.into()]), old.handle([op.into()])]
            }
            Some(Apply::Unmeasured) | None => Vec::new(),
        });
        Self { timers }
    }

    /// A command was applied.
    pub(crate) fn applied(&self, operation: Operation, took: Duration) {
        self.timers.record(operation, took);
    }
}

/// What is counted and measured of calls.
pub(crate) struct CallMetrics {
    queries: CounterHandle,
    blocking: GaugeHandle,
    consistent: TimerHandle,
    reads: Vec<(&'static str, TimerHandle)>,
    writes: Timers,
    interests: [Interests; 4],
}

impl CallMetrics {
    /// Those of the recorder that is installed now.
    pub(crate) fn new() -> Self {
        let writes = Timers::new(|(name, op)| {
            let by_op = CALLS_BY_OP.iter().find(|(command, of, _)| (*command, *of) == (name, op));
            let timer = by_op.map(|(_, _, timer)| *timer);
            let timer = timer.or_else(|| of_command(name).and_then(|found| found.call));
            timer.into_iter().map(|timer| timer.handle([])).collect()
        });
        Self {
            queries: names::RPC_QUERY.handle([]),
            blocking: names::RPC_QUERIES_BLOCKING.handle([]),
            consistent: names::RPC_CONSISTENT_READ.handle([]),
            reads: READS.iter().map(|(query, timer)| (*query, timer.handle([]))).collect(),
            writes,
            interests: [
                Interests::new(
                    "Catalog.ServiceNodes",
                    false,
                    [&names::CATALOG_SERVICE_QUERY, &names::CATALOG_SERVICE_NOT_FOUND],
                    &names::CATALOG_SERVICE_QUERY_TAGS,
                ),
                Interests::new(
                    "Catalog.ServiceNodes",
                    true,
                    [&names::CATALOG_CONNECT_QUERY, &names::CATALOG_CONNECT_NOT_FOUND],
                    &names::CATALOG_CONNECT_QUERY_TAGS,
                ),
                Interests::new(
                    "Health.ServiceNodes",
                    false,
                    [&names::HEALTH_SERVICE_QUERY, &names::HEALTH_SERVICE_NOT_FOUND],
                    &names::HEALTH_SERVICE_QUERY_TAGS,
                ),
                Interests::new(
                    "Health.ServiceNodes",
                    true,
                    [&names::HEALTH_CONNECT_QUERY, &names::HEALTH_CONNECT_NOT_FOUND],
                    &names::HEALTH_CONNECT_QUERY_TAGS,
                ),
            ],
        }
    }

    /// A query arrived.
    pub(crate) fn query(&self) {
        self.queries.increment(1);
    }

    /// A query waits, until the guard is gone.
    pub(crate) fn blocking(&self) -> Blocking<'_> {
        self.blocking.increment(1.0);
        Blocking(&self.blocking)
    }

    /// A consistent read began to confirm the leader at `start`, and has done it.
    pub(crate) fn confirmed(&self, start: Instant) {
        self.consistent.record_since(start);
    }

    /// A query was answered, or failed.
    pub(crate) fn read(&self, query: &'static str, call: Call, start: Instant) {
        if let Some((_, timer)) = self.reads.iter().find(|(known, _)| *known == query) {
            timer.record_since(start);
        }
        call.record(query, "read", start);
    }

    /// A command was answered, or failed.
    pub(crate) fn wrote(&self, operation: Operation, call: Call, start: Instant) {
        self.writes.record(operation, start.elapsed());
        call.record(operation.0, "write", start);
    }

    /// A query for a service was answered.
    pub(crate) fn interest(&self, query: &'static str, interest: &Interest<'_>) {
        let found =
            self.interests.iter().find(|of| of.query == query && of.connect == interest.connect);
        if let Some(of) = found {
            of.count(interest);
        }
    }
}

/// What is told of each call where `prefix_filter` asks for `rpc.server.call` by name.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Whether it failed.
    pub(crate) errored: bool,
    /// Whether this server leads.
    pub(crate) leads: bool,
}

impl Call {
    fn record(self, method: &'static str, request_type: &'static str, start: Instant) {
        if !telemetry::measures_calls() {
            return;
        }
        let text = |yes| if yes { "true" } else { "false" };
        let labels = [method, text(self.errored), request_type, "internal", text(self.leads)];
        names::RPC_SERVER_CALL.record(labels.map(Into::into), start.elapsed());
    }
}

/// See [`CallMetrics::blocking`].
pub(crate) struct Blocking<'m>(&'m GaugeHandle);

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Services whose counters are kept at hand, for each kind of question. Names come from
/// clients, so there is a bound; beyond it counters are looked up again.
const SERVICES_MAX: usize = 512;

/// Who asks for which service, for one kind of question.
struct Interests {
    query: &'static str,
    connect: bool,
    /// Questions, and questions to which there was no answer.
    counters: [&'static Counter<1>; 2],
    tagged: &'static Counter<2>,
    known: RwLock<HashMap<String, [CounterHandle; 2], foldhash::fast::RandomState>>,
}

impl Interests {
    fn new(
        query: &'static str,
        connect: bool,
        counters: [&'static Counter<1>; 2],
        tagged: &'static Counter<2>,
    ) -> Self {
        Self { query, connect, counters, tagged, known: RwLock::default() }
    }

    fn count(&self, interest: &Interest<'_>) {
        let count = |[asked, missing]: &[CounterHandle; 2]| {
            asked.increment(1);
            if !interest.found {
                missing.increment(1);
            }
        };
        if let Some(tag) = interest.tags.last() {
            // Consul gives each tag a label of that name, of which readers show the last.
            self.tagged.increment([interest.service.to_owned().into(), tag.clone().into()], 1);
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = known.get(interest.service) {
            return count(counters);
        }
        drop(known);
        let label = || [interest.service.to_owned().into()];
        let [asked, missing] = self.counters;
        // One that never counts is not shown.
        let counters = [asked.handle(label()), missing.handle(label())];
        count(&counters);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERVICES_MAX {
            known.clear();
        }
        known.insert(interest.service.to_owned(), counters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_measured() {
        for domain in domains::ALL {
            for command in domain.commands {
                assert!(
                    of_command(command.name).is_some(),
                    "{} needs a line in `COMMANDS`: the metrics of reference/telemetry.md that \
                     tell how long it takes",
                    command.name
                );
            }
        }
        for (command, _, _) in CALLS_BY_OP {
            assert!(of_command(command).is_some(), "{command}");
        }
    }
}
