//! Where a call is answered: here, by the leader, or in another datacenter
//! (`reference/rpc-wire.md` sections 6 and 7).
//!
//! A call that a server sends to the leader is marked ([`mark`]). The leader may have lost its
//! leadership meanwhile; a marked call is not sent on again, but answered with
//! `No cluster leader`, after which the sender looks anew. So no call goes round in circles,
//! and each is in at most two hands within a datacenter. Consul's servers pass over the mark.
//!
//! Beyond Consul's rule, a call is also made again that could not be sent because the leader's
//! port is closed: nobody can have done anything about it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use contract::{CallError, Consistency, ReadOptions};
use rpc::retry::{Caller, Purpose, blocking_time};
use rpc::{Retry, RpcError, ServerAddr, blocking_deadline};
use tokio::sync::watch;
use types::{Datacenter, Index};

use crate::Server;

/// What marks a call over gRPC.
pub(crate) const FORWARDED_METADATA: &str = "proconsul-forwarded";

/// The last field of a marked call, with the value true.
const MARK: &[u8] = b"\xb2ProconsulForwarded\xc3";

/// Who answers within the datacenter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    At(ServerAddr),
}

/// Why a call has no answer yet.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This server's own words.
    Here(CallError),
    /// Those of the way to another server, or of that server.
    There(RpcError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Here(error)
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self::There(error)
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Here(error) => error,
            Failure::There(error) => CallError::from_remote(error.to_string()),
        }
    }
}

/// Whether a call is for another datacenter than this server's.
pub(crate) fn is_elsewhere(server: &Server, datacenter: &Datacenter) -> bool {
    !datacenter.is_empty() && *datacenter != server.shared.options.datacenter
}

/// Who answers a call at this moment.
pub(crate) fn place(server: &Server, by_any_server: bool) -> Result<Place, CallError> {
    let raft = server.raft();
    if by_any_server && raft.had_leader() {
        return Ok(Place::Here);
    }
    if server.shared.leaving.load(Ordering::Acquire) {
        return Err(CallError::no_leader());
    }
    if raft.is_leader() {
        return Ok(Place::Here);
    }
    // An elected server leads once it has applied what others acknowledged.
    let leader = raft.leader().filter(|leader| leader.id != *raft.id());
    let Some(leader) = leader else { return Err(CallError::no_leader()) };
    let datacenter = &server.shared.options.datacenter;
    let known = server.peers().server(datacenter, &leader.id.0);
    let mut known =
        known.ok_or_else(|| CallError::failed("Raft leader not found in server lookup mapping"))?;
    // It says so itself, and gossip may have it where it was before.
    if let Ok(address) = leader.address.parse() {
        known.address = address;
    }
    Ok(Place::At(known))
}

/// Sends a call to the leader.
pub(crate) async fn ask_leader(
    server: &Server,
    leader: &ServerAddr,
    (method, args): (&str, &Bytes),
    deadline: Duration,
) -> Result<Bytes, RpcError> {
    server.peers().call(leader, method, mark(args), deadline).await
}

/// How long the answer to a read may take.
pub(crate) fn deadline_of(server: &Server, options: &ReadOptions) -> Duration {
    match options.min_index {
        Index::ZERO => server.shared.options.client_timeout,
        _ => {
            let hold = server.shared.options.hold_timeout;
            blocking_deadline(options.max_wait.unwrap_or_default(), hold)
        }
    }
}

/// What a read is for those who try again.
pub(crate) fn purpose_of(options: &ReadOptions) -> Purpose {
    Purpose::Read(match options.min_index {
        Index::ZERO => Duration::ZERO,
        _ => blocking_time(options.max_wait.unwrap_or_default()),
    })
}

/// Whether any server may answer.
pub(crate) fn by_any_server(options: &ReadOptions) -> bool {
    options.consistency == Consistency::Stale
}

/// Who answers a call that belongs to no domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Whoever is asked.
    Anybody,
    /// Whoever is asked, once it has heard of a leader.
    AnyServer,
    /// The leader.
    Leader,
}

impl Answers {
    /// Who answers a read.
    pub(crate) fn read(options: &ReadOptions) -> Self {
        if by_any_server(options) { Self::AnyServer } else { Self::Leader }
    }
}

/// What another server replies to a call that belongs to no domain; `None` if it is this
/// server that answers.
pub(crate) async fn ask_answerer(
    server: &Server,
    datacenter: &Datacenter,
    answers: Answers,
    (method, args): (&str, Bytes),
    purpose: Purpose,
) -> Result<Option<Bytes>, CallError> {
    let deadline = server.shared.options.client_timeout;
    if is_elsewhere(server, datacenter) {
        let changes = purpose == Purpose::Write;
        let call = (method, args);
        let reply = server.peers().call_in(datacenter, call, deadline, changes).await;
        return Ok(Some(reply.map_err(Failure::There)?));
    }
    if answers == Answers::Anybody {
        return Ok(None);
    }
    let mut attempts = Attempts::new(purpose);
    loop {
        let failure = match place(server, answers == Answers::AnyServer) {
            Ok(Place::Here) => return Ok(None),
            Ok(Place::At(leader)) => {
                match ask_leader(server, &leader, (method, &args), deadline).await {
                    Ok(reply) => return Ok(Some(reply)),
                    Err(error) => Failure::There(error),
                }
            }
            Err(error) => Failure::Here(error),
        };
        attempts.pause(server, failure).await?;
    }
}

