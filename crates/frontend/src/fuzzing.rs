//! What the fuzz targets of this crate do with an input (`tests/fuzz`), and inputs made from real data.
//!
//! There for tests and for builds with `--cfg fuzzing` alone: nothing of it is in the product.

use bytes::Bytes;
use leasehold_proto::v1;
use leasehold_proto::v1::operation::Operation as Asked;
use leasehold_state_machine::{
    Batch, CancelAcquire, CloseLease, ClusterId, Command, EntryId, ForceRelease, Found, LEVEL_MAX, LeaderStamp,
    LeaseRequest, Limits, LogTime, Operation, Outcome, Refusal, Release, Renew, SetValue, StateMachine,
};
use prost::Message;

use crate::dapr::fuzzing as dapr;
use crate::redis::fuzzing as redis;
use crate::{CallError, calls, convert, validate};

/// Name, what is done with an input (whether it was understood), and seeds.
pub type Target = (&'static str, fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>);

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("requests", requests, seeds_of_requests),
    ("texts", texts, seeds_of_texts),
    ("dapr_bodies", dapr::run_bodies, dapr::seeds_of_bodies),
];

const LEADER: LeaderStamp = LeaderStamp { term: 1, node: 1 };
const MS_PER_ENTRY: u64 = 100;

/// A message of a `Connect` stream. What passes the checks becomes a command that the state machine does not call malformed, and
/// what it answers goes over the wire.
fn requests(data: &[u8]) -> bool {
    let Ok(message) = v1::ConnectRequest::decode(data) else { return false };
    let mut machine = StateMachine::new();
    let found = Found { cluster: ClusterId(7), counter_start: 1 << 40, limits: Limits::default(), level: LEVEL_MAX };
    apply(&mut machine, Operation::Found(found));
    let mut understood = false;
    for operation in message.operations {
        let Some(asked) = operation.operation else { continue };
        match checked(&machine, asked) {
            Ok(Some(operation)) => {
                let text = format!("{operation:?}");
                let told_by_tables = told_by_tables(&operation);
                let outcome = apply(&mut machine, operation);
                let malformed = match &outcome {
                    Outcome::Refused(Refusal::Invalid { field, .. }) => !told_by_tables.contains(&field.as_str()),
                    _ => false,
                };
                assert!(!malformed, "{text} passed the checks, but comes to {outcome:?}");
                tell(outcome);
                understood = true;
            }
            Ok(None) => understood = true,
            // Whatever is wrong has words for the caller.
            Err(error) => assert!(!crate::status::answer(&error).message.is_empty()),
        }
    }
    understood
}

/// Fields that must fit what is there already, which only the tables know: the grant of a convert, the namespace of a session.
fn told_by_tables(operation: &Operation) -> &'static [&'static str] {
    let Operation::Acquire(acquire) = operation else { return &[] };
    match acquire.lease {
        LeaseRequest::Own { .. } => &[],
        LeaseRequest::Session { .. } => &["session"],
        LeaseRequest::Convert { .. } => &["locks[0].mode", "actor"],
    }
}

fn apply(machine: &mut StateMachine, operation: Operation) -> Outcome {
    let index = machine.applied().map_or(0, |entry| entry.index) + 1;
    let command = Command { principal: None, not_after: None, operation };
    let batch = Batch { at: LogTime(index * MS_PER_ENTRY), stamped_by: LEADER, commands: vec![command] };
    let mut effects = machine.apply(EntryId { leader: LEADER, index }, &batch);
    let mut events = Vec::new();
    for event in &effects.events {
        convert::push_watch_events(event, |_| true, &mut events);
    }
    let watched = v1::WatchResponse { events, ..Default::default() }.encode_to_vec();
    assert!(v1::WatchResponse::decode(&*watched).is_ok());
    effects.outcomes.remove(0)
}

