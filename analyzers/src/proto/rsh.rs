//! The BSD remote commands rsh (rcmd), rexec and rlogin (TCP): strings that end with NUL, then one byte of answer.
//!
//! In: a byte stream. Out: the label `rsh` once the server has answered, be it by turning the user away: then nobody operates
//! anything. rsh and rexec look the same on the wire. What is typed and shown is in clear, and not read; nor is a user name or
//! password written into evidence.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const COMMAND: Kind = Kind {
    name: "rsh.command",
    decibans: 20,
    says: "port for errors, two names and a command, each ended by NUL, and then silence (rcmd(3), rexec(3))",
};
const LOGIN: Kind = Kind {
    name: "rsh.login",
    decibans: 25,
    says: "NUL, two names, and a terminal with its speed, each ended by NUL, and then silence (RFC 1282, section 2)",
};
const ANSWER: Kind = Kind {
    name: "rsh.answer",
    decibans: 15,
    says: "the server answers with a single NUL, then output (RFC 1282, section 2; rcmd(3))",
};
const REFUSED: Kind = Kind {
    name: "rsh.refused",
    decibans: 15,
    says: "the server answers with 1 and a line of text: the user is turned away (rshd(8), rlogind(8))",
};
const WINDOW: Kind = Kind {
    name: "rsh.window",
    decibans: 20,
    says: "the client sends its window's size, as it does when the server asked (RFC 1282, section 3); the server is not seen",
};

/// Digits of a port.
const PORT_MAX: usize = 5;
/// Longer names than any system allows (`LOGIN_NAME_MAX`).
const NAME_MAX: usize = 256;
/// Longest command, `NCARGS` of rshd.
const COMMAND_MAX: usize = 8_192;
/// A line of error text.
const ERROR_MAX: usize = 256;
/// Answers of a server.
const TAKEN: u8 = 0;
const ERROR: u8 = 1;
/// What a window size begins with.
const WINDOW_MAGIC: &[u8] = &[0xFF, 0xFF, b's', b's'];

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// Direction of the client, once its opening was read.
    client: Option<Dir>,
    login: bool,
}

/// A client's opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening<'a> {
    Command(&'a [u8]),
    Login(&'a [u8]),
}

impl<'a> Opening<'a> {
    /// The opening that `data` is, to its last byte: a client says no more before it is answered. `None` if it is none.
    fn parse(data: &'a [u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let Some(port) = string(&mut r, PORT_MAX, u8::is_ascii_digit)? else { return Ok(None) };
        let is_port = port.is_empty()
            || std::str::from_utf8(port).ok().and_then(|p| p.parse::<u32>().ok()).is_some_and(|p| p < 65_536);
        if !is_port {
            return Ok(None);
        }
        let Some(first) = string(&mut r, NAME_MAX, is_name)? else { return Ok(None) };
        // The second is a password in rexec, and in rsh and rlogin another name.
        let Some(second) = string(&mut r, NAME_MAX, is_printable)? else { return Ok(None) };
        let Some(last) = string(&mut r, COMMAND_MAX, is_text)? else { return Ok(None) };
        if first.is_empty() || second.is_empty() || last.is_empty() || !r.is_empty() {
            return Ok(None);
        }
        Ok(Some(if port.is_empty() && is_terminal(last) { Self::Login(last) } else { Self::Command(last) }))
    }
}

/// Bytes of one kind up to the next NUL, which is read too; `None` where another byte stands or none comes within `max`.
fn string<'a>(r: &mut Reader<'a>, max: usize, fits: fn(&u8) -> bool) -> Result<Option<&'a [u8]>, Short> {
    let rest = r.rest();
    let end = rest.iter().take(max.saturating_add(1)).position(|b| *b == 0);
    let known = end.unwrap_or(rest.len());
    if known > max || !rest.get(..known).unwrap_or(&[]).iter().all(fits) {
        return Ok(None);
    }
    let bytes = r.take(end.ok_or(Short)?)?;
    r.skip(1)?;
    Ok(Some(bytes))
}

