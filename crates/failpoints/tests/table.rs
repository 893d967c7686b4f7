//! The list of failpoints is what the sources have: a name that is used is listed (or does not compile), one that is listed is
//! used, once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use leasehold_failpoints::{Kind, POINTS};

const CRATES: [&str; 4] = ["state-machine", "consensus", "frontend", "leasehold"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are readable") {
        let path = entry.expect("the sources are readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names and kinds in the sources, and how often each is used.
fn used() -> BTreeMap<(String, String), usize> {
    let mut files = Vec::new();
    for name in CRATES {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"), &mut files);
    }
    let mut used = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(file).expect("the sources are readable");
        for (at, start) in text.match_indices("failpoint!(") {
            let arguments = text[at + start.len()..].split_once(')').expect("the sources are readable").0;
            let (name, kind) = arguments.split_once(',').unwrap_or((arguments, ""));
            let name = name.trim().trim_matches('"').to_owned();
            *used.entry((name, kind.trim().to_owned())).or_default() += 1;
        }
    }
    used
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Fails => "",
        Kind::Steps => "step",
        Kind::Skips => "skip",
        Kind::Passes => "pass",
    }
}

#[test]
fn every_failpoint_is_listed_and_stands_in_the_sources_once() {
    let used = used();
    let listed: BTreeMap<(String, String), usize> =
        POINTS.iter().map(|point| ((point.name.to_owned(), word(point.kind).to_owned()), 1)).collect();
    assert_eq!(listed.len(), POINTS.len(), "a name is listed twice");
    let unused: Vec<_> = listed.keys().filter(|name| !used.contains_key(*name)).collect();
    assert!(unused.is_empty(), "listed and not in the sources: {unused:?}");
    let more: Vec<_> = used.iter().filter(|(name, count)| listed.get(*name) != Some(count)).collect();
    assert!(more.is_empty(), "not listed, or used more than once: {more:?}");
    assert!(POINTS.len() >= 45, "{} failpoints", POINTS.len());
}

#[test]
fn names_have_an_area_a_step_and_a_side() {
    for point in POINTS {
        let parts: Vec<&str> = point.name.split("::").collect();
        let ok = matches!(parts[..], [area, step, "before" | "after"] if !area.is_empty() && !step.is_empty());
        assert!(ok, "{}", point.name);
    }
}
