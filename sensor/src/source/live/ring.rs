//! An AF_PACKET ring of version 3 (`Documentation/networking/packet_mmap.rst` of the Linux kernel).
//!
//! In: an interface. Out: blocks of frames in memory that is shared with the kernel. A block belongs to us from the moment the
//! kernel marks it until its last [`super::super::Region`] is gone; then it is handed back.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::interface::DLT_ETHERNET;
use crate::fetch::fetch;
use crate::source::Frame;

/// Bytes of a block: what a core's second-level cache holds.
const BLOCK_BYTES: usize = 256 << 10;
/// A block that is not full is handed over after this, ms: bounds how late a frame is seen.
const RETIRE_MS: u32 = 20;
/// Room that the kernel leaves before a frame beyond its own needs: a VLAN tag goes there.
const RESERVE: libc::c_int = 4;

/// Offsets in a block (`tpacket_block_desc`) and in a frame's header (`tpacket3_hdr`, followed by `sockaddr_ll`).
mod at {
    pub(super) const BLOCK_STATUS: usize = 8;
    pub(super) const PACKETS: usize = 12;
    pub(super) const FIRST: usize = 16;
    pub(super) const NEXT: usize = 0;
    pub(super) const SECONDS: usize = 4;
    pub(super) const NANOS: usize = 8;
    pub(super) const CAPLEN: usize = 12;
    pub(super) const WIRELEN: usize = 16;
    pub(super) const STATUS: usize = 20;
    pub(super) const MAC: usize = 24;
    pub(super) const TCI: usize = 32;
    pub(super) const TPID: usize = 36;
    pub(super) const PACKET_TYPE: usize = 48 + 10;
}

const VLAN_HEADER: usize = 4;
/// 802.1Q, where the kernel does not say.
const TPID_8021Q: u16 = 0x8100;

/// The shared memory.
pub(super) struct Memory {
    start: NonNull<u8>,
    len: usize,
    /// Closed after the mapping is gone.
    fd: OwnedFd,
}

// SAFETY: the memory is a mapping of its own; whoever reads or writes a block owns it by the kernel's protocol (status word).
unsafe impl Send for Memory {}
// SAFETY: as above; the status words are only accessed as atomics.
unsafe impl Sync for Memory {}

impl Memory {
    /// The socket.
    pub(super) const fn socket(&self) -> &OwnedFd {
        &self.fd
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        let at = block * BLOCK_BYTES + at::BLOCK_STATUS;
        debug_assert!(at + 4 <= self.len);
        // SAFETY: inside the mapping, aligned to four, and both sides access it as an atomic.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(at).cast()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping that `Ring::open` made; no block of it is left, they hold this alive.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A block that is ours.
pub(in crate::source) struct Block {
    memory: Arc<Memory>,
    number: usize,
}

impl Block {
    /// All bytes of the block.
    pub(in crate::source) fn bytes(&self) -> &[u8] {
        // SAFETY: inside the mapping; the kernel does not write to a block until it is handed back, which is in `drop`, and nobody
        // here writes to it once it is shared.
        unsafe {
            std::slice::from_raw_parts(self.memory.start.as_ptr().add(self.number * BLOCK_BYTES), BLOCK_BYTES)
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the block is not shared yet, so this is the only reference.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.start.as_ptr().add(self.number * BLOCK_BYTES),
                BLOCK_BYTES,
            )
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.memory.status(self.number).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

/// What the kernel says of a ring since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct Received {
    /// Frames dropped since no block was free.
    pub(in crate::source) drops: u64,
    /// Times that the ring was full.
    pub(in crate::source) freezes: u64,
}

impl Received {
    /// Adds what another ring received.
    pub(super) const fn add(&mut self, other: Self) {
        self.drops += other.drops;
        self.freezes += other.freezes;
    }
}

/// How frames of a block are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// LINKTYPE_ number of the interface.
    pub(super) dlt: u16,
    /// Index of the input.
    pub(super) input: u16,
    /// Leave out frames that this machine sends: on the loopback interface each comes in, too.
    pub(super) skip_outgoing: bool,
}

/// What has been counted while frames were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// Number of the last frame.
    pub(super) frames: u64,
    /// Frames that the card has stamped with the time.
    pub(super) stamped: u64,
}

/// A ring.
pub(super) struct Ring {
    memory: Arc<Memory>,
    blocks: usize,
    next: usize,
    received: Received,
}

/// "Accept 0 bytes" and "accept all".
const NOTHING: libc::sock_filter =
    libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
const ALL: libc::sock_filter = libc::sock_filter { k: u32::MAX, ..NOTHING };

impl Ring {
    /// A socket for a ring. This is what takes CAP_NET_RAW, and nothing that follows does.
    pub(super) fn socket() -> io::Result<OwnedFd> {
        // SAFETY: plain system call; the result is checked.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: a descriptor that is open and nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Makes a ring of about `bytes` bytes of a socket. It receives nothing before [`Ring::bind`] and [`Ring::accept`].
    pub(super) fn on(fd: OwnedFd, bytes: usize) -> io::Result<Self> {
        let blocks = (bytes / BLOCK_BYTES).max(4);
        set(&fd, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as libc::c_int))?;
        set(&fd, libc::PACKET_RESERVE, &RESERVE)?;
        let size = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: u32::try_from(blocks).map_err(io::Error::other)?,
            tp_frame_size: 2_048,
            tp_frame_nr: u32::try_from(BLOCK_BYTES / 2_048 * blocks).map_err(io::Error::other)?,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&fd, libc::PACKET_RX_RING, &size)?;
        let len = blocks * BLOCK_BYTES;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of the ring, as large as it was asked for.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        let memory = Arc::new(Memory { start, len, fd });
        let ring = Self { memory, blocks, next: 0, received: Received::default() };
        ring.shut()?;
        Ok(ring)
    }

