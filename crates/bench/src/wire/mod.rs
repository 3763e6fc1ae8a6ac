//! What a connection says and hears, without its socket: HTTP/1.1 for Consul, gRPC over HTTP/2 for etcd.

pub(crate) mod grpc;
pub(crate) mod http;

/// One side of a connection with at most one request under way.
pub(crate) trait Dialogue {
    /// Appends what has to be said before the first request.
    fn open(&mut self, out: &mut Vec<u8>);

    /// Appends the next request; false if there is none left.
    fn ask(&mut self, out: &mut Vec<u8>) -> bool;

    /// Takes what arrived; appends what the protocol wants answered at once. Returns the outcome of the request under way
    /// once its answer is complete: whether it was a success.
    ///
    /// # Errors
    /// The peer does not speak the protocol, or ended the conversation.
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> anyhow::Result<Option<bool>>;

    /// What the peer said when the last request was no success.
    fn excuse(&self) -> String;
}

/// Requests to send in order: the list again and again, or once.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    requests: std::rc::Rc<[Vec<u8>]>,
    next: usize,
    repeats: bool,
}

impl Script {
    /// The list without end, from its request number `first`.
    pub(crate) fn forever(requests: std::rc::Rc<[Vec<u8>]>, first: usize) -> Self {
        Self { next: first, requests, repeats: true }
    }

    /// The list once.
    pub(crate) fn once(requests: Vec<Vec<u8>>) -> Self {
        Self { next: 0, requests: requests.into(), repeats: false }
    }

    /// The next request, if any is left.
    pub(crate) fn step(&mut self) -> Option<&[u8]> {
        if self.requests.is_empty() || (!self.repeats && self.next >= self.requests.len()) {
            return None;
        }
        let index = self.next % self.requests.len();
        self.next = if self.repeats { index + 1 } else { self.next + 1 };
        Some(&self.requests[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_ends_or_begins_again() {
        let list = vec![b"a".to_vec(), b"b".to_vec()];
        let mut once = Script::once(list.clone());
        assert_eq!(once.step(), Some(&b"a"[..]));
        assert_eq!(once.step(), Some(&b"b"[..]));
        assert_eq!(once.step(), None);
        let mut forever = Script::forever(list.into(), 1);
        assert_eq!(forever.step(), Some(&b"b"[..]));
        assert_eq!(forever.step(), Some(&b"a"[..]));
        assert_eq!(forever.step(), Some(&b"b"[..]));
    }
}
