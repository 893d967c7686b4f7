//! The way of a command from another node to the leader, and of its outcome back.

use bytes::Bytes;
use leasehold_consensus::counted::{Follower, Leader};
use leasehold_state_machine::Outcome;

use super::counted;
use super::log::{Log, lock, tokens, unlock};
use super::proposer::{COMMANDS, commands};

const MESSAGES: u64 = 32;

/// What the commands come to: half of them grants, half of them releases.
fn outcomes() -> Vec<Outcome> {
    let mut log = Log::new();
    let locked = log.apply((0..COMMANDS / 2).map(|caller| lock(caller, 1, 30_000)).collect()).outcomes;
    let unlocks = (0..).zip(tokens(&locked)).map(|(caller, token)| unlock(caller, token)).collect();
    let unlocked = log.apply(unlocks).outcomes;
    locked.into_iter().zip(unlocked).flat_map(|(locked, unlocked)| [locked, unlocked]).collect()
}

/// Both ends, message after message. `at` says which of the four steps is counted.
fn there_and_back(at: usize) -> u64 {
    let (mut follower, mut leader) = (Follower::new(), Leader::new());
    let (commands, outcomes): (Vec<Bytes>, _) = (commands(), outcomes());
    for _ in 0..MESSAGES {
        follower.wait(&commands);
        let message = step(at == 0, || follower.send());
        step(at == 1, || leader.receive(message));
        leader.outcomes(outcomes.clone());
        let answer = step(at == 2, || leader.answer());
        step(at == 3, || follower.settle(answer));
        assert_eq!(follower.take_outcomes(), outcomes);
    }
    MESSAGES * COMMANDS
}

fn step<T>(is_counted: bool, work: impl FnOnce() -> T) -> T {
    if is_counted { counted(work) } else { work() }
}

/// Packed into a message and encoded.
pub(super) fn send() -> u64 {
    there_and_back(0)
}

/// Decoded, looked at and queued for the proposer.
pub(super) fn receive() -> u64 {
    there_and_back(1)
}

/// Outcomes packed into a message and encoded.
pub(super) fn answer() -> u64 {
    there_and_back(2)
}

/// Decoded and handed to the calls that wait.
pub(super) fn settle() -> u64 {
    there_and_back(3)
}
