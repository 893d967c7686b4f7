//! What the fuzz targets of the program do with an input (`tests/fuzz`), and inputs made from real data.
//!
//! There for tests and for builds with `--cfg fuzzing` alone: nothing of it is in the product.

use clap::Parser;

use crate::cli::Cli;
use crate::config::{ServeArgs, Settings};
use crate::reaper::control::{Order, Report};

/// Name, what is done with an input (whether it was understood), and seeds.
pub type Target = (&'static str, fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>);

/// The targets of the program.
pub const TARGETS: &[Target] = &[
    ("config", config, seeds_of_config),
    ("arguments", arguments, seeds_of_arguments),
    ("reaper_lines", reaper_lines, seeds_of_reaper_lines),
];

/// A config file. What is wrong with it is told in words.
fn config(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // Other files that it names are none of this input.
    if text.contains("file") {
        return false;
    }
    match Settings::from_text(ServeArgs::default(), text) {
        Ok(settings) => {
            assert!(settings.node.validate().is_ok());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

fn seeds_of_config() -> Vec<Vec<u8>> {
    let least = "node-id = 1\ndata-dir = \"/tmp/x\"\npeers = \"1=a:1\"\n";
    let more = r#"
listen = "0.0.0.0:7400"
advertise = "[::1]:7400"
bootstrap = true
log-format = "json"
dapr-store = "locks"

[tuning]
heartbeat = "50ms"
election-min = "200ms"
election-max = "1s"
snapshot-entries = 1000
drift-max-ppm = 500

[[dapr.stores]]
name = "other"
namespace = "n"
key-prefix = "name"
app-id-from = "token"
app-id = "orders"

[[dapr.tokens]]
token = "secret"
app-id = "orders"

[[dapr.listeners]]
grpc = "127.0.0.1:1"
app-id = "orders"

[redis]
listen = "127.0.0.1:7403"
"#;
    vec![least.into(), [least, more].concat().into()]
}

/// A command line, one argument a line. Nothing is run.
fn arguments(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let line = std::iter::once("leasehold").chain(text.split('\n'));
    match Cli::try_parse_from(line) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

fn seeds_of_arguments() -> Vec<Vec<u8>> {
    let lines = [
        "acquire jobs/1 --wait 5s --ttl 1m --owner me -o json",
        "acquire a b --permits 2 --limit 5 --endpoints h:1,[::1]:2",
        "lock a --try --shared -- cmd --try -o json",
        "serve --node-id 1 --data-dir d --peers 1=h:1 --bootstrap --log-format json",
        "watch jobs/ --after 7 --events 5",
        "release a 7",
        "session open --ttl 300ms",
        "renew 0000000000000007",
        "cluster status -o json",
        "elect leader -- true",
    ];
    lines.into_iter().map(|line| line.replace(' ', "\n").into()).collect()
}

/// What `lock` and its reaper tell each other: what is read is what is written.
fn reaper_lines(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut understood = false;
    for line in text.lines() {
        if let Ok(order) = line.parse::<Order>() {
            assert_eq!(order.to_string().parse().ok(), Some(order));
            understood = true;
        }
        if let Ok(report) = line.parse::<Report>() {
            assert_eq!(report.to_string().parse().ok(), Some(report));
            understood = true;
        }
    }
    understood
}

fn seeds_of_reaper_lines() -> Vec<Vec<u8>> {
    vec![b"until 1234567890123\nsignal 15\nend 500\n".into(), b"started 77\nstopped 19\nexpiring\nexited 143\n".into()]
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn kept_inputs_of_the_fuzz_targets_do_no_harm() {
    let fuzz_dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    replay::replay(&fuzz_dir, TARGETS);
}
