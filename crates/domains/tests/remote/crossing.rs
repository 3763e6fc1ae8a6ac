//! What is sent is read back.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use contract::remote::{QueryOptions, RemoteCommand, RemoteQuery};
use contract::{
    Action, AnyAction, Command, Outgoing, Query, ReadFacts, ReadOptions, RemoteCall,
    applied_reply_of, reply_of,
};
use domains::autopilot::{AutopilotGet, AutopilotSet};
use domains::catalog::{
    CatalogNode, CatalogNodeServices, CatalogNodes, CatalogService, CatalogServices, Deregister,
    GatewayServices, InstanceSelection, NodeServiceList, NodeServices, PeeredServiceName,
    PtrLookup, PtrTarget, Register, RowFilter, ServiceTags, ServicesAtAddress, UpdateVirtualIp,
    UpdateVirtualIpReply, Usage, VirtualIp,
};
use domains::connect_ca::{CaCommand, CaRootsQuery};
use domains::coordinate::{
    CoordinateBatch, CoordinateUpdate, CoordinatesOfNode, CoordinatesOfNodes, Near,
};
use domains::federation_state::{
    FederationStateCommand, FederationStateOf, FederationStateOp, FederationStates, MeshGateways,
    OwnMeshGateways,
};
use domains::health::{
    HealthChecksOfService, HealthNode, HealthService, HealthState, InstanceHealth,
};
use domains::internal_ui::{
    BehindGateway, CatalogOverview, ExportedServices, GatewayServiceDump, NodeDump, NodeInfo,
    NodeRow, Overview, ServiceDump, ServiceInfo, ServiceNames, ServiceTopology, Services, Topology,
};
use domains::kv::{Around, KvAround, KvCommand, KvGet, KvKeys, KvList, KvOp, TombstoneReap};
use domains::prepared_query::{
    ExecuteRequest, Execution, PreparedQueries, PreparedQueryCommand, PreparedQueryExplain,
    PreparedQueryGet, PreparedQueryOp, PreparedQueryReply, PreparedQueryResolve, QueryInstances,
    RemoteExecution,
};
use domains::session::{
    NodeSessions, SessionCommand, SessionInfo, SessionOp, SessionReply, Sessions,
};
use domains::txn::{ReadOp, TxnCommand, TxnRead, TxnReadReply, TxnReply};
use types::autopilot::AutopilotConfiguration;
use types::catalog::{
    CheckServiceNode, DeregisterRequest, GatewayService, Node, NodeService, RegisterRequest,
    ServiceNode, Weights,
};
use types::check::{HealthCheck, Status};
use types::connect_ca::{CaRoot, CaRoots};
use types::coordinate::{Coordinate, NodeCoordinate};
use types::federation_state::FederationState;
use types::kv::KvEntry;
use types::prepared_query::{ExecuteResponse, PreparedQuery, ServiceQuery};
use types::query_meta::QueryMeta;
use types::session::Session;
use types::txn::{KvVerb, TxnError, TxnKvOp, TxnOp, TxnResult};
use types::usage::ServiceUsage;
use types::{Index, SecretId};

use crate::{hex, method, unhex};

fn facts() -> ReadFacts {
    ReadFacts {
        index: Index(61),
        known_leader: true,
        last_contact: Duration::from_nanos(7),
        removed: true,
    }
}

fn options() -> ReadOptions {
    ReadOptions {
        datacenter: "dc1".into(),
        token: SecretId::from("t"),
        min_index: Index(60),
        ..ReadOptions::stale("dc1".into())
    }
}

/// The query gets to another server, and its reply back.
fn check_read<Q>(query: &Q, replies: &[Q::Reply])
where
    Q: Query + Debug,
    Q::Reply: Debug + PartialEq,
{
    let Outgoing { method: name, args } = query.to_request(&options()).expect("it has a method");
    let RemoteCall::Read { query: read, options: read_options, encode } =
        (method(name).expect("it is a method of ours").decode)(&args.0)
            .expect("the request is read")
    else {
        panic!("{name} is no read");
    };
    let read: &Q = read.as_any().downcast_ref().expect("it is the same query");
    assert_eq!(read, query);
    assert_eq!(format!("{read_options:?}"), format!("{:?}", options()));
    for reply in replies {
        let bytes = encode.encode(reply, &facts());
        let (again, told) = query.decode_reply(&bytes).expect("the reply is read");
        assert_eq!(reply_of::<Q>(&*again), reply, "{name}: {}", hex(&bytes));
        assert_eq!(told, facts());
    }
}

