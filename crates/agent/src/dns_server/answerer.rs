//! From the octets of a question to the octets of its answer, with rows and
//! recursors in between.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use dns::{
    Chased, CnameTarget, Exchange, Lookup, Malformed, MessageBuffer, Outcome, Plan, RecordType,
    Report, Request, Rows, TARGETS_MAX, Transport, Via, answer_malformed, plan,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::listen::Network;
use super::settings::DnsSettings;
use super::source::{DnsSource, Found, LookupCall, LookupError};
use super::{lines, recursor};

/// Questions that wait for rows or recursors at the same time. Over UDP one more is
/// answered with SERVFAIL, over TCP it waits for its turn.
pub const WAITING_QUESTIONS_MAX: usize = 1024;
/// How long a question waits for its rows before it is answered with SERVFAIL.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Questions that are with recursors at the same time; each needs a socket.
const UPSTREAM_QUESTIONS_MAX: usize = 512;

/// Answers questions, however they came.
pub struct Answerer {
    settings: ArcSwap<DnsSettings>,
    source: Arc<dyn DnsSource>,
    places: Arc<Semaphore>,
    upstream: Arc<Semaphore>,
    timings: Option<Arc<dyn DnsTimings>>,
}

/// Who is told how long answers took, for the metrics `dns.domain_query`,
/// `dns.ptr_query` and `dns.query` (`reference/telemetry.md` section 2).
pub trait DnsTimings: Send + Sync + 'static {
    /// An answer was made. Called for every question: it must be quick.
    fn observe(&self, kind: QuestionKind, record_type: RecordType, elapsed: Duration);
}

/// What a question was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuestionKind {
    /// A name in the own domains.
    Domain,
    /// An address.
    Reverse,
    /// Any other name: relayed or refused.
    Other,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Where the question came from.
    pub address: SocketAddr,
    /// Decides how large the answer may be, and how recursors are asked.
    pub transport: Transport,
}

impl Client {
    pub(super) fn network(self) -> Network {
        match self.transport {
            Transport::Udp => Network::Udp,
            Transport::Tcp => Network::Tcp,
        }
    }
}

/// What one task needs to answer; used again for every question.
#[derive(Debug)]
pub(super) struct Scratch {
    message: MessageBuffer,
    /// The answer to something that is no question.
    header: Vec<u8>,
    is_malformed: bool,
    nothing_chased: Chased,
    seeds: fastrand::Rng,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            message: MessageBuffer::new(),
            header: Vec::new(),
            is_malformed: false,
            nothing_chased: Chased::new(),
            seeds: fastrand::Rng::new(),
        }
    }

    /// The answer, after [`Step::Reply`].
    pub(super) fn reply(&self) -> &[u8] {
        if self.is_malformed { &self.header } else { self.message.as_bytes() }
    }

    fn malformed(&mut self, message: &[u8], fault: Malformed) -> Step {
        self.is_malformed = true;
        match answer_malformed(message, fault, &mut self.header) {
            true => Step::Reply,
            false => Step::Nothing,
        }
    }
}

/// How far a question got without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The answer is in the scratch.
    Reply,
    /// It gets no answer.
    Nothing,
    /// It has to wait: [`Answerer::answer`].
    Later,
}

/// A question that waits.
#[derive(Clone, Copy)]
struct Asked<'a> {
    settings: &'a Arc<DnsSettings>,
    request: &'a Request,
    client: Client,
    transport: Transport,
    /// Host names that may still be followed for this question, however nested.
    targets_left: &'a AtomicUsize,
    seed: u64,
}