const fn is_name(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(*b, b'.' | b'_' | b'-' | b'$' | b'@' | b'\\' | b'+')
}

const fn is_printable(b: &u8) -> bool {
    b.is_ascii_graphic() || *b == b' ' || *b >= 0x80
}

const fn is_text(b: &u8) -> bool {
    is_printable(b) || matches!(*b, b'\t' | b'\n')
}

/// `xterm/38400`.
fn is_terminal(text: &[u8]) -> bool {
    let slash = text.iter().position(|b| *b == b'/');
    let Some((terminal, speed)) =
        slash.and_then(|at| Some((text.get(..at)?, text.get(at.checked_add(1)?..)?)))
    else {
        return false;
    };
    !terminal.is_empty()
        && terminal.iter().all(|b| b.is_ascii_alphanumeric() || matches!(*b, b'-' | b'+' | b'.' | b'_'))
        && (1..=7).contains(&speed.len())
        && speed.iter().all(u8::is_ascii_digit)
}

/// Whether `data` is an error: 1 and a line of text. [`Short`] until the line ends.
fn is_error(data: &[u8]) -> Result<bool, Short> {
    let Some((&ERROR, text)) = data.split_first() else { return Ok(false) };
    let end = text.iter().take(ERROR_MAX).position(|b| *b == b'\n');
    let line = text.get(..end.unwrap_or(text.len().min(ERROR_MAX))).unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match end {
        _ if !line.iter().all(is_printable) => Ok(false),
        Some(_) => Ok(line.len() >= 4),
        None if text.len() < ERROR_MAX => Err(Short),
        None => Ok(false),
    }
}

