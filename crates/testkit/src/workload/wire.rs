//! Turns what a client sends and hears into records.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use leasehold_client::Observer;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use leasehold_state_machine::{Mode, RequestId};

use crate::clock::Moment;
use crate::history::{Acquire, Call, OpenSession, Record, Release, Renew, Response, SeenHolder};

/// Reason of the error of a node that stops.
const STOPPING: &str = "STOPPING";

/// Records every operation of one client as it goes over the wire: first sends, resends, background renewals, errands.
#[derive(Debug)]
pub struct Wire {
    worker: u32,
    sends: Mutex<Vec<Send>>,
    granted: AtomicU64,
}

#[derive(Debug)]
struct Send {
    at: Moment,
    operation: Operation,
    answer: Option<(Moment, Answer)>,
}

/// A lease of its own, by what its acquire was told.
struct OwnLease {
    lock: Arc<str>,
    token: u64,
    ttl_ms: u64,
}

/// What later operations refer to by id.
#[derive(Default)]
struct Known {
    leases: HashMap<Arc<str>, OwnLease>,
    /// Time to live of the sessions.
    sessions: HashMap<Arc<str>, u64>,
    locks: HashMap<RequestId, Arc<str>>,
}

impl Wire {
    /// Of this worker.
    #[must_use]
    pub fn new(worker: u32) -> Self {
        Self { worker, sends: Mutex::default(), granted: AtomicU64::new(0) }
    }

    /// How many acquires were answered with a grant.
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// An operation was sent. Returns its number.
    pub(crate) fn put_sent(&self, at: Moment, operation: Operation) -> u64 {
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        sends.push(Send { at, operation, answer: None });
        sends.len() as u64 - 1
    }

    /// That one was answered.
    pub(crate) fn put_answer(&self, number: u64, at: Moment, answer: Answer) {
        if is_grant(&answer) {
            self.granted.fetch_add(1, Ordering::Relaxed);
        }
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        let send = usize::try_from(number).ok().and_then(|number| sends.get_mut(number));
        // Of a watch only the first answer counts: nothing is recorded of it.
        if let Some(send) = send.filter(|send| send.answer.is_none()) {
            send.answer = Some((at, answer));
        }
    }

    /// Takes all that was recorded. The sends of one acquire become one record for each of its locks.
    pub fn take(&self) -> Vec<Record> {
        let sends = std::mem::take(&mut *self.sends.lock().unwrap_or_else(PoisonError::into_inner));
        let mut acquires: BTreeMap<(u64, u64), Vec<Record>> = BTreeMap::new();
        let mut rest = Vec::new();
        for send in &sends {
            match &send.operation {
                Operation::Acquire(request) => {
                    let id = request.request_id.unwrap_or_default();
                    let fresh = || self.acquire(request, send.at);
                    add_attempt(acquires.entry((id.client, id.counter)).or_insert_with(fresh), request, send);
                }
                other => rest.push((send, other)),
            }
        }
        let known = Known::from(acquires.values().flatten(), &sends);
        let mut records: Vec<Record> = acquires.into_values().flatten().collect();
        for (send, operation) in rest {
            self.add(&mut records, send, operation, &known);
        }
        records
    }

    /// A record for each lock.
    fn acquire(&self, request: &v1::AcquireRequest, at: Moment) -> Vec<Record> {
        let id = request.request_id.map(|id| RequestId { client: id.client, counter: id.counter });
        let locks = u32::try_from(request.locks.len()).unwrap_or(u32::MAX);
        let record = |lock: &v1::LockRequest| {
            let call = Acquire {
                request: id,
                attempts: 0,
                ttl_ms: request.ttl_ms,
                wait_ms: request.wait_ms,
                mode: mode(lock.mode(), lock.permits, lock.limit),
                session: (!request.session.is_empty()).then(|| request.session.as_str().into()),
                replaces: (request.replaces != 0).then_some(request.replaces),
                lock_delay_ms: request.lock_delay_ms,
                locks,
            };
            self.record(lock_of(&request.namespace, &lock.name), at, None, Call::Acquire(call), Response::Unknown)
        };
        request.locks.iter().map(record).collect()
    }

