//! What of a machine decides how it goes on.

use std::hash::{DefaultHasher, Hash, Hasher};

use leasehold_state_machine::{HEADER_KEY, LeaseId, LossReason, codec};

use super::tables::{EPOCH_MS, log_time};
use super::world::World;

/// A hash of 128 bits.
#[derive(Default)]
pub(super) struct TwoHashes(DefaultHasher, DefaultHasher);

impl TwoHashes {
    pub(super) fn add(&mut self, value: &impl Hash) {
        value.hash(&mut self.0);
        (1_u8, value).hash(&mut self.1);
    }

    pub(super) fn finish(&self) -> u128 {
        u128::from(self.0.finish()) << 64 | u128::from(self.1.finish())
    }
}

/// Tag bytes of the rows that say how locks and leases were lost.
const LOSS: u8 = 7;
const LEASE_END: u8 = 8;

/// Hash of all that decides how the machine goes on within the world, and of nothing else, so that more states are found
/// to be the same:
/// - of the header, log time: the other counters only name what is new, and the world is the same for all its states;
/// - not why locks and leases were lost: that is told, and decides nothing, but that an ended session stays ended;
/// - all points of log time that have passed are one, and so are those beyond the end of the world.
pub(super) fn essence(world: &World, rows: &[(Vec<u8>, Vec<u8>)], step: u8) -> u128 {
    let mut hash = TwoHashes::default();
    hash.add(&step);
    for (key, value) in rows {
        match key.as_slice() {
            HEADER_KEY | [LOSS, ..] => {}
            [LEASE_END, ..] => hash.add(&ended(value)),
            _ => hash.add(&(key, timeless(world, value, step))),
        }
    }
    hash.finish()
}

/// The leases whose ends share a row.
fn ended(row: &[u8]) -> Vec<LeaseId> {
    let ends: Vec<(LeaseId, (u64, LossReason))> = codec::decode(row).expect("a row of ends, as the machine writes it");
    let mut leases: Vec<LeaseId> = ends.into_iter().map(|(lease, _)| lease).collect();
    leases.sort_unstable();
    leases
}

/// An encoded row in which the points of log time that decide nothing are zero. A u64 of that size is encoded as one
/// byte that says so, and four more, little endian.
fn timeless(world: &World, row: &[u8], step: u8) -> Vec<u8> {
    const FOUR_BYTES: u8 = 252;
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let mut row = row.to_vec();
    let (now, end) = (log_time(world, step).0, log_time(world, world.steps).0);
    for at in 0..row.len().saturating_sub(4) {
        let &[FOUR_BYTES, a, b, c, d] = &row[at..at + 5] else { continue };
        let time = u64::from(u32::from_le_bytes([a, b, c, d]));
        // Where due items are left for later entries, it matters in which order they are due.
        let past = (EPOCH_MS..now).contains(&time) && !world.expires_late();
        if past || (end + 1..EPOCH_MS + DAY_MS).contains(&time) {
            row[at + 1..at + 5].fill(0);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{CloseLease, Command, Operation, Renew, RenewLease, StateMachine};

    use super::super::message::{Kind, Message, session_id};
    use super::super::picture::Picture;
    use super::super::tables::{apply, found};
    use super::super::world::{A, Ask, ClientPlan, EXCLUSIVE};
    use super::*;
    use crate::model_check::run::Run;

    /// One who holds under a session, and one who was refused.
    fn run() -> Run {
        let holder = ClientPlan::in_session(3, vec![Ask::session(&[(A, EXCLUSIVE)], 0)]);
        let refused = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 1, 0)]);
        Run::new(World::new("essence", 5, vec![holder, refused]))
    }

    fn acquire(client: u8) -> Message {
        let kind = Kind::Acquire { client, task: 0, step: 0, counter: 1, attempt: 1, lowest: 0, converts: None };
        Message { taken: 0, kind }
    }

    /// The machine after these messages, each at its step.
    fn after(run: &Run, messages: &[(u8, Message)]) -> StateMachine {
        let mut machine = found(run).machine(&run.world);
        for (step, message) in messages {
            let command = message.command(&run.world, &Picture::default());
            apply(&mut machine, log_time(&run.world, *step), vec![command]);
        }
        machine
    }

    fn send(run: &Run, machine: &mut StateMachine, step: u8, operation: Operation) {
        let command = Command { principal: None, not_after: None, operation };
        apply(machine, log_time(&run.world, step), vec![command]);
    }

    fn tags(machine: &mut StateMachine) -> Vec<u8> {
        machine.rows().iter().map(|(key, _)| key[0]).collect()
    }

    /// The tag bytes are those of the rows that they are taken for.
    #[test]
    fn rows_that_are_left_out_say_how_things_were_lost() {
        let run = run();
        let mut machine = after(&run, &[(0, acquire(0))]);
        let held = tags(&mut machine);
        assert!(!held.contains(&LOSS) && !held.contains(&LEASE_END), "{held:?}");
        send(&run, &mut machine, 0, Operation::CloseLease(CloseLease { lease: session_id(0) }));
        let rows = machine.rows();
        let lost: Vec<_> = rows.iter().filter(|(key, _)| key[0] >= LOSS).collect();
        let [(loss, of), (end, ends)] = lost.as_slice() else { panic!("{lost:?}") };
        assert_eq!((loss.as_slice(), end[0]), (b"\x07\0\0\0\0\0\0\0\x01".as_slice(), LEASE_END));
        assert!(of.windows(7).any(|text| text == b"model\0a"), "{of:?}");
        assert_eq!(ended(ends), [session_id(0)]);
    }

    /// A tombstone that is remembered for longer makes no difference before the end of the world; a deadline does.
    #[test]
    fn only_times_within_the_world_make_a_difference() {
        let run = run();
        let essence_at = |machine: &mut StateMachine| {
            send(&run, machine, 2, Operation::Tick);
            essence(&run.world, &machine.rows(), 2)
        };
        let mut once = after(&run, &[(0, acquire(0)), (0, acquire(1))]);
        let mut twice = after(&run, &[(0, acquire(0)), (0, acquire(1)), (1, acquire(1))]);
        let (first, again) = (essence_at(&mut once), essence_at(&mut twice));
        assert_ne!(once.rows(), twice.rows());
        assert_eq!(first, again);

        let renew = RenewLease { lease: session_id(0), ttl_ms: None, exact: None };
        send(&run, &mut twice, 2, Operation::Renew(Renew { leases: vec![renew], all_or_nothing: false }));
        assert_ne!(essence_at(&mut twice), first, "the session ends with the world, and not before it");
    }
}
