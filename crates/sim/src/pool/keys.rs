//! The keys of a pool, and an operator who changes them step by step: a new one is installed,
//! then used, then the old one is removed, and each step is taken again until all who are up
//! have taken it. Meanwhile messages are lost, and agents come and go.

use gossip::serf::{KeyOperation, OperationId, Outcome, read_keyring_file};
use gossip::wire::{Key, Keyring};

use super::agent::{Agent, Fate};
use super::network::Network;

/// The operator's memory.
pub(super) struct Rotation {
    /// Which key is the latest.
    latest: u8,
    /// What was ordered, and of whom.
    ordered: Vec<(usize, u32, OperationId, KeyOperation)>,
}

impl Rotation {
    pub(super) fn new() -> Self {
        Self { latest: 1, ordered: Vec::new() }
    }
}

/// A key whose bytes are all the same.
fn key(byte: u8) -> Option<Key> {
    Key::new(&[byte; 16]).ok()
}

impl Agent {
    /// The keys that it has, or had when it went.
    pub(super) fn keyring(&self) -> Option<&Keyring> {
        match &self.serf {
            Some(serf) => serf.security().keyring.as_ref(),
            None => self.last_keyring.as_ref(),
        }
    }
}

/// The keys with which an agent starts: those of its file, and if they are not those of the
/// pool, the operator gives it these.
pub(super) fn keys_for(network: &mut Network, number: usize) -> Option<Keyring> {
    if !network.weather.keys {
        return None;
    }
    let agent = &network.agents[number];
    let file = agent.keyring_file.as_ref();
    let kept = file.and_then(|file| read_keyring_file(file.as_bytes()).ok());
    if agent.last_keyring.is_some() && kept != agent.last_keyring {
        let name = agent.name.clone();
        network.violation(format!("keys: {name} forgot what it had said it would keep"));
    }
    let up = network.agents.iter().filter(|agent| agent.is_up());
    let rings: Vec<&Keyring> = up.filter_map(Agent::keyring).collect();
    let Some(first) = rings.first() else { return kept.or_else(|| key(1).map(Keyring::new)) };
    let understand = |kept: &Keyring, ring: &Keyring| {
        kept.keys().contains(ring.primary()) && ring.keys().contains(kept.primary())
    };
    if let Some(kept) = kept
        && rings.iter().all(|ring| understand(&kept, ring))
    {
        return Some(kept);
    }
    let all = rings.iter().flat_map(|ring| ring.keys());
    Keyring::from_keys(first.keys().iter().chain(all).cloned())
}

/// The operator takes the next step.
pub(super) fn rotate_keys(network: &mut Network) {
    let Some(by) = network.some(|agent| agent.fate == Fate::Up && agent.joined) else { return };
    let Some(operation) = next_step(network) else { return };
    let relays = network.rng.u8(0..3);
    network.counts.key_operations += 1;
    let id = network.input(by, |serf, now| serf.operate_keys(&operation, relays, now));
    let what = match operation {
        KeyOperation::Install(_) => "installs",
        KeyOperation::Use(_) => "uses",
        _ => "removes",
    };
    match id {
        Some(Ok(id)) => {
            let life = network.agents[by].life;
            network.rotation.ordered.push((by, life, id, operation));
        }
        Some(Err(error)) => network.violation(format!("keys: {error}")),
        None => {}
    }
    let latest = network.rotation.latest;
    network.act(by, &format!("{what} a key on the way to key {latest}"));
}

fn next_step(network: &mut Network) -> Option<KeyOperation> {
    let up = network.agents.iter().filter(|agent| agent.is_up());
    let rings: Vec<&Keyring> = up.filter_map(Agent::keyring).collect();
    let (old, new) = (key(network.rotation.latest - 1), key(network.rotation.latest)?);
    let old = old.filter(|old| rings.iter().any(|ring| ring.keys().contains(old)));
    if !rings.iter().all(|ring| ring.keys().contains(&new)) {
        return Some(KeyOperation::Install(new));
    }
    if !rings.iter().all(|ring| *ring.primary() == new) {
        return Some(KeyOperation::Use(new));
    }
    if let Some(old) = old {
        return Some(KeyOperation::Remove(old));
    }
    network.rotation.latest += 1;
    network.counts.rotations += 1;
    key(network.rotation.latest).map(KeyOperation::Install)
}

/// What is told as done everywhere is done by as many as there were.
pub(super) fn keys_done(network: &mut Network, number: usize, id: OperationId, outcome: &Outcome) {
    let Outcome::Keys(answers) = outcome else { return };
    let life = network.agents[number].life;
    let mut ordered = network.rotation.ordered.iter();
    let found = ordered.find(|(by, of, what, _)| (*by, *of, *what) == (number, life, id));
    let Some((.., KeyOperation::Install(key))) = found else { return };
    let rings = network.agents.iter().filter_map(Agent::keyring);
    let have = rings.filter(|ring| ring.keys().contains(key)).count();
    if answers.error().is_none() && have < answers.nodes {
        let told = answers.nodes;
        network.violation(format!("keys: {told} installed one, but {have} have it"));
    }
}
