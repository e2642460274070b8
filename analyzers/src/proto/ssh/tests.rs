//! Conversations with SSH.

use super::*;
use crate::Side;
use crate::fixture::{Fixture, Outcome, drive};

/// A packet of `N` bytes around `payload`.
pub(super) const fn packet<const N: usize>(payload: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let length = (N - 4) as u32;
    let padding = N - 5 - payload.len();
    assert!(padding >= 4 && padding < 256);
    let head = length.to_be_bytes();
    let mut i = 0;
    while i < 4 {
        bytes[i] = head[i];
        i += 1;
    }
    bytes[4] = padding as u8;
    let mut i = 0;
    while i < payload.len() {
        bytes[5 + i] = payload[i];
        i += 1;
    }
    bytes
}

const CLIENT_OFFERS: &[u8] = b"\x14cookiecookiecook\0\0\0\x10kex-a,ext-info-c\0\0\0\x02hk\
    \0\0\0\x04e-cs\0\0\0\x04e-sc\0\0\0\x04m-cs\0\0\0\x04m-sc\0\0\0\x04c-cs\0\0\0\x04c-sc\0\0\0\0\0\0\0\0\0\0\0\0\0";
const SERVER_OFFERS: &[u8] = b"\x14cookiecookiecook\0\0\0\x05kex-b\0\0\0\x02hk\
    \0\0\0\x04E-cs\0\0\0\x04E-sc\0\0\0\x04M-cs\0\0\0\x04M-sc\0\0\0\x04C-cs\0\0\0\x04C-sc\0\0\0\0\0\0\0\0\0\0\0\0\0";
pub(super) const CLIENT_KEXINIT: [u8; 128] = packet(CLIENT_OFFERS);
pub(super) const SERVER_KEXINIT: [u8; 120] = packet(SERVER_OFFERS);

fn conversation(payloads: &[(Dir, &[u8])], piece: usize) -> Outcome {
    drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, piece)
}

#[test]
fn versions_and_hassh_of_both_sides_are_read_however_they_are_cut() {
    for piece in [1, 50, usize::MAX] {
        let got = drive::<State>(&FIXTURES[0], piece);
        assert_eq!(got.out.label, Some("ssh"));
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        let ssh = got.out.facts.ssh.unwrap();
        let (client, server) = (ssh.client.unwrap(), ssh.server.unwrap());
        assert_eq!(&*client.software_version, "OpenSSH_9.6p1 Ubuntu-3");
        assert_eq!(&*client.hassh.unwrap().string, "kex-a,ext-info-c;e-cs;m-cs;c-cs");
        assert_eq!((&*server.proto_version, &*server.software_version), ("2.0", "dropbear_2022.83"));
        assert_eq!(&*server.hassh.unwrap().string, "kex-b;E-sc;M-sc;C-sc");
    }
}

#[test]
fn a_server_banner_alone_is_evidence_and_no_label() {
    let got = conversation(&[(Dir::ToClient, b"SSH-2.0-OpenSSH_9.2\r\n")], usize::MAX);
    assert!(got.mine);
    assert_eq!((got.out.label, got.out.controlled), (None, None));
    assert_eq!(got.out.evidence.len(), 1);
}

#[test]
fn both_banners_are_ssh_and_leave_the_client_to_the_opener() {
    let got = drive::<State>(&FIXTURES[1], 3);
    assert_eq!((got.out.label, got.out.controlled), (Some("ssh"), Some(Side::Dest)));
    assert_eq!(got.out.client, None);
}

#[test]
fn the_client_is_known_by_its_messages_where_the_opener_was_taken_wrongly() {
    let reversed: Vec<_> = FIXTURES[0].payloads.iter().map(|(dir, b)| (dir.reverse(), *b)).collect();
    let got = conversation(&reversed, usize::MAX);
    assert_eq!((got.out.client, got.out.controlled), (Some(Side::Dest), Some(Side::Src)));
    assert_eq!(&*got.out.facts.ssh.unwrap().server.unwrap().software_version, "dropbear_2022.83");
    // Without marks in the offers, by the number of a key exchange message.
    let reply = packet::<40>(&[31, 1, 2, 3]);
    let got = conversation(
        &[(Dir::ToServer, b"SSH-2.0-a\r\n"), (Dir::ToServer, &SERVER_KEXINIT), (Dir::ToServer, &reply)],
        usize::MAX,
    );
    assert_eq!((got.out.label, got.out.client), (Some("ssh"), Some(Side::Dest)));
    assert_eq!(got.out.controlled, Some(Side::Src));
}

#[test]
fn one_direction_is_ssh_by_a_whole_kexinit_and_not_by_its_banner() {
    let got =
        conversation(&[(Dir::ToClient, b"SSH-2.0-a\r\n"), (Dir::ToClient, &SERVER_KEXINIT)], usize::MAX);
    assert_eq!((got.out.label, got.out.basis), (Some("ssh"), Basis::Handshake));
    assert_eq!(got.out.evidence.last().map(|e| e.kind.name), Some("ssh.kexinit"));
    assert!(got.out.facts.ssh.unwrap().server.unwrap().hassh.is_some());
    // What answers and is no SSH takes it back.
    let got = conversation(
        &[
            (Dir::ToServer, b"SSH-2.0-a\r\n"),
            (Dir::ToServer, &CLIENT_KEXINIT),
            (Dir::ToClient, b"SSH-is not spoken here\r\n"),
        ],
        usize::MAX,
    );
    assert_eq!(got.out.label, None);
}

