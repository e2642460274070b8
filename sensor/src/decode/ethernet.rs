//! Ethernet II and IEEE 802.3, VLAN tags, LLC and SNAP. In: a region that begins with a MAC header, an EtherType or an
//! LLC header. Out: the walk goes on at IP, MPLS or PPPoE.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::region::{Region, be16};
use super::{Context, Fit, Walk};

const MAC_HEADER: usize = 14;

/// Values up to this are an IEEE 802.3 length, not an EtherType (IEEE 802.3 section 3.2.6).
pub(super) const MAX_8023_LENGTH: u16 = 1500;

/// The shortest LLC header.
const LLC_MIN: u16 = 3;

/// Tags of one Ethernet header walked at most.
const MAX_TAGS: usize = 4;

/// Direction and virtual interfaces, then the EtherType.
const VNTAG: usize = 6;

/// The service instance in front of the customer's frame (IEEE 802.1Q section 9.7).
const PBB_TAG: usize = 4;

/// Forwarding tag and hop count in front of the host's frame.
const FABRIC_PATH_TAG: usize = 2;

/// EtherTypes (IEEE registry; IANA "IEEE 802 Numbers").
pub(super) mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const TRANSPARENT_ETHERNET: u16 = 0x6558;
    pub(crate) const RARP: u16 = 0x8035;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const IPV6: u16 = 0x86dd;
    pub(crate) const FLOW_CONTROL: u16 = 0x8808;
    pub(crate) const SLOW_PROTOCOLS: u16 = 0x8809;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_MULTICAST: u16 = 0x8848;
    pub(crate) const PPPOE_DISCOVERY: u16 = 0x8863;
    pub(crate) const PPPOE_SESSION: u16 = 0x8864;
    pub(crate) const EAPOL: u16 = 0x888e;
    pub(crate) const QINQ: u16 = 0x88a8;
    pub(crate) const PBB: u16 = 0x88e7;
    pub(crate) const FABRIC_PATH: u16 = 0x8903;
    pub(crate) const VNTAG: u16 = 0x8926;
    pub(crate) const LLDP: u16 = 0x88cc;
    pub(crate) const MACSEC: u16 = 0x88e5;
    pub(crate) const CFM: u16 = 0x8902;
    pub(crate) const LOOPBACK: u16 = 0x9000;
    /// The tag of stacked VLANs before IEEE 802.1ad, still configured on switches.
    pub(crate) const QINQ_OLD: u16 = 0x9100;
}

/// LLC service access points (IEEE 802.2), destination and source.
mod sap {
    pub(super) const SNAP: [u8; 2] = [0xaa, 0xaa];
    pub(super) const SPANNING_TREE: [u8; 2] = [0x42, 0x42];
    pub(super) const IP: [u8; 2] = [0x06, 0x06];
}

/// Unnumbered information, the control field of LLC datagrams.
const LLC_UI: u8 = 0x03;