/// The command of a call, checked as its handler does; None for reads.
fn checked(machine: &StateMachine, asked: Asked) -> Result<Option<Operation>, CallError> {
    let limits = |namespace: &str| machine.limits(namespace).clone();
    let command = match asked {
        Asked::Acquire(mut message) => {
            let namespace = validate::namespace(std::mem::take(&mut message.namespace))?;
            let request = validate::request_id(message.request_id.unwrap_or(v1::RequestId { client: 1, counter: 1 }))?;
            let (lowest, limits) = (message.lowest_unanswered, limits(&namespace));
            Operation::Acquire(validate::acquire(message, namespace, request, lowest, &limits)?)
        }
        Asked::Cancel(message) => {
            let id = message.request_id.ok_or_else(|| CallError::invalid("request_id", "is missing"))?;
            let (request, attempt) = (validate::request_id(id)?, validate::attempt(message.attempt));
            Operation::CancelAcquire(CancelAcquire { request, attempt })
        }
        Asked::Release(message) => {
            let namespace = validate::namespace(message.namespace.clone())?;
            let locks = validate::releases(&message, &limits(&namespace))?;
            let all_or_nothing = message.all_or_nothing && locks.len() > 1;
            Operation::Release(Release { namespace, locks, all_or_nothing })
        }
        Asked::Renew(message) => {
            let leases = validate::renewals(&message.leases)?;
            let all_or_nothing = message.all_or_nothing && leases.len() > 1;
            Operation::Renew(Renew { leases, all_or_nothing })
        }
        Asked::CloseLease(message) => {
            Operation::CloseLease(CloseLease { lease: validate::lease_id("lease", &message.lease)? })
        }
        Asked::OpenSession(message) => {
            let namespace = validate::namespace(message.namespace.clone())?;
            let limits = limits(&namespace);
            Operation::OpenSession(validate::open_session(message, namespace, &limits)?)
        }
        Asked::SetValue(message) => {
            let namespace = validate::namespace(message.namespace)?;
            let limits = limits(&namespace);
            validate::lock_name("name", &message.name, &limits)?;
            let token = validate::token("token", message.token)?;
            validate::value(&message.value, &limits)?;
            let (name, version, value) = (message.name, message.version, Bytes::from(message.value));
            Operation::SetValue(SetValue { namespace, name, token, version, value })
        }
        Asked::ForceRelease(message) => {
            let namespace = validate::namespace(message.namespace)?;
            let limits = limits(&namespace);
            validate::lock_name("name", &message.name, &limits)?;
            let token = validate::token("token", message.token)?;
            validate::reason(&message.reason, &limits)?;
            Operation::ForceRelease(ForceRelease { namespace, name: message.name, token, reason: message.reason })
        }
        read => return reads(machine, read).map(|()| None),
    };
    Ok(Some(command))
}

fn reads(machine: &StateMachine, asked: Asked) -> Result<(), CallError> {
    let limits = |namespace: &str| machine.limits(namespace).clone();
    match asked {
        Asked::Get(message) => {
            let namespace = validate::namespace(message.namespace)?;
            validate::lock_name("name", &message.name, &limits(&namespace))?;
            if let Some(view) = machine.lock(&namespace, &message.name) {
                let _ = convert::lock(view, 1).encode_to_vec();
            }
        }
        Asked::List(message) => {
            let namespace = validate::namespace(message.namespace)?;
            validate::prefix(&message.prefix, &limits(&namespace))?;
            let size = validate::page_size(message.page_size)?;
            let after = calls::fuzzing::page_start(&message.page_token)?;
            for view in machine.locks(&namespace, &message.prefix, after.as_deref(), size) {
                let _ = convert::lock(view, 1).encode_to_vec();
            }
        }
        Asked::CheckToken(message) => {
            let namespace = validate::namespace(message.namespace)?;
            validate::lock_name("name", &message.name, &limits(&namespace))?;
            let token = validate::token("token", message.token)?;
            let _ = convert::token(machine.check_token(&namespace, &message.name, token), 1).encode_to_vec();
        }
        Asked::GetSession(message) => {
            let session = machine.session(validate::session_id("session", &message.session)?);
            let _ = session.map(|view| convert::session(view).encode_to_vec());
        }
        Asked::ListSessions(message) => {
            let namespace = validate::namespace(message.namespace)?;
            let size = validate::page_size(message.page_size)?;
            let after = calls::fuzzing::page_start(&message.page_token)?;
            let after = after.map(|id| validate::session_id("page_token", &id)).transpose()?;
            let _ = machine.sessions(&namespace, after, size).into_iter().map(convert::session).count();
        }
        Asked::Watch(message) => drop(validate::watch(message, limits)?),
        _ => {}
    }
    Ok(())
}

fn tell(outcome: Outcome) {
    let bytes = match outcome {
        Outcome::Granted(granted) => convert::granted(granted).encode_to_vec(),
        Outcome::Held(held) => convert::held(held).encode_to_vec(),
        Outcome::Ended(ended) => convert::ended(ended).encode_to_vec(),
        Outcome::Deadlock(deadlock) => convert::deadlock(deadlock).encode_to_vec(),
        Outcome::Cancelled(cancelled) => convert::cancelled(cancelled).encode_to_vec(),
        Outcome::Released(released) => convert::released(&released, true).encode_to_vec(),
        Outcome::ForceReleased(released) => convert::force_released(released).encode_to_vec(),
        Outcome::ValueSet(set) => convert::value_set(set).encode_to_vec(),
        Outcome::Refused(refusal) => crate::status::answer(&CallError::from(refusal)).encode_to_vec(),
        _ => Vec::new(),
    };
    drop(bytes);
}

