//! Turns what a client sends and hears into records.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use leasehold_client::Observer;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use leasehold_state_machine::RequestId;

use crate::clock::Moment;
use crate::history::{Acquire, Call, Record, Release, Renew, Response, SeenHolder};

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

    /// Takes all that was recorded. The sends of one acquire become one record.
    pub fn take(&self) -> Vec<Record> {
        let sends = std::mem::take(&mut *self.sends.lock().unwrap_or_else(PoisonError::into_inner));
        let mut acquires: BTreeMap<(u64, u64), Record> = BTreeMap::new();
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
        let mut leases: HashMap<String, (std::sync::Arc<str>, u64, u64)> = HashMap::new();
        let mut locks: HashMap<RequestId, std::sync::Arc<str>> = HashMap::new();
        for record in acquires.values() {
            if let Some((acquire, token, lease)) = record.granted() {
                leases.insert(lease.to_owned(), (record.lock.clone(), token, acquire.ttl_ms));
            }
            if let Call::Acquire(Acquire { request: Some(request), .. }) = &record.call {
                locks.insert(*request, record.lock.clone());
            }
        }
        let mut records: Vec<Record> = acquires.into_values().collect();
        for (send, operation) in rest {
            self.add(&mut records, send, operation, &leases, &locks);
        }
        records
    }

    fn acquire(&self, request: &v1::AcquireRequest, at: Moment) -> Record {
        let name = request.locks.first().map_or("", |lock| &lock.name);
        let id = request.request_id.map(|id| RequestId { client: id.client, counter: id.counter });
        let call = Acquire { request: id, attempts: 0, ttl_ms: request.ttl_ms, wait_ms: request.wait_ms };
        self.record(lock_of(&request.namespace, name), at, None, Call::Acquire(call), Response::Unknown)
    }

    fn add(
        &self,
        records: &mut Vec<Record>,
        send: &Send,
        operation: &Operation,
        leases: &HashMap<String, (std::sync::Arc<str>, u64, u64)>,
        locks: &HashMap<RequestId, std::sync::Arc<str>>,
    ) {
        let answer = send.answer.as_ref().map(|(_, answer)| answer);
        let done = send.answer.as_ref().map(|(at, _)| *at);
        match operation {
            Operation::Renew(request) => {
                for (at, asked) in request.leases.iter().enumerate() {
                    let Some((lock, token, ttl_ms)) = leases.get(&asked.lease) else { continue };
                    let ttl_ms = if asked.ttl_ms == 0 { *ttl_ms } else { asked.ttl_ms };
                    let response = match answer {
                        Some(Answer::Renew(renewed)) => match renewed.leases.get(at) {
                            Some(renewed) if renewed.alive => Response::Renewed { left_ms: renewed.ttl_ms },
                            _ => Response::Gone,
                        },
                        other => failed(other),
                    };
                    let call = Renew { lease: asked.lease.as_str().into(), token: *token, ttl_ms };
                    records.push(self.record(lock.clone(), send.at, done, Call::Renew(call), response));
                }
            }
            Operation::Release(request) => {
                let response = match answer {
                    Some(Answer::Release(released)) => Response::Released(released.released),
                    other => failed(other),
                };
                let call = Call::Release(Release { token: request.token });
                records.push(self.record(lock_of(&request.namespace, &request.name), send.at, done, call, response));
            }
            Operation::Cancel(request) => {
                let id = request.request_id.unwrap_or_default();
                let id = RequestId { client: id.client, counter: id.counter };
                let response = match answer {
                    Some(Answer::Cancel(_)) => Response::Cancelled,
                    other => failed(other),
                };
                let lock = locks.get(&id).cloned().unwrap_or_else(|| "".into());
                records.push(self.record(lock, send.at, done, Call::Cancel(id), response));
            }
            Operation::Get(request) if !request.stale => {
                let response = match answer {
                    Some(Answer::Get(v1::GetResponse { lock: Some(lock) })) => Response::Seen {
                        revision: lock.revision,
                        holder: lock.holders.first().map(|h| SeenHolder { token: h.token, left_ms: h.left_ms }),
                    },
                    other => failed(other),
                };
                let lock = lock_of(&request.namespace, &request.name);
                records.push(self.record(lock, send.at, done, Call::Get, response));
            }
            Operation::Acquire(_) | Operation::CloseLease(_) | Operation::Get(_) | Operation::List(_) => {}
        }
    }

    fn record(
        &self,
        lock: std::sync::Arc<str>,
        sent: Moment,
        done: Option<Moment>,
        call: Call,
        response: Response,
    ) -> Record {
        let complete = if response == Response::Unknown { None } else { done };
        Record { worker: self.worker, lock, invoke: sent, first_send: Some(sent), complete, call, response }
    }
}

/// One send of an acquire more. A grant is what it came to, whatever other sends were told.
fn add_attempt(record: &mut Record, request: &v1::AcquireRequest, send: &Send) {
    if let Call::Acquire(acquire) = &mut record.call {
        acquire.attempts = acquire.attempts.max(request.attempt);
        acquire.wait_ms = request.wait_ms.or(acquire.wait_ms);
    }
    let Some((done, answer)) = &send.answer else { return };
    if matches!(record.response, Response::Granted { .. }) {
        return;
    }
    let response = match answer {
        Answer::Acquire(v1::AcquireResponse { result: Some(result) }) => match result {
            Acquired::Granted(granted) => Response::Granted {
                token: granted.grants.first().map_or(0, |grant| grant.token),
                lease: granted.lease.as_str().into(),
                left_ms: granted.ttl_ms,
                confirm: granted.confirm,
            },
            Acquired::Held(_) => Response::Held,
            Acquired::WaitEnded(_) => Response::WaitEnded,
            Acquired::Ended(ended) => Response::Ended { reason: ended.reason().as_str_name().into() },
        },
        other => failed(Some(other)),
    };
    record.complete = if response == Response::Unknown { None } else { Some(*done) };
    record.response = response;
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

fn lock_of(namespace: &str, name: &str) -> std::sync::Arc<str> {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    format!("{namespace}/{name}").into()
}

impl Observer for Wire {
    fn sent(&self, operation: &Operation) -> u64 {
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        sends.push(Send { at: Moment::now(), operation: operation.clone(), answer: None });
        sends.len() as u64 - 1
    }

    fn answered(&self, number: u64, answer: &Answer) {
        let now = Moment::now();
        if matches!(answer, Answer::Acquire(v1::AcquireResponse { result: Some(Acquired::Granted(_)) })) {
            self.granted.fetch_add(1, Ordering::Relaxed);
        }
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(send) = usize::try_from(number).ok().and_then(|number| sends.get_mut(number)) {
            send.answer = Some((now, answer.clone()));
        }
    }
}
