//! STUN and TURN (RFC 8489, RFC 8656), over UDP and TCP.
//!
//! In: datagrams or a stream. Out: the client's outer address, the relay's address and the far ends behind a TURN server; no label.
//! WebRTC runs DTLS on the same ports (RFC 7983): such datagrams, also those inside TURN's channels, are handed on as inner datagrams.

use crate::http_head::text;
use crate::{
    Analyzer, Dir, FirstBytes, Meta, Next, Out, Probe, Reader, Segment, Short, Stun, Transport, Verdict,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Fixed value at byte 4 (RFC 8489 section 5).
const COOKIE: u32 = 0x2112_A442;
const HEADER_LEN: usize = 20;
/// Longest message: attributes below 64 KiB; in practice below 1,500 bytes.
const MESSAGE_MAX: u16 = 4_096;
/// Peers kept ([`Stun::peers`]) and characters of texts.
const PEERS_MAX: usize = 8;
const TEXT_MAX: usize = 128;

/// Methods (IANA STUN Methods).
mod method {
    pub(super) const BINDING: u16 = 0x001;
    pub(super) const ALLOCATE: u16 = 0x003;
    pub(super) const SEND: u16 = 0x006;
    pub(super) const DATA: u16 = 0x007;
    pub(super) const CHANNEL_BIND: u16 = 0x009;
    pub(super) const CONNECTION_ATTEMPT: u16 = 0x00C;
}

/// Classes (RFC 8489 section 5).
mod class {
    pub(super) const REQUEST: u16 = 0;
    pub(super) const SUCCESS: u16 = 2;
}

/// Attributes (IANA STUN Attributes).
mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const SOFTWARE: u16 = 0x8022;
}

/// First byte of a DTLS datagram, and of a TURN channel, on a port shared with STUN (RFC 7983 section 7).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const CHANNEL: std::ops::RangeInclusive<u8> = 64..=79;

/// One message.
struct Message<'a> {
    method: u16,
    class: u16,
    transaction: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the message that `r` stands at; `Ok(None)` if it is none.
    fn parse(r: &mut Reader<'a>) -> Result<Option<Self>, Short> {
        let (kind, length, cookie) = (r.u16()?, r.u16()?, r.u32()?);
        if kind & 0xC000 != 0 || !length.is_multiple_of(4) || length > MESSAGE_MAX || cookie != COOKIE {
            return Ok(None);
        }
        let transaction = r.take(12)?;
        let attributes = r.take(usize::from(length))?;
        // The class's two bits stand amid the method's twelve (RFC 8489 section 5, figure 3).
        let method = (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2;
        let class = (kind & 0x0010) >> 4 | (kind & 0x0100) >> 7;
        let mut walk = Reader::new(attributes);
        while !walk.is_empty() {
            let Ok((_, _)) = next_attribute(&mut walk) else { return Ok(None) };
        }
        Ok(Some(Self { method, class, transaction, attributes }))
    }
}

/// Number and value of the attribute that `r` stands at; padded to four bytes (RFC 8489 section 14).
fn next_attribute<'a>(r: &mut Reader<'a>) -> Result<(u16, &'a [u8]), Short> {
    let number = r.u16()?;
    let value = r.vec16()?;
    r.skip(value.len().next_multiple_of(4).saturating_sub(value.len()))?;
    Ok((number, value))
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    started: bool,
    /// Messages stand behind two bytes of length (RFC 4571), as in ICE over TCP.
    framed: bool,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "stun",
        title: "STUN / TURN",
        label: None,
        app_proto: "failed",
        transports: &[Transport::Udp, Transport::Tcp],
        ports: &[3478, 3479, 3480, 19302],
        first: FirstBytes::range(0, 0x3F),
        budget: 16_384,
        carrier: true,
        reference: "RFC 8489, RFC 8656, RFC 7983, RFC 4571",
        evidence: &[],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let mut r = Reader::new(p.data);
        let found = Message::parse(&mut r);
        if p.transport == Transport::Tcp {
            return match (found, Self::framed(p.data)) {
                (Ok(Some(_)), _) | (_, Ok(true)) => Verdict::Yes,
                (Err(Short), _) | (_, Err(Short)) if may_become_message(p.data) => Verdict::More,
                _ => Verdict::No,
            };
        }
        match found {
            Ok(Some(_)) if r.taken() == p.wire_len => Verdict::Yes,
            Err(Short) if p.data.len() < p.wire_len && cut_message(p.data, p.wire_len) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.transport == Transport::Tcp {
            return self.stream(seg, out);
        }
        self.datagram(seg.data, seg.dir, out);
        Next::Continue { consumed: seg.data.len() }
    }
}

