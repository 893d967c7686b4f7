//! Resources that the clients of a run change under its locks (C10), kept by nobody: all processes append to one file what they ask, and
//! what an access came to follows from what stands before it. So no process can stop another one there, and one that is killed leaves nothing half done.
//!
//! Each lock has two: one with the guard of C10, and one that takes everything and shows that updates get lost where the guard is missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::checker::Resource;
use crate::workload::{Outside, Version};

const NAME: &str = "resources";

/// Where the accesses of a run are written down.
#[must_use]
pub fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The resources, as one process reaches them.
#[derive(Debug)]
pub struct Resources(Mutex<Access>);

#[derive(Debug)]
struct Access {
    append: File,
    read: File,
    replay: Replay,
}

impl Resources {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let append = File::options().create(true).append(true).open(path)?;
        let read = File::open(path)?;
        Ok(Self(Mutex::new(Access { append, read, replay: Replay::default() })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Access) -> io::Result<T>) -> T {
        // As with the history: one with a hole is worth nothing.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)).expect("the resources can be reached")
    }
}

impl Outside for Resources {
    fn read(&self, worker: u32, lock: &str, token: u64) -> Version {
        self.with(|access| {
            access.put(&format!("R {lock} {token} {worker}\n"))?;
            // Ours is the last one of this worker.
            access.catch_up()?;
            Ok(access.replay.reads.get(&worker).copied().unwrap_or_default())
        })
    }

    fn write(&self, lock: &str, token: u64, read: Version) {
        let guarded = read.guarded.map_or("-".to_owned(), |version| version.to_string());
        self.with(|access| access.put(&format!("W {lock} {token} {guarded} {}\n", read.unguarded)));
    }
}

impl Access {
    /// In one write, so that nobody's comes in between.
    fn put(&mut self, line: &str) -> io::Result<()> {
        self.append.write_all(line.as_bytes())
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let mut text = String::new();
        self.read.read_to_string(&mut text)?;
        self.replay.add(&text);
        Ok(())
    }
}

/// What became of a lock's resources.
#[derive(Debug, Clone)]
pub struct Pair {
    /// With the guard.
    pub guarded: Resource,
    /// Without it.
    pub unguarded: Resource,
}

/// All accesses so far, done one after another.
#[derive(Debug, Default)]
struct Replay {
    rest: String,
    pairs: BTreeMap<String, Pair>,
    /// What each worker read last.
    reads: BTreeMap<u32, Version>,
}

impl Replay {
    fn add(&mut self, text: &str) {
        self.rest.push_str(text);
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = self.rest.drain(..whole).collect();
        for line in lines.lines() {
            // Whatever is no line of ours was never asked.
            let _ = self.line(line);
        }
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let (lock, token) = (*words.get(1)?, words.get(2)?.parse().ok()?);
        let fresh = || Pair { guarded: Resource::guarded(), unguarded: Resource::unguarded() };
        let pair = self.pairs.entry(lock.to_owned()).or_insert_with(fresh);
        match words.as_slice() {
            ["R", _, _, worker] => {
                let guarded = pair.guarded.read(token);
                let unguarded = pair.unguarded.read(token).unwrap_or_default();
                self.reads.insert(worker.parse().ok()?, Version { guarded, unguarded });
            }
            ["W", _, _, guarded, unguarded] => {
                if let Ok(read) = guarded.parse() {
                    pair.guarded.write(token, read);
                }
                pair.unguarded.write(token, unguarded.parse().ok()?);
            }
            _ => {}
        }
        Some(())
    }
}

/// What became of all of them. None: nobody came to any.
pub fn replayed(path: &Path) -> io::Result<BTreeMap<String, Pair>> {
    let mut replay = Replay::default();
    if path.exists() {
        replay.add(&std::fs::read_to_string(path)?);
    }
    Ok(replay.pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_see_what_others_did_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        let (one, other) = (Resources::open(&path).unwrap(), Resources::open(&path).unwrap());
        let first = one.read(1, "a", 7);
        one.write("a", 7, first);
        let second = other.read(2, "a", 8);
        assert_eq!(second, Version { guarded: Some(1), unguarded: 1 });
        assert_eq!(other.read(3, "b", 9), Version { guarded: Some(0), unguarded: 0 }, "another lock");
        other.write("a", 8, second);
        // The first one was away, and wakes up.
        one.write("a", 7, first);
        assert_eq!(one.read(1, "a", 7), Version { guarded: None, unguarded: 3 });
        let pairs = replayed(&path).unwrap();
        assert_eq!((pairs["a"].guarded.lost(), pairs["a"].guarded.taken()), (0, 2));
        assert_eq!((pairs["a"].unguarded.lost(), pairs["a"].unguarded.taken()), (1, 3));
    }

    #[test]
    fn what_is_not_whole_yet_waits() {
        let mut replay = Replay::default();
        replay.add("R a 1 5\nW a 1 0");
        assert_eq!(replay.pairs["a"].guarded.taken(), 0);
        replay.add(" 0\n");
        assert_eq!(replay.pairs["a"].guarded.taken(), 1);
    }
}
