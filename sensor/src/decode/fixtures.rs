//! Frames for the tests of this folder: literal headers put around a payload, with the lengths filled in.

use super::{Decoded, Decoder, Link, Outcome, Packet};

/// 00:00:5e:00:53:02 to 00:00:5e:00:53:01 (RFC 7042 documentation addresses).
const MAC: [u8; 12] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x01, 0x00, 0x00, 0x5e, 0x00, 0x53, 0x02];

pub(super) const SRC4: [u8; 4] = [192, 0, 2, 1];
pub(super) const DST4: [u8; 4] = [198, 51, 100, 2];
pub(super) const SRC6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(super) const DST6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// `parts` one after the other.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&MAC, &kind.to_be_bytes(), payload])
}

/// From `SRC4` to `DST4`, identification 0x1234, don't fragment, TTL 63, a right checksum.
pub(super) fn ipv4(proto: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_fragment(proto, 0x4000, payload)
}

/// The same with these flags and fragment offset.
pub(super) fn ipv4_fragment(proto: u8, flags_offset: u16, payload: &[u8]) -> Vec<u8> {
    let [len_high, len_low] = (20 + payload.len() as u16).to_be_bytes();
    let [frag_high, frag_low] = flags_offset.to_be_bytes();
    let mut header = [
        0x45, 0, len_high, len_low, 0x12, 0x34, frag_high, frag_low, 63, proto, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    header[12..16].copy_from_slice(&SRC4);
    header[16..20].copy_from_slice(&DST4);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    join(&[&header, payload])
}

/// From `SRC6` to `DST6`, hop limit 62.
pub(super) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [len_high, len_low] = (payload.len() as u16).to_be_bytes();
    join(&[&[0x60, 0, 0, 0, len_high, len_low, next, 62], &SRC6, &DST6, payload])
}

pub(super) fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len() as u16;
    join(&[&src.to_be_bytes(), &dst.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload])
}

/// Sequence 0x01020304, acknowledgment 0x05060708, PSH ACK, window 0x2000.
pub(super) fn tcp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let rest = [1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0x20, 0x00, 0, 0, 0, 0];
    join(&[&src.to_be_bytes(), &dst.to_be_bytes(), &rest, payload])
}

/// What tests put into tunnels: IPv4, TCP from 40000 to 22, four bytes of payload.
pub(super) fn inner_ipv4() -> Vec<u8> {
    ipv4(6, &tcp(40000, 22, b"SSH-"))
}

/// The same over IPv6.
pub(super) fn inner_ipv6() -> Vec<u8> {
    ipv6(6, &tcp(40000, 22, b"SSH-"))
}

/// The same in an Ethernet frame.
pub(super) fn inner_ethernet() -> Vec<u8> {
    ethernet(0x0800, &inner_ipv4())
}

/// An ARP request in an Ethernet frame.
pub(super) fn arp() -> Vec<u8> {
    let request =
        [0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0x5e, 0, 0x53, 2, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9];
    ethernet(0x0806, &request)
}

/// Decodes one frame that was captured whole.
pub(super) fn decode(link: Link, frame: &[u8]) -> (Outcome, Vec<Packet>) {
    decode_cut(link, frame, frame.len())
}

/// Decodes one frame of which only the first `captured` bytes were captured.
pub(super) fn decode_cut(link: Link, frame: &[u8], captured: usize) -> (Outcome, Vec<Packet>) {
    let mut out = Decoded::default();
    let outcome = Decoder::default().decode(link, &frame[..captured], frame.len() as u32, 0, &mut out);
    (outcome, out.packets.to_vec())
}

/// The packets of an Ethernet frame around an IPv4 packet, which must have some.
pub(super) fn packets_of(ip: &[u8]) -> Vec<Packet> {
    packets_in(&ethernet(if ip[0] >> 4 == 6 { 0x86dd } else { 0x0800 }, ip))
}

/// The packets of an Ethernet frame, which must have some.
pub(super) fn packets_in(frame: &[u8]) -> Vec<Packet> {
    let (outcome, packets) = decode(Link::Ethernet, frame);
    assert_eq!(outcome, Outcome::Packets(packets.len()));
    packets
}

/// Names of the layers peeled.
pub(super) fn layers(packet: &Packet) -> Vec<&'static str> {
    packet.encap.iter().map(super::Layer::as_str).collect()
}

/// Asserts that `ip` yields exactly the packet of [`inner_ipv4`] or [`inner_ipv6`], through these layers.
pub(super) fn assert_only_inner(ip: &[u8], expected: &[&str]) -> Packet {
    let packets = packets_of(ip);
    assert_eq!(packets.len(), 1, "one inner packet, not {packets:?}");
    assert_inner(&packets[0], expected);
    packets[0]
}

/// Asserts that `packet` is that of [`inner_ipv4`] or [`inner_ipv6`], through these layers.
pub(super) fn assert_inner(packet: &Packet, expected: &[&str]) {
    assert_eq!((packet.proto, packet.src_port, packet.dst_port), (6, 40000, 22));
    assert_eq!((packet.payload_len, packet.payload_wire), (4, 4));
    assert!(
        packet.wire_len == 44 || packet.wire_len == 64,
        "IP length inside a tunnel, not {}",
        packet.wire_len
    );
    assert_eq!(layers(packet), expected);
}

/// Asserts that `ip` stays one packet of its outer header with nothing peeled.
pub(super) fn assert_plain(ip: &[u8], proto: u8) {
    let packets = packets_of(ip);
    assert_eq!(packets.len(), 1);
    assert_eq!((packets[0].proto, layers(&packets[0]).len()), (proto, 0), "{packets:?}");
}
