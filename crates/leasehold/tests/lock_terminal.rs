//! `leasehold lock` on a terminal, with a real shell: who reads from it, who hears its keys, and who has it afterwards.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

mod support;
use support::pty::{Terminal, be_a_shell};
use support::{Server, eventually};

#[test]
fn shell() {
    be_a_shell();
}

fn open(server: &Server) -> Terminal {
    Terminal::open(&[("LEASEHOLD_ENDPOINTS", &server.endpoint), ("L", env!("CARGO_BIN_EXE_leasehold"))])
}

/// The shell reads and answers: the terminal is its own again. The sum is so that its echo is not the answer.
fn shell_has_the_terminal(terminal: &mut Terminal) {
    terminal.type_keys("echo back-$((40 + 2))\n");
    terminal.expect("back-42");
}

#[test]
fn the_command_reads_from_the_terminal_and_the_shell_has_it_afterwards() {
    let server = Server::start();
    let mut terminal = open(&server);
    terminal.type_keys("$L lock a -- sh -c 'echo ask-$((1 + 1)); read line; echo got-$line'\n");
    terminal.expect("ask-2");
    terminal.type_keys("hello\n");
    terminal.expect("got-hello");
    shell_has_the_terminal(&mut terminal);
    assert_eq!(server.holders("a"), 0);
}

#[test]
fn a_lock_within_a_lock_passes_the_terminal_on_and_back() {
    let server = Server::start();
    let mut terminal = open(&server);
    let inner = "$L lock b -- sh -c 'echo ask-$((1 + 1)); read line; echo inner-$line'";
    terminal
        .type_keys(&format!("$L lock a -- sh -c \"{}; read line; echo outer-\\$line\"\n", inner.replace('$', "\\$")));
    terminal.expect("ask-2");
    terminal.type_keys("one\n");
    terminal.expect("inner-one");
    terminal.type_keys("two\n");
    terminal.expect("outer-two");
    shell_has_the_terminal(&mut terminal);
}

#[test]
fn the_command_is_the_foreground_process_group() {
    let server = Server::start();
    let mut terminal = open(&server);
    // Field 5 of stat is the process group, field 8 the foreground group of the terminal.
    let script = "sh -c 'sleep 0.3; cut -d\" \" -f5,8 /proc/$$/stat; echo own-$$-'";
    terminal.type_keys(&format!("$L lock a -- {script}\n"));
    // Its echo comes first, then the answer.
    terminal.expect("own-$");
    terminal.expect("own-");
    terminal.expect("-\r");
    let shown = terminal.shown();
    let pid = shown.rsplit("own-").next().unwrap().split('-').next().unwrap();
    assert!(shown.contains(&format!("\n{pid} {pid}\r")), "{shown}");
}

#[test]
fn ctrl_c_reaches_the_command_which_decides_the_exit_code() {
    let server = Server::start();
    let mut terminal = open(&server);
    let script = "trap \"echo told; exit 7\" INT; echo go-$((1 + 1)); while :; do sleep 0.02; done";
    terminal.type_keys(&format!("$L lock a -- sh -c '{script}'; echo code-$?\n"));
    terminal.expect("go-2");
    terminal.type_keys("\x03");
    terminal.expect("told");
    terminal.expect("code-7");
    shell_has_the_terminal(&mut terminal);
}

/// Consul #4439, at the keyboard.
#[test]
fn ctrl_c_while_waiting_gives_up_the_wait() {
    let server = Server::start();
    server.acquire("a");
    let mut terminal = open(&server);
    terminal.type_keys("$L lock a -- echo ran; echo code-$?\n");
    eventually("the queue", || server.waiters("a") == 1);
    terminal.type_keys("\x03");
    eventually("the empty queue", || server.waiters("a") == 0);
    shell_has_the_terminal(&mut terminal);
    assert!(!terminal.shown().contains("\nran"), "{}", terminal.shown());
}

