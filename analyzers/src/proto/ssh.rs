//! SSH, its transport's opening (RFC 4253; version 1 by its identification strings only).
//!
//! In: both directions of a stream from their first bytes, or one. Out: the label `ssh`, the versions and HASSH of both sides, and who
//! is the client by what was said rather than by who opened. What is done over the connection is encrypted from NEWKEYS on; sizes and
//! times of those packets are for a behaviour reader that starts where [`Phase::Encrypted`] does.

use crate::fingerprint::hassh;
use crate::{
    Analyzer, Dir, FirstBytes, Hassh, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, SshSide,
    Transport, Verdict,
};

/// Message numbers (RFC 4250 section 4.1.2). From 30 to 49 they belong to the key exchange method; in all methods in use (RFC 4253
/// section 8, RFC 4419, RFC 5656, RFC 8731) the client sends the even ones.
mod message {
    pub(super) const DISCONNECT: u8 = 1;
    pub(super) const DEBUG: u8 = 4;
    pub(super) const KEXINIT: u8 = 20;
    pub(super) const NEWKEYS: u8 = 21;
    pub(super) const KEX_FIRST: u8 = 30;
    pub(super) const KEX_LAST: u8 = 34;
}

/// Longest line with an identification string (RFC 4253 section 4.2), and what is allowed to lines before it.
const LINE_MAX: usize = 255;
const GREETING_MAX: usize = 8_192;
/// Packets must be accepted up to this size (RFC 4253 section 6.1); the least is 16 bytes with the length.
const PACKET_MAX: usize = 35_000;
const PACKET_MIN: usize = 12;
/// Pseudo-methods in the list of key exchange methods that tell the sender's role (RFC 8308 section 2.1, OpenSSH PROTOCOL 1.9).
const CLIENT_MARKS: [&str; 2] = ["ext-info-c", "kex-strict-c-v00@openssh.com"];
const SERVER_MARKS: [&str; 2] = ["ext-info-s", "kex-strict-s-v00@openssh.com"];

const BANNER: Kind = Kind {
    name: "ssh.banner",
    decibans: 20,
    says: "identification string of one side (RFC 4253 section 4.2); alone it may be a port scan",
};
const BANNERS: Kind = Kind {
    name: "ssh.banners",
    decibans: 40,
    says: "both sides sent an identification string (RFC 4253 section 4.2)",
};
const KEY_EXCHANGE: Kind = Kind {
    name: "ssh.key_exchange",
    decibans: 40,
    says: "a key exchange message behind the sender's KEXINIT, which needs the other side's (RFC 4253 section 7)",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    sides: [Half; 2],
    /// Direction of the client, once something said it.
    client: Option<Dir>,
}

#[derive(Debug, Default)]
struct Half {
    phase: Phase,
    /// Bytes of the lines before the identification string.
    greeting: usize,
    banner: Option<Banner>,
    offers: Option<Box<Offers>>,
}

/// Where the reading of one direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Before the identification string.
    #[default]
    Banner,
    /// Packets in clear.
    Packets,
    /// After NEWKEYS, in version 1, or where packet boundaries were lost.
    Encrypted,
}

#[derive(Debug)]
struct Banner {
    protocol: Box<str>,
    software: Box<str>,
}

impl Banner {
    /// Reads an identification string, without its line's end.
    fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"SSH-")?;
        let dash = rest.iter().position(|b| *b == b'-')?;
        let (protocol, software) = rest.split_at_checked(dash)?;
        let version = protocol.len() <= 4 && protocol.iter().all(|b| b.is_ascii_digit() || *b == b'.');
        let software = software.strip_prefix(b"-")?;
        (version && !protocol.is_empty() && line.len() <= LINE_MAX).then(|| Self {
            protocol: protocol.escape_ascii().to_string().into(),
            software: software.escape_ascii().to_string().into(),
        })
    }

    /// Whether the packets behind it are those of version 2 (RFC 4253 section 5.1).
    fn speaks_v2(&self) -> bool {
        matches!(&*self.protocol, "2.0" | "1.99")
    }
}

/// HASSH of a KEXINIT's sender, as either role, and what it says of the role.
#[derive(Debug)]
struct Offers {
    as_client: Hassh,
    as_server: Hassh,
    is_client: Option<bool>,
}

