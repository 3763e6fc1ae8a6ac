//! Every command, one file each, and the list of them all.

mod agent;
mod catalog;
mod debug;
mod event;
mod exec;
mod explain;
mod force_leave;
mod format;
mod info;
mod join;
mod keygen;
mod keyring;
mod kv;
mod leave;
mod lock;
mod logout;
mod maint;
mod members;
mod monitor;
mod operator;
mod reload;
mod rtt;
mod services;
mod snapshot;
mod tls;
mod troubleshoot;
mod validate;
mod version;
mod watch;

use crate::command::Command;

/// Every command and every group.
pub const COMMANDS: &[Command] = &[
    agent::COMMAND,
    catalog::GROUP,
    catalog::datacenters::COMMAND,
    catalog::nodes::COMMAND,
    catalog::services::COMMAND,
    debug::COMMAND,
    event::COMMAND,
    exec::COMMAND,
    explain::GROUP,
    explain::dns::COMMAND,
    explain::key::COMMAND,
    explain::service::COMMAND,
    force_leave::COMMAND,
    info::COMMAND,
    join::COMMAND,
    keygen::COMMAND,
    keyring::COMMAND,
    kv::GROUP,
    kv::delete::COMMAND,
    kv::export::COMMAND,
    kv::get::COMMAND,
    kv::import::COMMAND,
    kv::put::COMMAND,
    leave::COMMAND,
    lock::COMMAND,
    logout::COMMAND,
    maint::COMMAND,
    members::COMMAND,
    monitor::COMMAND,
    operator::GROUP,
    operator::AUTOPILOT_GROUP,
    operator::RAFT_GROUP,
    operator::USAGE_GROUP,
    operator::get_config::COMMAND,
    operator::instances::COMMAND,
    operator::list_peers::COMMAND,
    operator::recover::COMMAND,
    operator::remove_peer::COMMAND,
    operator::set_config::COMMAND,
    operator::state::COMMAND,
    operator::transfer_leader::COMMAND,
    reload::COMMAND,
    rtt::COMMAND,
    services::GROUP,
    services::deregister::COMMAND,
    services::export::COMMAND,
    services::exported_services::COMMAND,
    services::register::COMMAND,
    snapshot::GROUP,
    snapshot::decode::COMMAND,
    snapshot::inspect::COMMAND,
    snapshot::restore::COMMAND,
    snapshot::save::COMMAND,
    tls::GROUP,
    tls::CA_GROUP,
    tls::CERT_GROUP,
    tls::ca_create::COMMAND,
    tls::cert_create::COMMAND,
    troubleshoot::GROUP,
    troubleshoot::ports::COMMAND,
    validate::COMMAND,
    version::COMMAND,
    watch::COMMAND,
];

/// The commands of `reference/cli.md` that are still to be built. They say so, and help
/// names them below those that there are.
pub const NOT_YET: &[&str] = &[
    "acl",
    "config",
    "connect",
    "intention",
    "login",
    "peering",
    "resource",
    "troubleshoot proxy",
    "troubleshoot upstreams",
];

/// The command of these words.
pub fn find(words: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.words == words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_is_there_once_and_its_group_too() {
        let mut seen = BTreeSet::new();
        for command in COMMANDS {
            assert!(seen.insert(command.words), "{} is there twice", command.words);
            if let Some((group, _)) = command.words.rsplit_once(' ') {
                assert!(find(group).is_some_and(Command::is_group), "{}", command.words);
            }
            assert!(command.usage.starts_with(command.words), "{}", command.usage);
            assert!(!NOT_YET.contains(&command.words), "{}", command.words);
        }
    }

    #[test]
    fn every_flag_of_a_command_has_a_help_and_a_name_of_its_own() {
        for command in COMMANDS {
            let mut seen = BTreeSet::new();
            for flag in command.all_flags() {
                assert!(seen.insert(flag.name), "{} -{}", command.words, flag.name);
                assert!(!flag.help.is_empty(), "{} -{}", command.words, flag.name);
                assert!(!flag.name.starts_with('-'), "{} {}", command.words, flag.name);
            }
        }
    }
}
