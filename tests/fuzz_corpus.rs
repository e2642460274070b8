//! What fuzzing has found worth keeping, fed to the analyzers again: `analyzers/fuzz/corpus/*.pack`, each a row of inputs with two
//! bytes of length before.

#[path = "../analyzers/fuzz/drive.rs"]
mod drive;

use std::fs;
use std::path::Path;

use farend_analyzers::{Id, METAS};

/// The inputs in a pack.
fn inputs(mut pack: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let &[hi, lo, ref rest @ ..] = pack {
        let (input, after) = rest.split_at(usize::from(u16::from_be_bytes([hi, lo])));
        all.push(input);
        pack = after;
    }
    assert!(pack.is_empty(), "a pack ends with a whole input");
    all
}

#[test]
fn no_input_that_fuzzing_kept_breaks_what_analyzers_promise() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (i, meta) in METAS.iter().enumerate() {
        // A new analyzer has none until it was fuzzed.
        let Ok(pack) = fs::read(folder.join(format!("{}.pack", meta.name))) else { continue };
        let all = inputs(&pack);
        assert!(!all.is_empty(), "{}", meta.name);
        all.iter().for_each(|input| drive::drive(Id(i), input));
    }
}

#[test]
fn every_analyzer_bears_what_was_kept_of_all_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for meta in METAS {
        let Ok(pack) = fs::read(folder.join(format!("{}.pack", meta.name))) else { continue };
        for input in inputs(&pack) {
            (0..METAS.len()).for_each(|i| drive::drive(Id(i), input));
        }
    }
}
