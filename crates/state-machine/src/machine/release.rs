use super::StateMachine;
use super::named::Named;
use super::validate;
use crate::{LossReason, Outcome, Refusal, Release, Released};

impl StateMachine {
    /// Ends grants by their tokens, and hands over in the same entry. What is no longer held is fine, and says why
    /// where that is remembered; another lock's token, or one that was never given out, refuses the whole command.
    pub(super) fn release(&mut self, release: &Release) -> Result<Outcome, Refusal> {
        validate::release(release)?;
        let mut named = Vec::with_capacity(release.locks.len());
        for held in &release.locks {
            named.push(self.named(&release.namespace, &held.name, held.token)?);
        }
        let spare = release.all_or_nothing && named.iter().any(|named| *named != Named::Held);
        let mut released = Vec::with_capacity(named.len());
        for (held, named) in release.locks.iter().zip(named) {
            released.push(match named {
                Named::Gone(reason) => Released { released: false, reason, still_held: false },
                Named::Held if spare => Released { released: false, reason: None, still_held: true },
                Named::Held => {
                    self.end_grant(held.token, LossReason::Released, "");
                    Released { released: true, reason: None, still_held: false }
                }
            });
        }
        Ok(Outcome::Released(released))
    }
}
