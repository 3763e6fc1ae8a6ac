//! What clients ask of servers and what they are told: the product's own commands and queries.

use std::any::Any;
use std::sync::Arc;

use acl::Authorizer;
use contract::{AnyCommand, AnyQuery, CallError, Consistency, Evaluated};
use domains::catalog::{CatalogNodes, CatalogServices, Deregister, Register};
use domains::health::{HealthService, HealthState};
use domains::kv::{KvCommand, KvGet, KvList};
use domains::session::{NodeSessions, SessionCommand, SessionReply, Sessions};
use domains::txn::{ReadOp, TxnCommand, TxnRead, TxnReadReply, TxnReply};
use store::{Reader, State};
use types::kv::KvEntry;
use types::{Index, NodeName, SessionId};

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// A change, of the leader.
    Change(Change),
    /// A read.
    Ask {
        question: Question,
        consistency: Consistency,
        /// Waits for an index above this one; zero for not at all.
        min_index: Index,
    },
}

impl What {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            What::Change(_) => "write",
            What::Ask { consistency: Consistency::Default, .. } => "default",
            What::Ask { consistency: Consistency::Consistent, .. } => "consistent",
            What::Ask { consistency: Consistency::Stale, .. } => "stale",
        }
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Key(KvCommand),
    Txn(TxnCommand),
    Session(SessionCommand),
    Register(Box<Register>),
    Deregister(Deregister),
}

impl Change {
    pub(crate) fn command(&self) -> Box<dyn AnyCommand> {
        match self.clone() {
            Change::Key(command) => Box::new(command),
            Change::Txn(command) => Box::new(command),
            Change::Session(command) => Box::new(command),
            Change::Register(command) => command,
            Change::Deregister(command) => Box::new(command),
        }
    }

    /// What the sender is told.
    pub(crate) fn told(&self, reply: Result<Box<dyn Any + Send>, CallError>) -> Told {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return Told::Failed(error.to_string()),
        };
        match self {
            Change::Key(_) => Told::Held(of(reply)),
            Change::Txn(_) => Told::Txn(of(reply)),
            Change::Session(_) => match of(reply) {
                SessionReply::Created { id } => Told::Session(id),
                SessionReply::NotFound(id) => Told::Failed(format!("no session {}", id.as_str())),
                SessionReply::Destroyed(_) | SessionReply::Renewed(_) => Told::Done,
            },
            Change::Register(_) | Change::Deregister(_) => Told::Done,
        }
    }
}

fn of<T: 'static>(reply: Box<dyn Any + Send>) -> T {
    *reply.downcast().expect("a command's reply has the command's reply type")
}

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    Key(Arc<str>),
    Keys(Arc<str>),
    Txn(Vec<ReadOp>),
    NodeSessions(NodeName),
    Sessions,
    Nodes,
    Services,
    Instances(String),
    Checks,
}

impl Question {
    /// Questions about everything there is.
    pub(crate) fn everything() -> Vec<Question> {
        vec![
            Question::Keys("".into()),
            Question::Keys("lin/".into()),
            Question::Sessions,
            Question::Nodes,
            Question::Services,
            Question::Instances("web".to_owned()),
            Question::Checks,
        ]
    }

    pub(crate) fn query(&self) -> Arc<dyn AnyQuery> {
        match self.clone() {
            Question::Key(key) => Arc::new(KvGet { key }),
            Question::Keys(prefix) => Arc::new(KvList { prefix }),
            Question::Txn(ops) => Arc::new(TxnRead { ops }),
            Question::NodeSessions(node) => Arc::new(NodeSessions { node }),
            Question::Sessions => Arc::new(Sessions),
            Question::Nodes => Arc::new(CatalogNodes::default()),
            Question::Services => Arc::new(CatalogServices::default()),
            Question::Instances(service) => Arc::new(HealthService {
                selection: domains::catalog::InstanceSelection::of(service),
                ..HealthService::default()
            }),
            Question::Checks => {
                Arc::new(HealthState { status: "any".to_owned(), ..HealthState::default() })
            }
        }
    }

    /// Whether it watches nothing but the rows that it shows, so that a change of something
    /// else wakes nobody who waits for it.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Question::Key(_) | Question::Keys(_) | Question::NodeSessions(_))
    }

    /// The rows of an answer to it.
    pub(crate) fn rows(&self, evaluated: &Evaluated) -> Rows {
        fn text<T: std::fmt::Debug + 'static>(reply: &(dyn Any + Send + Sync)) -> Rows {
            Rows::Text(format!("{:?}", reply.downcast_ref::<T>().expect(TYPED)))
        }
        const TYPED: &str = "a query's reply has the query's reply type";
        use contract::Query;
        let reply = &*evaluated.reply;
        match self {
            Question::Key(_) => {
                let entry = reply.downcast_ref::<Option<Arc<KvEntry>>>();
                Rows::Entry(entry.expect(TYPED).clone())
            }
            Question::Txn(_) => Rows::Txn(reply.downcast_ref().cloned().expect(TYPED)),
            Question::Keys(_) => text::<<KvList as Query>::Reply>(reply),
            Question::NodeSessions(_) | Question::Sessions => {
                text::<<Sessions as Query>::Reply>(reply)
            }
            Question::Nodes => text::<<CatalogNodes as Query>::Reply>(reply),
            Question::Services => text::<<CatalogServices as Query>::Reply>(reply),
            Question::Instances(_) => text::<<HealthService as Query>::Reply>(reply),
            Question::Checks => text::<<HealthState as Query>::Reply>(reply),
        }
    }

    /// What this state answers.
    pub(crate) fn answer(&self, state: &State) -> Answer {
        self.told(&self.evaluate(state))
    }

    pub(crate) fn evaluate(&self, state: &State) -> Evaluated {
        let who = Authorizer::allow_all();
        let evaluated = self.query().evaluate(&who, &mut Reader::new(state));
        evaluated.expect("no question has a filter that could fail")
    }

    /// What a client is told.
    pub(crate) fn told(&self, evaluated: &Evaluated) -> Answer {
        Answer { index: evaluated.index, rows: self.rows(evaluated) }
    }
}

/// What a query is answered with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// `X-Consul-Index`.
    pub(crate) index: Index,
    pub(crate) rows: Rows,
}

/// Rows of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rows {
    Entry(Option<Arc<KvEntry>>),
    Txn(TxnReadReply),
    /// All there is to see of them.
    Text(String),
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// Done, and nothing to tell.
    Done,
    /// Whether the condition of a change held.
    Held(bool),
    Session(SessionId),
    Txn(TxnReply),
    /// The command was refused when it was applied, and nothing was changed.
    Failed(String),
    Rows(Answer),
}

impl Told {
    /// Whether it says that all was done.
    pub(crate) fn is_success(&self) -> bool {
        match self {
            Told::Done | Told::Held(true) | Told::Session(_) => true,
            Told::Txn(reply) => reply.errors.is_empty(),
            Told::Held(false) | Told::Failed(_) | Told::Rows(_) => false,
        }
    }
}
