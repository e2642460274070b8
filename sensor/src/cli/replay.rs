//! `farend replay`: captures to records and a summary.

use super::analyse::{Run, analyse, open_new_eve};
use super::{Failure, ReplayArgs, config, say};
use crate::intel::Intel;
use crate::source::{self, Options};

pub(super) fn replay(args: ReplayArgs) -> Result<u8, Failure> {
    let config = args.shared.laid_over(config::load(args.shared.config.as_deref())?);
    let options = Options { filter: config.input.filter.clone() };
    let source = source::open(&args.paths, &options).map_err(Failure::usage)?;
    let intel = Intel::with_files(&config.intel.files).map_err(Failure::usage)?;
    intel.warnings().iter().for_each(say::warn);
    // What is read before the file is made empties no file that could not have been filled again.
    config::weights(&config)?;
    super::catalog::of(&config)?;
    let eve = config.output.eve.as_deref().map(open_new_eve).transpose()?;
    let output = &args.shared.output;
    analyse(&mut [source], Run { output, config: &config, intel, eve, going: None, switch: None })
}
