//! Shadowsocks behind a pretended TLS session: simple-obfs (`obfs=tls`) and ShadowsocksR (`tls1.2_ticket_auth`).
//!
//! In: both hellos, then kinds and sizes of records. Out: the label `shadowsocks`: hellos that are simple-obfs' fixed ones, or, of
//! ShadowsocksR, a Finished that is too short for the suite which it pretends to have agreed on. Nothing is encrypted by TLS in
//! either; the stream rides in a session ticket and in bare records.

use super::{Answer, Record, Rule};
use crate::tls_record::content;
use crate::{FirstBytes, Kind, Meta, Out, Tls};

const HELLOS: Kind = Kind {
    name: "simple_obfs_tls.hellos",
    decibans: 37,
    says: "both hellos are simple-obfs' own, session ticket first, field by field (simple-obfs, obfs_tls.c)",
};
const FINISHED: Kind = Kind {
    name: "simple_obfs_tls.finished",
    decibans: 30,
    says: "the client's Finished has 32 bytes, and AES-GCM makes it 40: ShadowsocksR's pretence (tls1.2_ticket_auth; RFC 5288 section 3)",
};

/// JA3 strings of simple-obfs' templates: the lists of both hellos as they go over the wire (obfs_tls.c).
const CLIENT: &str = "771,49196-49200-159-52393-52392-52394-49195-49199-158-49188-49192-107-49187-49191-103-49162-49172-57-49161-\
                      49171-51-157-156-61-60-53-47-255,35-0-11-10-13-22-23,29-23-25-24,1-0-2";
/// As sent: the length before its extensions is left at zero, which no TLS library does; and as it was meant.
const SERVERS: [&str; 2] = ["771,52392,", "771,52392,65281-23-11"];
/// ServerHello of ShadowsocksR: ECDHE-RSA-AES128-GCM and an empty renegotiation_info.
const SSR_SERVER: &str = "771,49199,65281";
/// A Finished under AES-GCM takes nonce 8, header 4, verify data 12, tag 16; ShadowsocksR sends this many.
const SSR_FINISHED: u16 = 32;

/// How far the pretence has come.
#[derive(Debug, Default)]
pub struct State {
    /// The client has changed its cipher.
    changed: bool,
}

impl Rule for State {
    const META: Meta = Meta {
        name: "simple_obfs_tls",
        title: "Shadowsocks in pretended TLS (simple-obfs, ShadowsocksR)",
        label: Some("shadowsocks"),
        app_proto: "tls",
        transports: &[],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "simple-obfs 0.0.5, obfs_tls.c; ShadowsocksR, obfsplugin/obfs_tls.py",
        evidence: &[HELLOS, FINISHED],
    };

    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer {
        let server = tls.ja3s.as_ref().map_or("", |ja3s| &ja3s.string);
        if SERVERS.contains(&server) && tls.ja3.as_ref().is_some_and(|ja3| &*ja3.string == CLIENT) {
            out.evidence(
                &HELLOS,
                tls.sni.as_deref().map_or_else(String::new, |sni| format!("pretends {sni}")),
            );
            out.is("shadowsocks");
            return Answer::Yes;
        }
        // Its server shows no certificate: it pretends to resume.
        if server == SSR_SERVER && tls.subject.is_none() { Answer::Wait } else { Answer::No }
    }

    fn on_record(&mut self, tls: &Tls, record: &Record, out: &mut Out) -> Answer {
        if !record.from_client {
            return Answer::Wait;
        }
        match record.kind {
            content::CHANGE_CIPHER_SPEC if !self.changed => {
                self.changed = true;
                Answer::Wait
            }
            content::HANDSHAKE if self.changed && record.len == SSR_FINISHED => {
                out.evidence(
                    &FINISHED,
                    tls.sni.as_deref().map_or_else(String::new, |sni| format!("pretends {sni}")),
                );
                out.is("shadowsocks");
                Answer::Yes
            }
            _ => Answer::No,
        }
    }
}

#[cfg(test)]
pub(crate) fn fixtures() -> Vec<super::Fixture> {
    vec![super::Fixture { name: "simple-obfs", tls: tests::pretended(CLIENT, SERVERS[0]), lengths: &[] }]
}

#[cfg(test)]
mod tests {
    use super::super::{Fixture, drive};
    use super::*;
    use crate::Ja3;

    fn ja3(string: &str) -> Option<Ja3> {
        Some(Ja3 { string: string.into(), hash: "".into() })
    }

    pub(super) fn pretended(client: &str, server: &str) -> Tls {
        Tls {
            sni: Some("www.example.com".into()),
            version: 0x0303,
            cipher: Some(0xCCA8),
            ja3: ja3(client),
            ja3s: ja3(server),
            ..Tls::default()
        }
    }

    fn label(tls: Tls) -> Option<&'static str> {
        drive(&Fixture { name: "", tls, lengths: &[500, -600] }).label
    }

    fn with_finished(records: &[(u8, u16)]) -> Option<&'static str> {
        let mut out = Out::default();
        let mut state = State::default();
        let tls = pretended("771,49195,0", SSR_SERVER);
        assert_eq!(state.on_hellos(&tls, &mut out), Answer::Wait);
        for (kind, len) in records {
            let record = Record { from_client: true, kind: *kind, len: *len, ts_ns: 0 };
            if state.on_record(&tls, &record, &mut out) != Answer::Wait {
                break;
            }
        }
        out.label
    }

    #[test]
    fn both_fixed_hellos_are_simple_obfs_and_one_alone_is_not() {
        for server in SERVERS {
            assert_eq!(label(pretended(CLIENT, server)), Some("shadowsocks"));
        }
        let usual_order = CLIENT.replace(",35-0-", ",0-35-");
        assert_eq!(label(pretended(&usual_order, SERVERS[0])), None);
        assert_eq!(label(pretended(CLIENT, "771,52392,65281-11-23")), None);
    }

    #[test]
    fn a_finished_too_short_for_its_suite_is_shadowsocksr() {
        assert_eq!(with_finished(&[(20, 1), (22, 32)]), Some("shadowsocks"));
        assert_eq!(with_finished(&[(20, 1), (22, 40)]), None, "a true one");
        assert_eq!(with_finished(&[(22, 32)]), None, "in clear");
    }
}
