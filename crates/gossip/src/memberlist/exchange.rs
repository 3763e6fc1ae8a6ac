//! Streams: joins, regular exchanges of all that is known, and the rare messages that packets do
//! not carry (`reference/gossip-wire.md` section 4).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Memberlist;
use super::action::{Action, ExchangeId, Warning};
use super::delegate::Delegate;
use super::node::{Node, NodeState};
use super::nodes::OWN;
use super::pool::Pool;
use crate::wire::message::{Ack, Message as _, PushNode};
use crate::wire::{PushPull, StreamMessage, stream};

/// What an exchange under way is for.
#[derive(Clone, Debug)]
pub(super) enum Exchange {
    Join,
    PushPull { node: Arc<str> },
    Ping { sequence: u32 },
    User,
}

/// All that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchanges {
    under_way: BTreeMap<ExchangeId, Exchange>,
    last: ExchangeId,
}

/// What is asked of the shell.
pub(super) struct Asked {
    pub(super) to: SocketAddr,
    pub(super) name: Option<Arc<str>>,
    pub(super) message: Bytes,
    pub(super) deadline: Instant,
}

impl Memberlist {
    /// Joins the pool that a node is in; its name is passed on to the shell. The outcome comes as
    /// [`Action::Exchanged`].
    pub fn join(
        &mut self,
        to: SocketAddr,
        name: Option<&str>,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) -> ExchangeId {
        let message = self.pool.push_pull_message(true, delegate);
        let deadline = now + self.pool.options.timings.stream_timeout;
        let asked = Asked { to, name: name.map(Arc::from), message, deadline };
        self.pool.exchange(Exchange::Join, asked)
    }

    /// Sends serf's message over a stream. The outcome comes as [`Action::Exchanged`].
    pub fn send_user_stream(&mut self, to: SocketAddr, message: &[u8], now: Instant) -> ExchangeId {
        let message = stream::pack(stream::encode_user(message), self.pool.options.compress);
        let deadline = now + self.pool.options.timings.stream_timeout;
        let asked = Asked { to, name: None, message: message.into(), deadline };
        self.pool.exchange(Exchange::User, asked)
    }

    /// A message came on a stream that another node has opened. Gives the answer, without
    /// encryption and label; without one the shell closes the stream.
    pub fn handle_stream_request(
        &mut self,
        from: SocketAddr,
        message: StreamMessage,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) -> Option<Bytes> {
        match message {
            StreamMessage::PushPull(theirs) => {
                // The answer comes first: what is refused here is told to people here only.
                let answer = self.pool.push_pull_message(theirs.join, delegate);
                if let Err(error) = self.merge(&theirs, theirs.join, now, delegate) {
                    self.pool.warn(Warning::Merge { from, error });
                }
                Some(answer)
            }
            StreamMessage::Ping(ping) => {
                let meant = self.is_meant(&ping.node, from);
                let ack = Ack { payload: (&[][..]).into(), seq_no: ping.seq_no };
                meant.then(|| stream::pack(ack.encode(), self.pool.options.compress).into())
            }
            StreamMessage::User(message) => {
                delegate.handle_user(from, &message);
                None
            }
            // Answers to nothing.
            StreamMessage::Ack(_) | StreamMessage::Error(_) => None,
        }
    }

    /// An [`Action::Exchange`] is done: with the message that came back, with none if none was
    /// expected, or with a reason why not.
    pub fn handle_stream_answer(
        &mut self,
        id: ExchangeId,
        answer: Result<Option<StreamMessage>, String>,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        let Some(exchange) = self.pool.exchanges.end(id) else { return };
        let answer = answer.and_then(|message| match message {
            Some(StreamMessage::Error(error)) => Err(format!("remote error: {error}")),
            message => Ok(message),
        });
        match exchange {
            Exchange::Join => {
                let outcome = self.take_push_pull(answer, true, now, delegate);
                self.pool.actions.push_back(Action::Exchanged { id, outcome });
            }
            Exchange::PushPull { node } => {
                if let Err(error) = self.take_push_pull(answer, false, now, delegate) {
                    self.pool.warn(Warning::PushPull { node: node.to_string(), error });
                }
            }
            Exchange::Ping { sequence } => {
                let answer = answer.and_then(|message| match message {
                    Some(StreamMessage::Ack(sequence)) => Ok(sequence),
                    _ => Err("the answer to a ping is no ack".to_owned()),
                });
                self.probes.handle_stream_ping(sequence, answer, &mut self.pool);
            }
            Exchange::User => {
                let outcome = answer.map(|_| ());
                self.pool.actions.push_back(Action::Exchanged { id, outcome });
            }
        }
    }

