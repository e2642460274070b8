//! The decoder against etherparse, an independent one, on every capture at hand and on generated frames, valid and
//! mutated: wherever both decode a frame they must agree on addresses, protocol, ports and on where the payload lies,
//! and wherever only one does, the reason must be one of [`Explained`].
//!
//! Captures: `pcaps/`, `../shared/corpus` beside the workspace where that exists, and the folders that the environment
//! variable `FAREND_CAPTURES` names, separated by colons.

use etherparse::err::Layer as TheirLayer;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice, ether_type};
use farend::decode::{Addrs, Decoded, Decoder, Layer, Link, Outcome, Packet, proto};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the two differ on purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Explained {
    /// Ours goes into tunnels (GRE, VXLAN, AH…), labels, PPPoE, LLC and more than three tags; etherparse does not.
    OnlyOursLooksInside,
    /// A fragment: ours holds it or yields the datagram, etherparse stops at the IP header.
    Fragment,
    /// IP or UDP lengths beyond the wire, or below their header: malformed to us; etherparse's lax mode takes what is
    /// there instead.
    LengthContradictsWire,
    /// The EtherType says one IP version and the first nibble the other: malformed to us, etherparse follows the
    /// nibble.
    VersionContradictsEtherType,
    /// The snapshot length cut the transport header: ours takes the ports, etherparse nothing.
    CutTransportHeader,
    /// An ICMP message of fewer than eight bytes, an IP protocol without flows, a MACsec frame in clear.
    NotAFlow,
    /// An IPv6 extension chain that etherparse refuses (hop-by-hop options not first) or cannot follow.
    ExtensionChain,
}

/// How the two compare on a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    /// Both found the same packet.
    Same,
    /// Neither found one.
    Neither,
    /// They differ, and that is right.
    Differ(Explained),
}

/// What both have to agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Essence {
    addrs: Addrs,
    proto: u8,
    ports: (u16, u16),
    payload_at: usize,
    payload_len: usize,
}

impl Essence {
    fn of(packet: &Packet) -> Self {
        let echo = matches!(packet.proto, proto::ICMP | proto::ICMPV6);
        Self {
            addrs: packet.addrs,
            proto: packet.proto,
            ports: if echo { (0, 0) } else { (packet.src_port, packet.dst_port) },
            payload_at: packet.payload_at as usize,
            payload_len: packet.payload_len as usize,
        }
    }
}

/// What etherparse makes of a frame: the essence if it got through to the transport header.
enum Theirs {
    Whole(Essence),
    Fragment,
    /// It stopped for a length, a version or an extension header.
    Stopped(TheirLayer),
    /// It got to IP, and to a protocol it does not decode.
    OtherProtocol,
    /// It did not get to IP.
    NoIp,
}

fn theirs(link: Link, frame: &[u8]) -> Theirs {
    let sliced = match link {
        Link::Ethernet => LaxSlicedPacket::from_ethernet(frame).ok(),
        Link::RawIp => LaxSlicedPacket::from_ip(frame).ok(),
        Link::Sll if frame.len() >= 16 => {
            let kind = u16::from_be_bytes([frame[14], frame[15]]);
            Some(LaxSlicedPacket::from_ether_type(EtherType(kind), &frame[16..]))
        }
        _ => None,
    };
    let Some(sliced) = sliced else { return Theirs::NoIp };
    let (addrs, payload) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (Addrs::V4 { src: header.source(), dst: header.destination() }, ip.payload())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (Addrs::V6 { src: header.source(), dst: header.destination() }, ip.payload())
        }
        _ => return sliced.stop_err.map_or(Theirs::NoIp, |(_, layer)| Theirs::Stopped(layer)),
    };
    if payload.fragmented {
        return Theirs::Fragment;
    }
    if let Some((_, layer)) = sliced.stop_err {
        return Theirs::Stopped(layer);
    }
    let at = |bytes: &[u8]| bytes.as_ptr() as usize - frame.as_ptr() as usize;
    let (ports, payload_at, payload_len) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            ((tcp.source_port(), tcp.destination_port()), at(tcp.payload()), tcp.payload().len())
        }
        Some(TransportSlice::Udp(udp)) => {
            ((udp.source_port(), udp.destination_port()), at(udp.payload()), udp.payload().len())
        }
        // Their header length varies by message; ours is always eight.
        Some(TransportSlice::Icmpv4(icmp)) => ((0, 0), at(icmp.slice()) + 8, icmp.slice().len() - 8),
        Some(TransportSlice::Icmpv6(icmp)) => ((0, 0), at(icmp.slice()) + 8, icmp.slice().len() - 8),
        _ => return Theirs::OtherProtocol,
    };
    Theirs::Whole(Essence { addrs, proto: payload.ip_number.0, ports, payload_at, payload_len })
}

