//! The caller that holds what others are to find held.

use std::sync::Arc;

use leasehold_proto::v1::AcquireResponse;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::answer::Answer;

use super::caller::{
    Caller, Context, Phase, RequestIds, Step, Under, acquire, close_lease, open_session, session_id, unexpected,
};
use super::worker::Common;

/// Locks that one acquire may name, by the limits of a namespace.
const LOCKS_PER_ACQUIRE_MAX: usize = 64;

pub(super) struct Holder {
    common: Arc<Common>,
    session: String,
    is_open: bool,
    /// Locks that it has.
    held: usize,
    ids: RequestIds,
}

impl Holder {
    pub(super) fn new(common: &Arc<Common>) -> Self {
        let mut ids = RequestIds::new();
        ids.fresh();
        Self { common: Arc::clone(common), session: session_id(), is_open: false, held: 0, ids }
    }

    fn prepare(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match answer {
            None => {}
            Some(Answer::OpenSession(_)) => self.is_open = true,
            Some(Answer::Acquire(AcquireResponse { result: Some(Acquired::Granted(granted)) })) => {
                self.held += granted.grants.len();
                self.ids.fresh();
            }
            Some(other) => return unexpected(context, &other),
        }
        if !self.is_open {
            return Step::Send(open_session(&self.common.namespace, &self.session, self.common.session_ttl_ms));
        }
        let left = self.common.busy.get(self.held..).unwrap_or_default();
        if left.is_empty() {
            return Step::Done;
        }
        let names = &left[..left.len().min(LOCKS_PER_ACQUIRE_MAX)];
        Step::Send(self.ids.mark(acquire(&self.common.namespace, names, Under::Session(&self.session), None)))
    }
}

impl Caller for Holder {
    fn step(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match (context.phase, answer) {
            (Phase::Prepare, answer) => self.prepare(context, answer),
            (Phase::CleanUp, None) => Step::Send(close_lease(&self.session)),
            (Phase::Run, _) | (Phase::CleanUp, Some(_)) => Step::Done,
        }
    }
}