fn seeds_of_requests() -> Vec<Vec<u8>> {
    const SESSION: &str = "00112233445566778899aabbccddeeff";
    let lock = |name: &str| v1::LockRequest { name: name.into(), ..Default::default() };
    let acquire = v1::AcquireRequest {
        request_id: Some(v1::RequestId { client: 7, counter: 3 }),
        attempt: 1,
        lowest_unanswered: 2,
        locks: vec![lock("a"), v1::LockRequest { mode: v1::Mode::Permits.into(), permits: 1, limit: 3, ..lock("b") }],
        owner: "me".into(),
        metadata: "m".into(),
        ttl_ms: 30_000,
        wait_ms: Some(500),
        lock_delay_ms: 10,
        value: vec![1, 2],
        ..Default::default()
    };
    let under = v1::AcquireRequest {
        request_id: Some(v1::RequestId { client: 7, counter: 4 }),
        locks: vec![v1::LockRequest { mode: v1::Mode::Shared.into(), ..lock("c") }],
        session: SESSION.into(),
        actor: "task".into(),
        ..Default::default()
    };
    let (token, name) = (1 << 40, String::from("a"));
    let convert = v1::AcquireRequest {
        request_id: Some(v1::RequestId { client: 7, counter: 5 }),
        locks: vec![lock("c")],
        replaces: token + 2,
        ..Default::default()
    };
    let held = v1::HeldLock { name: name.clone(), token };
    let renew = v1::RenewLease { lease: SESSION.into(), ttl_ms: 900, exact_for_token: token + 2 };
    let after = Some(v1::Revision { index: 3, ordinal: 1 });
    let target = Some(v1::watch_request::Target::Prefix("a".into()));
    let open = v1::OpenSessionRequest { session: SESSION.into(), owner: "o".into(), ttl_ms: 500, ..Default::default() };
    let operations = [
        Asked::OpenSession(open),
        Asked::Acquire(acquire),
        Asked::Acquire(under),
        Asked::Acquire(convert),
        Asked::Get(v1::GetRequest { name: name.clone(), ..Default::default() }),
        Asked::List(v1::ListRequest { prefix: "a".into(), page_token: "161".into(), ..Default::default() }),
        Asked::CheckToken(v1::CheckTokenRequest { name: name.clone(), token, ..Default::default() }),
        Asked::SetValue(v1::SetValueRequest { name: name.clone(), token, value: vec![9], ..Default::default() }),
        Asked::Renew(v1::RenewRequest { leases: vec![renew], all_or_nothing: false }),
        Asked::GetSession(v1::GetSessionRequest { session: SESSION.into(), ..Default::default() }),
        Asked::ListSessions(v1::ListSessionsRequest::default()),
        Asked::Watch(v1::WatchRequest { target, after, ..Default::default() }),
        Asked::Release(v1::ReleaseRequest { locks: vec![held], ..Default::default() }),
        Asked::ForceRelease(v1::ForceReleaseRequest { name, token, reason: "why".into(), ..Default::default() }),
        Asked::Cancel(v1::CancelAcquireRequest {
            request_id: Some(v1::RequestId { client: 7, counter: 3 }),
            attempt: 1,
        }),
        Asked::CloseLease(v1::CloseLeaseRequest { lease: SESSION.into() }),
        Asked::StopWatch(9),
    ];
    let operation = |(id, operation)| v1::Operation { id, timeout_ms: 5, operation: Some(operation) };
    let operations: Vec<v1::Operation> = (1..).zip(operations).map(operation).collect();
    let message = |operations| v1::ConnectRequest { operations }.encode_to_vec();
    operations.iter().cloned().map(|one| message(vec![one])).chain([message(operations.clone())]).collect()
}

/// Text that stands for something: ids, page tokens, time-outs, names from the doors. The first byte says which.
fn texts(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    if kind % 5 == 4 {
        return redis::names(bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match kind % 5 {
        0 => validate::lease_id("lease", text).is_ok_and(|id| {
            assert_eq!(validate::lease_id("lease", &id.to_string()).ok(), Some(id));
            true
        }),
        1 => calls::fuzzing::page_token(text),
        2 => calls::fuzzing::timeout(text),
        _ => dapr::lock_names(text),
    }
}

fn seeds_of_texts() -> Vec<Vec<u8>> {
    let texts: [(u8, &str); 7] = [
        (0, "00112233445566778899aabbccddeeff"),
        (0, "0000000000000001"),
        (1, "16ac3a9"),
        (2, "250m"),
        (3, "orders\nr1"),
        (4, "worker-7"),
        (4, "hex:00ff"),
    ];
    texts.into_iter().map(|(kind, text)| [&[kind], text.as_bytes()].concat()).collect()
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn kept_inputs_of_the_fuzz_targets_do_no_harm() {
    let fuzz_dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    replay::replay(&fuzz_dir, TARGETS);
}
