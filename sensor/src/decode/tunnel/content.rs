//! Tunnels on ports that are not theirs. In: the payload of any UDP datagram. Out: the tunnel that it must be, if what
//! is inside proves it.
//!
//! A port that a tunnel is known for may make its header be believed; here nothing is believed: reserved bits are zero,
//! the packet inside fills the datagram to the last byte, and an IPv4 header has a right checksum. Each of these
//! grammars fixes 36 bits or more of a datagram (length 16, checksum 16, version 4, and the tunnel's own header).
//!
//! The first byte says what a datagram may be, so that most are let go after one look into a table.

use super::super::ethernet::ethertype;
use super::super::packet::proto;
use super::super::transport::carrier;
use super::{Guess, gtp_control, l2tp, lisp_control};

/// What a datagram may be, by its first byte: bits of a [`Class`].
mod class {
    /// VXLAN, Geneve, MPLS, CAPWAP, and Teredo behind an indication: the first nibble is zero.
    pub(super) const OVERLAY: u16 = 1;
    pub(super) const GRE: u16 = 2;
    pub(super) const GTP_USER: u16 = 4;
    pub(super) const GTP_CONTROL: u16 = 8;
    /// Teredo without an indication.
    pub(super) const TEREDO: u16 = 16;
    pub(super) const LISP: u16 = 32;
    pub(super) const LISP_CONTROL: u16 = 64;
    pub(super) const AYIYA: u16 = 128;
    pub(super) const L2TP: u16 = 256;
}

/// The classes of each first byte.
static OPENINGS: [u16; 256] = openings();

