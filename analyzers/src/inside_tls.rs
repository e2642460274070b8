//! What shows of a tool inside TLS: its hello and certificate, and then how long its records are, in which order.
//!
//! In: what both hellos (and, up to TLS 1.2, the certificate) told, then the records after them. Out: evidence and a label, by way of
//! the TLS analyzer. **A rule is one file in `src/inside_tls/`**, found by `build.rs` like an analyzer: a `pub struct State` that
//! implements [`Rule`], and under `#[cfg(test)]` a `pub(crate) fn fixtures() -> Vec<Fixture>`, which the tests here run against
//! every other rule. Encryption hides what records say, not how long they are: a binary handshake of fixed sizes shows.

#[path = "inside_tls/hand/mod.rs"]
pub(crate) mod hand;

use crate::{Meta, Out, Tls};

include!(concat!(env!("OUT_DIR"), "/inside_tls.rs"));

/// Records after the hellos that rules may look at: handshakes are over by then.
pub const RECORDS: u16 = 64;

/// … of a session that was under way when the capture began: what shows then is habits, not a handshake.
pub const RECORDS_MIDSTREAM: u16 = 512;

/// A record after the hellos (RFC 8446 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The client sent it; of a session under way: the side that is taken for the opener did.
    pub from_client: bool,
    /// One of [`crate::tls_record::content`]. From TLS 1.3 on all encrypted records are application data, those of the handshake too.
    pub kind: u8,
    /// Bytes behind the header: what encryption adds is in it ([`overhead`]).
    pub len: u16,
    /// Time of the packet with its header, ns since the epoch.
    pub ts_ns: i64,
}

/// What a rule makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may still be; show me more.
    Wait,
    /// It is: evidence and label are in [`Out`].
    Yes,
    /// It is not.
    No,
}

/// A tool that shows through TLS.
pub trait Rule: Default {
    /// What it is. `transports`, `ports`, `first` and `budget` mean nothing here.
    const META: Meta;
    /// Both hellos are known, and the certificate where it is in clear. Must turn away ordinary sessions: those it waits for are read on.
    fn on_hellos(&mut self, tls: &Tls, out: &mut Out) -> Answer;
    /// The hellos were not captured; nothing is known but what records will show.
    fn on_midstream(&mut self) -> Answer {
        Answer::No
    }
    /// The next record of either side; at most [`RECORDS`] or [`RECORDS_MIDSTREAM`].
    fn on_record(&mut self, tls: &Tls, record: &Record, out: &mut Out) -> Answer;
}

/// Bytes that TLS adds to what is inside a record of application data, for the suites of today; `None` where padding hides it (CBC).
#[must_use]
pub fn overhead(tls: &Tls) -> Option<u16> {
    /// ChaCha20-Poly1305 suites of TLS 1.2 (RFC 7905).
    const CHACHA: std::ops::RangeInclusive<u16> = 0xCCA8..=0xCCAE;
    if tls.version >= crate::tls_handshake::version::TLS_1_3 && tls.version < 0xFE00 {
        return Some(17); // tag and inner type (RFC 8446 section 5.2)
    }
    match tls.cipher? {
        suite if CHACHA.contains(&suite) => Some(16),
        // AES-GCM: explicit nonce and tag (RFC 5288 section 3)
        0x009C..=0x00AD | 0xC02B..=0xC032 => Some(24),
        _ => None,
    }
}

/// What encryption adds to a record in the suites of today: TLS 1.3, AES-GCM and ChaCha20-Poly1305 of TLS 1.2.
pub(crate) const OVERHEADS: [u16; 3] = [17, 24, 16];

/// Rules at work on one session.
#[derive(Debug, Default)]
pub(crate) enum Watch {
    /// The hellos are not over.
    #[default]
    NotYet,
    /// These wait for records.
    Reading { rules: Vec<Running>, left: u16 },
    /// None waits.
    Over,
}

impl Watch {
    /// The hellos are over: asks every rule, once.
    pub(crate) fn begin(&mut self, out: &mut Out) {
        if !matches!(self, Self::NotYet) {
            return;
        }
        let Some(tls) = out.facts.tls.take() else {
            *self = Self::Over;
            return;
        };
        let mut rules = Vec::new();
        let mut sure = false;
        for id in 0..METAS.len() {
            let Some(mut rule) = Running::start(id) else { continue };
            match rule.on_hellos(&tls, out) {
                Answer::Wait => rules.push(rule),
                Answer::Yes => sure = true,
                Answer::No => {}
            }
        }
        out.facts.tls = Some(tls);
        *self = if sure || rules.is_empty() { Self::Over } else { Self::Reading { rules, left: RECORDS } };
    }

