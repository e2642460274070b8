//! WebSocket frames (RFC 6455 section 5).
//!
//! In: the stream that HTTP hands on behind its 101 answer. Out: the payload of data frames, unmasked and joined, as the inner stream;
//! no label but `websocket_tunnel` for chisel, whose SSH shows in its first words. Payload flows through as it comes: no frame is held. With permessage-deflate nothing is handed on.
//!
//! websockify's old `base64` subprotocol (text frames that hold RFB in base64) is decoded too.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const FRAMES: Kind = Kind {
    name: "websocket.frames",
    decibans: 20,
    says: "frames with exact lengths, masked by one side alone (RFC 6455 5.1, 5.2)",
};
const COMPRESSED: Kind = Kind {
    name: "websocket.compressed",
    decibans: 0,
    says: "payload is compressed per message (RFC 7692): what rides inside is not seen",
};

const CHISEL: Kind = Kind {
    name: "websocket.chisel",
    decibans: 40,
    says: "the first data is the identification string of chisel's SSH (chisel, share/version.go: `SSH-chisel-v3-client`)",
};

/// How chisel's SSH begins, on both sides.
const CHISEL_BANNER: &[u8] = b"SSH-chisel-v";

/// Header bits and opcodes (RFC 6455 section 5.2).
mod header {
    pub(super) const FIN: u8 = 0x80;
    pub(super) const RSV1: u8 = 0x40;
    pub(super) const RSV23: u8 = 0x30;
    pub(super) const OPCODE: u8 = 0x0F;
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
    pub(super) const MASKED: u8 = 0x80;
    pub(super) const CONTROL_MAX: u64 = 125;
}

/// A frame that is longer than what a probe sees is believed from this many bytes on, with a length that only big frames have.
const BIG_FRAME_SEEN: usize = 1024;
/// `RFB 00` in base64: how the first text frame of websockify's `base64` subprotocol begins.
const RFB_BASE64: &[u8] = b"UkZCIDAw";

/// Header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    fin: bool,
    compressed: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    len: u64,
    header: usize,
}