impl Walk<'_> {
    /// A MAC header and what follows.
    #[inline]
    pub(super) fn ethernet(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let header = region.header::<MAC_HEADER>(Layer::Ethernet)?;
        let rest = region.after(MAC_HEADER, Layer::Ethernet)?;
        match be16(header, 12) {
            ethertype::IPV4 => self.ipv4(rest, ctx),
            kind => self.ethertype(kind, rest, ctx),
        }
    }

    /// What follows an EtherType or 802.3 length field.
    pub(super) fn ethertype(&mut self, mut kind: u16, mut region: Region<'_>, mut ctx: Context) -> Walked {
        for _ in 0..MAX_TAGS {
            match kind {
                ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => {
                    let tag = region.header::<4>(Layer::Vlan)?;
                    ctx = ctx.entered(Layer::Vlan)?.tagged(be16(tag, 0) & 0x0fff);
                    kind = be16(tag, 2);
                    region = region.after(4, Layer::Vlan)?;
                }
                ethertype::VNTAG => {
                    ctx = ctx.entered(Layer::Vntag)?;
                    kind = be16(region.header::<VNTAG>(Layer::Vntag)?, 4);
                    region = region.after(VNTAG, Layer::Vntag)?;
                }
                _ => break,
            }
        }
        let ignored = match kind {
            ethertype::IPV4 => return self.ipv4(region, ctx),
            ethertype::IPV6 => return self.ipv6(region, ctx),
            ethertype::MPLS | ethertype::MPLS_MULTICAST => return self.mpls(region, ctx),
            ethertype::PPPOE_SESSION => return self.pppoe(region, ctx),
            ethertype::PBB => {
                return self.ethernet(region.after(PBB_TAG, Layer::Pbb)?, ctx.entered(Layer::Pbb)?);
            }
            ethertype::FABRIC_PATH => {
                let ctx = ctx.entered(Layer::FabricPath)?;
                return self.ethernet(region.after(FABRIC_PATH_TAG, Layer::FabricPath)?, ctx);
            }
            0..=MAX_8023_LENGTH => {
                if usize::from(kind) > region.wire() && !matches!(ctx.fit, Fit::Mirror | Fit::MaybeMirror) {
                    return Err(Stop::malformed(Layer::Ethernet, Why::BeyondFrame));
                }
                return self.llc(region.of_length(kind.into()), ctx);
            }
            ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD | ethertype::VNTAG => Ignored::TooDeep,
            ethertype::ARP | ethertype::RARP => Ignored::Arp,
            ethertype::LLDP => Ignored::Lldp,
            ethertype::PPPOE_DISCOVERY => Ignored::PppoeDiscovery,
            ethertype::MACSEC => Ignored::Opaque,
            ethertype::FLOW_CONTROL
            | ethertype::SLOW_PROTOCOLS
            | ethertype::EAPOL
            | ethertype::CFM
            | ethertype::LOOPBACK => Ignored::LinkControl,
            _ => Ignored::NonIp,
        };
        Err(Stop::Ignored(ignored))
    }

    /// An LLC header (IEEE 802.2), with SNAP or without.
    pub(super) fn llc(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let [dsap, ssap, control] = *region.header::<3>(Layer::Llc)?;
        match ([dsap, ssap], control) {
            (sap::SNAP, LLC_UI) => {
                let header = region.header::<8>(Layer::Llc)?;
                let kind = be16(header, 6);
                // A length instead of an EtherType here would let LLC nest without end.
                if header[3..6] != [0; 3] || kind <= MAX_8023_LENGTH {
                    return Err(Stop::Ignored(Ignored::Llc));
                }
                self.ethertype(kind, region.after(8, Layer::Llc)?, ctx)
            }
            (sap::IP, LLC_UI) => self.ipv4(region.after(3, Layer::Llc)?, ctx),
            (sap::SPANNING_TREE, _) => Err(Stop::Ignored(Ignored::Stp)),
            _ => Err(Stop::Ignored(Ignored::Llc)),
        }
    }
}

/// Whether `region` may begin with a MAC header, where nothing else says so: by an EtherType that such payloads have.
pub(super) fn looks_like_ethernet(region: Region<'_>) -> bool {
    use ethertype::{
        ARP, EAPOL, IPV4, IPV6, LLDP, LOOPBACK, MPLS, PPPOE_DISCOVERY, PPPOE_SESSION, QINQ, QINQ_OLD, VLAN,
    };
    let Some(header) = region.peek::<MAC_HEADER>() else { return false };
    let payload = region.wire() - MAC_HEADER;
    match be16(header, 12) {
        IPV4 | IPV6 | ARP | VLAN | QINQ | QINQ_OLD | MPLS | PPPOE_DISCOVERY | PPPOE_SESSION | EAPOL
        | LLDP | LOOPBACK => true,
        length => (LLC_MIN..=MAX_8023_LENGTH).contains(&length) && usize::from(length) <= payload,
    }
}

