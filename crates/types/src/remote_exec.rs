//! Remote execution (`consul exec`): where its parts stand in the KV store, and what
//! they look like. Taken from the traffic of Consul 1.8.7.
//!
//! Whoever orders makes a session, writes what to do under `job`, and sends an event that
//! names both. Each agent that carries it out writes below its own name, all of it locked
//! by that session so that it goes when the session ends:
//!
//! ```text
//! _rexec/<session>/job              a JobSpec as JSON
//! _rexec/<session>/<node>/ack       empty: the node begins
//! _rexec/<session>/<node>/out/00000 a piece of output; an empty one says "still here"
//! _rexec/<session>/<node>/exit      the exit code as decimal text
//! ```

use serde::{Deserialize, Serialize};

use crate::{Blob, GoDuration, NodeName, SessionId};

/// The name of the event that orders an execution.
pub const EVENT: &str = "_rexec";

/// Where jobs stand unless it is said otherwise.
pub const PREFIX: &str = "_rexec";

/// The name of the session that a job belongs to.
pub const SESSION_NAME: &str = "Remote Exec";

/// Most bytes in a piece of output.
pub const OUTPUT_BYTES_MAX: usize = 4 * 1024;

/// What the event carries, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct JobRef {
    /// Where jobs stand.
    pub prefix: String,
    /// The session that the job belongs to.
    pub session: SessionId,
}

/// What to execute: a script, or words, or a line for a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct JobSpec {
    /// A line for the shell.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// A program and its arguments, run without a shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// A script, run by the shell.
    #[serde(skip_serializing_if = "Blob::is_empty")]
    pub script: Blob,
    /// How long whoever ordered waits for a sign of life, which an agent gives this often.
    pub wait: GoNanoseconds,
}

/// A duration that is a number of nanoseconds in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoNanoseconds(pub i64);

impl From<GoDuration> for GoNanoseconds {
    fn from(duration: GoDuration) -> Self {
        Self(duration.as_nanos())
    }
}

impl From<GoNanoseconds> for GoDuration {
    fn from(nanoseconds: GoNanoseconds) -> Self {
        GoDuration::from_nanos(nanoseconds.0)
    }
}

impl JobRef {
    /// Below this stands all that belongs to the job.
    pub fn folder(&self) -> String {
        format!("{}/{}/", self.prefix, self.session)
    }

    /// The key of the job itself.
    pub fn job(&self) -> String {
        format!("{}job", self.folder())
    }

    /// The key of a part of what a node did.
    pub fn key(&self, node: &NodeName, part: Part) -> String {
        let name = match part {
            Part::Ack => "ack".to_owned(),
            Part::Output(number) => format!("out/{number:05}"),
            Part::Exit => "exit".to_owned(),
        };
        format!("{}{node}/{name}", self.folder())
    }

    /// What a key below [`Self::folder`] is; `None` for the job and for what is no part.
    pub fn part_of(&self, key: &str) -> Option<(NodeName, Part)> {
        let (node, name) = key.strip_prefix(&self.folder())?.split_once('/')?;
        let part = match name {
            "ack" => Part::Ack,
            "exit" => Part::Exit,
            _ => Part::Output(name.strip_prefix("out/")?.parse().ok()?),
        };
        Some((NodeName::from(node), part))
    }
}

/// A part of what a node did, in the order in which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// It begins.
    Ack,
    /// It wrote something, or is still there; pieces are numbered from zero.
    Output(u32),
    /// It ended.
    Exit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn job() -> JobRef {
        JobRef { prefix: PREFIX.to_owned(), session: "48f4".into() }
    }

    #[test]
    fn keys_are_those_of_consul_and_can_be_read_back() {
        let node = NodeName::from("real");
        assert_eq!(job().job(), "_rexec/48f4/job");
        for (part, key) in [
            (Part::Ack, "_rexec/48f4/real/ack"),
            (Part::Output(0), "_rexec/48f4/real/out/00000"),
            (Part::Output(123_456), "_rexec/48f4/real/out/123456"),
            (Part::Exit, "_rexec/48f4/real/exit"),
        ] {
            assert_eq!(job().key(&node, part), key);
            assert_eq!(job().part_of(key), Some((node.clone(), part)));
        }
        for other in ["_rexec/48f4/job", "_rexec/48f5/real/ack", "_rexec/48f4/real/out/x", "x"] {
            assert_eq!(job().part_of(other), None, "{other}");
        }
    }

    #[test]
    fn bodies_are_those_of_consul() {
        let text = |spec: &JobSpec| String::from_utf8(json::encode(spec)).unwrap();
        let wait = GoNanoseconds(2_000_000_000);
        let command = JobSpec { command: "a > b & c".to_owned(), wait, ..JobSpec::default() };
        assert_eq!(text(&command), r#"{"Command":"a \u003e b \u0026 c","Wait":2000000000}"#);
        let args = vec!["echo".to_owned(), "a  b".to_owned()];
        let args = JobSpec { args, wait, ..JobSpec::default() };
        assert_eq!(text(&args), r#"{"Args":["echo","a  b"],"Wait":2000000000}"#);
        let script = JobSpec { script: Blob::from(&b"x\n"[..]), wait, ..JobSpec::default() };
        assert_eq!(text(&script), r#"{"Script":"eAo=","Wait":2000000000}"#);
        let event = String::from_utf8(json::encode(&job())).unwrap();
        assert_eq!(event, r#"{"Prefix":"_rexec","Session":"48f4"}"#);
    }
}
