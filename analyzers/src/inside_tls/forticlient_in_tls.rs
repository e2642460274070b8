//! The SSL VPN of FortiGate (FortiClient, openfortivpn) inside its TLS.
//!
//! In: the server's certificate, up to TLS 1.2, and sizes of the first records. Out: the label `forticlient`. A certificate of
//! Fortinet's own shows the device, and the web pages of its administration have it too; what only the tunnel has is PPP behind headers
//! of six bytes, whose negotiation is in messages of equal, small sizes both ways.

use super::{Answer, Record, Rule, overhead};
use crate::tls_record::content;
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

const TUNNEL: Kind = Kind {
    name: "forticlient_in_tls.tunnel",
    decibans: 32,
    says: "behind a certificate of Fortinet's, after HTTP, PPP's Configure-Request and Configure-Ack both ways, by their sizes (openfortivpn; RFC 1661 section 5)",
};

/// Organisation in the certificates that devices come with.
const ORGANISATION: &str = "O=Fortinet";
/// Total length, magic 0x5050, length (openfortivpn, io.c), then PPP's protocol; a packet's code, identifier and length.
const HEADER: u16 = 6 + 2 + 4;
/// Options of LCP: magic number of 6; with a maximum receive unit of 4; with a character map of 6 (RFC 1661 section 6, RFC 1662 section 7).
const NEGOTIATIONS: [u16; 4] = [HEADER + 6, HEADER + 10, HEADER + 12, HEADER + 16];
/// An HTTP request has at least a line and a host.
const REQUEST_LEAST: u16 = 60;

/// How far it has come.
#[derive(Debug, Default)]
pub struct State {
    overhead: u16,
    /// Records of HTTP, by direction.
    http: [u8; 2],
    /// Size of the negotiation, and how many of it, by direction.
    size: Option<u16>,
    frames: [u8; 2],
}

impl Rule for State {
    const META: Meta = Meta {
        name: "forticlient_in_tls",
        title: "FortiClient SSL VPN",
        label: Some("forticlient"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "openfortivpn sources, io.c and tunnel.c; RFC 1661",
        evidence: &[TUNNEL],
    };

    fn on_hellos(&mut self, tls: &Tls, _: &mut Out) -> Answer {
        let theirs = |name: &Option<Box<str>>| name.as_ref().is_some_and(|name| name.contains(ORGANISATION));
        let Some(overhead) = overhead(tls).filter(|_| tls.alpn_offered.is_empty()) else { return Answer::No };
        self.overhead = overhead;
        if theirs(&tls.subject) || theirs(&tls.issuer) { Answer::Wait } else { Answer::No }
    }

    fn on_record(&mut self, _: &Tls, record: &Record, out: &mut Out) -> Answer {
        if record.kind != content::APPLICATION_DATA {
            return Answer::Wait;
        }
        let inside = record.len.saturating_sub(self.overhead);
        let side = usize::from(record.from_client);
        let count = |counts: &mut [u8; 2]| {
            if let Some(n) = counts.get_mut(side) {
                *n = n.saturating_add(1);
            }
        };
        if self.size.is_none() && self.http.iter().all(|n| *n > 0) && NEGOTIATIONS.contains(&inside) {
            self.size = Some(inside);
        }
        match self.size {
            None if inside >= REQUEST_LEAST => count(&mut self.http),
            Some(size) if inside == size => count(&mut self.frames),
            Some(_) if inside >= HEADER => {}
            _ => return Answer::No,
        }
        // A request and an acknowledgement of each side.
        if !self.frames.iter().all(|n| *n >= 2) {
            return Answer::Wait;
        }
        out.evidence(&TUNNEL, format!("negotiation in messages of {} B", self.size.unwrap_or_default()));
        out.basis = Basis::Behaviour;
        out.is("forticlient");
        Answer::Yes
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![tests::tunnel()]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    pub(super) fn tunnel() -> Fixture {
        Fixture {
            name: "HTTP, then PPP",
            tls: Tls {
                version: 0x0303,
                cipher: Some(0xC030),
                subject: Some("C=US, ST=California, O=Fortinet, OU=FortiGate, CN=FG100E".into()),
                ..Tls::default()
            },
            lengths: &[525, -770, 291, -866, 286, 42, -42, -42, 42],
        }
    }

    #[test]
    fn a_negotiation_both_ways_behind_fortinets_certificate_is_forticlient() {
        let got = drive(&tunnel());
        assert_eq!((got.label, got.basis), (Some("forticlient"), Basis::Behaviour));
    }

    #[test]
    fn the_device_without_the_tunnel_and_the_tunnel_of_another_device_are_nothing() {
        for lengths in [
            &[525, -770, 291, -866, 286, -3000][..],
            &[525, -770, 42, -42, -42],         // one side acknowledges nothing
            &[42, -42, -42, 42],                // no HTTP before it
            &[525, -770, 42, -42, 30, -42, 42], // a record that is too short
            &[525, -770, 43, -43, -43, 43],     // no size of LCP's
        ] {
            assert_eq!(drive(&Fixture { lengths, ..tunnel() }).label, None, "{lengths:?}");
        }
        let tls = Tls { subject: Some("O=Example, CN=vpn.example.test".into()), ..tunnel().tls };
        assert_eq!(drive(&Fixture { tls, ..tunnel() }).label, None);
        let tls = Tls { alpn_offered: vec!["h2".into()], ..tunnel().tls };
        assert_eq!(drive(&Fixture { tls, ..tunnel() }).label, None);
    }
}
