//! DNS load over UDP: a few sockets with a few questions each under way, all served by one thread.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::{Timespec, epoll};

use crate::load::Load;
use crate::machine;
use crate::samples::Samples;

const SOCKETS: usize = 8;
const IN_FLIGHT: usize = 16;
/// A question without an answer for so long is lost and asked again.
const LOST: Duration = Duration::from_secs(1);

/// Question type A.
pub(crate) const A: u16 = 1;
/// Question type SRV.
pub(crate) const SRV: u16 = 33;

/// Renders a question (RFC 1035 section 4) with id 0.
pub(crate) fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes
}

/// Whether an answer is a success with at least one record; with its id.
fn judge(answer: &[u8]) -> Option<(usize, bool)> {
    let head = answer.get(..12)?;
    let id = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let records = u16::from_be_bytes([head[6], head[7]]);
    Some((id, head[2] & 0x80 != 0 && head[3] & 0x0f == 0 && records > 0))
}

struct Lane {
    socket: UdpSocket,
    /// When the question with this id was asked.
    asked: [Instant; IN_FLIGHT],
}

struct Flight {
    lanes: Vec<Lane>,
    question: Vec<u8>,
    latency: Samples,
    failures: u64,
    from: Instant,
}

/// Asks one question as often as the server answers.
///
/// # Errors
/// No socket, or not a single answer.
pub(crate) fn drive(
    address: SocketAddr,
    pid: u32,
    question: Vec<u8>,
    warm_up: Duration,
    run: Duration,
) -> anyhow::Result<Load> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let start = Instant::now();
    let mut flight = Flight {
        lanes: Vec::new(),
        question,
        latency: Samples::default(),
        failures: 0,
        from: start + warm_up,
    };
    for lane in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        epoll::add(&epoll, &socket, epoll::EventData::new_u64(lane as u64), epoll::EventFlags::IN)?;
        flight.lanes.push(Lane { socket, asked: [start; IN_FLIGHT] });
        for id in 0..IN_FLIGHT {
            flight.ask(lane, id);
        }
    }
    let mut before = None;
    let mut events = Vec::with_capacity(SOCKETS);
    let mut swept = start;
    let end = loop {
        let now = Instant::now();
        if before.is_none() && now >= flight.from {
            before =
                Some((machine::processor_time(pid)?, machine::processor_time(std::process::id())?));
        }
        if now >= flight.from + run {
            break now;
        }
        if now - swept > LOST / 4 {
            flight.sweep(now);
            swept = now;
        }
        events.clear();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            flight.receive(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))?;
        }
    };
    let before = before.context("the load ended before its warm-up")?;
    ensure!(flight.latency.count() > 0, "not one good answer ({} bad or lost)", flight.failures);
    let seconds = (end - flight.from).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of answers is far below 2^52")]
    let rate = flight.latency.count() as f64 / seconds;
    Ok(Load {
        rate,
        latency: flight.latency,
        failures: flight.failures,
        server_cores: (machine::processor_time(pid)?.saturating_sub(before.0)).as_secs_f64()
            / seconds,
        generator_cores: (machine::processor_time(std::process::id())?.saturating_sub(before.1))
            .as_secs_f64()
            / seconds,
    })
}

impl Flight {
    fn ask(&mut self, lane: usize, id: usize) {
        let number = u16::try_from(id).unwrap_or(0);
        self.question[..2].copy_from_slice(&number.to_be_bytes());
        self.lanes[lane].asked[id] = Instant::now();
        // A full socket or a refused datagram is a lost question: the sweep asks it again.
        let _ = self.lanes[lane].socket.send(&self.question);
    }

    fn sweep(&mut self, now: Instant) {
        for lane in 0..self.lanes.len() {
            for id in 0..IN_FLIGHT {
                if now - self.lanes[lane].asked[id] > LOST {
                    self.failures += 1;
                    self.ask(lane, id);
                }
            }
        }
    }

    fn receive(&mut self, lane: usize) -> anyhow::Result<()> {
        let mut buffer = [0; 2048];
        // Bounded, so that one socket does not starve the others.
        for _ in 0..IN_FLIGHT {
            let length = match self.lanes[lane].socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) => return Err(error).context("reading an answer"),
            };
            let Some((id, good)) = judge(&buffer[..length]).filter(|(id, _)| *id < IN_FLIGHT)
            else {
                continue;
            };
            let now = Instant::now();
            if !good {
                self.failures += 1;
            } else if now >= self.from {
                self.latency.add(now - self.lanes[lane].asked[id]);
            }
            self.ask(lane, id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_rendered_and_answers_judged() {
        let asked = question("web.service.consul.", SRV);
        assert_eq!(asked.len(), 12 + 4 + 8 + 7 + 1 + 4);
        assert_eq!(&asked[asked.len() - 4..], &[0, 33, 0, 1]);
        let mut answer = asked;
        answer[1] = 5;
        assert_eq!(judge(&answer), Some((5, false)), "a question is no answer");
        answer[2] |= 0x80;
        assert_eq!(judge(&answer), Some((5, false)), "no records");
        answer[7] = 1;
        assert_eq!(judge(&answer), Some((5, true)));
        answer[3] = 3;
        assert_eq!(judge(&answer), Some((5, false)), "NXDOMAIN");
        assert_eq!(judge(&answer[..11]), None);
    }
}
