//! Frames, byte by byte: link, VLAN, IP, extension headers, transport, tunnels, fragments, with right checksums.
//!
//! In: addresses, ports, payload. Out: bytes of an IP packet or of an Ethernet frame.

use std::net::{IpAddr, SocketAddr};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const GRE: u8 = 47;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// An address and a port: `192.0.2.1:80`, `[2001:db8::1]:80`.
pub fn end(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The IP header in front of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// IPv4 identification.
    pub id: u16,
    pub ttl: u8,
}

impl Ip {
    pub fn new(src: IpAddr, dst: IpAddr) -> Self {
        Self { src, dst, id: 0x1234, ttl: 64 }
    }

    /// The packet around `payload`.
    pub fn around(&self, proto: u8, payload: &[u8]) -> Vec<u8> {
        self.fragment(proto, payload, 0, false)
    }

    /// A fragment of a packet: `payload` begins at byte `offset` (a multiple of 8) of the whole one.
    pub fn fragment(&self, proto: u8, payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut p = vec![0x45, 0];
                p.extend(len16(20 + payload.len()));
                p.extend(self.id.to_be_bytes());
                p.extend(((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
                p.extend([self.ttl, proto, 0, 0]);
                p.extend(src.octets());
                p.extend(dst.octets());
                let sum = checksum(&[&p]);
                p[10..12].copy_from_slice(&sum.to_be_bytes());
                p.extend_from_slice(payload);
                p
            }
            (IpAddr::V6(_), IpAddr::V6(_)) if offset == 0 && !more => self.v6(proto, payload),
            (IpAddr::V6(_), IpAddr::V6(_)) => {
                let mut header = vec![proto, 0];
                header.extend((offset | u16::from(more)).to_be_bytes());
                header.extend(u32::from(self.id).to_be_bytes());
                header.extend_from_slice(payload);
                self.v6(44, &header)
            }
            pair => panic!("addresses of two families: {pair:?}"),
        }
    }

    /// An IPv6 packet with extension headers (type, 6 + 8·n bytes of content) before the payload.
    pub fn with_extensions(&self, extensions: &[(u8, &[u8])], proto: u8, payload: &[u8]) -> Vec<u8> {
        let next = |i: usize| extensions.get(i).map_or(proto, |e| e.0);
        let mut body = Vec::new();
        for (i, (_, content)) in extensions.iter().enumerate() {
            assert_eq!(content.len() % 8, 6, "the content fills units of eight bytes with the two before it");
            body.extend([next(i + 1), (content.len() / 8) as u8]);
            body.extend_from_slice(content);
        }
        body.extend_from_slice(payload);
        self.v6(next(0), &body)
    }

    fn v6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (self.src, self.dst) else { panic!("not IPv6: {self:?}") };
        let mut p = vec![0x60, 0, 0, 0];
        p.extend(len16(payload.len()));
        p.extend([next, self.ttl]);
        p.extend(src.octets());
        p.extend(dst.octets());
        p.extend_from_slice(payload);
        p
    }

    /// Checksum of a TCP, UDP or ICMPv6 message whose own checksum field is zero.
    pub fn transport_checksum(&self, proto: u8, message: &[u8]) -> u16 {
        checksum(&[&self.pseudo(proto, message.len()), message])
    }

    /// The pseudo header, the first part of the checksum of TCP, UDP and ICMPv6.
    fn pseudo(&self, proto: u8, len: usize) -> Vec<u8> {
        let mut p = Vec::new();
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                p.extend(src.octets());
                p.extend(dst.octets());
                p.extend([0, proto]);
                p.extend(len16(len));
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                p.extend(src.octets());
                p.extend(dst.octets());
                p.extend((len as u32).to_be_bytes());
                p.extend([0, 0, 0, proto]);
            }
            pair => panic!("addresses of two families: {pair:?}"),
        }
        p
    }
}

fn len16(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap_or_else(|_| panic!("{n} bytes do not fit a packet")).to_be_bytes()
}

/// The Internet checksum over the parts (RFC 1071); parts before the last must have an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for word in part.chunks(2) {
            sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A TCP segment in an IP packet.
