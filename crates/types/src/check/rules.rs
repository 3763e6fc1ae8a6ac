//! Which check definitions are valid, wherever they come from (`reference/checks.md`
//! section 1, `reference/http-api.md` 3.5).

use thiserror::Error;

use super::CheckDefinition;

/// Why a definition is refused. The API puts `Invalid check: ` before the
/// text, the configuration `check "name": `.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidCheck {
    /// A check polls or is told, not both.
    #[error("Interval and TTL cannot both be specified")]
    IntervalAndTtl,
    /// A polling check needs an interval.
    #[error("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")]
    IntervalMissing,
    /// An alias is driven by changes.
    #[error("Interval cannot be set for Alias checks")]
    AliasWithInterval,
    /// An alias is told by nobody.
    #[error("TTL must be not be set for Alias checks")]
    AliasWithTtl,
    /// Neither a polling check nor an alias, and no time to live.
    #[error("TTL must be > 0 for TTL checks")]
    TtlMissing,
    /// `output_max_size` is below zero.
    #[error("MaxOutputMaxSize must be positive")]
    OutputSizeNegative,
    /// A warning would come after critical.
    #[error("FailuresBeforeWarning can't be higher than FailuresBeforeCritical")]
    WarningAfterCritical,
}

impl CheckDefinition {
    /// Whether an agent can run it; the first mistake otherwise.
    pub fn validate(&self) -> Result<(), InvalidCheck> {
        let (interval, ttl) = (self.interval.is_positive(), self.ttl.is_positive());
        if interval && ttl {
            return Err(InvalidCheck::IntervalAndTtl);
        }
        if self.is_polling() && !interval {
            return Err(InvalidCheck::IntervalMissing);
        }
        if self.is_alias() && interval {
            return Err(InvalidCheck::AliasWithInterval);
        }
        if self.is_alias() && ttl {
            return Err(InvalidCheck::AliasWithTtl);
        }
        if !self.is_polling() && !self.is_alias() && !ttl {
            return Err(InvalidCheck::TtlMissing);
        }
        if self.output_max_size < 0 {
            return Err(InvalidCheck::OutputSizeNegative);
        }
        if self.failures_before_warning > self.failures_before_critical {
            return Err(InvalidCheck::WarningAfterCritical);
        }
        Ok(())
    }

    /// Whether the check takes over the health of something else.
    pub fn is_alias(&self) -> bool {
        !self.alias_node.is_empty() || !self.alias_service.is_empty()
    }

    /// Whether the check runs a program, which the agent must have been allowed:
    /// scripts and Docker checks.
    pub fn is_script(&self) -> bool {
        !self.script_args.is_empty()
    }

    fn is_polling(&self) -> bool {
        let targets = [
            &self.http,
            &self.tcp,
            &self.udp,
            &self.grpc,
            &self.h2ping,
            &self.os_service,
            &self.docker_container_id,
        ];
        self.is_script() || targets.iter().any(|target| !target.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_refused_in_the_words_of_the_reference() {
        let cases = [
            (r#"{"TTL":"10s"}"#, ""),
            (r#"{"HTTP":"://","Interval":"1s"}"#, ""),
            (r#"{"AliasService":"web"}"#, ""),
            (r#"{"DockerContainerID":"abc","Args":["true"],"Interval":"10s"}"#, ""),
            (
                r#"{"HTTP":"x","Interval":"1s","TTL":"1s"}"#,
                "Interval and TTL cannot both be specified",
            ),
            (
                r#"{"TCP":"127.0.0.1:1"}"#,
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
            ),
            (
                r#"{"GRPC":"127.0.0.1:1","Interval":"-1s"}"#,
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
            ),
            (
                r#"{"AliasService":"web","Interval":"1s"}"#,
                "Interval cannot be set for Alias checks",
            ),
            (r#"{"AliasNode":"n","TTL":"1s"}"#, "TTL must be not be set for Alias checks"),
            (r#"{"Name":"x"}"#, "TTL must be > 0 for TTL checks"),
            (r#"{"Name":"x","Interval":"1s"}"#, "TTL must be > 0 for TTL checks"),
            (r#"{"TTL":"10s","OutputMaxSize":-1}"#, "MaxOutputMaxSize must be positive"),
            (
                r#"{"TTL":"10s","FailuresBeforeWarning":9,"FailuresBeforeCritical":3}"#,
                "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
            ),
        ];
        for (text, expect) in cases {
            let definition: CheckDefinition = serde_json::from_str(text).unwrap();
            let got = definition.validate().map_or_else(|error| error.to_string(), |()| "".into());
            assert_eq!(got, expect, "{text}");
        }
    }
}