impl Offers {
    /// Reads a KEXINIT's payload behind its number (RFC 4253 section 7.1).
    fn parse(payload: &[u8]) -> Result<Self, Short> {
        let mut r = Reader::new(payload);
        r.skip(16)?; // cookie
        let kex = names(&mut r)?;
        names(&mut r)?; // host keys
        let (encryption_up, encryption_down) = (names(&mut r)?, names(&mut r)?);
        let (mac_up, mac_down) = (names(&mut r)?, names(&mut r)?);
        let (compression_up, compression_down) = (names(&mut r)?, names(&mut r)?);
        let has = |marks: &[&str]| kex.split(',').any(|method| marks.contains(&method));
        Ok(Self {
            as_client: hassh::of(&kex, &encryption_up, &mac_up, &compression_up),
            as_server: hassh::of(&kex, &encryption_down, &mac_down, &compression_down),
            is_client: match (has(&CLIENT_MARKS), has(&SERVER_MARKS)) {
                (true, false) => Some(true),
                (false, true) => Some(false),
                _ => None,
            },
        })
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "ssh",
        title: "SSH",
        label: Some("ssh"),
        app_proto: "ssh",
        transports: &[Transport::Tcp],
        ports: &[22, 2222],
        first: FirstBytes::of(b"S"),
        budget: 16_384,
        carrier: false,
        reference: "RFC 4253, RFC 4250",
        evidence: &[BANNER, BANNERS, KEY_EXCHANGE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let magic = b"SSH-";
        if !magic.starts_with(p.data.get(..4).unwrap_or(p.data)) {
            return Verdict::No;
        }
        match p.data.get(4..) {
            None => Verdict::More,
            Some(&[major, b'.', minor, ..]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
                Verdict::Yes
            }
            Some(rest) if rest.len() < 3 => Verdict::More,
            Some(_) => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let mut r = Reader::new(seg.data);
        if seg.gap && self.half(seg.dir).phase == Phase::Packets {
            self.half(seg.dir).phase = Phase::Encrypted;
        }
        loop {
            let consumed = r.taken();
            let step = match self.half(seg.dir).phase {
                Phase::Banner => self.line(&mut r, seg.dir, out),
                Phase::Packets => self.packet(&mut r, seg.dir, out),
                Phase::Encrypted => {
                    let _ = r.take(r.rest().len()); // all there is
                    Step::Wait
                }
            };
            match step {
                Step::On => {}
                Step::Wait if self.sides.iter().all(|half| half.phase == Phase::Encrypted) => {
                    return Next::Done;
                }
                Step::Wait => return Next::Continue { consumed: r.taken().max(consumed) },
                Step::Foreign if self.sides.iter().all(|half| half.banner.is_none()) => return Next::NotMine,
                Step::Foreign => return Next::Done,
            }
            if self.is_complete() {
                return Next::Done;
            }
        }
    }
}

/// How to go on after a piece.
enum Step {
    On,
    /// For more bytes.
    Wait,
    /// It is not SSH.
    Foreign,
}

impl State {
    fn half(&mut self, dir: Dir) -> &mut Half {
        let [to_server, to_client] = &mut self.sides;
        match dir {
            Dir::ToServer => to_server,
            Dir::ToClient => to_client,
        }
    }

    /// Whether all that is in clear and of use was seen.
    fn is_complete(&self) -> bool {
        self.client.is_some() && self.sides.iter().all(|half| half.banner.is_some() && half.offers.is_some())
    }

    fn line(&mut self, r: &mut Reader<'_>, dir: Dir, out: &mut Out) -> Step {
        let Some(end) = r.rest().iter().position(|b| *b == b'\n') else {
            return if r.rest().len() > GREETING_MAX { Step::Foreign } else { Step::Wait };
        };
        let line = r.take(end).unwrap_or_default();
        let _ = r.skip(1); // the line feed that was found
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(banner) = Banner::parse(line) {
            out.evidence(&BANNER, &*banner.software);
            let half = self.half(dir);
            half.phase = if banner.speaks_v2() { Phase::Packets } else { Phase::Encrypted };
            half.banner = Some(banner);
            if self.sides.iter().all(|half| half.banner.is_some()) {
                out.evidence(&BANNERS, "");
                self.is_ssh(out);
            }
            self.tell(out);
            return Step::On;
        }
        // Only a server may say something before (RFC 4253 section 4.2).
        let half = self.half(dir);
        half.greeting = half.greeting.saturating_add(end);
        if line.starts_with(b"SSH-") || half.greeting > GREETING_MAX { Step::Foreign } else { Step::On }
    }

    fn packet(&mut self, r: &mut Reader<'_>, dir: Dir, out: &mut Out) -> Step {
        let before = *r;
        let (Ok(length), Ok(padding)) = (r.u32(), r.u8()) else {
            *r = before;
            return Step::Wait;
        };
        let (length, padding) = (usize::try_from(length).unwrap_or(usize::MAX), usize::from(padding));
        let payload = length.checked_sub(padding).and_then(|n| n.checked_sub(1)).filter(|n| *n > 0);
        let Some(payload) = payload.filter(|_| (PACKET_MIN..=PACKET_MAX).contains(&length)) else {
            return Step::Foreign;
        };
        let Ok(body) = r.take(length.saturating_sub(1)) else {
            *r = before;
            return Step::Wait;
        };
        let (number, payload) = match body.get(..payload).and_then(<[u8]>::split_first) {
            Some((number, payload)) => (*number, payload),
            None => return Step::Foreign,
        };
        match number {
            message::KEXINIT => match Offers::parse(payload) {
                Ok(offers) => {
                    if let Some(client) = offers.is_client {
                        self.client_is(if client { dir } else { dir.reverse() }, out);
                    }
                    self.half(dir).offers = Some(Box::new(offers));
                    self.tell(out);
                }
                Err(Short) => return Step::Foreign,
            },
            message::KEX_FIRST..=message::KEX_LAST if self.half(dir).offers.is_some() => {
                self.client_is(if number.is_multiple_of(2) { dir } else { dir.reverse() }, out);
                if out.label.is_none() {
                    // The other direction is not in the capture, and yet it answered.
                    out.evidence(&KEY_EXCHANGE, format!("message {number}"));
                    self.is_ssh(out);
                }
                self.tell(out);
            }
            message::NEWKEYS => self.half(dir).phase = Phase::Encrypted,
            message::DISCONNECT..=message::DEBUG | message::KEX_FIRST..=KEX_RESERVED_LAST => {}
            _ => return Step::Foreign,
        }
        Step::On
    }

    fn client_is(&mut self, dir: Dir, out: &mut Out) {
        if self.client.is_none() {
            self.client = Some(dir);
            out.client = Some(dir.sender());
            if out.label.is_some() {
                out.controlled = Some(dir.receiver());
            }
        }
    }

    /// Says the label. Until something tells the roles the opener counts as client.
    fn is_ssh(&self, out: &mut Out) {
        out.is("ssh");
        out.controlled = Some(self.client.unwrap_or(Dir::ToServer).receiver());
    }

    fn tell(&self, out: &mut Out) {
        let client = self.client.unwrap_or(Dir::ToServer);
        let side = |dir: Dir| {
            let half = self.sides.get(dir.index())?;
            let banner = half.banner.as_ref()?;
            let offers = half.offers.as_ref();
            Some(SshSide {
                proto_version: banner.protocol.clone(),
                software_version: banner.software.clone(),
                hassh: offers.map(|o| if dir == client { o.as_client.clone() } else { o.as_server.clone() }),
            })
        };
        let ssh = out.facts.ssh.get_or_insert_default();
        (ssh.client, ssh.server) = (side(client), side(client.reverse()));
    }
}

/// Last number that belongs to key exchange methods (RFC 4250 section 4.1.1).
const KEX_RESERVED_LAST: u8 = 49;

/// A name-list (RFC 4251 section 5) as text.
fn names(r: &mut Reader<'_>) -> Result<String, Short> {
    let length = usize::try_from(r.u32()?).map_err(|_| Short)?;
    Ok(r.take(length)?.escape_ascii().to_string())
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "client first",
        transport: Transport::Tcp,
        payloads: &[
            (Dir::ToServer, b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n"),
            (Dir::ToClient, b"SSH-2.0-dropbear_2022.83\r\n"),
            (Dir::ToServer, &tests::CLIENT_KEXINIT),
            (Dir::ToClient, &tests::SERVER_KEXINIT),
            (Dir::ToServer, &tests::packet::<40>(&[30, 1, 2, 3])),
        ],
    },
    crate::fixture::Fixture {
        name: "server first, with a greeting",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToClient, b"SSH-2.0-x\r\n"), (Dir::ToServer, b"SSH-1.99-y\n")],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, Outcome, drive};

