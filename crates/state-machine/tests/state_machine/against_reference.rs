//! Random logs through the state machine and the reference model: the same outcomes, events and views after every
//! entry, and a state machine that was rebuilt from its rows at random points goes on the same.
//!
//! `LEASEHOLD_PROPTEST_COMMANDS` sets how many commands a run has (100,000), `LEASEHOLD_PROPTEST_SEED` repeats one.

use std::collections::BTreeMap;

use leasehold_state_machine::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::reference::Model;

const COMMANDS_PER_LOG: usize = 200;
const CLIENTS: u64 = 4;
const NAMES: [&str; 6] = ["a", "b", "c", "dd", "", "long"];
const NAMESPACES: [&str; 3] = ["app", "other", ""];

/// One command, with picks that are resolved while the log runs, so that a shrunk log still makes sense.
#[derive(Debug, Clone)]
enum Step {
    Acquire {
        client: u64,
        names: Vec<usize>,
        namespace: usize,
        ttl_ms: u64,
        wait_ms: Option<u64>,
        lowest: u64,
    },
    /// The very same command as an earlier acquire.
    Again {
        back: usize,
    },
    /// The next attempt of an earlier acquire, perhaps with another wait or another body.
    Later {
        back: usize,
        more: u32,
        wait_ms: Option<Option<u64>>,
        lowest: u64,
        change_body: bool,
    },
    Cancel {
        back: usize,
        attempt: u32,
    },
    CancelUnknown {
        client: u64,
        ahead: u64,
        attempt: u32,
    },
    Release {
        back: u64,
        name: usize,
        right_name: bool,
    },
    Renew {
        back: Vec<u64>,
        ttl_ms: Option<u64>,
    },
    Close {
        back: u64,
    },
    Limits {
        namespace: Option<usize>,
        limits: Limits,
    },
    Level {
        level: u32,
    },
    Found,
    Tick,
}

#[derive(Debug, Clone)]
struct Entry {
    step_ms: i64,
    stamped_by_leader: bool,
    new_leader: bool,
    not_after: Option<i64>,
    steps: Vec<Step>,
    /// Take the changed rows after this entry.
    checkpoint: bool,
    /// Go on with a state machine rebuilt from rows.
    restore: bool,
}

fn wait_ms() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![6 => Just(None), 24 => (1..3_000u64).prop_map(Some), 1 => prop_oneof![Just(0), Just(99_999)].prop_map(Some)]
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop_oneof![99 => 0..4usize, 1 => 4..6usize];
    let names = prop_oneof![4 => prop::collection::vec(name(), 1), 2 => prop::collection::vec(name(), 2..4), 1 => Just(vec![0, 1, 2]), 1 => Just(vec![3, 1])];
    let namespace = || prop_oneof![50 => Just(0usize), 8 => Just(1usize), 1 => Just(2usize)];
    let ttl_ms = || prop_oneof![50 => 100..3_000u64, 1 => Just(5u64), 2 => Just(80_000u64)];
    let lowest = || prop_oneof![40 => Just(0u64), 40 => 1..6u64, 1 => Just(99u64)];
    let later_wait = prop_oneof![Just(None), wait_ms().prop_map(Some)];
    let acquire = (0..CLIENTS, names, namespace(), ttl_ms(), wait_ms(), lowest()).prop_map(
        |(client, names, namespace, ttl_ms, wait_ms, lowest)| Step::Acquire {
            client,
            names,
            namespace,
            ttl_ms,
            wait_ms,
            lowest,
        },
    );
    let later = (0..8usize, 0..3u32, later_wait, lowest(), prop::bool::weighted(0.05)).prop_map(
        |(back, more, wait_ms, lowest, change_body)| Step::Later { back, more, wait_ms, lowest, change_body },
    );
    let limits = (50..200u64, 1_000..90_000u64, 0..8u64, 0..4u32, 1..4u32, 1..5u32).prop_map(
        |(ttl_ms_min, ttl_ms_max, leases_max, waiters_per_lock_max, locks_per_acquire_max, name_bytes_max)| Limits {
            ttl_ms_min,
            ttl_ms_max,
            leases_max,
            waiters_per_lock_max,
            locks_per_acquire_max,
            name_bytes_max,
            wait_ms_max: 2_000,
            ..Limits::default()
        },
    );
    prop_oneof![
        24 => acquire,
        6 => (0..12usize).prop_map(|back| Step::Again { back }),
        8 => later,
        6 => (0..8usize, prop_oneof![9 => 1..4u32, 1 => Just(0u32)]).prop_map(|(back, attempt)| Step::Cancel { back, attempt }),
        1 => (0..CLIENTS, 0..4u64, 0..4u32)
            .prop_map(|(client, ahead, attempt)| Step::CancelUnknown { client, ahead, attempt }),
        10 => (0..6u64, name(), prop::bool::weighted(0.9))
            .prop_map(|(back, name, right_name)| Step::Release { back, name, right_name }),
        5 => (prop::collection::vec(1..6u64, 0..4), prop::option::of(ttl_ms()))
            .prop_map(|(back, ttl_ms)| Step::Renew { back, ttl_ms }),
        2 => (0..6u64).prop_map(|back| Step::Close { back }),
        1 => (prop::option::of(namespace()), limits).prop_map(|(namespace, limits)| Step::Limits { namespace, limits }),
        1 => (0..3u32).prop_map(|level| Step::Level { level }),
        1 => Just(Step::Found),
        1 => Just(Step::Tick),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let step_ms = prop_oneof![6 => 0..200i64, 3 => 200..1_500i64, 2 => -500..0i64, 1 => 10_000..70_000i64];
    let not_after = prop_oneof![4 => Just(None), 1 => (-500..62_000i64).prop_map(Some)];
    let flags =
        (prop::bool::weighted(0.9), prop::bool::weighted(0.03), prop::bool::weighted(0.1), prop::bool::weighted(0.05));
    (step_ms, not_after, flags, prop::collection::vec(step(), 0..5)).prop_map(
        |(step_ms, not_after, (stamped_by_leader, new_leader, checkpoint, restore), steps)| Entry {
            step_ms,
            stamped_by_leader,
            new_leader,
            not_after,
            steps,
            checkpoint,
            restore,
        },
    )
}

