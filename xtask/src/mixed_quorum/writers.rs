//! Writers that never rest: each tries a write at one server after the other until it is
//! acknowledged, so that a write may take long but not fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::Value;

use super::registrar::Registrar;
use crate::live::http::Connection;
use crate::live::server::pause;

const WRITERS: usize = 4;

/// The one who writes all but plain keys comes after the others.
const REGISTRAR: usize = WRITERS;

const ALL: usize = WRITERS + 1;

/// Keys of each writer, written again and again.
const KEYS: u64 = 200;

/// A server that has not answered within this time is given up for the moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// A write that nobody acknowledges for this long has failed.
const FAILED: Duration = Duration::from_secs(60);

/// Between two writes, so that the servers have time for each other.
const BREATH: Duration = Duration::from_millis(4);

pub(super) struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<anyhow::Result<BTreeMap<String, String>>>>,
}

struct Shared {
    servers: Vec<SocketAddr>,
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
    is_paused: AtomicBool,
    /// Writers that stand still because they were asked to.
    resting: AtomicUsize,
    failure: Mutex<Option<String>>,
}

impl Writers {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        let shared = Arc::new(Shared {
            servers,
            acknowledged: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            resting: AtomicUsize::new(0),
            failure: Mutex::new(None),
        });
        Self { shared, threads: Vec::new() }
    }

    pub(super) fn start(&mut self) {
        for number in 0..ALL {
            let shared = Arc::clone(&self.shared);
            self.threads.push(std::thread::spawn(move || {
                let outcome = match number {
                    REGISTRAR => shared.register_all(),
                    number => shared.write_all(number),
                };
                if let Err(error) = &outcome {
                    let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert_with(|| format!("{error:#}"));
                }
                outcome
            }));
        }
    }

    /// Waits until so many more writes were acknowledged.
    pub(super) fn until_more(&self, count: usize) -> anyhow::Result<()> {
        let wanted = self.shared.acknowledged.load(Ordering::SeqCst) + count;
        self.until(|shared| shared.acknowledged.load(Ordering::SeqCst) >= wanted)
    }

    /// Waits until no write is under way, and lets none begin.
    pub(super) fn pause(&self) {
        self.shared.is_paused.store(true, Ordering::SeqCst);
        // A writer that failed is told of by whoever waits next.
        let _ = self.until(|shared| shared.resting.load(Ordering::SeqCst) == ALL);
    }

    pub(super) fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::SeqCst);
    }

    /// How many writes were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Ends the writers. Returns the last acknowledged value of each key.
    pub(super) fn finish(&mut self) -> anyhow::Result<BTreeMap<String, String>> {
        self.pause();
        self.shared.is_over.store(true, Ordering::SeqCst);
        let mut all = BTreeMap::new();
        for thread in self.threads.drain(..) {
            let Ok(done) = thread.join() else { bail!("a writer panicked") };
            all.extend(done?);
        }
        Ok(all)
    }

    fn until(&self, is_done: impl Fn(&Shared) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + FAILED;
        while !is_done(&self.shared) {
            let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(failure) = &*failure {
                bail!("a writer failed: {failure}");
            }
            drop(failure);
            ensure!(Instant::now() < until, "the writers do not go on");
            pause(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // What it had to say was said, or is of no interest any more.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn write_all(&self, writer: usize) -> anyhow::Result<BTreeMap<String, String>> {
        let mut done = BTreeMap::new();
        let mut at = writer;
        for number in 0_u64.. {
            self.rest();
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let key = format!("mixed/{writer}/{}", number % KEYS);
            let value = format!("{number}");
            self.write(&key, &value, &mut at)?;
            done.insert(key, value);
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            pause(BREATH);
        }
        Ok(done)
    }

    /// Writes what may be refused; at whatever server takes it.
    fn register_all(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut registrar = Registrar::new(fastrand::u64(..));
        for number in 0_usize.. {
            self.rest();
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let request = registrar.next();
            let body = match &request.body {
                Value::Null => String::new(),
                body => body.to_string(),
            };
            let server = self.servers[number % self.servers.len()];
            let answer = Connection::open_patient(server, PATIENCE).and_then(|mut connection| {
                connection.ask(request.method, &request.target, body.as_bytes())
            });
            // One that was lost may have been done: there is nothing to look for afterwards.
            if let Ok(answer) = answer
                && answer.status == 200
            {
                registrar.made(&request, &answer.body);
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            pause(BREATH);
        }
        Ok(BTreeMap::new())
    }

    fn rest(&self) {
        if self.is_paused.load(Ordering::SeqCst) {
            self.resting.fetch_add(1, Ordering::SeqCst);
            while self.is_paused.load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
                pause(Duration::from_millis(5));
            }
            self.resting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn write(&self, key: &str, value: &str, at: &mut usize) -> anyhow::Result<()> {
        let since = Instant::now();
        let mut last = String::new();
        while since.elapsed() < FAILED && !self.is_over.load(Ordering::SeqCst) {
            let server = self.servers[*at % self.servers.len()];
            let answer = Connection::open_patient(server, PATIENCE).and_then(|mut connection| {
                connection.ask("PUT", &format!("/v1/kv/{key}"), value.as_bytes())
            });
            match answer {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = answer.text(),
                Err(error) => last = error.to_string(),
            }
            *at += 1;
            pause(BREATH);
        }
        bail!("nobody took {key}: {last}")
    }
}