impl Frame {
    /// `Ok(None)` for what RFC 6455 does not allow.
    fn parse(data: &[u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let first = r.u8()?;
        let (fin, opcode) = (first & header::FIN != 0, first & header::OPCODE);
        let compressed = first & header::RSV1 != 0;
        let control = matches!(opcode, header::CLOSE | header::PING | header::PONG);
        let known = control || matches!(opcode, header::CONTINUATION | header::TEXT | header::BINARY);
        if !known || first & header::RSV23 != 0 || (control && (!fin || compressed)) {
            return Ok(None);
        }
        let second = r.u8()?;
        // The shortest form of the length is the only one (section 5.2).
        let (len, minimal) = match second & !header::MASKED {
            126 => (u64::from(r.u16()?), 126),
            127 => (r.u64()?, 1 << 16),
            short => (u64::from(short), 0),
        };
        if len < minimal || len >> 63 != 0 || (control && len > header::CONTROL_MAX) {
            return Ok(None);
        }
        let mask = if second & header::MASKED != 0 { Some(r.array()?) } else { None };
        Ok(Some(Self { fin, compressed, opcode, mask, len, header: r.taken() }))
    }

    const fn is_data(&self) -> bool {
        matches!(self.opcode, header::CONTINUATION | header::TEXT | header::BINARY)
    }

    /// Whether the part of a text that is at hand is UTF-8 (section 5.6).
    fn text_is_text(&self, payload: &[u8]) -> bool {
        if self.opcode != header::TEXT || self.compressed {
            return true;
        }
        let plain = unmasked(payload, self.mask, 0);
        std::str::from_utf8(&plain).map_or_else(|e| e.error_len().is_none(), |_| true)
    }
}

/// `payload` under `mask` from position `at` of the frame on.
fn unmasked(payload: &[u8], mask: Option<[u8; 4]>, at: u64) -> Vec<u8> {
    let Some(mask) = mask else { return payload.to_vec() };
    let skip = usize::try_from(at & 3).unwrap_or(0);
    payload.iter().zip(mask.iter().cycle().skip(skip)).map(|(b, m)| b ^ m).collect()
}

/// Whether the first frame is the beginning of chisel's SSH: also where what came before was not captured.
fn is_chisel(data: &[u8]) -> bool {
    matches!(Frame::parse(data), Ok(Some(frame)) if frame.opcode == header::BINARY
        && unmasked(data.get(frame.header..).unwrap_or_default().get(..CHISEL_BANNER.len()).unwrap_or_default(), frame.mask, 0)
            == CHISEL_BANNER)
}

/// Where one direction is.
#[derive(Debug, Default)]
struct Side {
    /// Frame at work, and how much of its payload has gone by.
    frame: Option<(Frame, u64)>,
    /// Whether this side masks: the client always, the server never (section 5.1).
    masks: Option<bool>,
    /// Text of the message at work is base64 of a stream.
    base64: bool,
    /// Sextets not yet a byte, and how many bits they are.
    carry: (u32, u32),
}

/// Both directions.
#[derive(Debug, Default)]
pub struct State {
    sides: [Side; 2],
    said: bool,
}

impl Side {
    /// Takes what it can of `data`; `Ok(0)` if a header's end is missing, `Err` when nothing more can be handed on.
    fn step(&mut self, data: &[u8], out: &mut Out) -> Result<usize, Next> {
        let Some((frame, at)) = self.frame else {
            return match Frame::parse(data) {
                Err(Short) => Ok(0),
                Ok(Some(frame)) if frame.opcode != header::CLOSE => {
                    if frame.compressed {
                        out.evidence(&COMPRESSED, "RSV1");
                        return Err(Next::Done);
                    }
                    if *self.masks.get_or_insert(frame.mask.is_some()) != frame.mask.is_some() {
                        return Err(Next::NotMine);
                    }
                    self.frame = (frame.len > 0).then_some((frame, 0));
                    Ok(frame.header)
                }
                _ => Err(Next::Done),
            };
        };
        let left = usize::try_from(frame.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let payload = data.get(..left.min(data.len())).unwrap_or(&[]);
        if frame.is_data() {
            self.hand_on(&frame, at, &unmasked(payload, frame.mask, at), out);
        }
        let at = at.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
        self.frame = (at < frame.len).then_some((frame, at));
        Ok(payload.len())
    }

    fn hand_on(&mut self, frame: &Frame, at: u64, plain: &[u8], out: &mut Out) {
        if at == 0 && frame.opcode == header::TEXT {
            self.base64 |= plain.starts_with(RFB_BASE64);
            self.carry = (0, 0);
        }
        if at == 0 && plain.starts_with(CHISEL_BANNER) && out.label.is_none() {
            out.evidence(&CHISEL, String::from_utf8_lossy(plain).trim_end());
            out.is("websocket_tunnel");
            out.tool = Some("chisel");
        }
        if !self.base64 {
            out.inner.extend_from_slice(plain);
            return;
        }
        for byte in plain {
            let Some(sextet) = sextet(*byte) else { continue };
            let (bits, n) = ((self.carry.0 << 6) | u32::from(sextet), self.carry.1.saturating_add(6));
            self.carry = (bits & 0xFFFF, n);
            if let Some(rest) = n.checked_sub(8) {
                out.inner.extend(u8::try_from((bits >> rest) & 0xFF));
                self.carry.1 = rest;
            }
        }
    }
}

/// Value of a base64 digit (RFC 4648 section 4).
const fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// What a probe makes of one direction.
enum Chain {
    /// Frames, at least one of them whole; whether the side masks.
    Frames {
        masked: bool,
    },
    /// The first frame is not whole yet.
    Begun {
        masked: bool,
        big: bool,
    },
    /// Not even a header.
    Short,
    Other,
}

impl Chain {
    fn of(data: &[u8]) -> Self {
        let (mut rest, mut first): (&[u8], Option<Frame>) = (data, None);
        let mut unfinished = false;
        loop {
            let frame = match Frame::parse(rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Self::Other,
                Err(Short) => {
                    return first.map_or(Self::Short, |f| Self::Frames { masked: f.mask.is_some() });
                }
            };
            let masked = frame.mask.is_some();
            // A message begins before it goes on, and ends before the next; a side masks always or never.
            let began = first.unwrap_or(frame);
            let goes_on = frame.opcode == header::CONTINUATION;
            if (frame.is_data() && goes_on != unfinished) || began.mask.is_some() != masked {
                return Self::Other;
            }
            if frame.is_data() {
                unfinished = !frame.fin;
            }
            let payload = rest.get(frame.header..).unwrap_or(&[]);
            let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
            if !frame.text_is_text(payload.get(..len.min(payload.len())).unwrap_or(&[])) {
                return Self::Other;
            }
            match payload.get(len..) {
                Some([]) => return Self::Frames { masked },
                Some(behind) => rest = behind,
                None if first.is_some() => return Self::Frames { masked },
                None => {
                    let big = len > header_max() && data.len() >= BIG_FRAME_SEEN;
                    return Self::Begun { masked, big };
                }
            }
            first = Some(began);
        }
    }

