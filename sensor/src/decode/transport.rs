//! The layer above IP: TCP, UDP, ICMP, SCTP, IPsec, and the IP protocols that carry packets of their own. In: an IP
//! payload and the [`Packet`] begun by the IP header. Out: the packet, complete, or the walk goes on inside a tunnel.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::packet::{Addrs, Packet, proto};
use super::region::{Region, be16, be32};
use super::tunnel::Guess;
use super::{Context, Fit, Walk};

/// IP protocols that carry packets (IANA "Protocol Numbers").
pub(super) mod carrier {
    pub(crate) const IPV4: u8 = 4;
    pub(crate) const IPV6: u8 = 41;
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
    pub(super) fn upper(&mut self, next: u8, region: Region<'_>) -> Walked {
        let packet = self.packets.draft();
        packet.proto = next;
        packet.l4_at = region.at() as u32;
        match next {
            proto::TCP => self.tcp(region),
            proto::UDP => self.udp(region),
            _ => self.rarer(next, region),
        }
    }

    fn rarer(&mut self, next: u8, region: Region<'_>) -> Walked {
        let inside = Context::inside(self.packets.draft(), Fit::Padded);
        match next {
            proto::ICMP => self.icmp(region, Layer::Icmp),
            proto::ICMPV6 => self.icmp(region, Layer::Icmpv6),
            proto::SCTP => self.sctp(region),
            proto::ESP => self.esp(region),
            proto::AH => self.ah(region),
            proto::GRE => self.gre(region),
            carrier::IPV4 => self.ipv4(region, inside.entered(Layer::Ipip)?),
            carrier::IPV6 => self.ipv6(region, inside.entered(Layer::Ipip)?),
            carrier::MPLS => self.mpls(region, inside),
            carrier::L2TPV3 => self.l2tpv3_ip(region, inside),
            _ => Err(Stop::Ignored(Ignored::IpProtocol)),
        }
    }

    /// The drafted packet is complete.
    #[inline]
    fn emit_draft(&mut self) -> Walked {
        if self.packets.commit() { Ok(()) } else { Err(Stop::Ignored(Ignored::TooDeep)) }
    }

    /// A packet that was put aside while what it carries was looked at.
    pub(super) fn emit(&mut self, packet: &Packet) -> Walked {
        *self.packets.draft() = *packet;
        self.emit_draft()
    }

    /// TCP (RFC 9293 section 3.1).
    #[inline]
    fn tcp(&mut self, region: Region<'_>) -> Walked {
        let Some(header) = region.peek::<TCP_HEADER>() else { return self.tcp_cut(region) };
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < TCP_HEADER || header_len > region.wire() {
            return Err(Stop::malformed(Layer::Tcp, Why::HeaderLength));
        }
        let packet = self.packets.draft();
        packet.src_port = be16(header, 0);
        packet.dst_port = be16(header, 2);
        packet.seq = be32(header, 4);
        packet.ack = be32(header, 8);
        packet.tcp_flags = header[13];
        packet.window = be16(header, 14);
        packet.set_payload(region, header_len);
        self.emit_draft()
    }

    /// A TCP header that the snapshot length cut: what is there.
    #[cold]
    fn tcp_cut(&mut self, region: Region<'_>) -> Walked {
        let packet = self.ports(region, TCP_HEADER, Layer::Tcp)?;
        let header = region.captured();
        let word =
            |at: usize| header.get(at..).and_then(|rest| rest.first_chunk().copied()).map(u32::from_be_bytes);
        packet.seq = word(4).unwrap_or_default();
        packet.ack = word(8).unwrap_or_default();
        packet.tcp_flags = header.get(13).copied().unwrap_or_default();
        self.emit_draft()
    }

    /// UDP (RFC 768).
    #[inline]
    fn udp(&mut self, region: Region<'_>) -> Walked {
        let Some(header) = region.peek::<UDP_HEADER>() else {
            self.ports(region, UDP_HEADER, Layer::Udp)?;
            return self.emit_draft();
        };
        let len = match usize::from(be16(header, 4)) {
            // More than the field can say (RFC 2675 section 4): large segments of tunnels before the card cuts them.
            0 if region.wire() > usize::from(u16::MAX) => region.wire(),
            len => len,
        };
        if len < UDP_HEADER {
            return Err(Stop::malformed(Layer::Udp, Why::Length));
        }
        let packet = self.packets.draft();
        packet.src_port = be16(header, 0);
        packet.dst_port = be16(header, 2);
        if len > region.wire() {
            return self.udp_beyond(region);
        }
        let region = region.of_length(len);
        packet.set_payload(region, UDP_HEADER);
        let inside = region.after(UDP_HEADER, Layer::Udp)?;
        if let Some(guess) = Guess::by_port(packet.src_port, packet.dst_port) {
            return self.guessed(guess, inside);
        }
        let bytes = inside.captured();
        if bytes.first().is_some_and(|first| Guess::may_open(*first))
            && let Some(guess) = Guess::by_content(bytes, inside.wire())
        {
            return self.guessed(guess, inside);
        }
        self.emit_draft()
    }

