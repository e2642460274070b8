//! WireGuard (UDP).
//!
//! In: datagrams. Out: the label `wireguard` from its four messages: an answer that names the sender index of the question, data that
//! goes to the index an answer gave, or the data plane alone, by its counter and its sizes. Where only one side is seen, also from
//! initiations that repeat as WireGuard's do.
//!
//! Services that put something into the reserved bytes or lengthen the handshake are found by the same indices. Cloudflare's puts its
//! client's number there: then `warp` is told beside it.
//!
//! Tailscale's discovery between the datagrams tells `tailscale` beside it, where `tailscale.rs` did not see the flow begin.
//! Variants that change the message types are told by `amneziawg.rs`, as far as it goes.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
};

/// Message types in the low bits of the first byte, and sizes (WireGuard paper, section 5.4).
mod message {
    pub(super) const INITIATION: u8 = 1;
    pub(super) const INITIATION_LEN: usize = 148;
    /// MAC over a cookie at the end, zero without one.
    pub(super) const COOKIE_MAC: usize = 16;
    pub(super) const RESPONSE: u8 = 2;
    pub(super) const RESPONSE_LEN: usize = 92;
    pub(super) const COOKIE: u8 = 3;
    pub(super) const COOKIE_LEN: usize = 64;
    /// Transport data: 16 bytes of header, then ciphertext with a 16-byte tag.
    pub(super) const DATA: u8 = 4;
    pub(super) const DATA_MIN: usize = 32;
    /// Padding of what is encrypted (section 5.4.6).
    pub(super) const PADDING: usize = 16;
    /// Bits that Cloudflare's client sets in the type byte.
    pub(super) const TYPE: u8 = 0x3F;
}

/// Data packets of one session, in order, that make a recognition from the data plane: each fixes 64 bits of header and, but for
/// its small step, 64 of the counter.
const DATA_RUN: u8 = 3;
/// As many for an implementation that does not pad (boringtun), whose sizes say nothing.
const DATA_RUN_UNPADDED: u8 = 8;
/// Data packets without such a run after which it is something else.
const DATA_GIVE_UP: u8 = 16;
/// Datagrams that are none of WireGuard's (hole punching, STUN, Tailscale's discovery) before it is something else.
const STRANGERS_MAX: u8 = 16;
/// WireGuard rejects counters near 2^64 (REJECT_AFTER_MESSAGES); a session in the wild never comes near 2^48.
const COUNTER_MAX: u64 = 1 << 48;
/// Initiations behind the first, at REKEY_TIMEOUT (5 s) and a jitter of up to a third of a second, with some delay allowed.
const RETRIES: u8 = 2;
const RETRY_NS: std::ops::RangeInclusive<i64> = 4_900_000_000..=5_900_000_000;
/// Packets that a capture may miss between two.
const STEP_MAX: u64 = 1024;

const INITIATION: Kind = Kind {
    name: "wireguard.initiation",
    decibans: 26,
    says: "148-byte handshake initiation, type 1, reserved bytes zero (WireGuard paper 5.4.2)",
};
const INITIATIONS: Kind = Kind {
    name: "wireguard.initiations",
    decibans: 6,
    says: "initiations at WireGuard's interval, each with its own index and key and without a cookie (WireGuard paper 5.4.2, 6.1); \
           the other side is not seen",
};
const RESPONSE: Kind = Kind {
    name: "wireguard.response",
    decibans: 40,
    says: "handshake response that names the initiation's sender index (WireGuard paper 5.4.3)",
};
const SESSION: Kind = Kind {
    name: "wireguard.session",
    decibans: 35,
    says: "transport data to the index that a handshake response gave (WireGuard paper 5.4.6)",
};
const COOKIE: Kind = Kind {
    name: "wireguard.cookie",
    decibans: 30,
    says: "64-byte cookie reply that names the initiation's sender index: the server is under load (WireGuard paper 5.4.7)",
};
const DATA: Kind = Kind {
    name: "wireguard.data",
    decibans: 20,
    says: "transport data with constant receiver index and growing counter (WireGuard paper 5.4.6)",
};
const CLIENT_NUMBER: Kind = Kind {
    name: "wireguard.client_number",
    decibans: 15,
    says: "both sides show the same number in the reserved bytes, as Cloudflare WARP's do (ndpi's capture of it; the reserved \
           setting of clients that imitate it); no other service is known to",
};

const DISCOVERY: Kind = Kind {
    name: "wireguard.discovery",
    decibans: 25,
    says: "between WireGuard's datagrams a discovery message of Tailscale's: six bytes of magic (Tailscale disco/disco.go)",
};

