//! What the fuzz targets of the log do with an input: records, the mark, and whole files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt as _;
use raft_log::codeq::{Decode, Encode};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::mark::{self, Mark};
use super::record::{StoredLogId, StoredPayload, StoredVote, from_stored, to_stored};
use super::{FORMAT_FILE, FORMAT_MAGIC, FORMAT_VERSION, LogStore, MARK_FILE, files};
use crate::fuzzing::entries;
use crate::media::Media;
use crate::types::{LeaderId, LogId, TypeConfig, Vote};

/// More than a log of this has entries.
const INDEX_MAX: u64 = 1 << 20;
const READ_BYTES: usize = 1 << 20;

fn written(value: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).expect("memory takes what is written");
    bytes
}

/// The first byte says what it is: an entry (its id, then its payload), or a vote.
pub(crate) fn run_records(data: &[u8]) -> bool {
    let Some((kind, mut bytes)) = data.split_first() else { return false };
    if kind % 2 == 0 {
        let Ok(id) = StoredLogId::decode(&mut bytes) else { return false };
        let Ok(payload) = StoredPayload::decode(&mut bytes) else { return false };
        let Ok(entry) = from_stored((id, payload.clone())) else { return false };
        let again = to_stored(entry.clone());
        assert_eq!(again.0, id);
        assert_eq!(from_stored(again).ok(), Some(entry));
        assert_eq!(StoredPayload::decode(&*written(&payload)).ok(), Some(payload));
    } else {
        let Ok(vote) = StoredVote::decode(&mut bytes) else { return false };
        assert_eq!(StoredVote::from(Vote::from(vote)), vote);
        assert_eq!(StoredVote::decode(&*written(&vote)).ok(), Some(vote));
    }
    true
}

pub(crate) fn seeds_of_records() -> Vec<Vec<u8>> {
    let vote = StoredVote::from(Vote { leader_id: LeaderId { term: 3, node_id: 1 }, committed: true });
    let entry = |entry| {
        let (id, payload) = to_stored(entry);
        [vec![0], written(&id), written(&payload)].concat()
    };
    entries().into_iter().map(entry).chain([[vec![1], written(&vote)].concat()]).collect()
}

/// One slot of the mark; with an odd first byte its CRC is put right.
pub(crate) fn run_marks(data: &[u8]) -> bool {
    let Some((mode, bytes)) = data.split_first() else { return false };
    let mut slot = [0; mark::SLOT_BYTES];
    let length = bytes.len().min(slot.len());
    slot[..length].copy_from_slice(&bytes[..length]);
    if mode % 2 == 1 {
        let crc = crc32fast::hash(&slot[..mark::CONTENT_BYTES]);
        slot[mark::CONTENT_BYTES..mark::CONTENT_BYTES + 4].copy_from_slice(&crc.to_le_bytes());
    }
    let Ok(Some((sequence, mark))) = mark::decode(&slot) else { return false };
    let again = mark::encode(sequence, mark).expect("memory takes what is written");
    assert_eq!(mark::decode(&again).ok(), Some(Some((sequence, mark))));
    true
}

pub(crate) fn seeds_of_marks() -> Vec<Vec<u8>> {
    let leader_id = LeaderId { term: 3, node_id: 1 };
    let last = Some(StoredLogId::from(LogId { leader_id, index: 9 }));
    let vote = Some(StoredVote::from(Vote { leader_id, committed: true }));
    let marks = [Mark { last, vote }, Mark { last, vote: None }, Mark::default()];
    let seed = |mark| [vec![0], mark::encode(7, mark).expect("memory takes what is written").to_vec()].concat();
    marks.into_iter().map(seed).collect()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    })
}

/// A file of the log, in a folder that is whole otherwise. With an odd first byte the input is a list of records, the length of
/// each before it (two bytes), to which the checksums are added. The log is refused, or what it has can be read.
pub(crate) fn run_files(data: &[u8]) -> bool {
    let Some((mode, bytes)) = data.split_first() else { return false };
    let content = if mode % 2 == 1 { with_checksums(bytes) } else { bytes.to_vec() };
    let dir = TempDir::new().expect("a temporary folder");
    let wal = dir.path().join("wal");
    fs::create_dir_all(&wal).expect("a folder in it");
    files::write_record(&dir.path().join(FORMAT_FILE), FORMAT_MAGIC, FORMAT_VERSION, &[]).expect("a file in it");
    fs::write(wal.join(CHUNK_FILE), content).expect("a file in it");
    let _in_runtime = runtime().enter();
    let Ok(log) = LogStore::open(dir.path(), &Media::files()) else { return false };
    let (purged, last) = (log.purged().map(|id| id.index), log.last().map(|id| id.index));
    let _ = log.committed();
    let from = purged.map_or(0, |index| index.saturating_add(1));
    let to = last.map_or(0, |index| index.saturating_add(1));
    log.read(from, to.min(from.saturating_add(INDEX_MAX)), READ_BYTES).is_ok()
}

/// As raft-log names the first one.
const CHUNK_FILE: &str = "r-00_000_000_000_000_000_000.wal";

fn with_checksums(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (record, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        content.extend_from_slice(record);
        content.extend_from_slice(&u64::from(crc32fast::hash(record)).to_be_bytes());
        bytes = rest;
    }
    content
}

pub(crate) fn seeds_of_files() -> Vec<Vec<u8>> {
    let dir = TempDir::new().expect("a temporary folder");
    let content = runtime().block_on(async {
        let mut log = LogStore::open(dir.path(), &Media::files()).expect("a new log");
        let leader_id = LeaderId { term: 3, node_id: 1 };
        log.save_vote(&Vote { leader_id, committed: true }).await.expect("a vote in it");
        let (done, flushed) = TypeConfig::oneshot();
        log.append(entries(), IOFlushed::signal(done)).await.expect("entries in it");
        flushed.await.expect("an answer").expect("entries on disk");
        log.truncate_after(Some(LogId { leader_id, index: 3 })).await.expect("it is cut back");
        log.save_committed(Some(LogId { leader_id, index: 2 })).await.expect("a commit in it");
        log.purge_through(LogId { leader_id, index: 1 }).await.expect("it is purged");
        fs::read(only_chunk(&dir.path().join("wal"))).expect("its file")
    });
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let content = &content[..end];
    assert!(dir.path().join(MARK_FILE).exists());
    vec![[&[0], content].concat(), [vec![1], as_records(content)].concat()]
}

/// Takes the checksums out again: where one fits what is before it, a record ends.
fn as_records(content: &[u8]) -> Vec<u8> {
    let (mut records, mut begin) = (Vec::new(), 0);
    for end in 0..content.len().saturating_sub(7) {
        let checksum = u64::from(crc32fast::hash(content.get(begin..end).unwrap_or_default())).to_be_bytes();
        if end > begin && content[end..].starts_with(&checksum) {
            let length = u16::try_from(end - begin).expect("records of seeds are short");
            records.extend_from_slice(&length.to_le_bytes());
            records.extend_from_slice(&content[begin..end]);
            begin = end + 8;
        }
    }
    records
}

fn only_chunk(wal: &Path) -> PathBuf {
    let paths = fs::read_dir(wal).expect("the folder of the log").map(|entry| entry.expect("its entry").path());
    let mut chunks: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "wal")).collect();
    assert_eq!(chunks.len(), 1);
    let chunk = chunks.remove(0);
    assert!(chunk.ends_with(CHUNK_FILE), "{} is not the name of a first file", chunk.display());
    chunk
}
