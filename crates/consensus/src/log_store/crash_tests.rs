//! Random lives of a log, each broken off in many places: what was acknowledged is there afterwards, or the log is refused by name.
//! Real files, the real log; only the end of it is made by hand, on a copy of the folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use leasehold_state_machine::storage::{Checkpoint, CheckpointError};
use openraft::entry::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::{FORMAT_FILE, LogStore, MARK_FILE, MarkBytes, Wal, open_mark, wal};
use crate::media::{Disk, Media};
use crate::types::{BatchBytes, Entry, LeaderId, LogId, TypeConfig, Vote};

/// Small files, so that a life fills several.
const CHUNK_BYTES: usize = 4 << 10;
const LIVES: u64 = 12;
const STEPS: usize = 40;
const PAYLOAD_BYTES_MAX: usize = 300;
/// Ends of the log that are tried after a step that is followed by some.
const CRASHES: usize = 4;

/// The real files, but small ones.
struct SmallFiles;

impl Disk for SmallFiles {
    fn open_log(&self, dir: &Path) -> io::Result<Box<dyn Wal>> {
        wal::open_in_files_of(dir, CHUNK_BYTES)
    }

    fn open_mark(&self, path: &Path) -> io::Result<Box<dyn MarkBytes>> {
        open_mark(path)
    }

    fn open_checkpoint(&self, dir: &Path) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(dir)
    }

    fn discard_checkpoint(&self, dir: &Path) -> io::Result<()> {
        Checkpoint::discard(dir)
    }
}

fn open(dir: &Path) -> Result<LogStore, super::LogError> {
    LogStore::open(dir, &Media::new(Arc::new(SmallFiles)))
}

/// What a log has to have, and what it may have.
#[derive(Clone, Default)]
struct Expected {
    /// Acknowledged, and neither cut back nor purged since.
    acknowledged: BTreeMap<u64, Entry>,
    /// All that was ever written at an index.
    written: BTreeMap<u64, Vec<Entry>>,
    vote: Option<Vote>,
    votes: Vec<Vote>,
    /// Nothing was acknowledged as purged beyond this.
    purged: Option<u64>,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
enum Crash {
    /// kill -9: all that was written is there.
    Kill,
    /// A power cut in the middle of appends that were not synced yet: the end of the file is gone, and what was noted of them.
    PowerCut,
    /// The newest file ends anywhere.
    Cut,
    /// A byte of any file is another.
    Flip,
}

struct Life {
    random: StdRng,
    seed: u64,
    dir: TempDir,
    log: LogStore,
    entries: BTreeMap<u64, Entry>,
    next: u64,
    term: u64,
    /// What is committed is never cut back.
    committed: Option<u64>,
    expected: Expected,
}

impl Life {
    fn begin(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let log = open(dir.path()).unwrap();
        let random = StdRng::seed_from_u64(seed);
        let (entries, expected) = (BTreeMap::new(), Expected::default());
        Self { random, seed, dir, log, entries, next: 0, term: 1, committed: None, expected }
    }

    fn leader(&self) -> LeaderId {
        LeaderId { term: self.term, node_id: 1 + self.term % 3 }
    }

    async fn step(&mut self) {
        match self.random.random_range(0..20) {
            0..=9 => self.append().await,
            10..=12 => self.vote().await,
            13..=14 => self.cut_back().await,
            15..=16 => self.purge().await,
            17 => self.commit().await,
            _ => self.reopen().await,
        }
    }

