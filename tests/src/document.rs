//! A page of documentation whose commands are run as they stand, and whose output is what they print.
//!
//! Fenced blocks: `sh` are commands, run in one shell after the other; a `text` block that follows shows what they print, on
//! stdout and stderr. No such block: they print nothing. More words after these say how: `sh again` may be run again until
//! it prints that (a look at something that is about to happen), `sh second` runs in a second terminal while the page goes
//! on, and `text second` is what that terminal has printed when its commands have ended.
//!
//! What differs from run to run is compared by what it is. Ids (tokens, leases, sessions, revisions) must be the same ones
//! wherever the page shows the same ones, and commands that name an id of the page get that of the run. Spans of time, log
//! indexes and roles of nodes are only looked for.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

/// Which terminal a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Terminal {
    /// The reader's first one.
    First,
    /// Another one, beside it.
    Second,
}

/// One block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Commands.
    Commands {
        /// As they stand.
        lines: String,
        /// Where.
        terminal: Terminal,
        /// Whether they may be repeated until they print what is shown.
        again: bool,
        /// Line of the page.
        at: usize,
    },
    /// What commands have printed.
    Output {
        /// As it stands.
        lines: String,
        /// Of the commands of which terminal.
        terminal: Terminal,
        /// Line of the page, and of its end.
        at: (usize, usize),
    },
}

/// The blocks of a page that are commands or their output.
pub fn blocks(page: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((start, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        let end = loop {
            let (at, line) = lines.next().with_context(|| format!("the block of line {} has no end", start + 1))?;
            if line == "```" {
                break at;
            }
            text.push_str(line);
            text.push('\n');
        };
        let words: Vec<&str> = info.split_whitespace().collect();
        let terminal = if words.contains(&"second") { Terminal::Second } else { Terminal::First };
        match words.first() {
            Some(&"sh") => {
                let again = words.contains(&"again");
                blocks.push(Block::Commands { lines: text, terminal, again, at: start + 1 });
            }
            Some(&"text") => blocks.push(Block::Output { lines: text, terminal, at: (start + 1, end + 1) }),
            _ => {}
        }
    }
    Ok(blocks)
}

/// The ids of a page, and which ones they are in this run.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    run_of: HashMap<String, String>,
    page_of: HashMap<String, String>,
}

impl Ids {
    /// Commands with the ids of the run in place of those of the page.
    #[must_use]
    pub fn for_run(&self, commands: &str) -> String {
        replace_ids(commands, &self.run_of)
    }

    /// Output with the ids of the page in place of those of the run; new ones stay as they are.
    #[must_use]
    pub fn for_page(&self, output: &str) -> String {
        replace_ids(output, &self.page_of)
    }

    /// Takes new ids in, in the order in which both show them.
    pub fn learn(&mut self, page: &str, run: &str) {
        let ids = |text| words(text).into_iter().filter(|word| is_id(word));
        for (page, run) in ids(page).zip(ids(run)) {
            if !self.run_of.contains_key(page) && !self.page_of.contains_key(run) {
                self.run_of.insert(page.to_owned(), run.to_owned());
                self.page_of.insert(run.to_owned(), page.to_owned());
            }
        }
    }

    /// Whether the run has printed what the page shows.
    pub fn compare(&mut self, page: &str, run: &str) -> Result<()> {
        self.learn(page, run);
        let (shown, printed) = (comparable(page), comparable(&self.for_page(run)));
        for (number, (shown, printed)) in shown.iter().zip(&printed).enumerate() {
            ensure!(shown == printed, "line {}:\n  page: {shown}\n  run:  {printed}", number + 1);
        }
        ensure!(shown.len() == printed.len(), "{} lines on the page, {} in the run", shown.len(), printed.len());
        Ok(())
    }
}

/// Runs of letters, digits, dots and underscores, as ids, names and numbers are.
fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !is_of_word(c)).filter(|word| !word.is_empty()).collect()
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '.' || c == '_'
}

fn is_id(word: &str) -> bool {
    let hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let revision = word.split_once('.').is_some_and(|(index, ordinal)| number(index) && number(ordinal));
    revision || ([16, 32].contains(&word.len()) && hex(word))
}

fn replace_ids(text: &str, ids: &HashMap<String, String>) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (word, others) = rest.split_at(length);
        replaced.push_str(ids.get(word).map_or(word, String::as_str));
        let gap = others.find(is_of_word).unwrap_or(others.len());
        replaced.push_str(&others[..gap]);
        rest = &others[gap..];
    }
    replaced
}

/// Lines without what may differ: columns are as wide as what stands in them, and time goes on.
fn comparable(text: &str) -> Vec<String> {
    text.lines().map(comparable_line).collect()
}