/// Tight bounds or not; how many times slower than drawn the time runs; the log.
fn script() -> impl Strategy<Value = (bool, i64, Vec<Entry>)> {
    (any::<bool>(), prop_oneof![Just(1), Just(5), Just(20)], prop::collection::vec(entry(), COMMANDS_PER_LOG / 2))
}

fn tight_bounds() -> Bounds {
    Bounds { expiries_per_entry_max: 2, instances_max: 3, requests_max: 12, losses_max: 3, limited_namespaces_max: 1 }
}

struct Run {
    machine: StateMachine,
    model: Model,
    bounds: Bounds,
    leader: LeaderStamp,
    index: u64,
    counters: [u64; CLIENTS as usize],
    acquires: Vec<Acquire>,
    /// What `take_changes` said so far.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    seen: Seen,
}

/// How often each answer and each event came: a comparison proves little about what never happened.
type Seen = BTreeMap<String, usize>;

impl Run {
    fn new(tight: bool) -> Self {
        let bounds = if tight { tight_bounds() } else { Bounds::default() };
        Self {
            machine: StateMachine::new().with_bounds(bounds),
            model: Model::new(bounds),
            bounds,
            leader: LeaderStamp { term: 1, node: 1 },
            index: 0,
            counters: [0; CLIENTS as usize],
            acquires: vec![],
            rows: BTreeMap::new(),
            seen: Seen::new(),
        }
    }

    fn earlier(&self, back: usize) -> Option<Acquire> {
        self.acquires.len().checked_sub(1 + back).map(|at| self.acquires[at].clone())
    }

