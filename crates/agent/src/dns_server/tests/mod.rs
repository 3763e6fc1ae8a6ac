//! The server over loopback, with a catalog and recursors of its own.

mod fakes;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;
use fakes::*;

/// Recursors on loopback answer long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// For recursors that never answer.
const IMPATIENCE: Duration = Duration::from_millis(20);
const UPSTREAM_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn catalog(ready: bool) -> FakeSource {
    FakeSource::new(
        ready,
        &[
            ("web", "10.0.0.2"),
            ("slow", "10.0.0.3"),
            ("outside", "www.example.org"),
            ("inside", "web.service.consul"),
            ("ring", "ring.service.consul"),
        ],
    )
}

#[tokio::test]
async fn rows_at_hand_and_rows_to_wait_for_give_the_same_answers_over_udp_and_tcp() {
    let far = NXDOMAIN;
    let cases: [(&str, u16, u8, &[&str]); 9] = [
        ("WEB.service.consul", A, NOERROR, &["WEB.service.consul. A 10.0.0.2"]),
        ("ghost.service.consul", A, NXDOMAIN, &[]),
        ("web.service.far.consul", A, far, &[]),
        ("broken.service.consul", A, SERVFAIL, &[]),
        ("nonsense.consul", A, NXDOMAIN, &[]),
        ("0a000001.addr.consul", A, NOERROR, &["0a000001.addr.consul. A 10.0.0.1"]),
        ("web.virtual.consul", A, NOERROR, &["web.virtual.consul. A 240.0.0.1"]),
        (
            "1.0.0.10.in-addr.arpa",
            PTR,
            NOERROR,
            &["1.0.0.10.in-addr.arpa. PTR n1.node.dc1.consul."],
        ),
        ("www.example.org", A, REFUSED, &[]),
    ];
    for ready in [true, false] {
        let (server, address) = serve(catalog(ready), settings(&[], PATIENCE)).await;
        for (name, record_type, rcode, answers) in cases {
            for reply in
                [ask(address, name, record_type).await, ask_tcp(address, name, record_type).await]
            {
                assert_eq!((reply.rcode, &*reply.answers), (rcode, &*strings(answers)), "{name}");
                assert_eq!(reply.flags.contains(&"aa"), rcode != REFUSED, "{name}");
            }
        }
        in_time(server.shutdown()).await;
    }
}

#[tokio::test]
async fn what_is_no_question_is_refused_or_ignored_and_harms_nobody() {
    let (server, address) = serve(catalog(true), settings(&[], PATIENCE)).await;
    let socket = udp_client(address).await;
    let good = question(5, "web.service.consul", A);
    let mut response = good.clone();
    response[2] |= 0x80;
    let mut update = good.clone();
    update[2] |= 5 << 3;
    // Only the third and the fourth are answered, in some order with the last.
    let silent: [&[u8]; 3] = [&[], &good[..7], &response];
    for message in silent {
        socket.send(message).await.expect("to send");
    }
    let cut = &good[..good.len() - 3];
    for (message, rcode) in [(cut, FORMERR), (&*update, NOTIMP), (&*good, NOERROR)] {
        socket.send(message).await.expect("to send");
        let reply = receive(&socket).await;
        assert_eq!((reply.id, reply.rcode), (5, rcode));
    }
    // Over TCP the connection goes on.
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut all = Vec::new();
    for message in [&[], &good[..7], &*response, cut, &*good] {
        all.extend(framed(message));
    }
    stream.write_all(&all).await.expect("to send");
    for rcode in [FORMERR, NOERROR] {
        let reply = Reply::read(&read_message(&mut stream).await.expect("a reply"));
        assert_eq!((reply.id, reply.rcode), (5, rcode));
    }
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn damaged_messages_get_a_reply_with_their_id_or_none() {
    let answerer = Answerer::new(settings(&[], PATIENCE), Arc::new(catalog(true)), None);
    let client =
        Client { address: (Ipv4Addr::LOCALHOST, 9).into(), transport: dns::Transport::Udp };
    let mut random = fastrand::Rng::with_seed(7);
    let mut with_opt = question(1, "web.service.consul", A);
    with_opt[11] = 1;
    with_opt.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 11]);
    with_opt.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0]);
    for _ in 0..5_000 {
        let mut message = with_opt.clone();
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..message.len());
            message[at] = random.u8(..);
        }
        message.truncate(random.usize(..message.len() * 2));
        if let Some(reply) = answerer.answer(&message, client).await {
            assert_eq!(reply[..2], message[..2]);
            assert!(reply[2] & 0x80 != 0);
        }
    }
}