    /// A datagram whose length reaches beyond its packet: malformed, unless it came in fragments, of which the others are
    /// missing or contradict the first, and that one has a tunnel's header: this much can be said of the carrier.
    #[cold]
    fn udp_beyond(&mut self, region: Region<'_>) -> Walked {
        let packet = self.packets.draft();
        if self.fragmented
            && let Some(guess) = Guess::by_port(packet.src_port, packet.dst_port)
            && let Some(layer) = guess.by_header(region.after(UDP_HEADER, Layer::Udp)?.captured())
        {
            packet.open(layer)?;
            packet.set_payload(region, UDP_HEADER);
            return self.emit_draft();
        }
        Err(Stop::malformed(Layer::Udp, Why::BeyondFrame))
    }

    /// SCTP (RFC 9260 section 3).
    fn sctp(&mut self, region: Region<'_>) -> Walked {
        self.ports(region, SCTP_HEADER, Layer::Sctp)?;
        self.emit_draft()
    }

    /// ICMP (RFC 792) and ICMPv6 (RFC 4443): the same first eight bytes.
    fn icmp(&mut self, region: Region<'_>, layer: Layer) -> Walked {
        /// Echo request and reply of ICMP and of ICMPv6.
        const ECHO: [(Layer, u8); 4] =
            [(Layer::Icmp, 8), (Layer::Icmp, 0), (Layer::Icmpv6, 128), (Layer::Icmpv6, 129)];

        if region.wire() < ICMP_HEADER {
            return Err(Stop::malformed(layer, Why::TooShort));
        }
        let [kind, code] = *region.header::<2>(layer)?;
        let packet = self.packets.draft();
        packet.icmp_type = kind;
        packet.icmp_code = code;
        if ECHO.contains(&(layer, kind)) {
            let id = region.peek::<6>().map_or(0, |header| be16(header, 4));
            packet.src_port = id;
            packet.dst_port = id;
        }
        packet.cut = region.captured().len() < ICMP_HEADER;
        packet.set_payload(region, ICMP_HEADER);
        self.emit_draft()
    }

    /// ESP (RFC 4303): a flow; what it carries is encrypted.
    fn esp(&mut self, region: Region<'_>) -> Walked {
        if region.wire() < ESP_HEADER {
            return Err(Stop::malformed(Layer::Esp, Why::TooShort));
        }
        self.packets.draft().set_payload(region, 0);
        self.emit_draft()
    }

    /// AH (RFC 4302): a flow, and what it authenticates is in clear, so that is a packet too.
    fn ah(&mut self, region: Region<'_>) -> Walked {
        if region.wire() < AH_HEADER {
            return Err(Stop::malformed(Layer::Ah, Why::TooShort));
        }
        let mut inner = *self.packets.draft();
        self.packets.draft().set_payload(region, 0);
        self.outer_and_inner(|walk| {
            let [next, len] = *region.header::<2>(Layer::Ah)?;
            let region = region.after((usize::from(len) + 2) * 4, Layer::Ah)?;
            inner.open(Layer::Ah)?;
            *walk.packets.draft() = inner;
            match inner.addrs {
                Addrs::V4 { .. } => walk.upper(next, region),
                Addrs::V6 { .. } => walk.ipv6_next(next, region),
            }
        })
    }

    /// A tunnel that is a flow of its own: its packet, the draft, comes out in any case, and what `inner` finds in it
    /// as well.
    pub(super) fn outer_and_inner(&mut self, inner: impl FnOnce(&mut Self) -> Walked) -> Walked {
        self.emit_draft()?;
        let mark = self.packets.len();
        if inner(self).is_err() {
            self.packets.truncate(mark);
        }
        Ok(())
    }

    /// The draft with the ports of a header of `header_len` bytes that may have been cut.
    fn ports(&mut self, region: Region<'_>, header_len: usize, layer: Layer) -> Result<&mut Packet, Stop> {
        if region.wire() < header_len {
            return Err(Stop::malformed(layer, Why::TooShort));
        }
        let header = region.header::<4>(layer)?;
        let packet = self.packets.draft();
        packet.src_port = be16(header, 0);
        packet.dst_port = be16(header, 2);
        packet.cut = region.captured().len() < header_len;
        packet.set_payload(region, header_len);
        Ok(packet)
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Decoded, Decoder, Link, Malformed, Outcome};
    use super::*;

