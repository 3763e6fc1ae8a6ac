//! Requests of other servers that wait for the core's answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::{Body, RequestId};
use tokio::sync::oneshot;

/// Waiting requests by the number that they got here. There are as many as connections, times
/// a few.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: BTreeMap<RequestId, oneshot::Sender<Body>>,
    is_closed: bool,
}

impl Calls {
    /// A call with a number that no other has.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        state.last += 1;
        let request = RequestId(state.last);
        if !state.is_closed {
            state.waiting.insert(request, sender);
        }
        Call { request, answer, calls: self.clone() }
    }

    /// The core's answer.
    pub(super) fn answer(&self, request: RequestId, body: Body) {
        if let Some(waiting) = self.lock().waiting.remove(&request) {
            // Who asked may have gone.
            let _ = waiting.send(body);
        }
    }

    /// No answers come any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of another server; its answer is not waited for any more when it is dropped.
pub(super) struct Call {
    pub(super) request: RequestId,
    answer: oneshot::Receiver<Body>,
    calls: Arc<Calls>,
}

impl Call {
    /// The core's answer; `None` when it cannot come any more.
    pub(super) async fn answered(mut self) -> Option<Body> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.request);
    }
}
