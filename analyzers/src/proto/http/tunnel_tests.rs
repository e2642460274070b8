//! Requests of tunnels, and of what looks like them.

use super::State;
use super::tunnel::websocket;
use crate::fixture::{Fixture, Outcome, drive};
use crate::{Dir, Transport};

pub(super) const UP: &[u8] =
    b"POST /index.html?crap=1795330891 HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nContent-Length: 102400\r\n\
    Connection: close\r\n\r\n\x01\0\x01*\x02\0\x0BSSH-2.0-x\r\n\x45\x02\0\x03abc";
const DOWN: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 102400\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n\
    \x02\0\x0BSSH-2.0-y\r\n";
const TOKEN: &[u8] = b"v1, authorization.bearer.eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.\
    eyJpZCI6IjAxOGQwNTY1LTlmZTItNzFkZS1iNjRlLTU5MzhmZTI0ZmIyZCIsInAiOiJUY3AiLCJyIjoiMTkyLjAuNzguMTUwIiwicnAiOjQ0M30.xyDNRR4";

fn talk(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
    drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
}

fn answered(request: &[u8], answer: &[u8]) -> Option<&'static str> {
    talk(&[(Dir::ToServer, request), (Dir::ToClient, answer)], usize::MAX).out.label
}

#[test]
fn httptunnel_is_known_by_its_frames_and_read_on_in_both_of_its_connections() {
    for piece in [usize::MAX, 10, 1] {
        let got = talk(&[(Dir::ToServer, UP)], piece);
        assert_eq!((got.out.label, got.out.tool), (Some("http_tunnel"), Some("GNU httptunnel")));
        assert_eq!(got.inner[0], b"SSH-2.0-x\r\nabc", "pieces of {piece}");
        let request =
            b"GET /index.html?crap=1795330891 HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nConnection: close\r\n\r\n";
        let got = talk(&[(Dir::ToServer, request), (Dir::ToClient, DOWN)], piece);
        assert_eq!((got.out.label, &got.inner[1][..]), (Some("http_tunnel"), &b"SSH-2.0-y\r\n"[..]));
    }
}

#[test]
fn pages_and_uploads_with_such_a_target_are_not_httptunnel() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>";
    assert_eq!(answered(b"GET /x?crap=1795330891 HTTP/1.1\r\nHost: a\r\n\r\n", page), None);
    let upload = b"POST /x?crap=1795330891 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(talk(&[(Dir::ToServer, upload)], usize::MAX).out.label, None);
    let letters = b"POST /x?crap=1795330891 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nError";
    assert_eq!(talk(&[(Dir::ToServer, letters)], 1).out.label, None);
    let other = String::from_utf8_lossy(UP).replace("?crap=", "?scrap=");
    assert_eq!(talk(&[(Dir::ToServer, other.as_bytes())], usize::MAX).out.label, None);
}

#[test]
fn regeorg_is_known_by_the_fields_of_both_sides() {
    let request =
        b"POST /tunnel.aspx?cmd=connect&target=10.0.0.5&port=3389 HTTP/1.1\r\nHost: a\r\nX-CMD: CONNECT\r\n\
        X-TARGET: 10.0.0.5\r\nX-PORT: 3389\r\nContent-Length: 0\r\n\r\n";
    let answer = |status: &str| format!("HTTP/1.1 200 OK\r\nX-STATUS: {status}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answered(request, answer("OK").as_bytes()), Some("http_tunnel"));
    assert_eq!(answered(request, answer("FAIL").as_bytes()), None);
    assert_eq!(answered(b"POST / HTTP/1.1\r\nHost: a\r\nX-CMD: LIST\r\n\r\n", answer("OK").as_bytes()), None);
}

#[test]
fn tunnels_through_a_websocket_are_known_by_their_subprotocol() {
    assert_eq!(websocket(b"chisel-v3"), Some("chisel"));
    assert_eq!(websocket(b"tunnel-protocol"), Some("wstunnel"));
    assert_eq!(websocket(TOKEN), Some("wstunnel"));
    for other in [
        &b"binary, base64"[..],
        b"graphql-ws",
        b"chisel",
        b"v1, authorization.bearer.eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjEifQ.x",
    ] {
        assert_eq!(websocket(other), None, "{}", String::from_utf8_lossy(other));
    }
    let upgrade = |protocol: &[u8]| {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: ";
        [&head[..], protocol, b"\r\n\r\n"].concat()
    };
    let granted = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(answered(&upgrade(b"chisel-v3"), granted), Some("websocket_tunnel"));
    assert_eq!(answered(&upgrade(TOKEN), granted), Some("websocket_tunnel"));
    assert_eq!(answered(&upgrade(b"chisel-v3"), b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
    assert_eq!(answered(&upgrade(b"binary"), granted), None);
}
