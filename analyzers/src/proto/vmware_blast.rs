//! Blast, the desktop protocol of VMware (Omnissa) Horizon: its virtual channels (VVC) inside a WebSocket.
//!
//! In: the byte stream that a WebSocket carries. Out: the label `vmware_blast`, once the channels were set up and one for the desktop
//! is opened. vSphere's console opens the same kind of WebSocket, mostly without VVC (it speaks RFB there), and VVC alone is no desktop:
//! so the greeting is evidence, and the opening of a channel named `blast-…` is what gives the label.
//!
//! Blast's TLS shows nothing of it, and of its UDP transport (BEAT) nothing is published.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const GREETING: Kind = Kind {
    name: "vmware_blast.greeting",
    decibans: 25,
    says: "VMware's virtual channels are set up: version and capabilities on the control channel, lengths exact (WMKS, vvcControlChannel)",
};
const CHANNEL: Kind = Kind {
    name: "vmware_blast.channel",
    decibans: 35,
    says: "a channel of the desktop's is opened by its name, after the greeting was answered (WMKS: blast-mks, blast-audio)",
};

/// Header of a chunk: channel, flags, length less one; a large chunk's length is in four bytes behind it (WMKS, vvcSession).
mod chunk {
    pub(super) const CONTROL: u8 = 0;
    pub(super) const LAST: u8 = 0x80;
    pub(super) const LARGE: u8 = 0x40;
    pub(super) const EXTENSION: u8 = 0x20;
    pub(super) const RESERVED: u8 = 0x0F;
    /// In an extension's header: bytes of its own follow, as many as its parameter says and one.
    pub(super) const EXTENSION_DATA: u8 = 0x80;
}

/// Messages on the control channel: opcode, flags, parameter; with the flag for data the parameter is the length of what follows.
mod control {
    pub(super) const HEADER: u16 = 4;
    pub(super) const DATA: u8 = 0x80;
    pub(super) const INIT: u8 = 2;
    pub(super) const INIT_ACK: u8 = 3;
    pub(super) const OPEN: u8 = 4;
    pub(super) const LAST_OPCODE: u8 = 10;
    /// Version and capabilities: at least, and at most in versions to come.
    pub(super) const INIT_LEAST: u16 = 12;
    pub(super) const INIT_MOST: u16 = 64;
    /// Major versions; published is 1.
    pub(super) const MAJOR_MAX: u16 = 8;
    pub(super) const MINOR_MAX: u16 = 255;
    /// Longest message that is read: opening a channel may carry data of its own.
    pub(super) const MESSAGE_MAX: u64 = 4_096;
}

/// How the channels of the desktop are named: `blast-mks` for screen, keyboard and mouse, `blast-audio`.
const DESKTOP: &[u8] = b"blast-";

/// What stands before a chunk's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    channel: u8,
    last: bool,
    len: u64,
    header: usize,
}

impl Chunk {
    /// `Ok(None)` for flags that do not exist.
    fn parse(data: &[u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let (channel, flags) = (r.u8()?, r.u8()?);
        if flags & chunk::RESERVED != 0 {
            return Ok(None);
        }
        let mut len = u64::from(r.u16()?);
        if flags & chunk::LARGE != 0 {
            len = u64::from(r.u32()?);
        }
        if flags & chunk::EXTENSION != 0 {
            let (_, extension, parameter) = (r.u8()?, r.u8()?, r.u16()?);
            if extension & chunk::EXTENSION_DATA != 0 {
                r.skip(usize::from(parameter).saturating_add(1))?;
            }
        }
        let last = flags & chunk::LAST != 0;
        Ok(Some(Self { channel, last, len: len.saturating_add(1), header: r.taken() }))
    }
}

/// What a control message says, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control<'a> {
    /// The greeting or its answer, and the version in it.
    Greeting {
        answer: bool,
        major: u16,
        minor: u16,
    },
    Open {
        name: &'a [u8],
    },
    Other,
}

impl<'a> Control<'a> {
    /// Reads a whole message; `Ok(None)` if it is none.
    fn parse(message: &'a [u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(message);
        let (opcode, flags, parameter) = (r.u8()?, r.u8()?, r.u16()?);
        let has_data = flags == control::DATA;
        let fits =
            if has_data { r.rest().len() == usize::from(parameter) } else { r.is_empty() && flags == 0 };
        if !(1..=control::LAST_OPCODE).contains(&opcode) || !fits {
            return Ok(None);
        }
        match opcode {
            control::INIT | control::INIT_ACK => {
                let (major, minor) = (r.u16()?, r.u16()?);
                let known = has_data
                    && (control::INIT_LEAST..=control::INIT_MOST).contains(&parameter)
                    && (1..=control::MAJOR_MAX).contains(&major)
                    && minor <= control::MINOR_MAX;
                Ok(known.then_some(Self::Greeting { answer: opcode == control::INIT_ACK, major, minor }))
            }
            control::OPEN => {
                r.skip(16)?; // id, priority, flags, timeout
                let reserved = r.u24()?;
                let name = usize::from(r.u8()?);
                let data = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
                let exact = r.rest().len() == name.saturating_add(data);
                let name = r.take(name)?;
                Ok((reserved == 0 && exact).then_some(Self::Open { name }))
            }
            _ => Ok(Some(Self::Other)),
        }
    }
}

