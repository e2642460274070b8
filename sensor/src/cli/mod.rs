//! The command line: what `farend` offers, and exit codes.

mod demo;
mod explain;
mod replay;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::home::Net;
use crate::host::Severity;
use crate::sink::eve::Types;

/// Exit codes of the contract.
pub mod code {
    /// Nothing to report.
    pub const CLEAN: u8 = 0;
    /// A finding at or above `--fail-on`.
    pub const FINDING: u8 = 1;
    /// Usage or configuration error, or no input path exists.
    pub const USAGE: u8 = 2;
    /// Some input was missing, unreadable, not a capture, truncated or corrupt.
    pub const PARTIAL: u8 = 3;
    /// Runtime or sink failure.
    pub const RUNTIME: u8 = 4;
}

/// Who is at the far end, through what, and is someone out there operating a machine in here?
#[derive(Debug, Parser)]
#[command(name = "farend", version = version(), about, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Analyse capture files, directories of them, or standard input (-)
    Replay(ReplayArgs),
    /// Replay the bundled laptop-farm capture and print the verdict
    Demo(DemoArgs),
    /// Show every piece of evidence behind one finding
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    shared: Shared,
    /// Captures (pcap or pcapng, also inside gzip or zstd), directories, or - for standard input; together they are one timeline
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct DemoArgs {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The finding, as in alerts and in the summary (F-0123456789)
    id: String,
    /// EVE file of the run that found it
    #[arg(long, value_name = "PATH", default_value = "eve.json")]
    from: PathBuf,
}

/// Flags that `replay` and `live` share.
#[derive(Debug, Args)]
struct Shared {
    #[command(flatten)]
    output: Output,
    /// Networks that are inside (repeatable), or auto: private addresses
    #[arg(long, value_name = "CIDR|auto", default_value = "auto", value_parser = parse_home)]
    home: Vec<HomeArg>,
    /// Further address databases: MaxMind format, or lists of networks (repeatable; later ones win)
    #[arg(long, value_name = "FILE")]
    intel: Vec<PathBuf>,
    /// Worker threads; 1 = everything in one thread [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Only frames that this filter accepts (tcpdump's syntax, applied to the outer headers)
    #[arg(short, long, value_name = "BPF")]
    filter: Option<String>,
    /// Exit with 1 when a finding is at least this severe
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
}

/// What is written, and how.
#[derive(Debug, Args)]
struct Output {
    /// Write EVE records (NDJSON) to a file, or - for standard output
    #[arg(long, value_name = "PATH|-")]
    eve: Option<PathBuf>,
    /// Which EVE records
    #[arg(long, value_name = "TYPES", default_value = "flow,alert,host,stats")]
    eve_types: Types,
    /// The summary as a table or as one JSON object
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// No summary and no progress; errors are still said
    #[arg(short, long)]
    quiet: bool,
    /// All evidence, all sessions, counters
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Low,
    Medium,
    High,
    Critical,
}

impl From<FailOn> for Severity {
    fn from(value: FailOn) -> Self {
        match value {
            FailOn::Low => Self::Low,
            FailOn::Medium => Self::Medium,
            FailOn::High => Self::High,
            FailOn::Critical => Self::Critical,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum HomeArg {
    Auto,
    Net(Net),
}

fn parse_home(text: &str) -> Result<HomeArg, String> {
    if text == "auto" { Ok(HomeArg::Auto) } else { text.parse().map(HomeArg::Net) }
}

/// Version, for `--version`.
fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), env!("FAREND_BUILD"))
}

/// Runs the command line; `--help` and usage errors end here, too.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { code::USAGE } else { code::CLEAN });
        }
    };
    let done = match cli.command {
        Command::Replay(args) => replay::replay(args),
        Command::Demo(args) => demo::demo(args),
        Command::Explain(args) => explain::explain(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                eprintln!("farend: {message}");
            }
            ExitCode::from(code)
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl std::fmt::Display) -> Self {
        Self { code: code::USAGE, message: message.to_string() }
    }

    fn runtime(message: impl std::fmt::Display) -> Self {
        Self { code: code::RUNTIME, message: message.to_string() }
    }
}
