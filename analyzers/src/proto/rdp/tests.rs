//! Conversations: [MS-RDPBCGR] section 4.1 has the same openings; other users of TPKT must not pass.

use super::*;
use crate::fixture::{Fixture, drive};
use crate::{Basis, Side};

/// Parts in a row, as one array of `N` bytes.
const fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut all = [0; N];
    let (mut at, mut i) = (0, 0);
    while i < parts.len() {
        let mut j = 0;
        while j < parts[i].len() {
            all[at] = parts[i][j];
            at += 1;
            j += 1;
        }
        i += 1;
    }
    assert!(at == N);
    all
}

const COOKIE: &[u8] = b"\x03\x00\x00\x24\x1f\xe0\x00\x00\x00\x00\x00Cookie: mstshash=eltons\r\n";
const REQUEST_TLS: &[u8] =
    b"\x03\x00\x00\x2c\x27\xe0\x00\x00\x00\x00\x00Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x03\x00\x00\x00";
const REQUEST_BARE: &[u8] = b"\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x00\x00";
const CONFIRM_BARE: &[u8] = b"\x03\x00\x00\x0b\x06\xd0\x00\x00\x12\x34\x00";
const CONFIRM_STANDARD: &[u8] =
    b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x00\x00\x00\x00";
const CONFIRM_NLA: &[u8] = b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x02\x00\x00\x00";
const REFUSAL: &[u8] = b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x03\x00\x08\x00\x05\x00\x00\x00";
const TLS_CLIENT: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";
const TLS_SERVER: &[u8] = b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x03";

/// Client core data: version, 1280x1024, colour depth, SAS sequence, keyboard 0x0409, build 3790, name "ELTONS-DEV2".
const CORE: &[u8] =
    b"\x01\xc0\x40\x00\x04\x00\x08\x00\x00\x05\x00\x04\x01\xca\x03\xaa\x09\x04\x00\x00\xce\x0e\x00\x00\
    E\0L\0T\0O\0N\0S\0-\0D\0E\0V\x002\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
const NETWORK: &[u8] = b"\x03\xc0\x14\x00\x01\x00\x00\x00rdpdr\0\0\0\x00\x00\x80\x80";
const CONNECT_INITIAL: &[u8] = &join::<178>(&[
    b"\x03\x00\x00\xb2\x02\xf0\x80\x7f\x65\x81\xa7\x04\x01\x01\x04\x01\x01\x01\x01\xff",
    b"\x30\x06\x02\x01\x22\x02\x01\x02\x30\x06\x02\x01\x01\x02\x01\x01\x30\x06\x02\x01\x22\x02\x01\x02",
    b"\x04\x81\x83\x00\x05\x00\x14\x7c\x00\x01\x80\x7a\x00\x08\x00\x10\x00\x01\xc0\x00Duca\x80\x6c",
    CORE,
    b"\x04\xc0\x0c\x00\x09\x00\x00\x00\x00\x00\x00\x00",
    NETWORK,
    b"\x02\xc0\x0c\x00\x1b\x00\x00\x00\x00\x00\x00\x00",
]);
const CONNECT_RESPONSE: &[u8] = &join::<76>(&[
    b"\x03\x00\x00\x4c\x02\xf0\x80\x7f\x66\x42\x0a\x01\x00\x02\x01\x00\x30\x06\x02\x01\x22\x02\x01\x02",
    b"\x04\x32\x00\x05\x00\x14\x7c\x00\x01\x2a\x14\x76\x0a\x01\x01\x00\x01\xc0\x00McDn\x1c",
    b"\x01\x0c\x08\x00\x04\x00\x08\x00",
    b"\x03\x0c\x08\x00\xeb\x03\x00\x00",
    b"\x02\x0c\x0c\x00\x02\x00\x00\x00\x02\x00\x00\x00",
]);

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Tcp, payloads }
}

pub(crate) const FIXTURES: &[Fixture<'_>] = &[
    talk(
        "network level authentication, then TLS",
        &[
            (Dir::ToServer, REQUEST_TLS),
            (Dir::ToClient, CONFIRM_NLA),
            (Dir::ToServer, TLS_CLIENT),
            (Dir::ToClient, TLS_SERVER),
        ],
    ),
    talk(
        "native security",
        &[
            (Dir::ToServer, REQUEST_TLS),
            (Dir::ToClient, CONFIRM_STANDARD),
            (Dir::ToServer, CONNECT_INITIAL),
            (Dir::ToClient, CONNECT_RESPONSE),
        ],
    ),
    talk(
        "a client and a server older than the negotiation",
        &[
            (Dir::ToServer, REQUEST_BARE),
            (Dir::ToClient, CONFIRM_BARE),
            (Dir::ToServer, CONNECT_INITIAL),
            (Dir::ToClient, CONNECT_RESPONSE),
        ],
    ),
    talk("the server's side alone", &[(Dir::ToClient, CONFIRM_NLA), (Dir::ToClient, TLS_SERVER)]),
    talk("the client's side alone", &[(Dir::ToServer, REQUEST_TLS), (Dir::ToServer, TLS_CLIENT)]),
];

#[test]
fn every_conversation_is_rdp_whatever_the_segments() {
    for fixture in FIXTURES {
        for piece in [usize::MAX, 100, 7, 1] {
            let got = drive::<State>(fixture, piece);
            assert!(got.mine, "{} in pieces of {piece}", fixture.name);
            assert_eq!(got.out.label, Some("rdp"), "{} in pieces of {piece}", fixture.name);
            assert_eq!(got.out.basis, Basis::Handshake);
            assert_eq!(got.out.client, Some(Side::Src), "{}", fixture.name);
            assert_eq!(got.out.controlled, Some(Side::Dest), "{}", fixture.name);
        }
    }
}

