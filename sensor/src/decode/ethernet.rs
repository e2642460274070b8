//! Ethernet II and IEEE 802.3, VLAN tags, LLC and SNAP. In: a region that begins with a MAC header, an EtherType or an
//! LLC header. Out: the walk goes on at IP, MPLS or PPPoE.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::region::{Region, be16};
use super::{Context, Walk};

const MAC_HEADER: usize = 14;

/// Values up to this are an IEEE 802.3 length, not an EtherType (IEEE 802.3 section 3.2.6).
const MAX_8023_LENGTH: u16 = 1500;

/// Tags of one Ethernet header walked at most.
const MAX_TAGS: usize = 4;

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
            if !matches!(kind, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD) {
                break;
            }
            let tag = region.header::<4>(Layer::Vlan)?;
            ctx = ctx.entered(Layer::Vlan)?.tagged(be16(tag, 0) & 0x0fff);
            kind = be16(tag, 2);
            region = region.after(4, Layer::Vlan)?;
        }
        let ignored = match kind {
            ethertype::IPV4 => return self.ipv4(region, ctx),
            ethertype::IPV6 => return self.ipv6(region, ctx),
            ethertype::MPLS | ethertype::MPLS_MULTICAST => return self.mpls(region, ctx),
            ethertype::PPPOE_SESSION => return self.pppoe(region, ctx),
            0..=MAX_8023_LENGTH => {
                if usize::from(kind) > region.wire() {
                    return Err(Stop::malformed(Layer::Ethernet, Why::BeyondFrame));
                }
                return self.llc(region.of_length(kind.into()), ctx);
            }
            ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => Ignored::TooDeep,
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
        length => length >= 3 && length <= MAX_8023_LENGTH && usize::from(length) <= payload,
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
