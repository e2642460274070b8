//! Other addresses for a frame, with its checksums carried along.
//!
//! In: an Ethernet frame and the number of the copy it belongs to. Out: the same frame with other addresses in its outermost IP header.

use super::load::Capture;
use super::scatter;

/// EtherTypes (IEEE 802 numbers): VLAN tags (802.1Q, 802.1ad, QinQ before its standard), IPv4, IPv6.
const TAGS: [u16; 3] = [0x8100, 0x88A8, 0x9100];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
/// Tags that are looked behind.
const MAX_TAGS: usize = 4;
/// IPv6 extension headers that are looked behind (RFC 8200 4).
const MAX_EXTENSIONS: usize = 8;

/// IP protocol numbers whose checksum covers the addresses, and those of the extension headers on the way there.
mod number {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const DCCP: u8 = 33;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const UDP_LITE: u8 = 136;
}

/// Where the source address lies in its header, and how long an address is.
const ADDRESSES4: (usize, usize) = (12, 4);
const ADDRESSES6: (usize, usize) = (8, 16);

/// Bits of a public IPv4 address that are changed: the smallest networks that change hands as a whole are a /24, but most of a
/// /20 is one network's, and 4,095 copies need 12 bits.
const LOW_BITS: u32 = 12;
/// Keys that are not zero.
const KEYS: u64 = (1 << LOW_BITS) - 1;
/// Has no divisor in common with [`KEYS`] (3² · 5 · 7 · 13), so every key comes once before one comes again.
const KEY_STEP: u64 = 1_021;

/// What of a frame is to be rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of the IP header.
    ip: u16,
    /// Offset of the checksum over the addresses of transport and IP header, 0 for none.
    check: u16,
    family: Family,
    /// Zero means that there is no checksum (UDP).
    optional: bool,
    /// The checksum covers the destination in the header, not a later one of a routing header (RFC 8200 8.1).
    both: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Family {
    #[default]
    None,
    V4,
    V6,
}

impl Place {
    /// Finds the outermost IP header behind VLAN tags.
    pub(super) fn find(frame: &[u8]) -> Self {
        let mut at = 12;
        for _ in 0..=MAX_TAGS {
            match word(frame, at) {
                Some(tag) if TAGS.contains(&tag) => at += 4,
                Some(IPV4) => return Self::v4(frame, at + 2).unwrap_or_default(),
                Some(IPV6) => return Self::v6(frame, at + 2).unwrap_or_default(),
                _ => break,
            }
        }
        Self::default()
    }

    fn v4(frame: &[u8], ip: usize) -> Option<Self> {
        let header = frame.get(ip..ip + 20)?;
        if header[0] >> 4 != 4 {
            return None;
        }
        let place = Self { ip: ip as u16, family: Family::V4, both: true, ..Self::default() };
        let first = word(header, 6)? & 0x1FFF == 0;
        let transport = ip + usize::from(header[0] & 15) * 4;
        Some(if first { place.with_check(frame, header[9], transport) } else { place })
    }

    fn v6(frame: &[u8], ip: usize) -> Option<Self> {
        let header = frame.get(ip..ip + 40)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let mut place = Self { ip: ip as u16, family: Family::V6, both: true, ..Self::default() };
        let (mut next, mut at) = (header[6], ip + 40);
        for _ in 0..MAX_EXTENSIONS {
            let Some(&[following, length, offset_high, offset_low]) = frame.get(at..at + 4) else { break };
            match next {
                number::HOP_BY_HOP | number::DESTINATION => at += 8 + usize::from(length) * 8,
                number::ROUTING => {
                    place.both &= offset_low == 0; // segments left
                    at += 8 + usize::from(length) * 8;
                }
                number::FRAGMENT if u16::from_be_bytes([offset_high, offset_low]) >> 3 == 0 => at += 8,
                number::FRAGMENT => return Some(place),
                _ => break,
            }
            next = following;
        }
        Some(place.with_check(frame, next, at))
    }

    fn with_check(self, frame: &[u8], proto: u8, transport: usize) -> Self {
        let within = match proto {
            number::TCP => 16,
            number::UDP | number::DCCP | number::UDP_LITE => 6,
            number::ICMPV6 if self.family == Family::V6 => 2,
            _ => return self,
        };
        let check = transport + within;
        if check + 2 > frame.len() {
            return self;
        }
        Self { check: check as u16, optional: proto == number::UDP, ..self }
    }

    /// Source and destination, where they are IPv4.
    pub(super) fn addresses4(self, frame: &[u8]) -> Option<[[u8; 4]; 2]> {
        if self.family != Family::V4 {
            return None;
        }
        let at = usize::from(self.ip) + ADDRESSES4.0;
        Some([frame[at..at + 4].try_into().ok()?, frame[at + 4..at + 8].try_into().ok()?])
    }
}