/// Tailscale's discovery, which has an analyzer of its own that takes flows from their beginning: magic, key, nonce, box.
const DISCO_MAGIC: &[u8] = b"TS\xf0\x9f\x92\xac";
const DISCO_LEN_MIN: usize = 80;
/// Datagrams behind a recognition in the middle among which such a message would be: it comes every few seconds.
const WATCH: u8 = 32;

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// Sender index of its last initiation.
    initiation: Option<u32>,
    retries: Retries,
    /// Sender and receiver index of its last response.
    response: Option<(u32, u32)>,
    /// The reserved bytes of its last message.
    number: [u8; 3],
    data: Option<Run>,
}

/// Initiations of one side that the other side did not answer.
#[derive(Clone, Copy, Debug, Default)]
struct Retries {
    /// Time, index and how the ephemeral key begins, of the last.
    last: Option<(i64, u32, [u8; 8])>,
    /// How many came at the right interval.
    timed: u8,
}

impl Retries {
    /// Takes an initiation in; whether enough came.
    fn push(&mut self, ts_ns: i64, data: &[u8]) -> bool {
        let mut r = Reader::new(data);
        let fields = (|| {
            r.skip(4)?;
            let fields = (ts_ns, r.u32_le()?, r.array::<8>()?);
            r.skip(message::INITIATION_LEN.saturating_sub(message::COOKIE_MAC.saturating_add(16)))?;
            Ok::<_, Short>((fields, r.take(message::COOKIE_MAC)?.iter().all(|b| *b == 0)))
        })();
        let Ok((now, true)) = fields else { return false };
        let timed = self.last.is_some_and(|(then, index, key)| {
            RETRY_NS.contains(&ts_ns.saturating_sub(then)) && index != now.1 && !are_alike(key, now.2)
        });
        self.timed = if timed { self.timed.saturating_add(1) } else { 0 };
        self.last = Some(now);
        self.timed >= RETRIES
    }
}

/// Data packets in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    header: Header,
    counter: u64,
    /// How the ciphertext begins.
    cipher: [u8; 8],
    packets: u8,
    /// Largest size so far, and whether all others are on the padding's lattice.
    largest: usize,
    padded: bool,
}

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    sides: [Side; 2],
    /// Whether a side has said anything, by direction.
    heard: [bool; 2],
    said_initiation: bool,
    said_cookie: bool,
    /// A response named the initiation.
    answered: bool,
    /// A discovery message of Tailscale's was seen.
    discovery: bool,
    /// Recognised in the middle: datagrams seen since.
    watched: Option<u8>,
    strangers: u8,
    data_packets: u8,
}

/// Type, reserved bits and receiver index of a data packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    mark: Mark,
    receiver: u32,
}

/// The reserved bytes, and the type byte's upper bits: zero, but for some services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark(u8, [u8; 3]);

impl Mark {
    const NONE: Self = Self(0, [0; 3]);
}

/// What one datagram is.
#[derive(Clone, Copy, Debug)]
enum Message {
    Initiation { sender: u32 },
    Response { sender: u32, receiver: u32 },
    Cookie { receiver: u32 },
    Data { receiver: u32, counter: u64, cipher: [u8; 8] },
}

impl Message {
    fn parse(data: &[u8], wire_len: usize) -> Result<Option<(Mark, Self)>, Short> {
        let mut r = Reader::new(data);
        let first = r.u8()?;
        let mark = Mark(first & !message::TYPE, r.array()?);
        let message = match (first & message::TYPE, wire_len) {
            (message::INITIATION, len) if len >= message::INITIATION_LEN => {
                Some(Self::Initiation { sender: r.u32_le()? })
            }
            (message::RESPONSE, len) if len >= message::RESPONSE_LEN => {
                Some(Self::Response { sender: r.u32_le()?, receiver: r.u32_le()? })
            }
            (message::COOKIE, message::COOKIE_LEN) => Some(Self::Cookie { receiver: r.u32_le()? }),
            (message::DATA, len) if len >= message::DATA_MIN => {
                let receiver = r.u32_le()?;
                let counter = r.array().map(u64::from_le_bytes)?;
                // Captures that keep headers only may have lost the ciphertext.
                let cipher = r.array().unwrap_or_default();
                (counter < COUNTER_MAX).then_some(Self::Data { receiver, counter, cipher })
            }
            _ => None,
        };
        Ok(message.map(|message| (mark, message)))
    }

