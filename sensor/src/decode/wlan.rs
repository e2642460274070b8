//! IEEE 802.11 data frames as wireless tunnels carry them, without radio header and check sequence. In: a region that
//! begins with the frame control field. Out: the packets inside, several if frames were aggregated.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::region::{Region, be16};
use super::{Context, Walk};

/// Frame control up to the sequence control field.
const HEADER: usize = 24;
const FOURTH_ADDRESS: usize = 6;
const QOS_CONTROL: usize = 2;
const HT_CONTROL: usize = 4;

/// The first byte of frame control: version 0 and type data in the low four bits, subtype above (IEEE 802.11 section
/// 9.2.4.1).
mod kind {
    pub(super) const VERSION_AND_TYPE: u8 = 0x0f;
    pub(super) const DATA: u8 = 0x08;
    pub(super) const QOS: u8 = 0x80;
    pub(super) const NO_DATA: u8 = 0x40;
}

/// The second byte of frame control.
mod flag {
    pub(super) const TO_AND_FROM_DS: u8 = 0x03;
    pub(super) const PROTECTED: u8 = 0x40;
    pub(super) const ORDER: u8 = 0x80;
}

/// Bit of the QoS control field: the payload is several frames.
const AGGREGATED: u8 = 0x80;

/// Addresses and length before each of them.
const SUBFRAME_HEADER: usize = 14;

impl Walk<'_> {
    /// An 802.11 frame.
    pub(super) fn wlan(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let [first, second] = *region.header::<2>(Layer::Wlan)?;
        // Cisco's access points send frame control with its bytes exchanged.
        let is_data = |byte: u8| byte & kind::VERSION_AND_TYPE == kind::DATA;
        let [control, flags] =
            if is_data(first) || !is_data(second) { [first, second] } else { [second, first] };
        if !is_data(control) || control & kind::NO_DATA != 0 {
            return Err(Stop::Ignored(Ignored::Wlan));
        }
        if flags & flag::PROTECTED != 0 {
            return Err(Stop::Ignored(Ignored::Opaque));
        }
        let mut len = HEADER;
        if flags & flag::TO_AND_FROM_DS == flag::TO_AND_FROM_DS {
            len += FOURTH_ADDRESS;
        }
        let mut aggregated = false;
        if control & kind::QOS != 0 {
            aggregated =
                region.after(len, Layer::Wlan)?.header::<QOS_CONTROL>(Layer::Wlan)?[0] & AGGREGATED != 0;
            len += QOS_CONTROL;
            if flags & flag::ORDER != 0 {
                len += HT_CONTROL;
            }
        }
        let payload = region.after(len, Layer::Wlan)?;
        if aggregated { self.subframes(payload, ctx) } else { self.llc(payload, ctx) }
    }

    /// Aggregated frames, each padded to four bytes; what comes out of the first ones counts even if a later one is
    /// broken.
    fn subframes(&mut self, payload: Region<'_>, ctx: Context) -> Walked {
        let mut rest = payload;
        let mut result = Err(Stop::malformed(Layer::Wlan, Why::TooShort));
        while let Ok(header) = rest.header::<SUBFRAME_HEADER>(Layer::Wlan) {
            let len = usize::from(be16(header, 12));
            let frame = rest.after(SUBFRAME_HEADER, Layer::Wlan)?;
            if len == 0 || len > frame.wire() {
                break;
            }
            let walked = self.llc(frame.of_length(len), ctx);
            if result.is_err() {
                result = walked;
            }
            match rest.after((SUBFRAME_HEADER + len).next_multiple_of(4), Layer::Wlan) {
                Ok(next) => rest = next,
                Err(_) => break,
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Link, Malformed, Outcome};
    use super::*;

    /// In Aruba's GRE.
    fn wlan(frame: &[u8]) -> Vec<u8> {
        ipv4(47, &join(&[&[0, 0, 0x82, 0x00], frame]))
    }

    fn snap() -> Vec<u8> {
        join(&[&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00], &inner_ipv4()])
    }

    /// Duration, three addresses, sequence control.
    const REST: [u8; 22] = [2; 22];

    #[test]
    fn headers_of_every_length_are_stepped_over() {
        assert_only_inner(&wlan(&join(&[&[0x08, 0x01], &REST, &snap()])), &["gre"]);
        assert_only_inner(&wlan(&join(&[&[0x88, 0x02], &REST, &[0, 0], &snap()])), &["gre"]);
        assert_only_inner(&wlan(&join(&[&[0x08, 0x03], &REST, &[4; 6], &snap()])), &["gre"]);
        assert_only_inner(
            &wlan(&join(&[&[0x88, 0x83], &REST, &[4; 6], &[0, 0], &[0; 4], &snap()])),
            &["gre"],
        );
        // Frame control with its bytes exchanged.
        assert_only_inner(&wlan(&join(&[&[0x01, 0x08], &REST, &snap()])), &["gre"]);
    }

    #[test]
    fn every_frame_of_an_aggregate_comes_out() {
        let snap = snap();
        let subframe = join(&[&[2; 12], &(snap.len() as u16).to_be_bytes(), &snap, &[0; 2]]);
        assert_eq!(subframe.len() % 4, 0);
        let packets = packets_of(&wlan(&join(&[&[0x88, 0x02], &REST, &[0x80, 0], &subframe, &subframe])));
        assert_eq!(packets.len(), 2);
        packets.iter().for_each(|packet| assert_inner(packet, &["gre"]));
    }

    #[test]
    fn encrypted_and_empty_frames_come_out_as_their_carrier() {
        for frame in [[0x08, 0x41], [0x48, 0x01], [0x80, 0x00]] {
            let packets = packets_of(&wlan(&join(&[&frame, &REST, &snap()])));
            assert_eq!((packets.len(), packets[0].proto), (1, 47), "frame control {frame:x?}");
        }
    }

    #[test]
    fn a_short_header_is_malformed() {
        let (outcome, _) = decode(Link::RawIp, &wlan(&[0x08, 0x01, 0, 0]));
        assert_eq!(outcome, Outcome::Malformed(Malformed { layer: Layer::Wlan, why: Why::TooShort }));
    }
}