/// Decodes a frame both ways; a difference that nothing explains is an error.
fn compare(
    decoder: &mut Decoder,
    link: Link,
    frame: &[u8],
    wire_len: u32,
    ts_ns: i64,
) -> Result<Verdict, String> {
    let mut out = Decoded::default();
    let outcome = decoder.decode(link, frame, wire_len, ts_ns, &mut out);
    let packet = out.packets.first();
    let looked_inside = packet.is_some_and(|p| {
        p.encap.iter().any(|layer| layer != Layer::Vlan) || p.encap.len() > 3 || p.proto == proto::AH
    });
    let differ = |why| Ok(Verdict::Differ(why));
    let unexplained =
        |theirs: &str| Err(format!("ours: {outcome:?} {packet:?}\ntheirs: {theirs}\nframe: {frame:02x?}"));
    let name = |outcome: Outcome| match outcome {
        Outcome::Malformed(m) => format!("{} {}", m.layer.as_str(), m.why.as_str()),
        Outcome::Ignored(i) => i.as_str().to_owned(),
        other => format!("{other:?}"),
    };
    match (theirs(link, frame), packet) {
        (_, Some(_)) if looked_inside => differ(Explained::OnlyOursLooksInside),
        (Theirs::Whole(essence), Some(packet)) if Essence::of(packet) == essence => Ok(Verdict::Same),
        (Theirs::Fragment, _) => match outcome {
            Outcome::Fragment | Outcome::Packets(_) => differ(Explained::Fragment),
            Outcome::Malformed(_) => differ(Explained::LengthContradictsWire),
            Outcome::Ignored(_) => differ(Explained::NotAFlow),
        },
        (Theirs::Whole(essence), None) => match name(outcome).as_str() {
            "ipv4 beyond_frame" | "ipv6 beyond_frame" | "udp beyond_frame" | "udp length" | "ipv4 length" => {
                differ(Explained::LengthContradictsWire)
            }
            "ipv4 version" | "ipv6 version" => differ(Explained::VersionContradictsEtherType),
            "opaque" => differ(Explained::NotAFlow),
            "ipv6_extension endless" | "no_next_header" => differ(Explained::ExtensionChain),
            // A tunnel that holds nothing, or nothing whole, yet: ours had to look inside to know.
            "Fragment" => differ(Explained::OnlyOursLooksInside),
            _ => unexplained(&format!("{essence:?}")),
        },
        (Theirs::Whole(essence), Some(_)) => unexplained(&format!("{essence:?}")),
        (Theirs::Stopped(layer), Some(packet)) => match layer {
            _ if packet.cut => differ(Explained::CutTransportHeader),
            TheirLayer::Icmpv4 | TheirLayer::Icmpv6 => differ(Explained::CutTransportHeader),
            TheirLayer::Ipv6HopByHopHeader
            | TheirLayer::Ipv6DestOptionsHeader
            | TheirLayer::Ipv6RouteHeader
            | TheirLayer::Ipv6ExtHeader
            | TheirLayer::IpAuthHeader => differ(Explained::ExtensionChain),
            // Their lengths end the segment at the snapshot length: options beyond it are an error to them.
            TheirLayer::TcpHeader if wire_len as usize > frame.len() => differ(Explained::CutTransportHeader),
            layer => unexplained(&format!("stopped at {layer:?}")),
        },
        (Theirs::Stopped(_), None) => differ(Explained::LengthContradictsWire),
        (Theirs::OtherProtocol, Some(packet)) => match packet.proto {
            proto::SCTP | proto::ESP | proto::GRE => differ(Explained::OnlyOursLooksInside),
            // Their extension chain ends where ours goes on.
            _ if matches!(packet.addrs, Addrs::V6 { .. }) => differ(Explained::ExtensionChain),
            _ => unexplained("an IP protocol it does not decode"),
        },
        (Theirs::OtherProtocol | Theirs::NoIp, None) => Ok(Verdict::Neither),
        (Theirs::NoIp, Some(packet)) => {
            let llc = link == Link::Ethernet && u16::from_be_bytes([frame[12], frame[13]]) <= 1500;
            let tagged = !packet.encap.is_empty();
            if llc || tagged || !matches!(link, Link::Ethernet | Link::RawIp) {
                differ(Explained::OnlyOursLooksInside)
            } else {
                unexplained("no IP")
            }
        }
    }
}

