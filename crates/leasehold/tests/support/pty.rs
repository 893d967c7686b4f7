//! A terminal with a shell on it, as a person has them.
#![allow(dead_code, clippy::unwrap_used, reason = "support of tests; every binary uses its own part")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::setsid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::eventually_or;

/// Path of the terminal that the helper makes its own.
const TERMINAL: &str = "LEASEHOLD_TEST_TERMINAL";
const PROMPT: &str = "ready> ";

/// A terminal, and what is written on it.
pub(crate) struct Terminal {
    keys: File,
    screen: Arc<Mutex<String>>,
    /// Up to here it was read.
    seen: usize,
    shell: Child,
}

/// What a test binary becomes to be the shell on a terminal: the leader of a session that has it. Without `unsafe` a process
/// cannot be made that between its fork and its exec, so a test of that name calls this; it does nothing unless asked to.
pub(crate) fn be_a_shell() {
    let Some(path) = std::env::var_os(TERMINAL) else { return };
    setsid().unwrap();
    // The first terminal that a session's leader opens is the session's.
    let terminal = open(&path, OFlags::RDWR, Mode::empty()).unwrap();
    let end = || Stdio::from(terminal.try_clone().unwrap());
    let failed = Command::new("sh")
        .arg("-i")
        .env_remove(TERMINAL)
        .env_remove("ENV")
        .env("PS1", PROMPT)
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .exec();
    panic!("{failed}");
}

impl Terminal {
    /// Opens one, with an interactive shell.
    pub(crate) fn open(variables: &[(&str, &str)]) -> Self {
        let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let shell = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shell", "--nocapture"])
            .env(TERMINAL, path)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let keys = File::from(ours);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut source, written) = (keys.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // Once nobody has the terminal open any more, reading fails.
            while let Ok(count @ 1..) = source.read(&mut some) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..count]));
            }
        });
        let mut terminal = Self { keys, screen, seen: 0, shell };
        terminal.expect(PROMPT);
        terminal
    }

    /// Types; `\n` is the enter key, `\x03` Ctrl-C, `\x1a` Ctrl-Z.
    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a text that follows on what was seen.
    pub(crate) fn expect(&mut self, text: &str) {
        let mut found = None;
        let (screen, seen) = (self.screen.clone(), self.seen);
        let shown = || screen.lock().unwrap()[seen..].to_owned();
        eventually_or(
            || format!("{text:?} on the terminal, which shows {:?}", shown()),
            || {
                found = shown().find(text);
                found.is_some()
            },
        );
        self.seen += found.unwrap() + text.len();
    }

    /// What it shows, from the beginning.
    pub(crate) fn shown(&self) -> String {
        self.screen.lock().unwrap().clone()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already, or ends now; who is left hears that the terminal is gone.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
