//! One node, told things message by message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gossip::memberlist::{self, ExchangeId};
use gossip::serf::{Action, Event, Options, Seed, Serf};
use gossip::wire::message::{Alive, Dead, Message as _};
use gossip::wire::serf::{
    Join, Leave, Query, QueryResponse, Relay, SerfMessage, SerfPushPull, UserEvent, encode_tags,
};
use gossip::wire::{
    MessageType, Progress, Security, StreamMessage, StreamReader, Versions, stream,
};
use types::user_event::LamportTime;

use super::network::addr;

struct Bench {
    serf: Serf,
    now: Instant,
    reports: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let now = crate::start();
        let list = memberlist::Options::new("me", addr(1), 1);
        let serf = Serf::new(Options::new(list, 1), now).unwrap();
        let mut bench = Self { serf, now, reports: Vec::new() };
        bench.drain();
        bench
    }

    /// All that happened, as packets' receivers and events.
    fn drain(&mut self) -> (Vec<(SocketAddr, Bytes)>, Vec<Event>) {
        let (mut packets, mut events) = (Vec::new(), Vec::new());
        while let Some(action) = self.serf.poll_action() {
            match action {
                Action::Packet { to, plain } => packets.push((to, plain)),
                Action::Event(event) => events.push(event),
                Action::Report(report) => self.reports.push(report.to_string()),
                _ => {}
            }
        }
        (packets, events)
    }

    fn packet(&mut self, bytes: &[u8]) {
        self.serf.handle_packet(addr(9), bytes, self.now);
        // Membership and user messages wait for the next turn of the machine.
        self.serf.handle_timeout(self.now);
    }

    fn tell(&mut self, message: &SerfMessage) {
        self.packet(&[&[MessageType::User as u8], &message.encode()[..]].concat());
    }

    fn alive(&mut self, name: &str, host: u8, incarnation: u32) {
        let meta = encode_tags(&[("role".to_owned(), "x".to_owned())].into());
        let alive = Alive {
            addr: Some(addr(host).ip()),
            port: addr(host).port(),
            incarnation,
            meta: meta.as_ref().into(),
            node: name.into(),
            versions: Some(Versions::CONSUL),
        };
        self.packet(&alive.encode());
    }

    fn dead(&mut self, name: &str, incarnation: u32) {
        let dead = Dead { from: "other".into(), incarnation, node: name.into() };
        self.packet(&dead.encode());
    }

    fn join(&mut self, name: &str, time: u64) {
        let time = LamportTime(time);
        self.tell(&SerfMessage::Join(Join { time, node: name.to_owned() }));
    }

    fn leave(&mut self, name: &str, time: u64, prune: bool) {
        let time = LamportTime(time);
        self.tell(&SerfMessage::Leave(Leave { time, node: name.to_owned(), prune }));
    }

    /// Asks to join, and returns the exchange by which that is to happen.
    fn join_by_stream(&mut self, seed: SocketAddr) -> ExchangeId {
        let seeds = vec![Seed { address: seed, name: None }];
        self.serf.join(seeds, true, self.now).expect("it has not left");
        let actions = std::iter::from_fn(|| self.serf.poll_action());
        let exchange = actions.filter_map(|action| match action {
            Action::Exchange { id, .. } => Some(id),
            _ => None,
        });
        exchange.last().expect("the seed is asked")
    }

    /// A member tells in a push/pull who left, and the times of all intents that it knows.
    fn told(&mut self, times: &[(&str, u64)], left: &[&str]) -> SerfPushPull {
        let times = times.iter().map(|(name, time)| ((*name).to_owned(), LamportTime(*time)));
        let state = SerfMessage::PushPull(SerfPushPull {
            status_times: times.collect(),
            left_members: left.iter().map(|name| (*name).to_owned()).collect(),
            ..SerfPushPull::default()
        });
        let asked = read(&stream::encode_push_pull(false, [].into_iter(), &state.encode()));
        let answer = self.serf.handle_stream_request(addr(9), asked, self.now).expect("an answer");
        let StreamMessage::PushPull(all) = read(&answer) else { panic!("another message") };
        match SerfMessage::decode(&all.user_state) {
            Ok(SerfMessage::PushPull(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, name: &str) -> &'static str {
        let member = self.serf.members().find(|member| member.name == name);
        member.map_or("none", |member| member.status.as_str())
    }
}

#[test]
fn the_later_intent_counts_whichever_comes_first() {
    let mut bench = Bench::new();
    bench.alive("a", 2, 1);
    assert_eq!(bench.status("a"), "alive");
    bench.leave("a", 5, false);
    assert_eq!(bench.status("a"), "leaving");
    bench.join("a", 4);
    assert_eq!(bench.status("a"), "leaving");
    bench.join("a", 6);
    assert_eq!(bench.status("a"), "alive");
    bench.leave("a", 5, false);
    assert_eq!(bench.status("a"), "alive");
    bench.leave("a", 7, false);
    bench.dead("a", 1);
    assert_eq!(bench.status("a"), "left");
}

#[test]
fn an_intent_that_overtakes_its_member_waits_for_it() {
    let mut bench = Bench::new();
    bench.leave("a", 5, false);
    bench.join("a", 4);
    bench.alive("a", 2, 1);
    assert_eq!(bench.status("a"), "leaving");
    bench.join("b", 5);
    bench.leave("b", 5, false);
    bench.alive("b", 3, 1);
    assert_eq!(bench.status("b"), "alive");
    bench.leave("b", 5, false);
    assert_eq!(bench.status("b"), "alive", "the join at this time was heard first");
    // Not for ever.
    bench.leave("c", 50, false);
    bench.now += Duration::from_secs(400);
    bench.serf.handle_timeout(bench.now);
    bench.alive("c", 4, 1);
    assert_eq!(bench.status("c"), "alive");
}

#[test]
fn a_failed_member_of_which_somebody_says_that_it_left_has_left() {
    let mut bench = Bench::new();
    bench.alive("a", 2, 1);
    bench.dead("a", 1);
    assert_eq!(bench.status("a"), "failed");
    bench.drain();
    bench.leave("a", 3, false);
    assert_eq!(bench.status("a"), "left");
    let (_, events) = bench.drain();
    assert!(matches!(&events[..], [Event::MemberLeave(member)] if member.name == "a"));
    bench.leave("a", 4, true);
    assert_eq!(bench.status("a"), "none");
    let (_, events) = bench.drain();
    assert!(matches!(&events[..], [Event::MemberReap(member)] if member.name == "a"));
}

#[test]
fn a_member_that_is_to_be_pruned_while_it_leaves_has_time_to_go_or_to_come_back() {
    let mut bench = Bench::new();
    for (name, host) in [("a", 2), ("b", 3)] {
        bench.alive(name, host, 1);
        bench.leave(name, 5, true);
        assert_eq!(bench.status(name), "leaving");
    }
    bench.join("b", 6);
    bench.now += Duration::from_secs(8);
    bench.serf.handle_timeout(bench.now);
    assert_eq!((bench.status("a"), bench.status("b")), ("none", "alive"));
}

#[test]
fn what_others_say_of_our_own_leave_is_refuted() {
    let mut bench = Bench::new();
    bench.leave("me", 9, false);
    assert_eq!(bench.status("me"), "alive");
    bench.drain();
    assert_eq!(bench.reports, ["EventMemberJoin: me 10.0.0.1", "Refuting an older leave intent"]);
    assert_eq!(bench.serf.stats().intent_queue, 1);
    // The refutation is later.
    assert_eq!(bench.serf.stats().member_time, 11);
}

#[test]
fn a_leave_at_the_time_of_our_own_join_is_refuted() {
    let mut bench = Bench::new();
    bench.join("me", 9);
    bench.leave("me", 9, false);
    assert_eq!(bench.status("me"), "alive");
    bench.drain();
    assert_eq!(bench.reports.last().map(String::as_str), Some("Refuting an older leave intent"));
    bench.leave("me", 9, false);
    bench.drain();
    assert_eq!(bench.reports.len(), 2, "it was refuted already");
}

#[test]
fn who_is_told_as_left_did_not_fail_and_who_is_there_is_there() {
    let mut bench = Bench::new();
    for (name, host) in [("there", 2), ("gone", 3), ("later", 4)] {
        bench.alive(name, host, 1);
        bench.join(name, 5);
    }
    bench.dead("gone", 1);
    bench.join("later", 7);
    bench.dead("later", 1);
    let times = [("there", 6), ("gone", 6), ("later", 6), ("unknown", 6)];
    let left = ["there", "gone", "later", "unknown"];
    // The answer to the first says how it was before.
    bench.told(&times, &left);
    for _ in 0..3 {
        let state = bench.told(&times, &left);
        // The times are those that were told, however often.
        let times: Vec<_> =
            ["there", "gone", "later"].map(|name| state.status_times[name].0).into();
        assert_eq!((times, state.left_members), (vec![5, 6, 7], vec!["gone".to_owned()]));
    }
    bench.alive("unknown", 5, 1);
    let all = ["there", "gone", "later", "unknown"].map(|name| bench.status(name));
    assert_eq!(all, ["alive", "left", "failed", "alive"]);
    assert_eq!(bench.serf.stats().member_time, 8);
    // What is told of this node, it refutes.
    bench.told(&[("me", 20)], &["me"]);
    assert_eq!((bench.status("me"), bench.serf.stats().member_time), ("alive", 23));
}

#[test]
fn who_is_leaving_for_longer_than_that_takes_is_asked() {
    let mut bench = Bench::new();
    for (name, host) in [("a", 2), ("b", 3)] {
        bench.alive(name, host, 1);
        bench.leave(name, 5, false);
    }
    let state = bench.told(&[], &[]);
    assert_eq!(state.status_times.keys().collect::<Vec<_>>(), ["me"], "leaves are not joins");
    // One that did not leave after all, and one that has just begun to.
    bench.join("b", 6);
    bench.now += Duration::from_secs(20);
    bench.alive("c", 4, 1);
    bench.leave("c", 7, false);
    bench.drain();
    bench.now += Duration::from_secs(10);
    bench.serf.handle_timeout(bench.now);
    let (packets, _) = bench.drain();
    let leave = Leave { time: LamportTime(5), node: "a".to_owned(), prune: false };
    let asked = [&[8], &SerfMessage::Leave(leave).encode()[..]].concat();
    let direct = packets.iter().filter(|(_, plain)| plain.first() == Some(&8));
    assert_eq!(direct.collect::<Vec<_>>(), [&(addr(2), asked.into())]);
    bench.join("a", 6);
    assert_eq!(bench.status("a"), "alive");
}

#[test]
fn messages_are_passed_on_once_and_copies_are_not() {
    let mut bench = Bench::new();
    bench.alive("a", 2, 1);
    let event = |time, payload: &'static str| {
        SerfMessage::UserEvent(UserEvent {
            coalesce: false,
            time: LamportTime(time),
            name: "deploy".to_owned(),
            payload: Bytes::from(payload).into(),
        })
    };
    for _ in 0..3 {
        bench.tell(&event(4, "x"));
        bench.tell(&event(4, "y"));
        bench.join("a", 3);
    }
    let stats = bench.serf.stats();
    assert_eq!((stats.event_queue, stats.intent_queue), (2, 1));
    assert_eq!((stats.event_time, stats.member_time), (5, 4));
    let (_, events) = bench.drain();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::User(_))).count(), 2);
    // Far in the past.
    bench.tell(&event(1000, "z"));
    bench.drain();
    bench.tell(&event(5, "old"));
    let (_, events) = bench.drain();
    assert!(events.is_empty());
    assert_eq!(
        bench.reports.last().map(String::as_str),
        Some("received old event deploy from time 5 (current: 1001)")
    );
}

