//! The changes of one subject, for all who subscribe to it.
//!
//! A feed compares each answer to the subject's question with the one before, once for all
//! subscribers, and keeps what changed as encoded messages. A subscriber reads them at its
//! own pace; one that is further behind than the feed remembers has to begin anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acl::Authorizer;
use bytes::Bytes;
use grpc::Status;
use tokio::sync::watch;
use types::Index;

use super::rows::{self, Change, Rows};

/// What a feed remembers at most for those who are behind: batches, and bytes of them.
const BATCHES_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;

/// The changes of one subject.
pub(super) struct Feed {
    state: Mutex<State>,
    /// How many batches there were: told to those who wait for the next one.
    news: watch::Sender<u64>,
}

struct State {
    rows: Rows,
    index: Index,
    batches: VecDeque<Arc<Batch>>,
    /// Of the remembered batches.
    bytes: usize,
    /// The number of the batch that comes next. The last remembered one has the number
    /// before.
    next: u64,
    /// Everything there is, encoded for those who may see all, once somebody asked.
    snapshot: Option<Arc<[Bytes]>>,
    /// Why there will be no more.
    ended: Option<Status>,
}

/// Changes that came at once.
struct Batch {
    /// The index before them.
    before: Index,
    index: Index,
    changes: Vec<Change>,
    encoded: Bytes,
}

impl Batch {
    /// What the holder of a token may hear of it.
    fn message(&self, who: &Authorizer) -> Option<Bytes> {
        match who.allows_everything() {
            true => Some(self.encoded.clone()),
            false => rows::batch(self.index, &rows::visible(who, &self.changes)),
        }
    }
}

impl Feed {
    /// A feed that begins with this answer.
    pub(super) fn new(index: Index, rows: Rows) -> Self {
        let state = State {
            rows,
            index,
            batches: VecDeque::new(),
            bytes: 0,
            next: 0,
            snapshot: None,
            ended: None,
        };
        Self { state: Mutex::new(state), news: watch::Sender::new(0) }
    }

    /// The next answer.
    pub(super) fn advance(&self, index: Index, rows: Rows) {
        let mut state = self.lock();
        let changes = rows::changes(&state.rows, &rows);
        state.rows = rows;
        let before = std::mem::replace(&mut state.index, index);
        state.snapshot = None;
        let Some(encoded) = rows::batch(index, &changes) else { return };
        state.bytes += encoded.len();
        state.batches.push_back(Arc::new(Batch { before, index, changes, encoded }));
        state.next += 1;
        while state.batches.len() > 1
            && (state.batches.len() > BATCHES_MAX || state.bytes > BYTES_MAX)
        {
            let oldest = state.batches.pop_front();
            state.bytes -= oldest.map_or(0, |batch| batch.encoded.len());
        }
        let next = state.next;
        drop(state);
        self.news.send_replace(next);
    }

    /// There will be no more.
    pub(super) fn end(&self, why: Status) {
        let mut state = self.lock();
        state.ended = Some(why);
        let next = state.next;
        drop(state);
        self.news.send_replace(next);
    }

    /// Completes when nobody reads it.
    pub(super) async fn unread(&self) {
        self.news.closed().await;
    }

    /// Whether somebody reads it.
    pub(super) fn is_read(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// A reader that has seen everything up to `seen`: one for whom that is nothing, or too
    /// long ago, gets everything first.
    pub(super) fn read(self: &Arc<Self>, who: Authorizer, seen: Index) -> Reader {
        let news = self.news.subscribe();
        let mut state = self.lock();
        let mut opening = VecDeque::new();
        let next = match state.after(seen) {
            Some(next) => next,
            None => {
                if seen > Index::ZERO {
                    opening.push_back(rows::new_snapshot_to_follow());
                }
                opening.extend(state.snapshot(&who).iter().cloned());
                state.next
            }
        };
        drop(state);
        Reader { feed: Arc::clone(self), news, who, opening, next }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of the first batch that somebody lacks who has seen everything up to
    /// `seen`; `None` if that cannot be told.
    fn after(&self, seen: Index) -> Option<u64> {
        if seen == Index::ZERO {
            return None;
        }
        if seen == self.index {
            return Some(self.next);
        }
        let lacking = self.batches.iter().rev().position(|batch| batch.before == seen)?;
        Some(self.next - 1 - lacking as u64)
    }

    fn snapshot(&mut self, who: &Authorizer) -> Arc<[Bytes]> {
        if !who.allows_everything() {
            return rows::snapshot(self.index, who, &self.rows).into();
        }
        let (index, rows) = (self.index, &self.rows);
        let encode = || rows::snapshot(index, who, rows).into();
        Arc::clone(self.snapshot.get_or_insert_with(encode))
    }
}

/// One who reads a feed.
pub(super) struct Reader {
    feed: Arc<Feed>,
    news: watch::Receiver<u64>,
    who: Authorizer,
    /// What comes first.
    opening: VecDeque<Bytes>,
    /// The number of the next batch.
    next: u64,
}

impl Reader {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// The feed ended, or went on without this reader.
    pub(super) async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            if let Some(message) = self.opening.pop_front() {
                return Ok(message);
            }
            // Before looking, so that nothing comes in between unseen.
            self.news.borrow_and_update();
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            if self.news.changed().await.is_err() {
                return Err(Status::unavailable("the server stops"));
            }
        }
    }

