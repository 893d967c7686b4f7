//! One live `Connect` stream to one node: operations out, answers back in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::{self, ConnectResponse, GetRequest, Operation, WatchRequest, operation};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::observer::Observer;
use crate::subscription::Subscription;

/// Operations under way on one stream.
pub(crate) const PENDING_MAX: usize = 65_536;
/// Watches under way on one stream.
const WATCHERS_MAX: usize = 4_096;
/// Unread answers of one watch.
const WATCH_ANSWERS_MAX: usize = 1_024;
/// The operation id of pings; calls count from 1.
const PING_ID: u64 = 0;

/// Why a call got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It was never handed to the stream.
    NotSent,
    /// The stream ended first: the fate of the operation is unknown.
    Ended,
}

/// The sending side of a stream, shared by all callers.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Which endpoint it leads to.
    pub(crate) endpoint: usize,
    outbound: mpsc::Sender<Operation>,
    pending: Mutex<Pending>,
    /// Told when the first operation comes to be under way.
    busy: Notify,
    ended: CancellationToken,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Debug, Default)]
struct Pending {
    last_id: u64,
    callers: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Of watches, which are answered many times.
    watchers: BTreeMap<u64, mpsc::Sender<Answer>>,
    ended: bool,
}

impl Pending {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Stream {
    /// The stream, and what it sends.
    pub(crate) fn new(endpoint: usize, observer: Option<Arc<dyn Observer>>) -> (Self, mpsc::Receiver<Operation>) {
        // Room for a ping beside all calls.
        let (outbound, operations) = mpsc::channel(PENDING_MAX + 1);
        let stream = Self {
            endpoint,
            outbound,
            pending: Mutex::default(),
            busy: Notify::new(),
            ended: CancellationToken::new(),
            observer,
        };
        (stream, operations)
    }

    /// Sends one operation and waits for its answer as long as the stream lives. Dropping the future forgets the answer.
    pub(crate) async fn call(&self, operation: operation::Operation, timeout_ms: u64) -> Result<Answer, Broken> {
        let (id, answer) = self.register().ok_or(Broken::NotSent)?;
        let _forget = Forget { stream: self, id };
        let seen = self.observer.as_ref().map(|observer| (observer, observer.sent(&operation)));
        let operation = Operation { id, timeout_ms, operation: Some(operation) };
        self.outbound.try_send(operation).map_err(|_| Broken::NotSent)?;
        let answer = answer.await.map_err(|_| Broken::Ended)?;
        if let Some((observer, number)) = seen {
            observer.answered(number, &answer);
        }
        Ok(answer)
    }

    fn register(&self) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let (sender, answer) = oneshot::channel();
        let mut pending = self.pending.lock();
        if pending.ended || pending.callers.len() >= PENDING_MAX {
            return None;
        }
        if pending.callers.is_empty() {
            self.busy.notify_one();
        }
        let id = pending.next_id();
        pending.callers.insert(id, sender);
        Some((id, answer))
    }

    /// Sends a watch. What it is answered comes out of the subscription, until the stream ends or its reader falls behind.
    pub(crate) fn subscribe(self: &Arc<Self>, watch: WatchRequest) -> Result<Subscription, Broken> {
        let (sender, answers) = mpsc::channel(WATCH_ANSWERS_MAX);
        let id = {
            let mut pending = self.pending.lock();
            if pending.ended || pending.watchers.len() >= WATCHERS_MAX {
                return Err(Broken::NotSent);
            }
            let id = pending.next_id();
            pending.watchers.insert(id, sender);
            id
        };
        let operation = operation::Operation::Watch(watch);
        let observed = self.observer.as_ref().map(|observer| (observer.clone(), observer.sent(&operation)));
        let subscription = Subscription::new(self.clone(), id, answers, observed);
        let operation = Operation { id, timeout_ms: 0, operation: Some(operation) };
        self.outbound.try_send(operation).map_err(|_| Broken::NotSent)?;
        Ok(subscription)
    }

    /// Ends a watch on the node, if it is still under way here.
    pub(crate) fn unsubscribe(&self, id: u64) {
        let mut pending = self.pending.lock();
        if pending.watchers.remove(&id).is_none() {
            return;
        }
        let stop = operation::Operation::StopWatch(id);
        let stop = Operation { id: pending.next_id(), timeout_ms: 0, operation: Some(stop) };
        drop(pending);
        // With a full queue the watch goes on unheard, until the stream ends.
        let _ = self.outbound.try_send(stop);
    }

