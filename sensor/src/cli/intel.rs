//! `farend intel`: look addresses up, tell where the answers come from, build a newer database.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use super::{Failure, say};
use crate::config::Format;
use crate::intel::{BuildInputs, Class, Date, Error, Intel, cli};

#[derive(Debug, Subcommand)]
pub(super) enum IntelCommand {
    /// What is known of addresses: network, organisation, country, class, and what the class rests on
    Lookup {
        /// IPv4 or IPv6 addresses
        #[arg(required = true, value_name = "IP")]
        ips: Vec<String>,
        #[command(flatten)]
        files: Files,
        /// As a table or as one JSON object a line
        #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json")]
        format: Format,
    },
    /// Sources with licence, credit, date and age; warns of stale ones
    Info {
        #[command(flatten)]
        files: Files,
        /// As text or as one JSON object a line
        #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json")]
        format: Format,
    },
    /// How far the built-in classes agree with lists of AS numbers or addresses, and where they do not
    Compare {
        /// Lists with an AS number, address or network a line
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// What is listed, where neither a first line `# class: NAME` nor the file's name says it
        #[arg(long)]
        class: Option<String>,
    },
    /// Build a database from named tables
    Build(BuildArgs),
    /// Build a database from downloaded packages, or without any print the commands that get them (farend opens no connection)
    Update {
        /// Packages and tables, each recognised by its content
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where to write the database
        #[arg(short, long, value_name = "FILE", default_value = "farend.mmdb")]
        output: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Files {
    /// Further address databases: MaxMind format, or lists of networks (repeatable; later ones win)
    #[arg(long, value_name = "FILE")]
    intel: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Table of addresses to AS numbers: CSV rows of first, last, AS number, organisation (repeatable)
    #[arg(long, value_name = "FILE", required = true)]
    asn: Vec<PathBuf>,
    /// Table of addresses to countries: CSV rows of first, last, country (repeatable)
    #[arg(long, value_name = "FILE")]
    country: Vec<PathBuf>,
    /// The iporigin package, or its ranges.bin
    #[arg(long, value_name = "FILE")]
    iporigin: Option<PathBuf>,
    /// Classes of ASes in the place of the built-in table (config/intel/asn-classes.toml)
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Where to write the database; a name that ends in .pack gets it compressed
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn intel(command: IntelCommand) -> Result<u8, Failure> {
    let text = match command {
        IntelCommand::Lookup { ips, files, format } => {
            let json = format == Format::Json;
            let text = cli::lookup_text(&files.open()?, &ips, json).map_err(Failure::usage)?;
            return print(&text, json);
        }
        IntelCommand::Info { files, format } => {
            let json = format == Format::Json;
            return print(&cli::info_text(&files.open()?, today(), json), json);
        }
        IntelCommand::Compare { files, class } => {
            let class = class.map(|name| name.parse().map_err(|_| no_class(&name))).transpose()?;
            return print(&cli::compare_text(&files, class).map_err(Failure::usage)?, false);
        }
        IntelCommand::Build(args) => args.build()?,
        IntelCommand::Update { files, .. } if files.is_empty() => cli::update_help(),
        IntelCommand::Update { files, output } => {
            cli::update_text(&files, &output).map_err(|e| failure(&e, &files))?
        }
    };
    say::out(&text)
}

fn no_class(name: &str) -> Failure {
    Failure::usage(format!("{name}: no such class (have: {})", Class::ALL.map(Class::as_str).join(", ")))
}

/// JSON keeps its lines, whatever the terminal.
fn print(text: &str, json: bool) -> Result<u8, Failure> {
    if json { say::out(text) } else { say::text(text) }
}

impl Files {
    fn open(&self) -> Result<Intel, Failure> {
        let intel = Intel::with_files(&self.intel).map_err(Failure::usage)?;
        intel.warnings().iter().for_each(say::warn);
        Ok(intel)
    }
}

impl BuildArgs {
    fn build(self) -> Result<String, Failure> {
        let Self { asn, country, iporigin, classes, output } = self;
        let named = asn.iter().chain(&country).chain(&iporigin).chain(&classes).cloned().collect::<Vec<_>>();
        let inputs = BuildInputs { asn_csv: asn, country_csv: country, iporigin, classes };
        cli::build_text(&inputs, &output).map_err(|e| failure(&e, &named))
    }
}

/// An input that cannot be read was named wrongly; an output that cannot be written is the system's failure.
fn failure(error: &Error, inputs: &[PathBuf]) -> Failure {
    match error {
        Error::Io { path, .. } if !inputs.contains(path) => Failure::runtime(error),
        _ => Failure::usage(error),
    }
}

fn today() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::from_unix(since.as_secs())
}