    async fn append(&mut self) {
        let (count, leader_id) = (self.random.random_range(1..6), self.leader());
        let mut batch = Vec::new();
        for _ in 0..count {
            let length = self.random.random_range(0..PAYLOAD_BYTES_MAX);
            // Also such that nothing but zeros stands at the end.
            let byte = if self.random.random_bool(0.2) { 0 } else { self.random.random() };
            let payload = EntryPayload::Normal(BatchBytes(Bytes::from(vec![byte; length])));
            let entry = Entry { log_id: LogId { leader_id, index: self.next }, payload };
            self.expected.written.entry(self.next).or_default().push(entry.clone());
            self.entries.insert(self.next, entry.clone());
            batch.push(entry);
            self.next += 1;
        }
        let (done, flushed) = TypeConfig::oneshot();
        self.log.append(batch, IOFlushed::signal(done)).await.unwrap();
        // Some are never waited for: the next acknowledgement is of them too.
        if self.random.random_bool(0.7) {
            flushed.await.unwrap().unwrap();
            self.acknowledged();
        }
    }

    async fn vote(&mut self) {
        self.term += self.random.random_range(1..3);
        let vote = Vote { leader_id: self.leader(), committed: self.random.random_bool(0.5) };
        self.expected.votes.push(vote);
        self.log.save_vote(&vote).await.unwrap();
        self.expected.vote = Some(vote);
        self.acknowledged();
    }

    /// As a follower does for a new leader: never without a later term.
    async fn cut_back(&mut self) {
        let first = self.expected.purged.max(self.committed).map_or(0, |index| index + 1);
        if self.next <= first {
            return;
        }
        self.vote().await;
        let from = self.random.random_range(first..self.next);
        let last = from.checked_sub(1).map(|index| match self.entries.get(&index) {
            Some(entry) => entry.log_id,
            None => self.log.purged().unwrap(),
        });
        self.expected.acknowledged.retain(|index, _| *index < from);
        self.log.truncate_after(last).await.unwrap();
        self.entries.retain(|index, _| *index < from);
        self.next = from;
    }

    async fn purge(&mut self) {
        let Some((_, through)) = self.entries.iter().nth(self.random.random_range(0..8)) else { return };
        let id = through.log_id;
        self.expected.acknowledged.retain(|index, _| *index > id.index);
        self.expected.purged = Some(id.index);
        self.log.purge(id).await.unwrap();
        self.entries.retain(|index, _| *index > id.index);
    }

    async fn commit(&mut self) {
        let Some((index, entry)) = self.entries.iter().nth(self.random.random_range(0..4)) else { return };
        self.committed = self.committed.max(Some(*index));
        self.log.save_committed(Some(entry.log_id)).await.unwrap();
    }

    /// Stops and starts, in good order.
    async fn reopen(&mut self) {
        self.log.close().await.unwrap();
        self.acknowledged();
        // The folder is locked as long as the old one lives.
        let other = TempDir::new().unwrap();
        self.log = open(other.path()).unwrap();
        self.log = open(self.dir.path()).unwrap();
    }

    fn acknowledged(&mut self) {
        self.expected.acknowledged.clone_from(&self.entries);
    }

    /// Breaks off a copy, and looks at what is left.
    async fn crash(&mut self, crash: Crash) {
        let copy = TempDir::new().unwrap();
        let (mut expected, mut told) = (self.expected.clone(), String::new());
        match crash {
            Crash::PowerCut => told = self.power_cut(copy.path(), &mut expected).await,
            Crash::Kill => copy_folder(self.dir.path(), copy.path()),
            Crash::Cut | Crash::Flip => {
                copy_folder(self.dir.path(), copy.path());
                told = self.damage(crash, copy.path());
            }
        }
        let seed = self.seed;
        match open(copy.path()) {
            Ok(mut log) => check(&expected, &mut log, &format!("life {seed}, {crash:?} {told}")).await,
            Err(error) => {
                let may_refuse = matches!(crash, Crash::Cut | Crash::Flip);
                assert!(may_refuse, "life {seed}, {crash:?} {told}: refused: {error}");
                assert!(error.to_string().contains(&copy.path().display().to_string()), "not by name: {error}");
            }
        }
    }

