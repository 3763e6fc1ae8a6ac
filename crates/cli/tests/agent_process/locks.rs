//! Locks as users hold them: by `consul lock` and by the client library.
//!
//! The leader election is played with processes of their own: this test program, started again
//! with [`candidate`] alone. Each candidate writes down the moments at which it held the lock,
//! on the clock that all processes of the machine share.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::lock::{Lock, LockOptions};
use client::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use types::GoDuration;

use super::support::{Agent, text, until};

/// The time of a candidate's session. The server may take twice that.
const TTL: Duration = Duration::from_secs(2);
/// How long nobody gets a lock whose session has ended.
const LOCK_DELAY: Duration = Duration::from_secs(1);
/// What a busy machine and the pauses between two tries may take on top.
const SLACK: Duration = Duration::from_secs(10);

#[test]
fn the_child_runs_while_the_lock_is_held() {
    let agent = ready(&[]);
    let held = format!(
        "echo $CONSUL_LOCK_HELD; {} kv get -detailed jobs/.lock | grep -c Session; exit 4",
        env!("CARGO_BIN_EXE_consul")
    );
    let output = lock(&agent, &["-verbose", "-child-exit-code", "/jobs/", &held]);
    assert_eq!(text(&output.stderr), "Error running handler: exit status 4\n");
    assert_eq!(
        text(&output.stdout),
        "Setting up lock at path: jobs/.lock\nAttempting lock acquisition\nStarting handler\n\
         true\n1\nChild terminated, releasing lock\nCleanup succeeded\n"
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(agent.http("GET", "/v1/kv/jobs?keys", "").0, 404, "the key is gone");
    assert_eq!(agent.http("GET", "/v1/session/list", "").1, "[]", "and the session");
}

#[test]
fn a_lock_that_is_lost_ends_the_child_and_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let agent = ready(&[]);
    let child = format!("sh -c 'echo $$ > {}; exec sleep 1000'; echo survived", pid.display());
    let holder = agent.spawn_consul(&["lock", "-verbose", "jobs", &child]);
    until(|| fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')));
    let key = "/v1/kv/jobs/.lock";
    assert_eq!(agent.http("DELETE", key, ""), (200, "true".to_owned()));
    let output = holder.wait_with_output().unwrap();
    let lines = text(&output.stdout);
    assert!(lines.contains("Lock lost, killing child\nTerminating child pid "), "{lines}");
    assert!(!lines.contains("survived"), "{lines}");
    assert_eq!(text(&output.stderr), "Error running handler: signal: terminated\n");
    let process = PathBuf::from("/proc").join(fs::read_to_string(&pid).unwrap().trim());
    until(|| {
        // A process that nobody has waited for yet is as good as gone.
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    });
}

#[test]
fn signals_reach_the_child_and_those_that_end_the_command_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let agent = ready(&[]);
    let child = format!(
        "trap 'echo usr1 >> {got}' USR1; trap 'echo term >> {got}; exit 7' TERM; \
         touch {ready}; while :; do sleep 0.02; done",
        got = file("got").display(),
        ready = file("ready").display()
    );
    let holder = agent.spawn_consul(&["lock", "-child-exit-code", "jobs", &child]);
    until(|| file("ready").exists());
    signal(&holder, Signal::USR1);
    until(|| fs::read_to_string(file("got")).is_ok_and(|got| got == "usr1\n"));
    signal(&holder, Signal::TERM);
    let output = holder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(errors.ends_with("Error running handler: exit status 7\n"), "{errors}");
    assert!(fs::read_to_string(file("got")).unwrap().starts_with("usr1\nterm\n"));
    assert_eq!(agent.http("GET", "/v1/kv/jobs?keys", "").0, 404, "the lock was given back");
}

#[test]
fn a_lock_that_others_hold_is_waited_for_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let agent = ready(&[]);
    let wait = format!(
        "touch {}; while [ ! -e {} ]; do sleep 0.02; done",
        file("held").display(),
        file("go").display()
    );
    let first = agent.spawn_consul(&["lock", "jobs", &wait]);
    until(|| file("held").exists());
    let output = lock(&agent, &["-timeout=100ms", "jobs", "echo no"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str(), text(&output.stdout).as_str()),
        (Some(1), "Shutdown triggered or timeout during lock acquisition\n", "")
    );
    let second = agent.spawn_consul(&["lock", "jobs", "echo mine"]);
    until(|| agent.http("GET", "/v1/session/list", "").1.matches("\"ID\"").count() == 2);
    fs::write(file("go"), "").unwrap();
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(text(&second.wait_with_output().unwrap().stdout), "mine\n");
}

#[test]
fn a_semaphore_has_as_many_holders_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let agent = ready(&[]);
    let wait = format!(
        "echo $$ >> {}; while [ ! -e {} ]; do sleep 0.02; done",
        file("held").display(),
        file("go").display()
    );
    let holders: Vec<_> =
        (0..4).map(|_| agent.spawn_consul(&["lock", "-n=2", "jobs", &wait])).collect();
    let held = || fs::read_to_string(file("held")).unwrap_or_default().lines().count();
    // All four are contenders, and two of them hold a slot.
    until(|| agent.http("GET", "/v1/kv/jobs?keys", "").1.matches("jobs/").count() == 5);
    until(|| held() >= 2);
    let value = agent.http("GET", "/v1/kv/jobs/.lock?raw", "").1;
    assert!(value.starts_with("{\"Limit\":2,\"Holders\":{"), "{value}");
    assert_eq!((value.matches(":true").count(), held()), (2, 2), "{value}");
    let output = lock(&agent, &["-n=3", "jobs", "true"]);
    assert_eq!(
        text(&output.stderr),
        "Lock acquisition failed: semaphore limit conflict (lock: 2, local: 3)\n"
    );
    fs::write(file("go"), "").unwrap();
    for holder in holders {
        assert!(holder.wait_with_output().unwrap().status.success());
    }
    assert_eq!(held(), 4);
    assert_eq!(agent.http("GET", "/v1/kv/jobs?keys", ""), (404, String::new()));
}

