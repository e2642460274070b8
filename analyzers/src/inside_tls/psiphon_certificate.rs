//! Psiphon behind a content delivery network: TLS that asks for no name and is shown Psiphon's.
//!
//! In: both hellos and the certificate (TLS 1.2 and older). Out: the label `psiphon`. A browser on Psiphon's web site always asks for
//! its name; Psiphon's program leaves it out, so that the name is not seen.

use super::{Answer, Record, Rule};
use crate::{Basis, FirstBytes, Kind, Meta, Out, Tls};

const NAME: Kind = Kind {
    name: "psiphon_certificate.name",
    decibans: 20,
    says: "no server name was asked for, and the certificate is for Psiphon's; judgement: browsers always ask",
};

/// Names in certificates of Psiphon's front servers (a public capture of its program, 2022; nDPI, 2024-10-21).
const NAMES: [&str; 2] = ["psiphon3.net", "*.psiphon3.net"];

/// Nothing to remember.
#[derive(Debug, Default)]
pub struct State;

impl Rule for State {
    const META: Meta = Meta {
        name: "psiphon_certificate",
        title: "Psiphon behind a content delivery network",
        label: Some("psiphon"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "as observed; nDPI, 2024-10-21",
        evidence: &[NAME],
    };

    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer {
        // A capture without the ClientHello does not tell whether a name was asked for.
        if tls.sni.is_some() || tls.ja4.is_none() {
            return Answer::No;
        }
        let Some(name) = tls.sans.iter().find(|san| NAMES.contains(&&***san)) else { return Answer::No };
        out.evidence(&NAME, name.clone());
        out.basis = Basis::Catalogue;
        out.is("psiphon");
        Answer::Yes
    }

    fn on_record(&mut self, _: &Tls, _: &Record, _: &mut Out) -> Answer {
        Answer::No
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![super::Fixture { name: "a fronted server", tls: tests::fronted(), lengths: &[] }]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;

    pub(super) fn fronted() -> Tls {
        Tls {
            version: 0x0303,
            cipher: Some(0xC02B),
            ja4: Some("t12i1508h2_073e58a039a6_e70312a1ce2c".into()),
            subject: Some("O=Cloudflare, Inc., CN=sni.cloudflaressl.com".into()),
            sans: vec!["sni.cloudflaressl.com".into(), "psiphon3.net".into(), "*.psiphon3.net".into()],
            ..Tls::default()
        }
    }

    fn label(tls: Tls) -> Option<&'static str> {
        drive(&Fixture { name: "", tls, lengths: &[100, -100] }).label
    }

    #[test]
    fn only_whoever_hides_the_name_is_psiphon() {
        assert_eq!(label(fronted()), Some("psiphon"));
        assert_eq!(label(Tls { sni: Some("www.psiphon3.net".into()), ..fronted() }), None, "the web site");
        assert_eq!(label(Tls { ja4: None, ..fronted() }), None, "the hello was not captured");
        assert_eq!(label(Tls { sans: vec!["notpsiphon3.net".into()], ..fronted() }), None);
    }
}