    fn operation(&mut self, step: &Step) -> Operation {
        match step {
            Step::Acquire { client, names, namespace, ttl_ms, wait_ms, lowest } => {
                let counter = &mut self.counters[*client as usize];
                *counter += 1;
                let acquire = Acquire {
                    request: RequestId { client: *client, counter: *counter },
                    attempt: 1,
                    lowest_unanswered: lowest_of(*counter, *lowest),
                    namespace: NAMESPACES[*namespace].into(),
                    locks: names
                        .iter()
                        .map(|name| LockRequest { name: NAMES[*name].into(), mode: Mode::Exclusive })
                        .collect(),
                    owner: format!("owner {client}"),
                    metadata: String::new(),
                    lease: LeaseRequest::Own { ttl_ms: *ttl_ms },
                    wait: wait_ms.map_or(Wait::Try, |wait_ms| Wait::For { wait_ms }),
                };
                self.acquires.push(acquire.clone());
                Operation::Acquire(acquire)
            }
            Step::Again { back } => self.earlier(*back).map_or(Operation::Tick, Operation::Acquire),
            Step::Later { back, more, wait_ms, lowest, change_body } => {
                let Some(mut acquire) = self.earlier(*back) else { return Operation::Tick };
                acquire.attempt += more;
                acquire.lowest_unanswered = lowest_of(acquire.request.counter, *lowest);
                if let Some(wait_ms) = wait_ms {
                    acquire.wait = wait_ms.map_or(Wait::Try, |wait_ms| Wait::For { wait_ms });
                }
                if *change_body {
                    acquire.metadata.push('x');
                } else {
                    self.acquires.push(acquire.clone());
                }
                Operation::Acquire(acquire)
            }
            Step::Cancel { back, attempt } => {
                let Some(acquire) = self.earlier(*back) else { return Operation::Tick };
                Operation::CancelAcquire(CancelAcquire { request: acquire.request, attempt: *attempt })
            }
            Step::CancelUnknown { client, ahead, attempt } => {
                let counter = self.counters[*client as usize] + ahead;
                let request = RequestId { client: *client, counter };
                Operation::CancelAcquire(CancelAcquire { request, attempt: *attempt })
            }
            Step::Release { back, name, right_name } => {
                let token = FencingToken(self.model.next_token().saturating_sub(*back));
                let mut lock = (NAMESPACES[0].to_owned(), NAMES[*name].to_owned());
                if *right_name {
                    for namespace in NAMESPACES {
                        for view in self.machine.locks(namespace, "", None, 99) {
                            if view.holders[..].iter().any(|holder| holder.token == token) {
                                lock = (view.namespace, view.name);
                            }
                        }
                    }
                }
                Operation::Release(Release { namespace: lock.0, name: lock.1, token })
            }
            Step::Renew { back, ttl_ms } => {
                let lease = |back: &u64| LeaseId(u128::from(self.model.next_lease().saturating_sub(*back)));
                let leases = back.iter().map(|back| RenewLease { lease: lease(back), ttl_ms: *ttl_ms }).collect();
                Operation::Renew(Renew { leases })
            }
            Step::Close { back } => {
                let lease = LeaseId(u128::from(self.model.next_lease().saturating_sub(*back)));
                Operation::CloseLease(CloseLease { lease })
            }
            Step::Limits { namespace, limits } => {
                let namespace = namespace.map(|namespace| NAMESPACES[namespace].to_owned());
                Operation::SetLimits(SetLimits { namespace, limits: limits.clone() })
            }
            Step::Level { level } => Operation::SetLevel(SetLevel { level: *level }),
            Step::Found => {
                let limits = Limits { leases_max: 6, waiters_per_lock_max: 3, name_bytes_max: 2, ..Limits::default() };
                Operation::Found(Found { cluster: ClusterId(9), counter_start: 100, limits })
            }
            Step::Tick => Operation::Tick,
        }
    }

    fn entry(&mut self, entry: &Entry, pace: i64) {
        self.index += 1;
        if entry.new_leader {
            self.leader.term += 1;
        }
        let id = EntryId { leader: self.leader, index: self.index };
        let shift = |by: i64| LogTime(self.model.now.saturating_add_signed(by));
        let (at, not_after) = (shift(entry.step_ms / pace), entry.not_after.map(shift));
        let stamped_by = if entry.stamped_by_leader { self.leader } else { LeaderStamp { term: 0, node: 1 } };
        let commands: Vec<Command> = entry
            .steps
            .iter()
            .map(|step| Command { principal: None, not_after, operation: self.operation(step) })
            .collect();
        let batch = Batch { at, stamped_by, commands };
        let decoded = through_bytes(&batch);
        let found = self.machine.apply(id, &decoded);
        let expected = self.model.apply(id, &batch);
        let found = Effects { outcomes: found.outcomes.into_iter().map(without_text).collect(), ..found };
        assert_eq!(found, expected, "entry {id:?} {batch:?}");
        self.count(&found);
        self.compare_views();
        if entry.checkpoint {
            self.checkpoint();
        }
        if entry.restore {
            self.restore();
        }
    }

