//! Tor's link protocol: TLS between a client and a relay, or between two relays.
//!
//! In: both hellos, the certificate where it is in clear, then sizes of records. Out: the label `tor` from certificates as only Tor makes
//! them (TLS 1.2 and older), or, where those are encrypted, from a made-up server name followed by a VERSIONS cell and then nothing
//! but whole cells in both directions. Obfuscated bridges show none of it.

use super::{Answer, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

const CERTIFICATE: Kind = Kind {
    name: "tor_link.certificate",
    decibans: 35,
    says: "a certificate for a random www.….net by a random www.….com, without any other attribute, as every Tor relay makes for itself (tor-spec, Tor's tortls.c)",
};
const CELLS: Kind = Kind {
    name: "tor_link.cells",
    decibans: 33,
    says: "a VERSIONS cell and then records of nothing but whole cells from both sides, after a server name as Tor makes up (tor-spec sections 3 and 4; none of 321 ordinary TLS sessions, measured)",
};

/// Names that Tor makes up: base32 between these (Tor's `tortls.c`: 8 to 20 characters in certificates, 4 to 25 in the hello).
mod name {
    pub(super) const BEGIN: &str = "www.";
    pub(super) const SUBJECT_END: &str = ".net";
    pub(super) const END: &str = ".com";
    pub(super) const CERTIFICATE: std::ops::RangeInclusive<usize> = 8..=20;
    pub(super) const HELLO: std::ops::RangeInclusive<usize> = 4..=25;
}

/// Cell sizes (tor-spec section 3).
mod cell {
    /// Link protocol 4 and 5; up to 3 it was two bytes less.
    pub(super) const SIZES: [u16; 2] = [514, 512];
    /// VERSIONS: circuit id of two bytes, command, length, then two bytes for each of 1 to 6 versions.
    pub(super) const VERSIONS_LEAST: u16 = 5 + 2;
    pub(super) const VERSIONS_MOST: u16 = 5 + 12;
    /// VERSIONS, CERTS and AUTH_CHALLENGE of a relay, without any certificate's bytes: more than this.
    pub(super) const INTRODUCTION: u32 = 400;
}

/// Bytes of a chunk of Tor's buffers (`buffers.c`: 4,096 less its header): what does not fit is cut, in the middle of a cell.
const CHUNK: std::ops::RangeInclusive<u16> = 4_030..=4_096;
/// Records of whole cells that each side must have sent.
const CELLS_EACH: u8 = 2;

/// How far the link has come.
#[derive(Debug, Default)]
pub struct State {
    overhead: u16,
    step: Step,
    /// What the relay introduced itself with.
    introduced: u32,
    /// Size of the cells that the client sends.
    size: u16,
    cells: [u8; 2],
    /// The last record of that side ended within a cell.
    cut: [bool; 2],
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Step {
    /// TLS 1.3: the client's Finished.
    #[default]
    Finished,
    Versions,
    /// The client's NETINFO, with or without the first circuit behind it.
    Netinfo,
    Cells,
}

/// Whether `host` is made of a random base32 label of so many characters.
fn is_made_up(host: &str, end: &str, length: &std::ops::RangeInclusive<usize>) -> bool {
    let label = host.strip_prefix(name::BEGIN).and_then(|rest| rest.strip_suffix(end));
    label.is_some_and(|label| {
        length.contains(&label.len()) && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
    })
}

/// Whether subject and issuer are as Tor makes them. A word can be a base32 label; two that also differ and stand alone are not words.
fn is_relay_certificate(subject: &str, issuer: &str) -> bool {
    let is =
        |dn: &str, end| dn.strip_prefix("CN=").is_some_and(|host| is_made_up(host, end, &name::CERTIFICATE));
    is(subject, name::SUBJECT_END) && is(issuer, name::END)
}

impl Rule for State {
    const META: Meta = Meta {
        name: "tor_link",
        title: "Tor link protocol",
        label: Some("tor"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "tor-spec sections 2 to 4; Tor 0.2 to 0.4 sources, tortls.c",
        evidence: &[CERTIFICATE, CELLS],
    };

    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer {
        if !tls.alpn_offered.is_empty() {
            return Answer::No;
        }
        let made_up = |sni: &str| is_made_up(sni, name::END, &name::HELLO);
        if let (Some(subject), Some(issuer)) = (tls.subject.as_deref(), tls.issuer.as_deref())
            && is_relay_certificate(subject, issuer)
            && tls.sni.as_deref().is_none_or(made_up)
        {
            out.evidence(&CERTIFICATE, format!("{subject}, issued by {issuer}"));
            out.is("tor");
            return Answer::Yes;
        }
        if tls.subject.is_some() || !tls.sni.as_deref().is_some_and(made_up) {
            return Answer::No;
        }
        let Some(overhead) = overhead(tls) else { return Answer::No };
        self.overhead = overhead;
        self.step =
            if tls.cipher.is_some_and(|suite| suite >> 8 == 0x13) { Step::Finished } else { Step::Versions };
        Answer::Wait
    }

    fn on_record(&mut self, tls: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
        }
        let Some(inside) = record.len.checked_sub(self.overhead).filter(|n| *n > 0) else {
            return Answer::No;
        };
        match (&self.step, record.from_client) {
            (Step::Finished, true) => self.step = Step::Versions,
            (Step::Finished, false) => {}
            (Step::Versions, true) => {
                let versions = (cell::VERSIONS_LEAST..=cell::VERSIONS_MOST).contains(&inside);
                if !versions || inside.is_multiple_of(2) {
                    return Answer::No;
                }
                (self.step, self.introduced) = (Step::Netinfo, 0);
            }
            (Step::Versions | Step::Netinfo, false) => {
                self.introduced = self.introduced.saturating_add(u32::from(inside));
            }
            (Step::Netinfo, true) => {
                let size = cell::SIZES.into_iter().find(|size| inside.is_multiple_of(*size));
                let Some(size) = size.filter(|_| self.introduced > cell::INTRODUCTION) else {
                    return Answer::No;
                };
                (self.size, self.step) = (size, Step::Cells);
                self.cells = [1, 0];
            }
            (Step::Cells, from_client) => {
                let side = usize::from(!from_client);
                let (Some(cells), Some(cut)) = (self.cells.get_mut(side), self.cut.get_mut(side)) else {
                    return Answer::No;
                };
                match inside.is_multiple_of(self.size) {
                    true => *cells = cells.saturating_add(1),
                    // A full buffer, or what was cut off by one.
                    false if CHUNK.contains(&inside) || *cut => {}
                    false => return Answer::No,
                }
                *cut = CHUNK.contains(&inside);
                if self.cells.iter().all(|n| *n >= CELLS_EACH) {
                    let sni = tls.sni.as_deref().unwrap_or_default();
                    out.evidence(&CELLS, format!("cells of {} bytes after {sni}", self.size));
                    out.basis = Basis::Behaviour;
                    out.is("tor");
                    return Answer::Yes;
                }
            }
        }
        Answer::Wait
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![tests::link(), tests::old_link()]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    fn tls13(sni: &str) -> Tls {
        Tls { sni: Some(sni.into()), version: 0x0304, cipher: Some(0x1302), ..Tls::default() }
    }

    const LENGTHS: &[i32] = &[-23, -616, -281, -69, 69, -74, 28, -74, -2051, 1045, -531, 1045, -531];

    pub(super) fn link() -> Fixture {
        Fixture { name: "Tor 0.4.8", tls: tls13("www.tj6zmebxs2t47clxm66ixtpe.com"), lengths: LENGTHS }
    }

    pub(super) fn old_link() -> Fixture {
        Fixture {
            name: "Tor 0.2.4",
            tls: certified("CN=www.g6ghvisevf3ibuu5.net", "CN=www.xkgk7fdx362yyyxib.com"),
            lengths: &[],
        }
    }

    fn certified(subject: &str, issuer: &str) -> Tls {
        Tls {
            sni: Some("www.ct7ctrgb6cr7.com".into()),
            version: 0x0301,
            cipher: Some(0xC013),
            subject: Some(subject.into()),
            issuer: Some(issuer.into()),
            ..Tls::default()
        }
    }

    fn label(tls: Tls, lengths: &'static [i32]) -> Option<&'static str> {
        drive(&Fixture { name: "", tls, lengths }).label
    }

    #[test]
    fn versions_and_then_whole_cells_from_both_sides_are_tor() {
        assert_eq!(drive(&link()).label, Some("tor"));
        let cut: &[i32] = &[-700, -69, 69, 28, -900, 531, -4065, -1623, -531, 1045, -1045];
        assert_eq!(label(tls13("www.si6isa5v.com"), cut), Some("tor"), "a buffer of the relay was full");
        let old_cells: &[i32] = &[-700, -69, 69, 26, -900, 529, -529, 1041, -529];
        assert_eq!(label(tls13("www.si6isa5v.com"), old_cells), Some("tor"), "link protocol 3");
        let tls12 = Tls { version: 0x0303, cipher: Some(0xC02F), ..tls13("www.si6isa5v.com") };
        assert_eq!(
            label(tls12, &[35, -1024, 538, -538, 1052, -538]),
            Some("tor"),
            "TLS 1.2 without the certificate"
        );
    }

    #[test]
    fn records_that_are_no_whole_cells_are_not_tor() {
        for lengths in [
            &[-616, -69, 69, 28, -2051, 1046, -531, 1045, -531][..],
            &[-616, -69, 69, 28, -2051, 1045, -530, 1045, -531],
            &[-616, -69, 69, 29, -2051, 1045, -531, 1045, -531], // half a version
            &[-616, -69, 69, 1045, -531, 1045, -531, 1045, -531],
            &[-616, -69, 69, 28, -69, 1045, -531, 1045, -531], // no certificates
            &[-616, -69, 69, 28, -2051, 1045, -531],           // one cell might be chance
        ] {
            assert_eq!(label(tls13("www.si6isa5v.com"), lengths), None, "{lengths:?}");
        }
    }

    #[test]
    fn other_names_and_whoever_speaks_http_are_not_waited_for() {
        for sni in ["www.si6isa5v.org", "si6isa5v.com", "www.abc.com", "www.a-b-c-d.com", "www.si6isa5v1.com"]
        {
            assert_eq!(label(tls13(sni), LENGTHS), None, "{sni}");
        }
        let browser = Tls { alpn_offered: vec!["h2".into()], ..tls13("www.si6isa5v.com") };
        assert_eq!(label(browser, LENGTHS), None);
    }

    #[test]
    fn a_relays_certificate_is_enough_and_an_ordinary_one_is_not() {
        assert_eq!(drive(&old_link()).label, Some("tor"));
        for (subject, issuer) in [
            ("CN=www.g6ghvisevf3ibuu5.net", "CN=www.g6ghvisevf3ibuu5.net"),
            ("C=US, CN=www.g6ghvisevf3ibuu5.net", "CN=www.xkgk7fdx362yyyxib.com"),
            ("CN=www.g6ghvisevf3ibuu5.com", "CN=www.xkgk7fdx362yyyxib.com"),
            ("CN=www.example.net", "C=US, O=Let's Encrypt, CN=R3"),
            ("CN=www.short.net", "CN=www.short.com"),
        ] {
            assert_eq!(label(certified(subject, issuer), &[]), None, "{subject} {issuer}");
        }
    }
}