#[test]
fn a_called_controller_is_the_client_and_the_opener_is_operated() {
    let payloads: Vec<_> = FIXTURES[0].payloads.iter().map(|(d, b)| (d.reverse(), *b)).collect();
    let got = drive::<State>(&Fixture { payloads: &payloads, ..FIXTURES[0] }, usize::MAX);
    assert_eq!((got.out.client, got.out.controlled), (Some(Side::Dest), Some(Side::Src)));
}

#[test]
fn bytes_behind_an_agreement_on_tls_are_handed_on_unchanged() {
    for piece in [usize::MAX, 3, 1] {
        let got = drive::<State>(&FIXTURES[0], piece);
        assert_eq!(got.inner, [TLS_CLIENT.to_vec(), TLS_SERVER.to_vec()]);
    }
}

#[test]
fn native_security_hands_nothing_on_and_names_client_and_server() {
    let got = drive::<State>(&FIXTURES[1], usize::MAX);
    assert_eq!(got.inner, [vec![], vec![]]);
    let details: Vec<&str> = got.out.evidence.iter().map(|e| &*e.detail).collect();
    assert_eq!(
        details,
        [
            "Cookie: mstshash=eltons; offers TLS, CredSSP",
            "standard RDP security",
            "client ELTONS-DEV2, build 3790, keyboard 0x0409, 1280x1024, channels rdpdr",
            "server version 0x80004, encryption method 0x2 level 2",
        ]
    );
}

#[test]
fn a_request_without_an_answer_is_evidence_and_no_label() {
    for request in [COOKIE, REQUEST_TLS] {
        let got = drive::<State>(&talk("", &[]).with(&[(Dir::ToServer, request)]), usize::MAX);
        assert!(got.mine);
        assert_eq!(got.out.label, None);
        assert_eq!(got.out.evidence.len(), 1);
    }
}

#[test]
fn a_refusal_is_evidence_and_no_label() {
    let got = drive::<State>(
        &talk("", &[]).with(&[(Dir::ToServer, REQUEST_TLS), (Dir::ToClient, REFUSAL)]),
        usize::MAX,
    );
    assert_eq!(got.out.label, None);
    assert_eq!(&*got.out.evidence[1].detail, "CredSSP required by server");
}

#[test]
fn a_plain_confirm_after_a_cookie_is_an_old_server() {
    let got = drive::<State>(
        &talk("", &[]).with(&[(Dir::ToServer, COOKIE), (Dir::ToClient, CONFIRM_BARE)]),
        usize::MAX,
    );
    assert_eq!(got.out.label, Some("rdp"));
}

#[test]
fn other_users_of_iso_transport_are_not_rdp() {
    /// S7comm: TSAP identifiers and TPDU size behind a connection request; then the S7 job.
    const S7: &[(Dir, &[u8])] = &[
        (
            Dir::ToServer,
            b"\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02",
        ),
        (
            Dir::ToClient,
            b"\x03\x00\x00\x16\x11\xd0\x00\x01\x00\x0c\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02",
        ),
        (Dir::ToServer, b"\x03\x00\x00\x0a\x02\xf0\x80\x32\x01\x00"),
    ];
    /// H.225.0 call signalling goes in TPKT without X.224.
    const H323: &[(Dir, &[u8])] = &[(Dir::ToServer, b"\x03\x00\x00\x0b\x08\x02\x10\x41\x05\x04\x03")];
    /// T.120: the same opening as an old RDP client, then another conference.
    const T120: &[(Dir, &[u8])] = &[
        (Dir::ToServer, REQUEST_BARE),
        (Dir::ToClient, CONFIRM_BARE),
        (Dir::ToServer, b"\x03\x00\x00\x0d\x02\xf0\x80\x7f\x65\x03\x04\x01\x01"),
    ];
    for payloads in [S7, H323, T120] {
        let got = drive::<State>(&talk("", &[]).with(payloads), usize::MAX);
        assert!(!got.mine || got.out.label.is_none());
        assert!(got.out.evidence.is_empty());
    }
}

#[test]
fn a_gap_behind_the_opening_ends_the_inner_stream_and_keeps_the_label() {
    let (mut state, mut out) = (State::default(), Out::default());
    let mut seg = Segment {
        dir: Dir::ToServer,
        transport: Transport::Tcp,
        data: REQUEST_TLS,
        wire_len: REQUEST_TLS.len(),
        gap: false,
        ts_ns: 0,
    };
    state.on_data(&seg, &mut out);
    seg = Segment { dir: Dir::ToClient, data: CONFIRM_NLA, ..seg };
    state.on_data(&seg, &mut out);
    seg = Segment { dir: Dir::ToServer, data: TLS_CLIENT, gap: true, ..seg };
    assert_eq!(state.on_data(&seg, &mut out), Next::Done);
    assert_eq!((out.label, out.inner.len()), (Some("rdp"), 0));
}

#[test]
fn a_client_name_that_is_not_text_is_shown_without_control_characters() {
    let mut initial = CONNECT_INITIAL.to_vec();
    let at = initial.windows(2).position(|w| w == b"E\0").expect("the name");
    initial[at..at + 4].copy_from_slice(&[0x07, 0x00, 0x00, 0xD8]);
    let client = ClientData::parse(&initial[7..]).expect("client data");
    assert!(client.to_string().starts_with("client ??TONS"), "{client}");
}

impl Fixture<'_> {
    fn with<'a>(&self, payloads: &'a [(Dir, &'a [u8])]) -> Fixture<'a> {
        Fixture { name: "literal", transport: self.transport, payloads }
    }
}
