//! `farend bench`: what this machine takes, by workers and batch or ring size.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, code, demo, say};
use crate::bench::{Advice, Bench, Cell, Kind, SEED, Sample, Setting, Spread, Traffic, advise, duration, si};
use crate::config::Format;
use crate::sink::terminal::thousands;
use crate::source::{Inputs, OpenError, Options};
use crate::traffic::{Workload, mix};

/// What comes behind the flags of `bench --help`.
pub(super) const HELP: &str = "\
Workloads:
  mix       captures multiplied with other addresses: the price of real content
  small     60-byte TCP frames, 100,000 flows open at a time: the price of a packet and of a flow
  elephant  1,500-byte packets in 2,000 TLS connections: the price of a byte

Examples:
  farend bench
  farend bench mix --captures /var/captures --packets 3000000
  farend bench office.pcap --workers 1,2,4 --batch 256 --rounds 5
  farend bench -i eth1 --seconds 10 --ring 64,256

Analysis is measured; records are not written. A workload is made in $TMPDIR and is gone with the program.

Exit codes: 0 measured, 2 usage error or no such file, 3 the given capture is not whole (the rest was measured), \
4 no room for the workload, or no permission on the interface";

/// Packets made, if nobody says how many: half a second to a second for a core, and no more than 0.6 GB.
const MIX_PACKETS: u64 = 1_000_000;
/// See [`MIX_PACKETS`].
const SMALL_PACKETS: u64 = 3_000_000;
/// See [`MIX_PACKETS`].
const ELEPHANT_PACKETS: u64 = 400_000;
/// A run that takes less time than this says little: threads and tables take some ms to be there.
const SHORT: Duration = Duration::from_millis(200);
/// A capture that says where the source tree's captures are.
const LANDMARK: &str = "pcaps/farm_laptop.pcap";

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// mix, small or elephant, or a capture file
    #[arg(value_name = "WORKLOAD|FILE", default_value = "mix")]
    #[cfg_attr(target_os = "linux", arg(conflicts_with = "interfaces"))]
    traffic: PathBuf,
    /// For mix: captures and directories of them (repeatable) [default: pcaps/ of the source tree around the current directory, else
    /// the demo's capture]
    #[arg(long, value_name = "PATH")]
    #[cfg_attr(target_os = "linux", arg(conflicts_with = "interfaces"))]
    captures: Vec<PathBuf>,
    /// Packets of a workload, about [default: mix 1000000, small 3000000, elephant 400000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[cfg_attr(target_os = "linux", arg(conflicts_with = "interfaces"))]
    packets: Option<u64>,
    /// Numbers of workers to try [default: 1, 2, 4… to all cores]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Vec<u16>,
    /// Frames a batch to try
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65_536),
          default_value = "64,256,1024")]
    #[cfg_attr(target_os = "linux", arg(conflicts_with = "interfaces"))]
    batch: Vec<u32>,
    /// Rounds; in each every setting has its turn [default: 3; interfaces: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Measure on what comes in on interfaces
    #[cfg(target_os = "linux")]
    #[arg(short, long = "interface", value_name = "IFACE[,IFACE…]", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// With -i: MiB of an interface's ring to try
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "MIB[,MIB…]", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=4_096),
          default_value = "16,64,256", requires = "interfaces")]
    ring: Vec<u64>,
    /// With -i: seconds a setting and round
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), default_value_t = 5, requires = "interfaces")]
    seconds: u64,
    /// A table or one JSON object [default: table]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "table|json")]
    format: Option<Format>,
}

/// What was measured, to be told.
struct Story {
    /// First line of the table.
    title: String,
    /// The same for programs.
    traffic: Value,
    cores: usize,
    rounds: u32,
    cells: Vec<Cell>,
    advice: Option<Advice>,
}

