//! The tables as rows, and back.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{HEADER_KEY, RowKey};
use super::ledger::{TakenRows, row_hash};
use super::rows::Header;
use super::tables::Tables;
use super::{Changes, RowChange, StateMachine};
use crate::codec::{self, DecodeError};
use crate::{ClusterId, EntryId, LogTime};

/// The rows do not make a state machine.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A row cannot be decoded.
    #[error("row {key:02x?} cannot be decoded: {source}")]
    Row {
        /// Its key.
        key: Vec<u8>,
        /// Why.
        source: DecodeError,
    },
    /// There are rows, but no header row.
    #[error("the header row is missing")]
    NoHeader,
    /// The hash in the header is not that of the rows.
    #[error("state hash {computed:032x} of the rows is not the recorded {recorded:032x}")]
    Hash {
        /// Recomputed from the rows.
        computed: u128,
        /// In the header row.
        recorded: u128,
    },
    /// A row contradicts another one.
    #[error("rows contradict each other: {0}")]
    Inconsistent(String),
}

/// What the header row says about the whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateHead {
    /// The cluster; None before it was founded.
    pub cluster: Option<ClusterId>,
    /// Last applied entry.
    pub applied: Option<EntryId>,
    /// Membership as the consensus crate encoded it, and the entry that recorded it.
    pub membership: Option<(EntryId, Vec<u8>)>,
    /// Log time.
    pub now: LogTime,
    /// Format level in force.
    pub level: u32,
    /// Recorded hash of all rows, header included.
    pub state_hash: u128,
}

/// Reads the value of the row [`HEADER_KEY`] without the other rows, so without checking the hash.
pub fn decode_head(value: &[u8]) -> Result<StateHead, DecodeError> {
    let HeaderRow { header, state_hash } = codec::decode(value)?;
    let Header { cluster, applied, membership, now, level, .. } = header;
    Ok(StateHead { cluster, applied, membership, now, level, state_hash })
}

/// Recomputes the state hash of rows that pass by, without building the tables from them.
#[derive(Debug, Default)]
pub(crate) struct RowsCheck {
    sum: u128,
    recorded: Option<u128>,
}

impl RowsCheck {
    /// Counts a row.
    pub(crate) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let hash = if key == HEADER_KEY {
            let HeaderRow { header, state_hash } = decode(key, value)?;
            self.recorded = Some(state_hash);
            row_hash(key, &codec::encode(&header))
        } else {
            row_hash(key, value)
        };
        self.sum = self.sum.wrapping_add(hash);
        Ok(())
    }

    /// Whether the rows were those of the recorded hash.
    pub(crate) fn finish(self) -> Result<(), RestoreError> {
        let recorded = self.recorded.ok_or(RestoreError::NoHeader)?;
        if self.sum == recorded { Ok(()) } else { Err(RestoreError::Hash { computed: self.sum, recorded }) }
    }
}

#[derive(Serialize, Deserialize)]
struct HeaderRow {
    header: Header,
    /// Over the header without this, and all rows.
    state_hash: u128,
}

/// Rows that were taken from the tables and are not in order yet.
#[derive(Debug)]
pub struct Taken {
    header: Vec<u8>,
    rows: TakenRows,
    applied: Option<EntryId>,
}

impl Taken {
    /// In key order, the header first.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        let header = RowChange { key: HEADER_KEY.to_vec(), value: Some(self.header) };
        let rows = self.rows.into_rows().map(|(key, value)| RowChange { key, value });
        Changes { rows: std::iter::once(header).chain(rows).collect(), applied: self.applied }
    }
}

impl StateMachine {
    /// Takes the rows that changed since the last call, in key order, the header first.
    pub fn take_changes(&mut self) -> Changes {
        self.take().into_changes()
    }

    /// The same, with what remains to be done when nobody needs to wait for the tables.
    pub fn take(&mut self) -> Taken {
        let rows = self.tables.take_rows();
        Taken { header: self.header_row(), rows, applied: self.applied() }
    }

