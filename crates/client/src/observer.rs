//! A look over the client's shoulder.

use std::fmt;

use leasehold_proto::v1::{answer::Answer, operation::Operation};

/// Hears of every operation that a client sends and every answer that reaches it: resends, renewals and errands in the
/// background too. For tests and traces. Called in the sending and receiving tasks: must be quick and never block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// An operation is about to be sent. The number comes back with its answer.
    fn sent(&self, operation: &Operation) -> u64;
    /// It was answered; a watch is, many times. One whose caller has gone, or whose stream broke, never is.
    fn answered(&self, number: u64, answer: &Answer);
}
