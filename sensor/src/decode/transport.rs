//! The layer above IP: TCP, UDP, ICMP, SCTP, IPsec, and the IP protocols that carry packets of their own. In: an IP
//! payload and the [`Packet`] begun by the IP header. Out: the packet, complete, or the walk goes on inside a tunnel.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::packet::{Addrs, Packet, proto};
use super::region::{Region, be16, be32};
use super::{Context, Fit, Walk, tunnel};

/// IP protocols that carry packets (IANA "Protocol Numbers").
mod carrier {
    pub(super) const IPV4: u8 = 4;
    pub(super) const IPV6: u8 = 41;
    pub(super) const L2TPV3: u8 = 115;
    pub(super) const MPLS: u8 = 137;
}

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;
const SCTP_HEADER: usize = 12;
const ESP_HEADER: usize = 8;
const AH_HEADER: usize = 12;

impl Walk<'_> {
    /// The payload of an IP packet by its protocol number.
    #[inline]
    pub(super) fn upper(&mut self, next: u8, region: Region<'_>, packet: &mut Packet) -> Walked {
        packet.proto = next;
        packet.l4_at = region.at() as u32;
        match next {
            proto::TCP => self.tcp(region, packet),
            proto::UDP => self.udp(region, packet),
            _ => self.rarer(next, region, packet),
        }
    }

    fn rarer(&mut self, next: u8, region: Region<'_>, packet: &mut Packet) -> Walked {
        match next {
            proto::ICMP => self.icmp(region, packet, Layer::Icmp),
            proto::ICMPV6 => self.icmp(region, packet, Layer::Icmpv6),
            proto::SCTP => self.sctp(region, packet),
            proto::ESP => self.esp(region, packet),
            proto::AH => self.ah(region, packet),
            proto::GRE => self.gre(region, packet),
            carrier::IPV4 => self.ipv4(region, Context::inside(packet, Fit::Padded).entered(Layer::Ipip)?),
            carrier::IPV6 => self.ipv6(region, Context::inside(packet, Fit::Padded).entered(Layer::Ipip)?),
            carrier::MPLS => self.mpls(region, Context::inside(packet, Fit::Padded)),
            carrier::L2TPV3 => self.l2tpv3_ip(region, packet),
            _ => Err(Stop::Ignored(Ignored::IpProtocol)),
        }
    }

    /// The packet is complete.
    #[inline]
    pub(super) fn emit(&mut self, packet: &Packet) -> Walked {
        if self.packets.push(packet) { Ok(()) } else { Err(Stop::Ignored(Ignored::TooDeep)) }
    }

    /// TCP (RFC 9293 section 3.1).
    #[inline]
    fn tcp(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        let Some(header) = region.peek::<TCP_HEADER>() else { return self.tcp_cut(region, packet) };
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < TCP_HEADER || header_len > region.wire() {
            return Err(Stop::malformed(Layer::Tcp, Why::HeaderLength));
        }
        packet.src_port = be16(header, 0);
        packet.dst_port = be16(header, 2);
        packet.seq = be32(header, 4);
        packet.ack = be32(header, 8);
        packet.tcp_flags = header[13];
        packet.window = be16(header, 14);
        packet.set_payload(region, header_len);
        self.emit(packet)
    }

    /// A TCP header that the snapshot length cut: what is there.
    #[cold]
    fn tcp_cut(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        self.ports(region, packet, TCP_HEADER, Layer::Tcp)?;
        let header = region.captured();
        let word =
            |at: usize| header.get(at..).and_then(|rest| rest.first_chunk().copied()).map(u32::from_be_bytes);
        packet.seq = word(4).unwrap_or_default();
        packet.ack = word(8).unwrap_or_default();
        packet.tcp_flags = header.get(13).copied().unwrap_or_default();
        self.emit(packet)
    }

    /// UDP (RFC 768).
    #[inline]
    fn udp(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        let Some(header) = region.peek::<UDP_HEADER>() else {
            self.ports(region, packet, UDP_HEADER, Layer::Udp)?;
            return self.emit(packet);
        };
        let len = match usize::from(be16(header, 4)) {
            // More than the field can say (RFC 2675 section 4): large segments of tunnels before the card cuts them.
            0 if region.wire() > usize::from(u16::MAX) => region.wire(),
            len => len,
        };
        if len < UDP_HEADER {
            return Err(Stop::malformed(Layer::Udp, Why::Length));
        }
        if len > region.wire() {
            return Err(Stop::malformed(Layer::Udp, Why::BeyondFrame));
        }
        packet.src_port = be16(header, 0);
        packet.dst_port = be16(header, 2);
        let region = region.of_length(len);
        packet.set_payload(region, UDP_HEADER);
        if let Some(guess) = tunnel::Guess::by_port(packet.src_port, packet.dst_port) {
            return self.guessed(guess, region.after(UDP_HEADER, Layer::Udp)?, packet);
        }
        self.emit(packet)
    }

    /// SCTP (RFC 9260 section 3).
    fn sctp(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        self.ports(region, packet, SCTP_HEADER, Layer::Sctp)?;
        self.emit(packet)
    }

    /// ICMP (RFC 792) and ICMPv6 (RFC 4443): the same first eight bytes.
    fn icmp(&mut self, region: Region<'_>, packet: &mut Packet, layer: Layer) -> Walked {
        /// Echo request and reply of ICMP and of ICMPv6.
        const ECHO: [(Layer, u8); 4] =
            [(Layer::Icmp, 8), (Layer::Icmp, 0), (Layer::Icmpv6, 128), (Layer::Icmpv6, 129)];

        if region.wire() < ICMP_HEADER {
            return Err(Stop::malformed(layer, Why::TooShort));
        }
        let [kind, code] = *region.header::<2>(layer)?;
        packet.icmp_type = kind;
        packet.icmp_code = code;
        if ECHO.contains(&(layer, kind)) {
            let id = region.peek::<6>().map_or(0, |header| be16(header, 4));
            packet.src_port = id;
            packet.dst_port = id;
        }
        packet.cut = region.captured().len() < ICMP_HEADER;
        packet.set_payload(region, ICMP_HEADER);
        self.emit(packet)
    }

    /// ESP (RFC 4303): a flow; what it carries is encrypted.
    fn esp(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        if region.wire() < ESP_HEADER {
            return Err(Stop::malformed(Layer::Esp, Why::TooShort));
        }
        packet.set_payload(region, 0);
        self.emit(packet)
    }

    /// AH (RFC 4302): a flow, and what it authenticates is in clear, so that is a packet too.
    fn ah(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        if region.wire() < AH_HEADER {
            return Err(Stop::malformed(Layer::Ah, Why::TooShort));
        }
        packet.set_payload(region, 0);
        let outer = *packet;
        self.outer_and_inner(&outer, |walk| {
            let [next, len] = *region.header::<2>(Layer::Ah)?;
            let region = region.after((usize::from(len) + 2) * 4, Layer::Ah)?;
            packet.open(Layer::Ah)?;
            match packet.addrs {
                Addrs::V4 { .. } => walk.upper(next, region, packet),
                Addrs::V6 { .. } => walk.ipv6_next(next, region, packet),
            }
        })
    }

    /// A tunnel that is a flow of its own: its packet comes out in any case, and what `inner` finds in it as well.
    pub(super) fn outer_and_inner(
        &mut self,
        outer: &Packet,
        inner: impl FnOnce(&mut Self) -> Walked,
    ) -> Walked {
        self.emit(outer)?;
        let mark = self.packets.len();
        if inner(self).is_err() {
            self.packets.truncate(mark);
        }
        Ok(())
    }

    /// The ports of a header of `header_len` bytes that may have been cut.
    fn ports(
        &self,
        region: Region<'_>,
        packet: &mut Packet,
        header_len: usize,
        layer: Layer,
    ) -> Result<(), Stop> {
        if region.wire() < header_len {
            return Err(Stop::malformed(layer, Why::TooShort));
        }
        let header = region.header::<4>(layer)?;
        packet.src_port = be16(header, 0);
        packet.dst_port = be16(header, 2);
        packet.cut = region.captured().len() < header_len;
        packet.set_payload(region, header_len);
        Ok(())
    }
}

impl Packet {
    /// The payload is what follows `header_len` bytes of `region`, which the caller knows to be on the wire.
    #[inline]
    pub(super) fn set_payload(&mut self, region: Region<'_>, header_len: usize) {
        self.payload_at = (region.at() + header_len) as u32;
        self.payload_len = region.captured().len().saturating_sub(header_len) as u32;
        self.payload_wire = (region.wire() - header_len) as u32;
    }

    /// Notes a layer as peeled.
    pub(super) fn open(&mut self, layer: Layer) -> Result<(), Stop> {
        self.encap = self.encap.with(layer).ok_or(Stop::Ignored(Ignored::TooDeep))?;
        Ok(())
    }
}
