//! The command line: what `farend` offers, and exit codes.

mod analyse;
mod analyzers;
mod bar;
mod bench;
mod catalog;
mod columns;
mod completions;
mod config;
mod demo;
mod explain;
mod intel;
#[cfg(unix)]
mod live;
#[cfg(unix)]
mod reload;
mod replay;
mod say;
mod sinks;
mod version;
mod wrap;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, EveType, FailOn, Format, HomeNet, OutputSection, Whole};
use crate::sink::eve::Types;
use analyzers::AnalyzersCommand;
use bench::BenchArgs;
use catalog::CatalogCommand;
use completions::{CompletionsArgs, ManArgs};
use config::ConfigCommand;
use intel::IntelCommand;

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

    /// All of them, for the man page and the help.
    pub const MEANINGS: [(u8, &str); 5] = [
        (CLEAN, "Nothing to report."),
        (FINDING, "A finding at or above --fail-on."),
        (USAGE, "Usage or configuration error, or no input path exists."),
        (
            PARTIAL,
            "An input was missing, unreadable, not a capture, truncated or corrupt: the rest was analysed.",
        ),
        (RUNTIME, "Runtime or output failure: disk full, no permission."),
    ];
}

/// What comes behind the flags of `replay --help`.
const REPLAY_HELP: &str = "\
Examples:
  farend replay office.pcapng
  farend replay --eve eve.json --home 198.51.100.0/24 captures/
  farend explain F-0123456789 --from eve.json
  tcpdump -i eth0 -U -w - | farend replay --eve - --quiet -

Exit codes: 0 clean, 1 a finding at or above --fail-on, 2 usage or configuration error or no input path exists,
3 an input was missing, unreadable, not a capture, truncated or corrupt (the rest was analysed), 4 output failed";

/// What comes behind the flags of `live --help`.
#[cfg(unix)]
const LIVE_HELP: &str = "\
Examples:
  farend live -i eth1 --eve /var/log/farend/eve.json
  farend live -i tap0,tap1 --home 198.51.100.0/24 --duration 8h
  sudo setcap cap_net_raw,cap_net_admin=eip $(command -v farend)    once, so that root is not needed

Exit codes: 0 ended by signal or duration, 1 a finding at or above --fail-on, 2 usage or configuration error,
4 no permission on the interface, or output failed";