/// Whether `data` begins with a greeting or its answer.
fn greets(data: &[u8]) -> Result<bool, Short> {
    let Some(first) = Chunk::parse(data)? else { return Ok(false) };
    let len = u16::try_from(first.len).unwrap_or(u16::MAX);
    if first.channel != chunk::CONTROL
        || !first.last
        || len > control::HEADER.saturating_add(control::INIT_MOST)
    {
        return Ok(false);
    }
    let mut r = Reader::new(data);
    r.skip(first.header)?;
    let message = r.take(usize::from(len))?;
    Ok(matches!(Control::parse(message), Ok(Some(Control::Greeting { .. }))))
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// Bytes of a chunk still to be passed over, by direction.
    left: [u64; 2],
    /// A greeting or its answer was seen.
    said: bool,
    /// Who answered the greeting: the side whose desktop it is.
    server: Option<Dir>,
}

/// How to go on after a chunk.
enum Step {
    /// So many bytes are done with.
    Taken(usize),
    Wait,
    End(Next),
}

impl State {
    fn left(&mut self, dir: Dir) -> &mut u64 {
        let [up, down] = &mut self.left;
        if dir == Dir::ToServer { up } else { down }
    }

    /// Takes what it can of `data`, which is not empty.
    fn step(&mut self, data: &[u8], dir: Dir, out: &mut Out) -> Step {
        let left = self.left(dir);
        if *left > 0 {
            let n = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
            *left = left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
            return Step::Taken(n);
        }
        let found = match Chunk::parse(data) {
            Ok(Some(found)) => found,
            Ok(None) => return self.end(),
            Err(Short) => return Step::Wait,
        };
        let readable = found.channel == chunk::CONTROL && found.last && found.len <= control::MESSAGE_MAX;
        if !readable {
            *self.left(dir) = found.len;
            return Step::Taken(found.header);
        }
        let mut r = Reader::new(data);
        let message =
            r.skip(found.header).and_then(|()| r.take(usize::try_from(found.len).unwrap_or(usize::MAX)));
        let Ok(message) = message else { return Step::Wait };
        match Control::parse(message) {
            Ok(Some(said)) if self.on_control(said, dir, out) => Step::End(Next::Done),
            Ok(Some(_)) => Step::Taken(r.taken()),
            _ => self.end(),
        }
    }

    /// Whether nothing more is wanted.
    fn on_control(&mut self, said: Control<'_>, dir: Dir, out: &mut Out) -> bool {
        match said {
            Control::Greeting { answer, major, minor } => {
                let server = if answer { dir } else { dir.reverse() };
                out.client = Some(server.receiver());
                if answer {
                    self.server = Some(server);
                }
                if !std::mem::replace(&mut self.said, true) {
                    out.evidence(&GREETING, format!("version {major}.{minor}"));
                }
                false
            }
            Control::Open { name } if name.starts_with(DESKTOP) => {
                let Some(server) = self.server else { return false };
                out.controlled = Some(server.sender());
                out.evidence(&CHANNEL, String::from_utf8_lossy(name));
                out.is("vmware_blast");
                true
            }
            Control::Open { .. } | Control::Other => false,
        }
    }

