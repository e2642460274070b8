//! GTP-U, the user plane of mobile networks (3GPP TS 29.281). In: a UDP payload of its port. Out: the IP packet inside.
//! Control messages (echo, error indication, end marker) and GTP-C have no packet inside and stay UDP packets.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};
use super::NOT_THIS;

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
    /// Extension header present.
    pub(super) const EXTENSION: u8 = 0x04;
}

/// The message that carries a packet (section 7.1).
const G_PDU: u8 = 255;

impl Walk<'_> {
    /// GTP-U.
    pub(super) fn gtp(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Gtp)?;
        let flags = header[0];
        let len = usize::from(be16(header, 2));
        let mut inside = region.after(HEADER, Layer::Gtp)?;
        if flags & flag::VERSION_AND_TYPE != flag::GTP_1 || header[1] != G_PDU || len > inside.wire() {
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
        self.ip(inside, Context::inside(carrier, Fit::Exact))
    }
}

/// The type of the next extension header and the region behind this one: length in units of four bytes, content, type
/// of the next.
fn behind_extension(inside: Region<'_>) -> Result<(u8, Region<'_>), super::Stop> {
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

    #[test]
    fn control_messages_and_other_versions_stay_udp_packets() {
        assert_plain(&gtp(0x32, 1, &[0, 1, 0, 0]), 17);
        assert_plain(&gtp(0x30, 26, &inner_ipv4()), 17);
        assert_plain(&gtp(0x48, 255, &inner_ipv4()), 17);
        assert_plain(&gtp(0x20, 255, &inner_ipv4()), 17);
    }

    #[test]
    fn lengths_that_do_not_fit_stay_udp_packets() {
        assert_plain(&gtp(0x30, 255, &join(&[&inner_ipv4(), &[0]])), 17);
        assert_plain(&gtp(0x30, 255, &inner_ipv4()[..43]), 17);
        let endless = [&[0, 0, 0, 0x85][..], &[1, 0, 0, 0x85].repeat(20), &inner_ipv4()].concat();
        assert_plain(&gtp(0x34, 255, &endless), 17);
        assert_plain(&gtp(0x34, 255, &join(&[&[0, 0, 0, 0x85, 0, 0, 0, 0], &inner_ipv4()])), 17);
    }
}
