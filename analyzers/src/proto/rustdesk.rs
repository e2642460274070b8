//! RustDesk: machines at their rendezvous server, relays, the opening of sessions, the search on a local network.
//!
//! In: datagrams, a byte stream, or the stream of messages inside a WebSocket. Out: the label `rustdesk` once both sides have said something
//! that its definitions allow, and which side is operated where a session opens.
//!
//! After the keys are exchanged everything is encrypted, so a stream that is joined later is not found; the registration is repeated every
//! few seconds and is. Sessions over UDP (KCP) are not recognised.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Short, Side, Transport, Verdict,
};

#[path = "rustdesk/message.rs"]
mod message;
use message::{Message, Rendezvous};

const ASKED: Kind = Kind {
    name: "rustdesk.asked",
    decibans: 22,
    says: "a message of one side, with the fields of its definition (hbb_common's rendezvous.proto)",
};
const ANSWERED: Kind = Kind {
    name: "rustdesk.answered",
    decibans: 38,
    says: "the rendezvous server or the relay answered in kind (hbb_common's rendezvous.proto)",
};
const OFFERED: Kind = Kind {
    name: "rustdesk.offered",
    decibans: 24,
    says: "a machine offers its signed identity or asks for a password (hbb_common's message.proto)",
};
const SESSION: Kind = Kind {
    name: "rustdesk.session",
    decibans: 40,
    says: "a machine's identity or challenge, answered by an operator's key or login (hbb_common's message.proto)",
};
const DISCOVERED: Kind = Kind {
    name: "rustdesk.discovered",
    decibans: 35,
    says: "a machine answers the search on the local network with its identifier and names (rustdesk's lan.rs)",
};

/// A shorter message fixes too few bits to stand alone.
const TELLING: usize = 8;
/// Messages without a label after which nothing more is to be learnt.
const MESSAGES_MAX: u8 = 16;

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// How messages are delimited, once the first was read.
    framed: Option<bool>,
    /// Who asked the server, and who offered a session.
    asked: Option<Dir>,
    offered: Option<Dir>,
    answered: Option<Dir>,
    key: [bool; 2],
    messages: u8,
}

impl State {
    fn on_message(&mut self, message: Message<'_>, dir: Dir, out: &mut Out) -> Next {
        self.messages = self.messages.saturating_add(1);
        match message {
            Message::SignedId | Message::Hash => {
                if self.offered.is_none() {
                    self.offered = Some(dir);
                    out.evidence(&OFFERED, if message == Message::Hash { "challenge" } else { "identity" });
                }
            }
            Message::PublicKey | Message::Login => {
                if self.offered == Some(dir.reverse()) {
                    return Self::session(dir, message, self.asked, out);
                }
            }
            Message::Rendezvous(message) => return self.on_rendezvous(message, dir, out),
        }
        self.go_on()
    }

    /// The operator, who sent in `dir`, has answered.
    fn session(dir: Dir, message: Message<'_>, asked: Option<Dir>, out: &mut Out) -> Next {
        out.controlled = Some(dir.receiver());
        if asked.is_none() {
            out.client.get_or_insert(dir.sender());
        }
        let detail = match (message == Message::Login, asked.is_some()) {
            (true, false) => "login, not encrypted",
            (true, true) => "login over a relay, not encrypted",
            (false, false) => "keys",
            (false, true) => "keys over a relay",
        };
        out.evidence(&SESSION, detail);
        out.is("rustdesk");
        Next::Done
    }

