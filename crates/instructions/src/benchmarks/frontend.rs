//! What the node that takes a call does with its message and its answer.

use std::hint::black_box;

use bytes::Bytes;
use leasehold_frontend::counted;
use leasehold_proto::v1;
use leasehold_state_machine::{Limits, Operation, Outcome};
use prost::Message as _;

use super::counted as count;
use super::log::{Log, lock};

const ROUNDS: u64 = 32;
const CALLERS: u64 = 128;
const TTL_MS: u64 = 30_000;

/// The message that asks for what [`lock`] asks for.
fn request(caller: u64) -> Bytes {
    let Operation::Acquire(acquire) = lock(caller, 1, TTL_MS) else { panic!("an acquire was expected") };
    let locks = acquire.locks.into_iter().map(|lock| v1::LockRequest { name: lock.name, ..Default::default() });
    let message = v1::AcquireRequest {
        namespace: acquire.namespace,
        locks: locks.collect(),
        owner: acquire.owner,
        ttl_ms: TTL_MS,
        request_id: Some(v1::RequestId { client: acquire.request.client, counter: acquire.request.counter }),
        attempt: acquire.attempt,
        lowest_unanswered: acquire.lowest_unanswered,
        ..Default::default()
    };
    Bytes::from(message.encode_to_vec())
}

/// Decoded and checked.
pub(super) fn acquire() -> u64 {
    let (requests, limits): (Vec<Bytes>, _) = ((0..CALLERS).map(request).collect(), Limits::default());
    let made = counted::acquire(requests[0].clone(), &limits);
    assert_eq!(made, lock(0, 1, TTL_MS));
    for _ in 0..ROUNDS {
        count(|| requests.iter().for_each(|bytes| drop(black_box(counted::acquire(bytes.clone(), &limits)))));
    }
    ROUNDS * CALLERS
}

fn answers(outcomes: &[Outcome]) -> u64 {
    assert_eq!(outcomes.len() as u64, CALLERS);
    for _ in 0..ROUNDS {
        let outcomes = outcomes.to_vec();
        count(|| outcomes.into_iter().for_each(|outcome| drop(black_box(counted::answer(outcome)))));
    }
    ROUNDS * CALLERS
}

/// Translated and encoded.
pub(super) fn granted() -> u64 {
    answers(&Log::new().apply((0..CALLERS).map(|caller| lock(caller, 1, TTL_MS)).collect()).outcomes)
}

/// The same of a refusal, which names the holder.
pub(super) fn held() -> u64 {
    let mut log = Log::new();
    log.apply((0..CALLERS).map(|caller| lock(caller, 1, TTL_MS)).collect());
    // Another round is another request.
    answers(&log.apply((0..CALLERS).map(|caller| lock(caller, 2, TTL_MS)).collect()).outcomes)
}
