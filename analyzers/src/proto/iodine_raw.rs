//! iodine's raw mode: what iodine goes over to where its server is reached directly, UDP datagrams that are no longer DNS.
//!
//! In: datagrams of both directions. Out: the label `dns_tunnel` once both sides have sent one with iodine's magic, so that a log-in
//! that nobody answers is evidence alone.

use crate::{Analyzer, Basis, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

const LOGIN: Kind = Kind {
    name: "iodine_raw.login",
    decibans: 15,
    says: "a log-in of 16 bytes behind iodine's magic 10 d1 9e (iodine, common.h: RAW_HDR)",
};
const EXCHANGE: Kind = Kind {
    name: "iodine_raw.exchange",
    decibans: 40,
    says: "datagrams of both sides with iodine's magic 10 d1 9e, a known command and the same user (iodine, common.h: RAW_HDR)",
};

/// Three bytes; then command and user of four bits each.
const MAGIC: &[u8] = b"\x10\xD1\x9E";
/// Commands (`RAW_HDR_CMD_LOGIN`, `_DATA`, `_PING`).
const LOGIN_COMMAND: u8 = 1;
const DATA_COMMAND: u8 = 2;
const PING_COMMAND: u8 = 3;
/// Header and MD5 of a log-in; a ping is a header.
const LOGIN_LENGTH: usize = 20;
const HEADER: usize = 4;

/// Command and user of a datagram.
fn parse(data: &[u8], wire_len: usize) -> Option<(u8, u8)> {
    let byte = *data.strip_prefix(MAGIC)?.first()?;
    let (command, user) = (byte >> 4, byte & 0x0F);
    let fits = match command {
        LOGIN_COMMAND => wire_len == LOGIN_LENGTH,
        DATA_COMMAND => wire_len > HEADER,
        PING_COMMAND => wire_len == HEADER,
        _ => false,
    };
    fits.then_some((command, user))
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// The user of each direction's last datagram.
    users: [Option<u8>; 2],
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "iodine_raw",
        title: "iodine, raw mode",
        label: Some("dns_tunnel"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[53],
        first: FirstBytes::of(&[0x10]),
        budget: 4_096,
        carrier: false,
        reference: "iodine, src/common.h and doc/proto_00000502.txt",
        evidence: &[LOGIN, EXCHANGE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if parse(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Some((command, user)) = parse(seg.data, seg.wire_len) else {
            // Before the log-in both sides spoke DNS on the same ports.
            return Next::Continue { consumed: seg.data.len() };
        };
        if let Some(known) = self.users.get_mut(seg.dir.index()) {
            *known = Some(user);
        }
        let [up, down] = self.users;
        if up.is_some() && up == down {
            out.evidence(&EXCHANGE, format!("user {user}"));
            out.is("dns_tunnel");
            out.tool = Some("iodine");
            out.basis = if out.evidence.len() > 1 { Basis::Handshake } else { Basis::Midstream };
            return Next::Done;
        }
        if command == LOGIN_COMMAND && out.evidence.is_empty() {
            out.client = Some(seg.dir.sender());
            out.evidence(&LOGIN, format!("user {user}"));
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dir;
    use crate::fixture::{Fixture, drive};

    const LOGIN_UP: &[u8] =
        b"\x10\xD1\x9E\x10\x5D\x41\x40\x2A\xBC\x4B\x2A\x76\xB9\x71\x9D\x91\x10\x17\xC5\x92";
    const LOGIN_DOWN: &[u8] =
        b"\x10\xD1\x9E\x10\x7D\x79\x30\x37\xA0\x76\x01\x86\x57\x4B\x02\x82\xF2\xF4\x35\xE7";
    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "log-in and its answer",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, LOGIN_UP), (Dir::ToClient, LOGIN_DOWN)],
    };

    fn label(payloads: &[(Dir, &[u8])]) -> Option<&'static str> {
        drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.label
    }

    #[test]
    fn a_log_in_that_is_answered_and_data_joined_midway_are_iodine() {
        let got = drive::<State>(&SESSION, usize::MAX).out;
        assert_eq!((got.label, got.tool, got.basis), (Some("dns_tunnel"), Some("iodine"), Basis::Handshake));
        let midway =
            [(Dir::ToServer, &b"\x10\xD1\x9E\x21\x78\xDA"[..]), (Dir::ToClient, b"\x10\xD1\x9E\x31")];
        assert_eq!(label(&midway), Some("dns_tunnel"));
    }

    #[test]
    fn a_log_in_that_nobody_answers_is_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX).out;
        assert_eq!((got.label, got.evidence.len()), (None, 1));
    }

    #[test]
    fn other_users_commands_and_lengths_are_not_iodine() {
        let other = [(Dir::ToServer, &b"\x10\xD1\x9E\x21\x78\xDA"[..]), (Dir::ToClient, b"\x10\xD1\x9E\x32")];
        assert_eq!(label(&other), None);
        for data in [&LOGIN_UP[..19], b"\x10\xD1\x9E\x41\0\0", b"\x10\xD1\x9E\x31\0", b"\x10\xD1\x9F\x21\0"] {
            assert_eq!(parse(data, data.len()), None, "{data:?}");
        }
    }
}
