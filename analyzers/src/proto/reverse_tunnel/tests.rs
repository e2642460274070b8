use super::*;
use crate::Side;
use crate::fixture::{Fixture, Outcome, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

const LOGIN: &[u8] =
    b"o\0\0\0\0\0\0\0\x6A{\"version\":\"0.37.1\",\"os\":\"linux\",\"arch\":\"amd64\",\"privilege_key\":\"\
    0123456789abcdef\",\"timestamp\":1700000000}";
const LOGGED_IN: &[u8] = b"1\0\0\0\0\0\0\0\x30{\"version\":\"0.37.1\",\"run_id\":\"8f2a6c1b9d3e4f50\"}";
const WORK: &[u8] = b"w\0\0\0\0\0\0\0\x1C{\"run_id\":\"8f2a6c1b9d3e4f5\"}";
const STARTED: &[u8] = b"s\0\0\0\0\0\0\0\x14{\"proxy_name\":\"ssh\"}SSH-2.0-x\r\n";
const RATHOLE_UP: &[u8] =
    b"\0\0\0\0\x01\x9F\x86\xD0\x81\x88\x4C\x7D\x65\x9A\x2F\xEA\xA0\xC5\x5A\xD0\x15\xA3\xBF\x4F\x1B\x2B\x0B\x82\x2C\xD1\x5D\x6C\x15\xB0\xF0\x0A\x08";
const RATHOLE_DOWN: &[u8] =
    b"\0\0\0\0\x01\x60\x30\x3A\xE2\x2B\x99\x88\x61\xBC\xE3\xB2\x8F\x33\xEE\xC1\xBE\x75\x8A\x21\x3C\x86\xC9\x3C\x07\x6D\xBE\x9F\x55\x8C\x11\xC7\x52";

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Tcp, payloads }
}

const BORE_CONTROL: Fixture<'_> = talk(
    "bore's control connection",
    &[(UP, b"{\"Hello\":20005}\0"), (DOWN, b"{\"Hello\":20005}\0"), (DOWN, b"\"Heartbeat\"\0")],
);
const BORE_VISITOR: Fixture<'_> = talk(
    "a visitor through bore",
    &[
        (UP, b"{\"Accept\":\"e8b68e12-8c98-4841-914c-b9ab8227790d\"}\0SSH-2.0-a\r\n"),
        (DOWN, b"SSH-2.0-b\r\n"),
    ],
);
const FRP_BARE: Fixture<'_> = talk("frp's log-in", &[(UP, LOGIN), (DOWN, LOGGED_IN)]);
const RATHOLE_CONTROL: Fixture<'_> = talk(
    "rathole's control channel",
    &[(UP, RATHOLE_UP), (DOWN, RATHOLE_DOWN), (UP, &[7; 32]), (DOWN, &[0; 4])],
);
pub(crate) const FIXTURES: &[Fixture<'_>] = &[BORE_CONTROL, BORE_VISITOR, FRP_BARE, RATHOLE_CONTROL];

fn run(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
    drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
}

fn told(payloads: &[(Dir, &[u8])]) -> (Option<&'static str>, Option<&'static str>) {
    let out = run(payloads, usize::MAX).out;
    (out.label, out.tool)
}

const FOUND: Option<&str> = Some("reverse_tunnel");

#[test]
fn bore_is_known_by_a_port_that_both_sides_name() {
    for piece in [usize::MAX, 7, 1] {
        let got = drive::<State>(&BORE_CONTROL, piece).out;
        assert_eq!((got.label, got.tool, got.client), (FOUND, Some("bore"), Some(Side::Src)));
    }
    assert_eq!(told(&BORE_CONTROL.payloads[..1]).0, None, "nobody answered");
    assert_eq!(
        told(&[(UP, b"{\"Hello\":20005}\0"), (DOWN, b"{\"Error\":\"port already in use\"}\0")]).0,
        None
    );
}

#[test]
fn bore_with_a_secret_and_joined_midway_is_known() {
    let secret = [
        (DOWN, &b"{\"Challenge\":\"e8b68e12-8c98-4841-914c-b9ab8227790d\"}\0"[..]),
        (UP, b"{\"Authenticate\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}\0"),
        (UP, b"{\"Hello\":0}\0"),
        (DOWN, b"{\"Hello\":20005}\0"),
    ];
    assert_eq!(told(&secret), (FOUND, Some("bore")));
    let announced = [(DOWN, &b"{\"Connection\":\"e8b68e12-8c98-4841-914c-b9ab8227790d\"}\0"[..])];
    let got = run(&announced, usize::MAX).out;
    assert_eq!((got.label, got.client), (FOUND, Some(Side::Src)));
}

#[test]
fn a_visitor_through_bore_is_read_on() {
    for piece in [usize::MAX, 5, 1] {
        let got = drive::<State>(&BORE_VISITOR, piece);
        assert_eq!(got.out.label, FOUND);
        assert_eq!(got.inner, [b"SSH-2.0-a\r\n".to_vec(), b"SSH-2.0-b\r\n".to_vec()]);
    }
}

#[test]
fn other_json_is_not_bore() {
    for text in [
        &b"{\"Hello\":\"world\"}\0"[..],
        b"{\"Hello\":70000}\0",
        b"{\"Hello\":1}\n",
        b"{\"Accept\":\"e8b68e12-8c98-4841-914c-b9ab8227790\"}\0",
        b"{\"hello\":20005}\0",
    ] {
        assert!(!run(&[(UP, text), (DOWN, text)], usize::MAX).mine, "{text:?}");
    }
}

#[test]
fn frp_is_known_by_log_in_and_answer_bare_and_in_yamux() {
    for piece in [usize::MAX, 10, 1] {
        assert_eq!(drive::<State>(&FRP_BARE, piece).out.tool, Some("frp"));
    }
    let frame = |payload: &[u8], flags: u8| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0, 0, 0, flags, 0, 0, 0, 1][..], &length, payload].concat()
    };
    let up = [&b"\0\x01\0\x01\0\0\0\x01\0\0\0\0"[..], &frame(LOGIN, 0)].concat();
    let down = [&b"\0\x01\0\x02\0\0\0\x01\0\0\0\0"[..], &frame(LOGGED_IN, 0)].concat();
    for piece in [usize::MAX, 10, 1] {
        let got = run(&[(UP, &up), (DOWN, &down)], piece).out;
        assert_eq!((got.label, got.tool, got.client), (FOUND, Some("frp"), Some(Side::Src)));
    }
    let refused = b"1\0\0\0\0\0\0\0\x2A{\"version\":\"0.37.1\",\"error\":\"wrong token\"}";
    assert_eq!(told(&[(UP, LOGIN), (DOWN, refused)]).0, None);
    assert_eq!(told(&[(UP, LOGIN)]).0, None);
}

