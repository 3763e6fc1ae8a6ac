//! Which features of the state all servers have: a duty of the leader.
//!
//! Some entries of the log mean something else once a feature is in use. The leader says in
//! the state that it is ([`domains::system_metadata`]) when all servers that gossip knows of
//! the datacenter have it, those that failed too: they will come back and read the log.
//! While one has not, it looks again whenever the members change.

use std::time::Duration;

use contract::CallError;
use domains::carried;
use domains::system_metadata::{
    INTENTION_FORMAT, SystemMetadataCommand, SystemMetadataEntry, TERMINATING_GATEWAY_VIRTUAL_IPS,
    VIRTUAL_IPS, value,
};
use store::State;
use tokio::sync::watch;
use types::SecretId;
use types::member::{Member, MemberStatus};

use crate::Server;
use crate::server_member::ServerMember;

/// How long to wait before the next try after one that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The kind of records that intentions of old versions are in snapshots.
const OLD_INTENTIONS: u8 = 12;

/// A feature that servers have or have not.
#[derive(Debug)]
struct Feature {
    key: &'static str,
    value: &'static str,
    /// What a server must show to have it.
    shown: Shown,
    /// Whether only the primary datacenter says so for itself.
    in_primary: bool,
    /// What is missing while it is not in use.
    without: &'static str,
}

#[derive(Debug)]
enum Shown {
    /// It is of this version or a later one.
    Version([u64; 3]),
    /// It has this tag in gossip.
    Tag(&'static str),
}

const FEATURES: [Feature; 3] = [
    Feature {
        key: VIRTUAL_IPS,
        value: "true",
        shown: Shown::Version([1, 11, 0]),
        in_primary: false,
        without: "can't allocate Virtual IPs until all servers >= 1.11.0",
    },
    Feature {
        key: TERMINATING_GATEWAY_VIRTUAL_IPS,
        value: "true",
        shown: Shown::Version([1, 11, 2]),
        in_primary: false,
        without: "can't allocate Virtual IPs for terminating gateways until all servers >= 1.11.2",
    },
    Feature {
        key: INTENTION_FORMAT,
        value: "config-entry",
        shown: Shown::Tag("ft_si"),
        in_primary: true,
        without: "intentions keep their old format until all servers support service-intentions",
    },
];

/// Says what all servers have, until there is no more to say.
pub(crate) async fn run(server: &Server, mut members: watch::Receiver<Vec<Member>>) {
    if !server.shared.options.connect_enabled {
        return;
    }
    loop {
        let present = members.borrow_and_update().clone();
        let lacking = match enable(server, &present).await {
            Ok(lacking) => lacking,
            Err(error) => {
                tracing::error!(target: "agent.server", error = %error, "failed to enable what all servers support");
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
        };
        if lacking.is_empty() {
            return;
        }
        for feature in lacking {
            tracing::warn!(target: "agent.server", "{}", feature.without);
        }
        if members.changed().await.is_err() {
            return;
        }
    }
}

/// Writes what is not said yet; gives the features that some server has not.
async fn enable(server: &Server, members: &[Member]) -> Result<Vec<&'static Feature>, CallError> {
    let mut lacking = Vec::new();
    for feature in &FEATURES {
        if !is_open(&server.store().snapshot(), feature, server.shared.options.is_primary) {
            continue;
        }
        if !all_have(feature, members) {
            lacking.push(feature);
            continue;
        }
        let entry = SystemMetadataEntry {
            key: feature.key.to_owned(),
            value: feature.value.to_owned(),
            ..SystemMetadataEntry::default()
        };
        let command =
            SystemMetadataCommand { entry: Some(entry), ..SystemMetadataCommand::default() };
        server.write_typed(command, &SecretId::default()).await?;
    }
    Ok(lacking)
}

/// Whether it is this leader's to say that the feature is in use, and not said yet.
fn is_open(state: &State, feature: &Feature, is_primary: bool) -> bool {
    if value(state, feature.key).is_some() || feature.in_primary && !is_primary {
        return false;
    }
    // Nobody here turns intentions of old versions into config entries.
    let mut old = false;
    if feature.key == INTENTION_FORMAT {
        carried::for_each(state, OLD_INTENTIONS, |_| old = true);
    }
    !old
}

/// Whether all servers of the datacenter have the feature.
fn all_have(feature: &Feature, members: &[Member]) -> bool {
    let stays = |member: &&Member| {
        ServerMember::parse(member).is_some() && member.status != MemberStatus::LEFT
    };
    let mut servers = members.iter().filter(stays).peekable();
    servers.peek().is_some()
        && servers.all(|member| match feature.shown {
            Shown::Tag(tag) => member.tags.contains_key(tag),
            Shown::Version(least) => {
                ServerMember::parse(member).is_some_and(|server| version(&server.version) >= least)
            }
        })
}

/// `1.21.4-dev+ent` as numbers; zeroes for what is none.
fn version(text: &str) -> [u64; 3] {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let mut parts = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use domains::system_metadata::SYSTEM_METADATA;
    use store::Store;
    use types::Index;

    use super::*;
    use crate::server_member::tests::member;
    use crate::testing::leader_on;

    fn server(name: &str, status: MemberStatus, version: &str, tags: &str) -> Member {
        let tags = format!("role=consul id={name} port=8300 build={version}:abc {tags}");
        member(name, "10.0.0.1", status, &tags)
    }

    /// The keys of the features that all of these have.
    fn in_use(members: &[Member]) -> Vec<&'static str> {
        let had = FEATURES.iter().filter(|feature| all_have(feature, members));
        had.map(|feature| feature.key).collect()
    }

