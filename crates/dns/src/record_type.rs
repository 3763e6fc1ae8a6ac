//! The few numbers of DNS that the machine speaks about by name.

use std::fmt;

/// A QTYPE or record type: any 16-bit number; the known ones have constants
/// (RFC 1035 section 3.2.2, RFC 3596, RFC 2782, RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

#[allow(missing_docs, reason = "each constant is the record type of that name")]
impl RecordType {
    pub const A: RecordType = RecordType(1);
    pub const NS: RecordType = RecordType(2);
    pub const CNAME: RecordType = RecordType(5);
    pub const SOA: RecordType = RecordType(6);
    pub const PTR: RecordType = RecordType(12);
    pub const MX: RecordType = RecordType(15);
    pub const TXT: RecordType = RecordType(16);
    pub const AAAA: RecordType = RecordType(28);
    pub const SRV: RecordType = RecordType(33);
    pub const NAPTR: RecordType = RecordType(35);
    pub const OPT: RecordType = RecordType(41);
    pub const DS: RecordType = RecordType(43);
    pub const AXFR: RecordType = RecordType(252);
    pub const ANY: RecordType = RecordType(255);
}

impl fmt::Display for RecordType {
    /// The mnemonic, or `TYPE99` for a number without one (RFC 3597 section 5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            RecordType::A => "A",
            RecordType::NS => "NS",
            RecordType::CNAME => "CNAME",
            RecordType::SOA => "SOA",
            RecordType::PTR => "PTR",
            RecordType::MX => "MX",
            RecordType::TXT => "TXT",
            RecordType::AAAA => "AAAA",
            RecordType::SRV => "SRV",
            RecordType::NAPTR => "NAPTR",
            RecordType::OPT => "OPT",
            RecordType::DS => "DS",
            RecordType::AXFR => "AXFR",
            RecordType::ANY => "ANY",
            RecordType(number) => return write!(f, "TYPE{number}"),
        };
        f.write_str(name)
    }
}

/// The class `IN`, the only one records are made for (RFC 1035 section 3.2.4).
pub const CLASS_IN: u16 = 1;

/// The response codes the machine gives (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rcode {
    /// The question was understood; there may still be no records.
    NoError = 0,
    /// The message could not be read.
    FormErr = 1,
    /// The catalog, or every recursor, failed.
    ServFail = 2,
    /// The name does not exist.
    NxDomain = 3,
    /// The kind of question is not served.
    NotImp = 4,
    /// The name is outside the served zones.
    Refused = 5,
}
