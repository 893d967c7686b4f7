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
        self.log(result, None);
        if let Some(call) = self.call.take() {
            call.end(result);
        }
    }

    pub(super) fn fail(mut self, error: &DaprError) {
        let result = error.reason();
        self.log(result, Some(error));
        if let Some(call) = self.call.take() {
            call.end(result);
        }
    }

    fn log(&self, result: &'static str, error: Option<&DaprError>) {
        let (door, peer) = (self.caller.door.name(), self.caller.peer.map(tracing::field::display));
        debug!(door, call = self.name, peer, result, error = error.map(tracing::field::display), "call ended");
    }
}

impl Drop for Counted {
    /// Whoever called has gone, or took too long: the call counts itself as given up.
    fn drop(&mut self) {
        if self.call.is_some() {
            self.log("given_up", None);
        }
    }
}
