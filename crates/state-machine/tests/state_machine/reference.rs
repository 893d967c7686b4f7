//! A second, slow and obvious model of the lock table: lists that are searched from the front, no index, no hash.
//! It shares the types of commands and answers with the state machine, and not a line of logic.

#![allow(unreachable_pub)]

use leasehold_state_machine::*;

type Body = (String, Vec<LockRequest>, String, String, LeaseRequest);

#[derive(Clone)]
struct Lease {
    id: LeaseId,
    namespace: String,
    ttl: u64,
    deadline: u64,
    confirm: bool,
}

#[derive(Clone)]
struct Grant {
    token: u64,
    namespace: String,
    name: String,
    lease: LeaseId,
    request: RequestId,
    since: u64,
    owner: String,
    metadata: String,
}

#[derive(Clone)]
struct Waiter {
    request: RequestId,
    body: Body,
    since: u64,
    deadline: u64,
}

#[derive(Clone, PartialEq)]
enum Fate {
    Waiting,
    Granted { first: u64 },
    Held { until: u64 },
    Full { refused: Outcome, until: u64 },
    Ended { ended: Ended, until: u64 },
}

#[derive(Clone)]
struct Record {
    id: RequestId,
    attempt: u32,
    body: Option<Body>,
    fate: Fate,
}

/// The lists, oldest first. Waiters stand in log order.
pub struct Model {
    pub bounds: Bounds,
    pub now: u64,
    founded: bool,
    index: u64,
    next_token: u64,
    next_lease: u64,
    level: u32,
    limits: Limits,
    own_limits: Vec<(String, Limits)>,
    leases: Vec<Lease>,
    grants: Vec<Grant>,
    waiters: Vec<Waiter>,
    records: Vec<Record>,
    marks: Vec<(u64, u64, u64)>,
    losses: Vec<(String, String, u64, LossReason)>,
    lease_ends: Vec<(LeaseId, LossReason)>,
    events: Vec<Event>,
}

fn invalid(field: &str) -> Outcome {
    Outcome::Refused(Refusal::Invalid { field: field.into(), problem: String::new() })
}

fn full(limit: &str, max: u64) -> Outcome {
    Outcome::Refused(Refusal::LimitReached { limit: limit.into(), max })
}

fn bad_text(text: &str, max: usize) -> bool {
    text.is_empty() || text.len() > max || text.chars().any(char::is_control)
}

fn ended(reason: LossReason, token: Option<u64>) -> Ended {
    Ended { reason, token: token.map(FencingToken) }
}

