//! Pools of ours together with real agents of serf and Consul, where these are on this machine.

use std::path::PathBuf;
use std::time::Duration;

use agent::gossip::{Pool, PoolKind, PoolOptions};
use bytes::Bytes;
use gossip::consul::{
    Build, ClientTags, MergeRules, Server, ServerTags, USER_EVENT_PREFIX, wan_name,
};
use gossip::serf::{Event, KeyOperation, Snapshot};
use gossip::wire::Key;
use types::SecretId;
use types::user_event::UserEvent;

use super::pool::{join, member, next_event, options, own_ip, start, until, until_status};
use super::serf::{self, Agent};

const KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQ==";
const OTHER_KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";

#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know what was not run")]
fn serf() -> Option<PathBuf> {
    let found = serf::find();
    if found.is_none() {
        eprintln!("skipped: there is no serf 0.10 (SERF_0_10)");
    }
    found
}

async fn until_seen(agent: &Agent, name: &str, status: &str) {
    until(&format!("serf sees {name} as {status:?}"), async || agent.status(name) == status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_joins_a_real_agent_and_both_see_each_other_come_change_and_go() {
    let Some(serf) = serf() else { return };
    let mut real = Agent::start(&serf, "real", own_ip(), &[]).await;
    let ours = start(options("ours")).await;
    join(&ours, real.address).await;

    until_status(&ours, "real", "alive").await;
    until_seen(&real, "ours", "alive").await;
    let seen = real.member("ours").expect("it was seen");
    assert_eq!(seen.addr, ours.address().to_string());
    assert_eq!(seen.tags.get("role").map(String::as_str), Some("ours"));
    let seen = member(&ours, "real").expect("it was seen");
    assert_eq!((seen.addr, seen.port), (real.address.ip().to_string(), real.address.port()));
    assert_eq!(seen.tags.get("role").map(String::as_str), Some("web"));

    // Both say something else of themselves.
    real.say("tags", &["-set=color=blue"]);
    let blue = || member(&ours, "real").is_some_and(|real| real.tags.contains_key("color"));
    until("ours sees the new tag", async || blue()).await;
    let tags = [("role".to_owned(), "changed".to_owned())];
    ours.set_tags(tags.into()).await.unwrap();
    let tag = || real.member("ours").and_then(|ours| ours.tags.get("role").cloned());
    until("serf sees the new tag", async || tag().as_deref() == Some("changed")).await;

    // It fails, comes back, and leaves.
    real.kill();
    until_status(&ours, "real", "failed").await;
    let ip = real.address.ip().to_string().parse().unwrap();
    drop(real);
    let real = Agent::start(&serf, "real", ip, &[]).await;
    real.say("join", &[&ours.address().to_string()]);
    until_status(&ours, "real", "alive").await;
    until_seen(&real, "ours", "alive").await;
    real.say("leave", &[]);
    until_status(&ours, "real", "left").await;
    ours.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_agent_sees_ours_leave_fail_and_come_back() {
    let Some(serf) = serf() else { return };
    let real = Agent::start(&serf, "real", own_ip(), &[]).await;
    let ours_options = options("ours");
    let ours = start(ours_options.clone()).await;
    real.say("join", &[&ours.address().to_string()]);
    until_seen(&real, "ours", "alive").await;
    until_status(&ours, "real", "alive").await;
    ours.leave().await.unwrap();
    until_seen(&real, "ours", "left").await;
    ours.shutdown().await;

    let ours = start(ours_options.clone()).await;
    let third = start(options("third")).await;
    for pool in [&ours, &third] {
        join(pool, real.address).await;
    }
    until_seen(&real, "ours", "alive").await;
    until_status(&third, "ours", "alive").await;
    ours.shutdown().await;
    until_seen(&real, "ours", "failed").await;

    // Its word on one that failed is ours too, and ours is its.
    until_status(&third, "ours", "failed").await;
    third.force_leave("ours", false).await.unwrap();
    until_seen(&real, "ours", "left").await;
    until_status(&third, "ours", "left").await;
    real.say("force-leave", &["-prune", "ours"]);
    until_status(&third, "ours", "").await;
    until_seen(&real, "ours", "").await;
    third.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_either_is_read_by_the_other() {
    let Some(serf) = serf() else { return };
    let folder = tempfile::tempdir().unwrap();
    let stays = start(options("stays")).await;
    let mut ours = options("ours");
    ours.folder = Some(folder.path().join("serf"));
    let ours = start(ours).await;
    let real = Agent::start(&serf, "real", own_ip(), &[]).await;
    for pool in [&ours, &stays] {
        join(pool, real.address).await;
    }
    until_status(&ours, "stays", "alive").await;

    // Serf writes a line only when the next one comes.
    let read = || Snapshot::read(real.snapshot().as_bytes(), false);
    let knows = || read().0.alive().any(|(name, at)| name == "ours" && at == ours.address());
    until("serf has written its snapshot", async || {
        ours.user_event("deploy".to_owned(), Bytes::new(), false).await.unwrap();
        knows() && read().0.clocks()[1].0 > 0
    })
    .await;
    assert_eq!(read().1.count, 0, "{}", real.snapshot());

    let file = folder.path().join("serf/local.snapshot");
    let written = || std::fs::read_to_string(&file).unwrap();
    until("ours is written", async || {
        written().contains("alive: stays ") && written().contains("event-clock: ")
    })
    .await;
    ours.shutdown().await;
    drop(real);
    let again = format!("-snapshot={}", file.display());
    let real = Agent::start(&serf, "real", own_ip(), &[&again]).await;
    until_status(&stays, "real", "alive").await;
    assert!(!real.log().contains("Unrecognized snapshot line"), "{}", real.log());
    stays.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_events_go_both_ways_once() {
    let Some(serf) = serf() else { return };
    let real = Agent::start(&serf, "real", own_ip(), &[]).await;
    let ours = start(options("ours")).await;
    let other = start(options("other")).await;
    for pool in [&ours, &other] {
        join(pool, real.address).await;
    }
    until_status(&ours, "other", "alive").await;
    until_seen(&real, "other", "alive").await;
    let (mut events, mut own_events) = (other.events(), ours.events());
    let user = |event: &Event| matches!(event, Event::User(_));
    real.say("event", &["-coalesce=false", "deploy", "v1"]);
    let Event::User(deploy) = next_event(&mut events, user).await else { unreachable!() };
    assert_eq!((deploy.name.as_str(), &deploy.payload[..]), ("deploy", &b"v1"[..]));

    // Who has not heard of the first event would send the next at the same time.
    next_event(&mut own_events, user).await;
    ours.user_event("restart".to_owned(), Bytes::from_static(b"now"), false).await.unwrap();
    let Event::User(restart) = next_event(&mut events, user).await else { unreachable!() };
    assert_eq!((restart.name.as_str(), &restart.payload[..]), ("restart", &b"now"[..]));
    assert!(restart.lamport_time > deploy.lamport_time);
    let told = || real.events().contains("restart 2\nnow\n");
    until("serf has the event", async || told()).await;
    assert_eq!(real.events().matches("restart").count(), 1);

    // Whoever joins with old events gets them with the state.
    let late = start(options("late")).await;
    let mut events = late.events();
    real.say("join", &["-replay", &late.address().to_string()]);
    let Event::User(deploy) = next_event(&mut events, user).await else { unreachable!() };
    assert_eq!(deploy.name, "deploy");
    for pool in [ours, other, late] {
        pool.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_agent_asks_all_and_hears_of_ours() {
    let Some(serf) = serf() else { return };
    let real = Agent::start(&serf, "real", own_ip(), &[]).await;
    let ours = start(options("ours")).await;
    join(&ours, real.address).await;
    until_seen(&real, "ours", "alive").await;
    for (arguments, acks) in [
        (&["-timeout=2s", "-format=json", "load"][..], true),
        (&["-timeout=2s", "-format=json", "-tag=role=our.*", "load"], true),
        (&["-timeout=2s", "-format=json", "-node=ours", "-relay-factor=1", "load"], true),
        (&["-timeout=1s", "-format=json", "-tag=role=^web$", "load"], false),
    ] {
        let said = real.say("query", arguments);
        let said: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
        let acked = said["Acks"].as_array().is_some_and(|acks| acks.contains(&"ours".into()));
        assert_eq!(acked, acks, "{arguments:?}: {said}");
    }
    // `reachability` asks with serf's own ping.
    let said = real.say("reachability", &[]);
    assert!(said.contains("Successfully contacted all live nodes"), "{said}");
    ours.shutdown().await;
}

fn encrypted(name: &str, key: &str) -> PoolOptions {
    let mut options = options(name);
    options.encrypt = Some(SecretId::from(key));
    options
}

async fn listed(pool: &Pool) -> Vec<(String, usize)> {
    let answers = pool.key_operation(KeyOperation::List, 0).await.unwrap();
    assert_eq!(answers.error(), None, "{answers:?}");
    answers.keys.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_whole_pool_are_changed_from_either_side() {
    let Some(serf) = serf() else { return };
    let folder = tempfile::tempdir().unwrap();
    let real_keys = folder.path().join("keys");
    std::fs::write(&real_keys, format!("[\"{KEY}\"]")).unwrap();
    let keyring = format!("-keyring-file={}", real_keys.display());
    let real = Agent::start(&serf, "real", own_ip(), &[&keyring]).await;
    let mut ours_options = encrypted("ours", KEY);
    ours_options.folder = Some(folder.path().join("serf"));
    let ours = start(ours_options).await;
    join(&ours, real.address).await;
    until_seen(&real, "ours", "alive").await;
    until_status(&ours, "real", "alive").await;
    assert_eq!(listed(&ours).await, [(KEY.to_owned(), 2)]);

    // Rotated by serf.
    let said = real.say("keys", &["-install", OTHER_KEY]);
    assert!(said.contains("Successfully installed key"), "{said}");
    real.say("keys", &["-use", OTHER_KEY]);
    real.say("keys", &["-remove", KEY]);
    let said = real.say("keys", &["-list"]);
    assert!(said.contains(&format!("{OTHER_KEY}  [2/2]")) && !said.contains(KEY), "{said}");
    let kept = || std::fs::read_to_string(folder.path().join("serf/local.keyring")).unwrap();
    assert_eq!(kept(), format!("[\n  \"{OTHER_KEY}\"\n]"));

    // And back by ours.
    let key = |text: &str| Key::from_base64(text).unwrap();
    for operation in [
        KeyOperation::Install(key(KEY)),
        KeyOperation::Use(key(KEY)),
        KeyOperation::Remove(key(OTHER_KEY)),
    ] {
        let answers = ours.key_operation(operation.clone(), 0).await.unwrap();
        assert_eq!(answers.error(), None, "{operation:?}: {answers:?}");
    }
    assert_eq!(listed(&ours).await, [(KEY.to_owned(), 2)]);
    assert!(std::fs::read_to_string(&real_keys).unwrap().contains(KEY));
    assert_eq!(kept(), format!("[\n  \"{KEY}\"\n]"));
    let refused = ours.key_operation(KeyOperation::Remove(key(KEY)), 1).await.unwrap();
    assert_eq!(refused.error().as_deref(), Some("2/2 nodes reported failure"));
    let words: Vec<&str> = refused.messages.values().map(String::as_str).collect();
    assert_eq!(words, ["Removing the primary key is not allowed"; 2]);

    // Still one pool.
    let third = start(encrypted("third", KEY)).await;
    join(&third, real.address).await;
    until_seen(&real, "third", "alive").await;
    until_status(&ours, "third", "alive").await;
    for pool in [ours, third] {
        pool.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_key_or_none_stays_outside() {
    let Some(serf) = serf() else { return };
    let real = Agent::start(&serf, "real", own_ip(), &["-encrypt", OTHER_KEY]).await;
    let ours = start(encrypted("ours", KEY)).await;
    let plain = start(options("plain")).await;
    for pool in [&ours, &plain] {
        let joined = pool.join(vec![real.address.to_string()]).await;
        assert_eq!(joined.contacted, 0);
        assert_eq!(joined.errors.len(), 1, "{joined:?}");
        let said = real.run("join", &[&pool.address().to_string()]);
        assert!(!said.status.success());
    }
    assert_eq!(real.status("ours") + &real.status("plain"), "");
    assert_eq!(ours.members().borrow().len(), 1);
    for pool in [ours, plain] {
        pool.shutdown().await;
    }
}

/// Where Consul 1.8.7 is: `CONSUL_1_8`, or the cache of peers.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know what was not run")]
fn consul() -> Option<PathBuf> {
    let named = std::env::var_os("CONSUL_1_8").map(PathBuf::from);
    let cached = std::env::home_dir()
        .map(|home| home.join(".cache/proconsul-peers/bullseye/usr/bin/consul"));
    let found = [named, cached].into_iter().flatten().find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: there is no Consul 1.8.7 (CONSUL_1_8)");
    }
    found
}

fn lan(name: &str, datacenter: &str, node_id: &str) -> PoolOptions {
    let mut options = options(name);
    let (datacenter, node_id) = (datacenter.to_owned(), node_id.to_owned());
    options.merge = MergeRules::Lan {
        datacenter: datacenter.clone(),
        name: name.to_owned(),
        node_id: node_id.clone(),
    };
    let tags = ClientTags { datacenter, node_id, ..ClientTags::default() };
    options.tags = tags.to_tags();
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_consul_server_takes_ours_for_a_client_and_its_events_arrive() {
    const ID: &str = "11111111-2222-3333-4444-555555555555";
    let Some(consul) = consul() else { return };
    let ip = own_ip();
    let folder = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut command = std::process::Command::new(&consul);
    command.args(["agent", "-dev", "-node=real", "-hcl=performance { raft_multiplier = 1 }"]);
    command.arg(format!("-bind={ip}")).arg(format!("-client={ip}"));
    let child = command.stdout(log).stderr(std::process::Stdio::null()).spawn().unwrap();
    let _ended = Ended(child);
    let say = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&consul);
        let output = command.args(arguments).env("CONSUL_HTTP_ADDR", format!("{ip}:8500")).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    until("consul answers", async || say(&["members"]).contains("real")).await;

    let ours = start(lan("ours", "dc1", ID)).await;
    let mut events = ours.events();
    join(&ours, (ip, 8301).into()).await;
    let line =
        || say(&["members"]).lines().find(|line| line.starts_with("ours")).map(str::to_owned);
    until("consul lists ours", async || line().is_some_and(|line| line.contains("client"))).await;
    let real = member(&ours, "real").expect("it was joined");
    let server = Server::from_member(&real).expect("it says that it is a server");
    assert_eq!((server.datacenter.as_str(), server.address), ("dc1", (ip, 8300).into()));
    assert_eq!(server.build, Build::new(1, 8, 7));

    // An event of a user, as the agent's event endpoint gets it.
    until("the event is sent", async || {
        say(&["event", "-name=deploy", "payload!"]).contains("Event ID")
    })
    .await;
    let named = |event: &Event| matches!(event, Event::User(user) if user.name.starts_with(USER_EVENT_PREFIX));
    let Event::User(user) = next_event(&mut events, named).await else { unreachable!() };
    let event = UserEvent::from_wire(&user.payload, user.lamport_time).expect("it is readable");
    assert_eq!((event.name.as_str(), &event.payload[..]), ("deploy", &b"payload!"[..]));

    // Who is of another datacenter is kept out by both sides; who has an id that is taken, by
    // ours alone: Consul looks only at those who are offered together.
    let foreign = start(lan("foreign", "dc2", "22222222-2222-3333-4444-555555555555")).await;
    let joined = foreign.join(vec![format!("{ip}:8301")]).await;
    assert!(joined.errors[0].contains("part of wrong datacenter 'dc1'"), "{joined:?}");
    let twin = start(lan("twin", "dc1", ID)).await;
    let joined = twin.join(vec![format!("{ip}:8301")]).await;
    assert!(
        joined.errors[0].contains(&format!("Member 'ours' has conflicting node ID '{ID}'")),
        "{joined:?}"
    );
    assert!(!say(&["members"]).contains("foreign"));
    assert_eq!(member(&ours, "twin"), None);

    // Among servers of all datacenters.
    let bind = (own_ip(), 8302).into();
    let mut wan = PoolOptions::new(PoolKind::Wan, &wan_name("ours", "dc2"), bind, 1);
    let tags = ServerTags {
        datacenter: "dc2".to_owned(),
        node_id: "22222222-2222-3333-4444-555555555555".to_owned(),
        port: 8300,
        ..ServerTags::default()
    };
    wan.tags = tags.to_tags();
    wan.merge = MergeRules::Wan;
    wan.leave_propagate_delay = Duration::from_millis(300);
    let wan = start(wan).await;
    join(&wan, (ip, 8302).into()).await;
    until_status(&wan, "real.dc1", "alive").await;
    let lists = || {
        let members = say(&["members", "-wan"]);
        members.lines().any(|line| line.starts_with("ours.dc2") && line.contains("server"))
    };
    until("consul lists our server", async || lists()).await;
    wan.leave().await.unwrap();
    wan.shutdown().await;

    ours.leave().await.unwrap();
    until("consul sees it left", async || line().is_some_and(|line| line.contains("left"))).await;
    for pool in [ours, foreign, twin] {
        pool.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_servers_enforce_acls_is_not_joined_and_takes_none_of_them_in() {
    const ID: &str = "11111111-2222-3333-4444-555555555555";
    let Some(consul) = consul() else { return };
    let ip = own_ip();
    let settings = "performance { raft_multiplier = 1 } acl { enabled = true default_policy = \"deny\" \
                    tokens { master = \"root\" } }";
    let mut command = std::process::Command::new(&consul);
    command.args(["agent", "-dev", "-node=real", "-hcl", settings]);
    command.arg(format!("-bind={ip}")).arg(format!("-client={ip}"));
    let null = std::process::Stdio::null;
    let _ended = Ended(command.stdout(null()).stderr(null()).spawn().unwrap());
    let say = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&consul);
        command.env("CONSUL_HTTP_ADDR", format!("{ip}:8500")).env("CONSUL_HTTP_TOKEN", "root");
        let output = command.args(arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    until("consul answers", async || say(&["members"]).contains("real")).await;

    let ours = start(lan("ours", "dc1", ID)).await;
    let joined = ours.join(vec![format!("{ip}:8301")]).await;
    assert!(joined.errors[0].contains("Member 'real' enforces ACLs, which"), "{joined:?}");
    // Nor does it come by itself.
    let at = ours.members().borrow()[0].clone();
    say(&["join", &format!("{}:{}", at.addr, at.port)]);
    assert_eq!(member(&ours, "real"), None);
    ours.shutdown().await;
}

/// A process that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
