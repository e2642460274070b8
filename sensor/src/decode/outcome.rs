//! What became of a frame. In: the end of a walk down its layers. Out: an [`Outcome`] whose reasons are fieldless
//! enums, so that the sensor counts them in arrays and every frame is in exactly one counter.

/// Declares a fieldless enum together with the names its counters are reported under.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are: the length of an array of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// The name counters and records use.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Index into an array of [`Self::COUNT`] counters.
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

named! {
    /// A protocol layer: where a malformed frame went wrong, or what was peeled ([`super::Encap`]).
    pub enum Layer {
        /// Ethernet II or IEEE 802.3.
        Ethernet = "ethernet",
        /// IEEE 802.2 LLC with or without SNAP.
        Llc = "llc",
        /// Linux cooked capture, version 1.
        Sll = "sll",
        /// Linux cooked capture, version 2.
        Sll2 = "sll2",
        /// BSD null or loopback header.
        Null = "null",
        /// IEEE 802.1Q or 802.1ad tag.
        Vlan = "vlan",
        /// VN-Tag of Cisco's fabric extenders (0x8926).
        Vntag = "vntag",
        /// Provider backbone bridging, IEEE 802.1ah.
        Pbb = "pbb",
        /// Cisco FabricPath.
        FabricPath = "fabricpath",
        /// MPLS label stack (RFC 3032).
        Mpls = "mpls",
        /// PPPoE session (RFC 2516).
        Pppoe = "pppoe",
        /// PPP (RFC 1661).
        Ppp = "ppp",
        /// IEEE 802.11 data frame.
        Wlan = "wlan",
        /// IPv4 (RFC 791).
        Ipv4 = "ipv4",
        /// IPv6 (RFC 8200).
        Ipv6 = "ipv6",
        /// IPv6 extension header.
        Ipv6Extension = "ipv6_extension",
        /// IPv4 or IPv6 fragment.
        Fragment = "fragment",
        /// IP Authentication Header (RFC 4302).
        Ah = "ah",
        /// IP Encapsulating Security Payload (RFC 4303).
        Esp = "esp",
        /// TCP (RFC 9293).
        Tcp = "tcp",
        /// UDP (RFC 768).
        Udp = "udp",
        /// ICMP (RFC 792).
        Icmp = "icmp",
        /// ICMPv6 (RFC 4443).
        Icmpv6 = "icmpv6",
        /// SCTP (RFC 9260).
        Sctp = "sctp",
        /// GRE (RFC 2784, 2890, 1701).
        Gre = "gre",
        /// NVGRE (RFC 7637).
        Nvgre = "nvgre",
        /// MikroTik Ethernet over IP.
        Eoip = "eoip",
        /// ERSPAN I, II or III (draft-foschiano-erspan).
        Erspan = "erspan",
        /// PPTP's enhanced GRE (RFC 2637).
        Pptp = "pptp",
        /// VXLAN or VXLAN-GPE (RFC 7348).
        Vxlan = "vxlan",
        /// Geneve (RFC 8926).
        Geneve = "geneve",
        /// GTP-U (3GPP TS 29.281).
        Gtp = "gtp",
        /// IP in IP, any pair of versions (RFC 2003, 2473, 4213).
        Ipip = "ipip",
        /// Teredo (RFC 4380).
        Teredo = "teredo",
        /// L2TPv2 data (RFC 2661) or L2TPv3 data (RFC 3931).
        L2tp = "l2tp",
        /// CAPWAP data (RFC 5415).
        Capwap = "capwap",
        /// LISP data (RFC 9300).
        Lisp = "lisp",
        /// AYIYA (draft-massar-v6ops-ayiya).
        Ayiya = "ayiya",
    }
}

