//! Memory: bounded whatever comes, and none allocated per packet once everything is warm.
//!
//! A program of its own, because it counts every allocation of the process. Tests take turns: another one's would be counted, too.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use farend::decode::Decoder;
use farend::flow::{End, Quotas};
use farend::home::Home;
use farend::host::{Finding, FindingKind, HostRecord, Weights};
use farend::inspect::Limits;
use farend::intel::Intel;
use farend::pipeline::{
    Counters, DecodeCounters, Ended, Far, Reducer, Sink, Splitter, Timeouts, Units, Worker, WorkerConfig,
};
use farend::source::{Batch, FileInfo, Frame, Problem, Progress, Region, Source, Status};

use support::capture::{Capture, SECOND_NS, START_NS};
use support::frame::{self, ACK, Ip, PSH, SYN, end};
use support::payloads::{Dice, dns_answer, dns_question, encrypted, noise, rdp, ssh, wireguard};
use support::replay::{Setup, run};
use support::tcp::{Client, Server, Tcp};

const MIB: usize = 1 << 20;

/// Counts what the system's allocator does.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn grew(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        grew(new_size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static INTEL: LazyLock<Arc<Intel>> = LazyLock::new(|| {
    let intel = Intel::embedded();
    intel.lookup(frame::ip("194.33.44.11")); // unpacks the database
    Arc::new(intel)
});

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    LazyLock::force(&INTEL);
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What is to be remembered of a run.
#[derive(Default)]
struct Kept {
    /// Label, end and packets of labelled flows that ended.
    labelled: Vec<(&'static str, End, u64)>,
    alerts: Vec<(FindingKind, IpAddr)>,
    hosts: usize,
    all_flows: bool,
    flows: u64,
}

impl Sink for Kept {
    fn flow(&mut self, ended: &Ended, _: &Far<'_>, _: bool) {
        self.flows += 1;
        let label = ended.verdict.as_ref().and_then(|v| v.labels.label);
        if let Some(label) = label.filter(|_| self.labelled.len() < 100) {
            self.labelled.push((label, ended.end, ended.volume().packets.iter().sum()));
        }
    }

    fn alert(&mut self, finding: &Finding, _: &Weights, _: i64) {
        self.alerts.push((finding.kind, finding.host));
    }

    fn host(&mut self, _: &HostRecord, _: &Weights, _: i64) {
        self.hosts += 1;
    }

    fn failed(&self) -> bool {
        false
    }

