//! The fuzz target: a conversation, made of the input's bytes, for the analyzer that the environment names.
//!
//! In: `FAREND_ANALYZER`, and inputs of libFuzzer. Out: nothing, or the panic of a property that does not hold.
#![no_main]

mod drive;

use std::sync::OnceLock;

use farend_analyzers::{Id, METAS};
use libfuzzer_sys::fuzz_target;

static ID: OnceLock<Id> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let id = *ID.get_or_init(|| {
        let name = std::env::var("FAREND_ANALYZER").expect("FAREND_ANALYZER names an analyzer");
        Id(METAS.iter().position(|m| m.name == name).expect("an analyzer of `farend analyzers list`"))
    });
    drive::drive(id, input);
});
