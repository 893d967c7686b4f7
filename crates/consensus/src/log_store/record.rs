//! What the Raft log holds, in the shapes that raft-log stores.

use std::io::{self, Read, Write};

use bytes::Bytes;
use leasehold_state_machine::codec;
use openraft::entry::EntryPayload;
use raft_log::codeq::{Decode, Encode};

use super::flusher::Synced;
use crate::types::{BatchBytes, Entry, LeaderId, LogId, Vote, decode_membership};

/// raft-log's type parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogTypes;

impl raft_log::Types for LogTypes {
    type LogId = StoredLogId;
    type LogPayload = StoredPayload;
    type Vote = StoredVote;
    type UserData = u64;
    type Callback = Synced;

    fn log_index(id: &StoredLogId) -> u64 {
        id.index
    }

    fn payload_size(payload: &StoredPayload) -> u64 {
        payload.bytes.len() as u64
    }
}

/// A log id: leader's term and node, index. Ordered as in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredLogId {
    term: u64,
    node: u64,
    index: u64,
}

impl StoredLogId {
    /// The entry's index.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }
}

impl From<LogId> for StoredLogId {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<StoredLogId> for LogId {
    fn from(id: StoredLogId) -> Self {
        Self { leader_id: LeaderId { term: id.term, node_id: id.node }, index: id.index }
    }
}

impl Encode for StoredLogId {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        write_words(&mut w, &[self.term, self.node, self.index])
    }
}

impl Decode for StoredLogId {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let [term, node, index] = read_words(&mut r)?;
        Ok(Self { term, node, index })
    }
}

/// A vote: whom, in which term, and whether a quorum granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredVote {
    term: u64,
    node: u64,
    committed: bool,
}

impl From<Vote> for StoredVote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(vote: StoredVote) -> Self {
        Self { leader_id: LeaderId { term: vote.term, node_id: vote.node }, committed: vote.committed }
    }
}

impl Encode for StoredVote {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        write_words(&mut w, &[self.term, self.node, u64::from(self.committed)])
    }
}

impl Decode for StoredVote {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let [term, node, committed] = read_words(&mut r)?;
        if committed > 1 {
            return Err(damaged(format!("a vote's flag is {committed}")));
        }
        Ok(Self { term, node, committed: committed == 1 })
    }
}

/// An entry's payload: a kind, and the bytes as the proposer encoded them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPayload {
    kind: Kind,
    bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank = 0,
    Batch = 1,
    Membership = 2,
}

impl Encode for StoredPayload {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let length = u32::try_from(self.bytes.len()).map_err(io::Error::other)?;
        w.write_all(&[self.kind as u8])?;
        w.write_all(&length.to_le_bytes())?;
        w.write_all(&self.bytes)?;
        Ok(5 + self.bytes.len())
    }
}

impl Decode for StoredPayload {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let mut head = [0; 5];
        r.read_exact(&mut head)?;
        let kind = match head[0] {
            0 => Kind::Blank,
            1 => Kind::Batch,
            2 => Kind::Membership,
            other => return Err(damaged(format!("an entry of unknown kind {other}"))),
        };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > codec::VALUE_BYTES_MAX {
            return Err(damaged(format!("an entry of {length} bytes; the largest has {}", codec::VALUE_BYTES_MAX)));
        }
        let mut bytes = vec![0; length];
        r.read_exact(&mut bytes)?;
        Ok(Self { kind, bytes: Bytes::from(bytes) })
    }
}

impl StoredPayload {
    /// Bytes of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Takes an entry apart for the log.
pub(crate) fn to_stored(entry: Entry) -> (StoredLogId, StoredPayload) {
    let (kind, bytes) = match entry.payload {
        EntryPayload::Blank => (Kind::Blank, Bytes::new()),
        EntryPayload::Normal(batch) => (Kind::Batch, batch.0),
        EntryPayload::Membership(membership) => (Kind::Membership, Bytes::from(codec::encode(&membership))),
    };
    (entry.log_id.into(), StoredPayload { kind, bytes })
}

/// Puts an entry together again.
pub(crate) fn from_stored((id, payload): (StoredLogId, StoredPayload)) -> io::Result<Entry> {
    let payload = match payload.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Batch => EntryPayload::Normal(BatchBytes(payload.bytes)),
        Kind::Membership => {
            let membership = decode_membership(&payload.bytes);
            EntryPayload::Membership(membership.map_err(|error| damaged(format!("log entry {}: {error}", id.index)))?)
        }
    };
    Ok(Entry { log_id: id.into(), payload })
}

fn damaged(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn write_words(w: &mut impl Write, words: &[u64]) -> io::Result<usize> {
    for word in words {
        w.write_all(&word.to_le_bytes())?;
    }
    Ok(words.len() * 8)
}

fn read_words<const N: usize>(r: &mut impl Read) -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        let mut bytes = [0; 8];
        r.read_exact(&mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}
