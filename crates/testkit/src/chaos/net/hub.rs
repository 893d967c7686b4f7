//! The namespace that a driver moves into before it does anything else.

use std::convert::Infallible;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::super::shell::{is_chaos, run};

/// Says that the process is in its hub.
const INSIDE: &str = "LEASEHOLD_CHAOS_HUB";
/// All namespaces of all runs begin so; then comes the process id.
const PREFIX: &str = "lhchaos";

/// Name of the namespaces of this process, up to the host.
pub(super) fn prefix() -> String {
    format!("{PREFIX}{}", std::process::id())
}

fn hub() -> String {
    format!("{}-hub", prefix())
}

/// Becomes the same program in the hub, with these words in its environment. Returns when it is there already.
pub fn enter(environment: &[(&str, String)]) -> Result<()> {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == hub()) {
        return Ok(());
    }
    run(&["ip", "netns", "add", &hub()])?;
    replaced_by_itself(environment).map(|_never| ())
}

fn replaced_by_itself(environment: &[(&str, String)]) -> Result<Infallible> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", hub())).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    command.envs(environment.iter().map(|(name, value)| (name, value))).env(INSIDE, hub());
    let error = command.exec();
    leave();
    Err(error).context("nsenter does not start")
}

/// Removes the hub's name; the namespace goes with the process.
pub(super) fn leave() {
    // What cannot be removed now is removed by the next run.
    let _ = run(&["ip", "netns", "del", &hub()]);
}

/// Removes what runs have left behind that were killed: their processes, namespaces and mounts.
pub fn remove_leftovers() -> Result<()> {
    let names = run(&["ip", "netns", "list"])?;
    for name in names.lines().filter_map(|line| line.split_whitespace().next()) {
        let Some(pid) = owner(name).filter(|pid| !is_alive(*pid)) else { continue };
        super::super::say(&format!("removing {name}, left behind by process {pid}"));
        for inside in run(&["ip", "netns", "pids", name])?.lines() {
            if let Some(inside) = inside.trim().parse().ok().and_then(Pid::from_raw) {
                // It may have ended by now.
                let _ = kill_process(inside, Signal::KILL);
            }
        }
        // Another run may have been faster.
        let _ = run(&["ip", "netns", "del", name]);
    }
    let mounts = fs::read_to_string("/proc/mounts")?;
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let parts = at.split('/').find_map(owner);
        if parts.is_some_and(|pid| !is_alive(pid)) {
            let _ = run(&["umount", at]);
        }
    }
    Ok(())
}

fn is_alive(pid: u32) -> bool {
    pid == std::process::id() || is_chaos(pid)
}

/// The process that a name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_they_are() {
        assert_eq!(owner("lhchaos123-n1"), Some(123));
        assert_eq!(owner(&format!("{}-hub", prefix())), Some(std::process::id()));
        assert_eq!(owner("somebody-else"), None);
    }
}