    fn wants_all_flows(&self) -> bool {
        self.all_flows
    }
}

/// A flood: bounds, and what became of it.
struct Flood {
    capacity: u32,
    limits: Limits,
    all_flows: bool,
}

impl Default for Flood {
    fn default() -> Self {
        Self { capacity: 4_096, limits: Limits { flows: 16, bytes: 16 * 1024 }, all_flows: false }
    }
}

struct Aftermath {
    reducer: Reducer<Kept>,
    flows: Counters,
    decode: DecodeCounters,
    /// Most flows at a time.
    most_live: u64,
    /// Most heap bytes beyond those before the run.
    heap: usize,
}

impl Flood {
    /// Runs the pipeline frame by frame, looking at the flow table after each few.
    fn run(&self, frames: impl Iterator<Item = (i64, Vec<u8>)>) -> Aftermath {
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        let home = Home::default();
        let kept = Kept { all_flows: self.all_flows, ..Kept::default() };
        let mut reducer = Reducer::new(Arc::clone(&INTEL), home.clone(), Weights::default(), kept);
        let mut worker = Worker::new(WorkerConfig {
            capacity: self.capacity,
            timeouts: Timeouts::default(),
            limits: self.limits,
            catalogue: farend::catalog::Catalogue::embedded(),
            all_flows: self.all_flows,
            home,
            flow_interval_ns: None,
            hash_seed: Some(1),
        })
        .expect("address space");
        let mut quotas = Quotas::new(self.capacity);
        let mut splitter = Splitter::new(Decoder::default());
        let mut lanes = [Units::default()];
        println!("set up: {:.1} MiB", (LIVE.load(Relaxed) - before) as f64 / MIB as f64);
        let mut most_live = 0;
        for (number, (ts_ns, bytes)) in (1..).zip(frames) {
            let region = Region::from(bytes);
            let bytes = region.bytes();
            let len = bytes.len() as u32;
            let frame = Frame { at: 0, caplen: len, wirelen: len, ts_ns, number, dlt: 1, iface: 0, input: 0 };
            lanes[0].region = region.clone();
            splitter.frame(&frame, bytes, &mut lanes, |lanes, tick, block| {
                worker.packets(&lanes[0]);
                lanes[0].list.clear();
                lanes[0].extra.clear();
                let report = worker.tick(&tick);
                if block {
                    quotas.share(&worker.demand());
                    worker.set_quotas(&quotas);
                }
                reducer.tick(&tick, vec![report]);
            });
            worker.packets(&lanes[0]);
            lanes[0].clear();
            most_live = most_live.max(worker.counters().live);
        }
        let tick = splitter.end();
        reducer.tick(&tick, vec![worker.tick(&tick)]);
        let heap = PEAK.load(Relaxed).saturating_sub(before);
        println!("most flows {most_live}, heap {:.1} MiB", heap as f64 / MIB as f64);
        let (flows, decode) = (worker.counters().clone(), splitter.counters().clone());
        assert!(flows.balanced() && decode.balanced());
        Aftermath { reducer, flows, decode, most_live, heap }
    }
}

fn random_v4(dice: &mut Dice) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 | dice.roll() as u32 & 0x3fff_ffff))
}

/// The frames of a session in which somebody works at 192.168.178.149.
fn session() -> Vec<Vec<u8>> {
    let mut c = Capture::default();
    let mut t = Tcp::open(end("194.33.44.11:50220"), end("192.168.178.149:3389"), &mut c);
    for (side, bytes) in rdp(0).into_iter().chain(encrypted(80)) {
        t.send(side, &bytes, &mut c);
        t.ack(if side == Client { Server } else { Client }, &mut c);
    }
    c.frames.into_iter().map(|f| f.bytes).collect()
}

/// A frame of a flood every microsecond, and among them the frames of a session that goes on all the while: a third of it before
/// the flood.
fn among<'a>(
    flood: impl Iterator<Item = Vec<u8>> + 'a,
    frames: u64,
) -> impl Iterator<Item = (i64, Vec<u8>)> + 'a {
    begun_before(session().len() / 3, flood, frames)
}

/// The same, with so many frames of the session before the flood.
fn begun_before<'a>(
    before: usize,
    flood: impl Iterator<Item = Vec<u8>> + 'a,
    frames: u64,
) -> impl Iterator<Item = (i64, Vec<u8>)> + 'a {
    let mut session = session();
    let later = session.split_off(before);
    let every = frames / later.len() as u64;
    let mut later = later.into_iter();
    let mixed = (0..).zip(flood).flat_map(move |(n, frame)| {
        let due = (n % every == every - 1).then(|| later.next()).flatten();
        [Some(frame), due].into_iter().flatten()
    });
    session.into_iter().chain(mixed).enumerate().map(|(n, f)| (START_NS + n as i64 * 1_000, f))
}

fn survived(a: &Aftermath) {
    let kept = a.reducer.ledger();
    let mut reducer_sink = Vec::new();
    for f in kept.findings() {
        reducer_sink.push((f.kind, f.host));
    }
    let laptop = frame::ip("192.168.178.149");
    assert!(
        reducer_sink.contains(&(FindingKind::RemoteControl, laptop)),
        "the finding about the session is gone: {reducer_sink:?}"
    );
}