/// As [`check_read`], where the reply has no facts in it.
fn check_bare<Q>(query: &Q, replies: &[Q::Reply])
where
    Q: Query + Debug,
    Q::Reply: Debug + PartialEq,
{
    let Outgoing { method: name, args } = query.to_request(&options()).expect("it has a method");
    let Ok(RemoteCall::Read { query: read, encode, .. }) =
        (method(name).expect("it is a method of ours").decode)(&args.0)
    else {
        panic!("{name} is no read");
    };
    assert_eq!(read.as_any().downcast_ref::<Q>(), Some(query));
    for reply in replies {
        let bytes = encode.encode(reply, &facts());
        let (again, told) = query.decode_reply(&bytes).expect("the reply is read");
        assert_eq!(reply_of::<Q>(&*again), reply, "{name}: {}", hex(&bytes));
        assert!(told.known_leader);
    }
}

/// The command gets to another server without its token, and its reply back.
fn check_write<C>(command: &C, reply: &C::Reply)
where
    C: Command + Debug + PartialEq,
    C::Reply: Debug + PartialEq,
{
    let token = SecretId::from("s3cret");
    let Outgoing { method: name, args } = command.to_request(&token).expect("it has a method");
    let RemoteCall::Write { command: read, token: read_token, encode } =
        (method(name).expect("it is a method of ours").decode)(&args.0)
            .expect("the request is read")
    else {
        panic!("{name} is no write");
    };
    assert_eq!(read_token, token);
    let log = read.encode();
    assert_eq!(
        hex(&log),
        hex(&contract::AnyCommand::encode(command)),
        "{name}: what enters the log"
    );
    assert!(!hex(&log).contains(&hex(b"s3cret")), "{name}: no secret enters the log");
    let bytes = encode(reply as &(dyn Any + Send));
    let again = (command.reply_decoder())(&bytes).expect("the reply is read");
    assert_eq!(applied_reply_of::<C>(&*again), reply, "{name}: {}", hex(&bytes));
}

fn entry(key: &str) -> Arc<KvEntry> {
    Arc::new(KvEntry {
        key: key.into(),
        value: b"hello"[..].into(),
        flags: 3,
        create_index: Index(61),
        modify_index: Index(61),
        ..KvEntry::default()
    })
}

#[test]
fn calls_about_keys_cross_the_port() {
    check_read(&KvGet { key: "foo".into() }, &[None, Some(entry("foo"))]);
    check_read(&KvList { prefix: "f".into() }, &[vec![], vec![entry("foo"), entry("fop")]]);
    let keys = KvKeys { prefix: "f".into(), separator: "/".to_owned() };
    check_read(&keys, &[vec![], vec!["foo".into(), "fop/".into()]]);
    let around = Around {
        deleted_at: Some(Index(3)),
        below: vec!["foo/a".into()],
        below_count: 12,
        similar: vec!["fob".into()],
    };
    check_read(&KvAround { key: "foo".into() }, &[Around::default(), around]);
    let command =
        |op| KvCommand { datacenter: "dc1".into(), op, entry: KvEntry::clone(&entry("foo")) };
    for op in [KvOp::Cas, KvOp::DeleteCas, KvOp::Lock, KvOp::Unlock] {
        check_write(&command(op), &false);
        check_write(&command(op), &true);
    }
    for op in [KvOp::Set, KvOp::Delete, KvOp::DeleteTree] {
        check_write(&command(op), &true);
        // A real server says `false` to these, and has done it.
        let reply = (command(op).reply_decoder())(b"\xc2").expect("it is read");
        assert_eq!(applied_reply_of::<KvCommand>(&*reply), &true, "{op:?}");
    }
}

