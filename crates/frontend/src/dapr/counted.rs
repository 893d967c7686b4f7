//! Every call is counted once, also one whose caller does not wait for the answer.

use tracing::debug;

use super::caller::Caller;
use super::error::DaprError;
use crate::metrics::Call;

/// A call that has not ended.
pub(super) struct Counted {
    call: Option<Call>,
    caller: Caller,
    name: &'static str,
}

impl Counted {
    pub(super) fn begin(caller: Caller, name: &'static str) -> Self {
        Self { call: Some(Call::begin(caller.door, name)), caller, name }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn end(mut self, result: &'static str) {
        self.count(result, None);
    }

    pub(super) fn fail(mut self, error: &DaprError) {
        self.count(error.reason(), Some(error));
    }

    fn count(&mut self, result: &'static str, error: Option<&DaprError>) {
        let Some(call) = self.call.take() else { return };
        let (door, peer) = (self.caller.door.name(), self.caller.peer.map(tracing::field::display));
        let error = error.map(tracing::field::display);
        debug!(door, call = self.name, peer, result, error, "call ended");
        call.end(result);
    }
}

impl Drop for Counted {
    /// Whoever called has gone, or took too long.
    fn drop(&mut self) {
        self.count("gone", None);
    }
}
