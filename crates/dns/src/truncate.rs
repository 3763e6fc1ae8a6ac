//! Fitting an answer into what the client takes (`reference/dns.md` section 8).

use crate::answer::{Exchange, HeaderChoice, Report, Sections, Transport};
use crate::distinct::Distinct;
use crate::message::{Head, MessageBuffer, Section};
use crate::name::Name;
use crate::record::{Data, Record};
use crate::record_type::RecordType;

/// What every client takes over UDP (RFC 1035 section 2.3.4).
const UDP_OCTETS_MIN: usize = 512;
/// What no UDP answer exceeds, whatever the client says.
const UDP_OCTETS_MAX: usize = 65_467;
/// Consul leaves this much room in UDP answers that it trims.
const UDP_ROOM: usize = 8;
/// Most answers to a client that takes 512 octets.
const SMALL_ANSWERS_MAX: usize = 8;
/// What a trimmed TCP answer does not exceed.
const TCP_OCTETS: usize = 65_523;
/// Most answers over TCP.
const TCP_ANSWERS_MAX: usize = 4_096;
/// Most SRV answers over TCP.
const TCP_SRV_ANSWERS_MAX: usize = 1_024;
/// The smallest record: pointer, type, class, TTL, length and an IPv4 address.
const RECORD_OCTETS_MIN: usize = 16;
/// A name that was written before.
const POINTER_OCTETS: usize = 2;
/// Type, class, TTL and length of a record.
const RECORD_FIXED_OCTETS: usize = 10;
/// What a DNS message can be at most.
const MESSAGE_OCTETS_MAX: usize = 65_535;

/// An answer that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Answers that stayed.
    pub kept: usize,
    /// Answers there were; at most this many when duplicates were not counted.
    pub total: usize,
    /// Octets of the message.
    pub size: usize,
}

/// How many octets the client takes.
fn udp_octets(exchange: &Exchange<'_>) -> usize {
    let edns = exchange.request.edns.map_or(0, |edns| usize::from(edns.udp_size));
    edns.clamp(UDP_OCTETS_MIN, UDP_OCTETS_MAX)
}

/// The number of answers that can be sent at most, so that no more are made.
/// A host name's CNAME set is not limited by it.
pub(crate) fn answers_max(exchange: &Exchange<'_>) -> usize {
    match exchange.transport {
        Transport::Tcp if exchange.record_type() == RecordType::SRV => TCP_SRV_ANSWERS_MAX,
        Transport::Tcp => TCP_ANSWERS_MAX,
        Transport::Udp => match udp_octets(exchange) {
            UDP_OCTETS_MIN => {
                let limit = exchange.zones.options.udp_answer_limit as usize;
                limit.clamp(1, SMALL_ANSWERS_MAX)
            }
            octets => octets / RECORD_OCTETS_MIN,
        },
    }
}

/// The size that an answer with more than one record is trimmed to.
pub(crate) fn octets_max(exchange: &Exchange<'_>) -> usize {
    match exchange.transport {
        Transport::Udp => udp_octets(exchange) - UDP_ROOM,
        Transport::Tcp => TCP_OCTETS,
    }
}

/// Writes the sections, cut down as far as needed.
pub(crate) fn write_answer(
    exchange: &Exchange<'_>,
    choice: HeaderChoice,
    sections: Sections<'_>,
    out: &mut MessageBuffer,
) -> Report {
    let root = Name::root();
    let question = exchange.question().map_or(&root, |question| &question.name);
    let glue = Vec::new();
    let mut writer = Writer { exchange, choice, sections: &sections, question, glue };
    let total = sections.answers.len();
    let counted = total.min(answers_max(exchange));
    let octets = octets_max(exchange);
    let whole = counted == total;
    if !whole {
        writer.glue = glue_of(&sections, exchange.seed);
    }
    let extent = if whole { Extent::Whole } else { Extent::Counted };
    // One answer is sent whatever its size.
    let limit = if counted > 1 { octets } else { MESSAGE_OCTETS_MAX };
    let kept = match writer.write(counted, extent, limit, out) {
        Ok(()) => counted,
        Err(_) if counted <= 1 => {
            // Only metadata can be that large; the answer goes without it.
            writer.glue = glue_of(&sections, exchange.seed);
            let _ = writer.write(counted, Extent::Trimmed, MESSAGE_OCTETS_MAX, out);
            counted
        }
        Err(fitting) => {
            writer.glue = glue_of(&sections, exchange.seed);
            writer.trim(fitting.clamp(1, counted - 1), octets, out)
        }
    };
    let truncated = (kept < total || !whole).then(|| Truncated {
        kept,
        total: total.max(sections.answers_at_most),
        size: out.len(),
    });
    let tc = truncated.is_some() && exchange.zones.options.enable_truncate;
    out.set_flags(writer.flags(tc));
    Report {
        rcode: choice.rcode,
        truncated,
        nesting_exceeded: sections.nesting_exceeded,
        skipped_name_servers: sections.skipped_name_servers,
    }
}

/// What is written beside the answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Everything, with the OPT record.
    Whole,
    /// Fewer answers than there are: Additional is the glue of those that are
    /// left, and the OPT record goes with the rest of it.
    Counted,
    /// Too large: Authority goes as well.
    Trimmed,
}