#[test]
fn a_syn_flood_stays_within_the_capacity_and_a_labelled_session_survives_it() {
    let _turn = alone();
    for all_flows in [false, true] {
        let mut dice = Dice(1);
        let flood = (0..200_000u32).map(|n| {
            let ip = Ip { id: n as u16 | 1, ..Ip::new(random_v4(&mut dice), random_v4(&mut dice)) };
            let ports = [1_024 + (dice.roll() % 60_000) as u16, 80];
            frame::ethernet(&[], &frame::tcp(ip, ports, n, 0, SYN, &[]))
        });
        let mut a = Flood { all_flows, ..Flood::default() }.run(among(flood, 200_000));
        assert!(a.most_live <= 4_096, "{} flows in a table for 4,096", a.most_live);
        assert!(a.most_live > 3_000, "the capacity is used: {}", a.most_live);
        assert!(a.flows.closed[End::Evicted as usize] > 190_000, "evicted and counted: {:?}", a.flows.closed);
        assert_eq!(a.flows.opened, 200_001);
        survived(&a);
        let labelled = &a.reducer.sink_mut().labelled;
        let whole = session().len() as u64;
        assert_eq!(labelled[..], [("rdp", End::Eof, whole)], "the session was torn");
        // All of one block may end between two ticks.
        assert!(a.heap < 96 * MIB, "{} MiB", a.heap / MIB);
    }
}

#[test]
fn half_of_a_session_survives_a_syn_flood_while_it_is_still_read() {
    let _turn = alone();
    // Only what the client sends is seen, and its analyzer has not read enough to be done.
    let mut c = Capture::default();
    let mut t = Tcp::between(end("194.33.44.11:50220"), end("192.168.178.149:3389"));
    t.unseen = Some(Server);
    t.handshake(&mut c);
    for (side, bytes) in rdp(0).into_iter().chain(encrypted(20)) {
        t.send(side, &bytes, &mut c);
    }
    let mut dice = Dice(1);
    let flood = (0..100_000u32).map(|n| {
        let ip = Ip { id: n as u16 | 1, ..Ip::new(random_v4(&mut dice), random_v4(&mut dice)) };
        frame::ethernet(&[], &frame::tcp(ip, [1_024 + (n % 60_000) as u16, 80], n, 0, SYN, &[]))
    });
    let frames = c.frames.into_iter().map(|f| f.bytes).chain(flood).enumerate();
    let mut a = Flood::default().run(frames.map(|(n, f)| (START_NS + n as i64 * 1_000, f)));
    assert_eq!(a.reducer.sink_mut().labelled[..], [("rdp", End::Eof, 24)], "the session was torn");
}

#[test]
fn a_flood_that_moves_from_pair_to_pair_borrows_and_gives_back_what_others_do_not_use() {
    let _turn = alone();
    // One pair of addresses is one shard: all of the capacity has to move there, and on.
    const EACH: u32 = 140_000;
    let flood = (0..4 * EACH).map(|n| {
        let pair = (n / EACH) as u8;
        let server = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10 + pair));
        let ip = Ip { id: n as u16 | 1, ..Ip::new(frame::ip("192.168.1.5"), server) };
        let ports = [1_024 + (n % 60_000) as u16, 1_000 + (n / 60_000) as u16];
        frame::ethernet(&[], &frame::tcp(ip, ports, n, 0, SYN, &[]))
    });
    let a = Flood { capacity: 16_384, ..Flood::default() }.run(among(flood, u64::from(4 * EACH)));
    assert!(a.most_live <= 16_384, "{} flows in a table for 16,384", a.most_live);
    assert!(a.most_live > 4_000, "a single pair got no more than {} of 16,384", a.most_live);
    assert_eq!(a.flows.untracked[1], 0, "packets without room: {:?}", a.flows);
    survived(&a);
}

