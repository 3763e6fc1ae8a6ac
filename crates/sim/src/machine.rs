//! The replicated state machine: a few registers.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Names one operation of one client; never used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OperationId(pub(crate) u64);

/// Names a register.
pub(crate) type Key = u8;

/// What to do to a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the value.
    Put(String),
    /// Sets the value (second) if it is the first.
    Cas(String, String),
    /// Adds to the end of the value.
    Append(String),
}

impl Write {
    /// Does it to a value; `false` for a comparison that fails.
    pub fn apply_to(&self, value: &mut String) -> bool {
        match self {
            Write::Put(new) => value.clone_from(new),
            Write::Cas(expected, new) if value == expected => value.clone_from(new),
            Write::Cas(..) => return false,
            Write::Append(more) => value.push_str(more),
        }
        true
    }
}

/// An entry's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) id: OperationId,
    pub(crate) key: Key,
    pub(crate) write: Write,
}

impl Command {
    pub(crate) fn encode(&self) -> Bytes {
        let (id, key) = (self.id.0, self.key);
        let text = match &self.write {
            Write::Put(new) => format!("{id} {key} put {new}"),
            Write::Cas(expected, new) => format!("{id} {key} cas {new} {expected}"),
            Write::Append(more) => format!("{id} {key} append {more}"),
        };
        text.into()
    }

    /// `None` if it is not what [`Command::encode`] writes.
    pub(crate) fn decode(data: &[u8]) -> Option<Command> {
        let mut words = std::str::from_utf8(data).ok()?.split(' ');
        let id = OperationId(words.next()?.parse().ok()?);
        let key = words.next()?.parse().ok()?;
        let write = match (words.next()?, words.next()?.to_owned()) {
            ("put", new) => Write::Put(new),
            ("cas", new) => Write::Cas(words.next()?.to_owned(), new),
            ("append", more) => Write::Append(more),
            _ => return None,
        };
        Some(Command { id, key, write })
    }
}

/// The registers. Those that were never written are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    registers: BTreeMap<Key, String>,
    /// How many commands it took, so that one too many shows even if it changes no register.
    commands: u64,
}

impl Machine {
    pub(crate) fn apply(&mut self, command: &Command) -> bool {
        self.commands += 1;
        command.write.apply_to(self.registers.entry(command.key).or_default())
    }

    pub(crate) fn get(&self, key: Key) -> &str {
        self.registers.get(&key).map_or("", String::as_str)
    }

    /// Equal for equal states, and almost never else.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        digest.add(&self.commands.to_le_bytes());
        for (key, value) in &self.registers {
            digest.add(&[*key]);
            digest.add(value.as_bytes());
            digest.add(b"\n");
        }
        digest.0
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut text = format!("{}\n", self.commands);
        for (key, value) in &self.registers {
            text.push_str(&format!("{key} {value}\n"));
        }
        text.into_bytes()
    }

    /// `None` if it is not what [`Machine::snapshot`] writes.
    pub(crate) fn restore(state: &[u8]) -> Option<Machine> {
        let mut lines = std::str::from_utf8(state).ok()?.lines();
        let commands = lines.next()?.parse().ok()?;
        let register = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.parse().ok()?, value.to_owned()))
        };
        let registers = lines.map(register).collect::<Option<BTreeMap<Key, String>>>()?;
        Some(Machine { registers, commands })
    }
}

/// FNV-1a with 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_a_snapshot_survive_their_bytes() {
        let writes = [
            Write::Put("a".into()),
            Write::Append("b".into()),
            Write::Cas("ab".into(), "c".into()),
            Write::Cas("ab".into(), "d".into()),
            Write::Cas(String::new(), "e".into()),
        ];
        let mut machine = Machine::default();
        let mut outcomes = Vec::new();
        for (id, write) in (1..).zip(writes) {
            let command = Command { id: OperationId(id), key: 3, write };
            assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
            outcomes.push(machine.apply(&command));
            let restored = Machine::restore(&machine.snapshot()).unwrap();
            assert_eq!(restored, machine);
            assert_eq!(restored.digest(), machine.digest());
        }
        assert_eq!(outcomes, [true, true, true, false, false]);
        assert_eq!(machine.get(3), "c");
    }
}
