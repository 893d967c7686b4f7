//! The examples of the client do what they say, against a cluster of real processes.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_tests::alone;

/// Runs an example, built into the folder and the profile of this test.
async fn run(example: &'static str, cluster: &Cluster) -> Result<String> {
    let endpoints = cluster.endpoints().join(",");
    let output: Output = tokio::task::spawn_blocking(move || -> Result<Output> {
        // …/target/debug/deps/examples-0123
        let profile = std::env::current_exe()?.parent().and_then(|deps| Some(deps.parent()?.to_owned()));
        let profile: PathBuf = profile.context("this program lies in …/target/PROFILE/deps")?;
        let target = profile.parent().context("the profile's folder lies in a target folder")?;
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "-p", "leasehold-client", "--example", example, "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        ensure!(build.status().context("cargo does not start")?.success(), "{example} was not built");
        Ok(Command::new(profile.join("examples").join(example)).env("LEASEHOLD_ENDPOINTS", endpoints).output()?)
    })
    .await??;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{example} ended with {}:\n{told}\n{complaint}", output.status);
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fencing_holds_off_a_holder_that_was_paused() -> Result<()> {
    let _alone = alone().await;
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let told = run("fenced_storage", &cluster).await?;
    ensure!(told.contains("refused, the token is too old"), "{told}");
    ensure!(told.contains("updates lost: 0 with fencing, 1 without"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_lead_one_after_the_other() -> Result<()> {
    let _alone = alone().await;
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let told = run("election", &cluster).await?;
    for name in ["anna", "ben", "carla"] {
        ensure!(told.contains(&format!("{name} says \"goodbye\"")), "{told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_lock_is_taken_and_given_back() -> Result<()> {
    let _alone = alone().await;
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await?;
    run("first_lock", &cluster).await.map(drop)
}