    /// Whether the size is the specification's own, and not that of a service with a longer handshake.
    const fn has_own_size(&self, wire_len: usize) -> bool {
        match self {
            Self::Initiation { .. } => wire_len == message::INITIATION_LEN,
            Self::Response { .. } => wire_len == message::RESPONSE_LEN,
            Self::Cookie { .. } | Self::Data { .. } => true,
        }
    }
}

impl Run {
    fn start(header: Header, counter: u64, cipher: [u8; 8], len: usize) -> Self {
        Self { header, counter, cipher, packets: 1, largest: len, padded: is_padded(len) }
    }

    /// Takes the next packet in.
    fn push(&mut self, counter: u64, cipher: [u8; 8], len: usize) {
        // The largest packets are cut to the tunnel's MTU instead of being padded; all that are smaller must be padded.
        self.padded = match len.cmp(&self.largest) {
            std::cmp::Ordering::Less => self.padded && is_padded(len),
            std::cmp::Ordering::Equal => self.padded,
            std::cmp::Ordering::Greater => is_padded(self.largest) && (self.padded || self.packets == 1),
        };
        self.largest = self.largest.max(len);
        self.packets = self.packets.saturating_add(1);
        (self.counter, self.cipher) = (counter, cipher);
    }

    /// Whether the packets so far can be nothing else.
    const fn is_enough(&self) -> bool {
        self.packets >= DATA_RUN_UNPADDED || (self.packets >= DATA_RUN && self.padded)
    }
}

const fn is_padded(len: usize) -> bool {
    len.is_multiple_of(message::PADDING)
}

/// Whether two ciphertexts begin alike, as constant fields would.
fn are_alike(a: [u8; 8], b: [u8; 8]) -> bool {
    a != [0; 8] && a.iter().zip(&b).filter(|(a, b)| a == b).count() >= 3
}

impl State {
    fn pair(&mut self, dir: Dir) -> (&mut Side, &mut Side) {
        let [up, down] = &mut self.sides;
        if dir == Dir::ToServer { (up, down) } else { (down, up) }
    }

    /// Nothing more can come of it: what an answer proved stays.
    const fn give_up(&self) -> Next {
        if self.answered { Next::Done } else { Next::NotMine }
    }

    /// Whose service it is, once both sides have shown the same number in the reserved bytes.
    fn name_service(&self, out: &mut Out) {
        if self.discovery && out.brand.is_none() {
            out.evidence(&DISCOVERY, "");
            out.brand = Some("tailscale");
        }
        let [up, down] = &self.sides;
        if up.number == down.number && up.number != [0; 3] && out.brand.is_none() {
            let [a, b, c] = up.number;
            out.evidence(&CLIENT_NUMBER, format!("{a:02x}{b:02x}{c:02x}"));
            out.brand = Some("warp");
        }
    }

