//! What is done with leases and sessions: renew, close.

use leasehold_proto::v1;
use leasehold_state_machine::{CloseLease, Operation, Outcome, Renew, Renewed};

use tokio::time::Instant;

use super::{CallTime, Calls};
use crate::{CallError, convert, status, validate};

impl Calls {
    /// Renews leases, together with those of other callers where each is renewed for itself.
    pub(crate) async fn renew(
        &self,
        message: v1::RenewRequest,
        time: CallTime,
    ) -> Result<v1::RenewResponse, CallError> {
        self.open()?;
        let leases = validate::renewals(&message.leases)?;
        let alone = message.leases.len() == 1;
        // Of one lease it says nothing.
        let all_or_nothing = message.all_or_nothing && !alone;
        // What needs a later format level must not take the renewals of others down with it.
        let exact = leases.iter().any(|lease| lease.exact.is_some());
        let renewed = if all_or_nothing || exact {
            self.renew_apart(Renew { leases, all_or_nothing }, time.deadline()).await?
        } else {
            self.renewals.renew(leases, time.deadline()).await?
        };
        let mut answers = Vec::with_capacity(renewed.len());
        for (i, (asked, renewed)) in message.leases.into_iter().zip(renewed).enumerate() {
            let mut answer = v1::RenewedLease { lease: asked.lease, ..Default::default() };
            match renewed {
                Renewed::Alive { left_ms, forced } => {
                    answer.forced = forced;
                    answer.alive = true;
                    answer.ttl_ms = left_ms;
                }
                Renewed::Untouched => {
                    answer.alive = true;
                    answer.untouched = true;
                }
                Renewed::Gone { reason } => answer.reason = convert::loss_reason(reason).into(),
                Renewed::TtlOutOfRange { min_ms, max_ms } => {
                    let problem = format!("{} is not between {min_ms} and {max_ms}", asked.ttl_ms);
                    let error = CallError::invalid(format!("leases[{i}].ttl_ms"), problem);
                    if alone {
                        return Err(error);
                    }
                    answer.alive = true;
                    answer.error = Some(status::answer(&error));
                }
            }
            answers.push(answer);
        }
        Ok(v1::RenewResponse { leases: answers })
    }

    /// Renews leases by a command of their own.
    async fn renew_apart(&self, renew: Renew, deadline: Instant) -> Result<Vec<Renewed>, CallError> {
        let count = renew.leases.len();
        match self.node.submit(Operation::Renew(renew), deadline).await? {
            Outcome::Renewed(renewed) if renewed.len() == count => Ok(renewed),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "Renew" }),
        }
    }

    /// Ends a lease or a session.
    pub(crate) async fn close_lease(
        &self,
        message: v1::CloseLeaseRequest,
        time: CallTime,
    ) -> Result<v1::CloseLeaseResponse, CallError> {
        self.open()?;
        let lease = validate::lease_id("lease", &message.lease)?;
        match self.node.submit(Operation::CloseLease(CloseLease { lease }), time.deadline()).await? {
            Outcome::Closed(closed) => {
                Ok(v1::CloseLeaseResponse { closed: closed.closed, grants_ended: closed.grants_ended })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "CloseLease" }),
        }
    }
}
