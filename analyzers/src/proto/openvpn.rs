//! OpenVPN (UDP, and TCP with a two-byte length before each message).
//!
//! In: datagrams or a byte stream. Out: the label `openvpn` once a reset was answered, once a direction carries on a session that only
//! an answer can have begun, or from the data plane of a session that is older than the capture. Without encryption of the
//! control channel its TLS handshake is handed on as the inner stream, so that the certificates are seen.
//!
//! Wrappings: in the clear, tls-auth, tls-crypt, tls-crypt-v2, and the XOR patch over any of them. Static-key mode has no handshake and
//! no structure on the wire: nothing here can tell it.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Transport, Verdict,
};

#[path = "openvpn/scramble.rs"]
mod scramble;
#[path = "openvpn/wire.rs"]
mod wire;

use wire::{Control, Data, Stamp, Wrap, opcode};

const RESET: Kind = Kind {
    name: "openvpn.reset",
    decibans: 25,
    says: "a client's hard reset of exact size, key id 0, packet 0, nothing acknowledged (OpenVPN protocol)",
};
const ANSWER: Kind = Kind {
    name: "openvpn.answer",
    decibans: 40,
    says: "an answer that names the other side's 64-bit session id, or under tls-crypt has the exact size and a stamp of the same day",
};
const SESSION: Kind = Kind {
    name: "openvpn.session",
    decibans: 30,
    says: "one side alone: control packets of one session that acknowledge another's, or stamps that count up",
};
const DATA: Kind = Kind {
    name: "openvpn.data",
    decibans: 28,
    says: "data packets both ways with constant peer id and counting packet ids (P_DATA_V2)",
};
const SCRAMBLED: Kind = Kind {
    name: "openvpn.scrambled",
    decibans: 30,
    says: "reset and answer under the XOR patch: sizes, and every place where the key cancels out",
};

/// One-sided: acknowledgements that name the same session.
const ACKS_ALONE: u8 = 2;
/// One-sided, tls-crypt: packets whose stamps count up.
const STAMPS_ALONE: u8 = 4;
/// Clocks of the two sides may differ by this many seconds.
const CLOCKS_DIFFER: u32 = 86_400;
/// Data packets in a row, each way, that make a mid-stream recognition: each fixes 32 constant bits and 25 of the counter.
const DATA_RUN: u8 = 3;
/// Data packets after which nothing more of the handshake is expected.
const DATA_DONE: u8 = 8;
/// A TCP message is no longer than this (TUN_MTU_MAX_EXTRA and fragments fit well below).
const MESSAGE_MAX: u16 = 16_384;

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// Its session id.
    session: Option<u64>,
    /// The other's session id, as this side says, and how often it said so.
    remote: Option<(u64, u8)>,
    /// Last stamp, and how many stamps counted up in a row.
    stamp: Option<(Stamp, u8)>,
    /// Next packet of the TLS stream.
    next_id: u32,
    /// Last data packet, and how many in a row.
    data: Option<(Data, u8)>,
    /// Its first message, while it may be a scrambled reset.
    opening: Vec<u8>,
}

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    wrap: Option<Wrap>,
    sides: [Side; 2],
    /// A reset was seen.
    opened: bool,
    confirmed: bool,
}

/// What a message told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Mine,
    Nothing,
    Finished,
}

impl State {
    fn pair(&mut self, dir: Dir) -> (&mut Side, &mut Side) {
        let [up, down] = &mut self.sides;
        if dir == Dir::ToServer { (up, down) } else { (down, up) }
    }

    fn on_message(&mut self, message: &[u8], dir: Dir, out: &mut Out) -> Told {
        if let Some((opcode::DATA_V2, _)) = opcode(message)
            && let Some(data) = Data::parse(message)
        {
            return self.on_data_packet(data, dir, out);
        }
        let control = match self.wrap {
            Some(wrap) => wire::control(message, wrap),
            None => self.first(message, dir),
        };
        match control {
            Some(control) => {
                self.on_control(&control, dir, out);
                Told::Mine
            }
            None if self.wrap.is_none() => self.scrambled(message, dir, out),
            None => Told::Nothing,
        }
    }

