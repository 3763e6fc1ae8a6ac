//! Events that somebody sends to all (`reference/gossip-wire.md` section 11).
//!
//! An event is known by its logical time, name and payload. The last ones are remembered, so
//! that each is delivered and passed on once; a push/pull hands all of them over.

use bytes::Bytes;
use types::Blob;
use types::user_event::LamportTime;

use super::action::{Action, Event, UserEvent};
use super::core::Core;
use super::report::{Measure, Report};
use crate::wire::serf::{self as wire, PastEvent, SerfMessage, UserEvents};

/// Times of which events are remembered.
pub(super) const REMEMBERED: usize = 512;

/// No setting lets a larger event out.
const EVENT_BYTES_MAX: usize = 9 * 1024;

/// Different events of one logical time that are remembered and delivered; a flood of more is
/// a fault.
const EVENTS_AT_A_TIME_MAX: usize = 1024;

/// Why an event was not sent. The texts are serf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserEventError {
    /// Name and payload alone are too large.
    #[error("user event exceeds configured limit of {0} bytes before encoding")]
    TooLarge(usize),
    /// It became too large on the way into a packet.
    #[error("encoded user event exceeds configured limit of {0} bytes after encoding")]
    TooLargeEncoded(usize),
}

/// What happened at the last times, in a ring.
#[derive(Clone, Debug)]
pub(super) struct Ring<T> {
    slots: Vec<Option<(LamportTime, Vec<T>)>>,
    /// What is earlier does not count.
    min_time: LamportTime,
}

/// What a ring says of something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was not there, and is from now on.
    New,
    /// It was there, or is from before the time that counts.
    Known,
    /// It is older than what is remembered.
    TooOld,
}

impl<T: PartialEq> Ring<T> {
    pub(super) fn new(min_time: LamportTime) -> Self {
        let slots = std::iter::repeat_with(|| None).take(REMEMBERED).collect();
        Self { slots, min_time }
    }

    /// Does away with all that is earlier.
    pub(super) fn ignore_before(&mut self, time: LamportTime) {
        self.min_time = self.min_time.max(time);
    }

    /// Notes what happened at `time`, when the clock stands at `current`.
    pub(super) fn note(&mut self, what: T, time: LamportTime, current: LamportTime) -> Seen {
        if time < self.min_time {
            return Seen::Known;
        }
        if current.0 > REMEMBERED as u64 && time.0 < current.0 - REMEMBERED as u64 {
            return Seen::TooOld;
        }
        let slot = &mut self.slots[(time.0 % REMEMBERED as u64) as usize];
        match slot {
            Some((at, all)) if *at == time => {
                if all.contains(&what) || all.len() == EVENTS_AT_A_TIME_MAX {
                    return Seen::Known;
                }
                all.push(what);
            }
            _ => *slot = Some((time, vec![what])),
        }
        Seen::New
    }
}

/// What makes an event itself, beside its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) payload: Bytes,
}

impl Ring<Told> {
    /// The remembered events, as a push/pull carries them.
    pub(super) fn to_wire(&self) -> Vec<Option<UserEvents>> {
        let to_wire = |told: &Told| PastEvent {
            name: told.name.clone(),
            payload: Blob(told.payload.clone()),
        };
        let slots = self.slots.iter().map(Option::as_ref);
        slots
            .map(|slot| {
                let (time, all) = slot?;
                Some(UserEvents { time: *time, events: all.iter().map(to_wire).collect() })
            })
            .collect()
    }
}

impl Core {
    /// Sends an event to all members, this node among them.
    pub(super) fn user_event(
        &mut self,
        name: &str,
        payload: Bytes,
        coalesce: bool,
    ) -> Result<(), UserEventError> {
        let limit = self.options.limits.event.min(EVENT_BYTES_MAX);
        if name.len() + payload.len() > limit {
            return Err(UserEventError::TooLarge(limit));
        }
        let event = wire::UserEvent {
            time: self.event_clock.time(),
            name: name.to_owned(),
            payload: Blob(payload),
            coalesce,
        };
        let message = SerfMessage::UserEvent(event.clone()).encode();
        if message.len() > limit {
            return Err(UserEventError::TooLargeEncoded(limit));
        }
        self.event_clock.increment();
        self.handle_user_event(event);
        self.event_queue.push(None, message, None);
        Ok(())
    }

    /// Delivers an event unless it was. Whether to pass it on.
    pub(super) fn handle_user_event(&mut self, event: wire::UserEvent) -> bool {
        let wire::UserEvent { time: lamport_time, name, payload, coalesce } = event;
        self.event_clock.witness(lamport_time);
        let told = Told { name, payload: payload.0 };
        let current = self.event_clock.time();
        match self.events.note(told.clone(), lamport_time, current) {
            Seen::Known => return false,
            Seen::TooOld => {
                self.report(Report::OldEvent(told.name, lamport_time, current));
                return false;
            }
            Seen::New => {}
        }
        self.measure(Measure::Event(told.name.clone()));
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.event_clock(lamport_time, self.now);
        }
        let Told { name, payload } = told;
        let event = UserEvent { lamport_time, name, payload, coalesce };
        self.out.push_back(Action::Event(Event::User(event)));
        true
    }

    /// Delivers the events of a push/pull that were not yet, in the order in which they were
    /// sent.
    pub(super) fn merge_events(&mut self, events: Vec<Option<UserEvents>>) {
        let mut slots: Vec<UserEvents> = events.into_iter().flatten().collect();
        slots.sort_by_key(|at| at.time);
        for at in slots {
            for told in at.events {
                self.handle_user_event(wire::UserEvent {
                    time: at.time,
                    name: told.name,
                    payload: told.payload,
                    coalesce: false,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_knows_what_it_saw_until_it_is_overwritten() {
        let mut ring = Ring::new(LamportTime(3));
        let mut note =
            |what, time, current| ring.note(what, LamportTime(time), LamportTime(current));
        assert_eq!(note("early", 2, 3), Seen::Known);
        assert_eq!(note("a", 3, 4), Seen::New);
        assert_eq!(note("a", 3, 4), Seen::Known);
        assert_eq!(note("b", 3, 4), Seen::New);
        assert_eq!(note("a", 4, 5), Seen::New);
        let later = 3 + REMEMBERED as u64;
        assert_eq!(note("a", 3, later), Seen::Known);
        assert_eq!(note("c", later, later + 1), Seen::New);
        assert_eq!(note("a", 3, later + 1), Seen::TooOld);
        assert_eq!(note("a", 4, later + 1), Seen::Known);
        ring.ignore_before(LamportTime(later));
        ring.ignore_before(LamportTime(1));
        assert_eq!(ring.note("d", LamportTime(later - 1), LamportTime(later + 1)), Seen::Known);
    }

    #[test]
    fn a_flood_at_one_time_is_bounded() {
        let mut ring = Ring::new(LamportTime(0));
        let seen = |n| ring.note(n, LamportTime(1), LamportTime(2)) == Seen::New;
        assert_eq!((0..10_000).map(seen).filter(|new| *new).count(), EVENTS_AT_A_TIME_MAX);
    }
}