#[tokio::test]
async fn a_recursors_answer_is_relayed_with_the_clients_id_over_the_clients_protocol() {
    let upstream = FakeRecursor::start(Does::Answers(UPSTREAM_IP)).await;
    let (server, address) = serve(catalog(true), settings(&[&upstream], PATIENCE)).await;
    let answers = strings(&["www.example.org. A 192.0.2.80"]);
    for _ in 0..4 {
        let reply = ask(address, "www.example.org", A).await;
        assert_eq!((reply.rcode, &reply.answers), (NOERROR, &answers));
        assert_eq!(reply.flags, ["ra"]);
    }
    let reply = ask_tcp(address, "www.example.org", A).await;
    assert_eq!((reply.rcode, &reply.answers), (NOERROR, &answers));
    let asked = upstream.asked.lock().expect("no panic").clone();
    let over_tcp: Vec<bool> = asked.iter().map(|(_, tcp)| *tcp).collect();
    assert_eq!(over_tcp, [false, false, false, false, true]);
    // The ids are drawn, not copied.
    assert!(asked.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len() > 1, "{asked:?}");
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn recursors_that_refuse_or_are_silent_pass_the_question_on() {
    let good = FakeRecursor::start(Does::Answers(UPSTREAM_IP)).await;
    for bad in [Does::Says(SERVFAIL), Does::Says(REFUSED), Does::IsSilent] {
        let bad = FakeRecursor::start(bad).await;
        let timeout = Duration::from_millis(300);
        let (server, address) = serve(catalog(true), settings(&[&bad, &good], timeout)).await;
        assert_eq!(ask(address, "www.example.org", A).await.answers.len(), 1);
        assert_eq!(bad.asked.lock().expect("no panic").len(), 1);

        // With the bad one alone: SERVFAIL, not authoritative, recursion available.
        server.reload(settings(&[&bad], IMPATIENCE));
        let udp = ask(address, "www.example.org", A).await;
        let tcp = ask_tcp(address, "www.example.org", A).await;
        for reply in [udp, tcp] {
            assert_eq!((reply.rcode, &*reply.flags), (SERVFAIL, &["ra"][..]));
            assert!(reply.answers.is_empty());
        }
        in_time(server.shutdown()).await;
    }
}

#[tokio::test]
async fn names_that_do_not_exist_and_truncated_replies_are_relayed() {
    for (does, rcode, flags) in [
        (Does::Says(NXDOMAIN), NXDOMAIN, &["ra"][..]),
        (Does::Truncates, NOERROR, &["tc", "ra"][..]),
    ] {
        let upstream = FakeRecursor::start(does).await;
        let (server, address) = serve(catalog(true), settings(&[&upstream], PATIENCE)).await;
        let reply = ask(address, "www.example.org", A).await;
        assert_eq!((reply.rcode, &*reply.flags), (rcode, flags));
        in_time(server.shutdown()).await;
    }
}

#[tokio::test]
async fn an_address_that_nobody_owns_is_asked_of_recursors() {
    let upstream = FakeRecursor::start(Does::Says(NXDOMAIN)).await;
    let (server, address) = serve(catalog(true), settings(&[&upstream], PATIENCE)).await;
    assert_eq!(ask(address, "1.0.0.10.in-addr.arpa", PTR).await.rcode, NOERROR);
    assert_eq!(upstream.asked.lock().expect("no panic").len(), 0);
    assert_eq!(ask(address, "9.0.0.10.in-addr.arpa", PTR).await.rcode, NXDOMAIN);
    assert_eq!(upstream.asked.lock().expect("no panic").len(), 1);
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn host_names_are_followed_through_recursors_and_the_own_catalog() {
    let upstream = FakeRecursor::start(Does::Answers(UPSTREAM_IP)).await;
    let alone = settings(&[], PATIENCE);
    let (server, address) = serve(catalog(true), settings(&[&upstream], PATIENCE)).await;
    let outside =
        ["outside.service.consul. CNAME www.example.org.", "www.example.org. A 192.0.2.80"];
    let inside =
        ["inside.service.consul. CNAME web.service.consul.", "web.service.consul. A 10.0.0.2"];
    for (name, answers) in [("outside.service.consul", outside), ("inside.service.consul", inside)]
    {
        assert_eq!(ask(address, name, A).await.answers, strings(&answers));
        assert_eq!(ask_tcp(address, name, A).await.answers, strings(&answers));
    }
    // Also for TCP clients, recursors are asked over UDP here.
    assert!(upstream.asked.lock().expect("no panic").iter().all(|(_, tcp)| !tcp));
    // Without recursors the CNAME stays bare.
    server.reload(alone);
    assert_eq!(ask(address, "outside.service.consul", A).await.answers, strings(&outside[..1]));
    // A name that leads to itself ends somewhere.
    let ring = ask(address, "ring.service.consul", A).await;
    assert_eq!(ring.rcode, NOERROR);
    assert!(!ring.answers.is_empty());
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn a_chase_that_fails_leaves_the_cname_bare() {
    let upstream = FakeRecursor::start(Does::IsSilent).await;
    let (server, address) = serve(catalog(true), settings(&[&upstream], IMPATIENCE)).await;
    let reply = ask(address, "outside.service.consul", A).await;
    assert_eq!(reply.answers, strings(&["outside.service.consul. CNAME www.example.org."]));
    in_time(server.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_each_get_their_own_answers() {
    let (server, address) = serve(catalog(true), settings(&[], PATIENCE)).await;
    let mut clients = JoinSet::new();
    for client in 0..64_u16 {
        clients.spawn(async move {
            let socket = udp_client(address).await;
            for at in 0..25_u16 {
                let id = client * 256 + at;
                let label = format!("{id:08x}.addr.consul");
                socket.send(&question(id, &label, A)).await.expect("to send");
                let reply = receive(&socket).await;
                assert_eq!(reply.id, id);
                let ip = Ipv4Addr::from(u32::from(id));
                assert_eq!(reply.answers, [format!("{label}. A {ip}")]);
            }
        });
    }
    while let Some(joined) = in_time(clients.join_next()).await {
        joined.expect("a happy client");
    }
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn in_one_connection_a_slow_question_does_not_hold_up_the_next() {
    let source = Arc::new(catalog(true));
    let (server, address) = serve_shared(Arc::clone(&source), settings(&[], PATIENCE)).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut both = framed(&question(1, "slow.service.consul", A));
    both.extend(framed(&question(2, "web.service.consul", A)));
    // In two pieces, cut within a message.
    let (head, tail) = both.split_at(both.len() - 5);
    stream.write_all(head).await.expect("to send");
    stream.write_all(tail).await.expect("to send");
    let first = Reply::read(&read_message(&mut stream).await.expect("a reply"));
    assert_eq!((first.id, first.rcode), (2, NOERROR));
    source.gate.add_permits(1);
    let second = Reply::read(&read_message(&mut stream).await.expect("a reply"));
    assert_eq!((second.id, second.rcode), (1, NOERROR));
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn more_questions_than_a_connection_may_have_at_work_are_all_answered() {
    let source = Arc::new(catalog(true));
    let (server, address) = serve_shared(Arc::clone(&source), settings(&[], PATIENCE)).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let count = TCP_QUESTIONS_MAX as u16 * 3;
    let mut all = Vec::new();
    for id in 0..count {
        all.extend(framed(&question(id, "slow.service.consul", A)));
    }
    stream.write_all(&all).await.expect("to send");
    // Nothing more is going to be asked; the answers come all the same.
    stream.shutdown().await.expect("to close one half");
    source.gate.add_permits(usize::from(count));
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        ids.insert(Reply::read(&read_message(&mut stream).await.expect("a reply")).id);
    }
    assert_eq!(ids.len(), usize::from(count));
    assert!(read_message(&mut stream).await.is_none(), "closed");
    in_time(server.shutdown()).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let (server, address) = serve(catalog(true), settings(&[], PATIENCE)).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // A piece of a question is as idle as none.
    stream.write_all(&[0, 40, 1]).await.expect("to send");
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).await;
    assert!(end.is_err() || rest.is_empty());
    server.shutdown().await;
}

#[tokio::test]
async fn questions_beyond_the_places_get_servfail_at_once() {
    let upstream = FakeRecursor::start(Does::Answers(UPSTREAM_IP)).await;
    let (server, address) = serve(catalog(true), settings(&[&upstream], PATIENCE)).await;
    let mut places = Vec::new();
    while let Some(place) = server.answerer().try_place() {
        places.push(place);
    }
    assert_eq!(places.len(), WAITING_QUESTIONS_MAX);
    assert_eq!(ask(address, "www.example.org", A).await.rcode, SERVFAIL);
    assert_eq!(ask(address, "slow.service.consul", A).await.rcode, SERVFAIL);
    // Questions that need nobody are answered as ever.
    assert_eq!(ask(address, "web.service.consul", A).await.rcode, NOERROR);
    drop(places);
    assert_eq!(ask(address, "www.example.org", A).await.rcode, NOERROR);
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn shutdown_ends_waiting_questions_and_connections_and_frees_the_ports() {
    let source = Arc::new(catalog(true));
    let (server, address) = serve_shared(Arc::clone(&source), settings(&[], PATIENCE)).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&framed(&question(1, "slow.service.consul", A))).await.expect("to send");
    let socket = udp_client(address).await;
    socket.send(&question(2, "slow.service.consul", A)).await.expect("to send");
    socket.send(&question(3, "web.service.consul", A)).await.expect("to send");
    assert_eq!(receive(&socket).await.id, 3);
    in_time(server.shutdown()).await;
    assert!(read_message(&mut stream).await.is_none());
    // Every task is gone, and with them what they shared.
    assert_eq!(Arc::strong_count(&source), 1);
    let options = DnsServerOptions {
        listen: vec![address],
        settings: settings(&[], PATIENCE),
        timings: None,
    };
    let server = DnsServer::start(options, source).await.expect("the same ports");
    assert_eq!(server.addresses(), [address]);
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn a_taken_port_is_reported_in_gos_words() {
    let (server, address) = serve(catalog(true), settings(&[], PATIENCE)).await;
    let start = |listen| {
        let options = DnsServerOptions { listen, settings: settings(&[], PATIENCE), timings: None };
        DnsServer::start(options, Arc::new(catalog(true)))
    };
    let error = start(vec![address]).await.expect_err("a taken port");
    assert_eq!(error.to_string(), format!("listen udp {address}: bind: address already in use"));
    in_time(server.shutdown()).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    let error = start(vec![address]).await.expect_err("a taken port");
    assert_eq!(error.to_string(), format!("listen tcp {address}: bind: address already in use"));
}

#[tokio::test]
async fn ipv6_is_served_where_there_is_any() {
    let listen: Vec<SocketAddr> = vec!["[::1]:0".parse().expect("an address")];
    let options = DnsServerOptions { listen, settings: settings(&[], PATIENCE), timings: None };
    // A machine without IPv6 has nothing to show here.
    let Ok(server) = DnsServer::start(options, Arc::new(catalog(true))).await else { return };
    assert_eq!(ask_tcp(server.addresses()[0], "web.service.consul", A).await.rcode, NOERROR);
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn the_log_tells_of_sockets_questions_and_failures() {
    let log = Log::default();
    // Were there one dispatcher alone, a line that another test's thread comes to first would be
    // off for all threads: `tracing` asks only the dispatcher of that thread then.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let upstream = FakeRecursor::start(Does::Says(SERVFAIL)).await;
    let many: Vec<String> = (1..=60).map(|n| format!("10.1.0.{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|ip| ("many", ip.as_str())).collect();
    let (server, address) = serve(FakeSource::new(true, &many), settings(&[], PATIENCE)).await;
    for name in ["many.service.consul", "what.consul", "broken.service.consul"] {
        ask(address, name, A).await;
    }
    server.reload(settings(&[&upstream], PATIENCE));
    server.reload(settings(&[&upstream], IMPATIENCE));
    ask_tcp(address, "www.example.org", A).await;
    server.reload(settings(&[], PATIENCE));
    in_time(server.shutdown()).await;
    let (recursor, lines) = (upstream.address, log.lines());
    let expected = [
        format!("INFO agent Started DNS server address={address} network=udp"),
        format!("INFO agent Started DNS server address={address} network=tcp"),
        "DEBUG agent.dns DNS response too large, truncated protocol=udp \
         question={many.service.consul. 1 1} records=3/60 size=85"
            .to_owned(),
        "DEBUG agent.dns request served from client name=many.service.consul. type=A class=IN \
         latency=* client=* client_network=udp"
            .to_owned(),
        "WARN agent.dns QName invalid qname=what.consul.".to_owned(),
        "DEBUG agent.dns request served from client name=what.consul. type=A class=IN \
         latency=* client=* client_network=udp"
            .to_owned(),
        "ERROR agent.dns rpc error name=broken.service.consul. error=No cluster leader".to_owned(),
        "DEBUG agent.dns request served from client name=broken.service.consul. type=A class=IN \
         latency=* client=* client_network=udp"
            .to_owned(),
        "DEBUG agent.dns recursor enabled".to_owned(),
        format!(
            "DEBUG agent.dns recurse failed for question question={{www.example.org. 1 1}} \
             recursor={recursor} rcode=SERVFAIL"
        ),
        "ERROR agent.dns all resolvers failed for question from client \
         question={www.example.org. 1 1} client=* client_network=tcp"
            .to_owned(),
        "DEBUG agent.dns request served from client name=www.example.org. type=A class=IN \
         latency=* client=* client_network=tcp"
            .to_owned(),
        "DEBUG agent.dns recursor disabled".to_owned(),
        format!("INFO agent.dns Stopping server protocol=DNS address={address} network=tcp"),
        format!("INFO agent.dns Stopping server protocol=DNS address={address} network=udp"),
    ];
    assert_eq!(lines, expected);
}

/// Remembers what was observed.
#[derive(Default)]
struct Observed(Mutex<Vec<(QuestionKind, u16)>>);

impl DnsTimings for Observed {
    fn observe(&self, kind: QuestionKind, record_type: dns::RecordType, _: Duration) {
        self.0.lock().expect("no panic").push((kind, record_type.0));
    }
}

#[tokio::test]
async fn every_answer_is_timed_by_what_it_was_about() {
    let observed = Arc::new(Observed::default());
    let timings: Option<Arc<dyn DnsTimings>> = Some(observed.clone());
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let options = DnsServerOptions { listen, settings: settings(&[], PATIENCE), timings };
    for ready in [true, false] {
        let answerer = Answerer::new(options.settings.clone(), Arc::new(catalog(ready)), None);
        let client = Client { address: options.listen[0], transport: dns::Transport::Tcp };
        let reply = answerer.answer(&question(1, "web.service.consul", A), client).await;
        assert_eq!(Reply::read(&reply.expect("a reply")).answers.len(), 1);
    }
    let server = DnsServer::start(options, Arc::new(catalog(true))).await.expect("free ports");
    let address = server.addresses()[0];
    for (name, record_type) in [("web.service.consul", A), ("1.0.0.10.in-addr.arpa", PTR)] {
        ask(address, name, record_type).await;
    }
    ask(address, "slow.consul", A).await;
    ask_tcp(address, "www.example.org", A).await;
    let (domain, reverse) = ((QuestionKind::Domain, A), (QuestionKind::Reverse, PTR));
    let expected = [domain, reverse, domain, (QuestionKind::Other, A)];
    assert_eq!(*observed.0.lock().expect("no panic"), expected);
    in_time(server.shutdown()).await;
}

#[tokio::test]
async fn settings_come_from_the_configuration() {
    let config = config::runtime::DnsConfig {
        domain: "consul.".to_owned(),
        recursors: vec!["192.0.2.1:99".to_owned(), "localhost:5353".to_owned()],
        recursor_strategy: config::runtime::RecursorStrategy::Random,
        udp_answer_limit: 7,
        ..Default::default()
    };
    let made = DnsSettings::new(&config, "dc7", true).await.expect("good settings");
    assert_eq!(made.recursors[0], "192.0.2.1:99".parse().expect("an address"));
    assert!(made.recursors[1].ip().is_loopback() && made.recursors[1].port() == 5353);
    assert_eq!(made.recursor_strategy, dns::RecursorStrategy::Random);
    let options = made.zones.options();
    assert_eq!((options.datacenter.as_str(), options.udp_answer_limit), ("dc7", 7));
    assert!(options.has_recursors && options.translate_wan_addrs);
    let wrong = config::runtime::DnsConfig { recursors: vec!["a..b".to_owned()], ..config };
    let error = DnsSettings::new(&wrong, "dc7", true).await.expect_err("no address");
    assert_eq!(error.to_string(), "Invalid recursor address: a..b");
}

#[test]
fn a_future_that_has_to_wait_is_not_ready_now() {
    assert_eq!(ready_now(std::future::ready(4)), Some(4));
    assert_eq!(ready_now(std::future::pending::<u8>()), None);
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Remembers lines as `LEVEL target message field=value…`; what differs from run to
/// run is `*`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        if target.starts_with("agent") {
            let line = format!("{level} {target} {}{}", fields.message, fields.rest);
            self.0.lock().expect("no panic").push(line);
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name @ ("latency" | "client") => write!(self.rest, " {name}=*"),
            name => write!(self.rest, " {name}={value:?}"),
        };
        written.expect("a string");
    }
}
