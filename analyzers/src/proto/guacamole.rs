//! Apache Guacamole: its instructions between gateway and guacd (TCP), and between browser and gateway inside a WebSocket.
//!
//! In: a byte stream. Out: the label `guacamole` once both sides have sent instructions of the protocol, or one side a longer chain of
//! them; with the desktop's protocol where guacd is asked for one. What is typed is in clear, and not read.
//!
//! Gateways inside TLS show nothing of it, and nor does polling over HTTP.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Short, Transport, Verdict,
};

const SELECT: Kind = Kind {
    name: "guacamole.select",
    decibans: 25,
    says: "the gateway asks guacd for a desktop or joins one (Guacamole protocol, handshake: select)",
};
const INSTRUCTIONS: Kind = Kind {
    name: "guacamole.instructions",
    decibans: 20,
    says: "instructions of the protocol with exact lengths (Guacamole protocol, design)",
};
const ANSWER: Kind = Kind {
    name: "guacamole.answer",
    decibans: 20,
    says: "the other side sends instructions with exact lengths, too",
};

/// Elements of an instruction, characters of one, and digits of a length; guacd has 128, 8,192 and 5.
const ELEMENTS_MAX: usize = 128;
const CHARACTERS_MAX: usize = 8_192;
const DIGITS_MAX: usize = 5;
/// Bytes of an instruction.
const BYTES_MAX: usize = 32_768;

/// Instructions that make a side's part in an exchange, and that are enough alone.
const EXCHANGED: u16 = 1;
const ALONE: u16 = 6;
/// Pieces of a side whose beginning is missed that begin in the midst of an instruction.
const OTHERS_MAX: u8 = 16;

/// Opcodes (Guacamole protocol reference 1.6), by who sends them.
const CLIENTS: [&str; 13] = [
    "select", "connect", "size", "audio", "video", "image", "timezone", "name", "key", "mouse", "touch",
    "sync", "ack",
];
const SERVERS: [&str; 46] = [
    "args",
    "ready",
    "error",
    "sync",
    "name",
    "size",
    "img",
    "blob",
    "end",
    "ack",
    "cursor",
    "copy",
    "cfill",
    "rect",
    "png",
    "jpeg",
    "webp",
    "nop",
    "audio",
    "video",
    "clipboard",
    "disconnect",
    "required",
    "mouse",
    "move",
    "shade",
    "dispose",
    "transfer",
    "clip",
    "cstroke",
    "curve",
    "arc",
    "line",
    "start",
    "close",
    "push",
    "pop",
    "reset",
    "distort",
    "identity",
    "lfill",
    "lstroke",
    "transform",
    "set",
    "file",
    "pipe",
];
const BOTH: [&str; 12] =
    ["", "nop", "disconnect", "blob", "end", "file", "pipe", "clipboard", "argv", "get", "put", "msg"];

/// A whole instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction<'a> {
    opcode: &'a str,
    first: &'a str,
    len: usize,
}

/// A side's part.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    seen: u16,
    clients: u16,
    servers: u16,
    others: u8,
    said: bool,
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    sides: [Side; 2],
    late: bool,
}

/// The instruction at the start of `data`; `None` if it is none.
fn instruction(data: &[u8]) -> Result<Option<Instruction<'_>>, Short> {
    let (mut at, mut opcode, mut first) = (0_usize, None, "");
    for n in 0..ELEMENTS_MAX {
        let Some((value, len)) = element(data.get(at..).unwrap_or(&[]))? else { return Ok(None) };
        at = at.saturating_add(len);
        match n {
            0 => opcode = Some(value),
            1 => first = value,
            _ => {}
        }
        if opcode.is_some_and(|opcode| !is_known(opcode)) {
            return Ok(None);
        }
        match data.get(at) {
            Some(b',') if at < BYTES_MAX => at = at.saturating_add(1),
            Some(b';') => {
                let len = at.saturating_add(1);
                return Ok(opcode.map(|opcode| Instruction { opcode, first, len }));
            }
            Some(_) => return Ok(None),
            None => return Err(Short),
        }
    }
    Ok(None)
}

