//! Conversations as [MS-TSGU] 4.2 and [MS-RPCH] 2.1.2.1 have them.

use super::*;
use crate::Side;
use crate::fixture::{Fixture, Outcome, drive};

const OUT_REQUEST: &[u8] =
    b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\nCache-Control: no-cache\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nUpgrade: websocket\r\nAccept: */*\r\nUser-Agent: MS-RDGateway/1.0\r\n\
    RDG-Connection-Id: {D5F5B8A1-3C56-4C2A-9A0D-0123456789AB}\r\nHost: gw.corp.test\r\n\r\n";
const IN_REQUEST: &[u8] = b"RDG_IN_DATA /remoteDesktopGateway/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
const CREDENTIALS: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nWWW-Authenticate: Negotiate\r\n\r\nnope!";
const RPC_REQUEST: &[u8] = b"RPC_IN_DATA /rpc/rpcproxy.dll?localhost:3388 HTTP/1.1\r\nAccept: application/rpc\r\nUser-Agent: MSRPC\r\n\
    Content-Length: 1073741824\r\n\r\n\x05\0\x14\x03\x10\0\0\0\x68\0\0\0";
const HANDSHAKE_REQUEST: &[u8] = b"\x01\0\0\0\x0e\0\0\0\x01\0\0\0\x02\0";
const HANDSHAKE_RESPONSE: &[u8] = b"\x02\0\0\0\x12\0\0\0\0\0\0\0\x01\0\0\0\x02\0";

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Tcp, payloads }
}

pub(crate) const FIXTURES: &[Fixture<'_>] = &[
    talk(
        "to a WebSocket",
        &[
            (Dir::ToServer, OUT_REQUEST),
            (Dir::ToClient, CREDENTIALS),
            (Dir::ToServer, OUT_REQUEST),
            (Dir::ToClient, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        ],
    ),
    talk("RPC over HTTP", &[(Dir::ToServer, RPC_REQUEST)]),
    talk("inside a WebSocket", &[(Dir::ToServer, HANDSHAKE_REQUEST), (Dir::ToClient, HANDSHAKE_RESPONSE)]),
];

fn conversation(payloads: &[(Dir, &[u8])]) -> Outcome {
    drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, usize::MAX)
}

#[test]
fn every_conversation_is_a_gateways_however_it_is_cut() {
    for fixture in FIXTURES {
        for piece in [1, 10, usize::MAX] {
            let out = drive::<State>(fixture, piece).out;
            assert_eq!((out.label, out.client), (Some("rdp_gateway"), Some(Side::Src)), "{}", fixture.name);
            assert_eq!(out.controlled, Some(Side::Dest));
        }
    }
}

#[test]
fn a_refused_request_is_evidence_and_no_label() {
    let label =
        |answer: &[u8]| conversation(&[(Dir::ToServer, OUT_REQUEST), (Dir::ToClient, answer)]).out.label;
    assert_eq!(label(b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
    assert_eq!(label(CREDENTIALS), None);
    assert_eq!(label(b"HTTP/1.1 200 OK\r\n\r\n"), Some("rdp_gateway"));
    let twice = conversation(&[
        (Dir::ToServer, IN_REQUEST),
        (Dir::ToClient, CREDENTIALS),
        (Dir::ToServer, IN_REQUEST),
    ]);
    assert_eq!((twice.out.label, twice.out.evidence.len()), (Some("rdp_gateway"), 1));
}

#[test]
fn rpc_over_http_to_another_service_is_not_taken() {
    let mail = b"RPC_IN_DATA /rpc/rpcproxy.dll?mail.corp.test:6001 HTTP/1.1\r\nUser-Agent: MSRPC\r\n\r\n";
    assert!(!conversation(&[(Dir::ToServer, mail)]).mine);
    let named = b"RPC_OUT_DATA /rpc/rpcproxy.dll?gw:443 HTTP/1.1\r\n\
        Pragma: ResourceTypeUuid=44E265DD-7DAF-42CD-8560-3CDB6E7A2729\r\n\r\n";
    assert_eq!(conversation(&[(Dir::ToServer, named)]).out.label, Some("rdp_gateway"));
}

#[test]
fn a_handshake_that_is_refused_or_unanswered_is_no_label() {
    let mut refused = HANDSHAKE_RESPONSE.to_vec();
    refused[8..12].copy_from_slice(&0x8007_59DA_u32.to_le_bytes());
    let got = conversation(&[(Dir::ToServer, HANDSHAKE_REQUEST), (Dir::ToClient, &refused)]);
    assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    assert_eq!(conversation(&[(Dir::ToServer, HANDSHAKE_REQUEST)]).out.label, None);
    let other =
        conversation(&[(Dir::ToServer, HANDSHAKE_REQUEST), (Dir::ToClient, b"HTTP/1.1 400 Bad\r\n\r\n")]);
    assert!(!other.mine);
}
