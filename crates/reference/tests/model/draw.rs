//! Draws random logs.

use leasehold_state_machine::Limits;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::steps::{
    ACTORS, Acquire, CLIENTS, Entry, Exact, Lease, LeaseRequest, Log, Mode, NAMES, NAMESPACES, RenewLease, SESSIONS,
    Stamp, Step, Then, Time, Token,
};

/// Entries of one log.
const ENTRIES: usize = 100;

pub fn log() -> impl Strategy<Value = Log> {
    let pace = prop_oneof![Just(1u64), Just(4), Just(20)];
    prop_oneof![
        6 => log_of(any::<bool>(), pace, Just(false), step()),
        // A crowd needs time to gather.
        4 => log_of(Just(false), Just(20u64), Just(true), prop_oneof![5 => step(), 4 => circle_step()]),
    ]
}

fn log_of(
    tight: impl Strategy<Value = bool>,
    pace: impl Strategy<Value = u64>,
    crowd: impl Strategy<Value = bool>,
    step: impl Strategy<Value = Step>,
) -> impl Strategy<Value = Log> {
    let level = prop_oneof![14 => Just(2u32), 1 => Just(1u32)];
    (tight, pace, level, crowd, prop::collection::vec(entry(step), 1..ENTRIES))
        .prop_map(|(tight, pace, level, crowd, entries)| Log { tight, pace, level, crowd, entries })
}

/// One lock, a session, an actor, a long wait: what circles of waits are made of.
fn circle_step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![3 => Just(Mode::Exclusive), 1 => Just(Mode::Shared)];
    (client(), 0..NAMES.len(), mode, any::<Index>(), 0..ACTORS.len(), 1_000..2_000u64).prop_map(
        |(client, name, mode, open, actor, wait_ms)| {
            Step::Acquire(Acquire {
                client,
                namespace: 0,
                locks: vec![(name, mode)],
                lease: LeaseRequest::Session { open, session: SESSIONS, owner: false },
                wait_ms: Some(wait_ms),
                lowest: 0,
                actor: Some(actor),
                delay_ms: 0,
                value: 0,
                flaw: None,
            })
        },
    )
}