    /// Appends something, and takes a part of that away again. The mark was written after the sync that did not come to be.
    async fn power_cut(&mut self, copy: &Path, expected: &mut Expected) -> String {
        self.log.close().await.unwrap();
        self.expected.acknowledged.clone_from(&self.entries);
        expected.acknowledged.clone_from(&self.entries);
        let mark = fs::read(self.dir.path().join(MARK_FILE)).unwrap();
        let (file, safe) = newest_file(self.dir.path());
        self.append().await;
        expected.written.clone_from(&self.expected.written);
        self.log.close().await.unwrap();
        self.expected.acknowledged.clone_from(&self.entries);
        copy_folder(self.dir.path(), copy);
        let (newest, length) = newest_file(copy);
        if newest.file_name() != file.file_name() {
            // The append began another file, and the old one was synced whole.
            return String::new();
        }
        fs::write(copy.join(MARK_FILE), mark).unwrap();
        let to = self.random.random_range(safe..=length);
        fs::File::options().write(true).open(&newest).unwrap().set_len(to).unwrap();
        format!("at byte {to} of {safe} to {length}")
    }

    fn damage(&mut self, crash: Crash, copy: &Path) -> String {
        let (newest, length) = newest_file(copy);
        let cut = |to: u64| {
            fs::File::options().write(true).open(&newest).unwrap().set_len(to).unwrap();
            format!("of {} at byte {to} of {length}", newest.display())
        };
        match crash {
            Crash::Kill | Crash::PowerCut => String::new(),
            Crash::Cut => cut(self.random.random_range(0..=length)),
            Crash::Flip => {
                let files = files_of(copy);
                let path = &files[self.random.random_range(0..files.len())];
                let mut bytes = fs::read(path).unwrap();
                if bytes.is_empty() {
                    return String::new();
                }
                let at = self.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << self.random.random_range(0..8);
                fs::write(path, bytes).unwrap();
                format!("of byte {at} of {}", path.display())
            }
        }
    }
}

async fn check(expected: &Expected, log: &mut LogStore, told: &str) {
    let vote = log.read_vote().await.unwrap();
    assert!(vote >= expected.vote, "{told}: vote {vote:?} after {:?}", expected.vote);
    assert!(vote.is_none_or(|vote| expected.votes.contains(&vote)), "{told}: {vote:?} was never given");
    let first = log.purged().map_or(0, |id| id.index + 1);
    assert!(first <= expected.purged.map_or(0, |index| index + 1), "{told}: purged up to {first}");
    // What is damaged in place is found when it is read.
    let Ok(entries) = log.try_get_log_entries(first..u64::MAX).await else { return };
    let found: BTreeMap<u64, Entry> = entries.into_iter().map(|entry| (entry.log_id.index, entry)).collect();
    for (index, entry) in &expected.acknowledged {
        assert_eq!(found.get(index), Some(entry), "{told}: entry {index} was acknowledged");
    }
    assert!(found.keys().copied().eq(first..first + found.len() as u64), "{told}: gaps in {:?}", found.keys());
    for (index, entry) in &found {
        let known = expected.written.get(index).is_some_and(|written| written.contains(entry));
        assert!(known, "{told}: entry {index} was never written");
    }
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files.extend([dir.join(MARK_FILE), dir.join(FORMAT_FILE)]);
    files
}

fn newest_file(dir: &Path) -> (PathBuf, u64) {
    let files = files_of(dir);
    let newest = files[files.len() - 3].clone();
    let length = fs::metadata(&newest).unwrap().len();
    (newest, length)
}

/// The mark first: it is never newer than the files.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("wal")).unwrap();
    for path in files_of(from).into_iter().rev() {
        fs::copy(&path, to.join(path.strip_prefix(from).unwrap())).unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_or_the_log_is_refused_by_name() {
    for seed in 0..LIVES {
        let mut life = Life::begin(seed);
        for _ in 0..STEPS {
            life.step().await;
            if life.random.random_bool(0.3) {
                for _ in 0..CRASHES {
                    let crashes = [Crash::Kill, Crash::PowerCut, Crash::Cut, Crash::Flip];
                    let crash = crashes[life.random.random_range(0..crashes.len())];
                    life.crash(crash).await;
                }
            }
        }
    }
}
