//! The bidirectional stream: operations come in, answers go out as they finish, many to a message.
//!
//! One task serves one stream. It must go on polling what it works on even when the client does not read, so it is not the
//! response body itself. What bounds it: short operations and unsent answers stop it from reading; waiting acquires are
//! counted apart and refused past their bound, so that keep-alives still get through. Watches (`connect/watches.rs`) have at
//! most a few messages in all that wait to be sent, behind the answers: they go on only as the client reads.

mod watches;

use std::collections::{BTreeSet, VecDeque};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use leasehold_consensus::runtime;
use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer as Body;
use leasehold_proto::v1::operation::Operation as Asked;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::watches::{News, Watches};
use crate::calls::{self, CallTime, Calls, CancelGuard};
use crate::metrics::{Call, Door};
use crate::{CallError, status};

/// Messages between the stream's task and the connection.
const MESSAGES_QUEUED_MAX: usize = 1;
/// A message of answers is sent once it is this long.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What goes back to the client.
pub(crate) type Answers = ReceiverStream<Result<v1::ConnectResponse, Status>>;

/// Serves one stream until it ends, breaks, or `stop`.
pub(crate) fn serve<R>(calls: Arc<Calls>, requests: R, stop: CancellationToken) -> Answers
where
    R: Stream<Item = Result<v1::ConnectRequest, Status>> + Send + Unpin + 'static,
{
    let (sender, answers) = mpsc::channel(MESSAGES_QUEUED_MAX);
    runtime::spawn(Conversation::new(calls).run(requests, sender, stop));
    ReceiverStream::new(answers)
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A finished operation whose answer has not been handed out: until then a broken stream cancels what it tells.
struct Done {
    answer: v1::Answer,
    guard: Option<CancelGuard>,
    waited: bool,
    /// The id is another operation's.
    foreign_id: bool,
}

struct Conversation {
    calls: Arc<Calls>,
    work: FuturesUnordered<Work>,
    /// Acquires among `work` that may wait.
    waits: usize,
    /// Operations that were read and not begun.
    unbegun: VecDeque<v1::Operation>,
    ready: VecDeque<Done>,
    watches: Watches,
    /// Ids of all that is unanswered.
    ids: BTreeSet<u64>,
}

impl Conversation {
    fn new(calls: Arc<Calls>) -> Self {
        Self {
            calls,
            work: FuturesUnordered::new(),
            waits: 0,
            unbegun: VecDeque::new(),
            ready: VecDeque::new(),
            watches: Watches::default(),
            ids: BTreeSet::new(),
        }
    }

    async fn run<R>(
        mut self,
        mut requests: R,
        sender: mpsc::Sender<Result<v1::ConnectResponse, Status>>,
        stop: CancellationToken,
    ) where
        R: Stream<Item = Result<v1::ConnectRequest, Status>> + Send + Unpin,
    {
        let mut gone = pin!(sender.closed());
        let mut stopped = pin!(stop.cancelled());
        let mut reading = true;
        while reading || !self.is_idle() {
            self.begin();
            tokio::select! {
                biased;
                () = &mut gone => return,
                permit = sender.reserve(), if !self.ready.is_empty() || self.watches.has_news() => match permit {
                    Ok(permit) => permit.send(Ok(self.hand_out())),
                    Err(_) => return,
                },
                Some(done) = self.work.next() => self.finished(done),
                () = self.watches.hear(), if self.watches.may_hear() => {}
                request = requests.next(), if reading && self.has_room() => match request {
                    Some(Ok(request)) => self.unbegun.extend(request.operations),
                    Some(Err(error)) => {
                        // Broken, or not ours: what it asked for is cancelled.
                        let _unread = sender.try_send(Err(error));
                        return;
                    }
                    None => reading = false,
                },
                () = &mut stopped, if reading => reading = false,
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.work.is_empty() && self.ready.is_empty() && self.unbegun.is_empty() && self.watches.is_empty()
    }

    fn has_room(&self) -> bool {
        let short = self.work.len() - self.waits;
        self.unbegun.is_empty() && short + self.ready.len() < self.calls.options().stream_operations_max
    }

    /// Begins what there is room for.
    fn begin(&mut self) {
        let max = self.calls.options().stream_operations_max;
        while self.work.len() - self.waits + self.ready.len() < max {
            let Some(operation) = self.unbegun.pop_front() else { return };
            self.begin_one(operation);
        }
    }

    fn begin_one(&mut self, operation: v1::Operation) {
        let id = operation.id;
        if let Some(Asked::StopWatch(watch)) = operation.operation {
            return self.stop_watch(watch);
        }
        if !self.ids.insert(id) {
            self.refuse(id, &CallError::DuplicateOperation { id });
            self.ready.back_mut().into_iter().for_each(|refused| refused.foreign_id = true);
            return;
        }
        let Some(asked) = operation.operation else {
            return self.refuse(id, &CallError::invalid("operation", "is missing"));
        };
        let waits = matches!(&asked, Asked::Acquire(acquire) if acquire.wait_ms.is_some());
        let options = self.calls.options();
        if waits && self.waits >= options.stream_waits_max {
            let max = options.stream_waits_max;
            return self.refuse(id, &CallError::LimitReached { limit: "stream_waits_max", max });
        }
        // A wait has its own bound.
        let granted = (operation.timeout_ms != 0 && !waits).then(|| Duration::from_millis(operation.timeout_ms));
        let time = CallTime::begin(granted, options);
        let calls = Arc::clone(&self.calls);
        if let Asked::Watch(message) = asked {
            if self.watches.len() >= options.stream_watches_max {
                let max = options.stream_watches_max;
                return self.refuse(id, &CallError::LimitReached { limit: "stream_watches_max", max });
            }
            return self.watches.begin(id, calls, message, time);
        }
        self.waits += usize::from(waits);
        self.work.push(Box::pin(async move {
            let (body, guard) = perform(&calls, asked, time).await.unwrap_or_else(|error| (refusal(&error), None));
            Done { answer: v1::Answer { id, answer: Some(body) }, guard, waited: waits, foreign_id: false }
        }));
    }

    /// Ends a watch, and says so under its id. Of anything else nothing is said.
    fn stop_watch(&mut self, watch: u64) {
        if self.watches.stop(watch) {
            self.refuse(watch, &CallError::WatchStopped);
        }
    }

    fn refuse(&mut self, id: u64, error: &CallError) {
        let answer = v1::Answer { id, answer: Some(refusal(error)) };
        self.ready.push_back(Done { answer, guard: None, waited: false, foreign_id: false });
    }

    /// Takes what has finished, and what else has by now.
    fn finished(&mut self, first: Done) {
        let mut next = Some(first);
        while let Some(done) = next {
            self.waits -= usize::from(done.waited);
            self.ready.push_back(done);
            next = self.work.next().now_or_never().flatten();
        }
    }

    /// The next message: as many answers as are ready and fit, and some news, which must not wait for ever either.
    fn hand_out(&mut self) -> v1::ConnectResponse {
        let mut answers = Vec::with_capacity(self.ready.len() + 1);
        let mut bytes = 0;
        if let Some(news) = self.watches.take_news() {
            bytes += self.tell(news, &mut answers);
        }
        while bytes < MESSAGE_BYTES_MAX
            && let Some(done) = self.ready.pop_front()
        {
            if let Some(guard) = done.guard {
                guard.disarm();
            }
            if !done.foreign_id {
                self.ids.remove(&done.answer.id);
            }
            bytes += done.answer.encoded_len();
            answers.push(done.answer);
        }
        while bytes < MESSAGE_BYTES_MAX
            && let Some(news) = self.watches.take_news()
        {
            bytes += self.tell(news, &mut answers);
        }
        v1::ConnectResponse { answers }
    }
}

impl Conversation {
    /// Hands out one message of a watch; its size.
    fn tell(&mut self, news: News, answers: &mut Vec<v1::Answer>) -> usize {
        let News { id, message, watcher } = news;
        let body = message.map_or_else(|error| refusal(&error), Body::Watch);
        match watcher {
            Some(watcher) => self.watches.go_on(id, watcher),
            None => drop(self.ids.remove(&id)),
        }
        let answer = v1::Answer { id, answer: Some(body) };
        let bytes = answer.encoded_len();
        answers.push(answer);
        bytes
    }
}

fn refusal(error: &CallError) -> Body {
    Body::Error(status::answer(error))
}

/// What an operation is counted as.
fn name(asked: &Asked) -> &'static str {
    match asked {
        Asked::Acquire(message) => calls::acquire_name(message),
        Asked::Cancel(_) => "cancel_acquire",
        Asked::Release(_) => "release",
        Asked::Renew(_) => "renew",
        Asked::CloseLease(_) => "close_lease",
        Asked::Get(_) => "get",
        Asked::List(_) => "list",
        Asked::OpenSession(_) => "open_session",
        Asked::SetValue(_) => "set_value",
        Asked::ForceRelease(_) => "force_release",
        Asked::CheckToken(_) => "check_token",
        Asked::GetSession(_) => "get_session",
        Asked::ListSessions(_) => "list_sessions",
        Asked::Watch(_) | Asked::StopWatch(_) => "watch",
    }
}

async fn perform(calls: &Calls, asked: Asked, time: CallTime) -> Result<(Body, Option<CancelGuard>), CallError> {
    let call = Call::begin(Door::Connect, name(&asked));
    if let Asked::Acquire(message) = asked {
        return match calls.acquire(message, time).await {
            Ok(acquired) => {
                call.end(acquired.result());
                let (response, guard) = acquired.into_parts();
                Ok((Body::Acquire(response), guard))
            }
            Err(error) => {
                call.fail(&error);
                Err(error)
            }
        };
    }
    let body = match asked {
        Asked::Release(message) => calls.release(message, time).await.map(Body::Release),
        // Rarer, or fewer: they must not make the future of the others larger.
        other => Box::pin(perform_other(calls, other, time)).await,
    };
    call.finish(&body);
    Ok((body?, None))
}

/// Everything but acquires and single releases.
async fn perform_other(calls: &Calls, asked: Asked, time: CallTime) -> Result<Body, CallError> {
    Ok(match asked {
        Asked::Cancel(message) => Body::Cancel(calls.cancel_acquire(message, time).await?),
        Asked::Renew(message) => Body::Renew(calls.renew(message, time).await?),
        Asked::CloseLease(message) => Body::CloseLease(calls.close_lease(message, time).await?),
        Asked::Get(message) => Body::Get(calls.get(message, time).await?),
        Asked::List(message) => Body::List(calls.list(message, time).await?),
        Asked::OpenSession(message) => Body::OpenSession(calls.open_session(message, time).await?),
        Asked::SetValue(message) => Body::SetValue(calls.set_value(message, time).await?),
        Asked::ForceRelease(message) => Body::ForceRelease(calls.force_release(message, time).await?),
        Asked::CheckToken(message) => Body::CheckToken(calls.check_token(message, time).await?),
        Asked::GetSession(message) => Body::GetSession(calls.get_session(message, time).await?),
        Asked::ListSessions(message) => Body::ListSessions(calls.list_sessions(message, time).await?),
        Asked::Acquire(_) | Asked::Release(_) | Asked::Watch(_) | Asked::StopWatch(_) => {
            unreachable!("acquires and releases are done with already, and watches are the conversation's own")
        }
    })
}
