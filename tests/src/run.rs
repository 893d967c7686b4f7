//! One run: a cluster under a workload, what is done to it, and what the checker says afterwards.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use leasehold_testkit::checker::{Ending, Evidence, Invariant, Report, check, check_progress};
use leasehold_testkit::clock::{Moment, random_seed};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE};
use leasehold_testkit::history::Recorder;
use leasehold_testkit::workload::{Workload, WorkloadOptions};
use tokio::sync::{Mutex, MutexGuard};

/// Grants that show that a cluster serves.
const PROGRESS: u64 = 15;

/// One cluster at a time: what a small machine can run without making everything late.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Waits for the other tests of this program to end theirs.
pub async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// The seed of this run: `LEASEHOLD_SEED`, or a random one. Prints how to repeat it.
///
/// # Panics
/// When `LEASEHOLD_SEED` is no number.
#[expect(clippy::print_stderr, reason = "the way to repeat a test belongs to its output")]
pub fn seed(program: &str, test: &str) -> u64 {
    let given = std::env::var("LEASEHOLD_SEED").ok().map(|text| text.parse().expect("LEASEHOLD_SEED is a number"));
    let seed = given.unwrap_or_else(random_seed);
    eprintln!("repeat with: LEASEHOLD_SEED={seed} cargo test -p leasehold-tests --test {program} {test}");
    seed
}

/// A cluster under a workload.
pub struct Run {
    /// Its nodes.
    pub cluster: Cluster,
    /// Its clients.
    pub workload: Workload,
    recorder: Recorder,
    name: String,
    seed: u64,
    all_kinds: bool,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Run {
    /// Starts both, and waits until locks are granted.
    pub async fn start(program: &str, test: &str) -> Result<Self> {
        Self::start_with(program, test, ClusterOptions::default()).await
    }

    /// The same with other settings of the cluster.
    pub async fn start_with(program: &str, test: &str, options: ClusterOptions) -> Result<Self> {
        let alone = alone().await;
        Self::begin(program, test, options, Some(alone)).await
    }

    /// The same beside other runs, with clients at every node at all times: whoever starts several sees to it that they are few.
    pub async fn start_beside(program: &str, test: &str, options: ClusterOptions) -> Result<Self> {
        Self::begin(program, test, options, None).await
    }

    async fn begin(
        program: &str,
        test: &str,
        options: ClusterOptions,
        alone: Option<MutexGuard<'static, ()>>,
    ) -> Result<Self> {
        let seed = seed(program, test);
        let cluster = Cluster::start(options).await?;
        let recorder = Recorder::new();
        let clients = WorkloadOptions { one_for_each_endpoint: alone.is_none(), ..WorkloadOptions::new(seed) };
        let workload = Workload::start(&cluster.endpoints(), &clients, &recorder).await?;
        let run = Self {
            cluster,
            workload,
            recorder,
            name: format!("{program}-{test}"),
            seed,
            all_kinds: false,
            _alone: alone,
        };
        run.progress().await?;
        Ok(run)
    }

    /// Waits for fresh grants (C13).
    pub async fn progress(&self) -> Result<()> {
        self.workload.progress(PROGRESS).await
    }

    /// Everything that the workload can do must have happened by the end.
    pub fn expect_all_kinds(&mut self) {
        self.all_kinds = true;
    }

    /// What the run's random choices follow from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A fault begins, of which the checker is to know.
    pub fn fault_begins(&self, what: &str, node: Option<u64>) -> usize {
        self.recorder.fault_begins(what, node)
    }

    /// The cluster serves again after that fault.
    pub fn fault_ends(&self, fault: usize) {
        self.recorder.fault_ends(fault);
    }

    /// Ends the run: all faults must be over. Fresh grants must come, all nodes must come to the same state, and every
    /// invariant must hold on the history and the logs; each of `shown` must have had something to show.
    pub async fn finish(self, shown: &[Invariant]) -> Result<()> {
        self.judge(None, shown).await
    }

    /// The same when a node will not come back: its log is not asked for.
    pub async fn finish_without(self, gone: u64, shown: &[Invariant]) -> Result<()> {
        self.judge(Some(gone), shown).await
    }

    /// Ends the run and tells what the checker says, whatever that is: for runs that must be found out.
    pub async fn verdict(mut self) -> Result<Report> {
        Ok(check(&self.evidence(None).await?.0))
    }

    #[expect(clippy::print_stderr, reason = "what a run did belongs to its output")]
    async fn evidence(&mut self, gone: Option<u64>) -> Result<(Evidence, Ending)> {
        let (healed, granted) = (Moment::now(), self.workload.granted());
        // Whether it was enough is for the checker to say.
        if let Err(error) = self.progress().await {
            eprintln!("{}: after the faults: {error:#}", self.name);
        }
        let fresh = self.workload.granted() - granted;
        let history = self.workload.finish().await;
        let counts = history.counts();
        eprintln!("{}: {} records: {counts:?}", self.name, history.records.len());
        let missing: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).map(|(kind, _)| *kind).collect();
        ensure!(!self.all_kinds || missing.is_empty(), "the workload never came to {missing:?}");
        self.cluster.wait_all_applied().await?;
        let ending = self.cluster.ending(healed, 2 * PATIENCE, fresh).await;
        let nodes = self.cluster.stop_and_dump(gone)?;
        Ok((Evidence { history, nodes, ..Evidence::default() }, ending))
    }

    #[expect(clippy::print_stderr, reason = "what a run did belongs to its output")]
    async fn judge(mut self, gone: Option<u64>, shown: &[Invariant]) -> Result<()> {
        let (evidence, ending) = self.evidence(gone).await?;
        let mut report = check(&evidence);
        check_progress(&ending, &mut report);
        eprintln!("{report}");
        let shows = shown.iter().all(|invariant| report.checked(*invariant) > 0);
        if report.is_clean() && shows {
            return Ok(());
        }
        let kept = keep(&self.name, self.seed, &evidence, &self.cluster, &report)?;
        ensure!(report.is_clean(), "the evidence is kept in {}:\n{report}", kept.display());
        ensure!(shows, "some of {shown:?} had nothing to show:\n{report}");
        Ok(())
    }
}

/// Keeps what a failed run left behind.
fn keep(name: &str, seed: u64, evidence: &Evidence, cluster: &Cluster, report: &Report) -> Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/evidence").join(format!("{name}-{seed}"));
    fs::create_dir_all(&folder)?;
    evidence.history.write(BufWriter::new(File::create(folder.join("history.jsonl"))?))?;
    fs::write(folder.join("report.txt"), report.to_string())?;
    for file in fs::read_dir(cluster.folder())? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
    }
    Ok(folder)
}
