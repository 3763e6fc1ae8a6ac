//! How long DNS answers take (`reference/telemetry.md` section 2, DNS).

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use dns::RecordType;
use telemetry::names;
use telemetry::series::TimerHandle;

use crate::dns_server::{DnsTimings, QuestionKind};

/// Types of questions whose timers are kept at hand. Clients may ask for any of 65,536;
/// more than these share one series.
const TYPES_MAX: usize = 32;

/// The timers of the DNS interface.
pub(crate) struct DnsMetrics {
    node: String,
    domain: TimerHandle,
    reverse: TimerHandle,
    by_type: RwLock<HashMap<RecordType, TimerHandle>>,
}

impl DnsMetrics {
    /// Those of this node.
    pub(crate) fn new(node: &str) -> Self {
        let label = || [node.to_owned().into()];
        Self {
            node: node.to_owned(),
            domain: names::DNS_DOMAIN_QUERY.handle(label()),
            reverse: names::DNS_PTR_QUERY.handle(label()),
            by_type: RwLock::default(),
        }
    }

    fn timer_of(&self, record_type: RecordType, known: usize) -> TimerHandle {
        let text = if known < TYPES_MAX { record_type.to_string() } else { "other".to_owned() };
        names::DNS_QUERY.handle([self.node.clone().into(), text.into()])
    }
}

impl DnsTimings for DnsMetrics {
    fn observe(&self, kind: QuestionKind, record_type: RecordType, elapsed: Duration) {
        match kind {
            QuestionKind::Domain => self.domain.record(elapsed),
            QuestionKind::Reverse => self.reverse.record(elapsed),
            QuestionKind::Other => {}
        }
        let by_type = self.by_type.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = by_type.get(&record_type) {
            return timer.record(elapsed);
        }
        let known = by_type.len();
        drop(by_type);
        let timer = self.timer_of(record_type, known);
        timer.record(elapsed);
        if known < TYPES_MAX {
            let mut by_type = self.by_type.write().unwrap_or_else(PoisonError::into_inner);
            by_type.insert(record_type, timer);
        }
    }
}