impl Answerer {
    /// An answerer with all its places free.
    pub fn new(
        settings: DnsSettings,
        source: Arc<dyn DnsSource>,
        timings: Option<Arc<dyn DnsTimings>>,
    ) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            source,
            places: Arc::new(Semaphore::new(WAITING_QUESTIONS_MAX)),
            upstream: Arc::new(Semaphore::new(UPSTREAM_QUESTIONS_MAX)),
            timings,
        }
    }

    /// The settings that questions are answered by.
    pub fn settings(&self) -> Arc<DnsSettings> {
        self.settings.load_full()
    }

    /// Replaces the settings.
    pub fn reload(&self, settings: DnsSettings) {
        let enabled = !settings.recursors.is_empty();
        let before = self.settings.swap(Arc::new(settings));
        if before.recursors.is_empty() == enabled {
            lines::recursors_switched(enabled);
        }
    }

    /// Answers a message, waiting as long as it takes: at most [`LOOKUP_TIMEOUT`] and
    /// `recursor_timeout` for each recursor, for each step of following host names.
    /// `None` for what must not be answered (responses, fragments of a header).
    pub async fn answer(&self, message: &[u8], client: Client) -> Option<Vec<u8>> {
        let arrival = self.arrival();
        let request = match Request::parse(message) {
            Ok(request) => request,
            Err(fault) => {
                let mut header = Vec::new();
                return answer_malformed(message, fault, &mut header).then_some(header);
            }
        };
        let settings = self.settings.load_full();
        let targets_left = AtomicUsize::new(TARGETS_MAX);
        let asked = Asked {
            settings: &settings,
            request: &request,
            client,
            transport: client.transport,
            targets_left: &targets_left,
            seed: fastrand::u64(..),
        };
        let reply = match self.make(asked).await {
            Some(reply) => reply,
            None => self.recurse(asked, message).await,
        };
        let plan = plan(&request, &asked.settings.zones);
        self.served(&request, &plan, client, arrival);
        Some(reply)
    }

    /// Answers a message if that needs no waiting.
    pub(super) fn answer_now(&self, message: &[u8], client: Client, scratch: &mut Scratch) -> Step {
        let arrival = self.arrival();
        let request = match Request::parse(message) {
            Ok(request) => request,
            Err(fault) => return scratch.malformed(message, fault),
        };
        scratch.is_malformed = false;
        let settings = self.settings.load();
        let plan = plan(&request, &settings.zones);
        let found = match plan {
            Plan::Recurse => return Step::Later,
            Plan::Lookup(_, lookup) => {
                let source_ip = source_ip(&request, client);
                let call = LookupCall { lookup, source_ip, freshness: &settings.freshness };
                match self.source.look_up_now(&call) {
                    Some(found) => Some(found),
                    None => return Step::Later,
                }
            }
            _ => None,
        };
        let exchange = Exchange {
            zones: &settings.zones,
            request: &request,
            plan: &plan,
            transport: client.transport,
            now_unix_seconds: now_unix_seconds(),
            seed: scratch.seeds.u64(..),
        };
        let nothing_chased = &scratch.nothing_chased;
        match exchange.answer(rows(found.as_ref()), nothing_chased, &mut scratch.message) {
            Outcome::Complete(report) => {
                note(&exchange, found.as_ref(), &report);
                self.served(&request, &plan, client, arrival);
                Step::Reply
            }
            Outcome::NeedsCname(_) | Outcome::Recurse => Step::Later,
        }
    }

    /// Answers SERVFAIL to a message that would have to wait but may not.
    pub(super) fn answer_overloaded(
        &self,
        message: &[u8],
        client: Client,
        scratch: &mut Scratch,
    ) -> Step {
        let request = match Request::parse(message) {
            Ok(request) => request,
            Err(fault) => return scratch.malformed(message, fault),
        };
        scratch.is_malformed = false;
        lines::overloaded(client);
        let settings = self.settings.load();
        let plan = plan(&request, &settings.zones);
        let exchange = Exchange {
            zones: &settings.zones,
            request: &request,
            plan: &plan,
            transport: client.transport,
            now_unix_seconds: now_unix_seconds(),
            seed: 0,
        };
        let nothing_chased = &scratch.nothing_chased;
        match exchange.answer(Rows::Failed, nothing_chased, &mut scratch.message) {
            Outcome::Complete(_) => {}
            _ => drop(exchange.recursion_failed(&mut scratch.message)),
        }
        Step::Reply
    }

    /// A place for a question that waits, if one is free.
    pub(super) fn try_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place for a question that waits. Always there in the end: the semaphore is
    /// never closed.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// When a question came, if anybody wants to know how long it took.
    fn arrival(&self) -> Option<Instant> {
        (self.timings.is_some() || lines::wants_served()).then(Instant::now)
    }

    fn served(&self, request: &Request, plan: &Plan<'_>, client: Client, arrival: Option<Instant>) {
        let (Some(arrival), Some(question)) = (arrival, &request.question) else { return };
        let elapsed = arrival.elapsed();
        if let Some(timings) = &self.timings {
            let kind = match plan {
                Plan::Lookup(_, Lookup::Reverse(_)) => QuestionKind::Reverse,
                Plan::Refused | Plan::Recurse => QuestionKind::Other,
                _ => QuestionKind::Domain,
            };
            timings.observe(kind, question.record_type, elapsed);
        }
        lines::served(question, client, elapsed);
    }

    /// Makes an answer from the catalog; `None` when recursors have to be asked.
    /// Boxed, because host names inside the own domains lead here again.
    fn make<'a>(
        &'a self,
        asked: Asked<'a>,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + 'a>> {
        Box::pin(async move {
            let zones = &asked.settings.zones;
            let plan = plan(asked.request, zones);
            let found = match plan {
                Plan::Lookup(_, lookup) => {
                    let source_ip = source_ip(asked.request, asked.client);
                    let freshness = &asked.settings.freshness;
                    Some(self.look_up(LookupCall { lookup, source_ip, freshness }).await)
                }
                _ => None,
            };
            let exchange = asked.exchange(&plan);
            let mut out = MessageBuffer::new();
            let first = exchange.answer(rows(found.as_ref()), &Chased::new(), &mut out);
            let chased;
            let outcome = match first {
                Outcome::NeedsCname(targets) => {
                    chased = self.chase(asked, &targets).await;
                    exchange.answer(rows(found.as_ref()), &chased, &mut out)
                }
                outcome => outcome,
            };
            let Outcome::Complete(report) = outcome else { return None };
            note(&exchange, found.as_ref(), &report);
            Some(out.as_bytes().to_vec())
        })
    }

    async fn look_up(&self, call: LookupCall<'_>) -> Result<Found, LookupError> {
        if let Some(found) = self.source.look_up_now(&call) {
            return found;
        }
        let waited = tokio::time::timeout(LOOKUP_TIMEOUT, self.source.look_up(call)).await;
        waited.unwrap_or_else(|_| Err(LookupError::Failed("timed out".to_owned())))
    }

    /// Resolves host names: those of recursors at the same time, the own ones one
    /// after the other. Those beyond the limit of the question stay bare.
    async fn chase(&self, asked: Asked<'_>, targets: &[CnameTarget]) -> Chased {
        let mut upstream = JoinSet::new();
        let mut chased = Chased::new();
        for (at, target) in targets.iter().enumerate() {
            if !asked.may_follow() {
                chased.insert_failure(target);
                continue;
            }
            match target.via {
                Via::Recursor => {
                    let settings = Arc::clone(asked.settings);
                    let places = Arc::clone(&self.upstream);
                    let query = target.recursor_query(0);
                    let seed = asked.seed;
                    upstream
                        .spawn(async move { (at, chase_one(settings, places, query, seed).await) });
                }
                Via::Internal => {
                    let inner = target.internal_request(asked.request);
                    let inner = Asked { request: &inner, transport: Transport::Tcp, ..asked };
                    insert(&mut chased, target, self.make(inner).await);
                }
            }
        }
        // A task that panicked has no answer: its name is missing and stays bare.
        while let Some(joined) = upstream.join_next().await {
            if let Ok((at, reply)) = joined {
                insert(&mut chased, &targets[at], reply);
            }
        }
        chased
    }

    async fn recurse(&self, asked: Asked<'_>, message: &[u8]) -> Vec<u8> {
        let plan = plan(asked.request, &asked.settings.zones);
        if let Some(question) = &asked.request.question {
            let place = self.upstream.acquire().await;
            let transport = asked.client.transport;
            let reply =
                recursor::ask(asked.settings, question, message, transport, asked.seed).await;
            drop(place);
            if let Some(reply) = reply {
                return reply;
            }
            lines::all_recursors_failed(question, asked.client);
        }
        let mut out = MessageBuffer::new();
        asked.exchange(&plan).recursion_failed(&mut out);
        out.as_bytes().to_vec()
    }
}

impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = WAITING_QUESTIONS_MAX - self.places.available_permits();
        f.debug_struct("Answerer").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl<'a> Asked<'a> {
    fn exchange(&self, plan: &'a Plan<'a>) -> Exchange<'a> {
        Exchange {
            zones: &self.settings.zones,
            request: self.request,
            plan,
            transport: self.transport,
            now_unix_seconds: now_unix_seconds(),
            seed: self.seed,
        }
    }

    /// Takes one from the host names that may be followed.
    fn may_follow(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.targets_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

async fn chase_one(
    settings: Arc<DnsSettings>,
    places: Arc<Semaphore>,
    query: Vec<u8>,
    seed: u64,
) -> Option<Vec<u8>> {
    // Our own message: it can be read, and has a question.
    let question = Request::parse(&query).ok()?.question?;
    let _place = places.acquire().await;
    let reply = recursor::ask(&settings, &question, &query, Transport::Udp, seed).await;
    if reply.is_none() {
        lines::chase_failed(&question);
    }
    reply
}

fn insert(chased: &mut Chased, target: &CnameTarget, reply: Option<Vec<u8>>) {
    match reply {
        Some(reply) => {
            if let Err(fault) = chased.insert_reply(target, &reply) {
                tracing::debug!(target: "agent.dns", name = %target.name, error = %fault, "bad reply of a recursor");
            }
        }
        None => chased.insert_failure(target),
    }
}

/// Logs what there is to say about an answer.
fn note(exchange: &Exchange<'_>, found: Option<&Result<Found, LookupError>>, report: &Report) {
    let question = exchange.request.question.as_ref();
    if let (Plan::Invalid(_), Some(question)) = (exchange.plan, question) {
        lines::invalid_name(question);
    }
    if let Some(Err(error)) = found {
        lines::lookup_failed(error, question);
    }
    let network = match exchange.transport {
        Transport::Udp => Network::Udp,
        Transport::Tcp => Network::Tcp,
    };
    lines::reported(report, question, network);
}

fn rows(found: Option<&Result<Found, LookupError>>) -> Rows<'_> {
    match found {
        None => Rows::None,
        Some(Ok(found)) => found.rows(),
        Some(Err(LookupError::UnknownDatacenter)) => Rows::UnknownDatacenter,
        Some(Err(LookupError::Failed(_))) => Rows::Failed,
    }
}

/// Where the client is, by what it says itself.
fn source_ip(request: &Request, client: Client) -> std::net::IpAddr {
    let subnet = request.edns.and_then(|edns| edns.client_subnet);
    subnet.and_then(|subnet| subnet.ip()).unwrap_or(client.address.ip())
}

/// The serial of SOA records. A clock before 1970 counts as 1970.
fn now_unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
