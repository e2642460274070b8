//! Yggdrasil, links over TLS.
//!
//! In: sizes of the first records. Out: the label `yggdrasil`. Both sides have certificates of their own, nobody names a server, and the
//! link's opening of fixed size is the first that each side says inside; 0.4 goes on with two messages of fixed size each.

use super::{Answer, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

const LINK: Kind = Kind {
    name: "yggdrasil_in_tls.link",
    decibans: 31,
    says: "no server name, then as the first records of each side the link's opening, and what must follow it, at their exact sizes \
           (Yggdrasil core/version.go; recorded)",
};

/// Sizes in bytes inside records.
mod size {
    /// Handshake messages (RFC 8446 section 4.4): Ed25519 signature in CertificateVerify; Finished with SHA-256 and SHA-384.
    pub(super) const VERIFY: u16 = 4 + 4 + 64;
    pub(super) const FINISHED: [u16; 2] = [4 + 32, 4 + 48];
    /// 0.4: magic, version, key.
    pub(super) const OPENING_0_4: u16 = 4 + 2 + 32;
    /// 0.4: length, two types, two keys, sequence, times and a signature.
    pub(super) const TREE_0_4: u16 = 140;
    /// 0.5: magic, length, four records; with and without a signature.
    pub(super) const OPENING_0_5: [u16; 2] = [6 + 53, 6 + 53 + 64];
}

/// Of one side: how far the sizes have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Handshake,
    /// CertificateVerify was seen.
    Verified,
    /// Finished was seen: in a client's case perhaps the only message it sent.
    Finished {
        verified: bool,
    },
    Opened {
        release: u8,
    },
    /// 0.4: the tree's message behind the opening. 0.5: the opening is enough.
    Linked {
        release: u8,
    },
}

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    overhead: u16,
    sides: [Step; 2],
}

impl Step {
    /// The next record with so many bytes inside; `None` if it cannot be.
    fn next(self, inside: u16, from_client: bool) -> Option<Self> {
        let finished = size::FINISHED.contains(&inside);
        match self {
            // The server's other messages, and the client's certificate, are of any size.
            Self::Handshake if inside == size::VERIFY => Some(Self::Verified),
            Self::Handshake if finished => Some(Self::Finished { verified: false }),
            Self::Handshake => Some(Self::Handshake),
            Self::Verified if finished => Some(Self::Finished { verified: true }),
            Self::Verified => (!from_client).then_some(Self::Handshake),
            Self::Finished { .. } if inside == size::OPENING_0_4 => Some(Self::Opened { release: 4 }),
            Self::Finished { verified: true } if size::OPENING_0_5.contains(&inside) => {
                Some(Self::Linked { release: 5 })
            }
            Self::Finished { .. } => None,
            Self::Opened { release } => (inside == size::TREE_0_4).then_some(Self::Linked { release }),
            Self::Linked { .. } => Some(self),
        }
    }
}

impl Rule for State {
    const META: Meta = Meta {
        name: "yggdrasil_in_tls",
        title: "Yggdrasil over TLS",
        label: Some("yggdrasil"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "yggdrasil-network/yggdrasil-go sources: src/core/version.go, tls.go (releases 0.4 and 0.5)",
        evidence: &[LINK],
    };

    fn on_hellos(&mut self, tls: &Tls, _: &mut Out) -> Answer {
        /// TLS 1.3 (RFC 8446 section 4.1.2): the only version that it accepts.
        const TLS_1_3: u16 = 0x0304;
        match overhead(tls) {
            Some(overhead) if tls.version == TLS_1_3 && tls.sni.is_none() && tls.alpn_offered.is_empty() => {
                self.overhead = overhead;
                Answer::Wait
            }
            _ => Answer::No,
        }
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
        }
        let inside = record.len.saturating_sub(self.overhead);
        let [client, server] = &mut self.sides;
        let side = if record.from_client { client } else { server };
        let Some(next) = side.next(inside, record.from_client) else { return Answer::No };
        *side = next;
        match self.sides {
            [Step::Linked { release: a }, Step::Linked { release: b }] if a == b => {
                out.evidence(&LINK, format!("release 0.{a}"));
                out.basis = Basis::Behaviour;
                out.is("yggdrasil");
                Answer::Yes
            }
            _ => Answer::Wait,
        }
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![tests::release_0_4(), tests::release_0_5()]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    fn tls() -> Tls {
        Tls { version: 0x0304, cipher: Some(0x1301), ..Tls::default() }
    }

    pub(super) fn release_0_4() -> Fixture {
        Fixture {
            name: "release 0.4",
            tls: tls(),
            lengths: &[-23, -414, -89, -53, 53, 55, -55, 157, -157, 157, 254],
        }
    }

    pub(super) fn release_0_5() -> Fixture {
        let lengths = &[-23, -41, -430, -89, -53, 430, 89, 53, 140, -140, 70, -70];
        Fixture { name: "release 0.5", tls: tls(), lengths }
    }

    fn label(tls: Tls, lengths: &'static [i32]) -> Option<&'static str> {
        drive(&Fixture { name: "", tls, lengths }).label
    }

    #[test]
    fn openings_at_their_places_are_yggdrasil() {
        for fixture in fixtures() {
            let got = drive(&fixture);
            assert_eq!((got.label, got.basis), (Some("yggdrasil"), Basis::Behaviour), "{}", fixture.name);
        }
    }

    #[test]
    fn sizes_that_are_one_off_or_on_one_side_only_are_nothing() {
        for lengths in [
            &[-23, -414, -89, -53, 53, 56, -55, 157, -157][..],
            &[-23, -414, -89, -53, 53, 55, -55, 157, -158],
            &[-23, -414, -89, -53, 53, 55, 157, 157],
            &[-23, -414, -89, -53, 53, 140, -140], // 0.5 without a certificate of the client's
            &[-23, -41, -430, -90, -53, 430, 89, 53, 140, -140],
        ] {
            assert_eq!(label(tls(), lengths), None, "{lengths:?}");
        }
    }

    #[test]
    fn whoever_names_a_server_or_a_protocol_is_not_waited_for() {
        let named = Tls { sni: Some("peer.example".into()), ..tls() };
        let http = Tls { alpn_offered: vec!["h2".into()], ..tls() };
        for tls in [named, http, Tls { version: 0x0303, ..tls() }] {
            assert_eq!(label(tls, release_0_4().lengths), None);
        }
    }
}
