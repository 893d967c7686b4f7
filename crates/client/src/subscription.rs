//! One watch on a live stream: an operation with many answers.

use std::sync::Arc;

use leasehold_proto::v1::answer::Answer;
use tokio::sync::mpsc;

use crate::observer::Observer;
use crate::stream::Stream;

/// The answers to one watch. Dropped, it ends the watch.
#[derive(Debug)]
pub(crate) struct Subscription {
    stream: Arc<Stream>,
    id: u64,
    answers: mpsc::Receiver<Answer>,
    observed: Option<(Arc<dyn Observer>, u64)>,
}

impl Subscription {
    pub(crate) fn new(
        stream: Arc<Stream>,
        id: u64,
        answers: mpsc::Receiver<Answer>,
        observed: Option<(Arc<dyn Observer>, u64)>,
    ) -> Self {
        Self { stream, id, answers, observed }
    }

    /// The next answer; `None` once the stream has ended or this reader has fallen behind. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        let answer = self.answers.recv().await?;
        if let Some((observer, number)) = &self.observed {
            observer.answered(*number, &answer);
        }
        Some(answer)
    }

    /// Which endpoint it comes from.
    pub(crate) fn endpoint(&self) -> usize {
        self.stream.endpoint
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.unsubscribe(self.id);
    }
}
