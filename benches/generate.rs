//! Writes a generated capture: `cargo run --release --example generate -- small 10000000 FILE.pcap`, or one multiplied from
//! others: `… --example generate -- mix 3000000 FILE.pcap pcaps/`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use farend::traffic::{generate, mix};

/// The same everywhere, so that records of different machines are of the same captures.
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [workload, packets, path, captures @ ..] = &args[..] else {
        return Err(
            "usage: generate small|elephant PACKETS FILE.pcap, or mix PACKETS FILE.pcap CAPTURES…".into()
        );
    };
    let packets = packets.parse()?;
    if workload != "mix" {
        let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        return Ok(generate(workload.parse()?, packets, SEED, out)?);
    }
    let paths: Vec<PathBuf> = captures.iter().map(PathBuf::from).collect();
    let captures = mix::Captures::open(&paths)?;
    captures.problems.iter().for_each(|problem| eprintln!("{problem}"));
    let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let written = mix::write(&captures, packets, SEED, out)?;
    println!(
        "{} packets, {} copies of {} captures; {:?}",
        written.packets,
        written.copies,
        captures.len(),
        captures.left
    );
    Ok(())
}
