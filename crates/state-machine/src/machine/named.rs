//! Grants that a command names by lock and token.

use super::StateMachine;
use crate::{FencingToken, LossReason, Refusal};

/// What a lock and a token stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// A grant of the lock.
    Held,
    /// Once a grant, of this lock or of one that is forgotten; why it ended where remembered.
    Gone(Option<LossReason>),
}

impl StateMachine {
    /// Expires the grant if it is due, then tells what is there. Another lock's token, or one that was never given out, is
    /// refused.
    pub(super) fn named(&mut self, namespace: &str, name: &str, token: FencingToken) -> Result<Named, Refusal> {
        self.touch_grant(token);
        let wrong = || Refusal::WrongToken { token, name: name.to_owned() };
        if token.0 == 0 || token.0 >= self.tables.header.next_token {
            return Err(wrong());
        }
        if let Some(grant) = self.tables.grants.get(&token) {
            return if grant.lock.is(namespace, name) { Ok(Named::Held) } else { Err(wrong()) };
        }
        match self.tables.losses.of_token(token) {
            Some((lost, _)) if !lost.is(namespace, name) => Err(wrong()),
            Some((_, loss)) => Ok(Named::Gone(Some(loss.reason))),
            None => Ok(Named::Gone(None)),
        }
    }
}