#[test]
fn a_kexinit_tells_ssh_where_the_strings_before_it_are_lost() {
    for piece in [1, 7, usize::MAX] {
        let got = drive::<State>(&FIXTURES[2], piece);
        assert_eq!((got.out.label, got.out.basis), (Some("ssh"), Basis::Midstream));
        assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
    }
    let mut cases = vec![CLIENT_KEXINIT; 4];
    cases[0][5] = 21; // another message
    cases[1][26] = 7; // an unprintable method
    cases[2][4] = 1; // padding below what is asked for
    cases[3][22] = 9; // a list beyond the packet
    for case in &cases {
        assert!(!conversation(&[(Dir::ToServer, case)], usize::MAX).mine);
    }
}

#[test]
fn a_greeting_before_the_servers_banner_is_passed_over() {
    let got = conversation(
        &[(Dir::ToServer, b"SSH-2.0-a\r\n"), (Dir::ToClient, b"Authorised use only.\r\n\r\nSSH-2.0-b\r\n")],
        4,
    );
    assert_eq!(got.out.label, Some("ssh"));
}

#[test]
fn version_1_is_ssh_by_its_banners() {
    let got = conversation(
        &[
            (Dir::ToClient, b"SSH-1.5-1.2.27\n"),
            (Dir::ToServer, b"SSH-1.5-1.2.27\n"),
            (Dir::ToClient, &[0, 0, 1, 7, 0, 0, 0, 0, 0, 2]),
        ],
        usize::MAX,
    );
    assert_eq!(got.out.label, Some("ssh"));
    assert!(got.mine);
}

#[test]
fn other_lines_are_not_taken() {
    for data in [&b"SSL-2.0-x\r\n"[..], b"SSH-x.y\r\n", b"SSH2.0", b"SIP/2.0 200 OK\r\n"] {
        assert!(!conversation(&[(Dir::ToServer, data)], usize::MAX).mine, "{}", data.escape_ascii());
    }
}

/// A KEXINIT with algorithms in use.
fn real_kexinit(role: &str) -> Vec<u8> {
    let mut payload = b"\x14cookiecookiecook".to_vec();
    let both = ["chacha20-poly1305@openssh.com,aes128-ctr", "hmac-sha2-256", "none"];
    let lists = [role, "ssh-ed25519", both[0], both[0], both[1], both[1], both[2], both[2], "", ""];
    for list in lists {
        payload.extend((list.len() as u32).to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0; 5]);
    in_clear(&payload)
}

fn in_clear(payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 13).to_be_bytes().to_vec();
    bytes.push(12);
    bytes.extend(payload);
    bytes.extend([0; 12]);
    bytes
}

/// A conversation up to new keys, and pieces of these sizes behind, negative ones by the server.
fn with_pieces(sizes: &[i32], client: &str) -> Outcome {
    let up = |payload: &[u8]| (Dir::ToServer, payload.to_vec());
    let down = |payload: &[u8]| (Dir::ToClient, payload.to_vec());
    let mut payloads = vec![
        up(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        down(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        up(&real_kexinit(client)),
        down(&real_kexinit("curve25519-sha256")),
        up(&in_clear(&[30, 0, 0, 0, 1, 2])),
        down(&[in_clear(&[31, 0, 0, 0, 1, 2]), in_clear(&[21]), vec![7; 124]].concat()),
        up(&in_clear(&[21])),
    ];
    payloads.extend(sizes.iter().map(|size| {
        let bytes = vec![0x5A; size.unsigned_abs() as usize];
        (if *size > 0 { Dir::ToServer } else { Dir::ToClient }, bytes)
    }));
    let payloads: Vec<_> = payloads.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
    conversation(&payloads, usize::MAX)
}

const TUNNEL: &[i32] = &[44, -44, 60, -68, 140, -100, 308, -28, 60, -988, 100, -44, 556, -1448];

#[test]
fn a_forwarded_connection_makes_it_a_tunnel_that_operates_nobody() {
    let out = with_pieces(TUNNEL, "curve25519-sha256,ext-info-c").out;
    assert_eq!((out.label, out.basis), (Some("ssh_tunnel"), Basis::Behaviour));
    assert_eq!((out.client, out.controlled), (Some(Side::Src), None));
    let last = out.evidence.last().unwrap();
    assert_eq!((last.kind.name, last.packet), ("ssh.forwarded", 21));
    assert_eq!(
        &*last.detail,
        "channel opened by the client in packet 18 (100 B), confirmed by the server in packet 19 (44 B), \
         then 556 B from the client and 1448 B from the server"
    );
}

#[test]
fn without_the_whole_sequence_or_with_unknown_algorithms_it_stays_ssh() {
    let label = |sizes: &[i32]| with_pieces(sizes, "curve25519-sha256").out.label;
    assert_eq!(label(&TUNNEL[..13]), Some("ssh"));
    assert_eq!(label(&TUNNEL[8..]), Some("ssh"));
    let payloads: Vec<_> = FIXTURES[0].payloads.to_vec();
    let keys = in_clear(&[21]);
    let pieces: Vec<_> = TUNNEL.iter().map(|size| vec![1; size.unsigned_abs() as usize]).collect();
    let mut all = payloads;
    all.extend([(Dir::ToServer, &keys[..]), (Dir::ToClient, &keys[..])]);
    all.extend(
        TUNNEL
            .iter()
            .zip(&pieces)
            .map(|(size, bytes)| (if *size > 0 { Dir::ToServer } else { Dir::ToClient }, &bytes[..])),
    );
    assert_eq!(conversation(&all, usize::MAX).out.label, Some("ssh"));
}
