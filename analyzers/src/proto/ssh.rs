//! SSH, its transport's opening (RFC 4253; version 1 by its identification strings only).
//!
//! In: both directions of a stream from their first bytes, or one; also from a KEXINIT on, where the strings before it are lost. Out: the label `ssh`, the versions and HASSH of both sides, and who
//! is the client by what was said rather than by who opened. What is done over the connection is encrypted from NEWKEYS on; from
//! the sizes that are left, `ssh_tunnel` where they show a forwarded connection (`ssh/channels.rs`).

use crate::fingerprint::hassh;
use crate::{
    Analyzer, Basis, Dir, FirstBytes, Hassh, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, SshSide,
    Transport, Verdict,
};

#[path = "ssh/channels.rs"]
mod channels;
#[path = "ssh/packing.rs"]
mod packing;

use channels::{Channels, Forwarded, Sender};
use packing::{Lists, Packing};

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
/// Opening and authentication take 3 to 8 kB a direction, a page in a forwarded channel tens of kB.
const BUDGET: u32 = 65_536;
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
const OFFERS: Kind = Kind {
    name: "ssh.kexinit",
    decibans: 30,
    says: "a whole KEXINIT with its ten lists of algorithms, which programs send once they know the other side's version \
           (RFC 4253 section 7.1); the other side is not seen",
};
const KEY_EXCHANGE: Kind = Kind {
    name: "ssh.key_exchange",
    decibans: 40,
    says: "a key exchange message behind the sender's KEXINIT, which needs the other side's (RFC 4253 section 7)",
};
const FORWARDED: Kind = Kind {
    name: "ssh.forwarded",
    decibans: 20,
    says: "the first channel opened is no session, its opening was confirmed, and data went both ways in it: a forwarded \
           connection (RFC 4254 section 7); TODO",
};
const FORWARDED_BESIDE: Kind =
    Kind { name: "ssh.forwarded_beside_session", decibans: 15, says: "beside a session, TODO" };

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    sides: [Half; 2],
    /// Direction of the client, once something said it.
    client: Option<Dir>,
    channels: Reading,
    /// The label rests on one side's offers.
    by_offers: bool,
}

/// Whether the sizes of encrypted packets are read.
#[derive(Debug, Default)]
enum Reading {
    /// Not yet encrypted in both directions.
    #[default]
    Before,
    Open(Box<Channels>),
    /// They tell nothing, or nothing more.
    Over,
}

#[derive(Debug, Default)]
struct Half {
    phase: Phase,
    /// Bytes of the lines before the identification string.
    greeting: usize,
    banner: Option<Banner>,
    offers: Option<Box<Offers>>,
}

