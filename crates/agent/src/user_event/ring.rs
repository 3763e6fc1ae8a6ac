//! What an agent makes of a delivered event, and the last ones that it kept: no I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use filter::{Pattern, PatternError};
use types::catalog::NodeService;
use types::user_event::UserEvent;
use types::{EventId, msgpack, remote_exec};

use super::broadcast::Delivery;
use super::broadcast::POOL_PREFIX;

/// How many events an agent remembers; the oldest makes room.
pub(super) const EVENTS_MAX: usize = 256;

/// Sent by a new leader, with its name.
const NEW_LEADER: &str = "consul:new-leader";

/// The last events that were meant for this agent, oldest first, each once.
#[derive(Debug, Default)]
pub(super) struct EventRing {
    events: VecDeque<Arc<UserEvent>>,
}

/// Who this agent is, for the filters of an event.
pub(super) struct Addressee<'a> {
    /// The name of the node.
    pub(super) node: &'a str,
    /// The services on it.
    pub(super) services: &'a [Arc<NodeService>],
}

/// What came of a delivery.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    /// It was kept.
    Kept(Arc<UserEvent>),
    /// It asks to execute something.
    RemoteExec(UserEvent),
    /// A server of this name leads now.
    NewLeader(String),
    /// It is not for this agent, or has been there already.
    NotMeant,
    /// It is no event.
    Malformed(msgpack::Error),
    /// One of its filters is no regular expression.
    BadFilter { event_id: EventId, error: PatternError },
}