fn entry(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Entry> {
    let time = prop_oneof![
        12 => (0..200i64).prop_map(Time::Passes),
        4 => (200..1_500i64).prop_map(Time::Passes),
        2 => (-500..0i64).prop_map(Time::Passes),
        1 => (10_000..70_000i64).prop_map(Time::Passes),
        4 => (-1..=1i64).prop_map(Time::Deadline),
    ];
    let stamp = prop_oneof![30 => Just(Stamp::Leader), 1 => Just(Stamp::NewLeader), 2 => Just(Stamp::Deposed)];
    let not_after = prop_oneof![5 => Just(None), 1 => (-500..62_000i64).prop_map(Some)];
    let then = prop_oneof![
        400 => Just(Then::Nothing),
        50 => Just(Then::Checkpoint),
        20 => Just(Then::Replay),
        20 => Just(Then::Restore),
        1 => Just(Then::Snapshot),
    ];
    (time, stamp, not_after, prop::collection::vec(step, 0..7), then)
        .prop_map(|(time, stamp, not_after, steps, then)| Entry { time, stamp, not_after, steps, then })
}

fn step() -> impl Strategy<Value = Step> {
    let flaw = || prop_oneof![30 => Just(None), 1 => any::<Index>().prop_map(Some)];
    let convert = (client(), token(), wrong_mode(), wait_ms(), lowest(), actor(), flaw()).prop_map(
        |(client, token, wrong_mode, wait_ms, lowest, actor, flaw)| Step::Convert {
            client,
            token,
            wrong_mode,
            wait_ms,
            lowest,
            actor,
            flaw,
        },
    );
    let later_wait = prop_oneof![Just(None), wait_ms().prop_map(Some)];
    let later =
        (0..10usize, prop_oneof![1 => Just(-1i32), 10 => 0..3i32], later_wait, lowest(), prop::bool::weighted(0.05))
            .prop_map(|(back, more, wait_ms, lowest, change_body)| Step::Later {
                back,
                more,
                wait_ms,
                lowest,
                change_body,
            });
    let release = (
        prop_oneof![8 => prop::collection::vec(token(), 1), 2 => prop::collection::vec(token(), 1..4)],
        any::<bool>(),
        flaw(),
    )
        .prop_map(|(tokens, all_or_nothing, flaw)| Step::Release { tokens, all_or_nothing, flaw });
    let renew = (prop::collection::vec(renew_lease(), 0..4), prop::bool::weighted(0.3))
        .prop_map(|(leases, all_or_nothing)| Step::Renew { leases, all_or_nothing });
    let open =
        (0..SESSIONS, namespace(), ttl_ms(), 0..8u64, flaw()).prop_map(|(session, namespace, ttl_ms, owner, flaw)| {
            Step::Open { session, namespace, ttl_ms, owner: owner / 7, flaw }
        });
    let set_value = (token(), prop_oneof![6 => Just(0i64), 1 => -1..3i64], 0..3u8, flaw())
        .prop_map(|(token, version, value, flaw)| Step::SetValue { token, version, value, flaw });
    prop_oneof![
        30 => acquire().prop_map(Step::Acquire),
        9 => convert,
        5 => (0..12usize).prop_map(|back| Step::Again { back }),
        7 => later,
        6 => (0..8usize, prop_oneof![99 => 1..4u32, 1 => Just(0u32)]).prop_map(|(back, attempt)| Step::Cancel { back, attempt }),
        1 => (client(), 0..4u64, 1..4u32)
            .prop_map(|(client, ahead, attempt)| Step::CancelUnknown { client, ahead, attempt }),
        11 => release,
        6 => renew,
        2 => lease().prop_map(|lease| Step::Close { lease }),
        5 => open,
        3 => set_value,
        3 => (token(), flaw()).prop_map(|(token, flaw)| Step::Force { token, flaw }),
        1 => (prop::option::of(0..NAMESPACES.len()), limits(), flaw())
            .prop_map(|(namespace, limits, flaw)| Step::Limits { namespace, limits, flaw }),
        1 => (1..4u32).prop_map(|level| Step::Level { level }),
        1 => Just(Step::Found),
        1 => Just(Step::Tick),
    ]
}

fn acquire() -> impl Strategy<Value = Acquire> {
    let one = || (0..NAMES.len(), mode());
    let locks = prop_oneof![
        5 => prop::collection::vec(one(), 1),
        2 => prop::collection::vec(one(), 2..4),
        1 => mode().prop_map(|mode| vec![(0, mode), (1, mode), (2, mode)]),
        1 => mode().prop_map(|mode| vec![(3, mode), (1, mode)]),
    ];
    let lease = prop_oneof![
        3 => ttl_ms().prop_map(|ttl_ms| LeaseRequest::Own { ttl_ms }),
        5 => (any::<Index>(), 0..SESSIONS * 8, prop::bool::weighted(0.9))
            .prop_map(|(open, session, owner)| LeaseRequest::Session { open, session, owner }),
    ];
    let delay_ms = prop_oneof![5 => Just(0u64), 1 => 1..400u64];
    let value = prop_oneof![8 => Just(0u8), 1 => 1..3u8];
    let flaw = prop_oneof![30 => Just(None), 1 => any::<Index>().prop_map(Some)];
    ((client(), namespace(), locks, lease, wait_ms()), (lowest(), actor(), delay_ms, value, flaw)).prop_map(
        |((client, namespace, locks, lease, wait_ms), (lowest, actor, delay_ms, value, flaw))| Acquire {
            client,
            namespace,
            locks,
            lease,
            wait_ms,
            lowest,
            actor,
            delay_ms,
            value,
            flaw,
        },
    )
}

/// The last one is rare: tight bounds have no room for it.
fn client() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..CLIENTS - 1, 1 => Just(CLIENTS - 1)]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Exclusive),
        5 => Just(Mode::Shared),
        3 => (1..=3u32, Just(3u32)).prop_map(|(permits, limit)| Mode::Permits(permits, limit)),
        1 => (1..=2u32, Just(2u32)).prop_map(|(permits, limit)| Mode::Permits(permits, limit)),
    ]
}

