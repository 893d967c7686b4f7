//! Disks of processes that died before they could remove them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::process::{Pid, test_kill_process};

use super::tools::run;

/// Begin of the names of the folders of disks; the owner's process id and the disk's name follow.
const PREFIX: &str = "leasehold-disk-";

pub(super) fn folder_name(name: &str) -> String {
    format!("{PREFIX}{}-{name}", std::process::id())
}

/// Unmounts and removes the disks of processes that are gone, wherever they are mounted. Several may do so at once.
pub fn remove_left_over() -> Result<()> {
    for mount in mounts()? {
        let Some(folder) = mount.parent().filter(|folder| owner(folder).is_some_and(is_gone)) else { continue };
        if let Err(error) = run("umount", ["-l".as_ref(), mount.as_os_str()])
            && mounts()?.contains(&mount)
        {
            return Err(error);
        }
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // The temporary folder that it lay in, should nothing else be in there.
        let _in_use = folder.parent().map(fs::remove_dir);
    }
    Ok(())
}

/// Where ext4 file systems are mounted.
fn mounts() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    let mounts = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        (kind == "ext4").then(|| PathBuf::from(path))
    });
    Ok(mounts.collect())
}

fn owner(folder: &Path) -> Option<Pid> {
    let (pid, _) = folder.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    Pid::from_raw(pid.parse().ok()?)
}

fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}
