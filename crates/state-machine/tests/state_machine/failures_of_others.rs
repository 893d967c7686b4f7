//! What went wrong in other lock services (TESTING.md, "Failures that others had"), one test each.

use crate::log::*;
use leasehold_state_machine::*;

/// The way of a lock: granted, awaited, handed over by its release.
#[test]
fn release_hands_over_in_the_same_entry() {
    let mut log = Log::founded();
    let first = log.granted(10, try_lock(id(1, 1), "a", 5_000));
    assert_eq!((first.grants[0].token, first.left_ms, first.confirm), (FencingToken(START), 5_000, false));
    log.queued(20, wait_lock(id(2, 1), "a", 5_000, 10_000));
    log.restore(Bounds::default());
    assert!(log.released(30, "a", first.grants[0].token).released);
    let granted = log.grants().remove(0);
    assert_eq!(granted.0, id(2, 1));
    assert_eq!((granted.1.grants[0].token, granted.1.left_ms, granted.1.confirm), (FencingToken(START + 1), 0, true));
    log.restore(Bounds::default());
    let Outcome::Released(late) = log.one(40, release("a", FencingToken(START))) else { panic!() };
    assert_eq!(late, Released { released: false, reason: Some(LossReason::Released) });
    assert_eq!(log.holder("a"), Some(FencingToken(START + 1)));
}