const fn openings() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (high, low) = (byte >> 4, byte & 0x0f);
        let mut class = 0;
        if high == 0 {
            class |= class::OVERLAY;
        }
        // Checksum, key and sequence number may be there; routing and the recursion count are not.
        if byte & 0x4f == 0 {
            class |= class::GRE;
        }
        if byte & 0xf8 == 0x30 {
            class |= class::GTP_USER | class::GTP_CONTROL;
        }
        // GTPv2-C: version 2, two spare bits. GTP': version 0 to 2, then 0, three bits set.
        if byte & 0xe3 == 0x40 || (byte & 0x1e == 0x0e && high <= 4) {
            class |= class::GTP_CONTROL;
        }
        if high == 6 {
            class |= class::TEREDO;
        }
        // Nonce, locators or an instance; a reserved bit and the key's two are zero. An echo is asked for a nonce, whose
        // place a map version takes (RFC 9300 section 5.3).
        if byte & 0x07 == 0 && byte & 0xc8 != 0 && byte & 0xa0 != 0x20 && byte & 0x90 != 0x90 {
            class |= class::LISP;
        }
        if matches!(high, 1..=4 | 8) {
            class |= class::LISP_CONTROL;
        }
        // An identity of 2^0 to 2^5 bytes, of no kind, a number or a name.
        if high <= 5 && low <= 2 {
            class |= class::AYIYA;
        }
        // Data: no control message, and the reserved bits of version 2 (RFC 2661 section 3.1).
        if byte & 0xb4 == 0 {
            class |= class::L2TP;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

impl Guess {
    /// Whether a datagram that begins with this byte may be one of them.
    #[inline]
    pub(in super::super) fn may_open(first: u8) -> bool {
        OPENINGS[usize::from(first)] != 0
    }

    /// The tunnel that a datagram of `wire` bytes, of which `payload` was captured, is for sure.
    #[inline]
    pub(in super::super) fn by_content(payload: &[u8], wire: usize) -> Option<Self> {
        let head = payload.first_chunk::<8>()?;
        let class = sift(OPENINGS[usize::from(head[0])], u64::from_be_bytes(*head), wire);
        if class == 0 { None } else { proved(class, head, payload, wire) }
    }
}

/// The classes that the first eight bytes, `word`, leave: none for nearly every datagram of other protocols.
#[inline(never)]
fn sift(class: u16, word: u64, wire: usize) -> u16 {
    let byte = |at: u32| (word >> (56 - 8 * at)) as u8;
    let kind = (word >> 32) as u16;
    let tells_kind = || matches!(kind, ethertype::TRANSPARENT_ETHERNET | ethertype::IPV4 | ethertype::IPV6);
    let mut left = 0;
    if class & class::OVERLAY != 0 {
        // The packet's version behind a single label, or a second label.
        let labels = if byte(2) & 1 != 0 {
            matches!(byte(4) >> 4, 4 | 6)
        } else {
            byte(3) != 0 && byte(7) != 0 && byte(6) & 1 != 0
        };
        let vxlan = word & 0xfbff_ff00_0000_00ff == 0x0800_0000_0000_0000;
        // Authentication, or an origin, whose port and address are the inverse of real ones.
        let indicated = word >> 48 == 1 || word >> 48 == 0 && kind != 0;
        let capwap = byte(0) == 0 && byte(1) >= 0x10 && word & 0x0000_0088_0000_0007 == 0;
        if labels || vxlan || indicated || capwap || tells_kind() {
            left |= class::OVERLAY;
        }
    }
    if class & class::GRE != 0 && byte(1) == 0 && tells_kind() {
        left |= class::GRE;
    }
    if class & class::GTP_USER != 0 && byte(1) == 255 && usize::from(kind) + 8 == wire {
        left |= class::GTP_USER;
    }
    // The length counts from the fifth byte, the seventh, the ninth or, of the long header, from the twenty-first.
    if class & class::GTP_CONTROL != 0
        && (byte(0) & 0xf3 == 0x50 || matches!(wire.wrapping_sub(kind.into()), 4 | 6 | 8 | 20))
    {
        left |= class::GTP_CONTROL;
    }
    if class & class::TEREDO != 0 && usize::from((word >> 16) as u16) + 40 == wire {
        left |= class::TEREDO;
    }
    // What the flags leave out is zero: nonce or map version, instance or locators.
    if class & class::LISP != 0
        && (byte(0) & 0x90 != 0 || word & 0x00ff_ffff_0000_0000 == 0)
        && (byte(0) & 0x48 != 0 || word & 0xffff_ffff == 0)
    {
        left |= class::LISP;
    }
    if class & class::LISP_CONTROL != 0 && byte(1) & 0x1f == 0 && byte(2) & 0xe0 == 0 && byte(3) <= 64 {
        left |= class::LISP_CONTROL;
    }
    if class & class::AYIYA != 0 && byte(3) == carrier::IPV6 && byte(2) & 0x0f == 1 {
        left |= class::AYIYA;
    }
    // Version 2, or version 3 and its reserved bits.
    if class & class::L2TP != 0 && (byte(1) == 2 || word >> 32 == 0x0003_0000 && word & 0xffff_ffff != 0) {
        left |= class::L2TP;
    }
    left
}

/// The tunnel, if all that is inside fits.
#[cold]
fn proved(class: u16, head: &[u8; 8], payload: &[u8], wire: usize) -> Option<Guess> {
    let may = |bit: u16| class & bit != 0;
    if may(class::OVERLAY)
        && let Some(guess) = overlay(head, payload, wire)
    {
        return Some(guess);
    }
    if may(class::GRE) && gre(head, payload, wire) {
        return Some(Guess::Gre);
    }
    if may(class::TEREDO) && teredo(payload, wire) {
        return Some(Guess::Teredo);
    }
    if may(class::GTP_USER) && gtp(head, payload, wire) {
        return Some(Guess::Gtp);
    }
    if may(class::LISP) && packet_fits(payload, wire, 8) {
        return Some(Guess::Lisp);
    }
    if may(class::AYIYA) && ayiya(head, payload, wire) {
        return Some(Guess::Ayiya);
    }
    if may(class::L2TP) && l2tp::is_whole(payload, wire) {
        return Some(Guess::L2tp);
    }
    if may(class::GTP_CONTROL) && gtp_control::is_whole(payload, wire) {
        return Some(Guess::GtpControl);
    }
    if may(class::LISP_CONTROL) && lisp_control::is_whole(payload, wire) {
        return Some(Guess::LispControl);
    }
    None
}

fn overlay(head: &[u8; 8], payload: &[u8], wire: usize) -> Option<Guess> {
    let word = u64::from_be_bytes(*head);
    const GENEVE_KINDS: [u16; 3] = [ethertype::TRANSPARENT_ETHERNET, ethertype::IPV4, ethertype::IPV6];
    // The flag of a valid VNI, every reserved bit zero (RFC 7348 section 5).
    if word & 0xffff_ffff_0000_00ff == 0x0800_0000_0000_0000 && frame_fits(payload, wire, 8) {
        return Some(Guess::Vxlan);
    }
    // The same with a next protocol: IPv4, IPv6 or Ethernet.
    if word & 0xffff_ff00_0000_00ff == 0x0c00_0000_0000_0000
        && match head[3] {
            1 | 2 => packet_fits(payload, wire, 8),
            3 => frame_fits(payload, wire, 8),
            _ => false,
        }
    {
        return Some(Guess::VxlanGpe);
    }
    let kind = u16::from_be_bytes([head[2], head[3]]);
    if GENEVE_KINDS.contains(&kind) && head[1] & 0xbf == 0 && head[7] == 0 {
        let at = 8 + usize::from(head[0] & 0x3f) * 4;
        let fits = if kind == ethertype::TRANSPARENT_ETHERNET { frame_fits } else { packet_fits };
        if fits(payload, wire, at) {
            return Some(Guess::Geneve);
        }
    }
    match (head[0], head[1]) {
        // An origin's port and address are the inverse of real ones.
        (0, 0) if kind != 0 && packet6_fits(payload, wire, 8) => return Some(Guess::Teredo),
        (0, 1) => {
            let mut at = 13 + usize::from(head[2]) + usize::from(head[3]);
            if payload.get(at..at + 2) == Some(&[0, 0]) {
                at += 8;
            }
            if packet6_fits(payload, wire, at) {
                return Some(Guess::Teredo);
            }
        }
        _ => {}
    }
    if head[0] == 0 && capwap(head, payload, wire) {
        return Some(Guess::Capwap);
    }
    mpls(payload, wire).then_some(Guess::Mpls)
}

/// A label or two above a packet.
fn mpls(payload: &[u8], wire: usize) -> bool {
    for at in [0, 4] {
        let Some([_, _, third, ttl]) = payload.get(at..).and_then(<[u8]>::first_chunk) else { return false };
        if *ttl == 0 {
            return false;
        }
        if third & 1 != 0 {
            return packet_fits(payload, wire, at + 4);
        }
    }
    false
}

/// CAPWAP data in clear: a frame of IEEE 802.3, or one of 802.11 with a SNAP header above a packet.
fn capwap(head: &[u8; 8], payload: &[u8], wire: usize) -> bool {
    const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];
    const BINDING_80211: u8 = 1;
    // Fragments and keep-alives have no whole frame; the last three bits of the second word are reserved.
    let at = usize::from(head[1] >> 3) * 4;
    if at < 8 || head[3] & 0x88 != 0 || head[7] & 0x07 != 0 {
        return false;
    }
    if head[2] & 1 == 0 {
        return frame_fits(payload, wire, at);
    }
    // Three addresses or four, with a quality-of-service field or without.
    head[2] >> 1 & 0x1f == BINDING_80211
        && [24, 26, 30, 32].iter().any(|header| {
            payload.get(at + header..).is_some_and(|llc| llc.starts_with(&SNAP))
                && packet_fits(payload, wire, at + header + 8)
        })
}

