//! The instances of one service as a stream of events tells them
//! (`reference/grpc-and-xds.md` section 4). Pure.
//!
//! A stream begins with everything there is, or goes on where the one before broke off. What
//! there is comes in pieces, which are put together aside; until all are there the view stays
//! as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use grpc::convert;
use grpc::messages::event::Payload;
use grpc::messages::{CatalogOp, Event, ServiceHealthUpdate};
use types::catalog::CheckServiceNode;
use types::{Index, ServiceId};

/// How often in a row a snapshot is refused that is older than the view. Servers catch up
/// within that; one that does not was restored to another state.
const REFUSALS_MAX: u32 = 5;

/// The instances, in the order in which servers show them: by node, in lower case as names
/// of nodes are compared, and by id.
pub(crate) type Rows = BTreeMap<(String, ServiceId), CheckServiceNode>;

/// The instances as of an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// The index of the last event.
    pub(crate) index: Index,
    pub(crate) rows: Arc<Rows>,
}

/// Why a stream is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// The server has seen less than others that were asked before.
    #[error("the server is behind: it tells of index {told} after {known}")]
    Behind { told: Index, known: Index },
    /// It tells of something that nobody asked for.
    #[error("the server tells of something else than instances")]
    OtherTopic,
}

/// A view in the making.
#[derive(Debug, Default)]
pub(super) struct Materialised {
    view: Option<View>,
    /// Whether the next stream may go on where this one broke off.
    may_resume: bool,
    /// What came of a snapshot whose end has not come.
    incoming: Option<Rows>,
    refusals: u32,
}

impl Materialised {
    /// A new stream begins: the index up to which everything is known, to be told to the
    /// server; zero to get everything.
    pub(super) fn begin(&mut self) -> Index {
        match &self.view {
            Some(view) if self.may_resume => {
                self.incoming = None;
                view.index
            }
            _ => {
                self.incoming = Some(Rows::new());
                Index::ZERO
            }
        }
    }

    /// What is known cannot be gone on with: the next stream brings everything.
    pub(super) fn reset(&mut self) {
        self.may_resume = false;
    }

    /// What there is; `None` until everything came once.
    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Takes what a server tells; whether the view is another one now.
    ///
    /// # Errors
    /// See [`Unfit`]. The view is as it was.
    pub(super) fn handle(&mut self, event: Event) -> Result<bool, Unfit> {
        let index = Index(event.index).max(Index(1));
        match event.payload {
            Some(Payload::NewSnapshotToFollow(_)) => {
                self.incoming = Some(Rows::new());
                Ok(false)
            }
            Some(Payload::EndOfSnapshot(_)) => self.complete(index),
            Some(Payload::ServiceHealth(update)) => self.apply(index, vec![update]),
            Some(Payload::EventBatch(batch)) => {
                let updates = batch.events.into_iter().map(|event| match event.payload {
                    Some(Payload::ServiceHealth(update)) => Ok(update),
                    _ => Err(Unfit::OtherTopic),
                });
                let updates: Vec<ServiceHealthUpdate> = updates.collect::<Result<_, _>>()?;
                self.apply(index, updates)
            }
            Some(Payload::Service(_)) => Err(Unfit::OtherTopic),
            // Something that a later version tells beside it.
            None => Ok(false),
        }
    }

    /// Everything is there.
    fn complete(&mut self, index: Index) -> Result<bool, Unfit> {
        let Some(rows) = self.incoming.take() else { return Ok(false) };
        if let Some(view) = self.view.as_ref().filter(|_| self.may_resume)
            && index < view.index
            && self.refusals < REFUSALS_MAX
        {
            self.refusals += 1;
            return Err(Unfit::Behind { told: index, known: view.index });
        }
        self.refusals = 0;
        self.may_resume = true;
        self.view = Some(View { index, rows: Arc::new(rows) });
        Ok(true)
    }

    fn apply(&mut self, index: Index, updates: Vec<ServiceHealthUpdate>) -> Result<bool, Unfit> {
        let is_snapshot = self.incoming.is_some();
        let rows = match (&mut self.incoming, &mut self.view) {
            (Some(incoming), _) => incoming,
            (None, Some(view)) => {
                view.index = index;
                Arc::make_mut(&mut view.rows)
            }
            (None, None) => return Ok(false),
        };
        for update in updates {
            let op = update.op;
            let row = convert::of_message(update.check_service_node.unwrap_or_default());
            let key = (row.node.node.as_str().to_lowercase(), row.service.id.clone());
            if op == i32::from(CatalogOp::Register) {
                rows.insert(key, row);
            } else {
                rows.remove(&key);
            }
        }
        Ok(!is_snapshot)
    }
}

#[cfg(test)]
mod tests {
    use grpc::messages::{EventBatch, ServiceListUpdate};
    use types::catalog::{Node, NodeService};

    use super::*;

    fn update(text: &str) -> ServiceHealthUpdate {
        let (op, name) = text.split_at(1);
        let (node, port) = name.split_once(':').unwrap_or((name, "0"));
        let row = CheckServiceNode {
            node: Arc::new(Node { node: node.into(), ..Node::default() }),
            service: Arc::new(NodeService {
                id: "web".into(),
                port: port.parse().unwrap(),
                ..NodeService::default()
            }),
            checks: Vec::new(),
        };
        let op = if op == "+" { CatalogOp::Register } else { CatalogOp::Deregister };
        let check_service_node = Some(convert::to_message(&row));
        ServiceHealthUpdate { op: op.into(), check_service_node }
    }