#[test]
fn ctrl_z_stops_the_job_and_fg_goes_on_with_it() {
    let server = Server::start();
    let mut terminal = open(&server);
    terminal.type_keys("$L lock a -- sh -c 'echo ask-$((1 + 1)); read line; echo got-$line'\n");
    terminal.expect("ask-2");
    terminal.type_keys("\x1a");
    terminal.expect("Stopped");
    shell_has_the_terminal(&mut terminal);
    assert_eq!(server.holders("a"), 1);
    terminal.type_keys("fg\n");
    terminal.type_keys("hello\n");
    terminal.expect("got-hello");
    shell_has_the_terminal(&mut terminal);
    assert_eq!(server.holders("a"), 0);
}

/// A job that is stopped renews nothing.
#[test]
fn a_job_that_stays_stopped_is_ended_before_its_lease_and_fg_says_so() {
    let server = Server::start();
    let mut terminal = open(&server);
    terminal.type_keys("$L lock a --ttl 3s -- sh -c 'echo pid-$((1 + 1))-$$-; read line'; echo code-$?\n");
    terminal.expect("pid-2-");
    terminal.expect("-");
    let shown = terminal.shown();
    let pid = shown.rsplit("pid-2-").next().unwrap().split('-').next().unwrap().parse().unwrap();
    terminal.type_keys("\x1a");
    terminal.expect("Stopped");
    eventually("the end of the command", || !support::is_alive(pid));
    terminal.type_keys("fg; echo then-$?\n");
    terminal.expect("then-76");
    shell_has_the_terminal(&mut terminal);
}

#[test]
fn in_the_background_the_command_is_stopped_when_it_reads_and_fg_lets_it() {
    let server = Server::start();
    let mut terminal = open(&server);
    terminal.type_keys("$L lock a -- sh -c 'echo ask-$((1 + 1)); read line; echo got-$line' &\n");
    terminal.expect("ask-2");
    shell_has_the_terminal(&mut terminal);
    eventually("the stop", || {
        terminal.type_keys("jobs\n");
        terminal.shown().contains("Stopped")
    });
    terminal.type_keys("fg\n");
    terminal.type_keys("hello\n");
    terminal.expect("got-hello");
    shell_has_the_terminal(&mut terminal);
}

/// A pager behind the command needs the terminal more than the command does.
#[test]
fn in_a_pipeline_the_others_keep_the_terminal() {
    let server = Server::start();
    let mut terminal = open(&server);
    let pager = "sh -c 'cat; echo page-$((1 + 1)); read key </dev/tty; echo key-$key'";
    terminal.type_keys(&format!("$L lock a -- echo text | {pager}\n"));
    terminal.expect("page-2");
    terminal.type_keys("q\n");
    terminal.expect("key-q");
    shell_has_the_terminal(&mut terminal);
}

/// Its input is a pipe, and it asks at the terminal: it is given that when it does.
#[test]
fn in_a_pipeline_the_command_gets_the_terminal_when_it_asks() {
    let server = Server::start();
    let mut terminal = open(&server);
    let script = "read word; echo word-$word; read key </dev/tty; echo key-$key";
    terminal.type_keys(&format!("echo piped | $L lock a -- sh -c '{script}'\n"));
    terminal.expect("word-piped");
    terminal.type_keys("y\n");
    terminal.expect("key-y");
    shell_has_the_terminal(&mut terminal);
}

#[test]
fn on_loss_the_shell_gets_the_terminal_back_as_it_was() {
    let server = Server::start();
    let mut terminal = open(&server);
    // What switches the echo off and is killed cannot switch it on again.
    let script = "trap \"\" TERM; stty -echo; echo go-$((1 + 1)); while :; do sleep 0.02; done";
    terminal.type_keys(&format!("$L lock a -- sh -c '{script}'\n"));
    terminal.expect("go-2");
    let token = server.get("a")["holders"][0]["token"].as_str().unwrap().to_owned();
    assert_eq!(server.run(["force-release", "a", &token, "--reason", "test"]).code, 0);
    terminal.expect("was lost");
    terminal.type_keys("echo code-$?\n");
    terminal.expect("echo code-");
    terminal.expect("code-76");
    shell_has_the_terminal(&mut terminal);
}
