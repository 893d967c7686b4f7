//! Tells the program which compilers made it: instruction counts of two compilers are not comparable.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    println!("cargo::rustc-env=MADE_WITH_RUSTC={}", first_line(&rustc, "-V"));
    println!("cargo::rustc-env=MADE_WITH_CC={}", first_line(&cc, "--version"));
    println!("cargo::rustc-env=MADE_FOR={}", std::env::var("TARGET").unwrap_or_default());
}

fn first_line(program: &std::ffi::OsStr, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("unknown").to_owned()
}
