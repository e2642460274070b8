//! OpenVPN over TCP inside TLS (stunnel and its like).
//!
//! In: sizes of the first records. Out: the label `tls_tunnel`, once the sizes of OpenVPN's resets, its control packets and its
//! acknowledgements have come in their order. Every OpenVPN packet is a write of its own, and so a record.

use super::{Answer, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

const HANDSHAKE: Kind = Kind {
    name: "openvpn_in_tls.handshake",
    decibans: 31,
    says: "records as long as OpenVPN's two resets, then control packets and acknowledgements (no such pair among 321 ordinary TLS sessions, measured)",
};

/// Sizes in bytes, with the two bytes of length before each packet on TCP (OpenVPN's `ssl_pkt.c`, `reliable.c`).
mod size {
    /// Opcode, session id, no acknowledgement, packet id.
    pub(super) const CLIENT_RESET: u16 = 2 + 1 + 8 + 1 + 4;
    /// … with one acknowledgement and the peer's session id.
    pub(super) const SERVER_RESET: u16 = CLIENT_RESET + 4 + 8;
    /// Acknowledgement of one packet; each more is four bytes.
    pub(super) const ACK: u16 = 2 + 1 + 8 + 1 + 4 + 8;
    /// A packet acknowledges at most eight.
    pub(super) const ACKS_MAX: u16 = 8;
    /// A control packet that carries a ClientHello.
    pub(super) const HELLO_LEAST: u16 = SERVER_RESET + 60;
    /// What tls-auth (packet id, time, HMAC of SHA-1, SHA-256, SHA-384, SHA-512) and tls-crypt (as with SHA-256) add; nothing without.
    pub(super) const WRAPS: [u16; 5] = [0, 28, 40, 56, 72];
}

/// Records of the server between both resets: session tickets (RFC 8446 section 4.6.1).
const TICKETS_MAX: u8 = 3;
/// Acknowledgements that must come within the records that a rule may see.
const ACKS: u8 = 2;

/// How far the handshake has come.
#[derive(Debug, Default)]
pub struct State {
    /// What TLS and the wrapping add.
    extra: u16,
    overhead: u16,
    step: Step,
    tickets: u8,
    acks: u8,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Step {
    /// TLS 1.3: the client's Finished.
    #[default]
    Finished,
    ClientReset,
    ServerReset,
    Hello,
    Acks,
}

impl Rule for State {
    const META: Meta = Meta {
        name: "openvpn_in_tls",
        title: "OpenVPN inside TLS",
        label: Some("tls_tunnel"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "OpenVPN 2.6 sources, ssl_pkt.c and reliable.c",
        evidence: &[HANDSHAKE],
    };

    fn on_hellos(&mut self, tls: &Tls, _: &mut Out) -> Answer {
        // Whoever speaks HTTP says so, and wrappers do not speak it.
        let Some(overhead) = overhead(tls).filter(|_| tls.alpn_offered.is_empty()) else { return Answer::No };
        self.overhead = overhead;
        self.step = if overhead == 17 { Step::Finished } else { Step::ClientReset };
        Answer::Wait
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
        }
        let inside = record.len.saturating_sub(self.overhead);
        let control = |wrap: u16, least: u16| inside >= wrap.saturating_add(least);
        match self.step {
            Step::Finished if !record.from_client => {}
            Step::Finished => self.step = Step::ClientReset,
            Step::ClientReset if record.from_client => {
                let wrap = inside.checked_sub(size::CLIENT_RESET);
                let Some(wrap) = wrap.filter(|w| size::WRAPS.contains(w)) else { return Answer::No };
                (self.extra, self.step) = (wrap, Step::ServerReset);
            }
            Step::ServerReset if !record.from_client => {
                if inside == size::SERVER_RESET.saturating_add(self.extra) {
                    self.step = Step::Hello;
                } else {
                    self.tickets = self.tickets.saturating_add(1);
                    if self.tickets > TICKETS_MAX {
                        return Answer::No;
                    }
                }
            }
            Step::Hello if record.from_client => {
                if !control(self.extra, size::HELLO_LEAST) {
                    return Answer::No;
                }
                self.step = Step::Acks;
            }
            Step::Acks => {
                let beyond = inside.checked_sub(size::ACK.saturating_add(self.extra));
                self.acks = self.acks.saturating_add(u8::from(
                    beyond.is_some_and(|b| b.is_multiple_of(4) && b < size::ACKS_MAX.saturating_mul(4)),
                ));
                if self.acks >= ACKS {
                    out.evidence(
                        &HANDSHAKE,
                        format!(
                            "resets of {} and {} bytes",
                            size::CLIENT_RESET.saturating_add(self.extra),
                            size::SERVER_RESET.saturating_add(self.extra)
                        ),
                    );
                    out.basis = Basis::Behaviour;
                    out.is("tls_tunnel");
                    return Answer::Yes;
                }
            }
            Step::ServerReset => return Answer::No, // the client waits for it
            Step::ClientReset => self.tickets = self.tickets.saturating_add(1),
            Step::Hello => {}
        }
        Answer::Wait
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![tests::in_stunnel()]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    fn tls13() -> Tls {
        Tls { version: 0x0304, cipher: Some(0x1302), ja4: Some("t13i".into()), ..Tls::default() }
    }

    pub(super) fn in_stunnel() -> Fixture {
        Fixture {
            name: "OpenVPN 2.6 in stunnel",
            tls: tls13(),
            lengths: &[-27, -743, -96, -69, 69, 33, -282, -282, -45, 322, -1241, 45, -1337, 49, 2645, -494],
        }
    }

    fn label(tls: Tls, lengths: &'static [i32]) -> Option<&'static str> {
        drive(&Fixture { name: "", tls, lengths }).label
    }

    #[test]
    fn resets_control_packets_and_acknowledgements_in_order_are_a_tunnel() {
        let got = drive(&in_stunnel());
        assert_eq!((got.label, got.basis), (Some("tls_tunnel"), Basis::Behaviour));
        let with_tls_crypt: &[i32] = &[-900, 53, 73, -85, 400, -1300, 81, -1300, 85];
        assert_eq!(label(tls13(), with_tls_crypt), Some("tls_tunnel"));
        let tls12 = Tls { version: 0x0303, cipher: Some(0xC02F), ..Tls::default() };
        assert_eq!(label(tls12, &[40, -52, 320, -1200, 48, 52]), Some("tls_tunnel"));
    }

    #[test]
    fn sizes_that_do_not_fit_one_another_are_nothing() {
        for lengths in [
            &[-27, -743, 69, 33, -282, -282, -46, 322, -1241, 45, -1337, 49][..], // the server's reset is a byte too long
            &[-27, -743, 69, 34, -45, 322, -1241, 45, -1337, 49],
            &[-27, -743, 69, 33, -45, 60, -1241, 45, -1337, 49], // no hello
            &[-27, -743, 69, 33, -45, 322, -1241, 46, -1337, 50], // no acknowledgement
        ] {
            assert_eq!(label(tls13(), lengths), None, "{lengths:?}");
        }
    }

    #[test]
    fn whoever_offers_http_is_not_waited_for() {
        let tls = Tls { alpn_offered: vec!["h2".into()], ..tls13() };
        assert_eq!(label(tls, in_stunnel().lengths), None);
    }
}