    /// `7 +n1:80 -n2`, `7 end`, `new`.
    fn event(text: &str) -> Event {
        let mut words = text.split(' ');
        let first = words.next().unwrap();
        if first == "new" {
            return Event { index: 0, payload: Some(Payload::NewSnapshotToFollow(true)) };
        }
        let index = first.parse().unwrap();
        let words: Vec<&str> = words.collect();
        let payload = match words[..] {
            ["end"] => Payload::EndOfSnapshot(true),
            [one] => Payload::ServiceHealth(update(one)),
            _ => {
                let inner = |word: &&str| Event {
                    index,
                    payload: Some(Payload::ServiceHealth(update(word))),
                };
                Payload::EventBatch(EventBatch { events: words.iter().map(inner).collect() })
            }
        };
        Event { index, payload: Some(payload) }
    }

    fn shown(made: &Materialised) -> String {
        let Some(view) = made.view() else { return "nothing".to_owned() };
        let rows = view
            .rows
            .values()
            .map(|row| format!(" {}:{}", row.node.node.as_str(), row.service.port));
        format!("{}{}", view.index, rows.collect::<String>())
    }

    /// Events, each with what the view is after it; `!` where it did not change.
    fn check(made: &mut Materialised, dialogue: &[(&str, &str)]) {
        for (told, expected) in dialogue {
            let after = match made.handle(event(told)) {
                Ok(true) => shown(made),
                Ok(false) => "!".to_owned(),
                Err(unfit) => unfit.to_string(),
            };
            assert_eq!(after, *expected, "after {told}");
        }
    }

    #[test]
    fn a_view_is_there_when_everything_came_and_changes_with_each_event() {
        let mut made = Materialised::default();
        assert_eq!(made.begin(), Index::ZERO);
        check(&mut made, &[("5 +n1:1", "!"), ("5 +n3:3 +n2:2", "!")]);
        assert_eq!(shown(&made), "nothing");
        check(
            &mut made,
            &[
                ("5 end", "5 n1:1 n2:2 n3:3"),
                ("7 +N2:9", "7 n1:1 N2:9 n3:3"),
                ("8 -n1 +n4:4", "8 N2:9 n3:3 n4:4"),
                ("9 -n1", "9 N2:9 n3:3 n4:4"),
            ],
        );
    }

    #[test]
    fn a_stream_that_broke_is_gone_on_with_or_begun_anew_and_the_view_stays_meanwhile() {
        let mut made = Materialised::default();
        made.begin();
        check(&mut made, &[("5 +n1:1", "!"), ("5 end", "5 n1:1")]);
        assert_eq!(made.begin(), Index(5));
        check(&mut made, &[("6 +n2:2", "6 n1:1 n2:2")]);
        assert_eq!(made.begin(), Index(6));
        check(&mut made, &[("new", "!"), ("9 +n3:3", "!")]);
        assert_eq!(shown(&made), "6 n1:1 n2:2");
        check(&mut made, &[("9 end", "9 n3:3")]);
        // It broke before the end: what came of it is forgotten.
        made.begin();
        check(&mut made, &[("new", "!"), ("12 +n4:4", "!")]);
        assert_eq!(made.begin(), Index(9));
        check(&mut made, &[("11 +n5:5", "11 n3:3 n5:5")]);
    }

    #[test]
    fn after_a_reset_a_lower_index_is_taken_as_it_is() {
        let mut made = Materialised::default();
        made.begin();
        check(&mut made, &[("50 +n1:1", "!"), ("50 end", "50 n1:1")]);
        made.reset();
        assert_eq!(made.begin(), Index::ZERO);
        check(&mut made, &[("3 +n2:2", "!"), ("3 end", "3 n2:2"), ("4 -n2", "4")]);
    }

    #[test]
    fn a_server_that_is_behind_is_not_believed_unless_all_say_so() {
        let mut made = Materialised::default();
        made.begin();
        check(&mut made, &[("50 +n1:1", "!"), ("50 end", "50 n1:1")]);
        for _ in 0..REFUSALS_MAX {
            assert_eq!(made.begin(), Index(50));
            let behind = "the server is behind: it tells of index 40 after 50";
            check(&mut made, &[("new", "!"), ("40 end", behind)]);
            assert_eq!(shown(&made), "50 n1:1");
        }
        made.begin();
        check(&mut made, &[("new", "!"), ("40 end", "40")]);
    }

    #[test]
    fn what_was_not_asked_for_is_refused_and_what_is_unknown_is_passed_over() {
        let mut made = Materialised::default();
        made.begin();
        check(&mut made, &[("5 end", "5")]);
        assert_eq!(made.handle(Event { index: 6, payload: None }), Ok(false));
        let payload = Some(Payload::Service(ServiceListUpdate::default()));
        let other = Event { index: 7, payload };
        assert_eq!(made.handle(other.clone()), Err(Unfit::OtherTopic));
        let batch = Payload::EventBatch(EventBatch { events: vec![other] });
        let batch = Event { index: 7, payload: Some(batch) };
        assert_eq!(made.handle(batch), Err(Unfit::OtherTopic));
        assert_eq!(shown(&made), "5");
    }
}
