use super::StateMachine;
use super::keys::LockKey;
use super::validate;
use crate::{LossReason, Outcome, Refusal, Release, Released};

impl StateMachine {
    /// Ends one grant by its token, and hands over in the same entry. What is no longer held is fine, and says why
    /// where that is remembered; another lock's token, or one that was never given out, is refused.
    pub(super) fn release(&mut self, release: &Release) -> Result<Outcome, Refusal> {
        validate::existing_lock(&release.namespace, &release.name)?;
        let token = release.token;
        let lock = LockKey::new(&release.namespace, &release.name);
        self.touch_grant(token);
        let wrong = || Refusal::WrongToken { token, name: release.name.clone() };
        if token.0 == 0 || token.0 >= self.tables.header.next_token {
            return Err(wrong());
        }
        if let Some(grant) = self.tables.grants.get(&token) {
            if grant.lock != lock {
                return Err(wrong());
            }
            self.end_grant(token, LossReason::Released);
            return Ok(Outcome::Released(Released { released: true, reason: None }));
        }
        let reason = match self.tables.losses_by_token.get(&token) {
            Some(lost) if *lost != lock => return Err(wrong()),
            Some(lost) => self.tables.losses.get(lost).map(|loss| loss.reason),
            None => None,
        };
        Ok(Outcome::Released(Released { released: false, reason }))
    }
}