#[test]
fn the_bytes_of_a_reply_are_those_of_consul() {
    // `reference/rpc-wire.md` section 17.
    let expected = concat!(
        "88a74261636b656e6400b0436f6e73697374656e63794c6576656ca0a7456e747269657391",
        "87ab437265617465496e6465783da5466c61677300a34b6579a3666f6fa94c6f636b496e64657800",
        "ab4d6f64696679496e6465783da753657373696f6ea0a556616c7565a568656c6c6f",
        "a5496e6465783dab4b6e6f776e4c6561646572c3ab4c617374436f6e7461637400",
        "ab4e6f744d6f646966696564c2b5526573756c747346696c7465726564427941434c73c2",
    );
    let asked = "82aa4461746163656e746572a3646331a34b6579a3666f6f";
    let asked = unhex(asked);
    let Ok(RemoteCall::Read { encode, .. }) =
        (method("KVS.Get").expect("it is there").decode)(&asked)
    else {
        panic!("it is a read");
    };
    let entry = KvEntry { flags: 0, ..KvEntry::clone(&entry("foo")) };
    let facts = ReadFacts { index: Index(61), known_leader: true, ..ReadFacts::default() };
    let bytes = hex(&encode.encode(&Some(Arc::new(entry)), &facts));
    // An entry of ours leaves the session out if there is none.
    let without_session = expected.replace("87ab43", "86ab43").replace("a753657373696f6ea0", "");
    assert_eq!(bytes, without_session);
}

/// The action gets to another server, and its reply back.
fn check_act<A>(action: &A, replies: &[A::Reply])
where
    A: Action,
    A::Reply: Debug + PartialEq,
{
    let action: &dyn AnyAction = action;
    let Outgoing { method: name, args } = action.to_request().expect("it has a method");
    let decoded = (method(name).expect("it is a method of ours").decode)(&args.0);
    let RemoteCall::Act { action: read, encode } = decoded.expect("the request is read") else {
        panic!("{name} is no action");
    };
    assert_eq!(hex(&read.to_request().expect("the same method").args.0), hex(&args.0));
    for reply in replies {
        let bytes = encode.encode(reply, &facts());
        let (again, told) = action.decode_reply(&bytes).expect("the reply is read");
        let again = again.downcast_ref::<A::Reply>().expect("it is the action's reply");
        assert_eq!(again, reply, "{name}: {}", hex(&bytes));
        assert_eq!(told, facts());
    }
}

fn node() -> Arc<Node> {
    Arc::new(Node {
        id: "11111111-2222-3333-4444-555555555555".into(),
        node: "n1".into(),
        address: "10.0.0.1".to_owned(),
        datacenter: "dc1".into(),
        meta: Some([("rack".to_owned(), "1".to_owned())].into()),
        modify_index: Index(5),
        ..Node::default()
    })
}

fn service() -> Arc<NodeService> {
    Arc::new(NodeService {
        id: "web1".into(),
        service: "web".into(),
        tags: vec!["v1".to_owned()],
        port: 80,
        weights: Some(Weights { passing: 2, warning: 1 }),
        modify_index: Index(6),
        ..NodeService::default()
    })
}

fn check() -> Arc<HealthCheck> {
    Arc::new(HealthCheck {
        node: "n1".into(),
        check_id: "c1".into(),
        status: Status::Passing,
        service_id: "web1".into(),
        service_name: "web".into(),
        ..HealthCheck::default()
    })
}

fn instance() -> CheckServiceNode {
    CheckServiceNode { node: node(), service: service(), checks: vec![check()] }
}

fn selection() -> InstanceSelection {
    InstanceSelection {
        connect: true,
        merge_central_config: true,
        peer: "p".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        node_meta: [("k".to_owned(), "v".to_owned())].into(),
        ..InstanceSelection::of("web")
    }
}

#[test]
fn calls_about_nodes_and_instances_cross_the_port() {
    let filter = RowFilter::of("Node == n1");
    let node_meta = selection().node_meta;
    let near = Near::in_datacenter("dc1", "n2");
    let nodes = CatalogNodes { node_meta: node_meta.clone(), near, filter: filter.clone() };
    check_read(&nodes, &[vec![], vec![node()]]);
    let tags = [("web".to_owned(), ["a".to_owned()].into()), ("db".to_owned(), [].into())];
    let services = [ServiceTags::ByName([].into()), ServiceTags::ByName(tags.into())];
    check_read(&CatalogServices { node_meta, filter: filter.clone() }, &services);
    let rows = [vec![], vec![ServiceNode::join(&node(), &service())]];
    check_read(&CatalogService { selection: selection(), filter: filter.clone() }, &rows);
    let address = "10.1.1.1".to_owned();
    check_read(&ServicesAtAddress { address, filter: filter.clone() }, &rows);
    let by_id = [("web1".to_owned(), service())].into();
    let name = "n1".to_owned();
    let of_node = CatalogNode { node: name.clone(), filter: filter.clone() };
    check_read(&of_node, &[None, Some(NodeServices { node: node(), services: by_id })]);
    let list = |services| NodeServiceList { node: Some(node()), services: Some(services) };
    let of_node = CatalogNodeServices { node: name, merge_central_config: true, filter };
    let lists = [NodeServiceList::default(), list(vec![]), list(vec![service()])];
    check_read(&of_node, &lists);
    let link = GatewayService { port: 8080, hosts: vec!["h".to_owned()], ..Default::default() };
    check_read(&GatewayServices { gateway: "gw".to_owned() }, &[vec![], vec![link]]);
    let who = [None, Some(PtrTarget::Node("n".into())), Some(PtrTarget::Service("s".into()))];
    check_read(&PtrLookup { address: [10, 0, 0, 1].into() }, &who);
    let usage = ServiceUsage { nodes: 3, ..ServiceUsage::default() };
    check_read(&Usage { datacenter: "dc1".into() }, &[[("dc1".to_owned(), usage)].into()]);
}

