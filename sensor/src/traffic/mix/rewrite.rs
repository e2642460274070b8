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