#[test]
fn captures_decode_as_etherparse_decodes_them() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sensor/ lies in the workspace");
    let more = std::env::var("FAREND_CAPTURES").unwrap_or_default();
    for folder in ["pcaps", "../shared/corpus"].into_iter().chain(more.split_terminator(':')) {
        let folder = workspace.join(folder);
        let mut files = Vec::new();
        captures_below(&folder, &mut files);
        if files.is_empty() {
            println!("skipped: no captures in {}", folder.display());
            continue;
        }
        let mut verdicts = BTreeMap::<Verdict, u64>::new();
        for file in &files {
            let mut decoder = Decoder::default();
            let mut number = 0_u64;
            for_each_frame(&read(file), |dlt, frame, wire_len, ts_ns| {
                number += 1;
                match compare(&mut decoder, Link::from_dlt(dlt), frame, wire_len, ts_ns) {
                    Ok(verdict) => *verdicts.entry(verdict).or_default() += 1,
                    Err(difference) => panic!("{} packet {number}\n{difference}", file.display()),
                }
            });
        }
        println!("{}: {} captures, frames: {verdicts:?}", folder.display(), files.len());
        assert!(verdicts.contains_key(&Verdict::Same), "no frame of {} was compared", folder.display());
    }
}

/// A frame that etherparse built, with a VLAN tag or none, and the link type it is of.
fn built(link: u8, v6: bool, transport: u8, payload: &[u8]) -> (Link, Vec<u8>) {
    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 0x53, 1];
    let (v4_src, v4_dst) = ([192, 0, 2, 1], [198, 51, 100, 2]);
    let (v6_src, v6_dst) = ([0x20; 16], [0x21; 16]);
    let ethernet = PacketBuilder::ethernet2(MAC, MAC);
    let (link, ip) = match (link % 3, v6) {
        (0, false) => (Link::Ethernet, ethernet.ipv4(v4_src, v4_dst, 64)),
        (0, true) => (Link::Ethernet, ethernet.ipv6(v6_src, v6_dst, 64)),
        (1, false) => {
            (Link::Ethernet, ethernet.single_vlan(7.try_into().expect("12 bits")).ipv4(v4_src, v4_dst, 64))
        }
        (1, true) => {
            (Link::Ethernet, ethernet.single_vlan(7.try_into().expect("12 bits")).ipv6(v6_src, v6_dst, 64))
        }
        (_, false) => (Link::RawIp, PacketBuilder::ipv4(v4_src, v4_dst, 64)),
        (_, true) => (Link::RawIp, PacketBuilder::ipv6(v6_src, v6_dst, 64)),
    };
    let mut frame = Vec::new();
    let written = match transport % 4 {
        0 => ip.tcp(40_000, 443, 1000, 64_240).write(&mut frame, payload),
        1 => ip.udp(40_000, 443).write(&mut frame, payload),
        2 if v6 => ip.icmpv6_echo_request(7, 1).write(&mut frame, payload),
        2 => ip.icmpv4_echo_request(7, 1).write(&mut frame, payload),
        _ => ip
            .tcp(40_000, 443, 1000, 64_240)
            .options_raw(&[2, 4, 5, 0xb4, 1, 1, 4, 2])
            .expect("eight bytes of options")
            .write(&mut frame, payload),
    };
    written.expect("a small packet is written to memory");
    (link, frame)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn built_frames_decode_as_etherparse_decodes_them(
        link in any::<u8>(),
        v6 in any::<bool>(),
        transport in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        padding in 0..50_usize,
    ) {
        let (link, mut frame) = built(link, v6, transport, &payload);
        frame.extend(vec![0; padding]);
        let wire_len = frame.len() as u32;
        let agreed = compare(&mut Decoder::default(), link, &frame, wire_len, 0);
        prop_assert_eq!(agreed, Ok(Verdict::Same));
        let mut decoder = Decoder::default();
        let mut out = Decoded::default();
        prop_assert_eq!(decoder.decode(link, &frame, wire_len, 0, &mut out), Outcome::Packets(1));
        prop_assert_eq!(decoder.bytes(&frame, &out.packets[0]), payload);
    }

    #[test]
    fn mutated_frames_decode_as_etherparse_decodes_them(
        kind in (any::<u8>(), any::<bool>(), any::<u8>()),
        payload in prop::collection::vec(any::<u8>(), 0..64),
        mutations in prop::collection::vec((0..90_usize, any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        claims_wire in any::<bool>(),
    ) {
        let (link, mut frame) = built(kind.0, kind.1, kind.2, &payload);
        let wire_len = if claims_wire { frame.len() as u32 } else { 0 };
        let len = frame.len();
        for (at, value) in mutations {
            frame[at % len] = value;
        }
        let end = if cut { end.index(len + 1) } else { len };
        if let Err(difference) = compare(&mut Decoder::default(), link, &frame[..end], wire_len, 0) {
            prop_assert!(false, "{difference}");
        }
    }

    #[test]
    fn random_bytes_decode_as_etherparse_decodes_them(
        mut frame in prop::collection::vec(any::<u8>(), 0..120),
        kind in prop::sample::select(vec![None, Some(ether_type::IPV4), Some(ether_type::IPV6)]),
        wire_len in 0..200_u32,
    ) {
        for link in [Link::Ethernet, Link::RawIp, Link::Sll] {
            // Random EtherTypes hardly ever are IP.
            let at = if link == Link::Sll { 14 } else { 12 };
            if let (Some(kind), true) = (kind, link != Link::RawIp && frame.len() >= at + 2) {
                frame[at..at + 2].copy_from_slice(&kind.0.to_be_bytes());
            }
            if let Err(difference) = compare(&mut Decoder::default(), link, &frame, wire_len, 0) {
                prop_assert!(false, "{link:?} {difference}");
            }
        }
    }
}

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a plain thread-local integer
// that neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn nothing_is_allocated_per_frame_once_warm() {
    let payload = [7; 1472];
    let mut frames = Vec::new();
    for transport in 0..4 {
        for link in 0..3 {
            frames.push(built(link, false, transport, &payload));
            frames.push(built(link, true, transport, &payload));
        }
    }
    let (_, whole) = built(2, false, 1, &payload);
    // The same datagram in two fragments, and first fragments that are never completed.
    let fragment = |id: u16, range: std::ops::Range<usize>, flags_offset: u16| {
        let mut frame = whole[..20].to_vec();
        frame[2..4].copy_from_slice(&(20 + range.len() as u16).to_be_bytes());
        frame[4..6].copy_from_slice(&id.to_be_bytes());
        frame[6..8].copy_from_slice(&flags_offset.to_be_bytes());
        frame.extend(&whole[20..][range]);
        (Link::RawIp, frame)
    };
    for id in 0..6000 {
        frames.push(fragment(id, 0..800, 0x2000));
        if id % 3 != 0 {
            frames.push(fragment(id, 800..1480, 100));
        }
    }
    let mut decoder = Decoder::default();
    let mut out = Decoded::default();
    let mut run = || {
        let mut packets = 0;
        for (link, frame) in &frames {
            if let Outcome::Packets(n) = decoder.decode(*link, frame, frame.len() as u32, 0, &mut out) {
                packets += n;
            }
        }
        packets
    };
    let warm = run();
    let before = ALLOCATIONS.with(Cell::get);
    let packets = run();
    let allocated = ALLOCATIONS.with(Cell::get) - before;
    assert!(warm > 0 && packets >= warm, "{warm} packets, then {packets}");
    assert_eq!(allocated, 0, "allocations for {} frames", frames.len());
}