pub fn tcp(ip: Ip, ports: [u16; 2], seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    ip.around(TCP, &tcp_segment(ip, ports, seq, ack, flags, payload))
}

/// A TCP segment.
pub fn tcp_segment(ip: Ip, ports: [u16; 2], seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut s = Vec::new();
    s.extend(ports[0].to_be_bytes());
    s.extend(ports[1].to_be_bytes());
    s.extend(seq.to_be_bytes());
    s.extend(ack.to_be_bytes());
    s.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    s.extend_from_slice(payload);
    let sum = ip.transport_checksum(TCP, &s);
    s[16..18].copy_from_slice(&sum.to_be_bytes());
    s
}

/// A UDP datagram in an IP packet.
pub fn udp(ip: Ip, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    ip.around(UDP, &udp_datagram(ip, ports, payload))
}

/// A UDP datagram.
pub fn udp_datagram(ip: Ip, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut d = Vec::new();
    d.extend(ports[0].to_be_bytes());
    d.extend(ports[1].to_be_bytes());
    d.extend(len16(8 + payload.len()));
    d.extend([0, 0]);
    d.extend_from_slice(payload);
    let sum = ip.transport_checksum(UDP, &d);
    d[6..8].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
    d
}

/// An ICMP or ICMPv6 message in an IP packet: type, code, and what follows the checksum.
pub fn icmp(ip: Ip, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let proto = if ip.src.is_ipv4() { ICMP } else { ICMPV6 };
    let mut m = vec![kind, code, 0, 0];
    m.extend_from_slice(rest);
    let sum = if proto == ICMP { checksum(&[&m]) } else { ip.transport_checksum(proto, &m) };
    m[2..4].copy_from_slice(&sum.to_be_bytes());
    ip.around(proto, &m)
}

/// An SCTP packet with one chunk.
pub fn sctp(ip: Ip, ports: [u16; 2], chunk_type: u8, content: &[u8]) -> Vec<u8> {
    let mut s = Vec::new();
    s.extend(ports[0].to_be_bytes());
    s.extend(ports[1].to_be_bytes());
    s.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk_type, 0]);
    s.extend(len16(4 + content.len()));
    s.extend_from_slice(content);
    ip.around(SCTP, &s)
}

/// EtherType of an IP packet.
fn ethertype(packet: &[u8]) -> [u8; 2] {
    if packet.first().is_some_and(|b| b >> 4 == 6) { [0x86, 0xdd] } else { [0x08, 0x00] }
}

/// An Ethernet frame around an IP packet, with VLAN tags (outer first), padded to the minimum size.
pub fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut f = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (i, tag) in tags.iter().enumerate() {
        f.extend(if i + 1 < tags.len() { [0x88, 0xa8] } else { [0x81, 0x00] });
        f.extend(tag.to_be_bytes());
    }
    f.extend(ethertype(packet));
    f.extend_from_slice(packet);
    f.resize(f.len().max(60), 0);
    f
}

/// An IP packet in a VXLAN tunnel (RFC 7348).
pub fn vxlan(outer: Ip, vni: u32, frame: &[u8]) -> Vec<u8> {
    let mut v = vec![8, 0, 0, 0];
    v.extend(&(vni << 8).to_be_bytes());
    v.extend_from_slice(frame);
    udp(outer, [54_321, 4789], &v)
}

/// An IP packet in plain GRE (RFC 2784).
pub fn gre(outer: Ip, packet: &[u8]) -> Vec<u8> {
    let mut g = vec![0, 0];
    g.extend(ethertype(packet));
    g.extend_from_slice(packet);
    outer.around(GRE, &g)
}

/// An Ethernet frame in GRE with ERSPAN type II (draft-foschiano-erspan).
pub fn erspan2(outer: Ip, session: u16, sequence: u32, frame: &[u8]) -> Vec<u8> {
    let mut g = vec![0x10, 0, 0x88, 0xbe];
    g.extend(sequence.to_be_bytes());
    g.extend((0x1000u16).to_be_bytes());
    g.extend((session & 0x3ff).to_be_bytes());
    g.extend([0; 4]);
    g.extend_from_slice(frame);
    outer.around(GRE, &g)
}
