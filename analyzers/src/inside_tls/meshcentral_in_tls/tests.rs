//! MeshCentral inside TLS: sessions as lengths of records.

use super::*;
use crate::inside_tls::{Fixture, drive};

/// What a server with a key of 3,072 bits sends of its handshake, the client's Finished and its opening, tickets, the answer.
macro_rules! opened {
    ($opening:expr, $($record:expr),* $(,)?) => {
        &[-23, -1220, -409, -69, 69, $opening, -282, -282, -146, $($record),*]
    };
}

const AGENT_KNOWS_SERVER: &[i32] = opened![
    190, 19, 21, 44, 19, 21, 55, 19, 21, 67, 19, 21, 19, 19, 21, 115, 19, 21, 104, -117, 21, 21, 1435, -21,
    19, 21, 19, -23,
];
const AGENT_ASKS_SERVER: &[i32] = opened![
    181, 19, 21, 44, 19, 21, 55, 19, 21, 67, 19, 21, 115, -117, 21, 21, 1435, -1485, 19, 21, 91, -21, 19, 21,
    19,
];
const RELAY_AGENT_SIDE: &[i32] = &[-23, -1220, -409, -69, 69, -282, -282, 419, 38, -146, -20, -81, -20, 58];
const RELAY_BROWSER: &[i32] = opened![517, 79, -20, 24, -120];
const RELAY_COMMAND_LINE: &[i32] = opened![517, -20, 84, 24, -54];
const COMMAND_LINE: &[i32] = opened![292, 46, -781, -1526];

fn tls13() -> Tls {
    Tls { version: 0x0304, cipher: Some(0x1302), ..Tls::default() }
}

fn run(tls: Tls, lengths: &'static [i32]) -> Out {
    drive(&Fixture { name: "", tls, lengths })
}

pub(super) fn all() -> Vec<Fixture> {
    let browser = Tls { alpn_offered: vec!["http/1.1".into()], ..tls13() };
    [
        ("an agent that knows its server", tls13(), AGENT_KNOWS_SERVER),
        ("an agent that asks its server for proof", tls13(), AGENT_ASKS_SERVER),
        ("a terminal, at the agent's end", tls13(), RELAY_AGENT_SIDE),
        ("a desktop in a browser", browser, RELAY_BROWSER),
        ("a terminal, at the operator's end", tls13(), RELAY_COMMAND_LINE),
        ("the operator's command line", tls13(), COMMAND_LINE),
    ]
    .map(|(name, tls, lengths)| Fixture { name, tls, lengths })
    .into()
}

#[test]
fn every_connection_is_told_from_its_record_lengths() {
    for (fixture, kind) in
        all().iter().zip([&AGENT, &AGENT, &RELAY_AGENT, &RELAY_OPERATOR, &RELAY_OPERATOR, &CONSOLE])
    {
        let got = drive(fixture);
        assert_eq!((got.label, got.basis), (Some("meshcentral"), Basis::Behaviour), "{}", fixture.name);
        assert_eq!(got.evidence.first().map(|e| e.kind), Some(kind), "{}", fixture.name);
    }
}

#[test]
fn an_agent_that_writes_frames_at_once_over_tls_1_2_is_known_as_well() {
    let tls = Tls { version: 0x0303, cipher: Some(0xC030), ..Tls::default() };
    let lengths: &[i32] = &[205, -153, -124, 57, 80, 128, 1450, -1496, 104, -28, -30];
    assert_eq!(run(tls, lengths).label, Some("meshcentral"));
}

#[test]
fn an_agent_behind_a_reverse_proxy_is_known_by_its_handshake_alone() {
    let lengths: &[i32] = &[
        -23, -2400, -281, -69, 69, 190, -282, -220, -117, 19, 21, 67, 19, 21, 115, 21, 21, 1435, -1485, -21,
    ];
    assert_eq!(run(tls13(), lengths).label, Some("meshcentral"));
}