/// Capture files below `folder`, in the order of their names.
fn captures_below(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            captures_below(&path, files);
        } else if [".pcap", ".pcapng", ".cap", ".pcap.gz"].iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
}

/// The bytes of a capture file, decompressed.
fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut plain = Vec::new();
    // A truncated file still has the frames before its end.
    let _ = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain);
    plain
}

/// Reads integers of a capture file in its byte order.
#[derive(Clone, Copy)]
struct Order {
    little: bool,
}

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    }
}

/// Calls `each` with link type, bytes, wire length and time of every whole frame of a classic or pcapng capture.
fn for_each_frame(file: &[u8], each: impl FnMut(u32, &[u8], u32, i64)) {
    match file {
        [0xd4, 0xc3, 0xb2, 0xa1, ..] | [0x4d, 0x3c, 0xb2, 0xa1, ..] => {
            classic(file, Order { little: true }, each)
        }
        [0xa1, 0xb2, 0xc3, 0xd4, ..] | [0xa1, 0xb2, 0x3c, 0x4d, ..] => {
            classic(file, Order { little: false }, each)
        }
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => next_generation(file, each),
        _ => None,
    };
}

/// Ends with `None` where the file does.
fn classic(file: &[u8], order: Order, mut each: impl FnMut(u32, &[u8], u32, i64)) -> Option<()> {
    let unit_ns = if file[..4].contains(&0x3c) { 1 } else { 1000 };
    let link = order.u32(file, 20)? & 0x0fff_ffff;
    let mut at = 24;
    loop {
        let seconds = i64::from(order.u32(file, at)?);
        let fraction = i64::from(order.u32(file, at + 4)?);
        let captured = order.u32(file, at + 8)? as usize;
        let wire_len = order.u32(file, at + 12)?;
        at += 16;
        each(
            link,
            file.get(at..at.checked_add(captured)?)?,
            wire_len,
            seconds * 1_000_000_000 + fraction * unit_ns,
        );
        at += captured;
    }
}

