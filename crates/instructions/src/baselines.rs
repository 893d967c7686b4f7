//! The committed file: what each benchmark took when the baselines were made, and what made the program then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const HEAD: &str = "\
# Instructions per operation of each benchmark of crates/instructions (docs/instruction-counts.md).
# Written by: cargo instructions --renew. Lower them whenever they can be; raise one only in a commit that says why.
";

/// `baselines.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baselines {
    /// By so many percent a count may differ from its baseline.
    pub tolerance_percent: f64,
    /// What the counts depend on beside the code.
    pub made_with: MadeWith,
    /// By name of the benchmark.
    pub instructions_per_operation: BTreeMap<String, f64>,
}

/// What makes the machine code that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeWith {
    /// First line of `rustc -V`. Of another one all counts differ.
    pub rustc: String,
    /// Target triple. Of another one all counts differ.
    pub target: String,
    /// First line of `cc --version`: the compiler of the allocator.
    pub cc: String,
    /// First line of `ldd --version`: memory is copied and compared by the C library.
    pub libc: String,
    /// What `valgrind --version` prints.
    pub valgrind: String,
}

/// The file of the baselines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselinesError {
    /// Not read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not what it should be.
    #[error("{}: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: toml::de::Error,
    },
    /// Cannot be written as TOML.
    #[error("the baselines cannot be written: {0}")]
    Encode(#[from] toml::ser::Error),
}

impl Baselines {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there or malformed.
    pub fn read(path: &Path) -> Result<Self, BaselinesError> {
        let text = fs::read_to_string(path).map_err(|error| BaselinesError::Io { path: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| BaselinesError::Malformed { path: path.to_owned(), error })
    }

    /// Writes the file, with a head that says what it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BaselinesError> {
        let text = format!("{HEAD}{}", toml::to_string(self)?);
        fs::write(path, text).map_err(|error| BaselinesError::Io { path: path.to_owned(), error })
    }
}

impl MadeWith {
    /// Whether counts of the two can be compared: the same compiler, for the same target.
    #[must_use]
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.rustc == other.rustc && self.target == other.target
    }

    /// What differs, one a line: the name, what the baselines were made with, what there is here.
    #[must_use]
    pub fn differences(&self, here: &Self) -> Vec<String> {
        let all = [
            ("rustc", &self.rustc, &here.rustc),
            ("target", &self.target, &here.target),
            ("cc", &self.cc, &here.cc),
            ("libc", &self.libc, &here.libc),
            ("valgrind", &self.valgrind, &here.valgrind),
        ];
        let differ = all.into_iter().filter(|(_, baseline, here)| baseline != here);
        differ.map(|(name, baseline, here)| format!("{name}: baselines {baseline:?}, here {here:?}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_with() -> MadeWith {
        let text = |text: &str| text.to_owned();
        MadeWith { rustc: text("rustc 1"), target: text("x"), cc: text("cc 1"), libc: text("l"), valgrind: text("v") }
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baselines.toml");
        let instructions_per_operation = [("encode/command".to_owned(), 812.5), ("apply".to_owned(), 9000.0)].into();
        let baselines = Baselines { tolerance_percent: 3.0, made_with: made_with(), instructions_per_operation };
        baselines.write(&path).unwrap();
        assert_eq!(Baselines::read(&path).unwrap(), baselines);
        assert!(fs::read_to_string(&path).unwrap().contains("\"encode/command\" = 812.5\n"));
    }

    #[test]
    fn a_malformed_file_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baselines.toml");
        assert!(matches!(Baselines::read(&path), Err(BaselinesError::Io { .. })));
        fs::write(&path, "tolerance_percent = 3.0\nunknown = 1\n").unwrap();
        let error = Baselines::read(&path).unwrap_err().to_string();
        assert!(error.contains("baselines.toml") && error.contains("unknown"), "{error}");
    }

    #[test]
    fn another_compiler_is_not_compared_with_and_another_libc_is_told() {
        let here = MadeWith { libc: "m".to_owned(), ..made_with() };
        assert!(made_with().is_comparable(&here));
        assert_eq!(made_with().differences(&here), ["libc: baselines \"l\", here \"m\""]);
        assert!(!made_with().is_comparable(&MadeWith { rustc: "rustc 2".to_owned(), ..made_with() }));
        assert!(made_with().differences(&made_with()).is_empty());
    }

    #[test]
    fn the_committed_baselines_can_be_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines.toml");
        let baselines = Baselines::read(&path).unwrap();
        assert!(baselines.tolerance_percent > 0.0 && !baselines.instructions_per_operation.is_empty());
    }
}