#[test]
fn replies_without_facts_cross_the_port() {
    let query = VirtualIp { service: "web".to_owned() };
    check_bare(&query, &[None, Some([240, 0, 0, 1].into())]);
    let changed = AutopilotConfiguration { min_quorum: 3, ..AutopilotConfiguration::default() };
    check_bare(&AutopilotGet, &[Some(AutopilotConfiguration::default()), Some(changed)]);
    check_bare(&CatalogOverview, &[Overview::default()]);
}

#[test]
fn registrations_cross_the_port_without_their_tokens() {
    let service = NodeService::clone(&service());
    let checks = Some(vec![HealthCheck::clone(&check())]);
    let request = RegisterRequest {
        datacenter: "dc1".into(),
        node: "n1".into(),
        service: Some(service),
        checks,
        skip_node_update: true,
        ..RegisterRequest::default()
    };
    check_write(&Register(request), &());
    let request = DeregisterRequest {
        datacenter: "dc1".into(),
        node: "n1".into(),
        service_id: "web1".into(),
        ..DeregisterRequest::default()
    };
    check_write(&Deregister(request), &());
    let service = PeeredServiceName::local("web".into());
    let manual = vec!["10.0.0.9".to_owned()];
    let assign = UpdateVirtualIp { datacenter: "dc1".into(), service: service.clone(), manual };
    check_write(&assign, &UpdateVirtualIpReply::default());
    let lost = Some(vec![service]);
    check_write(&assign, &UpdateVirtualIpReply { found: true, unassigned_from: lost });
}

#[test]
fn calls_about_health_cross_the_port() {
    let filter = RowFilter::of("Status == passing");
    let rows = [vec![], vec![check()]];
    check_read(&HealthNode { node: "n1".to_owned(), filter: filter.clone() }, &rows);
    let node_meta = selection().node_meta;
    let near = Near::in_datacenter("dc1", "n2");
    let of_service = HealthChecksOfService {
        service: "web".to_owned(),
        node_meta: node_meta.clone(),
        near: near.clone(),
        filter: filter.clone(),
    };
    check_read(&of_service, &rows);
    let status = "passing".to_owned();
    check_read(&HealthState { status, node_meta, near, filter: filter.clone() }, &rows);
    for health in [InstanceHealth::Any, InstanceHealth::NotCritical, InstanceHealth::Passing] {
        let query = HealthService { selection: selection(), health, filter: filter.clone() };
        check_read(&query, &[vec![], vec![instance()]]);
    }
    let selection = InstanceSelection { ingress: true, ..InstanceSelection::of("web") };
    check_read(&HealthService { selection, ..HealthService::default() }, &[vec![]]);
}

#[test]
fn an_old_server_sends_all_instances_and_only_those_that_were_asked_for_are_kept() {
    let mut sick = instance();
    sick.checks[0] = Arc::new(HealthCheck { status: Status::Warning, ..HealthCheck::default() });
    let all = HealthService { selection: InstanceSelection::of("web"), ..Default::default() };
    let encode = |rows: Vec<CheckServiceNode>| {
        let args = all.to_request(&options()).expect("it has a method").args;
        match (method("Health.ServiceNodes").expect("it is there").decode)(&args.0) {
            Ok(RemoteCall::Read { encode, .. }) => encode.encode(&rows, &facts()),
            _ => panic!("it is a read"),
        }
    };
    let bytes = encode(vec![instance(), sick]);
    let passing = HealthService { health: InstanceHealth::Passing, ..all.clone() };
    let (rows, _) = passing.decode_reply(&bytes).expect("it is read");
    assert_eq!(reply_of::<HealthService>(&*rows), &vec![instance()]);
}

