//! Reads the data folder of a stopped node, for `leasehold debug log` and the checker (invariant C1).

use std::io::Write;
use std::path::Path;

use leasehold_state_machine::storage::SnapshotFile;
use leasehold_state_machine::{Batch, Command, EntryId, LEVEL_MAX, LeaderStamp, Outcome, StateMachine, codec};
use openraft::entry::EntryPayload;
use serde::Serialize;

use crate::level::LevelGuard;
use crate::log_store::LogStore;
use crate::media::Media;
use crate::recovery::DataDir;
use crate::types::{Entry, entry_id};

/// The folder cannot be dumped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DumpError(String);

const READ_BYTES: usize = 4 << 20;

/// One line of the dump.
#[derive(Serialize)]
struct Line {
    index: u64,
    term: u64,
    leader: u64,
    kind: &'static str,
    /// The entry's stamp of log time, ms.
    at: Option<u64>,
    stamped: Option<LeaderStamp>,
    /// Whether this node knew the entry to be committed when it last wrote that down.
    committed: bool,
    commands: Vec<Command>,
    /// None for entries before the snapshot that the replay begins with.
    outcomes: Option<Vec<Outcome>>,
    /// Log time after the entry, ms.
    now: Option<u64>,
    /// State hash after the entry, hexadecimal.
    hash: Option<String>,
}

/// Writes every entry of the log, one JSON object a line, in index order, with its outcomes and the state hash after it,
/// by replaying the log on the newest snapshot (or on nothing, when the log reaches back to the first entry). Where there is such
/// a snapshot, the first line is about it: of kind `snapshot`, with the last entry that it includes. The node must not be running. Must be called within the async runtime; blocks.
pub fn dump_log(data_dir: &Path, out: &mut dyn Write) -> Result<(), DumpError> {
    dump_log_on(&Media::files(), data_dir, out)
}

/// The same of a node that keeps its log elsewhere.
pub fn dump_log_on(media: &Media, data_dir: &Path, out: &mut dyn Write) -> Result<(), DumpError> {
    let failed = |error: &dyn std::fmt::Display| DumpError(error.to_string());
    if !data_dir.join("log").exists() {
        return Err(DumpError(format!("{} is not a data folder of a node: it has no log", data_dir.display())));
    }
    let dir = DataDir::lock(data_dir).map_err(|error| failed(&error))?;
    let log = LogStore::open(&dir.log(), media).map_err(|error| failed(&error))?;
    let purged = log.purged().map(|id| id.index);
    let mut state = match purged {
        None => StateMachine::new(),
        Some(_) => {
            let snapshot = SnapshotFile::newest(&dir.snapshots()).map_err(|error| failed(&error))?;
            let snapshot = snapshot.ok_or_else(|| DumpError("the log was purged and there is no snapshot".into()))?;
            let head = snapshot.state_head().map_err(|error| failed(&error))?;
            let level = LevelGuard::new(LEVEL_MAX);
            level.check_tables("snapshot", &snapshot.path, head.level).map_err(|error| failed(&error))?;
            snapshot.load().map_err(|error| failed(&error))?
        }
    };
    let mut write = |line: &Line| -> Result<(), DumpError> {
        serde_json::to_writer(&mut *out, line).map_err(|error| failed(&error))?;
        out.write_all(b"\n").map_err(|error| failed(&error))
    };
    if let Some(last) = state.applied() {
        write(&snapshot_line(&mut state, last))?;
    }
    let committed = log.committed().map_or(0, |id| id.index);
    let (mut next, end) = (purged.map_or(0, |index| index + 1), log.last().map_or(0, |id| id.index + 1));
    while next < end {
        let entries = log.read(next, end, READ_BYTES).map_err(|error| failed(&error))?;
        if entries.is_empty() {
            return Err(DumpError(format!("the log has no entry {next}, though it reaches to {}", end - 1)));
        }
        for entry in entries {
            next = entry.log_id.index + 1;
            write(&line(&mut state, entry, committed)?)?;
        }
    }
    Ok(())
}

/// What the replay begins with.
fn snapshot_line(state: &mut StateMachine, last: EntryId) -> Line {
    Line {
        index: last.index,
        term: last.leader.term,
        leader: last.leader.node,
        kind: "snapshot",
        at: None,
        stamped: None,
        committed: true,
        commands: Vec::new(),
        outcomes: None,
        now: Some(state.now().0),
        hash: Some(format!("{:032x}", state.state_hash())),
    }
}

fn line(state: &mut StateMachine, entry: Entry, committed: u64) -> Result<Line, DumpError> {
    let id = entry_id(entry.log_id);
    let applies = state.applied().is_none_or(|applied| applied.index < id.index);
    let (kind, batch): (_, Option<Batch>) = match &entry.payload {
        EntryPayload::Blank => ("blank", None),
        EntryPayload::Membership(_) => ("membership", None),
        EntryPayload::Normal(bytes) => {
            let batch = codec::decode_batch(&bytes.0);
            ("normal", Some(batch.map_err(|error| DumpError(format!("log entry {}: {error}", id.index)))?))
        }
    };
    if let Some(batch) = batch.as_ref().filter(|_| applies) {
        let level = LevelGuard::new(LEVEL_MAX);
        level.check_batch(id.index, batch, state).map_err(|error| DumpError(error.to_string()))?;
    }
    let outcomes = applies.then(|| match (&entry.payload, &batch) {
        (EntryPayload::Membership(membership), _) => {
            state.apply_membership(id, codec::encode(membership));
            Vec::new()
        }
        (_, Some(batch)) => state.apply(id, batch).outcomes,
        (_, None) => {
            state.apply_blank(id);
            Vec::new()
        }
    });
    let (at, stamped) = batch.as_ref().map(|batch| (batch.at.0, batch.stamped_by)).unzip();
    Ok(Line {
        index: id.index,
        term: id.leader.term,
        leader: id.leader.node,
        kind,
        at,
        stamped,
        committed: id.index <= committed,
        commands: batch.map(|batch| batch.commands).unwrap_or_default(),
        outcomes,
        now: applies.then(|| state.now().0),
        hash: applies.then(|| format!("{:032x}", state.state_hash())),
    })
}
