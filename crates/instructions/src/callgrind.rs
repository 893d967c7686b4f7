//! Runs one benchmark of a program under callgrind.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Functions whose name contains this, and all that they call, are counted; nothing else is. In the program there is one of them.
const COUNTED_FUNCTION: &str = "counted_region";

/// The C library copies and compares memory in steps as large as the processor allows. It is told of a processor that has only what
/// every x86-64 has, because valgrind tells it of the one that is there. Names that a version of it does not know do nothing.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX2_Usable,-AVX,-AVX_Fast_Unaligned_Load,-BMI2,\
                               -ERMS,-FSRM,-SSE4_2,-SSE4_1,-SSSE3,-Fast_Unaligned_Copy";

/// What one run counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Instructions between the calls of the counted function and their ends.
    pub instructions: u64,
    /// Operations that the benchmark did there; at least 1.
    pub operations: u64,
}

impl Counted {
    /// Instructions per operation.
    #[must_use]
    pub fn per_operation(&self) -> f64 {
        self.instructions as f64 / self.operations as f64
    }
}

/// Nothing could be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// valgrind could not be started, or what it wrote not be read.
    #[error("valgrind: {0}")]
    Io(#[from] io::Error),
    /// The benchmark failed.
    #[error("benchmark {name} failed under valgrind ({status}):\n{stderr}")]
    Failed {
        /// Of the benchmark.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What valgrind and it wrote.
        stderr: String,
    },
    /// The program did not say how much it did.
    #[error("benchmark {name} printed no line \"operations N\" with N of at least 1")]
    NoOperations {
        /// Of the benchmark.
        name: String,
    },
    /// The counted function was not met.
    #[error("benchmark {name}: callgrind counted nothing: was the function {COUNTED_FUNCTION} inlined or renamed?")]
    NothingCounted {
        /// Of the benchmark.
        name: String,
    },
}

/// Counts one benchmark: runs `program --run NAME` under valgrind.
///
/// # Errors
/// When valgrind cannot be started, the benchmark fails, or nothing was counted.
pub fn count(program: &Path, name: &str) -> Result<Counted, CountError> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("callgrind.out");
    let mut out_option = std::ffi::OsString::from("--callgrind-out-file=");
    out_option.push(&out);
    let mut command = Command::new("valgrind");
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("GLIBC_TUNABLES", PLAIN_PROCESSOR);
    // The allocator gives memory back after some time, which is the only thing in the program that a clock decides.
    command.env("MIMALLOC_PURGE_DELAY", "-1");
    command.args(["-q", "--tool=callgrind"]).arg(format!("--toggle-collect=*{COUNTED_FUNCTION}*")).arg(out_option);
    let output = command.arg(program).args(["--run", name]).output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(CountError::Failed { name: name.to_owned(), status: output.status, stderr });
    }
    let operations = number_after(&String::from_utf8_lossy(&output.stdout), "operations ");
    let operations = operations.filter(|operations| *operations > 0);
    let operations = operations.ok_or_else(|| CountError::NoOperations { name: name.to_owned() })?;
    let instructions = number_after(&fs::read_to_string(&out)?, "totals: ").filter(|instructions| *instructions > 0);
    let instructions = instructions.ok_or_else(|| CountError::NothingCounted { name: name.to_owned() })?;
    Ok(Counted { instructions, operations })
}

/// The number on the first line that begins with `key`.
fn number_after(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

/// The version of valgrind.
///
/// # Errors
/// When there is none.
pub fn valgrind_version() -> io::Result<String> {
    first_line("valgrind")
}

/// The version of the C library.
#[must_use]
pub fn libc_version() -> String {
    first_line("ldd").unwrap_or_else(|_| "unknown".to_owned())
}

fn first_line(program: &str) -> io::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_among_what_callgrind_writes() {
        let out = "# callgrind format\nversion: 1\nevents: Ir\nsummary: 7\n\nfn=(0) f\n0 7\n\ntotals: 4711\n";
        assert_eq!(number_after(out, "totals: "), Some(4711));
        assert_eq!(number_after("events: Ir\n", "totals: "), None);
        assert_eq!(number_after("totals: many\n", "totals: "), None);
    }

    #[test]
    fn instructions_are_told_per_operation() {
        assert_eq!(Counted { instructions: 1001, operations: 2 }.per_operation(), 500.5);
    }
}
