//! One simulated machine: its clock and disk, and its process while that runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::{Configuration, Server as Member, Suffrage};
use wal::{Disk, MemDisk};

use crate::bug::Bug;
use crate::clock::{Clock, Time};
use crate::process::{Process, StartFailure, Stop};
use crate::sabotage::LyingDisk;
use crate::scenario::Weather;
use crate::world::{Event, Inner, Node, World};

/// Least time between the end of a process and the next; see [`crate::clock`].
const RESTART_MIN_MS: u64 = 20;

/// A crash that is to come at a bad moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    /// When the disk is through with so many more things.
    AfterWrites(u32),
    /// When a received snapshot is durable and the log does not know of it.
    AfterInstall,
}

pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) disk: MemDisk,
    pub(crate) process: Option<Process>,
    pub(crate) incarnation: u64,
    /// Until then nothing happens in it.
    pub(crate) paused: Option<Time>,
    pub(crate) slow: u32,
    pub(crate) doom: Option<Doom>,
    /// When the core's timer is set to, and which setting that is.
    timer: Option<Instant>,
    setting: u64,
}

impl Server {
    pub(crate) fn new(node: Node, clock: Clock, world: &mut World) -> Self {
        let disk = MemDisk::with_faults(world.rng.u64(..));
        Server {
            node,
            clock,
            disk,
            process: None,
            incarnation: 0,
            paused: None,
            slow: 1,
            doom: None,
            timer: None,
            setting: 0,
        }
    }

    pub(crate) fn start(&mut self, voters: u8, weather: &Weather, world: &mut World) {
        if self.process.is_some() {
            return;
        }
        self.incarnation += 1;
        self.timer = None;
        let disk: Arc<dyn Disk> = match world.has(Bug::LostSync) {
            true => Arc::new(LyingDisk(Arc::new(self.disk.clone()))),
            false => Arc::new(self.disk.clone()),
        };
        let (node, incarnation) = (self.node, self.incarnation);
        let options = weather.options.clone();
        let local = self.clock.read(world.now);
        match Process::start(node, incarnation, disk, options, local, world) {
            Ok(mut process) => {
                world.observer.counts.restarts += u64::from(incarnation > 1);
                let status = process.core.status();
                let (term, last, snapshot) = (status.term.0, status.last, status.snapshot);
                world.say(format_args!(
                    "{node} starts: term {term}, log to {}/t{}, snapshot {}",
                    last.index, last.term.0, snapshot.index
                ));
                if node.0 < voters {
                    // A server that is not new refuses.
                    let _ = process.core.bootstrap(configuration(voters), local);
                }
                process.schedule(Duration::from_millis(100), Inner::Look, world);
                self.process = Some(process);
                self.handle(world, |_, _| Ok(()));
            }
            Err(StartFailure::Again(why)) => {
                world.say(format_args!("{node} does not start: {why}"));
                world.schedule_in(Duration::from_millis(100), Event::Start(node));
            }
            Err(StartFailure::Broken(why)) => {
                world.violation(format!("durability: {node} does not start: {why}"));
            }
        }
        world.say_violations();
    }

    /// Lets the process take an input, and then do what its core asks for.
    pub(crate) fn handle(
        &mut self,
        world: &mut World,
        input: impl FnOnce(&mut Process, &mut World) -> Result<(), Stop>,
    ) {
        let Some(process) = self.process.as_mut() else { return };
        process.local = self.clock.read(world.now);
        process.slow = self.slow;
        let done = input(process, world).and_then(|()| process.drain(world));
        world.say_violations();
        match done {
            Ok(()) => self.set_timer(world),
            Err(Stop { why, power }) => {
                world.say(format_args!("{} stops: {why}", self.node));
                self.crash(power, world);
            }
        }
    }

    /// Something inside of the process.
    pub(crate) fn inner(&mut self, incarnation: u64, what: &Inner, world: &mut World) {
        let is_current = self.process.as_ref().is_some_and(|p| p.incarnation == incarnation);
        if !is_current {
            return;
        }
        if self.is_doomed(what) {
            world.say(format_args!("{} is doomed", self.node));
            if *what == Inner::SnapshotReceived
                && let Some(process) = self.process.as_mut()
            {
                // The core is told, but does nothing about it any more.
                let _ = process.finish_install(world);
                world.say_violations();
            }
            let power = world.rng.bool();
            self.crash(power, world);
            return;
        }
        let setting = self.setting;
        self.handle(world, |process, world| match what {
            Inner::Timer { setting: of } if *of == setting => {
                process.core.handle_timeout(process.local);
                Ok(())
            }
            Inner::Timer { .. } => Ok(()),
            Inner::Written => process.written(world),
            Inner::Apply => {
                process.apply(world);
                Ok(())
            }
            Inner::Propose => {
                process.propose(world);
                Ok(())
            }
            Inner::Look => {
                process.look(world);
                Ok(())
            }
            Inner::SnapshotMade => process.finish_own_snapshot(world),
            Inner::SnapshotReceived => process.finish_install(world),
            Inner::SegmentPrepared => process.prepare_segment(world),
            Inner::WaitOver { client, attempt } => {
                process.wait_over(*client, *attempt, world);
                Ok(())
            }
        });
    }

    fn is_doomed(&mut self, what: &Inner) -> bool {
        let is_write = matches!(
            what,
            Inner::Written | Inner::SnapshotMade | Inner::SnapshotReceived | Inner::SegmentPrepared
        );
        match &mut self.doom {
            Some(Doom::AfterWrites(0)) if is_write => {}
            Some(Doom::AfterWrites(left)) if is_write => {
                *left -= 1;
                return false;
            }
            Some(Doom::AfterInstall) if *what == Inner::SnapshotReceived => {}
            _ => return false,
        }
        self.doom = None;
        true
    }

    /// The process ends, with the power or without, and starts again after a while.
    pub(crate) fn crash(&mut self, power: bool, world: &mut World) {
        let Some(mut process) = self.process.take() else { return };
        process.abandon_group(world);
        if power {
            self.disk.crash();
        }
        drop(process);
        self.paused = None;
        let how = if power { "loses power" } else { "dies" };
        world.say(format_args!("{} {how}", self.node));
        let more = world.about(Duration::from_millis(300)).min(Duration::from_secs(2));
        let wait = Duration::from_millis(RESTART_MIN_MS) + more;
        world.schedule_in(wait, Event::Start(self.node));
    }

    /// The timer must be set again, as the clock runs otherwise.
    pub(crate) fn clock_changed(&mut self, world: &mut World) {
        self.timer = None;
        self.handle(world, |_, _| Ok(()));
    }

    fn set_timer(&mut self, world: &mut World) {
        let Some(process) = &self.process else { return };
        let due = process.core.poll_timeout();
        if let Some(due) = due.filter(|_| due != self.timer) {
            self.setting += 1;
            // Timers are never early by themselves, and a little late.
            let late = world.micros(0, 800);
            let at = self.clock.true_time(due, world.now).after(late);
            let (node, incarnation, setting) = (self.node, process.incarnation, self.setting);
            let what = Inner::Timer { setting };
            world.schedule(at, Event::Inner { node, incarnation, what });
        }
        self.timer = due;
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.core.is_leader())
    }
}

/// A member as all know it.
pub(crate) fn member(node: Node) -> Member {
    let address = format!("10.0.0.{}:8300", node.0 + 1);
    Member { id: node.id(), address: address.into(), suffrage: Suffrage::Voter }
}

/// The first configuration.
fn configuration(voters: u8) -> Configuration {
    Configuration { servers: (0..voters).map(|number| member(Node(number))).collect() }
}
