//! Disks of one node: a file system of its own, that can lose what was not synced, or be full.
//!
//! A [`Disk`] is an ext4 in an image file, mounted through a loop device; that needs root. Cutting its power shuts the file
//! system down without writing its journal or anything else that is still in memory, then mounts the image again: what
//! the nodes did not fsync is gone, as it would be on a machine that lost power.
//!
//! Whoever runs nodes in network namespaces must not start them through `ip netns exec`: that gives each a mount namespace of
//! its own, whose copy of the mount keeps the dead file system alive. `nsenter --net=/run/netns/NAME` does not.

mod left_over;
mod tools;

pub use left_over::remove_left_over;
pub use tools::{REQUIRED, available, skipped};

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::clock::Moment;
use tools::run;

/// What the log, its checkpoint and snapshots of a test take, several times over.
pub const BYTES_DEFAULT: u64 = 192 << 20;
/// Room that [`Disk::fill`] can leave nothing of within reason.
const FILLING: &str = "filling";
/// How long the kernel may hold on to a file system whose last process has just died.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// A mounted file system of one node. Unmounted and removed on drop; processes that use it must have ended by then.
#[derive(Debug)]
pub struct Disk {
    /// Image, mount point; named after this process, so that a later one can tell it from its own.
    folder: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes a file system of that size and mounts it. `folder` may lie anywhere; `name` is unique within it. Left-overs of
    /// dead processes are removed first. Blocks.
    pub fn create(folder: &Path, name: &str, bytes: u64) -> Result<Self> {
        remove_left_over()?;
        let folder = folder.join(left_over::folder_name(name));
        fs::create_dir_all(folder.join("mount"))?;
        let mut disk = Self { folder, mounted: false };
        fs::File::create(disk.image())?.set_len(bytes)?;
        // No time is spent on what a short life does not need; the journal is what power cuts are about, so it stays.
        let options = ["-q", "-F", "-m", "0", "-O", "^resize_inode", "-E", "lazy_itable_init=1,nodiscard"];
        run("mkfs.ext4", options.iter().map(AsRef::as_ref).chain([disk.image().as_os_str()]))?;
        disk.mount()?;
        Ok(disk)
    }

    /// The root of the file system. ext4 has a folder of its own there, `lost+found`: a node's data folder goes into a folder
    /// below.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// What was written and not synced is lost. All processes that use it must have been killed: call this right after, before the
    /// kernel writes anything by itself. Then it is mounted again, as after a reboot. Blocks.
    pub fn power_cut(&mut self) -> Result<()> {
        self.cut()?;
        self.restore()
    }

    /// The first half of [`Disk::power_cut`]: nothing reaches the disk from now on, and what uses it gets errors. For several disks
    /// at once: cut all, then restore all.
    pub fn cut(&mut self) -> Result<()> {
        tools::shut_down(&self.path())
    }

    /// The second half.
    pub fn restore(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Leaves `bytes` free, at most. Undone by [`Disk::make_room`]. Blocks.
    pub fn fill(&self, bytes: u64) -> Result<()> {
        let stat = rustix::fs::statvfs(self.path())?;
        let free = stat.f_bavail * stat.f_frsize;
        let file = fs::OpenOptions::new().create(true).append(true).open(self.path().join(FILLING))?;
        let length = file.metadata()?.len();
        let more = free.saturating_sub(bytes);
        // One file's blocks, without writing them.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), length, more.max(1))
            .or_else(|error| if error == rustix::io::Errno::NOSPC { Ok(()) } else { Err(error) })?;
        Ok(())
    }

    /// Removes what [`Disk::fill`] put there.
    pub fn make_room(&self) -> Result<()> {
        match fs::remove_file(self.path().join(FILLING)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(self.path())?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    fn mount(&mut self) -> Result<()> {
        ensure!(!self.mounted, "{} is mounted", self.path().display());
        // A loop device that goes with the mount.
        run(
            "mount",
            [
                "-t".as_ref(),
                "ext4".as_ref(),
                "-o".as_ref(),
                "loop".as_ref(),
                self.image().as_os_str(),
                self.path().as_os_str(),
            ],
        )?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        if !self.mounted {
            return Ok(());
        }
        let start = Moment::now();
        loop {
            match run("umount", [self.path().as_os_str()]) {
                Ok(()) => break,
                Err(error) if start.elapsed() > BUSY_MAX => return Err(error.context("does a process still use it?")),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    #[expect(clippy::print_stderr, reason = "what a test leaves on the machine belongs to its output")]
    fn drop(&mut self) {
        let removed = self.unmount().and_then(|()| fs::remove_dir_all(&self.folder).context("it is unmounted"));
        if let Err(error) = removed {
            eprintln!("{} stays behind: {error:#}", self.folder.display());
        }
    }
}