pub(super) fn bench(args: BenchArgs) -> Result<u8, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(target_os = "linux")]
    if !args.interfaces.is_empty() {
        return listen(&args, cores);
    }
    let bench = Bench::default();
    let (name, traffic, made_of) = traffic(&args)?;
    // Not counted: it brings the file and the program's memory in.
    let first = Setting::own(1);
    note(&format!("{name}: reading it once"));
    let mut source = traffic.open().map_err(Failure::usage)?;
    let warm = bench.run(&mut *source, first).map_err(Failure::runtime)?;
    note("");
    source.problems().iter().for_each(say::warn);
    let partial = source.problems().iter().any(|p| !p.kind.is_note());
    drop(source);
    if warm.packets == 0 {
        return Err(Failure::usage(format!("{name}: no packets in it")));
    }
    let settings = workers(&args, cores).into_iter().flat_map(|workers| {
        args.batch.iter().map(move |&batch| Setting { workers, batch: Some(batch as usize), ring_mib: None })
    });
    let rounds = args.rounds.unwrap_or(3);
    let cells = in_turn(settings, rounds, |setting| {
        let mut source = traffic.open().map_err(Failure::runtime)?;
        bench.run(&mut *source, setting).map_err(Failure::runtime)
    })?;
    let advice = advise(&cells, Setting::own(cores));
    let mut about = json!({"name": name, "packets": warm.packets, "bytes": warm.bytes});
    let mut title =
        format!("{name}: {} packets, {}B on the wire", thousands(warm.packets), si(warm.bytes as f64));
    if let (Some(mixed), Some(captures)) = (traffic.mixed, made_of) {
        let of = if captures == 1 { "1 capture".to_owned() } else { format!("{captures} captures") };
        title += &format!(", {} copies of {of}", thousands(mixed.copies));
        about["copies"] = mixed.copies.into();
        about["captures"] = captures.into();
    }
    if traffic.is_made() {
        about["seed"] = SEED.into();
    }
    tell(&Story { title, traffic: about, cores, rounds, cells, advice }, args.format)?;
    Ok(if partial { code::PARTIAL } else { code::CLEAN })
}

#[cfg(target_os = "linux")]
fn listen(args: &BenchArgs, cores: usize) -> Result<u8, Failure> {
    use crate::bench::listen::{Error, own_ring_mib};
    use crate::source::listen::ListenError;

    let bench = Bench::default();
    let rounds = args.rounds.unwrap_or(1);
    let settings = workers(args, cores).into_iter().flat_map(|workers| {
        args.ring.iter().map(move |&ring| Setting { workers, batch: None, ring_mib: Some(ring) })
    });
    let time = Duration::from_secs(args.seconds);
    let cells = in_turn(settings, rounds, |setting| {
        bench.listen(&args.interfaces, time, setting).map_err(|e| match e {
            Error::Listen(ListenError::NoInterface { .. } | ListenError::Filter(_)) => Failure::usage(e),
            other => Failure::runtime(other),
        })
    })?;
    let own = Setting { workers: cores, batch: None, ring_mib: Some(own_ring_mib()) };
    let advice = advise(&cells, own);
    let title = format!("{}: {} s a setting and round", args.interfaces.join(", "), args.seconds);
    let traffic = json!({"interfaces": args.interfaces, "seconds": args.seconds});
    tell(&Story { title, traffic, cores, rounds, cells, advice }, args.format)
}

/// Numbers of workers to try.
fn workers(args: &BenchArgs, cores: usize) -> Vec<usize> {
    let mut list: Vec<usize> = args.workers.iter().map(|&n| n.into()).collect();
    if list.is_empty() {
        list = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|&n| n < cores).collect();
        list.push(cores);
    }
    list
}

