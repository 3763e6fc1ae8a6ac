//! Which metrics are kept (`reference/telemetry.md` section 1).

use crate::{FilterSettings, names};

/// The rules of `telemetry.prefix_filter`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    /// Prefixes with what they say.
    rules: Vec<(String, bool)>,
    /// What is said of names without a rule.
    default: bool,
}

impl Filter {
    /// The rules of these settings. `prefix` is the first part of every name.
    pub(crate) fn new(prefix: &str, settings: &FilterSettings) -> Self {
        let FilterSettings { allowed, blocked, default } = settings;
        let mut rules: Vec<(String, bool)> = Vec::new();
        // One measurement of every call would cost more than it tells most operators:
        // it has to be asked for by its whole name.
        let on_request = format!("{prefix}.{}", names::RPC_SERVER_CALL.metric().name);
        if !allowed.contains(&on_request) {
            rules.push((on_request, false));
        }
        // Of two rules with the same text the first that is found says no.
        rules.extend(blocked.iter().map(|text| (text.clone(), false)));
        rules.extend(allowed.iter().map(|text| (text.clone(), true)));
        Self { rules, default: *default }
    }

    /// Whether a metric of this full name is kept: the longest rule decides.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        let mut longest: Option<&(String, bool)> = None;
        for rule in self.rules.iter().filter(|(prefix, _)| name.starts_with(prefix.as_str())) {
            if longest.is_none_or(|known| rule.0.len() > known.0.len()) {
                longest = Some(rule);
            }
        }
        longest.map_or(self.default, |(_, keep)| *keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[&str], default: bool) -> Filter {
        let of = |sign: char| -> Vec<String> {
            rules.iter().filter_map(|rule| rule.strip_prefix(sign)).map(str::to_owned).collect()
        };
        let (allowed, blocked) = (of('+'), of('-'));
        Filter::new("consul", &FilterSettings { allowed, blocked, default })
    }

    #[test]
    fn the_longest_rule_decides() {
        let cases: [(&[&str], bool, &str, bool); 12] = [
            (&[], true, "consul.raft.apply", true),
            (&[], false, "consul.raft.apply", false),
            (&["-consul.raft"], true, "consul.raft.apply", false),
            (&["-consul.raft"], true, "consul.rpc.query", true),
            (&["-consul.raft", "+consul.raft.apply"], true, "consul.raft.apply", true),
            (&["-consul.raft", "+consul.raft.apply"], true, "consul.raft.barrier", false),
            (&["+consul.raft", "-consul.raft"], true, "consul.raft.apply", false),
            (&["+consul.raft"], false, "consul.host1.raft.peers", false),
            (&[], true, "consul.rpc.server.call", false),
            (&["+consul.rpc"], true, "consul.rpc.server.call", false),
            (&["+consul.rpc.server.call"], false, "consul.rpc.server.call", true),
            (
                &["+consul.rpc.server.call", "-consul.rpc.server.call"],
                true,
                "consul.rpc.server.call",
                false,
            ),
        ];
        for (rules, default, name, kept) in cases {
            assert_eq!(filter(rules, default).keeps(name), kept, "{rules:?} {default} {name}");
        }
    }
}
