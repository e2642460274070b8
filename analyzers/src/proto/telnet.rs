//! Telnet (RFC 854).
//!
//! In: a byte stream. Out: the label `telnet` once both sides have negotiated options, or one side several; which side is the host follows from
//! what only a host offers. A line of text alone says nothing.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const OPTIONS: Kind = Kind {
    name: "telnet.options",
    decibans: 30,
    says: "option negotiation (RFC 854, RFC 855), both ways or several in a row",
};
const TERMINAL: Kind = Kind { name: "telnet.terminal", decibans: 15, says: "the terminal's name (RFC 1091)" };

/// Commands (RFC 854) and options (IANA telnet-options).
mod code {
    pub(super) const IAC: u8 = 255;
    pub(super) const DONT: u8 = 254;
    pub(super) const DO: u8 = 253;
    pub(super) const WILL: u8 = 251;
    pub(super) const SB: u8 = 250;
    pub(super) const SE: u8 = 240;
    pub(super) const ECHO: u8 = 1;
    pub(super) const TERMINAL_TYPE: u8 = 24;
    pub(super) const WINDOW_SIZE: u8 = 31;
    /// The last of the numbers in use; above come private ones.
    pub(super) const OPTION_LAST: u8 = 49;
}

/// Negotiations of one side alone that are enough: each fixes two bytes and most of a third.
const ALONE: u8 = 3;
/// Bytes of one sub-negotiation that are waited for.
const SUB_MAX: usize = 512;

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// Negotiations, by direction.
    options: [u8; 2],
    /// Segments with negotiations, by direction.
    bursts: [u8; 2],
    /// The direction in which the user's side sends.
    client: Option<Dir>,
    said_terminal: bool,
}

/// One step through a stream.
#[derive(Debug, PartialEq, Eq)]
enum Item<'a> {
    Negotiation { verb: u8, option: u8 },
    Sub { option: u8, body: &'a [u8] },
    Other,
}

/// The next item and its length.
fn item(data: &[u8]) -> Result<(Item<'_>, usize), Short> {
    let mut r = Reader::new(data);
    if r.u8()? != code::IAC {
        let text = data.iter().position(|b| *b == code::IAC).unwrap_or(data.len());
        return Ok((Item::Other, text));
    }
    match r.u8()? {
        verb @ code::WILL..=code::DONT => Ok((Item::Negotiation { verb, option: r.u8()? }, r.taken())),
        code::SB => {
            let option = r.u8()?;
            let body = r.rest();
            match body.windows(2).position(|w| w == [code::IAC, code::SE]) {
                Some(end) => {
                    let body = body.get(..end).unwrap_or(&[]);
                    Ok((Item::Sub { option, body }, r.taken().saturating_add(end).saturating_add(2)))
                }
                None if body.len() < SUB_MAX => Err(Short),
                None => Ok((Item::Other, data.len())),
            }
        }
        _ => Ok((Item::Other, r.taken())),
    }
}

impl State {
    /// Whether one side alone is enough: a host's negotiations, or a user's that go on, as they do once the host has answered.
    fn is_enough(&self, dir: Dir) -> bool {
        let count = |counts: &[u8; 2]| counts.get(dir.index()).copied().unwrap_or(0);
        let host = self.client == Some(dir.reverse());
        count(&self.options) >= ALONE && (host || count(&self.bursts) > 1)
    }