/// The /24 of an address inside: private (RFC 1918), link-local (RFC 3927), shared (RFC 6598).
pub(super) fn inside(address: [u8; 4]) -> Option<[u8; 3]> {
    let [a, b, c, _] = address;
    matches!((a, b), (10, _) | (172, 16..=31) | (192, 168) | (169, 254) | (100, 64..=127))
        .then_some([a, b, c])
}

/// What a copy makes of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Addresses {
    /// Number in 10/8 of the first private /24.
    net: u16,
    seed: u64,
    round: u32,
    capture: usize,
    /// Changes IPv6 addresses; not 0, and another one for each of 2³² − 1 copies.
    key6: u32,
}

impl Addresses {
    /// For copy `number` (from 1), made of `capture` in `round`, before which `nets` private /24s were given out.
    pub(super) fn new(seed: u64, number: u64, round: u32, capture: usize, nets: u64) -> Self {
        let net = (scatter(seed) as u16).wrapping_add(nets as u16);
        // Odd, so multiplication by it is one to one.
        let key6 = (number as u32).max(1).wrapping_mul((scatter(seed) >> 32) as u32 | 1);
        Self { net, seed, round, capture, key6 }
    }

    /// Rewrites a frame of the capture.
    pub(super) fn rewrite(&self, capture: &Capture, place: Place, frame: &mut [u8]) {
        let (start, length) = match place.family {
            Family::None => return,
            Family::V4 => ADDRESSES4,
            Family::V6 => ADDRESSES6,
        };
        let ip = usize::from(place.ip);
        let mut difference = [0; 2];
        for (side, difference) in difference.iter_mut().enumerate() {
            let at = ip + start + side * length;
            let address = &mut frame[at..at + length];
            let mut old = [0; 16];
            old[..length].copy_from_slice(address);
            match place.family {
                Family::V4 => self.v4(capture, address),
                _ => self.v6(address),
            }
            *difference = change(&old[..length], address);
        }
        let [from, to] = difference;
        if place.family == Family::V4 {
            update(&mut frame[ip + 10..ip + 12], from + to, false);
        }
        if place.check > 0 {
            let at = usize::from(place.check);
            update(&mut frame[at..at + 2], if place.both { from + to } else { from }, place.optional);
        }
    }

    fn v4(&self, capture: &Capture, address: &mut [u8]) {
        let &mut [a, b, c, d] = address else { return };
        if let Some(net) = inside([a, b, c, d]) {
            let nth = capture.nets.binary_search(&net).unwrap_or_default();
            let [high, low] = self.net.wrapping_add(nth as u16).to_be_bytes();
            address.copy_from_slice(&[10, high, low, d]);
        } else if !matches!(a, 0 | 127 | 224..) {
            let bits = u32::from_be_bytes([a, b, c, d]);
            let network = u64::from(bits >> LOW_BITS);
            let from = scatter(self.seed ^ scatter(network << 32 | self.capture as u64)) % KEYS;
            let key = 1 + (from + u64::from(self.round) * KEY_STEP) % KEYS;
            address.copy_from_slice(&(bits ^ key as u32).to_be_bytes());
        }
    }

    fn v6(&self, address: &mut [u8]) {
        let at = match address {
            // Global unicast (RFC 4291 2.5.4): subnet and the first bits of the interface.
            [0x20..=0x3F, ..] => 6,
            // Unique local (RFC 4193 3.1): bits of the global identifier.
            [0xFC | 0xFD, ..] => 2,
            // Link-local: bits of the interface, not the last 24, which its solicited-node group repeats (RFC 4291 2.7.1).
            [0xFE, 0x80..=0xBF, ..] => 8,
            _ => return,
        };
        for (byte, key) in address[at..].iter_mut().zip(self.key6.to_be_bytes()) {
            *byte ^= key;
        }
    }
}

/// What is to be added to a complemented checksum when `old` becomes `new` (RFC 1624 3, equation 3).
fn change(old: &[u8], new: &[u8]) -> u32 {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
    old.chunks_exact(2).zip(new.chunks_exact(2)).map(|(o, n)| u32::from(!word(o)) + u32::from(word(n))).sum()
}

/// Carries a checksum along. An `optional` one that is 0 stays, and does not become 0 (RFC 768).
fn update(check: &mut [u8], difference: u32, optional: bool) {
    let old = u16::from_be_bytes([check[0], check[1]]);
    if optional && old == 0 {
        return;
    }
    let mut sum = u32::from(!old) + difference;
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let new = match !(sum as u16) {
        0 if optional => 0xFFFF,
        new => new,
    };
    check.copy_from_slice(&new.to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|w| u16::from_be_bytes([w[0], w[1]]))
}

