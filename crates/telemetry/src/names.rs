//! Every metric that is emitted, in one place.
//!
//! Names, kinds and labels: `reference/telemetry.md` section 2. The first words of each
//! comment are the metric's help in the Prometheus format. What is not in this list does
//! not exist: no other file writes the name of a metric. `cargo xtask tidy` makes sure that
//! all of them are emitted, but for those of [`LATER`].
//!
//! Not here, as they would tell nothing: counts of Go's allocator and its pauses
//! (`runtime.malloc_count`, `free_count`, `heap_objects`, `gc_pause_ns`), and the pages of
//! a BoltDB (`raft.boltdb.*`) and what verifies it (`raft.logstore.verifier.*`), in the
//! place of which the log tells `raft.wal.*`.

use crate::series::{Counter, Gauge, MetricName, Sample, Timer};

/// One line for each metric: a handle, and its place in [`METRICS`].
macro_rules! metrics {
    ($(
        $(#[doc = $doc:literal])+
        $id:ident: $kind:ident = $name:literal [$($label:literal),*];
    )+) => {
        $(
            $(#[doc = $doc])+
            pub static $id: $kind<{ const LABELS: &[&str] = &[$($label),*]; LABELS.len() }> =
                $kind::new($name, &[$($label),*], concat!($($doc),+).trim_ascii());
        )+

        /// All of them, in the order of the reference.
        pub static METRICS: &[&MetricName] = &[$($id.metric()),+];
    };
}

metrics! {
    // The process.
    /// Which version this is; always 1.
    VERSION: Gauge = "version" ["version", "pre_release"];
    /// Tasks of the runtime.
    RUNTIME_NUM_GOROUTINES: Gauge = "runtime.num_goroutines" [];
    /// Bytes of memory that hold data of the process.
    RUNTIME_ALLOC_BYTES: Gauge = "runtime.alloc_bytes" [];
    /// Bytes of memory that the process has from the system.
    RUNTIME_SYS_BYTES: Gauge = "runtime.sys_bytes" [];
    /// Pauses for garbage collection; there are none.
    RUNTIME_TOTAL_GC_PAUSE_NS: Gauge = "runtime.total_gc_pause_ns" [];
    /// Runs of garbage collection; there are none.
    RUNTIME_TOTAL_GC_RUNS: Gauge = "runtime.total_gc_runs" [];
    /// Seconds until the agent's certificate expires.
    AGENT_TLS_CERT_EXPIRY: Gauge = "agent.tls.cert.expiry" [];

    // Interfaces of the agent.
    /// Time of each HTTP request, by method and route.
    API_HTTP: Timer = "api.http" ["method", "path"];
    /// Calls from this agent to servers.
    CLIENT_RPC: Counter = "client.rpc" [];
    /// Calls that limits.rpc_rate refused.
    CLIENT_RPC_EXCEEDED: Counter = "client.rpc.exceeded" [];
    /// Calls to a server that failed.
    CLIENT_RPC_FAILED: Counter = "client.rpc.failed" ["server"];
    /// HTTP calls of one catalog endpoint.
    CLIENT_API: Counter = "client.api.<call>" ["node"];
    /// HTTP calls of one catalog endpoint that were answered.
    CLIENT_API_SUCCESS: Counter = "client.api.success.<call>" ["node"];
    /// HTTP calls of one catalog endpoint that failed.
    CLIENT_RPC_ERROR: Counter = "client.rpc.error.<call>" ["node"];
    /// Answers in the agent's cache.
    CACHE_ENTRIES_COUNT: Gauge = "cache.entries_count" [];
    /// Questions whose answer the cache had, by type.
    CACHE_HIT: Counter = "cache.<type>.hit" [];
    /// Questions whose answer the cache had to fetch, by type.
    CACHE_MISS_NEW: Counter = "cache.<type>.miss_new" [];
    /// Answers that the cache fetched.
    CACHE_FETCH_SUCCESS: Counter = "cache.fetch_success" ["result_not_modified"];
    /// Answers that the cache fetched, by type.
    CACHE_FETCH_SUCCESS_OF: Counter = "cache.<type>.fetch_success" ["result_not_modified"];
    /// Answers in the agent's cache, under an older name.
    CONSUL_CACHE_ENTRIES_COUNT: Gauge = "consul.cache.entries_count" [];
    /// Questions whose answer the cache had, by type, under an older name.
    CONSUL_CACHE_HIT: Counter = "consul.cache.<type>.hit" [];
    /// Questions whose answer the cache had to fetch, by type, under an older name.
    CONSUL_CACHE_MISS_NEW: Counter = "consul.cache.<type>.miss_new" [];
    /// Answers that the cache fetched, under an older name.
    CONSUL_CACHE_FETCH_SUCCESS: Counter = "consul.cache.fetch_success" ["result_not_modified"];
    /// Answers that the cache fetched, by type, under an older name.
    CONSUL_CACHE_FETCH_SUCCESS_OF: Counter =
        "consul.cache.<type>.fetch_success" ["result_not_modified"];
    /// Time of DNS queries inside the domain.
    DNS_DOMAIN_QUERY: Timer = "dns.domain_query" ["node"];
    /// Time of reverse DNS queries.
    DNS_PTR_QUERY: Timer = "dns.ptr_query" ["node"];
    /// Time of all DNS queries, by type.
    DNS_QUERY: Timer = "dns.query" ["node", "type"];
    /// DNS answers that were staler than five seconds.
    DNS_STALE_QUERIES: Counter = "dns.stale_queries" [];

    // Tokens.
    /// Time to find out what a token may do.
    ACL_RESOLVE_TOKEN: Timer = "acl.ResolveToken" [];
    /// Tokens that were found in the cache.
    ACL_TOKEN_CACHE_HIT: Counter = "acl.token.cache_hit" [];
    /// Tokens that were not found in the cache.
    ACL_TOKEN_CACHE_MISS: Counter = "acl.token.cache_miss" [];
    /// Deregistrations of checks that ACLs refused.
    ACL_BLOCKED_CHECK_DEREGISTRATION: Counter = "acl.blocked.check.deregistration" [];
    /// Registrations of checks that ACLs refused.
    ACL_BLOCKED_CHECK_REGISTRATION: Counter = "acl.blocked.check.registration" [];
    /// Deregistrations of services that ACLs refused.
    ACL_BLOCKED_SERVICE_DEREGISTRATION: Counter = "acl.blocked.service.deregistration" [];
    /// Registrations of services that ACLs refused.
    ACL_BLOCKED_SERVICE_REGISTRATION: Counter = "acl.blocked.service.registration" [];
    /// Registrations of nodes that ACLs refused.
    ACL_BLOCKED_NODE_REGISTRATION: Counter = "acl.blocked.node.registration" [];

    // The state of a server.
    /// Nodes in the catalog.
    STATE_NODES: Gauge = "state.nodes" ["datacenter"];
    /// Peerings.
    STATE_PEERINGS: Gauge = "state.peerings" ["datacenter"];
    /// Service names in the catalog.
    STATE_SERVICES: Gauge = "state.services" ["datacenter"];
    /// Service instances in the catalog.
    STATE_SERVICE_INSTANCES: Gauge = "state.service_instances" ["datacenter"];
    /// Service instances in the catalog that are not proxies.
    STATE_BILLABLE_SERVICE_INSTANCES: Gauge = "state.billable_service_instances" ["datacenter"];
    /// Keys in the KV store.
    STATE_KV_ENTRIES: Gauge = "state.kv_entries" ["datacenter"];
    /// Proxies and gateways, by kind.
    STATE_CONNECT_INSTANCES: Gauge = "state.connect_instances" ["datacenter", "kind"];
    /// Config entries, by kind.
    STATE_CONFIG_ENTRIES: Gauge = "state.config_entries" ["datacenter", "kind"];
    /// Client agents in the LAN pool.
    MEMBERS_CLIENTS: Gauge = "members.clients" ["datacenter"];
    /// Servers in the LAN pool.
    MEMBERS_SERVERS: Gauge = "members.servers" ["datacenter"];

    // Calls to a server.
    /// Connections to the server port.
    RPC_ACCEPT_CONN: Counter = "rpc.accept_conn" [];
    /// Connections to the server port that carry consensus.
    RPC_RAFT_HANDOFF: Counter = "rpc.raft_handoff" [];
    /// Calls to the server.
    RPC_REQUEST: Counter = "rpc.request" [];
    /// Calls to the server that failed.
    RPC_REQUEST_ERROR: Counter = "rpc.request_error" [];
    /// Reads on the server.
    RPC_QUERY: Counter = "rpc.query" [];
    /// Blocking queries in flight.
    RPC_QUERIES_BLOCKING: Gauge = "rpc.queries_blocking" [];
    /// Calls that were sent to another datacenter.
    RPC_CROSS_DC: Counter = "rpc.cross-dc" ["datacenter"];
    /// Requests over gRPC.
    GRPC_SERVER_REQUEST_COUNT: Counter = "grpc.server.request.count" ["server_type"];
    /// Connections that spoke gRPC.
    GRPC_SERVER_CONNECTION_COUNT: Counter = "grpc.server.connection.count" [];
    /// Connections that speak gRPC.
    GRPC_SERVER_CONNECTIONS: Gauge = "grpc.server.connections" [];
    /// Streams that were asked for over gRPC.
    GRPC_SERVER_STREAM_COUNT: Counter = "grpc.server.stream.count" [];
    /// Streams over gRPC.
    GRPC_SERVER_STREAMS: Gauge = "grpc.server.streams" [];
    /// Requests to servers over gRPC.
    GRPC_CLIENT_REQUEST_COUNT: Counter = "grpc.client.request.count" ["server_type"];
    /// Connections to servers that spoke gRPC.
    GRPC_CLIENT_CONNECTION_COUNT: Counter = "grpc.client.connection.count" [];
    /// Connections to servers that speak gRPC.
    GRPC_CLIENT_CONNECTIONS: Gauge = "grpc.client.connections" [];
    /// Time that consistent reads took to confirm the leader.
    RPC_CONSISTENT_READ: Timer = "rpc.consistentRead" [];
    /// Calls that limits.request_limits refused, or would have refused.
    RPC_RATE_LIMIT_EXCEEDED: Counter = "rpc.rate_limit.exceeded" ["limit_type", "op", "mode"];
    /// Lines about refused calls that were not logged.
    RPC_RATE_LIMIT_LOG_DROPPED: Counter = "rpc.rate_limit.log_dropped" [];
    /// Time of each call to the server; only where prefix_filter asks for it by name.
    RPC_SERVER_CALL: Timer =
        "rpc.server.call" ["method", "errored", "request_type", "rpc_type", "leader"];

    // Endpoints of a server.
    /// Time to register in the catalog.
    CATALOG_REGISTER: Timer = "catalog.register" [];
    /// Time to deregister from the catalog.
    CATALOG_DEREGISTER: Timer = "catalog.deregister" [];
    /// Catalog queries for a service.
    CATALOG_SERVICE_QUERY: Counter = "catalog.service.query" ["service"];
    /// Catalog queries for a service with tags, by the last of them.
    CATALOG_SERVICE_QUERY_TAGS: Counter = "catalog.service.query-tags" ["service", "tag"];
    /// Catalog queries for a service that found nothing.
    CATALOG_SERVICE_NOT_FOUND: Counter = "catalog.service.not-found" ["service"];
    /// Catalog queries for the proxies of a service.
    CATALOG_CONNECT_QUERY: Counter = "catalog.connect.query" ["service"];
    /// Catalog queries for the proxies of a service with tags, by the last of them.
    CATALOG_CONNECT_QUERY_TAGS: Counter = "catalog.connect.query-tags" ["service", "tag"];
    /// Catalog queries for the proxies of a service that found nothing.
    CATALOG_CONNECT_NOT_FOUND: Counter = "catalog.connect.not-found" ["service"];
    /// Health queries for a service.
    HEALTH_SERVICE_QUERY: Counter = "health.service.query" ["service"];
    /// Health queries for a service with tags, by the last of them.
    HEALTH_SERVICE_QUERY_TAGS: Counter = "health.service.query-tags" ["service", "tag"];
    /// Health queries for a service that found nothing.
    HEALTH_SERVICE_NOT_FOUND: Counter = "health.service.not-found" ["service"];
    /// Health queries for the proxies of a service.
    HEALTH_CONNECT_QUERY: Counter = "health.connect.query" ["service"];
    /// Health queries for the proxies of a service with tags, by the last of them.
    HEALTH_CONNECT_QUERY_TAGS: Counter = "health.connect.query-tags" ["service", "tag"];
    /// Health queries for the proxies of a service that found nothing.
    HEALTH_CONNECT_NOT_FOUND: Counter = "health.connect.not-found" ["service"];
    /// Time to write to the KV store.
    KVS_APPLY: Timer = "kvs.apply" [];
    /// Time to write a session.
    SESSION_APPLY: Timer = "session.apply" [];
    /// Time to renew a session.
    SESSION_RENEW: Timer = "session.renew" [];
    /// Time to end a session whose time is over.
    SESSION_TTL_INVALIDATE: Timer = "session_ttl.invalidate" [];
    /// Sessions with a time to live.
    SESSION_TTL_ACTIVE: Gauge = "session_ttl.active" [];
    /// Time to apply a transaction.
    TXN_APPLY: Timer = "txn.apply" [];
    /// Time to read in a transaction.
    TXN_READ: Timer = "txn.read" [];
    /// Time to write a prepared query.
    PREPARED_QUERY_APPLY: Timer = "prepared-query.apply" [];
    /// Time to run a prepared query.
    PREPARED_QUERY_EXECUTE: Timer = "prepared-query.execute" [];
    /// Time to run a prepared query for another datacenter.
    PREPARED_QUERY_EXECUTE_REMOTE: Timer = "prepared-query.execute_remote" [];
    /// Time to explain a prepared query.
    PREPARED_QUERY_EXPLAIN: Timer = "prepared-query.explain" [];
    /// Time to write the state of a datacenter.
    FEDERATION_STATE_APPLY: Timer = "federation_state.apply" [];
    /// Time to write an intention.
    INTENTION_APPLY: Timer = "intention.apply" [];
    /// Time to write a config entry.
    CONFIG_ENTRY_APPLY: Timer = "config_entry.apply" [];
    /// Time to delete a config entry.
    CONFIG_ENTRY_DELETE: Timer = "config_entry.delete" [];
    /// Time to read a config entry.
    CONFIG_ENTRY_GET: Timer = "config_entry.get" [];
    /// Time to list config entries of a kind.
    CONFIG_ENTRY_LIST: Timer = "config_entry.list" [];
    /// Time to write or delete ACL objects.
    ACL_ENDPOINT: Timer = "acl.<object>" [];

    // The state machine.
    /// Time to apply a registration.
    FSM_REGISTER: Timer = "fsm.register" [];
    /// Time to apply a deregistration.
    FSM_DEREGISTER: Timer = "fsm.deregister" [];
    /// Time to apply a KV operation.
    FSM_KVS: Timer = "fsm.kvs" ["op"];
    /// Time to apply a session operation.
    FSM_SESSION: Timer = "fsm.session" ["op"];
    /// Time to apply the collection of tombstones.
    FSM_TOMBSTONE: Timer = "fsm.tombstone" ["op"];
    /// Time to apply coordinates.
    FSM_COORDINATE_BATCH_UPDATE: Timer = "fsm.coordinate.batch-update" [];
    /// Time to apply a prepared query.
    FSM_PREPARED_QUERY: Timer = "fsm.prepared-query" ["op"];
    /// Time to apply a transaction.
    FSM_TXN: Timer = "fsm.txn" [];
    /// Time to apply the autopilot configuration.
    FSM_AUTOPILOT: Timer = "fsm.autopilot" [];
    /// Time to write a snapshot.
    FSM_PERSIST: Timer = "fsm.persist" [];
    /// Time to apply an intention.
    FSM_INTENTION: Timer = "fsm.intention" ["op"];
    /// Time to apply a change of the certificate authority.
    FSM_CA: Timer = "fsm.ca" ["op"];
    /// Time to apply a change of the certificate authority, under an older name.
    CONSUL_FSM_CA: Timer = "consul.fsm.ca" ["op"];
    /// Time to apply a change of an ACL object.
    FSM_ACL: Timer = "fsm.acl.<object>" ["op"];
    /// Time to apply a config entry.
    FSM_CONFIG_ENTRY: Timer = "fsm.config_entry.<kind>" ["op"];
    /// Time to apply system metadata.
    FSM_SYSTEM_METADATA: Timer = "fsm.system_metadata" ["op"];

    // Snapshots that a server saves by itself; not metrics of Consul.
    /// Scheduled snapshots that were saved.
    SNAPSHOT_SCHEDULE_SAVED: Counter = "snapshot.schedule.saved" [];
    /// Scheduled snapshots that were not saved.
    SNAPSHOT_SCHEDULE_FAILED: Counter = "snapshot.schedule.failed" [];

    // The leader.
    /// Time until all that was committed is applied.
    LEADER_BARRIER: Timer = "leader.barrier" [];
    /// Time to reconcile the catalog with the members.
    LEADER_RECONCILE: Timer = "leader.reconcile" [];
    /// Time to reconcile one member.
    LEADER_RECONCILE_MEMBER: Timer = "leader.reconcileMember" [];
    /// Time to collect tombstones.
    LEADER_REAP_TOMBSTONES: Timer = "leader.reapTombstones" [];
    /// 1 on the leader, 0 on other servers.
    SERVER_IS_LEADER: Gauge = "server.isLeader" [];
    /// 1 while all servers are healthy, else 0; set by the leader.
    AUTOPILOT_HEALTHY: Gauge = "autopilot.healthy" [];
    /// How many servers may fail; set by the leader.
    AUTOPILOT_FAILURE_TOLERANCE: Gauge = "autopilot.failure_tolerance" [];

    // Consensus.
    /// Entries that were proposed.
    RAFT_APPLY: Counter = "raft.apply" [];
    /// Barriers that were proposed.
    RAFT_BARRIER: Counter = "raft.barrier" [];
    /// Confirmations of leadership.
    RAFT_VERIFY_LEADER: Counter = "raft.verify_leader" [];
    /// Snapshots that were restored.
    RAFT_RESTORE: Counter = "raft.restore" [];
    /// Times this server became a follower.
    RAFT_STATE_FOLLOWER: Counter = "raft.state.follower" [];
    /// Times this server became a candidate.
    RAFT_STATE_CANDIDATE: Counter = "raft.state.candidate" [];
    /// Times this server became the leader.
    RAFT_STATE_LEADER: Counter = "raft.state.leader" [];
    /// Elections that began because no leader was heard.
    RAFT_TRANSITION_HEARTBEAT_TIMEOUT: Counter = "raft.transition.heartbeat_timeout" [];
    /// Times this leader stepped down because it did not reach a quorum.
    RAFT_TRANSITION_LEADER_LEASE_TIMEOUT: Counter = "raft.transition.leader_lease_timeout" [];
    /// The last entry that was applied.
    RAFT_APPLIED_INDEX: Gauge = "raft.applied_index" [];
    /// The last entry in the log.
    RAFT_LAST_INDEX: Gauge = "raft.last_index" [];
    /// Servers that vote or will vote.
    RAFT_PEERS: Gauge = "raft.peers" [];
    /// Entries that were committed at once.
    RAFT_COMMIT_NUM_LOGS: Gauge = "raft.commitNumLogs" [];
    /// Entries that the leader wrote at once.
    RAFT_LEADER_DISPATCH_NUM_LOGS: Gauge = "raft.leader.dispatchNumLogs" [];
    /// Age of the oldest entry in the log, milliseconds.
    RAFT_LEADER_OLDEST_LOG_AGE: Gauge = "raft.leader.oldestLogAge" [];
    /// Duration of the last restore, milliseconds.
    RAFT_FSM_LAST_RESTORE_DURATION: Gauge = "raft.fsm.lastRestoreDuration" [];
    /// Time from the proposal of an entry to its commit.
    RAFT_COMMIT_TIME: Timer = "raft.commitTime" [];
    /// Time the leader takes to write entries.
    RAFT_LEADER_DISPATCH_LOG: Timer = "raft.leader.dispatchLog" [];
    /// Milliseconds since the leader last heard a quorum.
    RAFT_LEADER_LAST_CONTACT: Sample = "raft.leader.lastContact" [];
    /// Time to apply one entry.
    RAFT_FSM_APPLY: Timer = "raft.fsm.apply" [];
    /// Time to apply a batch of entries.
    RAFT_FSM_APPLY_BATCH: Timer = "raft.fsm.applyBatch" [];
    /// Entries that were applied as a batch.
    RAFT_FSM_APPLY_BATCH_NUM: Sample = "raft.fsm.applyBatchNum" [];
    /// Time to hand entries to the state machine.
    RAFT_FSM_ENQUEUE: Timer = "raft.fsm.enqueue" [];
    /// Time to restore a snapshot.
    RAFT_FSM_RESTORE: Timer = "raft.fsm.restore" [];
    /// Time to begin a snapshot.
    RAFT_FSM_SNAPSHOT: Timer = "raft.fsm.snapshot" [];
    /// The part of its time in which the consensus thread works, from 0 to 1.
    RAFT_THREAD_MAIN_SATURATION: Sample = "raft.thread.main.saturation" [];
    /// The part of its time in which the state machine works, from 0 to 1.
    RAFT_THREAD_FSM_SATURATION: Sample = "raft.thread.fsm.saturation" [];
    /// Time to restore a snapshot that an operator gave.
    RAFT_RESTORE_USER_SNAPSHOT: Timer = "raft.restoreUserSnapshot" [];
    /// Time of an election.
    RAFT_CANDIDATE_ELECT_SELF: Timer = "raft.candidate.electSelf" [];
    /// Time to cut the log after a snapshot.
    RAFT_COMPACT_LOGS: Timer = "raft.compactLogs" [];
    /// Time to answer a request to append.
    RAFT_RPC_APPEND_ENTRIES: Timer = "raft.rpc.appendEntries" [];
    /// Time to answer a heartbeat.
    RAFT_RPC_PROCESS_HEARTBEAT: Timer = "raft.rpc.processHeartbeat" [];
    /// Time to answer a request for a vote.
    RAFT_RPC_REQUEST_VOTE: Timer = "raft.rpc.requestVote" [];
    /// Time to take a snapshot from the leader.
    RAFT_RPC_INSTALL_SNAPSHOT: Timer = "raft.rpc.installSnapshot" [];
    /// Time to make a place for a snapshot.
    RAFT_SNAPSHOT_CREATE: Timer = "raft.snapshot.create" [];
    /// Time to write a snapshot.
    RAFT_SNAPSHOT_PERSIST: Timer = "raft.snapshot.persist" [];
    /// Time to take a snapshot, all in all.
    RAFT_SNAPSHOT_TAKE_SNAPSHOT: Timer = "raft.snapshot.takeSnapshot" [];
    /// Time of heartbeats to a peer.
    RAFT_REPLICATION_HEARTBEAT: Timer = "raft.replication.heartbeat" ["peer_id"];
    /// Time to send entries to a peer.
    RAFT_REPLICATION_APPEND_ENTRIES_RPC: Timer = "raft.replication.appendEntries.rpc" ["peer_id"];
    /// Entries that were sent to a peer.
    RAFT_REPLICATION_APPEND_ENTRIES_LOGS: Counter =
        "raft.replication.appendEntries.logs" ["peer_id"];
    /// Time to send a snapshot to a peer.
    RAFT_REPLICATION_INSTALL_SNAPSHOT: Timer = "raft.replication.installSnapshot" ["peer_id"];

    // The log.
    /// Bytes of entries written.
    RAFT_WAL_LOG_ENTRY_BYTES_WRITTEN: Counter = "raft.wal.log_entry_bytes_written" [];
    /// Entries written.
    RAFT_WAL_LOG_ENTRIES_WRITTEN: Counter = "raft.wal.log_entries_written" [];
    /// Writes of entries.
    RAFT_WAL_LOG_APPENDS: Counter = "raft.wal.log_appends" [];
    /// Bytes of entries read.
    RAFT_WAL_LOG_ENTRY_BYTES_READ: Counter = "raft.wal.log_entry_bytes_read" [];
    /// Entries read.
    RAFT_WAL_LOG_ENTRIES_READ: Counter = "raft.wal.log_entries_read" [];
    /// Segments that were begun.
    RAFT_WAL_SEGMENT_ROTATIONS: Counter = "raft.wal.segment_rotations" [];
    /// Entries cut from the front of the log.
    RAFT_WAL_HEAD_TRUNCATIONS: Counter = "raft.wal.head_truncations" [];
    /// Entries cut from the end of the log.
    RAFT_WAL_TAIL_TRUNCATIONS: Counter = "raft.wal.tail_truncations" [];
    /// Reads of terms and votes.
    RAFT_WAL_STABLE_GETS: Counter = "raft.wal.stable_gets" [];
    /// Writes of terms and votes.
    RAFT_WAL_STABLE_SETS: Counter = "raft.wal.stable_sets" [];
    /// Seconds from the start of the last full segment to its end.
    RAFT_WAL_LAST_SEGMENT_AGE_SECONDS: Gauge = "raft.wal.last_segment_age_seconds" [];

    // The machine, where enable_host_metrics is on.
    /// Bytes of memory of the machine.
    HOST_MEMORY_TOTAL: Gauge = "host.memory.total" [];
    /// Bytes of memory that programs could have.
    HOST_MEMORY_AVAILABLE: Gauge = "host.memory.available" [];
    /// Bytes of memory that nothing uses.
    HOST_MEMORY_FREE: Gauge = "host.memory.free" [];
    /// Bytes of memory that programs use.
    HOST_MEMORY_USED: Gauge = "host.memory.used" [];
    /// Share of memory that programs use, per cent.
    HOST_MEMORY_USED_PERCENT: Gauge = "host.memory.used_percent" [];
    /// Share of time for programs, per cent.
    HOST_CPU_USER: Gauge = "host.cpu.user" ["cpu"];
    /// Share of time for the system, per cent.
    HOST_CPU_SYSTEM: Gauge = "host.cpu.system" ["cpu"];
    /// Share of time without work, per cent.
    HOST_CPU_IDLE: Gauge = "host.cpu.idle" ["cpu"];
    /// Share of time waiting for disks, per cent.
    HOST_CPU_IOWAIT: Gauge = "host.cpu.iowait" ["cpu"];
    /// Share of time with work, per cent.
    HOST_CPU_TOTAL: Gauge = "host.cpu.total" ["cpu"];
    /// Bytes of the file system.
    HOST_DISK_SIZE: Gauge = "host.disk.size" ["path"];
    /// Bytes used of the file system.
    HOST_DISK_USED: Gauge = "host.disk.used" ["path"];
    /// Bytes left of the file system.
    HOST_DISK_AVAILABLE: Gauge = "host.disk.available" ["path"];
    /// Share used of the file system, per cent.
    HOST_DISK_USED_PERCENT: Gauge = "host.disk.used_percent" ["path"];
    /// Share used of the inodes of the file system, per cent.
    HOST_DISK_INODES_PERCENT: Gauge = "host.disk.inodes_percent" ["path"];
    /// Seconds since the machine started.
    HOST_UPTIME: Gauge = "host.uptime" [];

    // Gossip.
    /// User events.
    SERF_EVENTS: Counter = "serf.events" ["network"];
    /// User events of one name.
    SERF_EVENTS_NAMED: Counter = "serf.events.<name>" ["network"];
    /// Queries among members.
    SERF_QUERIES: Counter = "serf.queries" ["network"];
    /// Queries of one name.
    SERF_QUERIES_NAMED: Counter = "serf.queries.<name>" ["network"];
    /// Members that said they have a query of this agent.
    SERF_QUERY_ACKS: Counter = "serf.query_acks" ["network"];
    /// Members that said so again.
    SERF_QUERY_DUPLICATE_ACKS: Counter = "serf.query_duplicate_acks" ["network"];
    /// Answers to queries of this agent.
    SERF_QUERY_RESPONSES: Counter = "serf.query_responses" ["network"];
    /// Answers that came before.
    SERF_QUERY_DUPLICATE_RESPONSES: Counter = "serf.query_duplicate_responses" ["network"];
    /// Members that joined.
    SERF_MEMBER_JOIN: Counter = "serf.member.join" ["network"];
    /// Members that changed.
    SERF_MEMBER_UPDATE: Counter = "serf.member.update" ["network"];
    /// Members that failed and soon joined again.
    SERF_MEMBER_FLAP: Counter = "serf.member.flap" ["network"];
    /// Members that left.
    SERF_MEMBER_LEFT: Counter = "serf.member.left" ["network"];
    /// Members that failed.
    SERF_MEMBER_FAILED: Counter = "serf.member.failed" ["network"];
    /// Coordinates of members that cannot be measured with.
    SERF_COORDINATE_REJECTED: Counter = "serf.coordinate.rejected" ["network"];
    /// Members that answered in no time.
    SERF_COORDINATE_ZERO_RTT: Counter = "serf.coordinate.zero-rtt" ["network"];
    /// How far a sample moved this agent, in milliseconds.
    SERF_COORDINATE_ADJUSTMENT_MS: Sample = "serf.coordinate.adjustment-ms" ["network"];
    /// Bytes of messages that were sent.
    SERF_MSGS_SENT: Sample = "serf.msgs.sent" ["network"];
    /// Bytes of messages that were received.
    SERF_MSGS_RECEIVED: Sample = "serf.msgs.received" ["network"];
    /// Events that wait to be passed on.
    SERF_QUEUE_EVENT: Sample = "serf.queue.Event" ["network"];
    /// Intents that wait to be passed on.
    SERF_QUEUE_INTENT: Sample = "serf.queue.Intent" ["network"];
    /// Queries that wait to be passed on.
    SERF_QUEUE_QUERY: Sample = "serf.queue.Query" ["network"];
    /// Time to append lines to the snapshot.
    SERF_SNAPSHOT_APPEND_LINE: Timer = "serf.snapshot.appendLine" ["network"];
    /// Time to write the snapshot anew.
    SERF_SNAPSHOT_COMPACT: Timer = "serf.snapshot.compact" ["network"];
    /// Messages about members that are alive.
    MEMBERLIST_MSG_ALIVE: Counter = "memberlist.msg.alive" ["network"];
    /// Messages about members that may have failed.
    MEMBERLIST_MSG_SUSPECT: Counter = "memberlist.msg.suspect" ["network"];
    /// Messages about members that failed.
    MEMBERLIST_MSG_DEAD: Counter = "memberlist.msg.dead" ["network"];
    /// Probes that took longer because this agent takes itself to be unwell.
    MEMBERLIST_DEGRADED_PROBE: Counter = "memberlist.degraded.probe" ["network"];
    /// Members that failed with fewer confirmations than expected.
    MEMBERLIST_DEGRADED_TIMEOUT: Counter = "memberlist.degraded.timeout" ["network"];
    /// Bytes sent in datagrams.
    MEMBERLIST_UDP_SENT: Counter = "memberlist.udp.sent" ["network"];
    /// Bytes received in datagrams.
    MEMBERLIST_UDP_RECEIVED: Counter = "memberlist.udp.received" ["network"];
    /// Connections that were accepted.
    MEMBERLIST_TCP_ACCEPT: Counter = "memberlist.tcp.accept" ["network"];
    /// Connections that were made.
    MEMBERLIST_TCP_CONNECT: Counter = "memberlist.tcp.connect" ["network"];
    /// Bytes sent over connections.
    MEMBERLIST_TCP_SENT: Counter = "memberlist.tcp.sent" ["network"];
    /// Time to gossip once.
    MEMBERLIST_GOSSIP: Timer = "memberlist.gossip" ["network"];
    /// Time to probe a member.
    MEMBERLIST_PROBE_NODE: Timer = "memberlist.probeNode" ["network"];
    /// Time to exchange state with a member.
    MEMBERLIST_PUSH_PULL_NODE: Timer = "memberlist.pushPullNode" ["network"];
    /// How well this agent hears others: 0 is best, 8 is worst.
    MEMBERLIST_HEALTH_SCORE: Gauge = "memberlist.health.score" ["network"];
    /// Members, by state.
    MEMBERLIST_NODE_INSTANCES: Gauge = "memberlist.node.instances" ["network", "node_state"];
}

/// Metrics of parts that are not built yet. They are declared all the same, so that a
/// dashboard finds a zero.
pub static LATER: &[&MetricName] = &[
    DNS_STALE_QUERIES.metric(),
    ACL_RESOLVE_TOKEN.metric(),
    ACL_TOKEN_CACHE_HIT.metric(),
    ACL_TOKEN_CACHE_MISS.metric(),
    ACL_BLOCKED_CHECK_DEREGISTRATION.metric(),
    ACL_BLOCKED_CHECK_REGISTRATION.metric(),
    ACL_BLOCKED_SERVICE_DEREGISTRATION.metric(),
    ACL_BLOCKED_SERVICE_REGISTRATION.metric(),
    ACL_BLOCKED_NODE_REGISTRATION.metric(),
    STATE_PEERINGS.metric(),
    STATE_CONFIG_ENTRIES.metric(),
    RPC_RATE_LIMIT_EXCEEDED.metric(),
    RPC_RATE_LIMIT_LOG_DROPPED.metric(),
    INTENTION_APPLY.metric(),
    CONFIG_ENTRY_APPLY.metric(),
    CONFIG_ENTRY_DELETE.metric(),
    CONFIG_ENTRY_GET.metric(),
    CONFIG_ENTRY_LIST.metric(),
    ACL_ENDPOINT.metric(),
    FSM_INTENTION.metric(),
    FSM_ACL.metric(),
    FSM_CONFIG_ENTRY.metric(),
    RAFT_LEADER_LAST_CONTACT.metric(),
    RAFT_CANDIDATE_ELECT_SELF.metric(),
    RAFT_WAL_LOG_ENTRY_BYTES_READ.metric(),
    RAFT_WAL_LOG_ENTRIES_READ.metric(),
    RAFT_WAL_SEGMENT_ROTATIONS.metric(),
    RAFT_WAL_STABLE_GETS.metric(),
    RAFT_WAL_LAST_SEGMENT_AGE_SECONDS.metric(),
    MEMBERLIST_GOSSIP.metric(),
    MEMBERLIST_PROBE_NODE.metric(),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_help() {
        let mut seen = BTreeSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} is there twice", metric.name);
            assert!(metric.help.ends_with('.'), "{}: {:?}", metric.name, metric.help);
            let known = |c: char| c.is_ascii_alphanumeric() || "._-<>".contains(c);
            assert!(metric.name.chars().all(known), "{}", metric.name);
            assert_eq!(metric.name.matches('<').count(), metric.name.matches('>').count());
            let labels: BTreeSet<_> = metric.labels.iter().collect();
            assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        }
    }
}
