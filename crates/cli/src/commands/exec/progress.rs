//! What the nodes that carry out a job have told so far: which keys to read next, what to
//! print, when to give up. No I/O.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use types::NodeName;
use types::remote_exec::{JobRef, Part};

/// A part that a node wrote and that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Its key.
    pub(super) key: String,
    node: NodeName,
    part: Part,
}

/// A line to print, and whether it is for those alone who want to know everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// For everybody.
    Plain(String),
    /// For those who said `-verbose`.
    Verbose(String),
}

/// The progress of one job.
#[derive(Debug)]
pub(super) struct Progress {
    job: JobRef,
    wait: Duration,
    seen: BTreeSet<String>,
    acknowledged: BTreeSet<NodeName>,
    completed: BTreeSet<NodeName>,
    failed: bool,
    last_news: Instant,
}

impl Progress {
    /// A job that was just ordered. Without news for `wait` it is over, or for twice as
    /// long while a node that began has not ended.
    pub(super) fn new(job: JobRef, wait: Duration, now: Instant) -> Self {
        Self {
            job,
            wait,
            seen: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            completed: BTreeSet::new(),
            failed: false,
            last_news: now,
        }
    }

    /// Takes all keys of the job. Gives those to read, in the order in which a node writes
    /// them.
    pub(super) fn handle_keys(&mut self, keys: Vec<String>, now: Instant) -> Vec<Item> {
        let mut news: Vec<Item> = keys
            .into_iter()
            .filter_map(|key| {
                let (node, part) = self.job.part_of(&key)?;
                self.seen.insert(key.clone()).then_some(Item { key, node, part })
            })
            .collect();
        news.sort_by(|a, b| (&a.node, a.part).cmp(&(&b.node, b.part)));
        if !news.is_empty() {
            self.last_news = now;
        }
        news
    }

    /// Takes the value of a key; `None` if it is not there any more.
    pub(super) fn handle_value(&mut self, item: &Item, value: Option<&[u8]>) -> Vec<Line> {
        let node = &item.node;
        let Some(value) = value else { return Vec::new() };
        match item.part {
            Part::Ack => {
                self.acknowledged.insert(node.clone());
                vec![Line::Verbose(format!("==> {node}: acknowledged"))]
            }
            Part::Output(_) if value.is_empty() => {
                vec![Line::Verbose(format!("==> {node}: heartbeat received"))]
            }
            // What follows the last line break is a line too, even if it is empty.
            Part::Output(_) => String::from_utf8_lossy(value)
                .split('\n')
                .map(|line| Line::Plain(format!("    {node}: {line}").trim_end().to_owned()))
                .collect(),
            Part::Exit => {
                let code = String::from_utf8_lossy(value);
                self.completed.insert(node.clone());
                self.failed |= code != "0";
                vec![Line::Plain(format!("==> {node}: finished with exit code {code}"))]
            }
        }
    }

    /// Whether a value needs to be read: an acknowledgement is told by its key alone.
    pub(super) fn is_told_by_key(item: &Item) -> bool {
        item.part == Part::Ack
    }

    /// When it is over unless there are news.
    pub(super) fn poll_timeout(&self) -> Instant {
        let outstanding = self.acknowledged.len() > self.completed.len();
        self.last_news + if outstanding { self.wait * 2 } else { self.wait }
    }

    /// The line at the end.
    pub(super) fn summary(&self) -> String {
        let (completed, acknowledged) = (self.completed.len(), self.acknowledged.len());
        format!("{completed} / {acknowledged} node(s) completed / acknowledged")
    }

    /// 0 if all that began ended well, else 2.
    pub(super) fn exit_code(&self) -> u8 {
        if self.failed || self.completed.len() < self.acknowledged.len() { 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dialogue {
        progress: Progress,
        now: Instant,
        keys: Vec<String>,
    }

    impl Dialogue {
        fn new() -> Self {
            let job = JobRef { prefix: "_rexec".to_owned(), session: "s".into() };
            let now = Instant::now();
            let progress = Progress::new(job, Duration::from_secs(2), now);
            Self { progress, now, keys: vec!["_rexec/s/job".to_owned()] }
        }

        /// The nodes wrote these parts; gives what is printed.
        fn news(&mut self, parts: &[(&str, &str)]) -> Vec<String> {
            self.keys.extend(parts.iter().map(|(part, _)| format!("_rexec/s/{part}")));
            self.keys.sort();
            let mut lines = Vec::new();
            for item in self.progress.handle_keys(self.keys.clone(), self.now) {
                let part = item.key.strip_prefix("_rexec/s/").unwrap();
                let (_, value) = parts.iter().find(|(known, _)| *known == part).unwrap();
                lines.extend(self.progress.handle_value(&item, Some(value.as_bytes())));
            }
            lines
                .into_iter()
                .map(|line| match line {
                    Line::Plain(text) => text,
                    Line::Verbose(text) => format!("({text})"),
                })
                .collect()
        }

        fn after(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn is_over(&self) -> bool {
            self.progress.poll_timeout() <= self.now
        }
    }

    #[test]
    fn output_comes_before_the_end_of_its_node_and_each_part_once() {
        let mut job = Dialogue::new();
        let printed = job.news(&[
            ("n1/ack", ""),
            ("n1/exit", "3"),
            ("n1/out/00001", "c"),
            ("n1/out/00000", "a\nb\n"),
            ("n2/ack", ""),
            ("n2/out/00000", ""),
        ]);
        assert_eq!(
            printed,
            [
                "(==> n1: acknowledged)",
                "    n1: a",
                "    n1: b",
                "    n1:",
                "    n1: c",
                "==> n1: finished with exit code 3",
                "(==> n2: acknowledged)",
                "(==> n2: heartbeat received)",
            ]
        );
        assert_eq!(job.news(&[]), Vec::<String>::new());
        assert_eq!(job.news(&[("n2/exit", "0")]), ["==> n2: finished with exit code 0"]);
        assert_eq!(job.progress.summary(), "2 / 2 node(s) completed / acknowledged");
        assert_eq!(job.progress.exit_code(), 2);
    }

    #[test]
    fn it_is_over_when_nobody_says_anything_and_later_while_somebody_has_begun() {
        let mut job = Dialogue::new();
        job.after(1);
        assert!(!job.is_over());
        job.after(1);
        assert!(job.is_over());
        assert_eq!((job.progress.exit_code(), job.progress.summary()), {
            (0, "0 / 0 node(s) completed / acknowledged".to_owned())
        });

        let mut job = Dialogue::new();
        job.news(&[("n1/ack", "")]);
        job.after(3);
        assert!(!job.is_over());
        job.news(&[("n1/out/00000", "")]);
        job.after(3);
        assert!(!job.is_over(), "a sign of life counts");
        job.after(1);
        assert!(job.is_over());
        assert_eq!(job.progress.exit_code(), 2, "it did not end");
        job.news(&[("n1/exit", "0")]);
        assert_eq!(job.progress.exit_code(), 0);
        job.after(1);
        assert!(!job.is_over(), "another one may still begin");
        job.after(1);
        assert!(job.is_over());
    }

    #[test]
    fn what_is_gone_when_it_is_read_and_what_is_no_part_says_nothing() {
        let mut job = Dialogue::new();
        let keys = vec!["_rexec/s/n1/exit".to_owned(), "_rexec/s/n1/other".to_owned()];
        let news = job.progress.handle_keys(keys, job.now);
        assert_eq!(news.len(), 1);
        assert_eq!(job.progress.handle_value(&news[0], None), []);
        assert_eq!(job.progress.exit_code(), 0);
    }
}