    fn take_push_pull(
        &mut self,
        answer: Result<Option<StreamMessage>, String>,
        join: bool,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) -> Result<(), String> {
        match answer? {
            Some(StreamMessage::PushPull(theirs)) => self.merge(&theirs, join, now, delegate),
            _ => Err("the answer to a push/pull is none".to_owned()),
        }
    }

    /// Takes over what another node knows, if all of it can be had together.
    fn merge(
        &mut self,
        theirs: &PushPull,
        join: bool,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) -> Result<(), String> {
        let nodes = theirs.nodes().map_err(|error| error.to_string())?;
        self.pool.check_versions(&nodes)?;
        if join {
            let offered = nodes.iter().map(offered).collect::<Result<Vec<Node>, String>>()?;
            if let Some(reason) = delegate.refuses_merge(&offered) {
                return Err(reason);
            }
        }
        self.pool.merge_nodes(&nodes, now, delegate);
        if !theirs.user_state.is_empty() {
            delegate.merge_remote_state(&theirs.user_state, join);
        }
        Ok(())
    }

    /// Exchanges all that is known with a random node if it is time.
    pub(super) fn time_out_push_pull(&mut self, now: Instant, delegate: &mut dyn Delegate) {
        if self.push_pull_at.is_none_or(|at| at > now) {
            return;
        }
        self.push_pull_at = Some(now + self.pool.push_pull_interval());
        let one = self.pool.nodes.random(1, &mut self.pool.rng, |place, known| {
            place != OWN && known.node.state == NodeState::Alive
        });
        let Some(&place) = one.first() else { return };
        let message = self.pool.push_pull_message(false, delegate);
        let node = &self.pool.nodes.get(place).node;
        let (name, to) = (Arc::clone(&node.name), node.addr);
        let exchange = Exchange::PushPull { node: Arc::clone(&name) };
        let deadline = now + self.pool.options.timings.stream_timeout;
        let asked = Asked { to, name: Some(name), message, deadline };
        self.pool.exchange(exchange, asked);
    }
}

impl Pool {
    /// Asks the shell for an exchange.
    pub(super) fn exchange(&mut self, exchange: Exchange, asked: Asked) -> ExchangeId {
        let Asked { to, name, message, deadline } = asked;
        let id = ExchangeId(self.exchanges.last.0 + 1);
        let answered = !matches!(exchange, Exchange::User);
        self.exchanges.last = id;
        self.exchanges.under_way.insert(id, exchange);
        self.actions.push_back(Action::Exchange { id, to, name, message, answered, deadline });
        id
    }
}

impl Exchanges {
    /// Takes an exchange out that is done, or no longer of interest.
    pub(super) fn end(&mut self, id: ExchangeId) -> Option<Exchange> {
        self.under_way.remove(&id)
    }
}

/// A node as the delegate is asked about it.
fn offered(node: &PushNode<'_>) -> Result<Node, String> {
    let (Some(ip), Some(versions), Some(state)) =
        (node.addr, node.versions, NodeState::from_number(node.state))
    else {
        return Err(format!("Node '{}' has no valid address, versions or state", node.name));
    };
    Ok(Node {
        name: node.name.as_ref().into(),
        addr: SocketAddr::new(ip, node.port),
        meta: Bytes::copy_from_slice(&node.meta),
        versions,
        state,
        incarnation: node.incarnation,
    })
}
