//! Is there an order? The search of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): operations are
//! placed one after the other, each within its interval, and what was reached before is not searched again.
//!
//! Three things make it fast on locks. An operation that only looks, and is right now, is placed at once and never
//! reconsidered: as it changes nothing, no order is lost. Tokens come in order, so there is never more than one grant that
//! may be next. And what takes a holder away is placed only when there is no other way on, and only if that holder is in the way
//! of what comes next: done earlier it would allow nothing that it does not allow then. (Of forty dead readers each may have gone at any time;
//! in every order of their ends the lock is the same when a writer comes.) The bound is in places tried, not in time: the same history
//! has the same answer on every machine.

use std::collections::HashSet;

use super::model::{Holder, Lock, Operation};
use crate::clock::Moment;

/// An operation and when it can have happened.
#[derive(Debug, Clone)]
pub(super) struct Interval {
    pub(super) operation: Operation,
    pub(super) begin: Moment,
    /// None: at any time from `begin` on, or never.
    pub(super) end: Option<Moment>,
}

/// What the search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is an order.
    Linearizable,
    /// There is none: the operation (its place in the input) that no order gets past, and the tokens that hold the lock there.
    Not { stuck: usize, holders: Vec<u32> },
    /// The bound was reached first.
    Undecided,
}

/// One end of an operation, in a list by time from which what was placed is taken out.
#[derive(Debug, Clone, Copy)]
struct Event {
    operation: usize,
    begins: bool,
    previous: usize,
    next: usize,
}

/// The list's head: its `next` is the first event.
const HEAD: usize = 0;

struct Search<'a> {
    intervals: &'a [Interval],
    events: Vec<Event>,
    /// Where the begin and the end of an operation are among the events.
    places: Vec<(usize, usize)>,
    lock: Lock,
    /// Operations that must still be placed.
    required: usize,
    /// Identifies the set of placed operations.
    placed: u128,
    seen: HashSet<u128>,
    frames: Vec<Frame>,
}

/// One operation that changed the lock.
struct Frame {
    event: usize,
    pass: Pass,
    before: Lock,
    /// Placed right after it: they only look.
    looks: Vec<usize>,
}

/// What is tried at a place of the search.
#[derive(Debug, Clone, Copy)]
enum Pass {
    /// Everything that takes no holder away.
    First,
    /// What takes one away that is in the way of what comes before this event or ends there.
    Second { blocked: usize },
}

/// Searches for an order of the operations, in at most so many places.
pub(super) fn search(intervals: &[Interval], places_max: usize) -> Answer {
    let mut search = Search::new(intervals);
    let mut furthest = (usize::MAX, 0, Vec::new());
    search.look();
    let (mut at, mut pass) = (search.events[HEAD].next, Pass::First);
    loop {
        if search.required == 0 {
            return Answer::Linearizable;
        }
        let event = search.events[at];
        if at != HEAD && event.begins {
            let operation = &search.intervals[event.operation].operation;
            let next = if search.belongs(event.operation, pass) { search.lock.after(operation) } else { None };
            if let Some(next) = next.filter(|next| search.is_new(event.operation, next)) {
                if search.seen.len() >= places_max {
                    return Answer::Undecided;
                }
                search.place(at, pass, next);
                (at, pass) = (search.events[HEAD].next, Pass::First);
            } else {
                at = event.next;
            }
            continue;
        }
        // The end of what is not placed, or of the list.
        if matches!(pass, Pass::First) {
            (at, pass) = (search.events[HEAD].next, Pass::Second { blocked: at });
            continue;
        }
        // The way here was wrong.
        if at != HEAD && search.required < furthest.0 {
            furthest = (search.required, event.operation, search.lock.tokens().collect());
        }
        let Some((back, of_pass)) = search.take_back() else {
            let (_, stuck, holders) = furthest;
            return Answer::Not { stuck, holders };
        };
        (at, pass) = (search.events[back].next, of_pass);
    }
}

impl<'a> Search<'a> {
    fn new(intervals: &'a [Interval]) -> Self {
        // At one moment what begins comes before what ends: they overlap.
        let mut order: Vec<(Moment, bool, usize)> = Vec::with_capacity(2 * intervals.len());
        for (operation, interval) in intervals.iter().enumerate() {
            order.push((interval.begin, false, operation));
            let end = interval.end.unwrap_or(Moment(u64::MAX));
            order.push((end.max(interval.begin), true, operation));
        }
        order.sort_unstable();
        let mut places = vec![(0, 0); intervals.len()];
        let mut events = vec![Event { operation: usize::MAX, begins: false, previous: HEAD, next: HEAD }];
        for (_, ends, operation) in order {
            let at = events.len();
            if ends {
                places[operation].1 = at;
            } else {
                places[operation].0 = at;
            }
            events.push(Event { operation, begins: !ends, previous: at - 1, next: at + 1 });
        }
        let last = events.len() - 1;
        events[last].next = HEAD;
        events[HEAD].previous = last;
        events[HEAD].next = if last == HEAD { HEAD } else { HEAD + 1 };
        let required = intervals.iter().filter(|interval| interval.end.is_some()).count();
        let (lock, seen, frames) = (Lock::default(), HashSet::new(), Vec::new());
        Self { intervals, events, places, lock, required, placed: 0, seen, frames }
    }