#[test]
fn undecided_payload_stays_within_its_limit() {
    let _turn = alone();
    // The first kilobyte of a TLS record that says it is sixteen long: nobody can decide.
    let mut payload = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];
    payload.extend(noise(1, 1_013));
    let mut dice = Dice(2);
    let flood = (0..30_000u32).flat_map(move |n| {
        let ip = Ip::new(random_v4(&mut dice), random_v4(&mut dice));
        let segment = |k: u32, bytes: &[u8]| {
            let ip = Ip { id: (n + k) as u16 | 1, ..ip };
            frame::tcp(ip, [40_000, 443], n + 1 + k * 1_024, 9, PSH | ACK, bytes)
        };
        let syn = frame::tcp(Ip { id: 0x7777, ..ip }, [40_000, 443], n, 0, SYN, &[]);
        let rest = (1..6).map(|k| segment(k, &noise(u64::from(k), 1_024)));
        let packets: Vec<Vec<u8>> = [syn, segment(0, &payload)].into_iter().chain(rest).collect();
        packets.into_iter().map(|p| frame::ethernet(&[], &p))
    });
    let mut a = Flood { capacity: 65_536, ..Flood::default() }.run(begun_before(0, flood, 210_000));
    assert!(a.flows.uninspected > 20_000, "counted: {}", a.flows.uninspected);
    survived(&a);
    assert_eq!(
        a.reducer.sink_mut().labelled.len(),
        1,
        "a session that begins in the middle of it is recognised"
    );
    // 256 shards of 16 KiB are 4 MiB of payload; buffers hold up to twice what is in them; 4,096 inspections have their state,
    // and each flow keeps what was learned of it.
    assert!(a.heap < 40 * MIB, "{} MiB for 180 MiB of undecided payload", a.heap / MIB);
}

#[test]
fn buffers_that_were_large_once_are_not_kept() {
    let _turn = alone();
    let limits = Limits { flows: 16, bytes: 256 * 1024 };
    // 4,096 flows that SSH's analyzer reads. Then one after the other sends most of a key exchange of 15 KiB, which waits for its
    // end, and then the end.
    let greet = |n: u32| {
        let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0xC0A8_0000 | n)), 40_000);
        let mut c = Capture::default();
        let mut t = Tcp::open(client, end("203.0.113.9:22"), &mut c);
        t.send(Client, &ssh()[0].1, &mut c);
        (t, c)
    };
    let mut large = vec![0, 0, 0x3a, 0, 8, 20];
    large.extend(noise(1, 16));
    large.extend([0, 0, 0x38, 0]);
    large.extend(vec![b'a'; 0x3800 - 100]);
    let finish = |n: u32| {
        let (mut t, mut c) = greet(n);
        c.frames.clear();
        t.send(Client, &large, &mut c);
        t.send(Client, &noise(2, 4_000), &mut c);
        c
    };
    // Made as they are needed: frames that wait would be counted, too.
    let frames = (0..20_000).map(|n| greet(n).1).chain((0..20_000).map(finish)).flat_map(|c| c.frames);
    let timed = frames.enumerate().map(|(n, f)| (START_NS + n as i64 * 2_000, f.bytes));
    let a = Flood { capacity: 65_536, limits, ..Flood::default() }.run(timed);
    assert_eq!(a.flows.inspected, 20_000);
    assert!(a.heap < 72 * MIB, "{} MiB kept for flows that are decided", a.heap / MIB);
}

#[test]
fn fragments_stay_within_their_store() {
    let _turn = alone();
    let mut dice = Dice(3);
    let flood = (0..60_000u32).map(|n| {
        let ip = Ip { id: n as u16, ..Ip::new(random_v4(&mut dice), random_v4(&mut dice)) };
        frame::ethernet(&[], &ip.fragment(frame::UDP, &noise(u64::from(n), 1_400), 0, true))
    });
    let a = Flood::default().run(among(flood, 60_000));
    assert_eq!(a.decode.fragments_held, 60_000);
    survived(&a);
    // The store is 16 MiB, taken at once; 80 MiB of fragments came.
    assert!(a.heap < 32 * MIB, "{} MiB", a.heap / MIB);
}

