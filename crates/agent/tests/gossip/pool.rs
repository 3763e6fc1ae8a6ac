//! Pools of ours, and waiting for what is to happen in them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use agent::gossip::{Pool, PoolKind, PoolOptions};
use gossip::memberlist::Timings;
use gossip::serf::Event;
use tokio::sync::broadcast::Receiver;
use types::member::Member;

/// Nothing here takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited for too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An address of this machine that nobody else is likely to use.
pub(crate) fn own_ip() -> Ipv4Addr {
    Ipv4Addr::new(127, fastrand::u8(1..=254), fastrand::u8(..), fastrand::u8(1..=254))
}

/// Options of a pool that is quick.
pub(crate) fn options(name: &str) -> PoolOptions {
    let bind = SocketAddr::from((own_ip(), 7946));
    let mut options = PoolOptions::new(PoolKind::Lan, name, bind, fastrand::u64(..));
    options.timings = Timings {
        suspicion_mult: 2,
        stream_timeout: Duration::from_secs(2),
        // In so small a pool news may miss a node: then the exchange of all brings it soon.
        push_pull_interval: Duration::from_secs(2),
        ..Timings::lan().dev()
    };
    options.leave_propagate_delay = Duration::from_millis(300);
    options.tags.insert("role".to_owned(), "ours".to_owned());
    options
}

/// A node with these options.
pub(crate) async fn start(options: PoolOptions) -> Pool {
    Pool::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Joins `seed`, which is to succeed.
pub(crate) async fn join(pool: &Pool, seed: SocketAddr) {
    let joined = pool.join(vec![seed.to_string()]).await;
    assert_eq!((joined.contacted, &joined.errors[..]), (1, &[][..]));
}

/// A member as a pool sees it.
pub(crate) fn member(pool: &Pool, name: &str) -> Option<Member> {
    pool.members().borrow().iter().find(|member| member.name == name).cloned()
}

/// Waits until a pool sees a member in a status; empty for one that it does not know.
pub(crate) async fn until_status(pool: &Pool, name: &str, status: &str) {
    let mut members = pool.members();
    let is_so = |members: &Vec<Member>| {
        let member = members.iter().find(|member| member.name == name);
        member.map_or("", |member| member.status.as_str()) == status
    };
    let waited = tokio::time::timeout(PATIENCE, members.wait_for(is_so)).await;
    let seen = member(pool, name);
    assert!(matches!(waited, Ok(Ok(_))), "{name} is not {status:?} but {seen:?}");
}

/// The next event that is wanted.
pub(crate) async fn next_event(
    events: &mut Receiver<Event>,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let next = async {
        loop {
            let event = events.recv().await.expect("the pool goes on");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("the event comes")
}
