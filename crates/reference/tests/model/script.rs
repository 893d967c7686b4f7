//! A log in words, for people who read a failed case.

use std::fmt::Write;

use leasehold_state_machine::{Acquire, Batch, Effects, EntryId, LeaseRequest, Mode, Operation, Wait};

#[derive(Default)]
pub struct Script(pub String);

impl Script {
    pub fn entry(&mut self, id: EntryId, batch: &Batch) {
        let deposed = if batch.stamped_by == id.leader { "" } else { ", by a deposed leader" };
        let _ = writeln!(self.0, "entry {} (term {}) at {}{deposed}", id.index, id.leader.term, batch.at);
        for command in &batch.commands {
            let _ = write!(self.0, "    {}", say(&command.operation));
            if let Some(not_after) = command.not_after {
                let _ = write!(self.0, "  not after {not_after}");
            }
            self.0.push('\n');
        }
    }

    pub fn effects(&mut self, effects: &Effects) {
        for outcome in &effects.outcomes {
            let _ = writeln!(self.0, "      -> {outcome:?}");
        }
        for event in &effects.events {
            let _ = writeln!(self.0, "      !  {:?}", event.kind);
        }
    }
}

fn say(operation: &Operation) -> String {
    match operation {
        Operation::Acquire(acquire) => say_acquire(acquire),
        Operation::CancelAcquire(cancel) => format!("cancel {} attempt {}", cancel.request, cancel.attempt),
        Operation::Release(release) => {
            let locks: Vec<String> =
                release.locks.iter().take(5).map(|lock| format!("{}={}", lock.name, lock.token)).collect();
            let all = if release.all_or_nothing { " all or nothing" } else { "" };
            format!("release {}: {}{all}", release.namespace, locks.join(" "))
        }
        Operation::Renew(renew) => {
            let leases: Vec<String> = renew
                .leases
                .iter()
                .map(|one| format!("{} ttl {:?} exact {:?}", one.lease, one.ttl_ms, one.exact.map(|token| token.0)))
                .collect();
            let all = if renew.all_or_nothing { " all or nothing" } else { "" };
            format!("renew {}{all}", leases.join(", "))
        }
        Operation::CloseLease(close) => format!("close {}", close.lease),
        Operation::OpenSession(open) => {
            format!("open {} in {} ttl {} owner `{}`", open.session, open.namespace, open.ttl_ms, open.owner)
        }
        Operation::SetValue(set) => {
            format!("set value of {}/{}={} version {} {:?}", set.namespace, set.name, set.token, set.version, set.value)
        }
        Operation::ForceRelease(force) => {
            format!("force release {}/{}={} `{}`", force.namespace, force.name, force.token, force.reason)
        }
        other => format!("{other:?}"),
    }
}

fn say_acquire(acquire: &Acquire) -> String {
    let mode = |mode| match mode {
        Mode::Exclusive => "X".to_owned(),
        Mode::Shared => "S".to_owned(),
        Mode::Permits { permits, limit } => format!("{permits}of{limit}"),
    };
    let locks: Vec<String> = acquire.locks.iter().map(|lock| format!("{}:{}", lock.name, mode(lock.mode))).collect();
    let lease = match acquire.lease {
        LeaseRequest::Own { ttl_ms } => format!("ttl {ttl_ms}"),
        LeaseRequest::Session { session } => format!("under {session}"),
        LeaseRequest::Convert { token } => format!("converts {token}"),
    };
    let wait = match acquire.wait {
        Wait::Try => "try".to_owned(),
        Wait::For { wait_ms } => format!("wait {wait_ms}"),
    };
    let mut text = format!(
        "acquire {} attempt {} (unanswered from {}) {}: {} {lease} {wait} owner `{}`",
        acquire.request,
        acquire.attempt,
        acquire.lowest_unanswered,
        acquire.namespace,
        locks.join(" "),
        acquire.owner
    );
    if let Some(actor) = &acquire.actor {
        let _ = write!(text, " actor `{actor}`");
    }
    if acquire.lock_delay_ms > 0 {
        let _ = write!(text, " lock-delay {}", acquire.lock_delay_ms);
    }
    if !acquire.value.is_empty() {
        let _ = write!(text, " value {:?}", acquire.value);
    }
    text
}