    /// A packet of `N` bytes around `payload`.
    pub(super) const fn packet<const N: usize>(payload: &[u8]) -> [u8; N] {
        let mut bytes = [0; N];
        let length = (N - 4) as u32;
        let padding = N - 5 - payload.len();
        assert!(padding >= 4 && padding < 256);
        let head = length.to_be_bytes();
        let mut i = 0;
        while i < 4 {
            bytes[i] = head[i];
            i += 1;
        }
        bytes[4] = padding as u8;
        let mut i = 0;
        while i < payload.len() {
            bytes[5 + i] = payload[i];
            i += 1;
        }
        bytes
    }

    const CLIENT_OFFERS: &[u8] = b"\x14cookiecookiecook\0\0\0\x10kex-a,ext-info-c\0\0\0\x02hk\
        \0\0\0\x04e-cs\0\0\0\x04e-sc\0\0\0\x04m-cs\0\0\0\x04m-sc\0\0\0\x04c-cs\0\0\0\x04c-sc\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const SERVER_OFFERS: &[u8] = b"\x14cookiecookiecook\0\0\0\x05kex-b\0\0\0\x02hk\
        \0\0\0\x04E-cs\0\0\0\x04E-sc\0\0\0\x04M-cs\0\0\0\x04M-sc\0\0\0\x04C-cs\0\0\0\x04C-sc\0\0\0\0\0\0\0\0\0\0\0\0\0";
    pub(super) const CLIENT_KEXINIT: [u8; 128] = packet(CLIENT_OFFERS);
    pub(super) const SERVER_KEXINIT: [u8; 120] = packet(SERVER_OFFERS);

