//! The network: delays, losses, doubles, overtaking, partitions.
//!
//! Requests and answers travel alone and overtake each other, as no transport would let them
//! within one connection; the core must bear it. Who sends a request that is lost may be told,
//! as of a broken connection, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::scenario::Weather;
use crate::world::{Event, Node, Packet, World};

/// Loss and delay beyond the usual.
#[derive(Clone, Copy)]
pub(crate) struct Storm {
    pub(crate) number: u64,
    /// Of a thousand messages.
    pub(crate) lost: u32,
    /// Mean further delay.
    pub(crate) delay: Duration,
}

#[derive(Default)]
pub(crate) struct Network {
    /// By partition: the links that do not work, each for one direction.
    pub(crate) cuts: BTreeMap<u64, BTreeSet<(Node, Node)>>,
    pub(crate) storm: Option<Storm>,
    /// The least delay of a link, made when it is first used.
    delays: BTreeMap<(Node, Node), Duration>,
    is_calm: bool,
}

impl Network {
    /// From here on all is well.
    pub(crate) fn calm_down(&mut self) {
        self.cuts.clear();
        self.storm = None;
        self.is_calm = true;
    }

    fn is_cut(&self, from: Node, to: Node) -> bool {
        self.cuts.values().any(|cut| cut.contains(&(from, to)))
    }

    /// Sends a message on its way, or loses it.
    pub(crate) fn send(&mut self, packet: Packet, weather: &Weather, world: &mut World) {
        let (from, to) = (packet.from, packet.to);
        let unlucky = !self.is_calm && world.chance(weather.lost);
        let stormy = self.storm.is_some_and(|storm| world.chance(storm.lost));
        if self.is_cut(from, to) || unlucky || stormy {
            self.lose(&packet, weather, world);
            return;
        }
        if !self.is_calm && world.chance(weather.doubled) {
            let wait = self.delay(from, to, weather, world);
            world.schedule_in(wait, Event::Deliver(packet.clone()));
        }
        let wait = self.delay(from, to, weather, world);
        world.schedule_in(wait, Event::Deliver(packet));
    }

    fn delay(&mut self, from: Node, to: Node, weather: &Weather, world: &mut World) -> Duration {
        let least = match self.delays.get(&(from, to)) {
            Some(least) => *least,
            None => {
                let least = world.micros(100, 4000);
                *self.delays.entry((from, to)).or_insert(least)
            }
        };
        let mut wait = least + world.about(Duration::from_micros(400));
        if let Some(storm) = self.storm {
            wait += world.about(storm.delay);
        }
        if !self.is_calm && world.chance(weather.stuck) {
            wait += world.about(Duration::from_millis(700));
        }
        wait
    }

    /// Whether a message arrives although a partition came while it was under way.
    pub(crate) fn arrives(&self, packet: &Packet, weather: &Weather, world: &mut World) -> bool {
        let lost = self.is_cut(packet.from, packet.to);
        if lost {
            self.lose(packet, weather, world);
        }
        !lost
    }

    /// Tells the sender of a request, perhaps, that it did not get through.
    pub(crate) fn lose(&self, packet: &Packet, weather: &Weather, world: &mut World) {
        if !packet.message.body.is_response() && (self.is_calm || world.chance(weather.told)) {
            let (at, to, request) = (packet.from, packet.to, packet.message.request);
            let wait = world.micros(100, 20_000);
            world.schedule_in(wait, Event::Failed { at, to, request });
        }
    }
}