    #[test]
    fn a_feature_is_in_use_once_every_server_that_may_come_back_has_it() {
        let (alive, failed, left) = (MemberStatus::ALIVE, MemberStatus::FAILED, MemberStatus::LEFT);
        let new = server("s1", alive, "1.21.4", "ft_si=1");
        let all = [VIRTUAL_IPS, TERMINATING_GATEWAY_VIRTUAL_IPS, INTENTION_FORMAT];
        assert_eq!(in_use(std::slice::from_ref(&new)), all);
        let old = |status| server("s2", status, "1.8.7", "");
        assert_eq!(in_use(&[new.clone(), old(alive)]), [""; 0]);
        assert_eq!(in_use(&[new.clone(), old(failed)]), [""; 0]);
        assert_eq!(in_use(&[new.clone(), old(left)]), all);
        let between = server("s3", alive, "1.11.1+ent", "ft_si=1");
        assert_eq!(in_use(&[between, new.clone()]), [VIRTUAL_IPS, INTENTION_FORMAT]);
        let client = member("c1", "10.0.0.2", alive, "role=node id=c build=1.8.7:abc");
        assert_eq!(in_use(&[client.clone(), new]), all);
        assert_eq!(in_use(&[client]), [""; 0], "this server itself is not known yet");
        assert_eq!(version("1.9.0-dev+ent"), [1, 9, 0]);
        assert_eq!(version("v2"), [0, 0, 0]);
    }

    #[test]
    fn what_is_said_is_not_said_again_and_old_intentions_keep_their_format() {
        let open = |store: &Store, is_primary| -> Vec<&str> {
            let state = store.snapshot();
            let open = FEATURES.iter().filter(|feature| is_open(&state, feature, is_primary));
            open.map(|feature| feature.key).collect()
        };
        let store = Store::new(&domains::tables());
        assert_eq!(open(&store, true).len(), 3);
        assert_eq!(open(&store, false), [VIRTUAL_IPS, TERMINATING_GATEWAY_VIRTUAL_IPS]);
        store.write(|batch| {
            let mut tx = batch.tx(Index(1));
            let key = VIRTUAL_IPS.to_owned();
            tx.put(&SYSTEM_METADATA, SystemMetadataEntry { key, ..SystemMetadataEntry::default() });
            carried::carry(&mut tx, OLD_INTENTIONS, 1, b"\x81\xa2ID\xa1i");
        });
        assert_eq!(open(&store, true), [TERMINATING_GATEWAY_VIRTUAL_IPS]);
    }

    #[tokio::test]
    async fn a_leader_says_what_all_servers_have_when_the_last_one_has_it() {
        let leader = leader_on(&wal::MemDisk::new()).await;
        let of = |versions: &[&str]| -> Vec<Member> {
            let named = versions.iter().zip(["s1", "s2"]);
            let alive = MemberStatus::ALIVE;
            named.map(|(version, name)| server(name, alive, version, "ft_si=1")).collect()
        };
        let (members, watched) = watch::channel(of(&["1.21.4", "1.10.0"]));
        let said = || leader.store().snapshot().len(&SYSTEM_METADATA);
        let duty = run(&leader, watched);
        tokio::pin!(duty);
        while said() == 0 {
            tokio::select! {
                () = &mut duty => panic!("one server has not all of it"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(said(), 1, "the format of intentions");
        members.send_replace(of(&["1.21.4", "1.11.2"]));
        duty.await;
        assert_eq!(said(), 3);
        leader.raft().shutdown().await;
    }
}
