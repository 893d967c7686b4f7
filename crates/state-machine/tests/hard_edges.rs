//! DESIGN section 2: the state machine is deterministic, only its storage knows sled, and one module encodes bytes.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What a file says outside of comments and of its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// `(words, where they are allowed, why nowhere else)`
const EDGES: &[(&[&str], &str, &str)] = &[
    (&["SystemTime", "Instant", "std::time"], "storage/", "log time is the only time"),
    (&["HashMap", "HashSet", "RandomState"], "storage/", "iteration order must not depend on a hash seed"),
    (&["rand::", "getrandom"], "storage/", "the same entries give the same state"),
    (&["tokio", "tonic", "openraft", "async fn", ".await"], "nowhere", "no async, no network, no consensus"),
    (&["std::thread", "std::env", "std::net", "std::process"], "storage/", "nothing of the process comes in"),
    (&["std::fs", "std::io"], "storage/", "apply does no input or output"),
    (&["sled"], "storage/", "only the storage module knows sled"),
    (&["bincode"], "codec.rs", "only one module encodes bytes"),
    (&["f32", "f64"], "nowhere", "floating point may differ between platforms"),
    (&["unsafe"], "nowhere", "forbidden in the workspace"),
];

#[test]
fn sources_keep_the_hard_edges() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&root, &mut files);
    assert!(files.len() > 20, "{} files", files.len());
    let mut broken = vec![];
    for path in &files {
        let code = code(path);
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        for (words, allowed, why) in EDGES.iter().filter(|(_, allowed, _)| !name.starts_with(allowed)) {
            for word in words.iter().filter(|word| contains_word(&code, word)) {
                broken.push(format!("src/{name} has `{word}` (allowed in {allowed}): {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The words of the edges are found where they are allowed: the check can fail.
#[test]
fn check_sees_what_it_looks_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert!(contains_word(&code(&root.join("codec.rs")), "bincode"));
    let mut storage = vec![];
    sources(&root.join("storage"), &mut storage);
    assert!(storage.iter().any(|path| contains_word(&code(path), "sled")));
    assert!(!contains_word("called", "sled") && !contains_word("inf32x", "f32"));
}

fn contains_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_part) && word.starts_with(is_part);
        let after = code[at + word.len()..].chars().next().is_some_and(is_part) && word.ends_with(is_part);
        !before && !after
    })
}
