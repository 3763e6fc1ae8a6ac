//! Prepared queries on the server port.

use std::sync::Arc;

use bytes::Bytes;
use contract::remote::{
    ActionMethod, CommandMethod, QueryMethod, QueryOptions, RemoteQuery, ReplyReader, encode,
    is_zero, nil_if_empty, reading,
};
use contract::{CallError, MethodDef, ReadFacts, ReadOptions};
use serde::{Deserialize, Serialize};
use types::catalog::CheckServiceNode;
use types::prepared_query::{ExecuteResponse, ExplainResponse, PreparedQuery, QueryDns};
use types::{Datacenter, NodeName, ServiceName};

use super::command::{PreparedQueryCommand, PreparedQueryOp, PreparedQueryReply};
use super::execution::{ExecuteRequest, Execution, NEAR_AGENT};
use super::instances::{QueryInstances, QueryOrder};
use super::query::{Explanation, PreparedQueries, PreparedQueryExplain, PreparedQueryGet};
use super::remote_execution::RemoteExecution;
use super::resolve::{PreparedQueryResolve, not_found};
use crate::requests::{DcRequest, QuerySource};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::write::<PreparedQueryCommand>(),
    MethodDef::read::<PreparedQueries>(),
    MethodDef::read::<PreparedQueryGet>(),
    MethodDef::read::<PreparedQueryExplain>(),
    MethodDef::act::<Execution>(),
    MethodDef::act::<RemoteExecution>(),
];

/// An execution asks where it runs: what it gets has the stored token in it.
impl RemoteQuery for PreparedQueryResolve {}

/// An execution asks where it runs.
impl RemoteQuery for QueryOrder {}

/// The reply is an id in each case.
impl CommandMethod for PreparedQueryCommand {
    fn encode_reply(reply: &PreparedQueryReply) -> Bytes {
        encode(match reply {
            PreparedQueryReply::Created(id) | PreparedQueryReply::Done(id) => id,
        })
    }

    fn reply_reader(&self) -> ReplyReader<PreparedQueryReply> {
        let op = self.op;
        reading(Self::METHOD, move |id: String| {
            Ok(match op {
                PreparedQueryOp::Create => PreparedQueryReply::Created(id),
                PreparedQueryOp::Update | PreparedQueryOp::Delete => PreparedQueryReply::Done(id),
            })
        })
    }
}

/// `IndexedPreparedQueries`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedPreparedQueries<R> {
    queries: R,
}

impl QueryMethod for PreparedQueries {
    type Request = DcRequest;
    type Wire<'r> = IndexedPreparedQueries<Option<&'r [Arc<PreparedQuery>]>>;
    type Received = IndexedPreparedQueries<Vec<Arc<PreparedQuery>>>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Vec<Arc<PreparedQuery>>) -> Self::Wire<'_> {
        IndexedPreparedQueries { queries: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.queries)
    }
}

/// `PreparedQuerySpecificRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQueryRequest {
    #[serde(rename = "QueryID")]
    query_id: String,
}

impl QueryMethod for PreparedQueryGet {
    type Request = PreparedQueryRequest;
    type Wire<'r> = IndexedPreparedQueries<Option<&'r [Arc<PreparedQuery>]>>;
    type Received = IndexedPreparedQueries<Vec<Arc<PreparedQuery>>>;

    fn request(&self) -> PreparedQueryRequest {
        PreparedQueryRequest { query_id: self.id.clone() }
    }

    fn of_request(
        request: PreparedQueryRequest,
        _options: &QueryOptions,
    ) -> Result<Self, CallError> {
        Ok(Self { id: request.query_id })
    }

    fn wire(reply: &Self::Reply) -> Self::Wire<'_> {
        IndexedPreparedQueries { queries: reply.as_ref().ok().map(|one| one.as_slice()) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        let query = received.queries.into_iter().next().ok_or_else(not_found)?;
        Ok(Ok([query]))
    }
}

