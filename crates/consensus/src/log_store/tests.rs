//! What the log store does with damage and after a crash.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use openraft::entry::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt as _;
use tempfile::TempDir;

use super::mark::MarkFile;
use super::{LogStore, StoredLogId, WalState, check_against_mark, open_mark};
use crate::media::Media;
use crate::types::{BatchBytes, Entry, LeaderId, LogId, TypeConfig, Vote};

const LEADER: LeaderId = LeaderId { term: 3, node_id: 1 };

fn entry(index: u64) -> Entry {
    let payload = EntryPayload::Normal(BatchBytes(Bytes::from(vec![u8::try_from(index % 251).unwrap(); 200])));
    Entry { log_id: LogId { leader_id: LEADER, index }, payload }
}

async fn append(log: &mut LogStore, entries: impl IntoIterator<Item = u64> + Send) {
    let (done, flushed) = TypeConfig::oneshot();
    let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

/// A log of a hundred entries with a vote, closed as a kill leaves it.
async fn filled(dir: &Path) {
    let mut log = LogStore::open(dir, &Media::files()).unwrap();
    log.save_vote(&Vote { leader_id: LEADER, committed: true }).await.unwrap();
    append(&mut log, 0..100).await;
}

/// The file that holds the newest records.
fn newest_chunk(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files.pop().unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let mut log = LogStore::open(dir.path(), &Media::files()).unwrap();
    assert_eq!(log.try_get_log_entries(0..200).await.unwrap(), (0..100).map(entry).collect::<Vec<_>>());
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote { leader_id: LEADER, committed: true }));
}

/// A process that was killed between making the folder of its log and saying what that is: it never started again. Found by ending
/// processes at `log::create::after`.
#[tokio::test]
async fn folder_that_was_only_begun_is_made_anew() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("wal")).unwrap();
    filled(dir.path()).await;
    drop(LogStore::open(dir.path(), &Media::files()).unwrap());
    // One that was used is not new, whatever is missing.
    fs::remove_file(dir.path().join("format")).unwrap();
    assert!(LogStore::open(dir.path(), &Media::files()).is_err());
    fs::remove_dir_all(dir.path().join("wal")).unwrap();
    assert!(LogStore::open(dir.path(), &Media::files()).is_err(), "its mark tells of a log");
}

#[tokio::test]
async fn entries_are_readable_before_they_are_durable() {
    let dir = TempDir::new().unwrap();
    let mut log = LogStore::open(dir.path(), &Media::files()).unwrap();
    let (done, flushed) = TypeConfig::oneshot();
    log.append([entry(0)], IOFlushed::signal(done)).await.unwrap();
    assert_eq!(log.try_get_log_entries(0..1).await.unwrap(), [entry(0)]);
    flushed.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_log_that_was_cut_back_on_purpose_opens() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let mut log = LogStore::open(dir.path(), &Media::files()).unwrap();
    log.truncate_after(Some(LogId { leader_id: LEADER, index: 49 })).await.unwrap();
    log.save_vote(&Vote { leader_id: LeaderId { term: 4, node_id: 2 }, committed: false }).await.unwrap();
    drop(log);
    let log = LogStore::open(dir.path(), &Media::files()).unwrap();
    assert_eq!(log.last().unwrap().index, 49);
}

#[tokio::test]
async fn purging_beyond_the_end_opens() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let log = LogStore::open(dir.path(), &Media::files()).unwrap();
    log.purge_through(LogId { leader_id: LEADER, index: 150 }).await.unwrap();
    drop(log);
    let log = LogStore::open(dir.path(), &Media::files()).unwrap();
    assert_eq!((log.purged().unwrap().index, log.last().unwrap().index), (150, 150));
}