struct Writer<'e, 'a> {
    exchange: &'e Exchange<'e>,
    choice: HeaderChoice,
    sections: &'e Sections<'a>,
    question: &'e Name,
    /// What a cut answer keeps of Additional; made when it is needed.
    glue: Vec<(usize, &'e Record<'a>)>,
}

impl Writer<'_, '_> {
    /// Finds the largest number of answers up to `most` that fits, and writes
    /// them. At least one always stays.
    fn trim(&self, most: usize, octets: usize, out: &mut MessageBuffer) -> usize {
        let (mut fits, mut above) = (1, self.most_that_may_fit(most, octets, out) + 1);
        // The bound is nearly always exact, so the first try is the bound itself.
        let mut next = above - 1;
        while above - fits > 1 {
            match self.write(next, Extent::Trimmed, octets, out) {
                Ok(()) if next + 1 == above => return next,
                Ok(()) => fits = next,
                Err(_) => above = next,
            }
            next = fits + (above - fits) / 2;
        }
        // The last try did not fit, or there was none.
        let limit = if fits > 1 { octets } else { MESSAGE_OCTETS_MAX };
        let written = self.write(fits, Extent::Trimmed, limit, out);
        debug_assert!(written.is_ok() || fits == 1, "what fitted before fits again");
        fits
    }

    /// A number of answers, at least 1, that is not exceeded by those that fit
    /// together with their glue: sizes of glue are counted at their smallest.
    fn most_that_may_fit(&self, most: usize, octets: usize, out: &mut MessageBuffer) -> usize {
        self.start(out);
        let zones = self.exchange.zones;
        let mut glue = self.glue.iter().peekable();
        let mut glue_octets = 0;
        for (at, answer) in self.sections.answers[..most].iter().enumerate() {
            out.record(answer, self.question, zones);
            while let Some((_, record)) = glue.next_if(|(answer, _)| *answer <= at) {
                let owner = match zones.options.disable_compression {
                    false => POINTER_OCTETS,
                    true => record
                        .owner
                        .compose(self.question, zones)
                        .map_or(0, |name| name.as_wire().len()),
                };
                let data = if matches!(record.data, Data::Aaaa(_)) { 16 } else { 4 };
                let cname = matches!(record.data, Data::Cname(_));
                glue_octets += if cname { 0 } else { owner + RECORD_FIXED_OCTETS + data };
            }
            if out.len() + glue_octets > octets {
                return at.max(1);
            }
        }
        most.max(1)
    }

    fn start(&self, out: &mut MessageBuffer) {
        let compress = !self.exchange.zones.options.disable_compression;
        let head = Head { id: self.exchange.request.id, flags: self.flags(false) };
        out.start(head, self.exchange.question(), compress);
    }

    /// Writes the first `count` answers. When the message grows beyond `limit`
    /// octets it stops and returns how many answers alone would have fitted.
    fn write(
        &self,
        count: usize,
        extent: Extent,
        limit: usize,
        out: &mut MessageBuffer,
    ) -> Result<(), usize> {
        let zones = self.exchange.zones;
        self.start(out);
        let answers = &self.sections.answers[..count];
        let mut written = 0;
        for (at, record) in answers.iter().enumerate() {
            written += u16::from(out.record(record, self.question, zones));
            if out.len() > limit {
                return Err(at);
            }
        }
        out.set_count(Section::Answer, written);
        if extent != Extent::Trimmed {
            let authority = self.sections.authority.iter();
            let written = authority.filter(|r| out.record(r, self.question, zones)).count();
            out.set_count(Section::Authority, written as u16);
        }
        let mut written = 0;
        if extent == Extent::Whole {
            for record in &self.sections.additional {
                written += u16::from(out.record(record, self.question, zones));
                if out.len() > limit {
                    return Err(count);
                }
            }
            if let Some(edns) = self.exchange.request.edns.as_ref().filter(|_| self.choice.edns) {
                out.opt(edns, self.sections.scope_prefix);
                written += 1;
            }
        } else {
            for (_, record) in self.glue.iter().take_while(|(answer, _)| *answer < count) {
                written += u16::from(out.record(record, self.question, zones));
                if out.len() > limit {
                    return Err(count);
                }
            }
        }
        out.set_count(Section::Additional, written);
        if out.len() > limit { Err(count) } else { Ok(()) }
    }

    fn flags(&self, truncated: bool) -> u16 {
        let bit = |set: bool, mask: u16| if set { mask } else { 0 };
        0x8000
            | bit(self.choice.authoritative, 0x0400)
            | bit(truncated, 0x0200)
            | bit(self.exchange.request.recursion_desired, 0x0100)
            | bit(self.choice.recursion_available, 0x0080)
            | self.choice.rcode as u16
    }
}

/// The address and CNAME records of the targets of SRV answers, one per name,
/// each with the position of its answer.
fn glue_of<'s, 'a>(sections: &'s Sections<'a>, seed: u64) -> Vec<(usize, &'s Record<'a>)> {
    let mut seen = Distinct::new(seed);
    let mut glue = Vec::new();
    for (at, answer) in sections.answers.iter().enumerate() {
        let Data::Srv(srv) = &answer.data else { continue };
        let range = srv.glue.0 as usize..srv.glue.1 as usize;
        let records = sections.additional.get(range).unwrap_or_default();
        let kept = records.iter().filter(|r| r.data.is_glue() && seen.insert(r.owner));
        glue.extend(kept.map(|record| (at, record)));
    }
    glue
}