    fn add(&self, records: &mut Vec<Record>, send: &Send, operation: &Operation, known: &Known) {
        let answer = send.answer.as_ref().map(|(_, answer)| answer);
        let done = send.answer.as_ref().map(|(at, _)| *at);
        let mut push = |lock: Arc<str>, call: Call, response: Response| {
            records.push(self.record(lock, send.at, done, call, response));
        };
        let nowhere = || Arc::<str>::from("");
        match operation {
            Operation::OpenSession(request) => {
                let response = match answer {
                    Some(Answer::OpenSession(opened)) => Response::Opened { left_ms: opened.ttl_ms },
                    other => failed(other),
                };
                let call = OpenSession { session: request.session.as_str().into(), ttl_ms: request.ttl_ms };
                push(nowhere(), Call::OpenSession(call), response);
            }
            Operation::Renew(request) => {
                for (at, asked) in request.leases.iter().enumerate() {
                    let Some((lock, call)) = known.renewal(asked) else { continue };
                    push(lock, Call::Renew(call), renewed(answer, at));
                }
            }
            Operation::Release(request) => {
                let locks = released_locks(request);
                for (at, (name, token)) in locks.into_iter().enumerate() {
                    let response = released(answer, at);
                    push(lock_of(&request.namespace, name), Call::Release(Release { token }), response);
                }
            }
            Operation::ForceRelease(request) => {
                let response = match answer {
                    Some(Answer::ForceRelease(released)) => Response::Released(released.released),
                    other => failed(other),
                };
                let call = Call::ForceRelease(Release { token: request.token });
                push(lock_of(&request.namespace, &request.name), call, response);
            }
            Operation::CloseLease(request) => {
                let response = match answer {
                    Some(Answer::CloseLease(closed)) => Response::Closed(closed.closed),
                    other => failed(other),
                };
                push(nowhere(), Call::CloseLease(request.lease.as_str().into()), response);
            }
            Operation::SetValue(request) => {
                let response = match answer {
                    Some(Answer::SetValue(set)) if set.set => Response::ValueSet { version: set.version },
                    other => failed(other),
                };
                let call = Call::SetValue { token: request.token, version: request.version };
                push(lock_of(&request.namespace, &request.name), call, response);
            }
            Operation::Cancel(request) => {
                let id = request.request_id.unwrap_or_default();
                let id = RequestId { client: id.client, counter: id.counter };
                let response = match answer {
                    Some(Answer::Cancel(_)) => Response::Cancelled,
                    other => failed(other),
                };
                let lock = known.locks.get(&id).cloned().unwrap_or_else(nowhere);
                push(lock, Call::Cancel(id), response);
            }
            Operation::Get(request) if !request.stale => {
                push(lock_of(&request.namespace, &request.name), Call::Get, seen(answer));
            }
            Operation::Acquire(_)
            | Operation::Get(_)
            | Operation::List(_)
            | Operation::CheckToken(_)
            | Operation::GetSession(_)
            | Operation::ListSessions(_)
            | Operation::Watch(_)
            | Operation::StopWatch(_) => {}
        }
    }

    fn record(&self, lock: Arc<str>, sent: Moment, done: Option<Moment>, call: Call, response: Response) -> Record {
        let complete = if response == Response::Unknown { None } else { done };
        Record { worker: self.worker, lock, invoke: sent, first_send: Some(sent), complete, call, response }
    }
}

