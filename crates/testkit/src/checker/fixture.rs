//! Hand-made evidence for the tests of the checks.

use leasehold_state_machine::RequestId;
use serde_json::{Value, json};

use super::{Evidence, Invariant, check};
use crate::clock::Moment;
use crate::dump::NodeLog;
use crate::history::{Acquire, Call, Fault, Record, Release, Renew, Response, SeenHolder};

/// Client 7, counter `counter`.
pub(super) fn request(counter: u64) -> RequestId {
    RequestId { client: 7, counter }
}

/// Builds evidence, call by call and entry by entry. All times are in ms; the token serves as the request's counter, and
/// the lease of token t has the same number.
#[derive(Default)]
pub(super) struct Fixture {
    evidence: Evidence,
    lines: Vec<Value>,
}

/// A lease's text form.
pub(super) fn lease(token: u64) -> String {
    format!("{token:016x}")
}

impl Fixture {
    pub(super) fn call(mut self, lock: &str, sent: u64, done: Option<u64>, call: Call, response: Response) -> Self {
        self.evidence.history.records.push(Record {
            worker: 1,
            lock: format!("default/{lock}").into(),
            invoke: Moment::default().plus_ms(sent),
            first_send: None,
            complete: done.map(|done| Moment::default().plus_ms(done)),
            call,
            response,
        });
        self
    }

    /// A grant at once, with a ttl of 1,000 ms.
    pub(super) fn granted(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        let acquire = Acquire { request: Some(request(token)), attempts: 1, ttl_ms: 1_000, wait_ms: None };
        let response = Response::Granted { token, lease: lease(token).into(), left_ms: 1_000, confirm: false };
        self.call(lock, sent, Some(done), Call::Acquire(acquire), response)
    }

    /// A grant after a wait.
    pub(super) fn waited(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        let acquire = Acquire { request: Some(request(token)), attempts: 1, ttl_ms: 1_000, wait_ms: Some(30_000) };
        let response = Response::Granted { token, lease: lease(token).into(), left_ms: 0, confirm: true };
        self.call(lock, sent, Some(done), Call::Acquire(acquire), response)
    }

    pub(super) fn renewed(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        let renew = Renew { lease: lease(token).into(), token, ttl_ms: 1_000 };
        self.call(lock, sent, Some(done), Call::Renew(renew), Response::Renewed { left_ms: 1_000 })
    }

    /// Gives the last grant another token.
    pub(super) fn with_token(mut self, other: u64) -> Self {
        if let Some(Record { response: Response::Granted { token, .. }, .. }) = self.evidence.history.records.last_mut()
        {
            *token = other;
        }
        self
    }

    /// Gives the last call another request id.
    pub(super) fn with_last_request(mut self, counter: u64) -> Self {
        if let Some(Record { call: Call::Acquire(acquire), .. }) = self.evidence.history.records.last_mut() {
            acquire.request = Some(request(counter));
        }
        self
    }

    pub(super) fn released(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        self.call(lock, sent, Some(done), Call::Release(Release { token }), Response::Released(true))
    }

    pub(super) fn believed(self, lock: &str, token: u64, at: u64) -> Self {
        self.call(lock, at, Some(at), Call::Believe { token }, Response::Held)
    }

    pub(super) fn read(self, lock: &str, sent: u64, done: u64, revision: u64, token: Option<u64>) -> Self {
        let holder = token.map(|token| SeenHolder { token, left_ms: 1 });
        self.call(lock, sent, Some(done), Call::Get, Response::Seen { revision, holder })
    }

    pub(super) fn fault(mut self, begin: u64, end: u64) -> Self {
        let (begin, end) = (Moment::default().plus_ms(begin), Some(Moment::default().plus_ms(end)));
        self.evidence.history.faults.push(Fault { what: "kill -9".into(), node: Some(1), begin, end });
        self
    }

