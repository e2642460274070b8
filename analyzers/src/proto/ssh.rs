//! SSH, its transport's opening (RFC 4253; version 1 by its identification strings only).
//!
//! In: both directions of a stream from their first bytes, or one; also from a KEXINIT on, where the strings before it are lost, and
//! from behind the key exchange on, by sizes in both directions (`ssh/midstream.rs`).
//! Out: the label `ssh`, the versions and HASSH of both sides, and who is the client by what was said rather than by who opened. What
//! is done over the connection is encrypted from NEWKEYS on; from the sizes that are left, `ssh_tunnel` where they show a forwarded
//! connection (`ssh/channels.rs`).

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Hassh, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, SshSide,
    Transport, Verdict,
};

#[path = "ssh/beside.rs"]
mod beside;
#[path = "ssh/channels.rs"]
mod channels;
#[path = "ssh/midstream.rs"]
mod midstream;
#[path = "ssh/packing.rs"]
mod packing;
#[path = "ssh/wire.rs"]
mod wire;

use channels::{Channels, Forwarded, Sender};
use midstream::{Found, Midstream};
use packing::{Lists, Packing};
use wire::{Banner, Offers, begins_with_kexinit, message};

/// Bytes of lines before an identification string (RFC 4253 section 4.2 sets no limit).
const GREETING_MAX: usize = 8_192;
/// Opening and authentication take 3 to 8 kB a direction, a page in a forwarded channel tens of kB.
const BUDGET: u32 = 65_536;
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
    decibans: 16,
    says: "by sizes: the first channel opened is no session, its opening was confirmed, and data went both ways in it: a forwarded \
           connection (RFC 4254 section 7). In recordings 52 of 55 of OpenSSH 9.2 with seven ciphers (-D, -L, -R and -W without a \
           command), 0 of 117 sessions of shell, commands, files and git; with compression it does not show",
};
const FORWARDED_BESIDE: Kind = Kind {
    name: "ssh.forwarded_beside_session",
    decibans: 13,
    says: "by sizes: beside a session, two channels were opened, confirmed, asked, answered and closed as forwarded connections are \
           (RFC 4254 section 7). In recordings 14 of 18 shells with -D or -L in use, 0 of 117 sessions; ciphers in CTR mode with \
           encrypt-and-MAC do not show it",
};

const PACKETS: Kind = Kind {
    name: "ssh.packets",
    decibans: 25,
    says: "encrypted packets with lengths in clear that chain in both directions, blocks and MAC of SSH's sizes (RFC 4253 section 6, \
           RFC 5647 section 7.3, OpenSSH's encrypt-then-MAC modes)",
};
const SIZES: Kind = Kind {
    name: "ssh.sizes",
    decibans: 15,
    says: "by sizes: both directions write in SSH's lattice of blocks and MAC, bytes without any framing, the smallest as large as a key \
           stroke is (RFC 4253 section 6); the beginning is not in the capture",
};

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    sides: [Half; 2],
    /// Where nothing in clear is left.
    midstream: Option<Box<Midstream>>,
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

impl Analyzer for State {
    const META: Meta = Meta {
        name: "ssh",
        title: "SSH",
        label: Some("ssh"),
        app_proto: "ssh",
        transports: &[Transport::Tcp],
        ports: &[22, 2222],
        first: FirstBytes::ANY,
        budget: BUDGET,
        carrier: false,
        reference: "RFC 4253, RFC 4250, RFC 4254",
        evidence: &[BANNER, BANNERS, OFFERS, KEY_EXCHANGE, FORWARDED, FORWARDED_BESIDE, PACKETS, SIZES],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        // What one side begins with says nothing of the other.
        let late = || if p.from_start { Verdict::More } else { midstream::probe(p) };
        if p.data.first() == Some(&0) {
            return match begins_with_kexinit(p.data) {
                Verdict::No if p.from_start => Verdict::No,
                Verdict::No => late(),
                verdict => verdict,
            };
        }
        let magic = b"SSH-";
        if !magic.starts_with(p.data.get(..4).unwrap_or(p.data)) {
            return late();
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
        if let Some(midstream) = &mut self.midstream {
            return from_sizes(midstream, seg, out);
        }
        let clear = seg.data.starts_with(b"SSH-") || begins_with_kexinit(seg.data) == Verdict::Yes;
        if seg.gap && !clear && self.sides.iter().all(Half::is_silent) {
            return from_sizes(self.midstream.insert(Box::default()), seg, out);
        }
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
        let Some(payload) = payload.filter(|_| (wire::PACKET_MIN..=wire::PACKET_MAX).contains(&length))
        else {
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
            message::DISCONNECT..=message::DEBUG | message::KEX_FIRST..=message::KEX_RESERVED_LAST => {}
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

/// Behind the key exchange: a segment of ciphertext.
fn from_sizes(midstream: &mut Midstream, seg: &Segment<'_>, out: &mut Out) -> Next {
    match midstream.segment(seg.dir, seg.data, seg.gap) {
        midstream::Step::On => Next::Continue { consumed: seg.data.len() },
        midstream::Step::Foreign => Next::NotMine,
        midstream::Step::Found(found) => {
            match found {
                Found::Chain { packets, mac } => {
                    out.evidence(&PACKETS, format!("{packets} packets, MAC of {mac} B"));
                }
                Found::Lattice { writes, smallest, block } => {
                    let detail = format!("{writes} writes, blocks of {block} B, the smallest {smallest} B");
                    out.evidence(&SIZES, detail);
                }
            }
            out.is("ssh");
            out.basis = Basis::Midstream;
            Next::Done
        }
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
        found.opening.packet,
        found.opening.size,
        found.confirmation.packet,
        found.confirmation.size,
        found.up,
        found.down
    )
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