/// `PreparedQueryExecuteRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQueryExecuteRequest {
    /// The agent that asks.
    #[serde(skip_serializing_if = "is_zero")]
    agent: QuerySource,
    #[serde(skip_serializing_if = "is_zero")]
    connect: bool,
    #[serde(skip_serializing_if = "is_zero")]
    limit: i64,
    #[serde(rename = "QueryIDOrName")]
    id_or_name: String,
    /// From where distances are measured.
    #[serde(skip_serializing_if = "is_zero")]
    source: QuerySource,
}

/// `PreparedQueryExplainResponse`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQueryExplainResponse<Q> {
    query: Q,
}

impl QueryMethod for PreparedQueryExplain {
    type Request = PreparedQueryExecuteRequest;
    type Wire<'r> = PreparedQueryExplainResponse<Option<&'r PreparedQuery>>;
    type Received = PreparedQueryExplainResponse<Arc<PreparedQuery>>;

    fn request(&self) -> PreparedQueryExecuteRequest {
        PreparedQueryExecuteRequest {
            agent: QuerySource { segment: self.segment.clone(), ..QuerySource::default() },
            id_or_name: self.id_or_name.clone(),
            ..PreparedQueryExecuteRequest::default()
        }
    }

    fn of_request(
        request: PreparedQueryExecuteRequest,
        _options: &QueryOptions,
    ) -> Result<Self, CallError> {
        Ok(Self { id_or_name: request.id_or_name, segment: request.agent.segment })
    }

    fn wire(reply: &Self::Reply) -> Self::Wire<'_> {
        PreparedQueryExplainResponse { query: reply.as_deref().ok() }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(Ok(received.query))
    }
}

/// An explanation is its one question.
impl contract::remote::RemoteAction for Explanation {
    fn to_request(&self) -> Option<contract::Outgoing> {
        RemoteQuery::to_request(&self.query, &self.options)
    }

    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Box<dyn std::any::Any + Send + Sync>, ReadFacts), CallError> {
        let (reply, facts) = RemoteQuery::decode_reply(&self.query, bytes)?;
        let query = contract::reply_of::<PreparedQueryExplain>(&*reply).clone()?;
        let meta = facts.to_meta(self.options.consistency.as_str());
        Ok((Box::new(ExplainResponse { query: PreparedQuery::clone(&query), meta }), facts))
    }
}

/// `PreparedQueryExecuteResponse`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQueryExecuteResponse<D, R> {
    #[serde(rename = "DNS")]
    dns: D,
    datacenter: Datacenter,
    failovers: i64,
    nodes: R,
    peer_name: String,
    service: ServiceName,
}

type Sent<'r> = PreparedQueryExecuteResponse<&'r QueryDns, Option<&'r [CheckServiceNode]>>;
type Received = PreparedQueryExecuteResponse<QueryDns, Vec<CheckServiceNode>>;

fn sent(reply: &ExecuteResponse) -> Sent<'_> {
    PreparedQueryExecuteResponse {
        dns: &reply.dns,
        datacenter: reply.datacenter.clone(),
        failovers: reply.failovers,
        nodes: nil_if_empty(&reply.nodes),
        peer_name: reply.peer_name.clone(),
        service: reply.service.clone(),
    }
}

fn received(reply: Received, facts: &ReadFacts, options: &ReadOptions) -> ExecuteResponse {
    ExecuteResponse {
        service: reply.service,
        nodes: reply.nodes,
        dns: reply.dns,
        datacenter: reply.datacenter,
        peer_name: reply.peer_name,
        failovers: reply.failovers,
        meta: facts.to_meta(options.consistency.as_str()),
    }
}