fn gre(head: &[u8; 8], payload: &[u8], wire: usize) -> bool {
    let at = 4 + 4 * (head[0] >> 4).count_ones() as usize;
    match u16::from_be_bytes([head[2], head[3]]) {
        ethertype::IPV4 | ethertype::IPV6 => packet_fits(payload, wire, at),
        ethertype::TRANSPARENT_ETHERNET => frame_fits(payload, wire, at),
        _ => false,
    }
}

/// A packet without an indication: an address of Teredo's prefix (RFC 4380 section 2.6), or a router asked or answering.
fn teredo(payload: &[u8], wire: usize) -> bool {
    const PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];
    const LINK_LOCAL: [u8; 8] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
    const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    packet6_fits(payload, wire, 0)
        && payload.get(8..40).is_some_and(|addresses| {
            let (src, dst) = addresses.split_at(16);
            src.starts_with(&PREFIX)
                || dst.starts_with(&PREFIX)
                || src.starts_with(&LINK_LOCAL) && (dst.starts_with(&LINK_LOCAL) || dst == ALL_ROUTERS)
        })
}

fn gtp(head: &[u8; 8], payload: &[u8], wire: usize) -> bool {
    let mut at = 8;
    if head[0] & 0x07 != 0 {
        let Some(optional) = payload.get(8..).and_then(<[u8]>::first_chunk::<4>) else { return false };
        let mut next = if head[0] & 0x04 != 0 { optional[3] } else { 0 };
        at = 12;
        for _ in 0..4 {
            if next == 0 {
                break;
            }
            let Some(len) = payload.get(at).map(|len| usize::from(*len) * 4).filter(|len| *len > 0) else {
                return false;
            };
            at += len;
            let Some(following) = payload.get(at - 1) else { return false };
            next = *following;
        }
    }
    packet_fits(payload, wire, at)
}