#[cfg(test)]
mod tests {
    use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader, VlanId};

    use super::*;

    /// From 192.168.178.20 port 1024 to 8.8.8.8 port 53, one byte "a"; both checksums right.
    const DATAGRAM: [u8; 43] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45, 0, 0, 29, 0, 1, 0x40, 0, 64, 17, 0xB8, 0x02,
        192, 168, 178, 20, 8, 8, 8, 8, 4, 0, 0, 53, 0, 9, 0x17, 0xDA, b'a',
    ];
    /// The mix's own networks for [`DATAGRAM`].
    const NETS: [[u8; 3]; 1] = [[192, 168, 178]];

    fn capture() -> Capture {
        Capture { nets: NETS.to_vec(), ..Capture::default() }
    }

    fn rewritten(copy: u64, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        Addresses::new(1, copy, copy as u32, 0, copy * 3).rewrite(
            &capture(),
            Place::find(&frame),
            &mut frame,
        );
        frame
    }

    /// Whether every checksum that etherparse can calculate is right; how many those were.
    fn right(frame: &[u8]) -> (bool, u32) {
        let packet = PacketHeaders::from_ethernet_slice(frame).expect("whole");
        let payload = packet.payload.slice();
        let (mut good, mut count) = (true, 0);
        let mut check = |is: u16, expected: u16| {
            good &= is == expected;
            count += 1;
        };
        match (packet.net.expect("IP"), packet.transport) {
            (NetHeaders::Ipv4(ip, _), transport) => {
                check(ip.header_checksum, ip.calc_header_checksum());
                match transport {
                    Some(TransportHeader::Tcp(t)) => {
                        check(t.checksum, t.calc_checksum_ipv4(&ip, payload).expect("small"));
                    }
                    Some(TransportHeader::Udp(u)) => {
                        check(u.checksum, u.calc_checksum_ipv4(&ip, payload).expect("small"));
                    }
                    _ => {}
                }
            }
            (NetHeaders::Ipv6(ip, _), Some(TransportHeader::Tcp(t))) => {
                check(t.checksum, t.calc_checksum_ipv6(&ip, payload).expect("small"));
            }
            (NetHeaders::Ipv6(ip, _), Some(TransportHeader::Udp(u))) => {
                check(u.checksum, u.calc_checksum_ipv6(&ip, payload).expect("small"));
            }
            (NetHeaders::Ipv6(ip, _), Some(TransportHeader::Icmpv6(i))) => {
                let is = i.icmp_type.calc_checksum(ip.source, ip.destination, payload).expect("small");
                check(i.checksum, is);
            }
            _ => {}
        }
        (good, count)
    }

    #[test]
    fn inside_becomes_10_8_with_its_last_byte_and_outside_stays_in_its_20_bits() {
        assert_eq!(right(&DATAGRAM), (true, 2), "the test's own frame");
        for copy in 1..=5_000 {
            let frame = rewritten(copy, &DATAGRAM);
            assert_eq!(frame.len(), DATAGRAM.len());
            let (src, dst) = (&frame[26..30], &frame[30..34]);
            assert_eq!((src[0], src[3]), (10, 20), "copy {copy}: {src:?}");
            assert_eq!((&dst[..2], dst[2] & 0xF0), (&[8, 8][..], 0), "copy {copy}: {dst:?}");
            assert_ne!(dst, [8, 8, 8, 8], "copy {copy}");
            assert_eq!(right(&frame), (true, 2), "copy {copy}");
            assert_eq!(
                (&frame[..24], &frame[34..40], &frame[42..]),
                (&DATAGRAM[..24], &DATAGRAM[34..40], &DATAGRAM[42..]),
                "copy {copy}: nothing but addresses and checksums"
            );
        }
    }

    #[test]
    fn two_outside_addresses_stay_two_and_meet_no_other_copy_for_4095_copies() {
        let mut seen = std::collections::HashSet::new();
        for round in 1..=4_095 {
            let [mut a, mut b] = [[8, 8, 8, 8], [8, 8, 4, 4]];
            let addresses = Addresses::new(9, round.into(), round, 0, 0);
            addresses.v4(&capture(), &mut a);
            addresses.v4(&capture(), &mut b);
            assert_ne!(a, b);
            assert!(seen.insert(a), "round {round}: {a:?} was another copy's");
        }
    }

    #[test]
    fn checksums_of_every_kind_of_packet_stay_right() {
        let (g, h) = (
            [0x2A, 1, 4, 0xF8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1],
            [0x26, 6, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x11],
        );
        let ula = [0xFD, 0x12, 3, 4, 5, 6, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        let local = [0xFE, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xFF, 0xFE, 0, 0, 9];
        let group = [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0, 0, 9];
        let ether = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut frames = vec![Vec::new(); 6];
        let [tcp4, tagged, tcp6, udp6, echo, neighbour] = &mut frames[..] else { unreachable!("six") };
        ether()
            .ipv4([172, 16, 9, 9], [151, 101, 1, 140], 60)
            .tcp(50_000, 443, 77, 1_000)
            .write(tcp4, b"GET")
            .expect("memory");
        ether()
            .single_vlan(VlanId::try_new(7).expect("a tag"))
            .ipv4([100, 64, 0, 1], [52, 96, 165, 2], 60)
            .udp(50_000, 443)
            .write(tagged, b"odd")
            .expect("memory");
        ether().ipv6(g, h, 60).tcp(50_000, 22, 77, 1_000).write(tcp6, b"SSH-2.0").expect("memory");
        ether().ipv6(ula, h, 60).udp(50_000, 53).write(udp6, b"even").expect("memory");
        ether().ipv6(g, h, 60).icmpv6_echo_request(1, 2).write(echo, b"ping").expect("memory");
        ether().ipv6(local, group, 255).icmpv6_echo_request(1, 2).write(neighbour, b"ping").expect("memory");
        let mut capture = capture();
        capture.nets = vec![[100, 64, 0], [172, 16, 9]];
        for frame in &frames {
            let before = right(frame);
            assert!(before.0 && before.1 > 0, "the test's own frame: {frame:02x?}");
            let mut others = std::collections::HashSet::from([frame.clone()]);
            for copy in 1..=2_000_u64 {
                let mut frame = frame.clone();
                let addresses = Addresses::new(5, copy, copy as u32, 0, copy * 2);
                addresses.rewrite(&capture, Place::find(&frame), &mut frame);
                assert_eq!(right(&frame), before, "copy {copy}: {frame:02x?}");
                assert!(others.insert(frame), "copy {copy} looks like another one");
            }
        }
        assert_eq!(rewritten(1, &frames[2])[22..28], frames[2][22..28], "a global address keeps its /48");
        assert_eq!(rewritten(1, &frames[3])[22], 0xFD, "a unique local address stays one");
        assert_eq!(rewritten(1, &frames[5])[22..30], frames[5][22..30], "a link-local address stays one");
        assert_eq!(rewritten(1, &frames[5])[38..54], group, "a group stays the group");
    }

    #[test]
    fn a_datagram_without_checksum_gets_none_and_a_wrong_checksum_stays_wrong() {
        let mut without = DATAGRAM;
        without[40..42].fill(0);
        let mut wrong = DATAGRAM;
        wrong[41] ^= 1;
        for copy in 1..=5_000 {
            assert_eq!(rewritten(copy, &without)[40..42], [0, 0]);
            let frame = rewritten(copy, &DATAGRAM);
            assert_ne!(frame[40..42], [0, 0], "copy {copy}: 0 would mean that there is none (RFC 768)");
            assert!(!right(&rewritten(copy, &wrong)).0, "copy {copy}: made right what was wrong");
        }
    }

    #[test]
    fn a_checksum_that_comes_out_as_zero_is_written_as_ones() {
        let mut ones = 0;
        for port in 0..=u16::MAX {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
                .ipv4([192, 168, 178, 20], [8, 8, 8, 8], 64)
                .udp(port, 53)
                .write(&mut frame, b"a")
                .expect("memory");
            let frame = rewritten(1, &frame);
            assert!(right(&frame).0, "port {port}");
            ones += u32::from(frame[40..42] == [0xFF, 0xFF]);
        }
        assert_eq!(ones, 1, "one port of all makes the sum zero");
    }

    #[test]
    fn what_is_not_ip_or_cut_short_stays_as_it_is_and_a_later_fragment_keeps_its_payload() {
        let arp = [&[0xFF; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 10, 0, 0, 1]].concat();
        assert_eq!(rewritten(1, &arp), arp);
        for length in 0..DATAGRAM.len() {
            let cut = rewritten(1, &DATAGRAM[..length]);
            assert_eq!(cut == DATAGRAM[..length], length < 34, "{length} bytes");
            assert_eq!(cut.len(), length);
        }
        let mut fragment = DATAGRAM;
        fragment[20..22].copy_from_slice(&[0, 1]);
        assert_eq!(rewritten(1, &fragment)[34..], DATAGRAM[34..]);
    }

    #[test]
    fn groups_and_what_is_no_host_keep_their_address() {
        let addresses = Addresses::new(1, 1, 1, 0, 0);
        for address in [[224, 0, 0, 251], [255, 255, 255, 255], [0, 0, 0, 0], [127, 0, 0, 1]] {
            let mut same = address;
            addresses.v4(&capture(), &mut same);
            assert_eq!(same, address);
        }
        for first in [0, 0xFF] {
            let mut address = [1; 16];
            address[0] = first;
            let before = address;
            addresses.v6(&mut address);
            assert_eq!(address, before);
        }
    }
}