    /// The next message that is there.
    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let batch = {
                let state = self.feed.lock();
                let behind = state.next - self.next;
                if behind == 0 {
                    return state.ended.clone().map_or(Ok(None), Err);
                }
                let remembered = state.batches.len() as u64;
                if behind > remembered {
                    return Err(Status::aborted(
                        "the subscriber is too far behind: subscribe from the beginning",
                    ));
                }
                Arc::clone(&state.batches[(remembered - behind) as usize])
            };
            self.next += 1;
            if let Some(message) = batch.message(&self.who) {
                return Ok(Some(message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use grpc::Code;
    use grpc::messages::{Event, event::Payload};
    use prost::Message as _;
    use types::ServiceId;

    use super::super::rows::Row;
    use super::*;

    /// Names of services, as a feed of their list has them.
    fn names(names: &str) -> Rows {
        let keyed = |name: &str| ((name.to_owned(), ServiceId::EMPTY), Row::Service(name.into()));
        names.split_whitespace().map(keyed).collect()
    }

    fn feed(index: u64, text: &str) -> Arc<Feed> {
        Arc::new(Feed::new(Index(index), names(text)))
    }

    /// What a reader hears until it has to wait: `12 +web -db`, `12 end`, `new`.
    async fn heard(reader: &mut Reader) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let next = tokio::time::timeout(Duration::ZERO, reader.next());
            match next.await {
                Ok(Ok(bytes)) => heard.push(shown(&bytes)),
                Ok(Err(status)) => {
                    heard.push(format!("{:?}", status.code()));
                    return heard;
                }
                Err(_) => return heard,
            }
        }
    }

    fn shown(bytes: &[u8]) -> String {
        let event = Event::decode(bytes).expect("it is an event");
        match event.payload {
            Some(Payload::EndOfSnapshot(true)) => format!("{} end", event.index),
            Some(Payload::NewSnapshotToFollow(true)) => "new".to_owned(),
            Some(Payload::EventBatch(batch)) => {
                let names = batch.events.iter().map(|inner| match &inner.payload {
                    Some(Payload::Service(told)) if inner.index == event.index => {
                        format!(" {}{}", if told.op == 0 { '+' } else { '-' }, told.name)
                    }
                    other => panic!("{other:?}"),
                });
                format!("{}{}", event.index, names.collect::<String>())
            }
            other => panic!("{other:?}"),
        }
    }

    fn all() -> Authorizer {
        Authorizer::allow_all()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_gets_everything_and_then_what_changes() {
        let feed = feed(5, "db web");
        let mut reader = feed.read(all(), Index::ZERO);
        assert_eq!(heard(&mut reader).await, ["5 +db +web", "5 end"]);
        feed.advance(Index(7), names("api web"));
        feed.advance(Index(8), names("api web"));
        feed.advance(Index(9), names("api web zoo"));
        assert_eq!(heard(&mut reader).await, ["7 -db +api", "9 +zoo"]);
        let mut late = feed.read(all(), Index::ZERO);
        assert_eq!(heard(&mut late).await, ["9 +api +web +zoo", "9 end"]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_nothing_the_end_is_told() {
        let feed = feed(200, "");
        assert_eq!(heard(&mut feed.read(all(), Index::ZERO)).await, ["200 end"]);
        assert_eq!(heard(&mut feed.read(all(), Index(5))).await, ["new", "200 end"]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_gets_what_it_missed_if_that_is_remembered() {
        let feed = feed(5, "db");
        feed.advance(Index(7), names("db web"));
        feed.advance(Index(9), names("web"));
        for (seen, expected) in [
            (9, &[][..]),
            (7, &["9 -db"]),
            (5, &["7 +web", "9 -db"]),
            (6, &["new", "9 +web", "9 end"]),
            (10, &["new", "9 +web", "9 end"]),
        ] {
            assert_eq!(heard(&mut feed.read(all(), Index(seen))).await, expected, "{seen}");
        }
        // An index that grew while nothing changed is one to come back to, too.
        feed.advance(Index(12), names("web"));
        let mut reader = feed.read(all(), Index(12));
        feed.advance(Index(13), names("web zoo"));
        assert_eq!(heard(&mut reader).await, ["13 +zoo"]);
        assert_eq!(heard(&mut feed.read(all(), Index(12))).await, ["13 +zoo"]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_too_slowly_has_to_begin_anew_and_costs_no_more_memory() {
        let feed = feed(1, "");
        let (mut slow, mut quick) = (feed.read(all(), Index(1)), feed.read(all(), Index(1)));
        let mut count = 0;
        for index in 2..2 + 3 * BATCHES_MAX as u64 {
            feed.advance(Index(index), names(if index % 2 == 0 { "web" } else { "" }));
            if index % 100 == 0 {
                count += heard(&mut quick).await.len();
            }
        }
        count += heard(&mut quick).await.len();
        assert_eq!(count, 3 * BATCHES_MAX, "who keeps up misses nothing");
        assert_eq!(heard(&mut slow).await, [format!("{:?}", Code::Aborted)]);
        assert_eq!(feed.lock().batches.len(), BATCHES_MAX);
        let mut long = String::new();
        for index in 10_000..10_100 {
            long.push_str(&format!(" {}{index}", "x".repeat(50_000)));
            feed.advance(Index(index), names(&long));
        }
        let state = feed.lock();
        assert!(state.bytes <= BYTES_MAX && state.batches.len() < 40);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_told_after_all_that_came_before() {
        let feed = feed(5, "db");
        let mut reader = feed.read(all(), Index(5));
        feed.advance(Index(6), names("db web"));
        feed.end(Status::aborted("restored"));
        assert_eq!(heard(&mut reader).await, ["6 +web", "Aborted"]);
    }
}