    /// The memory, for the group that the ring is in.
    pub(super) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Receives what this filter accepts, in the place of what was accepted so far; the kernel runs it before a frame is copied.
    /// `None`: everything.
    pub(super) fn accept(&self, program: Option<&[libc::sock_filter]>) -> io::Result<()> {
        let mut program = program.unwrap_or(&[ALL]).to_vec();
        let len = u16::try_from(program.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
        set_at(&self.memory.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Receives nothing any more; what has been received is still there.
    pub(super) fn shut(&self) -> io::Result<()> {
        self.accept(Some(&[NOTHING]))
    }

    /// Asks for the time that the card stamps frames with.
    pub(super) fn stamp_by_hardware(&self) -> io::Result<()> {
        set(&self.memory.fd, libc::PACKET_TIMESTAMP, &libc::SOF_TIMESTAMPING_RAW_HARDWARE)
    }

    /// How full it is, per cent, to a few steps: blocks are used in turn, so that one look tells whether so many are waiting.
    pub(super) fn fullness(&self) -> u8 {
        let waits = |per_cent: usize| {
            let block = (self.next + (self.blocks - 1) * per_cent / 100) % self.blocks;
            self.memory.status(block).load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0
        };
        [90, 75, 50, 25, 10].into_iter().find(|p| waits(usize::from(*p))).unwrap_or(0)
    }

    /// Receives from the interface of this index from now on, in promiscuous mode.
    pub(super) fn bind(&self, index: u32) -> io::Result<()> {
        let index = libc::c_int::try_from(index).map_err(io::Error::other)?;
        // SAFETY: all zero is a value of these plain structures.
        let (mut to, mut member): (libc::sockaddr_ll, libc::packet_mreq) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        to.sll_ifindex = index;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is a whole `sockaddr_ll`.
        check(unsafe { libc::bind(self.memory.fd.as_raw_fd(), (&raw const to).cast(), len) })?;
        // The kernel takes promiscuous mode back when the socket closes, however this program ends.
        member.mr_ifindex = index;
        member.mr_type = libc::PACKET_MR_PROMISC as u16;
        set(&self.memory.fd, libc::PACKET_ADD_MEMBERSHIP, &member)
    }

    /// For `poll`.
    pub(super) fn descriptor(&self) -> libc::c_int {
        self.memory.fd.as_raw_fd()
    }

    /// What went wrong with the socket, as `poll` told.
    pub(super) fn error(&self) -> Option<io::Error> {
        let mut error: libc::c_int = 0;
        get(&self.memory.fd, libc::SOL_SOCKET, libc::SO_ERROR, &mut error).ok()?;
        (error != 0).then(|| io::Error::from_raw_os_error(error))
    }

    /// Whether a block is ready.
    pub(super) fn ready(&self) -> bool {
        self.memory.status(self.next).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// Takes the next block, if one is ready, and appends its frames.
    pub(super) fn take(
        &mut self,
        reading: Reading,
        count: &mut Count,
        frames: &mut Vec<Frame>,
    ) -> Option<Block> {
        if !self.ready() {
            return None;
        }
        let mut block = Block { memory: Arc::clone(&self.memory), number: self.next };
        self.next = (self.next + 1) % self.blocks;
        read(block.bytes_mut(), reading, count, frames);
        Some(block)
    }

    /// What the kernel counted so far.
    pub(super) fn received(&mut self) -> Received {
        let mut since = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        // Reading sets it back to zero.
        if get(&self.memory.fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut since).is_ok() {
            self.received.drops += u64::from(since.tp_drops);
            self.received.freezes += u64::from(since.tp_freeze_q_cnt);
        }
        self.received
    }
}

/// Finds the frames of a block and puts VLAN tags back that the card or the kernel took out.
fn read(block: &mut [u8], reading: Reading, count: &mut Count, frames: &mut Vec<Frame>) {
    let packets = word(block, at::PACKETS);
    let mut header = word(block, at::FIRST) as usize;
    for _ in 0..packets {
        fetch_small(block, header + AHEAD);
        let Some(next) = frame(block, header, reading, count, frames) else { return };
        header += next;
    }
}

/// Bytes of a block that are fetched ahead of the header that is read: the kernel wrote them on another processor.
const AHEAD: usize = 1 << 10;

/// Asks the processor for what a small frame and its header take.
#[inline]
fn fetch_small(block: &[u8], at: usize) {
    for line in [0, 64, 128] {
        fetch(block.as_ptr().wrapping_add(at + line));
    }
}

/// Reads the frame whose header is at `header`; returns how far the next one is.
fn frame(
    block: &mut [u8],
    header: usize,
    reading: Reading,
    count: &mut Count,
    frames: &mut Vec<Frame>,
) -> Option<usize> {
    let (tci, tpid, status) = {
        let fields = block.get(header..header + at::PACKET_TYPE + 1)?;
        if reading.skip_outgoing && fields[at::PACKET_TYPE] == libc::PACKET_OUTGOING {
            return Some(word(fields, at::NEXT) as usize).filter(|next| *next > 0);
        }
        (word(fields, at::TCI), word(fields, at::TPID) as u16, word(fields, at::STATUS))
    };
    let field = |block: &[u8], at: usize| word(block, header + at);
    let mut at = header + usize::from(field(block, at::MAC) as u16);
    let (mut caplen, mut wirelen) = (field(block, at::CAPLEN), field(block, at::WIRELEN));
    if status & libc::TP_STATUS_VLAN_VALID != 0 && reading.dlt == DLT_ETHERNET && caplen >= 12 {
        let tpid = if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { tpid } else { TPID_8021Q };
        block.copy_within(at..at + 12, at - VLAN_HEADER);
        at -= VLAN_HEADER;
        block[at + 12..at + 14].copy_from_slice(&tpid.to_be_bytes());
        block[at + 14..at + 16].copy_from_slice(&(tci as u16).to_be_bytes());
        (caplen, wirelen) = (caplen + VLAN_HEADER as u32, wirelen + VLAN_HEADER as u32);
    }
    // Decoding begins there a little later.
    fetch_small(block, at);
    block.get(at..at + caplen as usize)?;
    count.frames += 1;
    count.stamped += u64::from(status & libc::TP_STATUS_TS_RAW_HARDWARE != 0);
    let seconds = i64::from(field(block, at::SECONDS));
    frames.push(Frame {
        at,
        caplen,
        wirelen,
        ts_ns: seconds * crate::clock::SECOND_NS + i64::from(field(block, at::NANOS)),
        number: count.frames,
        dlt: reading.dlt,
        iface: 0,
        input: reading.input,
    });
    Some(field(block, at::NEXT) as usize).filter(|next| *next > 0)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_ne_bytes(*b))
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(super) fn set<T>(fd: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    set_at(fd, libc::SOL_PACKET, option, value)
}

fn set_at<T>(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is as long as `len` says; the kernel copies it.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), len) })
        .map(|_| ())
}

pub(super) fn get<T>(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let to = std::ptr::from_mut(value).cast();
    // SAFETY: `value` is as long as `len` says, and any bytes are a value of the plain structures asked for.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, to, &raw mut len) }).map(|_| ())
}
