//! The flag `-format` (`reference/cli.md` section 2).

use crate::command::Call;
use crate::failure::Failure;
use crate::flag::Flag;

/// The flag itself.
pub(super) const FORMAT: Flag = Flag::text("format", "How to print: pretty or json.").or("pretty");

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pretty,
    Json,
}

impl Format {
    /// What the flag says.
    pub(super) fn of(call: &Call) -> Result<Self, Failure> {
        match call.arguments.text("format") {
            "pretty" => Ok(Format::Pretty),
            "json" => Ok(Format::Json),
            other => Err(Failure::new(format!("Unknown format: {other}"))),
        }
    }
}
