//! Writes a generated capture: `cargo run --release --example generate -- small 10000000 FILE.pcap`.

use std::fs::File;
use std::io::BufWriter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [workload, packets, path] = &args[..] else {
        return Err("usage: generate small|elephant PACKETS FILE.pcap".into());
    };
    let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    farend::traffic::generate(workload.parse()?, packets.parse()?, 1, out)?;
    Ok(())
}