    /// The first control packet settles the wrapping.
    fn first<'a>(&mut self, message: &'a [u8], dir: Dir) -> Option<Control<'a>> {
        let (_, there) = self.pair(dir);
        let session = there.session;
        let (wrap, control) = match wire::reset(message) {
            Some(reset) => {
                self.opened = true;
                reset
            }
            None => {
                // A handshake that began before the capture: this side must name the other's session.
                let Some(wrap) = session.and_then(|session| wire::echoes(message, session)) else {
                    let (here, _) = self.pair(dir);
                    here.session = wire::session(message);
                    return None;
                };
                (wrap, wire::control(message, wrap)?)
            }
        };
        self.wrap = Some(wrap);
        Some(control)
    }

    fn on_control(&mut self, control: &Control<'_>, dir: Dir, out: &mut Out) {
        let Some(wrap) = self.wrap else { return };
        let (confirmed, opened) = (self.confirmed, self.opened);
        let (here, there) = self.pair(dir);
        let again = here.session == Some(control.session);
        here.session = Some(control.session);
        if !again {
            (here.remote, here.stamp, here.next_id) = (None, None, 0);
        }
        if wire::is_client_reset(control.opcode) && !again {
            out.client.get_or_insert(dir.sender());
            let version = if control.opcode == opcode::CLIENT_RESET_V3 { "-v2" } else { "" };
            out.evidence(&RESET, format!("session {:#018x}, {}{version}", control.session, wrap.name()));
        } else if wire::is_server_reset(control.opcode) {
            out.client.get_or_insert(dir.receiver());
        }
        if let Some((_, remote)) = control.acked {
            let said = match here.remote {
                Some((same, n)) if same == remote => n.saturating_add(1),
                _ => 1,
            };
            here.remote = Some((remote, said));
        }
        if let Some(stamp) = control.stamp {
            let counted = match here.stamp {
                Some((last, n)) if last.time == stamp.time && stamp.id.wrapping_sub(last.id) == 1 => {
                    n.saturating_add(1)
                }
                _ => 1,
            };
            here.stamp = Some((stamp, counted));
        }
        if !confirmed {
            let answered = match wrap {
                Wrap::Plain | Wrap::Auth(_) => {
                    there.session.is_some() && here.remote.map(|(remote, _)| remote) == there.session
                }
                Wrap::Crypt => here.stamp.zip(there.stamp).is_some_and(|((a, _), (b, _))| {
                    a.time.abs_diff(b.time) <= CLOCKS_DIFFER && wire::is_server_reset(control.opcode)
                }),
            };
            let alone = match wrap {
                Wrap::Plain | Wrap::Auth(_) => here.remote.is_some_and(|(_, n)| n >= ACKS_ALONE),
                Wrap::Crypt => here.stamp.is_some_and(|(_, n)| n >= STAMPS_ALONE),
            };
            if answered {
                out.evidence(&ANSWER, wrap.name());
            } else if alone {
                out.evidence(&SESSION, wrap.name());
            }
            if answered || alone {
                out.is("openvpn");
                out.basis = if opened { Basis::Handshake } else { Basis::Midstream };
                self.confirmed = true;
            }
        }
        self.hand_on(control, dir, out);
    }

    /// The TLS stream in the order of its packets; one that was lost or overtaken ends it until it is sent again.
    fn hand_on(&mut self, control: &Control<'_>, dir: Dir, out: &mut Out) {
        let (here, _) = self.pair(dir);
        let reset = wire::is_client_reset(control.opcode) || wire::is_server_reset(control.opcode);
        match control.id {
            Some(id) if reset && here.next_id == 0 => here.next_id = id.wrapping_add(1),
            Some(id) if control.opcode == opcode::CONTROL && id == here.next_id && id != 0 => {
                here.next_id = id.wrapping_add(1);
                out.inner.extend_from_slice(control.tls);
            }
            _ => {}
        }
    }

    fn on_data_packet(&mut self, data: Data, dir: Dir, out: &mut Out) -> Told {
        let confirmed = self.confirmed;
        let (here, there) = self.pair(dir);
        let run = match &here.data {
            Some((last, n)) if last.goes_on_as(&data) => n.saturating_add(1),
            // Overtaken on the way: neither counts nor breaks.
            Some((last, n)) if last.head == data.head && data.id < last.id => *n,
            _ => 1,
        };
        here.data = Some((data, run));
        if confirmed {
            return if run >= DATA_DONE { Told::Finished } else { Told::Mine };
        }
        let both = there.data.as_ref().is_some_and(|(d, n)| *n >= DATA_RUN && d.head == data.head);
        if both && run >= DATA_RUN {
            out.evidence(&DATA, format!("peer id {}, packet {}", data.head & 0x00FF_FFFF, data.id));
            out.is("openvpn");
            out.basis = Basis::Midstream;
            return Told::Finished;
        }
        Told::Mine
    }

    fn scrambled(&mut self, message: &[u8], dir: Dir, out: &mut Out) -> Told {
        let (here, there) = self.pair(dir);
        let mode = if there.opening.is_empty() { None } else { scramble::mode(&there.opening, message) };
        if let Some(mode) = mode {
            out.client = Some(dir.receiver());
            out.evidence(&SCRAMBLED, mode);
            out.is("openvpn");
            return Told::Finished;
        }
        if here.opening.is_empty() && scramble::may_be_reset(message.len()) {
            here.opening = message.to_vec();
            return Told::Mine;
        }
        Told::Nothing
    }
}

