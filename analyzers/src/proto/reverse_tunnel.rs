//! Programs that let somebody in from outside through a server of theirs: bore, frp (protocol 1, bare or in yamux, or with its own
//! first byte before TLS) and rathole (over TCP).
//!
//! In: both directions of a stream, or one. Out: the label `reverse_tunnel`; of a connection that carries a visitor (bore's accept,
//! frp's work connection, rathole's data channel) the visitor's stream. What goes through TLS or Noise shows elsewhere or not at all.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

#[path = "reverse_tunnel/wire.rs"]
mod wire;

use wire::{Bore, Frp};

const BORE: Kind = Kind {
    name: "reverse_tunnel.bore",
    decibans: 40,
    says: "bore's messages, JSON that a zero byte ends: a port agreed by both sides, a connection announced, or one taken over and \
           used (bore 0.2 to 0.6, shared.rs)",
};
const FRP: Kind = Kind {
    name: "reverse_tunnel.frp",
    decibans: 40,
    says: "an frp message with its type, eight bytes of length and JSON, and the answer of its kind (frp, pkg/msg)",
};
const FRP_TLS: Kind = Kind {
    name: "reverse_tunnel.frp_tls",
    decibans: 25,
    says: "the byte 0x17 before a TLS ClientHello, answered by a ServerHello (frp, pkg/util/net/tls.go: FRPTLSHeadByte)",
};
const RATHOLE: Kind = Kind {
    name: "reverse_tunnel.rathole",
    decibans: 40,
    says: "rathole's hello and its answer: kind, version and 32 bytes of both sides, or a data channel with its command (rathole, \
           protocol.rs)",
};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Bore,
    /// In yamux or not.
    Frp {
        muxed: bool,
    },
    FrpTls,
    Rathole {
        data: bool,
    },
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    program: Option<Program>,
    client: Option<Dir>,
    /// Which sides have said their first word.
    said: [bool; 2],
    /// From here on the bytes of each direction are the visitor's.
    inner: [bool; 2],
}

/// frp's byte before TLS.
const FRP_TLS_BYTE: u8 = 0x17;

