//! Calls to a real Consul server, where one is on this machine.

#[path = "support/authority.rs"]
mod authority;
#[path = "support/consul.rs"]
mod consul;

use std::path::PathBuf;
use std::time::Duration;

use authority::Authority;
use bytes::Bytes;
use rpc::{Dial, Pool, PoolOptions, RpcError, ServerAddr, Tls, TlsSettings};
use serde::{Deserialize, Serialize};
use types::{Blob, msgpack};

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyRequest {
    datacenter: String,
    key: String,
    min_query_index: u64,
    max_query_time: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KvsRequest {
    datacenter: String,
    op: String,
    dir_ent: Entry,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    key: String,
    value: Blob,
    modify_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entries {
    entries: Option<Vec<Entry>>,
    index: u64,
}

struct Client {
    pool: Pool,
    server: ServerAddr,
}

impl Client {
    async fn put(&self, key: &str, value: &[u8]) {
        let dir_ent = Entry {
            key: key.to_owned(),
            value: Bytes::copy_from_slice(value).into(),
            modify_index: 0,
        };
        let request = KvsRequest { datacenter: "dc1".into(), op: "set".into(), dir_ent };
        let args = msgpack::to_vec(&request).into();
        // The reply tells something for other operations only.
        self.pool.call(&self.server, "KVS.Apply", args, DEADLINE).await.unwrap();
    }

    async fn get(&self, key: &str, index: u64, wait: Duration) -> Result<Entries, RpcError> {
        let request = KeyRequest {
            datacenter: "dc1".to_owned(),
            key: key.to_owned(),
            min_query_index: index,
            max_query_time: wait.as_nanos() as i64,
        };
        let args = msgpack::to_vec(&request).into();
        let reply = self.pool.call(&self.server, "KVS.Get", args, DEADLINE).await?;
        Ok(msgpack::from_slice(&reply).unwrap())
    }
}

#[expect(clippy::print_stderr, reason = "who runs the tests is to know what was left out")]
fn find() -> Option<PathBuf> {
    let consul = consul::find();
    if consul.is_none() {
        eprintln!("skipped: there is no Consul 1.8.7 (CONSUL_1_8)");
    }
    consul
}

async fn start() -> Option<(consul::Agent, Client)> {
    let consul = find()?;
    let pool = Pool::new(PoolOptions::default());
    let agent = consul::Agent::start(&consul, "", &pool).await;
    let server = agent.server.clone();
    Some((agent, Client { pool, server }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_answers_calls_of_all_kinds() {
    let Some((_agent, client)) = start().await else { return };
    let Client { pool, server } = &client;
    let empty = || Bytes::from_static(b"\x80");

    assert_eq!(pool.call(server, "Status.Ping", empty(), DEADLINE).await, Ok(empty()));
    for (method, text) in [
        ("Foo.Bar", "rpc: can't find service Foo.Bar"),
        ("Status.Foo", "rpc: can't find method Status.Foo"),
        ("Foo", "rpc: service/method request ill-formed: Foo"),
    ] {
        let outcome = pool.call(server, method, empty(), DEADLINE).await;
        assert_eq!(outcome, Err(RpcError::Remote(text.to_owned())));
    }

    client.put("a", b"one").await;
    let first = client.get("a", 0, Duration::ZERO).await.unwrap();
    assert_eq!(first.entries.unwrap()[0].value[..], *b"one");

    // Windows are crossed in both directions.
    let large: Vec<u8> = (0..500_000_u32).map(|index| index as u8).collect();
    for round in 0..8 {
        let key = format!("large/{round}");
        client.put(&key, &large).await;
        let got = client.get(&key, 0, Duration::ZERO).await.unwrap();
        assert_eq!(got.entries.unwrap()[0].value[..], large[..]);
    }

    // A query that waits is answered when its key changes, beside other calls.
    let (waited, ()) = tokio::join!(client.get("a", first.index, Duration::from_secs(15)), async {
        client.get("a", 0, Duration::ZERO).await.unwrap();
        client.put("a", b"two").await;
    });
    let waited = waited.unwrap();
    assert!(waited.index > first.index);
    assert_eq!(waited.entries.unwrap()[0].value[..], *b"two");

    // One that waits in vain does not harm its connection when it is given up.
    let args = KeyRequest {
        datacenter: "dc1".into(),
        key: "a".into(),
        min_query_index: waited.index,
        ..KeyRequest::default()
    };
    let args: Bytes = msgpack::to_vec(&args).into();
    let outcome = pool.call(server, "KVS.Get", args, Duration::from_millis(100)).await;
    assert_eq!(outcome, Err(RpcError::Timeout));
    client.put("a", b"three").await;
    assert_eq!(pool.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_answers_many_streams_at_once() {
    let Some((_agent, client)) = start().await else { return };
    client.put("seen", b"0").await;
    let index = client.get("seen", 0, Duration::ZERO).await.unwrap().index;
    let client = std::sync::Arc::new(client);
    let waiting: Vec<_> = (0..1000)
        .map(|_| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move { client.get("seen", index, Duration::from_secs(15)).await })
        })
        .collect();
    client.put("other", b"1").await;
    client.put("seen", b"1").await;
    for task in waiting {
        let entries = task.await.unwrap().unwrap().entries.unwrap();
        assert_eq!(entries[0].value[..], *b"1");
    }
    assert_eq!(client.pool.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_that_verifies_takes_our_certificate() {
    let Some(consul) = find() else { return };
    let authority = Authority::new();
    let (certificate, key) = authority.issue("server.dc1.consul");
    let configuration = format!(
        "ca_file = {:?}\ncert_file = {certificate:?}\nkey_file = {key:?}\n\
         verify_incoming = true\nverify_outgoing = true\nverify_server_hostname = true\n\
         auto_encrypt {{ allow_tls = true }}",
        authority.ca_file()
    );
    let pool_of = |settings: &TlsSettings| {
        let dial = Dial { tls: Some(Tls::new(settings).unwrap()), ..Dial::default() };
        Pool::new(PoolOptions { dial, ..PoolOptions::default() })
    };
    let pool = pool_of(&authority.strict("client.dc1.consul"));
    let agent = consul::Agent::start(&consul, &configuration, &pool).await;
    let server = agent.server.clone();
    let client = Client { pool, server: server.clone() };
    let large = vec![7; 500_000];
    client.put("large", &large).await;
    let got = client.get("large", 0, Duration::ZERO).await.unwrap();
    assert_eq!(got.entries.unwrap()[0].value[..], large[..]);

    let empty = || Bytes::from_static(b"\x80");
    let plain = Pool::new(PoolOptions::default());
    assert!(plain.call(&server, "Status.Ping", empty(), DEADLINE).await.is_err());
    let bare = TlsSettings { verify_server_hostname: true, ..authority.settings() };
    let bare = pool_of(&bare);
    assert!(bare.call(&server, "Status.Ping", empty(), DEADLINE).await.is_err());
    // Behind byte 7 it answers all the same, and only what it must.
    let refused = bare.call_insecure(&server, "Status.Ping", empty(), DEADLINE).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "rpcinsecure: error making call: rpc: can't find service Status.Ping"
    );
    let asked = bare.call_insecure(&server, "AutoEncrypt.Sign", empty(), DEADLINE).await;
    let refused = asked.unwrap_err().to_string();
    assert!(refused.starts_with("rpcinsecure: error making call: "), "{refused}");
    assert!(!refused.contains("can't find"), "{refused}");
}
