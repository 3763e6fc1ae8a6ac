//! What the catalog could not be told, and why. The log says it once; this keeps it
//! until it is told, for whoever asks later (`consul explain`).

use std::collections::BTreeMap;

use super::state::Target;
use super::sync::Event;

/// Why the catalog does not know something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The token does not allow it.
    Blocked,
    /// What the catalog said.
    Failed(String),
}

/// The troubles of now: one for each service or check at most.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    by_target: BTreeMap<Target, Trouble>,
    fetch: Option<String>,
}

impl Troubles {
    /// Takes what happened.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        match event {
            Event::InSync(target) | Event::Synced(target) | Event::Removed(target) => {
                self.by_target.remove(target);
                self.fetch = None;
            }
            Event::Blocked { target, .. } => {
                self.by_target.insert(target.clone(), Trouble::Blocked);
            }
            Event::Failed { target, error } => {
                self.by_target.insert(target.clone(), Trouble::Failed(error.clone()));
            }
            Event::FetchFailed(error) => self.fetch = Some(error.clone()),
            Event::Skipped(_) => {}
        }
    }

    /// The trouble with one thing.
    pub(crate) fn of(&self, target: &Target) -> Option<&Trouble> {
        self.by_target.get(target)
    }

    /// Why the catalog could not be read lately.
    pub(crate) fn fetch(&self) -> Option<&str> {
        self.fetch.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use types::ServiceId;

    use super::*;

    fn web() -> Target {
        Target::Service(ServiceId::from("web"))
    }

    #[test]
    fn a_trouble_lasts_until_the_catalog_was_told() {
        let mut troubles = Troubles::default();
        let error = "No cluster leader".to_owned();
        troubles.handle_event(&Event::Failed { target: web(), error: error.clone() });
        assert_eq!(troubles.of(&web()), Some(&Trouble::Failed(error)));
        troubles.handle_event(&Event::Blocked { target: web(), removal: false });
        assert_eq!(troubles.of(&web()), Some(&Trouble::Blocked));
        troubles.handle_event(&Event::Synced(web()));
        assert_eq!(troubles.of(&web()), None);
    }

    #[test]
    fn a_catalog_that_cannot_be_read_is_a_trouble_until_it_can() {
        let mut troubles = Troubles::default();
        troubles.handle_event(&Event::FetchFailed("No cluster leader".to_owned()));
        assert_eq!(troubles.fetch(), Some("No cluster leader"));
        troubles.handle_event(&Event::InSync(Target::Node));
        assert_eq!(troubles.fetch(), None);
    }
}