fn ayiya(head: &[u8; 8], payload: &[u8], wire: usize) -> bool {
    packet6_fits(payload, wire, 8 + (1 << (head[0] >> 4)) + usize::from(head[1] >> 4) * 4)
}

/// Whether an IP packet lies at `at` and fills the datagram.
pub(super) fn packet_fits(payload: &[u8], wire: usize, at: usize) -> bool {
    match payload.get(at).map(|first| first >> 4) {
        Some(4) => packet4_fits(payload, wire, at, 0),
        Some(6) => packet6_fits(payload, wire, at),
        _ => false,
    }
}

/// An IPv4 header with a right checksum that leaves `padding` bytes of zeros at most behind the packet.
fn packet4_fits(payload: &[u8], wire: usize, at: usize, padding: usize) -> bool {
    let Some(ip) = payload.get(at..) else { return false };
    let Some(&[first, _, high, low]) = ip.first_chunk() else { return false };
    let (header_len, total) = (usize::from(first & 0x0f) * 4, usize::from(u16::from_be_bytes([high, low])));
    let Some(behind) = wire.checked_sub(at + total) else { return false };
    if first >> 4 != 4 || header_len < 20 || total < header_len || behind > padding {
        return false;
    }
    let Some(header) = ip.get(..header_len) else { return false };
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    (sum >> 16) + (sum & 0xffff) == 0xffff
        && ip.get(total..).unwrap_or_default().iter().all(|byte| *byte == 0)
}

/// An IPv6 packet, whose upper layer makes up for the checksum that it lacks.
fn packet6_fits(payload: &[u8], wire: usize, at: usize) -> bool {
    const NO_NEXT: u8 = 59;
    /// Extension headers; the fragment header has no length.
    const FRAGMENT: u8 = 44;
    const OPTIONS: [u8; 3] = [0, 43, 60];
    let Some(ip) = payload.get(at..) else { return false };
    let Some(header) = ip.first_chunk::<40>() else { return false };
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || at + 40 + len != wire || header[7] == 0 {
        return false;
    }
    let upper = &ip[40..];
    match header[6] {
        proto::UDP => upper
            .first_chunk::<6>()
            .is_some_and(|udp| usize::from(u16::from_be_bytes([udp[4], udp[5]])) == len),
        proto::TCP => upper.first_chunk::<13>().is_some_and(|tcp| {
            let header_len = usize::from(tcp[12] >> 4) * 4;
            tcp[12] & 0x0e == 0 && (20..=len).contains(&header_len)
        }),
        // Errors are numbered from 1, messages from 128 (RFC 4443 section 2.1).
        proto::ICMPV6 => upper.first().is_some_and(|kind| matches!(kind, 1..=4 | 128..=161)) && len >= 8,
        proto::ESP | proto::SCTP | proto::AH => len >= 12,
        carrier::IPV4 => packet4_fits(payload, wire, at + 40, 0),
        carrier::IPV6 => upper.first_chunk::<6>().is_some_and(|inner| {
            inner[0] >> 4 == 6 && 40 + usize::from(u16::from_be_bytes([inner[4], inner[5]])) == len
        }),
        NO_NEXT => len == 0,
        FRAGMENT => upper.get(1) == Some(&0) && len > 8,
        next if OPTIONS.contains(&next) => {
            upper.get(1).is_some_and(|words| (usize::from(*words) + 1) * 8 <= len)
        }
        _ => false,
    }
}

