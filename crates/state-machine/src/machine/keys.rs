//! Keys of the tables, in memory and as bytes of rows.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{FencingToken, LeaseId, RequestId};

/// Namespace and name of a lock, in one shared allocation. Neither part holds a control character, so a NUL between
/// them keeps the order by namespace, then by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct LockKey(Arc<str>);

impl LockKey {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        thread_local! {
            /// Put together here, the key is one allocation.
            static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            text.push_str(namespace);
            text.push('\0');
            text.push_str(name);
            Self(text.as_str().into())
        })
    }

    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.0.len() == namespace.len() + 1 + name.len() && self.parts() == (namespace, name)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (namespace, name) = std::str::from_utf8(text).ok()?.split_once('\0')?;
        Some(Self::new(namespace, name))
    }

    pub(super) fn namespace(&self) -> &str {
        self.parts().0
    }

    pub(super) fn name(&self) -> &str {
        self.parts().1
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('\0').unwrap_or((&self.0, ""))
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.parts();
        write!(f, "{namespace}/{name}")
    }
}

/// Number of a waiter in log order: what orders every queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct WaiterId(pub(super) u64);

/// Names one row of the tables. Ordered like its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RowKey {
    Limits(Arc<str>),
    Lease(LeaseId),
    Grant(FencingToken),
    Waiter(WaiterId),
    Request(RequestId),
    Instance(u64),
    /// By age: see [`super::losses`].
    Loss(u64),
    /// Some of the ends of leases, by age: see [`super::lease_ends`].
    LeaseEnds(u64),
    Delay(LockKey),
}

/// Key of the header row: before all others.
pub const HEADER_KEY: &[u8] = &[0];

/// Rows of a group, at most: their numbers differ in the low bits only.
pub(crate) const GROUP_ROWS: u8 = 16;

/// The group that a row's key belongs to, which sorts as its rows do among others, and the row's place in it. None: the row stands alone.
///
/// Leases, grants, waiters, requests and losses are numbered as they come. Neighbours mostly change and go together, so that a store does less
/// work when it keeps a group under one key.
pub(crate) fn row_group(key: &[u8]) -> Option<(Vec<u8>, u8)> {
    let length = match key.first()? {
        2 | 5 => 1 + 16,
        3 | 4 | 7 => 1 + 8,
        _ => return None,
    };
    let mut group = key.to_vec();
    let last = group.last_mut().filter(|_| key.len() == length)?;
    let place = *last % GROUP_ROWS;
    *last -= place;
    Some((group, place))
}

impl RowKey {
    /// Tags are below.
    pub(super) const TAGS: usize = 10;

    /// Tag byte, then the key in an order-preserving form: integers big endian, text as it is.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Limits(namespace) => tagged(1, namespace.as_bytes()),
            Self::Lease(lease) => tagged(2, &lease.0.to_be_bytes()),
            Self::Grant(token) => tagged(3, &token.0.to_be_bytes()),
            Self::Waiter(waiter) => tagged(4, &waiter.0.to_be_bytes()),
            Self::Request(request) => {
                let mut bytes = tagged(5, &request.client.to_be_bytes());
                bytes.extend_from_slice(&request.counter.to_be_bytes());
                bytes
            }
            Self::Instance(client) => tagged(6, &client.to_be_bytes()),
            Self::Loss(age) => tagged(7, &age.to_be_bytes()),
            Self::LeaseEnds(chunk) => tagged(8, &chunk.to_be_bytes()),
            Self::Delay(lock) => tagged(9, lock.text().as_bytes()),
        }
    }

    /// Tag and number of a key that has no text: numbers are compared much faster. None of one that has.
    pub(super) fn number(&self) -> Option<(u8, u128)> {
        Some(match self {
            Self::Lease(lease) => (2, lease.0),
            Self::Grant(token) => (3, token.0.into()),
            Self::Waiter(waiter) => (4, waiter.0.into()),
            Self::Request(request) => (5, u128::from(request.client) << 64 | u128::from(request.counter)),
            Self::Instance(client) => (6, (*client).into()),
            Self::Loss(age) => (7, (*age).into()),
            Self::LeaseEnds(chunk) => (8, (*chunk).into()),
            Self::Limits(_) | Self::Delay(_) => return None,
        })
    }

    /// The key that has this [`Self::number`].
    pub(super) fn of_number((tag, number): (u8, u128)) -> Self {
        let low = number as u64;
        match tag {
            2 => Self::Lease(LeaseId(number)),
            3 => Self::Grant(FencingToken(low)),
            4 => Self::Waiter(WaiterId(low)),
            5 => Self::Request(RequestId { client: (number >> 64) as u64, counter: low }),
            6 => Self::Instance(low),
            7 => Self::Loss(low),
            8 => Self::LeaseEnds(low),
            _ => unreachable!("no key has the number {number} of tag {tag}"),
        }
    }

    /// The key that these bytes stand for; None for bytes that no key gives.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&tag, key) = bytes.split_first()?;
        Some(match tag {
            1 => Self::Limits(std::str::from_utf8(key).ok()?.into()),
            2 => Self::Lease(LeaseId(u128::from_be_bytes(key.try_into().ok()?))),
            3 => Self::Grant(FencingToken(u64::from_be_bytes(key.try_into().ok()?))),
            4 => Self::Waiter(WaiterId(u64::from_be_bytes(key.try_into().ok()?))),
            5 => {
                let (client, counter) = key.split_at_checked(8)?;
                Self::Request(RequestId {
                    client: u64::from_be_bytes(client.try_into().ok()?),
                    counter: u64::from_be_bytes(counter.try_into().ok()?),
                })
            }
            6 => Self::Instance(u64::from_be_bytes(key.try_into().ok()?)),
            7 => Self::Loss(u64::from_be_bytes(key.try_into().ok()?)),
            8 => Self::LeaseEnds(u64::from_be_bytes(key.try_into().ok()?)),
            9 => Self::Delay(LockKey::parse(key)?),
            _ => return None,
        })
    }
}

fn tagged(tag: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(tag);
    bytes.extend_from_slice(key);
    bytes
}
