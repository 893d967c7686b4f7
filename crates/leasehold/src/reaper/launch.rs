//! `leasehold launch`: the first moments of a command that gets the terminal.
//!
//! Its process group has the terminal before the command is there to read from it, or to look whether it may.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, getpgrp};
use rustix::termios::tcgetpgrp;

use super::foreground::{controlling_terminal, make_foreground};
use super::unrunnable;
use crate::exit::Exit;

/// Arguments of the hidden `leasehold launch`, which only the reaper gives.
#[derive(Debug, clap::Args)]
pub(crate) struct LaunchArgs {
    /// Process group of `leasehold lock`, which may give the terminal away if it has it
    #[arg(long)]
    home: i32,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl LaunchArgs {
    /// The command line of a launch.
    pub(super) fn command(home: i32, command: &[OsString]) -> Command {
        let mut launch = Command::new(super::OWN_BINARY);
        launch.arg0("leasehold").args(["launch", "--home", &home.to_string(), "--"]).args(command);
        launch
    }
}

/// `leasehold launch`: becomes the command.
pub(crate) fn run(args: &LaunchArgs) -> ExitCode {
    let Some((program, arguments)) = args.command.split_first() else { return Exit::Usage.into() };
    if let Some(terminal) = controlling_terminal()
        && tcgetpgrp(&terminal).ok() == Pid::from_raw(args.home)
    {
        make_foreground(&terminal, getpgrp(), None);
    }
    let error = Command::new(program).args(arguments).exec();
    Exit::Of(unrunnable(program, &error)).into()
}