/// Who is at the far end, through what, and is someone out there operating a machine in here?
#[derive(Debug, Parser)]
#[command(name = "farend", version = version::short(), long_version = version::long(), about, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Analyse capture files, directories of them, or standard input (-)
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Analyse what comes in on interfaces (a span port, a tap) until SIGINT or SIGTERM
    #[cfg(unix)]
    #[command(after_help = LIVE_HELP)]
    Live(LiveArgs),
    /// Replay the bundled laptop-farm capture and print the verdict
    Demo(DemoArgs),
    /// Show every piece of evidence behind one finding
    Explain(ExplainArgs),
    /// Address intelligence: look up, provenance and age, build, update
    #[command(subcommand)]
    Intel(IntelCommand),
    /// Tool catalogue: RMM, remote desktop, IP-KVM, VPN, proxy; list, show, check files
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Protocol analyzers: what each recognises and what its evidence weighs
    #[command(subcommand)]
    Analyzers(AnalyzersCommand),
    /// Measure this machine: packets a second by workers and batch size, on made, given or live traffic
    #[command(after_help = bench::HELP)]
    Bench(BenchArgs),
    /// Configuration: check a file, show what is in force, print its schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    shared: Shared,
    /// Captures (pcap or pcapng, also inside gzip or zstd), directories, or - for standard input; together they are one timeline
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[cfg(unix)]
#[derive(Debug, Args)]
struct LiveArgs {
    #[command(flatten)]
    shared: Shared,
    /// Interfaces to listen on; several (the two ports of a tap) are one timeline
    #[arg(short, long = "interface", required = true, value_name = "IFACE[,IFACE…]", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// End after this: seconds, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", value_parser = live::duration)]
    duration: Option<std::time::Duration>,
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
#[derive(Clone, Debug, Args)]
struct Shared {
    #[command(flatten)]
    output: Output,
    /// Configuration file (config/farend.toml is the commented default); flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Networks that are inside (repeatable), or auto: private addresses [default: auto]
    #[arg(long, value_name = "CIDR|auto")]
    home: Vec<HomeNet>,
    /// Further address databases: MaxMind format, or lists of networks (repeatable; later ones win)
    #[arg(long, value_name = "FILE")]
    intel: Vec<PathBuf>,
    /// Worker threads; 1 = everything in one thread, 0 = all cores [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    workers: Option<u16>,
    /// Only frames that this filter accepts (tcpdump's syntax, applied to the outer headers)
    #[arg(short, long, value_name = "BPF")]
    filter: Option<String>,
    /// Exit with 1 when a finding is at least this severe
    #[arg(long, value_enum, hide_possible_values = true, value_name = "low|medium|high|critical")]
    fail_on: Option<FailOn>,
}

/// What is written, and how.
#[derive(Clone, Debug, Args)]
struct Output {
    /// Write EVE records (NDJSON) to a file, or - for standard output
    #[arg(long, value_name = "PATH|-")]
    eve: Option<PathBuf>,
    /// Which EVE records [default: flow,alert,host,stats]
    #[arg(long, value_name = "TYPES")]
    eve_types: Option<Types>,
    /// The summary as a table or as one JSON object [default: table]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "table|json")]
    format: Option<Format>,
    /// No summary and no progress; errors are still said
    #[arg(short, long)]
    quiet: bool,
    /// All evidence, all sessions, counters
    #[arg(short, long)]
    verbose: bool,
}

impl Shared {
    /// What the flags say goes in the place of what the file says.
    fn laid_over(&self, mut config: Config) -> Config {
        if let Some(workers) = self.workers {
            config.workers = Whole::new(workers.into());
        }
        replace(&mut config.home.networks, &self.home);
        replace(&mut config.intel.files, &self.intel);
        config.input.filter = self.filter.clone().or(config.input.filter);
        config.output.fail_on = self.fail_on.or(config.output.fail_on);
        self.output.lay_over(&mut config.output);
        config
    }
}

impl Output {
    fn lay_over(&self, config: &mut OutputSection) {
        config.eve = self.eve.clone().or(config.eve.take());
        config.format = self.format.unwrap_or(config.format);
        if let Some(types) = self.eve_types {
            config.eve_types = EveType::list(types);
        }
    }
}

/// A flag that was given at least once goes in the place of the whole list.
fn replace<T: Clone>(list: &mut Vec<T>, flag: &[T]) {
    if !flag.is_empty() {
        *list = flag.to_vec();
    }
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
        #[cfg(unix)]
        Command::Live(args) => live::live(args),
        Command::Demo(args) => demo::demo(args),
        Command::Explain(args) => explain::explain(&args),
        Command::Intel(command) => intel::intel(command),
        Command::Catalog(command) => catalog::catalog(&command),
        Command::Analyzers(command) => analyzers::analyzers(&command),
        Command::Bench(args) => bench::bench(args),
        Command::Config(command) => config::config(command),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, message }) => {
            say::warn(message);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    fn laid_over(args: &[&str], file: Config) -> Config {
        let args = ["farend", "replay", "x.pcap"].iter().chain(args);
        let Command::Replay(replay) = Cli::try_parse_from(args).expect("valid").command else {
            panic!("it was a replay")
        };
        replay.shared.laid_over(file)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_the_file_counts_and_a_flag_goes_in_the_place_of_its_key() {
        let mut file = Config { workers: Whole::new(3), ..Config::default() };
        file.home.networks = vec!["203.0.113.0/24".parse().expect("a network")];
        file.intel.files = vec!["a.mmdb".into(), "b.txt".into()];
        file.input.filter = Some("tcp".into());
        file.output.eve = Some("file.json".into());
        file.output.eve_types = vec![EveType::Alert];
        file.output.format = Format::Json;
        file.output.fail_on = Some(FailOn::Low);
        assert_eq!(laid_over(&[], file.clone()), file);

        let flags = "--workers 0 --home auto --home 198.51.100.0/24 --intel c.mmdb -f udp --eve - --eve-types flow,stats \
             --format table --fail-on high";
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let config = laid_over(&flags, file.clone());
        assert_eq!(config.workers.get(), 0);
        assert_eq!(config.home.networks, ["auto", "198.51.100.0/24"].map(|n| n.parse().expect("a network")));
        assert_eq!(config.intel.files, [Path::new("c.mmdb")]);
        assert_eq!(config.input.filter.as_deref(), Some("udp"));
        assert_eq!(config.output.eve.as_deref(), Some(Path::new("-")));
        assert_eq!(config.output.eve_types, [EveType::Flow, EveType::Stats]);
        assert_eq!((config.output.format, config.output.fail_on), (Format::Table, Some(FailOn::High)));
        assert_eq!(config.flow, file.flow);
    }

    #[test]
    fn a_bad_flag_is_a_usage_error_that_says_what_was_expected() {
        for (args, told) in [
            (&["replay"][..], "<PATH>..."),
            (&["replay", "x", "--home", "ten/8"], "expected 192.0.2.0/24"),
            (&["replay", "x", "--eve-types", "flows"], "have: flow, alert, host, stats"),
            (&["replay", "x", "--workers", "9999"], "0..=256"),
            (&["replay", "x", "--fail-on", "hihg"], "high"),
            (&["live"], "--interface"),
            (&["live", "-i", "eth0", "--duration", "5 m"], "s, m, h or d"),
            (&["report", "x"], "unrecognized subcommand"),
        ] {
            let error = Cli::try_parse_from(["farend"].iter().chain(args)).expect_err("a usage error");
            assert!(error.use_stderr() && error.to_string().contains(told), "{args:?}: {error}");
        }
    }
}