fn comparable_line(line: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = line.trim_end();
    while !rest.is_empty() {
        let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (word, others) = rest.split_at(length);
        if !word.is_empty() {
            parts.push(class_of(word, &parts));
        }
        let gap = others.find(is_of_word).unwrap_or(others.len());
        if gap > 0 {
            let between: Vec<&str> = others[..gap].split_whitespace().collect();
            let spaced = others[..gap].contains(char::is_whitespace);
            parts.push(if between.is_empty() { " ".to_owned() } else { between.join(if spaced { " " } else { "" }) });
        }
        rest = &others[gap..];
    }
    // A span of several units is one span.
    let mut line = parts.concat();
    while line.contains("<span> <span>") {
        line = line.replace("<span> <span>", "<span>");
    }
    line.trim().to_owned()
}

/// The word itself, or what it is.
fn class_of(word: &str, before: &[String]) -> String {
    let number = word.bytes().all(|byte| byte.is_ascii_digit());
    let last = |back: usize| before.len().checked_sub(back).and_then(|at| before.get(at)).map_or("", String::as_str);
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let span = unit.len() < word.len() && ["ms", "s", "m", "h"].contains(&unit);
    // In JSON: "left_ms":226.
    let key = if last(1) == "\":" { last(2) } else { "" };
    if span {
        "<span>".to_owned()
    } else if number && (key.ends_with("_ms") || key == "revision" || key == "applied" || key == "term") {
        "<number>".to_owned()
    } else if ["leader", "follower"].contains(&word) {
        "<role>".to_owned()
    } else if number && last(2) == "<role>" {
        "<index>".to_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: &str = "LOCK  TOKEN             LEFT\na     1000000000000001  29s 940ms\n";

    #[test]
    fn blocks_are_found_with_what_they_are() {
        let page = "A page.\n```sh\na\nb\n```\nText\n```text\nout\n```\n```rust\nx\n```\n```sh second again\nc\n```\n";
        let blocks = blocks(page).unwrap();
        assert_eq!(blocks.len(), 3);
        let commands = Block::Commands { lines: "a\nb\n".into(), terminal: Terminal::First, again: false, at: 2 };
        assert_eq!(blocks[0], commands);
        assert_eq!(blocks[1], Block::Output { lines: "out\n".into(), terminal: Terminal::First, at: (7, 9) });
        assert!(matches!(blocks[2], Block::Commands { terminal: Terminal::Second, again: true, .. }));
        assert!(super::blocks("```sh\na\n").is_err());
    }

    #[test]
    fn ids_and_times_may_differ_and_nothing_else() {
        let mut ids = Ids::default();
        ids.compare(TAKEN, "LOCK  TOKEN             LEFT\na     7000000000000007  8s\n").unwrap();
        assert_eq!(ids.for_run("leasehold release a 1000000000000001"), "leasehold release a 7000000000000007");
        let other = |run: &str| Ids::default().compare(TAKEN, run).is_err();
        assert!(other("LOCK  TOKEN             LEFT\nb     7000000000000007  8s\n"), "another name");
        assert!(other("LOCK  TOKEN             LEFT\na     7000000000000007\n"), "a column less");
        assert!(other("LOCK  TOKEN             LEFT\n"), "a line less");
        assert!(other("LOCK  TOKEN             LEFT\na     7000000000000007  8s\nmore\n"), "a line more");
    }

    #[test]
    fn the_same_id_on_the_page_is_the_same_in_the_run() {
        let mut ids = Ids::default();
        ids.compare("1000000000000001\n", "7000000000000007\n").unwrap();
        assert!(ids.compare("1000000000000001\n", "7000000000000008\n").is_err(), "another one");
        assert!(ids.compare("1000000000000002\n", "7000000000000007\n").is_err(), "the same for another one");
        ids.compare("1000000000000002 1000000000000001\n", "7000000000000009 7000000000000007\n").unwrap();
        ids.compare("after 12.0\n", "after 31.2\n").unwrap();
        assert_eq!(ids.for_run("watch --after 12.0"), "watch --after 31.2");
    }

    #[test]
    fn numbers_count_unless_they_are_times_or_places_in_the_log() {
        let same = |page: &str, run: &str| Ids::default().compare(page, run).is_ok();
        assert!(!same("exit code 75\n", "exit code 0\n"));
        assert!(same("{\"left_ms\":226,\"revision\":7}\n", "{\"left_ms\":9,\"revision\":12}\n"));
        assert!(!same("{\"version\":1}\n", "{\"version\":2}\n"));
        assert!(same("1  host:7400  leader    22  yes\n", "1 host:7400 follower 7 yes\n"));
        assert!(!same("1  host:7400  leader  22  yes\n", "1  host:7400  leader  22  no\n"));
    }
}