/// `5.mouse`: the value, and the bytes read. A length counts characters.
fn element(data: &[u8]) -> Result<Option<(&str, usize)>, Short> {
    let digits = data.iter().take(DIGITS_MAX.saturating_add(1)).take_while(|b| b.is_ascii_digit()).count();
    match data.get(digits) {
        _ if digits > DIGITS_MAX => return Ok(None),
        None => return Err(Short),
        Some(b'.') if digits > 0 => {}
        Some(_) => return Ok(None),
    }
    let length =
        data.get(..digits).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse::<usize>().ok());
    let Some(length) = length.filter(|n| *n <= CHARACTERS_MAX) else { return Ok(None) };
    let from = digits.saturating_add(1);
    let rest = data.get(from..).unwrap_or(&[]);
    let mut len = 0_usize;
    for _ in 0..length {
        let Some(lead) = rest.get(len) else { return Err(Short) };
        len = len.saturating_add(match lead {
            0x00..=0x7F => 1,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => return Ok(None),
        });
    }
    let bytes = rest.get(..len).ok_or(Short)?;
    Ok(std::str::from_utf8(bytes).ok().map(|value| (value, from.saturating_add(len))))
}

fn is_known(opcode: &str) -> bool {
    CLIENTS.contains(&opcode) || SERVERS.contains(&opcode) || BOTH.contains(&opcode)
}

impl State {
    fn sides(&mut self, dir: Dir) -> (&mut Side, &mut Side) {
        let [up, down] = &mut self.sides;
        if dir == Dir::ToServer { (up, down) } else { (down, up) }
    }

    /// Takes an instruction in; whether nothing more is wanted.
    fn on_instruction(&mut self, found: &Instruction<'_>, dir: Dir, out: &mut Out) -> bool {
        let late = self.late;
        let (here, there) = self.sides(dir);
        here.seen = here.seen.saturating_add(1);
        here.clients = here.clients.saturating_add(u16::from(is_clients(found.opcode)));
        here.servers = here.servers.saturating_add(u16::from(is_servers(found.opcode)));
        if !std::mem::replace(&mut here.said, true) {
            match (found.opcode, there.seen) {
                ("select", _) => out.evidence(&SELECT, found.first),
                (opcode, 0) => out.evidence(&INSTRUCTIONS, opcode),
                (opcode, _) => out.evidence(&ANSWER, opcode),
            }
        }
        let both = here.seen >= EXCHANGED && there.seen >= EXCHANGED;
        if !both && here.seen < ALONE {
            return false;
        }
        let is_client = here.clients > here.servers || there.servers > there.clients;
        let is_server = here.servers > here.clients || there.clients > there.servers;
        let client = match (is_client, is_server) {
            (true, false) => dir,
            (false, true) => dir.reverse(),
            _ => Dir::ToServer,
        };
        out.client = Some(client.sender());
        out.controlled = Some(client.receiver());
        out.is("guacamole");
        if late {
            out.basis = Basis::Midstream;
        }
        true
    }
}

/// Whether only the side that looks on sends it.
fn is_clients(opcode: &str) -> bool {
    CLIENTS.contains(&opcode) && !SERVERS.contains(&opcode)
}

