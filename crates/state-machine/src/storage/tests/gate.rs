//! Holds and writers.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::super::gate::Gate;
use super::super::{HOLD_CHANGED_ROWS_MAX, HOLD_MS_MAX};
use super::*;

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(60);

#[test]
fn a_write_waits_for_every_hold_and_then_goes_in_whole() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    checkpoint.write(changes(&table(100, 1))).unwrap();
    let holds = [checkpoint.hold(), checkpoint.hold()];
    let (done, when_done) = channel();
    let writer = std::thread::spawn({
        let checkpoint = checkpoint.clone();
        move || {
            checkpoint.write(changes(&table(100, 2))).unwrap();
            done.send(()).unwrap();
        }
    });
    for hold in holds {
        assert!(checkpoint.is_held());
        assert!(!checkpoint.wait_released(Duration::ZERO));
        assert_eq!(when_done.recv_timeout(SOON), Err(RecvTimeoutError::Timeout));
        assert_eq!(rows_of(&checkpoint).unwrap(), table(100, 1));
        drop(hold);
    }
    when_done.recv_timeout(LATE).unwrap();
    writer.join().unwrap();
    assert!(!checkpoint.is_held());
    assert!(checkpoint.wait_released(Duration::ZERO));
    assert_eq!(rows_of(&checkpoint).unwrap(), table(100, 2));
}

#[test]
fn a_hold_waits_for_the_writer_at_work() {
    let gate = Gate::default();
    let writing = gate.write();
    std::thread::scope(|scope| {
        let (held, when_held) = channel();
        let gate = &gate;
        scope.spawn(move || {
            gate.hold();
            held.send(()).unwrap();
            gate.release();
        });
        assert_eq!(when_held.recv_timeout(SOON), Err(RecvTimeoutError::Timeout));
        drop(writing);
        when_held.recv_timeout(LATE).unwrap();
    });
}

#[test]
fn a_hold_is_exceeded_by_changed_rows_only_while_it_lasts() {
    let gate = Gate::default();
    assert!(!gate.is_exceeded(HOLD_CHANGED_ROWS_MAX + 1));
    gate.hold();
    assert!(!gate.is_exceeded(HOLD_CHANGED_ROWS_MAX));
    assert!(gate.is_exceeded(HOLD_CHANGED_ROWS_MAX + 1));
    gate.release();
    assert!(!gate.is_exceeded(HOLD_CHANGED_ROWS_MAX + 1));
}

#[test]
fn a_hold_is_exceeded_once_a_writer_has_waited_too_long() {
    let gate = Gate::default();
    gate.hold();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(gate.write()));
        assert!(!gate.wait_released(Duration::from_millis(HOLD_MS_MAX / 2)));
        assert!(!gate.is_exceeded(0));
        while !gate.is_exceeded(0) {
            assert!(!gate.wait_released(SOON));
        }
        gate.release();
    });
    gate.hold();
    assert!(!gate.is_exceeded(0), "a new hold starts anew");
    gate.release();
}