impl Context {
    fn tagged(mut self, vid: u16) -> Self {
        // A priority tag (VID 0) is a tag but no VLAN.
        if let Some(free) = self.vlan.iter_mut().find(|v| **v == 0) {
            *free = vid;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Link, Malformed, Outcome};
    use super::*;

    fn ignored(frame: &[u8]) -> Ignored {
        match decode(Link::Ethernet, frame).0 {
            Outcome::Ignored(ignored) => ignored,
            other => panic!("expected an ignored frame, got {other:?}"),
        }
    }

    #[test]
    fn tags_are_kept_outermost_first() {
        let stacked = join(&[&[0x00, 0x64, 0x81, 0x00, 0x20, 0x07, 0x08, 0x00], &inner_ipv4()]);
        for kind in [0x88a8, 0x9100, 0x8100] {
            let packets = packets_in(&ethernet(kind, &stacked));
            assert_eq!((packets[0].vlan, layers(&packets[0])), ([100, 7], vec!["vlan", "vlan"]));
            assert_eq!(
                packets[0].wire_len,
                14 + 8 + 44,
                "a tag is no tunnel: the frame's length is accounted"
            );
        }
        let priority = join(&[&[0xe0, 0x00, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00], &inner_ipv4()]);
        assert_eq!(packets_in(&ethernet(0x8100, &priority))[0].vlan, [7, 0]);
    }

    #[test]
    fn four_tags_are_walked_and_five_are_too_deep() {
        let tags = |n: usize| {
            ethernet(0x8100, &join(&[&[0, 5, 0x81, 0].repeat(n - 1), &[0, 5, 8, 0], &inner_ipv4()]))
        };
        assert_eq!(packets_in(&tags(4))[0].encap.len(), 4);
        assert_eq!(ignored(&tags(5)), Ignored::TooDeep);
    }

    #[test]
    fn ethernet_padding_is_no_payload() {
        let (outcome, packets) = decode(Link::Ethernet, &ethernet(0x0800, &join(&[&inner_ipv4(), &[0; 32]])));
        assert_eq!(outcome, Outcome::Packets(1));
        assert_eq!((packets[0].payload_len, packets[0].payload_wire, packets[0].wire_len), (4, 4, 90));
    }

    #[test]
    fn ip_in_llc_and_snap_is_found() {
        let snap = join(&[&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00], &inner_ipv4()]);
        let packets = packets_in(&ethernet(snap.len() as u16, &join(&[&snap, &[0; 20]])));
        assert_eq!((packets[0].src_port, packets[0].payload_at), (40000, 14 + 8 + 40));
        let llc = join(&[&[0x06, 0x06, 0x03], &inner_ipv4()]);
        assert_eq!(packets_in(&ethernet(llc.len() as u16, &llc))[0].src_port, 40000);
    }

    #[test]
    fn switch_and_wlan_tags_of_vendors_are_stepped_over() {
        let vntag = join(&[&[0x40, 0, 0x80, 0, 0x08, 0x00], &inner_ipv4()]);
        assert_eq!(layers(&packets_in(&ethernet(0x8926, &vntag))[0]), ["vntag"]);
        let backbone = join(&[&[0, 0, 1, 0], &inner_ethernet()]);
        assert_eq!(layers(&packets_in(&ethernet(0x88e7, &backbone))[0]), ["pbb"]);
        let fabric = join(&[&[0x04, 0x20], &inner_ethernet()]);
        assert_eq!(layers(&packets_in(&ethernet(0x8903, &fabric))[0]), ["fabricpath"]);
    }

    #[test]
    fn what_is_no_ip_is_counted_by_kind() {
        assert_eq!(ignored(&arp()), Ignored::Arp);
        assert_eq!(ignored(&ethernet(0x88cc, &[2, 7, 4])), Ignored::Lldp);
        assert_eq!(ignored(&ethernet(0x888e, &[1, 0])), Ignored::LinkControl);
        assert_eq!(ignored(&ethernet(0x88e5, &[0; 20])), Ignored::Opaque);
        assert_eq!(ignored(&ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0])), Ignored::PppoeDiscovery);
        assert_eq!(ignored(&ethernet(0x1234, &[0; 46])), Ignored::NonIp);
        assert_eq!(ignored(&ethernet(38, &[0x42; 38])), Ignored::Stp);
        let cdp = join(&[&[0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x00], &[0; 8]]);
        assert_eq!(ignored(&ethernet(16, &cdp)), Ignored::Llc);
    }

    #[test]
    fn llc_does_not_nest() {
        let nested = [0xaa, 0xaa, 0x03, 0, 0, 0, 0x01, 0x00].repeat(100);
        assert_eq!(ignored(&ethernet(800, &nested)), Ignored::Llc);
    }

    #[test]
    fn an_802_3_length_beyond_the_frame_is_malformed() {
        let malformed = |why| Outcome::Malformed(Malformed { layer: Layer::Ethernet, why });
        assert_eq!(decode(Link::Ethernet, &ethernet(47, &[0x42; 46])).0, malformed(Why::BeyondFrame));
    }

    #[test]
    fn a_cut_tag_is_not_malformed_unless_the_frame_ends_there() {
        let frame = ethernet(0x8100, &join(&[&[0, 5, 8, 0], &inner_ipv4()]));
        assert_eq!(decode_cut(Link::Ethernet, &frame, 16).0, Outcome::Ignored(Ignored::Snaplen));
        let malformed = Outcome::Malformed(Malformed { layer: Layer::Vlan, why: Why::TooShort });
        assert_eq!(decode(Link::Ethernet, &frame[..16]).0, malformed);
    }
}
