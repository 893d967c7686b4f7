//! What the instruction counts (`crates/instructions`) go through in this crate: from the bytes of a request to an operation, and from an
//! outcome to the bytes of an answer.
//!
//! There for builds with the feature `counted` alone: nothing of it is in the product.

use bytes::Bytes;
use leasehold_proto::v1;
use leasehold_state_machine::{Limits, Operation, Outcome};
use prost::Message as _;

use crate::{convert, validate};

/// A checked acquire that names its request id, as [`crate::Frontend`] makes it of an `AcquireRequest`.
///
/// # Panics
/// When the bytes are no such request, or it is refused.
#[must_use]
pub fn acquire(bytes: Bytes, limits: &Limits) -> Operation {
    let mut message = v1::AcquireRequest::decode(bytes).expect("a message that was just encoded");
    let namespace = validate::namespace(std::mem::take(&mut message.namespace)).expect("a valid namespace");
    let id = message.request_id.expect("a request with an id");
    let (request, lowest) = (validate::request_id(id).expect("a valid id"), message.lowest_unanswered);
    Operation::Acquire(validate::acquire(message, namespace, request, lowest, limits).expect("a valid request"))
}

/// The answer to an acquire that was granted or refused, encoded.
///
/// # Panics
/// At other outcomes.
#[must_use]
pub fn answer(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Granted(granted) => convert::granted(granted).encode_to_vec(),
        Outcome::Held(held) => convert::held(held).encode_to_vec(),
        other => panic!("granted or held was expected, not {other:?}"),
    }
}
