//! Locks and tokens as readers see them.

use leasehold_proto::v1;
use leasehold_state_machine::{HolderView, LockView, TokenView, WaiterView};
use prost::Message;

use super::{WireMode, count, loss, loss_reason, wire_mode};

/// Holders, and waiters, that a lock's description lists end once they are this long together; their numbers tell all.
const LISTED_BYTES_MAX: usize = 512 * 1024;

/// The first of `views`, as many as fit into one answer.
fn listed<V, M: Message>(views: Vec<V>, convert: impl Fn(V) -> M) -> Vec<M> {
    let mut bytes = 0;
    let fits = |message: &M| {
        let before = bytes;
        bytes += message.encoded_len();
        before < LISTED_BYTES_MAX
    };
    views.into_iter().map(convert).take_while(fits).collect()
}

pub(crate) fn lock(view: LockView, revision: u64) -> v1::LockInfo {
    let (last_lost, last_lost_token) = match &view.last_lost {
        Some(lost) => (loss_reason(Some(lost.reason)), lost.token.0),
        None => (v1::LossReason::Unspecified, 0),
    };
    v1::LockInfo {
        namespace: view.namespace,
        name: view.name,
        holder_count: count(view.holders.len()),
        holders: listed(view.holders, holder),
        waiters: listed(view.waiters, waiter),
        waiter_count: count(view.waiter_count),
        last_lost: last_lost.into(),
        last_lost_token,
        revision,
        delay_left_ms: view.delay_left_ms,
        loss: view.last_lost.map(loss),
    }
}

pub(super) fn holder(view: HolderView) -> v1::Holder {
    let WireMode { mode, permits, limit } = wire_mode(view.mode);
    v1::Holder {
        token: view.token.0,
        owner: view.owner,
        lease: view.lease.to_string(),
        mode,
        held_ms: view.held_ms,
        left_ms: view.left_ms,
        metadata: view.metadata,
        actor: view.actor,
        version: view.version,
        value: view.value.into(),
        permits,
        limit,
    }
}

fn waiter(view: WaiterView) -> v1::Waiter {
    let WireMode { mode, permits, limit } = wire_mode(view.mode);
    v1::Waiter {
        position: view.position,
        owner: view.owner,
        mode,
        waited_ms: view.waited_ms,
        left_ms: view.left_ms,
        lease: view.lease.map(|lease| lease.to_string()).unwrap_or_default(),
        actor: view.actor,
        metadata: view.metadata,
        converts: view.converts.map_or(0, |token| token.0),
        permits,
        limit,
    }
}

pub(crate) fn token(view: TokenView, revision: u64) -> v1::CheckTokenResponse {
    let unknown = v1::CheckTokenResponse { revision, ..Default::default() };
    match view {
        TokenView::Current { mode, left_ms } => {
            v1::CheckTokenResponse { current: true, mode: wire_mode(mode).mode, left_ms, ..unknown }
        }
        TokenView::Past { loss: lost } => v1::CheckTokenResponse { loss: lost.map(loss), ..unknown },
        TokenView::Foreign => unknown,
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{FencingToken, LeaseId, Mode};

    use super::*;

    #[test]
    fn a_lock_with_very_many_holders_still_fits_into_an_answer() {
        let holder = |token| HolderView {
            token: FencingToken(token),
            owner: "o".repeat(256),
            lease: LeaseId(1),
            mode: Mode::Shared,
            held_ms: 0,
            left_ms: 0,
            metadata: "m".repeat(1024),
            actor: String::new(),
            version: 0,
            value: vec![7; 4096].into(),
        };
        let view = LockView {
            namespace: "default".into(),
            name: "a".into(),
            holders: (1..=5_000).map(holder).collect(),
            waiters: vec![],
            waiter_count: 0,
            delay_left_ms: 0,
            last_lost: None,
        };
        let lock = lock(view, 9);
        assert!(lock.encoded_len() < LISTED_BYTES_MAX + 16 * 1024, "{}", lock.encoded_len());
        assert_eq!((lock.holder_count, lock.holders[0].token), (5_000, 1));
    }
}
