//! Leadership goes to another server because somebody wants it to.

use raft::ServerId;

use crate::Server;
use crate::raft_host::ProposeError;

/// How often a transfer is tried.
const ATTEMPTS: usize = 3;

/// Hands the leadership to `target`, or to whoever has the most of the log. A server
/// that is a bit behind may need more than one try.
///
/// # Errors
/// Why the last try failed.
pub(crate) async fn hand_over(
    server: &Server,
    target: Option<ServerId>,
) -> Result<(), ProposeError> {
    let mut attempt = 1;
    loop {
        let outcome = server.raft().transfer_leadership(target.clone()).await;
        let Err(error) = outcome else {
            tracing::info!(target: "agent.server", attempt, retry_limit = ATTEMPTS, "successfully transferred leadership");
            return Ok(());
        };
        let is_final = matches!(
            &error,
            ProposeError::NotLeader(_)
                | ProposeError::Change(raft::ChangeError::NoTarget)
                | ProposeError::Shutdown
                | ProposeError::Fatal(_)
        );
        tracing::error!(target: "agent.server", attempt, retry_limit = ATTEMPTS, error = %error, "failed to transfer leadership attempt, will retry");
        if is_final || attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
    }
}