/// Agents before 1.3 knew of one tag only.
#[test]
fn the_single_tag_of_old_agents_counts() {
    let args = unhex(concat!(
        "84aa4461746163656e746572a3646331ab536572766963654e616d65a3776562",
        "aa53657276696365546167a27631a954616746696c746572c3",
    ));
    for name in ["Catalog.ServiceNodes", "Health.ServiceNodes"] {
        let Ok(RemoteCall::Read { query, .. }) = (method(name).expect("it is there").decode)(&args)
        else {
            panic!("it is a read");
        };
        let selection =
            InstanceSelection { tags: vec!["v1".to_owned()], ..InstanceSelection::of("web") };
        let of_catalog =
            CatalogService { selection: selection.clone(), filter: RowFilter::default() };
        let of_health = HealthService { selection, ..HealthService::default() };
        let query = query.as_any();
        let is_it =
            query.downcast_ref() == Some(&of_catalog) || query.downcast_ref() == Some(&of_health);
        assert!(is_it, "{name}");
    }
}

#[test]
fn calls_about_sessions_cross_the_port() {
    let session = Arc::new(Session {
        id: "s".into(),
        node: "n1".into(),
        ttl: "30s".to_owned(),
        node_checks: vec!["serfHealth".into()],
        ..Session::default()
    });
    let rows = [vec![], vec![Arc::clone(&session)]];
    check_read(&SessionInfo { id: "s".into() }, &rows);
    check_read(&NodeSessions { node: "n1".into() }, &rows);
    check_read(&Sessions, &rows);
    let command =
        |op| SessionCommand { datacenter: "dc1".into(), op, session: Session::clone(&session) };
    check_write(&command(SessionOp::Create), &SessionReply::Created { id: "s".into() });
    check_write(&command(SessionOp::Destroy), &SessionReply::Destroyed(true));
    let renew = SessionCommand {
        datacenter: "dc1".into(),
        op: SessionOp::Renew,
        session: Session { id: "s".into(), ..Session::default() },
    };
    check_write(&renew, &SessionReply::Renewed([session]));
    check_write(&renew, &SessionReply::NotFound("s".into()));
    let decode = method("Session.Apply").expect("it is there").decode;
    let smuggled = decode(b"\x81\xa2Op\xa5renew").err().expect("renewals have their own method");
    assert_eq!(smuggled.text(), "Invalid Session operation 'renew'");
    // As agents say it that know no `SessionID`.
    let Ok(RemoteCall::Read { query, .. }) =
        (method("Session.Get").expect("it is there").decode)(b"\x81\xa7Session\xa1s")
    else {
        panic!("it is a read");
    };
    assert_eq!(query.as_any().downcast_ref(), Some(&SessionInfo { id: "s".into() }));
}

#[test]
fn transactions_cross_the_port() {
    let kv = Some(TxnKvOp { verb: KvVerb::Set, entry: KvEntry::clone(&entry("foo")) });
    let ops = vec![TxnOp { kv, ..TxnOp::default() }];
    let command = TxnCommand { datacenter: "dc1".into(), ops };
    let results = vec![
        TxnResult::Kv(entry("foo")),
        TxnResult::Node(node()),
        TxnResult::Service(service()),
        TxnResult::Check(check()),
    ];
    let errors = vec![TxnError { op_index: 1, what: "no".to_owned() }];
    check_write(&command, &TxnReply::default());
    check_write(&command, &TxnReply { results: results.clone(), errors: vec![] });
    check_write(&command, &TxnReply { results: vec![], errors: errors.clone() });
    let key = ReadOp::Key {
        verb: KvVerb::CheckIndex,
        key: "foo".into(),
        index: Index(7),
        session: "s".into(),
    };
    let of_node = ReadOp::Node { id: "i".into(), name: "n1".into() };
    let of_service = ReadOp::Service { node: "n1".into(), id: "web1".into() };
    let of_check = ReadOp::Check { node: "n1".into(), id: "c1".into() };
    let read = TxnRead { ops: vec![key, of_node, of_service, of_check] };
    let reply = |results, errors| TxnReadReply { results, errors, unasked: false };
    check_read(&read, &[reply(results, vec![]), reply(vec![], errors.clone())]);
    // What was refused unasked tells nothing of the state.
    let unasked = TxnReadReply { results: vec![], errors, unasked: true };
    let args = read.to_request(&options()).expect("it has a method").args;
    let Ok(RemoteCall::Read { encode, .. }) =
        (method("Txn.Read").expect("it is there").decode)(&args.0)
    else {
        panic!("it is a read");
    };
    let (again, told) = read.decode_reply(&encode.encode(&unasked, &facts())).expect("it is read");
    assert_eq!(reply_of::<TxnRead>(&*again), &unasked);
    assert_eq!((told.index, told.known_leader), (Index::ZERO, false));
    // A change is no part of a read.
    let writing = (method("Txn.Read").expect("it is there").decode)(
        &command.to_request(&SecretId::default()).expect("it has a method").args.0,
    );
    assert!(writing.is_err());
}