    /// Whether an operation is to be tried in this pass.
    fn belongs(&self, operation: usize, pass: Pass) -> bool {
        let taken = |holder: &Holder| match &self.intervals[operation].operation {
            Operation::End(token) | Operation::Release(token) => holder.token == *token,
            Operation::Close(lease) => holder.lease == *lease,
            _ => false,
        };
        let takes_away = match &self.intervals[operation].operation {
            // A lease may have been closed before it held anything.
            Operation::Close(_) => self.lock.holders().any(taken),
            Operation::End(_) | Operation::Release(_) => true,
            _ => false,
        };
        match pass {
            Pass::First => !takes_away,
            Pass::Second { .. } if !takes_away => false,
            Pass::Second { blocked } => {
                (blocked != HEAD && self.events[blocked].operation == operation)
                    || self.lock.holders().any(|holder| taken(holder) && self.is_in_the_way(holder, blocked))
            }
        }
    }

    /// Whether this holder may hinder what has to be placed by this event, what else can be placed before it, or the next grant.
    fn is_in_the_way(&self, holder: &Holder, blocked: usize) -> bool {
        let hindered = |operation: usize| self.intervals[operation].operation.is_hindered_by(holder);
        if blocked != HEAD && hindered(self.events[blocked].operation) {
            return true;
        }
        let mut at = self.events[HEAD].next;
        while at != blocked {
            let Event { operation, next, .. } = self.events[at];
            let counts = match self.intervals[operation].operation {
                Operation::Grant { token, .. } => token == self.lock.next(),
                ref other => other.only_looks(),
            };
            if counts && hindered(operation) {
                return true;
            }
            at = next;
        }
        false
    }

    /// Whether placing an operation leads to where the search has not been. Notes it.
    fn is_new(&mut self, operation: usize, next: &Lock) -> bool {
        let holders = next.tokens().fold(0, |sum, token| sum ^ mix(token.into(), 1));
        self.seen.insert((self.placed ^ mix(operation as u64, 0)) ^ holders)
    }

    /// Places an operation that changes the lock, and then what only looks and is right now.
    fn place(&mut self, event: usize, pass: Pass, next: Lock) {
        self.lift(event);
        let before = std::mem::replace(&mut self.lock, next);
        let looks = self.look();
        self.frames.push(Frame { event, pass, before, looks });
    }

    /// Takes the last change back. Returns where it was, and in which pass; None when there is none.
    fn take_back(&mut self) -> Option<(usize, Pass)> {
        let frame = self.frames.pop()?;
        for look in frame.looks.into_iter().rev() {
            self.unlift(look);
        }
        self.unlift(frame.event);
        self.lock = frame.before;
        Some((frame.event, frame.pass))
    }

    /// Places everything that changes nothing and is right now.
    fn look(&mut self) -> Vec<usize> {
        let mut placed = Vec::new();
        let mut at = self.events[HEAD].next;
        while at != HEAD && self.events[at].begins {
            let Event { operation, .. } = self.events[at];
            let right = match &self.intervals[operation].operation {
                Operation::End(token) => self.lock.is_over(*token),
                look => look.only_looks() && self.lock.shows(look),
            };
            if right {
                self.lift(at);
                placed.push(at);
            }
            // What was taken out still knows what came after it, unless that was its own end.
            at = self.events[at].next;
            if right && at == self.places[operation].1 {
                at = self.events[at].next;
            }
        }
        placed
    }

    /// Takes an operation out of the list.
    fn lift(&mut self, begin: usize) {
        let operation = self.events[begin].operation;
        self.placed ^= mix(operation as u64, 0);
        self.required -= usize::from(self.intervals[operation].end.is_some());
        for event in [begin, self.places[operation].1] {
            let Event { previous, next, .. } = self.events[event];
            self.events[previous].next = next;
            self.events[next].previous = previous;
        }
    }

    /// Puts it back. Only in the reverse order of [`Self::lift`].
    fn unlift(&mut self, begin: usize) {
        let operation = self.events[begin].operation;
        self.placed ^= mix(operation as u64, 0);
        self.required += usize::from(self.intervals[operation].end.is_some());
        for event in [self.places[operation].1, begin] {
            let Event { previous, next, .. } = self.events[event];
            self.events[previous].next = event;
            self.events[next].previous = event;
        }
    }
}

/// A number that stands for a member of a set: sets are told apart by the exclusive or of their members'.
fn mix(value: u64, kind: u64) -> u128 {
    // SplitMix64, twice with other constants.
    let scramble = |seed: u64| {
        let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    let low = scramble(value.wrapping_mul(2).wrapping_add(kind));
    let high = scramble(low ^ 0xD6E8_FEB8_6659_FD93);
    u128::from(high) << 64 | u128::from(low)
}
