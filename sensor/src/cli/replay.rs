//! `farend replay`: captures to records and a summary.

use super::analyse::{Run, analyse, in_force, open_new_eve};
use super::{Failure, ReplayArgs, config};
use crate::source::{self, Options};

pub(super) fn replay(args: ReplayArgs) -> Result<u8, Failure> {
    let config = args.shared.laid_over(config::load(args.shared.config.as_deref())?);
    let options = Options { filter: config.input.filter.clone() };
    let source = source::open(&args.paths, &options).map_err(Failure::usage)?;
    // Before the file is made: a mistake must not empty one that is there.
    let in_force = in_force(&config)?;
    let eve = config.output.eve.as_deref().map(open_new_eve).transpose()?;
    let output = &args.shared.output;
    analyse(&mut [source], Run { output, config: &config, in_force, eve, going: None, switch: None })
}