    const fn masked(&self) -> Option<bool> {
        match self {
            Self::Frames { masked } | Self::Begun { masked, .. } => Some(*masked),
            Self::Short | Self::Other => None,
        }
    }
}

/// Payload lengths up to this fit into the first length byte.
fn header_max() -> usize {
    usize::try_from(header::CONTROL_MAX).unwrap_or(usize::MAX)
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "websocket",
        title: "WebSocket",
        label: None,
        app_proto: "websocket",
        transports: &[Transport::Tcp],
        ports: &[],
        first: FirstBytes::of(&[0x01, 0x02, 0x41, 0x42, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0xC2]),
        budget: 65_536,
        carrier: true,
        reference: "RFC 6455 section 5; RFC 7692",
        evidence: &[FRAMES, COMPRESSED, CHISEL],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if is_chisel(p.data) {
            return Verdict::Yes;
        }
        if !p.from_start {
            return Verdict::No;
        }
        let (here, there) = (Chain::of(p.data), Chain::of(p.other));
        let contradicts = match (here.masked(), there.masked()) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        };
        // Alone, a direction must mask as its side does: the client, who opened the connection.
        let alone = p.other.is_empty() && here.masked() == Some(p.dir == Dir::ToClient);
        match (&here, &there) {
            (Chain::Other, _) | (_, Chain::Other) => Verdict::No,
            _ if contradicts || alone => Verdict::No,
            (Chain::Frames { .. } | Chain::Begun { big: true, .. }, _) => Verdict::Yes,
            (Chain::Begun { .. }, Chain::Frames { .. }) => Verdict::Yes,
            (Chain::Begun { .. } | Chain::Short, _) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap {
            return Next::Done;
        }
        let [up, down] = &mut self.sides;
        let (side, other) = if seg.dir == Dir::ToServer { (up, down) } else { (down, up) };
        let mut rest = seg.data;
        while !rest.is_empty() {
            match side.step(rest, out) {
                Ok(0) => break,
                Ok(n) => rest = rest.get(n..).unwrap_or(&[]),
                Err(next) => return next,
            }
            if side.masks.is_some() && side.masks == other.masks {
                return Next::NotMine;
            }
            if let Some((frame, _)) = side.frame
                && !self.said
            {
                self.said = true;
                let client = if frame.mask.is_some() { seg.dir.sender() } else { seg.dir.receiver() };
                out.client = Some(client);
                out.evidence(&FRAMES, if frame.opcode == header::TEXT { "text" } else { "binary" });
            }
        }
        Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::VNC, tests::CHAT, tests::BASE64];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;
    /// "Hello", masked and not (RFC 6455 section 5.7).
    const MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    const PLAIN: &[u8] = b"\x81\x05Hello";

    const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
        Fixture { name, transport: Transport::Tcp, payloads }
    }

