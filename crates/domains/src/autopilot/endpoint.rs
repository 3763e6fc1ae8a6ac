//! `/v1/operator/autopilot/configuration`.

use std::num::IntErrorKind;

use contract::{Call, CallError, Request, Route, Verb};
use types::Index;

use super::command::AutopilotSet;
use super::query::AutopilotGet;

pub(super) const ROUTES: &[Route] = &[Route {
    path: "/v1/operator/autopilot/configuration",
    verbs: &[Verb::get(get), Verb::put(set)],
}];

/// It does not block, whatever the caller asks for.
fn get(request: &Request) -> Result<Call, CallError> {
    let mut options = request.read_options()?;
    options.min_index = Index::ZERO;
    Ok(Call::read(AutopilotGet, options).bare())
}

/// Replaces all of it: what the body leaves out gets the default, not its old value.
fn set(request: &Request) -> Result<Call, CallError> {
    let mut command = AutopilotSet {
        datacenter: request.datacenter(),
        config: request.json("Error parsing autopilot config: ")?,
        ..AutopilotSet::default()
    };
    if let Some(text) = request.params.get("cas") {
        command.config.modify_index = parse_cas(text)?;
        command.cas = true;
    }
    Ok(Call::write(command, &request.token))
}

fn parse_cas(text: &str) -> Result<Index, CallError> {
    // Go knows no sign here.
    let digits = if text.starts_with('+') { "" } else { text };
    digits.parse().map(Index).map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        CallError::bad_request(format!(
            "Error parsing cas value: strconv.ParseUint: parsing {text:?}: {reason}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cas_value_is_a_plain_number() {
        assert_eq!(parse_cas("42"), Ok(Index(42)));
        for (text, reason) in [
            ("", "invalid syntax"),
            ("abc", "invalid syntax"),
            ("-1", "invalid syntax"),
            ("+1", "invalid syntax"),
            ("99999999999999999999", "value out of range"),
        ] {
            let error = parse_cas(text).expect_err(text);
            let expected =
                format!("Error parsing cas value: strconv.ParseUint: parsing \"{text}\": {reason}");
            assert_eq!(error.text(), expected);
        }
    }
}
