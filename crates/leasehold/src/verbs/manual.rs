//! Completions and manual pages, made from the command line itself.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write a page for each verb into this folder, instead of all of them to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut public(), "leasehold", &mut script);
    output::bytes(&script);
    Ok(Exit::Ok)
}

/// The command line without its hidden verbs, which completions would offer.
fn public() -> clap::Command {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut public = clap::Command::new("leasehold").version(env!("CARGO_PKG_VERSION")).subcommands(shown);
    if let Some(about) = whole.get_about() {
        public = public.about(about.clone());
    }
    public
}

pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let mut pages = Vec::new();
    let mut command = Cli::command();
    command.build();
    collect(&command, &mut pages).map_err(|error| Failure::internal(format!("no manual: {error}")))?;
    match &args.dir {
        None => pages.iter().for_each(|page| output::bytes(&page.text)),
        Some(dir) => {
            for page in &pages {
                write(dir, page).map_err(|error| Failure::usage(format!("--dir: {}: {error}", dir.display())))?;
            }
            output::note(&format!("leasehold: {} pages written into {}", pages.len(), dir.display()));
        }
    }
    Ok(Exit::Ok)
}

struct Page {
    /// Of its file: `leasehold-session-open.1`.
    name: String,
    text: Vec<u8>,
}

/// The page of a command, and those of its verbs.
fn collect(command: &clap::Command, pages: &mut Vec<Page>) -> std::io::Result<()> {
    let title = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    Man::new(command.clone()).title(title.to_uppercase()).render(&mut text)?;
    pages.push(Page { name: format!("{title}.1"), text });
    let shown = |verb: &&clap::Command| !verb.is_hide_set() && verb.get_name() != "help";
    command.get_subcommands().filter(shown).try_for_each(|verb| collect(verb, pages))
}

fn write(dir: &Path, page: &Page) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(&page.name), &page.text)
}