/// Enhanced packet blocks; times are taken as microseconds.
fn next_generation(file: &[u8], mut each: impl FnMut(u32, &[u8], u32, i64)) -> Option<()> {
    const SECTION: u32 = 0x0a0d_0d0a;
    const LITTLE: [u8; 4] = [0x4d, 0x3c, 0x2b, 0x1a];
    let mut order = Order { little: true };
    let mut links = Vec::new();
    let mut rest = file;
    loop {
        if order.u32(rest, 0)? == SECTION {
            order = Order { little: rest.get(8..12)? == LITTLE };
            links.clear();
        }
        let len = order.u32(rest, 4)? as usize;
        let body = rest.get(8..len.checked_sub(4)?)?;
        match order.u32(rest, 0)? {
            1 => links.push(u32::from(order.u16(body, 0)?)),
            6 => {
                let &link = links.get(order.u32(body, 0)? as usize)?;
                let ticks = u64::from(order.u32(body, 4)?) << 32 | u64::from(order.u32(body, 8)?);
                let captured = order.u32(body, 12)? as usize;
                let frame = body.get(20..captured.checked_add(20)?)?;
                each(link, frame, order.u32(body, 16)?, (ticks as i64).wrapping_mul(1000));
            }
            _ => {}
        }
        rest = rest.get(len..)?;
    }
}