#[test]
fn a_query_that_is_not_to_be_passed_on_is_not_and_one_for_others_is() {
    let mut bench = Bench::new();
    bench.alive("a", 2, 1);
    let query = |id, flags, filter: Option<gossip::wire::serf::Filter>| {
        SerfMessage::Query(Query {
            addr: Some(addr(2).ip()),
            port: addr(2).port(),
            source_node: "a".to_owned(),
            id,
            flags,
            filters: filter.iter().map(gossip::wire::serf::Filter::encode).collect(),
            time: LamportTime(7),
            name: "load".to_owned(),
            timeout: 1_000_000_000,
            ..Query::default()
        })
    };
    let asked = |bench: &mut Bench| {
        let (packets, events) = bench.drain();
        let queries = events.iter().filter(|event| matches!(event, Event::Query(_))).count();
        let acks = packets.iter().filter(|(to, _)| *to == addr(2)).count();
        (queries, acks, bench.serf.stats().query_queue)
    };
    bench.drain();
    bench.tell(&query(1, 2, None));
    assert_eq!(asked(&mut bench), (1, 0, 0));
    bench.tell(&query(2, 1, None));
    bench.tell(&query(2, 1, None));
    assert_eq!(asked(&mut bench), (1, 1, 1));
    let nodes = gossip::wire::serf::Filter::Nodes(vec!["you".to_owned()]);
    bench.tell(&query(3, 1, Some(nodes)));
    assert_eq!(asked(&mut bench), (0, 0, 2));
    // A filter that cannot be used lets nobody through.
    let expression = "(".repeat(40);
    let bad = gossip::wire::serf::Filter::Tag { tag: "role".to_owned(), expression };
    bench.tell(&query(4, 1, Some(bad)));
    assert_eq!(asked(&mut bench), (0, 0, 3));
    assert!(bench.reports.last().unwrap().starts_with("query has a filter that cannot be used"));
}

