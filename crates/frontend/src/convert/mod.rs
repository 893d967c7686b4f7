//! From the machine's words to the wire's.

mod acquire;
mod cluster;
mod event;
mod lock;
mod session;

use leasehold_proto::v1;
use leasehold_state_machine::{LossReason, LossView, Mode, Revision};

pub(crate) use self::acquire::{
    cancelled, deadlock, ended, force_released, granted, held, released, value_set, wait_ended,
};
pub(crate) use self::cluster::{cluster_status, raised};
pub(crate) use self::event::push_watch_events;
pub(crate) use self::lock::{lock, token};
pub(crate) use self::session::session;

/// A mode as messages carry it: with the permits, which only [`Mode::Permits`] has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct WireMode {
    mode: i32,
    permits: u32,
    limit: u32,
}

fn wire_mode(mode: Mode) -> WireMode {
    let plain = |mode: v1::Mode| WireMode { mode: mode.into(), permits: 0, limit: 0 };
    match mode {
        Mode::Exclusive => plain(v1::Mode::Exclusive),
        Mode::Shared => plain(v1::Mode::Shared),
        Mode::Permits { permits, limit } => WireMode { mode: v1::Mode::Permits.into(), permits, limit },
    }
}

pub(crate) fn loss_reason(reason: Option<LossReason>) -> v1::LossReason {
    match reason {
        None => v1::LossReason::Unspecified,
        Some(LossReason::Released) => v1::LossReason::Released,
        Some(LossReason::Expired) => v1::LossReason::Expired,
        Some(LossReason::Cancelled) => v1::LossReason::Cancelled,
        Some(LossReason::Forced) => v1::LossReason::Forced,
        Some(LossReason::LeaseClosed) => v1::LossReason::LeaseClosed,
        Some(LossReason::Converted) => v1::LossReason::Converted,
    }
}

fn loss(view: LossView) -> v1::Loss {
    let LossView { token, reason, note, ago_ms } = view;
    v1::Loss { token: token.0, reason: loss_reason(Some(reason)).into(), note, ago_ms }
}

pub(crate) fn revision(revision: Revision) -> v1::Revision {
    v1::Revision { index: revision.index, ordinal: revision.ordinal }
}

/// Counts on the wire have 32 bits; no table comes near.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