    fn on_rendezvous(&mut self, message: Rendezvous<'_>, dir: Dir, out: &mut Out) -> Next {
        let detail: String = match message {
            Rendezvous::Pong => {
                out.evidence(&DISCOVERED, "pong");
                out.is("rustdesk");
                return Next::Done;
            }
            Rendezvous::KeyExchange => {
                if let Some(key) = self.key.get_mut(dir.index()) {
                    *key = true;
                }
                if self.key == [true; 2] {
                    // The server speaks first, so who answers is the client.
                    return Self::answered(Some(dir.sender()), "keys", out);
                }
                return self.go_on();
            }
            Rendezvous::Answer(what) => {
                if self.asked == Some(dir.reverse()) {
                    return Self::answered(None, what, out);
                }
                // What the server tells a machine whose question the capture does not have.
                self.answered.get_or_insert(dir);
                return self.go_on();
            }
            Rendezvous::Ping => "search on the local network".into(),
            Rendezvous::RegisterPeer(id) => format!("registers {id}"),
            Rendezvous::RegisterPk(id) => format!("registers the key of {id}"),
            Rendezvous::PunchHoleRequest(id) => format!("wants to operate {id}"),
            Rendezvous::RequestRelay => "wants a relay".into(),
            Rendezvous::TestNat => "asks for its address".into(),
            Rendezvous::Online => "asks who is there".into(),
            Rendezvous::HealthCheck => "health check".into(),
            Rendezvous::PeerAnswer => "answers an operator".into(),
        };
        if self.asked.is_none() {
            self.asked = Some(dir);
            out.client.get_or_insert(dir.sender());
            out.evidence(&ASKED, detail);
        }
        if self.answered == Some(dir.reverse()) && message != Rendezvous::Ping {
            return Self::answered(None, "its client asked later", out);
        }
        self.go_on()
    }

    fn answered(client: Option<Side>, what: &str, out: &mut Out) -> Next {
        if let Some(client) = client {
            out.client.get_or_insert(client);
        }
        out.evidence(&ANSWERED, what);
        out.is("rustdesk");
        Next::Done
    }

    const fn go_on(&self) -> Next {
        if self.messages >= MESSAGES_MAX { Next::Done } else { Next::Continue { consumed: 0 } }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "rustdesk",
        title: "RustDesk",
        label: Some("rustdesk"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[21115, 21116, 21117, 21118, 21119],
        first: FirstBytes::ANY,
        budget: 32_768,
        carrier: false,
        reference: "hbb_common (AGPL-3.0): protos/rendezvous.proto, protos/message.proto, src/bytes_codec.rs; rustdesk src/lan.rs",
        evidence: &[ASKED, ANSWERED, OFFERED, SESSION, DISCOVERED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let udp = p.transport == Transport::Udp;
        let framed = |data| if udp { Ok(None) } else { Message::framed(data) };
        let read = |data| match framed(data) {
            Ok(None) => Message::bare(data),
            framed => framed,
        };
        match read(p.data) {
            Ok(Some((_, taken))) if udp && taken != p.wire_len => Verdict::No,
            Ok(Some((_, taken))) if taken >= TELLING => Verdict::Yes,
            Ok(Some(_)) => match read(p.other) {
                Ok(Some(_)) => Verdict::Yes,
                Ok(None) => Verdict::No,
                Err(Short) => Verdict::More,
            },
            Err(Short) if !udp => Verdict::More,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let all = Next::Continue { consumed: seg.data.len() };
        if seg.transport == Transport::Udp {
            // Holes are punched with datagrams of other kinds.
            return match Message::bare(seg.data) {
                Ok(Some((message, taken))) if taken == seg.wire_len => {
                    match self.on_message(message, seg.dir, out) {
                        Next::Continue { .. } => all,
                        next => next,
                    }
                }
                _ => all,
            };
        }
        if seg.gap && self.framed.is_some() {
            return Next::Done;
        }
        let mut rest = seg.data;
        while !rest.is_empty() {
            let read = match self.framed {
                Some(true) => Message::framed(rest),
                Some(false) => Message::bare(rest),
                None => match Message::framed(rest) {
                    Ok(None) => Message::bare(rest),
                    framed => framed,
                },
            };
            match read {
                Err(Short) => break,
                Ok(None) if self.framed.is_none() => return Next::NotMine,
                // Encrypted from here on, or a message that says nothing here.
                Ok(None) => return Next::Done,
                Ok(Some((message, taken))) => {
                    self.framed.get_or_insert_with(|| matches!(Message::framed(rest), Ok(Some(_))));
                    rest = rest.get(taken..).unwrap_or(&[]);
                    match self.on_message(message, seg.dir, out) {
                        Next::Continue { .. } => {}
                        next => return next,
                    }
                }
            }
        }
        Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) }
    }
}

#[cfg(test)]
pub(crate) use tests::FIXTURES;
#[cfg(test)]
#[path = "rustdesk/tests.rs"]
mod tests;