/// Whether an Ethernet frame lies at `at` whose packet fills it, short frames being padded with zeros.
pub(super) fn frame_fits(payload: &[u8], wire: usize, at: usize) -> bool {
    /// The shortest frame without its checksum, and 4 bytes of a tag.
    const PADDED: usize = 64;
    /// Ethernet and IPv4, addresses of 6 and 4 bytes (RFC 826).
    const ARP: [u8; 6] = [0, 1, 8, 0, 6, 4];
    const ARP_LEN: usize = 28;
    let Some(frame) = payload.get(at..) else { return false };
    // A group sends nothing.
    if frame.get(6).is_none_or(|first| first & 1 != 0) {
        return false;
    }
    let mut kind_at = 12;
    for _ in 0..3 {
        let Some(kind) = frame.get(kind_at..).and_then(<[u8]>::first_chunk) else { return false };
        let above = at + kind_at + 2;
        let padding = if wire - at <= PADDED { PADDED } else { 0 };
        match u16::from_be_bytes(*kind) {
            ethertype::VLAN | ethertype::QINQ => kind_at += 4,
            ethertype::IPV4 => return packet4_fits(payload, wire, above, padding),
            ethertype::IPV6 => return packet6_fits(payload, wire, above),
            ethertype::ARP => {
                return payload.get(above..).is_some_and(|arp| arp.starts_with(&ARP))
                    && (ARP_LEN..=PADDED).contains(&(wire - above));
            }
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::*;

    /// A datagram between ports that no tunnel is known for.
    fn anywhere(payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(40001, 40002, payload))
    }

    /// Headers of tunnels and what they carry, with the layers that come out.
    fn tunnels() -> Vec<(Vec<u8>, Vec<u8>, Vec<&'static str>)> {
        let (v4, v6, eth) = (inner_ipv4(), inner_ipv6(), inner_ethernet());
        let tagged = join(&[&eth[..12], &[0x81, 0, 0, 7], &eth[12..]]);
        let padded = ethernet(0x0800, &join(&[&v4, &[0; 2]]));
        let v6_teredo = {
            let mut packet = v6.clone();
            packet[8..12].copy_from_slice(&[0x20, 0x01, 0, 0]);
            packet
        };
        let snap = join(&[&[8, 1, 0, 0], &[2; 18], &[0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4]);
        let mut all = vec![
            (vec![8, 0, 0, 0, 0, 0, 100, 0], eth.clone(), vec!["vxlan"]),
            (vec![8, 0, 0, 0, 0, 0, 100, 0], tagged, vec!["vxlan", "vlan"]),
            (vec![8, 0, 0, 0, 0, 0, 100, 0], padded, vec!["vxlan"]),
            (vec![0x0c, 0, 0, 2, 0, 0, 100, 0], v6.clone(), vec!["vxlan"]),
            (vec![0x0c, 0, 0, 3, 0, 0, 100, 0], eth.clone(), vec!["vxlan"]),
            (vec![0, 0, 0x65, 0x58, 0, 0, 9, 0], eth.clone(), vec!["geneve"]),
            (vec![2, 0x40, 0x65, 0x58, 0, 0, 9, 0, 1, 1, 0x80, 1, 1, 2, 3, 4], eth.clone(), vec!["geneve"]),
            (vec![0, 0, 0x86, 0xdd, 0, 0, 9, 0], v6.clone(), vec!["geneve"]),
            (vec![0, 0, 8, 0], v4.clone(), vec!["gre"]),
            (vec![0x20, 0, 0x65, 0x58, 0, 0, 0, 7], eth.clone(), vec!["gre"]),
            (vec![0xb0, 0, 0x86, 0xdd, 1, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], v6.clone(), vec!["gre"]),
            (vec![0, 1, 0x01, 64], v4.clone(), vec!["mpls"]),
            (vec![0, 1, 0x00, 64, 0, 2, 0x01, 64], v6.clone(), vec!["mpls"]),
            (vec![0x30, 255, 0, 44, 0, 0, 0, 7], v4.clone(), vec!["gtp"]),
            (vec![0x34, 255, 0, 52, 0, 0, 0, 7, 0, 0, 0, 0x85, 1, 0, 5, 0], v4.clone(), vec!["gtp"]),
            (vec![0x32, 255, 0, 68, 0, 0, 0, 7, 0, 1, 0, 0], v6.clone(), vec!["gtp"]),
            (vec![], v6_teredo, vec!["teredo"]),
            (vec![0, 0, 0xcf, 0xc7, 0x3f, 0xff, 0xfd, 0xfe], v6.clone(), vec!["teredo"]),
            (vec![0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0], v6.clone(), vec!["teredo"]),
            (vec![0xc0, 1, 2, 3, 0, 0, 0, 1], v4.clone(), vec!["lisp"]),
            (vec![0x88, 1, 2, 3, 0, 0, 5, 1], v6.clone(), vec!["lisp"]),
            (vec![0, 0x10, 0x02, 0, 0, 0, 0, 0], eth, vec!["capwap"]),
            (vec![0, 0x10, 0x43, 0, 0, 0, 0, 0], snap, vec!["capwap"]),
        ];
        all.push((join(&[&[0x41, 0x52, 0x11, 41, 0x50, 0, 0, 0], &[0xaa; 36]]), v6, vec!["ayiya"]));
        all
    }

    #[test]
    fn a_tunnel_is_peeled_on_any_port_if_what_is_inside_fits() {
        for (header, inside, layers_expected) in tunnels() {
            let packets = packets_of(&anywhere(&join(&[&header, &inside])));
            assert_eq!(packets.len(), 1, "{layers_expected:?} {header:02x?}");
            assert_eq!(
                (layers(&packets[0]), packets[0].proto, packets[0].dst_port),
                (layers_expected, 6, 22),
                "{header:02x?}"
            );
        }
    }

    #[test]
    fn a_byte_more_or_less_or_a_bit_of_the_inner_header_changed_leaves_a_udp_packet() {
        for (header, inside, _) in tunnels() {
            // Padding may be shorter.
            if inside.ends_with(&[0, 0]) {
                continue;
            }
            let whole = join(&[&header, &inside]);
            assert_plain(&anywhere(&join(&[&whole, &[1]])), 17);
            assert_plain(&anywhere(&whole[..whole.len() - 1]), 17);
            // The length in the inner header.
            let inner_at =
                whole.windows(2).rposition(|pair| matches!(pair, [0x45, 0] | [0x60, 0])).expect("IP");
            let mut bent = whole.clone();
            bent[inner_at + if whole[inner_at] == 0x45 { 3 } else { 5 }] ^= 1;
            assert_plain(&anywhere(&bent), 17);
            if whole[inner_at] == 0x45 {
                let mut bent = whole;
                bent[inner_at + 10] ^= 1;
                assert_plain(&anywhere(&bent), 17);
            }
        }
    }

    #[test]
    fn reserved_bits_that_are_set_leave_a_udp_packet() {
        let (v4, eth) = (inner_ipv4(), inner_ethernet());
        for header in [
            [8, 0, 0, 1, 0, 0, 100, 0],
            [8, 0, 0, 0, 0, 0, 100, 1],
            [0, 1, 0x65, 0x58, 0, 0, 9, 0],
            [0, 0, 0x65, 0x58, 0, 0, 9, 1],
            [0x40, 0, 0x65, 0x58, 0, 0, 9, 0],
        ] {
            assert_plain(&anywhere(&join(&[&header, &eth])), 17);
        }
        for header in [[0x81, 1, 2, 3, 0, 0, 0, 0], [0x80, 1, 2, 3, 0, 0, 0, 1], [0x08, 1, 0, 0, 0, 0, 5, 1]]
        {
            assert_plain(&anywhere(&join(&[&header, &v4])), 17);
        }
        assert_plain(&anywhere(&join(&[&[0x40, 0, 8, 0], &v4])), 17);
        assert_plain(&anywhere(&join(&[&[0, 1, 8, 0], &v4])), 17);
    }

    #[test]
    fn a_packet_without_teredos_addresses_or_indications_is_no_teredo() {
        assert_plain(&anywhere(&inner_ipv6()), 17);
        assert_plain(&anywhere(&inner_ipv4()), 17);
    }

    #[test]
    fn other_protocols_are_let_go() {
        let stun = [
            0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80, 0x22, 0, 4, 1,
            2, 3, 4,
        ];
        let dns = [0x08, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
        let rtp = [0x80, 0x60, 0, 1, 0, 0, 0, 160, 0x45, 0, 0, 32, 1, 2, 3, 4];
        let wireguard = [4, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        for payload in [&stun[..], &dns, &rtp, &wireguard] {
            assert_eq!(Guess::by_content(payload, payload.len()), None, "{payload:02x?}");
        }
    }

    #[test]
    fn noise_is_no_tunnel() {
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut roll = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for _ in 0..300_000 {
            let payload: Vec<u8> = (0..8).flat_map(|_| roll().to_le_bytes()).collect();
            assert_eq!(Guess::by_content(&payload, payload.len()), None, "{payload:02x?}");
        }
    }

    #[test]
    fn a_cut_capture_is_judged_by_what_it_holds() {
        let frame = ethernet(0x0800, &anywhere(&join(&[&[8, 0, 0, 0, 0, 0, 1, 0], &inner_ethernet()])));
        let (_, packets) = decode_cut(super::super::super::Link::Ethernet, &frame, 96);
        assert_eq!((packets[0].proto, packets[0].dst_port), (6, 22));
        let (_, packets) = decode_cut(super::super::super::Link::Ethernet, &frame, 64);
        assert_eq!((packets[0].proto, layers(&packets[0]).len()), (17, 0));
    }
}
