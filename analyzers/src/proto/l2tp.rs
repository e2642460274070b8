//! L2TP over UDP: version 2 (RFC 2661) and version 3 (RFC 3931).
//!
//! In: datagrams. Out: the label `l2tp` once a tunnel's opening was answered, for control messages that only a standing tunnel has, or
//! from the data plane: one session's numbers, with PPP or an Ethernet frame behind them packet after packet. Inside IPsec nothing of
//! it shows. What PPP or the frames carry comes out as flows of their own, by decoding.

use crate::{Analyzer, Basis, Dir, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

#[path = "l2tp/wire.rs"]
mod wire;

use wire::{Control, Message, kind};

/// Data packets in a row of one session and direction: each fixes the header's 12 bits and 24 or more of what is inside, each but the
/// first 32 bits of numbers.
const DATA_RUN: u8 = 3;
/// Datagrams that are none of L2TP's before it is something else.
const STRANGERS_MAX: u8 = 4;
/// Datagrams after which no label is expected any more.
const GIVE_UP: u8 = 48;

const REQUEST: Kind = Kind {
    name: "l2tp.request",
    decibans: 25,
    says: "Start-Control-Connection-Request whose attributes add up to its length (RFC 2661 section 6.1)",
};
const ANSWER: Kind = Kind {
    name: "l2tp.answer",
    decibans: 40,
    says: "an answer addressed to the tunnel number that the other side gave itself (RFC 2661 section 5.1)",
};
const REFUSED: Kind = Kind {
    name: "l2tp.refused",
    decibans: 20,
    says: "Stop-Control-Connection-Notification in place of an answer (RFC 2661 section 6.4)",
};
const CONTROL: Kind = Kind {
    name: "l2tp.control",
    decibans: 30,
    says: "a control message that only an accepted tunnel has, with attributes that add up (RFC 2661 section 6)",
};
const DATA: Kind = Kind {
    name: "l2tp.data",
    decibans: 25,
    says: "data of one tunnel and session with PPP, or an Ethernet frame, in every packet (RFC 2661 section 3.1; RFC 3931 section 4.1.2)",
};

/// What is known of the tunnel.
#[derive(Debug, Default)]
pub struct State {
    /// The tunnel number that a side gave itself in its request, by direction.
    given: [Option<u32>; 2],
    /// Session of the last data packet, and how many in a row, by direction.
    data: [Option<(wire::Session, u8)>; 2],
    requested: bool,
    refused: bool,
    strangers: u8,
    datagrams: u8,
}

impl State {
    fn on_control(&mut self, control: &Control, dir: Dir, out: &mut Out) -> bool {
        let there = self.given.get(dir.reverse().index()).copied().flatten();
        let answers = there.is_some_and(|tunnel| tunnel == control.tunnel);
        match control.kind {
            // An empty message acknowledges: it has nothing that proves more than its header.
            None => false,
            Some(kind::START_REQUEST) => {
                out.client.get_or_insert(dir.sender());
                if let Some(slot) = self.given.get_mut(dir.index()) {
                    *slot = control.assigned;
                }
                if !self.requested {
                    self.requested = true;
                    out.evidence(&REQUEST, control.to_string());
                }
                false
            }
            Some(kind::STOP) => {
                // At the end of a tunnel it is no refusal, but then the label is long given.
                self.refused = true;
                out.evidence(&REFUSED, control.to_string());
                false
            }
            Some(_) if control.tunnel == 0 || self.refused => false,
            Some(kind) => {
                if kind == kind::START_REPLY {
                    out.client = Some(dir.receiver());
                }
                out.evidence(if answers { &ANSWER } else { &CONTROL }, control.to_string());
                out.is("l2tp");
                if !self.requested && kind != kind::START_REPLY {
                    out.basis = Basis::Midstream;
                }
                true
            }
        }
    }

    fn on_session(&mut self, session: wire::Session, dir: Dir, out: &mut Out) -> bool {
        let Some(slot) = self.data.get_mut(dir.index()) else { return false };
        let run = match slot {
            Some((last, run)) if *last == session => run.saturating_add(1),
            _ => 1,
        };
        *slot = Some((session, run));
        if run < DATA_RUN {
            return false;
        }
        out.evidence(&DATA, session.to_string());
        out.is("l2tp");
        out.basis = Basis::Midstream;
        true
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "l2tp",
        title: "L2TP",
        label: Some("l2tp"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[1701],
        first: wire::FIRST,
        budget: 32_768,
        carrier: false,
        reference: "RFC 2661 (version 2), RFC 3931 (version 3), RFC 4719 (Ethernet)",
        evidence: &[REQUEST, ANSWER, REFUSED, CONTROL, DATA],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match wire::message(p.data, p.wire_len) {
            Some(Message::Control(control)) if control.kind.is_none() => Verdict::More,
            Some(_) => Verdict::Yes,
            None => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.datagrams = self.datagrams.saturating_add(1);
        let sure = match wire::message(seg.data, seg.wire_len) {
            Some(Message::Control(control)) => self.on_control(&control, seg.dir, out),
            Some(Message::Data(session)) => self.on_session(session, seg.dir, out),
            None => {
                self.strangers = self.strangers.saturating_add(1);
                if self.strangers > STRANGERS_MAX && !self.requested {
                    return Next::NotMine;
                }
                false
            }
        };
        if sure {
            Next::Done
        } else if self.datagrams < GIVE_UP {
            Next::Continue { consumed: seg.data.len() }
        } else if self.requested {
            Next::Done
        } else {
            Next::NotMine
        }
    }
}

#[cfg(test)]
#[path = "l2tp/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