/// Whether only the side that shows sends it.
fn is_servers(opcode: &str) -> bool {
    SERVERS.contains(&opcode) && !CLIENTS.contains(&opcode) && !BOTH.contains(&opcode)
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "guacamole",
        title: "Apache Guacamole",
        label: Some("guacamole"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[4822],
        first: FirstBytes::range(b'0', b'9'),
        budget: 65_536,
        carrier: false,
        reference: "Apache Guacamole manual 1.6: The Guacamole protocol; Guacamole protocol reference",
        evidence: &[SELECT, INSTRUCTIONS, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match instruction(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) if p.from_start => Verdict::No,
            Ok(None) | Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.late |= seg.gap;
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            if rest.is_empty() {
                return Next::Continue { consumed };
            }
            match instruction(rest) {
                Err(Short) => return Next::Continue { consumed },
                Ok(Some(found)) => {
                    if self.on_instruction(&found, seg.dir, out) {
                        return Next::Done;
                    }
                    rest = rest.get(found.len..).unwrap_or(&[]);
                }
                Ok(None) => {
                    let late = self.late;
                    let (here, there) = self.sides(seg.dir);
                    here.others = here.others.saturating_add(1);
                    if late && here.seen == 0 && here.others <= OTHERS_MAX {
                        return Next::Continue { consumed: seg.data.len() };
                    }
                    let nothing = here.seen == 0 && there.seen == 0;
                    return if nothing { Next::NotMine } else { Next::Done };
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::GUACD, tests::BROWSER];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side as End;
    use crate::fixture::{Fixture, Outcome, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const GUACD: Fixture<'_> = Fixture {
        name: "a gateway asks guacd for a desktop",
        transport: Transport::Tcp,
        payloads: &[
            (UP, b"6.select,3.vnc;"),
            (DOWN, b"4.args,13.VERSION_1_5_0,8.hostname,4.port;"),
            (UP, b"4.size,4.1024,3.768,2.96;"),
        ],
    };
    pub(super) const BROWSER: Fixture<'_> = Fixture {
        name: "a browser's stream",
        transport: Transport::Tcp,
        payloads: &[
            (DOWN, b"0.,36.0d1c44b0-91d1-4a52-9e0f-5f1d6a7c8e21;"),
            (DOWN, b"4.sync,8.31415926,1.1;"),
            (UP, b"4.sync,8.31415926;5.mouse,3.400,3.300,1.0;"),
        ],
    };

    fn of(payloads: &[(Dir, &[u8])]) -> Outcome {
        drive::<State>(&Fixture { payloads, ..GUACD }, usize::MAX)
    }

    #[test]
    fn instructions_of_both_sides_are_guacamole_and_guacds_side_is_operated() {
        for fixture in [GUACD, BROWSER] {
            for piece in [usize::MAX, 5, 1] {
                let got = drive::<State>(&fixture, piece);
                assert_eq!(got.out.label, Some("guacamole"), "{} by {piece}", fixture.name);
                assert_eq!((got.out.client, got.out.controlled), (Some(End::Src), Some(End::Dest)));
            }
        }
        assert_eq!(&*of(GUACD.payloads).out.evidence[0].detail, "vnc");
    }

    #[test]
    fn a_question_that_is_not_answered_is_evidence_and_no_label() {
        let got = of(&GUACD.payloads[..1]);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
        let answered = of(&[GUACD.payloads[0], (DOWN, b"HTTP/1.1 400 Bad Request\r\n\r\n")]);
        assert_eq!(answered.out.label, None);
    }

    #[test]
    fn one_side_is_enough_once_its_chain_is_long() {
        let keys =
            b"3.key,5.65307,1.1;3.key,5.65307,1.0;5.mouse,1.1,1.2,1.0;3.key,2.97,1.1;3.key,2.97,1.0;3.nop;";
        let got = of(&[(DOWN, keys)]);
        assert_eq!((got.out.label, got.out.client), (Some("guacamole"), Some(End::Dest)));
        assert_eq!(of(&[(UP, &keys[..40])]).out.label, None);
    }

    #[test]
    fn a_length_counts_characters_and_not_bytes() {
        let text = "4.name,7.Z\u{fc}rich\u{20ac};3.nop;".as_bytes();
        assert_eq!(instruction(text).unwrap().map(|i| i.len), Some(text.len() - 6));
        assert_eq!(instruction("4.name,9.Z\u{fc}rich\u{20ac};3.nop;".as_bytes()), Ok(None));
    }

    #[test]
    fn text_with_digits_and_dots_is_not_guacamole() {
        for bytes in [
            &b"6.selekt,3.vnc;"[..],
            b"1.2.3.4\r\n",
            b"220.ready\r\n",
            b"6.select 3.vnc;",
            b"999999.select",
            b"5.mouse,3.4000,1.0;",
            b"2024-01-01 12:00:00;",
        ] {
            assert!(!of(&[(UP, bytes)]).mine, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