fn wrong_mode() -> impl Strategy<Value = Option<Mode>> {
    prop_oneof![20 => Just(None), 1 => mode().prop_map(Some)]
}

/// None: a try.
fn wait_ms() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![6 => Just(None), 24 => (1..2_000u64).prop_map(Some)]
}

fn ttl_ms() -> impl Strategy<Value = u64> {
    prop_oneof![50 => 100..3_000u64, 2 => Just(80_000u64)]
}

fn namespace() -> impl Strategy<Value = usize> {
    prop_oneof![12 => Just(0usize), 1 => Just(1usize)]
}

fn actor() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.7, 0..ACTORS.len())
}

/// How far the lowest unanswered counter is behind the request's own; 0: the client says nothing.
fn lowest() -> impl Strategy<Value = u64> {
    prop_oneof![40 => Just(0u64), 40 => 1..6u64]
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        30 => any::<Index>().prop_map(Token::Held),
        4 => (0..8u64).prop_map(Token::Back),
        1 => any::<Index>().prop_map(Token::OfAnother),
    ]
}

fn lease() -> impl Strategy<Value = Lease> {
    prop_oneof![
        4 => any::<Index>().prop_map(Lease::Live),
        1 => (0..6u64).prop_map(Lease::Back),
        2 => (0..SESSIONS).prop_map(Lease::Session),
    ]
}

fn renew_lease() -> impl Strategy<Value = RenewLease> {
    let ttl_ms = prop_oneof![3 => Just(None), 3 => ttl_ms().prop_map(Some), 1 => (1..150u64).prop_map(Some)];
    let exact = prop_oneof![
        4 => Just(Exact::No),
        2 => any::<Index>().prop_map(Exact::Own),
        1 => token().prop_map(Exact::Other),
    ];
    (lease(), ttl_ms, exact).prop_map(|(lease, ttl_ms, exact)| RenewLease { lease, ttl_ms, exact })
}

/// What the cluster is founded with.
pub fn founding_limits() -> Limits {
    Limits {
        leases_max: 7,
        waiters_per_lock_max: 3,
        locks_per_lease_max: 4,
        locks_per_acquire_max: 3,
        name_bytes_max: 2,
        owner_bytes_max: 10,
        metadata_bytes_max: 5,
        wait_ms_max: 2_000,
        actor_bytes_max: 3,
        lock_delay_ms_max: 400,
        value_bytes_max: 3,
        reason_bytes_max: 8,
        ..Limits::default()
    }
}

/// The same with room for a crowd.
pub fn roomy_limits() -> Limits {
    Limits { leases_max: 30, waiters_per_lock_max: 10, locks_per_lease_max: 12, ..founding_limits() }
}

fn limits() -> impl Strategy<Value = Limits> {
    let most = 2..10u64;
    (50..200u64, 2_000..90_000u64, most, 1..5u32, (2..5u32, 2..7u32), (1..4u32, 300..500u64)).prop_map(
        |(ttl_ms_min, ttl_ms_max, leases_max, waiters_per_lock_max, locks, (name_bytes_max, lock_delay_ms_max))| {
            Limits {
                ttl_ms_min,
                ttl_ms_max,
                leases_max,
                waiters_per_lock_max,
                locks_per_acquire_max: locks.0,
                locks_per_lease_max: locks.1,
                name_bytes_max,
                lock_delay_ms_max,
                ..founding_limits()
            }
        },
    )
}