#[test]
fn prepared_queries_cross_the_port() {
    let query = Arc::new(PreparedQuery {
        id: "11111111-2222-3333-4444-555555555555".to_owned(),
        name: "q".to_owned(),
        token: "hidden".into(),
        service: ServiceQuery {
            service: "web".into(),
            peer: "p".to_owned(),
            ..ServiceQuery::default()
        },
        ..PreparedQuery::default()
    });
    let id = query.id.clone();
    check_read(&PreparedQueries, &[vec![], vec![Arc::clone(&query)]]);
    check_read(&PreparedQueryGet { id: id.clone() }, &[Ok([Arc::clone(&query)])]);
    let explain = PreparedQueryExplain { id_or_name: "q".to_owned(), segment: "s".to_owned() };
    check_read(&explain, &[Ok(Arc::clone(&query))]);
    let missing = PreparedQueryGet { id: id.clone() }.decode_reply(b"\x80").err();
    assert_eq!(missing.expect("it is not there").text(), "Query not found");
    let command = |op| PreparedQueryCommand {
        datacenter: "dc1".into(),
        op,
        query: PreparedQuery::clone(&query),
    };
    check_write(&command(PreparedQueryOp::Create), &PreparedQueryReply::Created(id.clone()));
    check_write(&command(PreparedQueryOp::Update), &PreparedQueryReply::Done(id.clone()));
    check_write(&command(PreparedQueryOp::Delete), &PreparedQueryReply::Done(id));
    let request = ExecuteRequest {
        id_or_name: "q".to_owned(),
        limit: 3,
        connect: true,
        near: "_ip".to_owned(),
        agent: "n1".into(),
        segment: "s".to_owned(),
        datacenter: "dc1".into(),
        address: Some([10, 0, 0, 7].into()),
    };
    let response = ExecuteResponse {
        service: "web".into(),
        nodes: vec![instance()],
        datacenter: "dc2".into(),
        failovers: 2,
        meta: facts().to_meta("stale"),
        ..ExecuteResponse::default()
    };
    check_act(&Execution::new(request, options()), std::slice::from_ref(&response));
    let elsewhere =
        RemoteExecution { query: Arc::clone(&query), connect: true, limit: 2, options: options() };
    check_act(&elsewhere, std::slice::from_ref(&response));
    // Whoever asks another datacenter asks for instances, and there it is an execution.
    let instances = QueryInstances { query, connect: true, peer: String::new() };
    let asked = instances.to_request(&options()).expect("it has a method");
    assert_eq!(asked.method, "PreparedQuery.ExecuteRemote");
    let Ok(RemoteCall::Act { action, encode }) =
        (method(asked.method).expect("it is there").decode)(&asked.args.0)
    else {
        panic!("it is an action");
    };
    assert_eq!(action.options().min_index, Index(60));
    let (rows, _) = instances.decode_reply(&encode.encode(&response, &facts())).expect("read");
    assert_eq!(reply_of::<QueryInstances>(&*rows), &vec![instance()]);
}

/// Their replies have the token of a definition in them, or are of use on the spot only.
#[test]
fn what_servers_ask_themselves_has_no_method() {
    let resolve = PreparedQueryResolve(ExecuteRequest::default());
    assert_eq!(RemoteQuery::to_request(&resolve, &options()), None);
    assert_eq!(RemoteQuery::to_request(&OwnMeshGateways, &options()), None);
    let token = SecretId::default();
    assert_eq!(RemoteCommand::to_request(&CaCommand::default(), &token), None);
    assert_eq!(RemoteCommand::to_request(&TombstoneReap::default(), &token), None);
    assert_eq!(RemoteCommand::to_request(&CoordinateBatch::default(), &token), None);
}

