//! Microsoft Remote Desktop Protocol over TCP ([MS-RDPBCGR]).
//!
//! In: a byte stream. Out: the label `rdp` once the server has confirmed the X.224 connection (or the client goes on as it only does
//! after that), the security that was agreed, and in native RDP security what the MCS exchange tells in clear. After an agreement
//! on TLS, also below CredSSP, every later byte of both directions is handed on as the inner stream.
//!
//! TPKT and X.224 also carry S7comm, H.323, T.120 and MMS: only the cookie, the negotiation structures and the GCC blocks of RDP
//! are its own, and nothing less is taken for it.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Short, Transport, Verdict,
};

#[path = "rdp/midstream.rs"]
mod midstream;
#[path = "rdp/wire.rs"]
mod wire;

use wire::{ClientData, Confirm, Frame, Request, ServerData, Tpdu};

const REQUEST: Kind = Kind {
    name: "rdp.request",
    decibans: 25,
    says: "X.224 connection request with RDP cookie, routing token or negotiation request ([MS-RDPBCGR] 2.2.1.1)",
};
const CONFIRM: Kind = Kind {
    name: "rdp.confirm",
    decibans: 30,
    says: "X.224 connection confirm, with negotiation response where one was asked ([MS-RDPBCGR] 2.2.1.2)",
};
const REFUSED: Kind = Kind {
    name: "rdp.refused",
    decibans: 20,
    says: "the server answered with a negotiation failure ([MS-RDPBCGR] 2.2.1.2.2)",
};
const GOES_ON: Kind = Kind {
    name: "rdp.tls",
    decibans: 15,
    says: "after its connection request the client opens TLS, as it does only when the server agreed ([MS-RDPBCGR] 5.4.2)",
};
const CLIENT: Kind = Kind {
    name: "rdp.client",
    decibans: 30,
    says: "MCS Connect Initial with the RDP client core data ([MS-RDPBCGR] 2.2.1.3)",
};
const SERVER: Kind = Kind {
    name: "rdp.server",
    decibans: 30,
    says: "MCS Connect Response with the RDP server core data ([MS-RDPBCGR] 2.2.1.4)",
};

const DATA: Kind = Kind {
    name: "rdp.data",
    decibans: 25,
    says: "a chain of encrypted RDP PDUs with exact lengths ([MS-RDPBCGR] 2.2.8.1, 2.2.9.1)",
};

/// Pieces that are no whole PDUs before something else must have been recognised.
const OTHERS_MAX: u8 = 24;

/// First bytes: a TPKT header, or the native data plane of a capture that began later.
const FIRST: FirstBytes = {
    let FirstBytes([a, b, c, d]) = FirstBytes::of(&midstream::FAST_PATH);
    let FirstBytes([e, f, g, h]) = FirstBytes::of(&[wire::TPKT_VERSION]);
    FirstBytes([a | e, b | f, c | g, d | h])
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// The X.224 opening of this direction was read, or is not to be had.
    opened: [bool; 2],
    /// The client's opening bears something of RDP's own.
    asked: bool,
    /// Everything after the openings is TLS.
    tls: bool,
    /// The opening is not in the capture.
    late: bool,
    /// Pieces that are no whole PDUs, of a capture that began late.
    others: u8,
}

impl State {
    /// Reads one frame; `None` if it does not belong to an RDP opening.
    fn on_frame(&mut self, tpdu: &Tpdu<'_>, dir: Dir, out: &mut Out) -> Option<Next> {
        let go_on = Some(Next::Continue { consumed: 0 });
        match tpdu {
            Tpdu::Request(request) => {
                self.open(dir);
                roles(out, dir);
                if request.is_rdp() {
                    self.asked = true;
                    out.evidence(&REQUEST, request.to_string());
                }
                go_on
            }
            Tpdu::Confirm(confirm) => {
                self.open(dir);
                roles(out, dir.reverse());
                match confirm {
                    // An old server says nothing of security. Whose protocol it is then rests on the request, or on what follows.
                    Confirm::Plain if !self.asked => return go_on,
                    Confirm::Failure(_) => {
                        out.evidence(&REFUSED, confirm.to_string());
                        return Some(Next::Done);
                    }
                    Confirm::Plain | Confirm::Selected(_) => {}
                }
                out.evidence(&CONFIRM, confirm.to_string());
                out.is("rdp");
                self.tls = confirm.is_tls();
                go_on
            }
            Tpdu::Data(payload) => {
                self.open(dir);
                if let Some(client) = ClientData::parse(payload) {
                    roles(out, dir);
                    out.evidence(&CLIENT, client.to_string());
                    out.is("rdp");
                    go_on
                } else if let Some(server) = ServerData::parse(payload) {
                    roles(out, dir.reverse());
                    out.evidence(&SERVER, server.to_string());
                    out.is("rdp");
                    Some(Next::Done)
                } else {
                    (out.label.is_some() || self.asked).then_some(Next::Done)
                }
            }
        }
    }