named! {
    /// Why a frame is malformed.
    pub enum Why {
        /// The layer ends on the wire before its header does.
        TooShort = "too_short",
        /// A version field has a value the layer does not know.
        Version = "version",
        /// A header-length field is below the minimum or beyond the layer's bytes.
        HeaderLength = "header_length",
        /// A length field is smaller than the header it includes, or does not fit the tunnel that carries it.
        Length = "length",
        /// A length field claims more bytes than were on the wire.
        BeyondFrame = "beyond_frame",
        /// A label stack, option list or extension chain does not end.
        Endless = "endless",
        /// A fragment that would make a datagram of more than 65,535 bytes.
        Overlarge = "overlarge",
        /// A fragment other than the last one whose length is no multiple of eight.
        Misaligned = "misaligned",
        /// Fragments that disagree about where their datagram ends.
        Contradiction = "contradiction",
        /// A datagram in more pieces than any link makes, or more than the store has room for.
        TooManyPieces = "too_many_pieces",
    }
}

named! {
    /// Why a well-formed frame holds nothing to track.
    pub enum Ignored {
        /// The capture's link type is not decoded.
        UnsupportedLink = "unsupported_link",
        /// ARP or RARP.
        Arp = "arp",
        /// LLDP.
        Lldp = "lldp",
        /// Spanning tree.
        Stp = "stp",
        /// Any other LLC protocol (CDP, VTP, IS-IS, NetBEUI, IPX…).
        Llc = "llc",
        /// IEEE 802.1X, 802.3 slow protocols, flow control, connectivity management.
        LinkControl = "link_control",
        /// PPPoE discovery.
        PppoeDiscovery = "pppoe_discovery",
        /// A PPP control protocol (LCP, IPCP, PAP, CHAP…).
        PppControl = "ppp_control",
        /// An encrypted or compressed payload (MACsec, protected 802.11, PPP compression).
        Opaque = "opaque",
        /// IEEE 802.11 management, control or empty data frame.
        Wlan = "wlan",
        /// MPLS with a payload that is neither IP nor Ethernet.
        Mpls = "mpls",
        /// An EtherType or address family that is not decoded.
        NonIp = "non_ip",
        /// An IP protocol that has no flows (IGMP, OSPF, PIM, VRRP…).
        IpProtocol = "ip_protocol",
        /// An IPv6 packet without a payload (a Teredo bubble).
        NoNextHeader = "no_next_header",
        /// The capture's snapshot length ends before the addresses and ports do.
        Snaplen = "snaplen",
        /// More layers than are peeled.
        TooDeep = "too_deep",
    }
}

impl Ignored {
    /// Whether the walk ended at a protocol it recognised, which makes a tunnel guessed by its port a real one.
    pub(super) fn is_recognised(self) -> bool {
        !matches!(self, Self::UnsupportedLink | Self::NonIp | Self::Snaplen | Self::Mpls | Self::Opaque)
    }
}

/// A frame whose own fields contradict each other or its length on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Malformed {
    /// The layer that is wrong.
    pub layer: Layer,
    /// What is wrong with it.
    pub why: Why,
}

/// What became of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// That many packets are in the output, at least one.
    Packets(usize),
    /// A fragment was taken in; its datagram is not complete.
    Fragment,
    /// Nothing to track in it.
    Ignored(Ignored),
    /// Contradicts itself.
    Malformed(Malformed),
}

/// Why a walk down the layers ended without a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    Fragment,
    Ignored(Ignored),
    Malformed(Malformed),
}

/// The end of a walk: `Ok` if at least one packet came out.
pub(super) type Walked = Result<(), Stop>;

impl Stop {
    pub(super) const fn malformed(layer: Layer, why: Why) -> Self {
        Self::Malformed(Malformed { layer, why })
    }
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fragment => Self::Fragment,
            Stop::Ignored(ignored) => Self::Ignored(ignored),
            Stop::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_index() {
        fn distinct(names: Vec<&str>) {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), names.len(), "two reasons share a name: {names:?}");
        }
        distinct(Layer::ALL.iter().map(|l| l.as_str()).collect());
        distinct(Why::ALL.iter().map(|w| w.as_str()).collect());
        distinct(Ignored::ALL.iter().map(|i| i.as_str()).collect());
        assert!(Layer::ALL.iter().enumerate().all(|(i, l)| l.index() == i));
        assert_eq!(Ignored::TooDeep.index(), Ignored::COUNT - 1);
    }
}
