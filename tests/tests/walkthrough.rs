//! docs/walkthrough.md, run as it stands against a cluster of three processes: what it shows is what is printed.
//!
//! `LEASEHOLD_WALKTHROUGH=write cargo test -p leasehold-tests --test walkthrough` puts what is printed into the page; read the
//! difference before you keep it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::cluster::{free_port, leasehold_binary};
use leasehold_tests::alone;
use leasehold_tests::document::{Block, Ids, Terminal, blocks};
use tempfile::TempDir;

/// How long a look may be repeated.
const AGAIN_MAX: Duration = Duration::from_secs(20);
/// The same where the page is being written, which need not be right yet.
const AGAIN_WRITING: Duration = Duration::from_secs(3);
/// How long commands may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The first port of the page, and of all in it.
const PAGE_PORT: u16 = 7400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A shell that the page's commands are typed into.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: Receiver<String>,
    folder: TempDir,
    /// Blocks that were given to it, and those whose end was read.
    given: usize,
    read: usize,
}

impl Shell {
    fn start(port: u16, data: &Path) -> Result<Self> {
        let binary = leasehold_binary()?;
        let path = format!("{}:{}", binary.parent().context("a folder")?.display(), std::env::var("PATH")?);
        let mut process = Command::new("sh")
            .current_dir(root())
            .env("PATH", path)
            .env("LEASEHOLD_LOCAL_DIR", data)
            .env("LEASEHOLD_LOCAL_PORT", port.to_string())
            .env("LEASEHOLD_BIN", binary)
            .env_remove("LEASEHOLD_ENDPOINTS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut input = process.stdin.take().context("a pipe")?;
        let source = BufReader::new(process.stdout.take().context("a pipe")?);
        let (lines, output) = channel();
        std::thread::spawn(move || {
            // Until nobody writes or reads any more.
            for line in source.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        writeln!(input, "exec 2>&1")?;
        Ok(Self { process, input, output, folder: tempfile::tempdir()?, given: 0, read: 0 })
    }

    /// Starts the commands of a block.
    fn begin(&mut self, commands: &str) -> Result<()> {
        self.given += 1;
        let file = self.folder.path().join(format!("block-{}", self.given));
        std::fs::write(&file, commands)?;
        // Their own input is empty: the shell's is what is typed next.
        writeln!(self.input, ". {} </dev/null\necho; echo end-of-block-{}", file.display(), self.given)?;
        Ok(())
    }

    /// What the next block has printed, when it has ended.
    fn finish(&mut self) -> Result<String> {
        self.read += 1;
        ensure!(self.read <= self.given, "the page shows output of commands that it has not shown");
        let end = format!("end-of-block-{}", self.read);
        let mut printed = String::new();
        loop {
            let line = self.output.recv_timeout(SILENCE_MAX);
            let line = line.map_err(|_| anyhow!("nothing more came for {SILENCE_MAX:?} after:\n{printed}"))?;
            if line == end {
                // The empty line is ours.
                ensure!(printed.pop().is_some(), "an empty line comes before the end");
                return Ok(printed);
            }
            printed.push_str(&line);
            printed.push('\n');
        }
    }

    fn run(&mut self, commands: &str) -> Result<String> {
        self.begin(commands)?;
        self.finish()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // With all that it has started; it has ended already, or ends now.
        let kill = format!("kill -s KILL -- -{}", self.process.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

struct Reader {
    port: u16,
    first: Shell,
    second: Shell,
    ids: Ids,
    /// Instead of comparing: what the page should show, by its lines.
    written: Option<Vec<((usize, usize), String)>>,
}

impl Reader {
    fn ports(&self, text: &str, from: u16, to: u16) -> String {
        (0..3).fold(text.to_owned(), |text, node| {
            text.replace(&format!("127.0.0.1:{}", from + 10 * node), &format!("127.0.0.1:{}", to + 10 * node))
        })
    }

    fn for_run(&self, commands: &str) -> String {
        self.ports(&self.ids.for_run(commands), PAGE_PORT, self.port)
    }

    /// Compares what was printed with what the page shows, or notes it down.
    fn judge(&mut self, shown: &str, printed: &str, at: Option<(usize, usize)>) -> Result<()> {
        let printed = self.ports(printed, self.port, PAGE_PORT);
        if let Some(written) = &mut self.written {
            self.ids.learn(shown, &printed);
            if let Some(at) = at {
                written.push((at, self.ids.for_page(&printed)));
            }
            return Ok(());
        }
        self.ids.compare(shown, &printed)
    }

    fn would_pass(&self, shown: &str, printed: &str) -> bool {
        self.ids.clone().compare(shown, &self.ports(printed, self.port, PAGE_PORT)).is_ok()
    }

    fn read(&mut self, block: &Block, next: Option<&Block>) -> Result<()> {
        match block {
            Block::Commands { lines, terminal: Terminal::Second, .. } => self.second.begin(&self.for_run(lines)),
            Block::Commands { lines, again, .. } => {
                let (shown, place) = match next {
                    Some(Block::Output { lines, terminal: Terminal::First, at }) => (lines.as_str(), Some(*at)),
                    _ => ("", None),
                };
                let start = Moment::now();
                loop {
                    let commands = self.for_run(lines);
                    let printed = self.first.run(&commands)?;
                    let early = start.elapsed() < if self.written.is_some() { AGAIN_WRITING } else { AGAIN_MAX };
                    if *again && early && !self.would_pass(shown, &printed) {
                        continue;
                    }
                    return self.judge(shown, &printed, place).with_context(|| format!("it printed:\n{printed}"));
                }
            }
            Block::Output { lines, terminal: Terminal::Second, at } => {
                let printed = self.second.finish()?;
                self.judge(lines, &printed, Some(*at)).with_context(|| format!("it printed:\n{printed}"))
            }
            Block::Output { .. } => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walkthrough_does_what_it_says() -> Result<()> {
    let _alone = alone().await;
    let file = root().join("docs/walkthrough.md");
    let page = std::fs::read_to_string(&file)?;
    let blocks = blocks(&page)?;
    let (port, data) = (free_port()?, tempfile::tempdir()?);
    let (data, write) =
        (data.path().join("cluster"), std::env::var("LEASEHOLD_WALKTHROUGH").is_ok_and(|it| it == "write"));
    let mut reader = Reader {
        port,
        first: Shell::start(port, &data)?,
        second: Shell::start(port, &data)?,
        ids: Ids::default(),
        written: write.then(Vec::new),
    };
    let mut verdict = Ok(());
    let mut ran = 0;
    for (number, block) in blocks.iter().enumerate() {
        let at = match block {
            Block::Commands { at, .. } | Block::Output { at: (at, _), .. } => *at,
        };
        ran += usize::from(matches!(block, Block::Commands { .. }));
        verdict = reader.read(block, blocks.get(number + 1)).with_context(|| format!("docs/walkthrough.md, line {at}"));
        if verdict.is_err() {
            break;
        }
    }
    // Whatever has failed, no node may be left.
    let script = root().join("deploy/local/cluster.sh");
    let down = Command::new("bash").arg(script).arg("down").env("LEASEHOLD_LOCAL_DIR", &data).output();
    verdict?;
    down?;
    ensure!(ran >= 30, "only {ran} blocks of commands were found");
    if let Some(written) = reader.written {
        std::fs::write(&file, rewritten(&page, &written))?;
    }
    Ok(())
}

/// The page with these lines between those of the fences.
fn rewritten(page: &str, written: &[((usize, usize), String)]) -> String {
    let mut text = String::new();
    let mut inside = None;
    for (number, line) in (1..).zip(page.lines()) {
        if inside.is_some_and(|end| number < end) {
            continue;
        }
        text.push_str(line);
        text.push('\n');
        if let Some(((_, end), output)) = written.iter().find(|((start, _), _)| *start == number) {
            inside = Some(*end);
            text.push_str(output);
        }
    }
    text
}