    /// A piece of a connection whose opening is not in the capture; nothing where it is an opening after all.
    fn on_late(&mut self, seg: &Segment<'_>, out: &mut Out) -> Option<Next> {
        match midstream::sender(seg.data) {
            Ok(Some(sender)) => {
                let client = match sender {
                    midstream::Sender::Client => seg.dir,
                    midstream::Sender::Server => seg.dir.reverse(),
                };
                roles(out, client);
                out.evidence(&DATA, format!("sent by the {sender:?}").to_lowercase());
                out.is("rdp");
                out.basis = Basis::Midstream;
                Some(Next::Done)
            }
            // TPKT: an opening if it is a whole frame of one.
            Err(Short) if seg.data.first() == Some(&wire::TPKT_VERSION) => match Frame::parse(seg.data) {
                Ok(Some(frame)) if !matches!(frame.tpdu, Tpdu::Data(_)) => None,
                _ => Some(Next::Continue { consumed: 0 }),
            },
            Err(Short) => Some(Next::Continue { consumed: 0 }),
            Ok(None) => {
                if matches!(Frame::parse(seg.data), Ok(Some(_))) {
                    return None;
                }
                self.others = self.others.saturating_add(1);
                let foreign = self.others > OTHERS_MAX;
                Some(if foreign { Next::NotMine } else { Next::Continue { consumed: seg.data.len() } })
            }
        }
    }

    fn open(&mut self, dir: Dir) {
        if let Some(opened) = self.opened.get_mut(dir.index()) {
            *opened = true;
        }
    }
}

/// `client` is the direction in which the RDP client sends; the machine at the other end is the one that is operated.
fn roles(out: &mut Out, client: Dir) {
    out.client = Some(client.sender());
    out.controlled = Some(client.receiver());
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "rdp",
        title: "Remote Desktop Protocol",
        label: Some("rdp"),
        app_proto: "rdp",
        transports: &[Transport::Tcp],
        ports: &[3389],
        first: FIRST,
        budget: 16_384,
        carrier: false,
        reference: "[MS-RDPBCGR] 2.2.1.1 to 2.2.1.4; RFC 1006 (TPKT); ITU-T X.224, T.124, T.125",
        evidence: &[REQUEST, CONFIRM, REFUSED, GOES_ON, CLIENT, SERVER, DATA],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start {
            if midstream::is_promising(p.data) {
                return Verdict::Yes;
            }
            // The opening of a connection whose SYN was missed is decided below; the other side may still be recognised.
            if Frame::parse(p.data).is_ok_and(|frame| frame.is_none()) {
                return Verdict::More;
            }
        }
        let mut rest = p.data;
        // A request or confirm without anything of RDP's own is decided by the frame behind it.
        loop {
            match Frame::parse(rest) {
                Err(Short) => return Verdict::More,
                Ok(None) => return Verdict::No,
                Ok(Some(frame)) => match frame.tpdu {
                    Tpdu::Request(request) if request.is_rdp() => return Verdict::Yes,
                    Tpdu::Request(Request { foreign: true, .. }) => return Verdict::No,
                    Tpdu::Confirm(Confirm::Selected(_) | Confirm::Failure(_)) => return Verdict::Yes,
                    Tpdu::Request(_) | Tpdu::Confirm(Confirm::Plain) => {}
                    Tpdu::Data(payload) => {
                        let rdp =
                            ClientData::parse(payload).is_some() || ServerData::parse(payload).is_some();
                        return match rdp {
                            true => Verdict::Yes,
                            false if !p.from_start => Verdict::More,
                            false => Verdict::No,
                        };
                    }
                },
            }
            rest = Frame::behind(rest);
            if rest.is_empty() {
                return Verdict::More;
            }
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.opened.get(seg.dir.index()) == Some(&true) {
            return Next::Done;
        }
        self.late |= seg.gap && self.opened == [false; 2];
        if self.late
            && self.opened == [false; 2]
            && let Some(next) = self.on_late(seg, out)
        {
            return next;
        }
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            let opened = self.opened.get(seg.dir.index()).copied().unwrap_or(false);
            if opened && !self.tls && self.asked && wire::is_tls(rest) {
                self.tls = true;
                if out.label.is_none() {
                    out.evidence(&GOES_ON, "TLS record");
                    out.is("rdp");
                }
            }
            if opened && !self.tls && rest.len() < wire::TLS_SEEN_BY {
                return Next::Continue { consumed };
            }
            if self.tls && (opened || wire::is_tls(rest)) {
                out.inner.extend_from_slice(rest);
                return Next::Continue { consumed: seg.data.len() };
            }
            match Frame::parse(rest) {
                Err(Short) => return Next::Continue { consumed },
                // An RDP opening that something else answers is still an opening.
                Ok(None) if out.label.is_some() || self.asked => return Next::Done,
                Ok(None) => return Next::NotMine,
                Ok(Some(frame)) => match self.on_frame(&frame.tpdu, seg.dir, out) {
                    Some(Next::Continue { .. }) => rest = Frame::behind(rest),
                    Some(done) => return done,
                    None => return Next::NotMine,
                },
            }
        }
    }
}

#[cfg(test)]
#[path = "rdp/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
