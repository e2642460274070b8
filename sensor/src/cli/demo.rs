//! `farend demo`: the bundled laptop-farm capture.

use super::{DemoArgs, Failure, replay};
use crate::config::{Config, Whole};
use crate::intel::Intel;
use crate::source::{Inputs, Options};

/// A company laptop at a facilitator's home, operated over RDP from a rented server; recorded by `pcaps/record`.
pub(super) const CAPTURE: &[u8] = include_bytes!("../../../pcaps/farm_laptop.pcap");

pub(super) fn demo(args: DemoArgs) -> Result<u8, Failure> {
    let mut source = Inputs::from_stream("farm_laptop.pcap", Box::new(CAPTURE), &Options::default())
        .map_err(Failure::runtime)?;
    let mut config = Config { workers: Whole::new(1), ..Config::default() };
    args.output.lay_over(&mut config.output);
    replay::analyse(&mut source, &args.output, &config, Intel::embedded(), None)
}
