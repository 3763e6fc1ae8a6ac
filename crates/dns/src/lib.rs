//! The DNS interface of the agent, without a socket: from the octets of a
//! question to the octets of its answer (`reference/dns.md`).
//!
//! A question passes five stations:
//!
//! 1. [`Request::parse`] reads the message, within bounds.
//! 2. [`plan()`] decides from name and type what is needed ([`Plan`]).
//! 3. The caller fetches the rows that a [`Lookup`] names, or hands the message
//!    to the recursors.
//! 4. [`Exchange::answer`] makes the records and writes the message, cut to
//!    what the client takes. If host names have to be followed first, it says
//!    so ([`Outcome::NeedsCname`]) and is called again with what they were
//!    resolved to ([`Chased`]).
//! 5. The caller sends [`MessageBuffer::as_bytes`].
//!
//! Nothing here talks to the network, reads a clock or makes random numbers:
//! time and a seed are parameters, and the same input gives the same octets.
//!
//! The writer is our own. Exactly as many records must fit as with Consul,
//! which depends on which names are compressed (SRV targets are not, yet are
//! pointed to); trimming re-writes a message several times into one buffer;
//! and names are put together from borrowed rows without a copy per record.
//! The library codec offers neither. It serves as an independent reader in
//! the tests.

mod address;
mod answer;
mod cname;
mod distinct;
mod health;
mod instances;
mod message;
mod name;
mod options;
mod plan;
mod record;
mod record_type;
mod recursor;
mod request;
mod reverse;
mod truncate;
mod txt;

pub use answer::{Exchange, Outcome, QueryRows, Report, ReverseTarget, Rows, Transport};
pub use cname::{CHASED_RECORDS_MAX, Chased, CnameTarget, NESTING_MAX, TARGETS_MAX, Via};
pub use health::{is_handed_out, srv_weight};
pub use message::MessageBuffer;
pub use name::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX, Name};
pub use options::{DnsOptions, OptionsError, SoaOptions, ZoneId, Zones};
pub use plan::{Locality, Lookup, Plan, plan};
pub use record_type::{CLASS_IN, Rcode, RecordType};
pub use recursor::{
    RECURSOR_PORT, RecursorAddress, RecursorStrategy, Verdict, judge_reply, set_id,
};
pub use request::{ClientSubnet, Edns, Malformed, Question, Request, answer_malformed};
pub use reverse::reverse_address;
pub use truncate::Truncated;
pub use txt::meta_text;
