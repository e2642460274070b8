//! `farend demo`: the bundled laptop-farm capture.

use super::analyse::{Run, analyse, in_force, open_new_eve};
use super::{DemoArgs, Failure};
use crate::config::{Config, Whole};
use crate::source::{Inputs, Options};

/// A company laptop at a facilitator's home, operated over RDP from a rented server; recorded by `pcaps/record`.
pub(super) const CAPTURE: &[u8] = include_bytes!("../../../pcaps/farm_laptop.pcap");

pub(super) fn demo(args: DemoArgs) -> Result<u8, Failure> {
    let source = Inputs::from_stream("farm_laptop.pcap", Box::new(CAPTURE), &Options::default())
        .map_err(Failure::runtime)?;
    let mut config = Config { workers: Whole::new(1), ..Config::default() };
    args.output.lay_over(&mut config.output);
    let eve = config.output.eve.as_deref().map(open_new_eve).transpose()?;
    let (output, in_force) = (&args.output, in_force(&config)?);
    analyse(
        &mut [Box::new(source)],
        Run { output, config: &config, in_force, eve, going: None, switch: None },
    )
}
