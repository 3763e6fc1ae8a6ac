//! Prepared queries (`reference/http-api.md` 3.9, `reference/rpc-wire.md` section 16).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::CheckServiceNode;
use crate::query_meta::QueryMeta;
use crate::{Datacenter, Index, SecretId, ServiceName, SessionId};

/// The one type of template there is: its name is the beginning of the names that it
/// answers to.
pub const NAME_PREFIX_MATCH: &str = "name_prefix_match";

/// What a token is shown as to those who may not see it.
pub const HIDDEN_TOKEN: &str = "<hidden>";

/// A stored question for instances of a service: the body of `POST /v1/query`, part of
/// Raft command 7, and snapshot record 7. Lists and maps that were not given are `None`,
/// which is shown as `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQuery {
    /// A UUID that the leader picks.
    #[serde(rename = "ID")]
    pub id: String,
    /// The name to execute it by; of a template, what the names begin with.
    pub name: String,
    /// The session with which it goes away; empty for one that stays.
    pub session: SessionId,
    /// The token with which it is executed; empty for that of whoever executes it.
    pub token: SecretId,
    /// Whether and how its fields are filled in when it is executed.
    pub template: QueryTemplate,
    /// Which instances.
    pub service: ServiceQuery,
    /// How DNS answers.
    #[serde(rename = "DNS")]
    pub dns: QueryDns,
    /// The index that created it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

/// `Template` of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryTemplate {
    /// Empty for a query that is no template, else [`NAME_PREFIX_MATCH`].
    #[serde(rename = "Type")]
    pub kind: String,
    /// Matched against the whole name; `${match(n)}` is its n-th group.
    pub regexp: String,
    /// Whether tags that come out empty are left away.
    pub remove_empty_tags: bool,
}

/// `Service` of a query: which instances, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceQuery {
    /// The service.
    pub service: ServiceName,
    /// Must be empty: sameness groups are an Enterprise feature.
    pub sameness_group: String,
    /// Where to look when there is no instance here.
    pub failover: QueryFailover,
    /// Whether instances with a warning are left out, as those with a critical check are.
    pub only_passing: bool,
    /// Checks that do not count.
    #[serde(rename = "IgnoreCheckIDs")]
    pub ignore_check_ids: Option<Vec<String>>,
    /// The node from which distances are measured; `_agent` for that of the agent that
    /// asks, `_ip` for the one with the address of the client. Empty for no order.
    pub near: String,
    /// Tags that an instance must have, or, behind a `!`, must not have.
    pub tags: Option<Vec<String>>,
    /// Metadata that the node must have.
    pub node_meta: Option<BTreeMap<String, String>>,
    /// Metadata that the instance must have.
    pub service_meta: Option<BTreeMap<String, String>>,
    /// Whether it is asked for what is reached as this service through the mesh.
    pub connect: bool,
    /// The cluster peer whose instances are asked for; empty for this cluster's own.
    pub peer: String,
}

/// `Failover` of a query. Either `targets`, or the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryFailover {
    /// How many of the nearest datacenters to try first.
    pub nearest_n: i64,
    /// Datacenters to try then, in this order.
    pub datacenters: Option<Vec<Datacenter>>,
    /// Datacenters and cluster peers to try, in this order.
    pub targets: Option<Vec<QueryFailoverTarget>>,
}

/// A place to look for instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryFailoverTarget {
    /// A cluster peer.
    pub peer: String,
    /// A datacenter, unless there is a peer.
    pub datacenter: Datacenter,
}

/// `DNS` of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryDns {
    /// Go duration text, as it was given; empty for the TTL of the service.
    #[serde(rename = "TTL")]
    pub ttl: String,
}

impl PreparedQuery {
    /// Whether its fields are filled in when it is executed.
    pub fn is_template(&self) -> bool {
        !self.template.kind.is_empty()
    }
}

/// The answer to an execution.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecuteResponse {
    /// The service.
    pub service: ServiceName,
    /// The instances, best first.
    pub nodes: Vec<CheckServiceNode>,
    /// How DNS answers.
    #[serde(rename = "DNS")]
    pub dns: QueryDns,
    /// Where the instances are; where they were looked for last if there are none.
    pub datacenter: Datacenter,
    /// The cluster peer they were imported from.
    pub peer_name: String,
    /// How many other places were tried.
    pub failovers: i64,
    /// What is told beside the rows.
    #[serde(flatten)]
    pub meta: QueryMeta,
}

/// The answer to an explanation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExplainResponse {
    /// The definition with everything filled in.
    pub query: PreparedQuery,
    /// What is told beside it.
    #[serde(flatten)]
    pub meta: QueryMeta,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, Unknown};
    use crate::msgpack;

    #[test]
    fn a_query_is_shown_with_null_for_what_was_not_given() {
        let query = PreparedQuery { id: "x".to_owned(), ..PreparedQuery::default() };
        assert_eq!(
            serde_json::to_string(&query).unwrap(),
            r#"{"ID":"x","Name":"","Session":"","Token":"","Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},"Service":{"Service":"","SamenessGroup":"","Failover":{"NearestN":0,"Datacenters":null,"Targets":null},"OnlyPassing":false,"IgnoreCheckIDs":null,"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,"Connect":false,"Peer":""},"DNS":{"TTL":""},"CreateIndex":0,"ModifyIndex":0}"#
        );
    }

    #[test]
    fn what_was_shown_is_read_back_from_both_formats() {
        let text = br#"{"Name":"n","Session":"s","Token":"t","Template":{"Type":"name_prefix_match","Regexp":"^(a)","RemoveEmptyTags":true},
            "Service":{"Service":"web","Failover":{"NearestN":2,"Datacenters":["a","b"],"Targets":[{"Peer":"p"},{"Datacenter":"d"}]},"OnlyPassing":true,
            "IgnoreCheckIDs":["c"],"Near":"_ip","Tags":["a","!b"],"NodeMeta":{"k":"v"},"ServiceMeta":{"l":"w"},"Connect":true},"DNS":{"TTL":"10s"}}"#;
        let query: PreparedQuery = json::decode(text, Unknown::Deny).unwrap();
        assert!(query.is_template());
        assert_eq!(query.service.failover.targets.as_ref().map(Vec::len), Some(2));
        let again: PreparedQuery = json::decode(&json::encode(&query), Unknown::Deny).unwrap();
        assert_eq!(again, query);
        assert_eq!(msgpack::from_slice::<PreparedQuery>(&msgpack::to_vec(&query)).unwrap(), query);
    }

    #[test]
    fn an_unknown_field_is_named_wherever_it_stands() {
        for text in [&br#"{"Foo":1}"#[..], br#"{"Service":{"Foo":1}}"#] {
            let error = json::decode::<PreparedQuery>(text, Unknown::Deny).unwrap_err();
            assert_eq!(error.to_string(), r#"json: unknown field "Foo""#);
        }
    }
}
