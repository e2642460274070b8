//! Tunnels that carry packets. In: what follows a UDP header whose port hints at a tunnel, or a GRE, L2TPv3 or other
//! carrier's header. Out: the packets inside, or the carrier itself.
//!
//! Each function of a layer below notes the layers it opens in `carrier.encap`, so that a carrier without IP packets
//! inside comes out with what was recognised of it.

mod ayiya;
mod capwap;
mod content;
mod erspan;
mod geneve;
mod gre;
mod gtp;
mod gtp_control;
mod l2tp;
mod lisp;
mod lisp_control;
mod teredo;
mod vxlan;

use super::outcome::{Ignored, Layer, Stop, Walked};
use super::region::Region;
use super::{Context, Fit, Walk};

/// Not what the port hinted at.
const NOT_THIS: Stop = Stop::Ignored(Ignored::NonIp);

/// It is what the port hinted at, and has no packet inside.
const NO_PACKET: Stop = Stop::Ignored(Ignored::LinkControl);

/// A tunnel that a UDP port hints at, or that a datagram's content proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guess {
    Ayiya,
    Capwap,
    Geneve,
    Gre,
    Gtp,
    GtpControl,
    L2tp,
    Lisp,
    LispControl,
    Mpls,
    Teredo,
    Vxlan,
    VxlanGpe,
}

impl Guess {
    /// The hint of the destination port, else that of the source port: most tunnels hash the inner flow into the
    /// source port, but a server's answers come from its port.
    #[inline]
    pub(super) fn by_port(src: u16, dst: u16) -> Option<Self> {
        if !Self::may_be(src, dst) {
            return None;
        }
        Self::of(dst).or_else(|| Self::of(src))
    }

    /// Whether one of them may be a hint: quicker than to look, and wrong for one port in six.
    #[inline]
    const fn may_be(src: u16, dst: u16) -> bool {
        SIFT >> (src & 63) & 1 != 0 || SIFT >> (dst & 63) & 1 != 0
    }

    /// Ports of IANA's registry, and 8472, which Linux used for VXLAN before one was assigned.
    #[inline]
    fn of(port: u16) -> Option<Self> {
        match port {
            1701 => Some(Self::L2tp),
            2152 => Some(Self::Gtp),
            3544 => Some(Self::Teredo),
            4341 => Some(Self::Lisp),
            4754 => Some(Self::Gre),
            4789 | 8472 => Some(Self::Vxlan),
            4790 => Some(Self::VxlanGpe),
            5072 => Some(Self::Ayiya),
            5247 => Some(Self::Capwap),
            6081 => Some(Self::Geneve),
            6635 => Some(Self::Mpls),
            _ => None,
        }
    }

    /// The layer, if `payload` begins with a header of the hinted tunnel that leaves no doubt: 40 bits of VXLAN are
    /// fixed, 32 of Geneve.
    pub(super) fn by_header(self, payload: &[u8]) -> Option<Layer> {
        match (self, payload.first_chunk()?) {
            (Self::Vxlan, [0x08, 0, 0, 0, _, _, _, 0]) => Some(Layer::Vxlan),
            (Self::Geneve, [0..=0x3f, 0 | 0x40, 0x65, 0x58, _, _, _, 0]) => Some(Layer::Geneve),
            _ => None,
        }
    }
}

/// Ports that hint at a tunnel.
const PORTS: [u16; 12] = [1701, 2152, 3544, 4341, 4754, 4789, 8472, 4790, 5072, 5247, 6081, 6635];

/// A bit for the last six bits of each of them.
const SIFT: u64 = {
    let (mut bits, mut i) = (0, 0);
    while i < PORTS.len() {
        bits |= 1 << (PORTS[i] & 63);
        i += 1;
    }
    bits
};

impl Walk<'_> {
    /// A UDP payload that may be a tunnel; if it is not, the drafted packet comes out as it is.
    #[inline(never)]
    pub(super) fn guessed(&mut self, guess: Guess, region: Region<'_>) -> Walked {
        let packet = *self.packets.draft();
        let mut carrier = packet;
        let inside = match guess {
            Guess::Ayiya => self.ayiya(region, &mut carrier),
            Guess::Capwap => self.capwap(region, &mut carrier),
            Guess::Geneve => self.geneve(region, &mut carrier),
            Guess::Gre => self.gre_payload(region, &mut carrier),
            Guess::Gtp => self.gtp(region, &mut carrier),
            Guess::GtpControl => carrier.open(Layer::Gtp).and(Err(NO_PACKET)),
            Guess::L2tp => return self.l2tp_udp(region),
            Guess::LispControl => carrier.open(Layer::Lisp).and(Err(NO_PACKET)),
            Guess::Lisp => self.lisp(region, &mut carrier),
            Guess::Mpls => {
                let ctx = Context::inside(&carrier, Fit::Exact);
                carrier.open(Layer::Mpls).and_then(|()| self.mpls(region, ctx))
            }
            Guess::Teredo => self.teredo(region, &mut carrier),
            Guess::Vxlan => self.vxlan(region, &mut carrier),
            Guess::VxlanGpe => self.vxlan_gpe(region, &mut carrier),
        };
        match inside {
            Ok(()) | Err(Stop::Fragment) => inside,
            Err(Stop::Ignored(ignored)) if ignored.is_recognised() => self.emit(&carrier),
            Err(Stop::Ignored(_) | Stop::Malformed(_)) => self.emit(&packet),
        }
    }
}

/// A 24-bit segment or instance identifier.
fn be24(header: &[u8; 8], at: usize) -> u32 {
    u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]])
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::*;

    #[test]
    fn the_destination_port_is_the_better_hint() {
        assert_eq!(Guess::by_port(4789, 6081), Some(Guess::Geneve));
        assert_eq!(Guess::by_port(3544, 50000), Some(Guess::Teredo));
        assert_eq!(Guess::by_port(50000, 443), None);
    }

    #[test]
    fn the_sift_lets_every_hint_through() {
        for port in 0..=u16::MAX {
            if Guess::by_port(port, 0).is_some() {
                assert!(PORTS.contains(&port) && Guess::may_be(port, 0) && Guess::may_be(0, port), "{port}");
            }
        }
        let passed = (0..=u16::MAX).filter(|p| Guess::may_be(*p, 0)).count();
        assert!(passed < 65_536 / 5, "{passed}: it is of use");
    }

    #[test]
    fn gre_and_mpls_in_udp_are_peeled() {
        let gre = udp(50000, 4754, &join(&[&[0, 0, 8, 0], &inner_ipv4()]));
        assert_only_inner(&ipv4(17, &gre), &["gre"]);
        let mpls = udp(50000, 6635, &join(&[&[0, 1, 0x01, 64], &inner_ipv4()]));
        assert_only_inner(&ipv4(17, &mpls), &["mpls"]);
        assert_plain(&ipv4(17, &udp(50000, 4754, &[0, 0, 8, 0, 1, 2, 3, 4])), 17);
        assert_plain(&ipv4(17, &udp(50000, 6635, &[0, 1, 0x01, 64, 1, 2, 3, 4])), 17);
    }

    #[test]
    fn a_fragment_inside_a_guessed_tunnel_is_held() {
        let fragment = ipv4_fragment(17, 0x2000, &[0; 16]);
        let inside = join(&[&[0x0c, 0, 0, 1, 0, 0, 1, 0], &fragment]);
        let (outcome, packets) = decode(super::super::Link::RawIp, &ipv4(17, &udp(50000, 4790, &inside)));
        assert_eq!((outcome, packets.len()), (super::super::Outcome::Fragment, 0));
    }
}
