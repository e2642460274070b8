//! ScreenConnect (ConnectWise Control): connections to the vendor's relays, which speak a protocol of their own on 443 or 8041.
//!
//! In: a byte stream that is no TLS. Out: the label `screenconnect` once a relay, named in the client's opening, has answered. Relays of
//! one's own have other names, and the constant bytes of the opening are not published: they are left to the catalogue. Machines and
//! operators open alike, so who is operated does not show.

use crate::{Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

const OPENING: Kind = Kind {
    name: "screenconnect.opening",
    decibans: 28,
    says: "the opening names a relay of ScreenConnect's service, at the place and with the end that its version calls for (RSA NetWitness, 2019)",
};
const ANSWER: Kind =
    Kind { name: "screenconnect.answer", decibans: 8, says: "the relay that the opening names has answered" };

/// The opening: a token of 18 bytes within the first ten, a byte, then the version; the relay's name follows at a distance from the
/// version and with an end that go with it (RSA NetWitness community, "What's on your wire: ScreenConnect", 2019).
mod opening {
    pub(super) const VERSION_LEAST: usize = 18 + 1;
    pub(super) const VERSION_MOST: usize = 10 + 18 + 2;
    /// Version, distance of the name, end of the name.
    pub(super) const FORMS: [(u8, usize, u8); 2] = [(4, 7, 1), (6, 9, 2)];
    /// Names of relays begin so: one for each customer or server (names in maltrail's list, 2026-08).
    pub(super) const BEGINS: [&[u8]; 2] = [b"instance-", b"server-"];
    pub(super) const ENDS: &[u8] = b"-relay.screenconnect.com";
    pub(super) const NAME_MAX: usize = 80;
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    asked: Option<Dir>,
}

/// What a client's first bytes are.
enum Seen<'a> {
    Relay(&'a [u8]),
    /// The name may still be to come.
    Short,
    Other,
}

fn relay(data: &[u8]) -> Seen<'_> {
    // Text protocols and TLS begin otherwise.
    let binary = data.iter().take(4).any(|b| b.is_ascii_control());
    if !binary || data.starts_with(&[0x16, 0x03]) {
        return Seen::Other;
    }
    let mut short = data.len() <= opening::VERSION_LEAST;
    for at in opening::VERSION_LEAST..=opening::VERSION_MOST {
        let Some(version) = data.get(at) else {
            short = true;
            break;
        };
        let Some((_, distance, end)) = opening::FORMS.iter().find(|(v, ..)| v == version) else { continue };
        let rest = data.get(at.saturating_add(*distance)..).unwrap_or(&[]);
        let rest = rest.get(..rest.len().min(opening::NAME_MAX)).unwrap_or(&[]);
        let begins = |b: &[u8]| rest.starts_with(b) || b.starts_with(rest);
        if !opening::BEGINS.iter().any(|b| begins(b)) {
            continue;
        }
        match rest.iter().position(|b| b == end) {
            Some(len) => {
                let name = rest.get(..len).unwrap_or(&[]);
                let fits = name.iter().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(b));
                if fits && name.ends_with(opening::ENDS) {
                    return Seen::Relay(name);
                }
            }
            None if rest.len() < opening::NAME_MAX => short = true,
            None => {}
        }
    }
    if short { Seen::Short } else { Seen::Other }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "screenconnect",
        title: "ScreenConnect",
        label: Some("screenconnect"),
        app_proto: "failed",
        transports: &[Transport::Tcp],
        ports: &[443, 8041],
        first: FirstBytes::ANY,
        budget: 4_096,
        carrier: false,
        reference: "No specification is published; RSA NetWitness community, What's on your wire: ScreenConnect/ConnectWise (2019)",
        evidence: &[OPENING, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match relay(p.data) {
            Seen::Relay(_) => Verdict::Yes,
            Seen::Short => Verdict::More,
            Seen::Other => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let all = Next::Continue { consumed: seg.data.len() };
        match self.asked {
            Some(dir) if dir != seg.dir && !seg.data.is_empty() => {
                out.evidence(&ANSWER, format!("{} bytes", seg.data.len()));
                out.is("screenconnect");
                Next::Done
            }
            Some(_) => all,
            None => match relay(seg.data) {
                Seen::Relay(name) => {
                    self.asked = Some(seg.dir);
                    out.client = Some(seg.dir.sender());
                    out.evidence(&OPENING, String::from_utf8_lossy(name).into_owned());
                    all
                }
                Seen::Short => Next::Continue { consumed: 0 },
                Seen::Other => Next::NotMine,
            },
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::VERSION_4, tests::VERSION_6];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const OPENING_4: &[u8] =
        b"\0\x01\x02\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0\x10\x20\x04\
        \0\0\0\0\0\x29instance-a1b2c3-relay.screenconnect.com\x01\xbb\0\0";
    const OPENING_6: &[u8] =
        b"\x01\x02\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0\x10\x20\x06\
        \0\0\0\0\0\0\0\x2cserver-nix0123abcd-relay.screenconnect.com\x02\xbb\0\0";
    const ANSWERED: &[u8] = b"\0\x10\x99\x98\x97";

    pub(super) const VERSION_4: Fixture<'_> = Fixture {
        name: "version 4",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, OPENING_4), (Dir::ToClient, ANSWERED)],
    };
    pub(super) const VERSION_6: Fixture<'_> = Fixture {
        name: "version 6",
        transport: Transport::Tcp,
        payloads: &[(Dir::ToServer, OPENING_6), (Dir::ToClient, ANSWERED)],
    };

    #[test]
    fn an_answered_opening_that_names_a_relay_is_screenconnect() {
        for fixture in FIXTURES {
            for piece in [usize::MAX, 9, 1] {
                let out = drive::<State>(fixture, piece).out;
                assert_eq!(out.label, Some("screenconnect"), "{}, {piece}", fixture.name);
                assert_eq!((out.client, out.controlled), (Some(Side::Src), None));
            }
        }
    }

    #[test]
    fn an_opening_without_an_answer_is_evidence_alone() {
        let alone = Fixture { payloads: &VERSION_4.payloads[..1], ..VERSION_4 };
        let out = drive::<State>(&alone, usize::MAX).out;
        assert_eq!((out.label, out.evidence.len()), (None, 1));
    }

    #[test]
    fn the_name_elsewhere_or_with_another_end_is_not_taken() {
        let mut another_end = OPENING_4.to_vec();
        let at = another_end.iter().position(|b| *b == b'm').expect("a name ends in m") + 1;
        another_end[at] = 2;
        let socks: &[u8] = b"\x05\x01\0\x03\x27instance-a1b2c3-relay.screenconnect.com\x01\xbb";
        let tls: &[u8] =
            b"\x16\x03\x01\0\x40\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0\x10\x20\x30\x40\x50\x04\
            \0\0\0\0\0\x29instance-a1b2c3-relay.screenconnect.com\x01\xbb\0\0";
        let another_name: &[u8] =
            b"\0\x01\x02\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0\x10\x20\x04\
            \0\0\0\0\0\x29instance-a1b2c3-relay.screenconnect.example\x01\xbb\0\0";
        for bytes in [&another_end[..], socks, tls, another_name] {
            let payloads = &[(Dir::ToServer, bytes), (Dir::ToClient, ANSWERED)];
            let got = drive::<State>(&Fixture { payloads, ..VERSION_4 }, usize::MAX);
            assert_eq!((got.mine, got.out.label), (false, None), "{bytes:02x?}");
        }
    }
}