    fn count(&mut self, effects: &Effects) {
        for outcome in &effects.outcomes {
            let text = format!("{outcome:?}");
            let label = match outcome {
                Outcome::Granted(granted) => format!("Granted confirm={}", granted.confirm),
                Outcome::Refused(Refusal::Invalid { field, .. }) => format!("Invalid {field}"),
                Outcome::Refused(Refusal::LimitReached { limit, .. }) => format!("LimitReached {limit}"),
                Outcome::Refused(_) => text.split([' ', '{', ')']).next().unwrap_or_default().to_owned(),
                Outcome::Ended(ended) => format!("Ended {:?} granted={}", ended.reason, ended.token.is_some()),
                Outcome::Queued(_) | Outcome::Held(_) => text.split('(').next().unwrap_or_default().to_owned(),
                Outcome::Closed(closed) => format!("Closed {}", closed.closed),
                Outcome::Renewed(renewed) => {
                    let text = format!("{:?}", renewed.first());
                    format!("Renewed {}", text.split([' ', ',']).next().unwrap_or_default())
                }
                Outcome::Founded | Outcome::Done | Outcome::Cancelled(_) | Outcome::Released(_) => text,
            };
            *self.seen.entry(label).or_default() += 1;
        }
        for event in &effects.events {
            let label = match &event.kind {
                EventKind::Granted { granted, .. } => format!("event Granted confirm={}", granted.confirm),
                EventKind::Queued { attempt, .. } => format!("event Queued later={}", *attempt > 1),
                EventKind::WaitEnded { reason, .. } => format!("event WaitEnded {reason:?}"),
                EventKind::Lost { reason, .. } => format!("event Lost {reason:?}"),
                EventKind::LeaseEnded { reason, .. } => format!("event LeaseEnded {reason:?}"),
            };
            *self.seen.entry(label).or_default() += 1;
        }
    }

    fn compare_views(&self) {
        let (machine, model) = (&self.machine, &self.model);
        assert_eq!(machine.now().0, model.now);
        assert_eq!(machine.earliest_deadline(), model.earliest_deadline());
        for namespace in &NAMESPACES[..2] {
            let mut names = NAMES;
            names.sort_unstable();
            let expected: Vec<LockView> = names.iter().filter_map(|name| model.lock(namespace, name)).collect();
            let found: Vec<LockView> = names.iter().filter_map(|name| machine.lock(namespace, name)).collect();
            assert_eq!(found, expected);
            let busy: Vec<LockView> =
                expected.into_iter().filter(|lock| !lock.holders.is_empty() || !lock.waiters.is_empty()).collect();
            assert_eq!(machine.locks(namespace, "", None, 99), busy);
            let second: Vec<LockView> = busy.into_iter().filter(|lock| lock.name.as_str() > "a").take(1).collect();
            assert_eq!(machine.locks(namespace, "", Some("a"), 1), second);
        }
        for acquire in self.acquires.iter().rev().take(12) {
            assert_eq!(machine.request(acquire.request), model.request(acquire.request));
        }
        for lease in model.next_lease().saturating_sub(8)..=model.next_lease() {
            let lease = LeaseId(u128::from(lease));
            assert_eq!(machine.lease_left_ms(lease), model.lease_left_ms(lease));
        }
    }

    /// What the checkpoint would hold equals the rows of the whole.
    fn checkpoint(&mut self) {
        let changes = self.machine.take_changes();
        assert_eq!(changes.applied, self.machine.applied());
        assert!(changes.rows.windows(2).all(|pair| pair[0].key < pair[1].key), "in key order");
        for RowChange { key, value } in changes.rows {
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None => assert!(self.rows.remove(&key).is_some(), "a row that came and went is left out"),
            }
        }
        let rows: BTreeMap<_, _> = self.machine.rows().into_iter().collect();
        assert_eq!(self.rows, rows);
    }

    fn restore(&mut self) {
        let rows = self.machine.rows();
        let mut copy = StateMachine::from_rows(rows.clone()).expect("rows make a machine").with_bounds(self.bounds);
        assert_eq!(copy.rows(), rows);
        assert_eq!(copy.state_hash(), self.machine.state_hash());
        // A restored machine has nothing pending: its checkpoint is the rows it came from.
        self.rows = rows.into_iter().collect();
        self.machine = copy;
    }
}

fn lowest_of(counter: u64, distance: u64) -> u64 {
    match distance {
        0 => 0,
        99 => counter + 1,
        distance => counter.saturating_sub(distance - 1),
    }
}

fn without_text(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused(Refusal::Invalid { field, .. }) => {
            Outcome::Refused(Refusal::Invalid { field, problem: String::new() })
        }
        other => other,
    }
}

