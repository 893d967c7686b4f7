//! The commands and programs of docs/redis.md, run as they stand against a node of `leasehold dev`: what the page shows is what they
//! print.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use leasehold_testkit::clients::tools;
use leasehold_testkit::cluster::leasehold_binary;
use leasehold_tests::document::Ids;

/// The ports of the page, with the words by which `dev` tells its own.
const PORTS: [(&str, &str); 3] = [("7400", "gRPC"), ("7402", "HTTP"), ("7403", "Redis")];

/// A node that does not outlive the test.
struct Dev {
    child: Child,
    /// Ports of the page, and those of this node in their place.
    ports: Vec<(&'static str, String)>,
}

impl Dev {
    fn start() -> Result<Self> {
        let mut command = Command::new(leasehold_binary()?);
        let mut child = command.arg("dev").stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let told = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut dev = Self { child, ports: Vec::new() };
        for line in told.lines() {
            let line = line?;
            let mut words = line.split_whitespace();
            let Some(page) = words.next().and_then(|word| PORTS.iter().find(|(_, name)| *name == word)) else {
                continue;
            };
            let address = words.next().context("an address")?.trim_start_matches("http://");
            let port = address.split(['/', ':']).nth(1).context("a port")?;
            dev.ports.push((page.0, port.to_owned()));
            if dev.ports.len() == PORTS.len() {
                break;
            }
        }
        ensure!(dev.ports.len() == PORTS.len(), "dev tells {:?} only", dev.ports);
        Ok(dev)
    }

    /// What these lines print, both to standard output and error.
    fn run(&self, language: &str, lines: &str) -> Result<String> {
        let lines = self.ports.iter().fold(lines.to_owned(), |lines, (page, port)| lines.replace(page, port));
        let mut command = match language {
            "python" => tools::python(&["redis"])?.context("a Python")?.command(),
            "js" => tools::node(&["ioredis", "redlock"])?.context("a Node.js")?.command(),
            _ => Command::new("sh"),
        };
        command.arg(if language == "js" { "-e" } else { "-c" });
        // One stream, in the order of time.
        command.arg(if language == "sh" { format!("exec 2>&1\n{lines}") } else { lines.clone() });
        let folder = leasehold_binary()?.parent().context("a folder")?;
        command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH")?));
        let client = self.ports.iter().find(|(page, _)| *page == "7400").context("a port")?;
        let output = command.env("LEASEHOLD_ENDPOINTS", format!("127.0.0.1:{}", client.1)).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{lines}\nended with {}: {complaint}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fenced blocks of a page: their language, and their lines.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), body.join("\n") + "\n"));
        }
    }
    blocks
}

/// Ports of clients are whatever is free.
fn without_client_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "127.0.0.1:PORT" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn the_page_shows_what_its_commands_print() -> Result<()> {
    let clients = (tools::redis_server()?, tools::python(&["redis"])?, tools::node(&["ioredis", "redlock"])?);
    let (Some(_), Some(_), Some(_)) = clients else { return Ok(()) };
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: curl is not installed; the commands of docs/redis.md are not run");
        return Ok(());
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/redis.md"))?;
    let dev = Dev::start()?;
    let mut ids = Ids::default();
    let mut ran = 0;
    let blocks = blocks(&page);
    for pair in blocks.windows(2) {
        let [(language, lines), (next, shown)] = pair else { continue };
        if !["sh", "python", "js"].contains(&language.as_str()) {
            continue;
        }
        ensure!(next == "text", "what this prints is not shown:\n{lines}");
        let printed = dev.run(language, lines)?;
        ids.compare(&without_client_ports(shown), &without_client_ports(&printed))
            .with_context(|| format!("{lines}prints\n{printed}"))?;
        ran += 1;
    }
    ensure!(ran >= 7, "only {ran} blocks were found");
    Ok(())
}
