//! GTP-U, the user plane of mobile networks (3GPP TS 29.281). In: a UDP payload of its port, or one that was proved to
//! be GTP-U. Out: the IP packet inside, or that of the Ethernet frame inside; messages without a packet (echo, error
//! indication, end marker) and packets of other kinds come out as their carrier.

use super::super::outcome::{Layer, Stop, Walked};
use super::super::packet::Packet;
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};
use super::{NO_PACKET, NOT_THIS, content};

const HEADER: usize = 8;

/// Sequence number, N-PDU number and type of the next extension header, present together if any flag is set.
const OPTIONAL: usize = 4;

/// Extension headers walked at most; 5G uses one or two.
const MAX_EXTENSIONS: usize = 8;

/// The first byte (section 5.1).
mod flag {
    /// Version and protocol type.
    pub(super) const VERSION_AND_TYPE: u8 = 0xf0;
    /// Version 1, GTP and not GTP'.
    pub(super) const GTP_1: u8 = 0x30;
    /// Extension header, sequence number or N-PDU number present.
    pub(super) const ANY_OPTIONAL: u8 = 0x07;
    /// Not used.
    pub(super) const SPARE: u8 = 0x08;
    /// Extension header present.
    pub(super) const EXTENSION: u8 = 0x04;
}

/// Message types (section 6.1).
mod message {
    /// Echo request and response, error indication, supported extension headers, tunnel status, end marker.
    pub(super) const WITHOUT_PACKET: [u8; 6] = [1, 2, 26, 31, 253, 254];
    pub(super) const G_PDU: u8 = 255;
}

impl Walk<'_> {
    /// GTP-U.
    pub(super) fn gtp(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Gtp)?;
        let flags = header[0];
        let len = usize::from(be16(header, 2));
        let mut inside = region.after(HEADER, Layer::Gtp)?;
        if flags & flag::VERSION_AND_TYPE != flag::GTP_1 || len > inside.wire() {
            return Err(NOT_THIS);
        }
        // Flags, type and a length that fits to the byte: 28 bits beside the port.
        let exact = len == inside.wire() && flags & flag::SPARE == 0;
        if exact && message::WITHOUT_PACKET.contains(&header[1]) {
            carrier.open(Layer::Gtp)?;
            return Err(NO_PACKET);
        }
        if header[1] != message::G_PDU {
            return Err(NOT_THIS);
        }
        inside = inside.of_length(len);
        if flags & flag::ANY_OPTIONAL != 0 {
            let mut next = inside.header::<OPTIONAL>(Layer::Gtp)?[3];
            inside = inside.after(OPTIONAL, Layer::Gtp)?;
            if flags & flag::EXTENSION == 0 {
                next = 0;
            }
            let mut left = MAX_EXTENSIONS;
            while next != 0 {
                if left == 0 {
                    return Err(NOT_THIS);
                }
                left -= 1;
                (next, inside) = behind_extension(inside)?;
            }
        }
        carrier.open(Layer::Gtp)?;
        let (bytes, wire) = (inside.captured(), inside.wire());
        let walked = if content::frame_fits(bytes, wire, 0) && !content::packet_fits(bytes, wire, 0) {
            self.ethernet(inside, Context::inside(carrier, Fit::Padded))
        } else {
            self.ip(inside, Context::inside(carrier, Fit::Exact))
        };
        match walked {
            // A session may be of unstructured data (TS 23.501 section 5.6.10.3).
            Err(Stop::Malformed(_)) if exact => Err(NO_PACKET),
            walked => walked,
        }
    }
}