#[test]
fn what_goes_through_frps_work_connection_is_read_on() {
    let got = run(&[(UP, WORK), (DOWN, STARTED), (UP, b"SSH-2.0-y\r\n")], usize::MAX);
    assert_eq!((got.out.label, got.out.tool), (FOUND, Some("frp")));
    assert_eq!(got.inner, [b"SSH-2.0-y\r\n".to_vec(), b"SSH-2.0-x\r\n".to_vec()]);
}

#[test]
fn frps_byte_before_tls_is_known_with_the_answer_and_tls_is_read_on() {
    let hello = b"\x17\x16\x03\x01\0\x08\x01\0\0\x04\x03\x03\x01\x02";
    let answer = b"\x16\x03\x03\0\x08\x02\0\0\x04\x03\x03\x01\x02";
    let got = run(&[(UP, hello), (DOWN, answer)], usize::MAX);
    assert_eq!((got.out.label, got.out.tool), (FOUND, Some("frp")));
    assert_eq!(got.inner, [hello[1..].to_vec(), answer.to_vec()]);
    assert_eq!(told(&[(UP, hello)]).0, None);
    assert!(!run(&[(UP, b"\x17\x03\x03\0\x08\x01\0\0\x04\x03\x03\x01\x02")], usize::MAX).mine, "TLS data");
}

#[test]
fn rathole_is_known_by_hello_and_answer_and_its_data_channel_is_read_on() {
    for piece in [usize::MAX, 9, 1] {
        assert_eq!(drive::<State>(&RATHOLE_CONTROL, piece).out.tool, Some("rathole"));
    }
    let mut hello = RATHOLE_UP.to_vec();
    hello[0] = 1;
    let got = run(&[(UP, &hello), (DOWN, b"\0\0\0\0"), (DOWN, b"GET /"), (UP, b"HTTP")], usize::MAX);
    assert_eq!((got.out.label, got.inner), (FOUND, [b"HTTP".to_vec(), b"GET /".to_vec()]));
}

#[test]
fn what_looks_like_rathole_is_not() {
    assert_eq!(told(&[(UP, RATHOLE_UP)]).0, None, "nobody answered");
    let zeros = [&[0, 0, 0, 0, 1][..], &[0; 32]].concat();
    assert!(!run(&[(UP, &zeros), (DOWN, &zeros)], usize::MAX).mine);
    let longer = [RATHOLE_UP, b"x"].concat();
    assert!(!run(&[(UP, &longer)], usize::MAX).mine);
    assert_eq!(told(&[(UP, RATHOLE_UP), (DOWN, b"\x01\x02\x03\x04")]).0, None);
}