impl Model {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now: 0,
            founded: false,
            index: 0,
            next_token: 0,
            next_lease: 0,
            level: 1,
            limits: Limits::default(),
            own_limits: vec![],
            leases: vec![],
            grants: vec![],
            waiters: vec![],
            records: vec![],
            marks: vec![],
            losses: vec![],
            lease_ends: vec![],
            events: vec![],
        }
    }

    pub fn apply(&mut self, entry: EntryId, batch: &Batch) -> Effects {
        self.index = entry.index;
        if batch.stamped_by == entry.leader && batch.at.0 > self.now {
            self.now = batch.at.0;
        }
        for _ in 0..self.bounds.expiries_per_entry_max {
            if !self.expire_first() {
                break;
            }
        }
        self.hand_over();
        let mut outcomes = vec![];
        for command in &batch.commands {
            outcomes.push(self.run(command));
            self.hand_over();
        }
        Effects { outcomes, events: std::mem::take(&mut self.events) }
    }

    fn run(&mut self, command: &Command) -> Outcome {
        if !self.founded && !matches!(command.operation, Operation::Found(_)) {
            return Outcome::Refused(Refusal::NotFounded);
        }
        if let Some(not_after) = command.not_after
            && self.now > not_after.0
        {
            return Outcome::Refused(Refusal::TooLate { not_after, now: LogTime(self.now) });
        }
        match &command.operation {
            Operation::Found(found) => {
                if !self.founded {
                    self.founded = true;
                    self.next_token = found.counter_start.max(1);
                    self.next_lease = found.counter_start.max(1);
                    self.limits = found.limits.clone();
                }
                Outcome::Founded
            }
            Operation::Acquire(acquire) => self.acquire(acquire),
            Operation::CancelAcquire(cancel) => self.cancel(cancel),
            Operation::Release(release) => self.release(release),
            Operation::Renew(renew) => Outcome::Renewed(renew.leases.iter().map(|one| self.renew(one)).collect()),
            Operation::CloseLease(close) => {
                self.touch_lease(close.lease);
                let closed = self.leases.iter().any(|l| l.id == close.lease);
                let grants_ended = self.grants.iter().filter(|g| g.lease == close.lease).count() as u32;
                self.end_lease(close.lease, LossReason::LeaseClosed);
                Outcome::Closed(Closed { closed, grants_ended })
            }
            Operation::Tick => Outcome::Done,
            Operation::SetLimits(set) => self.set_limits(set),
            Operation::SetLevel(set) => {
                if set.level < self.level || set.level > LEVEL_MAX {
                    return Outcome::Refused(Refusal::Level { asked: set.level, level: self.level, max: LEVEL_MAX });
                }
                self.level = set.level;
                Outcome::Done
            }
        }
    }

    // ---- time ----

    /// Every pending deadline: (deadline, kind, id).
    fn deadlines(&self) -> Vec<(u64, u8, u128)> {
        let mut all = vec![];
        for lease in &self.leases {
            all.push((lease.deadline, 0, lease.id.0));
        }
        for (at, waiter) in self.waiters.iter().enumerate() {
            all.push((waiter.deadline, 1, at as u128));
        }
        for record in &self.records {
            if let Fate::Held { until } | Fate::Full { until, .. } | Fate::Ended { until, .. } = record.fate {
                all.push((until, 2, u128::from(record.id.client) << 64 | u128::from(record.id.counter)));
            }
        }
        for (client, _, until) in &self.marks {
            all.push((*until, 3, u128::from(*client)));
        }
        all
    }

    fn expire_first(&mut self) -> bool {
        let Some((deadline, kind, id)) = self.deadlines().into_iter().min() else { return false };
        if deadline >= self.now {
            return false;
        }
        match kind {
            0 => self.end_lease(LeaseId(id), LossReason::Expired),
            1 => self.end_wait(self.waiters[id as usize].request, LossReason::Expired),
            2 => self.records.retain(|r| r.id != RequestId { client: (id >> 64) as u64, counter: id as u64 }),
            _ => self.marks.retain(|(client, ..)| u128::from(*client) != id),
        }
        true
    }

    fn touch_lease(&mut self, id: LeaseId) {
        if self.leases.iter().any(|l| l.id == id && l.deadline < self.now) {
            self.end_lease(id, LossReason::Expired);
        }
    }

    fn touch_token(&mut self, token: u64) {
        if let Some(lease) = self.grants.iter().find(|g| g.token == token).map(|g| g.lease) {
            self.touch_lease(lease);
        }
    }

    fn touch_request(&mut self, id: RequestId) {
        let now = self.now;
        self.marks.retain(|(client, _, until)| *client != id.client || *until >= now);
        if self.waiters.iter().any(|w| w.request == id && w.deadline < now) {
            self.end_wait(id, LossReason::Expired);
        } else if let Some(lease) = self.grants.iter().find(|g| g.request == id).map(|g| g.lease) {
            self.touch_lease(lease);
        } else {
            self.records.retain(|r| {
                let until = match r.fate {
                    Fate::Held { until } | Fate::Full { until, .. } | Fate::Ended { until, .. } => until,
                    Fate::Waiting | Fate::Granted { .. } => u64::MAX,
                };
                r.id != id || until >= now
            });
        }
        self.hand_over();
    }

    // ---- the queue ----

    /// Again and again, the first waiter whom nobody is in the way of: it goes, or it is dead.
    fn hand_over(&mut self) {
        while let Some(at) = (0..self.waiters.len()).find(|at| self.is_free(&self.waiters[*at].body, *at)) {
            let waiter = self.waiters[at].clone();
            if waiter.deadline < self.now {
                self.end_wait(waiter.request, LossReason::Expired);
            } else {
                self.waiters.remove(at);
                self.grant(waiter.request, &waiter.body, true);
            }
        }
    }

    /// No holder on any of the locks, and none of the first `ahead` waiters wants any of them.
    fn is_free(&self, body: &Body, ahead: usize) -> bool {
        body.1.iter().all(|lock| {
            !self.grants.iter().any(|g| g.namespace == body.0 && g.name == lock.name)
                && !self.waiters[..ahead].iter().any(|w| w.body.0 == body.0 && w.body.1.contains(lock))
        })
    }

    fn queue_length(&self, body: &Body) -> usize {
        body.1.iter().map(|lock| self.queue(&body.0, &lock.name).len()).max().unwrap_or(0)
    }

    fn queue(&self, namespace: &str, name: &str) -> Vec<&Waiter> {
        self.waiters.iter().filter(|w| w.body.0 == namespace && w.body.1.iter().any(|l| l.name == name)).collect()
    }

    fn grant(&mut self, id: RequestId, body: &Body, confirm: bool) {
        let LeaseRequest::Own { ttl_ms } = body.4;
        let lease = LeaseId(u128::from(self.next_lease));
        self.next_lease += 1;
        let first = self.next_token;
        let deadline = self.now + ttl_ms;
        self.leases.push(Lease { id: lease, namespace: body.0.clone(), ttl: ttl_ms, deadline, confirm });
        for lock in &body.1 {
            self.grants.push(Grant {
                token: self.next_token,
                namespace: body.0.clone(),
                name: lock.name.clone(),
                lease,
                request: id,
                since: self.now,
                owner: body.2.clone(),
                metadata: body.3.clone(),
            });
            self.next_token += 1;
        }
        self.set_fate(id, Fate::Granted { first });
        let granted = self.granted(id);
        let attempt = self.record(id).map_or(0, |r| r.attempt);
        self.emit(&body.0, EventKind::Granted { request: id, attempt, granted, owner: body.2.clone() });
    }

    fn granted(&self, id: RequestId) -> Granted {
        let grants: Vec<&Grant> = self.grants.iter().filter(|g| g.request == id).collect();
        let lease = self.leases.iter().find(|l| l.id == grants[0].lease).unwrap();
        let lock =
            |g: &&Grant| GrantedLock { name: g.name.clone(), mode: Mode::Exclusive, token: FencingToken(g.token) };
        let left_ms = if lease.confirm { 0 } else { lease.deadline.saturating_sub(self.now) };
        Granted { lease: lease.id, grants: grants.iter().map(lock).collect(), left_ms, confirm: lease.confirm }
    }

    // ---- endings ----

    fn end_lease(&mut self, id: LeaseId, reason: LossReason) {
        for token in self.grants.iter().filter(|g| g.lease == id).map(|g| g.token).collect::<Vec<_>>() {
            self.end_grant(token, reason);
        }
    }

    fn end_grant(&mut self, token: u64, reason: LossReason) {
        let Some(at) = self.grants.iter().position(|g| g.token == token) else { return };
        let grant = self.grants.remove(at);
        let (namespace, name, lease) = (grant.namespace, grant.name, grant.lease);
        self.emit(&namespace, EventKind::Lost { name: name.clone(), token: FencingToken(token), lease, reason });
        self.losses.retain(|(ns, n, ..)| (ns, n) != (&namespace, &name));
        self.losses.push((namespace.clone(), name, token, reason));
        if self.losses.len() > self.bounds.losses_max {
            self.losses.remove(0);
        }
        if !self.grants.iter().any(|g| g.request == grant.request)
            && let Some(Fate::Granted { first }) = self.record(grant.request).map(|r| r.fate.clone())
        {
            self.bury(grant.request, ended(reason, Some(first)));
        }
        if !self.grants.iter().any(|g| g.lease == lease) {
            self.leases.retain(|l| l.id != lease);
            self.emit(&namespace, EventKind::LeaseEnded { lease, reason });
            self.lease_ends.push((lease, reason));
            if self.lease_ends.len() > self.bounds.losses_max {
                self.lease_ends.remove(0);
            }
        }
    }

    fn end_wait(&mut self, id: RequestId, reason: LossReason) {
        let Some(at) = self.waiters.iter().position(|w| w.request == id) else { return };
        let waiter = self.waiters.remove(at);
        let attempt = self.record(id).map_or(0, |r| r.attempt);
        self.emit(&waiter.body.0, EventKind::WaitEnded { request: id, attempt, reason });
        self.bury(id, ended(reason, None));
    }

    // ---- what is remembered ----

    fn record(&self, id: RequestId) -> Option<&Record> {
        self.records.iter().find(|r| r.id == id)
    }

    fn set_fate(&mut self, id: RequestId, fate: Fate) {
        if let Some(record) = self.records.iter_mut().find(|r| r.id == id) {
            record.fate = fate;
        }
    }

    fn set_record(&mut self, id: RequestId, attempt: u32, body: Option<Body>, fate: Fate) {
        self.records.retain(|r| r.id != id);
        self.records.push(Record { id, attempt, body, fate });
    }

    fn mark_above(&self, id: RequestId) -> Option<u64> {
        let alive = self.marks.iter().find(|(client, _, until)| *client == id.client && *until >= self.now);
        alive.map(|(_, mark, _)| *mark).filter(|mark| id.counter < *mark)
    }

    fn bury(&mut self, id: RequestId, ended: Ended) {
        if self.mark_above(id).is_some() {
            self.records.retain(|r| r.id != id);
        } else {
            self.set_fate(id, Fate::Ended { ended, until: self.now + REMEMBER_MS });
        }
    }

    fn hear_of(&mut self, client: u64, lowest: u64) {
        let until = self.now + REMEMBER_MS;
        let known = self.marks.iter().position(|(c, ..)| *c == client);
        if known.is_none() && self.marks.len() >= self.bounds.instances_max {
            return;
        }
        let mark = known.map_or(0, |at| self.marks.remove(at).1).max(lowest);
        self.marks.push((client, mark, until));
        self.records.retain(|r| {
            r.id.client != client || r.id.counter >= lowest || matches!(r.fate, Fate::Waiting | Fate::Granted { .. })
        });
    }

    fn no_room(&self, id: RequestId) -> Option<Outcome> {
        if self.record(id).is_some() {
            return None;
        }
        if !self.marks.iter().any(|(c, ..)| *c == id.client) && self.marks.len() >= self.bounds.instances_max {
            return Some(full("instances_max", self.bounds.instances_max as u64));
        }
        if self.records.len() >= self.bounds.requests_max {
            return Some(full("requests_max", self.bounds.requests_max as u64));
        }
        None
    }

    // ---- commands ----

    fn acquire(&mut self, a: &Acquire) -> Outcome {
        if a.request.counter == 0 {
            return invalid("request_id.counter");
        }
        if a.attempt == 0 {
            return invalid("attempt");
        }
        if a.lowest_unanswered > a.request.counter {
            return invalid("lowest_unanswered");
        }
        let id = a.request;
        let body: Body = (a.namespace.clone(), a.locks.clone(), a.owner.clone(), a.metadata.clone(), a.lease);
        self.touch_request(id);
        if let Some(mark) = self.mark_above(id) {
            return Outcome::Refused(Refusal::AlreadyAnswered { counter: id.counter, mark });
        }
        let Some(record) = self.record(id).cloned() else { return self.acquire_new(a, body) };
        if record.body.as_ref().is_some_and(|known| *known != body) {
            return Outcome::Refused(Refusal::BodyMismatch);
        }
        let later = a.attempt > record.attempt;
        let is_cancelled =
            matches!(record.fate, Fate::Ended { ended: Ended { reason: LossReason::Cancelled, .. }, .. });
        if a.attempt < record.attempt && !is_cancelled {
            return Outcome::Refused(Refusal::Superseded { attempt: a.attempt, by: record.attempt });
        }
        let until = self.now + REMEMBER_MS;
        let attempt = record.attempt.max(a.attempt);
        match record.fate {
            Fate::Granted { first } => {
                self.set_record(id, attempt, record.body, Fate::Granted { first });
                self.hear_of(id.client, a.lowest_unanswered);
                Outcome::Granted(self.granted(id))
            }
            Fate::Waiting => self.wait_on(a, &body, later),
            Fate::Held { .. } | Fate::Full { .. } if later => self.acquire_new(a, body),
            Fate::Full { refused, .. } => self.refuse_for_good(a, body, refused),
            Fate::Held { .. } => {
                self.set_record(id, attempt, record.body, Fate::Held { until });
                self.hear_of(id.client, a.lowest_unanswered);
                self.held(&body)
            }
            Fate::Ended { ended, .. } => {
                if later && (is_cancelled || ended.token.is_none()) {
                    return self.acquire_new(a, body);
                }
                self.set_record(id, attempt, record.body, Fate::Ended { ended, until });
                self.hear_of(id.client, a.lowest_unanswered);
                Outcome::Ended(ended)
            }
        }
    }

    fn wait_on(&mut self, a: &Acquire, body: &Body, later: bool) -> Outcome {
        if later {
            match a.wait {
                Wait::Try => {
                    self.end_wait(a.request, LossReason::Cancelled);
                    self.hand_over();
                    let fate = Fate::Held { until: self.now + REMEMBER_MS };
                    self.set_record(a.request, a.attempt, Some(body.clone()), fate);
                    self.hear_of(a.request.client, a.lowest_unanswered);
                    return self.held(body);
                }
                Wait::For { wait_ms } => {
                    if wait_ms == 0 || wait_ms > self.limits_of(&a.namespace).wait_ms_max {
                        return invalid("wait_ms");
                    }
                    let deadline = self.now + wait_ms;
                    self.waiters.iter_mut().find(|w| w.request == a.request).unwrap().deadline = deadline;
                    self.set_record(a.request, a.attempt, Some(body.clone()), Fate::Waiting);
                    self.emit_queued(a);
                }
            }
        }
        self.hear_of(a.request.client, a.lowest_unanswered);
        let deadline = self.waiters.iter().find(|w| w.request == a.request).unwrap().deadline;
        Outcome::Queued(Queued { ahead: self.queue_length(body) as u32 - 1, deadline: LogTime(deadline) })
    }

    fn acquire_new(&mut self, a: &Acquire, body: Body) -> Outcome {
        if let Some(refused) = self.check(a) {
            return refused;
        }
        for lock in &a.locks {
            let here = |g: &&Grant| g.namespace == a.namespace && g.name == lock.name;
            if let Some(token) = self.grants.iter().find(here).map(|g| g.token) {
                self.touch_token(token);
            }
        }
        self.hand_over();
        if let Some(refused) = self.no_room(a.request) {
            return refused;
        }
        let free = self.is_free(&body, self.waiters.len());
        if !free && a.wait == Wait::Try {
            let fate = Fate::Held { until: self.now + REMEMBER_MS };
            self.set_record(a.request, a.attempt, Some(body.clone()), fate);
            self.hear_of(a.request.client, a.lowest_unanswered);
            return self.held(&body);
        }
        let limits = self.limits_of(&a.namespace);
        let leases = self.leases.iter().filter(|l| l.namespace == a.namespace).count()
            + self.waiters.iter().filter(|w| w.body.0 == a.namespace).count();
        if leases as u64 >= limits.leases_max {
            return self.refuse_for_good(a, body, full("leases_max", limits.leases_max));
        }
        if !free && self.queue_length(&body) >= limits.waiters_per_lock_max as usize {
            let refused = full("waiters_per_lock_max", u64::from(limits.waiters_per_lock_max));
            return self.refuse_for_good(a, body, refused);
        }
        self.set_record(a.request, a.attempt, Some(body.clone()), Fate::Waiting);
        self.hear_of(a.request.client, a.lowest_unanswered);
        if free {
            self.grant(a.request, &body, false);
            return Outcome::Granted(self.granted(a.request));
        }
        let Wait::For { wait_ms } = a.wait else { panic!("a try waits") };
        let ahead = self.queue_length(&body) as u32;
        let deadline = self.now + wait_ms;
        self.waiters.push(Waiter { request: a.request, body, since: self.now, deadline });
        self.emit_queued(a);
        Outcome::Queued(Queued { ahead, deadline: LogTime(deadline) })
    }

    /// This attempt has its answer, and those before it have it too.
    fn refuse_for_good(&mut self, a: &Acquire, body: Body, refused: Outcome) -> Outcome {
        let fate = Fate::Full { refused: refused.clone(), until: self.now + REMEMBER_MS };
        self.set_record(a.request, a.attempt, Some(body), fate);
        self.hear_of(a.request.client, a.lowest_unanswered);
        refused
    }

    fn check(&self, a: &Acquire) -> Option<Outcome> {
        let limits = self.limits_of(&a.namespace);
        if bad_text(&a.namespace, NAMESPACE_BYTES_MAX) {
            return Some(invalid("namespace"));
        }
        if a.locks.is_empty() || a.locks.len() > limits.locks_per_acquire_max.min(limits.locks_per_lease_max) as usize {
            return Some(invalid("locks"));
        }
        for (at, lock) in a.locks.iter().enumerate() {
            let twice = a.locks[..at].iter().any(|other| other.name == lock.name);
            if bad_text(&lock.name, limits.name_bytes_max as usize) || twice {
                return Some(invalid(&format!("locks[{at}].name")));
            }
        }
        if bad_text(&a.owner, limits.owner_bytes_max as usize) {
            return Some(invalid("owner"));
        }
        if a.metadata.len() > limits.metadata_bytes_max as usize {
            return Some(invalid("metadata"));
        }
        let LeaseRequest::Own { ttl_ms } = a.lease;
        if ttl_ms < limits.ttl_ms_min || ttl_ms > limits.ttl_ms_max {
            return Some(invalid("ttl_ms"));
        }
        match a.wait {
            Wait::For { wait_ms } if wait_ms == 0 || wait_ms > limits.wait_ms_max => Some(invalid("wait_ms")),
            _ => None,
        }
    }

    fn held(&self, body: &Body) -> Outcome {
        let is_taken = |lock: &&LockRequest| {
            self.grants.iter().any(|g| g.namespace == body.0 && g.name == lock.name)
                || !self.queue(&body.0, &lock.name).is_empty()
        };
        let name = &body.1.iter().find(is_taken).unwrap_or(&body.1[0]).name;
        Outcome::Held(Held {
            name: name.clone(),
            holders: self.holders(&body.0, name),
            waiters: self.queue(&body.0, name).len() as u32,
            by_self: false,
        })
    }

    fn cancel(&mut self, c: &CancelAcquire) -> Outcome {
        if c.request.counter == 0 {
            return invalid("request_id.counter");
        }
        if c.attempt == 0 {
            return invalid("attempt");
        }
        let id = c.request;
        self.touch_request(id);
        let Some(record) = self.record(id).cloned() else {
            if self.mark_above(id).is_none() {
                if let Some(refused) = self.no_room(id) {
                    return refused;
                }
                let fate = Fate::Ended { ended: ended(LossReason::Cancelled, None), until: self.now + REMEMBER_MS };
                self.set_record(id, c.attempt, None, fate);
            }
            self.hear_of(id.client, 0);
            return Outcome::Cancelled(Cancelled::NotFound);
        };
        if c.attempt < record.attempt {
            return Outcome::Cancelled(Cancelled::Superseded);
        }
        self.hear_of(id.client, 0);
        let (cancelled, last) = match record.fate {
            Fate::Waiting => {
                self.end_wait(id, LossReason::Cancelled);
                (Cancelled::LeftQueue, ended(LossReason::Cancelled, None))
            }
            Fate::Granted { first } => {
                for token in self.grants.iter().filter(|g| g.request == id).map(|g| g.token).collect::<Vec<_>>() {
                    self.end_grant(token, LossReason::Cancelled);
                }
                (Cancelled::UndidGrant, ended(LossReason::Cancelled, Some(first)))
            }
            Fate::Ended { ended, .. } if ended.token.is_some() => (Cancelled::NotFound, ended),
            _ => (Cancelled::NotFound, ended(LossReason::Cancelled, None)),
        };
        if self.mark_above(id).is_none() {
            let fate = Fate::Ended { ended: last, until: self.now + REMEMBER_MS };
            self.set_record(id, c.attempt, record.body, fate);
        }
        Outcome::Cancelled(cancelled)
    }

    fn release(&mut self, r: &Release) -> Outcome {
        if bad_text(&r.namespace, usize::MAX) {
            return invalid("namespace");
        }
        if bad_text(&r.name, usize::MAX) {
            return invalid("name");
        }
        let token = r.token.0;
        self.touch_token(token);
        let wrong = Outcome::Refused(Refusal::WrongToken { token: r.token, name: r.name.clone() });
        if token == 0 || token >= self.next_token {
            return wrong;
        }
        if let Some(grant) = self.grants.iter().find(|g| g.token == token) {
            if (&grant.namespace, &grant.name) != (&r.namespace, &r.name) {
                return wrong;
            }
            self.end_grant(token, LossReason::Released);
            return Outcome::Released(Released { released: true, reason: None });
        }
        match self.losses.iter().find(|(_, _, lost, _)| *lost == token) {
            Some((ns, name, ..)) if (ns, name) != (&r.namespace, &r.name) => wrong,
            lost => Outcome::Released(Released { released: false, reason: lost.map(|(.., reason)| *reason) }),
        }
    }

    fn renew(&mut self, one: &RenewLease) -> Renewed {
        self.touch_lease(one.lease);
        let now = self.now;
        let Some(at) = self.leases.iter().position(|l| l.id == one.lease) else {
            let end = self.lease_ends.iter().find(|(lease, _)| *lease == one.lease);
            return Renewed::Gone { reason: end.map(|(_, reason)| *reason) };
        };
        let limits = self.limits_of(&self.leases[at].namespace);
        let lease = &mut self.leases[at];
        let ttl = one.ttl_ms.unwrap_or(lease.ttl);
        if ttl != lease.ttl && (ttl < limits.ttl_ms_min || ttl > limits.ttl_ms_max) {
            return Renewed::TtlOutOfRange { min_ms: limits.ttl_ms_min, max_ms: limits.ttl_ms_max };
        }
        lease.ttl = ttl;
        lease.deadline = lease.deadline.max(now + ttl);
        lease.confirm = false;
        Renewed::Alive { left_ms: lease.deadline - now }
    }

    fn set_limits(&mut self, set: &SetLimits) -> Outcome {
        if set.limits.ttl_ms_min == 0 {
            return invalid("limits.ttl_ms_min");
        }
        if set.limits.ttl_ms_max < set.limits.ttl_ms_min {
            return invalid("limits.ttl_ms_max");
        }
        let Some(namespace) = &set.namespace else {
            self.limits = set.limits.clone();
            return Outcome::Done;
        };
        if bad_text(namespace, NAMESPACE_BYTES_MAX) {
            return invalid("namespace");
        }
        let before = self.own_limits.len();
        self.own_limits.retain(|(ns, _)| ns != namespace);
        if self.own_limits.len() == before && before >= self.bounds.limited_namespaces_max {
            return full("limited_namespaces_max", self.bounds.limited_namespaces_max as u64);
        }
        self.own_limits.push((namespace.clone(), set.limits.clone()));
        Outcome::Done
    }

    fn limits_of(&self, namespace: &str) -> Limits {
        let own = self.own_limits.iter().find(|(ns, _)| ns == namespace);
        own.map_or(&self.limits, |(_, limits)| limits).clone()
    }

    fn emit_queued(&mut self, a: &Acquire) {
        let names = a.locks.iter().map(|l| l.name.clone()).collect();
        self.emit(&a.namespace, EventKind::Queued { request: a.request, attempt: a.attempt, names });
    }

    fn emit(&mut self, namespace: &str, kind: EventKind) {
        let revision = Revision { index: self.index, ordinal: self.events.len() as u32 };
        self.events.push(Event { revision, at: LogTime(self.now), namespace: namespace.into(), kind });
    }

    // ---- views ----

    fn holders(&self, namespace: &str, name: &str) -> Vec<HolderView> {
        let here = self.grants.iter().filter(|g| g.namespace == namespace && g.name == name);
        here.map(|g| HolderView {
            token: FencingToken(g.token),
            owner: g.owner.clone(),
            lease: g.lease,
            mode: Mode::Exclusive,
            held_ms: self.now - g.since,
            left_ms: self.lease_left_ms(g.lease).unwrap(),
            metadata: g.metadata.clone(),
        })
        .collect()
    }

    pub fn lease_left_ms(&self, lease: LeaseId) -> Option<u64> {
        self.leases.iter().find(|l| l.id == lease).map(|l| l.deadline.saturating_sub(self.now))
    }

    pub fn lock(&self, namespace: &str, name: &str) -> Option<LockView> {
        let lost = self.losses.iter().find(|(ns, n, ..)| (ns.as_str(), n.as_str()) == (namespace, name));
        let queue = self.queue(namespace, name);
        let waiters = queue.iter().enumerate().map(|(at, w)| WaiterView {
            position: at as u32 + 1,
            request: w.request,
            owner: w.body.2.clone(),
            mode: Mode::Exclusive,
            waited_ms: self.now - w.since,
            left_ms: w.deadline.saturating_sub(self.now),
        });
        let view = LockView {
            namespace: namespace.into(),
            name: name.into(),
            holders: self.holders(namespace, name),
            waiters: waiters.collect(),
            last_lost: lost.map(|(_, _, token, reason)| (*reason, FencingToken(*token))),
        };
        let nothing = view.holders.is_empty() && view.waiters.is_empty() && view.last_lost.is_none();
        (!nothing).then_some(view)
    }

    pub fn request(&self, id: RequestId) -> RequestView {
        let Some(record) = self.record(id) else { return RequestView::Unknown };
        let attempt = record.attempt;
        match &record.fate {
            Fate::Waiting => RequestView::Waiting { attempt },
            Fate::Granted { .. } => RequestView::Granted { attempt, granted: self.granted(id) },
            Fate::Held { .. } | Fate::Full { .. } => RequestView::Unknown,
            Fate::Ended { ended, .. } => RequestView::Ended { attempt, ended: *ended },
        }
    }

    pub fn earliest_deadline(&self) -> Option<LogTime> {
        self.deadlines().into_iter().min().map(|(deadline, ..)| LogTime(deadline))
    }

    pub fn next_token(&self) -> u64 {
        self.next_token
    }

    pub fn next_lease(&self) -> u64 {
        self.next_lease
    }
}
