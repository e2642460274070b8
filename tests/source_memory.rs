//! Memory of the sources: nothing is allocated per packet, and decompression has its bounds.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    io::Write,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use farend::source::{self, Batch, Options, Status};

/// Counts allocations and what is allocated at a time.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The counters belong to the process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const PACKETS: usize = 200_000;

/// Packets of 60 bytes a microsecond apart.
fn pcap() -> Vec<u8> {
    let mut file =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    for i in 0..PACKETS as u32 {
        file.extend([0, 0, 0, 0x65]);
        file.extend(i.to_le_bytes());
        file.extend([60, 0, 0, 0, 60, 0, 0, 0]);
        file.extend([i as u8; 60]);
    }
    file
}

fn pcapng() -> Vec<u8> {
    let mut file =
        b"\n\r\r\n\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0".to_vec();
    file.extend(b"\x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0");
    for i in 0..PACKETS as u32 {
        file.extend([6, 0, 0, 0, 92, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0]);
        file.extend(i.to_le_bytes());
        file.extend([60, 0, 0, 0, 60, 0, 0, 0]);
        file.extend([i as u8; 60]);
        file.extend([92, 0, 0, 0]);
    }
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads all, and returns the allocations after the first batches and the most bytes allocated at a time.
fn read(path: &Path, filter: Option<&str>) -> (usize, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let options = Options { filter: filter.map(Into::into) };
    let mut source = source::open(&[path.to_owned()], &options).unwrap();
    let mut batch = Batch::with_capacity(256);
    let mut frames = 0;
    for _ in 0..4 {
        assert_eq!(source.next_batch(&mut batch, 256), Status::More);
        frames += batch.frames.len();
    }
    let warm = ALLOCATIONS.load(Ordering::Relaxed);
    while source.next_batch(&mut batch, 256) == Status::More {
        frames += batch.frames.len();
    }
    assert_eq!(frames, PACKETS);
    (ALLOCATIONS.load(Ordering::Relaxed) - warm, PEAK.load(Ordering::Relaxed) - before)
}

#[test]
fn nothing_is_allocated_per_packet() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.pcap", pcap()), ("a.pcapng", pcapng())] {
        let path = root.path().join(name);
        fs::write(&path, &bytes).unwrap();
        drop(bytes);
        let (allocations, peak) = read(&path, None);
        assert_eq!(allocations, 0, "{name}: allocations after the first batches");
        assert!(peak < 64 << 10, "{name}: {peak} bytes at a time");
        if cfg!(feature = "libpcap") {
            let (allocations, _) = read(&path, Some("ether[0] >= 0"));
            assert_eq!(allocations, 0, "{name}: allocations with a filter");
        }
    }
}

#[test]
fn decompression_allocates_per_chunk_and_within_its_bounds() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    let zstd = |bytes: Vec<u8>| zstd::encode_all(&bytes[..], 3).unwrap();
    let files = [("a.gz", gzip(&pcap())), ("b.gz", gzip(&pcapng())), ("a.zst", zstd(pcap()))];
    for (name, bytes) in files {
        let path = root.path().join(name);
        fs::write(&path, &bytes).unwrap();
        drop(bytes);
        let (allocations, peak) = read(&path, None);
        assert!(allocations < 100, "{name}: {allocations} allocations for 15 chunks");
        assert!(peak < 16 << 20, "{name}: {peak} bytes at a time");
    }
}
