//! The programs of the machine that disks are made with, and whether they are there.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use super::{BYTES_DEFAULT, Disk};

/// Set to `1`, it makes a test fail that has no disks to work with, instead of skipping it.
pub const REQUIRED: &str = "LEASEHOLD_DISKS_REQUIRED";

/// What shuts a file system down without a word to its journal: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH. There is no safe
/// call for it, so a program does it that the machine has.
const SHUT_DOWN: [(&str, &[&str]); 3] = [
    (
        "python3",
        &[
            "-c",
            "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1],os.O_RDONLY),0x8004587d,struct.pack('I',2))",
        ],
    ),
    ("perl", &["-e", "open(my $f,'<',$ARGV[0].'/.') or die $!; my $n=pack('L',2); ioctl($f,0x8004587d,$n) or die $!"]),
    ("xfs_io", &["-x", "-c", "shutdown"]),
];

static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();

/// Whether disks can be made and cut here: tried once, with a small one.
pub fn available() -> Result<(), String> {
    AVAILABLE.get_or_init(|| try_one().map_err(|error| format!("{error:#}"))).clone()
}

/// True where there are no disks, having said so loudly; an error where [`REQUIRED`] says that they must be there.
#[expect(clippy::print_stderr, reason = "that a test was skipped belongs to its output")]
pub fn skipped(test: &str) -> Result<bool> {
    let Err(why) = available() else { return Ok(false) };
    if std::env::var(REQUIRED).is_ok_and(|required| required == "1") {
        bail!("{test} needs disks of its own ({REQUIRED}=1): {why}");
    }
    eprintln!("SKIPPED: {test}: no loop-mounted disks here: {why}");
    Ok(true)
}

fn try_one() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "only root can mount");
    let folder = tempfile::Builder::new().prefix("leasehold-").tempdir()?;
    let mut disk = Disk::create(folder.path(), "trial", BYTES_DEFAULT.min(16 << 20))?;
    let (kept, lost) = (disk.path().join("kept"), disk.path().join("lost"));
    std::fs::write(&kept, b"kept")?;
    std::fs::File::open(&kept)?.sync_all()?;
    std::fs::write(&lost, b"lost")?;
    disk.power_cut()?;
    ensure!(std::fs::read(&kept)? == b"kept", "a synced file did not survive the power cut of a trial");
    ensure!(!lost.exists(), "a file that was not synced survived the power cut of a trial");
    Ok(())
}

/// Nothing more is written to the file system that is mounted there.
pub(super) fn shut_down(mount: &Path) -> Result<()> {
    let mut problems = Vec::new();
    for (program, arguments) in SHUT_DOWN {
        match run(program, arguments.iter().map(OsStr::new).chain([mount.as_os_str()])) {
            Ok(()) => return Ok(()),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    bail!("{} cannot be shut down: {}", mount.display(), problems.join("; "))
}

/// Runs a program to its end.
pub(super) fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    // Where a login shell without root's paths started this.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().with_context(|| format!("{program} does not start"))?;
    ensure!(
        output.status.success(),
        "{program}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
