//! What to gather, for how long, and where to.

use serde::Serialize;
use types::GoDuration;

use crate::flag::Arguments;

const INTERVAL_MIN: GoDuration = GoDuration::from_secs(5);
const DURATION_MIN: GoDuration = GoDuration::from_secs(10);

/// The index tells a duration that is longer by this: so long do the last requests take.
const INDEX_EXTRA: GoDuration = GoDuration::from_secs(2);

/// Something that can be gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Metrics,
    Logs,
    Pprof,
    Host,
    Agent,
    Members,
}

/// All of them, with their names.
pub(super) const TARGETS: [(&str, Target); 6] = [
    ("metrics", Target::Metrics),
    ("logs", Target::Logs),
    ("pprof", Target::Pprof),
    ("host", Target::Host),
    ("agent", Target::Agent),
    ("members", Target::Members),
];

/// What members are called in older guides.
const CLUSTER: &str = "cluster";

/// What to gather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The folder; empty until it is chosen.
    pub(super) output: String,
    pub(super) interval: GoDuration,
    pub(super) duration: GoDuration,
    /// Names of targets as they were given.
    targets: Vec<String>,
}

/// `index.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Index {
    version: u32,
    agent_version: String,
    interval: String,
    duration: String,
    targets: Vec<String>,
}

impl Plan {
    /// The plan of a command line; its targets are not checked yet.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, String> {
        let (interval, duration) = (arguments.duration("interval"), arguments.duration("duration"));
        if duration < DURATION_MIN {
            return Err(format!("duration must be longer than {DURATION_MIN}"));
        }
        if interval < INTERVAL_MIN {
            // Consul's own words, although less is allowed.
            return Err(format!("interval must be longer than {DURATION_MIN}"));
        }
        if duration < interval {
            return Err(format!("duration ({duration}) must be longer than interval ({interval})"));
        }
        let mut targets = arguments.list("capture");
        if targets.is_empty() {
            targets = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        }
        Ok(Self { output: arguments.text("output").to_owned(), interval, duration, targets })
    }

    /// Refuses targets that do not exist.
    pub(super) fn check_targets(&self) -> Result<(), String> {
        let unknown = self.targets.iter().find(|name| target(name).is_none());
        unknown.map_or(Ok(()), |name| Err(format!("target not found: {name}")))
    }

    /// Whether it is to be gathered.
    pub(super) fn has(&self, wanted: Target) -> bool {
        self.targets.iter().any(|name| target(name) == Some(wanted))
    }

    /// Leaves it out.
    pub(super) fn drop(&mut self, unwanted: Target) {
        self.targets.retain(|name| target(name) != Some(unwanted));
    }

    /// The names of all targets.
    pub(super) fn names(&self) -> &[String] {
        &self.targets
    }

    /// What the bundle says about itself.
    pub(super) fn index(&self, agent_version: &str) -> Index {
        Index {
            version: 1,
            agent_version: agent_version.to_owned(),
            interval: self.interval.to_string(),
            duration: GoDuration::from(self.duration.to_std() + INDEX_EXTRA.to_std()).to_string(),
            targets: self.targets.clone(),
        }
    }
}

fn target(name: &str) -> Option<Target> {
    if name == CLUSTER {
        return Some(Target::Members);
    }
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str]) -> Result<Plan, String> {
        let flags = super::super::COMMAND.all_flags();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let plan = Plan::new(&Arguments::parse(&flags, &words).expect("the flags exist"))?;
        plan.check_targets().map(|()| plan)
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let cases: [(&[&str], &str); 5] = [
            (&["-duration=1s", "-interval=1s"], "duration must be longer than 10s"),
            (&["-interval=1s"], "interval must be longer than 10s"),
            (
                &["-duration=10s", "-interval=20s"],
                "duration (10s) must be longer than interval (20s)",
            ),
            (&["-capture=foo"], "target not found: foo"),
            (&["-capture=host", "-capture=Host"], "target not found: Host"),
        ];
        for (words, error) in cases {
            assert_eq!(plan(words), Err(error.to_owned()), "{words:?}");
        }
    }

    #[test]
    fn everything_is_gathered_unless_something_is_named() {
        let all = plan(&[]).expect("it is sound");
        assert!(TARGETS.iter().all(|(_, target)| all.has(*target)));
        assert_eq!(
            (all.interval.to_string(), all.duration.to_string()),
            ("30s".into(), "5m0s".into())
        );
        let mut some = plan(&["-capture=cluster", "-capture=pprof"]).expect("it is sound");
        assert!(some.has(Target::Members) && some.has(Target::Pprof) && !some.has(Target::Logs));
        some.drop(Target::Pprof);
        assert_eq!(some.names(), ["cluster"]);
    }

    #[test]
    fn the_index_tells_what_there_is() {
        let plan = plan(&["-capture=host", "-duration=10s", "-interval=5s"]).expect("it is sound");
        assert_eq!(
            serde_json::to_string(&plan.index("1.21.4")).expect("it is plain"),
            r#"{"Version":1,"AgentVersion":"1.21.4","Interval":"5s","Duration":"12s","Targets":["host"]}"#
        );
    }
}
