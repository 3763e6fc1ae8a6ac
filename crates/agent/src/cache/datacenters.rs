//! The names of the datacenters in the agent's cache. They are not of the state, so nothing
//! tells when they change: what is kept is as old as whoever asks bears.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::{CallError, ReadOptions};
use types::Datacenter;

use crate::delegate::Delegate;

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct KeptDatacenters(Mutex<Option<Listed>>);

#[derive(Clone, Debug)]
struct Listed {
    names: Vec<Datacenter>,
    at: Instant,
}

/// Names, and whether the cache had them already and for how long.
pub(crate) type Known = (Vec<Datacenter>, Option<(bool, Duration)>);

impl KeptDatacenters {
    /// All datacenters that are known, the nearest first; out of the cache where the options
    /// say so and what is kept is young enough.
    ///
    /// # Errors
    /// No server can be asked, and nothing may stand in for it.
    pub(crate) async fn read(
        &self,
        delegate: &Delegate,
        options: &ReadOptions,
    ) -> Result<Known, CallError> {
        if !options.cached {
            return Ok((delegate.datacenters().await?, None));
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((listed, age)) = aged(kept.as_ref())
            && options.max_age.is_none_or(|most| age <= most && !most.is_zero())
        {
            return Ok((listed.names.clone(), Some((true, age))));
        }
        match delegate.datacenters().await {
            Ok(names) => {
                let listed = Listed { names: names.clone(), at: now() };
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
                Ok((names, Some((false, Duration::ZERO))))
            }
            Err(error) => match aged(kept.as_ref()) {
                Some((listed, age)) if options.stale_if_error.is_some_and(|most| age <= most) => {
                    Ok((listed.names.clone(), Some((true, age))))
                }
                _ => Err(error),
            },
        }
    }
}

fn aged(kept: Option<&Listed>) -> Option<(&Listed, Duration)> {
    kept.map(|listed| (listed, now().saturating_duration_since(listed.at)))
}

/// The clock of the runtime.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