    /// The session was under way when the capture began: asks every rule, once.
    pub(crate) fn begin_midstream(&mut self) {
        if !matches!(self, Self::NotYet) {
            return;
        }
        let waits = |rule: &mut Running| rule.on_midstream() == Answer::Wait;
        let rules: Vec<_> = (0..METAS.len())
            .filter_map(Running::start)
            .filter_map(|mut r| waits(&mut r).then_some(r))
            .collect();
        *self = if rules.is_empty() { Self::Over } else { Self::Reading { rules, left: RECORDS_MIDSTREAM } };
    }

    /// The header of a record after the hellos.
    pub(crate) fn record(&mut self, record: &Record, out: &mut Out) {
        let Self::Reading { rules, left } = self else { return };
        let Some(tls) = out.facts.tls.take() else { return };
        *left = left.saturating_sub(1);
        let mut sure = false;
        rules.retain_mut(|rule| {
            let answer = if sure { Answer::No } else { rule.on_record(&tls, record, out) };
            sure |= answer == Answer::Yes;
            answer == Answer::Wait
        });
        out.facts.tls = Some(tls);
        if sure || rules.is_empty() || *left == 0 {
            *self = Self::Over;
        }
    }

    /// Whether records are still wanted.
    pub(crate) const fn reads(&self) -> bool {
        matches!(self, Self::Reading { .. })
    }
}

/// A session for tests: what the hellos told, and lengths of records (client: positive, server: negative) of application data.
#[cfg(test)]
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    /// The default: under way when the capture began.
    pub(crate) tls: Tls,
    pub(crate) lengths: &'static [i32],
}

/// Runs a session through all rules; answers what came of it.
#[cfg(test)]
pub(crate) fn drive(fixture: &Fixture) -> Out {
    let mut out = Out::default();
    out.facts.tls = Some(Box::new(fixture.tls.clone()));
    let mut watch = Watch::default();
    if fixture.tls == Tls::default() {
        watch.begin_midstream();
    } else {
        watch.begin(&mut out);
    }
    for (n, length) in fixture.lengths.iter().enumerate() {
        out.packet = n as u64 + 1;
        let record = Record {
            from_client: *length > 0,
            kind: crate::tls_record::content::APPLICATION_DATA,
            len: length.unsigned_abs() as u16,
            ts_ns: n as i64 * 10_000_000,
        };
        watch.record(&record, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_is_recognised_by_its_own_rule_and_by_no_other() {
        for (name, fixtures) in all_fixtures() {
            for fixture in fixtures {
                let got = drive(&fixture);
                let meta = METAS.iter().find(|m| m.name == name).unwrap();
                assert!(got.label.is_some(), "{name}: {}", fixture.name);
                for e in &got.evidence {
                    assert!(
                        meta.evidence.iter().any(|k| k.name == e.kind.name),
                        "{name}: {}: {}",
                        fixture.name,
                        e.kind.name
                    );
                }
            }
        }
    }

    #[test]
    fn no_rule_takes_a_browsers_session() {
        let tls = Tls {
            sni: Some("www.example.com".into()),
            alpn_offered: vec!["h2".into(), "http/1.1".into()],
            version: crate::tls_handshake::version::TLS_1_3,
            cipher: Some(0x1301),
            ja4: Some("t13d1516h2_8daaf6152771_02713d6af862".into()),
            ..Tls::default()
        };
        let lengths = &[-27, -2800, -281, -69, 69, 400, -74, -74, -1200, -1400, 39, -900, 120, -2000];
        let got = drive(&Fixture { name: "browser", tls, lengths });
        assert_eq!((got.label, got.evidence.len()), (None, 0));
    }

    #[test]
    fn metadata_is_complete() {
        for meta in METAS {
            assert!(!meta.title.is_empty() && !meta.reference.is_empty(), "{}", meta.name);
            assert!(meta.label.is_some_and(|l| crate::label_info(l).is_some()), "{}", meta.name);
            assert!(crate::METAS.iter().all(|m| m.name != meta.name), "{}: an analyzer's name", meta.name);
            for kind in meta.evidence {
                assert!(
                    kind.name.starts_with(&format!("{}.", meta.name)) && !kind.says.is_empty(),
                    "{}",
                    kind.name
                );
            }
        }
    }

    #[test]
    fn what_encryption_adds_is_known_for_todays_suites() {
        let of = |version, cipher| overhead(&Tls { version, cipher: Some(cipher), ..Tls::default() });
        assert_eq!(of(0x0304, 0x1301), Some(17));
        assert_eq!(of(0x0303, 0xC02F), Some(24));
        assert_eq!(of(0x0303, 0xCCA8), Some(16));
        assert_eq!(of(0x0303, 0x002F), None);
    }
}
