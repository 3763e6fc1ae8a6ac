//! A stream out of a function that makes its next item.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rpc::BoxFuture;

/// The next item, and what is left to make items of; `None` at the end.
pub type Step<S, T> = Option<(T, S)>;

/// See [`unfold`].
pub struct Unfold<S, T> {
    next: fn(S) -> BoxFuture<'static, Step<S, T>>,
    running: Option<BoxFuture<'static, Step<S, T>>>,
}

/// The items that `next` makes, one after the other, of `state`.
pub fn unfold<S, T>(state: S, next: fn(S) -> BoxFuture<'static, Step<S, T>>) -> Unfold<S, T> {
    Unfold { next, running: Some(next(state)) }
}

impl<S, T> Stream for Unfold<S, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(running) = &mut self.running else { return Poll::Ready(None) };
        let Poll::Ready(step) = running.as_mut().poll(context) else { return Poll::Pending };
        let next = self.next;
        let (item, running) = match step {
            Some((item, state)) => (Some(item), Some(next(state))),
            None => (None, None),
        };
        self.running = running;
        Poll::Ready(item)
    }
}