#[test]
fn nobody_is_reached_through_this_node_who_is_no_member() {
    let mut bench = Bench::new();
    bench.alive("a", 2, 1);
    bench.drain();
    let response = SerfMessage::QueryResponse(QueryResponse::default()).encode();
    let relay = |host, message: &Bytes| {
        SerfMessage::Relay(Relay {
            to: Some(addr(host)),
            to_name: "a".to_owned(),
            message: message.clone(),
        })
    };
    let mut sent = |host, message| {
        bench.tell(&relay(host, message));
        let (packets, _) = bench.drain();
        packets.into_iter().filter(|(to, _)| *to == addr(host)).collect::<Vec<_>>()
    };
    let passed = sent(2, &response);
    assert_eq!(passed, [(addr(2), [&[8], &response[..]].concat().into())]);
    assert_eq!(sent(5, &response), []);
    let event = SerfMessage::UserEvent(UserEvent::default()).encode();
    assert_eq!(sent(2, &event), []);
}

#[test]
fn no_message_is_too_strange() {
    let mut bench = Bench::new();
    for kind in 0..=20_u8 {
        for body in [&b""[..], b"\xc0", b"\x80", b"\x90", b"\xff\xff", b"\xdf\xff\xff\xff\xff"] {
            bench.packet(&[&[8, kind], body].concat());
        }
    }
    assert_eq!(bench.status("me"), "alive");
}

