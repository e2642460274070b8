//! PPP: on its own link, in PPPoE, and inside tunnels. In: a region that begins with a PPPoE header, an HDLC-like
//! frame or a PPP protocol field. Out: the walk goes on at IP.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::region::{Region, be16};
use super::{Context, Walk};

const PPPOE_HEADER: usize = 6;

/// Version 1, type 1 (RFC 2516 section 4).
const PPPOE_VERSION_TYPE: u8 = 0x11;

/// Code of session data.
const PPPOE_SESSION_DATA: u8 = 0;

/// Address and control field of HDLC-like framing (RFC 1662 section 3.1).
const HDLC: [u8; 2] = [0xff, 0x03];

/// Addresses of Cisco's HDLC, unicast and multicast, which serial captures hold as well: an EtherType follows.
const CISCO_HDLC: [[u8; 2]; 2] = [[0x0f, 0x00], [0x8f, 0x00]];

/// PPP protocol numbers (IANA "PPP Numbers").
mod protocol {
    pub(super) const IPV4: u16 = 0x0021;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const COMPRESSED_LINK: u16 = 0x00fb;
    pub(super) const COMPRESSED: u16 = 0x00fd;
    pub(super) const ENCRYPTED_LINK: u16 = 0x0055;
    pub(super) const ENCRYPTED: u16 = 0x0053;
    pub(super) const MPLS: u16 = 0x0281;
    /// From here on protocols carry control, not data (RFC 1661 section 2).
    pub(super) const CONTROL: u16 = 0x4000;
}

impl Walk<'_> {
    /// A PPPoE session frame (RFC 2516).
    pub(super) fn pppoe(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let header = region.header::<PPPOE_HEADER>(Layer::Pppoe)?;
        if header[0] != PPPOE_VERSION_TYPE {
            return Err(Stop::malformed(Layer::Pppoe, Why::Version));
        }
        if header[1] != PPPOE_SESSION_DATA {
            return Err(Stop::Ignored(Ignored::PppoeDiscovery));
        }
        let len = usize::from(be16(header, 4));
        let region = region.after(PPPOE_HEADER, Layer::Pppoe)?;
        if len > region.wire() {
            return Err(Stop::malformed(Layer::Pppoe, Why::BeyondFrame));
        }
        self.ppp(region.of_length(len), ctx.entered(Layer::Pppoe)?)
    }

    /// A frame of a PPP link.
    pub(super) fn ppp_link(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let start = *region.header::<2>(Layer::Ppp)?;
        if CISCO_HDLC.contains(&start) {
            let header = region.header::<4>(Layer::Ppp)?;
            return self.ethertype(be16(header, 2), region.after(4, Layer::Ppp)?, ctx);
        }
        self.ppp(region, ctx)
    }

    /// A PPP protocol field, after an address and control field if there is one, and what follows.
    pub(super) fn ppp(&mut self, mut region: Region<'_>, ctx: Context) -> Walked {
        if region.peek::<2>() == Some(&HDLC) {
            region = region.after(2, Layer::Ppp)?;
        }
        let first = region.header::<1>(Layer::Ppp)?[0];
        // Protocol-field compression: only the last byte of a number is odd (RFC 1661 section 6.5).
        let (number, len) = if first & 1 != 0 {
            (u16::from(first), 1)
        } else {
            (u16::from_be_bytes(*region.header::<2>(Layer::Ppp)?), 2)
        };
        let region = region.after(len, Layer::Ppp)?;
        match number {
            protocol::IPV4 => self.ipv4(region, ctx),
            protocol::IPV6 => self.ipv6(region, ctx),
            protocol::MPLS => self.mpls(region, ctx),
            protocol::COMPRESSED
            | protocol::COMPRESSED_LINK
            | protocol::ENCRYPTED
            | protocol::ENCRYPTED_LINK => Err(Stop::Ignored(Ignored::Opaque)),
            protocol::CONTROL.. => Err(Stop::Ignored(Ignored::PppControl)),
            _ => Err(Stop::Ignored(Ignored::NonIp)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Link, Malformed, Outcome};
    use super::*;

    fn pppoe(header: [u8; 4], ppp: &[u8]) -> Vec<u8> {
        ethernet(0x8864, &join(&[&header, &(ppp.len() as u16).to_be_bytes(), ppp]))
    }

    const SESSION: [u8; 4] = [0x11, 0, 0, 7];

    #[test]
    fn a_session_yields_its_packet() {
        let packets = packets_in(&pppoe(SESSION, &join(&[&[0x00, 0x21], &inner_ipv4()])));
        assert_eq!(
            (packets[0].src_port, layers(&packets[0]), packets[0].wire_len),
            (40000, vec!["pppoe"], 66)
        );
        let packets = packets_in(&pppoe(SESSION, &join(&[&[0x57], &inner_ipv6()])));
        assert_eq!((packets[0].src_port, packets[0].payload_at), (40000, 14 + 6 + 1 + 60));
    }

    #[test]
    fn padding_behind_a_session_frame_is_no_payload() {
        let frame = join(&[&pppoe(SESSION, &join(&[&[0x00, 0x21], &inner_ipv4()])), &[0; 9]]);
        assert_eq!(packets_in(&frame)[0].payload_wire, 4);
    }

    #[test]
    fn control_compression_and_other_codes_are_ignored() {
        let ignored = |frame: &[u8]| decode(Link::Ethernet, frame).0;
        let control = Outcome::Ignored(Ignored::PppControl);
        assert_eq!(ignored(&pppoe(SESSION, &[0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0])), control);
        assert_eq!(ignored(&pppoe(SESSION, &[0x80, 0x21, 1, 1, 0, 4])), control);
        assert_eq!(ignored(&pppoe(SESSION, &[0x00, 0xfd, 0x10, 1])), Outcome::Ignored(Ignored::Opaque));
        assert_eq!(ignored(&pppoe(SESSION, &[0x00, 0x2d, 0x10, 1])), Outcome::Ignored(Ignored::NonIp));
        assert_eq!(ignored(&pppoe([0x11, 0xa7, 0, 7], &[])), Outcome::Ignored(Ignored::PppoeDiscovery));
    }

    #[test]
    fn a_wrong_version_or_length_is_malformed() {
        let malformed = |why| Outcome::Malformed(Malformed { layer: Layer::Pppoe, why });
        assert_eq!(decode(Link::Ethernet, &pppoe([0x21, 0, 0, 7], &[0, 0x21])).0, malformed(Why::Version));
        let mut frame = pppoe(SESSION, &join(&[&[0x00, 0x21], &inner_ipv4()]));
        frame[19] += 1;
        assert_eq!(decode(Link::Ethernet, &frame).0, malformed(Why::BeyondFrame));
    }
}