    pub(super) const VNC: Fixture<'_> =
        talk("noVNC", &[(DOWN, b"\x82\x0cRFB 003.008\n"), (UP, b"\x82\x8c\x01\x02\x03\x04SDA$120*12;\x0e")]);
    pub(super) const CHAT: Fixture<'_> = talk(
        "fragments with a ping between",
        &[
            (UP, MASKED),
            (DOWN, b"\x01\x03Hel\x89\x05Hello\x80\x02lo"),
            (UP, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        ],
    );
    pub(super) const BASE64: Fixture<'_> = talk(
        "websockify's base64 subprotocol",
        &[(DOWN, b"\x81\x10UkZCIDAwMy4wMDgK"), (DOWN, b"\x81\x04AQI="), (DOWN, b"\x81\x04EA==")],
    );

    #[test]
    fn payloads_are_unmasked_joined_and_stripped_of_control_frames_whatever_the_segments() {
        for piece in [usize::MAX, 3, 1] {
            let got = drive::<State>(&VNC, piece);
            assert_eq!(got.inner, [b"RFB 003.008\n".to_vec(), b"RFB 003.008\n".to_vec()]);
            let got = drive::<State>(&CHAT, piece);
            assert_eq!(got.inner, [b"Hello".to_vec(), b"Hello".to_vec()]);
            assert_eq!((got.out.client, got.out.label), (Some(crate::Side::Src), None));
        }
    }

    #[test]
    fn base64_text_frames_of_rfb_are_decoded_message_by_message() {
        for piece in [usize::MAX, 5, 1] {
            let got = drive::<State>(&BASE64, piece);
            assert_eq!(got.inner[1], b"RFB 003.008\n\x01\x02\x10");
        }
    }

    #[test]
    fn a_frame_of_64_kib_flows_through_without_being_held() {
        let (mut state, mut out) = (State::default(), Out::default());
        let header = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00";
        let body = [7; 1000];
        let mut seg = Segment {
            dir: DOWN,
            transport: Transport::Tcp,
            data: header,
            wire_len: header.len(),
            gap: false,
            ts_ns: 0,
        };
        assert_eq!(state.on_data(&seg, &mut out), Next::Continue { consumed: 10 });
        for _ in 0..65 {
            seg = Segment { data: &body, wire_len: body.len(), ..seg };
            assert_eq!(state.on_data(&seg, &mut out), Next::Continue { consumed: 1000 });
            assert_eq!(std::mem::take(&mut out.inner).len(), 1000);
        }
    }

    #[test]
    fn compressed_messages_are_not_handed_on() {
        let deflated = &[(DOWN, &b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..])];
        let got = drive::<State>(&Fixture { payloads: deflated, ..VNC }, usize::MAX);
        assert!(got.mine);
        assert_eq!(got.inner, [vec![], vec![]]);
        assert_eq!(got.out.evidence[0].kind.name, "websocket.compressed");
    }

    #[test]
    fn what_is_no_frame_is_not_taken() {
        let cases: [(&str, Dir, &[u8]); 7] = [
            ("a client that does not mask", UP, PLAIN),
            ("a server that masks", DOWN, MASKED),
            ("a continuation first", DOWN, b"\x00\x05Hello"),
            ("a fragmented ping", DOWN, b"\x09\x00"),
            ("a length that is not minimal", DOWN, b"\x82\x7e\x00\x05Hello"),
            ("text that is not UTF-8", DOWN, b"\x81\x04\xff\xfe\xfd\xfc"),
            ("a NetBIOS session answer", DOWN, b"\x82\x00\x00\x00"),
        ];
        for (what, dir, bytes) in cases {
            let got = drive::<State>(&Fixture { payloads: &[(dir, bytes)], ..VNC }, usize::MAX);
            assert!(!got.mine, "{what}");
        }
    }

    #[test]
    fn chisel_is_known_by_its_ssh_also_joined_midway() {
        let banner = &[(DOWN, &b"\x82\x16SSH-chisel-v3-server\r\n"[..])];
        for piece in [usize::MAX, 14] {
            let got = drive::<State>(&Fixture { payloads: banner, ..VNC }, piece);
            assert_eq!((got.out.label, got.out.tool), (Some("websocket_tunnel"), Some("chisel")));
        }
        let midway = Probe {
            dir: DOWN,
            transport: Transport::Tcp,
            data: banner[0].1,
            wire_len: 24,
            other: &[],
            earlier: &[],
            from_start: false,
            port_hint: false,
        };
        assert_eq!(State::probe(&midway), Verdict::Yes);
        assert_eq!(State::probe(&Probe { data: b"\x82\x0dSSH-2.0-abcd\n", ..midway }), Verdict::No);
    }

    #[test]
    fn two_sides_that_both_mask_are_not_websocket() {
        let got = drive::<State>(&Fixture { payloads: &[(UP, MASKED), (DOWN, MASKED)], ..VNC }, usize::MAX);
        assert!(got.inner[1].is_empty() || !got.mine);
    }
}
