//! Writers: each has items of its own and one write on its way at a time.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde_json::json;

use super::item::{Item, Sighting, Stamp};
use crate::live::http::{Answer, Connection};

/// Below this are the keys.
pub(super) const PREFIX: &str = "durability/";

/// The service that all nodes have.
pub(super) const SERVICE: &str = "durable";

const KEYS: usize = 30;
const NODES: usize = 8;

/// One writer and what it knows.
#[derive(Debug)]
pub(super) struct Writer {
    number: usize,
    random: fastrand::Rng,
    /// The number of the last write.
    count: u64,
    pub(super) keys: Vec<Item>,
    pub(super) nodes: Vec<Item>,
    pub(super) acknowledged: u64,
}

/// How a round of writing ended.
type Round = Result<(), String>;

/// An entry of the key/value store as the HTTP API shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) create_index: u64,
    pub(super) modify_index: u64,
}

impl Entry {
    /// What was read, if the value is one that was written, and whole.
    pub(super) fn sighting(&self) -> Result<Sighting, String> {
        let value = self.text().ok_or_else(|| format!("the value of {} is no text", self.key))?;
        let stamp = Stamp::parse(&value).filter(|stamp| stamp.value() == value);
        let stamp = stamp.ok_or_else(|| format!("the value of {} is not whole", self.key))?;
        Ok(Sighting { stamp, create: self.create_index, modify: self.modify_index })
    }

    /// The value, if it is text.
    pub(super) fn text(&self) -> Option<String> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(&self.value).ok()?;
        String::from_utf8(bytes).ok()
    }
}

impl Writer {
    pub(super) fn new(number: usize, random: fastrand::Rng) -> Self {
        let items =
            |count, name: &dyn Fn(usize) -> String| (0..count).map(name).map(Item::new).collect();
        Self {
            number,
            random,
            count: 0,
            keys: items(KEYS, &|key| format!("{PREFIX}{number}/{key}")),
            nodes: items(NODES, &|node| format!("node-{number}-{node}")),
            acknowledged: 0,
        }
    }

    /// Writes until the server is gone.
    ///
    /// # Errors
    /// When something went wrong while the server was there.
    pub(super) fn write(&mut self, address: SocketAddr, killed: &AtomicBool) -> Round {
        let outcome = self.write_on(address);
        match outcome {
            Err(Trouble::Io(_)) if killed.load(Ordering::SeqCst) => Ok(()),
            Err(Trouble::Io(error)) => Err(format!("the server hung up, or hangs: {error}")),
            Err(Trouble::Wrong(text)) => Err(text),
            Ok(never) => match never {},
        }
    }

    /// The writes that may or may not have taken effect.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (&Item, Option<Stamp>)> {
        let items = self.keys.iter().chain(&self.nodes);
        items.filter_map(|item| Some((item, item.in_flight()?)))
    }

    fn write_on(&mut self, address: SocketAddr) -> Result<Never, Trouble> {
        let mut connection = Connection::open(address)?;
        loop {
            match self.random.u32(..100) {
                0..55 => self.put(&mut connection)?,
                55..70 => self.check_and_set(&mut connection)?,
                70..80 => self.delete(&mut connection)?,
                80..95 => self.register(&mut connection)?,
                _ => self.deregister(&mut connection)?,
            }
        }
    }

    fn put(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let place = self.random.usize(..KEYS);
        self.put_at(connection, place, "")
    }

    fn check_and_set(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let place = self.random.usize(..KEYS);
        let item = &mut self.keys[place];
        let answer = connection.ask("GET", &format!("/v1/kv/{}", item.name), b"")?;
        let found = sighting(&answer)?;
        // A writer reads what it wrote.
        item.meet(found)?;
        let index = found.map_or(0, |found| found.modify);
        self.put_at(connection, place, &format!("?cas={index}"))
    }

    fn put_at(
        &mut self,
        connection: &mut Connection,
        place: usize,
        query: &str,
    ) -> Result<(), Trouble> {
        let stamp = self.next_stamp();
        let item = &mut self.keys[place];
        item.begin(Some(stamp));
        let target = format!("/v1/kv/{}{query}", item.name);
        let answer = connection.ask("PUT", &target, stamp.value().as_bytes())?;
        expect_true(&answer, &target)?;
        self.keys[place].acknowledge();
        self.acknowledged += 1;
        Ok(())
    }

    fn delete(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let Some(place) = pick_existing(&mut self.random, &self.keys) else { return Ok(()) };
        let item = &mut self.keys[place];
        item.begin(None);
        let target = format!("/v1/kv/{}", item.name);
        expect_true(&connection.ask("DELETE", &target, b"")?, &target)?;
        item.acknowledge();
        self.acknowledged += 1;
        Ok(())
    }

    /// A node, a service and two checks in one request, all with the same stamp.
    fn register(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let stamp = self.next_stamp();
        let item = &mut self.nodes[self.random.usize(..NODES)];
        item.begin(Some(stamp));
        let text = stamp.to_string();
        let check = |id: &str| json!({ "CheckID": id, "Name": id, "ServiceID": SERVICE, "Status": "passing", "Output": text });
        let body = json!({
            "Node": item.name,
            "Address": "127.0.0.1",
            "NodeMeta": { "stamp": text },
            "Service": { "ID": SERVICE, "Service": SERVICE, "Port": 80, "Meta": { "stamp": text } },
            "Checks": [check("one"), check("two")],
        });
        let target = "/v1/catalog/register";
        expect_true(&connection.ask("PUT", target, body.to_string().as_bytes())?, target)?;
        item.acknowledge();
        self.acknowledged += 1;
        Ok(())
    }

    fn deregister(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let Some(place) = pick_existing(&mut self.random, &self.nodes) else { return Ok(()) };
        let item = &mut self.nodes[place];
        item.begin(None);
        let body = json!({ "Node": item.name }).to_string();
        let target = "/v1/catalog/deregister";
        expect_true(&connection.ask("PUT", target, body.as_bytes())?, target)?;
        item.acknowledge();
        self.acknowledged += 1;
        Ok(())
    }

    fn next_stamp(&mut self) -> Stamp {
        self.count += 1;
        Stamp { writer: self.number, number: self.count }
    }
}

/// Writing goes on until it fails.
enum Never {}

enum Trouble {
    /// The connection ended.
    Io(io::Error),
    /// The server did what it must not.
    Wrong(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self::Wrong(text)
    }
}

fn pick_existing(random: &mut fastrand::Rng, items: &[Item]) -> Option<usize> {
    let place = random.usize(..items.len());
    items[place].exists().then_some(place)
}

fn expect_true(answer: &Answer, target: &str) -> Result<(), String> {
    if answer.status == 200 && answer.text() == "true" {
        return Ok(());
    }
    Err(format!("{target} was answered with {} {:?}", answer.status, answer.text()))
}

/// What a read of one key found.
fn sighting(answer: &Answer) -> Result<Option<Sighting>, String> {
    match answer.status {
        404 => Ok(None),
        200 => {
            let entries: Vec<Entry> = serde_json::from_slice(&answer.body)
                .map_err(|error| format!("{error} in {}", answer.text()))?;
            entries.first().map(Entry::sighting).transpose()
        }
        status => Err(format!("a read was answered with {status} {}", answer.text())),
    }
}
