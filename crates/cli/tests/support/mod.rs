//! An agent as a process, as a user would start it.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A started agent. Killed when dropped.
pub(crate) struct Agent {
    pub(crate) child: Child,
    /// HTTP, DNS, server, and LAN and WAN gossip.
    pub(crate) ports: [u16; 5],
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// All lines that were taken so far.
    pub(crate) seen: Vec<String>,
}

impl Agent {
    pub(crate) fn start(words: &[&str]) -> Self {
        Self::start_on(free_ports(), words)
    }

    pub(crate) fn start_on(ports: [u16; 5], words: &[&str]) -> Self {
        Self::start_with(ports, words, &[])
    }

    /// Starts with these environment variables.
    pub(crate) fn start_with(ports: [u16; 5], words: &[&str], variables: &[(&str, &str)]) -> Self {
        let [http, dns, server, serf_lan, serf_wan] = ports;
        let mut child = command()
            .args(["agent", "-node=agent", "-bind=127.0.0.1"])
            .arg(format!("-http-port={http}"))
            .arg(format!("-dns-port={dns}"))
            .arg(format!("-server-port={server}"))
            .arg(format!("-serf-lan-port={serf_lan}"))
            .arg(format!("-serf-wan-port={serf_wan}"))
            .args(["-grpc-port=-1", "-grpc-tls-port=-1"])
            .args(words)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        // As many lines as no test has, so that the agent never waits for its reader.
        let (sender, lines) = sync_channel(100_000);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, ports, lines, reader: Some(reader), seen: Vec::new() }
    }

    /// Waits for a line that contains this text, behind those that were waited for.
    pub(crate) fn await_line(&mut self, text: &str) -> String {
        // Other lines may come as long as it likes.
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line says {text:?}:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for a line that contains this text, or finds it among those that are there.
    pub(crate) fn await_line_in_any_order(&mut self, text: &str) {
        if !self.seen.iter().any(|line| line.contains(text)) {
            self.await_line(text);
        }
    }

    /// Asks until the agent says that its log level is this one; a reload has no last line.
    pub(crate) fn until_log_level(&self, level: &str) {
        let level = format!("\"loglevel\":\"{level}\"");
        let words = |agent: &Self| {
            let (_, body) = agent.http("GET", "/v1/agent/self", "");
            body.to_lowercase().replace("\": \"", "\":\"")
        };
        self.until(&words, &level);
    }

    /// Asks again and again until the answer contains what is wanted.
    pub(crate) fn until(&self, ask: &dyn Fn(&Self) -> String, wanted: &str) {
        until_some(|| {
            let answer = ask(self);
            match answer.contains(wanted) {
                true => Ok(()),
                false => Err(format!("there is no {wanted:?} in {answer}")),
            }
        });
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end of the process and gives its exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        // The output ends with the process.
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        self.child.wait().unwrap().code().expect("the agent ends by itself")
    }

    pub(crate) fn last_line(&self) -> &str {
        self.seen.last().map_or("", String::as_str)
    }

    pub(crate) fn http(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        http(self.ports[0], method, target, body)
    }

    /// Asks over DNS for the IPv4 addresses of a name and counts them.
    pub(crate) fn dns_answers(&self, name: &str) -> u16 {
        let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in name.split('.').chain([""]) {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(b"\x00\x01\x00\x01");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&query, (Ipv4Addr::LOCALHOST, self.ports[1])).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        assert!(length > 12 && answer[..2] == query[..2], "{:?}", &answer[..length]);
        u16::from_be_bytes([answer[6], answer[7]])
    }

    /// Runs a command of the command line against the agent: exit code and output.
    pub(crate) fn consul(&self, words: &[&str]) -> (i32, String) {
        let address = format!("127.0.0.1:{}", self.ports[0]);
        let output = command().args(words).env("CONSUL_HTTP_ADDR", address).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout))
    }

    /// Starts a command of the command line that runs on beside the test.
    pub(crate) fn spawn_consul(&self, words: &[&str]) -> Child {
        command()
            .args(words)
            .env("CONSUL_HTTP_ADDR", format!("127.0.0.1:{}", self.ports[0]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already. Its output ends with it, and the reader with that.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// Waits for something that leaves no trace to wait at.
pub(crate) fn until(is_so: impl Fn() -> bool) {
    until_some(|| is_so().then_some(()).ok_or_else(|| "it does not come to pass".to_owned()));
}

/// Looks again and again until there is what is wanted; an error says what is there instead.
pub(crate) fn until_some<T>(look: impl Fn() -> Result<T, String>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < until, "{instead}"),
        }
        park_timeout(Duration::from_millis(5));
    }
}

/// Asks whoever listens on a port.
pub(crate) fn http(port: u16, method: &str, target: &str, body: &str) -> (u16, String) {
    receive(send(port, method, target, body))
}

/// Asks, and leaves the answer for [`receive`].
pub(crate) fn send(port: u16, method: &str, target: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Waits for the answer to what was sent.
pub(crate) fn receive(mut stream: TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head[9..12].parse().unwrap(), body.trim_end().to_owned())
}

/// The binary, without the settings of whoever runs the tests.
pub(crate) fn command() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_consul")));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Ports that nobody uses, each given once. They are below those of outgoing connections,
/// one of which could otherwise take a port before the agent does.
///
/// Tests run in several processes at a time. They keep apart by blocks of ports: a block is
/// the process's that listens on its first port, which it does as long as it lives.
pub(crate) fn free_ports() -> [u16; 5] {
    static MINE: Mutex<(Vec<TcpListener>, Range<u16>)> = Mutex::new((Vec::new(), 0..0));
    let mut mine = MINE.lock().unwrap_or_else(PoisonError::into_inner);
    let (guards, left) = &mut *mine;
    [(); 5].map(|()| {
        loop {
            match left.next() {
                Some(port) if is_free(port) => return port,
                Some(_) => {}
                None => {
                    let (guard, block) = take_block();
                    guards.push(guard);
                    *left = block;
                }
            }
        }
    })
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

/// A block of ports: its first one, held, and the others.
fn take_block() -> (TcpListener, Range<u16>) {
    const FIRST: u16 = 12_000;
    const SIZE: u16 = 50;
    const COUNT: u16 = 360;
    // Neighbours look in different places first.
    let start = std::process::id().wrapping_mul(2_654_435_761) % u32::from(COUNT);
    let blocks = (start as u16..COUNT).chain(0..start as u16).map(|block| FIRST + block * SIZE);
    let mut held = blocks.filter_map(|first| {
        let guard = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?;
        Some((guard, first + 1..first + SIZE))
    });
    held.next().expect("a block of ports is free")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
