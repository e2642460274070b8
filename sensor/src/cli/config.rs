//! `farend config`: check a file, show what is in force, print the schema.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Failure, code, say};
use crate::config::{Config, Mistake};
use crate::host::Weights;
use crate::intel::Intel;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a file and the files it names: every mistake with line and column
    Check {
        /// A configuration, as config/farend.toml
        file: PathBuf,
    },
    /// Print the configuration in force as commented TOML
    Show {
        /// A configuration; without it the defaults are shown
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration
    Schema,
}

pub(super) fn config(command: ConfigCommand) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Check { file } => {
            let config = load(Some(&file))?;
            weights(&config)?;
            super::catalog::of(&config)?;
            Intel::with_files(&config.intel.files).map_err(Failure::usage)?;
            say::out(&format!("{}: good\n", file.display()))
        }
        ConfigCommand::Show { config } => say::out(&load(config.as_deref())?.to_commented_toml()),
        ConfigCommand::Schema => say::out(&format!("{:#}\n", Config::schema())),
    }
}

/// The configuration of `--config`, or the defaults.
pub(super) fn load(file: Option<&Path>) -> Result<Config, Failure> {
    file.map_or_else(|| Ok(Config::default()), |file| Config::load(file).map_err(mistakes))
}

/// The weights in force.
pub(super) fn weights(config: &Config) -> Result<Weights, Failure> {
    config.weights.load().map_err(mistakes)
}

/// Mistakes in files of settings, a line each.
pub(super) fn mistakes(all: Vec<Mistake>) -> Failure {
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    Failure { code: code::USAGE, message: lines.join("\n") }
}
