//! SSTP inside its TLS.
//!
//! In: sizes of the first records. Out: the label `sstp`, once an HTTP request and its answer are followed by records as long as SSTP's
//! Call Connect Request, its acknowledgement and, after PPP's negotiation, Call Connected: messages of fixed size, each a write
//! of its own.

use super::{Answer, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

const CALL: Kind = Kind {
    name: "sstp_in_tls.call",
    decibans: 32,
    says: "after one HTTP exchange, records of 14, 48 and 112 bytes in SSTP's order (MS-SSTP 2.2.9, 2.2.10, 2.2.11)",
};

/// Sizes in bytes: header of 8, then attributes (MS-SSTP section 2.2.2).
mod size {
    /// One attribute, the encapsulated protocol.
    pub(super) const CONNECT: u16 = 8 + 6;
    /// Crypto binding request: header, hash protocols, nonce of 32.
    pub(super) const ACKNOWLEDGE: u16 = 8 + 4 + 4 + 32;
    /// Crypto binding: header, hash protocol, nonce, certificate hash, MAC.
    pub(super) const CONNECTED: u16 = 8 + 4 + 4 + 3 * 32;
    /// Method, path, version, content length and host.
    pub(super) const REQUEST_LEAST: u16 = 120;
    /// A packet of PPP behind its header of 4: protocol, code, identifier, length.
    pub(super) const PPP_LEAST: u16 = 4 + 6;
}

/// How far the call has come.
#[derive(Debug, Default)]
pub struct State {
    overhead: u16,
    step: Step,
    answered: bool,
    ppp: [u8; 2],
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Step {
    /// TLS 1.3: the client's Finished.
    #[default]
    Finished,
    Request,
    Connect,
    Acknowledge,
    Connected,
}

impl Rule for State {
    const META: Meta = Meta {
        name: "sstp_in_tls",
        title: "SSTP inside TLS",
        label: Some("sstp"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "MS-SSTP sections 2.2 and 3.2.5",
        evidence: &[CALL],
    };

    fn on_hellos(&mut self, tls: &Tls, _: &mut Out) -> Answer {
        let Some(overhead) = overhead(tls).filter(|_| tls.alpn_offered.is_empty()) else { return Answer::No };
        self.overhead = overhead;
        self.step = if overhead == 17 { Step::Finished } else { Step::Request };
        Answer::Wait
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
        }
        let inside = record.len.saturating_sub(self.overhead);
        match (&self.step, record.from_client) {
            (Step::Finished, true) => self.step = Step::Request,
            (Step::Request, true) if inside >= size::REQUEST_LEAST => self.step = Step::Connect,
            // The server's handshake, and session tickets.
            (Step::Finished | Step::Request, false) => {}
            (Step::Connect, false) => self.answered = true,
            (Step::Connect, true) if inside == size::CONNECT && self.answered => {
                self.step = Step::Acknowledge;
            }
            (Step::Acknowledge, false) if inside == size::ACKNOWLEDGE => self.step = Step::Connected,
            (Step::Connected, true) if inside == size::CONNECTED && self.ppp.iter().all(|n| *n > 0) => {
                out.evidence(&CALL, format!("after {} records of PPP", self.ppp.iter().sum::<u8>()));
                out.basis = Basis::Behaviour;
                out.is("sstp");
                return Answer::Yes;
            }
            (Step::Connected, from_client) if inside >= size::PPP_LEAST => {
                if let Some(count) = self.ppp.get_mut(usize::from(from_client)) {
                    *count = count.saturating_add(1).min(100);
                }
            }
            _ => return Answer::No,
        }
        Answer::Wait
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![tests::call()]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    pub(super) fn call() -> Fixture {
        Fixture {
            name: "request, answer, call, PPP",
            tls: Tls { version: 0x0303, cipher: Some(0xC030), ..Tls::default() },
            lengths: &[230, -150, 38, -72, 50, -44, 44, -50, 60, -60, 136],
        }
    }

    fn label(lengths: &'static [i32]) -> Option<&'static str> {
        drive(&Fixture { lengths, ..call() }).label
    }

    #[test]
    fn the_three_messages_in_their_order_are_sstp() {
        let got = drive(&call());
        assert_eq!((got.label, got.basis), (Some("sstp"), Basis::Behaviour));
        let tls = Tls { version: 0x0304, cipher: Some(0x1302), ..Tls::default() };
        let lengths = &[-27, -900, -281, -69, 69, 230, -74, -74, -150, 31, -65, 50, -44, 129];
        assert_eq!(drive(&Fixture { name: "", tls, lengths }).label, Some("sstp"));
    }

    #[test]
    fn sizes_that_differ_by_a_byte_or_lack_the_negotiation_are_nothing() {
        for lengths in [
            &[230, -150, 39, -72, 50, -44, 136][..],
            &[230, -150, 38, -71, 50, -44, 136],
            &[230, -150, 38, -72, 50, -44, 137],
            &[230, -150, 38, -72, 136],
            &[230, 38, -72, 50, -44, 136],
        ] {
            assert_eq!(label(lengths), None, "{lengths:?}");
        }
        let tls = Tls { alpn_offered: vec!["http/1.1".into()], ..call().tls };
        assert_eq!(drive(&Fixture { tls, ..call() }).label, None);
    }
}
