//! A node whose files were damaged while it was down refuses them by name, or comes to the same state as the others.

use anyhow::{Context, Result, ensure};
use leasehold_testkit::checker::Invariant::{C1, C2, C6, C7, C11};
use leasehold_testkit::cluster::{Ended, StatusClient};
use leasehold_testkit::damage::{Damage, Part, copy_folder};
use rand::Rng;

use super::lane::{Lane, busy, tell_outcome};

/// Damages of every kind to every part.
const ROUNDS: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_refused_or_made_good() -> Result<()> {
    let mut lane = Lane::start("damaged_files_are_refused_or_made_good", busy(10_000_000)).await?;
    for part in Part::ALL {
        for damage in Damage::ALL.into_iter().cycle().take(Damage::ALL.len() * ROUNDS) {
            let victim = lane.any_follower().await?;
            let fault = lane.run.fault_begins(&format!("{damage:?} of {part:?}"), Some(victim));
            lane.run.cluster.node_mut(victim).kill()?;
            let data = lane.run.cluster.node(victim).data_dir().to_owned();
            let aside = data.with_extension("aside");
            copy_folder(&data, &aside)?;
            let seed: u64 = lane.random.random();
            let file = damage.inflict(&data, part, seed)?;
            let from = lane.run.cluster.node(victim).log_text().len();
            lane.run.cluster.node_mut(victim).start()?;
            let address = lane.run.cluster.node(victim).client_address();
            let serves = || async { StatusClient::ask(&address).await.map(drop) };
            let outcome = match lane.run.cluster.wait_ended(&[victim], serves).await? {
                Ended::Otherwise(()) => "starts".to_owned(),
                Ended::Process { status, .. } => {
                    let words = lane.run.cluster.node(victim).log_text()[from..].to_owned();
                    let what = format!("{damage:?} of {} (seed {seed}): {status}:\n{words}", file.display());
                    ensure!(status.code() == Some(70), "{what}");
                    // At least the folder that it lies in.
                    let folder = file.strip_prefix(&data)?.components().next().context("it lies in the data folder")?;
                    let named = data.join(folder);
                    ensure!(words.contains(&*named.to_string_lossy()), "it names no file; {what}");
                    std::fs::remove_dir_all(&data)?;
                    copy_folder(&aside, &data)?;
                    lane.run.cluster.node_mut(victim).start()?;
                    "refused by name".to_owned()
                }
            };
            std::fs::remove_dir_all(&aside)?;
            let whole = lane.run.cluster.wait_caught_up().await;
            whole.with_context(|| format!("{damage:?} of {} (seed {seed})", file.display()))?;
            lane.run.fault_ends(fault);
            tell_outcome(&format!("{damage:?} of {part:?}"), &outcome);
        }
    }
    lane.run.finish(&[C1, C2, C6, C7, C11]).await
}