fn through_bytes(batch: &Batch) -> Batch {
    let commands: Vec<_> = batch.commands.iter().map(codec::encode_command).collect();
    let decoded = codec::decode_batch(&codec::encode_batch(batch.at, batch.stamped_by, &commands));
    let decoded = decoded.expect("what was encoded decodes");
    assert_eq!(decoded, *batch);
    decoded
}

fn run_log(tight: bool, pace: i64, entries: &[Entry]) -> Seen {
    let mut run = Run::new(tight);
    let found = Entry {
        step_ms: 0,
        stamped_by_leader: true,
        new_leader: false,
        not_after: None,
        steps: vec![Step::Tick, Step::Found],
        checkpoint: true,
        restore: false,
    };
    run.entry(&found, 1);
    entries.iter().for_each(|entry| run.entry(entry, pace));
    run.checkpoint();
    run.restore();
    run.seen
}

fn run_seed(seed: u64, commands: usize) -> Seen {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases = u32::try_from(commands.div_ceil(COMMANDS_PER_LOG)).unwrap() + 1;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let seen = std::cell::RefCell::new(Seen::new());
    let result = runner.run(&script(), |(tight, pace, entries)| {
        for (label, count) in run_log(tight, pace, &entries) {
            *seen.borrow_mut().entry(label).or_default() += count;
        }
        Ok(())
    });
    match result {
        Ok(()) => {
            let seen = seen.into_inner();
            let outcomes: usize = seen.iter().filter(|(label, _)| !label.starts_with("event")).map(|(_, n)| n).sum();
            println!("seed {seed}: {outcomes} commands agree");
            seen
        }
        Err(TestError::Fail(why, (tight, pace, entries))) => panic!(
            "the state machine and the reference model differ: {why}\ntight bounds: {tight}, pace: {pace}, entries: {entries:#?}\n\
             repeat with: LEASEHOLD_PROPTEST_SEED={seed} cargo test -p leasehold-state-machine --test state_machine \
             random_logs"
        ),
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// What a run of the usual length must have met.
const EXPECTED: &[&str] = &[
    "Cancelled(LeftQueue)",
    "Cancelled(NotFound)",
    "Cancelled(Superseded)",
    "Cancelled(UndidGrant)",
    "Closed false",
    "Closed true",
    "Ended Cancelled granted=false",
    "Ended Cancelled granted=true",
    "Ended Expired granted=false",
    "Ended Expired granted=true",
    "Ended LeaseClosed granted=true",
    "Ended Released granted=true",
    "Granted confirm=false",
    "Granted confirm=true",
    "Held",
    "Invalid attempt",
    "Invalid locks[1].name",
    "Invalid lowest_unanswered",
    "Invalid namespace",
    "Invalid ttl_ms",
    "Invalid wait_ms",
    "LimitReached instances_max",
    "LimitReached leases_max",
    "LimitReached limited_namespaces_max",
    "LimitReached requests_max",
    "LimitReached waiters_per_lock_max",
    "Queued",
    "Refused(AlreadyAnswered",
    "Refused(BodyMismatch",
    "Refused(Level",
    "Refused(NotFounded",
    "Refused(Superseded",
    "Refused(TooLate",
    "Refused(WrongToken",
    "Released(Released { released: false, reason: None })",
    "Released(Released { released: false, reason: Some(Cancelled) })",
    "Released(Released { released: false, reason: Some(Expired) })",
    "Released(Released { released: true, reason: None })",
    "Renewed Some(Alive",
    "Renewed Some(Gone",
    "Renewed Some(TtlOutOfRange",
    "event Granted confirm=true",
    "event Lost Expired",
    "event Queued later=true",
    "event WaitEnded Cancelled",
    "event WaitEnded Expired",
];

#[test]
fn random_logs_agree_with_the_reference_model() {
    let commands = environment("LEASEHOLD_PROPTEST_COMMANDS").unwrap_or(100_000) as usize;
    let seed = environment("LEASEHOLD_PROPTEST_SEED").unwrap_or_else(rand::random);
    let seen = run_seed(seed, commands);
    println!("{seen:#?}");
    if commands >= 100_000 {
        let unseen: Vec<&&str> = EXPECTED.iter().filter(|label| !seen.contains_key(**label)).collect();
        assert!(unseen.is_empty(), "never happened: {unseen:?}");
    }
}

/// Paste the seed of a failed run here, with what it found.
#[test]
fn fixed_seeds_agree_with_the_reference_model() {
    for seed in [1, 2, 3] {
        run_seed(seed, 2_000);
    }
}