    fn malformed(layer: Layer, why: Why) -> Outcome {
        Outcome::Malformed(Malformed { layer, why })
    }

    #[test]
    fn tcp_fields_and_options_are_read() {
        let mut segment = tcp(51000, 443, b"");
        segment[12] = 0x60;
        segment[13] = 0x02;
        segment.extend([0x02, 0x04, 0x05, 0xb4]);
        let frame = ethernet(0x0800, &ipv4(6, &join(&[&segment, b"early"])));
        let mut decoder = Decoder::default();
        let mut out = Decoded::default();
        assert_eq!(
            decoder.decode(Link::Ethernet, &frame, frame.len() as u32, 0, &mut out),
            Outcome::Packets(1)
        );
        let packet = out.packets[0];
        assert_eq!((packet.src_port, packet.dst_port, packet.tcp_flags), (51000, 443, 0x02));
        assert_eq!((packet.seq, packet.ack, packet.window), (0x0102_0304, 0x0506_0708, 0x2000));
        assert_eq!((packet.l4_at, packet.payload_at, packet.payload_len), (34, 58, 5));
        assert_eq!(decoder.bytes(&frame, &packet), b"early");
        assert_eq!(decoder.header(&frame, &packet)[20..], [0x02, 0x04, 0x05, 0xb4]);
    }

    #[test]
    fn a_tcp_header_length_below_five_or_beyond_the_packet_is_malformed() {
        let mut segment = tcp(1, 2, b"");
        segment[12] = 0x40;
        assert_eq!(decode(Link::RawIp, &ipv4(6, &segment)).0, malformed(Layer::Tcp, Why::HeaderLength));
        segment[12] = 0x60;
        assert_eq!(decode(Link::RawIp, &ipv4(6, &segment)).0, malformed(Layer::Tcp, Why::HeaderLength));
        assert_eq!(decode(Link::RawIp, &ipv4(6, &segment[..19])).0, malformed(Layer::Tcp, Why::TooShort));
    }

    #[test]
    fn a_snapshot_of_64_bytes_leaves_what_it_holds() {
        let v4 = ethernet(0x0800, &ipv4(6, &tcp(40000, 22, &[7; 100])));
        let (outcome, packets) = decode_cut(Link::Ethernet, &v4, 64);
        assert_eq!(outcome, Outcome::Packets(1));
        assert_eq!((packets[0].payload_len, packets[0].payload_wire, packets[0].cut), (10, 100, false));
        assert_eq!(packets[0].wire_len, 154);

        let v6 = ethernet(0x86dd, &ipv6(6, &tcp(40000, 22, &[7; 100])));
        let (outcome, packets) = decode_cut(Link::Ethernet, &v6, 64);
        assert_eq!(outcome, Outcome::Packets(1));
        assert_eq!((packets[0].src_port, packets[0].dst_port), (40000, 22));
        assert_eq!(
            (packets[0].seq, packets[0].ack, packets[0].tcp_flags),
            (0x0102_0304, 0, 0),
            "58 + 6 bytes"
        );
        assert_eq!((packets[0].payload_len, packets[0].payload_wire, packets[0].cut), (0, 100, true));
        let (_, packets) = decode_cut(Link::Ethernet, &v6, 68);
        assert_eq!((packets[0].ack, packets[0].tcp_flags), (0x0506_0708, 0x18));
        assert_eq!(decode_cut(Link::Ethernet, &v6, 57).0, Outcome::Ignored(Ignored::Snaplen));
    }

    #[test]
    fn udp_ends_where_its_length_says() {
        let datagram = join(&[&udp(5353, 53, b"query"), b"trailer"]);
        let packets = packets_of(&ipv4(17, &datagram));
        assert_eq!((packets[0].src_port, packets[0].dst_port), (5353, 53));
        assert_eq!((packets[0].payload_at, packets[0].payload_len, packets[0].payload_wire), (42, 5, 5));
    }

    #[test]
    fn a_udp_length_that_cannot_be_is_malformed() {
        for (len, why) in [(0, Why::Length), (7, Why::Length), (14, Why::BeyondFrame)] {
            let mut datagram = udp(5353, 53, b"query");
            datagram[5] = len;
            assert_eq!(
                decode(Link::RawIp, &ipv4(17, &datagram)).0,
                malformed(Layer::Udp, why),
                "length {len}"
            );
        }
        assert_eq!(decode(Link::RawIp, &ipv4(17, &[0; 7])).0, malformed(Layer::Udp, Why::TooShort));
    }