impl EventRing {
    /// Takes in a delivery.
    pub(super) fn handle_delivery(&mut self, delivery: &Delivery, own: &Addressee<'_>) -> Received {
        if delivery.name == NEW_LEADER {
            return Received::NewLeader(String::from_utf8_lossy(&delivery.payload).into_owned());
        }
        let Some(name) = delivery.name.strip_prefix(POOL_PREFIX) else { return Received::NotMeant };
        let mut event = match UserEvent::from_wire(&delivery.payload, delivery.lamport_time) {
            Ok(event) => event,
            Err(error) => return Received::Malformed(error),
        };
        event.name = name.to_owned();
        match own.is_meant(&event) {
            Ok(true) => {}
            Ok(false) => return Received::NotMeant,
            Err(error) => return Received::BadFilter { event_id: event.id, error },
        }
        if event.name == remote_exec::EVENT {
            return Received::RemoteExec(event);
        }
        if self.events.iter().any(|known| known.id == event.id) {
            return Received::NotMeant;
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        let event = Arc::new(event);
        self.events.push_back(Arc::clone(&event));
        Received::Kept(event)
    }

    /// The events of this name, oldest first; all of them if it is empty.
    pub(super) fn list(&self, name: &str) -> Vec<Arc<UserEvent>> {
        self.events.iter().filter(|event| name.is_empty() || event.name == name).cloned().collect()
    }
}

impl Addressee<'_> {
    /// Whether all filters let this agent through.
    fn is_meant(&self, event: &UserEvent) -> Result<bool, PatternError> {
        if !event.node_filter.is_empty()
            && !Pattern::compile(&event.node_filter)?.is_match(self.node)
        {
            return Ok(false);
        }
        if event.service_filter.is_empty() {
            return Ok(true);
        }
        let name = Pattern::compile(&event.service_filter)?;
        let tag = match event.tag_filter.as_str() {
            "" => None,
            filter => Some(Pattern::compile(filter)?),
        };
        Ok(self.services.iter().any(|service| {
            name.is_match(service.service.as_str())
                && tag.as_ref().is_none_or(|tag| service.tags.iter().any(|text| tag.is_match(text)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::user_event::LamportTime;

    use super::*;

    fn service(name: &str, tags: &[&str]) -> Arc<NodeService> {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        Arc::new(NodeService { service: name.into(), tags, ..NodeService::default() })
    }

    fn delivery(event: &UserEvent) -> Delivery {
        let name = format!("{POOL_PREFIX}{}", event.name);
        Delivery { lamport_time: LamportTime(1), name, payload: event.to_wire() }
    }

    /// What the agent `a1` with a service `web` (tags `v1`, `eu`) and one `db` makes of it.
    fn receive(ring: &mut EventRing, delivery: &Delivery) -> Received {
        let services = [service("web", &["v1", "eu"]), service("db", &[])];
        ring.handle_delivery(delivery, &Addressee { node: "a1", services: &services })
    }

    fn filtered([node, service, tag]: [&str; 3]) -> UserEvent {
        UserEvent {
            id: "e".into(),
            name: "deploy".to_owned(),
            node_filter: node.to_owned(),
            service_filter: service.to_owned(),
            tag_filter: tag.to_owned(),
            version: 1,
            ..UserEvent::default()
        }
    }

    #[test]
    fn filters_match_anywhere_and_tags_count_on_services_that_match() {
        for (filters, meant) in [
            (["", "", ""], true),
            (["a", "", ""], true),
            (["^a1$", "", ""], true),
            (["^1", "", ""], false),
            (["", "^we", ""], true),
            (["", "cache", ""], false),
            (["", "^web$", "^v"], true),
            (["", "^db$", "^v"], false),
            (["", "web|db", "eu"], true),
            (["b", "web", "v1"], false),
            // Refused when it is sent, but what arrives may come from anybody.
            (["", "", "nothing"], true),
        ] {
            let mut ring = EventRing::default();
            let received = receive(&mut ring, &delivery(&filtered(filters)));
            assert_eq!(matches!(received, Received::Kept(_)), meant, "{filters:?}");
            assert_eq!(ring.list("").len(), usize::from(meant), "{filters:?}");
        }
    }

    #[test]
    fn a_filter_that_is_no_expression_drops_the_event() {
        for filters in [["(", "", ""], ["", "(", ""], ["", "web", "("]] {
            let mut ring = EventRing::default();
            let received = receive(&mut ring, &delivery(&filtered(filters)));
            assert!(matches!(received, Received::BadFilter { .. }), "{received:?}");
            assert!(ring.list("").is_empty());
        }
    }

    #[test]
    fn what_is_no_user_event_is_not_kept() {
        let mut ring = EventRing::default();
        let of = |name: &str, payload: &[u8]| Delivery {
            lamport_time: LamportTime(1),
            name: name.to_owned(),
            payload: payload.to_vec(),
        };
        let received = receive(&mut ring, &of("consul:new-leader", b"s2"));
        assert_eq!(received, Received::NewLeader("s2".to_owned()));
        assert_eq!(receive(&mut ring, &of("other:thing", b"")), Received::NotMeant);
        let received = receive(&mut ring, &of("consul:event:x", b"garbage"));
        assert!(matches!(received, Received::Malformed(_)), "{received:?}");
        let exec = UserEvent { name: remote_exec::EVENT.to_owned(), ..filtered(["", "", ""]) };
        let received = receive(&mut ring, &delivery(&exec));
        assert!(matches!(received, Received::RemoteExec(_)), "{received:?}");
        assert!(ring.list("").is_empty());
    }

    #[test]
    fn an_event_of_a_later_version_is_kept_all_the_same() {
        let later = UserEvent { version: 9, ..filtered(["", "", ""]) };
        let received = receive(&mut EventRing::default(), &delivery(&later));
        assert!(matches!(received, Received::Kept(_)), "{received:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The model: all different events, of which the last 256 count.
        #[test]
        fn the_last_events_are_kept_in_order_and_each_once(
            sent in prop::collection::vec((0_u32..400, 0_usize..3), 0..900),
        ) {
            const NAMES: [&str; 3] = ["deploy", "restart", "ping"];
            let mut ring = EventRing::default();
            let mut model: Vec<(String, &str)> = Vec::new();
            for (number, name) in sent {
                let (id, name) = (types::uuid(number.into()), NAMES[name]);
                let event = UserEvent {
                    id: id.as_str().into(),
                    name: name.to_owned(),
                    ..UserEvent::default()
                };
                let kept = matches!(receive(&mut ring, &delivery(&event)), Received::Kept(_));
                let recent = &model[model.len().saturating_sub(EVENTS_MAX)..];
                prop_assert_eq!(kept, recent.iter().all(|(known, _)| *known != id));
                if kept {
                    model.push((id, name));
                }
            }
            let recent = &model[model.len().saturating_sub(EVENTS_MAX)..];
            for asked in ["", "deploy", "restart", "ping", "absent"] {
                let expected: Vec<&str> = recent
                    .iter()
                    .filter(|(_, name)| asked.is_empty() || *name == asked)
                    .map(|(id, _)| id.as_str())
                    .collect();
                let listed = ring.list(asked);
                let listed: Vec<&str> = listed.iter().map(|event| event.id.as_str()).collect();
                prop_assert_eq!(listed, expected);
            }
        }
    }
}
