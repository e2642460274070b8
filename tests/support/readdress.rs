//! The same traffic elsewhere: other addresses, IPv6 for IPv4, other ports, VLAN tags, right checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::capture::Capture;
use super::frame::{self, Ip};

/// What is changed.
#[derive(Clone, Debug, Default)]
pub struct Move {
    pub seed: u64,
    /// Every prefix becomes a public one that the seed chooses.
    pub prefixes: bool,
    /// IPv4 becomes IPv6.
    pub to_v6: bool,
    /// Every port becomes another one above 1,023.
    pub ports: bool,
    /// Ports that stay.
    pub keep: &'static [u16],
    /// Tags put on every frame, outer first.
    pub vlan: Vec<u16>,
}

impl Move {
    pub fn addr(&self, ip: IpAddr) -> IpAddr {
        let ip = match ip {
            IpAddr::V4(v4) if self.prefixes && !v4.is_multicast() && !v4.is_broadcast() => {
                let [a, b, c, d] = v4.octets();
                let net = self.mix(u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c));
                // Class A space that is announced as a whole: 11 to 99 without 64–127 of CGNAT's 100.
                IpAddr::V4(Ipv4Addr::new(11 + (net % 88) as u8, (net >> 8) as u8, (net >> 16) as u8, d))
            }
            IpAddr::V6(v6) if self.prefixes && !v6.is_multicast() => {
                let bits = v6.to_bits();
                let net = u128::from(self.mix((bits >> 64) as u64) as u32);
                IpAddr::V6(Ipv6Addr::from_bits(
                    0x2a01_u128 << 112 | net << 80 | (bits & u128::from(u64::MAX)),
                ))
            }
            other => other,
        };
        match ip {
            IpAddr::V4(v4) if self.to_v6 && v4.is_multicast() => {
                IpAddr::V6(Ipv6Addr::from_bits(0xff05_u128 << 112 | u128::from(v4.to_bits())))
            }
            IpAddr::V4(v4) if self.to_v6 => {
                IpAddr::V6(Ipv6Addr::from_bits(0x2a05_0000_u128 << 96 | u128::from(v4.to_bits())))
            }
            other => other,
        }
    }

    pub fn port(&self, port: u16) -> u16 {
        if !self.ports || port == 0 || self.keep.contains(&port) {
            return port;
        }
        // 64,511 is prime, so this is a permutation of the residues; ports below 1,024 take the place of those that left.
        let shift = self.mix(0) % 64_511;
        let p = u64::from(port);
        (1_025 + (p * 40_503 + shift) % 64_511) as u16
    }

    pub fn end(&self, end: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.addr(end.ip()), self.port(end.port()))
    }

    fn mix(&self, x: u64) -> u64 {
        super::payloads::Dice(self.seed ^ x.wrapping_mul(0xA24B_AED4_963E_E407)).roll()
    }

    /// The capture as it would have been there. Frames that are not IP stay; ICMP that is no echo, which quotes packets, goes
    /// when the family changes.
    pub fn apply(&self, capture: &Capture) -> Capture {
        let mut moved = Capture::default();
        for taken in &capture.frames {
            assert_eq!(taken.dlt, 1, "only Ethernet captures are moved");
            let Some(bytes) = self.frame(&taken.bytes) else { continue };
            let more = bytes.len() as i64 - taken.bytes.len() as i64;
            let wirelen = (i64::from(taken.wirelen) + more).max(bytes.len() as i64) as u32;
            moved.frames.push(super::capture::Taken { bytes, wirelen, ..taken.clone() });
        }
        moved
    }

    fn frame(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        while matches!(bytes.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
            at += 4;
        }
        let tags: Vec<u16> = bytes[12..at]
            .chunks(4)
            .map(|t| u16::from_be_bytes([t[2], t[3]]) & 0x0fff)
            .chain(self.vlan.iter().copied())
            .collect();
        let packet = match bytes.get(at..at + 2)? {
            [0x08, 0x00] => self.v4(&bytes[at + 2..])?,
            [0x86, 0xdd] => self.v6(&bytes[at + 2..])?,
            _ => return Some(bytes.to_vec()),
        };
        Some(frame::ethernet(&tags, &packet))
    }

    fn v4(&self, p: &[u8]) -> Option<Vec<u8>> {
        let header = usize::from(p[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([p[2], p[3]])).min(p.len());
        let word = u16::from_be_bytes([p[6], p[7]]);
        let (offset, more) = ((word & 0x1fff) * 8, word & 0x2000 != 0);
        let addr = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&p[at..at + 4]).expect("four bytes"));
        let ip = Ip {
            src: self.addr(addr(12)),
            dst: self.addr(addr(16)),
            id: u16::from_be_bytes([p[4], p[5]]),
            ttl: p[8],
        };
        let payload = p.get(header..total)?;
        if self.to_v6 && p[9] == frame::ICMP {
            let kind = if payload.first() == Some(&8) { 128 } else { 129 };
            return is_echo(p).then(|| frame::icmp(ip, kind, 0, payload.get(4..).unwrap_or_default()));
        }
        let whole = offset == 0 && !more;
        let payload = if offset == 0 { self.transport(ip, p[9], payload, whole) } else { payload.to_vec() };
        Some(ip.fragment(p[9], &payload, offset, more))
    }

    fn v6(&self, p: &[u8]) -> Option<Vec<u8>> {
        let addr = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&p[at..at + 16]).expect("sixteen bytes"));
        let ip = Ip { src: self.addr(addr(8)), dst: self.addr(addr(24)), id: 0, ttl: p[7] };
        let total = 40 + usize::from(u16::from_be_bytes([p[4], p[5]]));
        let payload = p.get(40..total.min(p.len()))?;
        Some(ip.around(p[6], &self.transport(ip, p[6], payload, true)))
    }

    /// New ports and a right checksum; the checksum only where all of the datagram is there.
    fn transport(&self, ip: Ip, proto: u8, bytes: &[u8], whole: bool) -> Vec<u8> {
        let mut l4 = bytes.to_vec();
        if !matches!(proto, frame::TCP | frame::UDP) || l4.len() < 8 {
            return l4;
        }
        for at in [0, 2] {
            let port = self.port(u16::from_be_bytes([l4[at], l4[at + 1]]));
            l4[at..at + 2].copy_from_slice(&port.to_be_bytes());
        }
        let sum_at = if proto == frame::TCP { 16 } else { 6 };
        if whole && l4.len() >= sum_at + 2 {
            l4[sum_at..sum_at + 2].fill(0);
            let sum = ip.transport_checksum(proto, &l4);
            l4[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        l4
    }
}

/// Whether an IPv4 packet is a whole ICMP echo, request or reply.
pub fn is_echo(p: &[u8]) -> bool {
    let header = usize::from(p[0] & 15) * 4;
    p[9] == frame::ICMP
        && p[6] & 0x3f == 0
        && p[7] == 0
        && matches!(p.get(header..), Some([0 | 8, 0, _, _, ..]))
}
