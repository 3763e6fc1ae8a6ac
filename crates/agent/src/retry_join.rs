//! Joining a pool at the start, again and again until somebody answers
//! (`reference/config.md` section 6).
//!
//! An attempt tries all addresses; host names are looked up in each attempt anew, so that
//! one that resolves late is found. One answer ends it.

use std::future::Future;
use std::time::Duration;

use config::runtime::JoinPool;
use tokio::sync::watch;

/// What an entry contains that is to be looked up at a cloud provider.
const PROVIDER: &str = "provider=";

/// Joining one pool.
pub(crate) struct RetryJoin {
    /// `LAN` or `WAN`.
    pub(crate) cluster: &'static str,
    /// Where, how often, how many times.
    pub(crate) settings: JoinPool,
}

impl RetryJoin {
    /// Tries until one address answers, or `stop`. `join` tells how many agents answered,
    /// or why none did.
    ///
    /// # Errors
    /// As many attempts failed as there may be: the text ends the agent.
    pub(crate) async fn run<J, F>(
        self,
        join: J,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), String>
    where
        J: Fn(Vec<String>) -> F,
        F: Future<Output = Result<usize, String>>,
    {
        let Self { cluster, settings } = self;
        if settings.retry_join.is_empty() {
            return Ok(());
        }
        tracing::info!(target: "agent", cluster, "Joining cluster...");
        let mut failed: u32 = 0;
        loop {
            let addresses = self::addresses(cluster, &settings.retry_join);
            let joined = match addresses.is_empty() {
                true => Err("No servers to join".to_owned()),
                false => join(addresses).await,
            };
            let error = match joined {
                Ok(num_agents) => {
                    tracing::info!(target: "agent", cluster, num_agents, "Join cluster completed. Synced with initial agents");
                    return Ok(());
                }
                Err(error) => error,
            };
            failed = failed.saturating_add(1);
            if settings.max_attempts > 0 && failed > settings.max_attempts {
                return Err(format!("agent: max join {cluster} retry exhausted, exiting"));
            }
            let retry_interval = settings.interval;
            tracing::warn!(target: "agent", cluster, %retry_interval, error, "Join cluster failed, will retry");
            tokio::select! {
                () = tokio::time::sleep(retry_interval.to_std().max(INTERVAL_MIN)) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }
}

/// The shortest wait between two attempts: zero would keep the processor busy.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The entries that are addresses. Of the others the log tells what to do about them.
fn addresses(cluster: &str, entries: &[String]) -> Vec<String> {
    let mut addresses = Vec::with_capacity(entries.len());
    for entry in entries {
        match provider_of(entry) {
            None => addresses.push(entry.clone()),
            Some(provider) => {
                // The rest of the entry may hold keys of the provider.
                tracing::error!(
                    target: "agent",
                    cluster,
                    address = format!("{PROVIDER}{provider} ..."),
                    error = "cloud auto-join is not part of Proconsul: put addresses, or a host \
                             name that resolves to all servers, into retry_join",
                    "Cannot discover address"
                );
            }
        }
    }
    addresses
}

/// The name of the provider that is to be asked, if the entry is not an address.
fn provider_of(entry: &str) -> Option<&str> {
    entry.split_whitespace().find_map(|word| word.strip_prefix(PROVIDER))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use types::GoDuration;

    use super::*;

    fn retry(entries: &[&str], max_attempts: u32) -> RetryJoin {
        let retry_join = entries.iter().map(|entry| (*entry).to_owned()).collect();
        let interval = GoDuration::from_secs(30);
        RetryJoin { cluster: "LAN", settings: JoinPool { retry_join, interval, max_attempts } }
    }

    /// Joins that end like this, one after the other; the last goes on.
    async fn run(
        retry: RetryJoin,
        outcomes: &[Result<usize, &str>],
    ) -> (Result<(), String>, Vec<Vec<String>>, u64) {
        let tried = Arc::new(Mutex::new(Vec::<Vec<String>>::new()));
        let begin = tokio::time::Instant::now();
        let (_stop, stops) = watch::channel(false);
        let outcome = retry
            .run(
                |addresses| {
                    let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
                    let outcome = outcomes[tried.len().min(outcomes.len() - 1)];
                    tried.push(addresses);
                    async move { outcome.map_err(str::to_owned) }
                },
                stops,
            )
            .await;
        let tried = tried.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (outcome, tried, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_go_on_until_somebody_answers() {
        let failed = Err("refused");
        let retry = retry(&["10.0.0.1", "late.example"], 0);
        let (outcome, tried, seconds) = run(retry, &[failed, failed, Ok(1)]).await;
        assert_eq!(outcome, Ok(()));
        assert_eq!(tried, vec![vec!["10.0.0.1".to_owned(), "late.example".to_owned()]; 3]);
        assert_eq!(seconds, 60);
    }

    /// Tried with Consul 1.8.7: the first attempt is not a retry.
    #[tokio::test(start_paused = true)]
    async fn the_number_of_retries_ends_it() {
        let (outcome, tried, _) = run(retry(&["10.0.0.1"], 2), &[Err("refused")]).await;
        assert_eq!(outcome, Err("agent: max join LAN retry exhausted, exiting".to_owned()));
        assert_eq!(tried.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn entries_of_providers_are_left_out_and_alone_they_join_nobody() {
        let cloud = "provider=aws tag_key=a secret_access_key=hidden";
        let (outcome, tried, _) = run(retry(&[cloud, "10.0.0.1"], 0), &[Ok(1)]).await;
        assert_eq!((outcome, tried), (Ok(()), vec![vec!["10.0.0.1".to_owned()]]));
        let (outcome, tried, _) = run(retry(&[cloud], 1), &[Ok(1)]).await;
        assert!(outcome.is_err());
        assert_eq!(tried, Vec::<Vec<String>>::new());
        assert_eq!(provider_of("tag_key=a provider=gce"), Some("gce"));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_to_join_is_no_error_and_the_end_of_the_agent_ends_it() {
        assert_eq!(run(retry(&[], 3), &[Err("never asked")]).await.0, Ok(()));
        let (stop, stops) = watch::channel(false);
        let joins = retry(&["10.0.0.1"], 0).run(|_| async { Err("refused".to_owned()) }, stops);
        let (outcome, ()) = tokio::join!(joins, async {
            let _ = stop.send(true);
        });
        assert_eq!(outcome, Ok(()));
    }
}
