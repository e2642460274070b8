//! Conversations as in RFC 6143 section 7.1 and its extensions.

use super::*;
use crate::Side;
use crate::fixture::{Fixture, drive};

const V33: &[u8] = b"RFB 003.003\n";
const V38: &[u8] = b"RFB 003.008\n";
/// 1280x800, 32 bits a pixel, "root@vm".
const SERVER_INIT: &[u8] =
    b"\x05\x00\x03\x20\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00\x00\x00\x00\x07root@vm";
const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

/// `ID:123` in its block.
const ID_BLOCK: &[u8; 250] = &{
    let mut block = [0; 250];
    let id = *b"ID:123";
    let mut i = 0;
    while i < id.len() {
        block[i] = id[i];
        i += 1;
    }
    block
};

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Tcp, payloads }
}

const VNC_AUTH: Fixture<'_> = talk(
    "VNC authentication",
    &[
        (DOWN, V38),
        (UP, V38),
        (DOWN, b"\x02\x02\x10"),
        (UP, b"\x02"),
        (DOWN, b"challengechallen"),
        (UP, b"responseresponse"),
        (DOWN, b"\0\0\0\0"),
        (UP, b"\x01"),
        (DOWN, SERVER_INIT),
        (UP, b"\x03\x00\x00\x00\x00\x00\x05\x00\x03\x20"),
    ],
);
const VENCRYPT: Fixture<'_> = talk(
    "VeNCrypt TLSVnc",
    &[
        (DOWN, V38),
        (UP, V38),
        (DOWN, b"\x01\x13"),
        (UP, b"\x13"),
        (DOWN, b"\x00\x02"),
        (UP, b"\x00\x02"),
        (DOWN, b"\x00\x01\x00\x00\x01\x02"),
        (UP, b"\x00\x00\x01\x02"),
        (DOWN, b"\x01"),
        (UP, b"\x16\x03\x01\x00\x05hello"),
        (DOWN, b"\x16\x03\x03\x00\x05HELLO"),
    ],
);
const REVERSE: Fixture<'_> = talk(
    "a server that calls its listening viewer, protocol 3.3",
    &[(UP, V38), (DOWN, V33), (UP, b"\0\0\0\x01"), (DOWN, b"\x01"), (UP, SERVER_INIT)],
);
const REPEATED: Fixture<'_> = talk(
    "a viewer at a repeater",
    &[
        (DOWN, b"RFB 000.000\n"),
        (UP, ID_BLOCK),
        (DOWN, V38),
        (UP, V38),
        (DOWN, b"\x01\x01"),
        (UP, b"\x01"),
        (DOWN, b"\0\0\0\0"),
        (UP, b"\x00"),
        (DOWN, SERVER_INIT),
    ],
);
const AT_REPEATER: Fixture<'_> =
    talk("a server at a repeater", &[(UP, ID_BLOCK), (UP, V38), (DOWN, V38), (UP, b"\x01\x02")]);
const ONE_SIDED: Fixture<'_> =
    talk("the server's side alone", &[(DOWN, V38), (DOWN, b"\x02\x02\x10"), (DOWN, b"challengechallen")]);

const CLIENT_ALONE: Fixture<'_> = talk(
    "the client's side alone",
    &[
        (UP, V38),
        (UP, b"\x02"),
        (UP, b"responseresponse"),
        (UP, b"\x01"),
        (UP, b"\x00\x00\x00\x00\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00"),
    ],
);

