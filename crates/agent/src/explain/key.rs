//! Why a key is seen, or not, and who holds it. Pure: facts in, words out.

use std::sync::Arc;
use std::time::Duration;

use domains::kv::Around;
use types::check::{HealthCheck, Status};
use types::explain::{Explanation, Finding, Visible};
use types::kv::KvEntry;
use types::session::{Behavior, Session};

use super::words::{count, first_line, seconds};

/// What each station knows.
pub(super) struct Facts {
    /// The key.
    pub(super) key: String,
    /// The row; or why it may not be seen.
    pub(super) entry: Result<Option<Arc<KvEntry>>, String>,
    /// What stands near it; empty where the row may not be seen.
    pub(super) around: Around,
    /// The session that holds it, if it is held and the token may see the session.
    pub(super) session: Option<Arc<Session>>,
    /// The checks that the session depends on.
    pub(super) session_checks: Vec<Arc<HealthCheck>>,
    /// For how long it cannot be locked, on the leader.
    pub(super) lock_delay: Option<Duration>,
}

/// The story.
pub(super) fn explain(facts: &Facts) -> Explanation {
    let mut told = Explanation::of(format!("key {:?}", facts.key));
    spelling(&facts.key, &mut told);
    let entry = match &facts.entry {
        Ok(entry) => entry,
        Err(why) => {
            told.step("permission", Finding::Stop, first_line(why), Vec::new());
            told.advise("Ask with a token whose policies allow key:read on it.");
            return told
                .conclude(Visible::No, "The token may not see it, whether it exists or not.");
        }
    };
    match entry {
        Some(entry) => {
            present(entry, &mut told);
            lock(facts, entry, &mut told);
            told.conclude(Visible::Yes, "It exists.")
        }
        None => {
            missing(facts, &mut told);
            lock_delay(facts, &mut told);
            told.conclude(Visible::No, "There is no such key.")
        }
    }
}

fn spelling(key: &str, told: &mut Explanation) {
    let mut odd = Vec::new();
    if key.starts_with('/') {
        odd.push("it begins with a slash, which is part of the name (the commands take it off)");
    }
    if key.ends_with('/') {
        odd.push("it ends in a slash: a folder's marker, told apart from the name without it");
    }
    if key.contains("//") {
        odd.push("it has an empty part between two slashes");
    }
    if key.trim() != key {
        odd.push("it has blanks at an end");
    }
    if !odd.is_empty() {
        let details = odd.into_iter().map(str::to_owned).collect();
        told.step("name", Finding::Note, "The name is unusual.", details);
    }
}

fn present(entry: &KvEntry, told: &mut Explanation) {
    let text = format!(
        "It has a value of {}, written last at index {} and created at {}.",
        count(entry.value.len(), "byte"),
        entry.modify_index,
        entry.create_index
    );
    let details = match entry.flags {
        0 => Vec::new(),
        flags => vec![format!("flags {flags}{}", meaning_of(flags))],
    };
    told.step("store", Finding::Ok, text, details);
}

/// Flags by which clients mark what a key is for (Go `consul/api`: lock.go, semaphore.go).
fn meaning_of(flags: u64) -> &'static str {
    match flags {
        0x2ddc_cbc0_58a5_0c18 => ": the lock of a client library or of `consul lock`",
        0xe0f6_9a2b_aa41_4de0 => ": part of a semaphore of a client library or of `consul lock -n`",
        _ => "",
    }
}

fn lock(facts: &Facts, entry: &KvEntry, told: &mut Explanation) {
    if entry.session.is_empty() {
        if entry.lock_index > 0 {
            let text = format!("Nobody holds it; it was locked {}.", times(entry.lock_index));
            told.step("lock", Finding::Ok, text, Vec::new());
        }
        return lock_delay(facts, told);
    }
    let Some(session) = &facts.session else {
        let text = "A session holds it that the token may not see.";
        told.step("lock", Finding::Note, text, Vec::new());
        return;
    };
    let name = if session.name.is_empty() { "without a name" } else { session.name.as_str() };
    let text = format!(
        "It is held by session {} ({name}) of node {}, locked {}.",
        session.id,
        session.node,
        times(entry.lock_index)
    );
    let mut details = vec![match session.time_to_live() {
        Some(ttl) => format!("the session ends unless it is renewed every {}", seconds(ttl)),
        None => {
            "the session has no TTL: it ends when it is destroyed or a check below fails".to_owned()
        }
    }];
    details.push(match session.behavior {
        Behavior::Delete => "when it ends, the key is deleted".to_owned(),
        Behavior::Release | Behavior::Other(_) => {
            let delay = session.lock_delay.to_std();
            format!("when it ends, the key stays, and nobody can lock it for {}", seconds(delay))
        }
    });
    let mut finding = Finding::Ok;
    for check in &facts.session_checks {
        if check.status == Status::Critical {
            finding = Finding::Warning;
        }
        details.push(format!(
            "it depends on check {:?}, which is {}",
            check.check_id.as_str(),
            check.status
        ));
    }
    told.step("lock", finding, text, details);
    if session.time_to_live().is_none() && session.all_checks().next().is_none() {
        told.advise(format!(
            "The session has neither TTL nor checks: if its holder died, end it by hand: PUT /v1/session/destroy/{}.",
            session.id
        ));
    }
}

fn lock_delay(facts: &Facts, told: &mut Explanation) {
    if let Some(left) = facts.lock_delay {
        let text = format!(
            "The session that held it ended lately: nobody can lock it for {} more.",
            seconds(left)
        );
        told.step("lock", Finding::Warning, text, Vec::new());
        told.advise("Wait, or give sessions a shorter LockDelay if their holders stop cleanly.");
    }
}

fn missing(facts: &Facts, told: &mut Explanation) {
    let around = &facts.around;
    let mut details = Vec::new();
    if let Some(index) = around.deleted_at {
        details.push(format!("it, or a folder above it, was deleted at index {index}"));
    }
    if around.below_count > 0 {
        let more = if around.below_count > around.below.len() { ", …" } else { "" };
        let names: Vec<&str> = around.below.iter().map(|key| &**key).collect();
        details.push(format!(
            "{} below it: {}{more}",
            count(around.below_count, "key"),
            names.join(", ")
        ));
        told.advise(format!("List what is below it: consul kv get -recurse {}", facts.key));
    }
    for similar in &around.similar {
        details.push(format!("there is a key {similar:?}"));
    }
    if let Some(similar) = around.similar.first() {
        told.advise(format!("Perhaps {similar:?} was meant."));
    }
    told.step("store", Finding::Stop, "No key has this name.", details);
}

fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    }
}
