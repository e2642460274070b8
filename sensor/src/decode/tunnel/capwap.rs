//! CAPWAP data between wireless access points and their controller (RFC 5415). In: a UDP payload of its data port.
//! Out: the packets of the station's frame. Encrypted (DTLS), keep-alive and fragmented packets stay UDP packets.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::{Region, be32};
use super::super::{Context, Fit, Walk};
use super::NOT_THIS;

/// The first 32 bits (section 4.3): version, type, header length, radio, binding, flags.
mod field {
    /// Version 0 and, for a header in clear, type 0.
    pub(super) const VERSION_AND_TYPE: u32 = 0xff00_0000;
    /// The payload is a frame of the binding's own kind, else of IEEE 802.3.
    pub(super) const NATIVE: u32 = 0x0000_0100;
    pub(super) const FRAGMENT: u32 = 0x0000_0080;
    pub(super) const KEEP_ALIVE: u32 = 0x0000_0008;

    /// Length of the header in units of four bytes.
    pub(super) fn header_len(word: u32) -> usize {
        (word >> 19 & 0x1f) as usize * 4
    }

    /// Wireless binding identifier.
    pub(super) fn binding(word: u32) -> u32 {
        word >> 9 & 0x1f
    }
}

const MIN_HEADER: usize = 8;

/// IEEE 802.11 (RFC 5416).
const BINDING_80211: u32 = 1;

impl Walk<'_> {
    /// CAPWAP data.
    pub(super) fn capwap(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let word = be32(region.header::<MIN_HEADER>(Layer::Capwap)?, 0);
        let header_len = field::header_len(word);
        if word & (field::VERSION_AND_TYPE | field::FRAGMENT | field::KEEP_ALIVE) != 0
            || header_len < MIN_HEADER
        {
            return Err(NOT_THIS);
        }
        let inside = region.after(header_len, Layer::Capwap)?;
        carrier.open(Layer::Capwap)?;
        let ctx = Context::inside(carrier, Fit::Padded);
        match (word & field::NATIVE, field::binding(word)) {
            (0, _) => self.ethernet(inside, ctx),
            (_, BINDING_80211) => self.wlan(inside, ctx),
            _ => Err(NOT_THIS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;

    fn capwap(header: &[u8], payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(50000, 5247, &join(&[header, payload])))
    }

    #[test]
    fn an_802_3_payload_yields_the_stations_packet() {
        assert_only_inner(&capwap(&[0, 0x10, 0x02, 0, 0, 0, 0, 0], &inner_ethernet()), &["capwap"]);
    }

    #[test]
    fn an_802_11_payload_yields_the_stations_packet() {
        let snap = join(&[&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00], &inner_ipv4()]);
        let frame = join(&[&[0x08, 0x01, 0, 0], &[2; 18], &[0, 0], &snap]);
        // Header of 16 bytes with the radio's MAC address.
        let header = [0, 0x20, 0x43, 0x10, 0, 0, 0, 0, 6, 1, 2, 3, 4, 5, 6, 0];
        assert_only_inner(&capwap(&header, &frame), &["capwap"]);
    }

    #[test]
    fn encrypted_keep_alive_and_fragmented_packets_stay_udp_packets() {
        assert_plain(&capwap(&[1, 0, 0, 0, 0x17, 0xfe, 0xfd, 0], &inner_ethernet()), 17);
        assert_plain(&capwap(&[0, 0x10, 0x02, 0x08, 0, 0, 0, 0], &inner_ethernet()), 17);
        assert_plain(&capwap(&[0, 0x10, 0x02, 0x80, 0, 0, 0, 0], &inner_ethernet()), 17);
        assert_plain(&capwap(&[0, 0x08, 0x02, 0, 0, 0, 0, 0], &inner_ethernet()), 17);
    }
}