#[test]
fn messages_that_a_proxy_joins_and_an_answer_that_it_adds_to_are_still_known() {
    let control: &[i32] =
        &[-27, -1703, -96, -69, 69, 188, -298, -282, -198, 19, 21, 67, 19, 21, 115, -117, 21, 21, 1435, -27];
    assert_eq!(run(tls13(), control).label, Some("meshcentral"));
    let relay: &[i32] = &[-27, -1703, -97, -69, 69, -298, -298, 417, 38, -198, -20, -84, -20];
    assert_eq!(run(tls13(), relay).label, Some("meshcentral"));
}

#[test]
fn an_agent_whose_beginning_is_missing_is_known_by_the_way_it_writes() {
    let writes: &[i32] = &[104, 19, 21, 69, -70, 19, 21, 137, 21, 21, 338, -521, 19, 21, 82];
    let got = run(Tls::default(), writes);
    assert_eq!((got.label, got.basis), (Some("meshcentral"), Basis::Midstream));
    assert_eq!(got.controlled, Some(Side::Src));
    let as_tls_1_2: &[i32] = &[-26, -28, -80, 90, -26, -28, -30, -28, -28, -400, -26, -28, -60];
    let got = run(Tls::default(), as_tls_1_2);
    assert_eq!((got.label, got.controlled), (Some("meshcentral"), Some(Side::Dest)));
}

#[test]
fn others_that_write_short_records_are_not_taken_for_an_agent_under_way() {
    let cases: [&'static [i32]; 4] = [
        &[19, 21, 69, 19, 21, 137, 400, 19, 21, 82, 19, 21, 40], // something between
        &[19, 22, 69, 19, 22, 137, 19, 22, 60, 19, 22, 61, 19, 22, 40],
        &[21, 21, 69, 21, 21, 70, 21, 21, 71, 21, 21, 72], // short frames behind headers of long ones
        &[24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24],
    ];
    for lengths in cases {
        assert_eq!(run(Tls::default(), lengths).label, None, "{lengths:?}");
    }
}

#[test]
fn lengths_that_are_off_by_one_are_nothing() {
    let cases: [&'static [i32]; 7] = [
        opened![190, 19, 21, 67, 19, 21, 116, -117, 21, 21, 1435, -21], // the agent's AuthRequest
        opened![190, 19, 21, 67, 19, 21, 115, -118, 21, 21, 1435, -21], // the server's
        opened![190, 19, 21, 67, 19, 21, 115, -117, 21, 21, 1435, -22], // AuthConfirm
        opened![517, -20, 84, 26, -54],                                 // the kind of session
        opened![517, -22, 84, 24, -54],                                 // the relay's word
        &[-23, -1220, -409, -69, 69, -282, -282, 419, 39, -146, -20, -81, -20],
        opened![292, 47, -781, -1526],
    ];
    for lengths in cases {
        let got = run(tls13(), lengths);
        assert_eq!((got.label, got.evidence.len()), (None, 0), "{lengths:?}");
    }
}

#[test]
fn a_console_with_somebody_elses_key_is_nothing() {
    let lengths: &[i32] = &[-23, -2800, -281, -69, 69, 292, -282, -282, -146, 46, -781, -1526];
    assert_eq!(run(tls13(), lengths).label, None);
}

#[test]
fn other_websockets_of_the_same_library_are_nothing() {
    // SockJS: `o`, then arrays; engine.io: an object, `40`; a web terminal: an object, then keys.
    let cases: [&'static [i32]; 2] =
        [opened![300, -20, 60, -80, -20, 60, -20], opened![300, -120, 25, -60, 40, -24]];
    for lengths in cases {
        assert_eq!(run(tls13(), lengths).label, None, "{lengths:?}");
    }
}

#[test]
fn the_root_that_a_server_makes_for_itself_is_known_by_its_name() {
    let of = |issuer: &str| {
        let tls = Tls {
            version: 0x0303,
            cipher: Some(0xC030),
            alpn_offered: vec!["h2".into(), "http/1.1".into()],
            issuer: Some(issuer.into()),
            ..Tls::default()
        };
        run(tls, &[]).label
    };
    assert_eq!(of("CN=MeshCentralRoot-0f9b7c, O=unknown, C=unknown"), Some("meshcentral"));
    assert_eq!(of("CN=MeshCentralRoot-tutorial"), None);
    assert_eq!(of("CN=Not MeshCentralRoot-0f9b7c"), None);
}