impl Known {
    fn from<'a>(acquires: impl Iterator<Item = &'a Record>, sends: &[Send]) -> Self {
        let mut known = Self::default();
        for record in acquires {
            if let Some((acquire, token, lease)) = record.granted()
                && acquire.session.is_none()
                && acquire.replaces.is_none()
            {
                let own = OwnLease { lock: record.lock.clone(), token, ttl_ms: acquire.ttl_ms };
                known.leases.entry(lease.into()).or_insert(own);
            }
            if let Call::Acquire(Acquire { request: Some(request), .. }) = &record.call {
                known.locks.entry(*request).or_insert_with(|| record.lock.clone());
            }
        }
        for send in sends {
            if let Operation::OpenSession(request) = &send.operation {
                known.sessions.insert(request.session.as_str().into(), request.ttl_ms);
            }
        }
        known
    }

    /// A renewal of something that this client acquired or opened, and the first lock under it.
    fn renewal(&self, asked: &v1::RenewLease) -> Option<(Arc<str>, Renew)> {
        let own_or = |ttl_ms| if asked.ttl_ms == 0 { ttl_ms } else { asked.ttl_ms };
        let lease: Arc<str> = asked.lease.as_str().into();
        if let Some(own) = self.leases.get(&lease) {
            return Some((own.lock.clone(), Renew { lease, token: Some(own.token), ttl_ms: own_or(own.ttl_ms) }));
        }
        let ttl_ms = own_or(*self.sessions.get(&lease)?);
        Some(("".into(), Renew { lease, token: None, ttl_ms }))
    }
}

/// One send of an acquire more. A grant is what it came to, whatever other sends were told; otherwise what the last was told counts, and of one
/// that was told nothing nobody knows.
fn add_attempt(records: &mut [Record], request: &v1::AcquireRequest, send: &Send) {
    for record in records.iter_mut() {
        if let Call::Acquire(acquire) = &mut record.call {
            acquire.attempts = acquire.attempts.max(request.attempt);
            acquire.wait_ms = request.wait_ms.or(acquire.wait_ms);
        }
    }
    if records.iter().any(|record| matches!(record.response, Response::Granted { .. })) {
        return;
    }
    for (at, record) in records.iter_mut().enumerate() {
        let name = request.locks.get(at).map_or("", |lock| &lock.name);
        let (done, response) = match &send.answer {
            Some((done, answer)) => (Some(*done), acquired(answer, name)),
            None => (None, Response::Unknown),
        };
        record.complete = done.filter(|_| response != Response::Unknown);
        record.response = response;
    }
}

/// What an acquire came to for one of its locks.
fn acquired(answer: &Answer, name: &str) -> Response {
    let result = match answer {
        Answer::Acquire(v1::AcquireResponse { result: Some(result) }) => result,
        // What the node had sent on, or put into a queue, goes on without it.
        Answer::Error(error) if error.reason == STOPPING => return Response::Unknown,
        other => return failed(Some(other)),
    };
    match result {
        Acquired::Granted(granted) => match granted.grants.iter().find(|grant| grant.name == name) {
            Some(grant) => Response::Granted {
                token: grant.token,
                lease: granted.lease.as_str().into(),
                left_ms: granted.ttl_ms,
                confirm: granted.confirm,
            },
            // A duplicate was answered after this one of its locks had been released.
            None => Response::Ended { reason: "no longer among the grants".into() },
        },
        Acquired::Held(_) => Response::Held,
        Acquired::WaitEnded(_) => Response::WaitEnded,
        Acquired::Deadlock(_) => Response::Deadlock,
        Acquired::Ended(ended) => Response::Ended { reason: ended.reason().as_str_name().into() },
    }
}

fn renewed(answer: Option<&Answer>, at: usize) -> Response {
    match answer {
        Some(Answer::Renew(renewed)) => match renewed.leases.get(at) {
            Some(renewed) if renewed.alive && renewed.error.is_none() && !renewed.untouched => {
                Response::Renewed { left_ms: renewed.ttl_ms }
            }
            Some(renewed) if renewed.alive => Response::Failed { error: "not renewed, as it was".into() },
            _ => Response::Gone,
        },
        other => failed(other),
    }
}

/// Names and tokens of a release, whichever way it names them.
fn released_locks(request: &v1::ReleaseRequest) -> Vec<(&str, u64)> {
    if request.locks.is_empty() {
        return vec![(&request.name, request.token)];
    }
    request.locks.iter().map(|lock| (lock.name.as_str(), lock.token)).collect()
}