/// The first message of a TCP stream, and what lies behind it; `None` while its end is missing.
fn framed(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut r = Reader::new(data);
    let message = r.vec16().ok()?;
    Some((message, r.rest()))
}

/// Whether a stream may begin with a message, from its length and first byte.
fn may_be_framed(data: &[u8]) -> bool {
    let mut r = Reader::new(data);
    let Ok(len) = r.u16() else { return true };
    let Ok(first) = r.u8() else { return (wire::LEN_MIN..=MESSAGE_MAX).contains(&len) };
    let answered = usize::from(len).saturating_sub(wire::ANSWER_EXTRA);
    let scrambled = scramble::may_be_reset(usize::from(len)) || scramble::may_be_reset(answered);
    (wire::LEN_MIN..=MESSAGE_MAX).contains(&len)
        && (scrambled || opcode(&[first]).is_some_and(|(op, _)| wire::is_known(op)))
}

/// What a probe makes of one message, with the other side's first.
fn verdict(message: &[u8], other: &[u8]) -> Verdict {
    let echo = || {
        let named =
            wire::session(other).filter(|_| opcode(other).is_some_and(|(op, _)| op < opcode::DATA_V2));
        named.is_some_and(|session| wire::echoes(message, session).is_some())
    };
    if wire::reset(message).is_some() || echo() || scramble::mode(other, message).is_some() {
        return Verdict::Yes;
    }
    if let Some(data) = Data::parse(message) {
        return match Data::parse(other) {
            Some(theirs) if theirs.head == data.head => Verdict::Yes,
            None if other.is_empty() => Verdict::More,
            _ => Verdict::No,
        };
    }
    let may_open = other.is_empty()
        && (scramble::may_be_reset(message.len()) || opcode(message).is_some_and(|(op, _)| is_midway(op)));
    if may_open { Verdict::More } else { Verdict::No }
}

/// Opcodes of a handshake that is under way.
const fn is_midway(op: u8) -> bool {
    matches!(op, opcode::CONTROL | opcode::ACK)
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "openvpn",
        title: "OpenVPN",
        label: Some("openvpn"),
        app_proto: "failed",
        transports: &[Transport::Udp, Transport::Tcp],
        ports: &[1194],
        first: FirstBytes::ANY,
        budget: 16_384,
        carrier: false,
        reference: "OpenVPN Protocol (openvpn.net); draft-openvpn-protocol; Xue et al., USENIX Security 2022",
        evidence: &[RESET, ANSWER, SESSION, DATA, SCRAMBLED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport == Transport::Udp {
            // A snapped datagram has lost what its size would tell, unless it is data.
            let whole = p.wire_len == p.data.len() || Data::parse(p.data).is_some();
            return if whole { verdict(p.data, p.other) } else { Verdict::No };
        }
        if !may_be_framed(p.data) {
            return Verdict::No;
        }
        let other = framed(p.other).map_or(&[][..], |(message, _)| message);
        match framed(p.data) {
            None => Verdict::More,
            // The client says nothing more before it has an answer.
            Some((message, _)) => verdict(message, other),
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.confirmed {
            return Next::Done;
        }
        if seg.transport == Transport::Udp {
            return match self.on_message(seg.data, seg.dir, out) {
                Told::Finished => Next::Done,
                Told::Nothing if !self.is_possible() => Next::NotMine,
                Told::Mine | Told::Nothing => Next::Continue { consumed: seg.data.len() },
            };
        }
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            let Some((message, behind)) = framed(rest) else { return Next::Continue { consumed } };
            match self.on_message(message, seg.dir, out) {
                Told::Finished => return Next::Done,
                Told::Nothing if self.confirmed => return Next::Done,
                Told::Nothing if !self.is_possible() => return Next::NotMine,
                Told::Mine | Told::Nothing => rest = behind,
            }
        }
    }
}

impl State {
    /// Whether anything that was seen may still become a session.
    fn is_possible(&self) -> bool {
        let open = |s: &Side| s.session.is_some() || s.data.is_some() || !s.opening.is_empty();
        self.confirmed || self.wrap.is_some() || self.sides.iter().any(open)
    }
}

#[cfg(test)]
#[path = "openvpn/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
