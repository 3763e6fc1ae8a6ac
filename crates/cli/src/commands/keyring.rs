//! `consul keyring` (`reference/cli.md` section 9).

use std::collections::BTreeMap;

use client::{KeyAction, Keyring, KeyringOptions};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome};
use crate::flag::{Flag, Kind};
use crate::help;

/// How many members may pass an answer on.
const RELAY_FACTOR_MAX: i64 = 5;

pub(super) const COMMAND: Command = Command {
    words: "keyring",
    synopsis: "Manage the keys of gossip",
    usage: "keyring [options]",
    help: "Shows and changes the keys that gossip is encrypted with, in all pools at once. To\n\
           change the key of a cluster: install the new one, use it, remove the old one.\n\n\
           \x20   $ consul keyring -install=$(consul keygen)",
    api: ApiFlags::C,
    flags: || {
        vec![
            Flag::text("install", "A key that members understand from now on."),
            Flag::bool("list", "Print all keys."),
            Flag::bool("list-primary", "Print the keys that members encrypt with."),
            Flag::bool("local-only", "Ask the pool of the agent's datacenter alone; with lists."),
            Flag::new(
                "relay-factor",
                Kind::Integer,
                "How many members pass each answer on, so that it arrives: 0 to 5.",
            ),
            Flag::text("remove", "A key that members forget, unless they encrypt with it."),
            Flag::text("use", "An installed key that members encrypt with from now on."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

/// What one run does.
enum Action {
    List,
    ListPrimary,
    Change(KeyAction, String),
}

async fn run(call: &mut Call) -> Outcome {
    let Some(action) = action(call)? else {
        call.ui.raw_error(help::command(&COMMAND));
        return Ok(1);
    };
    let options = options(call)?;
    let lists = matches!(action, Action::List | Action::ListPrimary);
    if options.local_only && !lists {
        return Err(Failure::new(
            "Error validating local-only: local-only can only be set for list requests",
        ));
    }
    let client = call.client()?;
    let operator = client.operator();
    let failed = |error: client::Error| Failure::new(format!("error: {error}"));
    call.ui.output(format!("==> {}...", doing(&action)));
    match &action {
        Action::List => {
            let keyrings = operator.keyrings(options).await.map_err(failed)?;
            call.ui.output(list(&keyrings, |keyring| &keyring.keys));
        }
        Action::ListPrimary => {
            let keyrings = operator.keyrings(options).await.map_err(failed)?;
            call.ui.output(list(&keyrings, |keyring| &keyring.primary_keys));
        }
        Action::Change(change, key) => {
            operator.change_keyrings(*change, key, options).await.map_err(failed)?;
        }
    }
    Ok(0)
}

/// The one action that is asked for, if any is.
fn action(call: &Call) -> Result<Option<Action>, Failure> {
    let arguments = &call.arguments;
    let key = |name: &str, action: KeyAction| {
        let key = arguments.text(name);
        (!key.is_empty()).then(|| Action::Change(action, key.to_owned()))
    };
    let list = |name: &str, action: Action| arguments.bool(name).then_some(action);
    let actions = [
        key("install", KeyAction::Install),
        key("use", KeyAction::Use),
        key("remove", KeyAction::Remove),
        list("list", Action::List),
        list("list-primary", Action::ListPrimary),
    ];
    let mut given = actions.into_iter().flatten();
    match (given.next(), given.next()) {
        (action, None) => Ok(action),
        (_, Some(_)) => Err(Failure::new("Only a single action is allowed")),
    }
}

fn options(call: &Call) -> Result<KeyringOptions, Failure> {
    let relay_factor = call.arguments.integer("relay-factor");
    if !(0..=RELAY_FACTOR_MAX).contains(&relay_factor) {
        return Err(Failure::new(
            "Error parsing relay factor: Relay factor must be in range: [0, 5]",
        ));
    }
    let relay_factor = u8::try_from(relay_factor).unwrap_or_default();
    Ok(KeyringOptions { relay_factor, local_only: call.arguments.bool("local-only") })
}

fn doing(action: &Action) -> &'static str {
    match action {
        Action::List => "Gathering installed encryption keys",
        Action::ListPrimary => "Gathering installed primary encryption keys",
        Action::Change(KeyAction::Install, _) => "Installing new gossip encryption key",
        Action::Change(KeyAction::Use, _) => "Changing primary gossip encryption key",
        Action::Change(KeyAction::Remove, _) => "Removing gossip encryption key",
    }
}

/// One paragraph for each pool: what members complained of, and how many have each key.
fn list(keyrings: &[Keyring], keys: fn(&Keyring) -> &BTreeMap<String, u64>) -> String {
    let pools = keyrings.iter().map(|keyring| {
        let mut lines = vec![String::new(), format!("{}:", pool_name(keyring))];
        let messages = &keyring.messages;
        lines.extend(messages.iter().map(|(node, text)| format!("  ===> {node}: {text}")));
        let total = keyring.num_nodes;
        let shown = keys(keyring).iter();
        lines.extend(shown.map(|(key, number)| format!("  {key} [{number}/{total}]")));
        lines.join("\n")
    });
    pools.collect::<Vec<_>>().join("\n")
}

fn pool_name(keyring: &Keyring) -> String {
    let segment = match keyring.segment.as_str() {
        "" => String::new(),
        segment => format!(" [{segment}]"),
    };
    match keyring.wan {
        true => "WAN".to_owned(),
        false => format!("{} (LAN){segment}", keyring.datacenter),
    }
}