    /// One entry with one command. Its index is its place in the log, its log time `now`.
    pub(super) fn entry(self, now: u64, operation: Value, outcome: Value) -> Self {
        let index = self.lines.len() as u64 + 1;
        self.raw(json!({
            "index": index, "term": 1, "leader": 1, "kind": "normal", "at": now, "stamped": {"term": 1, "node": 1},
            "committed": true, "now": now, "hash": format!("{index:032x}"),
            "commands": [{"principal": null, "not_after": null, "operation": operation}], "outcomes": [outcome],
        }))
    }

    pub(super) fn raw(mut self, line: Value) -> Self {
        self.lines.push(line);
        self
    }

    /// The founding entry: tokens and leases begin at 1.
    pub(super) fn founded(self) -> Self {
        self.entry(0, json!({"Found": {"cluster": 1, "counter_start": 1, "limits": {}}}), json!("Founded"))
    }

    /// An acquire's entry. `wait`: how long it waits.
    pub(super) fn acquire(self, now: u64, lock: &str, counter: u64, wait: Option<u64>, outcome: Value) -> Self {
        self.entry(now, acquire(lock, counter, 1, wait), outcome)
    }

    pub(super) fn release(self, now: u64, lock: &str, token: u64, released: bool) -> Self {
        let operation = json!({"Release": {"namespace": "default", "name": lock, "token": token}});
        self.entry(now, operation, json!({"Released": {"released": released, "reason": null}}))
    }

    pub(super) fn renew(self, now: u64, token: u64, outcome: Value) -> Self {
        let operation = json!({"Renew": {"leases": [{"lease": lease(token), "ttl_ms": null}]}});
        self.entry(now, operation, json!({"Renewed": [outcome]}))
    }

    pub(super) fn tick(self, now: u64) -> Self {
        self.entry(now, json!("Tick"), json!("Done"))
    }

    /// The entries so far are the log of this node; the next call begins another one's.
    pub(super) fn node(mut self, node: u64) -> Self {
        let text: String = self.lines.drain(..).map(|line| format!("{line}\n")).collect();
        self.evidence.nodes.push(NodeLog::read(node, text.as_bytes()).unwrap());
        self
    }

    /// What the checker says about one invariant.
    pub(super) fn breaches(&self, invariant: Invariant) -> Vec<String> {
        let report = check(&self.evidence);
        let breaches = report.violations().iter().filter(|violation| violation.invariant == invariant);
        breaches.map(ToString::to_string).collect()
    }

    /// The invariant was checked, and holds.
    pub(super) fn assert_holds(&self, invariant: Invariant) {
        let report = check(&self.evidence);
        assert!(report.checked(invariant) > 0, "nothing was checked: {report}");
        assert_eq!(self.breaches(invariant), Vec::<String>::new());
    }

    /// The invariant is broken, and the first message has all of these words.
    pub(super) fn assert_broken(&self, invariant: Invariant, words: &[&str]) {
        let breaches = self.breaches(invariant);
        let first = breaches.first().unwrap_or_else(|| panic!("the breach of {invariant} was not found"));
        for word in words {
            assert!(first.contains(word), "`{word}` is missing in: {first}");
        }
    }
}

pub(super) fn acquire(lock: &str, counter: u64, attempt: u32, wait: Option<u64>) -> Value {
    let wait = wait.map_or(json!("Try"), |wait_ms| json!({"For": {"wait_ms": wait_ms}}));
    json!({"Acquire": {
        "request": request(counter), "attempt": attempt, "lowest_unanswered": 1, "namespace": "default",
        "locks": [{"name": lock, "mode": "Exclusive"}], "owner": "o", "metadata": "",
        "lease": {"Own": {"ttl_ms": 1_000}}, "wait": wait,
    }})
}

/// The outcome of an acquire that was granted at once.
pub(super) fn grants(lock: &str, token: u64) -> Value {
    json!({"Granted": {
        "lease": lease(token), "grants": [{"name": lock, "mode": "Exclusive", "token": token}],
        "left_ms": 1_000, "confirm": false,
    }})
}

pub(super) fn queued(ahead: u32, deadline: u64) -> Value {
    json!({"Queued": {"ahead": ahead, "deadline": deadline}})
}
