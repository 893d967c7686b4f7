//! One bug before the tiers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::child::{Ended, cargo};
use super::{Expectation, Part, Patch, Scratch, Tier};
use crate::clock::Moment;

/// A build that takes longer has hung.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// Names of failed tests that a report shows.
const SHOWN_MAX: usize = 3;
/// Lines of a failed build that an error shows.
const ERROR_LINES_MAX: usize = 40;

/// What caught a bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catch {
    /// The tier.
    pub tier: &'static Tier,
    /// The tests that failed, or how the run ended.
    pub by: String,
    /// What the tests took that noticed, and those tried before them.
    pub tests: Duration,
}

/// How a bug came out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// None: nobody noticed.
    pub catch: Option<Catch>,
    /// Everything, builds as well.
    pub total: Duration,
    /// What is to be said of the expectation in its head.
    pub note: Option<String>,
}

/// Builds and runs the tiers of a scratch copy.
#[derive(Debug)]
pub struct Trial {
    /// Tiers to run, in this order.
    pub tiers: Vec<&'static Tier>,
    notes: PathBuf,
}

impl Trial {
    /// Over these tiers; what they print is left below `notes` until the next.
    pub fn new(tiers: Vec<&'static Tier>, notes: &Path) -> Result<Self> {
        std::fs::create_dir_all(notes)?;
        Ok(Self { tiers, notes: notes.to_owned() })
    }

    /// Plants a bug and looks who notices. An error when the copy does not build: that is no catch.
    pub async fn of(&self, scratch: &mut Scratch, patch: &Patch) -> Result<Verdict> {
        scratch.plant(patch)?;
        let began = Moment::now();
        let mut tests = Duration::ZERO;
        let mut note = None;
        let expected = patch.caught_by.as_ref().filter(|expected| self.tiers.contains(&expected.tier));
        if let Some(Expectation { tier, part }) = expected {
            match self.run(scratch, tier, part, &mut tests).await? {
                Run::Caught(by) => {
                    let catch = Some(Catch { tier, by, tests });
                    return Ok(Verdict { catch, total: began.elapsed(), note });
                }
                Run::Passed => note = Some(format!("`{} {part}` was expected to notice, and did not", tier.name)),
                Run::NoTest => note = Some(format!("there is no test `{} {part}`", tier.name)),
            }
        }
        for tier in &self.tiers {
            if let Run::Caught(by) = self.run(scratch, tier, &Part::default(), &mut tests).await? {
                let catch = Some(Catch { tier, by, tests });
                return Ok(Verdict { catch, total: began.elapsed(), note });
            }
        }
        Ok(Verdict { catch: None, total: began.elapsed(), note })
    }

    /// Runs every tier on clean sources: what fails there catches nothing. Returns what each took.
    pub async fn baseline(&self, scratch: &mut Scratch) -> Result<Vec<(&'static Tier, Duration)>> {
        scratch.clean()?;
        let mut took = Vec::new();
        for tier in &self.tiers {
            let mut tests = Duration::ZERO;
            if let Run::Caught(by) = self.run(scratch, tier, &Part::default(), &mut tests).await? {
                bail!("{} fails without any planted bug: {by}\n{}", tier.name, self.output());
            }
            took.push((*tier, tests));
        }
        Ok(took)
    }

    /// Where what was printed last lies.
    pub(super) fn notes(&self) -> &Path {
        &self.notes
    }

    /// Builds `part` of a tier.
    pub(super) async fn build(&self, scratch: &Scratch, tier: &Tier, part: &Part) -> Result<()> {
        let (sources, target) = (scratch.sources(), scratch.target());
        for words in tier.build_commands(part) {
            let built = cargo(&words, sources, target, &self.notes, BUILD_MAX).await?;
            if !built.succeeded() {
                let lines: Vec<&str> = built.stderr.lines().collect();
                let errors = lines.iter().position(|line| line.starts_with("error")).unwrap_or(0);
                let shown = &lines[errors..lines.len().min(errors + ERROR_LINES_MAX)];
                bail!("`cargo {}` failed:\n{}", words.join(" "), shown.join("\n"));
            }
        }
        Ok(())
    }

    async fn run(&self, scratch: &Scratch, tier: &Tier, part: &Part, tests: &mut Duration) -> Result<Run> {
        self.build(scratch, tier, part).await?;
        let (sources, target) = (scratch.sources(), scratch.target());
        let ended = cargo(&tier.run_command(part), sources, target, &self.notes, tier.limit).await?;
        *tests += ended.took;
        Ok(if ended.succeeded() {
            if tier.has_tests() && !part.is_all() && !any_test(&ended.stdout) { Run::NoTest } else { Run::Passed }
        } else {
            Run::Caught(failed(&ended, tier))
        })
    }

    /// The end of what the last run printed.
    fn output(&self) -> String {
        let text = std::fs::read_to_string(self.notes.join("stdout")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(ERROR_LINES_MAX)..].join("\n")
    }
}

enum Run {
    Passed,
    /// The filter left none.
    NoTest,
    Caught(String),
}

fn any_test(stdout: &str) -> bool {
    stdout.lines().any(|line| line.starts_with("test ") && line.ends_with("... ok"))
}

/// What failed, in a few words.
fn failed(ended: &Ended, tier: &Tier) -> String {
    let failed: Vec<&str> =
        ended.stdout.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")).collect();
    if ended.status.is_none() {
        let slow = ended
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" has been running for over 60 seconds"));
        let over: Vec<&str> = slow.take(SHOWN_MAX).collect();
        return format!("hung for {} s: {}", tier.limit.as_secs(), over.join(", "));
    }
    if failed.is_empty() {
        // A panic while panicking, a stack that ran over; or the simulation, which says so itself.
        let said = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(ToOwned::to_owned);
        let last = said(&ended.stderr).or_else(|| said(&ended.stdout)).unwrap_or_default();
        let status = ended.status.map(|status| status.to_string()).unwrap_or_default();
        return format!("ended with {status}: {last}");
    }
    let more = if failed.len() > SHOWN_MAX { format!(" and {} more", failed.len() - SHOWN_MAX) } else { String::new() };
    format!("{}{more}", failed[..failed.len().min(SHOWN_MAX)].join(", "))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;
    use crate::planted::TIERS;

    fn ended(status: Option<i32>, stdout: &str, stderr: &str) -> Ended {
        let status = status.map(|code| ExitStatus::from_raw(code << 8));
        Ended { status, took: Duration::ZERO, stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn a_catch_names_the_tests_that_failed() {
        let text = "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\n\nfailures:\n    a::c\n";
        assert_eq!(failed(&ended(Some(101), text, ""), &TIERS[0]), "a::c");
        let many: String = (0..5).map(|number| format!("test t{number} ... FAILED\n")).collect();
        assert_eq!(failed(&ended(Some(101), &many, ""), &TIERS[0]), "t0, t1, t2 and 2 more");
    }

    #[test]
    fn a_hang_and_a_death_say_so() {
        let hung = failed(&ended(None, "test a has been running for over 60 seconds\n", ""), &TIERS[0]);
        assert_eq!(hung, "hung for 300 s: a");
        let died = failed(&ended(Some(1), "", "error: test failed\nsignal: 6, SIGABRT\n"), &TIERS[0]);
        assert!(died.ends_with("signal: 6, SIGABRT"), "{died}");
    }

    #[test]
    fn a_filter_that_leaves_no_test_is_noticed() {
        assert!(any_test("test a ... ok\n"));
        assert!(!any_test("running 0 tests\ntest result: ok. 0 passed\n"));
    }
}