/// Whether `data` opens a connection of one of these programs, and of which.
fn opens(data: &[u8]) -> Result<Option<Program>, Short> {
    match data.first().ok_or(Short)? {
        b'{' => Ok(Bore::opens(data)?.then_some(Program::Bore)),
        b'o' | b'w' | b'v' => Ok(Frp::parse(data)?.map(|_| Program::Frp { muxed: false })),
        &FRP_TLS_BYTE => {
            let hello = wire::is_client_hello(data.get(1..).unwrap_or_default())?;
            Ok(hello.then_some(Program::FrpTls))
        }
        0 | 1 => {
            if let Some(data) = wire::rathole_hello(data)? {
                return Ok(Some(Program::Rathole { data }));
            }
            Ok(wire::frp_in_yamux(data)?.then_some(Program::Frp { muxed: true }))
        }
        _ => Ok(None),
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "reverse_tunnel",
        title: "bore, frp, rathole",
        label: Some("reverse_tunnel"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[7835, 7000, 2333],
        first: FirstBytes::of(b"{owv\x17\0\x01"),
        budget: 65_536,
        carrier: true,
        reference: "bore shared.rs; frp pkg/msg/msg.go, pkg/util/net/tls.go; hashicorp/yamux spec.md; rathole protocol.rs",
        evidence: &[BORE, FRP, FRP_TLS, RATHOLE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start && p.data.first() != Some(&b'{') {
            return Verdict::No;
        }
        match opens(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.said != [false; 2] {
            return Next::Done;
        }
        let program = match self.program {
            Some(program) => program,
            None => match opens(seg.data) {
                Ok(Some(program)) => {
                    self.program = Some(program);
                    program
                }
                Ok(None) => return Next::NotMine,
                Err(Short) => return Next::Continue { consumed: 0 },
            },
        };
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            if rest.is_empty() {
                return Next::Continue { consumed };
            }
            if self.inner.get(seg.dir.index()) == Some(&true) {
                self.visitor(rest, program, out);
                return Next::Continue { consumed: seg.data.len() };
            }
            let took = match program {
                Program::Bore => self.bore(rest, seg.dir, out),
                Program::Frp { muxed } => self.frp(rest, muxed, seg.dir, out),
                Program::FrpTls => self.frp_tls(rest, seg.dir, out),
                Program::Rathole { data } => self.rathole(rest, data, seg.dir, out),
            };
            match took {
                Ok(Some(n)) => rest = rest.get(n..).unwrap_or(&[]),
                Ok(None) if out.label.is_none() && self.said == [false; 2] => return Next::NotMine,
                Ok(None) => return Next::Done,
                Err(Short) => return Next::Continue { consumed },
            }
        }
    }
}

/// Bytes taken, or nothing more to be had.
type Took = Result<Option<usize>, Short>;

impl State {
    fn says(&mut self, dir: Dir) -> bool {
        if let Some(said) = self.said.get_mut(dir.index()) {
            *said = true;
        }
        self.said == [true; 2]
    }

    fn client_is(&mut self, dir: Dir, out: &mut Out) {
        self.client.get_or_insert(dir);
        out.client = self.client.map(Dir::sender);
    }

    fn found(kind: &'static Kind, tool: &'static str, detail: impl Into<Box<str>>, out: &mut Out) {
        if out.label.is_none() {
            out.evidence(kind, detail);
            out.is("reverse_tunnel");
            out.tool = Some(tool);
        }
    }

    fn visitor(&mut self, data: &[u8], program: Program, out: &mut Out) {
        if program == Program::Bore {
            Self::found(&BORE, "bore", "a connection taken over", out);
        }
        out.inner.extend_from_slice(data);
    }

    fn bore(&mut self, data: &[u8], dir: Dir, out: &mut Out) -> Took {
        let (message, n) = Bore::parse(data)?;
        let Some(message) = message else { return Ok(None) };
        match message {
            Bore::Hello(port) => {
                self.client_is(dir, out);
                if self.says(dir) {
                    Self::found(&BORE, "bore", format!("port {port}"), out);
                }
            }
            Bore::Connection => {
                self.client_is(dir.reverse(), out);
                Self::found(&BORE, "bore", "a connection announced", out);
                return Ok(None);
            }
            Bore::Accept => {
                self.client_is(dir, out);
                self.says(dir);
                self.inner = [true; 2];
            }
            Bore::Challenge | Bore::Heartbeat => {
                self.client_is(dir.reverse(), out);
                self.says(dir);
            }
            Bore::Authenticate => {
                self.client_is(dir, out);
                self.says(dir);
            }
            Bore::Error => return Ok(None),
        }
        Ok(Some(n))
    }

    fn frp(&mut self, data: &[u8], muxed: bool, dir: Dir, out: &mut Out) -> Took {
        let (message, n) = if muxed {
            match wire::yamux(data)? {
                Some(([], n)) => return Ok(Some(n)),
                Some((payload, n)) => (Frp::parse(payload)?, n),
                None => return Ok(None),
            }
        } else {
            let message = Frp::parse(data)?;
            (message, message.map_or(0, |m| m.len))
        };
        let Some(message) = message else { return Ok(None) };
        let client = message.is_of_client();
        self.client_is(if client { dir } else { dir.reverse() }, out);
        if message.is_refusal() {
            return Ok(None);
        }
        if self.says(dir) {
            Self::found(&FRP, "frp", message.in_words(), out);
            // The control connection is encrypted from here on.
            if muxed || !message.starts_work() {
                return Ok(None);
            }
        }
        if message.starts_work() && !muxed {
            self.inner = [true; 2];
        }
        Ok(Some(n))
    }

    fn frp_tls(&mut self, data: &[u8], dir: Dir, out: &mut Out) -> Took {
        if data.first() == Some(&FRP_TLS_BYTE) && self.said == [false; 2] {
            self.client_is(dir, out);
            self.says(dir);
            if let Some(inner) = self.inner.get_mut(dir.index()) {
                *inner = true;
            }
            return Ok(Some(1));
        }
        if !wire::is_server_hello(data)? {
            return Ok(None);
        }
        Self::found(&FRP_TLS, "frp", "", out);
        self.inner = [true; 2];
        Ok(Some(0))
    }

    fn rathole(&mut self, data: &[u8], channel: bool, dir: Dir, out: &mut Out) -> Took {
        let client = *self.client.get_or_insert(dir);
        out.client = Some(client.sender());
        if dir == client {
            if self.said.get(dir.index()) == Some(&true) {
                return Ok(None); // the authentication, before any answer
            }
            self.says(dir);
            return Ok(Some(wire::RATHOLE_HELLO));
        }
        let n = if channel {
            let [command, _, _, _] = Reader::new(data).array::<4>()?;
            if data.get(1..4) != Some(&[0; 3]) || command > 1 {
                return Ok(None);
            }
            self.inner = [command == 0; 2];
            4
        } else if wire::rathole_hello(data)? == Some(false) {
            wire::RATHOLE_HELLO
        } else {
            return Ok(None);
        };
        self.says(dir);
        Self::found(&RATHOLE, "rathole", if channel { "data channel" } else { "control channel" }, out);
        Ok(if self.inner == [true; 2] { Some(n) } else { None })
    }
}

#[cfg(test)]
#[path = "reverse_tunnel/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
