//! The frames that most are: Ethernet with one VLAN tag or none, an IPv4 packet without options that is whole, TCP or UDP that is no
//! tunnel, all headers captured.
//!
//! In: a frame. Out: the packet that the walk down the layers would find, at a third of its price; or nothing, and the walk has
//! to be taken. Whatever is odd is the walk's: here it is only recognised as odd.

use super::encap::Encap;
use super::ethernet::ethertype;
use super::outcome::Layer;
use super::packet::{Addrs, Packet, proto};
use super::region::{be16, be32};
use super::tunnel::Guess;

const ETHERNET: usize = 14;
const TAGGED: usize = ETHERNET + 4;
const IPV4: usize = 20;
const TCP: usize = 20;
const UDP: usize = 8;
/// Version 4, five words.
const NO_OPTIONS: u8 = 0x45;
/// More fragments, and the offset.
const FRAGMENT: u16 = 0x3FFF;

/// The only packet of `frame`, which had `wire_len` bytes, at least those that were captured.
#[inline(always)]
pub(super) fn plain(frame: &[u8], wire_len: u32) -> Option<Packet> {
    let mac = frame.first_chunk::<TAGGED>()?;
    match be16(mac, 12) {
        ethertype::IPV4 => whole::<ETHERNET>(frame, wire_len, Encap::NONE, 0),
        ethertype::VLAN if be16(mac, 16) == ethertype::IPV4 => {
            let encap = Encap::NONE.with(Layer::Vlan)?;
            whole::<TAGGED>(frame, wire_len, encap, be16(mac, 14) & 0x0FFF)
        }
        _ => None,
    }
}

#[inline(always)]
fn whole<const AT: usize>(frame: &[u8], wire_len: u32, encap: Encap, vlan: u16) -> Option<Packet> {
    let ip = frame.get(AT..)?.first_chunk::<{ IPV4 + UDP }>()?;
    let total = usize::from(be16(ip, 2));
    if ip[0] != NO_OPTIONS || be16(ip, 6) & FRAGMENT != 0 || AT + total > wire_len as usize {
        return None;
    }
    let mut packet = Packet {
        addrs: Addrs::V4 { src: [ip[12], ip[13], ip[14], ip[15]], dst: [ip[16], ip[17], ip[18], ip[19]] },
        proto: ip[9],
        src_port: be16(ip, IPV4),
        dst_port: be16(ip, IPV4 + 2),
        wire_len,
        ip_id: be16(ip, 4),
        ttl: ip[8],
        ip_flags: ip[6] >> 5,
        l4_at: (AT + IPV4) as u32,
        encap,
        vlan: [vlan, 0],
        ..Packet::EMPTY
    };
    // How long the header is, and where the transport's part of the packet ends.
    let (header, end) = match ip[9] {
        proto::TCP => {
            let tcp = frame.get(AT + IPV4..)?.first_chunk::<TCP>()?;
            packet.seq = be32(tcp, 4);
            packet.ack = be32(tcp, 8);
            packet.tcp_flags = tcp[13];
            packet.window = be16(tcp, 14);
            let header = usize::from(tcp[12] >> 4) * 4;
            if header < TCP {
                return None;
            }
            (header, total)
        }
        proto::UDP => {
            let len = usize::from(be16(ip, IPV4 + 4));
            if len < UDP || IPV4 + len > total || Guess::by_port(packet.src_port, packet.dst_port).is_some() {
                return None;
            }
            if frame.get(AT + IPV4 + UDP).is_some_and(|first| Guess::may_open(*first)) {
                let end = frame.len().min(AT + IPV4 + len);
                let payload = frame.get(AT + IPV4 + UDP..end).unwrap_or_default();
                if Guess::by_content(payload, len - UDP).is_some() {
                    return None;
                }
            }
            (UDP, IPV4 + len)
        }
        _ => return None,
    };
    let payload_at = AT + IPV4 + header;
    packet.payload_at = payload_at as u32;
    packet.payload_wire = (AT + end).checked_sub(payload_at)? as u32;
    packet.payload_len = frame.len().min(AT + end).saturating_sub(payload_at) as u32;
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Decoded, Decoder, Link, Outcome};
    use super::*;

    /// Whether the short way was taken; if so, the long one found the same.
    fn agrees(frame: &[u8], wire_len: u32) -> bool {
        let Some(packet) = plain(frame, wire_len.max(frame.len() as u32)) else { return false };
        let mut out = Decoded::default();
        let outcome = Decoder::default().decode(Link::Ethernet, frame, wire_len, 0, &mut out);
        assert_eq!(outcome, Outcome::Packets(1), "{frame:02x?} of {wire_len}");
        assert_eq!(out.packets[..], [packet], "{frame:02x?} of {wire_len}");
        true
    }

    fn frames() -> Vec<Vec<u8>> {
        let tcp = join(&[
            &[0x01, 0xBB, 0xC0, 1, 0, 0, 0, 7, 0, 0, 0, 9, 0x60, 0x18, 1, 2, 0, 0, 0, 0],
            &[1; 4],
            b"data",
        ]);
        let packets =
            [ipv4(6, &tcp), ipv4(17, &udp(5353, 53, b"query")), ipv4(17, &udp(50_000, 4_789, &inner_ipv4()))];
        let mut all = Vec::new();
        for packet in packets {
            all.push(join(&[&[2; 12], &[8, 0], &packet]));
            all.push(join(&[&[2; 12], &[0x81, 0, 0x20, 7, 8, 0], &packet, &[0; 6]]));
        }
        all
    }

    #[test]
    fn ordinary_frames_take_the_short_way_and_tunnels_do_not() {
        let taken: Vec<bool> = frames().iter().map(|f| agrees(f, 0)).collect();
        assert_eq!(taken, [true, true, true, true, false, false]);
    }

    #[test]
    fn whatever_the_bytes_say_the_short_way_finds_what_the_long_one_finds() {
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut roll = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize
        };
        let frames = frames();
        let mut taken = 0;
        for _ in 0..200_000 {
            let mut frame = frames[roll() % frames.len()].clone();
            for _ in 0..1 + roll() % 3 {
                // Mostly headers.
                let at = 12 + roll() % (frame.len() - 12);
                frame[at] = [0, 1, 0x45, 0x46, 0xFF, frame[at] ^ 1, roll() as u8][roll() % 7];
            }
            let whole = frame.len() as u32;
            if roll() % 4 == 0 {
                frame.truncate(roll() % (frame.len() + 1));
            }
            let wire_len = [0, whole, whole + (roll() % 20) as u32, 60, 1_514][roll() % 5];
            taken += u32::from(agrees(&frame, wire_len));
        }
        assert!(taken > 40_000, "{taken}");
    }
}