/// What real agents with a pool of this size exchange, they exchange with ours.
#[test]
fn a_pool_of_five_thousand_members_is_exchanged_in_one_stream() {
    const MEMBERS: u32 = 5_000;
    let mut bench = Bench::new();
    let tags = gossip::consul::ClientTags {
        datacenter: "dc1".to_owned(),
        node_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        ..Default::default()
    };
    let meta = encode_tags(&tags.to_tags());
    for number in 0..MEMBERS {
        let [_, a, b, c] = number.to_be_bytes();
        let name = format!("client-{number}");
        let alive = Alive {
            addr: Some([10, a + 1, b, c].into()),
            port: 8301,
            incarnation: 1,
            meta: meta.as_ref().into(),
            node: name.as_str().into(),
            versions: Some(Versions::CONSUL),
        };
        bench.packet(&alive.encode());
        bench.drain();
    }
    assert_eq!(bench.serf.members().len(), MEMBERS as usize + 1);
    let asked = read(&stream::encode_push_pull(true, [].into_iter(), b""));
    let answer = bench.serf.handle_stream_request(addr(9), asked, bench.now).expect("an answer");
    let plain = read(&answer);
    assert!(answer.len() < 4 << 20, "{} bytes", answer.len());

    let mut other = Bench::new();
    let id = other.join_by_stream(addr(7));
    other.serf.handle_stream_answer(id, Ok(Some(plain)), other.now);
    // The two that have one name apart.
    assert_eq!(other.serf.members().len(), MEMBERS as usize + 1);
}

fn read(bytes: &[u8]) -> StreamMessage {
    let mut reader = StreamReader::new();
    reader.buffer().extend(bytes);
    match reader.next(&Security::default()) {
        Ok(Progress::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}
