//! Which process group has the terminal.

use std::fs::File;

use nix::sys::signal::{SIGTTOU, SigSet};
use rustix::process::Pid;
use rustix::termios::{OptionalActions, Termios, tcsetattr, tcsetpgrp};

/// The controlling terminal of this process.
pub(crate) fn controlling_terminal() -> Option<File> {
    File::options().read(true).write(true).open("/dev/tty").ok()
}

/// Makes `group` the foreground group of the terminal, also from the background, and sets the terminal so.
///
/// From the background that stops a process, unless the thread that does it blocks the signal: a thread of its own, so that
/// nothing that is started later inherits that.
pub(crate) fn make_foreground(terminal: &File, group: Pid, settings: Option<&Termios>) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut signals = SigSet::empty();
            signals.add(SIGTTOU);
            if signals.thread_block().is_err() {
                return;
            }
            // A terminal that has been hung up is no longer anybody's.
            let _ = tcsetpgrp(terminal, group);
            if let Some(settings) = settings {
                let _ = tcsetattr(terminal, OptionalActions::Now, settings);
            }
        });
    });
}
