//! End-to-end tests: what is promised to users and to other programs, over the whole pipeline and the `farend` program.
//!
//! One program for all of them, so that they are linked once. Tests over captures use those of `pcaps/`, and a labelled corpus where
//! there is one beside the workspace (`support/corpus.rs`); `FAREND_FULL=1` runs the corpus through every combination.

mod bench;
mod catalogue;
mod cli;
mod conservation;
mod determinism;
mod eve;
mod findings;
mod flows;
mod golden;
mod hostile;
mod labels;
mod metrics;
mod midstream;
mod mix;
mod overload;
mod readdressed;
mod service;
mod support;
mod truth;
