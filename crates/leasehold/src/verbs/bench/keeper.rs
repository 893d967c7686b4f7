//! The caller that only fills the tables: it holds very many locks beside the load, each under a lease of its own.

use std::sync::Arc;

use leasehold_client::clock::Moment;
use leasehold_proto::v1::AcquireResponse;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::answer::Answer;

use super::caller::{Caller, Context, Phase, RequestIds, Step, Under, acquire, release, unexpected};
use super::load::millis;
use super::worker::Common;

/// Keepers of a run, at most: as many operations are under way while they take their locks.
pub(super) const KEEPERS_MAX: usize = 512;

pub(super) struct Keeper {
    common: Arc<Common>,
    /// Its number among the keepers.
    number: usize,
    /// How many locks it is to hold.
    share: usize,
    /// When their leases run out; None: after the run.
    until: Option<Moment>,
    /// Their tokens, in the order of the names.
    tokens: Vec<u64>,
    ids: RequestIds,
}

impl Keeper {
    pub(super) fn new(common: &Arc<Common>, number: usize, share: usize, until: Option<Moment>) -> Self {
        let mut ids = RequestIds::new();
        ids.fresh();
        Self { common: Arc::clone(common), number, share, until, tokens: Vec::with_capacity(share), ids }
    }

    fn name(&self, at: usize) -> String {
        format!("{}held-{}-{at}", self.common.prefix, self.number)
    }

    fn take(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match answer {
            None => {}
            Some(Answer::Acquire(AcquireResponse { result: Some(Acquired::Granted(granted)) })) => {
                self.tokens.extend(granted.grants.first().map(|grant| grant.token));
                self.ids.fresh();
            }
            Some(other) => return unexpected(context, &other),
        }
        if self.tokens.len() >= self.share {
            return Step::Done;
        }
        let names = [self.name(self.tokens.len())];
        let left_ms = |until: Moment| millis(until.since(context.now));
        let lease = Under::OwnLease(self.until.map_or(self.common.session_ttl_ms, left_ms));
        Step::Send(self.ids.mark(acquire(&self.common.namespace, &names, lease, None)))
    }

    fn give_back(&mut self, answer: Option<Answer>) -> Step {
        if answer.is_some() {
            self.tokens.pop();
        }
        match self.tokens.last() {
            Some(token) => Step::Send(release(&self.common.namespace, &self.name(self.tokens.len() - 1), *token)),
            None => Step::Done,
        }
    }
}

impl Caller for Keeper {
    fn step(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match context.phase {
            Phase::Prepare => self.take(context, answer),
            Phase::Run => Step::Done,
            Phase::CleanUp => self.give_back(answer),
        }
    }
}
