//! The search against stateright's, which tries everything and remembers nothing: too slow for real histories, and right.

use leasehold_state_machine::Mode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::model::{Lock, Operation};
use super::search::{Answer, Interval, search};
use crate::clock::Moment;

#[derive(Clone)]
struct Spec(Lock);

impl SequentialSpec for Spec {
    type Op = Operation;
    type Ret = ();

    /// Of operations that may also never happen: one that cannot happen does not.
    fn invoke(&mut self, operation: &Operation) {
        if let Some(after) = self.0.after(operation) {
            self.0 = after;
        }
    }

    fn is_valid_step(&mut self, operation: &Operation, (): &()) -> bool {
        let after = self.0.after(operation);
        let possible = after.is_some();
        self.0 = after.unwrap_or_default();
        possible
    }
}

fn by_stateright(intervals: &[Interval]) -> bool {
    let mut events: Vec<(Moment, bool, usize)> = Vec::new();
    for (operation, interval) in intervals.iter().enumerate() {
        events.push((interval.begin, false, operation));
        events.extend(interval.end.map(|end| (end, true, operation)));
    }
    events.sort_unstable();
    let mut tester = LinearizabilityTester::new(Spec(Lock::default()));
    for (_, ends, operation) in events {
        let noted = if ends {
            tester.on_return(operation, ()).map(drop)
        } else {
            tester.on_invoke(operation, intervals[operation].operation.clone()).map(drop)
        };
        noted.unwrap();
    }
    tester.is_consistent()
}

fn mode(random: &mut StdRng) -> Mode {
    match random.random_range(0..4) {
        0 | 1 => Mode::Exclusive,
        2 => Mode::Shared,
        _ => Mode::Permits { permits: 1, limit: 2 },
    }
}

/// A short history, possible or not, that is at least tempting.
fn history(random: &mut StdRng) -> Vec<Interval> {
    let grants = random.random_range(1..=3_u32);
    let mut intervals = Vec::new();
    let span = |random: &mut StdRng, around: u64, open: bool| {
        let begin = Moment(around.saturating_sub(random.random_range(0..12)));
        let end = Moment(around + random.random_range(1..12));
        (begin, (!open).then_some(end))
    };
    for token in 0..grants {
        let at = u64::from(token) * 10 + 10;
        let replaces = (token > 0 && random.random_bool(0.15)).then(|| token - 1);
        let lease = replaces.unwrap_or(token);
        let grant = Operation::Grant { token, mode: mode(random), lease, replaces };
        let (begin, end) = span(random, at, false);
        intervals.push(Interval { operation: grant, begin, end });
        let end_of = match random.random_range(0..5) {
            0 => Operation::Release(token),
            1 => Operation::Close(token),
            _ => Operation::End(token),
        };
        let open = matches!(end_of, Operation::End(_)) && random.random_bool(0.5);
        let (begin, end) = span(random, at + 8, open);
        intervals.push(Interval { operation: end_of, begin, end });
    }
    for _ in 0..random.random_range(0..=3) {
        let token = random.random_range(0..grants);
        let looked = match random.random_range(0..7) {
            0 => Operation::Holds(token),
            1 => Operation::HoldsNot(token),
            2 => Operation::Alive(token),
            3 => Operation::Gone(token),
            4 => Operation::Refused(mode(random)),
            5 => Operation::Read(Vec::new()),
            _ => Operation::Read(vec![token]),
        };
        let around = random.random_range(5..u64::from(grants) * 10 + 20);
        let (begin, end) = span(random, around, false);
        intervals.push(Interval { operation: looked, begin, end });
    }
    intervals
}

#[test]
fn the_search_agrees_with_stateright_on_short_histories() {
    let mut answers = [0, 0];
    for seed in 0..20_000 {
        let intervals = history(&mut StdRng::seed_from_u64(seed));
        let expected = by_stateright(&intervals);
        let found = search(&intervals, 1_000_000);
        assert_eq!(found == Answer::Linearizable, expected, "seed {seed}: {found:?} of {intervals:#?}");
        assert_ne!(found, Answer::Undecided);
        answers[usize::from(expected)] += 1;
    }
    assert!(answers.iter().all(|count| *count > 1_000), "{answers:?}");
}
