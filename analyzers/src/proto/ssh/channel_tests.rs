//! Sequences of sizes as OpenSSH 9.2, WinSCP and others sent them; what comes before NEWKEYS is left out.

use super::super::packing::Lists;
use super::Sender::{Client, Server};
use super::*;

const CHACHA: &str = "chacha20-poly1305@openssh.com";
const GCM: &str = "aes256-gcm@openssh.com";
const CTR: &str = "aes256-ctr";

/// Authentication with a key, as each cipher packs it (the last with hmac-sha2-256).
const AUTH_CHACHA: &[i32] = &[44, -44, 60, -68, 140, -100, 308, -28];
const AUTH_GCM: &[i32] = &[52, -52, 68, -68, 148, -100, 308, -36];
const AUTH_CTR: &[i32] = &[64, -64, 80, -80, 160, -112, 336, -48];

/// Plays sizes, negative ones by the server, in packets numbered from 1.
fn play(cipher: &str, pieces: &[&[i32]]) -> Option<Forwarded> {
    let lists = Lists { encryption: cipher, mac: "hmac-sha2-256", compression: "none" };
    let packing = Packing::agreed(&lists, &lists).unwrap();
    let mut channels = Channels::new(packing, packing);
    for (i, size) in pieces.iter().copied().flatten().enumerate() {
        let from = if *size > 0 { Client } else { Server };
        let found = channels.piece(from, size.unsigned_abs() as usize, i as u64 + 1);
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn a_first_channel_that_is_no_session_is_a_forwarded_connection() {
    // -D, a page.
    let got = play(CHACHA, &[AUTH_CHACHA, &[60, -988, 100, -44, 556, -1448]]).unwrap();
    assert_eq!((got.by, got.beside_session), (Client, false));
    assert_eq!(
        (got.opening, got.confirmation),
        (Piece { size: 100, packet: 11 }, Piece { size: 44, packet: 12 })
    );
    assert_eq!((got.up, got.down), (556, 1448));
    let found = |cipher, auth, pieces| play(cipher, &[auth, pieces]).is_some();
    // -L to VNC, whose server speaks first in a message of a session's opening's size.
    assert!(found(CHACHA, AUTH_CHACHA, &[60, -820, 92, -44, -52, 52]));
    // -W: the opening with OpenSSH's other message, the confirmation with the banner.
    assert!(found(CHACHA, AUTH_CHACHA, &[152, -956, -120, 76]));
    // -D to a name that makes the opening as long as a session's with that message.
    assert!(found(CHACHA, AUTH_CHACHA, &[60, -988, 112, -44, 556, -1448]));
    // The client first has host keys proved that it did not know.
    assert!(found(CHACHA, AUTH_CHACHA, &[60, -988, 588, -548, 100, -44, 556, -1448]));
    assert!(found(GCM, AUTH_GCM, &[68, -956, 100, -52, 132, -1448]));
    // -D to dropbear, which pads to 16 bytes and is not sent OpenSSH's message.
    assert!(found(CHACHA, &[44, -44, 68, -52, 140, -100, 228, -36], &[100, -44, 556, -1448]));
    // -D where that message and a session's opening have one size.
    assert!(found(CTR, AUTH_CTR, &[80, -1040, 128, -64, 576, -1448]));
}

#[test]
fn a_channel_that_the_server_opens_where_it_listens_is_a_forwarded_connection() {
    let got = play(CHACHA, &[AUTH_CHACHA, &[128, -956, -28, -92, 44, 60, -436]]).unwrap();
    assert_eq!((got.by, got.up, got.down), (Server, 60, 436));
    assert!(play(GCM, &[AUTH_GCM, &[68, 68, -956, -36, -100, 52, 68, -436]]).is_some());
    // Used as soon as it listens, in one piece.
    assert!(play(CHACHA, &[AUTH_CHACHA, &[68, 60, -972, -120, 44, -124, 228]]).is_some());
    assert!(play(CHACHA, &[AUTH_CHACHA, &[68, 60, -972, -116, 44, -124, 228]]).is_none());
    // Where it was not asked to listen: X11.
    assert!(play(CHACHA, &[AUTH_CHACHA, &[60, -956, -92, 44, 60, -436]]).is_none());
}

#[test]
fn a_channel_that_is_refused_or_not_used_is_none() {
    assert!(play(CHACHA, &[AUTH_CHACHA, &[60, -820, 92, -60, 92, -60, 92, -60]]).is_none());
    assert!(play(CHACHA, &[AUTH_CHACHA, &[60, -820, 92, -44, 36, 36]]).is_none());
}

#[test]
fn sessions_are_none() {
    let sessions: &[(&str, &[i32], &[i32])] = &[
        ("a shell", AUTH_CHACHA, &[112, -972, -44, 376, -108, -44, -52, 36, -36, 36, -36, 36, -140, -44]),
        ("scp", AUTH_CHACHA, &[112, -972, -44, 52, -72, 44, -356, 68, -76, 52, -76, 76, -52, 1448, 1448]),
        ("git fetch", AUTH_CHACHA, &[112, -820, -44, 176, -72, -356, -44, 260, -44, -1448, -1448, 36]),
        ("a session alone", AUTH_CHACHA, &[52, -820, -44, 100, -72, 124, -124, 36]),
        ("a session unseen", AUTH_CHACHA, &[96, -820, -44, 100, -72, 124, -124, 36]),
        (
            "a shell, -R not used",
            AUTH_CHACHA,
            &[68, -956, 112, -28, -44, 376, -108, -92, 44, -60, 36, -120, 44, -60],
        ),
        ("-R not used", AUTH_GCM, &[68, -956, 120, -36, -52, 384, -108, -100, 52, -68, 36, -132, 52, -68]),
        ("X11", AUTH_CHACHA, &[112, -820, -44, 108, 76, -108, 36, -68, 44, -84, 1448, 908, -60, 68, -44, 68]),
        (
            "WinSCP",
            AUTH_CTR,
            &[
                80, -528, -64, 160, -112, 96, -80, 112, -96, 112, -64, -80, 112, -96, 112, -64, 112, -1448,
                -988, 96,
            ],
        ),
        (
            "new keys at once",
            AUTH_CTR,
            &[1448, 600, -912, 48, -432, 416, -1008, 432, -112, -480, -144, -64, 48, -176],
        ),
    ];
    for (name, auth, pieces) in sessions {
        let cipher = if *auth == AUTH_CHACHA {
            CHACHA
        } else if *auth == AUTH_GCM {
            GCM
        } else {
            CTR
        };
        assert_eq!(play(cipher, &[auth, pieces]), None, "{name}");
    }
}

const SHELL: &[i32] = &[112, -956, -44, 376, -108, -60];
/// A request of HTTP through -L, its answer, and the end of the channel.
const FETCH: &[i32] = &[92, -44, 124, -1448, -1448, -376, 72];

#[test]
fn beside_a_session_it_takes_two_whole_channels() {
    assert_eq!(play(CHACHA, &[AUTH_CHACHA, SHELL, FETCH, &[-36, 36, -36, 36, -36]]), None);
    let got = play(CHACHA, &[AUTH_CHACHA, SHELL, FETCH, &[-36, 36, -36], FETCH]).unwrap();
    assert_eq!((got.by, got.beside_session), (Client, true));
    assert_eq!((got.opening.size, got.up, got.down), (92, 124, 3272));
    // The session and the end of another channel in between.
    let between: &[i32] =
        &[100, -316, -60, -44, 556, -1448, -668, 36, 100, -72, 36, -44, 556, -1448, -668, 36];
    assert!(play(CHACHA, &[AUTH_CHACHA, SHELL, between]).is_some());
}

#[test]
fn beside_a_session_parts_of_a_channel_are_none() {
    let twice = |channel: &[i32]| play(CHACHA, &[AUTH_CHACHA, SHELL, channel, channel, channel]);
    assert_eq!(twice(&[92, -52, 124, -1448, -1448, -376, 72]), None, "another confirmation");
    assert_eq!(twice(&[92, -44, 44, -1448, -1448, -376, 72]), None, "a short request");
    assert_eq!(twice(&[92, -44, 124, -376, 72]), None, "a short answer");
    assert_eq!(twice(&[92, -44, 124, -1448, -1448, -376]), None, "no end");
    // Where a confirmation has the size of an adjusted window.
    let channel: &[i32] = &[112, -64, 144, -1448, -1448, -376, 48];
    let shell: &[i32] = &[160, -1040, -64, 416, -160, -80];
    assert_eq!(play(CTR, &[AUTH_CTR, shell, channel, channel, channel]), None);
}
