//! Conversations in HTTP/1: heads however they are cut, proxies, upgrades, tools.

use super::*;
use crate::Side;
use crate::fixture::{Fixture, Outcome, drive};

pub(super) const GET: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nHost: WWW.Example.test:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
pub(super) const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";
pub(super) const UPGRADE: &[u8] =
    b"GET /websockify HTTP/1.1\r\nHost: kvm.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub(super) const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x03RFB";
pub(super) const CONNECT_REQUEST: &[u8] =
    b"CONNECT [2001:db8::5]:3389 HTTP/1.1\r\nHost: [2001:db8::5]:3389\r\nUser-Agent: x\r\n\r\n";

fn conversation(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
    drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
}

fn answered(request: &[u8], answer: &[u8]) -> Outcome {
    conversation(&[(Dir::ToServer, request), (Dir::ToClient, answer)], usize::MAX)
}

#[test]
fn the_title_of_the_first_page_is_told_however_it_is_cut() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 48\r\n\r\n\
        <html><head><title>NanoKVM</title></head></html>";
    for piece in [1, 7, 4_096] {
        let payloads: [(Dir, &[u8]); 2] = [(Dir::ToServer, GET), (Dir::ToClient, page)];
        let fixture = Fixture { name: "", transport: Transport::Tcp, payloads: &payloads };
        let said = drive::<State>(&fixture, piece).out.said;
        assert_eq!(said.len(), 1, "in pieces of {piece}");
        assert_eq!((&*said[0].text, said[0].by), ("NanoKVM", Some(Side::Dest)));
    }
}

#[test]
fn a_request_and_its_answer_are_read_however_they_are_cut() {
    for piece in [1, 3, usize::MAX] {
        let got = drive::<State>(&FIXTURES[0], piece);
        assert!(got.mine);
        assert_eq!((got.out.label, got.out.client), (None, Some(Side::Src)));
        let http = got.out.facts.http.unwrap();
        assert_eq!((http.hostname.as_deref(), http.port), (Some("www.example.test"), Some(8080)));
        assert_eq!((http.method.as_deref(), http.url.as_deref()), (Some("GET"), Some("/a?b=c")));
        assert_eq!(http.user_agent.as_deref(), Some("curl/8.5.0"));
        assert_eq!((http.status, http.server.as_deref()), (Some(200), Some("nginx")));
        assert_eq!((http.content_type.as_deref(), http.requests), (Some("text/html"), 1));
    }
}

#[test]
fn after_101_every_byte_of_both_directions_is_handed_on() {
    for piece in [1, 11, usize::MAX] {
        let got = drive::<State>(&FIXTURES[1], piece);
        assert_eq!(got.out.facts.http.as_ref().unwrap().upgrade.as_deref(), Some("websocket"));
        assert_eq!(got.inner[0], b"\x81\x80\x01\x02\x03\x04", "pieces of {piece}");
        assert_eq!(got.inner[1], b"\x82\x03RFB", "pieces of {piece}");
        assert_eq!(got.out.label, None);
    }
}

#[test]
fn a_granted_connect_is_a_tunnel_and_its_inside_is_handed_on() {
    for piece in [1, usize::MAX] {
        let got = drive::<State>(&FIXTURES[2], piece);
        assert_eq!(got.out.label, Some("http_connect"));
        assert_eq!((&got.inner[0][..], &got.inner[1][..]), (&b"inner up"[..], &b"inner down"[..]));
        let http = got.out.facts.http.unwrap();
        assert_eq!((http.hostname.as_deref(), http.port), (Some("2001:db8::5"), Some(3389)));
    }
}

#[test]
fn a_refused_or_unanswered_connect_is_evidence_and_no_label() {
    for answer in [&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b""] {
        let got = answered(CONNECT_REQUEST, answer);
        assert_eq!(got.out.label, None);
        assert_eq!(got.out.evidence.len(), 1);
        assert!(got.inner[0].is_empty());
    }
}

#[test]
fn a_page_in_answer_to_connect_is_no_tunnel() {
    assert_eq!(answered(CONNECT_REQUEST, OK).out.label, None);
}

#[test]
fn a_connect_refused_for_credentials_and_then_granted_is_a_tunnel() {
    let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
        Transfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n";
    for piece in [1, 9, usize::MAX] {
        let got = conversation(
            &[
                (Dir::ToServer, CONNECT_REQUEST),
                (Dir::ToClient, refused),
                (Dir::ToServer, CONNECT_REQUEST),
                (Dir::ToClient, b"HTTP/1.0 200 OK\r\n\r\n"),
                (Dir::ToServer, b"SSH-2.0-x"),
            ],
            piece,
        );
        assert_eq!(got.out.label, Some("http_connect"), "pieces of {piece}");
        assert_eq!(got.inner[0], b"SSH-2.0-x");
    }
}

#[test]
fn client_bytes_sent_before_the_grant_wait_for_it() {
    let early = [CONNECT_REQUEST, b"early"].concat();
    let got = conversation(
        &[
            (Dir::ToServer, &early),
            (Dir::ToClient, b"HTTP/1.1 200 OK\r\n\r\n"),
            (Dir::ToServer, b" and late"),
        ],
        usize::MAX,
    );
    assert_eq!(got.inner[0], b"early and late");
}

