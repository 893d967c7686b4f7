//! What is done with leases and tokens: release, renew, close.

use leasehold_proto::v1;
use leasehold_state_machine::{CloseLease, FencingToken, Operation, Outcome, Release, Renewed};

use super::{CallTime, Calls};
use crate::{CallError, convert, status, validate};

impl Calls {
    /// Releases a lock by its token.
    pub(crate) async fn release(
        &self,
        message: v1::ReleaseRequest,
        time: CallTime,
    ) -> Result<v1::ReleaseResponse, CallError> {
        self.open()?;
        let namespace = validate::namespace(message.namespace)?;
        validate::lock_name("name", &message.name, &self.limits(&namespace))?;
        if message.token == 0 {
            return Err(CallError::invalid("token", "must not be 0: no lock is ever given token 0"));
        }
        let release = Release { namespace, name: message.name, token: FencingToken(message.token) };
        match self.node.submit(Operation::Release(release), time.deadline()).await? {
            Outcome::Released(released) => Ok(convert::released(released)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "Release" }),
        }
    }

    /// Renews leases, together with those of other callers.
    pub(crate) async fn renew(
        &self,
        message: v1::RenewRequest,
        time: CallTime,
    ) -> Result<v1::RenewResponse, CallError> {
        self.open()?;
        let leases = validate::renewals(&message.leases)?;
        let renewed = self.renewals.renew(leases, time.deadline()).await?;
        let alone = message.leases.len() == 1;
        let mut answers = Vec::with_capacity(renewed.len());
        for (i, (asked, renewed)) in message.leases.into_iter().zip(renewed).enumerate() {
            let mut answer = v1::RenewedLease { lease: asked.lease, ..Default::default() };
            match renewed {
                Renewed::Alive { left_ms } => {
                    answer.alive = true;
                    answer.ttl_ms = left_ms;
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

    /// Ends a lease.
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
