//! Logs of server processes: to stderr, filtered by `LEASEHOLD_LOG`.

use std::io::{self, IsTerminal};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that filters logs, for example `debug,openraft=warn`.
const FILTER_VARIABLE: &str = "LEASEHOLD_LOG";

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging; `default` filters where the variable does not. An error is a text for the user.
pub(crate) fn init(format: LogFormat, default: &str) -> Result<(), String> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(&text).map_err(|error| format!("{FILTER_VARIABLE}: {text:?}: {error}"))?
        }
        _ => EnvFilter::new(default),
    };
    let colour = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    let started = match format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    };
    started.map_err(|error| format!("logging does not start: {error}"))
}