/// The type of the next extension header and the region behind this one: length in units of four bytes, content, type
/// of the next.
fn behind_extension(inside: Region<'_>) -> Result<(u8, Region<'_>), Stop> {
    let len = usize::from(inside.header::<1>(Layer::Gtp)?[0]) * 4;
    let Some(last) = len.checked_sub(1) else { return Err(NOT_THIS) };
    let next = inside.after(last, Layer::Gtp)?.header::<1>(Layer::Gtp)?[0];
    Ok((next, inside.after(len, Layer::Gtp)?))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;

    /// `message` with the flags given; the length counts all behind the first eight bytes.
    fn gtp(flags: u8, message: u8, behind: &[u8]) -> Vec<u8> {
        let [high, low] = (behind.len() as u16).to_be_bytes();
        ipv4(17, &udp(2152, 2152, &join(&[&[flags, message, high, low, 0, 0, 0, 7], behind])))
    }

    #[test]
    fn a_packet_comes_out_whatever_the_optional_fields() {
        let packet = assert_only_inner(&gtp(0x30, 255, &inner_ipv4()), &["gtp"]);
        assert_eq!(packet.domain, 0, "a tunnel endpoint identifier differs by direction");
        assert_only_inner(&gtp(0x30, 255, &inner_ipv6()), &["gtp"]);
        assert_only_inner(&gtp(0x32, 255, &join(&[&[0, 1, 0, 0], &inner_ipv4()])), &["gtp"]);
        // Without the extension flag the fourth byte has no meaning.
        assert_only_inner(&gtp(0x31, 255, &join(&[&[0, 0, 5, 0x85], &inner_ipv4()])), &["gtp"]);
        let session_container = [0, 0, 0, 0x85, 1, 0x10, 0x05, 0xc0, 2, 1, 2, 3, 4, 5, 6, 0];
        assert_only_inner(&gtp(0x34, 255, &join(&[&session_container, &inner_ipv4()])), &["gtp"]);
    }

    fn assert_carrier(ip: &[u8]) {
        let packets = packets_of(ip);
        assert_eq!((packets.len(), packets[0].dst_port, layers(&packets[0])), (1, 2152, vec!["gtp"]));
    }

    #[test]
    fn messages_without_a_packet_come_out_as_their_carrier() {
        assert_carrier(&gtp(0x32, 1, &[0, 1, 0, 0]));
        assert_carrier(&gtp(0x32, 2, &[0, 1, 0, 0, 14, 0]));
        assert_carrier(&gtp(0x30, 26, &[16, 0, 0, 0, 7, 133, 0, 4, 192, 0, 2, 1]));
        assert_carrier(&gtp(0x30, 254, &[]));
    }

    #[test]
    fn a_session_of_frames_is_peeled_and_one_of_other_data_is_its_carrier() {
        assert_only_inner(&gtp(0x30, 255, &inner_ethernet()), &["gtp"]);
        assert_carrier(&gtp(0x30, 255, &[0x70, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]));
        assert_carrier(&gtp(0x30, 255, &join(&[&inner_ipv4(), &[0]])));
        assert_carrier(&gtp(0x30, 255, &inner_ipv4()[..43]));
    }

    #[test]
    fn other_messages_versions_and_lengths_stay_udp_packets() {
        assert_plain(&gtp(0x30, 77, &[0; 8]), 17);
        assert_plain(&gtp(0x38, 1, &[0; 4]), 17);
        let mut longer = gtp(0x32, 1, &[0, 1, 0, 0]);
        longer[31] -= 1;
        assert_plain(&longer, 17);
        assert_plain(&gtp(0x48, 255, &inner_ipv4()), 17);
        assert_plain(&gtp(0x20, 255, &inner_ipv4()), 17);
    }

    #[test]
    fn extension_headers_that_do_not_end_stay_udp_packets() {
        let endless = [&[0, 0, 0, 0x85][..], &[1, 0, 0, 0x85].repeat(20), &inner_ipv4()].concat();
        assert_plain(&gtp(0x34, 255, &endless), 17);
        assert_plain(&gtp(0x34, 255, &join(&[&[0, 0, 0, 0x85, 0, 0, 0, 0], &inner_ipv4()])), 17);
    }
}
