//! `deploy/local/cluster.sh`, as people use it.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use leasehold_testkit::cluster::{free_port, leasehold_binary};
use tempfile::TempDir;

struct Script {
    folder: TempDir,
    port: u16,
}

impl Script {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/cluster.sh");
        let mut command = Command::new("bash");
        command.arg(script).args(arguments).env("LEASEHOLD_LOCAL_DIR", self.folder.path().join("c"));
        command.env("LEASEHOLD_LOCAL_PORT", self.port.to_string()).env("LEASEHOLD_BIN", leasehold_binary()?);
        Ok(command.output()?)
    }

    fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "cluster.sh {arguments:?}: {}\n{out}\n{err}", output.status);
        Ok(out.into_owned())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Nothing may be left running, whatever failed.
        let _ = self.run(&["down"]);
    }
}

#[test]
fn the_local_script_does_what_it_says() -> Result<()> {
    let script = Script { folder: tempfile::tempdir()?, port: free_port()? };
    script.must(&["up", "3"])?;
    ensure!(script.must(&["status"])?.matches(": runs").count() == 3, "all three run");
    script.must(&["up"])?;
    script.must(&["stop", "2"])?;
    ensure!(script.must(&["status"])?.contains("node 2: stopped"), "node 2 is frozen");
    script.must(&["cont", "2"])?;
    script.must(&["kill", "3"])?;
    ensure!(script.must(&["status"])?.contains("node 3: down"), "node 3 is dead");
    let again = script.run(&["kill", "3"])?;
    let words = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(!again.status.success() && words.contains("node 3 does not run"), "{words}");
    script.must(&["restart", "3"])?;
    script.must(&["up"])?;
    ensure!(script.must(&["logs", "3"])?.contains("node started"), "node 3 has a log");
    script.must(&["wipe", "1"])?;
    ensure!(!script.folder.path().join("c/node-1").exists(), "node 1 has no data");
    let wrong = script.run(&["kill", "4"])?;
    ensure!(wrong.status.code() == Some(64), "there is no node 4: {:?}", wrong.status);
    ensure!(script.run(&["frobnicate"])?.status.code() == Some(64), "an unknown verb is a usage error");
    script.must(&["down"])?;
    let status = script.run(&["status"])?;
    let text = String::from_utf8(status.stdout).context("status is text")?;
    ensure!(text.matches(": down").count() == 3, "{text}");
    Ok(())
}
