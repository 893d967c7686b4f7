//! Panics in what nodes and clients wrote: each is a bug, but for those of others' code that the node contained, and said so.

use std::fs;
use std::path::Path;

use anyhow::Result;

/// Where others' code panics, and what a node says that contained it: sled's on a checkpoint that a power cut or a fault damaged,
/// or whose disk is gone, and the checkpoint is built anew or the node stops; openraft's when two tasks ask at once why a node
/// stops.
const CONTAINED: [(&str, &[&str]); 2] = [
    (
        "/sled-0.34",
        &[
            "the checkpoint cannot be used",
            "the checkpoint could not be written",
            "sled panicked while",
            "panicked before",
        ],
    ),
    ("/src/raft/raft_inner.rs", &["this node stops", "stopped", "does not take entries any more"]),
];
/// The first word of a process that a log goes on with.
const STARTED: &str = "node started";
/// What is kept of one log.
const SHOWN_MAX: usize = 3;

/// The panics in the logs of a folder that nothing contained.
pub(super) fn panics(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            found.extend(uncontained(&text).take(SHOWN_MAX).map(|line| format!("{}: {line}", path.display())));
        }
    }
    Ok(found)
}

fn uncontained(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().collect();
    let panics = (0..lines.len()).filter(|at| lines[*at].contains("panicked at")).collect::<Vec<_>>();
    panics
        .into_iter()
        .filter(move |at| !is_contained(lines[*at], &lines[*at + 1..]))
        .map(|at| text.lines().nth(at).unwrap_or_default())
}

/// Whether the node said so before its log ends or its next process begins, or said nothing more at all: then a fault ended it.
fn is_contained(panic: &str, after: &[&str]) -> bool {
    let Some((_, words)) = CONTAINED.iter().find(|(place, _)| panic.contains(place)) else { return false };
    let mut silent = true;
    for line in after {
        if words.iter().any(|word| line.contains(word)) {
            return true;
        }
        if line.contains(STARTED) {
            return silent;
        }
        // Words of the log, not of the panic.
        silent &= !(line.contains(" INFO ") || line.contains(" WARN ") || line.contains(" ERROR "));
    }
    silent
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLED: &str = "thread 'a' panicked at /registry/sled-0.34.7/src/pagecache/logger.rs:467:41:\ncalled unwrap";

    #[test]
    fn a_panic_of_our_own_is_a_bug() {
        let text =
            "thread 'a' panicked at crates/consensus/src/applier.rs:1:1:\nx\n INFO the checkpoint cannot be used";
        assert_eq!(uncontained(text).count(), 1);
    }

    #[test]
    fn a_panic_of_sled_is_contained_where_the_node_says_so_or_nothing() {
        let said = format!("{SLED}\n WARN recovery: the checkpoint cannot be used; rebuilding it\n INFO node started");
        let silent = format!("{SLED}\nstack backtrace:\n INFO serve: node started");
        assert_eq!(uncontained(&said).count() + uncontained(&silent).count() + uncontained(SLED).count(), 0);
    }

    #[test]
    fn a_node_that_goes_on_as_if_nothing_had_happened_has_a_bug() {
        let on = format!("{SLED}\n INFO leadership: leader known to this node changed leader=3");
        let late =
            format!("{SLED}\n INFO leadership: x\n INFO serve: node started\n WARN the checkpoint cannot be used");
        for text in [on, late] {
            assert_eq!(uncontained(&text).collect::<Vec<_>>(), [SLED.lines().next().unwrap()], "{text}");
        }
    }
}
