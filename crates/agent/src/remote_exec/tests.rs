//! Jobs carried out with real programs over a store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use contract::CallError;
use http_server::BoxFuture;
use types::SessionId;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Keys in memory, under one session that can end.
struct FakeStore {
    kept: Mutex<BTreeMap<String, Bytes>>,
    session: watch::Sender<bool>,
    changed: watch::Sender<()>,
}

impl FakeStore {
    fn with_job(spec: &str) -> Arc<Self> {
        let job = ("_rexec/s1/job".to_owned(), Bytes::copy_from_slice(spec.as_bytes()));
        Arc::new(Self {
            kept: Mutex::new(BTreeMap::from([job])),
            session: watch::Sender::new(true),
            changed: watch::Sender::new(()),
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        let kept = self.kept.lock().unwrap();
        kept.get(&format!("_rexec/s1/n1/{name}")).map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    /// All output so far.
    fn output(&self) -> String {
        let kept = self.kept.lock().unwrap();
        let pieces = kept.iter().filter(|(key, _)| key.starts_with("_rexec/s1/n1/out/"));
        pieces.map(|(_, piece)| String::from_utf8(piece.to_vec()).unwrap()).collect()
    }

    async fn until<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let seen = async {
            loop {
                if let Some(seen) = look(self) {
                    return seen;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("it happens")
    }
}

impl JobStore for FakeStore {
    fn read(&self, key: &str, _consistent: bool) -> BoxFuture<Result<Option<Bytes>, CallError>> {
        let found = self.kept.lock().unwrap().get(key).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn write(
        &self,
        key: &str,
        value: Bytes,
        session: &SessionId,
    ) -> BoxFuture<Result<bool, CallError>> {
        assert_eq!(session.as_str(), "s1");
        let result = match *self.session.borrow() {
            true => {
                self.kept.lock().unwrap().insert(key.to_owned(), value);
                Ok(true)
            }
            false => Err(CallError::failed("invalid session \"s1\"")),
        };
        self.changed.send_replace(());
        Box::pin(async move { result })
    }
}

/// An agent that carries out the job of the store.
struct Agent {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    _orders: mpsc::Sender<UserEvent>,
}

async fn carry_out(store: &Arc<FakeStore>) -> Agent {
    let exec = RemoteExec { node: "n1".into(), shell: "/bin/sh".to_owned(), store: store.clone() };
    let (orders, queue) = mpsc::channel(1);
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(exec.run(queue, stopped));
    let payload = types::Blob::from(&br#"{"Prefix":"_rexec","Session":"s1"}"#[..]);
    orders.send(UserEvent { payload, ..UserEvent::default() }).await.unwrap();
    Agent { tasks, stop, _orders: orders }
}

/// Waits until a process is gone, or nobody reaps it.
fn await_end(pid: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
        if state.is_empty() || state.starts_with(['Z', 'X']) {
            return;
        }
        assert!(Instant::now() < until, "{pid} lives: {stat}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_command_is_run_by_the_shell_and_what_it_wrote_is_stored() {
    let store =
        FakeStore::with_job(r#"{"Command":"echo one; echo two >&2; exit 3","Wait":2000000000}"#);
    let _agent = carry_out(&store).await;
    assert_eq!(store.until(|store| store.text("exit")).await, "3");
    assert_eq!(store.text("ack").as_deref(), Some(""));
    assert_eq!(store.output(), "one\ntwo\n");
}

#[tokio::test]
async fn words_are_run_without_a_shell_and_what_cannot_be_run_says_why() {
    let store = FakeStore::with_job(r#"{"Args":["echo","a  $b"],"Wait":2000000000}"#);
    let _agent = carry_out(&store).await;
    assert_eq!(store.until(|store| store.text("exit")).await, "0");
    assert_eq!(store.output(), "a  $b\n");

    let store = FakeStore::with_job(r#"{"Args":["/nonexistent/x"],"Wait":2000000000}"#);
    let _agent = carry_out(&store).await;
    assert_eq!(store.until(|store| store.text("exit")).await, "255");
    assert_eq!(store.output(), "fork/exec /nonexistent/x: no such file or directory\n");
}

#[tokio::test]
async fn a_script_is_run_as_a_file_of_its_own_that_is_gone_afterwards() {
    // #!/bin/sh
    // echo "$0"
    let script = "IyEvYmluL3NoCmVjaG8gIiQwIgo=";
    let store = FakeStore::with_job(&format!(r#"{{"Script":"{script}","Wait":2000000000}}"#));
    let _agent = carry_out(&store).await;
    assert_eq!(store.until(|store| store.text("exit")).await, "0");
    let path = store.output();
    assert!(path.contains("/rexec"), "{path}");
    assert!(!std::path::Path::new(path.trim_end()).exists());
}

#[tokio::test]
async fn a_program_that_a_signal_ended_has_the_exit_code_of_go() {
    let store = FakeStore::with_job(r#"{"Command":"kill -9 $$","Wait":2000000000}"#);
    let _agent = carry_out(&store).await;
    assert_eq!(store.until(|store| store.text("exit")).await, "-1");
}

/// A program that starts another one, tells both ids, and waits.
const TWO_PROCESSES: &str = r#"{"Command":"sleep 1000 & echo $$ $!; wait","Wait":200000000}"#;

async fn two_processes(store: &FakeStore) -> Vec<String> {
    let told = store.until(|store| store.output().split_once('\n').map(|(l, _)| l.to_owned()));
    told.await.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn when_the_session_ends_the_program_is_killed_with_all_it_started() {
    let store = FakeStore::with_job(TWO_PROCESSES);
    let _agent = carry_out(&store).await;
    let pids = two_processes(&store).await;
    store.session.send_replace(false);
    for pid in pids {
        tokio::task::spawn_blocking(move || await_end(&pid)).await.unwrap();
    }
    assert_eq!(store.text("exit"), None);
}

#[tokio::test]
async fn when_the_agent_stops_the_program_is_killed_with_all_it_started() {
    let store = FakeStore::with_job(TWO_PROCESSES);
    let mut agent = carry_out(&store).await;
    let pids = two_processes(&store).await;
    agent.stop.send_replace(true);
    while agent.tasks.join_next().await.is_some() {}
    for pid in pids {
        tokio::task::spawn_blocking(move || await_end(&pid)).await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_closed_its_output_is_waited_for_with_signs_of_life() {
    let store =
        FakeStore::with_job(r#"{"Command":"exec >&- 2>&-; sleep 0.5; exit 4","Wait":100000000}"#);
    let _agent = carry_out(&store).await;
    store.until(|store| store.text("out/00001")).await;
    assert_eq!(store.until(|store| store.text("exit")).await, "4");
}