#[test]
fn names_learned_from_answers_stay_within_their_memory() {
    let _turn = alone();
    let flood = (0..150_000u32).flat_map(|n| {
        let (client, server) = (frame::ip("192.168.1.5"), frame::ip("198.51.100.53"));
        let port = 1_024 + (n % 60_000) as u16;
        let name = format!("a-rather-long-name-{n:08}.of-somebody.example");
        let addr = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
        let ask = frame::udp(
            Ip { id: n as u16 | 1, ..Ip::new(client, server) },
            [port, 53],
            &dns_question(n as u16, &name),
        );
        let tell = frame::udp(
            Ip { id: n as u16 | 1, ..Ip::new(server, client) },
            [53, port],
            &dns_answer(n as u16, &name, addr),
        );
        [ask, tell].map(|p| frame::ethernet(&[], &p))
    });
    let a = Flood::default().run(among(flood, 300_000));
    survived(&a);
    let of =
        |n: u32| a.reducer.names().of(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n)), START_NS).is_some();
    assert!(of(149_999) && !of(0), "the latest names are kept, the first are forgotten");
    assert!(a.heap < 64 * MIB, "{} MiB", a.heap / MIB);
}

#[test]
fn a_hundred_thousand_hosts_stay_within_the_bound_and_the_one_that_matters_is_kept() {
    let _turn = alone();
    let payloads = wireguard(0);
    let flood = (0..100_000u32).flat_map(|n| {
        let host = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0001 + n)), 40_000);
        let server = end("194.33.44.12:51820");
        payloads
            .iter()
            .map(|(side, bytes)| {
                let (from, to) = if *side == Client { (host, server) } else { (server, host) };
                let ip = Ip { id: n as u16 | 1, ..Ip::new(from.ip(), to.ip()) };
                frame::ethernet(&[], &frame::udp(ip, [from.port(), to.port()], bytes))
            })
            .collect::<Vec<_>>()
    });
    let mut a = Flood::default().run(among(flood, 200_000));
    assert!(a.reducer.ledger().hosts_dropped > 30_000, "{} hosts left out", a.reducer.ledger().hosts_dropped);
    survived(&a);
    let told = a.reducer.sink_mut().hosts;
    assert!((1_000..=65_536).contains(&told), "{told} host records");
    // 65,536 hosts with a finding each, some 2 KiB, and one block's sightings.
    assert!(a.heap < 192 * MIB, "{} MiB", a.heap / MIB);
    let tally = a.reducer.ledger().tally();
    let rest = tally.coalesced + tally.over_lines + tally.over_findings + tally.over_hosts;
    assert_eq!(
        tally.offered,
        tally.applied + rest,
        "evidence of hosts that made way is still counted: {tally:?}"
    );
}

#[test]
fn one_host_with_many_peers_stays_within_its_bound() {
    let _turn = alone();
    let payloads = wireguard(0);
    let flood = (0..30_000u32).flat_map(|n| {
        let host = end("192.168.178.149:40000");
        let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x2d00_0001 + n)), 51_820);
        payloads
            .iter()
            .map(|(side, bytes)| {
                let (from, to) = if *side == Client { (host, server) } else { (server, host) };
                let ip = Ip { id: n as u16 | 1, ..Ip::new(from.ip(), to.ip()) };
                frame::ethernet(&[], &frame::udp(ip, [from.port(), to.port()], bytes))
            })
            .collect::<Vec<_>>()
    });
    let a = Flood::default().run(among(flood, 60_000));
    survived(&a);
    let records: Vec<HostRecord> = a.reducer.ledger().records().collect();
    let host = records.iter().find(|r| r.host == frame::ip("192.168.178.149")).expect("a record");
    assert!(
        host.findings.len() <= 256 && host.egress.len() <= 256,
        "{} findings, {} peers",
        host.findings.len(),
        host.egress.len()
    );
    assert!(a.reducer.ledger().findings_dropped > 29_000);
    // All of it happens within a second, so within one block: up to 65,536 packets are sighted before the next tick.
    assert!(a.heap < 96 * MIB, "{} MiB", a.heap / MIB);
}

/// Frames from one piece of memory, over and over, without allocating: round after round with the same bytes, time going on.
struct Rounds {
    frames: Vec<Frame>,
    region: Region,
    rounds: u64,
    span_ns: i64,
    given: u64,
    files: Vec<FileInfo>,
    /// Allocations up to the beginning of each round.
    marks: Vec<u64>,
}