    fn on_data_message(
        &mut self,
        header: Header,
        counter: u64,
        cipher: [u8; 8],
        seg: &Segment<'_>,
        out: &mut Out,
    ) -> Next {
        self.data_packets = self.data_packets.saturating_add(1);
        let exhausted = self.data_packets >= DATA_GIVE_UP;
        let (here, there) = self.pair(seg.dir);
        let receiver = header.receiver;
        // The responder sends to the initiator's index, which its response named; the initiator to the index it gave itself.
        let from_responder = here.response.is_some_and(|(_, named)| named == receiver);
        let from_initiator = there.response.is_some_and(|(given, _)| given == receiver);
        if from_responder || from_initiator {
            out.client = Some(if from_responder { seg.dir.receiver() } else { seg.dir.sender() });
            if out.label.is_none() {
                out.evidence(&SESSION, format!("index {receiver:#010x}, counter {counter}"));
                out.is("wireguard");
            }
            self.name_service(out);
            return Next::Done;
        }
        match &mut here.data {
            // Overtaken on the way: neither counts nor breaks.
            Some(run) if run.header == header && counter <= run.counter => {}
            Some(run)
                if run.header == header
                    && counter.saturating_sub(run.counter) <= STEP_MAX
                    && !are_alike(run.cipher, cipher) =>
            {
                run.push(counter, cipher, seg.wire_len);
            }
            other => *other = Some(Run::start(header, counter, cipher, seg.wire_len)),
        }
        let Some(run) = here.data.filter(Run::is_enough) else {
            return if exhausted { self.give_up() } else { Next::Continue { consumed: seg.data.len() } };
        };
        // With other reserved bytes than zero, both sides must show the same.
        if header.mark != Mark::NONE && there.data.is_none_or(|theirs| theirs.header.mark != header.mark) {
            return Next::Continue { consumed: seg.data.len() };
        }
        out.evidence(&DATA, format!("{} packets to index {receiver:#010x}, counter {counter}", run.packets));
        out.is("wireguard");
        out.basis = Basis::Midstream;
        self.name_service(out);
        if out.brand.is_some() {
            return Next::Done;
        }
        self.watched = Some(0);
        Next::Continue { consumed: seg.data.len() }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "wireguard",
        title: "WireGuard",
        label: Some("wireguard"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[51820],
        first: FirstBytes::of(&[1, 2, 3, 4, 0xC1, 0xC2, 0xC4]),
        budget: 65_536,
        carrier: false,
        reference: "Donenfeld, WireGuard: Next Generation Kernel Network Tunnel, NDSS 2017, section 5.4",
        evidence: &[INITIATION, INITIATIONS, RESPONSE, SESSION, COOKIE, DATA, CLIENT_NUMBER, DISCOVERY],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let Ok(Some((mark, message))) = Message::parse(p.data, p.wire_len) else { return Verdict::No };
        let other = Message::parse(p.other, p.other.len()).ok().flatten();
        let named = match (message, other) {
            (Message::Response { receiver, .. }, Some((_, Message::Initiation { sender }))) => {
                receiver == sender
            }
            (Message::Data { receiver, .. }, Some((theirs, Message::Response { sender, .. }))) => {
                receiver == sender && theirs == mark
            }
            // Each side has its own index; where both show the same eight bytes it is an IKE cookie or the like.
            (Message::Data { receiver, .. }, Some((theirs, Message::Data { receiver: other, .. }))) => {
                theirs == mark && receiver != other
            }
            _ => false,
        };
        // A cookie reply alone has nothing that a DNS message of its size might not have.
        let alone = !matches!(message, Message::Cookie { .. });
        if named || (alone && mark == Mark::NONE && message.has_own_size(p.wire_len)) {
            Verdict::Yes
        } else {
            Verdict::More
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        self.discovery |= seg.wire_len >= DISCO_LEN_MIN && seg.data.starts_with(DISCO_MAGIC);
        if let Some(watched) = &mut self.watched {
            *watched = watched.saturating_add(1);
            let over = *watched >= WATCH || self.discovery;
            if over {
                self.name_service(out);
            }
            return if over { Next::Done } else { go_on };
        }
        if let Some(heard) = self.heard.get_mut(seg.dir.index()) {
            *heard = true;
        }
        let alone = !self.heard.iter().all(|heard| *heard);
        if !alone && !self.answered {
            out.label = None; // of initiations alone; what is said now decides
        }
        let Ok(Some((mark, message))) = Message::parse(seg.data, seg.wire_len) else {
            self.strangers = self.strangers.saturating_add(1);
            return if self.strangers <= STRANGERS_MAX { go_on } else { self.give_up() };
        };
        let (here, there) = self.pair(seg.dir);
        here.number = mark.1;
        match message {
            Message::Initiation { sender } => {
                here.initiation = Some(sender);
                let plain = mark == Mark::NONE && message.has_own_size(seg.wire_len);
                let retried = plain && alone && here.retries.push(seg.ts_ns, seg.data);
                // One initiation is an attempt, not a session: evidence, no label.
                if plain && !self.said_initiation {
                    self.said_initiation = true;
                    out.client.get_or_insert(seg.dir.sender());
                    out.evidence(&INITIATION, format!("sender index {sender:#010x}"));
                }
                if retried && out.label.is_none() {
                    out.evidence(&INITIATIONS, format!("{} in a row", RETRIES.saturating_add(1)));
                    out.is("wireguard");
                }
                go_on
            }
            Message::Response { sender, receiver } => {
                here.response = Some((sender, receiver));
                if there.initiation != Some(receiver) {
                    return go_on;
                }
                out.client = Some(seg.dir.receiver());
                let mut detail = format!("answers index {receiver:#010x}");
                if mark != Mark::NONE {
                    detail.push_str(", reserved bytes in use");
                }
                // Before it is registered a client has no number: then its data shows it.
                let unnumbered = mark.1 != [0; 3] && there.number == [0; 3];
                out.evidence(&RESPONSE, detail);
                out.is("wireguard");
                self.answered = true;
                self.name_service(out);
                if unnumbered { go_on } else { Next::Done }
            }
            Message::Cookie { receiver } => {
                if there.initiation == Some(receiver) && !self.said_cookie {
                    self.said_cookie = true;
                    out.evidence(&COOKIE, format!("answers index {receiver:#010x}"));
                }
                go_on
            }
            Message::Data { receiver, counter, cipher } => {
                self.on_data_message(Header { mark, receiver }, counter, cipher, seg, out)
            }
        }
    }
}

#[cfg(test)]
#[path = "wireguard/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
