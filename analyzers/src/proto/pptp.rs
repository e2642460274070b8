//! PPTP (RFC 2637): the control connection over TCP, and the enhanced GRE that carries its calls.
//!
//! In: a byte stream, or packets of IP protocol 47. Out: the label `pptp` once a control connection was accepted or one is at work,
//! and for GRE from its own header. What PPP carries comes out as flows of their own, by decoding.

use crate::{
    Analyzer, Basis, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const PROTOCOL_GRE: u8 = 47;

/// A control message (RFC 2637 section 1.4 and 2).
mod control {
    /// The only PPTP message type in use.
    pub(super) const MESSAGE: u16 = 1;
    pub(super) const MAGIC: u32 = 0x1A2B_3C4D;
    /// Length, message type, magic, control message type, reserved.
    pub(super) const HEADER: usize = 12;
    pub(super) const START_REQUEST: u16 = 1;
    pub(super) const START_REPLY: u16 = 2;
    pub(super) const STOP_REQUEST: u16 = 3;
    pub(super) const STOP_REPLY: u16 = 4;
    /// Where a reply has its result code, and what it says of a connection that stands (section 2.2).
    pub(super) const RESULT_AT: usize = 14;
    pub(super) const ACCEPTED: u8 = 1;

    /// Length of the message of this type (sections 2.1 to 2.15).
    pub(super) const fn length(kind: u16) -> Option<u16> {
        Some(match kind {
            START_REQUEST | START_REPLY => 156,
            // stop request and reply, echo request, call clear request
            STOP_REQUEST | STOP_REPLY | 5 | 12 => 16,
            6 => 20,       // echo reply
            7 => 168,      // outgoing call request
            8 => 32,       // outgoing call reply
            9 => 220,      // incoming call request
            10 | 15 => 24, // incoming call reply, set link info
            11 => 28,      // incoming call connected
            13 => 148,     // call disconnect notify
            14 => 40,      // WAN error notify
            _ => return None,
        })
    }
}

/// Enhanced GRE (RFC 2637 section 4.1): key present, version 1, protocol PPP, no checksum, no routing.
mod gre {
    /// Sequence number present.
    pub(super) const SEQUENCE: u8 = 0x10;
    pub(super) const KEY: u8 = 0x20;
    /// Acknowledgment number present, in the second byte.
    pub(super) const ACKNOWLEDGMENT: u8 = 0x80;
    pub(super) const VERSION: u8 = 1;
    pub(super) const PPP: u16 = 0x880B;
}

/// GRE packets that make a recognition: each fixes 46 bits, and a call is more than one of them.
const GRE_RUN: u8 = 2;
/// GRE packets after which a flow without data of PPTP's is let go.
const GRE_GIVE_UP: u8 = 16;

const REQUEST: Kind = Kind {
    name: "pptp.request",
    decibans: 25,
    says: "a Start-Control-Connection-Request of exact length with PPTP's magic (RFC 2637 section 2.1)",
};
const REFUSED: Kind = Kind {
    name: "pptp.refused",
    decibans: 20,
    says: "the server does not accept the control connection (RFC 2637 section 2.2)",
};
const ACCEPTED: Kind = Kind {
    name: "pptp.accepted",
    decibans: 40,
    says: "a Start-Control-Connection-Reply that accepts (RFC 2637 section 2.2)",
};
const CALL: Kind = Kind {
    name: "pptp.control",
    decibans: 30,
    says: "a control message that only an accepted connection has: magic, type and the type's exact length (RFC 2637 sections 2.5 to 2.15)",
};
const GRE: Kind = Kind {
    name: "pptp.gre",
    decibans: 30,
    says: "enhanced GRE with PPP inside and a length that fits (RFC 2637 section 4.1)",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    requested: bool,
    refused: bool,
    gre_packets: u8,
    /// A packet of GRE had a payload.
    carries: bool,
}

/// A control message, as far as it matters.
#[derive(Clone, Copy, Debug)]
struct Control {
    kind: u16,
    len: usize,
}

impl Control {
    /// The header of a message: `Ok(None)` if it is none. A field that is wrong shows before the ones behind it are there.
    fn parse(data: &[u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let len = r.u16()?;
        let known = (1..=15).any(|kind| control::length(kind) == Some(len));
        if !known {
            return Ok(None);
        }
        if r.u16()? != control::MESSAGE || r.u32()? != control::MAGIC {
            return Ok(None);
        }
        let (kind, reserved) = (r.u16()?, r.u16()?);
        let fits = control::length(kind) == Some(len) && reserved == 0;
        Ok(fits.then_some(Self { kind, len: usize::from(len) }))
    }
}

/// The call number and the payload length of a packet of enhanced GRE.
fn enhanced_gre(data: &[u8], wire_len: usize) -> Option<(u16, usize)> {
    let mut r = Reader::new(data);
    let (first, second, protocol) = (r.u8().ok()?, r.u8().ok()?, r.u16().ok()?);
    let (len, call) = (usize::from(r.u16().ok()?), r.u16().ok()?);
    let shape = first & !gre::SEQUENCE == gre::KEY
        && second & !gre::ACKNOWLEDGMENT == gre::VERSION
        && protocol == gre::PPP;
    let optional = [first & gre::SEQUENCE, second & gre::ACKNOWLEDGMENT];
    let numbers = optional.iter().filter(|bit| **bit != 0).count();
    let header = numbers.saturating_mul(4).saturating_add(8);
    // Only packets with a payload are numbered, and only a lone acknowledgment has none (section 4.1).
    let numbered = (first & gre::SEQUENCE != 0) == (len > 0) && numbers > 0;
    (shape && numbered && header.saturating_add(len) == wire_len).then_some((call, len))
}

impl State {
    fn on_control(&mut self, message: &[u8], control: Control, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: 0 };
        match control.kind {
            control::START_REQUEST => {
                if !self.requested {
                    self.requested = true;
                    out.client = Some(seg.dir.sender());
                    out.evidence(&REQUEST, host_name(message));
                }
                go_on
            }
            control::START_REPLY => {
                out.client = Some(seg.dir.receiver());
                let result = message.get(control::RESULT_AT).copied().unwrap_or_default();
                if result == control::ACCEPTED {
                    out.evidence(&ACCEPTED, host_name(message));
                    out.is("pptp");
                    return Next::Done;
                }
                self.refused = true;
                out.evidence(&REFUSED, format!("result {result}"));
                go_on
            }
            control::STOP_REQUEST | control::STOP_REPLY => go_on,
            _ if self.refused => Next::Done,
            kind => {
                out.evidence(&CALL, format!("message {kind}, {} B", control.len));
                out.is("pptp");
                if !self.requested {
                    out.basis = Basis::Midstream;
                }
                Next::Done
            }
        }
    }

    fn on_gre(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.gre_packets = self.gre_packets.saturating_add(1);
        match enhanced_gre(seg.data, seg.wire_len) {
            Some((call, len)) if (self.carries || len > 0) && self.gre_packets >= GRE_RUN => {
                out.evidence(&GRE, format!("call {call}, {} packets", self.gre_packets));
                out.is("pptp");
                out.basis = Basis::Midstream;
                Next::Done
            }
            Some((_, len)) if self.gre_packets < GRE_GIVE_UP => {
                self.carries |= len > 0;
                Next::Continue { consumed: seg.data.len() }
            }
            Some(_) => Next::Done,
            None => Next::NotMine,
        }
    }
}

/// Host and vendor of a start message, for a person (sections 2.1 and 2.2): 64 bytes each, at its end.
fn host_name(message: &[u8]) -> String {
    let text = |at: usize| {
        let field = message.get(at..at.saturating_add(64)).unwrap_or_default();
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        field.get(..end).unwrap_or_default().escape_ascii().to_string()
    };
    let (host, vendor) = (text(28), text(92));
    if vendor.is_empty() { format!("host {host:?}") } else { format!("host {host:?}, vendor {vendor:?}") }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "pptp",
        title: "PPTP",
        label: Some("pptp"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Ip(PROTOCOL_GRE)],
        ports: &[1723],
        first: FirstBytes::of(&[0, gre::KEY, gre::KEY | gre::SEQUENCE]),
        budget: 8_192,
        carrier: false,
        reference: "RFC 2637",
        evidence: &[REQUEST, REFUSED, ACCEPTED, CALL, GRE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport != Transport::Tcp {
            return if enhanced_gre(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No };
        }
        match Control::parse(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) if p.data.len() < control::HEADER => Verdict::More,
            Err(Short) => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.transport != Transport::Tcp {
            return self.on_gre(seg, out);
        }
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            match Control::parse(rest) {
                Err(Short) => return Next::Continue { consumed },
                Ok(None) if self.requested => return Next::Done,
                Ok(None) => return Next::NotMine,
                Ok(Some(control)) => {
                    let Some((message, behind)) = rest.split_at_checked(control.len) else {
                        return Next::Continue { consumed };
                    };
                    match self.on_control(message, control, seg, out) {
                        Next::Continue { .. } => rest = behind,
                        next => return next,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::OPENING, tests::MIDWAY, tests::ONE_CALL];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::{Dir, Side};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// A message of its type's length; the rest is zero but for the result code and a host name.
    const fn message<const N: usize>(kind: u8, result: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let head = [0, N as u8, 0, 1, 0x1A, 0x2B, 0x3C, 0x4D, 0, kind, 0, 0, 1, 0];
        let mut i = 0;
        while i < head.len() {
            bytes[i] = head[i];
            i += 1;
        }
        bytes[14] = result;
        if N == 156 {
            (bytes[28], bytes[29]) = (b'p', b'c');
        }
        bytes
    }

    const REQUEST: [u8; 156] = message(1, 0);
    const REPLY: [u8; 156] = message(2, 1);
    const REFUSAL: [u8; 156] = message(2, 5);
    const CALL_REQUEST: [u8; 168] = message(7, 0);
    const ECHO: [u8; 16] = message(5, 0);

    pub(super) const OPENING: Fixture<'_> = Fixture {
        name: "start and call",
        transport: Transport::Tcp,
        payloads: &[(UP, &REQUEST), (DOWN, &REPLY), (UP, &CALL_REQUEST)],
    };
    pub(super) const MIDWAY: Fixture<'_> =
        Fixture { name: "echo", transport: Transport::Tcp, payloads: &[(UP, &ECHO)] };
    pub(super) const ONE_CALL: Fixture<'_> = Fixture {
        name: "enhanced GRE",
        transport: Transport::Ip(47),
        payloads: &[
            (UP, b"\x20\x81\x88\x0b\0\0\0\x09\0\0\0\x01"),
            (UP, b"\x30\x01\x88\x0b\0\x08\0\x09\0\0\0\x01\xff\x03\xc0\x21\x01\x01\0\x04"),
        ],
    };

    #[test]
    fn an_accepted_connection_is_pptp_however_its_bytes_are_cut() {
        for piece in [usize::MAX, 100, 1] {
            let got = drive::<State>(&OPENING, piece);
            assert_eq!((got.out.label, got.out.client), (Some("pptp"), Some(Side::Src)));
            assert_eq!(got.out.basis, Basis::Handshake);
        }
    }

    #[test]
    fn a_request_without_an_answer_and_a_refusal_are_evidence_and_no_label() {
        let alone = drive::<State>(&Fixture { payloads: &[(UP, &REQUEST)], ..OPENING }, usize::MAX);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
        let payloads = &[(UP, &REQUEST[..]), (DOWN, &REFUSAL)];
        let refused = drive::<State>(&Fixture { payloads, ..OPENING }, usize::MAX);
        assert_eq!((refused.out.label, refused.out.evidence.len()), (None, 2));
    }

    #[test]
    fn a_side_alone_is_pptp_once_it_calls() {
        let payloads = &[(UP, &REQUEST[..]), (UP, &CALL_REQUEST)];
        let got = drive::<State>(&Fixture { payloads, ..OPENING }, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("pptp"), Basis::Handshake));
        let got = drive::<State>(&MIDWAY, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("pptp"), Basis::Midstream));
    }

    #[test]
    fn any_field_that_does_not_fit_is_not_pptp() {
        for (at, byte) in [(0, 1), (1, 17), (3, 2), (4, 0x1B), (7, 0x4E), (9, 6), (9, 16), (11, 1)] {
            let mut wrong = ECHO;
            wrong[at] = byte;
            let payloads = &[(UP, &wrong[..])];
            assert!(!drive::<State>(&Fixture { payloads, ..MIDWAY }, usize::MAX).mine, "byte {at}");
        }
    }

    #[test]
    fn enhanced_gre_with_ppp_is_pptp_and_a_lone_acknowledgment_waits() {
        assert_eq!(drive::<State>(&ONE_CALL, usize::MAX).out.label, Some("pptp"));
        let [acknowledgment, data] = [ONE_CALL.payloads[0], ONE_CALL.payloads[1]];
        for (payloads, label) in [
            (&[acknowledgment, acknowledgment][..], None),
            (&[data][..], None),
            (&[data, acknowledgment][..], Some("pptp")),
        ] {
            assert_eq!(drive::<State>(&Fixture { payloads, ..ONE_CALL }, usize::MAX).out.label, label);
        }
        // Version, protocol, length, checksum bit, a payload without a number.
        let data = ONE_CALL.payloads[1].1;
        for (at, byte) in [(1, 0x00), (3, 0x0c), (5, 9), (0, 0xB0), (0, 0x20)] {
            let mut wrong = data.to_vec();
            wrong[at] = byte;
            let payloads = &[(UP, &wrong[..])];
            assert!(!drive::<State>(&Fixture { payloads, ..ONE_CALL }, usize::MAX).mine, "byte {at}");
        }
    }
}