/// The traffic asked for, its name, and how many captures it is made of.
fn traffic(args: &BenchArgs) -> Result<(String, Traffic, Option<usize>), Failure> {
    let name = args.traffic.display().to_string();
    if name != "mix" && !args.captures.is_empty() {
        return Err(Failure::usage("--captures is for mix"));
    }
    let (kind, made_of) = if name == "mix" {
        let captures = captures(&args.captures)?;
        let count = captures.len();
        (Kind::Mix(captures), Some(count))
    } else if let Ok(workload) = name.parse() {
        (Kind::Made(workload), None)
    } else if args.traffic.exists() {
        if args.packets.is_some() {
            return Err(Failure::usage(format!("--packets is for workloads; {name} is measured whole")));
        }
        return Ok((name, Traffic::given(&args.traffic), None));
    } else {
        return Err(Failure::usage(format!(
            "{name}: no such file, and no workload (have: mix, small, elephant)"
        )));
    };
    let usual = match kind {
        Kind::Mix(_) => MIX_PACKETS,
        Kind::Made(Workload::Small) => SMALL_PACKETS,
        Kind::Made(Workload::Elephant) => ELEPHANT_PACKETS,
    };
    note(&format!("{name}: making it"));
    let made = Traffic::make(&kind, args.packets.unwrap_or(usual));
    note("");
    let traffic = made.map_err(|e| {
        let dir = std::env::temp_dir();
        Failure::runtime(format!(
            "{}: {}; TMPDIR names another folder, --packets fewer packets",
            dir.display(),
            say::io(&e)
        ))
    })?;
    Ok((name, traffic, made_of))
}

/// The captures to multiply; what is missing of them is said.
fn captures(paths: &[PathBuf]) -> Result<mix::Captures, Failure> {
    let failed = |e: OpenError| Failure::usage(e);
    let captures = match (paths, source_tree()) {
        ([], Some(folder)) => mix::Captures::open(&[folder]).map_err(failed)?,
        ([], None) => {
            let demo = Box::new(demo::CAPTURE);
            mix::Captures::read(
                &mut Inputs::from_stream("farm_laptop.pcap", demo, &Options::default()).map_err(failed)?,
            )
        }
        (paths, _) => mix::Captures::open(paths).map_err(failed)?,
    };
    captures.problems.iter().for_each(say::warn);
    let left = captures.left;
    for (frames, why) in [
        (left.link, "not Ethernet"),
        (left.beyond, "behind the first 20,000 packets or 300 s of their capture, or 512 MiB of all"),
    ] {
        if frames > 0 {
            say::warn(format_args!("{} packets left out of the mix: {why}", thousands(frames)));
        }
    }
    if captures.is_empty() {
        return Err(Failure::usage("no packets to multiply"));
    }
    Ok(captures)
}

/// The folder of captures of the source tree around the current directory.
fn source_tree() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let root = here.ancestors().find(|dir| dir.join(LANDMARK).is_file())?;
    root.join(LANDMARK).parent().map(Path::to_owned)
}

/// Runs every setting once a round.
fn in_turn(
    settings: impl Iterator<Item = Setting>,
    rounds: u32,
    mut run: impl FnMut(Setting) -> Result<Sample, Failure>,
) -> Result<Vec<Cell>, Failure> {
    let mut cells: Vec<Cell> = settings.map(Cell::new).collect();
    for round in 1..=rounds {
        for cell in &mut cells {
            note(&format!("round {round} of {rounds}: {}", cell.setting));
            let sample = run(cell.setting);
            note("");
            cell.samples.push(sample?);
        }
    }
    Ok(cells)
}

/// What goes on, on a terminal; an empty text takes it away.
fn note(text: &str) {
    if io::stderr().is_terminal() {
        say::err(&format!("\r\x1b[K{text}"));
    }
}

fn tell(story: &Story, format: Option<Format>) -> Result<u8, Failure> {
    match format.unwrap_or_default() {
        Format::Table => say::text(&text(story)),
        Format::Json => say::out(&format!("{:#}\n", object(story))),
    }
}

fn text(story: &Story) -> String {
    let rounds =
        if story.rounds == 1 { "1 round".into() } else { format!("{} rounds in turn", story.rounds) };
    let cores = if story.cores == 1 { "1 core".into() } else { format!("{} cores", story.cores) };
    let mut out = format!("{}; {rounds}, {cores}\n\n{}", story.title, table(&story.cells));
    out +=
        "\npackets/s, Gbit/s and CPU a packet: median of the rounds; spread: the round farthest from it.\n";
    out += "p50 to max: time of a batch, all rounds";
    if story.cells.iter().any(|c| c.setting.workers > 1) {
        out += "; with more than one worker, in the thread that decodes and deals out, waiting for workers included";
    }
    out += ".\n";
    let shortest = story.cells.iter().flat_map(|c| &c.samples).map(|s| s.wall).min();
    if let Some(shortest) = shortest.filter(|wall| *wall < SHORT) {
        let ns = u64::try_from(shortest.as_nanos()).unwrap_or(u64::MAX);
        out += &format!("A run took {} only, which says little: more packets are better.\n", duration(ns));
    }
    if let Some(advice) = &story.advice {
        out += &format!("\nRecommended: {}\n  {}.\n", advice.setting, advice.reason);
    }
    out
}