/// Never two leaders, and a new one in time, whatever happens to the old one.
#[test]
fn a_leader_that_dies_stops_or_is_cut_off_is_replaced_and_never_doubled() {
    let agent = ready(&["-hcl", "session_ttl_min = \"1s\""]);
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for blow in [Blow::Kill, Blow::Stop, Blow::Cut] {
            let (port, folder) = (agent.ports[0], folder.path());
            scope.spawn(move || strike(port, folder, blow));
        }
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Kill,
    Stop,
    Cut,
}

fn strike(port: u16, folder: &Path, blow: Blow) {
    let link = Link::to(port);
    let key = format!("leader/{blow:?}");
    let file = |name: &str| folder.join(format!("{blow:?}-{name}"));
    let mut first = Candidate::start(&key, link.port, file("first"));
    first.until_says("leads");
    let mut second = Candidate::start(&key, port, file("second"));
    second.until_says("waits");

    let struck = Instant::now();
    match blow {
        Blow::Kill => first.signal(Signal::KILL),
        Blow::Stop => first.signal(Signal::STOP),
        Blow::Cut => link.cut.store(true, Ordering::SeqCst),
    }
    second.until_says("leads");
    let took = struck.elapsed();
    let bound = TTL * 2 + LOCK_DELAY + SLACK;
    assert!(took <= bound, "{blow:?}: a new leader after {took:?}, more than {bound:?}");
    match blow {
        Blow::Kill => {}
        Blow::Stop => first.signal(Signal::CONT),
        Blow::Cut => first.until_says("lost"),
    }
    if blow != Blow::Kill {
        first.until_says("lost");
    }
    let (first, second) = (first.moments(), second.moments());
    let last = first.iter().max().expect("the first one led");
    let begin = second.iter().min().expect("the second one led");
    assert!(last < begin, "{blow:?}: two leaders for {} ms", (last - begin) / 1_000_000);
}

/// A process that wants to lead.
struct Candidate {
    child: Child,
    file: PathBuf,
}

impl Candidate {
    fn start(key: &str, port: u16, file: PathBuf) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "locks::candidate", "--ignored", "--nocapture"])
            .env("CANDIDATE_KEY", key)
            .env("CANDIDATE_AGENT", format!("127.0.0.1:{port}"))
            .env("CANDIDATE_FILE", &file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, file }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn until_says(&mut self, word: &str) {
        let file = self.file.clone();
        until(|| {
            let said = fs::read_to_string(&file).unwrap_or_default();
            said.lines().any(|line| line == word)
        });
    }

    /// When it held the lock, in nanoseconds.
    fn moments(&self) -> Vec<i128> {
        let said = fs::read_to_string(&self.file).unwrap();
        said.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what a [`Candidate`] runs.
#[test]
#[ignore = "a process of the leader election"]
fn candidate() {
    let Ok(key) = std::env::var("CANDIDATE_KEY") else { return };
    let mut said = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(std::env::var("CANDIDATE_FILE").unwrap())
        .unwrap();
    let mut say = |line: String| said.write_all(format!("{line}\n").as_bytes()).unwrap();
    let config = Config { address: std::env::var("CANDIDATE_AGENT").unwrap(), ..Config::default() };
    let client = Client::new(config).unwrap();
    let options = LockOptions {
        session_ttl: GoDuration::from(TTL),
        lock_delay: GoDuration::from(LOCK_DELAY),
        monitor_retries: 100,
        ..LockOptions::new(key)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        say("waits".to_owned());
        let lock = Lock::new(client, options).unwrap();
        let held = lock.acquire(std::future::pending()).await.unwrap().expect("it waits for ever");
        say("leads".to_owned());
        loop {
            // Taken first: the lock was held then if it is held when it is looked at later.
            let now = clock_gettime(ClockId::Monotonic);
            if !held.is_held() {
                break;
            }
            say((i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).to_string());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        say("lost".to_owned());
    });
}

/// A way to the agent that can be cut: then bytes are taken and go nowhere.
struct Link {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Link {
    fn to(agent: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect((Ipv4Addr::LOCALHOST, agent)).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let is_cut = Arc::clone(&is_cut);
                    std::thread::spawn(move || carry(from, to, &is_cut));
                }
            }
        });
        Self { port, cut }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if !is_cut.load(Ordering::SeqCst) && to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    if !is_cut.load(Ordering::SeqCst) {
        // The other side may have closed it already.
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// An agent whose node is in the catalog: a session needs its check.
fn ready(words: &[&str]) -> Agent {
    let mut agent = Agent::start(&[&["-dev"], words].concat());
    agent.await_line("Consul agent running!");
    agent.until(&|agent| agent.http("GET", "/v1/health/node/agent", "").1, "serfHealth");
    agent
}

fn lock(agent: &Agent, words: &[&str]) -> std::process::Output {
    agent.spawn_consul(&[&["lock"], words].concat()).wait_with_output().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}