impl State {
    /// Whether `data` starts with a message in RFC 4571's frame.
    fn framed(data: &[u8]) -> Result<bool, Short> {
        let frame = Reader::new(data).vec16()?;
        let mut r = Reader::new(frame);
        Ok(matches!(Message::parse(&mut r), Ok(Some(_))) && r.is_empty())
    }

    fn datagram(&mut self, data: &[u8], dir: Dir, out: &mut Out) {
        let Some(first) = data.first() else { return };
        if let Ok(Some(message)) = Message::parse(&mut Reader::new(data)) {
            self.started = true;
            message.tell(dir, out);
        } else if DTLS.contains(first) {
            hand_on(data, out);
        } else if CHANNEL.contains(first) {
            let inside = Reader::new(data.get(2..).unwrap_or_default()).vec16();
            if let Ok(inside) = inside
                && inside.first().is_some_and(|b| DTLS.contains(b))
            {
                hand_on(inside, out);
            }
        }
    }

    fn stream(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.started {
            return Next::Done; // message boundaries are lost
        }
        if !self.started {
            self.framed = matches!(Self::framed(seg.data), Ok(true));
        }
        let mut r = Reader::new(seg.data);
        loop {
            let consumed = r.taken();
            let wait = Next::Continue { consumed };
            if self.framed {
                let Ok(frame) = r.vec16() else { return wait };
                self.datagram(frame, seg.dir, out);
                continue;
            }
            let before = r;
            match Message::parse(&mut r) {
                Ok(Some(message)) => {
                    self.started = true;
                    message.tell(seg.dir, out);
                }
                Err(Short) if before.rest().first().is_none_or(|b| !CHANNEL.contains(b)) => return wait,
                _ if !self.started => return Next::NotMine,
                // Data in a channel: its number, its length, padding to four bytes (RFC 8656 section 12.5).
                _ if before.rest().first().is_some_and(|b| CHANNEL.contains(b)) => {
                    r = before;
                    let channel = r.skip(2).and_then(|()| next_padded(&mut r));
                    if channel.is_err() {
                        return wait;
                    }
                }
                _ => return Next::Done,
            }
        }
    }
}

