//! The way of an operation from this node to the leader's proposer.

use bytes::Bytes;
use futures_util::TryFutureExt;
use leasehold_state_machine::{CALL_MS_MAX, Command, Operation, Outcome, Refusal, STEP_MS_MAX, codec};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Node, Parts, RETRY};
use crate::clock::{deadline_after, time_until};
use crate::errors::{ReadError, SubmitError};
use crate::proposer::{COMMAND_BYTES_MAX, Fate, PENDING_MAX, Proposal, Reply};
use crate::types::Member;

/// What became of a submitted operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The outcome of its last send.
    pub outcome: Outcome,
    /// An earlier send was in doubt, and may have taken effect before this one: a `Release` that finds its grant released
    /// may have done it itself.
    pub repeated: bool,
}

impl Node {
    /// Submits one operation and waits for its outcome, not longer than `deadline`. On a follower it is forwarded to the
    /// leader; without a leader it is held for a bounded time. Dropping the future does not undo the operation.
    pub fn submit(
        &self,
        operation: Operation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Outcome, SubmitError>> + Send + '_ {
        self.submit_noting_repeats(operation, deadline).map_ok(|submitted| submitted.outcome)
    }

    /// As [`Node::submit`], for callers to whom it matters that the outcome may be that of a second send.
    pub fn submit_noting_repeats(
        &self,
        operation: Operation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Submitted, SubmitError>> + Send + '_ {
        let needed = operation.level();
        // Before the first poll: there are very many of these futures, and they are smaller by the operation.
        let command = self.parts.encode(operation, deadline);
        async move {
            if needed > self.parts.shared.level_in_force()
                && let Some(refused) = Box::pin(self.check_level(needed, deadline)).await?
            {
                return Ok(Submitted { outcome: Outcome::Refused(refused), repeated: false });
            }
            let mut maybe_sent = false;
            match self.parts.submit(&command?, deadline, &mut maybe_sent).await {
                Ok(outcome) => Ok(Submitted { outcome, repeated: maybe_sent }),
                Err(_) if maybe_sent => Err(SubmitError::FateUnknown),
                Err(error) => Err(error),
            }
        }
    }

    /// Refuses what needs a higher format level than the cluster has. A node that lags may not have heard that the level was
    /// raised: so it makes sure before it refuses.
    async fn check_level(&self, needed: u32, deadline: Instant) -> Result<Option<Refusal>, SubmitError> {
        let shared = &self.parts.shared;
        self.read_barrier(deadline).await.map_err(|error| match error {
            ReadError::NoLeader { retry_after } => SubmitError::NoLeader { retry_after },
            ReadError::Stopping => SubmitError::Stopping,
        })?;
        let level = shared.level_in_force();
        if needed <= level {
            Ok(None)
        } else if self.state().cluster().is_none() {
            // It will be known once the cluster is founded.
            Ok(Some(Refusal::NotFounded))
        } else {
            Err(SubmitError::Level { needed, level })
        }
    }
}

impl Parts {
    fn encode(&self, operation: Operation, deadline: Instant) -> Result<Bytes, SubmitError> {
        let remaining = time_until(deadline);
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX).min(CALL_MS_MAX);
        let not_after = match operation {
            Operation::CancelAcquire(_) | Operation::Tick => None,
            _ => Some(self.shared.now().plus_ms(STEP_MS_MAX + remaining_ms)),
        };
        let command = codec::encode_command(&Command { principal: None, not_after, operation });
        if command.len() > COMMAND_BYTES_MAX {
            return Err(SubmitError::TooLarge { bytes: command.len(), max: COMMAND_BYTES_MAX });
        }
        Ok(command)
    }

    /// Tries one leader after the other until an outcome comes back. Every command names what it acts on (request id,
    /// token, lease), so sending it again does no harm.
    async fn submit(&self, command: &Bytes, deadline: Instant, maybe_sent: &mut bool) -> Result<Outcome, SubmitError> {
        let mut known = self.leadership.known();
        loop {
            let now = *known.borrow_and_update();
            let leader = match now {
                Some(leader) => leader,
                None => Box::pin(self.wait_for_leader(&mut known, deadline)).await?,
            };
            let Some(fate) = self.send(leader, command) else {
                Box::pin(self.pause(deadline)).await?;
                continue;
            };
            // None is known from the moment on at which this node stops.
            let elsewhere = async { known.wait_for(|known| *known != Some(leader)).await.map(drop) };
            tokio::select! {
                biased;
                fate = fate => match fate {
                    Ok(Fate::Outcome(outcome)) => return Ok(outcome),
                    Ok(Fate::Busy) => return Err(SubmitError::Busy { pending: PENDING_MAX }),
                    // This node has applied that the level was raised; the leader is about to.
                    Ok(Fate::NotLeader | Fate::AboveLevel) => Box::pin(self.pause(deadline)).await?,
                    Ok(Fate::Unknown) | Err(_) => {
                        *maybe_sent = true;
                        Box::pin(self.pause(deadline)).await?;
                    }
                },
                _ = elsewhere => *maybe_sent = true,
                () = tokio::time::sleep_until(deadline) => {
                    *maybe_sent = true;
                    return Err(SubmitError::FateUnknown);
                }
            }
            if self.stop.is_cancelled() {
                return Err(SubmitError::Stopping);
            }
        }
    }

    /// Sends a command to a leader. None: raft knows another one, or none, by now.
    fn send(&self, leader: u64, command: &Bytes) -> Option<oneshot::Receiver<Fate>> {
        if leader == self.options.node_id {
            let (reply, fate) = oneshot::channel();
            self.proposer.propose(Proposal { command: command.clone(), reply: Reply::Local(reply) });
            return Some(fate);
        }
        let forward = |target: u64, member: &Member| {
            (target == leader).then(|| self.forwarder.forward(target, member, command.clone()))
        };
        self.leadership.with_target(forward).flatten()
    }

    fn no_leader(&self) -> SubmitError {
        SubmitError::NoLeader { retry_after: self.options.tuning.election_max }
    }

    async fn wait_for_leader(
        &self,
        known: &mut watch::Receiver<Option<u64>>,
        deadline: Instant,
    ) -> Result<u64, SubmitError> {
        let patience = deadline_after(self.options.tuning.leader_wait_max);
        let known = async { known.wait_for(Option::is_some).await.ok().and_then(|leader| *leader) };
        tokio::select! {
            leader = tokio::time::timeout_at(deadline.min(patience), known) => {
                leader.ok().flatten().ok_or_else(|| self.no_leader())
            }
            () = self.stop.cancelled() => Err(SubmitError::Stopping),
        }
    }

    async fn pause(&self, deadline: Instant) -> Result<(), SubmitError> {
        if time_until(deadline) <= RETRY {
            return Err(self.no_leader());
        }
        tokio::time::sleep(RETRY).await;
        Ok(())
    }
}