    const fn end(&self) -> Step {
        Step::End(if self.said { Next::Done } else { Next::NotMine })
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "vmware_blast",
        title: "VMware / Omnissa Blast (VVC in a WebSocket)",
        label: Some("vmware_blast"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[],
        first: FirstBytes::of(&[chunk::CONTROL]),
        budget: 65_536,
        carrier: false,
        reference: "VMware HTML Console SDK (WMKS): vvcSession, vvcControlChannel",
        evidence: &[GREETING, CHANNEL],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start {
            return Verdict::No;
        }
        match greets(p.data) {
            Ok(true) => Verdict::Yes,
            Ok(false) => Verdict::No,
            Err(Short) => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap {
            return Next::Done;
        }
        let mut rest = seg.data;
        while !rest.is_empty() {
            match self.step(rest, seg.dir, out) {
                Step::Taken(n) => rest = rest.get(n..).unwrap_or(&[]),
                Step::Wait => break,
                Step::End(next) => return next,
            }
        }
        Next::Continue { consumed: seg.data.len().saturating_sub(rest.len()) }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::DESK];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// As a browser's client sends it: version 1.0, no capabilities.
    const INIT: &[u8] = b"\x00\x80\x00\x0f\x02\x80\x00\x0c\x00\x01\x00\x00\0\0\0\0\0\0\0\0";
    const INIT_ACK: &[u8] = b"\x00\x80\x00\x0f\x03\x80\x00\x0c\x00\x01\x00\x01\0\0\0\x07\0\0\0\0";
    /// Channel 1, `blast-mks`.
    const OPEN: &[u8] =
        b"\x00\x80\x00\x24\x04\x80\x00\x21\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0blast-mks";
    /// Bytes received: a control message without data, its parameter a number.
    const RECEIVED: &[u8] = b"\x00\x80\x00\x03\x01\x00\x00\x0b";

    pub(super) const DESK: Fixture<'_> = Fixture {
        name: "a desktop is opened",
        transport: Transport::Tcp,
        payloads: &[(UP, INIT), (DOWN, INIT_ACK), (DOWN, OPEN), (UP, RECEIVED)],
    };

    fn of(payloads: &[(Dir, &[u8])]) -> Outcome {
        drive::<State>(&Fixture { payloads, ..DESK }, usize::MAX)
    }

    #[test]
    fn a_desktop_channel_after_the_greeting_is_blast_and_the_side_that_answered_is_operated() {
        for piece in [usize::MAX, 6, 1] {
            let got = drive::<State>(&DESK, piece);
            assert_eq!(got.out.label, Some("vmware_blast"), "by {piece}");
            assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        }
        assert_eq!(
            of(DESK.payloads).out.evidence.iter().map(|e| &*e.detail).collect::<Vec<_>>(),
            ["version 1.0", "blast-mks"]
        );
    }

    #[test]
    fn the_server_alone_is_enough_whichever_side_opened() {
        assert_eq!(of(&[(DOWN, INIT_ACK), (DOWN, OPEN)]).out.label, Some("vmware_blast"));
        let reverse = of(&[(DOWN, INIT), (UP, INIT_ACK), (UP, OPEN)]).out;
        assert_eq!((reverse.label, reverse.controlled), (Some("vmware_blast"), Some(Side::Src)));
    }

    #[test]
    fn channels_without_a_desktop_and_an_unanswered_greeting_are_evidence_and_no_label() {
        let other = OPEN.iter().map(|b| if *b == b'b' { b'x' } else { *b }).collect::<Vec<_>>();
        for payloads in [
            &[(UP, INIT)][..],
            &[(UP, INIT), (DOWN, INIT_ACK), (UP, RECEIVED)],
            &[(UP, INIT), (UP, OPEN)],
            &[(UP, INIT), (DOWN, INIT_ACK), (DOWN, &other)],
        ] {
            let got = of(payloads);
            assert!(got.mine);
            assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
        }
    }

    #[test]
    fn data_of_other_channels_is_passed_over_and_large_chunks_and_extensions_are_read() {
        let data: &[u8] = b"\x02\x80\x00\x04\x00\x80\x00\x0f\x09";
        let large: &[u8] = b"\x02\xc0\x00\x00\x00\x00\x00\x02abc";
        let extended: &[u8] = b"\x02\xa0\x00\x00\x01\x80\x00\x01eez";
        let payloads =
            [(UP, INIT), (DOWN, INIT_ACK), (DOWN, data), (DOWN, large), (DOWN, extended), (DOWN, OPEN)];
        for piece in [usize::MAX, 1] {
            let got = drive::<State>(&Fixture { payloads: &payloads, ..DESK }, piece);
            assert_eq!(got.out.label, Some("vmware_blast"));
        }
    }

    #[test]
    fn a_length_that_does_not_fit_is_not_taken() {
        for (at, value) in [(0, 1), (1, 0), (1, 0x81), (3, 0x0e), (4, 4), (5, 0), (7, 0x0b), (9, 0), (10, 1)]
        {
            let mut bytes = INIT.to_vec();
            bytes[at] = value;
            bytes.extend_from_slice(&[0; 24]);
            assert!(!of(&[(UP, &bytes)]).mine, "byte {at} is {value}");
        }
        assert!(!of(&[(UP, &[0; 64])]).mine);
        let mut open = OPEN.to_vec();
        open[27] = 8;
        assert_eq!(of(&[(UP, INIT), (DOWN, INIT_ACK), (DOWN, &open)]).out.label, None);
    }
}