impl Message<'_> {
    fn tell(&self, dir: Dir, out: &mut Out) {
        let turn = (method::ALLOCATE..=method::CONNECTION_ATTEMPT).contains(&self.method);
        if turn && matches!(self.class, class::REQUEST) {
            out.client = Some(dir.sender());
        }
        let stun = out.facts.stun.get_or_insert_default();
        let mut r = Reader::new(self.attributes);
        while let Ok((number, value)) = next_attribute(&mut r) {
            let xor = || address(value, self.transaction, true);
            match number {
                attribute::SOFTWARE => set_text(&mut stun.software, value),
                attribute::REALM => set_text(&mut stun.realm, value),
                attribute::XOR_MAPPED_ADDRESS if self.class == class::SUCCESS => {
                    stun.mapped = xor().or(stun.mapped);
                }
                attribute::MAPPED_ADDRESS
                    if self.class == class::SUCCESS && self.method == method::BINDING =>
                {
                    stun.mapped = stun.mapped.or_else(|| address(value, self.transaction, false));
                }
                attribute::XOR_RELAYED_ADDRESS if self.class == class::SUCCESS => {
                    stun.relayed = xor().or(stun.relayed);
                }
                attribute::XOR_PEER_ADDRESS if turn => {
                    let peer = xor();
                    add_peer(stun, peer);
                    match self.method {
                        method::CHANNEL_BIND => stun.peer = peer.or(stun.peer),
                        method::SEND | method::DATA => stun.peer = stun.peer.or(peer),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

fn set_text(slot: &mut Option<Box<str>>, value: &[u8]) {
    // Some pad with zeros or blanks inside the value.
    let end = value.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |last| last.saturating_add(1));
    if slot.is_none() && end > 0 {
        *slot = Some(text(value.get(..end).unwrap_or_default(), TEXT_MAX));
    }
}

fn add_peer(stun: &mut Stun, peer: Option<SocketAddr>) {
    if let Some(peer) = peer
        && stun.peers.len() < PEERS_MAX
        && !stun.peers.contains(&peer)
    {
        stun.peers.push(peer);
    }
}

/// An address attribute's value, where `xor` with cookie and transaction id over it (RFC 8489 sections 14.1 and 14.2).
fn address(value: &[u8], transaction: &[u8], xor: bool) -> Option<SocketAddr> {
    let mut key = [0; 16];
    if xor {
        let bytes = COOKIE.to_be_bytes();
        for (slot, byte) in key.iter_mut().zip(bytes.iter().chain(transaction)) {
            *slot = *byte;
        }
    }
    let mut r = Reader::new(value);
    r.skip(1).ok()?;
    let family = r.u8().ok()?;
    let [k0, k1, ..] = key;
    let port = r.u16().ok()? ^ u16::from_be_bytes([k0, k1]);
    match family {
        1 => Some((Ipv4Addr::from(unmask(r.array::<4>().ok()?, &key)), port).into()),
        2 => Some((Ipv6Addr::from(unmask(r.array::<16>().ok()?, &key)), port).into()),
        _ => None,
    }
}

fn unmask<const N: usize>(mut octets: [u8; N], key: &[u8]) -> [u8; N] {
    for (octet, k) in octets.iter_mut().zip(key) {
        *octet ^= k;
    }
    octets
}

fn hand_on(datagram: &[u8], out: &mut Out) {
    out.inner_is_datagram = true;
    out.inner.extend_from_slice(datagram);
}

/// A channel's data with its padding.
fn next_padded<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    let data = r.vec16()?;
    r.skip(data.len().next_multiple_of(4).saturating_sub(data.len()))?;
    Ok(data)
}

/// Whether the header of a datagram that the snap length cut fits its length on the wire.
fn cut_message(data: &[u8], wire_len: usize) -> bool {
    let mut r = Reader::new(data);
    let (Ok(kind), Ok(length), Ok(cookie)) = (r.u16(), r.u16(), r.u32()) else { return false };
    kind & 0xC000 == 0 && cookie == COOKIE && usize::from(length).checked_add(HEADER_LEN) == Some(wire_len)
}

/// Whether the cookie stands, as far as there is data, where a message or a framed one has it.
fn may_become_message(data: &[u8]) -> bool {
    let cookie = COOKIE.to_be_bytes();
    let agrees = |at: usize| data.iter().skip(at).zip(cookie).all(|(a, b)| *a == b);
    let small = data.first().is_none_or(|b| *b < 0x40);
    small && data.len() < usize::from(MESSAGE_MAX) && (agrees(4) || agrees(6))
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "binding",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, tests::BINDING), (Dir::ToClient, tests::BINDING_SUCCESS)],
    },
    crate::fixture::Fixture {
        name: "a permission for a peer, over TCP",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, tests::CREATE_PERMISSION)],
    },
    crate::fixture::Fixture {
        name: "in RFC 4571 frames",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, tests::FRAMED_BINDING)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};

    pub(super) const BINDING: &[u8] =
        b"\0\x01\0\0\x21\x12\xA4\x42\xB7\xE7\xA7\x01\xBC\x34\xD6\x86\xFA\x87\xDF\xAE";
    /// The sample IPv4 response of RFC 5769 section 2.2 without its integrity attributes: 192.0.2.1, port 32853.
    pub(super) const BINDING_SUCCESS: &[u8] =
        b"\x01\x01\0\x1C\x21\x12\xA4\x42\xB7\xE7\xA7\x01\xBC\x34\xD6\x86\xFA\x87\xDF\xAE\
        \x80\x22\0\x0Btest vector\x20\0\x20\0\x08\0\x01\xA1\x47\xE1\x12\xA6\x43";
    /// CreatePermission for the same address, and a realm.
    pub(super) const CREATE_PERMISSION: &[u8] =
        b"\0\x08\0\x18\x21\x12\xA4\x42\xB7\xE7\xA7\x01\xBC\x34\xD6\x86\xFA\x87\xDF\xAE\
        \0\x12\0\x08\0\x01\xA1\x47\xE1\x12\xA6\x43\0\x14\0\x05a.exa\0\0\0";
    pub(super) const FRAMED_BINDING: &[u8] =
        b"\0\x14\0\x01\0\0\x21\x12\xA4\x42\xB7\xE7\xA7\x01\xBC\x34\xD6\x86\xFA\x87\xDF\xAE";

    fn udp(payloads: &[(Dir, &[u8])]) -> Outcome {
        drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX)
    }

    fn peer() -> SocketAddr {
        ([192, 0, 2, 1], 32853).into()
    }

    #[test]
    fn the_mapped_address_is_that_of_rfc_5769() {
        let got = udp(FIXTURES[0].payloads);
        assert!(got.mine);
        let stun = got.out.facts.stun.unwrap();
        assert_eq!(stun.mapped, Some(peer()));
        assert_eq!(stun.software.as_deref(), Some("test vector"));
        assert_eq!(got.out.label, None);
    }

    #[test]
    fn an_ipv6_address_is_unmasked_with_the_transaction() {
        // RFC 5769 section 2.3: 2001:db8:1234:5678:11:2233:4455:6677, port 32853.
        let value = b"\0\x02\xA1\x47\x01\x13\xA9\xFA\xA5\xD3\xF1\x79\xBC\x25\xF4\xB5\xBE\xD2\xB9\xD9";
        let want: SocketAddr = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        assert_eq!(address(value, &BINDING[8..20], true), Some(want));
    }

    #[test]
    fn peers_behind_a_turn_server_are_told_once_over_tcp_too() {
        for piece in [1, 30, usize::MAX] {
            let twice = [CREATE_PERMISSION, CREATE_PERMISSION].concat();
            let payloads = [(Dir::ToServer, &twice[..])];
            let got =
                drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads: &payloads }, piece);
            let stun = got.out.facts.stun.unwrap();
            assert_eq!(stun.peers, [peer()], "pieces of {piece}");
            assert_eq!(stun.realm.as_deref(), Some("a.exa"));
            assert_eq!(got.out.client, Some(Side::Src));
        }
    }

    #[test]
    fn of_several_candidates_the_one_with_a_channel_is_talked_to() {
        // A permission asks; a Send indication sends a check; ChannelBind settles.
        let with = |method: u8, class: u8, port: u8| {
            let mut message = CREATE_PERMISSION.to_vec();
            (message[0], message[1], message[27]) = (0, method | class, port);
            message
        };
        let (permission, send, bind) = (with(8, 0, 1), with(6, 0x10, 2), with(9, 0, 3));
        let told = |payloads: &[(Dir, &[u8])]| udp(payloads).out.facts.stun.unwrap();
        assert_eq!(told(&[(Dir::ToServer, &permission)]).peer, None);
        let sent = told(&[(Dir::ToServer, &permission), (Dir::ToServer, &send)]);
        assert_eq!(sent.peer, Some(sent.peers[1]));
        let bound = told(&[(Dir::ToServer, &send), (Dir::ToServer, &bind), (Dir::ToServer, &send)]);
        assert_eq!((bound.peers.len(), bound.peer), (2, Some(bound.peers[1])));
    }

    #[test]
    fn a_peer_attribute_in_a_binding_is_none() {
        let mut message = CREATE_PERMISSION.to_vec();
        message[1] = 1;
        assert!(udp(&[(Dir::ToServer, &message)]).out.facts.stun.unwrap().peers.is_empty());
    }

    #[test]
    fn dtls_on_the_same_port_and_in_channels_is_handed_on() {
        let dtls = b"\x16\xFE\xFD\0";
        let channel = b"\x40\x01\0\x04\x16\xFE\xFD\x01";
        let rtp = b"\x80\x60\0\x01";
        let got = udp(&[
            (Dir::ToServer, BINDING),
            (Dir::ToServer, dtls),
            (Dir::ToServer, rtp),
            (Dir::ToClient, channel),
        ]);
        assert_eq!((&got.inner[0][..], &got.inner[1][..]), (&dtls[..], &b"\x16\xFE\xFD\x01"[..]));
        assert!(got.out.inner_is_datagram);
    }

    #[test]
    fn a_datagram_that_is_not_all_message_is_not_taken() {
        let longer = [BINDING, b"\0"].concat();
        assert!(!udp(&[(Dir::ToServer, &longer)]).mine);
        let mut cookie = BINDING.to_vec();
        cookie[7] = 0x43;
        assert!(!udp(&[(Dir::ToServer, &cookie)]).mine);
        let mut attribute = BINDING_SUCCESS.to_vec();
        attribute[23] = 0xFF; // longer than the message
        assert!(!udp(&[(Dir::ToServer, &attribute)]).mine);
    }

    #[test]
    fn frames_of_ice_over_tcp_are_read() {
        for piece in [1, usize::MAX] {
            let got = drive::<State>(&FIXTURES[2], piece);
            assert!(got.mine && got.out.facts.stun.is_some(), "pieces of {piece}");
        }
    }
}
