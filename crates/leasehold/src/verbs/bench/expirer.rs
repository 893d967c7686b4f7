//! The caller of `expiry`: it lets its lease run out while it waits for the same lock again.

use std::sync::Arc;
use std::time::Duration;

use leasehold_client::clock::Moment;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{AcquireResponse, RenewLease, RenewRequest};

use super::caller::{Caller, Context, Phase, RequestIds, Step, Under, WAIT_MS, acquire, release, unexpected};
use super::record::Measure;
use super::worker::Common;

#[derive(Debug, Clone)]
enum Doing {
    Nothing,
    Waiting,
    Renewing { lease: String, sent: Moment },
    Releasing,
}

pub(super) struct Expirer {
    common: Arc<Common>,
    name: String,
    ttl_ms: u64,
    ids: RequestIds,
    doing: Doing,
    token: u64,
    /// No other grant may come before this moment.
    promised: Option<Moment>,
}

impl Expirer {
    pub(super) fn new(common: &Arc<Common>, number: usize, ttl_ms: u64) -> Self {
        Self {
            common: Arc::clone(common),
            name: format!("{}expiry-{number}", common.prefix),
            ttl_ms,
            ids: RequestIds::new(),
            doing: Doing::Nothing,
            token: 0,
            promised: None,
        }
    }

    fn operation(&mut self) -> Operation {
        let common = Arc::clone(&self.common);
        match &self.doing {
            Doing::Renewing { lease, .. } => {
                let renewal = RenewLease { lease: lease.clone(), ttl_ms: 0, exact_for_token: 0 };
                Operation::Renew(RenewRequest { leases: vec![renewal], all_or_nothing: false })
            }
            Doing::Releasing => release(&common.namespace, &self.name, self.token),
            Doing::Waiting | Doing::Nothing => {
                let names = std::slice::from_ref(&self.name);
                let request = acquire(&common.namespace, names, Under::OwnLease(self.ttl_ms), Some(WAIT_MS));
                self.ids.mark(request)
            }
        }
    }

    fn next(&mut self, context: &Context<'_>) -> Step {
        if let Doing::Nothing = self.doing {
            self.doing = match (context.ending, self.token) {
                (true, 0) => return Step::Done,
                (true, _) => Doing::Releasing,
                (false, _) => {
                    self.ids.fresh();
                    Doing::Waiting
                }
            };
        }
        Step::Send(self.operation())
    }

    fn granted(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let Some(promised) = self.promised.take() else { return };
        if now < promised {
            context.record.error("granted before the promised end of a lease");
        }
        context.record.took(Measure::Lag, now.since(promised), now);
        context.record.worked(1, now);
    }

    fn answered(&mut self, context: &mut Context<'_>, answer: Answer) -> Step {
        match (self.doing.clone(), answer) {
            (Doing::Waiting, Answer::Acquire(AcquireResponse { result: Some(Acquired::Granted(granted)) })) => {
                self.granted(context);
                self.token = granted.grants.first().map_or(0, |grant| grant.token);
                // When the grant was made is not known exactly; the end of a renewed lease is.
                self.doing = Doing::Renewing { lease: granted.lease, sent: context.now };
                if context.ending {
                    self.doing = Doing::Releasing;
                }
                Step::Send(self.operation())
            }
            (Doing::Waiting, Answer::Acquire(AcquireResponse { result: Some(Acquired::WaitEnded(_)) })) => {
                self.doing = if context.ending { Doing::Nothing } else { Doing::Waiting };
                self.next(context)
            }
            (Doing::Renewing { sent, .. }, Answer::Renew(renewed)) => {
                match renewed.leases.first() {
                    Some(lease) if lease.alive => {
                        self.promised = Some(sent.after(Duration::from_millis(lease.ttl_ms)));
                    }
                    _ => context.record.error("a lease ended before it was renewed"),
                }
                self.doing = Doing::Nothing;
                self.next(context)
            }
            (Doing::Releasing, Answer::Release(_)) => {
                self.token = 0;
                self.doing = Doing::Nothing;
                Step::Done
            }
            (_, other) => {
                self.ids.fresh();
                unexpected(context, &other)
            }
        }
    }
}

impl Caller for Expirer {
    fn step(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match (context.phase, answer) {
            (Phase::Run, Some(answer)) => self.answered(context, answer),
            (Phase::Run, None) => self.next(context),
            (Phase::Prepare | Phase::CleanUp, _) => Step::Done,
        }
    }
}