impl Rounds {
    fn new(capture: &Capture, first: usize, rounds: u64) -> (Self, Vec<Frame>) {
        let mut bytes = Vec::new();
        let mut frames = Vec::new();
        for (number, f) in (1..).zip(&capture.frames) {
            let len = f.bytes.len() as u32;
            let at = bytes.len();
            bytes.extend_from_slice(&f.bytes);
            frames.push(Frame {
                at,
                caplen: len,
                wirelen: len,
                ts_ns: f.ts_ns,
                number,
                dlt: 1,
                iface: 0,
                input: 0,
            });
        }
        let repeated = frames.split_off(first);
        let span_ns = repeated.last().map_or(1, |l| l.ts_ns - repeated[0].ts_ns) + 2_000_000;
        let rounds = Self {
            frames: repeated,
            region: bytes.into(),
            rounds,
            span_ns,
            given: 0,
            files: vec![FileInfo::default()],
            marks: Vec::with_capacity(rounds as usize + 1),
        };
        (rounds, frames)
    }
}

/// An opening, and then rounds.
struct Endless {
    opening: Vec<Frame>,
    rounds: Rounds,
}

impl Source for Endless {
    fn next_batch(&mut self, batch: &mut Batch, limit: usize) -> Status {
        let r = &mut self.rounds;
        batch.frames.clear();
        batch.region = r.region.clone();
        if !self.opening.is_empty() {
            let some = self.opening.len().min(limit);
            batch.frames.extend(self.opening.drain(..some));
            return Status::More;
        }
        let len = r.frames.len() as u64;
        while batch.frames.len() < limit && r.given < r.rounds * len {
            let (round, n) = (r.given / len, (r.given % len) as usize);
            if n == 0 {
                if !batch.frames.is_empty() && r.marks.len() as u64 == round {
                    return Status::More; // a round begins with a batch, so that marks are exact
                }
                r.marks.push(ALLOCATIONS.load(Relaxed));
            }
            let mut frame = r.frames[n];
            frame.ts_ns += round as i64 * r.span_ns;
            frame.number += round * len;
            batch.frames.push(frame);
            r.given += 1;
        }
        if batch.frames.is_empty() {
            r.marks.push(ALLOCATIONS.load(Relaxed));
            return Status::End;
        }
        Status::More
    }

    fn problems(&self) -> &[Problem] {
        &[]
    }

    fn files(&self) -> &[FileInfo] {
        &self.rounds.files
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }
}

/// Packets and allocations of the second half of the rounds.
fn second_half(capture: &Capture, first: usize, rounds: u64, setup: &Setup) -> (u64, u64, f64) {
    let (rounds_source, opening) = Rounds::new(capture, first, rounds);
    let mut source = Endless { opening, rounds: rounds_source };
    run(&mut source, setup);
    let r = &source.rounds;
    let half = r.marks.len() / 2;
    let packets = (rounds - half as u64) * r.frames.len() as u64;
    let allocations = r.marks[r.marks.len() - 1] - r.marks[half];
    let seconds = (rounds - half as u64) as f64 * r.span_ns as f64 / SECOND_NS as f64;
    println!("{packets} packets, {allocations} allocations, {seconds} s of packet time");
    (packets, allocations, seconds)
}

/// Every batch has a handle to the memory that its frames lie in.
const BATCH: f64 = 256.0;
/// A tick hands a report to the reducer once a second of packet time: a list of reports and what moves in and out of it. Nothing
/// else may allocate, so the bound has no term for packets.
const ALLOCATIONS_A_TICK: f64 = 8.0;
/// A labelled flow is sighted when its packets have doubled: a few allocations every time, at most twice in a half.
const ALLOCATIONS_OF_SIGHTINGS: f64 = 64.0;

