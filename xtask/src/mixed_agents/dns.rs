//! Questions over DNS.

use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype};
use domain::rdata::AllRecordData;

const PATIENCE: Duration = Duration::from_secs(10);

/// What is in the sections of an answer, in an order that does not depend on who gave it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) rcode: Rcode,
    pub(super) answers: Vec<String>,
    pub(super) additional: Vec<String>,
}

/// Asks for the records of a name.
pub(super) fn ask(server: SocketAddr, name: &str, kind: Rtype) -> anyhow::Result<Answer> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(fastrand::u16(..));
    builder.header_mut().set_rd(true);
    builder.push((Name::<Vec<u8>>::from_str(name)?, kind))?;
    let question = builder.finish();
    let socket = UdpSocket::bind((server.ip(), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(&question, server)?;
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).with_context(|| format!("{name} {kind}: no answer"))?;
    let message = Message::from_octets(&bytes[..length])?;
    Ok(Answer {
        rcode: message.header().rcode(),
        answers: rows(message.answer()?)?,
        additional: rows(message.additional()?)?,
    })
}

fn rows(section: domain::base::message::RecordSection<'_, &[u8]>) -> anyhow::Result<Vec<String>> {
    let mut rows = Vec::new();
    for record in section.limit_to_in::<AllRecordData<&[u8], ParsedName<&[u8]>>>() {
        let record = record?;
        let owner = record.owner().to_string().to_lowercase();
        rows.push(format!(
            "{owner} {} {} {}",
            record.ttl().as_secs(),
            record.rtype(),
            record.data()
        ));
    }
    rows.sort();
    Ok(rows)
}