    /// Rows that changed since the last [`Self::take_changes`], without the header and without those that came and went in
    /// between. Costs nothing to ask.
    #[must_use]
    pub fn changed_rows(&self) -> usize {
        self.tables.changed_rows()
    }

    /// Every row, header first, as a snapshot of the whole would hold them.
    #[must_use]
    pub fn rows(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let header = (HEADER_KEY.to_vec(), self.header_row());
        let tables = &self.tables;
        let row = |key: RowKey| tables.encoded(&key).map(|value| (key.to_bytes(), value));
        std::iter::once(header).chain(tables.keys().filter_map(row)).collect()
    }

    /// Builds the tables from rows in key order, recomputes the hash and checks it. Nothing is pending afterwards.
    pub fn from_rows<I>(rows: I) -> Result<Self, RestoreError>
    where
        I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    {
        let mut machine = Self::default();
        let mut recorded = None;
        let mut last = None;
        for (key, value) in rows {
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(inconsistent(format!("row {key:02x?} is out of order")));
            }
            if key == HEADER_KEY {
                let row: HeaderRow = decode(&key, &value)?;
                check_canonical(&key, &value, Some(codec::encode(&row)))?;
                machine.tables.header = row.header;
                recorded = Some(row.state_hash);
            } else {
                machine.tables.restore_row(&key, &value)?;
            }
            last = Some(key);
        }
        let recorded = recorded.ok_or(RestoreError::NoHeader)?;
        let computed = machine.tables.state_hash();
        if computed != recorded {
            return Err(RestoreError::Hash { computed, recorded });
        }
        machine.tables.rebuild()?;
        Ok(machine)
    }

    fn header_row(&mut self) -> Vec<u8> {
        let state_hash = self.tables.state_hash();
        codec::encode(&HeaderRow { header: self.tables.header.clone(), state_hash })
    }
}

pub(super) fn inconsistent(what: impl Into<String>) -> RestoreError {
    RestoreError::Inconsistent(what.into())
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RestoreError> {
    codec::decode(value).map_err(|source| RestoreError::Row { key: key.to_vec(), source })
}

/// Refuses a row that is not as it would be written. Numbers have longer encodings, which are read too: the hash of the row as it
/// came would never be taken out of the sum again, which is by the row as it is written.
fn check_canonical(key: &[u8], value: &[u8], written: Option<Vec<u8>>) -> Result<(), RestoreError> {
    if written.as_deref() == Some(value) {
        return Ok(());
    }
    Err(inconsistent(format!("row {key:02x?} is not as it would be written")))
}

impl Tables {
    /// Puts one row where it belongs; indexes come later.
    fn restore_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let parsed = RowKey::parse(key).ok_or_else(|| inconsistent(format!("unknown row {key:02x?}")))?;
        match parsed.clone() {
            RowKey::Limits(namespace) => self.restore_limits(namespace, decode(key, value)?),
            RowKey::Lease(id) => drop(self.leases.insert(id, decode(key, value)?)),
            RowKey::Grant(token) => drop(self.grants.insert(token, decode(key, value)?)),
            RowKey::Waiter(id) => drop(self.waiters.insert(id, decode(key, value)?)),
            RowKey::Request(id) => drop(self.requests.insert(id, decode(key, value)?)),
            RowKey::Instance(client) => drop(self.instances.insert(client, decode(key, value)?)),
            RowKey::Loss(age) => self.losses.restore(age, decode(key, value)?)?,
            RowKey::LeaseEnds(chunk) => self.lease_ends.restore(chunk, decode(key, value)?)?,
            RowKey::Delay(lock) => drop(self.delays.insert(lock, decode(key, value)?)),
        }
        check_canonical(key, value, self.encoded(&parsed))?;
        self.count_restored(key, value);
        Ok(())
    }
}
