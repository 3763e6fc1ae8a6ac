use super::*;
use proptest::prelude::*;

fn server(name: &str) -> ServerAddr {
    ServerAddr {
        datacenter: "dc1".into(),
        id: String::new(),
        name: name.to_owned(),
        address: "127.0.0.1:8300".parse().unwrap(),
    }
}

fn manager(names: &[&str]) -> Manager {
    let mut manager = Manager::new(7, Instant::now());
    names.iter().for_each(|name| manager.add(server(name)));
    manager
}

fn order(manager: &Manager) -> String {
    manager.servers().iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_server_is_asked_until_it_fails() {
    let mut manager = manager(&["a", "b", "c"]);
    assert_eq!(manager.find(), Some(&server("a")));
    manager.fail(&server("a"));
    assert_eq!(order(&manager), "b c a");
    // Many calls failed at the same server: it is moved once.
    manager.fail(&server("a"));
    assert_eq!(order(&manager), "b c a");
    manager.remove(&server("b"));
    assert_eq!(order(&manager), "c a");
    let moved = ServerAddr { address: "127.0.0.2:1".parse().unwrap(), ..server("c") };
    manager.add(moved.clone());
    assert_eq!((order(&manager).as_str(), manager.find()), ("c a", Some(&moved)));
}

#[test]
fn the_only_server_stays_first() {
    let mut manager = manager(&["a"]);
    manager.fail(&server("a"));
    assert_eq!(order(&manager), "a");
    manager.remove(&server("a"));
    assert_eq!(manager.find(), None);
    assert!(manager.is_offline());
    assert!(manager.rebalance().is_none());
}

#[test]
fn a_new_order_begins_with_a_server_that_answers() {
    let mut manager = manager(&["a", "b", "c"]);
    let mut rebalance = manager.rebalance().unwrap();
    let silent = rebalance.first().unwrap().clone();
    rebalance.skip();
    let answers = rebalance.first().unwrap().clone();
    assert_ne!(answers, silent);
    manager.remove(&silent);
    manager.add(server("d"));
    manager.adopt(rebalance);
    assert_eq!(manager.find(), Some(&answers));
    assert_eq!(manager.servers().len(), 3);
    assert_eq!(manager.servers().last(), Some(&server("d")));
}

#[test]
fn an_order_in_which_nobody_answers_is_not_adopted() {
    let mut manager = manager(&["a", "b"]);
    let mut rebalance = manager.rebalance().unwrap();
    while rebalance.first().is_some() {
        rebalance.skip();
    }
    manager.adopt(rebalance);
    assert_eq!(order(&manager), "a b");
    assert!(manager.is_offline());
    let again = manager.rebalance().unwrap();
    manager.adopt(again);
    assert!(!manager.is_offline());
}

#[test]
fn orders_are_kept_for_two_minutes_or_as_long_as_a_large_pool_needs() {
    let now = Instant::now();
    let mut manager = manager(&["a", "b", "c"]);
    assert!(manager.handle_timeout(now, 3).is_none());
    let now = now + REBALANCE_MIN + Duration::from_secs(1);
    assert!(manager.handle_timeout(now, 3).is_some());
    let kept = manager.poll_timeout() - now;
    assert!((REBALANCE_MIN..REBALANCE_MIN + REBALANCE_JITTER).contains(&kept), "{kept:?}");
    let now = manager.poll_timeout();
    assert!(manager.handle_timeout(now, 100_000).is_some());
    // 100 000 agents × 15.625 ms / 3 servers
    assert_eq!((manager.poll_timeout() - now).as_millis(), 520_833);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, everybody who was added and not removed is in the list once.
    #[test]
    fn nobody_is_lost_or_doubled(
        steps in prop::collection::vec((0..5_usize, 0..6_usize, any::<bool>()), 0..60),
        seed in any::<u64>(),
    ) {
        let mut manager = Manager::new(seed, Instant::now());
        let mut model = std::collections::BTreeSet::new();
        let mut pending = None;
        for (step, index, flag) in steps {
            let name = ["a", "b", "c", "d", "e", "f"][index];
            match step {
                0 => { manager.add(server(name)); model.insert(name); }
                1 => { manager.remove(&server(name)); model.remove(name); }
                2 => manager.fail(&server(name)),
                3 => {
                    pending = manager.rebalance();
                    if let Some(rebalance) = pending.as_mut().filter(|_| flag) {
                        rebalance.skip();
                    }
                }
                _ => {
                    if let Some(rebalance) = pending.take() {
                        manager.adopt(rebalance);
                    }
                }
            }
            let mut names: Vec<_> = manager.servers().iter().map(|s| s.name.as_str()).collect();
            names.sort_unstable();
            prop_assert_eq!(names, model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(manager.find().is_none(), model.is_empty());
        }
    }
}