/// Zero stands for all, and so does what is no number of rows.
fn limit_of(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

impl ActionMethod for Execution {
    type Request = PreparedQueryExecuteRequest;
    type Wire<'r> = Sent<'r>;
    type Received = Received;

    fn request(&self) -> PreparedQueryExecuteRequest {
        let asked = &self.request;
        let datacenter = asked.datacenter.as_str();
        // Servers know what `_ip` means, and of `_agent` only in definitions.
        let near = match asked.near.as_str() {
            NEAR_AGENT => asked.agent.as_str(),
            near => near,
        };
        PreparedQueryExecuteRequest {
            agent: QuerySource {
                datacenter: datacenter.to_owned(),
                node: asked.agent.as_str().to_owned(),
                segment: asked.segment.clone(),
                ..QuerySource::default()
            },
            connect: asked.connect,
            limit: i64::try_from(asked.limit).unwrap_or(i64::MAX),
            id_or_name: asked.id_or_name.clone(),
            source: QuerySource {
                datacenter: datacenter.to_owned(),
                ip: asked.address.map_or_else(String::new, |address| address.to_string()),
                node: near.to_owned(),
                ..QuerySource::default()
            },
        }
    }

    fn of_request(
        request: PreparedQueryExecuteRequest,
        options: ReadOptions,
    ) -> Result<Self, CallError> {
        let PreparedQueryExecuteRequest { agent, connect, limit, id_or_name, source } = request;
        let execute = ExecuteRequest {
            id_or_name,
            limit: limit_of(limit),
            connect,
            near: source.node,
            agent: NodeName::from(agent.node),
            segment: agent.segment,
            datacenter: Datacenter::from(agent.datacenter),
            address: source.ip.parse().ok(),
        };
        Ok(Self::new(execute, options))
    }

    fn wire(reply: &ExecuteResponse) -> Sent<'_> {
        sent(reply)
    }

    fn of_wire(&self, reply: Received, facts: &ReadFacts) -> Result<ExecuteResponse, CallError> {
        Ok(received(reply, facts, contract::Action::options(self)))
    }
}

/// `PreparedQueryExecuteRemoteRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQueryExecuteRemoteRequest {
    #[serde(skip_serializing_if = "is_zero")]
    connect: bool,
    #[serde(skip_serializing_if = "is_zero")]
    limit: i64,
    query: Arc<PreparedQuery>,
}

/// What an execution asks in another datacenter. There, it is a [`RemoteExecution`].
impl QueryMethod for QueryInstances {
    type Request = PreparedQueryExecuteRemoteRequest;
    type Wire<'r> = PreparedQueryExecuteResponse<QueryDns, Option<&'r [CheckServiceNode]>>;
    type Received = Received;

    fn request(&self) -> PreparedQueryExecuteRemoteRequest {
        let mut query = Arc::clone(&self.query);
        if query.service.peer != self.peer {
            Arc::make_mut(&mut query).service.peer.clone_from(&self.peer);
        }
        PreparedQueryExecuteRemoteRequest { connect: self.connect, limit: 0, query }
    }

    fn of_request(
        request: PreparedQueryExecuteRemoteRequest,
        _options: &QueryOptions,
    ) -> Result<Self, CallError> {
        let peer = request.query.service.peer.clone();
        Ok(Self { query: request.query, connect: request.connect, peer })
    }

    fn wire(reply: &Vec<CheckServiceNode>) -> Self::Wire<'_> {
        PreparedQueryExecuteResponse {
            dns: QueryDns::default(),
            datacenter: Datacenter::EMPTY,
            failovers: 0,
            nodes: nil_if_empty(reply),
            peer_name: String::new(),
            service: ServiceName::EMPTY,
        }
    }

    fn of_wire(&self, reply: Received, _facts: &ReadFacts) -> Result<Self::Reply, CallError> {
        Ok(reply.nodes)
    }
}

impl ActionMethod for RemoteExecution {
    type Request = PreparedQueryExecuteRemoteRequest;
    type Wire<'r> = Sent<'r>;
    type Received = Received;

    fn request(&self) -> PreparedQueryExecuteRemoteRequest {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let query = Arc::clone(&self.query);
        PreparedQueryExecuteRemoteRequest { connect: self.connect, limit, query }
    }

    fn of_request(
        request: PreparedQueryExecuteRemoteRequest,
        options: ReadOptions,
    ) -> Result<Self, CallError> {
        let PreparedQueryExecuteRemoteRequest { connect, limit, query } = request;
        Ok(Self { query, connect, limit: limit_of(limit), options })
    }

    fn wire(reply: &ExecuteResponse) -> Sent<'_> {
        sent(reply)
    }

    fn of_wire(&self, reply: Received, facts: &ReadFacts) -> Result<ExecuteResponse, CallError> {
        Ok(received(reply, facts, &self.options))
    }
}