#[test]
fn the_grant_alone_is_known_by_its_words() {
    let grant = b"HTTP/1.0 200 Connection established\r\n\r\ninner";
    let got = conversation(&[(Dir::ToServer, grant)], usize::MAX);
    assert_eq!((got.out.label, got.out.client), (Some("http_connect"), Some(Side::Dest)));
    assert_eq!(got.inner[0], b"inner");
}

#[test]
fn an_absolute_request_that_is_served_is_a_proxy_and_one_refused_is_not() {
    let request =
        b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";
    let served = answered(request, OK).out;
    assert!(served.evidence.iter().all(|e| !e.detail.contains("c2Vj")), "a password would be in the record");
    assert_eq!(served.evidence.len(), 3);
    assert_eq!(answered(request, OK).out.label, Some("http_proxy"));
    let refused = answered(request, b"HTTP/1.1 403 Forbidden\r\n\r\n");
    assert_eq!((refused.out.label, refused.out.evidence.len()), (None, 2));
    let origin = answered(b"GET /?u=http://a.test/ HTTP/1.1\r\nHost: b\r\n\r\n", OK);
    assert_eq!((origin.out.label, origin.out.evidence.len()), (None, 0));
}

#[test]
fn an_absolute_request_with_a_proxys_field_is_a_proxy_while_no_answer_is_seen() {
    let request = b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: Keep-Alive\r\n\r\n";
    let got = |answer: &[u8]| answered(request, answer).out.label;
    assert_eq!(got(b""), Some("http_proxy"));
    assert_eq!(got(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), None);
    assert_eq!(got(b"SSH-2.0-OpenSSH_9.2\r\n"), None);
    let without = b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(answered(without, b"").out.label, None);
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    let request = b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";
    let got = answered(request, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!((got.out.label, got.out.facts.http.unwrap().status), (Some("http_proxy"), Some(204)));
}

#[test]
fn an_answer_in_another_protocol_ends_it_and_keeps_the_request() {
    let got = answered(GET, b"SSH-2.0-OpenSSH_9.2\r\n");
    assert!(got.mine);
    assert_eq!(got.out.facts.http.unwrap().status, None);
}

#[test]
fn a_tool_that_asks_its_gateway_as_a_proxy_is_that_tool() {
    let request = b"POST http://192.0.2.7/fakeurl.htm HTTP/1.1\r\nUser-Agent: NetSupport Manager/1.3\r\nContent-Length: 22\r\n\
        Host: 192.0.2.7\r\n\r\nCMD=POLL\nINFO=1\nACK=1\n";
    let answer =
        b"HTTP/1.1 200 OK\r\nServer: NetSupport Gateway/1.92 (Windows NT)\r\nContent-Length: 0\r\n\r\n";
    let payloads: &[(Dir, &[u8])] = &[(Dir::ToServer, request), (Dir::ToClient, answer)];
    let fixture = Fixture { name: "NetSupport", transport: Transport::Tcp, payloads };
    let out = drive::<State>(&fixture, usize::MAX).out;
    assert_eq!((out.label, out.controlled), (Some("netsupport"), None));
    let alone = Fixture { payloads: &payloads[..1], ..fixture };
    assert_eq!(drive::<State>(&alone, usize::MAX).out.label, None);
}

#[test]
fn an_agent_that_switches_to_websocket_is_operated_by_its_server() {
    let request = b"GET /agent.ashx HTTP/1.1\r\nHost: mesh.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let payloads: &[(Dir, &[u8])] = &[(Dir::ToServer, request), (Dir::ToClient, answer)];
    let out = drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, 5).out;
    assert_eq!((out.label, out.controlled), (Some("meshcentral"), Some(Side::Src)));
}

#[test]
fn a_false_websocket_is_shadowsocks_and_a_directory_is_tor() {
    let obfs: &[(Dir, &[u8])] = &[
        (
            Dir::ToServer,
            b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/7.43.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: Lt7wAMa/Zks58/0IEiPQFw==\r\nContent-Length: 4\r\n\r\n\xdb\x38\x51\xf0",
        ),
        (
            Dir::ToClient,
            b"HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.10.9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: c0gzZlHcsHT/XEkZSpToKg==\r\n\r\n\x85\x4e",
        ),
    ];
    let tor: &[(Dir, &[u8])] = &[
        (Dir::ToServer, b"GET /tor/server/all.z HTTP/1.0\r\nHost: 198.51.100.7\r\n\r\n"),
        (Dir::ToClient, b"HTTP/1.0 200 OK\r\nX-Your-Address-Is: 203.0.113.9\r\n\r\n"),
    ];
    for (payloads, label) in [(obfs, "shadowsocks"), (tor, "tor")] {
        for piece in [usize::MAX, 7] {
            let fixture = Fixture { name: "", transport: Transport::Tcp, payloads };
            assert_eq!(drive::<State>(&fixture, piece).out.label, Some(label));
        }
    }
}
