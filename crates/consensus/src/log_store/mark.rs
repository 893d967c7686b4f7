//! What the log is known to have had: the vote, and the last entry that was acknowledged.
//!
//! A damaged length in the newest file of the log can make its tail vanish without an error, and with it entries that
//! this node acknowledged, or its vote. So both are also noted here, after each fsync of the log; a log that comes back
//! with less was damaged, and is not voted from. The mark itself is not synced with every append: after a power cut it
//! may be older than the log, never newer, except when the log is cut back on purpose: then the mark goes first.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use leasehold_failpoints::failpoint;
use raft_log::codeq::{Decode, Encode};

use super::record::{StoredLogId, StoredVote};

/// Two slots are written in turn, so that a torn write leaves the other one.
pub(super) const SLOT_BYTES: usize = 64;
const SLOTS: u64 = 2;
/// What lies behind the slots is not looked at.
const BYTES_MAX: usize = SLOT_BYTES * SLOTS as usize;
/// Version, sequence number, presence flags, log id, vote; the CRC follows.
pub(super) const CONTENT_BYTES: usize = 1 + 8 + 1 + 24 + 24;
const VERSION: u8 = 1;
const HAS_LAST: u8 = 1;
const HAS_VOTE: u8 = 2;

/// The log's last acknowledged state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) last: Option<StoredLogId>,
    pub(super) vote: Option<StoredVote>,
}

/// The bytes of the mark: a file, or what a simulation puts in its place.
pub trait MarkBytes: Send + 'static {
    /// All of them.
    fn read(&self) -> io::Result<Vec<u8>>;
    /// Writes at an offset; durable with the next [`MarkBytes::sync`].
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes them durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl MarkBytes for File {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.metadata()?.len()).unwrap_or(usize::MAX).min(BYTES_MAX)];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Opens or makes the real file.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn MarkBytes>> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    Ok(Box::new(file))
}

/// The file that holds the mark.
pub(super) struct MarkFile {
    file: Box<dyn MarkBytes>,
    sequence: u64,
    mark: Mark,
}

impl MarkFile {
    /// Reads the mark. A file without a whole slot is an error: it was damaged. `path` is what errors name.
    pub(super) fn open(file: Box<dyn MarkBytes>, path: &Path) -> io::Result<Self> {
        let bytes = file.read()?;
        let mut newest: Option<(u64, Mark)> = None;
        for slot in bytes.as_chunks::<SLOT_BYTES>().0 {
            if let Some((sequence, mark)) = decode(slot)?
                && newest.is_none_or(|(known, _)| known < sequence)
            {
                newest = Some((sequence, mark));
            }
        }
        match newest {
            Some((sequence, mark)) => Ok(Self { file, sequence, mark }),
            None if bytes.is_empty() => Ok(Self { file, sequence: 0, mark: Mark::default() }),
            None => Err(damaged(format!("{} is damaged", path.display()))),
        }
    }

    pub(super) fn get(&self) -> Mark {
        self.mark
    }

    /// Notes a state of the log that is durable. Cheap: one write into the page cache.
    pub(super) fn set(&mut self, mark: Mark) -> io::Result<()> {
        if mark == self.mark {
            return Ok(());
        }
        self.sequence += 1;
        let bytes = encode(self.sequence, mark)?;
        failpoint!("mark::write::before")?;
        self.file.write_at(&bytes, self.sequence % SLOTS * SLOT_BYTES as u64)?;
        self.mark = mark;
        Ok(())
    }

    /// The same, durably: before the log is cut back, and for votes.
    pub(super) fn set_durably(&mut self, mark: Mark) -> io::Result<()> {
        if mark == self.mark {
            return Ok(());
        }
        self.set(mark)?;
        if failpoint!("mark::sync::before", step)? {
            self.file.sync()?;
        }
        failpoint!("mark::sync::after")
    }
}

pub(super) fn encode(sequence: u64, mark: Mark) -> io::Result<[u8; SLOT_BYTES]> {
    let flags = if mark.last.is_some() { HAS_LAST } else { 0 } | if mark.vote.is_some() { HAS_VOTE } else { 0 };
    let mut content = vec![VERSION];
    content.extend_from_slice(&sequence.to_le_bytes());
    content.push(flags);
    match mark.last {
        Some(last) => drop(last.encode(&mut content)?),
        None => content.extend_from_slice(&[0; 24]),
    }
    match mark.vote {
        Some(vote) => drop(vote.encode(&mut content)?),
        None => content.extend_from_slice(&[0; 24]),
    }
    let mut bytes = [0; SLOT_BYTES];
    bytes[..CONTENT_BYTES].copy_from_slice(&content);
    bytes[CONTENT_BYTES..CONTENT_BYTES + 4].copy_from_slice(&crc32fast::hash(&content).to_le_bytes());
    Ok(bytes)
}

/// None for a slot that was never written, or torn.
pub(super) fn decode(bytes: &[u8; SLOT_BYTES]) -> io::Result<Option<(u64, Mark)>> {
    let (content, rest) = bytes.split_at(CONTENT_BYTES);
    if crc32fast::hash(content).to_le_bytes() != rest[..4] || content[0] == 0 {
        return Ok(None);
    }
    if content[0] != VERSION {
        return Err(damaged(format!(
            "format version {} of the mark is unknown; this build reads {VERSION}",
            content[0]
        )));
    }
    let sequence = u64::from_le_bytes(content[1..9].try_into().map_err(io::Error::other)?);
    let flags = content[9];
    let last = StoredLogId::decode(&content[10..34])?;
    let vote = StoredVote::decode(&content[34..58])?;
    let mark = Mark { last: (flags & HAS_LAST != 0).then_some(last), vote: (flags & HAS_VOTE != 0).then_some(vote) };
    Ok(Some((sequence, mark)))
}

fn damaged(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