#[test]
fn an_elephant_allocates_per_second_and_never_per_packet() {
    let _turn = alone();
    for label in [true, false] {
        let mut c = Capture { step_ns: 100_000, ..Capture::default() };
        let mut t = Tcp::open(end("194.33.44.11:50220"), end("192.168.178.149:3389"), &mut c);
        for (side, bytes) in if label { rdp(200) } else { vec![(Client, noise(1, 20_000))] } {
            t.send(side, &bytes, &mut c);
        }
        let first = c.frames.len();
        for n in 0..2_000 {
            t.send(Server, &noise(n, 1_400), &mut c);
            if n % 2 == 0 {
                t.ack(Client, &mut c);
            }
        }
        let (packets, allocations, seconds) = second_half(&c, first, 40, &Setup::default());
        let batches = packets as f64 / BATCH + 40.0;
        let bound = batches + (seconds + 1.0) * ALLOCATIONS_A_TICK + ALLOCATIONS_OF_SIGHTINGS;
        assert!(packets >= 60_000);
        assert!(
            (allocations as f64) <= bound,
            "{allocations} allocations for {packets} packets in {seconds} s"
        );
    }
}

#[test]
fn thousands_of_flows_that_go_on_allocate_per_second_and_never_per_packet() {
    let _turn = alone();
    let mut c = Capture { step_ns: 20_000, ..Capture::default() };
    let mut open: Vec<Tcp> = (0..3_000u32)
        .map(|n| {
            let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0xC0A8_0001 + n)), 40_000);
            let mut t = Tcp::open(client, end("203.0.113.9:8000"), &mut c);
            for k in 0..8 {
                t.send(if k % 2 == 0 { Client } else { Server }, &noise(u64::from(n), 700), &mut c);
            }
            t
        })
        .collect();
    let first = c.frames.len();
    for k in 0..2 {
        for t in &mut open {
            t.send(if k == 0 { Client } else { Server }, &noise(k, 200), &mut c);
        }
    }
    for workers in [1, 3] {
        let (packets, allocations, seconds) =
            second_half(&c, first, 40, &Setup { workers, ..Setup::default() });
        // Several workers hand batches to one another; the lists come back and are used again, each with a handle of its own.
        let batches =
            (packets as f64 / BATCH + 40.0) * if workers == 1 { 1.0 } else { 1.0 + 2.0 * workers as f64 };
        let bound =
            batches + (seconds + 1.0) * ALLOCATIONS_A_TICK * workers as f64 + ALLOCATIONS_OF_SIGHTINGS;
        assert!(packets >= 100_000);
        assert!(
            (allocations as f64) <= bound,
            "{workers} workers: {allocations} allocations for {packets} packets in {seconds} s"
        );
    }
}

#[test]
fn flows_that_come_and_go_allocate_less_than_once_a_flow() {
    let _turn = alone();
    // Two datagrams each way on ports that come again every round, after they have timed out.
    let mut c = Capture { step_ns: 250_000, ..Capture::default() };
    for n in 0..4_000u32 {
        let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0xC0A8_0001 + n)), 40_000);
        let server = end("203.0.113.9:7000");
        for k in 0..2 {
            c.datagram(client, server, &noise(k, 100));
            c.datagram(server, client, &noise(k + 9, 100));
        }
    }
    let last = c.frames.len() - 1;
    c.frames[last].ts_ns += 400 * SECOND_NS; // silence between the rounds: every flow expires
    for n in 0..100 {
        // Time goes on in small steps, or the jump would not be believed.
        let mut tick = c.frames[0].clone();
        tick.ts_ns = c.frames[last - 1].ts_ns + n * 4 * SECOND_NS;
        c.frames.insert(last + n as usize, tick);
    }
    let setup = Setup { types: "alert,host,stats".parse().expect("types"), ..Setup::default() };
    let (packets, allocations, seconds) = second_half(&c, 0, 8, &setup);
    let bound = seconds * ALLOCATIONS_A_TICK + packets as f64 / BATCH + packets as f64 / 4.0 * 0.25;
    assert!(
        (allocations as f64) <= bound,
        "{allocations} allocations for {} flows in {seconds} s",
        packets / 4
    );
}