impl State {
    /// What a client says after its opening, while no answer was seen.
    fn on_client(&self, data: &[u8], out: &mut Out) -> Next {
        if self.login && data.starts_with(WINDOW_MAGIC) {
            out.evidence(&WINDOW, "");
            out.is("rsh");
        } else if self.login && WINDOW_MAGIC.starts_with(data) {
            return Next::Continue { consumed: 0 };
        }
        Next::Done
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "rsh",
        title: "rsh, rexec, rlogin",
        label: Some("rsh"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[512, 513, 514],
        first: FirstBytes::of(b"\x000123456789"),
        budget: 16_384,
        carrier: false,
        reference: "RFC 1282 (rlogin); rcmd(3), rexec(3), rshd(8), rexecd(8) of 4.4BSD",
        evidence: &[COMMAND, LOGIN, ANSWER, REFUSED, WINDOW],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start {
            return Verdict::No;
        }
        match Opening::parse(p.data) {
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        match self.client {
            None => match Opening::parse(seg.data) {
                Err(Short) => Next::Continue { consumed: 0 },
                Ok(None) => Next::NotMine,
                Ok(Some(opening)) => {
                    self.client = Some(seg.dir);
                    out.client = Some(seg.dir.sender());
                    match opening {
                        Opening::Command(command) => {
                            let program = command.split(|b| !is_name(b) && *b != b'/').next().unwrap_or(&[]);
                            let shown: String = String::from_utf8_lossy(program).chars().take(40).collect();
                            out.evidence(&COMMAND, shown);
                        }
                        Opening::Login(terminal) => {
                            self.login = true;
                            out.evidence(&LOGIN, String::from_utf8_lossy(terminal));
                        }
                    }
                    Next::Continue { consumed: seg.data.len() }
                }
            },
            Some(client) if client == seg.dir => self.on_client(seg.data, out),
            Some(client) => {
                match seg.data.first() {
                    None => return Next::Continue { consumed: 0 },
                    Some(&TAKEN) => {
                        out.controlled = Some(client.receiver());
                        out.evidence(&ANSWER, "");
                        out.is("rsh");
                    }
                    Some(_) => match is_error(seg.data) {
                        Err(Short) => return Next::Continue { consumed: 0 },
                        Ok(false) => {}
                        Ok(true) => {
                            out.evidence(&REFUSED, "");
                            out.is("rsh");
                        }
                    },
                }
                Next::Done
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::COMMAND_TAKEN, tests::LOGIN_TAKEN];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    pub(super) const COMMAND_TAKEN: Fixture<'_> = Fixture {
        name: "a command",
        transport: Transport::Tcp,
        payloads: &[
            (UP, b"1021\0"),
            (UP, b"ann\0root\0tar cf - /home\0"),
            (DOWN, b"\0"),
            (DOWN, b"./\0\0\0\0"),
        ],
    };
    pub(super) const LOGIN_TAKEN: Fixture<'_> = Fixture {
        name: "a login",
        transport: Transport::Tcp,
        payloads: &[(UP, b"\0"), (UP, b"ann\0root\0xterm-256color/38400\0"), (DOWN, b"\0"), (DOWN, b"\x80")],
    };

    fn of(payloads: &[(Dir, &[u8])]) -> Outcome {
        drive::<State>(&Fixture { payloads, ..COMMAND_TAKEN }, usize::MAX)
    }

    #[test]
    fn a_command_or_a_login_that_is_answered_is_rsh_and_the_called_side_operated() {
        for fixture in [COMMAND_TAKEN, LOGIN_TAKEN] {
            for piece in [usize::MAX, 3, 1] {
                let got = drive::<State>(&fixture, piece);
                assert_eq!(got.out.label, Some("rsh"), "{}", fixture.name);
                assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
            }
        }
        assert_eq!(of(LOGIN_TAKEN.payloads).out.evidence[0].kind.name, "rsh.login");
    }

    #[test]
    fn a_command_without_a_port_for_errors_is_one_too() {
        assert_eq!(of(&[(UP, b"\0ann\0root\0uptime\0"), (DOWN, b"\0 12:00 up")]).out.label, Some("rsh"));
        assert_eq!(of(&[(UP, b"0\0ann\0pass word\0uptime\0"), (DOWN, b"\0")]).out.label, Some("rsh"));
    }

    #[test]
    fn evidence_names_the_program_and_neither_a_name_nor_a_password() {
        let got = of(&[(UP, b"0\0ann\0secret\0/usr/bin/id -u bob\0"), (DOWN, b"\0")]);
        assert_eq!(&*got.out.evidence[0].detail, "/usr/bin/id");
    }

    #[test]
    fn a_user_who_is_turned_away_operates_nothing() {
        let got = of(&[(UP, b"1022\0ann\0root\0ls\0"), (DOWN, b"\x01Permission denied.\n")]);
        assert_eq!((got.out.label, got.out.controlled), (Some("rsh"), None));
        assert_eq!(got.out.evidence[1].kind.name, "rsh.refused");
    }

    #[test]
    fn an_opening_without_an_answer_or_answered_by_something_else_gives_no_label() {
        let opening: (Dir, &[u8]) = (UP, b"1022\0ann\0root\0ls\0");
        let alone = of(&[opening]);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x01\x02\x03\x04\n", b"\x01no\n", b"\x02\0"] {
            assert_eq!(of(&[opening, (DOWN, answer)]).out.label, None, "{answer:?}");
        }
    }

    #[test]
    fn the_clients_side_alone_is_rlogin_once_it_sends_its_window() {
        let payloads: &[(Dir, &[u8])] =
            &[(UP, b"\0ann\0root\0vt100/9600\0"), (UP, b"\xff\xffss\0\x18\0\x50\0\0\0\0")];
        assert_eq!(of(payloads).out.label, Some("rsh"));
        assert_eq!(of(&[payloads[0], (UP, b"ls\r")]).out.label, None);
    }

    #[test]
    fn what_is_not_such_strings_is_not_taken() {
        for bytes in [
            &b"220 mail.example.com ESMTP\r\n"[..],
            b"\0\0\0\x0bannroot",
            b"99999\0ann\0root\0ls\0",
            b"1022\0ann\0root\0ls\0and more",
            b"1022\0an n\0root\0ls\0",
            b"1022\0\0root\0ls\0",
            b"\0\x01\0\x02\0\x01\0",
            b"123456\0ann\0root\0ls\0",
        ] {
            assert!(!of(&[(UP, bytes)]).mine, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