    fn conversation(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
        drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
    }

    #[test]
    fn versions_and_hassh_of_both_sides_are_read_however_they_are_cut() {
        for piece in [1, 50, usize::MAX] {
            let got = drive::<State>(&FIXTURES[0], piece);
            assert_eq!(got.out.label, Some("ssh"));
            assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
            let ssh = got.out.facts.ssh.unwrap();
            let (client, server) = (ssh.client.unwrap(), ssh.server.unwrap());
            assert_eq!(&*client.software_version, "OpenSSH_9.6p1 Ubuntu-3");
            assert_eq!(&*client.hassh.unwrap().string, "kex-a,ext-info-c;e-cs;m-cs;c-cs");
            assert_eq!((&*server.proto_version, &*server.software_version), ("2.0", "dropbear_2022.83"));
            assert_eq!(&*server.hassh.unwrap().string, "kex-b;E-sc;M-sc;C-sc");
        }
    }

    #[test]
    fn a_server_banner_alone_is_evidence_and_no_label() {
        let got = conversation(&[(Dir::ToClient, b"SSH-2.0-OpenSSH_9.2\r\n")], usize::MAX);
        assert!(got.mine);
        assert_eq!((got.out.label, got.out.controlled), (None, None));
        assert_eq!(got.out.evidence.len(), 1);
    }

    #[test]
    fn both_banners_are_ssh_and_leave_the_client_to_the_opener() {
        let got = drive::<State>(&FIXTURES[1], 3);
        assert_eq!((got.out.label, got.out.controlled), (Some("ssh"), Some(Side::Dest)));
        assert_eq!(got.out.client, None);
    }

    #[test]
    fn the_client_is_known_by_its_messages_where_the_opener_was_taken_wrongly() {
        let reversed: Vec<_> = FIXTURES[0].payloads.iter().map(|(dir, b)| (dir.reverse(), *b)).collect();
        let got = conversation(&reversed, usize::MAX);
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Dest), Some(Side::Src)));
        assert_eq!(&*got.out.facts.ssh.unwrap().server.unwrap().software_version, "dropbear_2022.83");
        // Without marks in the offers, by the number of a key exchange message.
        let reply = packet::<40>(&[31, 1, 2, 3]);
        let got = conversation(
            &[(Dir::ToServer, b"SSH-2.0-a\r\n"), (Dir::ToServer, &SERVER_KEXINIT), (Dir::ToServer, &reply)],
            usize::MAX,
        );
        assert_eq!((got.out.label, got.out.client), (Some("ssh"), Some(Side::Dest)));
        assert_eq!(got.out.controlled, Some(Side::Src));
    }

    #[test]
    fn one_direction_without_key_exchange_is_no_label() {
        let got =
            conversation(&[(Dir::ToClient, b"SSH-2.0-a\r\n"), (Dir::ToClient, &SERVER_KEXINIT)], usize::MAX);
        assert_eq!(got.out.label, None);
        assert!(got.out.facts.ssh.unwrap().server.unwrap().hassh.is_some());
    }

    #[test]
    fn a_greeting_before_the_servers_banner_is_passed_over() {
        let got = conversation(
            &[
                (Dir::ToServer, b"SSH-2.0-a\r\n"),
                (Dir::ToClient, b"Authorised use only.\r\n\r\nSSH-2.0-b\r\n"),
            ],
            4,
        );
        assert_eq!(got.out.label, Some("ssh"));
    }

    #[test]
    fn version_1_is_ssh_by_its_banners() {
        let got = conversation(
            &[
                (Dir::ToClient, b"SSH-1.5-1.2.27\n"),
                (Dir::ToServer, b"SSH-1.5-1.2.27\n"),
                (Dir::ToClient, &[0, 0, 1, 7, 0, 0, 0, 0, 0, 2]),
            ],
            usize::MAX,
        );
        assert_eq!(got.out.label, Some("ssh"));
        assert!(got.mine);
    }

    #[test]
    fn other_lines_are_not_taken() {
        for data in [&b"SSL-2.0-x\r\n"[..], b"SSH-x.y\r\n", b"SSH2.0", b"SIP/2.0 200 OK\r\n"] {
            assert!(!conversation(&[(Dir::ToServer, data)], usize::MAX).mine, "{}", data.escape_ascii());
        }
    }
}