/// The attempts at one call. Most calls need one only, so nothing is made before it failed.
pub(crate) struct Attempts {
    purpose: Purpose,
    begun: Instant,
    after_failure: Option<AfterFailure>,
}

struct AfterFailure {
    retry: Retry,
    leader: watch::Receiver<Option<raft::Server>>,
    leads: watch::Receiver<bool>,
}

impl Attempts {
    /// A call that begins now.
    pub(crate) fn new(purpose: Purpose) -> Self {
        Self { purpose, begun: Instant::now(), after_failure: None }
    }

    /// Waits until another attempt may fare better: for a while, or for another leader.
    ///
    /// # Errors
    /// The failure, if no attempt would, or the call was held for long enough.
    pub(crate) async fn pause(
        &mut self,
        server: &Server,
        failure: Failure,
    ) -> Result<(), CallError> {
        let AfterFailure { retry, leader, leads } = self.after_failure.get_or_insert_with(|| {
            let (hold, raft) = (server.shared.options.hold_timeout, server.raft());
            let retry = Retry::new(hold, Caller::Server, self.purpose, fastrand::u64(..));
            AfterFailure { retry, leader: raft.watch_leader(), leads: raft.watch_leadership() }
        });
        let wait = match &failure {
            // What was never sent may be sent to whoever leads next, as if nobody did.
            Failure::There(error) if is_unsent(error) => {
                let error = RpcError::Remote(CallError::no_leader().text().to_owned());
                retry.next(&error, self.begun.elapsed())
            }
            Failure::There(error) => retry.next(error, self.begun.elapsed()),
            Failure::Here(error) => {
                let error = RpcError::Remote(error.text().to_owned());
                retry.next(&error, self.begun.elapsed())
            }
        };
        let Some(wait) = wait else { return Err(failure.into()) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = leader.changed() => {}
            Ok(()) = leads.changed() => {}
        }
        Ok(())
    }
}

/// Whether a call never left this server, so that it can be made again whatever it does.
pub(crate) fn is_unsent(error: &RpcError) -> bool {
    matches!(error, RpcError::Connect(_) | RpcError::Stream(_))
}

/// The arguments of a call, marked as sent on. What is no map is left as it is.
pub(crate) fn mark(args: &Bytes) -> Bytes {
    let (fields, header) = match args[..] {
        _ if is_marked(args) => return args.clone(),
        [first @ 0x80..=0x8f, ..] => (usize::from(first & 0x0f), 1),
        [0xde, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 3),
        _ => return args.clone(),
    };
    let Ok(fields) = u16::try_from(fields + 1) else { return args.clone() };
    let mut marked = BytesMut::with_capacity(args.len() + MARK.len() + 2);
    marked.put_u8(0xde);
    marked.put_u16(fields);
    marked.put_slice(&args[header..]);
    marked.put_slice(MARK);
    marked.freeze()
}

/// Whether a call was sent here by a server that took this one for the leader.
pub(crate) fn is_marked(args: &[u8]) -> bool {
    args.ends_with(MARK)
}

#[cfg(test)]
mod tests {
    use contract::remote;
    use contract::remote::QueryOptions;

    use super::*;

    #[test]
    fn a_mark_changes_nothing_of_what_is_asked() {
        let options = QueryOptions {
            allow_stale: true,
            datacenter: "dc1".into(),
            min_query_index: Index(7),
            ..QueryOptions::default()
        };
        let args = remote::encode(&options);
        assert!(!is_marked(&args));
        let marked = mark(&args);
        assert!(is_marked(&marked));
        assert_eq!(remote::header(&marked), Ok(options));
        assert_eq!(mark(&marked), marked, "once is enough");
        // One name, as long as it says, and one value: nothing is left behind the map.
        assert_eq!(usize::from(MARK[0] & 0x1f), MARK.len() - 2);
    }

    #[test]
    fn maps_of_any_size_are_marked_and_nothing_else_is() {
        for fields in [0_u16, 1, 14, 15, 16, 300, u16::MAX] {
            let mut args = BytesMut::new();
            match u8::try_from(fields) {
                Ok(fields @ 0..16) => args.put_u8(0x80 | fields),
                _ => {
                    args.put_u8(0xde);
                    args.put_u16(fields);
                }
            }
            for field in 0..fields {
                args.put_slice(b"\xa5");
                args.put_slice(format!("{field:05}").as_bytes());
                args.put_u8(0xc2);
            }
            let marked = mark(&args.freeze());
            // There is no room for one more field in the largest map.
            assert_eq!(is_marked(&marked), fields < u16::MAX, "{fields}");
            assert_eq!(remote::header(&marked), Ok(QueryOptions::default()), "{fields}");
        }
        for other in [&b""[..], b"\xc0", b"\xa1x", b"\xde", b"\xde\x00", b"\x90"] {
            let other = Bytes::copy_from_slice(other);
            assert_eq!(mark(&other), other);
        }
    }
}