    #[test]
    fn a_segment_too_large_for_the_length_fields_reaches_to_the_end_of_the_frame() {
        let mut datagram = udp(5353, 9999, &[]);
        datagram[5] = 0;
        let mut ip = ipv4(17, &datagram);
        ip[2..4].copy_from_slice(&[0, 0]);
        ip.extend(vec![7; 70_000]);
        let (outcome, packets) = decode(Link::RawIp, &ip);
        assert_eq!((outcome, packets[0].payload_len), (Outcome::Packets(1), 70_000));
    }

    #[test]
    fn an_icmp_echo_has_its_identifier_for_ports() {
        let packets = packets_of(&ipv4(1, &[8, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i']));
        assert_eq!((packets[0].icmp_type, packets[0].src_port, packets[0].dst_port), (8, 0x1234, 0x1234));
        assert_eq!(packets[0].payload_len, 2);
        let packets = packets_of(&ipv6(58, &[129, 0, 0, 0, 0x12, 0x34, 0, 1]));
        assert_eq!((packets[0].icmp_type, packets[0].src_port), (129, 0x1234));
        let packets = packets_of(&ipv4(1, &[3, 13, 0, 0, 0x12, 0x34, 0, 1]));
        assert_eq!((packets[0].icmp_type, packets[0].icmp_code, packets[0].src_port), (3, 13, 0));
        assert_eq!(decode(Link::RawIp, &ipv4(1, &[8, 0, 0, 0])).0, malformed(Layer::Icmp, Why::TooShort));
    }

    #[test]
    fn sctp_and_esp_are_packets() {
        let sctp = join(&[&2905_u16.to_be_bytes(), &2906_u16.to_be_bytes(), &[0; 8], b"chunk"]);
        let packets = packets_of(&ipv4(132, &sctp));
        assert_eq!((packets[0].src_port, packets[0].dst_port, packets[0].payload_len), (2905, 2906, 5));
        let packets = packets_of(&ipv6(50, &[0, 0, 0x10, 1, 0, 0, 0, 1, 9, 9]));
        assert_eq!((packets[0].proto, packets[0].payload_at, packets[0].payload_len), (50, 54, 10));
        assert_eq!(decode(Link::RawIp, &ipv4(50, &[0; 7])).0, malformed(Layer::Esp, Why::TooShort));
    }

    #[test]
    fn ah_is_a_flow_and_so_is_what_it_authenticates() {
        let header = [6, 4, 0, 0, 0, 0, 0x10, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let packets = packets_of(&ipv4(51, &join(&[&header, &tcp(40000, 22, b"SSH-")])));
        assert_eq!(packets.len(), 2);
        assert_eq!((packets[0].proto, layers(&packets[0]).len(), packets[0].payload_at), (51, 0, 34));
        assert_eq!((packets[1].proto, packets[1].dst_port, layers(&packets[1])), (6, 22, vec!["ah"]));
        let mut tunnel = header;
        tunnel[0] = 4;
        let packets = packets_of(&ipv6(51, &join(&[&tunnel, &inner_ipv4()])));
        assert_inner(&packets[1], &["ah", "ipip"]);
        let packets = packets_of(&ipv4(51, &[6, 200, 0, 0, 0, 0, 0x10, 1, 0, 0, 0, 1]));
        assert_eq!((packets.len(), packets[0].proto), (1, 51), "its own header does not fit: only the flow");
    }

    #[test]
    fn ip_in_ip_yields_the_inner_packet_and_a_broken_one_is_malformed() {
        assert_only_inner(&ipv4(4, &inner_ipv4()), &["ipip"]);
        assert_only_inner(&ipv4(41, &inner_ipv6()), &["ipip"]);
        assert_only_inner(&ipv6(4, &inner_ipv4()), &["ipip"]);
        assert_only_inner(&ipv6(41, &inner_ipv6()), &["ipip"]);
        assert_only_inner(&ipv4(4, &ipv4(4, &inner_ipv4())), &["ipip", "ipip"]);
        assert_only_inner(&ipv4(137, &join(&[&[0, 1, 0x01, 64], &inner_ipv4()])), &["mpls"]);
        let cut = &inner_ipv4()[..43];
        assert_eq!(decode(Link::RawIp, &ipv4(4, cut)).0, malformed(Layer::Ipv4, Why::BeyondFrame));
        assert_eq!(decode(Link::RawIp, &ipv4(4, &inner_ipv6())).0, malformed(Layer::Ipv4, Why::Version));
    }

    #[test]
    fn ip_protocols_without_flows_are_ignored() {
        for proto in [2, 89, 103, 112] {
            assert_eq!(decode(Link::RawIp, &ipv4(proto, &[0; 8])).0, Outcome::Ignored(Ignored::IpProtocol));
        }
    }
}