#[test]
fn coordinates_states_and_roots_cross_the_port() {
    let coord = Some(Coordinate::fresh());
    let row = NodeCoordinate { node: "n1".into(), segment: String::new(), coord: coord.clone() };
    let rows = [vec![], vec![Arc::new(row)]];
    check_read(&CoordinatesOfNodes, &rows);
    check_read(&CoordinatesOfNode { node: "n1".to_owned() }, &rows);
    let update = CoordinateUpdate {
        datacenter: "dc1".into(),
        node: "n1".into(),
        segment: "s".to_owned(),
        coord,
    };
    check_write(&update, &());
    // Servers of Consul's die of an update without coordinate.
    let nowhere = CoordinateUpdate { coord: None, ..update };
    let sent = RemoteCommand::to_request(&nowhere, &SecretId::default()).expect("it has a method");
    assert!(hex(&sent.args.0).contains(&hex(b"\xa5Coord\x84")), "{}", hex(&sent.args.0));
    let config = AutopilotConfiguration::default();
    let set = AutopilotSet { datacenter: "dc1".into(), config, cas: true };
    check_write(&set, &false);
    let state = FederationState {
        datacenter: "dc2".into(),
        mesh_gateways: vec![instance()],
        ..FederationState::default()
    };
    check_read(&FederationStates, &[vec![], vec![Arc::new(state.clone())]]);
    let one = FederationStateOf { datacenter: "dc2".into() };
    check_read(&one, &[None, Some(Arc::new(state.clone()))]);
    let gateways = [("dc2".to_owned(), vec![instance()])];
    check_read(&MeshGateways, &[[].into(), gateways.into()]);
    let op = FederationStateOp::Upsert;
    let command = FederationStateCommand { datacenter: "dc1".into(), op, state: Some(state) };
    check_write(&command, &true);
    let root = CaRoot { id: "r".to_owned(), active: true, ..CaRoot::default() };
    let roots = CaRoots {
        active_root_id: "r".to_owned(),
        trust_domain: "x.consul".to_owned(),
        roots: vec![root],
    };
    check_read(&CaRootsQuery, &[CaRoots::default(), roots]);
}

#[test]
fn reads_of_the_web_ui_cross_the_port() {
    let filter = RowFilter::of("Node == n1");
    check_read(&NodeDump { filter: filter.clone() }, &[vec![], vec![NodeRow::default()]]);
    let info = NodeInfo { node: "n1".to_owned(), peer: "p".to_owned() };
    check_read(&info, &[vec![], vec![NodeRow::default()]]);
    let dump = ServiceDump { peer: "p".to_owned(), kind: Some(String::new()), filter };
    let gateways = vec![GatewayService::default()];
    let services = Services { nodes: vec![instance()], gateways };
    check_read(&dump, &[Services::default(), services]);
    check_read(&ServiceTopology { service: "web".to_owned() }, &[Topology::default()]);
    let behind = BehindGateway(vec![ServiceInfo {
        checks: vec![check()],
        gateway_service: Some(GatewayService::default()),
        node: Some(node()),
        service: Some(service()),
    }]);
    let dump = GatewayServiceDump { gateway: "gw".to_owned() };
    check_read(&dump, &[BehindGateway::default(), behind]);
    let names = ServiceNames(vec!["web".into()]);
    check_read(&ExportedServices { peer: "p".to_owned() }, &[ServiceNames::default(), names]);
}

#[test]
fn whoever_has_the_rows_is_told_that_nothing_changed_if_he_allows_it() {
    let query = CatalogServices::default();
    let reply = ServiceTags::ByName([("web".to_owned(), [].into())].into());
    let mut asked = QueryOptions { allow_not_modified_response: true, ..Default::default() };
    for (has, expected) in [(61, true), (60, false), (0, false)] {
        asked.min_query_index = Index(has);
        let call = RemoteCall::read(query.clone(), &asked);
        let RemoteCall::Read { encode, .. } = call else { panic!("it is a read") };
        let bytes = encode.encode(&reply, &facts());
        let meta: QueryMeta = types::msgpack::from_slice(&bytes).expect("it has facts");
        assert_eq!((meta.not_modified, meta.index), (expected, Index(61)));
        assert_eq!(hex(&bytes).contains(&hex(b"\xa8Services")), !expected);
    }
}