/// raft-log takes a record that seems to be longer than the file for a torn one and drops all that follows.
#[tokio::test]
async fn no_flipped_byte_makes_acknowledged_entries_vanish() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let chunk = newest_chunk(dir.path());
    let healthy = fs::read(&chunk).unwrap();
    // Every byte of a few records in the middle, headers and lengths among them.
    let middle = healthy.len() / 2;
    for at in middle..middle + 600 {
        let mut damaged = healthy.clone();
        damaged[at] ^= 0xFF;
        fs::write(&chunk, &damaged).unwrap();
        match LogStore::open(dir.path(), &Media::files()) {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(&dir.path().display().to_string()) && !error.contains("locked"), "{error}");
            }
            Ok(mut log) => {
                let entries = log.try_get_log_entries(0..200).await.unwrap();
                assert_eq!(entries, (0..100).map(entry).collect::<Vec<_>>(), "byte {at} was flipped unnoticed");
            }
        }
        // Opening may have cut the file; each round begins with the healthy one.
        fs::write(&chunk, &healthy).unwrap();
    }
}

#[tokio::test]
async fn a_tail_that_was_acknowledged_and_is_gone_is_refused() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let chunk = newest_chunk(dir.path());
    let file = fs::File::options().write(true).open(&chunk).unwrap();
    let end = healthy_end(&chunk);
    file.set_len(end - 37).unwrap();
    let error = LogStore::open(dir.path(), &Media::files()).err().unwrap().to_string();
    assert!(error.contains("was acknowledged"), "{error}");
    assert!(error.contains("replace this node"), "{error}");
}

/// Where the data ends: the file may be longer.
fn healthy_end(chunk: &Path) -> u64 {
    let bytes = fs::read(chunk).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

#[tokio::test]
async fn a_torn_record_that_nobody_was_told_of_is_dropped() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let chunk = newest_chunk(dir.path());
    let bytes = fs::read(&chunk).unwrap();
    // The first half of a record, as a kill in the middle of a write leaves it.
    let mut file = fs::File::options().append(true).open(&chunk).unwrap();
    let record = &bytes[bytes.len() - 250..];
    file.write_all(&record[..100]).unwrap();
    drop(file);
    match LogStore::open(dir.path(), &Media::files()) {
        Ok(mut log) => assert_eq!(log.try_get_log_entries(0..200).await.unwrap().len(), 100),
        // Bytes that are no record at all are refused rather than guessed at.
        Err(error) => assert!(error.to_string().contains("cannot be opened"), "{error}"),
    }
}

#[tokio::test]
async fn a_damaged_mark_is_refused() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let path = dir.path().join("mark");
    let mut file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&vec![0xAA; bytes.len()]).unwrap();
    let error = LogStore::open(dir.path(), &Media::files()).err().unwrap().to_string();
    assert!(error.contains("mark is damaged"), "{error}");
}

#[tokio::test]
async fn another_format_version_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let path = dir.path().join("format");
    leasehold_state_machine::storage::files::write_record(&path, *b"LHRAFTLG", 99, &[]).unwrap();
    let error = LogStore::open(dir.path(), &Media::files()).err().unwrap().to_string();
    assert!(error.contains("99") && error.contains("format"), "{error}");
}

/// Found by fuzzing: such a log was opened, and the first read of it panicked.
#[tokio::test]
async fn a_log_that_ends_before_its_purge_point_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("mark");
    let mark = MarkFile::open(open_mark(&path).unwrap(), &path).unwrap();
    let id = |index| Some(StoredLogId::from(LogId { leader_id: LEADER, index }));
    let state = |last, purged| WalState { last, purged, ..WalState::default() };
    let refused = check_against_mark(&state(id(3), id(4)), &mark).unwrap_err();
    assert!(refused.to_string().contains("was purged through"), "{refused}");
    assert!(check_against_mark(&state(None, id(4)), &mark).is_err());
    assert!(check_against_mark(&state(id(4), id(4)), &mark).is_ok());
}

#[tokio::test]
async fn nothing_is_read_of_a_range_that_ends_before_it_begins() {
    let dir = TempDir::new().unwrap();
    filled(dir.path()).await;
    let log = LogStore::open(dir.path(), &Media::files()).unwrap();
    assert_eq!(log.read(7, 3, usize::MAX).unwrap(), []);
}