    fn on_item(&mut self, item: &Item<'_>, dir: Dir, out: &mut Out) {
        match *item {
            Item::Negotiation { verb, option } => {
                if let Some(count) = self.options.get_mut(dir.index()) {
                    *count = count.saturating_add(1);
                }
                // A host echoes and asks for the terminal; the user's side has one.
                let host = match (verb, option) {
                    (code::WILL, code::ECHO) | (code::DO, code::TERMINAL_TYPE | code::WINDOW_SIZE) => {
                        Some(dir)
                    }
                    (code::DO, code::ECHO) | (code::WILL, code::TERMINAL_TYPE | code::WINDOW_SIZE) => {
                        Some(dir.reverse())
                    }
                    _ => None,
                };
                if self.client.is_none() {
                    self.client = host.map(Dir::reverse);
                }
            }
            // Sub-negotiation "IS" (0) and the name.
            Item::Sub { option: code::TERMINAL_TYPE, body: [0, name @ ..] } if !self.said_terminal => {
                self.said_terminal = true;
                self.client = Some(dir);
                let name: String =
                    name.iter().take(40).filter(|b| b.is_ascii_graphic()).map(|b| char::from(*b)).collect();
                out.evidence(&TERMINAL, name);
            }
            Item::Sub { .. } | Item::Other => {}
        }
        if out.label.is_none() && (self.options.iter().all(|n| *n > 0) || self.is_enough(dir)) {
            out.evidence(&OPTIONS, format!("{} from the opener, {} to it", self.options[0], self.options[1]));
            out.is("telnet");
        }
        if out.label.is_some() {
            let client = self.client.unwrap_or(Dir::ToServer);
            out.client = Some(client.sender());
            out.controlled = Some(client.receiver());
        }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "telnet",
        title: "Telnet",
        label: Some("telnet"),
        app_proto: "telnet",
        transports: &[Transport::Tcp],
        ports: &[23, 2323],
        first: FirstBytes::of(&[code::IAC]),
        budget: 2_048,
        carrier: false,
        reference: "RFC 854, RFC 855, RFC 1091 (terminal type), RFC 857 (echo)",
        evidence: &[OPTIONS, TERMINAL],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match item(p.data) {
            Err(Short) => Verdict::More,
            Ok((Item::Negotiation { option, .. }, _)) if option <= code::OPTION_LAST => Verdict::Yes,
            Ok(_) => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.data.contains(&code::IAC)
            && let Some(bursts) = self.bursts.get_mut(seg.dir.index())
        {
            *bursts = bursts.saturating_add(1);
        }
        let mut rest = seg.data;
        while !rest.is_empty() {
            let Ok((item, n)) = item(rest) else { break };
            self.on_item(&item, seg.dir, out);
            rest = rest.get(n..).unwrap_or(&[]);
        }
        Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::LOGIN, tests::HOST_ALONE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const LOGIN: Fixture<'_> = Fixture {
        name: "a login",
        transport: Transport::Tcp,
        payloads: &[
            (DOWN, b"\xff\xfd\x18\xff\xfb\x01"),
            (UP, b"\xff\xfb\x18\xff\xfd\x01"),
            (DOWN, b"\xff\xfa\x18\x01\xff\xf0"),
            (UP, b"\xff\xfa\x18\x00XTERM\xff\xf0"),
            (DOWN, b"login: "),
        ],
    };
    pub(super) const HOST_ALONE: Fixture<'_> = Fixture {
        name: "the host's side alone",
        transport: Transport::Tcp,
        payloads: &[(DOWN, b"\xff\xfd\x18\xff\xfd\x20\xff\xfb\x01\r\nlogin: ")],
    };

    #[test]
    fn negotiated_options_are_telnet_and_the_host_is_operated() {
        for fixture in FIXTURES {
            for piece in [usize::MAX, 4, 1] {
                let got = drive::<State>(fixture, piece);
                assert_eq!(got.out.label, Some("telnet"), "{} in pieces of {piece}", fixture.name);
                assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
            }
        }
        let got = drive::<State>(&LOGIN, usize::MAX);
        assert_eq!(&*got.out.evidence[1].detail, "XTERM");
    }

    #[test]
    fn a_host_that_calls_out_is_operated_as_the_opener() {
        let payloads: Vec<_> = LOGIN.payloads.iter().map(|(d, b)| (d.reverse(), *b)).collect();
        let got = drive::<State>(&Fixture { payloads: &payloads, ..LOGIN }, usize::MAX);
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Dest), Some(Side::Src)));
    }

    #[test]
    fn a_user_whom_no_host_answers_is_no_label() {
        let first: &[u8] = b"\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfb\x20";
        let got = drive::<State>(&Fixture { payloads: &[(UP, first)], ..LOGIN }, usize::MAX);
        assert_eq!((got.mine, got.out.label), (true, None));
        let goes_on = Fixture { payloads: &[(UP, first), (UP, b"\xff\xfd\x01")], ..LOGIN };
        assert_eq!(drive::<State>(&goes_on, usize::MAX).out.label, Some("telnet"));
    }

    #[test]
    fn one_or_two_negotiations_of_one_side_are_no_label() {
        let payloads = &[(DOWN, &b"\xff\xfd\x18\xff\xfb\x01\r\n220 ready\r\n"[..])];
        assert_eq!(drive::<State>(&Fixture { payloads, ..LOGIN }, usize::MAX).out.label, None);
    }

    #[test]
    fn an_mp3_stream_and_text_are_not_taken() {
        for bytes in [&b"\xff\xfb\x90\x64\x00\x0f\xf0\x00"[..], b"\xff\xd8\xff\xe0\x00\x10JFIF", b"login: "] {
            let payloads = &[(DOWN, bytes)];
            assert!(!drive::<State>(&Fixture { payloads, ..LOGIN }, usize::MAX).mine);
        }
    }
}
