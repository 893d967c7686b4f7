//! What came of it, as a table.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use super::{Patch, Verdict};

/// Verdicts, as they came in.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(Patch, Verdict)>,
}

const HEAD: [&str; 5] = ["planted bug", "rule", "caught by", "tests, s", "with builds, s"];

impl Report {
    /// Adds one.
    pub fn add(&mut self, patch: &Patch, verdict: Verdict) {
        self.rows.push((patch.clone(), verdict));
    }

    /// Whether every bug was caught.
    #[must_use]
    pub fn all_caught(&self) -> bool {
        self.rows.iter().all(|(_, verdict)| verdict.catch.is_some())
    }

    /// Bugs, and how many of them were caught.
    #[must_use]
    pub fn summary(&self) -> String {
        let caught = self.rows.iter().filter(|(_, verdict)| verdict.catch.is_some()).count();
        format!("{caught} of {} planted bugs were caught", self.rows.len())
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(HEAD);
        for (patch, verdict) in &self.rows {
            table.add_row(cells(patch, verdict));
        }
        table.to_string()
    }

    /// For a page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), " --- |".repeat(HEAD.len()));
        for (patch, verdict) in &self.rows {
            let cells = cells(patch, verdict).map(|cell| cell.replace('|', "\\|"));
            // Writing to a string does not fail.
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// What is to be said of the expectations in the heads.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.rows.iter().filter_map(|(patch, verdict)| Some(format!("{}: {}", patch.name, verdict.note.as_ref()?)))
    }
}

fn cells(patch: &Patch, verdict: &Verdict) -> [String; 5] {
    let (by, tests) = match &verdict.catch {
        Some(catch) => (format!("{}: {}", catch.tier.name, catch.by), format!("{:.1}", catch.tests.as_secs_f64())),
        None => (format!("NOT CAUGHT (expected of {})", patch.tier.name), String::new()),
    };
    [patch.name.clone(), patch.rule.clone(), by, tests, format!("{:.0}", verdict.total.as_secs_f64())]
}