fn table(cells: &[Cell]) -> String {
    let live = cells.iter().any(|c| c.drops().is_some());
    let mut rows = vec![vec!["workers".to_owned()]];
    rows[0].push(if live { "ring" } else { "batch" }.into());
    rows[0].extend(["packets/s", "spread", "Gbit/s", "CPU/packet"].map(Into::into));
    rows[0]
        .extend(live.then_some(["cores busy", "drops", "ring full"].map(Into::into)).into_iter().flatten());
    rows[0].extend(["p50", "p99", "p99.9", "max"].map(Into::into));
    for cell in cells {
        let (setting, rate) = (cell.setting, cell.packets_per_second());
        let mut row = vec![setting.workers.to_string()];
        row.extend(setting.batch.map(|n| thousands(n as u64)));
        row.extend(setting.ring_mib.map(|n| format!("{n} MiB")));
        row.push(si(rate.median));
        row.push(if cell.samples.len() > 1 && rate.median > 0.0 {
            format!("±{:.0} %", rate.share() * 100.0)
        } else {
            "–".into()
        });
        row.push(format!("{:.2}", cell.gbit_per_second().median));
        let nothing = cell.packets() == 0;
        row.push(if nothing { "–".into() } else { format!("{:.0} ns", cell.cpu_ns_per_packet().median) });
        if let Some(drops) = cell.drops() {
            row.push(format!("{:.2}", cell.cores_busy().median));
            row.push(thousands(drops));
            row.push(thousands(cell.ring_full().unwrap_or(0)));
        }
        row.extend(cell.latency_ns().map(|ns| if nothing { "–".into() } else { duration(ns) }));
        rows.push(row);
    }
    right_aligned(&rows)
}

fn right_aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        out += &cells.join("  ");
        out.push('\n');
    }
    out
}

fn object(story: &Story) -> Value {
    let rounded = |n: f64| (n * 1e3).round() / 1e3;
    let spread =
        |s: Spread| json!({"median": rounded(s.median), "min": rounded(s.min), "max": rounded(s.max)});
    let setting = |s: Setting| {
        let mut object = json!({"workers": s.workers});
        if let Some(batch) = s.batch {
            object["batch"] = batch.into();
        }
        if let Some(ring) = s.ring_mib {
            object["ring_mib"] = ring.into();
        }
        object
    };
    let cells = story.cells.iter().map(|cell| {
        let mut object = setting(cell.setting);
        let [p50, p99, p99_9, max] = cell.latency_ns();
        object["packets"] = cell.packets().into();
        object["packets_per_second"] = spread(cell.packets_per_second());
        object["gbit_per_second"] = spread(cell.gbit_per_second());
        object["cpu_ns_per_packet"] = spread(cell.cpu_ns_per_packet());
        object["cores_busy"] = spread(cell.cores_busy());
        object["batch_latency_ns"] = json!({"p50": p50, "p99": p99, "p99_9": p99_9, "max": max});
        if let Some(drops) = cell.drops() {
            object["kernel_drops"] = drops.into();
            object["ring_full"] = cell.ring_full().into();
        }
        object
    });
    let advice = story.advice.as_ref().map(|advice| {
        let mut object = setting(advice.setting);
        object["differs"] = advice.differs.into();
        object["reason"] = advice.reason.as_str().into();
        object
    });
    json!({
        "version": super::version::short(),
        "traffic": story.traffic,
        "cores": story.cores,
        "rounds": story.rounds,
        "cells": cells.collect::<Vec<_>>(),
        "recommendation": advice,
    })
}