pub(crate) const FIXTURES: &[Fixture<'_>] =
    &[VNC_AUTH, VENCRYPT, REVERSE, REPEATED, AT_REPEATER, ONE_SIDED, CLIENT_ALONE];

fn details(out: &Out) -> Vec<(&str, &str)> {
    out.evidence.iter().map(|e| (e.kind.name, &*e.detail)).collect()
}

#[test]
fn every_conversation_is_vnc_whatever_the_segments() {
    for fixture in FIXTURES {
        for piece in [usize::MAX, 5, 1] {
            let got = drive::<State>(fixture, piece);
            assert_eq!(got.out.label, Some("vnc"), "{} in pieces of {piece}", fixture.name);
        }
    }
}

#[test]
fn the_called_server_is_operated_and_its_desktop_named() {
    for piece in [usize::MAX, 1] {
        let got = drive::<State>(&VNC_AUTH, piece);
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        assert_eq!(
            details(&got.out),
            [
                ("vnc.banner", "server 3.8"),
                ("vnc.versions", "server 3.8, client 3.8"),
                ("vnc.security", "offers VNC, Tight"),
                ("vnc.security", "chosen: VNC"),
                ("vnc.desktop", "root@vm, 1280x800"),
            ]
        );
    }
}

#[test]
fn a_server_that_calls_out_is_operated_as_the_opener() {
    for fixture in [REVERSE, AT_REPEATER] {
        let got = drive::<State>(&fixture, usize::MAX);
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Dest), Some(Side::Src)));
    }
}

#[test]
fn one_side_alone_tells_who_is_operated() {
    for fixture in [ONE_SIDED, CLIENT_ALONE] {
        for piece in [usize::MAX, 1] {
            let got = drive::<State>(&fixture, piece);
            assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        }
    }
}

#[test]
fn the_lower_version_of_the_two_is_spoken() {
    let got = drive::<State>(&REVERSE, usize::MAX);
    assert_eq!(
        details(&got.out)[2..],
        [("vnc.security", "chosen: None"), ("vnc.desktop", "root@vm, 1280x800")]
    );
}

#[test]
fn bytes_behind_vencrypt_are_handed_on_unchanged() {
    for piece in [usize::MAX, 1] {
        let got = drive::<State>(&VENCRYPT, piece);
        assert_eq!(got.inner, [b"\x16\x03\x01\x00\x05hello".to_vec(), b"\x16\x03\x03\x00\x05HELLO".to_vec()]);
        assert!(details(&got.out).contains(&("vnc.security", "VeNCrypt TLSVnc")));
    }
}

#[test]
fn a_repeater_is_named_and_the_desktop_behind_it_found() {
    let got = drive::<State>(&REPEATED, usize::MAX);
    assert!(details(&got.out).contains(&("vnc.repeater", "version 000.000")));
    assert!(details(&got.out).contains(&("vnc.repeater", "ID:123")));
    assert!(details(&got.out).contains(&("vnc.desktop", "root@vm, 1280x800")));
    assert_eq!(got.out.controlled, Some(Side::Dest));
}

#[test]
fn a_banner_alone_is_evidence_and_no_label() {
    let alone = Fixture { payloads: &VNC_AUTH.payloads[..1], ..VNC_AUTH };
    let got = drive::<State>(&alone, usize::MAX);
    assert_eq!((got.mine, got.out.label), (true, None));
    assert_eq!(details(&got.out), [("vnc.banner", "server 3.8")]);
}

#[test]
fn a_banner_that_a_web_browser_answers_is_no_label() {
    let got = drive::<State>(&talk("", &[(DOWN, V38), (UP, b"GET / HTTP/1.1\r\n\r\n")]), usize::MAX);
    assert_eq!(got.out.label, None);
    assert_eq!(got.out.evidence.len(), 1);
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let refused = &[(DOWN, V38), (UP, V38), (DOWN, &b"\0\0\0\0\x11Too many attempts"[..])];
    let got = drive::<State>(&Fixture { payloads: refused, ..VNC_AUTH }, usize::MAX);
    assert_eq!((got.out.label, got.out.controlled), (Some("vnc"), None));
    assert!(details(&got.out).contains(&("vnc.refused", "Too many attempts")));
}

#[test]
fn text_that_only_begins_like_a_version_is_not_taken() {
    for text in [&b"RFB 003.00x\n"[..], b"RFBS", b"ID: not a repeater\r\n", b"RFC 6143"] {
        let got = drive::<State>(&Fixture { payloads: &[(DOWN, text)], ..VNC_AUTH }, usize::MAX);
        assert!(!got.mine, "{}", String::from_utf8_lossy(text));
    }
}