    /// Hands the answers of one frame to their callers.
    pub(crate) fn deliver(&self, frame: ConnectResponse) {
        let mut behind = Vec::new();
        let mut pending = self.pending.lock();
        for v1::Answer { id, answer } in frame.answers {
            let Some(body) = answer else { continue };
            if let Some(caller) = pending.callers.remove(&id) {
                // A caller that has gone needs no answer.
                let _ = caller.send(body);
            } else if let Some(watcher) = pending.watchers.get(&id) {
                let is_last = matches!(body, Answer::Error(_));
                if watcher.try_send(body).is_err() {
                    behind.push(id);
                } else if is_last {
                    pending.watchers.remove(&id);
                }
            }
        }
        drop(pending);
        // A reader that fell behind resumes from what it has read; nobody waits for it here.
        for id in behind {
            self.unsubscribe(id);
        }
    }

    /// Asks the node for a sign of life: a read that it answers from memory.
    pub(crate) fn ping(&self) {
        let read = GetRequest { namespace: String::new(), name: "-".to_owned(), stale: true };
        let get = operation::Operation::Get(read);
        // A full queue means that enough is on its way to be answered.
        let _ = self.outbound.try_send(Operation { id: PING_ID, timeout_ms: 0, operation: Some(get) });
    }

    /// Whether an answer is due. Watches may be silent for long.
    pub(crate) fn is_busy(&self) -> bool {
        !self.pending.lock().callers.is_empty()
    }

    /// Waits for an idle stream to get work. May wake up once too often.
    pub(crate) async fn becomes_busy(&self) {
        self.busy.notified().await;
    }

    /// Ends the stream: every caller hears of it, nothing more is taken.
    pub(crate) fn end(&self) {
        let waiting = {
            let mut pending = self.pending.lock();
            pending.ended = true;
            (std::mem::take(&mut pending.callers), std::mem::take(&mut pending.watchers))
        };
        self.ended.cancel();
        drop(waiting);
    }

    /// Waits for [`Stream::end`].
    pub(crate) async fn has_ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Takes a call off the list, whatever ended it.
struct Forget<'a> {
    stream: &'a Stream,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.stream.pending.lock().callers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> operation::Operation {
        operation::Operation::Get(GetRequest::default())
    }

    fn answer_to(id: u64) -> ConnectResponse {
        let answer = v1::Answer { id, answer: Some(Answer::Get(v1::GetResponse::default())) };
        ConnectResponse { answers: vec![answer] }
    }

    #[tokio::test]
    async fn answers_find_their_callers_in_any_order() {
        let (stream, mut sent) = Stream::new(0, None);
        let answering = async {
            let first = sent.recv().await.unwrap();
            let second = sent.recv().await.unwrap();
            stream.deliver(answer_to(second.id));
            stream.deliver(answer_to(first.id));
            stream.deliver(answer_to(99));
        };
        let (one, two, ()) = tokio::join!(stream.call(get(), 1), stream.call(get(), 1), answering);
        assert!(one.is_ok() && two.is_ok());
        assert!(!stream.is_busy());
    }

    #[tokio::test]
    async fn the_end_reaches_every_caller_and_refuses_new_ones() {
        let (stream, mut sent) = Stream::new(0, None);
        let ending = async {
            sent.recv().await.unwrap();
            stream.end();
        };
        let (answer, ()) = tokio::join!(stream.call(get(), 1), ending);
        assert_eq!(answer, Err(Broken::Ended));
        assert_eq!(stream.call(get(), 1).await, Err(Broken::NotSent));
    }

    #[tokio::test]
    async fn a_watch_is_answered_many_times_and_stopped_when_dropped() {
        let (stream, mut sent) = Stream::new(0, None);
        let stream = Arc::new(stream);
        let mut subscription = stream.subscribe(WatchRequest::default()).unwrap();
        let id = sent.recv().await.unwrap().id;
        for _ in 0..3 {
            stream.deliver(answer_to(id));
            assert!(subscription.next().await.is_some());
        }
        assert!(!stream.is_busy(), "nobody waits for what a watch says next");
        drop(subscription);
        assert_eq!(sent.recv().await.unwrap().operation, Some(operation::Operation::StopWatch(id)));
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_cut_off_after_what_it_has() {
        let (stream, mut sent) = Stream::new(0, None);
        let stream = Arc::new(stream);
        let mut subscription = stream.subscribe(WatchRequest::default()).unwrap();
        let id = sent.recv().await.unwrap().id;
        for _ in 0..=WATCH_ANSWERS_MAX {
            stream.deliver(answer_to(id));
        }
        assert_eq!(sent.recv().await.unwrap().operation, Some(operation::Operation::StopWatch(id)));
        for _ in 0..WATCH_ANSWERS_MAX {
            assert!(subscription.next().await.is_some());
        }
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn a_dropped_call_is_forgotten() {
        let (stream, mut sent) = Stream::new(0, None);
        tokio::select! {
            _ = stream.call(get(), 1) => panic!("nobody answers"),
            _ = sent.recv() => {}
        }
        assert!(!stream.is_busy());
    }
}
