//! AnyDesk from machine to machine, without a relay.
//!
//! In: the server's certificate (up to TLS 1.2). Out: the label `anydesk`, and that the machine that was called is the operated one: it
//! presents the certificate that each installation makes for itself, where a relay presents its maker's.

use super::{Answer, Record, Rule};
use crate::{FirstBytes, Kind, Meta, Out, Tls};

const CERTIFICATE: Kind = Kind {
    name: "anydesk_direct.certificate",
    decibans: 30,
    says: "the side that was called presents the certificate that an AnyDesk installation makes for itself: no relay is between",
};

/// Subject and issuer of such a certificate.
const SELF: &str = "CN=AnyDesk Client";

/// Nothing is to be remembered.
#[derive(Debug, Default)]
pub struct State;

impl Rule for State {
    const META: Meta = Meta {
        name: "anydesk_direct",
        title: "AnyDesk without a relay",
        label: Some("anydesk"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "No specification is published; certificates as observed and as published by AnyDesk's users and protocol classifiers",
        evidence: &[CERTIFICATE],
    };

    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer {
        let is =
            |name: &Option<Box<str>>| name.as_deref().is_some_and(|n| n.split(", ").any(|part| part == SELF));
        if !(is(&tls.subject) && is(&tls.issuer)) {
            return Answer::No;
        }
        out.controlled = out.client.map(crate::Side::other);
        out.evidence(&CERTIFICATE, SELF);
        out.is("anydesk");
        Answer::Yes
    }

    fn on_record(&mut self, _: &Tls, _: &Record, _: &mut Out) -> Answer {
        Answer::No
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![tests::direct()]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    pub(super) fn direct() -> Fixture {
        let name: Option<Box<str>> = Some(SELF.into());
        let tls = Tls {
            version: 0x0303,
            cipher: Some(0xC02F),
            subject: name.clone(),
            issuer: name,
            ..Tls::default()
        };
        Fixture { name: "an installation that was called", tls, lengths: &[] }
    }

    #[test]
    fn the_machine_that_presents_its_own_certificate_is_the_operated_one() {
        let mut out = Out { client: Some(crate::Side::Src), ..Out::default() };
        let answer = State.on_hellos(&direct().tls, &mut out);
        assert_eq!(
            (answer, out.label, out.controlled),
            (Answer::Yes, Some("anydesk"), Some(crate::Side::Dest))
        );
    }

    #[test]
    fn a_relays_certificate_and_names_that_contain_the_words_are_not_this() {
        for name in ["CN=AnyNet Relay, O=philandro Software GmbH, C=DE", "CN=AnyDesk Client Portal"] {
            let mut fixture = direct();
            fixture.tls.subject = Some(name.into());
            assert_eq!(drive(&fixture).label, None, "{name}");
        }
    }
}