fn released(answer: Option<&Answer>, at: usize) -> Response {
    match answer {
        Some(Answer::Release(released)) => {
            Response::Released(released.locks.get(at).map_or(released.released, |lock| lock.released))
        }
        other => failed(other),
    }
}

fn seen(answer: Option<&Answer>) -> Response {
    let holder = |holder: &v1::Holder| SeenHolder {
        token: holder.token,
        left_ms: holder.left_ms,
        mode: mode(holder.mode(), holder.permits, holder.limit),
    };
    match answer {
        Some(Answer::Get(v1::GetResponse { lock: Some(lock) })) => {
            Response::Seen { revision: lock.revision, holders: lock.holders.iter().map(holder).collect() }
        }
        other => failed(other),
    }
}

fn mode(mode: v1::Mode, permits: u32, limit: u32) -> Mode {
    match mode {
        v1::Mode::Unspecified | v1::Mode::Exclusive => Mode::Exclusive,
        v1::Mode::Shared => Mode::Shared,
        v1::Mode::Permits => Mode::Permits { permits, limit },
    }
}

/// What an answer that is no answer means for the fate of the operation.
fn failed(answer: Option<&Answer>) -> Response {
    match answer {
        None => Response::Unknown,
        Some(Answer::Error(error)) => match tonic::Code::from(error.code) {
            tonic::Code::Unknown | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled | tonic::Code::Aborted => {
                Response::Unknown
            }
            _ => Response::Failed { error: format!("{}: {}", error.reason, error.message).into() },
        },
        Some(other) => Response::Failed { error: format!("{other:?}").into() },
    }
}

/// Whether an acquire was answered with a grant.
fn is_grant(answer: &Answer) -> bool {
    matches!(answer, Answer::Acquire(v1::AcquireResponse { result: Some(Acquired::Granted(_)) }))
}

fn lock_of(namespace: &str, name: &str) -> Arc<str> {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    format!("{namespace}/{name}").into()
}

impl Observer for Wire {
    fn sent(&self, operation: &Operation) -> u64 {
        self.put_sent(Moment::now(), operation.clone())
    }

    fn answered(&self, number: u64, answer: &Answer) {
        self.put_answer(number, Moment::now(), answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(attempt: u32) -> Operation {
        Operation::Acquire(v1::AcquireRequest {
            locks: vec![v1::LockRequest { name: "a".into(), ..Default::default() }],
            wait_ms: Some(1_000),
            request_id: Some(v1::RequestId { client: 1, counter: 2 }),
            attempt,
            ..Default::default()
        })
    }

    fn error(code: tonic::Code, reason: &str) -> Answer {
        Answer::Error(v1::Error { code: code.into(), reason: reason.into(), ..Default::default() })
    }

    fn came_to(answers: &[Option<Answer>]) -> (Option<Moment>, Response) {
        let wire = Wire::new(1);
        for (attempt, answer) in (1..).zip(answers) {
            let at = Moment(u64::from(attempt) * 10);
            let number = wire.put_sent(at, acquire(attempt));
            if let Some(answer) = answer {
                wire.put_answer(number, Moment(at.0 + 5), answer.clone());
            }
        }
        let [record] = <[Record; 1]>::try_from(wire.take()).unwrap();
        (record.complete, record.response)
    }

    #[test]
    fn of_an_acquire_whose_last_send_was_told_nothing_nobody_knows() {
        let refused = || Some(error(tonic::Code::ResourceExhausted, "LIMIT"));
        assert!(matches!(came_to(&[refused()]), (Some(Moment(15)), Response::Failed { .. })));
        assert_eq!(came_to(&[refused(), None]), (None, Response::Unknown));
    }

    #[test]
    fn a_wait_goes_on_without_the_node_that_stops() {
        assert_eq!(came_to(&[Some(error(tonic::Code::Unavailable, STOPPING))]), (None, Response::Unknown));
    }
}