impl Half {
    fn is_silent(&self) -> bool {
        self.banner.is_none() && self.offers.is_none()
    }
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
    /// Lists that may not be empty are not, and all names are printable (RFC 4251 section 6).
    well_formed: bool,
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
        names(&mut r)?; // languages
        names(&mut r)?;
        r.skip(5)?; // a guess follows, and what is reserved
        let has = |marks: &[&str]| kex.split(',').any(|method| marks.contains(&method));
        let lists = [&kex, &encryption_up, &encryption_down];
        Ok(Self {
            well_formed: lists.iter().all(|list| !list.is_empty() && !list.contains('\\')),
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
        first: FirstBytes::of(b"S\0"),
        budget: BUDGET,
        carrier: false,
        reference: "RFC 4253, RFC 4250, RFC 4254",
        evidence: &[BANNER, BANNERS, OFFERS, KEY_EXCHANGE, FORWARDED, FORWARDED_BESIDE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.data.first() == Some(&0) {
            return begins_with_kexinit(p.data);
        }
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
        if seg.gap {
            self.channels = Reading::Over; // sizes in sequence are all there is
            let one_offered = self.sides.iter().any(|half| half.offers.is_some());
            let half = self.half(seg.dir);
            if half.phase == Phase::Packets || half.phase == Phase::Banner && one_offered {
                half.phase = Phase::Encrypted;
            }
        }
        loop {
            let consumed = r.taken();
            let step = match self.half(seg.dir).phase {
                Phase::Banner => self.line(&mut r, seg.dir, out),
                Phase::Packets => self.packet(&mut r, seg.dir, out),
                Phase::Encrypted => {
                    self.encrypted(r.rest().len(), seg.dir, out);
                    let _ = r.take(r.rest().len()); // all there is
                    Step::Wait
                }
            };
            match step {
                Step::On => {}
                Step::Wait if self.is_over() => return Next::Done,
                Step::Wait => return Next::Continue { consumed: r.taken().max(consumed) },
                Step::Foreign if self.sides.iter().all(Half::is_silent) => return Next::NotMine,
                Step::Foreign => {
                    if self.by_offers && seg.dir != self.offering() {
                        (out.label, out.controlled) = (None, None); // whoever answered speaks something else
                    }
                    return Next::Done;
                }
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

    /// Direction of the side that made the only offers.
    fn offering(&self) -> Dir {
        let [to_server, _] = &self.sides;
        if to_server.offers.is_some() { Dir::ToServer } else { Dir::ToClient }
    }

    /// Whether nothing more of use can come.
    fn is_over(&self) -> bool {
        match self.channels {
            Reading::Over => {
                let told = |half: &Half| half.banner.is_some() && half.offers.is_some();
                let encrypted = |half: &Half| half.phase == Phase::Encrypted;
                let alone = self.sides.iter().any(|half| half.banner.is_none());
                self.sides.iter().all(encrypted)
                    || self.client.is_some() && self.sides.iter().all(told)
                    || alone && self.sides.iter().any(encrypted)
            }
            Reading::Before | Reading::Open(_) => false,
        }
    }

    /// A piece of payload behind NEWKEYS.
    fn encrypted(&mut self, size: usize, dir: Dir, out: &mut Out) {
        if size == 0 {
            return;
        }
        if self.half(dir.reverse()).banner.is_none() {
            self.channels = Reading::Over; // the other direction is not in the capture
        }
        if self.sides.iter().any(|half| half.phase != Phase::Encrypted) {
            return;
        }
        if matches!(self.channels, Reading::Before) {
            self.channels = self
                .packing()
                .map_or(Reading::Over, |(up, down)| Reading::Open(Channels::new(up, down).into()));
        }
        let Reading::Open(channels) = &mut self.channels else { return };
        let from = if self.client == Some(dir) { Sender::Client } else { Sender::Server };
        let Some(found) = channels.piece(from, size, out.packet) else { return };
        out.evidence(if found.beside_session { &FORWARDED_BESIDE } else { &FORWARDED }, say(&found));
        out.is("ssh_tunnel");
        (out.basis, out.controlled) = (Basis::Behaviour, None);
        self.channels = Reading::Over;
    }

    /// How both directions pack their messages, the client's first.
    fn packing(&self) -> Option<(Packing, Packing)> {
        let client = self.client?;
        let offers = |dir: Dir| self.sides.get(dir.index())?.offers.as_ref();
        let (client, server) = (offers(client)?, offers(client.reverse())?);
        let agreed = |client: &Hassh, server: &Hassh| {
            Packing::agreed(&Lists::of_hassh(&client.string)?, &Lists::of_hassh(&server.string)?)
        };
        Some((agreed(&client.as_client, &server.as_client)?, agreed(&client.as_server, &server.as_server)?))
    }

    fn line(&mut self, r: &mut Reader<'_>, dir: Dir, out: &mut Out) -> Step {
        if begins_with_kexinit(r.rest()) == Verdict::Yes {
            self.half(dir).phase = Phase::Packets; // the string before it is lost
            return Step::On;
        }
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
                    let silent = self.half(dir.reverse());
                    if offers.well_formed && silent.banner.is_none() && silent.offers.is_none() {
                        self.offers_alone(dir, out);
                    }
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

    /// One side's offer, the other not seen: programs make it once they know the other's version.
    fn offers_alone(&mut self, dir: Dir, out: &mut Out) {
        if out.label.is_none() {
            let half = self.half(dir);
            if half.banner.is_none() {
                out.basis = Basis::Midstream;
            }
            out.evidence(&OFFERS, "");
            self.by_offers = true;
            self.is_ssh(out);
        }
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

/// What was seen of a forwarded connection, for a person with the capture.
fn say(found: &Forwarded) -> String {
    let (opener, other) = match found.by {
        Sender::Client => ("client", "server"),
        Sender::Server => ("server", "client"),
    };
    format!(
        "channel opened by the {opener} in packet {} ({} B), confirmed by the {other} in packet {} ({} B), then {} B from the client and \
         {} B from the server",
        found.opening_packet,
        found.opening,
        found.confirmation_packet,
        found.confirmation,
        found.up,
        found.down
    )
}

/// Last number that belongs to key exchange methods (RFC 4250 section 4.1.1).
const KEX_RESERVED_LAST: u8 = 49;

/// Whether a packet in clear with a KEXINIT opens the bytes, as far as its first list (RFC 4253 sections 6 and 7.1).
fn begins_with_kexinit(data: &[u8]) -> Verdict {
    /// Padding that the protocol asks for, and the least of a list of methods, which all have longer names.
    const PADDING_LEAST: u8 = 4;
    const METHODS_LEAST: usize = 8;
    let mut r = Reader::new(data);
    let head = (|| {
        let (length, padding, number) = (r.u32()?, r.u8()?, r.u8()?);
        r.skip(16)?; // cookie
        let methods = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok::<_, Short>((length, padding, number, methods))
    })();
    let Ok((length, padding, number, methods)) = head else {
        let begun = [0, 0].iter().zip(data).all(|(a, b)| a == b)
            && data.get(5).is_none_or(|n| *n == message::KEXINIT);
        return if begun { Verdict::More } else { Verdict::No };
    };
    let fits = length <= PACKET_MAX && padding >= PADDING_LEAST && number == message::KEXINIT;
    if !fits || methods < METHODS_LEAST || methods >= length {
        return Verdict::No;
    }
    match r.take(methods) {
        Ok(list) if list.iter().all(u8::is_ascii_graphic) => Verdict::Yes,
        Err(Short) if r.rest().iter().all(u8::is_ascii_graphic) => Verdict::More,
        _ => Verdict::No,
    }
}

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
    crate::fixture::Fixture {
        name: "from the client's offers on",
        transport: Transport::Tcp,
        payloads: &[
            (Dir::ToServer, &tests::CLIENT_KEXINIT),
            (Dir::ToServer, &tests::packet::<40>(&[30, 1, 2, 3])),
        ],
    },
];

#[cfg(test)]
#[path = "ssh/tests.rs"]
mod tests;
